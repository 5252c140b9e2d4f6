r"""Step 1, class activation maps: pure functions of activations A and the score's gradient g.

Each takes A and :math:`g = \partial S_t / \partial A`, both (N, K, h, w), and returns the raw map
(N, h, w) before the ReLU. `to_image` turns it into what the figures show: ReLU, bilinear
upsampling, min–max to [0, 1]. Nothing here knows the network: a `Pass` in factors.py has A and g.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from xaiutils.support import checks
from xaiutils.support.checks import Registry

_LINEAR = {1: "linear", 2: "bilinear", 3: "trilinear"}


def grad_cam(a: Tensor, g: Tensor) -> Tensor:
    r"""Grad-CAM: :math:`\sum_k w_k A_k`, :math:`w_k = \frac1{hw}\sum_{ij} g_{kij}`.

    Selvaraju et al. 2017 (arXiv 1610.02391), eqs. 1 and 2. Signed, and linear in the logit.
    """
    _check(a, g)
    return _weighted(g.mean((2, 3)), a)


def grad_cam_plus_plus(a: Tensor, g: Tensor, epsilon: float = 0.0) -> Tensor:
    r"""Grad-CAM++: :math:`w_k = \sum_{ij} \alpha_{kij}\,\mathrm{relu}(g_{kij})`.

    .. math:: \alpha_{kij} = \frac{g_{kij}^2}{2 g_{kij}^2 + g_{kij}^3 \sum_{ab} A_{kab}}
                           = \frac{1}{2 + g_{kij} \sum_{ab} A_{kab}}

    Chattopadhay et al. 2018 (arXiv 1710.11063), eq. 19 with Y = exp(S_t), whose factor Y cancels
    in α and only scales the map. The second form is exact and used for ``epsilon = 0``; it is not
    invariant to the scale of the logit, and nor is eq. 19. Where activations can be negative
    the denominator can fall to 0 or below: α counts as 0 there (`undefined_alphas` counts).

    Args:
        a, g: (N, K, h, w); A after a ReLU for the equation to mean what it says.
        epsilon: Added to the first form's denominator, >= 0. grad-cam uses 1e-6, which is absolute:
            where gradients are small (g² near 1e-7) it changes the weights.
    """
    _check(a, g)
    checks.number("epsilon", epsilon, low=0)
    total = a.sum((2, 3), keepdim=True)
    if epsilon:
        alpha = g.square() / (2 * g.square() + total * g.pow(3) + epsilon)
    else:
        denominator = 2 + g * total
        alpha = denominator.reciprocal().masked_fill(denominator <= 0, 0)
    return _weighted((alpha * g.clamp(min=0)).sum((2, 3)), a)


def undefined_alphas(a: Tensor, g: Tensor) -> Tensor:
    """How many of Grad-CAM++'s ``α = 1 / (2 + g ΣA)`` have a denominator ≤ 0 with g > 0, (N,)."""
    _check(a, g)
    return ((2 + g * a.sum((2, 3), keepdim=True) <= 0) & (g > 0)).flatten(1).sum(1)


def hires_cam(a: Tensor, g: Tensor) -> Tensor:
    r"""HiResCAM: :math:`\sum_k g_k \odot A_k` (Draelos and Carin 2020, arXiv 2011.08891, eq. 4).

    Signed. Equals Grad-CAM where the gradient is the same at every position (a pooled head).
    """
    _check(a, g)
    return (g * a).sum(1)


def layer_cam(a: Tensor, g: Tensor) -> Tensor:
    r"""LayerCAM: :math:`\sum_k \mathrm{relu}(g_k) \odot A_k` (Jiang et al. 2021, TIP 30)."""
    _check(a, g)
    return (g.clamp(min=0) * a).sum(1)


def xgrad_cam(a: Tensor, g: Tensor) -> Tensor:
    r"""XGrad-CAM: :math:`w_k = \sum_{ij} g_{kij} A_{kij} / \sum_{ij} A_{kij}`; 0 for a zero sum.

    Fu et al. 2020 (arXiv 2008.02312), eq. 9. Signed.
    """
    _check(a, g)
    total = a.sum((2, 3))
    return _weighted(((g * a).sum((2, 3)) / total).masked_fill(total == 0, 0), a)


def cam(a: Tensor, g: Tensor) -> Tensor:
    r"""CAM: :math:`\sum_k w_{tk} A_k` with the last layer's weights (Zhou et al. 2016, eq. 2).

    The head must be a mean over positions and one linear layer; then
    :math:`w_{tk} = \sum_{ij} g_{kij}`, and the gradient is the same at every position. Signed.

    Raises:
        ValueError: The gradient differs between positions, so the head is another one.
    """
    _check(a, g)
    spread = (g.amax((2, 3)) - g.amin((2, 3))).abs().max()
    if spread > 1e-5 * g.abs().max():
        raise ValueError(
            "cam must have a head of global average pooling and one linear layer, "
            "got a gradient that differs between positions; use grad_cam"
        )
    return _weighted(g.sum((2, 3)), a)


@dataclass(frozen=True)
class Cam:
    """A way to make a map: its key in `CAMS`, ``(a, g)`` to the raw map, and its paper."""

    name: str
    function: Callable[[Tensor, Tensor], Tensor]
    source: str


_TABLE = (
    Cam("grad_cam_plus_plus", grad_cam_plus_plus, "Chattopadhay et al. 2018, eq. 19"),
    Cam("grad_cam", grad_cam, "Selvaraju et al. 2017, eqs. 1 and 2"),
    Cam("hires_cam", hires_cam, "Draelos and Carin 2020, eq. 4"),
    Cam("layer_cam", layer_cam, "Jiang et al. 2021"),
    Cam("xgrad_cam", xgrad_cam, "Fu et al. 2020, eq. 9"),
    Cam("cam", cam, "Zhou et al. 2016, eq. 2"),
)
CAMS: Registry[Cam] = Registry("cam", {record.name: record for record in _TABLE})


def to_image(raw: Tensor, size: tuple[int, ...]) -> Tensor:
    """A map as a figure shows it, ``m = min_max(upsample(relu(raw)))``, bilinear.

    The raw map is (N, h, w), ``size`` is (H, W), the result (N, H, W) in [0, 1]; of a signal
    (N, l), (L,) and (N, L), linear, of a volume trilinear. An image whose map is nowhere positive,
    or the same everywhere, gets zeros.

    Raises:
        TypeError, ValueError: ``raw`` is no finite batch of maps.
    """
    checks.maps("raw", raw, len(size))
    # Scaled before as well: upsampling a constant rounds, and min-max would make that a map.
    positive = min_max(raw.clamp(min=0))
    mode = _LINEAR[len(size)]
    grown = F.interpolate(positive[:, None], size, mode=mode, align_corners=False)
    return min_max(grown[:, 0])


def min_max(maps: Tensor) -> Tensor:
    """Each map m of (N, H, W) scaled to [0, 1]: ``m' = (m - min m) / (max m - min m)``.

    A constant map becomes 0. The space may have other dimensions.
    """
    space = tuple(range(1, maps.ndim))
    low, high = maps.amin(space, keepdim=True), maps.amax(space, keepdim=True)
    return ((maps - low) / (high - low)).where(high > low, torch.zeros_like(maps))


def _weighted(weights: Tensor, a: Tensor) -> Tensor:
    return torch.einsum("nk,nkhw->nhw", weights, a)


def _check(a: Tensor, g: Tensor) -> None:
    checks.images("a", a)
    checks.same_shape("a", a, "g", g)
