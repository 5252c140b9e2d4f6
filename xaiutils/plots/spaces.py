"""Maps of what has no two dimensions: a signal as a line, a volume slice by slice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from xaiutils.plots import style
from xaiutils.plots.panel import Panel, is_signed, limits_of, scale_of
from xaiutils.plots.panels import panels
from xaiutils.plots.style import COLORS, WIDTH, Array, Figure, styled
from xaiutils.support import checks


@styled
def signal(
    values: Array, maps: Mapping[str, Array], *, clip: float | None = None, title: str = "",
    xlabel: str = "position",
) -> Figure:  # fmt: skip
    """Show a signal as lines, and below it once more over each map, as the map's colours.

    Args:
        values: ``(lines, L)``; all are drawn in the first chart, the first one over each map.
        maps: name to ``(L,)``; a map with a negative value has two colours, red is evidence for.
        clip: percentile of a map's absolute values at which its colours end; a map from 0 to 1,
            such as a CAM, is spared.
        title: the finding. xlabel: of what the positions are, such as "seconds".
    """
    lines = style.checked_array("values", values, "lines, L").astype(float)
    found = {}
    for name, map in style.entries("maps", maps).items():
        found[name] = style.checked_array(f"maps[{name!r}]", map, "L").astype(float)
        if found[name].shape != lines.shape[1:]:
            rule = f"must have the signal's {lines.shape[1]} values, got {found[name].shape}"
            raise ValueError(f"maps[{name!r}] {rule}")
    figure = Figure(figsize=(WIDTH, 1.6 + 1.05 * len(found)), layout="constrained")
    style.headline(figure, title)
    tall = [1.3] + [1.0] * len(found)
    charts = figure.subplots(1 + len(found), 1, sharex=True, height_ratios=tall, squeeze=False)
    for i, line in enumerate(lines):
        charts[0, 0].plot(line, color=COLORS[i % len(COLORS)], linewidth=1)
    charts[0, 0].set_title("signal", fontsize=10)
    first = lines[0]
    low, high = float(first.min()), float(first.max())
    room = 0.08 * (high - low) or 1.0
    for axes, (name, map) in zip(charts[1:, 0], found.items(), strict=True):
        panel = Panel(map=map[None], clip=_clip(map, clip))
        extent = (-0.5, len(map) - 0.5, low - room, high + room)
        shown = axes.imshow(panel.map, aspect="auto", extent=extent, **scale_of(panel))
        axes.plot(first, color="black" if is_signed(panel) else "white", linewidth=1)
        axes.set_title(name, fontsize=10)
        axes.set_yticks([])
        ends = list(shown.get_clim())
        figure.colorbar(shown, ax=axes, pad=0.01, fraction=0.03, ticks=ends, format="%.2g")
    charts[-1, 0].set_xlabel(xlabel)
    charts[-1, 0].set_xlim(-0.5, lines.shape[1] - 0.5)
    return figure


def slices(
    volume: Array, maps: Mapping[str, Array], *, count: int = 5, clip: float | None = None,
    title: str = "",
) -> Figure:  # fmt: skip
    """Show evenly spaced slices of a volume, and of each map over them, on one scale per map.

    Args:
        volume: ``(D, H, W, 3)``, uint8 or float in [0, 1].
        maps: name to ``(D, H, W)``.
        count: of slices along the first axis; all of them where there are fewer.
        clip: as in `signal`, of the values of the whole volume.
        title: the finding.
    """
    pictures = style.checked_array("volume", volume, "D, H, W, 3")
    depth = len(pictures)
    chosen = np.linspace(0, depth - 1, min(checks.whole("count", count), depth)).round().astype(int)
    cells: list[Any] = [Panel(pictures[i], title=f"slice {i}") for i in chosen]
    for name, map in style.entries("maps", maps).items():
        values = style.checked_array(f"maps[{name!r}]", map, "D, H, W").astype(float)
        if values.shape != pictures.shape[:3]:
            rule = f"must have the volume's {pictures.shape[:3]}, got {values.shape}"
            raise ValueError(f"maps[{name!r}] {rule}")
        whole = Panel(map=values.reshape(depth, -1), clip=_clip(values, clip), caption="")
        whole = replace(whole, signed=is_signed(whole), limits=limits_of(whole))
        for i in chosen:
            bar = bool(i == chosen[0])
            cells.append(replace(whole, image=pictures[i], map=values[i], clip=None, colorbar=bar))
    rows = ["volume", *maps]
    return panels(cells, columns=len(chosen), row_titles=rows, suptitle=title or None)


def _clip(map: np.ndarray, clip: float | None) -> float | None:
    return None if map.min() >= 0 and abs(map.max() - 1) < 1e-6 else clip
