"""DeepLIFT sums to the difference of the logits, or refuses; what captum alone does instead."""

from __future__ import annotations

import functools
import re
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given, settings, strategies as st
from networks import untrained
from torch import Tensor, nn

from xaiutils.methods.arguments import references
from xaiutils.methods.deep_lift import TABLE, SideBySide, deep_lift, without_rule
from xaiutils.methods.record import CannotExplain
from xaiutils.network.classifier import Classifier, load_model, wrap

RECORD = {record.name: record for record in TABLE}
Layer = Callable[[Tensor], Tensor]


def noise(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def by_captum(module: nn.Module, x: Tensor, x0: Tensor, target: int) -> Tensor:
    from captum.attr import DeepLift

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Setting .*hooks", UserWarning)
        return DeepLift(module).attribute(x.clone().requires_grad_(), x0, target).detach()


def difference(classifier: Classifier, x: Tensor, x0: Tensor, target: int) -> Tensor:
    return (classifier.predict(x) - classifier.predict(x0))[:, target]


@functools.cache
def lively(name: str) -> Classifier:
    """Random weights whose signal does not die out, and biases."""
    classifier = load_model(name, "random")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for module in classifier.module.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                if module.bias is not None:
                    nn.init.normal_(module.bias, std=0.1)
    return classifier


ZOO = ("resnet18", "googlenet", "densenet121", "inception_v3")
QUICK = "resnet18"
EACH = [pytest.param(n, marks=[] if n == QUICK else pytest.mark.slow) for n in ZOO]


@pytest.mark.parametrize("name", EACH)
def test_contributions_sum_to_the_difference_of_the_logits(name: str) -> None:
    classifier, x = lively(name), noise(1, 3, 96, 96)
    colour = torch.tensor([0.8, -0.6, 0.3])
    found = RECORD["deep_lift"](classifier, x, 3, baseline=colour)
    expected = difference(classifier, x, colour[:, None, None].expand_as(x), 3)
    assert expected.abs() > 0.01
    assert 3 * found.sum() == pytest.approx(expected.item(), rel=1e-3)


def test_the_mean_over_references_sums_to_the_mean_difference() -> None:
    classifier, x = lively("resnet18"), noise(1, 3, 96, 96)
    references = noise(3, 3, 96, 96, seed=2)
    found = RECORD["deep_lift_shap"](classifier, x, 3, baselines=references)
    expected = difference(classifier, x, references, 3).mean()
    assert 3 * found.sum() == pytest.approx(expected.item(), rel=1e-3)
    each = [RECORD["deep_lift"](classifier, x, 3, baseline=one) for one in references]
    assert torch.allclose(found, torch.stack(each).mean(0), atol=1e-5 * float(found.abs().max()))


def test_captum_alone_stops_at_a_relu_that_is_called_twice() -> None:
    classifier, x = lively("resnet18"), noise(1, 3, 96, 96)
    module = load_model("resnet18", "random").module  # captum leaves its attributes on it
    with pytest.raises(RuntimeError, match="more than once"):
        by_captum(module, x, torch.zeros_like(x), 3)
    assert without_rule(classifier) is None


class Branches(nn.Module):
    """An activation and a pooling read the same tensor, as in Inception modules."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.relu, self.pool = nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)
        self.classes = nn.Linear(4 * 64 + 4 * 16, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv(x)
        both = torch.flatten(self.relu(h), 1), torch.flatten(self.pool(h), 1)
        return self.classes(torch.cat(both, 1))


def overlapping(before: nn.Module) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), before, nn.MaxPool2d(3, 2, 1), nn.Flatten(), nn.Linear(64, 3)
    )


@pytest.mark.parametrize(
    "make",
    [Branches, lambda: overlapping(nn.Identity()), lambda: overlapping(nn.ReLU())],
    ids=["two readers", "overlapping windows", "pooling behind a ReLU"],
)
def test_where_captum_alone_loses_contributions_without_a_word(make: Any) -> None:
    torch.manual_seed(0)
    net = make().double().eval()
    classifier = wrap(net, size=8)
    x, x0 = noise(1, 3, 8, 8).double(), noise(1, 3, 8, 8, seed=2).double()
    expected = difference(classifier, x, x0, 1).item()
    found = deep_lift(classifier, x, torch.tensor([1]), baseline=x0)
    assert 3 * found.sum().item() == pytest.approx(expected, rel=1e-9)
    alone = by_captum(net, x, x0, 1).sum().item()
    assert abs(alone - expected) > 0.05 * abs(expected)


def test_captum_fills_in_the_first_images_gradient_which_ours_does_not() -> None:
    """Where a pooled value equals its reference, captum's rule takes the gradient of image 0."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 1, 1), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16, 8), nn.ReLU(),
        nn.Linear(8, 2),
    ).eval()  # fmt: skip
    classifier = wrap(net, mean=[0.0], std=[1.0], size=8)
    x = noise(2, 1, 8, 8)
    x[1, :, :4] = 0.25  # as the reference
    x0 = torch.full((1, 1, 8, 8), 0.25)
    from captum.attr import DeepLift

    multipliers = []
    for batch in (x, x[1:]):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Setting .*hooks", UserWarning)
            rule = DeepLift(net, multiply_by_inputs=False)
            multipliers.append(rule.attribute(batch.clone().requires_grad_(), x0, 0)[-1])
    assert (multipliers[0] - multipliers[1]).abs().max() > 0.1 * multipliers[1].abs().max()
    together, alone = (RECORD["deep_lift"](classifier, one, 0, baseline=0.25) for one in (x, x[1:]))
    assert torch.equal(together[1:], alone)


