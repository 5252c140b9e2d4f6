"""A panel as plain pixels: what `draw` shows, a hundred times as fast, for sliders."""

from __future__ import annotations

import io

import matplotlib
import numpy as np
import PIL.Image

from xaiutils.plots.panel import Panel, alpha_of, checked_panel, grey_ground, scale_of


def pixels(panel: Panel) -> np.ndarray:
    """The panel without mask, boxes and text, (H, W, 3) uint8, one pixel for each of the map's."""
    panel = checked_panel("panel", panel, {})
    if panel.map is None:
        return panel.image if panel.image.dtype == np.uint8 else _bytes(panel.image)
    scale = scale_of(panel)
    table = matplotlib.colormaps[scale["cmap"]](np.arange(256))[:, :3]
    steps = (panel.map - scale["vmin"]) * (256 / (scale["vmax"] - scale["vmin"]))
    drawn = table[steps.clip(0, 255).astype(np.uint8)]
    if panel.image is None:
        return _bytes(drawn)
    alpha = alpha_of(panel)[..., None]
    return _bytes(grey_ground(panel)[..., None] * (1 - alpha) + drawn * alpha)


def quick_png(array: np.ndarray) -> bytes:
    """(H, W, 3) uint8 as PNG, packed for speed and not for size."""
    packed = io.BytesIO()
    PIL.Image.fromarray(array).save(packed, format="PNG", compress_level=1)
    return packed.getvalue()


def outline(mask: np.ndarray) -> str:
    """The border of a mask (H, W) as an SVG path in pixels, along the pixels' edges."""
    padded = np.pad(mask.astype(bool), 1)
    across = np.argwhere(padded[1:] != padded[:-1])  # edges between a row and the next
    down = np.argwhere(padded[:, 1:] != padded[:, :-1])
    lines = [f"M{x - 1} {y}h1" for y, x in across] + [f"M{x} {y - 1}v1" for y, x in down]
    return "".join(lines)


def _bytes(values: np.ndarray) -> np.ndarray:
    return np.rint(values.clip(0, 1) * 255).astype(np.uint8)
