"""Does a map lie where the object is?

First what is computed for maps (N, H, W) and masks; below, the same as records for one `Case`.
"""

from __future__ import annotations

from collections.abc import Iterable
from types import MappingProxyType

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt
from scipy.stats import rankdata
from torch import Tensor

from xaiutils.cases.case import Case
from xaiutils.methods.record import Setting
from xaiutils.metrics.record import CannotScore, Explainer, Metric, always, mask_share
from xaiutils.pictures.images import Box
from xaiutils.support import checks


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


def pixel_auc(maps: Tensor, masks: Tensor) -> Tensor:
    r"""Area under the ROC curve of the map as a classifier of pixels, (N,) in [0, 1].

    .. math:: \frac{\sum_{i \in M} r_i - m (m + 1) / 2}{m\, (n - m)}

    with the mean ranks :math:`r_i` of n pixels, m of them in the mask (Hanley and McNeil 1982,
    Radiology 143(1)): the chance that a pixel of the object is above one of the rest, where a tie
    counts half. Higher is better; 0.5 is chance.

    Args:
        maps: (N, H, W), signed; negative values rank below zero.
        masks: (N, H, W) bool.

    Returns:
        (N,) float64; NaN for a mask that is empty or covers everything.
    """
    flat, inside = _flatten(maps, masks)
    ranks = torch.from_numpy(rankdata(flat.detach().cpu().numpy(), axis=1)).to(flat.device)
    m = inside.sum(1).double()
    wins = (ranks * inside).sum(1) - m * (m + 1) / 2
    return wins / (m * (flat.shape[1] - m))


def hit_rate(maps: Tensor, masks: Tensor) -> Tensor:
    """Of the pixels with the map's highest value the share inside the mask, (N,) in [0, 1].

    The chance of a hit where one of them is picked at random: 0 or 1 for a map without ties.
    """
    flat, inside = _flatten(maps, masks)
    highest = flat == flat.amax(1, keepdim=True)
    return (highest & inside).sum(1).double() / highest.sum(1)


def grow(mask: Tensor, tolerance: float) -> Tensor:
    """The pixels of a mask (H, W), and those whose centre is at most ``tolerance`` px from one."""
    distance = distance_transform_edt(~mask.cpu().numpy())
    return torch.from_numpy(distance <= tolerance).to(mask.device) & mask.any()


def inside_boxes(boxes: Iterable[Box], size: tuple[int, int]) -> Tensor:
    """The pixels of (H, W) whose centre lies in one of the boxes (x0, y0, x1, y1), bool."""
    y, x = (np.arange(side) + 0.5 for side in size)
    found = np.zeros(size, dtype=bool)
    for x0, y0, x1, y1 in boxes:
        found |= np.outer((y0 <= y) & (y < y1), (x0 <= x) & (x < x1))
    return torch.from_numpy(found)


