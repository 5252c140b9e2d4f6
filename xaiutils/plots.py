"""Pictures, maps and small charts as Matplotlib figures: pure functions of arrays, in one style.

Nothing here knows about classifiers, and nothing touches pyplot or the user's rcParams. A notebook
cell that ends with one of these calls shows one PNG, with or without ``%matplotlib inline``.
Pictures are ``(H, W, 3)``, float in [0, 1] or uint8; maps are ``(H, W)``, finite, signed or not.
"""

from __future__ import annotations

import io
import itertools
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import matplotlib.figure
import matplotlib.style
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.image import AxesImage
from matplotlib.patches import Circle, FancyArrowPatch, Rectangle
from matplotlib.patheffects import withStroke

from xaiutils import checks

Array = np.ndarray | torch.Tensor

WIDTH, MARGIN, GAP = 8.3, 0.08, 0.1  # inches; at 100 dots each, GitHub's column is 830 wide
SEQUENTIAL, DIVERGING = "inferno", "RdBu_r"
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")  # Okabe, Ito
STYLE: dict[str, Any] = {
    "figure.dpi": 100, "savefig.dpi": "figure", "font.family": "DejaVu Sans", "font.size": 9,
    "figure.facecolor": "white", "savefig.facecolor": "white", "axes.spines.top": False,
    "axes.spines.right": False, "axes.titlesize": 11, "axes.titleweight": "bold",
    "axes.titlelocation": "left", "legend.frameon": False, "legend.fontsize": 9,
}  # fmt: skip
styled = matplotlib.style.context(["default", STYLE])  # a decorator: restores the user's rcParams


class Figure(matplotlib.figure.Figure):
    """A figure that notebooks show once, as PNG, although pyplot does not manage it."""

    def _repr_png_(self) -> bytes:
        return _png(self)


@dataclass(frozen=True)
class Panel:
    """One cell of a grid: a picture, a map, or a map over its greyed picture.

    Args:
        image: ``(H, W, 3)``, or None for the map alone. map: ``(H, W)``, or None.
        title: above the panel. caption: below it; None prints the map's range.
        signed: diverging scale centred at 0 (True), sequential from 0 (False), by min < 0 (None).
        clip: percentile of |map| at which the colours end, stated below the panel.
        limits: (low, high) of the colours, in place of the map's own.
        opacity: of the map over the picture where |map| is largest; it falls to 0 with |map|.
        colorbar: a small one below the map.
        mask: ``(H, W)``, outlined where true.
        boxes: ``(M, 4)`` or ``(4,)``, x0, y0, x1, y1 in pixels, x1 and y1 exclusive.
    """

    image: Any = None
    map: Any = None
    title: str = ""
    caption: str | None = None
    signed: bool | None = None
    clip: float | None = None
    limits: tuple[float, float] | None = None
    opacity: float = 0.55
    colorbar: bool = True
    mask: Any = None
    boxes: Any = None


def picture(image: Array, title: str | None = None, **options: Any) -> Figure:
    """Show a picture ``(H, W, 3)``; ``options`` are fields of `Panel`, e.g. ``mask``, ``boxes``."""
    return panels([Panel(_picture("image", image), title=title or "", **options)], width=3.6)


def heatmap(
    map: Array, *, signed: bool | None = None, title: str = "", clip: float | None = None,
    **options: Any,
) -> Figure:  # fmt: skip
    """Show a map ``(H, W)`` with its colour bar; ``options`` are further fields of `Panel`."""
    panel = Panel(map=_map("map", map), signed=signed, title=title, clip=clip, **options)
    return panels([panel], width=3.6)


def overlay(image: Array, map: Array, *, opacity: float = 0.55, **options: Any) -> Figure:
    """Show a map over its greyed picture, clear where the map is 0; ``options`` as in `Panel`."""
    cell = Panel(_picture("image", image), _map("map", map), opacity=opacity, **options)
    return panels([cell], width=3.6)


