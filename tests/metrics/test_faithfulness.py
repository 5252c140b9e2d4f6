"""Faithfulness: literal twins, hand-worked numbers, anchors, invariants, cost and refusals."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import reference_faithfulness as literal
import torch
from hypothesis import given, settings, strategies as st
from pytorch_grad_cam.metrics.road import (
    NoisyLinearImputer,
    RemoveLeastRelevantFirst,
    RemoveMostRelevantFirst,
)
from scipy.stats import spearmanr
from torch import Tensor, nn

from xaiutils.cases.case import Case, load_cases
from xaiutils.cases.workloads import load_workload
from xaiutils.metrics import flipping, mean_interval, regions, road
from xaiutils.metrics.record import CannotScore, picture_seed
from xaiutils.network.classifier import Classifier, wrap
from xaiutils.support import asking
from xaiutils.support.cache import remember

METRICS = {one.name: one for one in (*flipping.TABLE, *road.TABLE, *regions.TABLE)}
of_all = pytest.mark.parametrize("name", METRICS)
QUICK = {  # settings for pictures of a few pixels
    "srg": {"steps": 7},
    "morf": {"steps": 7},
    "lerf": {"steps": 7},
    "deletion": {"steps": 7},
    "insertion": {"steps": 7},
    "road": {"percentiles": 3},
    "idsds": {"grid": 4},
    "sensitivity_n": {"grid": 4, "sizes": 3, "subsets": 6},
}
numpy_of_old = pytest.mark.filterwarnings("ignore:__array_wrap__:DeprecationWarning")  # grad-cam
AFTER_ORDER = ("srg", "morf", "lerf", "deletion", "insertion")


def never(classifier, x, target):
    raise AssertionError("these metrics ask no explainer")


@cache
def small(height: int = 8, width: int = 9, *, linear: bool = False) -> Case:
    """A case on a network of a few weights, in float64."""
    with torch.random.fork_rng():
        torch.manual_seed(5)
        layers = [nn.Conv2d(3, 3, 3, padding=1), nn.ReLU(), nn.Flatten()]
        if linear:
            layers = [nn.Conv2d(3, 3, 1), nn.Flatten()]
        module = nn.Sequential(*layers, nn.Linear(3 * height * width, 4)).double().eval()
        x = torch.randn(1, 3, height, width, dtype=torch.float64)
    cam_layer = "0" if linear else None
    sizes = {"mean": (0.4, 0.5, 0.6), "std": (0.2, 0.25, 0.5), "size": (height, width)}
    return Case("small", wrap(module, **sizes, cam_layer=cam_layer), x, 2)


def answer_of(case: Case) -> literal.Answer:
    like = case.x

    def answer(picture):
        with torch.no_grad():
            return case.classifier.module(torch.from_numpy(picture)[None].to(like))[0].tolist()

    return answer


def noise(case: Case, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(case.x.shape[2:], generator=generator)


def tied(case: Case, seed: int = 0) -> Tensor:
    """A map as the hybrid's: most of it exactly zero."""
    return noise(case, seed).sub(0.8).clamp(min=0)


def contributions(case: Case) -> Tensor:
    """Of a linear network: what each pixel adds to the centred logit."""
    x = case.x.clone().requires_grad_()
    logits = case.classifier.module(x)[0]
    (gradient,) = torch.autograd.grad(logits[case.target] - logits.mean(), x)
    return (gradient * case.x).sum(1)[0]


def tie_seed(case: Case) -> int:
    return picture_seed(case, flipping.STREAM, 0)


@pytest.fixture
def asked(monkeypatch):
    """All batches that a classifier is asked about, in their order."""
    batches: list[Tensor] = []
    predict = Classifier.predict

    def spied(self, x):
        batches.append(x.clone())
        return predict(self, x)

    monkeypatch.setattr(Classifier, "predict", spied)
    return batches


@cache
def scenes(count: int = 6) -> list[Case]:
    return load_cases(load_workload("scenes", "calibration"), range(count))


# Pixel flipping


