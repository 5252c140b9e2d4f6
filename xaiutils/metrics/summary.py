"""A score over many images: its mean, and how sure that is."""

from __future__ import annotations

import torch
from scipy.stats import bootstrap
from torch import Tensor

from xaiutils import checks


def mean_interval(values: Tensor, level: float = 0.95) -> tuple[float, float, float]:
    """Mean of the finite values and its bootstrap interval over images (BCa, 2,000 resamples).

    Args:
        values: (N,), one per image; NaN where an image could not be scored.
        level: Of the interval, in (0, 1).

    Returns:
        Mean, lower and upper end; the ends are NaN where there are fewer than two values, and
        equal the mean where all values are equal; all NaN without any value.
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
    found = bootstrap(
        (known.numpy(),),
        lambda v, axis: v.mean(axis),
        n_resamples=2000,
        confidence_level=level,
        rng=0,
    )
    return mean, float(found.confidence_interval.low), float(found.confidence_interval.high)
