"""The network as a list of steps: captured once per picture size, run once per explanation.

`Graph.run` computes the steps that were captured and records what the walk back will ask for, by
the weights that the caller's module has then. `Network` keeps the captures of one module, and makes
them anew where the module's structure, settings or hooks have changed.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Container, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from xaiutils.network.capture import NotCaptured, capture, require_eval, unwrapped
from xaiutils.network.kinds import BATCH_NORM, EXTREMES, JOINS, LAYER_NORM, PASS, SUM, WEIGHTED
from xaiutils.network.step import GraphError, Recording, Step, as_leaf, detached
from xaiutils.network.structure import structure
from xaiutils.network.uncaptured import Uncaptured
from xaiutils.network.usable import example
from xaiutils.support import asking, checks

_FOLDED = ("conv1d", "conv2d", "conv3d")


class Graph:
    """A captured network: ``steps`` in the order of computation, from ``input`` to ``output``."""

    changed = False  # since its module was wrapped
    positions: Any = None  # of its steps, from cam_layer.py

    def __init__(self, module: nn.Module, shape: tuple[int, ...]) -> None:
        """Capture ``module``, in eval mode, for pictures of ``shape`` (C, ...); as `capture`."""
        require_eval(module)
        self.source = module
        with torch.inference_mode(False):
            x = torch.empty((2, *shape)).to(example(module))
        found = capture(module, x)
        self.steps, self.input, self.output = found.steps, found.input, found.output
        self.constants, self.calls = found.constants, found.calls
        self._names = {step.name: step for step in self.steps} | found.results
        self._fold()
        self._last_use = last_uses(self.steps, self.output)

    def _fold(self) -> None:
        """Let each convolution take in the batch norm that alone reads it."""
        for step in self.steps:
            if step.kind == BATCH_NORM:
                before, own = step.inputs[0], step.inputs[1:]
                alone = before.operation in _FOLDED and before.users == [step]
                if alone and all(other.holds for other in own):
                    before.batch_norm, step.kind = step, PASS

    @property
    def classes(self) -> int:
        """The number of logits of each picture; of a map of them, of channels."""
        return int((self.output.shape or (1, 1))[1])

    def find(self, layer: str) -> Step:
        """The step called ``layer``: a module's path (its last call) or a step's own name.

        Raises:
            TypeError, ValueError: There is none; the nearest names are listed.
        """
        try:
            return self._names[checks.choice("layer", layer, self._names)]
        except ValueError as error:
            if self.changed:
                raise GraphError(f"{error}; the module has changed since: wrap it again") from error
            raise

    def after(self, step: Step) -> set[Step]:
        """All steps whose result depends on that of ``step``, without ``step``."""
        found = {step}
        for other in self.steps:
            if not found.isdisjoint(other.inputs):
                found.add(other)
        return found - {step}

    def before(self, step: Step) -> list[Step]:
        """All steps that ``step`` depends on, in order of computation, without ``step``."""
        found = {step}
        for other in reversed(self.steps):
            if not found.isdisjoint(other.users):
                found.add(other)
        return [other for other in self.steps if other in found and other is not step]

    def value_at(self, step: Step, x: Tensor) -> Any:
        """The result of ``step`` for images (N, C, H, W); nothing after it is computed."""
        return next(value for found, value in self._values(Recording(x)) if found is step)

    def run(
        self,
        x: Tensor,
        *,
        inputs_of: Container[Step] = (),
        graph_of: Container[Step] = (),
        leaf: Step | Sequence[Step] = (),
    ) -> Recording:
        """One forward pass of ``x`` (N, C, H, W), normalised.

        Args:
            x: The images; left as they are.
            inputs_of: Steps whose inputs and weights are recorded.
            graph_of: Steps recorded with the gradient graph between inputs and result as well, so
                that ``Recording.vjp`` need not compute them again.
            leaf: The step with respect to whose result the logits can be differentiated, or
                several, one of which may follow from another.

        Raises:
            GraphError: ``x`` does not fit the network.
            ValueError: The module is in train mode.
            Cancelled: The caller's `xaiutils.support.asking.watch` says so.
        """
        require_eval(self.source)
        asking.asked(len(x))
        record = Recording(x)
        leaves = (leaf,) if isinstance(leaf, Step) else tuple(leaf)
        live = {step for one in leaves for step in self.after(one)}
        last = self.input
        # Outside inference mode, since its tensors can never be differentiated.
        with torch.inference_mode(False):
            try:
                record.logits = x.clone() if x.is_inference() else x.detach()
                for step, value in self._values(record, inputs_of, graph_of, leaves, live):
                    last, record.logits = step, value  # in the end the output
            except torch.OutOfMemoryError:
                raise
            except RuntimeError as error:
                raise GraphError(
                    f"x must fit the network; {checks.shape(x)} {x.dtype} on {x.device} failed "
                    f"after {last}: {error}"
                ) from error
        return record

    def held(self, x: Tensor) -> dict[Step, Tensor]:
        """The tensors (...,) that the module holds now, by the steps that stand for them."""
        known = {name: constant.to(x.device) for name, constant in self.constants.items()}
        known |= dict(self.source.named_parameters(remove_duplicate=False))
        known |= dict(self.source.named_buffers(remove_duplicate=False))
        return {step: known[step.holds].detach() for step in self.steps if step.holds}

    def _values(
        self,
        record: Recording,
        inputs_of: Container[Step] = (),
        graph_of: Container[Step] = (),
        leaves: Container[Step] = (),
        live: Container[Step] = (),
    ) -> Iterator[tuple[Step, Any]]:
        """Compute the steps of the pictures that ``record`` has for logits, in order.

        Each value is forgotten after its last use.
        """
        values: dict[Step, Any] = {self.input: record.logits, **self.held(record.logits)}
        for step in self.steps:
            attached = step in graph_of
            read = values
            if attached:  # reads values of its own, so that its derivative ends at this step
                read = {**values, **{other: as_leaf(values[other]) for other in step.varying}}
            weights = _weights(step, read) if step.kind in WEIGHTED else None
            if attached or step in inputs_of:
                _note(record, step, read, weights)
            if step.function is not None:
                with torch.set_grad_enabled(attached or step in live):
                    if weights is not None:
                        value = step.apply(read[step.inputs[0]], *weights)
                    elif step.kind == PASS:
                        value = read[step.varying[0]]
                        value = detached(value) if step.operation == "detach" else value
                    else:
                        value = step.compute(read)
                values[step] = value
            if attached:
                record.outputs[step] = values[step]
                if step not in live:
                    values[step] = detached(values[step])
            if step in leaves:
                found = values[step]
                found = found if found.requires_grad else found.detach().requires_grad_()
                values[step] = record.leaves[step] = found
            yield step, values[step]
            for done in self._last_use.get(step, ()):
                del values[done]


class Network:
    """A module, and its captures by size, dtype and device of the pictures.

    ``uncaptured`` stands for them where there are none, else it is None.
    """

    def __init__(
        self, module: nn.Module, shape: tuple[int, ...], graph: str | None = "auto"
    ) -> None:
        """Capture ``module`` for pictures of ``shape`` (C, H, W); raises as `Graph` does.

        Not where ``graph`` is None, nor where `torch.export` cannot read what can be called.
        """
        self.module, self.source, self.shape = module, unwrapped(module), shape
        self._lock = threading.RLock()
        self._captures: dict[Any, Graph] = {}
        self._structure: Any = None
        self._changed = False
        self.uncaptured: Uncaptured | None = None
        try:
            if graph is None:
                raise NotCaptured("it was wrapped with graph=None")
            self.graph()
        except NotCaptured as error:
            require_eval(self.source)
            self.uncaptured = Uncaptured(self.source, shape, str(error))

    def graph(self, shape: tuple[int, ...] | None = None) -> Graph:
        """The capture for pictures of ``shape``, of the network as it is now.

        Raises:
            GraphError: The network was not captured.
        """
        if self.uncaptured:
            raise GraphError(f"classifier must have a graph: {self.uncaptured}")
        with self._lock:
            now = structure(self.source)
            if self._structure is None or now[0] != self._structure[0]:
                self._captures.clear()
                self._changed = self._structure is not None
                self._structure = now
            key = shape or self.shape
            if key not in self._captures:
                self._captures[key] = Graph(self.source, key)
                self._structure = structure(self.source)  # hooks may have changed what they hold
                self._captures[key].changed = self._changed
            return self._captures[key]

    def of(self, module: nn.Module) -> Network:
        """The same captures for a copy of the module with other weights."""
        twin = copy.copy(self)
        twin.module, twin.source, twin._lock = module, unwrapped(module), threading.RLock()
        twin._captures, twin._structure = {}, structure(twin.source)
        for key, graph in self._captures.items():
            twin._captures[key] = copy.copy(graph)
            twin._captures[key].source = twin.source
        return twin

    def __getstate__(self) -> dict[str, Any]:
        """Without the captures, which are made anew where this is read."""
        return {"module": self.module, "shape": self.shape, "uncaptured": self.uncaptured}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Capture anew at the first use."""
        self.__dict__.update(state)
        self.source, self._lock = unwrapped(self.module), threading.RLock()
        self._captures, self._structure, self._changed = {}, None, False


