"""One cell of a grid: what it holds, the checks of it, and how it is drawn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke

from xaiutils.plots import style
from xaiutils.plots.style import DIVERGING, SEQUENTIAL
from xaiutils.support import checks


@dataclass(frozen=True)
class Panel:
    """One cell of a grid: a picture, a map, or a map over its greyed picture.

    Args:
        image: ``(H, W, 3)``, or None for the map alone. map: ``(H, W)``, or None.
        title: above the panel. caption: below it; None prints the map's range.
        signed: diverging scale centred at 0 (True), sequential from 0 (False), by min < 0 (None).
        clip: percentile of the absolute values at which the colours end, stated below the panel.
        limits: (low, high) of the colours, in place of the map's own.
        opacity: of the map over the picture where its absolute value is largest, 0 where it is 0.
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
    opacity: float = 0.8
    colorbar: bool = True
    mask: Any = None
    boxes: Any = None


def checked_panel(name: str, item: Any, options: Mapping[str, Any]) -> Panel:
    """The item as a Panel whose arrays are checked, so that messages name the item."""
    if not isinstance(item, Panel):
        if isinstance(item, tuple):
            style.check_count(name, item, 2)
            item = Panel(*item)
        else:
            item = Panel(map=item) if np.ndim(item) == 2 else Panel(item)
    panel = replace(item, **options)
    image: Any = None if panel.image is None else style.checked_picture(name, panel.image)
    map: Any = None if panel.map is None else style.checked_map(name, panel.map)
    if image is None and map is None:
        raise ValueError(f"{name} must hold a picture or a map, got neither")
    shape = image.shape[:2] if image is not None else map.shape
    if map is not None and map.shape != shape:
        raise ValueError(f"{name} must have its picture's shape {shape}, got {map.shape}")
    mask = None if panel.mask is None else style.checked_array("mask", panel.mask, "H, W") != 0
    if mask is not None and mask.shape != shape:
        raise ValueError(f"mask must have shape {shape} as {name}, got {mask.shape}")
    boxes = style.checked_boxes(panel.boxes)
    checks.number("opacity", panel.opacity, low=0, high=1)
    if panel.clip is not None:
        checks.number("clip", panel.clip, low=0, high=100)
    return replace(panel, image=image, map=map, mask=mask, boxes=boxes)


def limits_of(panel: Panel) -> tuple[float, float]:
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
    return (-bound if is_signed(panel) else 0.0), bound


def scale_of(panel: Panel) -> dict[str, Any]:
    """The colours of a map and their ends, as `Axes.imshow` takes them."""
    low, high = limits_of(panel)
    return {"cmap": DIVERGING if is_signed(panel) else SEQUENTIAL, "vmin": low, "vmax": high}


def alpha_of(panel: Panel) -> np.ndarray:
    """How much of a map covers its picture, (H, W) in [0, 1]."""
    low, high = limits_of(panel)
    return panel.opacity * np.clip(np.abs(panel.map) / max(-low, high), 0, 1)


def is_signed(panel: Panel) -> bool:
    """Whether the map has two colours."""
    return panel.signed if panel.signed is not None else bool(panel.map.min() < 0)


def grey_ground(panel: Panel) -> np.ndarray:
    """The picture below its map, (H, W) in [0, 1], from black to white.

    Below two colours it is light, since their dark ends are what should be seen; below one, which
    begins at black, it is not.
    """
    grey = panel.image @ style.LUMINANCE
    dark, bright = float(grey.min()), float(grey.max())
    grey = (grey - dark) / (bright - dark or 1.0)
    return 0.5 + grey / 2 if is_signed(panel) else grey


def draw(axes: Axes, panel: Panel) -> AxesImage | None:
    """Draw picture, map and regions; return the drawn map, if any."""
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set(visible=True, color="#888888", linewidth=0.6)
    drawn = None
    if panel.image is not None:
        ground = panel.image if panel.map is None else grey_ground(panel)
        axes.imshow(ground, cmap="gray", vmin=0, vmax=1)
    if panel.map is not None:
        alpha = None if panel.image is None else alpha_of(panel)
        drawn = axes.imshow(panel.map, alpha=alpha, **scale_of(panel))
    width = 1.4 if panel.map is None else 0.8  # edges are what a map is read at
    edges: list[Any] = [withStroke(linewidth=width + 1.8, foreground="black")]
    if panel.mask is not None:
        padded = np.pad(panel.mask.astype(float), 1)  # closes the outline at the picture's border
        ys, xs = (np.arange(-1, n + 1) for n in panel.mask.shape)
        if panel.mask.any():
            lines = axes.contour(xs, ys, padded, [0.5], colors="white", linewidths=width)
            lines.set_path_effects(edges)
    for x0, y0, x1, y1 in panel.boxes if panel.boxes is not None else ():
        box = Rectangle((x0 - 0.5, y0 - 0.5), x1 - x0, y1 - y0, fill=False, edgecolor="white")
        box.set(linewidth=width, path_effects=edges)
        axes.add_patch(box)
    rows, columns = (panel.image if panel.map is None else panel.map).shape[:2]
    axes.set(xlim=(-0.5, columns - 0.5), ylim=(rows - 0.5, -0.5))
    return drawn


def caption_of(panel: Panel) -> str:
    """The caller's caption or the map's range, and the clip in any case."""
    lines = [panel.caption] if panel.caption else []
    if panel.map is not None and panel.caption is None and not panel.colorbar:
        lines = [f"{style.short(panel.map.min())} to {style.short(panel.map.max())}"]
    if panel.map is not None and panel.caption is None and not panel.map.any():
        lines = ["all zero"]
    if panel.map is not None and panel.clip is not None and panel.limits is None:
        lines.append(f"clip {panel.clip:g} %")
    return "\n".join(lines)
