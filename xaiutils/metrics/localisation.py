"""Does a map lie where the object is?

First what is computed for maps (N, H, W) and masks; below, the same as records for one `Case`.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

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

NO_POSITIVE = "the map has no positive value"


def rank_accuracy(maps: Tensor, masks: Tensor) -> Tensor:
    r"""Relevance rank accuracy: of the k highest pixels, the share inside a mask of k pixels.

    Arras et al. 2022 (arXiv 2003.07258), eq. 3. Ties are broken by the pixels' order. (N,) float64
    in [0, 1] of signed maps (N, H, W) and masks (N, H, W) bool; NaN for an empty mask.
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
    [0, 1]. (N,) float64 in [0, 1] of signed maps (N, H, W) and masks (N, H, W) bool; NaN for a map
    without a positive pixel or an empty mask.
    """
    flat, inside = _flatten(maps, masks)
    positive = flat.double().clamp(min=0)
    share = (positive * inside).sum(1) / positive.sum(1)
    return share.masked_fill(inside.sum(1) == 0, torch.nan)


def own_share(maps: Tensor, own: Tensor, other: Tensor) -> Tensor:
    r"""Of the positive mass on two objects, the share on the explained one.

    .. math:: \sum_{i \in M} a_i^+ \Big/ \sum_{i \in M \cup M'} a_i^+

    (N,) float64 in [0, 1] of signed maps (N, H, W) and of masks (N, H, W) bool of the explained
    object and of the other; NaN for a map without a positive pixel on either.
    """
    flat, mine = _flatten(maps, own)
    positive = flat.double().clamp(min=0)
    theirs = _flatten(maps, other)[1]
    return (positive * mine).sum(1) / (positive * (mine | theirs)).sum(1)


def pixel_auc(maps: Tensor, masks: Tensor) -> Tensor:
    r"""Area under the ROC curve of the map as a classifier of pixels.

    .. math:: \frac{\sum_{i \in M} r_i - m (m + 1) / 2}{m\, (n - m)}

    with the mean ranks :math:`r_i` of n pixels, m of them in the mask (Hanley and McNeil 1982,
    Radiology 143(1)). (N,) float64 in [0, 1] of signed maps (N, H, W) and masks (N, H, W) bool;
    NaN for a mask that is empty or covers everything.
    """
    flat, inside = _flatten(maps, masks)
    ranks = torch.from_numpy(rankdata(flat.detach().cpu().numpy(), axis=1)).to(flat.device)
    m = inside.sum(1).double()
    wins = (ranks * inside).sum(1) - m * (m + 1) / 2
    return wins / (m * (flat.shape[1] - m))


def hit_rate(maps: Tensor, masks: Tensor) -> Tensor:
    """Of the pixels with the map's highest value the share inside the mask, (N,) in [0, 1]."""
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
    found = mass_accuracy(attribution[None], _only(case.mask, attribution))
    return _known(found, NO_POSITIVE)


def energy_pointing_game(case: Case, attribution: Tensor, explainer: Explainer, seed: int) -> float:
    """`mass_accuracy` on the pixels inside the boxes of the explained class."""
    inside = inside_boxes(case.boxes, case.size)
    found = mass_accuracy(attribution[None], _only(inside, attribution))
    positive = bool((attribution > 0).any())
    return _known(found, "no pixel lies in the boxes" if positive else NO_POSITIVE)


def pointing_game(
    case: Case, attribution: Tensor, explainer: Explainer, seed: int, *, tolerance: float
) -> float:
    """Whether the highest pixel is on the object, or at most ``tolerance`` px away: `hit_rate`."""
    mask = grow(_only(case.mask)[0], checks.number("tolerance", tolerance, low=0))
    return float(hit_rate(attribution[None], _only(mask, attribution)))


def own_object(case: Case, attribution: Tensor, explainer: Explainer, seed: int) -> float:
    """`own_share` on a scene with two targets."""
    masks = _only(case.mask, attribution), _only(case.rival, attribution)
    found = own_share(attribution[None], *masks)
    return _known(found, "the map has no positive value on either object")


def auc(case: Case, attribution: Tensor, explainer: Explainer, seed: int) -> float:
    """`pixel_auc` on the object's mask."""
    found = pixel_auc(attribution[None], _only(case.mask, attribution))
    return _known(found, "the mask covers the whole picture")


def _only(mask: Tensor | None, like: Tensor | None = None) -> Tensor:
    """A batch of one, (1, H, W), where ``like`` is."""
    if mask is None:  # the record's needs say so first
        raise CannotScore("the picture has no mask")
    return mask[None] if like is None else mask[None].to(like.device)


def _known(found: Tensor, why: str) -> float:
    """The only score, or why there is none."""
    if bool(found.isnan()):
        raise CannotScore(why)
    return float(found)


def _boxes_share(case: Case) -> float:
    return float(inside_boxes(case.boxes, case.size).double().mean())


def _own_area(case: Case) -> float:
    mine, theirs = _only(case.mask), _only(case.rival)
    return float(mine.sum() / (mine | theirs).sum())


_record = partial(
    Metric, family="localisation", better="higher", low=0, high=1, needs=("picture", "mask")
)

TABLE: tuple[Metric, ...] = (
    _record(
        name="relevance_mass",
        title="relevance mass accuracy",
        function=relevance_mass,
        source="Arras et al. 2022, arXiv 2003.07258, eq. 2, of the positive part",
        anchors="random map: the mask's share of the picture; oracle: 1",
        chance=mask_share,
    ),
    _record(
        name="pointing_game",
        title="pointing game",
        function=pointing_game,
        source="Zhang et al. 2018, International Journal of Computer Vision 126",
        anchors="random map: the mask's share of the picture; oracle: 1",
        chance=mask_share,
        settings={
            "tolerance": Setting(
                0.0, "in pixels; the scenes' masks are exact, boxes on photographs are not", 15
            )
        },
    ),
    _record(
        name="energy_pointing_game",
        title="energy-based pointing game",
        function=energy_pointing_game,
        source="Wang et al. 2020 (Score-CAM), arXiv 1910.01279, of the positive part",
        anchors="random map: the boxes' share of the picture; oracle: 1",
        chance=_boxes_share,
        needs=("picture", "boxes"),
    ),
    _record(
        name="own_share",
        title="share on the explained object",
        function=own_object,
        source="own; after the grids of Rao et al. 2022, arXiv 2205.10435, objects for cells",
        anchors="random map: the object's share of the area of both; oracle: 1",
        chance=_own_area,
        needs=("picture", "mask", "rival"),
    ),
    _record(
        name="auc",
        title="AUC of the pixels",
        function=auc,
        source="area under the ROC curve by ranks, Hanley and McNeil 1982, Radiology 143(1)",
        anchors="random map: 0.5; oracle: 1",
        chance=always(0.5),
    ),
)
