"""How relevance was spent: a ledger of what reached the picture and what did not."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from xaiutils.network.step import Step

Term = Tensor | int


def quotient(part: Tensor, whole: Tensor) -> Tensor:
    """``part / whole``, both (N,); 0 where the whole is 0."""
    return (part / whole).masked_fill(whole == 0, 0)


@dataclass
class Ledger:
    """How the relevance that an output started with was spent; every field is (N,) float.

    ``start`` = ``input`` + ``bias`` + ``epsilon`` + ``unreceived``, up to rounding.

    Attributes:
        start: Relevance given to the logits (the explained logit itself, or 1).
        input: Sum of the relevance that arrived at the picture.
        bias: Taken by biases and by constants that are added.
        epsilon: Taken by stabilisers, where the denominator is not zero.
        unreceived: Of outputs whose denominator is exactly zero: nobody can claim it.
        steps: Of each step that took some, its bias, epsilon and unreceived terms.
    """

    start: Tensor
    input: Tensor
    bias: Tensor
    epsilon: Tensor
    unreceived: Tensor
    steps: dict[str, tuple[Tensor, Tensor, Tensor]] = field(default_factory=dict)

    @property
    def residual(self) -> Tensor:
        """What the terms miss of the start, (N,): rounding, and nothing else."""
        return self.start - (self.input + self.bias + self.epsilon + self.unreceived)

    def shares(self) -> dict[str, Tensor]:
        """Each term divided by the start, (N,); 0 where the start is 0: nothing was spent."""
        terms = {name: getattr(self, name) for name in ("input", "bias", "epsilon", "unreceived")}
        return {name: quotient(term, self.start) for name, term in terms.items()}

    def book(self, step: Step, bias: Term = 0, epsilon: Term = 0, unreceived: Term = 0) -> None:
        """Add what ``step`` kept as ``bias``, ``epsilon`` and ``unreceived``, each (N,)."""
        self.bias, self.epsilon = self.bias + bias, self.epsilon + epsilon
        self.unreceived = self.unreceived + unreceived
        zero = torch.zeros_like(self.bias)
        b, e, u = self.steps.get(step.name, (zero, zero, zero))
        self.steps[step.name] = (b + bias, e + epsilon, u + unreceived)
