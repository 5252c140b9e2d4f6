"""The network as a list of steps: captured once per picture size, run once per explanation.

`Graph` holds the steps that PyTorch read from a module (capture.py), each with its kind
(operations.py); `Graph.run` computes them in order and records what the walk back will ask for.
Weights are read from the caller's module at the start of each run, so it never explains by weights
that have since changed. `Network` keeps the captures of one module, and makes them anew where the
module's structure, settings or hooks have changed.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Container, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from xaiutils.network.capture import Captured, NotCaptured, capture, require_eval, unwrapped
from xaiutils.network.compute import compute, last_uses, may_overwrite, note, weights_of
from xaiutils.network.kinds import BATCH_NORM, CONSTANT, PASS, WEIGHTED
from xaiutils.network.step import GraphError, Recording, Step, as_leaf, detached
from xaiutils.network.structure import structure
from xaiutils.network.uncaptured import Uncaptured
from xaiutils.support import asking, checks

_FOLDED = ("conv1d", "conv2d", "conv3d")


class Graph:
    """A captured network: ``steps`` in the order of computation, from ``input`` to ``output``."""

    changed = False  # since its module was wrapped

    def __init__(self, module: nn.Module, shape: tuple[int, ...]) -> None:
        """Capture ``module`` for pictures of ``shape`` (C, H, W), or (C, ...).

        Raises:
            GraphError: The module cannot be captured (the message says what to give instead), does
                not take pictures of this shape, or does not return one tensor.
            ValueError: The module is in train mode.
        """
        require_eval(module)
        self.source = module
        kind, device = dtype(module), _device(module)
        with torch.inference_mode(False):
            x = torch.empty((2, *shape), dtype=kind, device=device)
        found: Captured = capture(module, x)
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
            TypeError, ValueError, GraphError: There is none; the nearest names are listed.
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
        return next(value for found, value in self._values(x) if found is step)

    def mixing(self, x: Tensor) -> Step | None:
        """The first step whose result for ``x[0]`` of (N, ...) depends on the others, or None."""
        with torch.no_grad():
            for (step, among), (_, alone) in zip(self._values(x), self._values(x[:1]), strict=True):
                if step.kind != CONSTANT and step.before == 1 and isinstance(among, Tensor):
                    first = among.narrow(step.batch, 0, alone.shape[step.batch]).double()
                    if not torch.allclose(first, alone.double(), 1e-3, 1e-6, equal_nan=True):
                        return step
        return None

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
        record = Recording(logits=x)
        leaves = (leaf,) if isinstance(leaf, Step) else tuple(leaf)
        live = {step for one in leaves for step in self.after(one)}
        step = self.input
        # Outside inference mode, since its tensors can never be differentiated.
        with torch.inference_mode(False):
            try:
                x = x.clone() if x.is_inference() else x.detach()
                for step, value in self._values(x, record, inputs_of, graph_of, leaves, live):
                    if step is self.output:
                        record.logits = value
            except torch.OutOfMemoryError:
                raise
            except RuntimeError as error:
                raise GraphError(
                    f"x must fit the network; {checks.shape(x)} {x.dtype} on {x.device} failed "
                    f"after {step}: {error}"
                ) from error
        return record

    def held(self, x: Tensor) -> dict[Step, Tensor]:
        """The tensors (...,) that the module holds now, by the steps that stand for them."""
        named: dict[str, Any] = dict(self.source.named_parameters(remove_duplicate=False))
        named |= dict(self.source.named_buffers(remove_duplicate=False))
        found = {}
        for step in self.steps:
            if step.holds:
                own = named.get(step.holds)
                own = self.constants[step.holds].to(x.device) if own is None else own
                found[step] = own.detach()
        return found

    def _values(
        self,
        x: Tensor,
        record: Recording | None = None,
        inputs_of: Container[Step] = (),
        graph_of: Container[Step] = (),
        leaves: Container[Step] = (),
        live: Container[Step] = (),
    ) -> Iterator[tuple[Step, Any]]:
        """Compute the steps in order; each value is forgotten after its last use."""
        values: dict[Step, Any] = {self.input: x, **self.held(x)}
        for step in self.steps:
            attached = step in graph_of
            read = values
            if attached:  # reads values of its own, so that its derivative ends at this step
                read = {**values, **{other: as_leaf(values[other]) for other in step.varying}}
            weights = weights_of(step, read) if step.kind in WEIGHTED else None
            if record is not None and (attached or step in inputs_of):
                note(record, step, read, weights)
            if step.function is not None:
                overwrite = step not in live and may_overwrite(step, graph_of)
                with torch.set_grad_enabled(attached or step in live):
                    values[step] = compute(step, read, weights, overwrite)
            if attached and record is not None:
                record.outputs[step] = values[step]
                if step not in live:
                    values[step] = detached(values[step])
            if step in leaves and record is not None:
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

        Raises:
            GraphError, NotCaptured: As `Graph` does.
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
            if now != self._structure:
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


def dtype(module: nn.Module) -> torch.dtype:
    """The floating-point type of the module's parameters; float32 where it has none."""
    floats = (t.dtype for t in (*module.parameters(), *module.buffers()) if t.is_floating_point())
    return next(floats, torch.float32)


def _device(module: nn.Module) -> torch.device:
    tensors = (*module.parameters(), *module.buffers())
    return tensors[0].device if tensors else torch.device("cpu")
