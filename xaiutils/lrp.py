"""Layer-wise relevance propagation: one walk back over a recorded pass, and its ledger.

Weighted steps (convolutions, linear layers, batch norms that stand alone) follow the rule that the
composite gives them (rules.py, composites.py); the rest has no choice (shares.py). Relevance that
reaches no pixel is booked: each term by its own formula where it arises, never as what is missing
in the end.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from xaiutils.graph import Graph
from xaiutils.ledger import Ledger
from xaiutils.operations import LINEAR
from xaiutils.plan import Plan
from xaiutils.rules import Part, Rule, Situation
from xaiutils.shares import PASSED_ON, SHARES, divide, per_image
from xaiutils.steps import Recording, Step


@dataclass
class Relevance:
    """What `propagate` returns.

    Attributes:
        map: (N, C, H, W), signed, in units of the start (logits by default).
        ledger: How the start was spent.
        layers: Relevance at the outputs of the steps that were asked for, by path.
    """

    map: Tensor
    ledger: Ledger
    layers: dict[str, Tensor] = field(default_factory=dict)


def propagate(
    plan: Plan,
    record: Recording,
    start: Tensor,
    *,
    at: Step | None = None,
    bounds: tuple[Tensor, Tensor] | None = None,
    read: Iterable[Step] = (),
    forget: bool = False,
) -> Relevance:
    """Walk back from the logits, or from a layer, to the picture.

    Args:
        plan: The rules; ``record`` must come from a run with its ``inputs_of`` and ``graph_of``.
        record: The forward pass.
        start: (N, K), the relevance that each logit starts with; or of the shape of ``at``.
        at: The step at whose output relevance starts; by default the logits.
        bounds: Lowest and highest possible picture, (1, C, 1, 1), for the z_box rule.
        read: Steps at whose output the relevance is wanted too.
        forget: Free the recording on the way; it can then be walked only once.
    """
    graph, wanted = plan.graph, set(read)
    zero = start.new_zeros(start.shape[(at or graph.output).batch])
    ledger = Ledger(per_image(start, at or graph.output), zero, zero, zero, zero)
    arrived: dict[Step, Any] = {at or graph.output: start}
    layers: dict[str, Tensor] = {}
    for step in reversed(graph.steps):
        if step not in arrived:
            continue
        if step in wanted:
            layers[step.path] = arrived[step]
        if step is graph.input:
            break
        shares = _hand_down(plan, record, step, arrived.pop(step), ledger, bounds)
        for receiver, share in zip(plan.receivers(step), shares, strict=True):
            arrived[receiver] = _plus(arrived.get(receiver), share)
        if forget:
            record.inputs.pop(step, None)
            record.outputs.pop(step, None)
    result = arrived[graph.input].contiguous()
    ledger.input = per_image(result, graph.input)
    return Relevance(result, ledger, layers)


def _hand_down(
    plan: Plan,
    record: Recording,
    step: Step,
    relevance: Any,
    ledger: Ledger,
    bounds: tuple[Tensor, Tensor] | None,
) -> tuple[Any, ...]:
    """The shares of ``step``'s receivers."""
    if step.kind in PASSED_ON:
        return (relevance,)
    if step.kind in SHARES:
        return SHARES[step.kind](plan, record, step, relevance, ledger)
    rule, (weight, b), x = plan.rules[step], record.weights[step], record.inputs[step][0].detach()
    if rule.plain:
        s, absorbed, unreceived = divide(
            step, relevance, record.outputs[step].detach(), rule.epsilon
        )
        ledger.book(step, _bias_share(step, s, b), absorbed, unreceived)
        return (record.vjp(step, s)[0].mul_(x),)
    if rule.needs_bounds and bounds is not None:
        bounds = _bounds_at(plan.graph, step, bounds)
    situation = Situation(x, weight, b, step.inputs[0].nonnegative, bounds)
    return (_sum_of_parts(step, rule, situation, relevance, ledger),)


def _sum_of_parts(
    step: Step, rule: Rule, situation: Situation, relevance: Tensor, ledger: Ledger
) -> Tensor:
    total: Tensor | None = None
    parts = rule.parts(situation)
    output = None
    if any(part.where is not None for part in parts):
        without = all(part.bias is None for part in parts)
        output = step.apply(situation.x, situation.w, None if without else situation.b)
    for part in parts:
        meant = relevance
        if part.where is not None and output is not None:
            meant = relevance * part.where(output)
        share = _share(step, part, rule.epsilon, meant, ledger)
        total = share if total is None else total.add_(share)
    if output is not None:  # an output of exactly zero has no sign: no part is meant for it
        zero = torch.zeros_like(ledger.bias)
        ledger.book(step, zero, zero, per_image(relevance * (output == 0), step))
    assert total is not None
    return total


def _share(step: Step, part: Part, stabiliser: float, relevance: Tensor, ledger: Ledger) -> Tensor:
    inputs = [x.detach().requires_grad_() for x, _ in part.terms]
    with torch.enable_grad():
        z = step.apply(inputs[0], part.terms[0][1], part.bias)
        for x, (_, w) in zip(inputs[1:], part.terms[1:], strict=True):
            z = z + step.apply(x, w, None)
    s, absorbed, unreceived = divide(step, relevance, z.detach(), stabiliser, part.sign)
    bias = _bias_share(step, s, part.bias)
    ledger.book(step, part.factor * bias, part.factor * absorbed, part.factor * unreceived)
    gradients = torch.autograd.grad(z, inputs, s)
    total = gradients[0].mul_(inputs[0].detach())
    for x, gradient in zip(inputs[1:], gradients[1:], strict=True):
        total.addcmul_(x.detach(), gradient)
    return total if part.factor == 1 else total.mul_(part.factor)


def _bias_share(step: Step, s: Tensor, bias: Tensor | None) -> Tensor:
    """The sum over outputs of s_j b_j, (N,)."""
    if bias is None:
        return s.new_zeros(s.shape[step.batch])
    if step.kind != LINEAR:
        s = s.flatten(2).sum(2)
    return per_image(s * bias, step)


def _bounds_at(graph: Graph, step: Step, bounds: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """The bounds of the picture, carried through what stands between it and the first layer."""
    low, high = (graph.value_at(step.inputs[0], bound) for bound in bounds)
    return torch.minimum(low, high), torch.maximum(low, high)


def _plus(a: Any, b: Any) -> Any:
    if a is None or b is None:
        return b if a is None else a
    return a + b if isinstance(a, Tensor) else tuple(_plus(x, y) for x, y in zip(a, b, strict=True))
