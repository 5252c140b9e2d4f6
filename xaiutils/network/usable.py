"""What a network of yours must be, so that maps of it are right and messages say why not."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from xaiutils.network.capture import read_output
from xaiutils.support import chance


def require_usable(module: nn.Module) -> None:
    """Raise for a module whose maps would be wrong, or whose errors would not say why.

    Its parameters were made in `torch.inference_mode`, or are without a shape yet; NaN or infinity
    is in them; or a batch norm has no statistics of its own.
    """
    for name, parameter in module.named_parameters():
        if is_lazy(parameter):
            raise ValueError(f"module must know its weights' shapes, {name} has none: call it once")
    if any(tensor.is_inference() for tensor in module.parameters()):
        raise ValueError("module must be made outside of torch.inference_mode: gradients need it")
    for path, part in module.named_modules():
        batch_norm = isinstance(part, nn.modules.batchnorm._BatchNorm)
        if batch_norm and part.running_var is None:
            raise ValueError(
                f"module must keep statistics in its batch norms, {path} has none: what it says "
                "of a picture would depend on the others in the batch"
            )
    statistics = ("running_mean", "running_var")  # other buffers may hold infinity, as masks do
    buffers = [(n, t) for n, t in module.named_buffers() if n.rpartition(".")[2] in statistics]
    for name, tensor in (*module.named_parameters(), *buffers):
        if not (tensor.is_meta or bool(tensor.isfinite().all())):
            raise ValueError(
                f"module must have finite weights and statistics, {name} has NaN or infinity"
            )


def require_same(
    module: nn.Module, predict: Callable[[Tensor], Tensor], shape: tuple[int, ...]
) -> None:
    """Raise unless a picture of ``shape`` (C, ...) gives the same among two as alone.

    ``predict`` is asked for two random ones, ``module`` for the first.
    """
    like = example(module)
    if like.is_meta:
        return  # no numbers to compare
    noise = torch.rand((2, *shape), generator=chance.torchs(0), device="cpu")
    x = noise.to(like.device, like.dtype)
    with chance.Drawn(0), torch.no_grad():
        expected = read_output(module(x[:1].clone()))
    worst = float((predict(x)[:1] - expected).abs().max())
    if not worst <= 1e-3 * float(expected.abs().max()) + 1e-6:
        raise ValueError(
            "module must compute the same for a picture alone and among others, and without "
            f"chance, in eval mode; its outputs differ by {worst:g}"
        )


def example(module: nn.Module) -> Tensor:
    """A tensor of the module's dtype and device, of any shape (...,)."""
    tensors = (t for t in chain(module.parameters(), module.buffers()) if t.is_floating_point())
    return next(tensors, torch.empty(0))


def channels_of(module: nn.Module) -> tuple[int, tuple[int, ...]]:
    """How many channels the first convolution reads, and the dimensions of all, its own first.

    Of a network without one three channels, and no dimensions.
    """
    found = [m for m in module.modules() if isinstance(m, nn.Conv1d | nn.Conv2d | nn.Conv3d)]
    dimensions = dict.fromkeys(len(m.kernel_size) for m in found)
    return (found[0].in_channels if found else 3), tuple(dimensions)
