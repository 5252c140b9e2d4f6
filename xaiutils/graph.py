"""The network as a list of steps: traced once, run forward once per explanation.

`Graph` reads a module with torch.fx and names every operation's kind (see operations.py);
`Graph.run` computes the steps in order and records what the walk back will ask for. Nothing is
hooked and nothing is written to the caller's module: the traced copy borrows the caller's
parameters at the start of each run, so it never explains by weights that have since changed.
"""

from __future__ import annotations

import math
import operator
import sys
from collections import Counter
from collections.abc import Container, Iterator
from typing import Any

import torch
from torch import Tensor, fx, nn

from xaiutils import checks, passes
from xaiutils.compute import compute, is_nonnegative, last_uses, may_overwrite, note, weights_of
from xaiutils.operations import (
    BATCH_NORM,
    CONSTANT,
    CONVOLUTION,
    PASS,
    ROUTING,
    TRANSPOSED,
    UNKNOWN,
    WEIGHTED,
    is_of_its_kind,
    kind_of,
)
from xaiutils.steps import GraphError, Recording, Step, as_leaf, detached, holds_tensors
from xaiutils.tracing import (
    Tracer,
    borrow,
    dtype,
    require_eval,
    structural_copy,
    take_out_of_place,
    where_stopped,
    why_untraceable,
)

_SMALL = 1_200_000  # weights, and numbers in the pictures: the scenes' 23 of 128 x 128
_BATCH = 23  # images in the run that learns shapes: a number that no layer has by itself


