"""Charts of repeated trials: scores against a setting, one score against another, differences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from xaiutils.plots.style import (
    COLORS,
    DASHES,
    MARKERS,
    Array,
    Figure,
    check_count,
    checked_array,
    entries,
    minus,
    name_rows,
    one_chart,
    small_charts,
    styled,
)
from xaiutils.support import checks

LOGIT_TICKS = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.97, 0.98, 0.99)
LEVELS = ("#444444", "#8A6D3B", "#7A7A9A")


@styled
def sweeps(
    ticks: Sequence[str], charts: Mapping[str, Mapping[str, Array]], *, xlabel: str,
    title: str = "", levels: Mapping[str, Mapping[str, tuple[float, float]]] | None = None,
    mark: int | None = None, columns: int = 3,
) -> Figure:  # fmt: skip
    """Draw small charts of several scores against one setting, one line for each trial.

    Args:
        ticks: The setting's values, as text, evenly spaced.
        charts: The score's name to the lines by name, each ``(3, n)``: means, lower and upper ends
            of their intervals.
        xlabel: Below each chart.
        title: The finding.
        levels: The score's name to other methods' (lowest, highest) mean: bars beside the chart's
            last value, and a line across at their middle.
        mark: Position of the default in ``ticks``, a dotted line.
        columns: Charts in a row.

    Raises:
        TypeError, ValueError: No chart or line, an unknown one, a wrong shape, NaN or infinity.
    """
    figure, places = small_charts(len(entries("charts", charts)), columns, title)
    for name in levels or {}:
        checks.choice("levels", name, charts)
    if mark is not None:
        checks.number("mark", mark, low=0, high=len(ticks) - 1)
    handles: dict[str, Any] = {}
    for axes, (name, lines) in zip(places, charts.items(), strict=False):
        for i, (level, ends) in enumerate((levels or {}).get(name, {}).items()):
            low, high = (checks.number(f"levels[{name!r}][{level!r}]", end) for end in ends)
            color, dash = LEVELS[i % 3], DASHES[1 + i % 3]
            look: dict[str, Any] = {"color": color, "linestyle": dash, "linewidth": 1}
            handles[level] = axes.axhline((low + high) / 2, **look)
            beside = len(ticks) - 0.3 + 0.35 * i
            axes.vlines(beside, low, high, color=color, linewidth=4, zorder=3)
        for i, (line, values) in enumerate(entries(f"charts[{name!r}]", lines).items()):
            mean, low, high = _interval(f"charts[{name!r}][{line!r}]", values, len(ticks))
            x = np.arange(len(ticks)) + 0.12 * (i - (len(lines) - 1) / 2)
            look = {"color": COLORS[i % 7], "linewidth": 1.1}
            axes.vlines(x, low, high, **look)
            (handles[line],) = axes.plot(
                x, mean, marker=MARKERS[i % 7], linestyle=DASHES[i % 4], markersize=4, **look
            )
        if mark is not None:
            axes.axvline(mark, color="#444444", linestyle=":", linewidth=1)
        axes.set_title(name, fontsize=10, weight="normal")
        axes.set_xticks(range(len(ticks)), ticks)
        axes.set_xlabel(xlabel)
        axes.grid(axis="y", color="#E5E5E5")
    figure.legend(handles.values(), handles.keys(), loc="outside lower left", ncols=3)
    return figure


@styled
def trade_off(
    points: Mapping[str, tuple[float, float]], *, xlabel: str, ylabel: str, title: str = "",
    spread: Mapping[str, tuple[float, float, float, float]] | None = None,
    joined: Sequence[Sequence[str]] = (), reference: Sequence[str] = (), xscale: str = "linear",
) -> Figure:  # fmt: skip
    """Draw methods by two scores, both better where higher, and the front that none exceeds.

    A point is on the front if no other is at least as high in both scores and higher in one. The
    points are numbered; those of the front are written bold.

    Args:
        points: name to (x, y).
        xlabel, ylabel: Names of the scores. title: The finding.
        spread: name to (lowest x, highest x, lowest y, highest y), drawn as a thin cross.
        joined: Names in order, joined by a line: one setting varied.
        reference: Names of controls and baselines, drawn as squares.
        xscale: ``"logit"`` spreads scores near 0 and 1, for x in (0, 1); or ``"linear"``.

    Raises:
        TypeError, ValueError: No points, an unknown name, NaN or infinity.
    """
    inside = {"low": 1e-6, "high": 1 - 1e-6}
    limits = {} if checks.choice("xscale", xscale, ("linear", "logit")) == "linear" else inside
    places = {
        name: (
            checks.number(f"points[{name!r}]", x, **limits),
            checks.number(f"points[{name!r}]", y),
        )
        for name, (x, y) in entries("points", points).items()
    }
    for argument, names in (("spread", spread or {}), ("reference", reference)):
        for name in names:
            checks.choice(argument, name, places)
    figure, axes = one_chart(max(3.6, 0.8 + 0.25 * len(places)), title)
    stretched = " (logit scale: stretched towards 0 and 1)" if xscale == "logit" else ""
    axes.set(xlabel=xlabel + stretched, ylabel=ylabel, xscale=xscale)
    if xscale == "logit":
        ticks = [tick for tick in LOGIT_TICKS if min(x for x, _ in places.values()) <= tick]
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.set_xticks([], minor=True)
    axes.grid(color="#E5E5E5")
    for i, names in enumerate(joined):
        line = np.array([places[checks.choice("joined", name, places)] for name in names])
        axes.plot(*line.T, DASHES[i % 4], color=COLORS[i % 7], linewidth=1.2, zorder=1)
    front = efficient(places)
    axes.plot(
        *np.array(sorted(places[name] for name in front)).T, color="#D0D0D0", linewidth=7,
        solid_joinstyle="round", zorder=0,
    )  # fmt: skip
    for i, (name, (x, y)) in enumerate(places.items(), start=1):
        if name in (spread or {}):
            left, right, low, high = (
                checks.number(f"spread[{name!r}]", end) for end in (spread or {})[name]
            )
            for ends in (((left, right), (y, y)), ((x, x), (low, high))):
                axes.plot(*ends, color="#8C8C8C", linewidth=0.7, zorder=0.5)
        color, marker = ("#777777", "s") if name in reference else ("black", "o")
        label = f"{i}  {name}"
        axes.plot(x, y, marker, color=color, markersize=5, label=label, linestyle="none")
    legend = axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), handletextpad=0.2)
    figure.draw_without_rendering()  # the layout decides where there is room
    at = axes.transData.transform(list(places.values())) * 72 / figure.dpi
    for i, (name, shift) in enumerate(zip(places, _apart(at), strict=True), start=1):
        weight = "bold" if name in front else "normal"
        axes.annotate(
            str(i), places[name], shift, textcoords="offset points", ha="center", va="center",
            weight=weight, zorder=3,
        )  # fmt: skip
    for text, name in zip(legend.get_texts(), places, strict=True):
        text.set_fontweight("bold" if name in front else "normal")
    return figure


def _apart(at: np.ndarray) -> np.ndarray:
    """Where each point's number stands, (n, 2) in points from it: away from all others so far."""
    angles = np.arange(16) * np.pi / 8 + np.pi / 4
    ring = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    ways = np.concatenate([8 * ring, 14 * ring, 20 * ring])
    taken, shifts = list(at), []
    for point in at:
        gaps = np.linalg.norm((point + ways)[:, None] - np.array(taken), axis=2).min(1)
        # Nearer is better where there is room for a number.
        best = ways[int(np.argmax(np.minimum(gaps, 10)))]
        taken.append(point + best)
        shifts.append(best)
    return np.array(shifts)


