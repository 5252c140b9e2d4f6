"""Intervals, tests and effect sizes against twins, hand and libraries."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
import reference_stats as twin
import scipy.stats
import torch
from hypothesis import given, settings, strategies as st

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


def numpy_state() -> bytes:
    return np.random.get_state()[1].tobytes()  # noqa: NPY002


def test_random_states_stay():
    states = numpy_state(), random.getstate(), torch.get_rng_state().tolist()
    assert stats.paired(SCORES, OTHERS) == stats.paired(SCORES, OTHERS)
    assert (numpy_state(), random.getstate(), torch.get_rng_state().tolist()) == states
