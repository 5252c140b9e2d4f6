"""How one step of a captured network is computed and recorded."""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.fusion import fuse_conv_bn_weights

from xaiutils.network.kinds import (
    BATCH_NORM,
    EXTREMES,
    JOINS,
    LAYER_NORM,
    PASS,
    SUM,
    WEIGHTED,
    batch_norm_parameters,
)
from xaiutils.network.step import Recording, Step, detached, filled


def last_uses(steps: list[Step], output: Step) -> dict[Step, list[Step]]:
    """For each step the values that nobody needs after it; the output is kept."""
    place = {step: i for i, step in enumerate(steps)}
    uses: dict[Step, list[Step]] = {}
    for step in steps:
        if step is not output:
            uses.setdefault(max(step.users, key=place.__getitem__), []).append(step)
    return uses


def note(
    record: Recording,
    step: Step,
    values: Mapping[Step, Any],
    weights: tuple[Tensor, Tensor | None] | None,
) -> None:
    """Record what ``step`` reads."""
    record.inputs[step] = [values[other] for other in step.varying]
    if weights is not None:
        record.weights[step] = weights
    if step.kind == LAYER_NORM:
        record.norms[step] = _norm_parameters(step, values)
    if step.kind == SUM:
        zeros = {other: torch.zeros_like(values[other]) for other in step.varying}
        if step.varying != step.inputs or any(
            isinstance(a, int | float) and a for a in step.args[:2]
        ):
            record.constants[step] = step.compute({**values, **zeros})
    elif step.operation in JOINS and _joins_constants(step):
        ones, twos = (
            {other: torch.full_like(values[other], n) for other in step.varying} for n in (1, 2)
        )
        moved = step.compute({**values, **twos}) - step.compute({**values, **ones})
        record.constants[step] = (moved != 1).to(moved.dtype)
    elif step.operation in EXTREMES and len(step.varying) == 1 < len(step.inputs):
        record.constants[step] = _won_by_constant(step, values)


def _joins_constants(step: Step) -> bool:
    """Whether some of the result's places hold no picture."""
    plain = step.operation in ("cat", "concat", "stack")
    return not plain or step.varying != tuple(dict.fromkeys(step.args[0]))


def _won_by_constant(step: Step, values: Mapping[Step, Any]) -> Tensor:
    """1 where a maximum or minimum is a constant's, a half where it is that of both."""
    result = step.compute(values)
    own = values[step.varying[0]].expand_as(result)
    (other,) = (values[one].expand_as(result) for one in step.inputs if one not in step.varying)
    return (own != result).to(result) + ((own == other).to(result) / 2)


def _norm_parameters(
    step: Step, values: Mapping[Step, Any]
) -> tuple[tuple[int, ...], Tensor | None, Tensor | None, float | None]:
    """Of a norm the shape of its rows, each normalised alone, weight and bias, and epsilon."""
    given = {key: filled(part, values) for key, part in step.given.items()}
    x: Tensor = values[step.inputs[0]]
    weight, bias, eps = given["weight"], given.get("bias"), given.get("eps")
    if "normalized_shape" in given:
        return (*x.shape[: -len(given["normalized_shape"])], -1), weight, bias, eps
    per_channel = (-1,) + (1,) * (x.ndim - 2)  # instance norm: one channel a group
    weight, bias = (v if v is None else v.view(per_channel) for v in (weight, bias))
    return (x.shape[0], given.get("num_groups", x.shape[1]), -1), weight, bias, eps


def weights_of(step: Step, values: Mapping[Step, Any]) -> tuple[Tensor, Tensor | None]:
    """Weight and bias of a weighted step, with the batch norm that it has taken in."""
    given = {key: filled(part, values) for key, part in step.given.items()}
    if step.kind == BATCH_NORM:
        return batch_norm_parameters(
            *(given[n] for n in ("weight", "bias", "running_mean", "running_var", "eps"))
        )
    weight, bias = given["weight"], given["bias"]
    if step.batch_norm is not None:
        norm = {
            key: filled(part, values)
            for key, part in step.batch_norm.given.items()
            if key != "input"
        }
        with torch.no_grad():
            weight, bias = fuse_conv_bn_weights(
                weight,
                bias,
                *(norm[n] for n in ("running_mean", "running_var", "eps", "weight", "bias")),
            )
    return weight, bias


def compute(
    step: Step,
    values: Mapping[Step, Any],
    weights: tuple[Tensor, Tensor | None] | None,
    overwrite: bool,
) -> Any:
    """The result of one step."""
    if weights is not None:
        return step.apply(values[step.inputs[0]], *weights)
    if step.kind == PASS:
        value = values[step.varying[0]]
        return detached(value) if step.operation == "detach" else value
    if overwrite:
        return torch.relu_(values[step.inputs[0]])
    return step.compute(values)


def may_overwrite(step: Step, taken: Container[Step]) -> bool:
    """Whether a ReLU may work in place: nobody else reads what the layer before it computed."""
    if step.operation != "relu":
        return False
    before = step.inputs[0]
    while before.kind == PASS and before.users == [step] and before not in taken:
        before, step = before.inputs[0], before
    return before.kind in WEIGHTED and before.users == [step] and before not in taken
