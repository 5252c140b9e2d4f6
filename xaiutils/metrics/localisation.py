"""Does a map lie where the object is?"""

from __future__ import annotations

import torch
from torch import Tensor

from xaiutils import checks


def rank_accuracy(maps: Tensor, masks: Tensor) -> Tensor:
    r"""Relevance rank accuracy: of the k highest pixels, the share inside a mask of k pixels.

    Arras et al. 2022 (arXiv 2003.07258), eq. 3. Higher is better; chance is the mask's share of
    the image. Ties are broken by the pixels' order, as a stable sort leaves them.

    Args:
        maps: (N, H, W), signed; negative values rank below zero.
        masks: (N, H, W) bool; an empty mask gives NaN.

    Returns:
        (N,) float64 in [0, 1].
    """
    flat, inside = _flatten(maps, masks)
    order = flat.argsort(dim=1, descending=True, stable=True)
    hits = inside.gather(1, order).double()
    k = inside.sum(1)
    first = torch.arange(flat.shape[1], device=flat.device) < k[:, None]
    return (hits * first).sum(1) / k


def mass_accuracy(maps: Tensor, masks: Tensor) -> Tensor:
    r"""Relevance mass accuracy of the positive part: :math:`\sum_{i \in M} a_i^+ / \sum_i a_i^+`.

    Arras et al. 2022, eq. 2, with :math:`a^+ = \max(a, 0)`, since sums of signed relevance leave
    [0, 1]. Higher is better; chance is the mask's share of the image.

    Args:
        maps: (N, H, W), signed.
        masks: (N, H, W) bool.

    Returns:
        (N,) float64 in [0, 1]; NaN for a map without a positive pixel or an empty mask.
    """
    flat, inside = _flatten(maps, masks)
    positive = flat.double().clamp(min=0)
    share = (positive * inside).sum(1) / positive.sum(1)
    return share.masked_fill(inside.sum(1) == 0, torch.nan)


def own_share(maps: Tensor, own: Tensor, other: Tensor) -> Tensor:
    r"""Of the positive mass on two objects, the share on the explained one, (N,) in [0, 1].

    .. math:: \sum_{i \in M} a_i^+ \Big/ \sum_{i \in M \cup M'} a_i^+

    Class discrimination where one picture holds two classes. Higher is better; 0.5 is chance for
    objects of one size.

    Args:
        maps: (N, H, W), signed.
        own, other: Masks of the explained object and of the other, (N, H, W) bool.

    Returns:
        (N,) float64; NaN for a map without a positive pixel on either.
    """
    flat, mine = _flatten(maps, own)
    positive = flat.double().clamp(min=0)
    theirs = _flatten(maps, other)[1]
    return (positive * mine).sum(1) / (positive * (mine | theirs)).sum(1)


def _flatten(maps: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
    checks.maps("maps", maps)
    if not isinstance(masks, Tensor) or masks.dtype != torch.bool:
        raise TypeError(f"masks must be a bool tensor (N, H, W), got {checks.describe(masks)}")
    checks.same_shape("maps", maps, "masks", masks)
    return maps.flatten(1), masks.flatten(1)