@styled
def panels(
    items: Sequence[Any], *, columns: int | None = None, titles: Sequence[str] | None = None,
    captions: Sequence[str | None] | None = None, suptitle: str | None = None,
    row_titles: Sequence[str] | None = None, width: float = 2.65, **options: Any,
) -> Figure:  # fmt: skip
    """Show pictures and maps in a grid.

    Args:
        items: each a picture ``(H, W, 3)``, a map ``(H, W)``, a pair (picture, map) or a `Panel`.
        columns: panels in a row; all of them by default.
        titles: above each panel. captions: below each. row_titles: above each row.
        suptitle: the finding, above all.
        width: of one panel in inches, at most; the figure is never wider than 8.3 inches.
        options: fields of `Panel`, set for every panel.

    Raises:
        TypeError, ValueError: an item, mask or box of wrong type, shape or range; wrong counts.
    """
    if not items:
        raise ValueError("items must hold at least one picture or map, got none")
    cells = [_panel(f"items[{i}]", item, options) for i, item in enumerate(items)]
    if titles is not None:
        _count("titles", titles, len(cells))
        cells = [replace(cell, title=text) for cell, text in zip(cells, titles, strict=True)]
    if captions is not None:
        _count("captions", captions, len(cells))
        cells = [replace(cell, caption=text) for cell, text in zip(cells, captions, strict=True)]
    columns = int(checks.number("columns", len(cells) if columns is None else columns, low=1))
    rows = [cells[i : i + columns] for i in range(0, len(cells), columns)]
    if row_titles is not None:
        _count("row_titles", row_titles, len(rows))
    size = min(width, (WIDTH - 2 * MARGIN - (columns - 1) * GAP) / columns)
    total = 2 * MARGIN + columns * size + (columns - 1) * GAP
    # Sizes are known beforehand, so that no layout engine has to guess them: (text, panel) heights.
    banner = _wrap(suptitle or "", total - 2 * MARGIN, 12)
    heads = [[_wrap(cell.title, size, 10) for cell in row] for row in rows]
    feet = [[_wrap(_caption(cell), size, 9) for cell in row] for row in rows]
    shapes = [[(c.image if c.map is None else c.map).shape for c in row] for row in rows]
    tall = [max(size * shape[0] / shape[1] for shape in row) for row in shapes]
    bar = [0.27 * any(c.map is not None and c.colorbar for c in row) for row in rows]
    above = [_height(head, 10) + 0.26 * (row_titles is not None) for head in heads]
    height = 2 * MARGIN + _height([banner], 12) + sum(above) + sum(tall) + sum(bar)
    height += sum(_height(foot, 9) for foot in feet) + GAP * (len(rows) - 1)
    figure = Figure(figsize=(total, height := round(height, 2)))  # whole pixels
    _text(figure, MARGIN, height - MARGIN, banner, 12, weight="bold", va="top")
    y = height - MARGIN - _height([banner], 12)
    for i, row in enumerate(rows):
        if row_titles is not None:
            top = y - _height(heads[i], 10) * (i == 0)
            _text(figure, MARGIN, top - 0.04, row_titles[i], 10, weight="bold", va="top")
        y -= above[i] + tall[i]
        for j, cell in enumerate(row):
            x = MARGIN + j * (size + GAP)
            head = y + tall[i] + 0.05 + 0.26 * (row_titles is not None)
            _text(figure, x + size / 2, head, heads[i][j], 10, ha="center", va="bottom")
            axes = _axes(figure, x, y, size, tall[i])
            shown = _draw(axes, cell)
            if shown is not None and cell.colorbar:
                _bar(figure, shown, x, y - 0.11, size)
            _text(figure, x + size / 2, y - bar[i] - 0.05, feet[i][j], 9, ha="center", va="top")
        y -= bar[i] + _height(feet[i], 9) + GAP
    return figure


def stages(
    image: Array, cam: Array, bounded: Array, relevance: Array, hybrid: Array,
    product: Array | None = None, *, captions: Sequence[str | None] | None = None,
    suptitle: str | None = None, **options: Any,
) -> Figure:  # fmt: skip
    """Show the strip of the paper's Fig. 2, from the picture to the hybrid.

    Args:
        image: ``(H, W, 3)``. cam, bounded, relevance, hybrid, product: maps ``(H, W)``; the
            product's panel is left out if None.
        captions: numbers below the panels, one each. suptitle: the finding.
        options: fields of `Panel`, set for every panel, e.g. ``mask``, ``clip``.

    Raises:
        TypeError, ValueError: an array of wrong type or shape, or with NaN; a wrong count.
    """
    photo = _picture("image", image)
    maps = {"cam": cam, "bounded": bounded, "relevance": relevance}
    maps |= {} if product is None else {"product": product}
    items = [photo, *_aligned(photo, **maps, hybrid=hybrid).values()]
    titles = ["image", "Grad-CAM++", "bounding figure", "LRP", "product", "hybrid"]
    if product is None:
        titles.remove("product")
    return panels(items, titles=titles, captions=captions, suptitle=suptitle, **options)


