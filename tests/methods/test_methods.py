"""What every record of METHODS must keep, whatever it computes."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import sklearn.linear_model  # noqa: F401, importing it moves Python's random state
import torch
from torch import Tensor, nn
from untouched import untouched

import xaiutils
from xaiutils.methods import FAMILIES, METHODS, CannotExplain, Method, combine
from xaiutils.methods.segments import slic
from xaiutils.network.classifier import Classifier, load_model
from xaiutils.pictures.scenes import samples
from xaiutils.support.asking import watch

QUICK = {"n_samples": 60, "n_steps": 8, "n_baselines": 2}  # instead of the defaults, for speed
each_method = pytest.mark.parametrize("method", METHODS.values(), ids=list(METHODS))


def quick(method: Method) -> dict[str, int]:
    if method.name == "shapley_sampling":
        return {"n_samples": 2}  # each asks about every segment
    return {key: value for key, value in QUICK.items() if key in method.settings}


@cache
def network(kind: str) -> Classifier:
    return load_model(f"scenes_{kind}_seed0")


@cache
def scenes(kind: str) -> Tensor:
    """Two pictures: not square, unless for a ViT."""
    x = network(kind).preprocess(samples("unit", 4)[2:])
    return x if kind == "vit" else x[:, :, 32:96, 24:104]


def able(method: Method) -> tuple[Classifier, Tensor]:
    """A network that the method can explain, and scenes."""
    kind = next(k for k in ("vgg", "resnet", "vit") if method.refuses(network(k)) is None)
    return network(kind), scenes(kind)


def state(module: nn.Module) -> list[Any]:
    """All that a method could leave on a module."""
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return [
        [(name, t.clone(), t.requires_grad, t.grad) for name, t in module.named_parameters()],
        [(name, t.clone()) for name, t in module.named_buffers()],
        [(name, part.training, sorted(part.__dict__)) for name, part in module.named_modules()],
        [len(getattr(part, hook)) for part in module.modules() for hook in hooks],
    ]


def same(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor):
        return torch.equal(a, b)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return bool(a == b)


@each_method
def test_the_record_is_filled_in(method: Method) -> None:
    assert method.name == next(name for name, record in METHODS.items() if record is method)
    assert method.family in FAMILIES
    assert method.sign in ("signed", "not negative")
    assert method.title
    assert re.search(r"\d{4}|captum|grad-cam|Dhore|chance|eq", method.source)
    names = {n.id for n in ast.walk(ast.parse(method.passes)) if isinstance(n, ast.Name)}
    assert names <= {"F", "B", "S", "C", "K", *method.settings}
    for key, setting in method.settings.items():
        assert len(setting.why) > 15, key
        assert "TODO" not in setting.why
    with pytest.raises(AttributeError):
        method.name = "other"  # type: ignore[misc]


def test_names_and_titles_are_each_given_once() -> None:
    titles = [method.title for method in METHODS.values()]
    assert sorted(titles) == sorted(set(titles))
    assert {method.family for method in METHODS.values()} == set(FAMILIES)


@each_method
def test_maps_are_finite_reproducible_and_leave_no_trace(method: Method) -> None:
    classifier, x = able(method)
    segments = [int(s.max()) + 1 for s in slic(classifier, x)]
    before, kept = state(classifier.module), x.clone()
    target = [1, 4]
    with untouched(), watch() as seen, torch.inference_mode():
        maps = method(classifier, x, target, **quick(method))
    assert maps.shape == (2, *x.shape[2:])
    assert maps.dtype == torch.float32
    assert maps.isfinite().all()
    assert not maps.requires_grad
    assert maps.abs().amax((1, 2)).min() > 0
    assert bool((maps < 0).any()) == (method.sign == "signed")
    assert torch.equal(x, kept)
    assert not x.requires_grad
    assert same(state(classifier.module), before)
    channels = classifier.reading().channels
    expected = [method.cost(1, 0, S=s, C=channels, K=6, **quick(method)) for s in segments]
    assert seen.images == sum(expected)
    again = method(classifier, x[1:], target[1], **quick(method))
    if method.stochastic:
        assert torch.equal(again[0], maps[1])  # its chance is its own, not its neighbours'
        other = method(classifier, x[1:], target[1], seed=1, **quick(method))
        assert not torch.equal(other, again)
    else:
        torch.testing.assert_close(
            again[0], maps[1], rtol=1e-3, atol=1e-5 * float(maps.abs().max())
        )


@each_method
def test_the_class_matters_where_the_record_says_so(method: Method) -> None:
    classifier, x = able(method)
    one, other = (method(classifier, x[:1], t, **quick(method)) for t in (1, 3))
    assert torch.equal(one, other) != method.class_specific


@each_method
def test_bad_calls_are_refused(method: Method) -> None:
    classifier, x = able(method)
    with pytest.raises(ValueError, match="target"):
        method(classifier, x, [0, 6])
    with pytest.raises(ValueError, match="target"):
        method(classifier, x, [0, 1, 2])
    with pytest.raises(TypeError, match=f"{method.name} has no setting 'colour'"):
        method(classifier, x, 0, colour=1)
    with pytest.raises((TypeError, ValueError), match="x must have shape"):
        method(classifier, x[0], 0)


@pytest.mark.parametrize(
    ("name", "kind", "reason"),
    [
        ("cam", "vgg", "head is not global average pooling"),
        ("attention_rollout", "resnet", "no attention over patches"),
        ("guided_grad_cam", "vit", "tokens, not feature maps"),
        ("deep_lift", "vit", "GELU|LayerNorm|softmax|matmul"),
        ("fg_cam", "vit", "tokens"),
        ("captum_lrp_first_call", "vit", "captum's LRP raises TypeError"),
    ],
)
def test_what_cannot_explain_a_network_says_why(name: str, kind: str, reason: str) -> None:
    with pytest.raises(CannotExplain, match=reason) as caught:
        METHODS[name](network(kind), torch.zeros(1, 3, 128, 128))
    assert str(caught.value).startswith(f"{name} cannot explain scenes_{kind}_seed0: ")


def test_cam_is_grad_cam_on_a_pooled_linear_head() -> None:
    classifier, x = able(METHODS["cam"])
    torch.testing.assert_close(
        *(METHODS[name](classifier, x, [1, 3]) for name in ("cam", "grad_cam")),
        rtol=1e-4,
        atol=1e-5,
    )


def test_fg_cam_at_the_cam_layer_is_grad_cam() -> None:
    for classifier, x in (able(METHODS["fg_cam"]), able(METHODS["cam"])):
        handed = xaiutils.methods.related.fg_cam(classifier, x, [1, 3], to=classifier.cam_layer)
        cam = METHODS["grad_cam"](classifier, x, [1, 3])
        torch.testing.assert_close(handed, cam, rtol=1e-4, atol=1e-5)


def test_the_default_target_is_the_predicted_class() -> None:
    classifier, x = able(METHODS["lrp_paper"])
    predicted = classifier.predict(x).argmax(1)
    for name in ("lrp_paper", "saliency", "relevance_cam"):
        default, asked = (METHODS[name](classifier, x, t) for t in (None, predicted))
        assert torch.equal(default, asked)


def test_combine_takes_names() -> None:
    classifier, x = able(METHODS["hybrid"])
    pair = combine("grad_cam_plus_plus", "lrp_paper", threshold=0.2)
    hybrid = xaiutils.explain(classifier, x, 2).hybrid
    assert torch.equal(pair(classifier, x, 2), hybrid)
    assert torch.equal(METHODS["hybrid"](classifier, x, 2), hybrid)
    with pytest.raises(ValueError, match="method must be a known name, got 'lpr_paper'"):
        combine("grad_cam", "lpr_paper")
    with pytest.raises(TypeError, match="method must be a name"):
        combine(3, "lrp_paper")  # type: ignore[arg-type]


def test_the_faulty_are_named_as_such_and_never_a_default() -> None:
    faulty = {m.name for m in METHODS.values() if m.family == "as published, faulty"}
    assert len(faulty) == 8
    for path in (Path(xaiutils.__file__).parent).rglob("*.py"):
        if path.name not in ("published.py", "forensics.py", "__init__.py"):
            text = path.read_text()
            assert not [name for name in faulty if f'"{name}"' in text], path.name
