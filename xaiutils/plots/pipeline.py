"""The paper's Fig. 1, drawn from real maps."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.patches import Circle, FancyArrowPatch, Rectangle
from matplotlib.patheffects import withStroke

from xaiutils.plots import style
from xaiutils.plots.panel import Panel, draw
from xaiutils.plots.panels import aligned
from xaiutils.plots.style import COLORS, MARGIN, WIDTH, Array, Figure, styled


@styled
def pipeline(
    image: Array, activations: Array, *, cam: Array, bounded: Array, relevance: Array,
    product: Array, hybrid: Array, threshold: float | None = None, sigma: float | None = None,
    clip: float | None = None, title: str | None = None,
) -> Figure:  # fmt: skip
    """Draw the paper's Fig. 1 from real maps: two branches, their product, its smoothing.

    The maps have one shape, so that each goes by its name.

    Args:
        image: ``(H, W, 3)``. activations: ``(K, h, w)``; the four strongest channels are shown.
        cam, bounded, relevance, product, hybrid: maps ``(H, W)``.
        threshold, sigma: printed at their steps. title: the finding.
        clip: as in `Panel`, for relevance, product and hybrid.
    """
    photo = style.checked_picture("image", image)
    maps = aligned(
        photo, cam=cam, bounded=bounded, relevance=relevance, product=product, hybrid=hybrid
    )
    channels = style.checked_array("activations", activations, "K, h, w").astype(float)
    figure = Figure(figsize=(WIDTH, 4.15 + 0.3 * (title is not None)))
    top = figure.get_figheight() - MARGIN
    style.write(figure, MARGIN, top, title or "", 12, weight="bold", va="top")
    side, up, low = 1.32, 2.55, 0.42  # of a tile; bottoms of the two branches, in inches
    half, middle = side / 2, (up + low) / 2
    x = [0.1 + 1.695 * i for i in range(5)]
    fine: dict[str, Any] = {"clip": clip, "signed": True}
    cut = "" if threshold is None else f"\nthreshold {style.short(threshold)}"
    for panel, left, y, text in (
        (Panel(photo), x[0], middle, "picture"),
        (Panel(map=maps["cam"]), x[2], up, "Grad-CAM++"),
        (Panel(map=maps["bounded"]), x[3], up, "bounding figure" + cut),
        (Panel(map=maps["relevance"], **fine), x[2], low, "LRP, channel mean"),
        (Panel(map=maps["product"], **fine), x[4], low, "product"),
        (Panel(map=maps["hybrid"], **fine), x[4], up, "hybrid"),
    ):
        axes = style.place_axes(figure, left, y, side, side)
        draw(axes, panel)
        note = "" if panel.clip is None else f"\nclip {panel.clip:g} %"
        style.write(figure, left + half, y - 0.06, text + note, 9, ha="center", va="top")
    axes.spines[:].set(color=COLORS[1], linewidth=2.5)  # the last tile is the result
    strongest = np.argsort(-np.abs(channels).mean((1, 2)), kind="stable")[:4]
    size = side - 0.13 * (len(strongest) - 1)
    for i, channel in enumerate(reversed(strongest)):
        left, y = x[1] + 0.13 * i, up + side - size - 0.13 * i
        draw(style.place_axes(figure, left, y, size, size), Panel(map=channels[channel]))
    shape: dict[str, Any] = {"transform": figure.dpi_scale_trans, "edgecolor": "white"}
    for i, part in enumerate((1.0, 0.86, 0.7, 0.54, 0.38, 0.62, 0.62, 0.3)):
        corner = (x[1] + 0.09 + 0.15 * i, low + half - part * half)
        color = COLORS[5] if i < 5 else COLORS[4]
        figure.add_artist(Rectangle(corner, 0.11, part * side, facecolor=color, **shape))
    shape |= {"facecolor": "white", "edgecolor": "#444444", "linewidth": 1.5}
    cross = (x[3] + half, low + half)
    figure.add_artist(Circle(cross, 0.2, **shape))
    style.write(figure, *cross, "×", 16, ha="center", va="center")
    under = ("activations of the\nlast convolution", "layer by layer\nback to the pixels")
    heads = ("Where: Grad-CAM++", "Which pixels: LRP")
    for y, head, foot in zip((up, low), heads, under, strict=True):
        style.write(figure, x[1], y + side + 0.06, head, 10, weight="bold", color=COLORS[0])
        style.write(figure, x[1] + half, y - 0.06, foot, 9, ha="center", va="top")
    blur = "Gaussian" if sigma is None else f"Gaussian, σ = {style.short(sigma)}"
    style.write(figure, x[4] + half - 0.1, low + side + 0.24, blur, 9, ha="right", va="center")
    back = {"color": COLORS[1], "path_effects": [withStroke(linewidth=4, foreground="white")]}
    bend = "angle,angleA={},angleB=180,rad=4"
    first, second, join, end = up + half, low + half, x[0] + half, x[4] + half
    for start, stop, look in (
        ((join, middle + side + 0.04), (x[1] - 0.05, first), {"connectionstyle": bend.format(90)}),
        ((join, middle - 0.22), (x[1] - 0.05, second), {"connectionstyle": bend.format(-90)}),
        ((x[1] + side + 0.05, first), (x[2] - 0.05, first), {}),
        ((x[2] + side + 0.05, first), (x[3] - 0.05, first), {}),
        ((x[1] + side + 0.05, second), (x[2] - 0.05, second), {}),
        ((x[1] + side - 0.06, second), (x[1] + 0.06, second), back),
        ((x[2] + side + 0.05, second), (cross[0] - 0.23, second), {}),
        ((cross[0] + 0.23, second), (x[4] - 0.05, second), {}),
        ((cross[0], up - 0.25 - 0.155 * bool(cut)), (cross[0], second + 0.23), {}),
        ((end, low + side + 0.05), (end, up - 0.25 - 0.155 * (clip is not None)), {}),
    ):
        line: dict[str, Any] = {"color": "#444444", "linewidth": 1.5, "mutation_scale": 12}
        line |= {"arrowstyle": "-|>", "shrinkA": 0, "shrinkB": 0} | look
        arrow = FancyArrowPatch(start, stop, transform=figure.dpi_scale_trans, **line)
        figure.add_artist(arrow)
    return figure
