"""Does a map lie where the object is? By masks, and by the box around its largest bright part."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt, find_objects, label
from scipy.stats import rankdata
from torch import Tensor

from xaiutils.cases.case import Case
from xaiutils.methods.record import Setting
from xaiutils.metrics.record import CannotScore, Explainer, Metric, always, mask_share
from xaiutils.pictures.images import Box
from xaiutils.support import checks

NO_POSITIVE = "the map has no positive value"
TOUCHING = np.ones((3, 3))  # diagonal neighbours too, as in the contours of the published code


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

    Arras et al. 2022, eq. 2, with :math:`a^+ = \max(a, 0)`. (N,) float64 in [0, 1] of signed maps
    (N, H, W) and masks (N, H, W) bool; NaN for a map without a positive pixel or an empty mask.
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


def bounding_box(attribution: Tensor, threshold: float) -> Box:
    """The tight box (x0, y0, x1, y1) around the largest connected part of a map (H, W).

    The part is where the positive values, scaled to [0, 1] by their smallest and largest, are at
    least ``threshold`` (Choe et al. 2020, arXiv 2001.07437). Of parts of one size the one with the
    greater sum is taken.
    """
    checks.number("threshold", threshold, low=0, high=1)
    values = attribution.detach().cpu().double().numpy().clip(min=0)
    low, high = float(values.min()), float(values.max())
    if high == 0:
        raise CannotScore(NO_POSITIVE)
    if low == high:
        raise CannotScore("the map is the same everywhere")
    scaled = (values - low) / (high - low)
    parts, count = label(scaled >= threshold, TOUCHING)
    sizes = np.bincount(parts.ravel())[1:]
    masses = np.bincount(parts.ravel(), scaled.ravel())[1:]
    largest = max(range(count), key=lambda part: (sizes[part], masses[part]))
    rows, columns = find_objects(parts)[largest]
    return float(columns.start), float(rows.start), float(columns.stop), float(rows.stop)


def iou(first: Box, second: Box) -> float:
    """Intersection over union of two boxes (x0, y0, x1, y1), in [0, 1]."""
    (ax0, ay0, ax1, ay1), (bx0, by0, bx1, by1) = first, second
    common = max(min(ax1, bx1) - max(ax0, bx0), 0) * max(min(ay1, by1) - max(ay0, by0), 0)
    union = (ax1 - ax0) * (ay1 - ay0) + (bx1 - bx0) * (by1 - by0) - common
    return common / union


def _measured(
    case: Case,
    attribution: Tensor,
    explainer: Explainer,
    seed: int,
    *,
    measure: Callable[..., Tensor],
    masks: tuple[str, ...] = ("mask",),
    why: str,
) -> float:
    """A ``measure`` of the map by masks of the case; where it gives none, ``why``."""
    found = measure(attribution[None], *(_mask(case, name, attribution) for name in masks))
    if bool(found.isnan()):
        raise CannotScore(why)
    return float(found)


def _mask(case: Case, name: str, like: Tensor) -> Tensor:
    """A mask of a case as a batch of one, (1, H, W), where ``like`` is."""
    return getattr(case, name)[None].to(like.device)


def energy_pointing_game(case: Case, attribution: Tensor, explainer: Explainer, seed: int) -> float:
    """`mass_accuracy` on the pixels inside the boxes of the explained class."""
    if not bool((attribution > 0).any()):
        raise CannotScore(NO_POSITIVE)
    inside = inside_boxes(case.boxes, case.size)[None].to(attribution.device)
    found = mass_accuracy(attribution[None], inside)
    if bool(found.isnan()):
        raise CannotScore("no pixel lies in the boxes")
    return float(found)


def pointing_game(
    case: Case, attribution: Tensor, explainer: Explainer, seed: int, *, tolerance: float
) -> float:
    """Whether the highest pixel is on the object, or at most ``tolerance`` px away: `hit_rate`."""
    mask = grow(_mask(case, "mask", attribution)[0], checks.number("tolerance", tolerance, low=0))
    return float(hit_rate(attribution[None], mask[None]))


def box_iou(
    case: Case, attribution: Tensor, explainer: Explainer, seed: int, *, threshold: float
) -> float:
    """IoU of the map's `bounding_box` at ``threshold`` with the nearest of the object's boxes."""
    found = bounding_box(attribution, threshold)
    return max(iou(found, box) for box in case.boxes)


def _whole_picture(case: Case) -> float:
    height, width = case.size
    return max(iou((0.0, 0.0, float(width), float(height)), box) for box in case.boxes)


def _boxes_share(case: Case) -> float:
    return float(inside_boxes(case.boxes, case.size).double().mean())


def _own_area(case: Case) -> float:
    assert case.mask is not None
    assert case.rival is not None
    return float(case.mask.sum() / (case.mask | case.rival).sum())


_record = partial(
    Metric, family="localisation", better="higher", low=0, high=1, needs=("picture", "mask")
)

TABLE: tuple[Metric, ...] = (
    _record(
        name="relevance_mass",
        title="relevance mass accuracy",
        function=partial(_measured, measure=mass_accuracy, why=NO_POSITIVE),
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
        function=partial(
            _measured,
            measure=own_share,
            masks=("mask", "rival"),
            why="the map has no positive value on either object",
        ),
        source="own; after the grids of Rao et al. 2022, arXiv 2205.10435, objects for cells",
        anchors="random map: the object's share of the area of both; oracle: 1",
        chance=_own_area,
        needs=("picture", "mask", "rival"),
    ),
    _record(
        name="auc",
        title="AUC of the pixels",
        function=partial(_measured, measure=pixel_auc, why="the mask covers the whole picture"),
        source="area under the ROC curve by ranks, Hanley and McNeil 1982, Radiology 143(1)",
        anchors="random map: 0.5; oracle: 1",
        chance=always(0.5),
    ),
    _record(
        name="box_iou",
        title="IoU of the box",
        function=box_iou,
        source="Choe et al. 2020, arXiv 2001.07437, before the IoU is counted",
        anchors="random map: the largest box's share of the picture, for 80 % of the pixels hang "
        "together from edge to edge; oracle: 1 for an object in one piece",
        chance=_whole_picture,
        needs=("picture", "boxes"),
        settings={
            "threshold": Setting(
                0.2, "a fifth of the maximum, as Zhou et al. 2016 (CAM) and as the bounding figure"
            )
        },
    ),
)
