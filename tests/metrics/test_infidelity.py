"""Infidelity: literal twin, exact cases, what is shared between methods, refusals."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from xaiutils.cases.case import Case, load_cases
from xaiutils.cases.workloads import load_workload
from xaiutils.methods import METHODS
from xaiutils.metrics.infidelity import BATCH, PERTURBATIONS, TABLE
from xaiutils.metrics.record import picture_seed
from xaiutils.network.classifier import Classifier, wrap
from xaiutils.support import cache

METRICS = {metric.name: metric for metric in TABLE}
by_name = pytest.mark.parametrize("name", METRICS)
SQUARES = {"perturbation": "squares", "size": 0.25, "multiply_by_inputs": True}
NOISE = {"perturbation": "gaussian", "size": 0.003, "multiply_by_inputs": False}


def none(classifier, x: Tensor, target: Tensor) -> Tensor:
    raise AssertionError("infidelity explains nothing again")


def small(linear: bool = False, dtype: torch.dtype = torch.float64, seed: int = 0) -> Case:
    """A network for pictures of 8 x 8 pixels."""
    torch.manual_seed(seed)
    net = nn.Sequential(
        nn.Conv2d(3, 3, 3, padding=1),
        nn.Identity() if linear else nn.ReLU(),
        nn.Flatten(),
        nn.Linear(192, 3),
    )
    net = net.eval().to(dtype)
    return Case("small", wrap(net, size=8, cam_layer="0"), torch.randn(1, 3, 8, 8, dtype=dtype), 1)


def slope(case: Case) -> Tensor:
    """The gradient of the logit, (3, H, W)."""
    x = case.x.clone().requires_grad_()
    case.classifier.module(x)[0, case.target].backward()
    case.classifier.module.zero_grad(set_to_none=True)
    return x.grad[0]


def grey_slope(case: Case) -> Case:
    """The linear case made so that all channels have one slope: then one map says it all."""
    with torch.no_grad():
        weight = case.classifier.module[0].weight
        weight[:, 1:] = weight[:, :1]
    return case


def literal(case, attribution, seed, normalize, perturbation, size, multiply_by_inputs, samples):
    chance = np.random.default_rng(seed)
    channels, height, width = case.x.shape[1:]
    before = float(case.classifier.predict(case.x)[0, case.target])
    forecasts, drops = [], []
    for _ in range(samples):
        changed = case.x[0].clone()
        if perturbation == "squares":
            side = max(1, round(size * min(height, width)))
            top, left = chance.integers(height - side + 1), chance.integers(width - side + 1)
            changed[:, top : top + side, left : left + side] = 0
        else:
            changed = changed - torch.from_numpy(chance.normal(0, size, changed.shape)).to(changed)
        forecast = 0.0
        for c in range(channels):
            for i in range(height):
                for j in range(width):
                    x, y = float(case.x[0, c, i, j]), float(changed[c, i, j])
                    removed = (x - y) / x if multiply_by_inputs else x - y
                    forecast += removed * float(attribution[i, j]) / channels
        forecasts.append(forecast)
        drops.append(before - float(case.classifier.predict(changed[None])[0, case.target]))
    beta = 1.0
    if normalize:
        beta = sum(f * d for f, d in zip(forecasts, drops, strict=True))
        beta /= sum(f * f for f in forecasts)
    return sum((beta * f - d) ** 2 for f, d in zip(forecasts, drops, strict=True)) / samples


@by_name
@pytest.mark.parametrize("perturbation", PERTURBATIONS)
@pytest.mark.parametrize("multiply_by_inputs", [True, False])
def test_it_equals_its_literal_twin(name, perturbation, multiply_by_inputs):
    case, metric = small(), METRICS[name]
    attribution = torch.randn(8, 8, dtype=torch.float64)
    used = {
        "perturbation": perturbation,
        "size": 0.3,
        "multiply_by_inputs": multiply_by_inputs,
        "samples": 7,
    }
    score = metric(case, none, attribution=attribution, seed=2, **used).value
    seed = picture_seed(case, name, 2)
    assert score == pytest.approx(
        literal(case, attribution, seed, name == "infidelity", **used), rel=1e-9
    )


@by_name
def test_a_scene_equals_the_twin(name):
    case = scenes(1)[0]
    attribution = METHODS["grad_cam"](case.classifier, case.x, case.targets)[0]
    used = {key: setting.default for key, setting in METRICS[name].settings.items()}
    used["samples"] = 1
    score = METRICS[name](case, none, attribution=attribution, **used).value
    twin = literal(case, attribution, picture_seed(case, name, 0), name == "infidelity", **used)
    assert score == pytest.approx(twin, abs=1e-6)


def scenes(count: int) -> list[Case]:
    return load_cases(load_workload("scenes", "calibration"), range(count))


@by_name
@pytest.mark.parametrize("used", [SQUARES, NOISE], ids=["squares", "gaussian"])
def test_the_exact_map_of_a_linear_network_has_none(name, used):
    """f(x) - f(x - I) = I . w: with I the noise the gradient foretells it, with I the share that
    is removed gradient times input does. One map is for all channels, so
    w must be too; the shares of w x differ by channel, but a square removes them all."""
    case = grey_slope(small(linear=True))
    w = slope(case)
    exact = (w * case.x[0]).sum(0) if used["multiply_by_inputs"] else w.sum(0)
    score = METRICS[name](case, none, attribution=exact, **used).value
    assert score == pytest.approx(0, abs=1e-12)
    wrong = METRICS[name](case, none, attribution=exact.flip(0), **used).value
    assert wrong > 1e-8


def test_by_hand():
    """A network that adds up the pixels, each 1; a 2 x 2 square is removed: the logit drops by 4.
    A map of 1/2 foretells 2, so the error is 4; twice the map foretells it."""
    net = nn.Sequential(nn.Conv2d(1, 1, 1), nn.Flatten(), nn.Linear(16, 2)).double().eval()
    with torch.no_grad():
        for part in (net[0], net[2]):
            part.weight.fill_(1)
            part.bias.zero_()
    case = Case(
        "hand", wrap(net, size=4, cam_layer="0"), torch.ones(1, 1, 4, 4, dtype=torch.float64), 0
    )
    half = torch.full((4, 4), 0.5)
    half[0, 0] = 0.5 + 1e-7  # a map of one value has no order
    used = SQUARES | {"size": 0.5}
    raw = METRICS["infidelity_raw"](case, none, attribution=half, **used).value
    assert raw == pytest.approx(4, abs=1e-5)
    assert METRICS["infidelity_raw"](
        case, none, attribution=2 * half, **used
    ).value == pytest.approx(0, abs=1e-5)
    best = METRICS["infidelity"](case, none, attribution=half, **used).value
    assert best == pytest.approx(0, abs=1e-10)


@pytest.mark.parametrize("perturbation", PERTURBATIONS)
def test_no_factor_changes_the_normalised_one(perturbation):
    case, metric = small(), METRICS["infidelity"]
    attribution = slope(case).sum(0)
    used = {"perturbation": perturbation, "size": 0.3}
    score = metric(case, none, attribution=attribution, **used).value
    for factor in (-1, 1e-3, -317.5):
        scaled = metric(case, none, attribution=attribution * factor, **used).value
        assert scaled == pytest.approx(score, rel=1e-6)


def test_ten_times_the_map_changes_the_raw_one():
    case = grey_slope(small(linear=True))
    exact = (slope(case) * case.x[0]).sum(0)
    raw = METRICS["infidelity_raw"]
    assert raw(case, none, attribution=exact, **SQUARES).value < 1e-12
    loud = raw(case, none, attribution=10 * exact, **SQUARES).value
    quiet = raw(case, none, attribution=exact / 1e6, **SQUARES).value
    assert loud == pytest.approx(81 * quiet, rel=1e-3)  # (10 - 1)^2 to (0 - 1)^2
    assert quiet > 1e-8


def test_anchors_on_scenes(monkeypatch):
    """A random map's sums in the squares are all alike, so it foretells the mean drop: what is
    left is the variance of the drops. The oracle is below it with its whole interval."""
    metric, ask, logits = METRICS["infidelity"], Classifier.predict, []

    def listen(classifier, x):
        logits.append(ask(classifier, x))
        return logits[-1]

    gain = []
    for case in scenes(8):
        noise = METHODS["random_map"](case.classifier, case.x, case.targets)[0]
        logits.clear()
        with monkeypatch.context() as patch:
            patch.setattr(Classifier, "predict", listen)
            floor = metric(case, none, attribution=noise, samples=20).value
        perturbed, before = (found[:, case.target].double() for found in logits)
        assert len(perturbed) == 20
        drops = before - perturbed
        assert floor == pytest.approx(float(drops.var(correction=0)), rel=0.15)
        gain.append(floor - metric(case, none, attribution=case.mask.float(), samples=20).value)
    gain = np.array(gain)
    assert gain.mean() - 1.96 * gain.std(ddof=1) / np.sqrt(len(gain)) > 0


@by_name
def test_all_methods_see_the_same_perturbed_pictures(name):
    case = small(dtype=torch.float32)
    with cache.remember() as answers:
        for attribution in (slope(case).sum(0), torch.rand(8, 8), -torch.rand(8, 8).double()):
            METRICS[name](case, none, attribution=attribution, samples=BATCH + 3)
    assert answers.misses == 3  # two batches of perturbed pictures, and the picture
    assert answers.hits == 1 + 2 * 4


@by_name
@pytest.mark.parametrize(
    ("setting", "error", "message"),
    [
        ({"perturbation": "square"}, ValueError, "perturbation must be a known name, got 'square'"),
        ({"size": 0}, ValueError, "size must be above 0, got 0"),
        ({"perturbation": "squares", "size": 1.5}, ValueError, "size must be >= 0 and <= 1"),
        ({"size": "big"}, TypeError, "size must be a number, got str 'big'"),
        ({"multiply_by_inputs": 1}, TypeError, "multiply_by_inputs must be a bool, got int 1"),
        ({"samples": 0}, ValueError, "samples must be >= 1, got 0"),
        ({"runs": 3}, TypeError, "has no setting 'runs'"),
    ],
)
def test_wrong_settings_are_named(name, setting, error, message):
    case = small()
    with pytest.raises(error, match=message):
        METRICS[name](case, none, attribution=slope(case)[0], **setting)
