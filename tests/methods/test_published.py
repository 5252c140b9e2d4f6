"""The paper's parts by its libraries: equal to captum and grad-cam called plainly, with traps."""

from __future__ import annotations

import copy
import warnings
from importlib.metadata import version
from typing import Any

import numpy as np
import pytest
import torch
from networks import untrained
from pytorch_grad_cam import GradCAMPlusPlus
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import Tensor, nn
from torchvision.models import VisionTransformer

from xaiutils.cam import grad_cam_plus_plus, to_image
from xaiutils.hybrid import bound, explain, fuse, relevance, smooth
from xaiutils.methods.published import TABLE
from xaiutils.methods.record import CannotExplain
from xaiutils.network.classifier import Classifier, load_model, wrap
from xaiutils.pictures.scenes import samples
from xaiutils.pictures.scenes.networks import data_folder

RECORDS = {record.name: record for record in TABLE}
FIRST, SECOND = RECORDS["captum_lrp_first_call"], RECORDS["captum_lrp_second_call"]
TARGETED, UNTARGETED = (
    RECORDS["library_grad_cam_plus_plus"],
    RECORDS["grad_cam_plus_plus_no_target"],
)


class Small(nn.Module):
    """A network that captum can take: ReLU modules, torch.flatten."""

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.features = nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(2),
            nn.Conv2d(6, 8, 3, padding=1), nn.ReLU(inplace=True),
        )  # fmt: skip
        self.pool, self.hidden = nn.AdaptiveAvgPool2d(2), nn.Linear(32, 10)
        self.relu, self.classes, self.scale = nn.ReLU(), nn.Linear(10, 5), scale

    def forward(self, x: Tensor) -> Tensor:
        pooled = torch.flatten(self.pool(self.features(x)), 1)
        return self.scale * self.classes(self.relu(self.hidden(pooled)))


def small(scale: float = 1.0) -> Classifier:
    return wrap(Small(scale).eval(), size=16)


def noise(count: int = 3, side: int = 16) -> Tensor:
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(1))


TARGETS = [0, 3, 4]


def by_captum(net: nn.Module, x: Tensor, target: list[int]) -> Tensor:
    from captum.attr import LRP

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Input Tensor 0 did not already", UserWarning)
        return LRP(net).attribute(x.clone(), target=torch.tensor(target)).detach().mean(1)


def with_rules(module: nn.Module, bias: bool, convolution: Any = None) -> nn.Module:
    from captum.attr._utils.lrp_rules import Alpha1_Beta0_Rule, EpsilonRule

    net = copy.deepcopy(module)
    for part in net.modules():
        if isinstance(part, nn.Conv2d):
            part.rule = (convolution or (lambda: Alpha1_Beta0_Rule(set_bias_to_zero=not bias)))()
        elif isinstance(part, nn.Linear):
            part.rule = EpsilonRule()
    return net


@pytest.mark.parametrize("bias", [False, True])
def test_the_first_call_is_captums(bias):
    classifier = small()
    expected = by_captum(with_rules(classifier.module, bias), noise(), TARGETS)
    found = FIRST(classifier, noise(), TARGETS, set_bias_to_zero=not bias)
    assert torch.equal(found, expected)
    assert bias or torch.equal(found, FIRST(classifier, noise(), TARGETS))
    assert torch.equal(found, FIRST(classifier, noise(), TARGETS, set_bias_to_zero=not bias))


def test_the_second_call_is_captums_second_call_and_epsilon_everywhere():
    from captum.attr._utils.lrp_rules import EpsilonRule

    classifier = small()
    net = with_rules(classifier.module, bias=False)
    first, second, third = (by_captum(net, noise(), TARGETS) for _ in range(3))
    found = SECOND(classifier, noise(), TARGETS)
    epsilon = with_rules(classifier.module, bias=False, convolution=EpsilonRule)
    assert torch.equal(found, by_captum(epsilon, noise(), TARGETS))
    assert (first - found).abs().max() > 0.1 * first.abs().max()
    if version("captum") == "0.9.0":  # another version may keep its rules: test_against_captum.py
        assert torch.equal(found, second)
        assert torch.equal(found, third)


def test_the_rules_bias_setting_changes_the_map():
    maps = [FIRST(small(), noise(), 0, set_bias_to_zero=zero) for zero in (True, False)]
    assert (maps[0] - maps[1]).abs().max() > 0.1 * maps[0].abs().max()


