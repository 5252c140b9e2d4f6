"""Segments: the parts of a picture that perturbation methods take away.

captum is asked about a vector with one entry per segment, 1 for present: its masks would say the
same once per pixel.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np
import torch
from torch import Tensor

from xaiutils.methods.arguments import Answer, Baseline, reference
from xaiutils.methods.record import CannotExplain, Function
from xaiutils.network.classifier import Classifier, checked_classifier
from xaiutils.network.targets import Question
from xaiutils.pictures.images import Transform, denormalise
from xaiutils.support import checks

Forward = Callable[[Tensor], Tensor]


def slic(
    classifier: Classifier, x: Tensor, n_segments: int = 50, compactness: float = 10.0
) -> Tensor:
    """SLIC superpixels of each picture as people see it (Achanta et al. 2012; scikit-image).

    Args:
        classifier: Knows how the picture was normalised.
        x: (N, C, H, W), preprocessed by the classifier.
        n_segments: About how many, >= 1.
        compactness: Weight of nearness against likeness of colour, > 0; more gives squarer ones.

    Returns:
        (N, H, W) int64 on the CPU; each image's labels are 0, 1, ... without gaps.
    """
    from skimage.segmentation import slic as superpixels

    checked_classifier(classifier).check(x)
    n_segments = checks.whole("n_segments", n_segments)
    compactness = checks.number("compactness", compactness)
    if compactness <= 0:
        raise ValueError(f"compactness must be > 0, got {compactness:g}")
    labels = []
    for picture in _pictures(classifier, x):
        found = superpixels(picture, n_segments, compactness, start_label=0, channel_axis=-1)
        labels.append(np.unique(found, return_inverse=True)[1].reshape(found.shape))
    return torch.from_numpy(np.stack(labels)).long()


def _pictures(classifier: Classifier, x: Tensor) -> np.ndarray:
    """What people see of the images, (N, H, W, 3); of arrays their preview."""
    transform = classifier.transform
    if isinstance(transform, Transform):
        return denormalise(x, transform)
    if transform.dimensions != 2:
        raise ValueError("x must be images (N, C, H, W) for superpixels: give segments of your own")
    std, mean = (x.new_tensor(value)[:, None, None] for value in (transform.std, transform.mean))
    return np.stack([transform.picture(array) for array in x.detach() * std + mean])


def by_segment(function: Function) -> Function:
    """The function of a record of ``function(forward, present, **settings)``.

    It asks the network, which maps the presence of segments (n, S) to scores (n,), and gives the
    effect of each, (1, S), when it is shown the full image, ones (1, S). The record's function
    draws them on the pixels of an image, (1, H, W), and takes two settings more: ``baseline``,
    what an absent segment shows, and ``segments``, (1, H, W) labels, by default those of `slic`.
    It raises CannotExplain where `slic` sees one segment. Whoever wants one alone gives it.
    """

    @wraps(function)
    def explain(
        classifier: Classifier,
        x: Tensor,
        target: Question,
        *,
        baseline: Baseline,
        segments: Tensor | None,
        **settings: Any,
    ) -> Tensor:
        labels = (_own(classifier, x) if segments is None else segments).to(x.device)
        x0, asked = reference(baseline, x), Answer(classifier.hookable(x), target)

        def score(present: Tensor) -> Tensor:
            """Of the image with only these segments, (n, S) to (n,)."""
            return asked(torch.where(present[:, None, labels[0]] > 0.5, x, x0))

        everything = x.new_ones(1, int(labels.max()) + 1)
        return function(score, everything, **settings)[0][labels]

    return explain


def _own(classifier: Classifier, x: Tensor) -> Tensor:
    """Those of `slic`, if there is something to compare in the image."""
    labels = slic(classifier, x)
    if not int(labels.max()):
        raise CannotExplain(
            "segments must be at least 2 per image to compare, got 1: SLIC joins what is noisy "
            "from pixel to pixel; give segments=slic(classifier, x, compactness=100) of "
            "xaiutils.methods.segments"
        )
    return labels
