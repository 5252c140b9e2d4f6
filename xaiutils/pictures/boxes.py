"""Boxes as ground truth: the labelled object's pixels where the network sees them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from xaiutils.pictures.arrays import Arrays
from xaiutils.pictures.images import Sample, Transform


class BoxTarget(NamedTuple):
    """The labelled object where the network sees it.

    Attributes:
        mask: ``(H, W)`` bool, the pixels whose centre lies in a box.
        boxes: ``(k, 4)`` float64, the boxes that the crop kept, in the network's pixels.
    """

    mask: np.ndarray
    boxes: torch.Tensor


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
    return BoxTarget(mask, moved[torch.tensor(kept)])


def located(sample: Sample, transform: Transform | Arrays) -> np.ndarray | None:
    """Where the network sees the labelled object, ``(H, W)`` bool: its mask, else its boxes'."""
    if sample.mask is not None:
        return transform.mask(sample.mask)
    return sample_target(sample, transform).mask if sample.boxes else None
