"""What the explorer shows, as a pure function of what is chosen: no widgets here.

The two factors of the hybrid, a CAM and relevance, are computed once for a picture, a network and
a class. Threshold and σ only multiply and blur them, which is why a slider answers at once.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from xaiutils.cam import CAMS, Cam
from xaiutils.cases.case import Case, load_cases
from xaiutils.cases.workloads import Workload
from xaiutils.hybrid import THRESHOLD, Explanation, bound, explain, fuse
from xaiutils.lrp.composites import COMPOSITES, Composite, paper
from xaiutils.methods import METHODS
from xaiutils.methods.combination import smooth_as_explain
from xaiutils.methods.own import title_of
from xaiutils.methods.record import SIGNED
from xaiutils.metrics.flipping import Curve, flipping_curve
from xaiutils.metrics.localisation import inside_boxes, mass_accuracy, rank_accuracy
from xaiutils.metrics.record import CannotScore
from xaiutils.network.classifier import VALUE, Classifier
from xaiutils.pictures.images import Box, Sample
from xaiutils.plots.panel import Panel
from xaiutils.support import asking, checks

OBJECT = "object"
CURVES = {"deletion": "morf", "insertion": "insertion"}


@dataclass(frozen=True)
class View:
    """Everything that is chosen, except picture and network.

    Raises:
        TypeError, ValueError: A choice that cannot be shown; the message says which.
    """

    target: int | None = None  # the class that is explained; None for the predicted one
    contrast: int | None = None  # another, whose hybrid is shown beside it with the difference
    threshold: float = THRESHOLD  # of the bounding figure, in [0, 1)
    sigma: float | None = None  # of the Gaussian, in pixels; None for H / 64
    composite: str = "paper"  # in `COMPOSITES`
    alpha: float = 1.0  # of the paper's composite, >= 1; beta is alpha - 1
    cam: str = "grad_cam_plus_plus"  # in `CAMS`
    cam_layer: str | None = None  # None for the classifier's own
    methods: tuple[str, ...] = ()  # in `METHODS`, shown beside the hybrid
    inside: bool = False  # they stand inside the bounding figure (the paper's Fig. 3), smoothed
    positive: bool = False  # the positive part only; otherwise signed maps have two colours
    clip: float = 99.0  # percentile of the absolute values where the colours of signed maps end
    opacity: float = 0.8  # of a map over its picture
    # What rank accuracy and mass are counted in: "object" where its mask or boxes are known, a box
    # (x0, y0, x1, y1) in pixels of the network's input, or None.
    region: str | Box | None = OBJECT

    def __post_init__(self) -> None:
        """Refuse what cannot be shown."""
        checks.number("threshold", self.threshold, low=0, below=1)
        if self.sigma is not None:
            checks.number("sigma", self.sigma, low=0)
        for name, record, table in (("composite", Composite, COMPOSITES), ("cam", Cam, CAMS)):
            given = getattr(self, name)
            if isinstance(given, record):
                raise TypeError(
                    f"{name} must be a name, got the record {given.name!r}; "
                    f"put it into {name.upper()}S under a name of yours"
                )
            checks.choice(name, given, table)
        checks.number("alpha", self.alpha, low=1)
        if self.alpha != 1 and self.composite != "paper":
            raise ValueError(f"alpha must be left out with the composite {self.composite}")
        for name in self.methods:
            checks.choice("methods", name, METHODS)
        checks.number("clip", self.clip, low=1, high=100)
        checks.number("opacity", self.opacity, low=0, high=1)
        if isinstance(self.region, str):
            checks.choice("region", self.region, (OBJECT,))

    @property
    def factors(self) -> tuple[Any, ...]:
        """What decides the two factors; all else is answered without the network."""
        return (self.target, self.contrast, self.composite, self.alpha, self.cam, self.cam_layer)


@dataclass(frozen=True, eq=False)
class Subject:
    """A picture as a network sees it, with its mask or boxes where they are known."""

    classifier: Classifier
    sample: Sample

    @cached_property
    def case(self) -> Case:
        """With the label, the predicted class, or the first of several values as its target."""
        sample = self.sample
        if sample.label is None and self.classifier.outputs == VALUE:
            sample = replace(sample, label=0)
        return load_cases(Workload("explorer", self.classifier, [sample]), [0])[0]

    @cached_property
    def photo(self) -> np.ndarray:
        """(H, W, 3) uint8."""
        return self.classifier.picture(self.sample)

    @cached_property
    def logits(self) -> Tensor:
        """(K,)."""
        return self.classifier.predict(self.case.x)[0]

    def likeliest(self, count: int) -> list[int]:
        """The classes that the network says, likeliest first; values in their own order."""
        count = min(count, len(self.logits))
        if self.classifier.outputs == VALUE:
            return list(range(count))
        return self.logits.topk(count).indices.tolist()  # probabilities that round to 1 are equal

    @property
    def first(self) -> int:
        """What is explained where no class is chosen: the predicted one, or the first value."""
        return self.likeliest(1)[0]

    def mask(self, region: str | Box | None) -> Tensor | None:
        """(H, W) bool; None where there is none.

        Raises:
            ValueError: A box that has no area inside the picture.
        """
        if region is None or region == OBJECT:
            return self.case.mask if region else None
        height, width = self.photo.shape[:2]
        x0, y0, x1, y1 = (float(edge) for edge in region)
        if not (0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height):
            raise ValueError(
                f"region must be x0 < x1 <= {width} and y0 < y1 <= {height}, got {region}"
            )
        return inside_boxes([(x0, y0, x1, y1)], (height, width))

    def say(self, target: int) -> str:
        """A class with its probability, or an output with its value."""
        return f"{self.classifier.classes[target]} {self.classifier.said(self.logits, target)}"


@dataclass(frozen=True, eq=False)
class Factors:
    """What the network was asked for."""

    explanation: Explanation
    contrast: Explanation | None
    seconds: float
    images: int  # how many the network answered
    maps: Mapping[str, Tensor] = field(default_factory=dict)  # of other methods, (H, W) by name

    @property
    def target(self) -> int:
        """The class that is explained."""
        return int(self.explanation.target[0])


def compute(subject: Subject, view: View) -> Factors:
    """Ask the network for the two factors: one pass for each class."""
    rules = COMPOSITES[view.composite]
    if view.composite == "paper":
        rules = paper(view.alpha, view.alpha - 1)
    look: dict[str, Any] = {"composite": rules, "cam": view.cam, "cam_layer": view.cam_layer}
    network, x = subject.classifier, subject.case.x
    target = subject.first if view.target is None else view.target  # not counted below
    started = time.perf_counter()
    with asking.watch() as seen:
        found = explain(network, x, target, **look)
        contrast = None if view.contrast is None else explain(network, x, view.contrast, **look)
    return Factors(found, contrast, time.perf_counter() - started, seen.images)


@dataclass(frozen=True, eq=False)
class Tile:
    """One picture of the view."""

    key: str  # unique in a view
    title: str
    panel: Panel
    caption: str  # numbers, below it
    alt: str  # the same for who does not see it

    def same(self, other: Tile | None) -> bool:
        """Whether the other one looks the same."""
        if other is None or (self.title, self.caption) != (other.title, other.caption):
            return False
        one, two = self.panel, other.panel
        names = ("map", "image", "mask", "signed", "clip", "opacity")
        return all(np.array_equal(getattr(one, n), getattr(two, n)) for n in names)


def tiles(subject: Subject, view: View, factors: Factors) -> list[Tile]:
    """The picture, the five stages, the contrast, and the other methods that are there."""
    mask = subject.mask(view.region)
    name = subject.classifier.classes[factors.target]
    outlined = None if mask is None else mask.numpy()
    about = f"The picture {subject.sample.id} as the network sees it"
    said = "network says " + subject.say(subject.first)
    first = Panel(subject.photo, mask=outlined)
    found = [Tile("picture", "picture", first, said, f"{about}; {said}")]
    for key, title, map, signed in maps(subject, view, factors):
        score = _score(map, mask)
        panel = Panel(
            subject.photo,
            (map.clamp(min=0) if view.positive else map).double().numpy(),
            signed=signed and not view.positive,
            clip=view.clip if signed and view.clip < 100 else None,
            opacity=view.opacity,
            mask=outlined,
        )
        peak = np.unravel_index(int(map.argmax()), map.shape)
        down, right = (f"{(i + 0.5) / n:.0%}" for i, n in zip(peak, map.shape, strict=True))
        alt = (
            f"{title} for {name}: from {float(map.min()):.2g} to {float(map.max()):.2g}, highest "
            f"{right} from the left and {down} from the top; {score or 'no region to score in'}"
        )
        found.append(Tile(key, title, panel, score, alt))
    return found


def maps(subject: Subject, view: View, factors: Factors) -> list[tuple[str, str, Tensor, bool]]:
    """Key, title, map (H, W) and whether it is signed."""
    main, other = factors.explanation, factors.contrast
    bounded = bound(main.cam, view.threshold)
    product = fuse(bounded, main.relevance)
    hybrid = smooth_as_explain(product, view.sigma)
    found = [
        ("cam", title_of(view.cam), main.cam[0], False),
        ("bounded", "bounding figure", bounded[0], False),
        ("relevance", title_of(view.composite), main.relevance[0], True),
        ("product", "product", product[0], True),
        ("hybrid", "hybrid", hybrid[0], True),
    ]
    if other is not None:
        rival = fuse(bound(other.cam, view.threshold), other.relevance)
        rival = smooth_as_explain(rival, view.sigma)
        name = subject.classifier.classes[int(other.target[0])]
        found += [
            ("contrast", f"hybrid for {name}", rival[0], True),
            ("difference", "difference of the two", (hybrid - rival)[0], True),
        ]
    for name in view.methods:
        if name in factors.maps:
            map, title = factors.maps[name], METHODS[name].title
            if view.inside:
                map = smooth_as_explain(fuse(bounded, map[None]), view.sigma)[0]
                title += " in figure"
            found.append((f"method-{name}", title, map, METHODS[name].sign == SIGNED))
    return found


def _score(map: Tensor, mask: Tensor | None) -> str:
    """Alone: torch shares larger stacks among threads, which takes longer where cores are busy."""
    if mask is None:
        return ""
    rank, mass = rank_accuracy(map[None], mask[None]), mass_accuracy(map[None], mask[None])
    return f"rank {float(rank[0]):.2f}, mass {float(mass[0]):.2f}"


def chance(subject: Subject, view: View) -> float:
    """What a random map would score in both: the region's share of the picture; NaN without."""
    mask = subject.mask(view.region)
    return torch.nan if mask is None else float(mask.double().mean())


def curves(
    subject: Subject, view: View, factors: Factors, steps: int = 25
) -> dict[str, Mapping[str, Curve]]:
    """Insertion and deletion: the class's probability or value along each map's order, by title.

    The stages in between are left out, and so are maps without an order, such as one of zeros.
    """
    case = subject.case.asking(factors.target)
    found: dict[str, Mapping[str, Curve]] = {}
    for key, title, map, _ in maps(subject, view, factors):
        if key in ("bounded", "product", "contrast", "difference"):
            continue
        try:
            found[title] = {
                name: flipping_curve(case, map, kind, steps=steps, output="softmax")
                for name, kind in CURVES.items()
            }
        except CannotScore:
            continue
    return found