def gallery(
    rows: Sequence[Sequence[Any]],
    columns: Sequence[str] = ("image", "Grad-CAM++", "LRP", "hybrid"),
    row_titles: Sequence[str] | None = None, **options: Any,
) -> Figure:  # fmt: skip
    """Show a row for each picture, its class name above; a column has one kind of scale.

    Args:
        rows: items of `panels`, one for each of ``columns``. columns: their titles.
        row_titles: one for each row. options: keywords of `panels` and fields of `Panel`.

    Raises:
        TypeError, ValueError: as `panels`; a row of wrong length.
    """
    for i, row in enumerate(rows):
        _count(f"rows[{i}]", row, len(columns))
    grid = [[_panel(f"rows[{i}]", item, {}) for item in row] for i, row in enumerate(rows)]
    for column in range(len(columns)):
        signed = any(r[column].map is not None and r[column].map.min() < 0 for r in grid)
        for row in grid:
            row[column] = replace(row[column], signed=signed, colorbar=False)
    titles = [*columns, *[""] * (len(columns) * (len(rows) - 1))]
    cells = list(itertools.chain(*grid))
    return panels(
        cells, columns=len(columns), titles=titles, row_titles=row_titles, width=2.0, **options
    )


@styled
def pipeline(
    image: Array, activations: Array, cam: Array, bounded: Array, relevance: Array,
    product: Array, hybrid: Array, *, threshold: float | None = None, sigma: float | None = None,
    clip: float | None = None, title: str | None = None,
) -> Figure:  # fmt: skip
    """Draw the paper's Fig. 1 from real maps: two branches, their product, its smoothing.

    Args:
        image: ``(H, W, 3)``. activations: ``(K, h, w)``; the four strongest channels are shown.
        cam, bounded, relevance, product, hybrid: maps ``(H, W)``.
        threshold, sigma: printed at their steps. title: the finding.
        clip: as in `Panel`, for relevance, product and hybrid.

    Raises:
        TypeError, ValueError: an array of wrong type or shape, or with NaN.
    """
    photo = _picture("image", image)
    maps = _aligned(
        photo, cam=cam, bounded=bounded, relevance=relevance, product=product, hybrid=hybrid
    )
    channels = _array("activations", activations, "K, h, w").astype(float)
    figure = Figure(figsize=(WIDTH, 4.15 + 0.3 * (title is not None)))
    _text(figure, MARGIN, figure.get_figheight() - MARGIN, title or "", 12, weight="bold", va="top")
    side, up, low = 1.32, 2.55, 0.42  # of a tile; bottoms of the two branches, in inches
    half, middle = side / 2, (up + low) / 2
    x = [0.1 + 1.695 * i for i in range(5)]
    cut = "" if threshold is None else f"\nthreshold {_number(threshold)}"
    for panel, left, y, text in (
        (Panel(photo), x[0], middle, "image"),
        (Panel(map=maps["cam"]), x[2], up, "Grad-CAM++"),
        (Panel(map=maps["bounded"]), x[3], up, "bounding figure" + cut),
        (Panel(map=maps["relevance"], clip=clip), x[2], low, "LRP, channel mean"),
        (Panel(map=maps["product"], clip=clip), x[4], low, "product"),
        (Panel(map=maps["hybrid"], clip=clip), x[4], up, "hybrid"),
    ):
        axes = _axes(figure, left, y, side, side)
        _draw(axes, panel)
        note = "" if panel.clip is None else f"\nclip {panel.clip:g} %"
        _text(figure, left + half, y - 0.06, text + note, 9, ha="center", va="top")
    axes.spines[:].set(color=COLORS[1], linewidth=2.5)  # the last tile is the result
    strongest = np.argsort(-np.abs(channels).mean((1, 2)), kind="stable")[:4]
    size = side - 0.13 * (len(strongest) - 1)
    for i, channel in enumerate(reversed(strongest)):
        left, y = x[1] + 0.13 * i, up + side - size - 0.13 * i
        _draw(_axes(figure, left, y, size, size), Panel(map=channels[channel]))
    shape: dict[str, Any] = {"transform": figure.dpi_scale_trans, "edgecolor": "white"}
    for i, part in enumerate((1.0, 0.86, 0.7, 0.54, 0.38, 0.62, 0.62, 0.3)):
        corner = (x[1] + 0.09 + 0.15 * i, low + half - part * half)
        color = COLORS[5] if i < 5 else COLORS[4]
        figure.add_artist(Rectangle(corner, 0.11, part * side, facecolor=color, **shape))
    shape |= {"facecolor": "white", "edgecolor": "#444444", "linewidth": 1.5}
    cross = (x[3] + half, low + half)
    figure.add_artist(Circle(cross, 0.2, **shape))
    _text(figure, *cross, "×", 16, ha="center", va="center")
    under = ("activations of the\nlast convolution", "layer by layer\nback to the pixels")
    heads = ("Where: Grad-CAM++", "Which pixels: LRP")
    for y, head, foot in zip((up, low), heads, under, strict=True):
        _text(figure, x[1], y + side + 0.06, head, 10, weight="bold", color=COLORS[0])
        _text(figure, x[1] + half, y - 0.06, foot, 9, ha="center", va="top")
    blur = "Gaussian" if sigma is None else f"Gaussian, σ = {_number(sigma)}"
    _text(figure, x[4] + half - 0.1, low + side + 0.24, blur, 9, ha="right", va="center")
    back = {"color": COLORS[1], "path_effects": [withStroke(linewidth=4, foreground="white")]}
    bend = "angle,angleA={},angleB=180,rad=4"
    first, second, join = up + half, low + half, x[0] + half
    for start, end, look in (
        ((join, middle + side + 0.04), (x[1] - 0.05, first), {"connectionstyle": bend.format(90)}),
        ((join, middle - 0.22), (x[1] - 0.05, second), {"connectionstyle": bend.format(-90)}),
        ((x[1] + side + 0.05, first), (x[2] - 0.05, first), {}),
        ((x[2] + side + 0.05, first), (x[3] - 0.05, first), {}),
        ((x[1] + side + 0.05, second), (x[2] - 0.05, second), {}),
        ((x[1] + side - 0.06, second), (x[1] + 0.06, second), back),
        ((x[2] + side + 0.05, second), (cross[0] - 0.23, second), {}),
        ((cross[0] + 0.23, second), (x[4] - 0.05, second), {}),
        ((cross[0], up - 0.25 - 0.155 * bool(cut)), (cross[0], second + 0.23), {}),
        (
            (x[4] + half, low + side + 0.05),
            (x[4] + half, up - 0.25 - 0.155 * (clip is not None)),
            {},
        ),
    ):
        line: dict[str, Any] = {"color": "#444444", "linewidth": 1.5, "mutation_scale": 12}
        line |= {"arrowstyle": "-|>", "shrinkA": 0, "shrinkB": 0} | look
        arrow = FancyArrowPatch(start, end, transform=figure.dpi_scale_trans, **line)
        figure.add_artist(arrow)
    return figure


