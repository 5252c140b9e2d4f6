"""Baselines, controls and the hybrid as records, and what holds for every record beside them."""

from __future__ import annotations

import random
from functools import cache
from inspect import signature
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from xaiutils.hybrid import explain, smooth
from xaiutils.methods import baselines, controls, masking, published
from xaiutils.methods.record import FAMILIES, NONNEGATIVE, SIGNED, CannotExplain, Method
from xaiutils.network.classifier import Classifier, load_model, wrap
from xaiutils.pictures.scenes.networks import data_folder
from xaiutils.support import asking

RECORDS = {record.name: record for record in controls.TABLE}
ALL = {record.name: record for record in (*masking.TABLE, *published.TABLE, *controls.TABLE)}
by_name = pytest.mark.parametrize("name", RECORDS)
of_all = pytest.mark.parametrize("name", ALL)


@cache
def network(name: str = "scenes_vgg_seed0") -> Classifier:
    if name.startswith("scenes"):
        if not (data_folder() / f"{name}.safetensors").is_file():
            pytest.skip(f"{name} has not been trained yet")
        return load_model(name)
    return load_model(name, "random")


def scenes(count: int = 2) -> Tensor:
    from xaiutils.pictures.scenes import samples

    return network().preprocess(samples("test", count))[:, :, 32:96, 24:104]  # not square


def noise(side: int = 64) -> Tensor:
    return torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(0))


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


def chance() -> list[Any]:
    return [torch.get_rng_state(), random.getstate(), str(np.random.get_state())]  # noqa: NPY002


@of_all
def test_every_record_on_the_scenes(name):
    record, classifier, x = ALL[name], network(), scenes()
    before, given, luck = state(classifier.module), x.clone(), chance()
    with torch.inference_mode():
        maps = record(classifier, x, [1, 4], seed=3)
    assert same(before, state(classifier.module))
    assert same(luck, chance())
    assert torch.equal(x, given)
    assert (maps.shape, maps.dtype, maps.requires_grad) == ((2, 64, 80), torch.float32, False)
    assert maps.isfinite().all()
    assert maps.flatten(1).any(1).all()
    assert record.sign == SIGNED or maps.min() >= 0
    # What an unstable rule makes of the last bits of z is its own trap.
    scale = float(maps.abs().max()) * (1e-4 if "captum" in name else 1e-5)
    alone = [record(classifier, x[i : i + 1], [1, 4][i], seed=3) for i in range(2)]
    assert (maps - torch.cat(alone)).abs().max() <= scale
    assert torch.equal(record(classifier, x, [1, 4], seed=3), maps)
    other_seed = torch.equal(record(classifier, x, [1, 4], seed=4), maps)
    assert other_seed is not record.stochastic
    other_class = torch.equal(record(classifier, x, [2, 5], seed=3), maps)
    assert other_class is not record.class_specific
    with asking.watch() as seen:
        record(classifier, x, [1, 4])
    assert seen.images == 2 * record.cost(1, 0, C=64)


@pytest.mark.parametrize("name", [name for name in ALL if ALL[name] not in masking.TABLE])
def test_every_record_on_an_untrained_squeezenet(name):
    maps = ALL[name](network("squeezenet1_0"), noise(48))  # a class whose logit is not 0
    assert maps.shape == (1, 48, 48)
    assert maps.isfinite().all()
    assert maps.any()


@of_all
def test_every_record_is_filled(name):
    record = ALL[name]
    assert record.family in FAMILIES
    assert record.sign in (SIGNED, NONNEGATIVE)
    assert record.title
    assert record.source
    assert record.function.__doc__ or record.name.startswith("published_hybrid")
    parameters = signature(record.function).parameters.values()
    for p in parameters:  # alone and as a record a function does the same
        known = p.default is p.empty or p.name == "seed"
        assert known or p.default == record.settings[p.name].default
    assert all(setting.why for setting in record.settings.values())
    assert all(setting.stock != setting.default for setting in record.settings.values()
               if setting.stock is not None)  # fmt: skip


def test_settings_are_those_of_explain():
    defaults = {key: p.default for key, p in signature(explain).parameters.items()}
    found = {(key, s.default) for r in controls.TABLE for key, s in r.settings.items()}
    assert found == {
        (key, defaults[key]) for key in ("threshold", "sigma", "composite", "cam", "start")
    }