def _flatten(maps: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
    checks.maps("maps", maps)
    if not isinstance(masks, Tensor) or masks.dtype != torch.bool:
        raise TypeError(f"masks must be a bool tensor (N, H, W), got {checks.describe(masks)}")
    checks.dense("masks", masks, "(N, H, W)")
    checks.same_shape("maps", maps, "masks", masks)
    return maps.flatten(1), masks.flatten(1)


def relevance_mass(case: Case, attribution: Tensor, explainer: Explainer, seed: int) -> float:
    """`mass_accuracy` on the object's mask."""
    _require_positive(attribution)
    return float(mass_accuracy(attribution[None], _mask(case, attribution)[None]))


def pointing_game(
    case: Case, attribution: Tensor, explainer: Explainer, seed: int, *, tolerance: float
) -> float:
    """Whether the highest pixel is on the object, or at most ``tolerance`` px away: `hit_rate`.

    Raises:
        TypeError, ValueError: ``tolerance`` is below 0.
    """
    checks.number("tolerance", tolerance, low=0)
    return float(hit_rate(attribution[None], grow(_mask(case, attribution), tolerance)[None]))


def energy_pointing_game(case: Case, attribution: Tensor, explainer: Explainer, seed: int) -> float:
    """`mass_accuracy` on the pixels inside the boxes of the explained class.

    Raises:
        CannotScore: No pixel lies in the boxes, or the map has no positive value.
    """
    _require_positive(attribution)
    inside = inside_boxes(case.boxes, case.size).to(attribution.device)
    if not bool(inside.any()):
        raise CannotScore("no pixel lies in the boxes")
    return float(mass_accuracy(attribution[None], inside[None]))


def own_object(case: Case, attribution: Tensor, explainer: Explainer, seed: int) -> float:
    """`own_share` on a scene with two targets.

    Raises:
        CannotScore: The map has no positive value on either object.
    """
    mine, theirs = _mask(case, attribution), _given(case.rival).to(attribution.device)
    share = float(own_share(attribution[None], mine[None], theirs[None]))
    if np.isnan(share):
        raise CannotScore("the map has no positive value on either object")
    return share


def auc(case: Case, attribution: Tensor, explainer: Explainer, seed: int) -> float:
    """`pixel_auc` on the object's mask.

    Raises:
        CannotScore: The mask covers the whole picture.
    """
    mask = _mask(case, attribution)
    if bool(mask.all()):
        raise CannotScore("the mask covers the whole picture")
    return float(pixel_auc(attribution[None], mask[None]))


def _given(mask: Tensor | None) -> Tensor:
    if mask is None:  # the record's needs say so first
        raise CannotScore("the picture has no mask")
    return mask


def _mask(case: Case, attribution: Tensor) -> Tensor:
    return _given(case.mask).to(attribution.device)


def _require_positive(attribution: Tensor) -> None:
    if not bool((attribution > 0).any()):
        raise CannotScore("the map has no positive value")


def _boxes_share(case: Case) -> float:
    return float(inside_boxes(case.boxes, case.size).double().mean())


def _own_area(case: Case) -> float:
    mine, theirs = _given(case.mask), _given(case.rival)
    return float(mine.sum() / (mine | theirs).sum())


TABLE: tuple[Metric, ...] = (
    Metric(
        name="relevance_mass",
        title="relevance mass accuracy",
        family="localisation",
        better="higher",
        function=relevance_mass,
        low=0,
        high=1,
        source="Arras et al. 2022, arXiv 2003.07258, eq. 2, of the positive part",
        anchors="random map: the mask's share of the picture; oracle: 1",
        chance=mask_share,
        needs=(
            "picture",
            "mask",
        ),
    ),
    Metric(
        name="pointing_game",
        title="pointing game",
        family="localisation",
        better="higher",
        function=pointing_game,
        low=0,
        high=1,
        source="Zhang et al. 2018, International Journal of Computer Vision 126",
        anchors="random map: the mask's share of the picture; oracle: 1",
        chance=mask_share,
        needs=(
            "picture",
            "mask",
        ),
        settings=MappingProxyType(
            {
                "tolerance": Setting(
                    0.0, "in pixels; the scenes' masks are exact, boxes on photographs are not", 15
                )
            }
        ),
    ),
    Metric(
        name="energy_pointing_game",
        title="energy-based pointing game",
        family="localisation",
        better="higher",
        function=energy_pointing_game,
        low=0,
        high=1,
        source="Wang et al. 2020 (Score-CAM), arXiv 1910.01279, of the positive part",
        anchors="random map: the boxes' share of the picture; oracle: 1",
        chance=_boxes_share,
        needs=(
            "picture",
            "boxes",
        ),
    ),
    Metric(
        name="own_share",
        title="share on the explained object",
        family="localisation",
        better="higher",
        function=own_object,
        low=0,
        high=1,
        source="own; after the grids of Rao et al. 2022, arXiv 2205.10435, objects for cells",
        anchors="random map: the object's share of the area of both; oracle: 1",
        chance=_own_area,
        needs=("picture", "mask", "rival"),
    ),
    Metric(
        name="auc",
        title="AUC of the pixels",
        family="localisation",
        better="higher",
        function=auc,
        low=0,
        high=1,
        source="area under the ROC curve by ranks, Hanley and McNeil 1982, Radiology 143(1)",
        anchors="random map: 0.5; oracle: 1",
        chance=always(0.5),
        needs=(
            "picture",
            "mask",
        ),
    ),
)