def test_neither_call_is_the_papers_composite_on_a_trained_network():
    if not (data_folder() / "scenes_vgg_seed0.safetensors").is_file():
        pytest.skip("scenes_vgg_seed0 has not been trained yet")
    classifier = load_model("scenes_vgg_seed0")
    x = classifier.preprocess(samples("test", 6))
    right = relevance(classifier, x).map.mean(1).flatten(1)
    for record in (FIRST, SECOND):
        found = record(classifier, x).flatten(1)
        for ours, theirs in zip(right, found, strict=True):
            assert float(torch.corrcoef(torch.stack([ours, theirs]))[0, 1]) < 0.5


def test_what_captum_leaves_is_left_on_the_copy():
    classifier = small()
    calls = []
    classifier.module.pool.register_forward_hook(lambda *_: calls.append(1))
    classifier.module.features[0].rule = "the caller's"
    with torch.no_grad():
        maps = FIRST(classifier, noise(), TARGETS)
    assert not maps.requires_grad
    assert calls in ([], [1])  # once at most, where the network is captured anew for the hook
    assert classifier.module.features[0].rule == "the caller's"
    assert not any(hasattr(part, "activations") for part in classifier.module.modules())
    assert torch.equal(maps, FIRST(small(), noise(), TARGETS))
    assert torch.equal(
        SECOND(classifier, noise(), TARGETS), SECOND(small(), noise(), TARGETS)
    )  # no rule of the caller's is in it


class Functional(Small):
    """The same network with functions for two of its ReLU modules."""

    def forward(self, x: Tensor) -> Tensor:
        convolution, _, pool, second, _ = self.features
        a = torch.relu(second(pool(torch.relu(convolution(x)))))
        return self.classes(self.relu(self.hidden(torch.flatten(self.pool(a), 1))))


def test_captum_explains_a_functional_relu_otherwise_without_a_word():
    modules, functions = small(), wrap(Functional().eval(), size=16)
    assert torch.equal(modules.predict(noise()), functions.predict(noise()))
    first, second = (FIRST(c, noise(), TARGETS) for c in (modules, functions))
    assert (first - second).abs().max() > 0.1 * first.abs().max()
    assert torch.allclose(*(explain(c, noise(), TARGETS).hybrid for c in (modules, functions)))


@pytest.mark.parametrize("target", [TARGETS, None])
def test_the_cams_are_the_librarys(target):
    classifier = small()
    net = copy.deepcopy(classifier.module)
    run = GradCAMPlusPlus(model=net, target_layers=[net.get_submodule(classifier.cam_layer)])
    targets = None if target is None else [ClassifierOutputTarget(t) for t in target]
    expected = run(input_tensor=noise(), targets=targets)
    record = UNTARGETED if target is None else TARGETED
    assert np.array_equal(record(classifier, noise(), TARGETS).numpy(), expected)


def test_without_targets_the_class_that_is_asked_for_is_ignored():
    classifier = small()
    predicted = classifier.predict(noise()).argmax(1)
    maps = [UNTARGETED(classifier, noise(), target) for target in (0, 1, TARGETS)]
    assert torch.equal(maps[0], maps[1])
    assert torch.equal(maps[0], maps[2])
    assert torch.equal(maps[0], TARGETED(classifier, noise(), predicted))
    others = (predicted + 1) % 5
    assert (maps[0] - TARGETED(classifier, noise(), others)).abs().max() > 0.1


def test_the_librarys_epsilon_is_absolute():
    usual = (TARGETED(small(10), noise(), 0), explain(small(10), noise(), 0).cam)
    faint = (TARGETED(small(1e-4), noise(), 0), explain(small(1e-4), noise(), 0).cam)
    assert (usual[0] - usual[1]).abs().max() < 0.01
    assert (faint[0] - faint[1]).abs().max() > 0.02


@pytest.mark.parametrize(
    ("name", "cam", "lrp"),
    [
        ("published_hybrid_target_first_call", TARGETED, FIRST),
        ("published_hybrid_target_second_call", TARGETED, SECOND),
        ("published_hybrid_no_target_first_call", UNTARGETED, FIRST),
        ("published_hybrid_no_target_second_call", UNTARGETED, SECOND),
    ],
)
def test_the_hybrids_are_their_pairs(name, cam, lrp):
    classifier, x = small(), noise()
    factors = cam(classifier, x, TARGETS), lrp(classifier, x, TARGETS)
    expected = smooth(fuse(bound(factors[0]), factors[1]), 16 / 64)
    assert torch.equal(RECORDS[name](classifier, x, TARGETS), expected)
    expected = smooth(fuse(bound(factors[0], 0.5), factors[1]), 2)
    found = RECORDS[name](classifier, x, TARGETS, threshold=0.5, sigma=2.0)
    assert torch.equal(found, expected)
    record = RECORDS[name]
    assert (record.class_specific, record.family) == (True, "as published, faulty")
    right = explain(classifier, x, TARGETS).hybrid
    assert (found - right).abs().max() > 0.1 * right.abs().max()