def test_the_hybrid_and_its_parts_are_explains():
    classifier, x = network(), scenes()
    settings: dict[str, Any]
    for settings in (
        {},
        {"threshold": 0.5, "sigma": 3.0, "composite": "epsilon_plus", "cam": "grad_cam"},
    ):
        whole = explain(classifier, x, [1, 4], **settings)
        sigma = float(whole.settings["sigma"])
        edges = torch.cat([baselines.sobel_edges(image[None]) for image in x])
        expected = {
            "hybrid": whole.hybrid,
            "bounded_cam": whole.bounded,
            "bounded_cam_smoothed": smooth(whole.bounded, sigma),
            "lrp_smoothed": smooth(whole.relevance, sigma),
            "bounded_edges": smooth(whole.bounded * edges, sigma),
        }
        for name, maps in expected.items():
            record = RECORDS[name]
            own = {key: value for key, value in settings.items() if key in record.settings}
            assert torch.equal(record(classifier, x, [1, 4], **own), maps), name
        noise_map = RECORDS["bounded_noise"](
            classifier, x, [1, 4],
            **{key: value for key, value in settings.items() if key != "composite"},
        )  # fmt: skip
        support = smooth((whole.bounded > 0).float(), sigma) > 0
        assert not noise_map[~support].any()


def test_the_bounded_noise_is_absolute_gaussian_noise():
    # Without threshold the figure is the CAM itself, and sigma = 0 leaves the noise as it is:
    # map / CAM is |noise|, whose mean is sqrt(2 / pi) and whose mean square is 1.
    classifier, x = network(), scenes()
    found = RECORDS["bounded_noise"](classifier, x, 1, threshold=0.0, sigma=0.0)
    cam = explain(classifier, x, 1).cam
    values = (found / cam)[cam > 0.1]
    assert len(values) > 2000
    assert float(values.mean()) == pytest.approx((2 / torch.pi) ** 0.5, abs=0.05)
    assert float(values.square().mean()) == pytest.approx(1, abs=0.1)


def test_chance_depends_on_the_image_and_the_seed_alone():
    classifier, x = network(), scenes()
    record = RECORDS["random_map"]
    maps = record(classifier, x, 0)
    assert not torch.equal(maps[0], maps[1])  # images do not share their luck
    assert torch.equal(maps, record(classifier, x, 3))
    assert torch.equal(maps.flip(0), record(classifier, x.flip(0), 0))
    assert not torch.equal(maps, record(classifier, x + 1e-3, 0))
    assert maps.min() >= 0
    assert maps.max() < 1
    assert float(maps.mean()) == pytest.approx(0.5, abs=0.01)
    both = torch.stack([maps.flatten(), record(classifier, x, 0, seed=1).flatten()])
    assert abs(float(torch.corrcoef(both)[0, 1])) < 0.05


def test_baselines_are_those_of_the_module():
    classifier, x = network(), scenes()
    found = RECORDS["centre_prior"](classifier, x, 0)
    assert torch.equal(found, baselines.centre_prior(x))
    found = RECORDS["sobel_edges"](classifier, x, 0)
    assert torch.equal(found[1:], baselines.sobel_edges(x[1:]))


def test_a_network_without_a_rule_is_refused_by_what_needs_one():
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convolution, self.classes = nn.Conv2d(3, 4, 3), nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            a = torch.relu(self.convolution(x))
            return self.classes(torch.cumsum(a, 3).mean((2, 3)))

    torch.manual_seed(0)
    classifier = wrap(Odd().eval(), size=8)
    x = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    for name in ("lrp_smoothed", "hybrid"):
        with pytest.raises(CannotExplain, match=f"{name} cannot explain Odd: no relevance rule"):
            RECORDS[name](classifier, x, 0)
    for name in ("bounded_cam", "bounded_noise", "bounded_edges"):
        assert RECORDS[name](classifier, x, 0).shape == (1, 8, 8)


@by_name
def test_wrong_settings_are_refused(name):
    record: Method = RECORDS[name]
    wrong = {
        "threshold": (1.5, ValueError, "threshold must be >= 0 and < 1, got 1.5"),
        "sigma": (-2, ValueError, "sigma must be >= 0, got -2"),
        "composite": ("papper", ValueError, "composite must be a known name, got 'papper'"),
        "cam": (3, TypeError, "cam must be a name"),
        "start": ("two", ValueError, "start must be a known name, got 'two'"),
    }
    for key in record.settings:
        value, error, message = wrong[key]
        with pytest.raises(error, match=message):
            record(network(), scenes(1), 0, **{key: value})
    with pytest.raises(TypeError, match=f"{name} has no setting 'sharpness'"):
        record(network(), scenes(1), 0, sharpness=1)
