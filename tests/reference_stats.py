"""Slow literal twins of the statistics: loops over images, straight from the formulas."""

from __future__ import annotations

import itertools
import math

import numpy as np
from scipy.stats import norm


def bca(values: list[float], level: float, draws: np.ndarray) -> tuple[float, float]:
    """Efron and Tibshirani 1993, eq. 14.9 to 14.15, for the mean and the given resamples."""
    n = len(values)
    mean = sum(values) / n
    found = sorted(sum(values[i] for i in draw) / n for draw in draws)
    below = sum(v < mean for v in found) / len(found)
    upto = sum(v <= mean for v in found) / len(found)
    bias = norm.ppf((below + upto) / 2)  # ties of the mean count half
    left_out = [(sum(values) - v) / (n - 1) for v in values]
    middle = sum(left_out) / n
    cubes = sum((middle - v) ** 3 for v in left_out)
    squares = sum((middle - v) ** 2 for v in left_out)
    acceleration = cubes / (6 * squares**1.5)
    ends = []
    for share in ((1 - level) / 2, (1 + level) / 2):
        z = bias + norm.ppf(share)
        ends.append(np.quantile(found, norm.cdf(bias + z / (1 - acceleration * z))))
    return ends[0], ends[1]


def ranks(values: list[float]) -> list[float]:
    """From 1; equal values share the mean of their places."""
    return [1 + sum(w < v for w in values) + (sum(w == v for w in values) - 1) / 2 for v in values]


def signed_ranks(differences: list[float]) -> tuple[float, float]:
    place = ranks([abs(d) for d in differences])
    pairs = list(zip(differences, place, strict=True))
    return sum(r for d, r in pairs if d > 0), sum(r for d, r in pairs if d < 0)


def wilcoxon_exact(differences: list[float]) -> float:
    """Every assignment of signs is as likely: the share that is at least as far from the middle."""
    n = len(differences)
    place = ranks([abs(d) for d in differences])
    middle = n * (n + 1) / 4
    far = abs(signed_ranks(differences)[0] - middle)
    sums = [
        sum(r for r, on in zip(place, signs, strict=True) if on)
        for signs in itertools.product((0, 1), repeat=n)
    ]
    return sum(abs(s - middle) >= far for s in sums) / len(sums)


def wilcoxon_normal(differences: list[float]) -> float:
    """Pratt: given which are 0, each other rank is added or not by a fair coin."""
    place = ranks([abs(d) for d in differences])
    free = [r for d, r in zip(differences, place, strict=True) if d != 0]
    mean, variance = sum(free) / 2, sum(r * r for r in free) / 4
    z = (signed_ranks(differences)[0] - mean) / math.sqrt(variance)
    return 2 * (1 - norm.cdf(abs(z)))


def rank_biserial(differences: list[float]) -> float:
    up, down = signed_ranks(differences)
    n = len(differences)
    return (up - down) / (n * (n + 1) / 2)


def holm(p: list[float]) -> list[float]:
    result = []
    for own in p:
        steps = [min(1, sum(q >= other for q in p) * other) for other in p if other <= own]
        result.append(max(steps))
    return result