@styled
def curves(
    x: Array, series: Mapping[str, Array], *, xlabel: str, ylabel: str, title: str = "",
    bands: Mapping[str, tuple[Array, Array]] | None = None, mark: float | None = None,
) -> Figure:  # fmt: skip
    """Draw lines told apart by colour, dash and marker.

    Args:
        x: ``(n,)``. series: name to ``(n,)``. bands: name of a series to its (low, high), each
            ``(n,)``. mark: an x value with a dotted line, e.g. the paper's setting.

    Raises:
        TypeError, ValueError: an empty ``series``; values not finite or of another length.
    """
    across = _array("x", x, "n")
    figure, axes = _chart(3.2, title, xlabel, "series", series)
    for name in bands or {}:
        checks.choice("bands", name, series)
    looks = zip(itertools.cycle(COLORS), itertools.cycle(("-", "--", "-.", ":")), "osD^vPX" * 9)
    for (name, values), (color, dash, marker) in zip(series.items(), looks, strict=False):
        y = _array(f"series[{name!r}]", values, "n")
        _count(f"series[{name!r}]", y, len(across))
        axes.plot(across, y, dash, color=color, marker=marker, markersize=5, label=name)
        if name in (bands or {}):
            edges = [_array(f"bands[{name!r}]", edge, "n") for edge in (bands or {})[name]]
            for edge in edges:
                _count(f"bands[{name!r}]", edge, len(across))
            axes.fill_between(across, edges[0], edges[1], color=color, alpha=0.15, linewidth=0)
    axes.set_ylabel(ylabel)
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

    Raises:
        TypeError, ValueError: no values, a value that is not finite, an unknown ``highlight``.
    """
    figure, axes = _chart(0.9 + 0.28 * len(values), title, xlabel, "values", values)
    for name in intervals or {}:
        checks.choice("intervals", name, values)
    if highlight is not None:
        checks.choice("highlight", highlight, values)
    for i, (name, value) in enumerate(values.items()):
        length = checks.number(f"values[{name!r}]", value)
        low, high = (intervals or {}).get(name, (length, length))
        low, high = (checks.number(f"intervals[{name!r}]", end) for end in (low, high))
        chosen = name == highlight
        axes.barh(i, length, height=0.7, color=COLORS[1] if chosen else "#8DB6D2")
        axes.plot((low, high), (i, i), color="black", linewidth=1.5)
        end = min(low, length) if length < 0 else max(high, length)
        side, shift = ("right", -4) if length < 0 else ("left", 4)
        axes.annotate(
            _number(length), (end, i), (shift, 0), textcoords="offset points", va="center",
            ha=side, weight="bold" if chosen else "normal",
        )  # fmt: skip
    axes.set_yticks(range(len(values)), list(values))
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.axvline(0, color="#444444", linewidth=0.8)
    if chance is not None:
        label = f"chance {_number(checks.number('chance', chance))}"
        axes.axvline(chance, color="#444444", linestyle="--", label=label)
        figure.legend(loc="outside lower right")
    return figure


@styled
def ledger(shares: Mapping[str, float], *, title: str = "") -> Figure:
    """Draw how the start was spent as one stacked bar; negative shares lie left of zero.

    Args:
        shares: name to share of the start, any sign; the printed sum is 1 if nothing is lost.

    Raises:
        TypeError, ValueError: no shares, or one that is not finite.
    """
    figure, axes = _chart(1.65, title, "share of the start", "shares", shares)
    ends = {True: 0.0, False: 0.0}
    hatches = ("", "///", "...", "xxx", "\\\\\\", "+++", "ooo")
    for i, (name, value) in enumerate(shares.items()):
        share = checks.number(f"shares[{name!r}]", value)
        look: dict[str, Any] = {"color": COLORS[i % 7], "hatch": hatches[i % 7]}
        label = f"{name} {share:.3f}".replace("-", "−")
        axes.barh(
            0, share, left=ends[share < 0], height=0.6, edgecolor="white", label=label, **look
        )
        ends[share < 0] += share
    for position in (0, 1):
        axes.axvline(position, color="black", linewidth=1, linestyle="-" if not position else "--")
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    total = f"sum {sum(shares.values()):.3f}".replace("-", "−")
    figure.legend(loc="outside lower left", ncols=4, title=total, alignment="left")
    return figure


def _png(figure: matplotlib.figure.Figure, scale: float = 1.0) -> bytes:
    """PNG bytes without the library's version and without a date."""
    buffer = io.BytesIO()
    with matplotlib.style.context(["default", STYLE]):
        dpi = figure.dpi * scale
        figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    return buffer.getvalue()


