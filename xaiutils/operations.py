"""What each operation of a network does, which is all that a relevance rule needs to know of it.

`KINDS` sorts modules, functions and tensor methods into a few kinds. An operation that is not in
the table is `UNKNOWN`: it runs in the forward pass, and relevance refuses it by name.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CONVOLUTION = "convolution"  # linear in its input, with a weight and a bias
LINEAR = "linear"
BATCH_NORM = "batch_norm"  # one that follows no convolution: a diagonal convolution
AVERAGE = "average"  # linear, without parameters: average pooling, mean
ROUTING = "routing"  # every output is one of the inputs: reshape, concat, max pooling
ACTIVATION = "activation"  # elementwise, zero at zero
PASS = "pass"  # hands its input on as it is: dropout in eval mode, a folded batch norm
GATE = "gate"  # elementwise, says how much passes: sigmoid
SOFTMAX = "softmax"
RESPONSE_NORM = "response_norm"  # local: divides by what is near
LAYER_NORM = "layer_norm"  # and its kin, by what the picture itself has: group, instance
MATMUL = "matmul"  # the product of two matrices, or einsum of two tensors
SUM = "sum"
PRODUCT = "product"
CONSTANT = "constant"  # does not depend on the picture
UNKNOWN = "unknown"

WEIGHTED = (CONVOLUTION, LINEAR, BATCH_NORM)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)

MODULES: dict[str, tuple[type[nn.Module], ...]] = {
    CONVOLUTION: (nn.Conv1d, nn.Conv2d, nn.Conv3d, *TRANSPOSED),
    LINEAR: (nn.Linear,),
    BATCH_NORM: (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d),
    AVERAGE: (nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d)
    + (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d, nn.Upsample),
    ROUTING: (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d)
    + (nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d)
    + (nn.Flatten, nn.Unflatten, nn.ZeroPad2d, nn.ReflectionPad2d, nn.ReplicationPad2d)
    + (nn.CircularPad2d, nn.ChannelShuffle, nn.PixelShuffle, nn.PixelUnshuffle),
    PASS: (nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout),
    ACTIVATION: (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.ELU, nn.SELU, nn.CELU, nn.SiLU)
    + (nn.GELU, nn.Mish, nn.Hardswish, nn.Tanh, nn.Hardtanh, nn.Softsign, nn.Softshrink),
    GATE: (nn.Sigmoid, nn.Hardsigmoid),
    SOFTMAX: (nn.Softmax,),
    RESPONSE_NORM: (nn.LocalResponseNorm,),
    LAYER_NORM: (nn.LayerNorm, nn.RMSNorm, nn.GroupNorm, nn.InstanceNorm1d, nn.InstanceNorm2d),
}
FUNCTIONS: dict[str, tuple[Callable[..., Any], ...]] = {
    CONVOLUTION: (F.conv1d, F.conv2d, F.conv3d),
    LINEAR: (F.linear,),
    AVERAGE: (F.avg_pool1d, F.avg_pool2d, F.adaptive_avg_pool1d, F.adaptive_avg_pool2d)
    + (torch.mean, torch.sum, F.interpolate),
    ROUTING: (F.max_pool1d, F.max_pool2d, torch.max_pool2d, F.adaptive_max_pool2d, torch.flatten)
    + (torch.reshape, torch.permute, torch.transpose, torch.squeeze, torch.unsqueeze)
    + (torch.cat, torch.concat, torch.stack, torch.chunk, torch.split, torch.unbind)
    + (torch.swapaxes, torch.unflatten, torch.amax, F.pad)
    + (torch.roll, torch.flip, operator.getitem),
    PASS: (F.dropout, F.dropout2d, F.alpha_dropout, torch.clone),
    ACTIVATION: (F.relu, torch.relu, F.relu6, F.leaky_relu, F.elu, F.selu, F.celu, F.silu)
    + (F.gelu, F.mish, F.hardswish, torch.tanh, F.hardtanh, F.softsign, F.softshrink)
    + (torch.clamp, torch.clip),
    GATE: (torch.sigmoid, F.sigmoid, F.hardsigmoid),
    SOFTMAX: (F.softmax, torch.softmax),
    RESPONSE_NORM: (F.local_response_norm,),
    LAYER_NORM: (F.layer_norm, F.rms_norm, F.group_norm),
    MATMUL: (torch.matmul, operator.matmul, torch.bmm, torch.einsum),
    SUM: (operator.add, operator.sub, torch.add, torch.sub),
    PRODUCT: (operator.mul, operator.truediv, torch.mul, torch.div),
}
METHODS: dict[str, tuple[str, ...]] = {
    AVERAGE: ("mean", "sum"),
    ROUTING: ("view", "reshape", "flatten", "permute", "transpose", "squeeze", "unsqueeze")
    + ("contiguous", "chunk", "split", "unbind", "expand", "repeat", "unflatten", "swapaxes")
    + ("amax",),
    PASS: ("clone",),
    ACTIVATION: ("relu", "tanh", "clamp", "clip"),
    GATE: ("sigmoid",),
    SOFTMAX: ("softmax",),
    MATMUL: ("matmul", "bmm"),
    SUM: ("add", "sub"),
    PRODUCT: ("mul", "div"),
}
KINDS: dict[Any, str] = {
    target: kind
    for table in (MODULES, FUNCTIONS, METHODS)
    for kind, targets in table.items()
    for target in targets
}
TORCHVISION: dict[str, str] = {  # by name: to import it takes a second, which few networks need
    "torchvision.ops.misc.Permute": ROUTING,
    "torchvision.ops.stochastic_depth.stochastic_depth": PASS,
}
SAFE: dict[Any, Any] = {  # a value that somebody else may read is never overwritten
    operator.iadd: operator.add,
    operator.isub: operator.sub,
    operator.imul: operator.mul,
    operator.itruediv: operator.truediv,
    torch.relu_: torch.relu,
    F.relu_: torch.relu,
    **{f"{name}_": name for name in ("relu", "clamp", "add", "sub", "mul", "div")},
    "view": "reshape",  # the same numbers, whatever the memory layout
}
UPSAMPLINGS = ("nearest", "nearest-exact", "linear", "bilinear", "trilinear", "area")  # not cubic
RELU = (nn.ReLU, F.relu, torch.relu, "relu")
NONNEGATIVE = (*RELU, nn.ReLU6, F.relu6)
CLAMPS = (torch.clamp, torch.clip, "clamp", "clip", F.hardtanh)


def lookup(table: Any, target: Any) -> Any:
    """The entry for ``target``: for a module that of the nearest class it descends from."""
    if isinstance(target, nn.Module):
        return next((c for c in type(target).__mro__ if c in table), None)
    return target if target in table else None


def kind_of(target: Any) -> str:
    """The kind of a module, a function or, by its name, a tensor method."""
    found = lookup(KINDS, target)
    if found is not None:
        return KINDS[found]
    named = type(target) if isinstance(target, nn.Module) else target
    names = (getattr(named, "__module__", ""), getattr(named, "__qualname__", ""))
    return TORCHVISION.get(".".join(map(str, names)), UNKNOWN)


def is_of_its_kind(step: Any) -> bool:
    """Whether the arguments of a step let it do what its kind says."""
    if step.target is F.pad:
        given = dict(zip(("mode", "value"), step.node.args[2:], strict=False)) | step.node.kwargs
        return given.get("mode", "constant") != "constant" or not given.get("value")
    if step.target is F.interpolate:
        mode = (*step.node.args[3:4], step.node.kwargs.get("mode"), "nearest")
        return next(m for m in mode if m is not None) in UPSAMPLINGS
    if step.target in CLAMPS or isinstance(step.module, nn.Hardtanh):
        low, high = _limits(step)
        return low <= 0 <= high  # zero at zero
    if isinstance(step.module, nn.modules.instancenorm._InstanceNorm):
        return not step.module.track_running_stats
    return not isinstance(step.module, nn.Upsample) or step.module.mode in UPSAMPLINGS


def _limits(step: Any) -> list[float]:
    """Between which numbers a clamp keeps its input; what is no number compares with none."""
    if step.module is not None:
        return [step.module.min_val, step.module.max_val]
    names = ("min_val", "max_val") if step.target is F.hardtanh else ("min", "max")
    given = dict(zip(names, step.node.args[1:], strict=False)) | step.node.kwargs
    wide = {"min_val": -1, "max_val": 1, "min": -math.inf, "max": math.inf}
    limits = [wide[name] if given.get(name) is None else given[name] for name in names]
    return [value if isinstance(value, int | float) else math.nan for value in limits]


def affine(
    module: nn.Module | None,
    args: tuple[Any, ...],
    options: dict[str, Any],
    x: Tensor,
    w: Tensor,
    b: Tensor | None,
) -> Tensor:
    """A convolution, linear layer or batch norm applied to ``x`` with the weight and bias given.

    A rule calls this with weights of its own (their positive part, ones, squares) and keeps
    stride, padding, dilation and groups. ``args`` are those of a functional call after the bias,
    ``options`` its keywords.
    """
    if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d):
        return module._conv_forward(x, w, b)
    if isinstance(module, TRANSPOSED):
        transposed = {3: F.conv_transpose1d, 4: F.conv_transpose2d, 5: F.conv_transpose3d}[w.ndim]
        m: Any = module  # its own forward takes the module's weight alone
        return transposed(x, w, b, m.stride, m.padding, m.output_padding, m.groups, m.dilation)
    if isinstance(module, nn.modules.batchnorm._BatchNorm):
        per_channel = (1, -1) + (1,) * (x.ndim - 2)
        return x * w.view(per_channel) + (0 if b is None else b.view(per_channel))
    if w.ndim == 2:
        return F.linear(x, w, b)
    convolution = {3: F.conv1d, 4: F.conv2d, 5: F.conv3d}[w.ndim]
    return convolution(x, w, b, *args, **options)


def batch_norm_parameters(module: Any) -> tuple[Tensor, Tensor]:
    """Batch norm in eval mode as ``scale * x + shift``, one number each per channel."""
    scale = torch.rsqrt(module.running_var + module.eps)
    if module.weight is not None:
        scale = scale * module.weight
    shift = -module.running_mean * scale
    return scale, shift if module.bias is None else shift + module.bias
