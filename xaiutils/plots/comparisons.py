"""Methods beside each other: scores with intervals, mean ranks, a radar, agreement of scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from xaiutils.plots.style import (
    COLORS,
    DIVERGING,
    GREY,
    MARKERS,
    WIDTH,
    Array,
    Figure,
    check_count,
    checked_array,
    entries,
    headline,
    looks,
    minus,
    name_rows,
    one_chart,
    short,
    styled,
)
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

    Raises:
        TypeError, ValueError: no panels, an array of another shape, an infinite or a half-known
            mean, an unknown title or name.
    """
    entries("panels", panels)
    for argument, given, known in (
        ("chance", chance or {}, panels),
        ("marks", marks or {}, panels),
        ("highlight", highlight, names),
        *((f"marks[{t!r}]", values, names) for t, values in (marks or {}).items()),
    ):
        for key in given:
            checks.choice(argument, key, tuple(known))
    figure = Figure(figsize=(WIDTH, 1.25 + 0.27 * len(names)), layout="constrained")
    drawn = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axes, (heading, values) in zip(drawn, panels.items(), strict=True):
        _rows(axes, _means(heading, values, (len(names), len(groups), 3)), groups)
        axes.set_title(heading, fontsize=9, loc="center", fontweight="normal")
        if heading in (chance or {}):
            level = checks.number(f"chance[{heading!r}]", (chance or {})[heading])
            axes.axvline(level, color=GREY, linestyle="--", linewidth=1, label="chance")
        crosses = (marks or {}).get(heading, {})
        if crosses:
            at = [checks.number(f"marks[{heading!r}]", value) for value in crosses.values()]
            y = [names.index(name) for name in crosses]
            axes.plot(at, y, "x", color="black", markersize=8, mew=1.8, label=marked)
    first = drawn[0]
    first.set_yticks(range(len(names)), list(names))
    first.set_ylim(len(names) - 0.5, -0.5)
    for label, name in zip(first.get_yticklabels(), names, strict=True):
        label.set_fontweight("bold" if name in highlight else "normal")
    found = {label: line for axes in drawn for line, label in zip(*_legend(axes), strict=True)}
    if found:
        figure.legend(found.values(), found, loc="outside lower right", ncols=len(found))
    headline(figure, title)
    return figure


@styled
def radar(
    series: Mapping[str, Array], axes: Sequence[str], *, title: str = "",
    beside: Mapping[str, Array] | None = None, names: Sequence[str] = ("", ""),
) -> Figure:  # fmt: skip
    """Draw one closed line for each entry over axes that share a scale; outside is better.

    The rings at 0 and 1 are the anchors. The centre is below the lowest value, so that a negative
    one stays on its own side. The order of the axes shapes the area: read corners, not areas.

    Args:
        series: name to ``(K,)``, each value scaled so that 0 and 1 mean the same on every axis.
        axes: K names, at least three.
        beside: a second chart to the right; what has the same name looks the same.
        names: of the two charts.

    Raises:
        TypeError, ValueError: no series, values not finite or of another length, fewer axes.
    """
    if len(axes) < 3:
        raise ValueError(f"axes must have at least 3 entries, got {len(axes)}")
    charts = [_corners("series", series, len(axes))]
    charts += [] if beside is None else [_corners("beside", beside, len(axes))]
    every = [row for values in charts for row in values.values()]
    lowest = min(0.0, *(float(row.min()) for row in every))
    highest = max(1.0, *(float(row.max()) for row in every))
    known = {name: 0 for values in charts for name in values}
    shapes = dict(zip(known, looks(known), strict=True))
    figure = Figure(figsize=(WIDTH, 4.2), layout="constrained")
    drawn = figure.subplots(1, len(charts), subplot_kw={"projection": "polar"}, squeeze=False)[0]
    for chart, values, name in zip(drawn, charts, names, strict=False):
        _spokes(chart, axes, lowest, highest)
        for label, row in values.items():
            color, dash, marker = shapes[label]
            angles = np.arange(len(axes) + 1) * 2 * np.pi / len(axes)
            look = {"label": label, "color": color, "marker": marker}
            chart.plot(angles, np.append(row, row[0]), dash, **look)
        chart.set_title(name, fontsize=9, loc="center", fontweight="normal", pad=24)
    found = {line.get_label(): line for chart in drawn for line in chart.lines}
    lines = {name: found[name] for name in known}
    if beside is None:
        drawn[0].legend(loc="center left", bbox_to_anchor=(1.25, 0.5), handlelength=3)
    else:
        figure.legend(
            lines.values(), lines, loc="outside lower center", ncols=len(lines), handlelength=3
        )
    headline(figure, title)
    return figure


def _corners(argument: str, series: Mapping[str, Array], count: int) -> Mapping[str, Array]:
    found = entries(argument, series).items()
    values = {name: checked_array(f"{argument}[{name!r}]", v, "K") for name, v in found}
    for name, row in values.items():
        check_count(f"{argument}[{name!r}]", row, count)
    return values


