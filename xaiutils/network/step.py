"""One operation of a captured network, and what a forward pass records for the walk back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map, tree_map_only

from xaiutils.network.kinds import CONSTANT, FORMS, LIKE, PASS, ROUTING


class GraphError(ValueError):
    """The network cannot be read, or holds an operation that has no rule."""


@dataclass(eq=False)
class Step:
    """One operation of the network, or a weight or the picture that it begins with.

    ``name`` is unique. ``path`` is what people call it: the module whose output this is, such as
    ``features.29`` or ``layer4``, or the name where no module returns it. ``function`` is an ATen
    operation, called with ``args`` and ``kwargs``, in which steps stand for their results; without
    one the step is the picture, or the tensor that ``holds`` names. ``shape`` is that of one
    example, ``(1, ...)``, or None where the result is not one tensor. ``batch`` is the dimension
    that counts the images: 0 but for transformers that put the tokens first. Where it counts other
    things as well, as windows or tokens, ``before`` of them stand outside of the images: the
    dimension is one of (before, images, rest). ``line`` is that of the forward method,
    ``module`` the path of the innermost module in which it stands.
    """

    name: str
    path: str
    function: Callable[..., Any] | None = None
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)
    holds: str = ""
    kind: str = CONSTANT
    shape: tuple[int, ...] | None = None
    batch: int = 0
    before: int = 1
    nonnegative: bool = False
    line: str = ""
    module: str = ""
    returned: bool = False  # by a module
    batch_norm: Step | None = None  # the one that this convolution has taken in
    inputs: tuple[Step, ...] = ()
    users: list[Step] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Find the steps that this one reads."""
        self.inputs = tuple(dict.fromkeys(self.read))
        for other in self.inputs:
            other.users.append(self)

    @cached_property
    def read(self) -> list[Step]:
        """The steps among the arguments, in order; one that is given twice stands there twice."""
        return [part for part in tree_leaves((self.args, self.kwargs)) if isinstance(part, Step)]

    @cached_property
    def operation(self) -> str:
        """What is computed, as ATen calls it: ``conv2d``, ``add``, ``layer_norm``."""
        if self.function is None:
            return self.holds or "input"
        schema = getattr(self.function, "_schema", None)
        return str(schema.name.rpartition("::")[2] if schema else self.function.__name__)

    @property
    def key(self) -> str:
        """The name, as modules can have it."""
        return self.name.replace(".", "/")

    @property
    def varying(self) -> tuple[Step, ...]:
        """The inputs that depend on the picture, and not by their form alone."""
        if self.operation in FORMS:
            return ()
        inputs = self.inputs[:1] if self.operation in LIKE else self.inputs
        return tuple(step for step in inputs if step.kind != CONSTANT)

    @cached_property
    def given(self) -> dict[str, Any]:
        """The arguments by name, with ATen's defaults."""
        schema = getattr(self.function, "_schema", None)
        if schema is None:
            return {}
        known = {a.name: a.default_value for a in schema.arguments}
        return known | dict(zip(known, self.args, strict=False)) | self.kwargs

    def behind(self, kinds: tuple[str, ...] = (ROUTING, PASS)) -> Step:
        """The step whose values this one only hands on, through ``kinds``, or itself."""
        step = self
        while step.kind in kinds and len(step.varying) == 1:
            step = step.varying[0]
        return step

    def arguments(self, values: Mapping[Step, Any], *names: str) -> list[Any]:
        """The arguments of these names, None for one that the operation has not."""
        return [filled(self.given.get(name), values) for name in names]

    def pictures(self, value: Tensor) -> int:
        """How many pictures a result of this step is of."""
        return int(value.shape[self.batch]) // (self.shape or (1,))[self.batch]

    def per_picture(self, value: Tensor) -> Tensor:
        """The sum of a result of this step over everything but the pictures, (N,)."""
        rows = value.movedim(self.batch, 0).reshape(self.before, self.pictures(value), -1)
        return rows.sum((0, 2)) if self.before > 1 else rows[0].sum(1)

    def compute(self, values: Mapping[Step, Any]) -> Any:
        """The result, from those of the steps that it reads."""
        assert self.function is not None
        args, kwargs = filled((self.args, self.kwargs), values)
        return self.function(*args, **kwargs)

    def apply(self, x: Tensor, w: Tensor, b: Tensor | None) -> Tensor:
        """This weighted step with another weight and bias; stride, padding and groups stay."""
        assert self.function is not None
        if self.operation == "batch_norm":
            per_channel = (1, -1) + (1,) * (x.ndim - 2)
            return x * w.view(per_channel) + (0 if b is None else b.view(per_channel))
        rest = {key: part for key, part in self.kwargs.items() if key not in ("weight", "bias")}
        result: Tensor = self.function(x, w, b, *self.args[3:], **rest)
        return result

    def __repr__(self) -> str:
        """Short, for messages."""
        return f"{self.path} ({self.operation})"


def filled(value: Any, values: Mapping[Step, Any]) -> Any:
    """An argument with the results of its steps in their places."""
    return tree_map_only(Step, values.__getitem__, value)


@dataclass
class Recording:
    """What one forward pass left for the walk back.

    Attributes:
        logits: (N, ...), differentiable with respect to ``leaves``.
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
        pairs = zip(tree_leaves(self.outputs[step]), tree_leaves(cotangent), strict=True)
        outputs, cotangents = zip(*(pair for pair in pairs if pair[1] is not None), strict=True)
        flat = [value for value in tree_leaves(inputs) if _floats(value)]
        found = iter(
            torch.autograd.grad(outputs, flat, cotangents, retain_graph=True, allow_unused=True)
        )
        return tuple(tree_map(lambda value: next(found) if _floats(value) else None, inputs))


def _floats(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point()


def as_leaf(value: Any) -> Any:
    """The value under a name of its own, so that something can be differentiated by it alone.

    A value that is itself differentiated keeps its history: other gradients pass through.
    """

    def own(one: Tensor) -> Tensor:
        if not one.is_floating_point():
            return one
        return one.view_as(one) if one.requires_grad else one.detach().requires_grad_()

    return tree_map_only(Tensor, own, value)


def detached(value: Any) -> Any:
    """The value without its gradient graph."""
    return tree_map_only(Tensor, Tensor.detach, value)
