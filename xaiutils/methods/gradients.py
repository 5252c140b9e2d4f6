"""Methods that ask the gradient of the class's logit by the image: captum's, on the twin network.

With :math:`f_c` the logit of the explained class, or the score that is explained, and :math:`x_0`
the reference image (``baseline``, by default the mean colour of the training). A pixel's value is
the mean over the channels, with its sign.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from xaiutils.methods.arguments import (
    BASELINE,
    COLOURS,
    Answer,
    Baseline,
    by_answer,
    leaf,
    reference,
    references,
)
from xaiutils.methods.record import NONNEGATIVE, SIGNED, Setting, Table
from xaiutils.network.classifier import Classifier
from xaiutils.network.targets import Question
from xaiutils.support import chance, checks

TABLE = Table(family="gradient", sign=SIGNED)
BATCH = Setting(25, "bounds the memory; the map does not depend on it but for rounding", count=True)


@TABLE("Saliency", "Simonyan et al. 2013, section 3.1", sign=NONNEGATIVE)
@by_answer
def saliency(asked: Answer, x: Tensor) -> Tensor:
    r"""Saliency map: (N, H, W), not negative.

    .. math:: \max_k |\partial f_c / \partial x_k| \quad\text{over the channels } k.
    """
    from captum.attr import Saliency

    return Saliency(asked).attribute(leaf(x)).amax(1)


@TABLE("Gradient × input", "Shrikumar et al. 2016")
@by_answer
def gradient_x_input(asked: Answer, x: Tensor) -> Tensor:
    r"""Gradient times input, :math:`x \odot \partial f_c / \partial x`: (N, H, W), signed.

    x is in normalised units, so that a pixel of the training's mean colour gets 0.
    """
    from captum.attr import InputXGradient

    return InputXGradient(asked).attribute(leaf(x)).mean(1)


@TABLE(
    "Integrated gradients",
    "Sundararajan et al. 2017, eq. 1",
    passes="n_steps * (F + B)",
    alone=True,
    settings={
        "n_steps": Setting(
            50, "captum's own; Sundararajan et al. find 20 to 300 enough", count=True
        ),
        "baseline": BASELINE,
        "batch_size": BATCH,
    },
)
@by_answer
def integrated_gradients(
    asked: Answer, x: Tensor, *, n_steps: int, baseline: Baseline, batch_size: int
) -> Tensor:
    r"""Integrated gradients of an image, by Gauss-Legendre quadrature: (1, H, W), signed.

    .. math:: (x - x_0) \odot \int_0^1 \partial f_c(x_0 + a (x - x_0)) / \partial x \, da

    with ``n_steps`` places, ``batch_size`` at once. Summed over pixels and channels it is
    :math:`f_c(x) - f_c(x_0)`, up to the quadrature's error.
    """
    from captum.attr import IntegratedGradients

    x0, sizes = reference(baseline, x), {"n_steps": n_steps, "internal_batch_size": batch_size}
    return IntegratedGradients(asked).attribute(x, x0, **sizes).mean(1)


@TABLE(
    "SmoothGrad",
    "Smilkov et al. 2017, section 3",
    passes="n_samples * (F + B)",
    stochastic=True,
    settings={
        "n_samples": Setting(50, "Smilkov et al. see little change beyond 50", 5, count=True),
        "noise": Setting(
            0.15,
            "10 to 20 % of the image's range, as Smilkov et al.; captum's 1.0 is in units of "
            "the normalised input, so it depends on the classifier's std",
            stock="1.0, absolute",
        ),
        "batch_size": BATCH,
    },
)
@by_answer
def smooth_grad(
    asked: Answer, x: Tensor, *, n_samples: int, noise: float, batch_size: int, seed: int
) -> Tensor:
    r"""The mean gradient over noisy copies of an image: (1, H, W), signed.

    .. math:: \frac1n \sum_{i=1}^n \partial f_c / \partial x \,(x + \epsilon_i), \quad
        \epsilon_i \sim N(0, \sigma^2), \quad \sigma = \text{noise} \cdot (\max x - \min x)

    with ``noise`` >= 0 a share of the image's own range, and ``batch_size`` copies at once.
    """
    from captum.attr import Saliency

    noise = checks.number("noise", noise, low=0)
    deviation = torch.tensor(noise * float(x.max() - x.min()), device=x.device)
    drawing, total = chance.torchs(seed, x.device), torch.zeros_like(x)
    for n in _parts(n_samples, batch_size):  # captum's NoiseTunnel draws globally
        noisy = x + torch.normal(0, deviation.expand(n, *x.shape[1:]), generator=drawing)
        total += Saliency(asked).attribute(leaf(noisy), abs=False).sum(0)
    return (total / n_samples).mean(1)


@TABLE(
    "GradientSHAP",
    "Erion et al. 2021 (expected gradients); Lundberg and Lee 2017",
    passes="n_samples * (F + B)",
    stochastic=True,
    needs=("baselines",),
    settings={"n_samples": Setting(50, "as many gradients as integrated gradients", 5, count=True)}
    | COLOURS
    | {"batch_size": BATCH},
)
def gradient_shap(
    classifier: Classifier,
    x: Tensor,
    target: Question,
    *,
    n_samples: int,
    batch_size: int,
    seed: int,
    **colours: Any,
) -> Tensor:
    r"""Integrated gradients of an image from references by chance, sampled: (1, H, W), signed.

    .. math:: \frac1n \sum_i (x - x_i) \odot
        \partial f_c(x_i + a_i (x - x_i)) / \partial x, \quad a_i \sim U(0, 1)

    with :math:`x_i` one of `references` by chance. In expectation it sums, over pixels and
    channels, to :math:`f_c(x)` less the mean of :math:`f_c` over the references.
    """
    from captum.attr import Saliency

    xs = references(classifier, x, seed, **colours)
    method = Saliency(Answer(classifier.hookable(x), target))
    drawing, total = chance.numpys(seed), torch.zeros_like(x)
    for n in _parts(n_samples, batch_size):  # captum's GradientShap draws globally
        starts = xs[drawing.choice(len(xs), n)]
        way = torch.tensor(drawing.uniform(0, 1, n)).to(x).view(-1, *[1] * (x.ndim - 1))
        places = leaf(way * x + (1 - way) * starts)
        found = (x - starts) * method.attribute(places, abs=False)
        total += found.sum(0) / n * (n / n_samples)
    return total.mean(1)


def _parts(whole: int, most: int) -> list[int]:
    """``whole`` in parts of ``most``, the last one smaller."""
    return [min(most, whole - done) for done in range(0, whole, most)]