def save(figure: matplotlib.figure.Figure, path: str | Path, *, scale: float = 1.0) -> Path:
    """Write a PNG of 830 pixels' width times ``scale``; the same figure gives the same bytes.

    Raises:
        ValueError: ``path`` does not end in .png, or ``scale`` is not in 0.1..10.
    """
    path = Path(path)
    if path.suffix != ".png":
        raise ValueError(f"path must end in .png, got {path.name!r}")
    path.write_bytes(_png(figure, checks.number("scale", scale, low=0.1, high=10)))
    return path


def _array(argument: str, value: Any, shape: str) -> np.ndarray:
    """The array, if it is one, numeric, finite, not empty and of as many axes as ``shape``."""
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu()
        value = (value.double() if value.is_floating_point() else value).numpy()  # bfloat16 too
    if not hasattr(value, "__array_interface__"):  # Pillow's images have it as well
        raise TypeError(f"{argument} must be a NumPy array or tensor, got {checks.describe(value)}")
    array = np.asarray(value)
    if array.dtype.kind not in "buif":
        raise TypeError(f"{argument} must hold real numbers, got {array.dtype}")
    if array.ndim != shape.count(",") + 1 or not array.size:
        raise ValueError(f"{argument} must have shape ({shape}), got {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{argument} must be finite, got NaN or infinity")
    return array


