"""Class activation maps that ask the network again: Score-CAM and Ablation-CAM by grad-cam.

The library's classes run on `xaiutils.network.hookable.Twin`, a copy of the network. Each image
is explained alone: the library holds the masked pictures of a whole batch in memory at once (0.3 GB
for each picture of 224 pixels and 512 channels). Its maps are scaled to [0, 1] twice, in the
layer's resolution and after bilinear upsampling, each time as ``(m - min) / (max - min + 1e-7)``.
"""

from __future__ import annotations

import types
from collections.abc import Callable
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from xaiutils.methods.record import NONNEGATIVE, Method, Setting
from xaiutils.network.classifier import Classifier
from xaiutils.network.hookable import Twin
from xaiutils.network.positions import Positions
from xaiutils.network.targets import Question, answer
from xaiutils.network.uncaptured import Whole
from xaiutils.support import checks
from xaiutils.support.borrowed import environment_kept, seeing


def score_cam(
    classifier: Classifier, x: Tensor, target: Question, *, batch_size: int = 16
) -> Tensor:
    r"""Score-CAM: :math:`\mathrm{relu}(\sum_k w_k A_k)`, weights by masking the picture.

    .. math:: w_k = \mathrm{softmax}_k\, S_t(x \odot M_k), \qquad
              M_k = \frac{U_k - \min U_k}{\max U_k - \min U_k + 10^{-8}},

    U the activations A, bilinearly upsampled with aligned corners. Wang et al. 2020 (arXiv
    1910.01279), section 3, as grad-cam 1.5.7 computes it. The library leaves out that paper's
    baseline, the logit of an empty picture; it is the same for every mask, and cancels. The
    softmax runs over the raw logits of all masks, so that large logits leave one channel nearly
    all the weight. The normalised picture is masked: what is masked gets the mean colour, not
    black.

    Args:
        classifier: Its copy is asked once for A and once for each of A's C channels.
        x: (N, C, H, W), preprocessed.
        target: (N,), one class or score per image.
        batch_size: Masked pictures per forward pass.

    Returns:
        (N, H, W) in [0, 1]; no weight is negative.

    Raises:
        TypeError, ValueError: ``batch_size`` is no whole number >= 1.
    """
    with environment_kept():
        from pytorch_grad_cam import ScoreCAM

    size = checks.whole("batch_size", batch_size)

    class Quiet(ScoreCAM):
        get_cam_weights = _without_bar(ScoreCAM.get_cam_weights)

    def prepared(twin: Twin | Whole) -> Any:
        run = Quiet(twin, [twin.cam_layer], reshape_transform=as_maps(classifier))
        run.batch_size = size
        return run

    return torch.cat([_by_library(prepared, classifier, x, target, i)[0] for i in range(len(x))])


def ablation_cam(
    classifier: Classifier, x: Tensor, target: Question, *, batch_size: int = 32
) -> Tensor:
    r"""Ablation-CAM: :math:`\mathrm{relu}(\sum_k w_k A_k)`, weights by switching channels off.

    .. math:: w_k = \frac{S_t - S_t^{(A_k = 0)}}{S_t}

    Desai and Ramaswamy 2020 (WACV), section 3, by grad-cam 1.5.7. Dividing by the logit turns all
    weights over where the logit is negative: the map then shows what speaks against the class.
    The library zeroes a channel only where the smallest activation of the layer is exactly 0, and
    elsewhere sets it 1e7 below the smallest, which puts the logits out of all proportion; here a
    channel is always set to zero, as in its paper.

    Args:
        classifier: Its copy is asked twice for A and the logit, and once for each channel of A.
        x: (N, C, H, W), preprocessed.
        target: (N,), one class or score per image.
        batch_size: Channels switched off per forward pass.

    Returns:
        (N, H, W) in [0, 1].

    Raises:
        ValueError: The logit of an image's class is exactly 0: the weights do not exist.
    """
    with environment_kept():
        from pytorch_grad_cam import AblationCAM
        from pytorch_grad_cam.ablation_layer import AblationLayerVit

    size = checks.whole("batch_size", batch_size)
    size = 1 if classifier.network.uncaptured else size  # which computes one at a time

    class Quiet(AblationCAM):
        get_cam_weights = _without_bar(AblationCAM.get_cam_weights)

    class Zeroed(AblationLayerVit):  # which copies maps and tokens alike
        def __call__(self, a: Tensor) -> Tensor:
            ablated = self.activations
            channels = ablated.movedim(read.channel, 1)
            channels[range(len(ablated)), self.indices[: len(ablated)]] = 0
            return ablated

    read = _read(classifier)

    def prepared(twin: Twin | Whole) -> Any:
        return Quiet(
            twin,
            [twin.cam_layer],
            reshape_transform=as_maps(classifier),
            ablation_layer=Zeroed(),
            batch_size=size,
        )

    maps = []
    for i in range(len(x)):
        with np.errstate(divide="ignore", invalid="ignore"):  # a logit of 0 is refused below
            found, score = _by_library(prepared, classifier, x, target, i)
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
    read = _read(classifier)
    return lambda a: a if read.plain else read.as_maps(a).contiguous()


def _read(classifier: Classifier) -> Positions:
    return classifier.reading()


def _by_library(
    prepared: Callable[[Twin | Whole], Any],
    classifier: Classifier,
    x: Tensor,
    target: Question,
    i: int,
) -> tuple[Tensor, float]:
    """The library's map of image ``i``, (1, H, W), and the score that it explains."""
    # Not the library's own `with` block: that one swallows an IndexError.
    run = prepared(classifier.hookable(x, classifier.cam_layer))
    own = target[i : i + 1]
    with torch.no_grad():
        found = run(input_tensor=x[i : i + 1], targets=[lambda row: answer(row[None], own)[0]])
        return torch.from_numpy(found).to(x.device), float(answer(run.outputs[:1], own))


def _without_bar(function: Any) -> Any:
    """The library's function without the progress bar that it always shows."""
    return seeing(function, tqdm=types.SimpleNamespace(tqdm=iter))


TABLE: tuple[Method, ...] = (
    Method(
        name="score_cam",
        title="Score-CAM",
        function=score_cam,
        family="CAM",
        pictures_only=True,
        sign=NONNEGATIVE,
        source="Wang et al. 2020, arXiv 1910.01279, section 3, as in grad-cam 1.5.7",
        passes="(C + 1) * F",
        settings=MappingProxyType(
            {"batch_size": Setting(16, "masked pictures at once: memory, not the map")}
        ),
    ),
    Method(
        name="ablation_cam",
        title="Ablation-CAM",
        function=ablation_cam,
        family="CAM",
        pictures_only=True,
        sign=NONNEGATIVE,
        source="Desai and Ramaswamy 2020, WACV, section 3, as in grad-cam 1.5.7",
        passes="(C + 2) * F",
        settings=MappingProxyType(
            {"batch_size": Setting(32, "channels switched off at once: memory, not the map")}
        ),
    ),
)