def literal_curve(case, attribution, kind, steps, output, base):
    x = case.x[0].double().numpy()
    black = case.classifier.bounds(case.x)[0][0].double().expand(*x.shape).numpy()
    other = {"mean": 0 * x, "blur": literal.blurred(x, x.shape[1] / 20), "black": black}[base]
    order = literal.ordered(attribution.double().flatten().tolist(), tie_seed(case))
    order = order[::-1] if kind == "lerf" else order
    ends = (other, x) if kind == "insertion" else (x, other)
    score = literal.centred if output == "centred" else literal.probability
    return literal.flipping_area(
        answer_of(case), *ends, order, steps, lambda logits: score(logits, case.target)
    )


@pytest.mark.parametrize("kind", flipping.KINDS)
@pytest.mark.parametrize("output", flipping.OUTPUTS)
@pytest.mark.parametrize("base", flipping.BASES)
def test_curves_equal_their_literal_twin(kind, output, base):
    case = small()
    for attribution, steps in ((noise(case), 5), (tied(case), 25), (-tied(case, 1), 72)):
        chosen = {"steps": steps, "output": output, "base": base}
        found = flipping.flipping_curve(case, attribution, kind, **chosen)
        expected = literal_curve(case, attribution, kind, **chosen)
        assert found.area == pytest.approx(expected, abs=1e-9)
        assert (found.fractions[0], found.fractions[-1]) == (0, 1)
        assert len(found.fractions) == len(found.values) == steps + 1


def test_flipping_scores_are_areas_of_their_curves():
    case, attribution = small(), tied(small())
    areas = {
        kind: literal_curve(case, attribution, kind, 25, "centred", "mean")
        for kind in ("morf", "lerf")
    }
    expected = areas | {
        "srg": areas["lerf"] - areas["morf"],
        "deletion": literal_curve(case, attribution, "morf", 25, "softmax", "mean"),
        "insertion": literal_curve(case, attribution, "insertion", 25, "softmax", "blur"),
    }
    for name, value in expected.items():
        found = METRICS[name](case, never, attribution=attribution).value
        assert found == pytest.approx(value, abs=1e-9), name


def test_a_shipped_scene_equals_the_literal_twins():
    case = scenes()[0]
    attribution = tied(case)
    found = METRICS["morf"](case, never, attribution=attribution, steps=3).value
    twin = literal_curve(case, attribution, "morf", 3, "centred", "mean")
    assert found == pytest.approx(twin, abs=1e-5)  # the network's own float32
    found = METRICS["idsds"](case, never, attribution=attribution, grid=3).value
    pixels = literal.patch_pixels(128, 128, 3)
    values = attribution.double().flatten().tolist()
    picture = case.x[0].numpy()
    pairs = literal.region_pairs(answer_of(case), picture, values, pixels, case.target)
    assert found == pytest.approx(literal.pearson(*map(literal.ranks, pairs)), abs=1e-6)


def by_hand() -> Case:
    """Logits (sum of four pixels, 0): the centred logit is half of the sum. The pixels: 4 2 1 1."""
    module = nn.Sequential(nn.Conv2d(1, 1, 1, bias=False), nn.Flatten(), nn.Linear(4, 2))
    with torch.no_grad():
        module[0].weight.fill_(1)
        module[2].weight.copy_(torch.tensor([[1.0, 1, 1, 1], [0, 0, 0, 0]]))
        module[2].bias.zero_()
    x = torch.tensor([[[[4.0, 2.0], [1.0, 1.0]]]])
    return Case("hand", wrap(module.eval(), size=2, cam_layer="0"), x, 0)


def test_flipping_by_hand():
    case, ranked = by_hand(), torch.tensor([[4.0, 3.0], [2.0, 1.0]])
    curve = flipping.flipping_curve(case, ranked, steps=4)
    assert curve.values.tolist() == [4, 2, 1, 0.5, 0]  # 8, 4, 2, 1, 0 halved
    assert curve.fractions.tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert METRICS["morf"](case, never, attribution=ranked, steps=4).value == 1.375
    # lowest first: 8, 7, 6, 4, 0 halved; (4 / 2 + 3.5 + 3 + 2 + 0 / 2) / 4
    assert METRICS["lerf"](case, never, attribution=ranked, steps=4).value == 2.625
    assert METRICS["srg"](case, never, attribution=ranked, steps=4).value == 1.25
    # Two steps of two pixels: 8, 2, 0 halved; (4 / 2 + 1 + 0 / 2) / 2
    assert METRICS["morf"](case, never, attribution=ranked, steps=2).value == 1.5
    # Probabilities of logits (s, 0): s = 8, 2, 0
    p = [1 / (1 + np.exp(-s)) for s in (8, 2, 0)]
    found = METRICS["deletion"](case, never, attribution=ranked, steps=2).value
    assert found == pytest.approx((p[0] / 2 + p[1] + p[2] / 2) / 2)