def _map(argument: str, value: Any) -> np.ndarray:
    return _array(argument, value, "H, W").astype(float)


def _picture(argument: str, value: Any) -> np.ndarray:
    array = _array(argument, value, "H, W, 3")
    if array.shape[2] != 3:
        raise ValueError(f"{argument} must have shape (H, W, 3), got {array.shape}")
    if array.dtype == np.uint8:
        return array
    if array.dtype.kind != "f" or array.min() < -1e-6 or array.max() > 1 + 1e-6:
        got = f"{array.dtype} in [{array.min():g}, {array.max():g}]"
        raise ValueError(f"{argument} must be uint8 or float in [0, 1], got {got}")
    return array.clip(0, 1)


def _aligned(photo: np.ndarray, **maps: Any) -> dict[str, np.ndarray]:
    """The maps as arrays of the picture's height and width."""
    return {name: _panel(name, (photo, value), {}).map for name, value in maps.items()}


def _panel(name: str, item: Any, options: Mapping[str, Any]) -> Panel:
    """The item as a Panel whose arrays are checked, so that messages name the item."""
    if not isinstance(item, Panel):
        if isinstance(item, tuple):
            _count(name, item, 2)
            item = Panel(*item)
        else:
            item = Panel(map=item) if np.ndim(item) == 2 else Panel(item)
    panel = replace(item, **options)
    image: Any = None if panel.image is None else _picture(name, panel.image)
    map: Any = None if panel.map is None else _map(name, panel.map)
    if image is None and map is None:
        raise ValueError(f"{name} must hold a picture or a map, got neither")
    shape = image.shape[:2] if image is not None else map.shape
    if map is not None and map.shape != shape:
        raise ValueError(f"{name} must have its picture's shape {shape}, got {map.shape}")
    mask = None if panel.mask is None else _array("mask", panel.mask, "H, W") != 0
    if mask is not None and mask.shape != shape:
        raise ValueError(f"mask must have shape {shape} as {name}, got {mask.shape}")
    boxes = panel.boxes
    if boxes is not None and len(boxes):
        boxes = _array("boxes", torch.atleast_2d(torch.as_tensor(boxes)), "M, 4")
        if boxes.shape[1] != 4 or (boxes[:, 2:] <= boxes[:, :2]).any():
            got = boxes.tolist()
            raise ValueError(f"boxes must be rows x0, y0, x1, y1, x0 < x1 and y0 < y1, got {got}")
    checks.number("opacity", panel.opacity, low=0, high=1)
    if panel.clip is not None:
        checks.number("clip", panel.clip, low=0, high=100)
    return replace(panel, image=image, map=map, mask=mask, boxes=boxes)


def _limits(panel: Panel) -> tuple[float, float]:
    """The values at the ends of the colours; a map of zeros gets limits of 1."""
    if panel.limits is not None:
        low, high = (checks.number("limits", end) for end in panel.limits)
        if low >= high:
            raise ValueError(f"limits must be low < high, got {low:g} and {high:g}")
        return low, high
    size = np.abs(panel.map)
    bound = float(np.percentile(size, panel.clip)) if panel.clip is not None else 0.0
    bound = bound or float(size.max()) or 1.0
    if panel.signed is False and panel.map.min() < 0:
        raise ValueError(f"map must be >= 0 where signed=False, got {panel.map.min():g}")
    return (-bound if _signed(panel) else 0.0), bound


def _signed(panel: Panel) -> bool:
    return panel.signed if panel.signed is not None else bool(panel.map.min() < 0)


