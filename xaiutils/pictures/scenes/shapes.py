"""What a scene is: its records, and the signed distances of its pieces.

A distance is negative inside and zero on the outline, in pixels. Each shape takes coordinates
relative to the piece's centre, in its own frame (x to the right, y down), and the circumradius.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SIZE = 128
SUPERSAMPLING = 2  # on top of edges that are smooth already: alpha is a clipped distance

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
Shape = Callable[[Array, Array, float], Array]


@dataclass(frozen=True)
class SceneObject:
    """One piece on the surface; ``role`` is ``target``, ``distractor`` or ``occluder``."""

    kind: str
    role: str
    center: tuple[float, float]
    radius: float
    angle: float
    color: tuple[float, float, float]
    gloss: float
    height: float


@dataclass(frozen=True)
class Scene:
    """The whole description of one picture; objects are listed from the lowest to the highest."""

    split: str
    index: int
    seed: int
    light: float
    surface: str
    surface_angle: float
    colors: tuple[tuple[float, float, float], tuple[float, float, float]]
    tint: tuple[float, float, float]
    exposure: float
    noise: float
    objects: tuple[SceneObject, ...]

    @property
    def id(self) -> str:
        """The name of the scene, ``split-00042``; unique over all splits."""
        return f"{self.split}-{self.index:05d}"

    @property
    def targets(self) -> tuple[int, ...]:
        """Positions in ``objects`` of the pieces that carry a label, the explained one first."""
        return tuple(i for i, piece in enumerate(self.objects) if piece.role == "target")


def _smooth_max(a: Array, b: Array, k: float) -> Array:
    """Maximum of two distances whose common corner is rounded over about ``k`` px."""
    blend = np.maximum(k - np.abs(a - b), 0.0)
    return np.maximum(a, b) + blend * blend / (4 * k)


def _box(x: Array, y: Array, half_width: float, half_height: float, corner: float = 1.5) -> Array:
    qx, qy = np.abs(x) - half_width + corner, np.abs(y) - half_height + corner
    outside = np.sqrt(np.maximum(qx, 0) ** 2 + np.maximum(qy, 0) ** 2)
    return outside + np.minimum(np.maximum(qx, qy), 0) - corner


def _boxes(*parts: tuple[float, float, float, float]) -> Shape:
    """Rectangles, each by its centre and half its sides, in circumradii."""

    def distance(x: Array, y: Array, r: float) -> Array:
        parted = [_box(x - cx * r, y - cy * r, w * r, h * r) for cx, cy, w, h in parts]
        return np.minimum.reduce(parted)

    return distance


def _disc(x: Array, y: Array, r: float) -> Array:
    return np.sqrt(x * x + y * y) - r


def _two_dots(x: Array, y: Array, r: float) -> Array:
    return np.minimum(_disc(x - 0.56 * r, y, 0.43 * r), _disc(x + 0.56 * r, y, 0.43 * r))


def _square(x: Array, y: Array, r: float) -> Array:
    return _box(x, y, r / math.sqrt(2), r / math.sqrt(2))


def _triangle(x: Array, y: Array, r: float) -> Array:
    side = math.sqrt(3) / 2 * np.sqrt(x * x + 2.0) - 0.5 * y - r / 2
    return _smooth_max(side, y - r / 2, 2.5)


def _ring(x: Array, y: Array, r: float) -> Array:
    return np.abs(np.sqrt(x * x + y * y) - 0.76 * r) - 0.24 * r


def _star(x: Array, y: Array, r: float) -> Array:
    sector = 2 * math.pi / 5
    angle = np.abs((np.arctan2(x, -y) + sector / 2) % sector - sector / 2)
    length = np.sqrt(x * x + y * y)
    along, across = length * np.cos(angle), np.sqrt((length * np.sin(angle)) ** 2 + 0.8)
    notch_x, notch_y = 0.46 * r * math.cos(sector / 2), 0.46 * r * math.sin(sector / 2)
    edge_x, edge_y = notch_x - r, notch_y
    norm = math.hypot(edge_x, edge_y)
    return ((along - r) * edge_y - across * edge_x) / norm


def _half_disc(x: Array, y: Array, r: float) -> Array:
    shifted = y + 0.42 * r
    return _smooth_max(_disc(x, shifted, 0.98 * r), -shifted, 2.5)


def _zigzag(x: Array, y: Array, r: float) -> Array:
    turns = [(-0.78, 0.3), (-0.3, -0.36), (0.26, 0.34), (0.76, -0.32)]
    result = np.full(np.broadcast(x, y).shape, np.inf)
    for (ax, ay), (bx, by) in itertools.pairwise(turns):
        dx, dy = (bx - ax) * r, (by - ay) * r
        t = np.clip(((x - ax * r) * dx + (y - ay * r) * dy) / (dx * dx + dy * dy), 0, 1)
        result = np.minimum(
            result, np.sqrt((x - ax * r - t * dx) ** 2 + (y - ay * r - t * dy) ** 2)
        )
    return result - 0.2 * r


def _leaf(x: Array, y: Array, r: float) -> Array:
    away = 0.62 * r  # of the arcs' centres: both arcs pass through (±r, 0)
    height = np.abs(y) + away
    return _smooth_max(np.sqrt(x * x + height * height) - math.hypot(r, away), np.abs(x) - r, 3.0)


TARGET_SHAPES: dict[str, Shape] = {
    "disc": _disc,
    "square": _square,
    "triangle": _triangle,
    "plus": _boxes((0, 0, 0.94, 0.32), (0, 0, 0.32, 0.94)),
    "ring": _ring,
    "star": _star,
}
OTHER_SHAPES: dict[str, Shape] = {
    "bar": _boxes((0, 0, 0.96, 0.3)),
    "half-disc": _half_disc,
    "L": _boxes((-0.42, 0, 0.24, 0.88), (0.06, 0.62, 0.72, 0.26)),
    "two dots": _two_dots,
    "zigzag": _zigzag,
    "leaf": _leaf,
}
SHAPES = TARGET_SHAPES | OTHER_SHAPES


@dataclass(frozen=True)
class Window:
    """A square cut-out of the picture around one piece, sampled ``step`` times per pixel."""

    rows: slice
    columns: slice
    x: Array  # (1, w) relative to the piece, in pixels
    y: Array  # (h, 1)

    @classmethod
    def around(cls, piece: SceneObject, margin: float, step: int) -> Window:
        """Cut out the circumcircle of ``piece`` and ``margin`` px around it, within the picture."""
        cx, cy = piece.center
        reach = piece.radius + margin
        left, right = max(math.floor(cx - reach), 0), min(math.ceil(cx + reach), SIZE)
        top, bottom = max(math.floor(cy - reach), 0), min(math.ceil(cy + reach), SIZE)
        x = left + (np.arange((right - left) * step) + 0.5) / step - cx
        y = top + (np.arange((bottom - top) * step) + 0.5) / step - cy
        return cls(slice(top, bottom), slice(left, right), x[None, :], y[:, None])


def turned(x: Array, y: Array, angle: float) -> tuple[Array, Array]:
    """Coordinates in a frame that is turned by ``angle``."""
    c, s = math.cos(angle), math.sin(angle)
    return c * x + s * y, c * y - s * x


def signed_distance(piece: SceneObject, x: Array, y: Array) -> Array:
    """Distance to the outline of ``piece`` at ``x``, ``y`` relative to its centre, in pixels."""
    return SHAPES[piece.kind](*turned(x, y, piece.angle), piece.radius)


def reduce_samples(values: Array, step: int) -> Array:
    """Mean over ``step`` × ``step`` samples: ``(h·step, w·step, ...)`` to ``(h, w, ...)``."""
    parts = [values[i::step, j::step] for i in range(step) for j in range(step)]
    total = parts[0].copy()
    for part in parts[1:]:
        total += part
    return total / len(parts)


def coverage(piece: SceneObject) -> Array:
    """How much of every pixel the piece covers, ``(SIZE, SIZE)`` in [0, 1]."""
    window = Window.around(piece, 2, SUPERSAMPLING)
    alpha = np.clip(0.5 - SUPERSAMPLING * signed_distance(piece, window.x, window.y), 0, 1)
    result = np.zeros((SIZE, SIZE))
    result[window.rows, window.columns] = reduce_samples(alpha, SUPERSAMPLING)
    return result
