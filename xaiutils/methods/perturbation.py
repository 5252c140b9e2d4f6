"""What happens when a part of the picture is taken away: captum's perturbation methods.

A part that is absent shows the reference image instead (``baseline``, by default the mean colour
of the training). Its value stands on each of its pixels.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from xaiutils.methods.arguments import Answer, Baseline, reference
from xaiutils.methods.gradients import BASELINE
from xaiutils.methods.record import SIGNED, Method, Setting
from xaiutils.methods.segments import Forward, by_segment
from xaiutils.network.classifier import Classifier
from xaiutils.network.targets import Question
from xaiutils.support import chance, checks


def occlusion(
    classifier: Classifier,
    x: Tensor,
    target: Question,
    baseline: Baseline = 0.0,
    window: float = 1 / 8,
    stride: float = 1 / 2,
    batch_size: int = 32,
) -> Tensor:
    r"""Occlusion by a sliding window (Zeiler and Fergus 2014, section 4.2).

    A pixel's value is the mean of :math:`f_c(x) - f_c(x_W)` over the windows W that cover it;
    :math:`x_W` is the image with the window taken away, in all channels at once. Windows overlap,
    so the map does not sum to anything.

    Args:
        classifier, x, target: As in `Method`.
        baseline: See `reference`.
        window: Its height and width as a share of the image's, in (0, 1]; at least one pixel.
        stride: From one window to the next, as a share of the window, in (0, 1].
        batch_size: Images that the network sees at once.

    Returns:
        (N, H, W), signed.

    Raises:
        TypeError, ValueError: A setting is no whole number, or out of range.
    """
    from captum.attr import Occlusion

    sides = [_share("window", window, side) for side in x.shape[2:]]
    steps = [_share("stride", stride, side) for side in sides]
    batch_size = checks.whole("batch_size", batch_size)
    x0, twin = reference(baseline, x), classifier.hookable(x)
    maps = [
        Occlusion(Answer(twin, target[i : i + 1])).attribute(
            x[i : i + 1],
            (x.shape[1], *sides),
            (x.shape[1], *steps),
            x0[i : i + 1],
            perturbations_per_eval=batch_size,
        )
        for i in range(len(x))
    ]
    return torch.cat(maps)[:, 0]  # the same in every channel


def feature_ablation(
    classifier: Classifier,
    x: Tensor,
    target: Question,
    baseline: Baseline = 0.0,
    segments: Tensor | None = None,
    batch_size: int = 32,
) -> Tensor:
    r"""Feature ablation: :math:`f_c(x) - f_c(x_S)` for each segment S.

    :math:`x_S` is the image without the segment. Occlusion by segments is the same thing, and
    the two records differ in name only, although Fig. 3 of Dhore et al. has both.

    Args:
        classifier, x, target: As in `Method`.
        baseline: See `reference`.
        segments: (N, H, W) labels from 0 without gaps; by default `segments.slic`.
        batch_size: Images that the network sees at once.

    Returns:
        (N, H, W), signed.

    Raises:
        TypeError, ValueError: A setting is no whole number, or out of range.
    """
    from captum.attr import FeatureAblation

    batch_size = checks.whole("batch_size", batch_size)

    def effects(forward: Forward, present: Tensor) -> Tensor:
        return FeatureAblation(forward).attribute(present, perturbations_per_eval=batch_size)

    return by_segment(classifier, x, target, baseline, segments, effects)


def shapley_sampling(
    classifier: Classifier,
    x: Tensor,
    target: Question,
    n_samples: int = 25,
    baseline: Baseline = 0.0,
    segments: Tensor | None = None,
    batch_size: int = 32,
    *,
    seed: int = 0,
) -> Tensor:
    r"""Shapley values of the segments by sampling (Castro et al. 2009; Strumbelj, Kononenko 2010).

    A segment's value, on each of its pixels, is the mean of what :math:`f_c` gains when it joins
    the segments before it, over ``n_samples`` random orders. The values of the segments sum to
    :math:`f_c(x) - f_c(x_0)` for each order, so for any number of them.

    Args:
        classifier, x, target, baseline, segments, batch_size: As in `feature_ablation`.
        n_samples: Orders, >= 1.
        seed: Of the orders.

    Returns:
        (N, H, W), signed.

    Raises:
        TypeError, ValueError: A setting is no whole number, or out of range.
    """
    from captum.attr import ShapleyValueSampling

    n_samples = checks.whole("n_samples", n_samples)
    batch_size = checks.whole("batch_size", batch_size)

    drawing = chance.torchs(seed)

    def orders(features: int, count: int) -> Iterator[list[int]]:
        """Captum's own would draw them globally."""
        for _ in range(count):
            yield torch.randperm(features, generator=drawing, device="cpu").tolist()

    def effects(forward: Forward, present: Tensor) -> Tensor:
        method = ShapleyValueSampling(forward)
        method.permutation_generator = orders
        return method.attribute(present, n_samples=n_samples, perturbations_per_eval=batch_size)

    return by_segment(classifier, x, target, baseline, segments, effects)


def _share(argument: str, share: float, of: int) -> int:
    """A share in (0, 1] of some pixels: at least one pixel."""
    if checks.number(argument, share, low=0, high=1) == 0:
        raise ValueError(f"{argument} must be > 0, got 0")
    return max(1, int(of * share))


SHARED = {
    "baseline": BASELINE,
    "segments": Setting(None, "those of segments.slic, so that all methods share them"),
    "batch_size": Setting(32, "as many images in one call of the network; speed alone", stock=1),
}

TABLE: tuple[Method, ...] = (
    Method(
        "occlusion",
        "Occlusion (sliding window)",
        occlusion,
        "perturbation",
        SIGNED,
        "Zeiler and Fergus 2014, section 4.2",
        passes="(1 + (1 + (1 - window) / (window * stride)) ** 2) * F",
        settings={
            "baseline": BASELINE,
            "window": Setting(1 / 8, "28 of 224 pixels: parts of objects, in 226 passes"),
            "stride": Setting(
                1 / 2,
                "four windows see each inner pixel; captum's own, 1 pixel, needs 172 times the "
                "passes at 224 pixels",
            ),
            "batch_size": SHARED["batch_size"],
        },
    ),
    Method(
        "occlusion_segments",
        "Occlusion (segments)",
        feature_ablation,
        "perturbation",
        SIGNED,
        "Zeiler and Fergus 2014, section 4.2, with segments as windows",
        passes="(1 + S) * F",
        needs=("segments",),
        settings=SHARED,
    ),
    Method(
        "feature_ablation",
        "Feature ablation",
        feature_ablation,
        "perturbation",
        SIGNED,
        "captum's FeatureAblation, over segments",
        passes="(1 + S) * F",
        needs=("segments",),
        settings=SHARED,
    ),
    Method(
        "shapley_sampling",
        "Shapley value sampling",
        shapley_sampling,
        "perturbation",
        SIGNED,
        "Castro et al. 2009; Strumbelj and Kononenko 2010; Dhore et al. cite Lundberg, Lee 2017",
        passes="(1 + n_samples * S) * F",
        stochastic=True,
        needs=("segments",),
        settings={
            "n_samples": Setting(
                25,
                "captum's own: on four generated scenes, the values of two seeds correlate 0.95",
            ),
            **SHARED,
        },
    ),
)
