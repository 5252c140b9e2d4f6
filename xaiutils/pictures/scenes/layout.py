"""Which pieces lie where, and in which colours; nothing here but the shape depends on the class."""

from __future__ import annotations

import colorsys
import math

import numpy as np

from xaiutils.pictures.scenes.shapes import OTHER_SHAPES, SIZE, TARGET_SHAPES, SceneObject

CLASSES: tuple[str, ...] = tuple(TARGET_SHAPES)
DISTRACTORS: tuple[str, ...] = tuple(kind for kind in OTHER_SHAPES if kind != "leaf")
GAP = 2.0  # px between circumcircles
CONTRAST = 0.36  # smallest distance of a piece to both colours of the surface, display RGB
# Set on the split hard_tuning (two networks: 0.70 and 0.79 of 400 right), then frozen.
HARD_CONTRAST = (0.45, 0.87)  # share of that contrast that is left
HARD_NOISE = (0.015, 0.04)
HARD_EXPOSURE = (0.55, 0.95)
HARD_LEAF = 0.75  # circumradius of the leaf, in those of the target
HARD_OVERLAP = (0.8, 1.1)  # distance of the leaf's centre from the target's, likewise

Color = tuple[float, float, float]
WOODS: tuple[Color, ...] = ((0.80, 0.66, 0.48), (0.68, 0.48, 0.31), (0.43, 0.30, 0.22))
TONES: tuple[Color, ...] = (
    (0.86, 0.82, 0.74),
    (0.70, 0.60, 0.47),
    (0.36, 0.40, 0.45),
    (0.34, 0.46, 0.39),
    (0.25, 0.31, 0.45),
    (0.76, 0.58, 0.55),
    (0.58, 0.68, 0.75),
    (0.50, 0.36, 0.40),
)


def linear(color: Color) -> Color:
    """Turn a display colour into linear light."""
    return color[0] ** 2, color[1] ** 2, color[2] ** 2


def _mix(a: Color, b: Color, share: float) -> Color:
    x, y, z = (p + share * (q - p) for p, q in zip(a, b, strict=True))
    return x, y, z


def surface_colors(generator: np.random.Generator, surface: str) -> tuple[Color, Color]:
    """Draw the two display colours of a surface."""
    tones = WOODS if surface == "wood" else TONES
    first = tones[generator.integers(len(tones))]
    brightness = generator.uniform(0.88, 1.08)
    first = _mix((0.0, 0.0, 0.0), first, brightness)
    if surface in ("check", "stripes"):
        return first, TONES[generator.integers(len(TONES))]
    return first, _mix(first, (0.0, 0.0, 0.0), generator.uniform(0.15, 0.3))


def _color(generator: np.random.Generator, away: tuple[Color, ...], contrast: float) -> Color:
    """Draw a display colour at least ``contrast`` from every colour in ``away``."""
    while True:
        saturation = generator.uniform(0.35, 0.8) if generator.random() < 0.85 else 0.06
        value = generator.uniform(0.45, 0.93)
        # pigments: as many reds and yellows as blues, where a uniform hue is green for a third
        hue = float(np.interp(generator.random(), (0, 0.36, 0.5, 1), (0, 0.2, 0.46, 1)))
        color = colorsys.hsv_to_rgb(hue, saturation, value)
        if all(math.dist(color, other) >= contrast for other in away):
            return color


def lay_out(
    generator: np.random.Generator, duo_share: float, hard: bool, surface: tuple[Color, Color]
) -> tuple[SceneObject, ...]:
    """Draw the pieces of one scene: its targets, the distractors and, if hard, a leaf on top.

    The order of the draws is part of the frozen splits. ``duo_share`` is the probability of a
    second target; ``hard`` also mixes colours towards those of the ``surface``.
    """
    duo = generator.random() < duo_share
    kinds = list(generator.choice(CLASSES, 2 if duo else 1, replace=False))
    targets = len(kinds)
    kinds += list(generator.choice(DISTRACTORS, generator.integers(3 - targets, 5 - targets)))
    height = generator.uniform(3.5, 6.5)
    pieces = []
    for i, (x, y, radius) in enumerate(_places(generator, targets, len(kinds))):
        role = "target" if i < targets else "distractor"
        tilt = 0.45 if role == "target" else math.pi
        color = _color(generator, surface, CONTRAST)
        if hard:
            color = _mix(surface[0], color, generator.uniform(*HARD_CONTRAST))
        angle, gloss = generator.uniform(-tilt, tilt), generator.uniform(0.05, 0.4)
        pieces.append(
            SceneObject(str(kinds[i]), role, (x, y), radius, angle, linear(color), gloss, height)
        )
    if hard:
        (x, y), radius = pieces[0].center, pieces[0].radius
        direction = generator.uniform(0, 2 * math.pi)
        reach = radius * generator.uniform(*HARD_OVERLAP)
        center = (x + reach * math.cos(direction), y + reach * math.sin(direction))
        angle = generator.uniform(-math.pi, math.pi)
        color = linear(_color(generator, surface, CONTRAST))
        leaf = SceneObject(
            "leaf", "occluder", center, HARD_LEAF * radius, angle, color, 0.05, height
        )
        pieces.append(leaf)
    return tuple(pieces)


def _places(
    generator: np.random.Generator, targets: int, count: int
) -> list[tuple[float, float, float]]:
    """Draw disjoint circles (x, y, radius) that lie wholly in the picture, targets first."""
    while True:
        circles: list[tuple[float, float, float]] = []
        for i in range(count):
            radius = generator.uniform(17, 26) if i < targets else generator.uniform(16, 24)
            for _ in range(30):
                x, y = generator.uniform(radius + 1, SIZE - radius - 1, 2)
                if all(math.dist((x, y), c[:2]) >= radius + c[2] + GAP for c in circles):
                    circles.append((float(x), float(y), float(radius)))
                    break
            else:
                break
        if len(circles) == count:
            return circles
