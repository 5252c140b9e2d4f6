"""What the related methods share: one recorded pass, and walks back over it from any start."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass

import torch
from torch import Tensor

from xaiutils.factors import Target
from xaiutils.lrp.plan import Plan
from xaiutils.lrp.walk import propagate
from xaiutils.network.cam_layer import reading
from xaiutils.network.classifier import Classifier
from xaiutils.network.step import Recording, Step
from xaiutils.network.targets import Question


@dataclass(frozen=True)
class Pass:
    """A forward pass, ready to be walked back.

    Attributes:
        plan: The rules.
        record: What the pass left.
        logits: (N, K), without gradient.
        question: The classes that are explained, or scores.
        bounds: Lowest and highest possible picture, for z_box.
    """

    plan: Plan
    record: Recording
    logits: Tensor
    question: Question
    bounds: tuple[Tensor, Tensor]

    @property
    def index(self) -> Tensor:
        """(N, 1), the class that is explained.

        Raises:
            TypeError: A score is, which the method does not know.
        """
        if not isinstance(self.question, Tensor):
            raise TypeError(
                f"target must be a class index or name here, got the score {self.question.name}"
            )
        return self.question.to(self.logits.device)[:, None]

    def at_target(self, value: Tensor) -> Tensor:
        """``value`` (N, 1) at the explained class and 0 at all others, (N, K)."""
        return torch.zeros_like(self.logits).scatter(1, self.index, value)

    def walk(
        self,
        start: Tensor,
        *,
        plan: Plan | None = None,
        at: Step | None = None,
        read: Step | None = None,
        bounds: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        """Relevance at the picture, or at ``read``, that starts at the logits, or at ``at``."""
        found = propagate(
            plan or self.plan,
            self.record,
            start,
            at=at,
            bounds=bounds or self.bounds,
            read=() if read is None else (read,),
        )
        return found.map if read is None else found.layers[read.path]


def forward(
    classifier: Classifier,
    plan: Plan,
    x: Tensor,
    target: Target,
    *,
    leaf: Step | None = None,
    visited: Set[Step] | None = None,
) -> Pass:
    """Run the images through the network and record what ``plan`` needs.

    Args:
        classifier, x, target: As every method of this folder takes them.
        plan: The rules.
        leaf: The step whose result is kept, and by which the logits can be differentiated.
        visited: The steps that relevance will visit; by default all of the plan's.
    """
    classifier.check(x)
    visited = plan.visited if visited is None else visited
    record = plan.graph.run(
        x,
        inputs_of=plan.inputs_of & visited,
        graph_of=plan.graph_of & visited,
        leaf=() if leaf is None else leaf,
    )
    logits = record.logits.detach()
    question = classifier.asked(target, len(x))
    if question is None:
        question = classifier.predicted(logits).cpu()
    low, high = (bound.expand_as(x[:1]) for bound in classifier.bounds(x))
    return Pass(plan, record, logits, question, (low, high))


def feature_map(classifier: Classifier, plan: Plan, layer: str | None) -> Step:
    """The step called ``layer``, or the classifier's CAM layer.

    Raises:
        ValueError: It gives no feature maps, or no relevance comes by.
    """
    step = plan.graph.find(layer or classifier.cam_layer)
    if not reading(plan.graph, step).plain:
        raise ValueError(f"layer must give feature maps (N, C, h, w), {step} gives {step.shape}")
    if step not in plan.visited:
        raise ValueError(f"layer must be one that relevance passes through, {step} is not")
    return step


def below(plan: Plan, step: Step) -> set[Step]:
    """``step`` and all that relevance visits after it on its way to the picture."""
    found = {step}
    for other in reversed(plan.graph.steps):
        if other in found and other is not plan.graph.input:
            found.update(plan.receivers(other))
    return found


def size_of(x: Tensor) -> tuple[int, int]:
    """Height and width of the images."""
    return int(x.shape[-2]), int(x.shape[-1])