def _spokes(chart: Any, axes: Sequence[str], lowest: float, highest: float) -> None:
    """Axes, their names and the two rings (Any: PolarAxes lack stubs)."""
    chart.set_theta_zero_location("N")
    chart.set_theta_direction(-1)
    angles = np.arange(len(axes)) * 2 * np.pi / len(axes)
    chart.set_rlim(lowest - 0.12, highest)
    chart.set_rgrids([0, 0.5, 1], ["0", "0.5", "1"], angle=180 / len(axes), color=GREY)
    chart.set_thetagrids(np.degrees(angles), [""] * len(axes))
    for angle, name in zip(angles, axes, strict=True):
        side = float(np.sin(angle))
        beside = "center" if abs(side) < 0.1 else "left" if side > 0 else "right"
        chart.text(angle, highest + 0.1, name, ha=beside, va="center")
    chart.spines["polar"].set_visible(False)
    round_ = np.linspace(0, 2 * np.pi, 200)
    for ring, dash in ((0, "--"), (1, "-")):
        chart.plot(round_, np.full(200, ring), dash, color=GREY, linewidth=1)


@styled
def rank_diagram(
    ranks: Mapping[str, float], critical_difference: float, *, title: str = "",
    highlight: Sequence[str] = (),
) -> Figure:  # fmt: skip
    """Draw mean ranks, best on top, and bars that join what the test cannot tell apart.

    After Demšar 2006, Fig. 1, turned so that names stand one below the other.

    Args:
        ranks: name to mean rank, 1 is best; at least two.
        critical_difference: mean ranks further apart than this differ.
        highlight: names in bold.

    Raises:
        TypeError, ValueError: fewer than two ranks, one below 1 or above their number, a
            difference that is not positive, an unknown name.
    """
    if len(ranks) < 2:
        raise ValueError(f"ranks must hold at least two entries, got {len(ranks)}")
    for name in highlight:
        checks.choice("highlight", name, tuple(ranks))
    for name, rank in ranks.items():
        checks.number(f"ranks[{name!r}]", rank, low=1, high=len(ranks))
    if checks.number("critical_difference", critical_difference, low=0) == 0:
        raise ValueError("critical_difference must be above 0, got 0")
    ordered = sorted(ranks.items(), key=lambda item: item[1])
    values = np.array([rank for _, rank in ordered])
    figure, axes = one_chart(1.0 + 0.25 * len(ranks), title)
    for number, (start, end) in enumerate(cliques(values, critical_difference)):
        x = len(ranks) + 0.9 + 0.28 * number
        axes.plot((x, x), (start - 0.25, end + 0.25), color=COLORS[0], linewidth=4)
    axes.hlines(range(len(values)), 1, values, color="#DDDDDD", linewidth=1)
    chosen = [name in highlight for name, _ in ordered]
    colors = [COLORS[1] if one else COLORS[0] for one in chosen]
    axes.scatter(values, range(len(values)), c=colors, zorder=3)
    for row, (value, bold) in enumerate(zip(values, chosen, strict=True)):
        axes.annotate(
            f"{value:.1f}", (value, row), (7, 0), textcoords="offset points", va="center",
            weight="bold" if bold else "normal",
        )  # fmt: skip
    name_rows(axes, [name for name, _ in ordered])
    for label, bold in zip(axes.get_yticklabels(), chosen, strict=True):
        label.set_fontweight("bold" if bold else "normal")
    axes.set_ylim(len(values) - 0.5, -0.5)
    axes.set_xticks(range(1, len(ranks) + 1))
    axes.set_xlabel(
        f"mean rank, 1 is best; joined by a bar: closer than {short(critical_difference)}"
    )
    return figure


def cliques(ranks: Array, critical_difference: float) -> list[tuple[int, int]]:
    """First and last place of each largest run of sorted ranks (M,) within the difference.

    Runs of one are left out, and so are those inside another.
    """
    values = checked_array("ranks", ranks, "M")
    ends = np.searchsorted(values, values + critical_difference, side="right") - 1
    runs = [(start, int(end)) for start, end in enumerate(ends) if end > start]
    return [run for i, run in enumerate(runs) if not i or run[1] > runs[i - 1][1]]


@styled
def matrix(values: Array, names: Sequence[str], *, title: str = "") -> Figure:
    """Draw correlations, (K, K) in [-1, 1], as squares with their numbers."""
    numbers = checked_array("values", values, "K, K")
    if numbers.shape != (len(names), len(names)):
        raise ValueError(f"values must be (K, K) with K = {len(names)}, got {numbers.shape}")
    if np.abs(numbers).max() > 1 + 1e-9:
        raise ValueError(f"values must be in [-1, 1], got {np.abs(numbers).max():g}")
    figure, axes = one_chart(1.7 + 0.46 * len(names), title)
    axes.imshow(numbers, cmap=DIVERGING, vmin=-1, vmax=1)
    for row in range(len(names)):
        for column in range(len(names)):
            value = numbers[row, column]
            text = minus(f"{value + 0.0:.2f}")
            color = "white" if abs(value) > 0.65 else "black"
            axes.text(column, row, text, ha="center", va="center", color=color, size=8)
    axes.set_yticks(range(len(names)), list(names))
    axes.set_xticks(range(len(names)), list(names), rotation=40, ha="right", rotation_mode="anchor")
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
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
        axes.plot(mean, rows + shift, MARKERS[i % 7], color=color, markersize=4, label=group)
    axes.tick_params(axis="y", length=0)
    axes.locator_params(axis="x", nbins=3)
    axes.spines["left"].set_visible(False)
    axes.margins(x=0.08)


def _legend(axes: Axes) -> tuple[list[Any], list[str]]:
    lines, labels = axes.get_legend_handles_labels()
    return lines, [str(label) for label in labels]
