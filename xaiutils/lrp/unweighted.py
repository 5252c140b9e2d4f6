"""How steps without weights divide relevance among their inputs.

Activations pass it on, and so does a local response norm, whose sums count as constants (Binder et
al. 2016, arXiv 1604.00825, expand it instead); maximum pooling gives it to the winner, average
pooling and ``+`` divide it in proportion, the signal takes all of a product and its gate none.
Attention has the rules of AttnLRP (Achtibat et al. 2024, arXiv 2402.05602): a layer norm is linear
but for its standard deviation, which counts as a constant; a matrix product halves relevance
between its factors; the softmax keeps what its Taylor expansion calls bias.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from xaiutils.lrp.ledger import Ledger
from xaiutils.lrp.plan import Plan
from xaiutils.lrp.rules import STABILISER
from xaiutils.network.kinds import (
    ACTIVATION,
    AVERAGE,
    GATE,
    LAYER_NORM,
    MATMUL,
    PASS,
    PRODUCT,
    QUOTIENT,
    ROUTING,
    SOFTMAX,
    SUM,
)
from xaiutils.network.step import Recording, Step

PASSED_ON = (ACTIVATION, PASS, GATE)


def divide(
    step: Step, relevance: Tensor, z: Tensor, stabiliser: float, sign: int = 0, above: bool = False
) -> tuple[Tensor, Tensor, Tensor]:
    """``relevance / z``, stabilised, and what the stabiliser and zero denominators took, (N,).

    Where the ``sign`` of ``z`` is known, ``z`` must be a fresh tensor: it is overwritten.
    ``above`` says that relevance is zero where ``z`` is not above zero.
    """
    if above and stabiliser:
        z = (z.clamp_(min=0) if sign else z.clamp(min=0)).add_(stabiliser)
        s = torch.div(relevance, z, out=z)
        return s, stabiliser * step.per_picture(s), relevance.new_zeros(step.pictures(z))
    # Signs are numbers here, for truth values take several times as long on a CPU.
    if sign and z.device.type != "cpu":  # a fast convolution may round a sum of zeros off zero
        z.clamp_(min=0) if sign > 0 else z.clamp_(max=0)
    nowhere = z.amin() > 0 if sign > 0 else z.amax() < 0 if sign else z.count_nonzero() == z.numel()
    if bool(nowhere):
        unreceived = relevance.new_zeros(step.pictures(z))
    else:
        nonzero = z.sign().square_()
        unreceived = step.per_picture(torch.addcmul(relevance, relevance, nonzero, value=-1))
    if stabiliser == 0:
        return (relevance / z).masked_fill_(z == 0, 0), torch.zeros_like(unreceived), unreceived
    if sign:
        s = torch.div(relevance, z.add_(sign * stabiliser), out=z)
        return s, sign * stabiliser * step.per_picture(s) - unreceived, unreceived
    signs = torch.copysign(z.new_ones(()), z + 0)  # of zero +1, and of minus zero
    s = relevance / torch.add(z, signs, alpha=stabiliser)
    return s, stabiliser * step.per_picture(signs.mul_(s)) - unreceived, unreceived


@dataclass(frozen=True)
class Walk:
    """What every share is computed from: the rules, the forward pass; and where losses are booked.

    ``bounds`` are the lowest and highest possible picture, where they are known.
    """

    plan: Plan
    record: Recording
    ledger: Ledger
    bounds: tuple[Tensor, Tensor] | None = None


def _of_routing(walk: Walk, step: Step, relevance: Any) -> tuple[Any, ...]:
    """Each value goes back to where it came from; what padding received is booked as bias."""
    constant = walk.record.constants.get(step)
    if constant is not None:
        walk.ledger.book(step, bias=step.per_picture(relevance * constant))
    return walk.record.vjp(step, relevance)


def _in_proportion(walk: Walk, step: Step, relevance: Tensor) -> tuple[Any, ...]:
    r"""Sums and averages :math:`z = \sum_i c_i x_i`: :math:`R_i = c_i x_i R / z`."""
    s = _divided(walk, step, relevance)
    constant = walk.record.constants.get(step)
    if constant is not None:  # a mask of minus infinity receives nothing: s is 0 there
        walk.ledger.book(step, bias=step.per_picture((s * constant).masked_fill(s == 0, 0)))
    pairs = zip(walk.record.inputs[step], walk.record.vjp(step, s), strict=True)
    return tuple(value.detach() * gradient for value, gradient in pairs)


def _divided(walk: Walk, step: Step, relevance: Tensor) -> Tensor:
    """Relevance over the result of ``step``; what that takes is booked."""
    z = walk.record.outputs[step].detach()
    s, absorbed, unreceived = divide(step, relevance, z, STABILISER)
    walk.ledger.book(step, epsilon=absorbed, unreceived=unreceived)
    return s


def _of_gated(walk: Walk, step: Step, relevance: Tensor) -> tuple[Any, ...]:
    """An elementwise product: its receivers take equal parts."""
    receivers = walk.plan.receivers(step)
    shapes = [_size_of(receiver, step, relevance) for receiver in receivers]
    return tuple(relevance.sum_to_size(shape) / len(receivers) for shape in shapes)


def _size_of(factor: Step, product: Step, relevance: Tensor) -> list[int]:
    """The size of a factor in this run, whose pictures may be larger than the captured one."""
    own = factor.shape or ()
    missing = len(product.shape or ()) - len(own)  # a factor of fewer dimensions is repeated
    sizes = zip(own, (product.shape or ())[missing:], relevance.shape[missing:], strict=True)
    return [1 if size == 1 != whole else here for size, whole, here in sizes]


def _of_matrices(walk: Walk, step: Step, relevance: Tensor) -> tuple[Any, ...]:
    r"""Shares of a bilinear product :math:`O = AB` (AttnLRP, eq. 14).

    .. math:: R_{A_{ji}} = A_{ji} \sum_p B_{ip} \frac{R_{O_{jp}}}{2 (O_{jp} + \varepsilon)}

    and the same for B; a factor that counts as a constant leaves the whole to the other.
    """
    s, record, receivers = _divided(walk, step, relevance), walk.record, walk.plan.receivers(step)
    parts = sum(factor in receivers for factor in step.read)  # one may stand on both sides
    found = zip(step.varying, record.inputs[step], record.vjp(step, s), strict=True)
    return tuple(
        value.detach() * gradient / parts
        for factor, value, gradient in found
        if factor in receivers
    )


def _of_softmax(walk: Walk, step: Step, relevance: Tensor) -> tuple[Any, ...]:
    r"""Share of the softmax's input (AttnLRP, eq. 13): its Taylor expansion at x.

    .. math:: R_i = x_i \Big(R_i - s_i \sum_j R_j\Big), \qquad
              \text{bias} = \sum_i R_i \Big(1 - x_i + \sum_j s_j x_j\Big)
    """
    x, s = walk.record.inputs[step][0].detach(), walk.record.outputs[step].detach()
    x = x.masked_fill(x == -torch.inf, 0)  # masked out: s and the relevance are 0 there
    dim = int(step.given["dim"])
    expected = (s * x).sum(dim, keepdim=True)
    walk.ledger.book(step, bias=step.per_picture(relevance * (1 - x + expected)))
    return (x * (relevance - s * relevance.sum(dim, keepdim=True)),)


def _of_norm(walk: Walk, step: Step, relevance: Tensor) -> tuple[Any, ...]:
    r"""Share of a norm's input, row by row, by LRP-ε with the standard deviation as a constant.

    .. math:: y_j = \gamma_j \frac{x_j - \bar x}{\sigma} + \beta_j, \qquad
        R_i = x_i \frac1\sigma \Big(\gamma_i s_i - \frac1n \sum_j \gamma_j s_j\Big),
        \quad s_j = \frac{R_j}{y_j + \varepsilon}

    A row is what is normalised alone: a token, a group of channels, a channel. β is bias. The
    root-mean-square norm has neither mean nor β. `Composite.norm` may pass relevance on as it came.
    """
    if walk.plan.composite.norm == "identity":
        return (relevance,)
    rows, gamma, beta, eps = walk.record.norms[step]
    centred, s = step.operation != "rms_norm", _divided(walk, step, relevance)
    if beta is not None:
        walk.ledger.book(step, bias=step.per_picture(s * beta))
    x = walk.record.inputs[step][0].detach().reshape(rows)
    scaled = (s if gamma is None else s * gamma).reshape(rows)
    spread = (x - x.mean(-1, keepdim=True) if centred else x).square().mean(-1, keepdim=True)
    scaled = scaled - scaled.mean(-1, keepdim=True) if centred else scaled
    spread = spread + (torch.finfo(x.dtype).eps if eps is None else eps)
    return ((x * scaled * spread.rsqrt()).reshape(relevance.shape),)


SHARES: dict[str, Callable[..., tuple[Any, ...]]] = {
    ROUTING: _of_routing,
    AVERAGE: _in_proportion,
    SUM: _in_proportion,
    PRODUCT: _of_gated,
    QUOTIENT: _of_gated,
    MATMUL: _of_matrices,
    LAYER_NORM: _of_norm,
    SOFTMAX: _of_softmax,
}
