"""What happens when a part of the picture is taken away: captum's perturbation methods.

A part that is absent shows the reference image instead (``baseline``). Its value stands on each of
its pixels.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from xaiutils.methods.arguments import BASELINE, Answer, Baseline, by_answer, reference
from xaiutils.methods.record import SIGNED, Setting, Table
from xaiutils.methods.segments import Forward, by_segment
from xaiutils.support import chance, checks

TABLE = Table(family="perturbation", sign=SIGNED)
BATCH = Setting(32, "as many images in one call of the network; speed alone", 1, count=True)
SEGMENTED = {
    "baseline": BASELINE,
    "segments": Setting(None, "those of segments.slic, so that all methods share them"),
    "batch_size": BATCH,
}


@TABLE(
    "Occlusion (sliding window)",
    "Zeiler and Fergus 2014, section 4.2",
    passes="(1 + (1 + (1 - window) / (window * stride)) ** 2) * F",
    alone=True,
    settings={
        "baseline": BASELINE,
        "window": Setting(1 / 8, "28 of 224 pixels: parts of objects, in 226 passes"),
        "stride": Setting(
            1 / 2,
            "four windows see each inner pixel; captum's own, 1 pixel, needs 172 times the "
            "passes at 224 pixels",
        ),
        "batch_size": BATCH,
    },
)
@by_answer
def occlusion(
    asked: Answer, x: Tensor, *, baseline: Baseline, window: float, stride: float, batch_size: int
) -> Tensor:
    r"""Occlusion of an image by a sliding window: (1, H, W), signed.

    A pixel's value is the mean of :math:`f_c(x) - f_c(x_W)` over the windows W that cover it;
    :math:`x_W` is the image with the window taken away, in all channels at once. Windows overlap,
    so the map does not sum to anything. ``window`` is a share of the image's height and width,
    in (0, 1], at least one pixel; ``stride`` from one to the next a share of the window.
    """
    from captum.attr import Occlusion

    sides = [_share("window", window, side) for side in x.shape[2:]]
    steps = [_share("stride", stride, side) for side in sides]
    windows = (x.shape[1], *sides), (x.shape[1], *steps)
    found = Occlusion(asked).attribute(
        x, *windows, reference(baseline, x), perturbations_per_eval=batch_size
    )
    return found[:, 0]  # the same in every channel


@TABLE(
    "Feature ablation",
    "captum's FeatureAblation, over segments",
    passes="(1 + S) * F",
    needs=("segments",),
    settings=SEGMENTED,
)
@TABLE(
    "Occlusion (segments)",
    "Zeiler and Fergus 2014, section 4.2, with segments as windows",
    name="occlusion_segments",
    passes="(1 + S) * F",
    needs=("segments",),
    settings=SEGMENTED,
)
@by_segment
def feature_ablation(forward: Forward, present: Tensor, *, batch_size: int) -> Tensor:
    r""":math:`f_c(x) - f_c(x_S)`, where :math:`x_S` is the image without the segment S.

    Occlusion by segments is the same thing, and the two records differ in name only, although
    Fig. 3 of Dhore et al. has both.
    """
    from captum.attr import FeatureAblation

    return FeatureAblation(forward).attribute(present, perturbations_per_eval=batch_size)


@TABLE(
    "Shapley value sampling",
    "Castro et al. 2009; Strumbelj and Kononenko 2010; Dhore et al. cite Lundberg, Lee 2017",
    passes="(1 + n_samples * S) * F",
    stochastic=True,
    needs=("segments",),
    settings={
        "n_samples": Setting(
            25,
            "captum's own: on four generated scenes, the values of two seeds correlate 0.95",
            count=True,
        )
    }
    | SEGMENTED,
)
@by_segment
def shapley_sampling(
    forward: Forward, present: Tensor, *, n_samples: int, batch_size: int, seed: int
) -> Tensor:
    r"""Shapley values of the segments, by sampling.

    The mean of what :math:`f_c` gains when a segment joins those before it, over ``n_samples``
    random orders. For any number of them the values sum to :math:`f_c(x) - f_c(x_0)`.
    """
    from captum.attr import ShapleyValueSampling

    drawing = chance.torchs(seed)

    def orders(features: int, count: int) -> Iterator[list[int]]:
        """Captum's own would draw them globally."""
        for _ in range(count):
            yield torch.randperm(features, generator=drawing, device="cpu").tolist()

    method = ShapleyValueSampling(forward)
    method.permutation_generator = orders
    return method.attribute(present, n_samples=n_samples, perturbations_per_eval=batch_size)


def _share(argument: str, share: float, of: int) -> int:
    """A share in (0, 1] of some pixels: at least one pixel."""
    if checks.number(argument, share, low=0, high=1) == 0:
        raise ValueError(f"{argument} must be > 0, got 0")
    return max(1, int(of * share))
