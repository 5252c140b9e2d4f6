"""The plan of a walk back: which steps relevance visits, by which rule, and what that needs."""

from __future__ import annotations

import copy

import torch

from xaiutils.lrp.composites import Composite
from xaiutils.lrp.rules import Rule
from xaiutils.network.graph import Graph
from xaiutils.network.kinds import (
    AVERAGE,
    CONSTANT,
    GATE,
    LAYER_NORM,
    MATMUL,
    PASS,
    PRODUCT,
    QUOTIENT,
    ROUTING,
    SOFTMAX,
    SUM,
    UNKNOWN,
    WEIGHTED,
)
from xaiutils.network.step import GraphError, Step
from xaiutils.support import checks

# Their shares use result and derivative.
_BY_GRADIENT = (AVERAGE, LAYER_NORM, MATMUL, ROUTING, SOFTMAX, SUM)
_BOUNDED = ("tanh", "hardtanh", "relu6", "softsign", "sign")


class Plan:
    """What relevance will need of a forward pass: the rule of each step that it will visit.

    Args:
        graph: The captured network.
        composite: Gives each weighted step its rule.
        head_after: The CAM layer; everything after it is the head.
        gates: ``"signal"``: of a product the signal takes all and its gate counts as a constant, of
            two signals each takes half (the uniform rule of AttnLRP); ``"half"``: always so.

    Raises:
        GraphError: A step on the way from the logits to the picture has no rule; it is named.
    """

    def __init__(
        self, graph: Graph, composite: Composite, head_after: Step | None, gates: str = "signal"
    ) -> None:
        """Visit the steps backwards once and look up their rules."""
        self.graph, self.composite = graph, composite
        self.gates = checks.choice("gates", gates, ("signal", "half"))
        self.visited = self._visit()
        self.rules = self._look_up(set() if head_after is None else graph.after(head_after))
        plain = {step for step, rule in self.rules.items() if rule.plain}
        proportional = {s for s in self.visited if s.kind in _BY_GRADIENT}
        self.graph_of = (plain | proportional) - {graph.input}
        self.inputs_of = set(self.rules) - plain

    def receivers(self, step: Step) -> tuple[Step, ...]:
        """The inputs of ``step`` that relevance is handed to."""
        if step.kind == MATMUL and self.composite.attention == "value":
            values = tuple(i for i in step.varying if i.behind().kind != SOFTMAX)
            return values if len(values) == 1 else step.varying
        if step.kind == QUOTIENT:
            return step.varying[:1]
        if step.kind != PRODUCT or len(step.varying) < 2 or self.gates == "half":
            return step.varying
        signals = tuple(i for i in step.varying if not _is_gate(i, step))
        if len(signals) > 1:  # a gate may be written out, and is bounded then
            signals = tuple(i for i in signals if not _is_bounded(i)) or signals
        return signals or tuple(i for i in step.varying if not _is_bounded(i)) or step.varying

    def below(self, step: Step) -> Plan:
        """The plan of a walk that starts at the result of ``step``."""
        twin, twin.visited = copy.copy(self), {step}
        for other in reversed(self.graph.steps):
            if other in twin.visited and other is not self.graph.input:
                twin.visited.update(self.receivers(other))
        twin.graph_of, twin.inputs_of = (
            steps & twin.visited for steps in (self.graph_of, self.inputs_of)
        )
        return twin

    def _visit(self) -> set[Step]:
        visited, last = {self.graph.output}, self.graph.output.behind()
        for step in reversed(self.graph.steps):
            if step not in visited or step is self.graph.input:
                continue
            final = step is last and step.kind in (SOFTMAX, GATE)  # made of logits: start there
            if final or step.kind in (CONSTANT, UNKNOWN):
                raise GraphError(
                    f"no relevance rule for {step.operation}, at {step.path} in the network; put "
                    "an operation that has one in its place (a final softmax or sigmoid can be "
                    "left out), or use a CAM alone"
                )
            visited.update(self.receivers(step))
        if self.graph.input not in visited:
            raise GraphError("the logits must depend on the images, but no relevance reaches them")
        return visited

    def _look_up(self, head: set[Step]) -> dict[Step, Rule]:
        rules: dict[Step, Rule] = {}
        behind: set[Step] = set()  # a weighted step stands between these and the picture
        for step in self.graph.steps:
            covered = not behind.isdisjoint(step.inputs)
            if step.kind in WEIGHTED and step in self.visited:
                place = "head" if step in head else "body"
                rules[step] = self.composite.rule_for(step, place, first=not covered)
                if covered and rules[step].needs_bounds:
                    raise GraphError(
                        f"z_box must stand at the layer that reads the images, not {step}"
                    )
                covered = True
            if covered:
                behind.add(step)
        return rules


def _is_gate(step: Step, product: Step) -> bool:
    """Whether a factor says how much of the other passes: a sigmoid, or one value per channel."""
    small, whole = torch.Size(step.shape or ()), torch.Size(product.shape or ())
    if small.numel() < whole.numel():
        return True
    return step.behind().kind in (GATE, SOFTMAX)


def _is_bounded(step: Step) -> bool:
    """Whether it is what a gate is, but for constants: ``relu6(x + 3) / 6``."""
    step = step.behind((ROUTING, PASS, PRODUCT, SUM))
    return step.kind in (GATE, SOFTMAX) or step.operation in _BOUNDED
