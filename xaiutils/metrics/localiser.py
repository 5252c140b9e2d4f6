"""A map as a localiser: the box around its largest bright part against the object's own box.

Choe et al. 2020, "Evaluating weakly supervised object localization methods right" (arXiv
2001.07437). The part is a bounding figure as the hybrid has one: what is left above a threshold.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import find_objects, label
from torch import Tensor

from xaiutils.cases.case import Case
from xaiutils.methods.record import Setting
from xaiutils.metrics.localisation import NO_POSITIVE
from xaiutils.metrics.record import CannotScore, Explainer, Metric
from xaiutils.pictures.images import Box
from xaiutils.support import checks

TOUCHING = np.ones((3, 3))  # diagonal neighbours too, as in the contours of the published code


def bounding_box(attribution: Tensor, threshold: float) -> Box:
    """The tight box (x0, y0, x1, y1) around the largest connected part of a map (H, W).

    The part is where the positive values, scaled to [0, 1] by their smallest and largest, are at
    least ``threshold``: everywhere for 0, at the maxima for 1. Negative values speak against the
    class and count as zero. Of parts of one size the one with the greater sum is taken.

    Raises:
        CannotScore: The map has no positive value, or one value everywhere.
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


def box_iou(
    case: Case, attribution: Tensor, explainer: Explainer, seed: int, *, threshold: float
) -> float:
    """IoU of the map's `bounding_box` at ``threshold`` with the nearest of the object's boxes."""
    return _best(bounding_box(attribution, threshold), case)


def _best(found: Box, case: Case) -> float:
    return max(iou(found, box) for box in case.boxes)


def _whole_picture(case: Case) -> float:
    height, width = case.size
    return _best((0.0, 0.0, float(width), float(height)), case)


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
        needs=("picture", "boxes"),
        settings={
            "threshold": Setting(
                0.2, "a fifth of the maximum, as Zhou et al. 2016 (CAM) and as the bounding figure"
            )
        },
    ),
)