def last_uses(steps: list[Step], output: Step) -> dict[Step, list[Step]]:
    """For each step the values that nobody needs after it; the output is kept."""
    place = {step: i for i, step in enumerate(steps)}
    uses: dict[Step, list[Step]] = {}
    for step in steps:
        if step is not output:
            uses.setdefault(max(step.users, key=place.__getitem__), []).append(step)
    return uses


def _weights(step: Step, values: Mapping[Step, Any]) -> tuple[Tensor, Tensor | None]:
    """Weight and bias of a weighted step, with the batch norm that it has taken in.

    A batch norm that stands alone is ``weight * x + bias``, one number each per channel.
    """
    weight, bias = step.arguments(values, "weight", "bias")
    norm = step if step.kind == BATCH_NORM else step.batch_norm
    if norm is None:
        return weight, bias
    mean, variance, eps = norm.arguments(values, "running_mean", "running_var", "eps")
    if norm is not step:
        with torch.no_grad():
            own = norm.arguments(values, "weight", "bias")
            return fuse_conv_bn_weights(weight, bias, mean, variance, eps, *own)
    scale = torch.rsqrt(variance + eps)
    if weight is not None:
        scale = scale * weight
    shift = -mean * scale
    return scale, shift if bias is None else shift + bias


def _note(
    record: Recording,
    step: Step,
    values: Mapping[Step, Any],
    weights: tuple[Tensor, Tensor | None] | None,
) -> None:
    """Record what ``step`` reads."""

    def given(number: int) -> Any:
        """The result if all that depends on the picture were this number."""
        filled = {other: torch.full_like(values[other], number) for other in step.varying}
        return step.compute({**values, **filled})

    record.inputs[step] = [values[other] for other in step.varying]
    if weights is not None:
        record.weights[step] = weights
    if step.kind == LAYER_NORM:
        record.norms[step] = _norm_parameters(step, values)
    if step.kind == SUM:
        added = any(isinstance(a, int | float) and a for a in step.args[:2])
        if step.varying != step.inputs or added:
            record.constants[step] = given(0)
    elif step.operation in JOINS:
        plain = step.operation in ("cat", "concat", "stack")
        if not plain or step.varying != tuple(dict.fromkeys(step.args[0])):
            moved = given(2) - given(1)
            record.constants[step] = (moved != 1).to(moved.dtype)
    elif step.operation in EXTREMES and len(step.varying) == 1 < len(step.inputs):
        result = step.compute(values)  # 1 where it is the constant's, a half where it is of both
        own = values[step.varying[0]].expand_as(result)
        (other,) = (values[one].expand_as(result) for one in step.inputs if one not in step.varying)
        record.constants[step] = (own != result).to(result) + (own == other).to(result) / 2


def _norm_parameters(step: Step, values: Mapping[Step, Any]) -> tuple[Any, ...]:
    """Of a norm the shape of its rows, each normalised alone, weight and bias, and epsilon."""
    x: Tensor = values[step.inputs[0]]
    weight, bias, eps = step.arguments(values, "weight", "bias", "eps")
    shape, groups = step.arguments(values, "normalized_shape", "num_groups")
    if shape is not None:
        return (*x.shape[: -len(shape)], -1), weight, bias, eps
    per_channel = (-1,) + (1,) * (x.ndim - 2)
    weight, bias = (v if v is None else v.view(per_channel) for v in (weight, bias))
    return (x.shape[0], groups or x.shape[1], -1), weight, bias, eps  # instance norm: each channel
