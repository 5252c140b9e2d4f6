"""A table of scores: one row per image, method, metric and seed; its summary and comparisons.

The networks of a table are fixed, not drawn: over networks there is a range and no interval.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from xaiutils.metrics.stats import BETTER, Pair, holm, mean_interval, paired
from xaiutils.support import checks

KEYS = ["workload", "network", "split", "image", "method", "metric", "seed"]
COLUMNS = [*KEYS, "value", "why"]
GROUP = KEYS[:3]


def checked(table: pd.DataFrame) -> pd.DataFrame:
    """Return ``table`` if it is a score table; a `TypeError` or `ValueError` says what is wrong."""
    if not isinstance(table, pd.DataFrame):
        raise TypeError(f"table must be a pandas DataFrame, got {checks.describe(table)}")
    missing = [name for name in COLUMNS if name not in table.columns]
    if missing:
        raise ValueError(f"table must have the columns {COLUMNS}, got none named {missing}")
    if not pd.api.types.is_numeric_dtype(table["value"]):
        raise TypeError(f"table must hold numbers as value, got {table['value'].dtype}")
    empty = [name for name in KEYS if table[name].isna().any()]
    if empty:
        raise ValueError(f"table must name every row, got nothing in {empty}")
    twice = table[table.duplicated(KEYS)]
    if len(twice):
        raise ValueError(f"table must hold a score once, got twice {twice[KEYS].iloc[0].to_dict()}")
    return table


def compare(
    table: pd.DataFrame, metric: str, method: str, others: Iterable[str], better: str
) -> pd.DataFrame:
    """Compare one method with each of ``others``, within each network of a score table.

    Scores of one image are averaged over seeds; an image without the score of one seed has none.
    Where ``better``, the metric's direction, is ``"lower"``, differences are turned.

    Returns:
        One row per network and other method: `GROUP`, metric, method, other, what `Pair` says, and
        ``p_holm``, adjusted over the rows.
    """
    checked(table)
    checks.choice("metric", metric, table["metric"].unique())
    chosen = _bare(table[table["metric"] == metric])
    known = chosen["method"].unique()
    names = [checks.choice("others", other, known) for other in others]
    checks.choice("method", method, known)
    rows: list[tuple[Any, ...]] = []
    for place, group in chosen.groupby(GROUP):
        for name in names:
            means = _cube(group, list(dict.fromkeys((method, name)))).mean(axis=2)
            rows.append((*place, metric, method, name, *paired(means[0], means[-1], better)))
    frame = pd.DataFrame(rows, columns=[*GROUP, "metric", "method", "other", *Pair._fields])
    return frame.assign(p_holm=holm(frame["p"].to_numpy(float)))


def summarise(table: pd.DataFrame) -> pd.DataFrame:
    """Mean scores with their 95 % intervals over images.

    Returns:
        One row per network, method and metric: `GROUP`, method, metric, mean, low, high, n,
        excluded; and over the networks of the workload ``networks`` (how many have a mean),
        ``least`` and ``most`` (their lowest and highest mean).
    """
    checked(table)
    keys = [*GROUP, "method", "metric"]
    rows: list[tuple[Any, ...]] = []
    for names, group in _bare(table).groupby(keys):
        (values,) = _cube(group, [names[3]]).mean(axis=2)
        n = int(np.isfinite(values).sum())
        spread = mean_interval(torch.from_numpy(values))
        rows.append((*names, *spread, n, len(values) - n))
    frame = pd.DataFrame(rows, columns=[*keys, "mean", "low", "high", "n", "excluded"])
    means = frame.groupby(["workload", "split", "method", "metric"])["mean"]
    over = {"networks": "count", "least": "min", "most": "max"}
    return frame.assign(**{key: means.transform(how) for key, how in over.items()})


def spread(table: pd.DataFrame, metric: str, methods: Sequence[str], better: str) -> pd.DataFrame:
    r"""How much the scores of one picture vary over draws, and how much over methods.

    Of picture i with scores :math:`s_{mk}` of M methods and K draws (seeds), the standard
    deviation over the draws of one method, and that of the methods' means,

    .. math:: \sqrt{\tfrac1M \sum_m \operatorname{var}_k s_{mk}} \Big/ \bar s, \qquad
              \sqrt{\operatorname{var}_m \bar s_m} \Big/ \bar s,

    both unbiased and as shares of the picture's mean over all; ``better`` is not used. A score
    table of the rows ``draws`` and ``methods``; NaN where a score is missing, or the mean is not
    above 0.
    """

    def both(scores: NDArray[np.float64]) -> dict[str, float]:
        if scores.shape[1] < 2:
            raise ValueError("table must have two seeds or more for a spread, got 1")
        mean = scores.mean() if scores.mean() > 0 else np.nan
        within = np.sqrt(scores.var(axis=1, ddof=1).mean())
        return {"draws": within / mean, "methods": scores.mean(axis=1).std(ddof=1) / mean}

    return _of_each_picture(table, metric, methods, both)


def lowest(table: pd.DataFrame, metric: str, methods: Sequence[str], better: str) -> pd.DataFrame:
    """On which pictures each of ``methods`` is the best, by its mean over seeds: 1 there, else 0.

    A score table, with a row ``always``, which is 1 on every picture; NaN where a score is missing.
    Of a tie each is one of the best. ``better`` is the metric's direction.
    """
    sign = 1 if checks.choice("better", better, BETTER) == "higher" else -1

    def first(scores: NDArray[np.float64]) -> dict[str, float]:
        means = sign * scores.mean(axis=1)
        wins = np.where(np.isnan(means).any(), np.nan, means == means.max())
        return {"always": 1.0} | dict(zip(methods, wins.tolist(), strict=True))

    return _of_each_picture(table, metric, methods, first)


def _of_each_picture(
    table: pd.DataFrame,
    metric: str,
    methods: Sequence[str],
    made: Callable[[NDArray[np.float64]], dict[str, float]],
) -> pd.DataFrame:
    """A score table with the rows that ``made`` gives of a picture's scores (methods, seeds)."""
    bare = _bare(checked(table))
    chosen = bare[(bare["metric"] == metric) & bare["method"].isin(methods)]
    rows: list[tuple[Any, ...]] = []
    for place, group in chosen.groupby(GROUP):
        cube = _cube(group, list(methods)).swapaxes(0, 1).copy()
        for image, scores in zip(_images(group), cube, strict=True):
            found = made(scores).items()
            rows += [(*place, image, name, metric, 0, float(value), "") for name, value in found]
    return pd.DataFrame(rows, columns=COLUMNS).astype({"value": float})


def _cube(group: pd.DataFrame, methods: list[str]) -> NDArray[np.float64]:
    """The scores of a metric on a network (methods, images, seeds); NaN for what is missing."""
    chosen = group[group["method"].isin(methods)]
    axes = {"method": methods, "image": _images(group), "seed": chosen["seed"].unique()}
    cube = np.full([len(values) for values in axes.values()], np.nan)
    places = [pd.Index(values).get_indexer(chosen[key]) for key, values in axes.items()]
    cube[tuple(places)] = chosen["value"]
    return cube


def _images(group: pd.DataFrame) -> list[Any]:
    """In an order that is not that of the rows: the resamples draw by place."""
    return sorted(group["image"].unique())


def _bare(table: pd.DataFrame) -> pd.DataFrame:
    """Without the configuration, which pandas would copy, all of it, at every step."""
    bare = table[COLUMNS]
    bare.attrs = {}
    return bare
