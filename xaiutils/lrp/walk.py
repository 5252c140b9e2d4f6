"""One walk back over a recorded pass, and its ledger.

Weighted steps (convolutions, linear layers, batch norms that stand alone) follow the rule that the
composite gives them; the rest has no choice (unweighted.py). Relevance that reaches no pixel is
booked: each term by its own formula where it arises, never as what is missing in the end.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from xaiutils.lrp.ledger import Ledger, Term
from xaiutils.lrp.plan import Plan
from xaiutils.lrp.rules import Part, Rule, Situation
from xaiutils.lrp.unweighted import PASSED_ON, SHARES, Walk, divide
from xaiutils.network.kinds import AVERAGE, LINEAR, MATMUL, PASS, PRODUCT, ROUTING, SUM, WEIGHTED
from xaiutils.network.step import Recording, Step


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
    graph, wanted, layers = plan.graph, set(read), dict[str, Tensor]()
    at = at or graph.output
    zero = start.new_zeros(at.pictures(start))
    ledger = Ledger(at.per_picture(start), zero, zero, zero, zero)
    walk = Walk(plan, record, ledger, bounds)
    arrived: dict[Step, Any] = {at: start}
    below = {at}  # relevance may stand at results not above zero
    for step in reversed(graph.steps):
        if step not in arrived:
            continue
        if step in wanted:
            layers[step.path] = arrived[step]
        if step is graph.input:
            break
        above = step not in below
        shares = _hand_down(walk, step, arrived.pop(step), above)
        for receiver, share in zip(plan.receivers(step), shares, strict=True):
            arrived[receiver] = _plus(arrived.get(receiver), share)
            if not _stays_above(plan, step, receiver, above):
                below.add(receiver)
        if forget:
            record.inputs.pop(step, None)
            record.outputs.pop(step, None)
    result = arrived[graph.input].contiguous()
    ledger.input = graph.input.per_picture(result)
    return Relevance(result, ledger, layers)


def _hand_down(walk: Walk, step: Step, relevance: Any, above: bool) -> tuple[Any, ...]:
    """The shares of the receivers."""
    if step.kind in PASSED_ON:
        return (relevance,)
    if step.kind in SHARES:
        return SHARES[step.kind](walk, step, relevance)
    record, rule, bounds = walk.record, walk.plan.rules[step], walk.bounds
    (weight, b), x = record.weights[step], record.inputs[step][0].detach()
    if rule.plain:
        z = record.outputs[step].detach()
        s = _divided(step, Part((), b, above=above), rule.epsilon, relevance, z, walk.ledger)
        (gradient,) = record.vjp(step, s)
        assert gradient is not None
        return (gradient.mul_(x),)
    if rule.needs_bounds and bounds is not None:  # carried through what stands before
        low, high = (walk.plan.graph.value_at(step.inputs[0], bound) for bound in bounds)
        bounds = torch.minimum(low, high), torch.maximum(low, high)
    situation = Situation(x, weight, b, step.inputs[0].nonnegative, bounds, above)
    return (_sum_of_parts(step, rule, situation, relevance, walk.ledger),)


def _stays_above(plan: Plan, step: Step, receiver: Step, above: bool) -> bool:
    """Whether ``receiver`` gets relevance only where its result is above zero, as ``step`` does."""
    if step.kind in WEIGHTED:
        return receiver.nonnegative and plan.rules[step].zero_at_zero
    if step.kind in (AVERAGE, SUM, MATMUL):  # a share is the receiver's result times a number
        return receiver.nonnegative
    if step.kind == PRODUCT:
        return above and receiver.nonnegative
    return above and (step.kind in (PASS, ROUTING) or step.operation in ("relu", "relu6"))


def _sum_of_parts(
    step: Step, rule: Rule, situation: Situation, relevance: Tensor, ledger: Ledger
) -> Tensor:
    """The shares of all parts of ``rule``."""
    parts, output = rule.parts(situation), None
    if any(part.where for part in parts):
        without = all(part.bias is None for part in parts)
        output = step.apply(situation.x, situation.w, None if without else situation.b)
        # An output of exactly zero has no sign: no part is meant for it.
        ledger.book(step, unreceived=step.per_picture(relevance * (output == 0)))
    total: Tensor | None = None
    for part in parts:
        meant = relevance
        if part.where and output is not None:
            meant = relevance * (output > 0 if part.where > 0 else output < 0)
        inputs, z = _denominator(step, part)
        s = _divided(step, part, rule.epsilon, meant, z.detach(), ledger)
        first, *others = torch.autograd.grad(z, inputs, s)
        share = first.mul_(inputs[0].detach())
        for x, gradient in zip(inputs[1:], others, strict=True):
            share.addcmul_(x.detach(), gradient)
        share = share if part.factor == 1 else share.mul_(part.factor)
        total = share if total is None else total.add_(share)
    assert total is not None
    return total


def _denominator(step: Step, part: Part) -> tuple[list[Tensor], Tensor]:
    """The inputs of ``part``, and its sum with its derivative by them."""
    inputs = [x.detach().requires_grad_() for x, _ in part.terms]
    with torch.enable_grad():
        z = step.apply(inputs[0], part.terms[0][1], part.bias)
        for x, (_, w) in zip(inputs[1:], part.terms[1:], strict=True):
            z = z + step.apply(x, w, None)
    return inputs, z


def _divided(
    step: Step, part: Part, stabiliser: float, relevance: Tensor, z: Tensor, ledger: Ledger
) -> Tensor:
    """Relevance divided by the denominator of ``part``; what that takes is booked."""
    s, *kept = divide(step, relevance, z, stabiliser, part.sign, part.above)
    absorbed, unreceived = (part.factor * term for term in kept)
    bias: Term = 0
    if part.bias is not None:  # the sum over outputs of s_j b_j
        channels = s.flatten(2).sum(2) if step.kind != LINEAR and s.ndim > 2 else s
        bias = part.factor * step.per_picture(channels * part.bias)
    ledger.book(step, bias, absorbed, unreceived)
    return s


def _plus(a: Any, b: Any) -> Any:
    if a is None or b is None:
        return b if a is None else a
    return a + b if isinstance(a, Tensor) else tuple(_plus(x, y) for x, y in zip(a, b, strict=True))
