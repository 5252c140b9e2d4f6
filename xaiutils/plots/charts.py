"""Small charts: curves, bars, strips of scores, and the ledger of a relevance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from xaiutils.plots import style
from xaiutils.plots.style import COLORS, Array, Figure, styled
from xaiutils.support import checks


@styled
def curves(
    x: Array, series: Mapping[str, Array], *, xlabel: str, ylabel: str, title: str = "",
    bands: Mapping[str, tuple[Array, Array]] | None = None, mark: float | None = None,
) -> Figure:  # fmt: skip
    """Draw lines told apart by colour, dash and marker.

    Args:
        x: ``(n,)``. series: name to ``(n,)``. bands: name of a series to its (low, high), each
            ``(n,)``. mark: an x value with a dotted line, e.g. the default.
        xlabel, ylabel, title: Of the axes, and above the chart.
    """
    across, bands = style.checked_array("x", x, "n"), bands or {}
    figure, axes = _chart(3.2, title, xlabel, "series", series)
    for name in bands:
        checks.choice("bands", name, series)
    pairs = zip(series.items(), style.looks(series), strict=True)
    for (name, values), (color, dash, marker) in pairs:
        y = _along(across, f"series[{name!r}]", values)
        axes.plot(across, y, dash, color=color, marker=marker, markersize=5, label=name)
        if name in bands:
            low, high = (_along(across, f"bands[{name!r}]", edge) for edge in bands[name])
            axes.fill_between(across, low, high, color=color, alpha=0.15, linewidth=0)
    axes.set_ylabel(ylabel)
    if (across == across.round()).all():
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if mark is not None:
        axes.axvline(checks.number("mark", mark), color="#444444", linestyle=":")
    axes.grid(color="#E5E5E5")
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), handlelength=3)
    return figure


@styled
def bars(
    values: Mapping[str, float], *, title: str = "", xlabel: str = "",
    intervals: Mapping[str, tuple[float, float]] | None = None, chance: float | None = None,
    highlight: str | None = None,
) -> Figure:  # fmt: skip
    """Draw horizontal bars, first on top, each with its number.

    Args:
        values: name to value. intervals: name to (low, high), drawn as a whisker.
        chance: level of a guess, a dashed line. highlight: the name to set apart.
        xlabel, title: Below and above the chart.
    """
    figure, axes = _chart(0.9 + 0.28 * len(values), title, xlabel, "values", values)
    whiskers = _intervals(intervals, values)
    if highlight is not None:
        checks.choice("highlight", highlight, values)
    lengths = [checks.number(f"values[{name!r}]", value) for name, value in values.items()]
    level = [] if chance is None else [checks.number("chance", chance)]
    texts = style.alike([*lengths, *level])
    for i, (name, length, text) in enumerate(zip(values, lengths, texts, strict=False)):
        low, high = whiskers.get(name, [length, length])
        chosen = name == highlight
        axes.barh(i, length, height=0.7, color=COLORS[1] if chosen else "#8DB6D2")
        axes.plot((low, high), (i, i), color="black", linewidth=1.5)
        end = min(low, length) if length < 0 else max(high, length)
        side, shift = ("right", -4) if length < 0 else ("left", 4)
        axes.annotate(
            text, (end, i), (shift, 0), textcoords="offset points", va="center",
            ha=side, weight="bold" if chosen else "normal",
        )  # fmt: skip
    style.name_rows(axes, values)
    axes.margins(x=0.12)
    axes.axvline(0, color="#444444", linewidth=0.8)
    if level:
        axes.axvline(level[0], color="#444444", linestyle="--", label=f"chance {texts[-1]}")
        figure.legend(loc="outside lower right")
    return figure


@styled
def strips(
    values: Mapping[str, Array], *, xlabel: str = "", title: str = "",
    intervals: Mapping[str, tuple[float, float]] | None = None, chance: float | None = None,
    marked: Sequence[int] = (), marks: str = "marked",
) -> Figure:  # fmt: skip
    """Draw one dot for each image in a row for each name, first on top, with the mean.

    Args:
        values: name to ``(n,)``, one score per image; NaN where an image could not be scored.
        intervals: name to (low, high) of the mean, drawn as a whisker.
        chance: level of a guess, a dashed line.
        marked: positions of images to set apart in every row. marks: what they are.
        xlabel, title: Below and above the chart.
    """
    figure, axes = _chart(1.0 + 0.42 * len(values), title, xlabel, "values", values)
    whiskers, look = _intervals(intervals, values), dict[str, Any]()
    for row, (name, scores) in enumerate(values.items()):
        x = style.checked_array(f"values[{name!r}]", scores, "n", missing=True).astype(float)
        if np.isnan(x).all():
            raise ValueError(f"values[{name!r}] must hold a score that is not NaN, got none")
        if any(not 0 <= i < len(x) for i in marked):
            raise ValueError(f"marked must be in 0..{len(x) - 1}, got {[*marked]}")
        # The golden ratio spreads neighbours without chance: the same figure every time.
        y = row + 0.62 * ((np.arange(len(x)) * 0.6180339887) % 1 - 0.5)
        axes.plot(x, y, "o", color=COLORS[5], markersize=4, alpha=0.55, markeredgewidth=0)
        if len(marked):
            chosen, label = [*marked], marks if row == 0 else None
            look = {"color": COLORS[1], "markersize": 6, "markeredgecolor": "black"}
            axes.plot(x[chosen], y[chosen], "D", label=label, **look)
        mean = float(np.nanmean(x))
        axes.plot((mean, mean), (row - 0.38, row + 0.38), color="black", linewidth=2)
        if name in whiskers:
            look = {"color": "black", "linewidth": 4, "solid_capstyle": "butt"}
            axes.plot(whiskers[name], (row, row), **look)
        text = style.minus(f"{mean:.2f}")
        axes.annotate(text, (1.01, row), xycoords=("axes fraction", "data"), va="center")
    style.name_rows(axes, values)
    if chance is not None:
        label = f"chance {style.short(checks.number('chance', chance))}"
        axes.axvline(chance, color="#444444", linestyle="--", label=label)
    if chance is not None or len(marked):
        figure.legend(loc="outside lower right", ncols=2)
    return figure


@styled
def ledger(shares: Mapping[str, float], *, title: str = "") -> Figure:
    """Draw how the start was spent as one stacked bar; negative shares lie left of zero.

    Args:
        shares: name to share of the start, any sign; the printed sum is 1 if nothing is lost.
    """
    figure, axes = _chart(1.65, title, "share of the start", "shares", shares)
    ends = {True: 0.0, False: 0.0}
    hatches = ("", "///", "...", "xxx", "\\\\\\", "+++", "ooo")
    for i, (name, value) in enumerate(shares.items()):
        share = checks.number(f"shares[{name!r}]", value)
        look: dict[str, Any] = {"color": COLORS[i % 7], "hatch": hatches[i % 7], "height": 0.6}
        look |= {"edgecolor": "white", "label": style.minus(f"{name} {share:.3f}")}
        axes.barh(0, share, left=ends[share < 0], **look)
        ends[share < 0] += share
    for position in (0, 1):
        axes.axvline(position, color="black", linewidth=1, linestyle="-" if not position else "--")
    axes.set_xlim(min(ends[True], 0) - 0.02, max(ends[False], 1) + 0.02)  # both ticks, 0 and 1
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    total = style.minus(f"sum {sum(shares.values()):.3f}")
    figure.legend(loc="outside lower left", ncols=4, title=total, alignment="left")
    return figure


def _intervals(
    given: Mapping[str, tuple[float, float]] | None, values: Mapping[str, Any]
) -> dict[str, list[float]]:
    return {
        checks.choice("intervals", name, values):
        [checks.number(f"intervals[{name!r}]", end) for end in ends]
        for name, ends in (given or {}).items()
    }  # fmt: skip


def _along(x: np.ndarray, argument: str, value: Array) -> np.ndarray:
    found = style.checked_array(argument, value, "n")
    style.check_count(argument, found, len(x))
    return found


def _chart(
    height: float, title: str, xlabel: str, argument: str, values: Mapping[str, Any]
) -> tuple[Figure, Axes]:
    style.entries(argument, values)
    figure, axes = style.one_chart(height, title)
    axes.set_xlabel(xlabel)
    return figure, axes
