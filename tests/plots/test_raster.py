"""A panel as pixels is what Matplotlib draws; an outline goes along the mask's edges."""

import io

import numpy as np
import PIL.Image
import pytest
from hypothesis import given, settings, strategies as st

from xaiutils.plots import raster
from xaiutils.plots.panel import Panel, checked_panel, draw
from xaiutils.plots.style import Figure, png_bytes


@pytest.mark.parametrize("options", [{}, {"clip": 90}, {"opacity": 1.0}], ids=str)
@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("photo", [True, False])
def test_pixels_are_what_matplotlib_draws(options, signed, photo):
    rng = np.random.default_rng(0)
    map = rng.normal(size=(50, 70))
    image = rng.integers(0, 256, (50, 70, 3), dtype=np.uint8) if photo else None
    panel = Panel(image, map if signed else np.abs(map), **options)
    figure = Figure(figsize=(0.7, 0.5))
    axes = figure.add_axes((0, 0, 1, 1))
    draw(axes, checked_panel("panel", panel, {}))
    axes.set_axis_off()
    with PIL.Image.open(io.BytesIO(png_bytes(figure))) as drawn:
        expected = np.asarray(drawn).astype(int)
    found = raster.pixels(panel).astype(int)
    assert np.abs(found - expected).max() <= 4  # 256 steps of grey and colour, rounded twice
    packed = PIL.Image.open(io.BytesIO(raster.quick_png(raster.pixels(panel))))
    np.testing.assert_array_equal(np.asarray(packed), found)


def test_a_picture_stays_as_it_is():
    photo = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    np.testing.assert_array_equal(raster.pixels(Panel(photo)), photo)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**20 - 1))
def test_an_outline_has_an_edge_wherever_the_mask_ends(bits):
    mask = np.array([bits >> i & 1 for i in range(20)], bool).reshape(4, 5)
    edges = set()
    for y in range(4):
        for x in range(5):
            for dy, dx, edge in (
                *((-1, 0, f"M{x} {y}h1"), (1, 0, f"M{x} {y + 1}h1")),
                *((0, -1, f"M{x} {y}v1"), (0, 1, f"M{x + 1} {y}v1")),
            ):
                inside = 0 <= y + dy < 4 and 0 <= x + dx < 5 and mask[y + dy, x + dx]
                if mask[y, x] and not inside:
                    edges.add(edge)
    found = ["M" + part for part in raster.outline(mask).split("M")[1:]]
    assert sorted(found) == sorted(edges)
