"""Means with intervals in rows, a mark for each trial."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from xaiutils.plots import style
from xaiutils.plots.style import COLORS, Figure, styled
from xaiutils.support import checks


@styled
def forest(
    rows: Mapping[str, Mapping[str, tuple[float, float, float]]], *, xlabel: str,
    title: str = "", reference: float = 0.0, form: str | None = "+.2f",
) -> Figure:  # fmt: skip
    """Draw means with intervals in rows, a mark for each trial, and a line to be compared with.

    Args:
        rows: name to the trials by name, each (mean, low, high).
        xlabel: What is shown. title: The finding.
        reference: Where the line is, such as no difference or chance.
        form: Of the numbers at the right, the lowest and the highest mean of the row; None writes
            none.
    """
    style.entries("rows", rows)
    trials = list(dict.fromkeys(trial for row in rows.values() for trial in row))
    height = 1.25 + 0.2 * (len(title) > 75) + len(rows) * (0.2 + 0.1 * len(trials))
    figure, axes = style.one_chart(height, title)
    axes.set_xlabel(xlabel)
    line = checks.number("reference", reference)
    axes.axvline(line, color="#444444", linestyle="--", linewidth=1)
    handles: dict[str, Any] = {}
    for i, (name, row) in enumerate(rows.items()):
        means = []
        for trial, values in style.entries(f"rows[{name!r}]", row).items():
            argument = f"rows[{name!r}][{trial!r}]"
            cell = style.checked_array(argument, np.array(values, float)[:, None], "3, n")
            if len(cell) != 3:
                raise ValueError(f"{argument} must have shape (3, 1), got {cell.shape}")
            mean, low, high = cell[:, 0]
            if low > high:  # the mean may lie outside, as with BCa
                said = "must hold means, lower ends and upper ends, got other order"
                raise ValueError(f"{argument} {said}")
            k = trials.index(trial)
            y = i + 0.2 * (k - (len(trials) - 1) / 2)
            color = COLORS[k % 7]
            axes.plot((low, high), (y, y), color=color, linewidth=1.5)
            (handles[trial],) = axes.plot(
                mean, y, style.MARKERS[k % 7], color=color, markersize=5, linestyle="none"
            )
            means.append(mean)
        if form is not None:
            ends = (style.minus(format(value, form)) for value in (min(means), max(means)))
            text = " to ".join(dict.fromkeys(ends))
            axes.annotate(text, (1.01, i), xycoords=("axes fraction", "data"), va="center")
    style.name_rows(axes, rows)
    axes.grid(axis="x", color="#E5E5E5")
    if len(trials) > 1:
        figure.legend(handles.values(), handles.keys(), loc="outside lower left", ncols=4)
    return figure
