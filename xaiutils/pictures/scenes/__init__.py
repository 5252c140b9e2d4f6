"""Generated scenes with exact masks: which pictures exist, what is on them, and where.

Six target classes lie among distractors, all as coloured pieces on a surface. The only evidence is
the shape. A scene is a pure function of its split and index, and can be drawn again without any of
its objects, which gives an exact counterfactual.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from xaiutils.pictures.images import Sample
from xaiutils.pictures.scenes.drawing import SURFACES, draw
from xaiutils.pictures.scenes.layout import (
    CLASSES,
    DISTRACTORS,
    HARD_EXPOSURE,
    HARD_NOISE,
    lay_out,
    linear,
    surface_colors,
)
from xaiutils.pictures.scenes.shapes import SIZE, Mask, Scene, coverage
from xaiutils.support import checks

__all__ = [
    "CLASSES", "DISTRACTORS", "MEAN", "SIZE", "SPLITS", "STD", "Scene", "Split", "label",
    "masks", "render", "sample", "samples", "scene", "soft_label", "visible",
]  # fmt: skip

MEAN: tuple[float, float, float] = (0.5, 0.5, 0.5)
STD: tuple[float, float, float] = (0.25, 0.25, 0.25)
DILATION = 4  # px; the 2 px of the 64 px design: shape evidence lies on the outline


@dataclass(frozen=True)
class Split:
    """A frozen set of scenes.

    ``duo`` is the share with two targets; ``hard``: contrast is low, and a leaf covers the target.
    """

    name: str
    seed: int
    count: int
    duo: float = 0.0
    hard: bool = False


SPLITS: dict[str, Split] = {
    "train": Split("train", 1000, 10000, duo=0.25),
    "validation": Split("validation", 2000, 500, duo=0.25),
    "calibration": Split("calibration", 3000, 300),
    "test": Split("test", 5000, 1000),
    "duo": Split("duo", 6000, 500, duo=1.0),
    "unit": Split("unit", 7000, 16),
    "hard": Split("hard", 8000, 2000, hard=True),
    "hard_tuning": Split("hard_tuning", 8500, 500, hard=True),  # where the difficulty was set
}


def scene(split: str, index: int) -> Scene:
    """The description of one scene, a pure function of its split and its position there."""
    record = SPLITS[checks.choice("split", split, SPLITS)]
    if isinstance(index, bool) or not isinstance(index, int | np.integer):
        raise TypeError(f"index must be an integer, got {checks.describe(index)}")
    if not 0 <= index < record.count:
        raise ValueError(f"index must be in 0..{record.count - 1} for {split!r}, got {index}")
    generator = np.random.default_rng(np.random.SeedSequence([record.seed, int(index)]))
    surface = str(generator.choice(list(SURFACES)))
    first, second = surface_colors(generator, surface)
    warmth = generator.uniform(-0.06, 0.08)
    return Scene(
        split=split,
        index=int(index),
        seed=record.seed,
        light=generator.uniform(0, 2 * math.pi),
        surface=surface,
        surface_angle=generator.uniform(0, 2 * math.pi),
        colors=(linear(first), linear(second)),
        tint=(1 + warmth, 1.0, 1 - warmth),
        exposure=generator.uniform(*(HARD_EXPOSURE if record.hard else (0.95, 1.15))),
        noise=generator.uniform(*(HARD_NOISE if record.hard else (0.006, 0.014))),
        objects=lay_out(generator, record.duo, record.hard, (first, second)),
    )


def render(scene: Scene, without: Collection[int] = ()) -> NDArray[np.uint8]:
    """Draw a scene, ``(128, 128, 3)`` uint8 RGB, without some objects and their shadows.

    Surface, light and sensor noise do not depend on ``without``, positions of objects.
    """
    for i in without:
        if i not in range(len(scene.objects)):
            raise ValueError(f"without must hold positions 0..{len(scene.objects) - 1}, got {i}")
    return draw(scene, without)


def visible(scene: Scene) -> list[Mask]:
    """The visible part of each object, ``(128, 128)`` bool, in the order of the objects."""
    covered = [coverage(piece) > 0.5 for piece in scene.objects]
    return [
        mask & ~np.logical_or.reduce(covered[i + 1 :], initial=False)
        for i, mask in enumerate(covered)
    ]


def masks(scene: Scene) -> dict[str, Mask]:
    """Every mask of a scene, ``(128, 128)`` bool each: the visible part, shadows excluded.

    ``target`` is the explained target; ``other`` the second target of a duo scene (else empty);
    ``distractors`` all that carries no label, an occluding leaf included; ``all`` every piece;
    ``target_dilated`` the target grown by 4 px, for shape evidence lies on the outline;
    ``background`` what no piece covers. A pixel belongs to the piece that covers more than half.
    """
    from scipy import ndimage

    shown = visible(scene)
    target = shown[scene.targets[0]]
    other = shown[scene.targets[1]] if len(scene.targets) > 1 else np.zeros_like(target)
    y, x = np.ogrid[-DILATION : DILATION + 1, -DILATION : DILATION + 1]
    everything = np.logical_or.reduce(shown)
    return {
        "target": target,
        "other": other,
        "all": everything,
        "distractors": everything & ~target & ~other,
        "target_dilated": ndimage.binary_dilation(target, x * x + y * y <= DILATION**2),
        "background": ~everything,
    }


def label(scene: Scene) -> int:
    """The class index of the explained target."""
    return CLASSES.index(scene.objects[scene.targets[0]].kind)


def soft_label(scene: Scene) -> NDArray[np.float64]:
    """The distribution ``(6,)`` that the classifier learns: one half each in a duo scene."""
    result = np.zeros(len(CLASSES))
    for i in scene.targets:
        result[CLASSES.index(scene.objects[i].kind)] = 1 / len(scene.targets)
    return result


def sample(split: str, index: int) -> Sample:
    """One scene: its picture, and label, mask and box of the explained target."""
    description = scene(split, index)
    mask = visible(description)[description.targets[0]]
    ys, xs = np.nonzero(mask)
    box = (float(xs.min()), float(ys.min()), float(xs.max() + 1), float(ys.max() + 1))
    picture = PIL.Image.fromarray(render(description))
    return Sample(description.id, picture, label(description), mask, (box,), scene=description)


def samples(split: str, count: int | None = None, start: int = 0) -> list[Sample]:
    """``count`` samples of ``split`` from ``start`` on; all that follow by default."""
    record = SPLITS[checks.choice("split", split, SPLITS)]
    checks.number("start", start, low=0, high=record.count)
    count = record.count - start if count is None else count
    checks.number("count", count, low=0, high=record.count - start)
    return [sample(split, index) for index in range(start, start + count)]