def test_for_a_linear_network_no_order_falls_faster_than_its_contributions():
    case = small(linear=True)
    best = METRICS["morf"](case, never, attribution=contributions(case)).value
    others = [
        METRICS["morf"](case, never, attribution=noise(case, seed)).value for seed in range(50)
    ]
    assert best < min(others)
    best = METRICS["srg"](case, never, attribution=contributions(case)).value
    assert best > max(
        METRICS["srg"](case, never, attribution=noise(case, seed)).value for seed in range(50)
    )


values = st.lists(st.integers(-3, 3), min_size=72, max_size=72).filter(lambda v: len(set(v)) > 1)


@given(values, st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_order_is_descending_and_chance_decides_ties_alone(drawn, seed):
    attribution = torch.tensor(drawn, dtype=torch.float32).view(8, 9)
    found = flipping.order(attribution, seed)
    assert found.tolist() == literal.ordered(drawn, seed)
    assert sorted(found) == list(range(72))
    assert (np.diff(np.array(drawn)[found]) <= 0).all()
    assert np.array_equal(found, flipping.order(attribution * 1e-30, seed))


def test_ties_are_not_flipped_row_by_row():
    first = torch.zeros(64, 64)
    first[0, 0] = 1
    removed = flipping.order(first, 3)[1 : 64 * 32] // 64  # the rows of the first half of the ties
    assert removed.mean() == pytest.approx(31.5, abs=3)
    assert not np.array_equal(flipping.order(first, 3), flipping.order(first, 4))


@given(values, st.integers(0, 2**32 - 1))
@settings(max_examples=25, deadline=None)
def test_srg_is_lerf_less_morf_and_turns_over_with_the_map(drawn, seed):
    case = small()
    attribution = torch.tensor(drawn, dtype=torch.float64).view(8, 9)
    found = {
        name: METRICS[name](case, never, attribution=attribution, seed=seed, steps=9).value
        for name in ("srg", "lerf", "morf")
    }
    assert found["srg"] == found["lerf"] - found["morf"]
    distinct = attribution + noise(case).double() / 100
    one, other = (
        METRICS["srg"](case, never, attribution=a, steps=9).value for a in (distinct, -distinct)
    )
    assert one == pytest.approx(-other, abs=1e-12)


def test_flipping_metrics_ask_the_same_questions_of_one_map(asked):
    case, attribution = small(), tied(small())

    def questions(name, seed=0):
        asked.clear()
        METRICS[name](case, never, attribution=attribution, seed=seed, steps=40)
        return [(batch.shape[0], batch.numpy().tobytes()) for batch in asked]

    morf, lerf = questions("morf"), questions("lerf")
    assert [count for count, _ in morf] == [2, 32, 7]
    assert questions("deletion") == morf
    assert questions("deletion", seed=9) == questions("morf", seed=9) != morf  # other ties
    assert questions("srg") == morf + lerf
    assert lerf[0] == morf[0]  # both ends are the same for every map


def test_a_memo_answers_what_another_metric_has_asked():
    case, attribution = small(), tied(small())
    with remember():
        METRICS["morf"](case, never, attribution=attribution, steps=9)
        with asking.watch() as seen:
            METRICS["deletion"](case, never, attribution=attribution, steps=9)
        assert seen.images == 0
        with asking.watch() as seen:
            METRICS["srg"](case, never, attribution=attribution, steps=9)
        assert seen.images == 8  # least relevant first, between the ends


# ROAD


def test_road_equals_its_literal_twin():
    case = small()
    picture = case.x[0].numpy()
    for attribution in (noise(case), tied(case)):
        found = METRICS["road"](case, never, attribution=attribution, percentiles=4, noise=0)
        seed = picture_seed(case, "road", 0)
        order = literal.ordered(attribution.double().flatten().tolist(), seed)
        expected = literal.road(answer_of(case), picture, order, 4, case.target)
        assert found.value == pytest.approx(expected, abs=1e-9)


@given(st.lists(st.booleans(), min_size=42, max_size=42).filter(any), st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_imputation_equals_a_dense_solution(drawn, seed):
    known = np.array(drawn).reshape(6, 7)
    picture = np.random.default_rng(seed).normal(size=(3, 6, 7))
    found = road.impute(picture, known)
    np.testing.assert_allclose(found, literal.imputed(picture, known), atol=1e-9)
    assert np.array_equal(found[:, known], picture[:, known])
    # a mean of neighbours leaves the range of what is known nowhere
    for channel, full in zip(picture, found, strict=True):
        assert full.min() >= channel[known].min() - 1e-9
        assert full.max() <= channel[known].max() + 1e-9


@numpy_of_old
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_imputation_equals_grad_cam(share):
    generator = np.random.default_rng(0)
    known, picture = generator.random((14, 11)) > share, generator.normal(size=(3, 14, 11))
    mask = torch.from_numpy(known).float()
    theirs = NoisyLinearImputer(noise=0)(torch.from_numpy(picture).float(), mask)
    np.testing.assert_allclose(road.impute(picture, known), theirs.numpy(), atol=2e-5)


def test_imputation_by_hand():
    # One unknown in a corner: beside it 6 and 9, across 12, so (6 / 6 + 9 / 6 + 12 / 12) / (5 / 12)
    picture = np.array([[[0.0, 6.0], [9.0, 12.0]]])
    known = np.array([[False, True], [True, True]])
    assert road.impute(picture, known)[0, 0, 0] == pytest.approx(8.4)
    assert picture[0, 0, 0] == 0  # what came is left alone


def test_imputation_of_what_is_known_beforehand():
    known = np.random.default_rng(0).random((12, 12)) < 0.2
    flat = np.full((2, 12, 12), 0.7)
    np.testing.assert_allclose(road.impute(flat, known), flat, atol=1e-12)
    known[[0, -1]] = known[:, [0, -1]] = True  # inside, a ramp is the mean of its neighbours
    rows, columns = np.mgrid[:12, :12]
    ramp = np.stack([2.0 * rows - columns + 1, 0.5 * columns])
    np.testing.assert_allclose(road.impute(ramp, known), ramp, atol=1e-10)
    assert (road.impute(ramp, np.zeros_like(known)) == 0).all()
    assert np.array_equal(road.impute(ramp, np.ones_like(known)), ramp)


@numpy_of_old
def test_road_equals_grad_cam_where_nothing_is_tied():
    case = small(10, 10)  # with 100 pixels its percentiles cut between ranks
    attribution = noise(case)
    found = METRICS["road"](case, never, attribution=attribution, noise=0).value
    imputer, answer, halves = NoisyLinearImputer(noise=0), answer_of(case), []
    for percentile in range(10, 100, 10):
        kept = [
            remove(percentile, imputer)(case.x[0].float(), attribution).double().numpy()
            for remove in (RemoveLeastRelevantFirst, RemoveMostRelevantFirst)
        ]
        least, most = (literal.centred(answer(one), case.target) for one in kept)
        halves.append((least - most) / 2)
    assert found == pytest.approx(np.mean(halves), abs=1e-5)


def test_road_adds_noise_to_removed_pixels_alone(asked):
    case, attribution = small(40, 40), noise(small(40, 40))
    asked.clear()
    for level in (0, 0.01):
        METRICS["road"](case, never, attribution=attribution, percentiles=1, noise=level)
    plain, noisy = asked
    added = (noisy - plain)[0]  # MoRF: the upper half is removed
    removed = attribution > attribution.median()
    assert (added[:, ~removed] == 0).all()
    spread = added[:, removed].std(1)
    width = 0.01 / torch.tensor([0.2, 0.25, 0.5], dtype=torch.float64)  # 1 % of black to white
    torch.testing.assert_close(spread, width, rtol=0.1, atol=0)


# Regions


@pytest.mark.parametrize("drawn_by", [noise, tied])
def test_regions_equal_their_literal_twins(drawn_by, asked):
    case = small()
    attribution = drawn_by(case)
    picture, answer = case.x[0].numpy(), answer_of(case)
    drawn = attribution.double().flatten().tolist()
    found = METRICS["idsds"](case, never, attribution=attribution, grid=3).value
    pixels = literal.patch_pixels(8, 9, 3)
    pairs = literal.region_pairs(answer, picture, drawn, pixels, case.target)
    assert found == pytest.approx(literal.pearson(*map(literal.ranks, pairs)), abs=1e-9)
    assert found == pytest.approx(spearmanr(*pairs).statistic, abs=1e-9)

    asked.clear()
    chosen = {"grid": 4, "sizes": 3, "subsets": 12}
    found = METRICS["sensitivity_n"](case, never, attribution=attribution, **chosen).value
    pictures = torch.cat(asked)
    assert torch.equal(pictures[:1], case.x)
    gone = (pictures[1:] == 0).all(1).flatten(1)  # what was removed shows in the questions
    removed = [row.nonzero()[:, 0].tolist() for row in gone]
    patches = literal.patch_pixels(8, 9, 4)
    sizes = [[sum(set(p) <= set(row) for p in patches) for row in removed[i : i + 12]]
             for i in (0, 12, 24)]  # fmt: skip
    assert sizes == [[1] * 12, [4] * 12, [13] * 12]  # 1 to 4/5 of 16, geometrically
    assert all(sum(len(p) for p in patches if set(p) <= set(row)) == len(row) for row in removed)
    parts = [
        literal.pearson(
            *literal.region_pairs(answer, picture, drawn, removed[i : i + 12], case.target)
        )
        for i in (0, 12, 24)
    ]
    assert found == pytest.approx(np.mean(parts), abs=1e-9)


def test_patches_by_hand():
    assert regions.patches((3, 5), 2).tolist() == [
        [0, 0, 0, 1, 1],
        [0, 0, 0, 1, 1],
        [2, 2, 2, 3, 3],
    ]


def test_region_scores_are_one_for_the_contributions_of_a_linear_network():
    case = small(linear=True)
    right = contributions(case)
    for name in ("idsds", "sensitivity_n"):
        assert METRICS[name](case, never, attribution=right).value == pytest.approx(1)
        assert METRICS[name](case, never, attribution=-right).value == pytest.approx(-1)


def test_idsds_of_the_drops_themselves_is_one():
    case = small()
    patch = regions.patches((8, 9), 4)
    drops = regions.drops(case, patch == np.arange(16)[:, None, None])
    oracle = torch.from_numpy((drops / np.bincount(patch.ravel()))[patch])
    assert METRICS["idsds"](case, never, attribution=oracle, grid=4).value == pytest.approx(1)


@pytest.mark.parametrize("name", ["idsds", "sensitivity_n"])
def test_what_regions_ask_does_not_depend_on_the_map(name, asked):
    case = small()
    batches = []
    for attribution in (noise(case), tied(case)):
        asked.clear()
        METRICS[name](case, never, attribution=attribution)
        assert max(len(batch) for batch in asked) <= flipping.BATCH
        batches.append([batch.clone() for batch in asked])
    assert all(torch.equal(a, b) for a, b in zip(*batches, strict=True))


# All of them


@pytest.mark.parametrize("name", ["road", "sensitivity_n"])
def test_the_seed_decides_chance(name):
    case = small()
    scores = {
        METRICS[name](case, never, attribution=noise(case), seed=seed).value for seed in range(4)
    }
    assert len(scores) == 4


# What random maps and the oracle score, on scenes of the split calibration
QUICK_SCENES = {
    "srg": {"steps": 10},
    "lerf": {"steps": 10},
    "insertion": {"steps": 10},
    "road": {"percentiles": 2},
    "idsds": {"grid": 6},
    "sensitivity_n": {"sizes": 2, "subsets": 15},
}


@pytest.mark.parametrize("name", QUICK_SCENES)
def test_the_oracle_scores_above_a_random_map_with_its_whole_interval(name):
    metric, gains = METRICS[name], []
    for index, case in enumerate(scenes()):
        maps = (case.mask.float(), noise(case, index))
        oracle, chance = (
            metric(case, never, attribution=a, **QUICK_SCENES[name]).value for a in maps
        )
        gains.append(oracle - chance)
    assert mean_interval(torch.tensor(gains))[1] > 0


@pytest.mark.parametrize("name", ["srg", "road", "idsds", "sensitivity_n"])
def test_random_maps_score_zero_on_average(name):
    case = small()
    assert METRICS[name].chance(case) == 0
    scores = torch.tensor(
        [
            METRICS[name](case, never, attribution=noise(case, seed), **QUICK[name]).value
            for seed in range(100)
        ]
    )
    assert abs(scores.mean()) < 3 * scores.std() / len(scores) ** 0.5


def test_the_map_that_keeps_an_outline_is_no_anchor_of_morf():
    """The object's mask, which removes a silhouette at once, is worse than a random map."""
    worse = []
    for index, case in enumerate(scenes()):
        maps = (case.mask.float(), noise(case, index))
        oracle, chance = (METRICS["morf"](case, never, attribution=a, base="black", steps=10).value
                          for a in maps)  # fmt: skip
        worse.append(oracle - chance)
    assert mean_interval(torch.tensor(worse))[1] > 0


# Refusals


def test_curves_refuse_maps_without_an_order_too():
    with pytest.raises(CannotScore, match="the map is zero everywhere"):
        flipping.flipping_curve(small(), torch.zeros(8, 9))
    with pytest.raises(ValueError, match="attribution and picture must have one shape"):
        flipping.flipping_curve(small(), torch.rand(9, 8))


@pytest.mark.parametrize("name", ["idsds", "sensitivity_n"])
def test_regions_without_a_correlation_are_not_scored(name):
    case = small(8, 8)
    within = torch.tensor([[1.0, -1.0], [0.0, 0.0]]).repeat(4, 4)  # each patch sums to zero
    score = METRICS[name](case, never, attribution=within, **QUICK[name])
    assert score.why == "the map gives every region the same sum"
    module = nn.Sequential(
        nn.Conv2d(3, 3, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(192, 4)
    )
    nn.init.zeros_(module[3].weight)
    deaf = Case("deaf", wrap(module.double().eval(), size=8), case.x, 2)
    score = METRICS[name](deaf, never, attribution=noise(case), **QUICK[name])
    assert np.isnan(score.value)
    assert score.why == "no region changes the network's answer more than another"


@pytest.mark.parametrize(
    ("name", "wrong", "error", "message"),
    [
        *((name, {"steps": 1}, ValueError, "steps must be >= 2, got 1") for name in AFTER_ORDER),
        ("srg", {"steps": 73}, ValueError, "steps must be <= 72, got 73"),
        ("srg", {"steps": 2.5}, ValueError, "steps must be a whole number, got 2.5"),
        ("morf", {"steps": "9"}, TypeError, "steps must be a number, got str '9'"),
        ("lerf", {"output": "logit"}, ValueError, "output must be a known name, got 'logit'"),
        ("insertion", {"base": "white"}, ValueError, "base must be a known name, got 'white'"),
        ("deletion", {"output": "centred"}, TypeError, "deletion has no setting 'output'"),
        ("road", {"percentiles": 0}, ValueError, "percentiles must be >= 1, got 0"),
        ("road", {"noise": -0.1}, ValueError, "noise must be >= 0, got -0.1"),
        ("road", {"output": "logit"}, ValueError, "output must be a known name, got 'logit'"),
        ("idsds", {"grid": 1}, ValueError, "grid must be >= 2, got 1"),
        ("idsds", {"grid": 9}, ValueError, "grid must be <= 8, got 9"),
        ("sensitivity_n", {"subsets": 2}, ValueError, "subsets must be >= 3, got 2"),
        ("sensitivity_n", {"sizes": 0}, ValueError, "sizes must be >= 1, got 0"),
        ("sensitivity_n", {"grid": 2}, ValueError, r"different numbers of 4 patches, got 5: \[1,"),
    ],
)
def test_wrong_settings_are_refused(name, wrong, error, message):
    with pytest.raises(error, match=message):
        METRICS[name](small(), never, attribution=noise(small()), **wrong)


def test_curve_refuses_an_unknown_kind():
    with pytest.raises(ValueError, match="kind must be a known name, got 'most'"):
        flipping.flipping_curve(small(), noise(small()), "most")