@settings(max_examples=60, deadline=None)
@given(
    st.tuples(st.integers(1, 4), st.integers(1, 4)), st.integers(1, 4), st.integers(0, 2),
    st.integers(1, 3), st.booleans(), st.integers(3, 9), st.integers(3, 9),
)  # fmt: skip
def test_windows_laid_side_by_side_have_the_same_maxima_and_gradients(
    kernel: tuple[int, int], stride: int, padding: int, dilation: int, ceil: bool, h: int, w: int
) -> None:
    assume(padding <= min(kernel) // 2)
    assume(
        all(
            dilation * (k - 1) + 1 <= side + 2 * padding
            for k, side in zip(kernel, (h, w), strict=True)
        )
    )
    pool = nn.MaxPool2d(kernel, stride, padding, dilation, ceil_mode=ceil)
    x = noise(2, 3, h, w, seed=h * w).requires_grad_()
    laid = SideBySide(pool)(x)
    expected, found = pool(x), F.max_pool2d(laid, kernel)
    assert laid.shape[2:] == (expected.shape[2] * kernel[0], expected.shape[3] * kernel[1])
    assert torch.equal(found, expected)
    weight = torch.randn_like(expected)
    gradients = [torch.autograd.grad((value * weight).sum(), x)[0] for value in (found, expected)]
    assert torch.allclose(*gradients, atol=1e-6)


class Around(nn.Module):
    """Convolution, a function under test, convolution, ReLU, linear layer."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.before, self.between, self.after = (
            nn.Conv2d(3, 4, 3),
            nn.Conv2d(4, 4, 1),
            nn.LazyLinear(3),
        )
        self.function, self.relu = function, nn.ReLU()
        self.gate = nn.Conv2d(4, 4, 1)
        self.double()(torch.zeros(2, 3, 8, 8).double())
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        h = self.between(self.function(self.before(x)))
        return self.after(torch.flatten(self.relu(h), 1))


class Gated(Around):
    """Squeeze-excitation in small: the product of two results."""

    def forward(self, x: Tensor) -> Tensor:
        h = self.before(x)
        h = self.between(h * torch.sigmoid(self.gate(h.mean((2, 3), keepdim=True))))
        return self.after(torch.flatten(self.relu(h), 1))


HANDLED: dict[str, Layer] = {
    "ReLU": nn.ReLU(),
    "F.relu": F.relu,
    "ELU": nn.ELU(),
    "LeakyReLU": nn.LeakyReLU(0.1),
    "F.leaky_relu": F.leaky_relu,
    "Tanh": nn.Tanh(),
    "torch.sigmoid": torch.sigmoid,
    "Softplus": nn.Softplus(),
    "MaxPool2d": nn.MaxPool2d(2),
    "F.max_pool2d": lambda x: F.max_pool2d(x, 3, 1),
    "AvgPool2d": nn.AvgPool2d(2),
    "BatchNorm2d": nn.BatchNorm2d(4),
    "Dropout": nn.Dropout(),
    "cat": lambda x: torch.cat([x, 2 * x], 2),
    "times and plus constants": lambda x: x * 3 / 2 - 1,
    "minus its mean": lambda x: x - x.mean((2, 3), keepdim=True),
    "residual sum": lambda x: x + F.relu(x),
}
NOT_HANDLED: dict[str, tuple[Layer, str]] = {
    "SiLU": (nn.SiLU(), "silu"),
    "GELU": (nn.GELU(), "gelu"),
    "F.gelu": (F.gelu, "gelu"),
    "Hardswish": (nn.Hardswish(), "hardswish"),
    "Hardsigmoid": (nn.Hardsigmoid(), "hardsigmoid"),
    "ReLU6": (nn.ReLU6(), "hardtanh"),
    "SELU": (nn.SELU(), "selu"),
    "PReLU": (nn.PReLU(), "prelu"),
    "square": (lambda x: x * x, "mul"),
    "quotient": (lambda x: x / (2 + x.mean((1, 2, 3), keepdim=True)), "div"),
    "matmul": (lambda x: torch.matmul(x, x.transpose(2, 3)), "matmul"),
    "LayerNorm": (nn.LayerNorm(6), "layer_norm"),
    "AdaptiveMaxPool2d": (nn.AdaptiveMaxPool2d(4), "adaptive_max_pool2d"),
    "Softmax": (nn.Softmax(1), "softmax"),
    "unknown": (torch.sin, "sin"),
    "absolute": (torch.abs, "abs"),
    "maximum": (lambda x: torch.maximum(x, x.flip(2)), "maximum"),
}


def completes(classifier: Classifier) -> bool:
    x, x0 = 4 * noise(1, 3, 8, 8).double(), 4 * noise(1, 3, 8, 8, seed=2).double()
    found = 3 * deep_lift(classifier, x, torch.tensor([1]), baseline=x0).sum().item()
    return found == pytest.approx(difference(classifier, x, x0, 1).item(), rel=1e-6)


@pytest.mark.parametrize("name", HANDLED)
def test_what_is_accepted_sums_to_the_difference(name: str) -> None:
    classifier = wrap(Around(HANDLED[name]), size=8, cam_layer="relu")
    assert without_rule(classifier) is None
    assert completes(classifier)


@pytest.mark.parametrize("name", NOT_HANDLED)
def test_what_is_refused_would_not_and_is_named(name: str) -> None:
    function, operation = NOT_HANDLED[name]
    classifier = wrap(Around(function), size=8, cam_layer="relu")
    assert not completes(classifier)
    for record in TABLE:
        with pytest.raises(CannotExplain, match=rf"no rule for .*\({operation}\)") as caught:
            record(classifier, noise(1, 3, 8, 8).double(), 0)
        assert "integrated_gradients" in str(caught.value)


def test_the_product_of_two_results_is_refused() -> None:
    classifier = wrap(Gated(None), size=8, cam_layer="relu")
    assert not completes(classifier)
    assert "mul (mul)" in str(without_rule(classifier))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        pytest.param(
            "efficientnet_b0", r"\(silu\); .* and \d+ more, and captum", marks=pytest.mark.slow
        ),
        ("mobilenet_v2", r"\(hardtanh\); "),
        pytest.param(
            "convnext_tiny",
            r"\(layer_norm\); .*\(layer_norm\); .*\(gelu\) and ",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_published_networks_without_rules_are_refused(name: str, message: str) -> None:
    assert re.search(message, str(without_rule(untrained(name))))


def test_solid_colours_lie_between_black_and_white() -> None:
    classifier = wrap(Around(nn.ReLU()).float(), mean=[0.5] * 3, std=[0.25] * 3, size=8)
    x = noise(1, 3, 8, 8)
    colours = references(classifier, x, 0, baselines=None, n_baselines=200)
    assert colours.shape == (200, 3, 8, 8)
    assert torch.equal(colours, colours[..., :1, :1].expand_as(colours))
    assert -2 <= float(colours.min()) < -1.9
    assert 1.9 < float(colours.max()) <= 2
