r"""Scores over many images: means, paired comparisons, and how sure they are.

The image is the unit: every array holds one score per image, and two arrays are paired by image.
A score that is not finite is none; its image leaves the comparison and is counted as excluded.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.stats import bootstrap, friedmanchisquare, norm, rankdata, studentized_range
from scipy.stats import wilcoxon as signed_rank_test
from torch import Tensor

from xaiutils.support import checks

BETTER = ("higher", "lower")
MANY = 5000  # values, above which the bootstrap is not needed


def mean_interval(values: Tensor, level: float = 0.95) -> tuple[float, float, float]:
    """Mean of the finite values and its bootstrap interval over images (BCa, Efron 1987).

    Above `MANY` values the normal interval of the mean stands for it: the two are one by then, and
    the jackknife of BCa grows with the square of their number.

    Args:
        values: (N,), one per image; NaN where an image could not be scored.
        level: Of the interval, in (0, 1).

    Returns:
        Mean, lower and upper end; the ends are NaN where there are fewer than two values, and
        equal the mean where all values are equal; all NaN without any value.

    Raises:
        TypeError, ValueError: ``level`` is not in (0, 1).
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
    how: dict[str, Any] = {"n_resamples": 2000, "confidence_level": level, "rng": 0}
    found = bootstrap((known.numpy(),), lambda v, axis: v.mean(axis), **how)
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

    ``d = scores - others``, turned where ``better`` is ``"lower"``, so that positive is a lead.

    Raises:
        ValueError: Scores of different numbers of images, an unknown direction.
    """
    a, b = _numbers("scores", scores, 1), _numbers("others", others, 1)
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

    Raises:
        TypeError, ValueError: ``margin`` is below 0.
    """
    margin = checks.number("margin", margin, low=0)
    return -margin < pair.low_90 and pair.high_90 < margin


def wilcoxon(differences: ArrayLike) -> float:
    """Two-sided p of Wilcoxon's signed-rank test of (N,); 1 where all are 0, NaN for none.

    Equal magnitudes share their mean rank. Zeros are ranked and then dropped (Pratt 1959), so
    that many images without a difference weaken the rest. Up to 50 differences without a zero or
    a tie are tested exactly, others by the normal approximation, corrected for ties and zeros.
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

    Kerby 2014, for matched pairs. :math:`W_\pm` are the sums of the ranks of the positive and
    negative differences. The ranks of zeros count for neither side, so they pull r towards 0.
    """
    d = _finite("differences", differences)
    if not len(d):
        return np.nan
    return float((np.sign(d) * rankdata(np.abs(d))).sum() / (len(d) * (len(d) + 1) / 2))


def holm(p: ArrayLike) -> NDArray[np.float64]:
    r"""Adjust a family of p values (Holm 1979): (M,), in the order they came.

    .. math:: \tilde p_{(i)} = \max_{j \le i} \min(1, (m - j + 1)\, p_{(j)})

    NaN stands for a test that could not be made: it stays NaN and does not count in m.

    Raises:
        ValueError: A p beyond [0, 1].
    """
    values = _numbers("p", p, 1)
    known = ~np.isnan(values)
    made = values[known]
    if ((made < 0) | (made > 1)).any():
        raise ValueError(f"p must be in [0, 1], got {made.min():g} to {made.max():g}")
    order = made.argsort(kind="stable")
    steps = np.minimum(1, made[order] * np.arange(len(made), 0, -1))
    result = np.full(len(values), np.nan)
    result[np.flatnonzero(known)[order]] = np.maximum.accumulate(steps)
    return result


class Ranks(NamedTuple):
    """Mean ranks of k methods; 1 is best.

    Attributes:
        ranks: (k,), mean over images; equal scores share their mean rank.
        p: Of Friedman's test that all methods rank alike.
        critical_difference: Mean ranks further apart than this differ (Nemenyi).
        n, excluded: Images with a score of every method, and images without.
    """

    ranks: NDArray[np.float64]
    p: float
    critical_difference: float
    n: int
    excluded: int


def mean_ranks(scores: ArrayLike, better: str = "higher", alpha: float = 0.05) -> Ranks:
    r"""Friedman's test and Nemenyi's critical difference (Demšar 2006, section 3.2.2).

    .. math:: CD = q_\alpha \sqrt{\frac{k (k + 1)}{6 N}}

    with :math:`q_\alpha` the studentised range statistic divided by :math:`\sqrt 2`.

    Args:
        scores: (N, k), images by methods, k >= 3.
        better: Direction of the metric, ``"higher"`` or ``"lower"``.
        alpha: Family-wise error, in (0, 1).

    Raises:
        ValueError: Fewer than two complete images or three methods.
    """
    values = _numbers("scores", scores, 2)
    sign = -1 if checks.choice("better", better, BETTER) == "higher" else 1
    alpha = checks.number("alpha", alpha, low=0, below=1)
    known = np.isfinite(values).all(1)
    rows, k = values[known], values.shape[1]
    if k < 3 or len(rows) < 2:
        raise ValueError(f"scores must have >= 2 complete images and k >= 3, got {rows.shape}")
    ranks = rankdata(sign * rows, axis=1)
    tied = bool((ranks == ranks[0, 0]).all())
    p = 1.0 if tied else float(friedmanchisquare(*rows.T).pvalue)
    q = float(studentized_range.ppf(1 - alpha, k, np.inf) / np.sqrt(2))
    distance = q * float(np.sqrt(k * (k + 1) / (6 * len(rows))))
    return Ranks(ranks.mean(0), p, distance, len(rows), int((~known).sum()))


