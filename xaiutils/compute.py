"""How one step of a traced network is computed, recorded, and judged by its sign."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from xaiutils.operations import (
    AVERAGE,
    BATCH_NORM,
    GATE,
    LAYER_NORM,
    NONNEGATIVE,
    PASS,
    PRODUCT,
    RELU,
    RESPONSE_NORM,
    ROUTING,
    SOFTMAX,
    SUM,
    WEIGHTED,
    batch_norm_parameters,
    lookup,
)
from xaiutils.steps import Recording, Step


def last_uses(steps: list[Step], output: Step) -> dict[Step, list[Step]]:
    """For each step the values that nobody needs after it; the output is kept."""
    last = {step: step.users[-1] if step.users else step for step in steps if step is not output}
    uses: dict[Step, list[Step]] = {}
    for step, user in last.items():
        uses.setdefault(user, []).append(step)
    return uses


def is_nonnegative(step: Step) -> bool:
    """Whether the result cannot be negative, whatever the picture: known from the graph alone."""
    if lookup(NONNEGATIVE, step.target) is not None or step.kind in (GATE, SOFTMAX):
        return True
    keeps_sign = step.kind in (ROUTING, AVERAGE, PASS, RESPONSE_NORM)
    if step.kind in (SUM, PRODUCT):  # two pictures; with a number nothing is known
        subtracts = step.operation == "sub" or "alpha" in step.node.kwargs
        keeps_sign = not subtracts and len(step.inputs) == 2
    return keeps_sign and bool(step.inputs) and all(other.nonnegative for other in step.inputs)


def note(
    record: Recording,
    step: Step,
    env: Mapping[fx.Node, Any],
    weights: tuple[Tensor, Tensor | None] | None,
) -> None:
    """Record what ``step`` reads."""
    record.inputs[step] = [env[other.node] for other in step.varying]
    if weights is not None:
        record.weights[step] = weights
    if step.kind == LAYER_NORM:
        record.norms[step] = _norm_parameters(step, env)
    if step.kind == SUM and not _only_pictures(step):
        zeros = {other.node: torch.zeros_like(env[other.node]) for other in step.varying}
        record.constants[step] = compute(step, {**env, **zeros}, None, False)
    elif step.kind == ROUTING and _joins_constants(step):
        fed = {o.node: torch.full_like(env[o.node], o in step.varying) for o in step.inputs}
        record.constants[step] = 1 - compute(step, {**env, **fed}, None, False)


def _norm_parameters(
    step: Step, env: Mapping[fx.Node, Any]
) -> tuple[tuple[int, ...], Tensor | None, Tensor | None, float | None]:
    """Of a norm the shape of its rows, each normalised alone, weight and bias, and epsilon."""
    module: Any = step.module
    centred = "rms" not in step.operation.lower()
    names = ("weight", *(("bias",) if centred else ()), "eps")
    if module is not None:
        known: Any = {name: getattr(module, name) for name in names}
        first = getattr(module, "normalized_shape", None) or getattr(module, "num_groups", None)
    else:
        names = ("first", *names)
        given = dict(zip(names, step.node.args[1:], strict=False)) | step.node.kwargs
        known = fx.node.map_arg(given, lambda node: env[node])
        first = next(known[n] for n in ("first", "normalized_shape", "num_groups") if n in known)
    x = env[step.inputs[0].node]
    weight, bias = known.get("weight"), known.get("bias")
    eps = known.get("eps", 1e-5 if centred else None)
    if isinstance(first, Sequence):
        return (*x.shape[: -len(first)], -1), weight, bias, eps
    per_channel = (-1,) + (1,) * (x.ndim - 2)  # instance norm: one channel a group
    weight, bias = (v if v is None else v.view(per_channel) for v in (weight, bias))
    return (x.shape[0], first or x.shape[1], -1), weight, bias, eps


def weights_of(step: Step, env: Mapping[fx.Node, Any]) -> tuple[Tensor, Tensor | None]:
    """Weight and bias of a weighted step, with the batch norm that it has taken in."""
    module: Any = step.module
    if module is None:
        args = fx.node.map_arg((*step.node.args, None, None), lambda node: env[node])
        named = fx.node.map_arg(step.node.kwargs, lambda node: env[node])
        return named.get("weight", args[1]), named.get("bias", args[2])  # type: ignore[return-value]
    if step.kind == BATCH_NORM:
        return batch_norm_parameters(module)
    weight, bias = module.weight, module.bias
    if step.batch_norm is not None:
        norm: Any = step.batch_norm
        with torch.no_grad():
            weight, bias = fuse_conv_bn_weights(
                weight, bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
            )
    return weight, bias


def compute(
    step: Step,
    env: Mapping[fx.Node, Any],
    weights: tuple[Tensor, Tensor | None] | None,
    overwrite: bool,
) -> Any:
    """The result of one step, from the values in ``env``."""
    if weights is not None:
        return step.apply(env[step.inputs[0].node], *weights)
    if step.kind == PASS:
        return env[step.inputs[0].node]
    if overwrite:
        return torch.relu_(env[step.inputs[0].node])
    args = fx.node.map_arg(step.node.args, lambda node: env[node])
    kwargs = fx.node.map_arg(step.node.kwargs, lambda node: env[node])
    if step.module is not None:
        return step.module(*args, **kwargs)
    if step.node.op == "call_method":
        return getattr(args[0], str(step.node.target))(*args[1:], **kwargs)
    return step.node.target(*args, **kwargs)  # type: ignore[operator]


def may_overwrite(step: Step, taken: Container[Step]) -> bool:
    """Whether a ReLU may work in place: nobody else reads what the layer before it computed."""
    if lookup(RELU, step.target) is None:
        return False
    before = step.inputs[0]
    while before.kind == PASS and before.users == [step] and before not in taken:
        before, step = before.inputs[0], before
    return before.kind in WEIGHTED and before.users == [step] and before not in taken


def _joins_constants(step: Step) -> bool:
    """Whether some of the result's places hold no picture: padding, or a constant joined on."""
    joins = step.target in (torch.cat, torch.concat, torch.stack)
    pads = isinstance(step.module, nn.ZeroPad2d) or step.target is F.pad
    return pads or (joins and step.varying != step.inputs)


def _only_pictures(step: Step) -> bool:
    """Whether every summand depends on the picture."""
    values = (*step.node.args, *step.node.kwargs.values())
    numbers = [a for a in values if isinstance(a, int | float) and a != 0]
    return not numbers and step.varying == step.inputs
