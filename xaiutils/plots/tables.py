"""A table of numbers whose cells are shaded by how far they are from a row that is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.colors import Normalize

from xaiutils.plots.style import (
    DIVERGING,
    WIDTH,
    Array,
    Figure,
    check_count,
    checked_known,
    headline,
    minus,
    styled,
    wrap,
)
from xaiutils.support import checks


@styled
def heat_table(
    values: Array, shades: Array, groups: Mapping[str, Sequence[str]], columns: Sequence[str], *,
    title: str = "", limit: float = 1.0, label: str = "",
) -> Figure:  # fmt: skip
    """Draw numbers in a grid, two digits each, in groups of rows that begin with their reference.

    Args:
        values: ``(R, C)``; NaN leaves a dash. shades: ``(R, C)``, signed, coloured from blue
            (``-limit``) over white (0) to red (``limit``) and no darker beyond; NaN is grey.
        groups: heading to the names of its rows, R in all; the first row of each is in bold.
        columns: C names. label: of the colour bar.

    Raises:
        TypeError, ValueError: no groups or an empty one, arrays of another shape or with infinite
            numbers, a limit that is not above 0.
    """
    if not groups or not all(groups.values()):
        raise ValueError(f"groups must each have at least one row, got {dict(groups)}")
    if checks.number("limit", limit, low=0) == 0:
        raise ValueError("limit must be above 0, got 0")
    names = [name for rows in groups.values() for name in rows]
    given = {"values": values, "shades": shades}
    numbers, depth = (checked_known(key, value, "R, C") for key, value in given.items())
    for key, array in (("values", numbers), ("shades", depth)):
        check_count(key, array, len(names))
        check_count(f"{key}[0]", array[0], len(columns))
    starts = np.cumsum([0, *(len(rows) for rows in groups.values())])[:-1]
    figure = Figure(figsize=(WIDTH, 1.7 + 0.27 * len(names)), layout="constrained")
    axes = figure.add_subplot()
    drawn = axes.imshow(
        np.ma.masked_invalid(depth), cmap=DIVERGING, norm=Normalize(-limit, limit), aspect="auto"
    )
    axes.set_facecolor("#E5E5E5")
    for (row, column), value in np.ndenumerate(numbers):
        text = "–" if np.isnan(value) else minus(f"{round(value, 2) + 0.0:.2f}")
        dark = abs(depth[row, column]) > 0.6 * limit  # NaN is not
        weight = "bold" if row in starts else "normal"
        look: dict[str, Any] = {"color": "white" if dark else "black", "weight": weight}
        axes.text(column, row, text, ha="center", va="center", **look)
    axes.set_xticks(range(len(columns)), [wrap(name, 5 / len(columns), 9) for name in columns])
    axes.xaxis.tick_top()
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    for start, heading in zip(starts, groups, strict=True):
        axes.get_yticklabels()[start].set_fontweight("bold")
        axes.annotate(
            heading, (1.01, start), xycoords=("axes fraction", "data"), va="center", weight="bold"
        )
        if start:
            axes.axhline(start - 0.5, color="black", linewidth=1)
    bar = figure.colorbar(drawn, ax=axes, location="bottom", shrink=0.5, aspect=40, extend="both")
    bar.set_label(label)
    bar.outline.set_visible(False)
    headline(figure, title)
    return figure
