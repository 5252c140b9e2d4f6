"""What is judged: one picture, the class that is explained, and what is known of its objects."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import PIL.Image
import torch
from torch import Tensor

from xaiutils.cases.workloads import Workload, rival_of
from xaiutils.network.classifier import Classifier, checked_classifier
from xaiutils.network.targets import Question, Score, answer
from xaiutils.pictures import scenes
from xaiutils.pictures.boxes import located, sample_target
from xaiutils.pictures.images import Box, Sample
from xaiutils.support import checks


@dataclass(frozen=True, eq=False)
class Piece:
    """An object of a scene: its visible part (H, W) bool, and the scene without it (1, C, H, W)."""

    mask: Tensor
    without: Tensor
    target: bool  # whether it is of the explained class


@dataclass(frozen=True, eq=False)
class Case:
    """One picture and what is explained of it, a class or a score.

    Attributes:
        x: (1, C, H, W), preprocessed.
        target: The class that is explained, by its index; or a score from
            `xaiutils.network.targets`.
        mask: (H, W) bool, where its object is (on ImageNet the union of its boxes); or None.
        rival: (H, W) bool, where an object of another class is; or None.
        boxes: Around its objects, (x0, y0, x1, y1) in pixels of the network's input.
        scene: What is on the picture, where that is known.
    """

    id: str
    classifier: Classifier
    x: Tensor
    target: int | Score
    mask: Tensor | None = None
    rival: Tensor | None = None
    boxes: tuple[Box, ...] = ()
    scene: scenes.Scene | None = None
    workload: str = ""
    split: str = ""

    def __post_init__(self) -> None:
        """Refuse what is no case."""
        self.classifier.check(self.x)
        if len(self.x) != 1:
            raise ValueError(f"x must be one picture (1, C, H, W), got {checks.shape(self.x)}")
        if isinstance(self.target, str) or (
            callable(self.target) and not isinstance(self.target, Score)
        ):
            raise TypeError(
                "target must be a class's index, or a score from xaiutils.network.targets, got "
                f"{checks.describe(self.target)}; classifier.asked(target, 1)[0] gives it"
            )
        if not isinstance(self.target, Score):
            last = len(self.classifier.classes) - 1
            checks.number("target", checks.whole("target", self.target, low=0), high=last)
        self.classifier.asked(self.target, 1)
        for name, value in (("mask", self.mask), ("rival", self.rival)):
            if value is None:
                continue
            if not isinstance(value, Tensor) or value.dtype != torch.bool:
                given = value.dtype if isinstance(value, Tensor) else checks.describe(value)
                raise TypeError(f"{name} must be a bool tensor (H, W), got {given}")
            checks.dense(name, value, "(H, W)")
            checks.same_shape(name, value, "a channel of x", self.x[0, 0])

    @cached_property
    def pieces(self) -> tuple[Piece, ...]:
        """Of a scene, each object with the picture drawn again without it; else none."""
        if self.scene is None:
            return ()
        drawn = [scenes.render(self.scene, without=(i,)) for i in range(len(self.scene.objects))]
        x = self.classifier.preprocess([PIL.Image.fromarray(picture) for picture in drawn])
        masks = [self.classifier.transform.mask(mask) for mask in scenes.visible(self.scene)]
        return tuple(
            Piece(torch.from_numpy(mask), x[i : i + 1], i in self.scene.targets[:1])
            for i, mask in enumerate(masks)
        )

    @property
    def picture(self) -> bool:
        """Whether it is a picture, and no signal and no volume."""
        return self.x.ndim == 4

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the network's input, and of every map."""
        if self.x.ndim != 4:
            got = checks.shape(self.x)
            raise ValueError(f"x must be a picture (1, C, H, W) for this metric, got {got}")
        return self.x.shape[2], self.x.shape[3]

    @property
    def targets(self) -> Question:
        """What is asked: the class as a tensor (1,), or the score, `Scores`."""
        question = self.classifier.asked(self.target, 1)
        assert question is not None
        return question

    def answer(self, output: Tensor) -> Tensor:
        """What outputs (N, ...) of the network say to what is asked, (N,)."""
        return answer(output, self.targets)

    def has(self, need: str) -> bool:
        """Whether a metric's need is met; an empty mask is none."""
        value = getattr(self, need)
        return bool(value.any()) if isinstance(value, Tensor) else bool(value)

    def asking(self, target: int | Score) -> Case:
        """The same picture, asked about another class or score; the mask stays where it is."""
        return replace(self, target=target)


def load_cases(
    work: Workload,
    indices: Sequence[int],
    classifier: Classifier | None = None,
    *,
    right_only: bool = False,
) -> list[Case]:
    """The cases of some of a workload's samples, in their order.

    The label is explained, so that map and mask belong together; without one, the predicted class,
    or the only output.

    Args:
        work, indices: Positions in ``work.samples``.
        classifier: Another network than the workload's, with the same preprocessing.
        right_only: Leave out pictures whose predicted class is not their label.

    Example:
        >>> cases = xai.load_cases(xai.load_workload("photographs"), [0, 1])
        >>> [(case.id, case.classifier.classes[case.target]) for case in cases]
        [('camera', 'tripod'), ('coffee', 'espresso')]
    """
    if not len(indices):
        raise ValueError("indices must name at least one sample, got none")
    found, count = [], len(work.samples)
    network = checked_classifier(classifier or work.classifier)
    if right_only and not network.chooses:
        raise ValueError(
            f"right_only must be False for {network.name}, which predicts no class: its outputs "
            f"are {len(network.classes)} x {network.outputs}"
        )
    for index in indices:
        if not -count <= checks.whole("indices", index, low=-math.inf) < count:
            raise IndexError(f"indices must be in {-count}..{count - 1}, got {index}")
        (sample,), x = work.batch([index])
        case = _case(work, sample, x, network)
        if not right_only or int(network.predicted(network.predict(x))) == case.target:
            found.append(case)
    return found


def _case(work: Workload, sample: Sample, x: Tensor, classifier: Classifier) -> Case:
    if sample.label is None:
        target = int(classifier.predicted(classifier.predict(x)))
    else:
        target = int(checks.targets("label", sample.label, 1, len(classifier.classes)))
    transform, rival = classifier.transform, rival_of(sample, classifier)
    mask = located(sample, transform)
    found = sample_target(sample, transform).boxes.tolist() if sample.boxes else []
    return Case(
        id=sample.id,
        classifier=classifier,
        x=x,
        target=target,
        mask=None if mask is None else torch.from_numpy(mask),
        rival=None if rival is None else rival[1],
        boxes=tuple((x0, y0, x1, y1) for x0, y0, x1, y1 in found),
        scene=sample.scene,
        workload=work.name,
        split=work.split,
    )
