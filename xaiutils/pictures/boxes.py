"""Boxes as ground truth: the labelled object's pixels where the network sees them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from xaiutils.pictures.arrays import Arrays
from xaiutils.pictures.images import Sample, Transform


@dataclass(frozen=True, eq=False)
class BoxTarget:
    """The labelled object where the network sees it.

    Args:
        mask: ``(H, W)`` bool, the pixels whose centre lies in a box.
        boxes: ``(k, 4)`` float64, the boxes that the crop kept, in the network's pixels.
        kept_share: area of the boxes' union after the crop over before it, in [0, 1].
        dropped: number of boxes of which no pixel is left.
    """

    mask: np.ndarray
    boxes: torch.Tensor
    kept_share: float
    dropped: int

    @property
    def chance(self) -> float:
        """Share of the picture that the mask covers: what a random map scores in localisation."""
        return float(self.mask.mean())


def sample_target(sample: Sample, transform: Transform | Arrays) -> BoxTarget:
    """The union of a sample's boxes, through the transform of its picture.

    Raises:
        ValueError: the sample has no boxes (a picture that nobody annotated has no target).
    """
    if isinstance(transform, Arrays):
        raise ValueError(f"sample must have a mask instead of boxes for arrays, {sample.id!r} has")
    if not sample.boxes:
        raise ValueError(f"sample must have boxes, got none for {sample.id!r}")
    size = (sample.image.height, sample.image.width)
    moved = transform.boxes(sample.boxes, size)
    mask = np.zeros(transform.layout(*size).size, dtype=bool)
    kept = []
    # The centre of pixel i is at i + 0.5, so that it lies in the box from i = ceil(x0 - 0.5) on.
    for x0, y0, x1, y1 in torch.ceil(moved - 0.5).long().tolist():
        mask[y0:y1, x0:x1] = True
        kept.append(x0 < x1 and y0 < y1)
    boxes = moved[torch.tensor(kept)]
    before = _union_area(replace(transform, crop=None).boxes(sample.boxes, size).numpy())
    share = min(_union_area(boxes.numpy()) / before, 1.0)
    return BoxTarget(mask, boxes, share, kept.count(False))


def located(sample: Sample, transform: Transform | Arrays) -> np.ndarray | None:
    """Where the network sees the labelled object, ``(H, W)`` bool: its mask, else its boxes'."""
    if sample.mask is not None:
        return transform.mask(sample.mask)
    return sample_target(sample, transform).mask if sample.boxes else None


def _union_area(boxes: np.ndarray) -> float:
    """Area of the union of ``(n, 4)`` boxes, exactly: each cell between their edges once."""
    xs, ys = np.unique(boxes[:, 0::2]), np.unique(boxes[:, 1::2])
    covered = np.zeros((max(len(ys) - 1, 0), max(len(xs) - 1, 0)), dtype=bool)
    for x0, y0, x1, y1 in boxes:
        left, right = np.searchsorted(xs, (x0, x1))
        top, bottom = np.searchsorted(ys, (y0, y1))
        covered[top:bottom, left:right] = True
    return float((np.outer(np.diff(ys), np.diff(xs)) * covered).sum())