class Graph:
    """A traced network: ``steps`` in the order of computation, from ``input`` to ``output``."""

    def __init__(self, module: nn.Module, shape: tuple[int, ...]) -> None:
        """Trace ``module`` for pictures of ``shape`` (C, H, W).

        Raises:
            GraphError: The module cannot be traced (the message says what to give instead), does
                not take pictures of this shape, or does not return one tensor of logits (N, K).
            ValueError: The module is in train mode.
        """
        self.source = module
        require_eval(module)
        tracer = Tracer()
        try:
            self.copy = structural_copy(module)
            nodes = list(tracer.trace(self.copy).nodes)
        except Exception as error:  # torch.fx passes on whatever the forward method raises
            said = str(error).split(". ")[0]  # torch.fx goes on with advice of its own
            raise GraphError(
                f"module must be traceable by torch.fx, {type(module).__name__} is not: {said}"
                f"{where_stopped(error)}; {why_untraceable(module)}"
            ) from error
        take_out_of_place(nodes, self.copy)
        self.steps = self._read(nodes, tracer)
        self._last_use = last_uses(self.steps, self.output)
        self._measure(shape)
        self._classify(Counter(str(node.target) for node in nodes if node.op == "call_module"))

    def _read(self, nodes: list[fx.Node], tracer: Tracer) -> list[Step]:
        steps: dict[fx.Node, Step] = {}
        for node in nodes[:-1]:
            module = self.copy.get_submodule(str(node.target)) if node.op == "call_module" else None
            kind = kind_of(node.target if module is None else module)
            kind = CONSTANT if node.op == "get_attr" else kind
            if kind == BATCH_NORM and module is not None and module.running_mean is None:
                kind = UNKNOWN  # it divides by the batch's own variance, in eval mode too
            inputs = tuple(steps[other] for other in node.all_input_nodes)
            step = Step(
                node, node.name, tracer.returned_by.get(node, node.name), kind, inputs, module
            )
            for other in inputs:
                other.users.append(step)
            steps[node] = step
        places = [step for step in steps.values() if step.node.op == "placeholder"]
        result = nodes[-1].args[0]
        if len(places) != 1 or not isinstance(result, fx.Node):
            raise GraphError(
                "module must take one tensor of images and return one tensor of logits, "
                f"got {len(places)} arguments and {_returned(result)} returned"
            )
        self.input, self.output = places[0], steps[result]
        self.input.kind = ROUTING
        self._names = {step.name: step for step in steps.values()}
        self._names |= {path: steps[node] for path, node in tracer.results.items()}
        return list(steps.values())

    def _measure(self, shape: tuple[int, ...]) -> None:
        """Learn every step's shape from a run on the meta device, which computes nothing.

        A small network on small pictures really runs, on zeros: the meta device needs torch's
        compiler, and to import that takes longer, a second.
        """
        step: Step | None = None
        tensors = [*self.source.parameters(), *self.source.buffers()]
        small = max(sum(t.numel() for t in tensors), _BATCH * math.prod(shape)) <= _SMALL
        real = small and "torch._dynamo" not in sys.modules
        if real:
            borrow(self.copy, self.source)
        device = tensors[0].device if real and tensors else "meta"
        try:
            x = torch.zeros((_BATCH, *shape), device=device, dtype=dtype(self.copy))
            for step, value in self._values(x):
                if isinstance(value, Tensor):
                    sizes = list(value.shape)
                    step.batch = next((i for i, s in enumerate(sizes) if s % _BATCH == 0), 0)
                    sizes[step.batch : step.batch + 1] = [1] if sizes else []
                    step.shape = tuple(sizes)
                elif not holds_tensors(value):
                    step.kind = CONSTANT  # a size or the like: nothing of the picture is in it
        except Exception as error:  # whatever the network's own code raises
            last = "its input" if step is None else step
            raise GraphError(
                f"module must take images (N, {', '.join(map(str, shape))}); after {last}: {error}"
            ) from error
        if self.output.shape is None or len(self.output.shape) != 2:
            raise GraphError(
                f"module must return logits (N, K), got shape {self.output.shape} for one image"
            )

    def _classify(self, calls: Counter[str]) -> None:
        """Find what does not depend on the picture, signs, and the batch norms to fold."""
        for step in self.steps:
            if step.inputs and not step.varying:
                step.kind = CONSTANT
            if step.kind == BATCH_NORM:
                before = step.inputs[0]
                alone = before.kind == CONVOLUTION and before.users == [step]
                alone = alone and not isinstance(before.module, TRANSPOSED)
                if alone and before.module and calls[str(before.node.target)] == 1:
                    before.batch_norm, step.kind = step.module, PASS
            if step.operation in ("truediv", "div") and step.varying != step.inputs[:1]:
                step.kind = UNKNOWN  # a picture in the denominator is no scaling
            if step.kind in WEIGHTED and step.varying != step.inputs[:1]:
                step.kind = UNKNOWN  # weights made from the picture: not linear in it
            if not is_of_its_kind(step):
                step.kind = UNKNOWN  # padding with a number, cubic weights of either sign
            step.nonnegative = is_nonnegative(step)

    @property
    def classes(self) -> int:
        """The number of logits."""
        return int(self.output.shape[1])  # type: ignore[index]

    def find(self, layer: str) -> Step:
        """The step called ``layer``: a module's path (its last call) or a step's own name.

        Raises:
            TypeError, ValueError: There is none; the nearest names are listed.
        """
        return self._names[checks.choice("layer", layer, self._names)]

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
        borrow(self.copy, self.source)
        return next(value for found, value in self._values(x) if found is step)

    def run(
        self,
        x: Tensor,
        *,
        inputs_of: Container[Step] = (),
        graph_of: Container[Step] = (),
        leaf: Step | None = None,
    ) -> Recording:
        """One forward pass of ``x`` (N, C, H, W), normalised.

        Args:
            x: The images; left as they are.
            inputs_of: Steps whose inputs and weights are recorded.
            graph_of: Steps recorded with the gradient graph between inputs and result as well, so
                that ``Recording.vjp`` need not compute them again.
            leaf: The step with respect to whose result the logits can be differentiated.

        Raises:
            GraphError: ``x`` does not fit the network.
            ValueError: The module is in train mode.
            Cancelled: The caller's `xaiutils.passes.watch` says so.
        """
        require_eval(self.source)
        borrow(self.copy, self.source)
        passes.asked(len(x))
        record = Recording(logits=x)
        live = set() if leaf is None else self.after(leaf)
        step = self.input
        # Outside inference mode, since its tensors can never be differentiated.
        with torch.inference_mode(False):
            try:
                x = x.clone() if x.is_inference() else x.detach()
                for step, value in self._values(x, record, inputs_of, graph_of, leaf, live):
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

    def _values(
        self,
        x: Tensor,
        record: Recording | None = None,
        inputs_of: Container[Step] = (),
        graph_of: Container[Step] = (),
        leaf: Step | None = None,
        live: Container[Step] = (),
    ) -> Iterator[tuple[Step, Any]]:
        """Compute the steps in order; each value is forgotten after its last use."""
        env: dict[fx.Node, Any] = {self.input.node: x}
        for step in self.steps:
            attached = step in graph_of
            read: dict[fx.Node, Any] = env
            if attached:  # reads values of its own, so that its derivative ends at this step
                read = {**env, **{other.node: as_leaf(env[other.node]) for other in step.varying}}
            weights = weights_of(step, read) if step.kind in WEIGHTED else None
            if record is not None and (attached or step in inputs_of):
                note(record, step, read, weights)
            if step.node.op == "get_attr":
                constant = operator.attrgetter(str(step.node.target))(self.copy)
                env[step.node] = constant.to("meta") if x.is_meta else constant
            elif step is not self.input:
                overwrite = step not in live and may_overwrite(step, graph_of)
                with torch.set_grad_enabled(attached or step in live):
                    env[step.node] = compute(step, read, weights, overwrite)
                if x.is_meta and isinstance(env[step.node], Tensor):
                    env[step.node] = env[step.node].to("meta")  # what the forward method makes
            if attached and record is not None:
                record.outputs[step] = env[step.node]
                if step not in live:
                    env[step.node] = detached(env[step.node])
            if step is leaf and record is not None:
                env[step.node] = record.leaf = env[step.node].detach().requires_grad_()
            yield step, env[step.node]
            for done in self._last_use.get(step, ()):
                del env[done.node]


def _returned(result: Any) -> str:
    """What a network returns, in words: of a dict the keys."""
    if isinstance(result, dict):
        return f"a dict of {', '.join(map(str, result))}"
    return "a tensor" if isinstance(result, fx.Node) else f"a {type(result).__name__}"
