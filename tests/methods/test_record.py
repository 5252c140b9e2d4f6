"""The record of an explainer: one signature, all chance from the seed, no side effects."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import Tensor, nn

from xaiutils.methods.record import SIGNED, CannotExplain, Method, Setting
from xaiutils.network.classifier import Classifier, wrap
from xaiutils.support import asking as passes


def small(dtype: torch.dtype = torch.float32) -> Classifier:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(4, 5),
    )  # fmt: skip
    return wrap(net.to(dtype).eval(), size=6, name="small")


def images(count: int = 3) -> Tensor:
    return torch.rand(count, 3, 6, 6, generator=torch.Generator().manual_seed(0))


def method(function: Any, **fields: Any) -> Method:
    return Method("mine", "Mine", function, "control", SIGNED, "nowhere", **fields)


def plain(classifier: Classifier, x: Tensor, target: Tensor, gain: float = 2.0) -> Tensor:
    return x.mean(1) * gain + target[:, None, None]


def dice(classifier: Classifier, x: Tensor, target: Tensor, *, seed: int) -> Tensor:
    return x.mean(1) + torch.rand(1, generator=torch.Generator().manual_seed(seed))


def states() -> tuple[Any, ...]:
    return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()  # noqa: NPY002


GAIN = {"gain": Setting(2.0, "a test")}


def test_settings_are_the_defaults_unless_given_and_unknown_ones_are_refused() -> None:
    record, x = method(plain, settings=GAIN), images()
    assert torch.equal(record(small(), x, 0), x.mean(1) * 2)
    assert torch.equal(record(small(), x, 0, gain=3.0), x.mean(1) * 3)
    with pytest.raises(TypeError, match="mine has no setting 'gian'; its settings: gain"):
        record(small(), x, 0, gian=3.0)
    with pytest.raises(TypeError, match="mine has no setting 'gain'; its settings: none"):
        method(plain)(small(), x, 0, gain=3.0)


def test_the_target_is_the_predicted_class_one_for_all_or_one_each() -> None:
    record, x, classifier = method(plain), images(), small()
    base = x.mean(1) * 2
    predicted = classifier.predict(x).argmax(1)
    assert torch.equal(record(classifier, x), base + predicted[:, None, None])
    assert torch.equal(record(classifier, x, 4), base + 4)
    expected = base + torch.tensor([0, 1, 2])[:, None, None]
    assert torch.equal(record(classifier, x, [0, 1, 2]), expected)
    with pytest.raises(ValueError, match=r"target must be in 0\.\.4, got 5"):
        record(classifier, x, 5)
    with pytest.raises(ValueError, match=r"one class index or one per image \(3\)"):
        record(classifier, x, [1, 2])


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
def test_all_chance_comes_from_the_seed(seed: int, other: int) -> None:
    record, x, classifier = method(dice, stochastic=True), images(2), small()
    before = states()
    first = record(classifier, x, 0, seed=seed)
    assert states() == before
    random.random(), np.random.rand(), torch.rand(1)  # noqa: NPY002
    assert torch.equal(record(classifier, x, 0, seed=seed), first)
    if other != seed:
        assert not torch.equal(record(classifier, x, 0, seed=other), first)


@pytest.mark.parametrize("seed", [2**32, 2**40])
def test_seeds_that_generators_would_cut_are_refused(seed: int) -> None:
    with pytest.raises(ValueError, match=r"seed must be below 2\*\*32"):
        method(dice, stochastic=True)(small(), images(2), 0, seed=seed)


def test_a_stochastic_map_depends_on_the_image_and_not_on_its_neighbours() -> None:
    record, x, classifier = method(dice, stochastic=True), images(), small()
    together = record(classifier, x, 0)
    assert torch.equal(together[1:2], record(classifier, x[1:2], 0))
    chance = (together - x.mean(1)).mean((1, 2))
    assert torch.allclose(chance, chance[:1].expand(3))


def test_a_network_that_the_method_does_not_fit_is_refused_with_the_reason() -> None:
    record = method(plain, refuses=lambda classifier: f"{classifier.name} is too small")
    message = "mine cannot explain small: small is too small"
    with pytest.raises(CannotExplain, match=message):
        record(small(), images())
    assert issubclass(CannotExplain, ValueError)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda c, x, t: x, r"mine must return maps \(N, H, W\), got \(3, 3, 6, 6\)"),
        (lambda c, x, t: x[:1, 0], r"mine must return maps \(N, H, W\), got \(1, 6, 6\)"),
        (
            lambda c, x, t: x.mean(1) / (t > 0)[:, None, None],
            r"finite maps, got others at \[0, 2\]",
        ),
    ],
)
def test_a_wrong_result_is_an_error_and_never_a_map(function: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        method(function)(small(), images(), [0, 1, 0])


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (images()[0], ValueError, r"x must have shape \(N, C, H, W\)"),
        (images() * float("nan"), ValueError, "x must be finite"),
        (images()[:, :1], ValueError, "x must have 3 channels"),
        (images().double(), TypeError, "x must be torch.float32"),
    ],
)
def test_wrong_images_are_refused(x: Tensor, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        method(plain)(small(), x)


@pytest.mark.parametrize("seed", [-1, 1.5j, "0"])
def test_a_wrong_seed_is_refused(seed: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="seed must be"):
        method(plain)(small(), images(), seed=seed)


def test_maps_are_float32_detached_whatever_the_network_and_the_mode() -> None:
    x = images().double().requires_grad_()
    found = method(plain)(small(torch.float64), x)
    assert found.dtype == torch.float32
    assert not found.requires_grad
    network = small()
    with torch.inference_mode():
        inside = images()
        result = method(lambda c, x, t: torch.autograd.grad(_sum(x), _leaves[-1])[0].mean(1))(
            network, inside, 0
        )
    assert torch.equal(result, torch.full((3, 6, 6), 2.0))


_leaves: list[Tensor] = []


def _sum(x: Tensor) -> Tensor:
    """Twice the sum, differentiable by a copy of ``x`` even for a tensor of inference mode."""
    _leaves.append(x.clone().requires_grad_())
    return (_leaves[-1] * 2).sum()


def test_segments_go_with_their_image() -> None:
    def each(c: Classifier, x: Tensor, t: Tensor, segments: Tensor | None = None) -> Tensor:
        assert segments is not None
        assert segments.shape == (1, 6, 6)
        return segments.float()

    record = method(each, needs=("segments",), settings={"segments": Setting(None, "a test")})
    segments = torch.stack([torch.arange(36).view(6, 6) // n for n in (1, 2, 3)])
    assert torch.equal(record(small(), images(), 0, segments=segments), segments.float())
    with pytest.raises(ValueError, match=r"segments must be \(N, H, W\) .* got \(2, 6, 6\)"):
        record(small(), images(), 0, segments=segments[:2])
    with pytest.raises(TypeError, match=r"segments must be a torch.Tensor \(N, H, W\), got list"):
        record(small(), images(), 0, segments=[0])


def test_the_cost_is_the_formula_with_the_settings() -> None:
    record = method(
        plain, passes="(1 + n * S) * F + B + C + K", settings={"n": Setting(3, "a test")}
    )
    assert record.cost(2, 5, S=10, C=7, K=11) == 31 * 2 + 5 + 7 + 11
    assert record.cost(1, 0, S=2, C=0, K=0, n=4) == 9


def asking(c: Classifier, x: Tensor, t: Tensor, n: int = 3) -> Tensor:
    for _ in range(n):
        c.predict(x)
    return x.mean(1)


def test_the_bar_expects_what_the_formula_says(capsys: pytest.CaptureFixture[str]) -> None:
    record = method(asking, passes="n * F", settings={"n": Setting(3, "a test")})
    seen, classifier = [], small()
    real = passes.asked

    def spy(images: int) -> None:
        real(images)
        bar = passes._ACTIVE.get().bar  # type: ignore[union-attr]
        seen.append((bar.n, bar.total))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passes, "asked", spy)
        record(classifier, images(), 0, progress=True, n=4)
    assert seen == [(3, 12), (6, 12), (9, 12), (12, 12)]
    assert "Mine" in capsys.readouterr().err
    record(small(), images(), 0)
    assert capsys.readouterr().err == ""


def test_a_wrong_setting_is_the_methods_own_error_with_a_bar_too() -> None:
    def fussy(c: Classifier, x: Tensor, t: Tensor, n: Any = 3) -> Tensor:
        raise ValueError("n must be > 0")

    record = method(fussy, passes="F / n", settings={"n": Setting(3, "a test")})
    for wrong in (0, "3"):
        with pytest.raises(ValueError, match="n must be > 0"):
            record(small(), images(), 0, progress=True, n=wrong)


def test_cancelling_leaves_no_trace() -> None:
    record = method(asking, settings={"n": Setting(3, "a test")})
    before, classifier = states(), small()
    answers = iter([False, True])
    with pytest.raises(passes.Cancelled), passes.watch(cancelled=lambda: next(answers)) as seen:
        record(classifier, images(), 0)
    assert seen.images == 3
    assert states() == before
    assert torch.equal(record(classifier, images(), 0), images().mean(1))
