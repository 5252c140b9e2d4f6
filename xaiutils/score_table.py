"""A table of scores: one row per image, method, metric and seed; its summary and comparisons.

The networks of a table are fixed, not drawn: over networks there is a range and no interval.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from xaiutils import checks
from xaiutils.stats import Pair, holm, mean_interval, paired

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
