"""What all figures share: the style, a figure that notebooks show, checks of arrays, and text."""

from __future__ import annotations

import io
import itertools
import math
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import RLock
from typing import Any

import matplotlib.figure
import matplotlib.style
import numpy as np
import PIL.Image
import torch
from matplotlib.axes import Axes
from matplotlib.image import AxesImage

from xaiutils.support import checks
from xaiutils.support.files import write_whole

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
DASHES, MARKERS = ("-", "--", "-.", ":"), "osD^vPX"
GREY = "#666666"
LUMINANCE = np.array([0.299, 0.587, 0.114])  # of red, green and blue
# The number of a method's look, so that a line that shows it is the same in every figure.
OWN = {
    "Grad-CAM++": 0, "hybrid": 1, "LRP": 2, "figure × noise": 3, "LRP, smoothed": 4,
    "Sobel edges": 5,
}  # fmt: skip
_DRAWING = RLock()


@contextmanager
def _in_style() -> Iterator[None]:
    """Our style, then the user's rcParams again. They are matplotlib's, one set for all threads.

    Two threads inside at once would put back each other's.
    """
    with _DRAWING, matplotlib.style.context(["default", STYLE]):
        yield


styled = _in_style()  # a decorator


class Figure(matplotlib.figure.Figure):
    """A figure that notebooks show once, as PNG, although pyplot does not manage it."""

    def _repr_png_(self) -> bytes:
        return png_bytes(self)


def png_bytes(figure: matplotlib.figure.Figure, scale: float = 1.0) -> bytes:
    """PNG bytes, RGB, without the library's version and without a date."""
    drawn, packed = io.BytesIO(), io.BytesIO()
    with _in_style():
        figure.savefig(drawn, format="png", dpi=figure.dpi * scale)
    # The background is opaque: without the alpha channel notebooks are an eighth smaller.
    with PIL.Image.open(drawn) as image:
        image.convert("RGB").save(packed, format="PNG", optimize=True)
    return packed.getvalue()


def save(figure: matplotlib.figure.Figure, path: str | Path, *, scale: float = 1.0) -> Path:
    """Write ``figure`` as a PNG of 830 pixels' width times ``scale``, the same bytes each time.

    Folders that are not there are made.
    """
    path = Path(path)
    if path.suffix != ".png":
        raise ValueError(f"path must end in .png, got {path.name!r}")
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = png_bytes(figure, checks.number("scale", scale, low=0.1, high=10))
    write_whole(path, lambda stream: stream.write(picture))
    return path


def checked_array(argument: str, value: Any, shape: str, *, missing: bool = False) -> np.ndarray:
    """The array, if it is one, numeric, finite, not empty and of as many axes as ``shape``.

    NaN is let through where values may be ``missing``.
    """
    if isinstance(value, torch.Tensor):
        value = checks.dense(argument, value, f"({shape})").detach().cpu()
        value = (value.double() if value.is_floating_point() else value).numpy()  # bfloat16 too
    if not hasattr(value, "__array_interface__"):  # Pillow's images have it as well
        raise TypeError(f"{argument} must be a NumPy array or tensor, got {checks.describe(value)}")
    array = np.asarray(value)
    if array.dtype.kind not in "buif":
        raise TypeError(f"{argument} must hold real numbers, got {array.dtype}")
    if array.ndim != shape.count(",") + 1 or not array.size:
        raise ValueError(f"{argument} must have shape ({shape}), got {array.shape}")
    if (np.isinf(array) if missing else ~np.isfinite(array)).any():
        raise ValueError(f"{argument} must be finite, got NaN or infinity")
    return array


def checked_map(argument: str, value: Any) -> np.ndarray:
    """The map ``(H, W)`` as float."""
    return checked_array(argument, value, "H, W").astype(float)


def checked_picture(argument: str, value: Any) -> np.ndarray:
    """The picture, uint8 or clipped to [0, 1]."""
    array = checked_array(argument, value, "H, W, 3")
    if array.shape[2] != 3:
        raise ValueError(f"{argument} must have shape (H, W, 3), got {array.shape}")
    if array.dtype == np.uint8:
        return array
    if array.dtype.kind != "f" or array.min() < -1e-6 or array.max() > 1 + 1e-6:
        got = f"{array.dtype} in [{array.min():g}, {array.max():g}]"
        raise ValueError(f"{argument} must be uint8 or float in [0, 1], got {got}")
    return array.clip(0, 1)


def checked_boxes(value: Any) -> np.ndarray | None:
    """The boxes as ``(M, 4)``, each with an area; None where there are none."""
    if value is None or not len(value):
        return None
    boxes = checked_array("boxes", torch.atleast_2d(torch.as_tensor(value)), "M, 4")
    if boxes.shape[1] != 4 or (boxes[:, 2:] <= boxes[:, :2]).any():
        got = boxes.tolist()
        raise ValueError(f"boxes must be rows x0, y0, x1, y1, x0 < x1 and y0 < y1, got {got}")
    return boxes


