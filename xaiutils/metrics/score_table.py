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
    """Return ``table`` if it is a score table.

    Raises:
        TypeError: It is no table, or its values are no numbers.
        ValueError: A column is missing, a row has no name, a score stands there twice.
    """
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
    All images that the table has for the metric and the network are counted, scored or not.
    ``better`` is the direction of the ``metric``: differences are positive where ``method`` leads.

    Args:
        table: Of scores.
        metric, method, others: Names that it holds.
        better: Direction of the metric, ``"higher"`` or ``"lower"``.

    Returns:
        One row per network and other method: `GROUP`, metric, method, other, what `Pair` says, and
        ``p_holm``, adjusted over the rows.

    Raises:
        TypeError, ValueError: It is no score table, or an unknown name.
    """
    checked(table)
    checks.choice("metric", metric, table["metric"].unique())
    chosen = _bare(table[table["metric"] == metric])
    known = chosen["method"].unique()
    names = [checks.choice("others", other, known) for other in others]
    checks.choice("method", method, known)
    rows: list[dict[str, Any]] = []
    for place, group in chosen.groupby(GROUP):
        images = _images(group)
        of = {m: group[group["method"] == m] for m in {method, *names}}
        for name in names:
            seeds = pd.concat([of[method]["seed"], of[name]["seed"]]).unique()
            a, b = (_per_image(of[m], images, seeds) for m in (method, name))
            found = paired(a, b, better)
            row = dict(zip(GROUP, place, strict=True))
            rows.append(row | {"metric": metric, "method": method, "other": name} | found._asdict())
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
        values = _per_image(group, _images(group), group["seed"].unique())
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

    both unbiased and as shares of the picture's mean over all.

    Args:
        table: Of scores, with two seeds or more.
        metric: Whose scores.
        methods: Two or more.
        better: Not used: a spread has no direction.

    Returns:
        A score table of the rows ``draws`` and ``methods``; NaN where a score is missing, or the
        mean is not above 0.

    Raises:
        ValueError: There is one draw only.
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

    Args:
        table: Of scores.
        metric: Whose scores.
        methods: Two or more. Of a tie each is one of the best.
        better: Direction of the metric.

    Returns:
        A score table with a row ``always``, which is 1 on every picture; NaN where a score is
        missing.

    Raises:
        TypeError, ValueError: An unknown direction, or what `checked` refuses.
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
    rows: list[dict[str, Any]] = []
    for place, group in chosen.groupby(GROUP):
        seeds, images = group["seed"].unique(), _images(group)
        cube = np.full((len(images), len(methods), len(seeds)), np.nan)
        cube[
            pd.Index(images).get_indexer(group["image"]),
            pd.Index(list(methods)).get_indexer(group["method"]),
            pd.Index(seeds).get_indexer(group["seed"]),
        ] = group["value"]
        about = dict(zip(GROUP, place, strict=True)) | {"metric": metric, "seed": 0, "why": ""}
        rows += [
            about | {"image": image, "method": name, "value": float(value)}
            for image, scores in zip(images, cube, strict=True)
            for name, value in made(scores).items()
        ]
    return pd.DataFrame(rows, columns=COLUMNS).astype({"value": float})


def _per_image(rows: pd.DataFrame, images: list[Any], seeds: NDArray[Any]) -> NDArray[np.float64]:
    """Mean over seeds of one method's scores, per image; NaN where one of them is missing."""
    scores = np.full((len(images), len(seeds)), np.nan)
    places = pd.Index(images).get_indexer(rows["image"]), pd.Index(seeds).get_indexer(rows["seed"])
    scores[places] = rows["value"]
    return scores.mean(axis=1)


def _images(rows: pd.DataFrame) -> list[Any]:
    """In an order that is not that of the rows: the resamples draw by place."""
    return sorted(rows["image"].unique())


def _bare(table: pd.DataFrame) -> pd.DataFrame:
    """Without the configuration, which pandas would copy, all of it, at every step."""
    bare = table[COLUMNS]
    bare.attrs = {}
    return bare
