"""`combine`: equal to `explain`, worked by hand, and what a combination inherits."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from xaiutils.hybrid import class_activation_map, explain, relevance
from xaiutils.methods import METHODS, masking
from xaiutils.methods.combination import combine
from xaiutils.methods.record import NONNEGATIVE, SIGNED, CannotExplain, Method, Setting
from xaiutils.network.classifier import Classifier, wrap
from xaiutils.support import asking


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 8, 3, padding=1)
        self.relu, self.pool = nn.ReLU(), nn.AdaptiveAvgPool2d(2)
        self.classes = nn.Linear(32, 5)

    def forward(self, x: Tensor) -> Tensor:
        a = self.relu(self.second(torch.relu(self.first(x))))
        return self.classes(self.pool(a).flatten(1))


def classifier() -> Classifier:
    return wrap(Small().eval(), size=32)


def pictures(count: int = 3, side: int = 32) -> Tensor:
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(0))


def cam_function(classifier: Classifier, x: Tensor, target: Tensor) -> Tensor:
    return class_activation_map(classifier, x, target)


def lrp_function(
    classifier: Classifier, x: Tensor, target: Tensor, *, composite: str = "paper"
) -> Tensor:
    return relevance(classifier, x, target, composite).map.mean(1)


CAM = Method(
    "grad_cam_plus_plus", "Grad-CAM++", cam_function, "CAM", NONNEGATIVE, "eq. 19", "F + B"
)
LRP = Method(
    "lrp",
    "LRP",
    lrp_function,
    "LRP",
    SIGNED,
    "eq. 60",
    "F + B",
    settings=MappingProxyType({"composite": Setting("paper", "the paper's")}),
)


def constant(values: list[list[float]], sign: str = SIGNED, **fields: Any) -> Method:
    """A method that shows these values, whatever it is asked."""

    def function(classifier: Classifier, x: Tensor, target: Tensor, **settings: Any) -> Tensor:
        return torch.tensor(values).expand(len(x), -1, -1)

    return Method("constant", "constant", function, "control", sign, "test", **fields)


def test_of_the_papers_two_methods_it_is_the_papers_hybrid():
    c, x = classifier(), pictures()
    for target in (None, 2, [0, 1, 4]):
        found = combine(CAM, LRP)(c, x, target)
        assert torch.equal(found, explain(c, x, target).hybrid)
    settings: Any = {"threshold": 0.5, "sigma": 2.0}
    found = combine(CAM, LRP, **settings)(c, x, 1, method_composite="epsilon_plus")
    assert torch.equal(found, explain(c, x, 1, composite="epsilon_plus", **settings).hybrid)
    assert torch.equal(
        combine(CAM, LRP)(c, x, 1, **settings), combine(CAM, LRP, **settings)(c, x, 1)
    )


def test_worked_by_hand():
    # t = 1/4: relu(C - t) = [[0, 1/4], [1/2, 3/4]], divided by 3/4: [[0, 1/3], [2/3, 1]].
    figure = constant([[0, 0.5], [0.75, 1]], NONNEGATIVE)
    bounded = constant([[5, 3], [-3, 2]])
    x = pictures(2, 2)
    found = combine(figure, bounded, threshold=0.25, sigma=0)(wrap_two(), x, 0)
    expected = torch.tensor([[0, 1.0], [-2, 2]]).expand(2, -1, -1)
    assert torch.allclose(found, expected, atol=1e-6)
    # The default width is H / 64 of a pixel: for 2 pixels too narrow to show.
    found = combine(figure, bounded, threshold=0.25)(wrap_two(), x, 0)
    assert torch.allclose(found, expected, atol=1e-6)
    # A wide Gaussian with a reflected border tends to the mean, (0 + 1 - 2 + 2) / 4.
    found = combine(figure, bounded, threshold=0.25, sigma=50)(wrap_two(), x, 0)
    assert torch.allclose(found, torch.full((2, 2, 2), 0.25), atol=0.01)


def wrap_two() -> Classifier:
    """A classifier of pictures of 2 x 2."""
    return wrap(Small().eval(), size=2)


def test_both_methods_explain_the_class_that_is_asked_for():
    seen: list[tuple[str, list[int]]] = []

    def told(record: Method) -> Method:
        def function(c: Classifier, x: Tensor, target: Tensor, **settings: Any) -> Tensor:
            seen.append((record.name, target.tolist()))
            return record.function(c, x, target, **settings)

        return replace(record, function=function)

    c, x = classifier(), pictures()
    combine(told(CAM), told(LRP))(c, x, [4, 0, 2])
    combine(told(CAM), told(LRP))(c, x)
    predicted = c.predict(x).argmax(1).tolist()
    assert seen == [
        ("grad_cam_plus_plus", [4, 0, 2]),
        ("lrp", [4, 0, 2]),
        ("grad_cam_plus_plus", predicted),
        ("lrp", predicted),
    ]
    # Each factor alone moves the map when the class changes.
    flat_cam = replace(CAM, function=lambda c, x, target: cam_function(c, x, 0 * target))
    flat_lrp = replace(LRP, function=lambda c, x, target, composite: lrp_function(c, x, 0 * target))
    whole = combine(CAM, LRP)(c, x, 3)
    assert not torch.equal(whole, combine(flat_cam, LRP)(c, x, 3))
    assert not torch.equal(whole, combine(CAM, flat_lrp)(c, x, 3))


def test_what_a_record_inherits():
    both = combine(CAM, LRP, threshold=0.3, sigma=1.5)
    assert (both.name, both.title) == ("grad_cam_plus_plus x lrp", "Grad-CAM++ x LRP")
    assert (both.family, both.sign) == ("hybrid", SIGNED)
    assert "eq. 19" in both.source
    assert "eq. 60" in both.source
    assert {key: setting.default for key, setting in both.settings.items()} == {
        "threshold": 0.3,
        "sigma": 1.5,
        "method_composite": "paper",
    }
    assert combine(CAM, CAM).sign == NONNEGATIVE
    plain: dict[str, Any] = {"class_specific": False}
    for left, right, expected in (
        (plain, plain, False),
        (plain, {}, True),
        ({}, plain, True),
        ({}, {}, True),
    ):
        made = combine(replace(CAM, **left), replace(LRP, **right))
        assert made.class_specific is expected
    assert not both.stochastic
    assert combine(CAM, METHODS["smooth_grad"]).stochastic
    assert combine(METHODS["random_map"], LRP).stochastic


def test_the_cost_is_the_sum_of_both_with_the_settings_of_each():
    counted = Setting(7, "samples")
    left = replace(CAM, passes="(C + 1) * F + n", settings=MappingProxyType({"n": counted}))
    right = replace(LRP, passes="n * (F + B)", settings=MappingProxyType({"n": counted}))
    both = combine(left, right)
    assert both.cost(1, 10, C=4) == 5 + 7 + 7 * 11
    assert both.cost(1, 10, C=4, cam_n=2, method_n=3) == 5 + 2 + 3 * 11
    c = classifier()
    with asking.watch() as seen:
        combine(masking.TABLE[0], LRP)(c, pictures(), 0)
    assert seen.images == 3 * (8 + 1 + 1)


def test_settings_that_both_need_have_one_name():
    seen = []

    def function(c: Classifier, x: Tensor, target: Tensor, **settings: Any) -> Tensor:
        seen.append(settings)
        return torch.rand(len(x), *x.shape[2:])

    fields: dict[str, Any] = {
        "function": function,
        "needs": ("segments",),
        "settings": MappingProxyType({"segments": Setting(None, "own"), "n": Setting(1, "few")}),
    }
    both = combine(replace(CAM, **fields), replace(LRP, **fields))
    assert both.needs == ("segments",)
    assert combine(replace(CAM, **fields), LRP).needs == ("segments",)
    assert combine(CAM, replace(LRP, **fields)).needs == ("segments",)
    assert list(both.settings) == ["threshold", "sigma", "segments", "cam_n", "method_n"]
    segments = torch.stack([torch.arange(1024).view(32, 32) // n for n in (512, 256)])
    both(classifier(), pictures(2), 0, segments=segments, method_n=5)
    for i in range(2):  # what needs segments is asked image by image
        assert [call["n"] for call in seen[2 * i : 2 * i + 2]] == [1, 5]
        for call in seen[2 * i : 2 * i + 2]:
            assert torch.equal(call["segments"], segments[i : i + 1])


def test_it_refuses_what_either_refuses():
    never = replace(LRP, refuses=lambda c: f"it dislikes {c.name}")
    for both in (combine(CAM, never), combine(replace(never, sign=NONNEGATIVE), CAM)):
        with pytest.raises(CannotExplain, match="cannot explain Small: lrp: it dislikes Small"):
            both(classifier(), pictures(), 0)
    assert combine(CAM, LRP).refuses(classifier()) is None


def test_wrong_input_is_refused():
    with pytest.raises(ValueError, match=r"cam must have maps in \[0, 1\], got lrp, whose maps"):
        combine(LRP, CAM)
    with pytest.raises(ValueError, match="threshold must be >= 0 and < 1, got 1"):
        combine(CAM, LRP, threshold=1)
    with pytest.raises(ValueError, match="sigma must be >= 0, got -1"):
        combine(CAM, LRP, sigma=-1)
    both, c, x = combine(CAM, LRP), classifier(), pictures()
    with asking.watch() as seen, pytest.raises(ValueError, match="threshold must be >= 0 and < 1"):
        both(c, x, 0, threshold=-0.5)
    assert seen.images == 0  # before the network is asked
    with pytest.raises(TypeError, match="has no setting 'composite'; its settings: threshold, sig"):
        both(c, x, 0, composite="z")
    beyond = constant([[0, 0.5], [0.75, 1.5]], NONNEGATIVE)
    with pytest.raises(ValueError, match=r"cam must be scaled to \[0, 1\], got values from 0 to 1"):
        combine(beyond, CAM)(wrap_two(), pictures(2, 2), 0)
    tall = constant([[0, 0.5]], NONNEGATIVE)
    with pytest.raises(ValueError, match="bounded and relevance must have one shape"):
        combine(tall, CAM)(wrap_two(), pictures(2, 2), 0)


def test_a_cam_that_is_nowhere_above_the_threshold_gives_an_empty_map():
    low = constant([[0, 0.1], [0.1, 0]], NONNEGATIVE)
    found = combine(low, constant([[5, 3], [-3, 2]]))(wrap_two(), pictures(2, 2), 0)
    assert torch.equal(found, torch.zeros(2, 2, 2))