class Components(NamedTuple):
    """Variances that add up to that of one score.

    Attributes:
        method: Between methods.
        image: Between images, for all methods alike.
        interaction: Between images, for each method otherwise.
        seed: Within an image, between seeds, for all methods alike.
        residual: Within an image, between seeds, for each method otherwise.
    """

    method: float
    image: float
    interaction: float
    seed: float
    residual: float


def variance_components(values: ArrayLike) -> Components:
    """Where the spread of a stochastic metric comes from, by the analysis of variance.

    Methods cross images, and seeds are nested in images, because under one seed all methods see
    the same perturbations of an image. Every factor is random; the mean squares are set equal to
    their expectations (Searle, Casella and McCulloch 1992, chapter 4). The estimates are unbiased,
    so one of a small variance can be below 0; it is not cut off.

    Args:
        values: (M, I, S), of methods, images and seeds, finite, at least two of each.

    Raises:
        TypeError, ValueError: They are not.
    """
    x = _numbers("values", values, 3)
    if min(x.shape) < 2 or not np.isfinite(x).all():
        raise ValueError(f"values must be finite with >= 2 of each factor, got shape {x.shape}")
    m, i, s = x.shape
    cell, place = x.mean(2, keepdims=True), x.mean(0, keepdims=True)
    method, image = x.mean((1, 2), keepdims=True), x.mean((0, 2), keepdims=True)
    whole = x.mean()
    of_method = i * s * ((method - whole) ** 2).sum() / (m - 1)
    of_image = m * s * ((image - whole) ** 2).sum() / (i - 1)
    of_both = s * ((cell - method - image + whole) ** 2).sum() / ((m - 1) * (i - 1))
    of_seed = m * ((place - image) ** 2).sum() / (i * (s - 1))
    left = ((x - cell - place + image) ** 2).sum() / ((m - 1) * i * (s - 1))
    return Components(
        method=float((of_method - of_both) / (i * s)),
        image=float((of_image - of_seed - of_both + left) / (m * s)),
        interaction=float((of_both - left) / s),
        seed=float((of_seed - left) / m),
        residual=float(left),
    )


def auroc(scores: ArrayLike, positive: ArrayLike) -> tuple[float, float, float]:
    """Area under the ROC curve and its 95 % bootstrap interval (BCa, within each class).

    The chance that a positive scores above a negative; a tie counts one half (Hanley and McNeil
    1982). Where every pair agrees, no resample differs: both ends equal the value, however small
    the sample; with fewer than two of a class they are NaN.

    Raises:
        ValueError: ``scores`` (N,), where higher says positive, are not finite; ``positive`` (N,)
            is no bool, or of one kind.
    """
    values, truth = _numbers("scores", scores, 1), np.asarray(positive)
    if truth.dtype != bool or truth.shape != values.shape:
        raise ValueError(f"positive must be bool, one per score, got {truth.dtype} {truth.shape}")
    if not np.isfinite(values).all():
        raise ValueError("scores must be finite, got NaN or infinity")
    if truth.all() or not truth.any():
        raise ValueError(f"positive must hold both classes, got {truth.sum()} of {len(truth)}")
    above, below = values[truth], values[~truth]
    area = float(_area(above, below))
    if min(len(above), len(below)) < 2:
        return area, np.nan, np.nan
    if area in {0, 1} or (values == values[0]).all():
        return area, area, area
    found = bootstrap((above, below), _area, n_resamples=2000, rng=0)
    return area, float(found.confidence_interval.low), float(found.confidence_interval.high)


def _area(above: NDArray[Any], below: NDArray[Any], axis: int = -1) -> NDArray[Any]:
    above, below = np.moveaxis(above, axis, -1), np.moveaxis(below, axis, -1)
    n, m = above.shape[-1], below.shape[-1]
    ranks = rankdata(np.concatenate([above, below], axis=-1), axis=-1)
    return (ranks[..., :n].sum(-1) - n * (n + 1) / 2) / (n * m)


def _numbers(argument: str, values: ArrayLike, dimensions: int) -> NDArray[np.float64]:
    result = checks.numbers_of(argument, values)
    if result.ndim != dimensions:
        raise ValueError(f"{argument} must have {dimensions} dimension(s), got {result.shape}")
    return result


def _finite(argument: str, values: ArrayLike) -> NDArray[np.float64]:
    result = _numbers(argument, values, 1)
    return result[np.isfinite(result)]
