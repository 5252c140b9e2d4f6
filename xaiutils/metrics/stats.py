r"""Scores over many images: means, paired comparisons, and how sure they are.

The image is the unit: every array holds one score per image, and two arrays are paired by image.
A score that is not finite is none; its image leaves the comparison and is counted as excluded.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.stats import bootstrap, norm, rankdata, wilcoxon as signed_rank_test
from torch import Tensor

from xaiutils.support import checks

BETTER = ("higher", "lower")
MANY = 5000  # values, above which the bootstrap is not needed


def mean_interval(values: Tensor, level: float = 0.95) -> tuple[float, float, float]:
    """Mean of the finite values and its bootstrap interval over images (BCa, Efron 1987).

    Above `MANY` values the normal interval of the mean stands for it. Of ``values`` (N,), NaN where
    an image could not be scored: mean, lower and upper end; the ends are NaN where there are fewer
    than two values, and equal the mean where all are equal.
    """
    checks.number("level", level, low=0, below=1)
    known = values[values.isfinite()].double()
    if not len(known):
        return (torch.nan,) * 3
    mean = float(known.mean())
    if len(known) < 2:
        return mean, torch.nan, torch.nan
    if float(known.std()) == 0:
        return mean, mean, mean
    if len(known) > MANY:
        reach = float(norm.ppf((1 + level) / 2) * known.std() / len(known) ** 0.5)
        return mean, mean - reach, mean + reach
    found = bootstrap((known.numpy(),), np.mean, n_resamples=2000, confidence_level=level, rng=0)
    return mean, float(found.confidence_interval.low), float(found.confidence_interval.high)


class Pair(NamedTuple):
    """One method against another on the same images.

    Attributes:
        n, excluded: Images with both scores, and images that lack one.
        mean, other_mean: Of either's scores on the n images.
        difference: Mean difference per image, positive where the method is better.
        low, high: Its 95 % bootstrap interval.
        low_90, high_90: Its 90 % interval, for `equivalent`.
        p: Of the Wilcoxon signed-rank test, two-sided.
        effect: Rank-biserial, in [-1, 1].
    """

    n: int
    excluded: int
    mean: float
    other_mean: float
    difference: float
    low: float
    high: float
    low_90: float
    high_90: float
    p: float
    effect: float


def paired(scores: ArrayLike, others: ArrayLike, better: str = "higher") -> Pair:
    """Compare a method's ``scores`` (N,) with ``others`` on the same images, in the same order.

    Differences are turned where ``better`` is ``"lower"``, so that positive is a lead.
    """
    a, b = _numbers("scores", scores), _numbers("others", others)
    if a.shape != b.shape:
        raise ValueError(f"scores and others must be paired by image, got {len(a)} and {len(b)}")
    sign = 1 if checks.choice("better", better, BETTER) == "higher" else -1
    known = np.isfinite(a) & np.isfinite(b)
    a, b = a[known], b[known]
    gain = sign * (a - b)
    mean, other = (float(v.mean()) if len(v) else np.nan for v in (a, b))
    n, excluded = len(a), int((~known).sum())
    wide = mean_interval(torch.from_numpy(gain))
    _, low, high = mean_interval(torch.from_numpy(gain), level=0.9)
    p, effect = wilcoxon(gain), rank_biserial(gain)
    return Pair(n, excluded, mean, other, *wide, low, high, p, effect)


def equivalent(pair: Pair, margin: float) -> bool:
    """Whether two methods are as good as each other, within ``margin``: two one-sided tests.

    Both are passed at 5 % exactly where the 90 % interval of the difference lies inside
    (-margin, margin); Schuirmann 1987, with the bootstrap interval instead of Student's.
    """
    margin = checks.number("margin", margin, low=0)
    return -margin < pair.low_90 and pair.high_90 < margin


def wilcoxon(differences: ArrayLike) -> float:
    """Two-sided p of Wilcoxon's signed-rank test of (N,); 1 where all are 0, NaN for none.

    Zeros are ranked and then dropped (Pratt 1959). Up to 50 differences without a zero or a tie are
    tested exactly, others by the normal approximation, corrected for ties and zeros.
    """
    d = _finite("differences", differences)
    if not len(d):
        return np.nan
    if not d.any():
        return 1.0
    plain = len(d) <= 50 and d.all() and len(np.unique(np.abs(d))) == len(d)
    method = "exact" if plain else "asymptotic"
    return float(signed_rank_test(d, zero_method="pratt", method=method).pvalue)


def rank_biserial(differences: ArrayLike) -> float:
    r"""Effect size of the signed-rank test of (N,), in [-1, 1]; NaN without a difference.

    .. math:: r = \frac{W_+ - W_-}{n (n + 1) / 2}

    Kerby 2014, for matched pairs, with the sums :math:`W_\pm` of the ranks of the positive and
    negative differences; those of zeros count for neither side.
    """
    d = _finite("differences", differences)
    if not len(d):
        return np.nan
    return float((np.sign(d) * rankdata(np.abs(d))).sum() / (len(d) * (len(d) + 1) / 2))


def holm(p: ArrayLike) -> NDArray[np.float64]:
    r"""Adjust a family of p values (Holm 1979): (M,), in the order they came.

    .. math:: \tilde p_{(i)} = \max_{j \le i} \min(1, (m - j + 1)\, p_{(j)})

    NaN stands for a test that could not be made: it stays NaN and does not count in m. Raises
    `ValueError` for a p beyond [0, 1].
    """
    values = _numbers("p", p)
    known = ~np.isnan(values)
    made = values[known]
    if ((made < 0) | (made > 1)).any():
        raise ValueError(f"p must be in [0, 1], got {made.min():g} to {made.max():g}")
    order = made.argsort(kind="stable")
    steps = np.minimum(1, made[order] * np.arange(len(made), 0, -1))
    result = np.full(len(values), np.nan)
    result[np.flatnonzero(known)[order]] = np.maximum.accumulate(steps)
    return result


def _numbers(argument: str, values: ArrayLike) -> NDArray[np.float64]:
    result = checks.numbers_of(argument, values)
    if result.ndim != 1:
        raise ValueError(f"{argument} must have 1 dimension(s), got {result.shape}")
    return result


def _finite(argument: str, values: ArrayLike) -> NDArray[np.float64]:
    result = _numbers(argument, values)
    return result[np.isfinite(result)]