def place_axes(figure: Figure, x: float, y: float, width: float, height: float) -> Axes:
    """Axes at a place in inches from the lower left corner."""
    across, tall = figure.get_size_inches()
    return figure.add_axes((x / across, y / tall, width / across, height / tall))


def color_bar(figure: Figure, drawn: AxesImage, x: float, y: float, size: float) -> None:
    """A thin colour bar with its ends, and zero where the scale is signed."""
    low, high = drawn.get_clim()
    ticks = [low, 0.0, high] if low < 0 < high else [low, high]
    bar = figure.colorbar(drawn, cax=place_axes(figure, x, y, size, 0.07), orientation="horizontal")
    labels = [minus(f"{tick:.2g}") for tick in ticks]
    if sum(map(len, labels)) * 0.085 > size:
        labels[1:-1] = [""]  # no room for the 0 between the ends
    bar.set_ticks(ticks, labels=labels)
    bar.ax.tick_params(length=0, pad=2, labelsize=9)
    bar.outline.set(color="#888888", linewidth=0.6)
    bar.ax.get_xticklabels()[0].set_horizontalalignment("left")
    bar.ax.get_xticklabels()[-1].set_horizontalalignment("right")


def write(figure: Figure, x: float, y: float, text: str, size: float, **look: Any) -> None:
    """Text at a place in inches; nothing where it is empty."""
    if text:
        look |= {"fontsize": size, "parse_math": False}  # a name of the user's may have dollars
        figure.text(x, y, text, transform=figure.dpi_scale_trans, **look)


def wrap(text: str, width: float, size: float) -> str:
    """The text broken into lines of ``width`` inches at ``size`` points, about equally long."""
    letters = max(8, int(width * 72 / (0.6 * size)))
    return "\n".join(_even(line, letters) for line in text.split("\n"))


def _even(line: str, letters: int) -> str:
    """The text in as few lines as ``letters`` allow, each as short as that permits."""
    rows = len(textwrap.wrap(line, letters))
    least = min(letters, max(map(len, line.split()), default=1))
    filled = (textwrap.fill(line, n) for n in range(least, letters + 1))
    return next((text for text in filled if text.count("\n") < rows), "")


def looks(names: Iterable[str]) -> list[tuple[str, str, str]]:
    """Colour, dash and marker of each line: a method's own; beside methods, others have none's."""
    own = [OWN.get(name) for name in names]
    taken = OWN.values() if any(number is not None for number in own) else ()
    free = (number for number in itertools.count() if number not in taken)
    chosen = (next(free) if number is None else number for number in own)
    return [(COLORS[i % 7], DASHES[i % 4], MARKERS[i % 7]) for i in chosen]


def text_height(texts: Sequence[str], size: float) -> float:
    """Inches that the tallest of the texts takes, with its distance; 0 for none."""
    lines = max((text.count("\n") + 1 if text else 0) for text in texts)
    return lines * size * 1.25 / 72 + 0.1 * (lines > 0)


def minus(text: str) -> str:
    """With true minus signs for hyphens."""
    return text.replace("-", "−")


def short(value: float) -> str:
    """Three digits, with a true minus sign."""
    return minus(f"{value + 0.0:.3g}")  # minus zero is zero


def alike(values: Iterable[float]) -> list[str]:
    """Values with equally many decimals: two for scores, which end at 1; true minus signs."""
    known = [float(value) for value in values]
    power = math.floor(math.log10(max(map(abs, known)) or 1))
    decimals = max(0, 2 - power - (power < 0))
    texts = (f"{round(value, decimals) + 0.0:.{decimals}f}" for value in known)
    return [minus(text) for text in texts]


def entries(argument: str, values: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return ``values`` if there are any."""
    if not values:
        raise ValueError(f"{argument} must hold at least one entry, got none")
    return values


def headline(figure: Figure, title: str) -> None:
    """The finding, above all charts of a figure."""
    if title:
        text = wrap(title, WIDTH - 0.5, 12)
        figure.suptitle(text, x=0.01, ha="left", fontsize=11, weight="bold")


def one_chart(height: float, title: str) -> tuple[Figure, Axes]:
    """A figure of the usual width with one chart."""
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(wrap(title, WIDTH - 0.5, 12))
    return figure, axes


def small_charts(count: int, columns: int, title: str) -> tuple[Figure, list[Axes]]:
    """A figure with places for ``count`` small charts, ``columns`` in a row."""
    columns = min(count, int(checks.number("columns", columns, low=1)))
    rows = -(-count // columns)
    figure = Figure(figsize=(WIDTH, 0.9 + 2.15 * rows), layout="constrained")
    headline(figure, title)
    return figure, [figure.add_subplot(rows, columns, i + 1) for i in range(count)]


def name_rows(axes: Axes, names: Iterable[str]) -> None:
    """Names in the place of a vertical axis, first on top."""
    labels = list(names)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.set_yticks(range(len(labels)), labels)
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)


def check_count(argument: str, values: Sequence[Any] | np.ndarray, count: int) -> None:
    """Raise unless there are ``count`` values."""
    if len(values) != count:
        raise ValueError(f"{argument} must have {count} entries, got {len(values)}")
