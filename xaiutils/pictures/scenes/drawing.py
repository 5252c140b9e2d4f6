"""How a scene is drawn: surfaces, light, shadow and sensor noise.

Everything is float64 in linear light and becomes display values by a square root (gamma 2) at the
very end: IEEE 754 prescribes the bits of a square root, unlike those of a power. Lengths are in
pixels, x to the right and y down; colours are linear RGB in [0, 1]; angles are radians.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection

import numpy as np
from numpy.typing import NDArray

from xaiutils.pictures.scenes.shapes import (
    SIZE,
    SUPERSAMPLING,
    Array,
    Scene,
    SceneObject,
    Window,
    reduce_samples,
    signed_distance,
    turned,
)

BEVEL = 3.2
SHADOW_SOFTNESS = 3.5
MARGIN = 13  # the reach of shadow and contact shade beyond the circumcircle


def _generator(scene: Scene, *key: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence([scene.seed, scene.index, *key]))


def _smooth_noise(generator: np.random.Generator, cells: int) -> Array:
    """Value noise in [-1, 1] with ``cells`` cells along a side, ``(SIZE, SIZE)``."""
    grid = generator.uniform(-1, 1, (cells + 1, cells + 1))
    position = (np.arange(SIZE) + 0.5) * cells / SIZE
    first = position.astype(int)
    t = position - first
    t = t * t * (3 - 2 * t)
    rows = grid[first] * (1 - t)[:, None] + grid[first + 1] * t[:, None]
    return rows[:, first] * (1 - t) + rows[:, first + 1] * t


def _streaks(generator: np.random.Generator, across: Array, period: float) -> Array:
    """One-dimensional noise in [-1, 1] as a function of ``across``, in pixels."""
    knots = generator.uniform(-1, 1, int(4 * SIZE / period) + 2)
    return np.interp(across / period + len(knots) / 2, np.arange(len(knots)), knots)


# Every surface returns the share of the second colour and the relief, both (SIZE, SIZE).
Surface = Callable[[np.random.Generator, Array, Array], tuple[Array, Array]]


def _cloth(generator: np.random.Generator, u: Array, v: Array) -> tuple[Array, Array]:
    period = generator.uniform(3.6, 5.0)
    weave = np.sin(2 * np.pi * u / period) * np.sin(2 * np.pi * v / period)
    threads = _streaks(generator, u, period / 2) + _streaks(generator, v, period / 2)
    return 0.3 + 0.12 * threads + 0.12 * weave, 0.9 * weave + 0.5 * threads


def _check(generator: np.random.Generator, u: Array, v: Array) -> tuple[Array, Array]:
    period = generator.uniform(22, 40)
    width = generator.uniform(0.3, 0.5)
    bands = [np.clip(4 * (width - np.abs((w / period) % 1 - 0.5) * 2) + 0.5, 0, 1) for w in (u, v)]
    threads = np.sin(2 * np.pi * u / 4.1) * np.sin(2 * np.pi * v / 4.1)
    return 0.45 * (bands[0] + bands[1]) + 0.06 * threads, 0.8 * threads


def _paper(generator: np.random.Generator, u: Array, v: Array) -> tuple[Array, Array]:
    fine, coarse = _smooth_noise(generator, 64), _smooth_noise(generator, 24)
    return 0.3 + 0.15 * coarse + 0.12 * fine, 1.2 * fine + 0.9 * coarse


def _wood(generator: np.random.Generator, u: Array, v: Array) -> tuple[Array, Array]:
    bent = v + 7 * _smooth_noise(generator, 3) + 0.03 * u
    rings = np.sin(2 * np.pi * bent / generator.uniform(9, 16) + 2 * _streaks(generator, bent, 9))
    fibres = _streaks(generator, v + 1.5 * _smooth_noise(generator, 6), 1.3)
    return 0.45 + 0.3 * rings + 0.18 * fibres, 0.35 * fibres + 0.2 * rings


def _stripes(generator: np.random.Generator, u: Array, v: Array) -> tuple[Array, Array]:
    period = generator.uniform(16, 34)
    width = generator.uniform(0.25, 0.6)
    band = np.clip(5 * (width - np.abs((v / period) % 1 - 0.5) * 2) + 0.5, 0, 1)
    weave = np.sin(2 * np.pi * u / 3.9) * np.sin(2 * np.pi * v / 3.9)
    return 0.9 * band + 0.05 * weave + 0.05 * _streaks(generator, v, 2), 0.8 * weave


SURFACES: dict[str, Surface] = {
    "cloth": _cloth,
    "check": _check,
    "paper": _paper,
    "wood": _wood,
    "stripes": _stripes,
}


def _coordinates() -> tuple[Array, Array]:
    side: Array = np.arange(SIZE, dtype=np.float64) + (0.5 - SIZE / 2)
    return side[None, :], side[:, None]


def _channels(color: tuple[float, float, float]) -> Array:
    return np.array(color)[:, None, None]


def _illumination(scene: Scene) -> Array:
    """The light that falls on every pixel: a slope towards the lamp, and the lens's vignette."""
    x, y = _coordinates()
    slope = 0.2 * (x * math.cos(scene.light) + y * math.sin(scene.light)) / (SIZE / 2)
    return scene.exposure * (1 + slope) * (1 - 0.13 * (x * x + y * y) / (SIZE / 2) ** 2)


