"""One operation of a traced network, and what a forward pass records for the walk back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx, nn

from xaiutils.operations import CONSTANT, affine


class GraphError(ValueError):
    """The network cannot be read, or holds an operation that has no rule."""


@dataclass(eq=False)
class Step:
    """One operation of the network.

    ``name`` is unique. ``path`` is what people call it: the module whose output this is, such as
    ``features.29`` or ``layer4``, or the name where no module returns it. ``shape`` is that of one
    example, ``(1, ...)``, or None where the result is not one tensor. ``batch`` is the dimension
    that counts the images: 0 but for transformers that put the tokens first.
    """

    node: fx.Node
    name: str
    path: str
    kind: str
    inputs: tuple[Step, ...]
    module: nn.Module | None = None
    shape: tuple[int, ...] | None = None
    batch: int = 0
    nonnegative: bool = False
    batch_norm: nn.Module | None = None  # the one that this convolution has taken in
    users: list[Step] = field(default_factory=list)

    @property
    def target(self) -> Any:
        """The module, function or method name that is called."""
        return self.node.target if self.module is None else self.module

    @property
    def operation(self) -> str:
        """What stands there, in words that a reader knows: ``Conv2d``, ``add``, ``layer_norm``."""
        if self.module is not None:
            return type(self.module).__name__
        return getattr(self.node.target, "__name__", str(self.node.target))

    @property
    def varying(self) -> tuple[Step, ...]:
        """The inputs that depend on the picture."""
        return tuple(step for step in self.inputs if step.kind != CONSTANT)

    def apply(self, x: Tensor, w: Tensor, b: Tensor | None) -> Tensor:
        """This weighted step with another weight and bias; stride, padding and groups stay."""
        named = self.node.kwargs.items()
        options = {key: v for key, v in named if key not in ("input", "weight", "bias")}
        return affine(self.module, self.node.args[3:], options, x, w, b)

    def __repr__(self) -> str:
        """Short, for messages."""
        return f"{self.path} ({self.operation})"


@dataclass
class Recording:
    """What one forward pass left for the walk back.

    Attributes:
        logits: (N, K), differentiable with respect to ``leaves``.
        leaves: The results of the steps that were asked for as leaves, as (N, C, h, w).
        inputs: Of each recorded step the tensors that it read, in the order of ``Step.varying``.
        outputs: Of each step that was recorded with its gradient graph, the result.
        weights: Of each recorded weighted step, weight and bias (batch norm folded in).
        norms: Of each recorded norm the shape of the rows that it works on, weight, bias, epsilon.
        constants: Of each recorded sum, what it adds that does not depend on the picture; of
            padding or joining, 1 at the places that do not depend on it.
    """

    logits: Tensor
    leaves: dict[Step, Tensor] = field(default_factory=dict)
    inputs: dict[Step, list[Any]] = field(default_factory=dict)
    outputs: dict[Step, Any] = field(default_factory=dict)
    weights: dict[Step, tuple[Tensor, Tensor | None]] = field(default_factory=dict)
    norms: dict[Step, tuple[Any, ...]] = field(default_factory=dict)
    constants: dict[Step, Tensor] = field(default_factory=dict)

    @property
    def leaf(self) -> Tensor | None:
        """The result of the one step that was made a leaf, or None."""
        return next(iter(self.leaves.values()), None)

    def vjp(self, step: Step, cotangent: Any) -> tuple[Tensor | None, ...]:
        """The transposed derivative of one step by its varying inputs, times ``cotangent``."""
        inputs = self.inputs[step]
        pairs = zip(_leaves(self.outputs[step]), _leaves(cotangent), strict=True)
        outputs, cotangents = zip(*(pair for pair in pairs if pair[1] is not None), strict=True)
        flat = [tensor for value in inputs for tensor in _leaves(value)]
        gradients = torch.autograd.grad(
            outputs, flat, cotangents, retain_graph=True, allow_unused=True
        )
        found = iter(gradients)
        return tuple(_like(value, found) for value in inputs)


def _leaves(value: Any) -> list[Any]:
    """The tensors of a value that is one, or a tuple of them; None stands for itself."""
    if isinstance(value, tuple | list):
        return [leaf for part in value for leaf in _leaves(part)]
    return [value]


def _like(value: Any, found: Iterator[Any]) -> Any:
    return next(found) if isinstance(value, Tensor) else tuple(_like(v, found) for v in value)


def holds_tensors(value: Any) -> bool:
    """Whether a value is a tensor, or a tuple with one in it."""
    return any(isinstance(leaf, Tensor) for leaf in _leaves(value))


def as_leaf(value: Any) -> Any:
    """The value under a name of its own, so that something can be differentiated by it alone.

    A value that is itself differentiated keeps its history: other gradients pass through.
    """
    if isinstance(value, Tensor):
        return value.view_as(value) if value.requires_grad else value.detach().requires_grad_()
    return tuple(as_leaf(part) for part in value)


def detached(value: Any) -> Any:
    """The value without its gradient graph."""
    return value.detach() if isinstance(value, Tensor) else tuple(detached(v) for v in value)
