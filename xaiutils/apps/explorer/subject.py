"""A picture as a network sees it, and what the network is asked for: once for each class."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from torch import Tensor

from xaiutils.apps.explorer.choices import OBJECT, View
from xaiutils.cases.case import Case, load_cases
from xaiutils.cases.workloads import Workload
from xaiutils.hybrid import Explanation, explain
from xaiutils.metrics.localisation import inside_boxes
from xaiutils.network.classifier import VALUE, Classifier
from xaiutils.pictures.images import Box, Sample
from xaiutils.support import asking


@dataclass(frozen=True, eq=False)
class Subject:
    """A picture as a network sees it.

    Attributes:
        classifier: The network.
        sample: The picture, with its mask or boxes where they are known.
    """

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
    """What the network was asked for.

    Attributes:
        explanation: Of the class. contrast: Of the contrast class, or None.
        maps: Of other methods, (H, W) by name.
        seconds: Spent. images: How many the network answered.
    """

    explanation: Explanation
    contrast: Explanation | None
    seconds: float
    images: int
    maps: dict[str, Tensor] = field(default_factory=dict)

    @property
    def target(self) -> int:
        """The class that is explained."""
        return int(self.explanation.target[0])


def compute(subject: Subject, view: View) -> Factors:
    """Ask the network for the two factors: one pass for each class."""
    started = time.perf_counter()
    several = subject.classifier.outputs == VALUE and len(subject.classifier.classes) > 1
    first = subject.first if several and view.target is None else view.target
    with asking.watch() as seen:
        found = [
            explain(
                subject.classifier,
                subject.case.x,
                target,
                composite=view.rules,
                cam=view.cam,
                cam_layer=view.cam_layer,
            )
            for target in ((first,) if view.contrast is None else (first, view.contrast))
        ]
    return Factors(found[0], found[-1] if view.contrast is not None else None,
                   time.perf_counter() - started, seen.images)  # fmt: skip


def with_maps(factors: Factors, maps: Mapping[str, Tensor]) -> Factors:
    """The same with more maps."""
    return replace(factors, maps={**factors.maps, **maps})
