"""Class activation maps that ask the network again: Score-CAM and Ablation-CAM by grad-cam.

The library's maps are scaled to [0, 1] twice, in the layer's resolution and after bilinear
upsampling, each time as ``(m - min) / (max - min + 1e-7)``.
"""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from xaiutils.methods.record import NONNEGATIVE, Setting, Table
from xaiutils.network.classifier import Classifier
from xaiutils.network.targets import Question, answer
from xaiutils.support.borrowed import environment_kept, seeing

TABLE = Table(family="CAM", sign=NONNEGATIVE, pictures_only=True)


@TABLE(
    "Score-CAM",
    "Wang et al. 2020, arXiv 1910.01279, section 3, as in grad-cam 1.5.7",
    passes="(C + 1) * F",
    alone=True,
    settings={
        "batch_size": Setting(16, "masked pictures at once: memory, not the map", count=True)
    },
)
def score_cam(classifier: Classifier, x: Tensor, target: Question, *, batch_size: int) -> Tensor:
    r"""Score-CAM of an image, :math:`\mathrm{relu}(\sum_k w_k A_k)`: (1, H, W) in [0, 1].

    .. math:: w_k = \mathrm{softmax}_k\, S_t(x \odot M_k), \qquad
              M_k = \frac{U_k - \min U_k}{\max U_k - \min U_k + 10^{-8}},

    U the activations A, bilinearly upsampled with aligned corners. The softmax runs over the raw
    logits of all masks, so that large logits leave one channel nearly all the weight. The
    normalised picture is masked: what is masked gets the mean colour, not black.
    """
    with environment_kept():
        from pytorch_grad_cam import ScoreCAM

    return _by_library(ScoreCAM, classifier, x, target, batch_size)[0]


@TABLE(
    "Ablation-CAM",
    "Desai and Ramaswamy 2020, WACV, section 3, as in grad-cam 1.5.7",
    passes="(C + 2) * F",
    settings={
        "batch_size": Setting(32, "channels switched off at once: memory, not the map", count=True)
    },
)
def ablation_cam(classifier: Classifier, x: Tensor, target: Question, *, batch_size: int) -> Tensor:
    r"""Ablation-CAM, :math:`\mathrm{relu}(\sum_k w_k A_k)`: (N, H, W) in [0, 1].

    .. math:: w_k = \frac{S_t - S_t^{(A_k = 0)}}{S_t}

    Dividing by the logit turns all weights over where it is negative, and is refused where it is 0.
    The library zeroes a channel only where the smallest activation of the layer is exactly 0, and
    elsewhere sets it 1e7 below the smallest; here it is always set to zero, as in its paper.
    """
    with environment_kept():
        from pytorch_grad_cam import AblationCAM
        from pytorch_grad_cam.ablation_layer import AblationLayerVit

    read = classifier.reading()

    class Zeroed(AblationLayerVit):  # which copies maps and tokens alike
        def __call__(self, a: Tensor) -> Tensor:
            ablated = self.activations
            channels = ablated.movedim(read.channel, 1)
            channels[range(len(ablated)), self.indices[: len(ablated)]] = 0
            return ablated

    size = 1 if classifier.network.uncaptured else batch_size  # which computes one at a time
    maps = []
    for i in range(len(x)):
        given = classifier, x[i : i + 1], target[i : i + 1], size
        with np.errstate(divide="ignore", invalid="ignore"):  # a logit of 0 is refused below
            found, score = _by_library(AblationCAM, *given, ablation_layer=Zeroed())
        if score == 0:
            what = f"class {int(target[i])}" if isinstance(target, Tensor) else target[i].name
            raise ValueError(
                "target must have a logit other than 0 for ablation_cam, which divides by it, "
                f"got exactly 0 for {what} at image {i}"
            )
        maps.append(found)
    return torch.cat(maps)


def as_maps(classifier: Classifier) -> Callable[[Tensor], Tensor]:
    """For the library: what the CAM layer gives, tokens too, as (N, C, h, w)."""
    read = classifier.reading()
    return lambda a: read.as_maps(a).contiguous() if read.kind else a


def _by_library(
    cam: Any, classifier: Classifier, x: Tensor, target: Question, batch_size: int, **settings: Any
) -> tuple[Tensor, float]:
    """The map of one image by a class of the library, (1, H, W), and the score that it explains."""
    bar = types.SimpleNamespace(tqdm=iter)  # the library always shows one
    quiet = type("Quiet", (cam,), {"get_cam_weights": seeing(cam.get_cam_weights, tqdm=bar)})
    twin = classifier.hookable(x, classifier.cam_layer)
    run = quiet(twin, [twin.cam_layer], reshape_transform=as_maps(classifier), **settings)
    run.batch_size = batch_size
    # Not the library's own `with` block: that one swallows an IndexError.
    with torch.no_grad():
        found = run(input_tensor=x, targets=[lambda row: answer(row[None], target)[0]])
        return torch.from_numpy(found).to(x.device), float(answer(run.outputs[:1], target))
