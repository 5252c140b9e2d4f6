"""Pictures and maps in a grid: one, a few, the strip of the paper's Fig. 2, a gallery."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from xaiutils.plots import style
from xaiutils.plots.panel import Panel, caption_of, checked_panel, draw, is_signed
from xaiutils.plots.style import GAP, MARGIN, WIDTH, Array, Figure, styled
from xaiutils.support import checks


def picture(image: Array, title: str | None = None, **options: Any) -> Figure:
    """Show the picture ``image``, ``(H, W, 3)``; ``options`` are fields of `Panel`."""
    shown = style.checked_picture("image", image)
    return panels([Panel(shown, title=title or "", **options)], width=3.6)


def heatmap(map: Array, **options: Any) -> Figure:
    """Show ``map``, ``(H, W)``, with its colour bar; ``options`` are fields of `Panel`."""
    return panels([Panel(map=style.checked_map("map", map), **options)], width=3.6)


def overlay(image: Array, map: Array, **options: Any) -> Figure:
    """Show ``map``, ``(H, W)``, over its greyed picture ``image``, clear where the map is 0.

    ``options`` are fields of `Panel`, e.g. ``opacity``.
    """
    photo, shown = style.checked_picture("image", image), style.checked_map("map", map)
    return panels([Panel(photo, shown, **options)], width=3.6)


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
    """
    if not items:
        raise ValueError("items must hold at least one picture or map, got none")
    cells = [checked_panel(f"items[{i}]", item, options) for i, item in enumerate(items)]
    given: dict[str, Any] = {"title": titles, "caption": captions}
    for name, texts in given.items():
        if texts is not None:
            style.check_count(f"{name}s", texts, len(cells))
            cells = [replace(c, **{name: text}) for c, text in zip(cells, texts, strict=True)]
    columns = int(checks.number("columns", len(cells) if columns is None else columns, low=1))
    rows = [cells[i : i + columns] for i in range(0, len(cells), columns)]
    if row_titles is not None:
        style.check_count("row_titles", row_titles, len(rows))
    size = min(width, (WIDTH - 2 * MARGIN - (columns - 1) * GAP) / columns)
    total = 2 * MARGIN + columns * size + (columns - 1) * GAP
    # Sizes are known beforehand, so that no layout engine has to guess them: (text, panel) heights.
    banner = style.wrap(suptitle or "", total - 2 * MARGIN, 12)
    heads = [[style.wrap(cell.title, size, 10) for cell in row] for row in rows]
    feet = [[style.wrap(caption_of(cell), size, 9) for cell in row] for row in rows]
    shapes = [[(c.image if c.map is None else c.map).shape for c in row] for row in rows]
    tall = [max(size * shape[0] / shape[1] for shape in row) for row in shapes]
    bar = [0.27 * any(c.map is not None and c.colorbar for c in row) for row in rows]
    above = [style.text_height(head, 10) + 0.26 * (row_titles is not None) for head in heads]
    height = 2 * MARGIN + style.text_height([banner], 12) + sum(above) + sum(tall) + sum(bar)
    height += sum(style.text_height(foot, 9) for foot in feet) + GAP * (len(rows) - 1)
    figure = Figure(figsize=(total, height := round(height, 2)))  # whole pixels
    style.write(figure, MARGIN, height - MARGIN, banner, 12, weight="bold", va="top")
    y = height - MARGIN - style.text_height([banner], 12)
    for i, row in enumerate(rows):
        if row_titles is not None:
            top = y - style.text_height(heads[i], 10)
            style.write(figure, MARGIN, top - 0.04, row_titles[i], 10, weight="bold", va="top")
        y -= above[i] + tall[i]
        for j, cell in enumerate(row):
            x = MARGIN + j * (size + GAP)
            head = y + tall[i] + 0.05 + 0.26 * (row_titles is not None)
            style.write(figure, x + size / 2, head, heads[i][j], 10, ha="center", va="bottom")
            axes = style.place_axes(figure, x, y, size, tall[i])
            shown = draw(axes, cell)
            if shown is not None and cell.colorbar:
                style.color_bar(figure, shown, x, y - 0.11, size)
            style.write(
                figure, x + size / 2, y - bar[i] - 0.05, feet[i][j], 9, ha="center", va="top"
            )
        y -= bar[i] + style.text_height(feet[i], 9) + GAP
    return figure


def stages(
    image: Array, *, cam: Array, bounded: Array, relevance: Array, product: Array, hybrid: Array,
    cam_title: str = "Grad-CAM++", captions: Sequence[str | None] | None = None,
    suptitle: str | None = None, **options: Any,
) -> Figure:  # fmt: skip
    """Show the strip of the paper's Fig. 2, from the picture to the hybrid.

    The maps have one shape, so that each goes by its name.

    Args:
        image: ``(H, W, 3)``. cam, bounded, relevance, product, hybrid: maps ``(H, W)``.
        cam_title: which CAM it is. captions: numbers below the panels. suptitle: the finding.
        options: fields of `Panel`, set for every panel, e.g. ``mask``; ``clip`` is meant for the
            heavy-tailed maps (LRP, product, hybrid), and spares the two that end at 1. Those three
            have two colours, even where no value is negative: red is evidence for the class.
    """
    photo = style.checked_picture("image", image)
    flat = aligned(photo, cam=cam, bounded=bounded)
    signed = aligned(photo, relevance=relevance, product=product, hybrid=hybrid)
    look: dict[str, Any] = {"signed": True, "clip": options.pop("clip", None)}
    items = [photo, *(Panel(map=values) for values in flat.values())]
    items += [Panel(map=values, **look) for values in signed.values()]
    titles = ["picture", cam_title, "bounding figure", "LRP", "product", "hybrid"]
    return panels(items, titles=titles, captions=captions, suptitle=suptitle, **options)


def gallery(
    rows: Sequence[Sequence[Any]],
    columns: Sequence[str] = ("picture", "Grad-CAM++", "LRP", "hybrid"),
    row_titles: Sequence[str] | None = None, width: float = 2.0, **options: Any,
) -> Figure:  # fmt: skip
    """Show a row for each picture, its class name above; a column has one kind of scale.

    Args:
        rows: items of `panels`, one for each of ``columns``. columns: their titles.
        row_titles: one for each row. width: of one panel in inches, at most.
        options: keywords of `panels` and fields of `Panel`.
    """
    for i, row in enumerate(rows):
        style.check_count(f"rows[{i}]", row, len(columns))
    grid = [[checked_panel(f"rows[{i}]", item, {}) for item in row] for i, row in enumerate(rows)]
    across = zip(*grid, strict=True)
    signed = [any(c.map is not None and is_signed(c) for c in column) for column in across]
    pairs = [pair for row in grid for pair in zip(row, signed, strict=True)]
    cells = [replace(cell, signed=signs, colorbar=False) for cell, signs in pairs]
    titles = [*columns, *[""] * (len(columns) * (len(rows) - 1))]
    return panels(
        cells, columns=len(columns), titles=titles, row_titles=row_titles, width=width, **options
    )


def aligned(photo: np.ndarray, **maps: Any) -> dict[str, np.ndarray]:
    """The maps as arrays of the picture's height and width."""
    return {name: checked_panel(name, (photo, value), {}).map for name, value in maps.items()}
