"""A map as a localiser: the box around its largest bright part against the object's own box.

Choe et al. 2020, "Evaluating weakly supervised object localization methods right" (arXiv
2001.07437). The part is a bounding figure as the hybrid has one: what is left above a threshold.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType

import numpy as np
import torch
from scipy.ndimage import find_objects, label
from torch import Tensor

from xaiutils.cases.case import Case
from xaiutils.methods.record import Setting
from xaiutils.metrics.record import CannotScore, Explainer, Metric
from xaiutils.pictures.images import Box
from xaiutils.support import checks

THRESHOLDS: tuple[float, ...] = tuple(i / 100 for i in range(100))
TOUCHING = np.ones((3, 3))  # diagonal neighbours too, as in the contours of the published code


def bounding_box(attribution: Tensor, threshold: float) -> Box:
    """The tight box (x0, y0, x1, y1) around the largest connected part of a map (H, W).

    The part is where the positive values, scaled to [0, 1] by their smallest and largest, are at
    least ``threshold``: everywhere for 0, at the maxima for 1. Negative values speak against the
    class and count as zero. Of parts of one size the one with the greater sum is taken.

    Raises:
        CannotScore: The map has no positive value, or one value everywhere.
    """
    return _largest_part(_scaled(attribution), checks.number("threshold", threshold, low=0, high=1))


def iou(first: Box, second: Box) -> float:
    """Intersection over union of two boxes (x0, y0, x1, y1), in [0, 1]."""
    (ax0, ay0, ax1, ay1), (bx0, by0, bx1, by1) = first, second
    common = max(min(ax1, bx1) - max(ax0, bx0), 0) * max(min(ay1, by1) - max(ay0, by0), 0)
    union = (ax1 - ax0) * (ay1 - ay0) + (bx1 - bx0) * (by1 - by0) - common
    return common / union


def box_curve(
    attribution: Tensor, boxes: Sequence[Box], thresholds: Sequence[float] = THRESHOLDS
) -> Tensor:
    """For each threshold the IoU of the map's `bounding_box` with the nearest of ``boxes``, (T,).

    Args:
        attribution: (H, W), signed.
        boxes: Of the explained class, (x0, y0, x1, y1) in pixels, at least one.
        thresholds: In [0, 1].

    Returns:
        (T,) float64 in [0, 1].
    """
    if not len(boxes):
        raise ValueError("boxes must hold at least one box, got none")
    for threshold in thresholds:
        checks.number("thresholds", threshold, low=0, high=1)
    scaled = _scaled(attribution)
    found = [_largest_part(scaled, threshold) for threshold in thresholds]
    return torch.tensor([_best(one, boxes) for one in found], dtype=torch.float64)


def max_box_acc(
    curves: Tensor, needed: float = 0.5, thresholds: Sequence[float] = THRESHOLDS
) -> tuple[float, float]:
    r"""MaxBoxAcc of a set of pictures and the threshold that gives it.

    .. math:: \max_\tau \frac{1}{N} \sum_n \mathbb{1}[\mathrm{IoU}_n(\tau) \ge \delta]

    Choe et al. 2020. The threshold is the best for these very pictures, so the
    accuracy is too good by that choice. For an honest one take the threshold from calibration
    pictures and read the accuracy of others there: ``(curves[:, t] >= needed).mean()``.

    Args:
        curves: (N, T), of each picture its `box_curve`.
        needed: The IoU :math:`\delta` from which a box counts as found.
        thresholds: Those of the curves.

    Returns:
        The accuracy in [0, 1] and the threshold; the lowest where several give the same.
    """
    checks.number("needed", needed, low=0, high=1)
    if curves.ndim != 2 or curves.shape[1] != len(thresholds) or not len(curves):
        raise ValueError(
            f"curves must be (N, {len(thresholds)}) with N >= 1, got {checks.shape(curves)}"
        )
    if not bool(curves.isfinite().all()):
        raise ValueError("curves must be finite, got NaN or infinity")
    accuracy = (curves >= needed).double().mean(0)
    best = int(accuracy.argmax())
    return float(accuracy[best]), float(thresholds[best])


def box_iou(
    case: Case, attribution: Tensor, explainer: Explainer, seed: int, *, threshold: float
) -> float:
    """IoU of the map's `bounding_box` at ``threshold`` with the nearest of the object's boxes."""
    return _best(bounding_box(attribution, threshold), case.boxes)


def _scaled(attribution: Tensor) -> np.ndarray:
    values = attribution.detach().cpu().double().numpy().clip(min=0)
    low, high = float(values.min()), float(values.max())
    if high == 0:
        raise CannotScore("the map has no positive value")
    if low == high:
        raise CannotScore("the map is the same everywhere")
    return (values - low) / (high - low)


def _largest_part(scaled: np.ndarray, threshold: float) -> Box:
    parts, count = label(scaled >= threshold, TOUCHING)
    sizes = np.bincount(parts.ravel())[1:]
    masses = np.bincount(parts.ravel(), scaled.ravel())[1:]
    largest = max(range(count), key=lambda part: (sizes[part], masses[part]))
    rows, columns = find_objects(parts)[largest]
    return float(columns.start), float(rows.start), float(columns.stop), float(rows.stop)


def _best(found: Box, boxes: Sequence[Box]) -> float:
    return max(iou(found, box) for box in boxes)


def _whole_picture(case: Case) -> float:
    height, width = case.size
    return _best((0.0, 0.0, float(width), float(height)), case.boxes)


TABLE: tuple[Metric, ...] = (
    Metric(
        name="box_iou",
        title="IoU of the box",
        family="localisation",
        better="higher",
        function=box_iou,
        low=0,
        high=1,
        source="Choe et al. 2020, arXiv 2001.07437, before the IoU is counted",
        anchors="random map: the largest box's share of the picture, for 80 % of the pixels hang "
        "together from edge to edge; oracle: 1 for an object in one piece",
        chance=_whole_picture,
        needs=(
            "picture",
            "boxes",
        ),
        settings=MappingProxyType(
            {
                "threshold": Setting(
                    0.2,
                    "a fifth of the maximum, as Zhou et al. 2016 (CAM) and as the bounding figure",
                )
            }
        ),
    ),
)