def efficient(points: Mapping[str, tuple[float, ...]]) -> list[str]:
    """The names whose scores no other exceeds: at least as high in all, higher in one."""
    return [
        name
        for name, own in points.items()
        if not any(
            other != own and all(b >= a for a, b in zip(own, other, strict=True))
            for other in points.values()
        )
    ]


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

    Raises:
        TypeError, ValueError: No row or trial, NaN or infinity.
    """
    entries("rows", rows)
    trials = list(dict.fromkeys(trial for row in rows.values() for trial in row))
    lines = len(title) > 75
    height = 1.25 + 0.2 * lines + len(rows) * (0.2 + 0.1 * len(trials))
    figure, axes = one_chart(height, title)
    axes.set_xlabel(xlabel)
    line = checks.number("reference", reference)
    axes.axvline(line, color="#444444", linestyle="--", linewidth=1)
    handles: dict[str, Any] = {}
    for i, (name, row) in enumerate(rows.items()):
        means = []
        for trial, values in entries(f"rows[{name!r}]", row).items():
            mean, low, high = _interval(
                f"rows[{name!r}][{trial!r}]", np.array(values, float)[:, None], 1
            )[:, 0]
            k = trials.index(trial)
            y = i + 0.2 * (k - (len(trials) - 1) / 2)
            color = COLORS[k % 7]
            axes.plot((low, high), (y, y), color=color, linewidth=1.5)
            (handles[trial],) = axes.plot(
                mean, y, MARKERS[k % 7], color=color, markersize=5, linestyle="none"
            )
            means.append(mean)
        if form is not None:
            ends = (minus(format(value, form)) for value in (min(means), max(means)))
            text = " to ".join(dict.fromkeys(ends))
            axes.annotate(text, (1.01, i), xycoords=("axes fraction", "data"), va="center")
    name_rows(axes, rows)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.grid(axis="x", color="#E5E5E5")
    if len(trials) > 1:
        figure.legend(handles.values(), handles.keys(), loc="outside lower left", ncols=4)
    return figure


def _interval(argument: str, value: Array, count: int) -> np.ndarray:
    """Means, lower and upper ends, (3, count); a BCa interval need not hold its mean."""
    found = checked_array(argument, value, "3, n")
    if found.shape != (3, count):
        raise ValueError(f"{argument} must have shape (3, {count}), got {found.shape}")
    if (found[1] > found[2]).any():
        raise ValueError(f"{argument} must hold means, lower ends and upper ends, got other order")
    return found


@styled
def forecasts(
    drops: Array, sums: Mapping[str, Array], *, xlabel: str, ylabel: str, title: str = "",
    columns: int = 4,
) -> Figure:  # fmt: skip
    """Draw the drops of a logit against each map's forecasts, after the best scaling of the map.

    The distance of a dot from the line, up or down, is the forecast's error; the number above is
    the mean of its square.

    Args:
        drops: ``(n,)``, what each perturbation took from the logit.
        sums: name to ``(n,)``, what a map says of each, in its own unit; not all of them 0.
        xlabel, ylabel: Of the forecasts, and of the drops.
        title: The finding.
        columns: Charts in a row.

    Raises:
        TypeError, ValueError: No map, values not finite, of another length, or all 0.
    """
    came = checked_array("drops", drops, "n").astype(float)
    scaled = {}
    for name, values in entries("sums", sums).items():
        foretold = checked_array(f"sums[{name!r}]", values, "n").astype(float)
        check_count(f"sums[{name!r}]", foretold, len(came))
        scaled[name] = best_scale(foretold=foretold, came=came) * foretold
    figure, places = small_charts(len(sums), columns, title)
    everything = np.concatenate([came, *scaled.values()])
    ends = (everything.min(), everything.max())
    for place, (axes, (name, foretold)) in enumerate(zip(places, scaled.items(), strict=True)):
        axes.plot(ends, ends, color="black", linewidth=1)
        axes.plot(foretold, came, "o", color=COLORS[0], markersize=4, alpha=0.5, mew=0)
        error = float(((foretold - came) ** 2).mean())
        axes.set_title(f"{name}\n{error:.2f}", fontsize=10, weight="normal", loc="center")
        axes.set_aspect("equal", adjustable="box")
        axes.grid(color="#E5E5E5")
        if place % columns == 0:
            axes.set_ylabel(ylabel)
        else:
            axes.tick_params(labelleft=False)
    figure.supxlabel(xlabel, fontsize=9)
    return figure


def best_scale(*, foretold: Array, came: Array) -> float:
    r"""The factor that brings forecasts closest to what came, by least squares.

    .. math:: \beta = \frac{\sum_k s_k d_k}{\sum_k s_k^2}
    """
    s, d = checked_array("foretold", foretold, "n"), checked_array("came", came, "n")
    check_count("foretold", s, len(d))
    if not s.any():
        raise ValueError("foretold must hold a value that is not 0, got only 0")
    return float((s * d).sum() / (s * s).sum())
