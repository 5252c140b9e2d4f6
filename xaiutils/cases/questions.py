"""What can be asked of a workload's pictures: why this class, and where the answer should lie."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from xaiutils.cases.workloads import Workload, load_workload, rival_of, with_objects
from xaiutils.pictures import scenes
from xaiutils.pictures.images import Sample
from xaiutils.support import checks


@dataclass(frozen=True, eq=False)
class Questions:
    """Classes to explain, each with its picture, its object, and what stands against that.

    Attributes:
        samples: The picture of each question; one with two objects stands here twice.
        picture: (N,), which picture a question belongs to, from 0.
        x: (N, C, H, W), preprocessed.
        target: (N,), the class that is explained.
        own: (N, H, W) bool, where the object of this class is.
        rival: (N, H, W) bool, where the other object is; without one, all outside ``own``, so that
            `xaiutils.metrics.own_share` is the mass accuracy.
        paired: (N,) bool, whether ``rival`` is an object.
    """

    work: Workload
    samples: list[Sample]
    picture: Tensor
    x: Tensor
    target: Tensor
    own: Tensor
    rival: Tensor
    paired: Tensor

    @property
    def pictures(self) -> int:
        """How many pictures there are."""
        return int(self.picture[-1]) + 1

    def per_picture(self, values: Tensor) -> Tensor:
        """Mean of each picture's known values: (N,) to one per picture, NaN where none is known.

        Two questions about one picture are no two pictures: intervals are drawn over these means.
        """
        if not isinstance(values, Tensor):
            raise TypeError(f"values must be a tensor (N,), got {checks.describe(values)}")
        if values.shape != self.picture.shape:
            raise ValueError(
                f"values must be ({len(self.picture)},), one for each question, "
                f"got {checks.shape(values)}"
            )
        known = values.isfinite()
        total = torch.zeros(self.pictures, dtype=torch.float64)
        count = total.index_add(0, self.picture, known.double())
        return total.index_add(0, self.picture, values.double().masked_fill(~known, 0)) / count


def load_questions(name: str | None = None, count: int = 40, *, split: str = "duo") -> Questions:
    """The questions about the first pictures of a workload whose objects are known.

    A picture of two objects is asked about each, any other about its label.

    Args:
        name: As `xaiutils.cases.workloads.load_workload`.
        count: Pictures at most.
        split: ``duo`` has two objects in each.
    """
    count = checks.whole("count", count)
    work = load_workload(name, split)
    if work.name == "photographs":
        work = with_objects(work)
    indices = range(min(count, len(work.samples)))
    chosen, x = work.batch(indices)
    asked = [_asked(work, sample) for sample in chosen]
    picture = torch.tensor([i for i, found in enumerate(asked) for _ in found])
    targets, own, rival, paired = zip(*(one for found in asked for one in found), strict=True)
    return Questions(
        work=work,
        samples=[chosen[i] for i in picture.tolist()],
        picture=picture,
        x=x[picture],
        target=torch.tensor(targets),
        own=torch.stack(own),
        rival=torch.stack(rival),
        paired=torch.tensor(paired),
    )


def _asked(work: Workload, sample: Sample) -> list[tuple[int, Tensor, Tensor, bool]]:
    """For each object of a picture: class, where it is, what stands against it, if an object."""
    if sample.label is None:
        raise ValueError(f"samples must have a label, {sample.id} has none")
    own, rival = work.masks([sample])[0], rival_of(sample, work.classifier)
    relabelled = sample.scene is not None and scenes.label(sample.scene) != sample.label
    if rival is None or relabelled:  # by others' numbers the rival's class is unknown
        return [(sample.label, own, ~own, False)]
    label, other = rival
    return [(sample.label, own, other, True), (label, other, own, True)]