def _draw(axes: Axes, panel: Panel) -> AxesImage | None:
    """Draw picture, map and regions; return the drawn map, if any."""
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set(visible=True, color="#888888", linewidth=0.6)
    drawn = None
    if panel.image is not None:
        grey = panel.image @ np.array([0.299, 0.587, 0.114]) if panel.map is not None else None
        axes.imshow(panel.image if grey is None else grey, cmap="gray")
    if panel.map is not None:
        low, high = _limits(panel)
        alpha = None
        if panel.image is not None:
            alpha = panel.opacity * np.clip(np.abs(panel.map) / max(-low, high), 0, 1)
        colors = DIVERGING if _signed(panel) else SEQUENTIAL
        drawn = axes.imshow(panel.map, cmap=colors, vmin=low, vmax=high, alpha=alpha)
    edges: list[Any] = [withStroke(linewidth=3.2, foreground="black")]
    if panel.mask is not None:
        padded = np.pad(panel.mask.astype(float), 1)  # closes the outline at the picture's border
        ys, xs = (np.arange(-1, n + 1) for n in panel.mask.shape)
        if panel.mask.any():
            lines = axes.contour(xs, ys, padded, [0.5], colors="white", linewidths=1.4)
            lines.set_path_effects(edges)
    for x0, y0, x1, y1 in panel.boxes if panel.boxes is not None else ():
        box = Rectangle((x0 - 0.5, y0 - 0.5), x1 - x0, y1 - y0, fill=False, edgecolor="white")
        box.set(linewidth=1.4, path_effects=edges)
        axes.add_patch(box)
    rows, columns = (panel.image if panel.map is None else panel.map).shape[:2]
    axes.set(xlim=(-0.5, columns - 0.5), ylim=(rows - 0.5, -0.5))
    return drawn


def _bar(figure: Figure, drawn: AxesImage, x: float, y: float, size: float) -> None:
    """A thin colour bar with its ends, and zero where the scale is signed."""
    low, high = drawn.get_clim()
    ticks = [low, 0.0, high] if low < 0 < high else [low, high]
    bar = figure.colorbar(drawn, cax=_axes(figure, x, y, size, 0.07), orientation="horizontal")
    labels = [f"{tick:.2g}".replace("-", "−") for tick in ticks]
    if sum(map(len, labels)) * 0.085 > size:
        labels[1:-1] = [""]  # no room for the 0 between the ends
    bar.set_ticks(ticks, labels=labels)
    bar.ax.tick_params(length=0, pad=2, labelsize=9)
    bar.outline.set(color="#888888", linewidth=0.6)
    bar.ax.get_xticklabels()[0].set_horizontalalignment("left")
    bar.ax.get_xticklabels()[-1].set_horizontalalignment("right")


def _caption(panel: Panel) -> str:
    """The caller's caption or the map's range, and the clip in any case."""
    lines = [] if panel.caption is None else [panel.caption]
    if panel.map is not None and panel.caption is None and not panel.colorbar:
        lines = [f"{_number(panel.map.min())} to {_number(panel.map.max())}"]
    if panel.map is not None and panel.caption is None and not panel.map.any():
        lines = ["all zero"]
    if panel.map is not None and panel.clip is not None and panel.limits is None:
        lines.append(f"clip {panel.clip:g} %")
    return "\n".join(lines)


def _chart(
    height: float, title: str, xlabel: str, argument: str, values: Mapping[str, Any]
) -> tuple[Figure, Axes]:
    if not values:
        raise ValueError(f"{argument} must hold at least one entry, got none")
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(_wrap(title, WIDTH - 0.5, 12))
    axes.set_xlabel(xlabel)
    return figure, axes


def _axes(figure: Figure, x: float, y: float, width: float, height: float) -> Axes:
    across, tall = figure.get_size_inches()
    return figure.add_axes((x / across, y / tall, width / across, height / tall))


def _text(figure: Figure, x: float, y: float, text: str, size: float, **look: Any) -> None:
    if text:
        figure.text(x, y, text, transform=figure.dpi_scale_trans, fontsize=size, **look)


def _wrap(text: str, width: float, size: float) -> str:
    letters = max(8, int(width * 72 / (0.6 * size)))
    return "\n".join(textwrap.fill(line, letters) for line in text.split("\n"))


def _height(texts: Sequence[str], size: float) -> float:
    """Inches that the tallest of the texts takes, with its distance; 0 for none."""
    lines = max((text.count("\n") + 1 if text else 0) for text in texts)
    return lines * size * 1.25 / 72 + 0.1 * (lines > 0)


def _number(value: float) -> str:
    return f"{value:.3g}".replace("-", "−")


def _count(argument: str, values: Sequence[Any] | np.ndarray, count: int) -> None:
    if len(values) != count:
        raise ValueError(f"{argument} must have {count} entries, got {len(values)}")