def _plate(scene: Scene) -> Array:
    x, y = _coordinates()
    generator = _generator(scene, 1)
    offset = generator.uniform(-40, 40, 2)
    u, v = turned(x + offset[0], y + offset[1], scene.surface_angle)
    share, relief = SURFACES[scene.surface](generator, u, v)
    down, right = np.gradient(relief)
    slope = right * math.cos(scene.light) + down * math.sin(scene.light)
    shade = 1 - 0.16 * np.clip(slope, -1.5, 1.5) + 0.06 * _smooth_noise(generator, 4)
    first, second = scene.colors
    share = np.clip(share, 0, 1)
    return (_channels(first) * (1 - share) + _channels(second) * share) * shade


def _cast_shadow(canvas: Array, scene: Scene, piece: SceneObject) -> None:
    """Darken the canvas by the soft shadow of one piece and by the contact shade around it."""
    window = Window.around(piece, MARGIN, 1)
    dx, dy = piece.height * math.cos(scene.light), piece.height * math.sin(scene.light)
    softness = SHADOW_SOFTNESS + 0.3 * piece.height
    moved = signed_distance(piece, window.x + dx, window.y + dy)
    cast = np.clip(0.5 - moved / (2 * softness), 0, 1)
    cast = cast * cast * (3 - 2 * cast)
    beside = np.maximum(signed_distance(piece, window.x, window.y), 0)
    contact = np.clip(1 - beside / 4.5, 0, 1) ** 2
    light = (1 - 0.62 * cast) * (1 - 0.38 * contact)
    canvas[:, window.rows, window.columns] *= light


def _lay(canvas: Array, scene: Scene, position: int, illumination: Array) -> None:
    """Draw one piece: grain, bevelled edge, slight dome, diffuse and specular light."""
    piece = scene.objects[position]
    step = SUPERSAMPLING
    window = Window.around(piece, 2, step)
    distance = signed_distance(piece, window.x, window.y)
    down, right = np.gradient(distance, 1 / step)
    edge = np.clip(1 + distance / BEVEL, 0, 1)
    normal_x = 0.75 * edge * right + 0.16 * window.x / piece.radius
    normal_y = 0.75 * edge * down + 0.16 * window.y / piece.radius
    normal_z = np.sqrt(np.maximum(1 - normal_x**2 - normal_y**2, 0.05))
    lamp_x, lamp_y, lamp_z = 0.6 * math.cos(scene.light), 0.6 * math.sin(scene.light), 0.8
    diffuse = np.maximum(normal_x * lamp_x + normal_y * lamp_y + normal_z * lamp_z, 0) / lamp_z
    towards = normal_x * lamp_x + normal_y * lamp_y + normal_z * (1 + lamp_z)
    highlight = np.maximum(towards / math.hypot(0.6, 1 + lamp_z), 0)
    for _ in range(5):
        highlight = highlight * highlight  # to the power of 32
    generator = _generator(scene, 2, position)
    along, across = turned(window.x, window.y, generator.uniform(0, math.pi))
    bend = generator.uniform(-2, 2)
    fibre = across + bend * np.sin(along / 11) + 0.04 * along
    grain = 0.6 * _streaks(generator, fibre, 1.1) + 0.4 * _streaks(generator, fibre, 4.0)
    light = (0.36 + 0.64 * diffuse) * (1 + 0.09 * grain)
    alpha = np.clip(0.5 - step * distance, 0, 1)
    body = reduce_samples(alpha * light, step) * _channels(piece.color)
    body += piece.gloss * reduce_samples(alpha * highlight, step)
    canvas[:, window.rows, window.columns] *= 1 - reduce_samples(alpha, step)
    canvas[:, window.rows, window.columns] += body * illumination[window.rows, window.columns]


def draw(scene: Scene, without: Collection[int] = ()) -> NDArray[np.uint8]:
    """Draw the scene without some of its objects; plate, lamp and sensor noise stay the same."""
    illumination = _illumination(scene)
    canvas = _plate(scene) * illumination  # (3, SIZE, SIZE)
    present = [i for i in range(len(scene.objects)) if i not in without]
    lying = [i for i in present if scene.objects[i].role != "occluder"]
    above = [[i] for i in present if scene.objects[i].role == "occluder"]
    for group in (lying, *above):  # pieces are equally thick: a shadow falls on the surface only
        for i in group:
            _cast_shadow(canvas, scene, scene.objects[i])
        for i in group:
            _lay(canvas, scene, i, illumination)
    noise = _generator(scene, 3).standard_normal((SIZE, SIZE, 3)).transpose(2, 0, 1)
    canvas *= _channels(scene.tint)
    display = np.sqrt(np.clip(canvas, 0, 1, out=canvas), out=canvas)
    display += scene.noise * noise
    display = np.clip(display, 0, 1, out=display) * 255 + 0.5
    return np.ascontiguousarray(display.astype(np.uint8).transpose(1, 2, 0))  # truncation: round
