"""Methods beside each other: scores with intervals, agreement of scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from xaiutils.plots import style
from xaiutils.plots.style import COLORS, DIVERGING, WIDTH, Array, Figure, styled
from xaiutils.support import checks


@styled
def dots(
    panels: Mapping[str, Array], names: Sequence[str], *, groups: Sequence[str] = ("",),
    chance: Mapping[str, float] | None = None, title: str = "", highlight: Sequence[str] = (),
    marks: Mapping[str, Mapping[str, float]] | None = None, marked: str = "marked",
) -> Figure:  # fmt: skip
    """Draw means with their intervals, one panel for each score, one row for each name.

    Args:
        panels: title to ``(M, G, 3)``: mean, low and high of M names in G groups; all three are
            NaN where there is no mean.
        names: M rows, first on top. groups: G, e.g. networks, told apart by colour and marker.
        chance: title of a panel to the level of a guess, a dashed line.
        highlight: names in bold.
        marks: title of a panel to values of some names from elsewhere, crosses.
        marked: what they are.
    """
    chance, marks = chance or {}, marks or {}
    style.entries("panels", panels)
    for argument, given, known in (
        ("chance", chance, panels), ("marks", marks, panels), ("highlight", highlight, names),
        *((f"marks[{t!r}]", values, names) for t, values in marks.items()),
    ):  # fmt: skip
        for key in given:
            checks.choice(argument, key, tuple(known))
    figure = Figure(figsize=(WIDTH, 1.25 + 0.27 * len(names)), layout="constrained")
    drawn = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axes, (heading, values) in zip(drawn, panels.items(), strict=True):
        _rows(axes, _means(heading, values, (len(names), len(groups), 3)), groups)
        axes.set_title(heading, fontsize=9, loc="center", fontweight="normal")
        if heading in chance:
            level = checks.number(f"chance[{heading!r}]", chance[heading])
            axes.axvline(level, color=style.GREY, linestyle="--", linewidth=1, label="chance")
        if crosses := marks.get(heading):
            at = [checks.number(f"marks[{heading!r}]", value) for value in crosses.values()]
            y = [names.index(name) for name in crosses]
            axes.plot(at, y, "x", color="black", markersize=8, mew=1.8, label=marked)
    first = drawn[0]
    first.set_yticks(range(len(names)), list(names))
    first.set_ylim(len(names) - 0.5, -0.5)
    for label, name in zip(first.get_yticklabels(), names, strict=True):
        label.set_fontweight("bold" if name in highlight else "normal")
    legends = (axes.get_legend_handles_labels() for axes in drawn)
    found = {str(label): line for both in legends for line, label in zip(*both, strict=True)}
    if found:
        figure.legend(found.values(), found, loc="outside lower right", ncols=len(found))
    style.headline(figure, title)
    return figure


@styled
def matrix(values: Array, names: Sequence[str], *, title: str = "") -> Figure:
    """Draw correlations, (K, K) in [-1, 1], as squares with their numbers."""
    numbers = style.checked_array("values", values, "K, K")
    if numbers.shape != (len(names), len(names)):
        raise ValueError(f"values must be (K, K) with K = {len(names)}, got {numbers.shape}")
    if np.abs(numbers).max() > 1 + 1e-9:
        raise ValueError(f"values must be in [-1, 1], got {np.abs(numbers).max():g}")
    figure, axes = style.one_chart(1.7 + 0.46 * len(names), title)
    axes.imshow(numbers, cmap=DIVERGING, vmin=-1, vmax=1)
    for (row, column), value in np.ndenumerate(numbers):
        text = style.minus(f"{value + 0.0:.2f}")
        color = "white" if abs(value) > 0.65 else "black"
        axes.text(column, row, text, ha="center", va="center", color=color, size=8)
    axes.set_yticks(range(len(names)), list(names))
    axes.set_xticks(range(len(names)), list(names), rotation=40, ha="right", rotation_mode="anchor")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return figure


def _means(heading: str, value: Array, shape: tuple[int, ...]) -> np.ndarray:
    argument = f"panels[{heading!r}]"
    given = np.array(value, dtype=float)
    if given.shape != shape:
        raise ValueError(f"{argument} must have shape {shape}, got {given.shape}")
    unknown = np.isnan(given[..., 0])
    if np.isinf(given).any() or np.isnan(given[~unknown]).any() or unknown.all():
        raise ValueError(f"{argument} must be finite, or NaN where a name has no mean")
    return given


def _rows(axes: Axes, values: np.ndarray, groups: Sequence[str]) -> None:
    rows = np.arange(len(values))
    axes.hlines(rows, 0, 1, color="#EEEEEE", linewidth=0.8, transform=axes.get_yaxis_transform())
    shifts = 0.22 * (np.arange(len(groups)) - (len(groups) - 1) / 2)
    for i, (group, shift) in enumerate(zip(groups, shifts, strict=True)):
        mean, low, high = values[:, i].T
        color = COLORS[i % 7]
        axes.hlines(rows + shift, low, high, color=color, linewidth=1.8)
        axes.plot(mean, rows + shift, style.MARKERS[i % 7], color=color, markersize=4, label=group)
    axes.tick_params(axis="y", length=0)
    axes.locator_params(axis="x", nbins=3)
    axes.spines["left"].set_visible(False)
    axes.margins(x=0.08)
