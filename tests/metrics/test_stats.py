"""Intervals, tests, effect sizes and variance components against twins, hand and libraries."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
import reference_stats as twin
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from xaiutils import metrics
from xaiutils.metrics import stats

RNG = np.random.default_rng(7)
SCORES = RNG.normal(0.5, 0.2, 40)
OTHERS = SCORES - RNG.gamma(1, 0.1, 40) + 0.05
COARSE = st.integers(-4, 4).map(float)


def test_mean_interval_is_the_metrics_own():
    assert metrics.mean_interval is stats.mean_interval


@pytest.mark.parametrize("level", [0.9, 0.95])
def test_the_interval_is_bca(level):
    draws = np.random.default_rng(0).integers(0, 40, (2000, 40))
    low, high = twin.bca(OTHERS.tolist(), level, draws)
    found = stats.mean_interval(torch.from_numpy(OTHERS), level)
    assert found == pytest.approx((OTHERS.mean(), low, high), abs=1e-9)


def test_the_interval_covers_the_true_mean_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(300):
        _, low, high = stats.mean_interval(torch.from_numpy(rng.exponential(1, 40)))
        hits += low <= 1 <= high
    assert 0.89 <= hits / 300 <= 0.98  # 0.95, less what a skewed sample of 40 costs


def test_paired_by_hand():
    pair = stats.paired([3, 5, math.nan, 4, math.inf], [1, 2, 3, 4, 5])
    # differences 2, 3, 0 on the three complete images
    assert (pair.n, pair.excluded) == (3, 2)
    assert (pair.mean, pair.other_mean) == pytest.approx((4, 7 / 3))
    assert pair.difference == pytest.approx(5 / 3)
    assert pair.low < pair.low_90 < pair.difference < pair.high_90 < pair.high
    assert pair.effect == pytest.approx(5 / 6)  # ranks 2, 3 of 1 + 2 + 3; the zero has rank 1


def test_paired_is_the_interval_and_the_tests_of_the_differences():
    pair, gain = stats.paired(SCORES, OTHERS), torch.from_numpy(SCORES - OTHERS)
    assert (pair.difference, pair.low, pair.high) == stats.mean_interval(gain)
    assert (pair.low_90, pair.high_90) == stats.mean_interval(gain, 0.9)[1:]
    assert pair.p == stats.wilcoxon(gain) == scipy.stats.wilcoxon(SCORES, OTHERS).pvalue
    assert pair.effect == stats.rank_biserial(gain)


def test_lower_is_better_turns_the_difference_over_but_not_the_means():
    up, down = stats.paired(SCORES, OTHERS), stats.paired(SCORES, OTHERS, "lower")
    assert (down.mean, down.other_mean) == (up.mean, up.other_mean)
    assert (down.difference, down.effect) == (-up.difference, -up.effect)
    assert down.p == up.p
    assert (down.low, down.high) == pytest.approx((-up.high, -up.low), abs=0.01)


def test_paired_without_images_and_with_one():
    none = stats.paired([math.nan], [1])
    assert (none.n, none.excluded) == (0, 1)
    assert all(math.isnan(v) for v in none[2:])
    one = stats.paired([2], [1])
    assert one.difference == 1
    assert math.isnan(one.low)
    same = stats.paired(SCORES, SCORES)
    assert same[4:] == (0, 0, 0, 0, 0, 1, 0)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: stats.paired([1], [1, 2]), ValueError, "paired by image, got 1 and 2"),
        (lambda: stats.paired([1], [2], "more"), ValueError, "better must be a known name"),
        (lambda: stats.paired("abc", [2]), TypeError, "scores must be numbers, got str 'abc'"),
        (lambda: stats.paired([[1]], [2]), ValueError, r"1 dimension\(s\), got \(1, 1\)"),
        (lambda: stats.holm([0.5, 1.2]), ValueError, r"p must be in \[0, 1\], got 0.5 to 1.2"),
        (lambda: stats.mean_ranks([[1, 2], [3, 4]]), ValueError, r"k >= 3, got \(2, 2\)"),
        (lambda: stats.mean_ranks([[1, 2, math.nan]] * 3), ValueError, r"got \(0, 3\)"),
        (lambda: stats.mean_ranks(np.eye(3), alpha=1), ValueError, "alpha must be >= 0 and < 1"),
        (lambda: stats.variance_components(np.ones((2, 2, 1))), ValueError, r"\(2, 2, 1\)"),
        (lambda: stats.variance_components(np.full((2, 2, 2), np.nan)), ValueError, "finite"),
        (lambda: stats.auroc([1, 2], [0, 1]), ValueError, "positive must be bool, .* got int64"),
        (lambda: stats.auroc([1, 2], [True]), ValueError, r"got bool \(1,\)"),
        (lambda: stats.auroc([1, math.nan], [True, False]), ValueError, "scores must be finite"),
        (lambda: stats.auroc([1, 2], [True, True]), ValueError, "both classes, got 2 of 2"),
        (lambda: stats.auroc([1, 2], [False, False]), ValueError, "both classes, got 0 of 2"),
        (lambda: stats.equivalent(stats.paired([1], [1]), -1), ValueError, "margin must be >= 0"),
    ],
)
def test_wrong_input_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_equivalent_is_two_one_sided_tests():
    pair = stats.paired(SCORES, OTHERS)
    ends = max(-pair.low_90, pair.high_90)
    assert not stats.equivalent(pair, ends)
    assert stats.equivalent(pair, ends + 1e-9)
    assert not stats.equivalent(stats.paired([1], [1]), 1)  # one image: no interval


def test_equivalent_agrees_with_two_t_tests_on_a_normal_sample():
    gain = np.random.default_rng(3).normal(0.02, 0.2, 200)
    pair = stats.paired(gain, np.zeros(200))
    for margin in (0.03, 0.04, 0.05, 0.06, 0.08):
        tests = [
            scipy.stats.ttest_1samp(gain, -margin, alternative="greater").pvalue,
            scipy.stats.ttest_1samp(gain, margin, alternative="less").pvalue,
        ]
        assert stats.equivalent(pair, margin) == (max(tests) < 0.05), margin


def test_wilcoxon_is_exact_without_ties_and_zeros():
    gains = [0.3, -0.1, 0.5, 0.7, -0.2, 0.9, 1.1, 0.4]
    assert stats.wilcoxon(gains) == pytest.approx(twin.wilcoxon_exact(gains), abs=1e-12)
    # by hand: all of n = 5 positive is 1 of 32 sign patterns, and so is all negative
    assert stats.wilcoxon([1, 2, 3, 4, 5]) == pytest.approx(2 / 32)


@settings(deadline=None)
@given(st.lists(COARSE, min_size=4, max_size=30))
def test_wilcoxon_with_ties_and_zeros_is_pratts(gains):
    if not any(gains):
        assert stats.wilcoxon(gains) == 1
    elif len({abs(g) for g in gains}) < len(gains) or 0 in gains:
        assert stats.wilcoxon(gains) == pytest.approx(twin.wilcoxon_normal(gains), abs=1e-9)
    assert stats.wilcoxon([-g for g in gains]) == pytest.approx(stats.wilcoxon(gains))
    assert stats.wilcoxon([*gains, math.nan]) == stats.wilcoxon(gains)


def test_wilcoxon_of_many_is_scipys_normal_approximation():
    gains = np.random.default_rng(1).normal(0.1, 1, 80)
    expected = scipy.stats.wilcoxon(gains, method="asymptotic").pvalue
    assert stats.wilcoxon(gains) == pytest.approx(expected)
    assert stats.wilcoxon(gains) == pytest.approx(twin.wilcoxon_normal(gains.tolist()), abs=1e-9)
    assert math.isnan(stats.wilcoxon([math.nan]))


@given(st.lists(COARSE, min_size=1, max_size=20))
def test_rank_biserial_equals_its_twin_and_stays_in_range(gains):
    r = stats.rank_biserial(gains)
    assert r == pytest.approx(twin.rank_biserial(gains), abs=1e-12)
    assert -1 <= r <= 1
    assert r == pytest.approx(-stats.rank_biserial([-g for g in gains]))
    assert stats.rank_biserial([7 * g for g in gains]) == r


def test_rank_biserial_by_hand():
    # ranks of 0, 1, -2, 3: 1, 2, 3, 4; (2 - 3 + 4) / 10
    assert stats.rank_biserial([1, -2, 3, 0]) == pytest.approx(0.3)
    assert stats.rank_biserial([1, 2, 3]) == 1
    assert math.isnan(stats.rank_biserial([]))


def test_holm_by_hand():
    # sorted .005 .01 .03 .04 times 4 3 2 1: .02 .03 .06 .04, and the last may not fall below .06
    assert stats.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert stats.holm([0.5, 0.9]) == pytest.approx([1, 1])
    assert stats.holm([]).tolist() == []


@given(st.lists(st.integers(0, 40).map(lambda v: v / 40), min_size=1, max_size=12), st.randoms())
def test_holm_equals_its_twin_in_any_order(p, shuffler):
    adjusted = stats.holm(p)
    assert adjusted == pytest.approx(twin.holm(p), abs=1e-12)
    assert (adjusted >= np.array(p) - 1e-15).all()
    order = list(range(len(p)))
    shuffler.shuffle(order)
    assert stats.holm([p[i] for i in order]) == pytest.approx(adjusted[order])
    with_gap = stats.holm([math.nan, *p])
    assert math.isnan(with_gap[0])
    assert (with_gap[1:] == adjusted).all()


def test_mean_ranks_by_hand():
    scores = [[0.9, 0.5, 0.1], [0.8, 0.8, 0.2], [0.7, 0.9, 0.1], [math.nan, 1, 1]]
    found = stats.mean_ranks(scores)
    # ranks 1 2 3, 1.5 1.5 3, 2 1 3; the image without a score of the first method is left out
    assert found.ranks == pytest.approx([1.5, 1.5, 3])
    assert (found.n, found.excluded) == (3, 1)
    assert stats.mean_ranks(scores, "lower").ranks == pytest.approx([2.5, 2.5, 1])
    assert found.p == scipy.stats.friedmanchisquare(*np.array(scores[:3]).T).pvalue


@pytest.mark.parametrize(("k", "q"), [(3, 2.343), (4, 2.569), (5, 2.728)])
def test_the_critical_difference_is_nemenyis(k, q):
    scores = np.random.default_rng(0).random((14, k))
    # q from Demšar's table 5a; for k = 4 and N = 14 his example has 1.25
    expected = q * math.sqrt(k * (k + 1) / (6 * 14))
    assert stats.mean_ranks(scores).critical_difference == pytest.approx(expected, abs=1e-3)
    assert stats.mean_ranks(scores, alpha=0.1).critical_difference < expected


def test_friedman_equals_its_twin():
    scores = np.random.default_rng(2).random((12, 4)) + [0, 0.1, 0.2, 0.3]
    chi = twin.friedman(scores.tolist())
    assert stats.mean_ranks(scores).p == pytest.approx(scipy.stats.chi2.sf(chi, 3), abs=1e-12)
    assert stats.mean_ranks(np.ones((4, 3))).p == 1


def test_variance_components_by_hand():
    method, image, seed = np.array([0, 2]), np.array([0, 4]), np.array([-1, 1])
    # no noise: the sample variances of the effects, 2, 8 and 2; the mean over two seeds adds
    # 2 / 2 to the images' spread, which is taken off again
    x = method[:, None, None] + image[:, None] + 0 * seed
    assert stats.variance_components(x) == pytest.approx((2, 8, 0, 0, 0))
    assert stats.variance_components(x + seed) == pytest.approx((2, 7, 0, 2, 0))


@settings(deadline=None, max_examples=30)
@given(st.tuples(*(st.integers(2, 4),) * 3), st.integers(0, 1000))
def test_variance_components_equal_their_twin(shape, seed):
    x = np.random.default_rng(seed).normal(3, 2, shape)
    found = stats.variance_components(x)
    assert found == pytest.approx(twin.variance_components(x.tolist()), abs=1e-9)
    assert stats.variance_components(x + 5) == pytest.approx(found, abs=1e-9)
    assert stats.variance_components(3 * x) == pytest.approx([9 * v for v in found], abs=1e-8)


def test_variance_components_are_unbiased():
    rng = np.random.default_rng(0)
    true = (1.0, 4.0, 0.5, 2.0, 0.25)  # method, image, interaction, seed, residual
    shapes = ((4, 1, 1), (1, 6, 1), (4, 6, 1), (1, 6, 3), (4, 6, 3))
    runs = np.array(
        [
            stats.variance_components(
                sum(rng.normal(0, v**0.5, shape) for v, shape in zip(true, shapes, strict=True))
            )
            for _ in range(3000)
        ]
    )
    error = runs.std(0) / len(runs) ** 0.5
    assert (np.abs(runs.mean(0) - true) < 4 * error).all()
    assert (runs < 0).any()  # an unbiased estimate must be able to fall below 0


def test_auroc_by_hand():
    # of the 2 x 2 pairs, 0.35 is below 0.4 alone
    assert stats.auroc([0.1, 0.4, 0.35, 0.8], np.array([0, 0, 1, 1], bool))[0] == 0.75
    assert stats.auroc([1, 1, 1], [True, False, True])[0] == 0.5


@given(st.lists(st.tuples(COARSE, st.booleans()), min_size=2, max_size=25))
def test_auroc_equals_its_twin_and_sklearn(rows):
    scores, truth = map(list, zip(*rows, strict=True))
    if len(set(truth)) < 2:
        return
    area = stats.auroc(scores, truth)[0]
    assert area == pytest.approx(twin.auroc(scores, truth), abs=1e-12)
    assert area == pytest.approx(roc_auc_score(truth, scores), abs=1e-12)
    assert stats.auroc([math.exp(v) for v in scores], truth)[0] == area
    assert stats.auroc([-v for v in scores], truth)[0] == pytest.approx(1 - area)


def test_the_auroc_interval_is_that_of_resampled_images():
    rng = np.random.default_rng(5)
    truth = np.arange(120) % 3 == 0
    scores = np.round(rng.normal(0, 1, 120) + truth, 1)
    area, low, high = stats.auroc(scores, truth)
    above, below = scores[truth], scores[~truth]
    found = []
    for _ in range(1000):
        drawn = rng.choice(above, len(above)), rng.choice(below, len(below))
        wins = (drawn[0][:, None] > drawn[1]) + (drawn[0][:, None] == drawn[1]) / 2
        found.append(wins.mean())
    assert low < area < high
    assert (low, high) == pytest.approx(tuple(np.quantile(found, (0.025, 0.975))), abs=0.02)


def test_the_auroc_interval_where_there_is_none():
    assert stats.auroc([1, 2, 3, 4], [False, False, True, True]) == (1, 1, 1)
    assert stats.auroc([1, 2, 3, 4], [True, True, False, False]) == (0, 0, 0)
    assert stats.auroc([1, 1, 1, 1], [True, True, False, False]) == (0.5, 0.5, 0.5)
    area, low, high = stats.auroc([1, 2, 3], [False, True, True])
    assert area == 1
    assert math.isnan(low)
    assert math.isnan(high)


def numpy_state() -> bytes:
    return np.random.get_state()[1].tobytes()  # noqa: NPY002


def test_random_states_stay():
    states = numpy_state(), random.getstate(), torch.get_rng_state().tolist()
    first = stats.paired(SCORES, OTHERS), stats.auroc(SCORES, SCORES > OTHERS)
    assert first == (stats.paired(SCORES, OTHERS), stats.auroc(SCORES, SCORES > OTHERS))
    assert (numpy_state(), random.getstate(), torch.get_rng_state().tolist()) == states