def test_a_resnet_runs_and_is_wrong_and_the_docstring_says_so():
    classifier = untrained("resnet18")
    x = noise(1, 64)
    logit = float(classifier.predict(x)[0, 7])
    for record in (FIRST, SECOND):
        total = 3 * float(record(classifier, x, 7).sum())  # of three channels
        assert abs(total) > 50 * abs(logit)
    assert "ResNet" in str(FIRST.function.__doc__)
    for record, trap in (
        (FIRST, "clamps the weights alone"),
        (SECOND, "deletes the rules"),
        (TARGETED, "1e-6 is absolute"),
        (UNTARGETED, "``target`` is ignored"),
    ):
        assert trap in str(record.function.__doc__)


class Own(nn.Conv2d):
    """A convolution of another type, which captum's table of types does not have."""


def made(**parts: nn.Module) -> Classifier:
    module = Small().eval()
    for name, part in parts.items():
        setattr(module, name, part.eval())
    return wrap(module, size=16)


class Twice(Small):
    """Uses its pooling, which has a rule, and a ReLU, which needs none, more than once."""

    def forward(self, x: Tensor) -> Tensor:
        pooled = torch.flatten(self.relu(self.pool(self.pool(self.features(x)))), 1)
        return self.classes(self.relu(self.hidden(pooled)))


def test_a_network_that_captum_cannot_take_is_refused_with_its_reason():
    silu = made(relu=nn.SiLU())
    twice = wrap(Twice().eval(), size=16)
    for record in (FIRST, SECOND, RECORDS["published_hybrid_no_target_second_call"]):
        with pytest.raises(CannotExplain, match=r"TypeError, it has no rule for SiLU \(relu\)"):
            record(silu, noise(), 0)
        with pytest.raises(CannotExplain, match=r"RuntimeError, pool \(AdaptiveAvgPool2d\) is us"):
            record(twice, noise(), 0)
    for record in (TARGETED, UNTARGETED):
        assert record(silu, noise(), 0).shape == (3, 16, 16)
    with pytest.raises(TypeError, match="SiLU"):
        by_captum(with_rules(silu.module, bias=False), noise(), TARGETS)
    with pytest.raises(RuntimeError, match="used more than once"):
        by_captum(with_rules(twice.module, bias=False), noise(), TARGETS)


def test_a_layer_of_a_new_type_is_refused_once_its_rule_is_gone():
    torch.manual_seed(0)
    classifier = made(features=nn.Sequential(Own(3, 8, 3), nn.ReLU()))
    assert FIRST(classifier, noise(), TARGETS).any()
    with pytest.raises(CannotExplain, match=r"no rule for Own \(features\.0\)"):
        SECOND(classifier, noise(), TARGETS)
    net = with_rules(classifier.module, bias=False)
    by_captum(net, noise(), TARGETS)
    with pytest.raises(TypeError, match="Own"):
        by_captum(net, noise(), TARGETS)


@pytest.mark.parametrize(
    ("name", "missing"),
    [("squeezenet1_0", None), ("googlenet", None), ("mobilenet_v2", "ReLU6")],
)
def test_refusals_are_right_about_torchvision(name, missing):
    classifier = untrained(name)
    net = with_rules(classifier.module, bias=False)
    if missing is None:
        assert FIRST.refuses(classifier) is None
        assert by_captum(net, noise(1, 64), [3]).shape == (1, 64, 64)
    else:
        assert missing in str(FIRST.refuses(classifier))
        with pytest.raises(TypeError, match=missing):
            by_captum(net, noise(1, 64), [3])


def small_transformer() -> Classifier:
    torch.manual_seed(0)
    module = VisionTransformer(
        image_size=32, patch_size=8, num_layers=2, num_heads=2, hidden_dim=8, mlp_dim=16,
        num_classes=5,
    )  # fmt: skip
    nn.init.normal_(module.heads.head.weight)  # zero by default
    return wrap(module.eval(), size=32)


def test_the_librarys_cam_of_a_transformer_differs_from_ours_by_its_epsilon_alone():
    classifier, x = small_transformer(), noise(2, 32)
    record = classifier.graph.run(x, leaf=classifier.graph.find(classifier.cam_layer))
    (g,) = torch.autograd.grad(record.logits[:, 2].sum(), record.leaf)
    a, g = (value[:, 1:].mT.unflatten(2, (4, 4)) for value in (record.leaf.detach(), g))
    expected = to_image(grad_cam_plus_plus(a, g, epsilon=1e-6), (x.shape[2], x.shape[3]))
    assert expected.flatten(1).any(1).all()
    assert torch.allclose(TARGETED(classifier, x, 2), expected, atol=1e-4)
