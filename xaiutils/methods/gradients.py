"""Methods that ask the gradient of the class's logit by the image: captum's, on the twin network.

With :math:`f_c` the logit of the explained class, or the score that is explained, and :math:`x_0`
the reference image (``baseline``, by default 0 in normalised units: the mean colour of the
training). A pixel's value is the mean over the channels, with its sign; the saliency map alone
takes the largest magnitude, as its paper does.
"""

from __future__ import annotations

import torch
from torch import Tensor

from xaiutils.methods.arguments import Answer, Baseline, reference, references
from xaiutils.methods.record import NONNEGATIVE, SIGNED, Method, Setting
from xaiutils.network.classifier import Classifier
from xaiutils.network.targets import Question
from xaiutils.support import chance, checks


def saliency(classifier: Classifier, x: Tensor, target: Question) -> Tensor:
    r"""Saliency map (Simonyan et al. 2013, section 3.1).

    .. math:: \max_k |\partial f_c / \partial x_k| \quad\text{over the channels } k.

    Returns:
        (N, H, W), not negative.
    """
    from captum.attr import Saliency

    found = Saliency(Answer(classifier.hookable(x), target)).attribute(leaf(x))
    return found.amax(1)


def gradient_x_input(classifier: Classifier, x: Tensor, target: Question) -> Tensor:
    r"""Gradient times input, :math:`x \odot \partial f_c / \partial x` (Shrikumar et al. 2016).

    x is in normalised units, so a pixel of the training's mean colour gets 0.

    Returns:
        (N, H, W), signed: the mean over the channels.
    """
    from captum.attr import InputXGradient

    found = InputXGradient(Answer(classifier.hookable(x), target)).attribute(leaf(x))
    return found.mean(1)


def integrated_gradients(
    classifier: Classifier,
    x: Tensor,
    target: Question,
    n_steps: int = 50,
    baseline: Baseline = 0.0,
    batch_size: int = 25,
) -> Tensor:
    r"""Integrated gradients (Sundararajan et al. 2017, eq. 1), by Gauss-Legendre quadrature.

    .. math:: (x - x_0) \odot \int_0^1 \partial f_c(x_0 + a (x - x_0)) / \partial x \, da

    Summed over pixels and channels it is :math:`f_c(x) - f_c(x_0)`, up to the quadrature's error.

    Args:
        classifier, x, target: As in `Method`.
        n_steps: Places on the way at which the gradient is asked, >= 1.
        baseline: See `reference`.
        batch_size: Of them, how many at once.

    Returns:
        (N, H, W), signed: the mean over the channels.

    Raises:
        TypeError, ValueError: A setting is no whole number, or out of range.
    """
    from captum.attr import IntegratedGradients

    n_steps = checks.whole("n_steps", n_steps)
    batch_size = checks.whole("batch_size", batch_size)
    x0, twin = reference(baseline, x), classifier.hookable(x)
    maps = [
        IntegratedGradients(Answer(twin, target[i : i + 1])).attribute(
            x[i : i + 1],
            x0[i : i + 1],
            n_steps=n_steps,
            internal_batch_size=batch_size,
        )
        for i in range(len(x))
    ]
    return torch.cat(maps).mean(1)


def smooth_grad(
    classifier: Classifier,
    x: Tensor,
    target: Question,
    n_samples: int = 50,
    noise: float = 0.15,
    batch_size: int = 25,
    *,
    seed: int = 0,
) -> Tensor:
    r"""SmoothGrad: the mean gradient over noisy copies (Smilkov et al. 2017, section 3).

    .. math:: \frac1n \sum_{i=1}^n \partial f_c / \partial x \,(x + \epsilon_i), \quad
        \epsilon_i \sim N(0, \sigma^2), \quad \sigma = \text{noise} \cdot (\max x - \min x)

    Args:
        classifier, x, target: As in `Method`.
        n_samples: Noisy copies, >= 1.
        noise: As a share of each image's own range, >= 0, as Smilkov et al. measure it.
        batch_size: Copies that the network sees at once.
        seed: Of the noise.

    Returns:
        (N, H, W), signed: the mean over the channels.

    Raises:
        TypeError, ValueError: A setting is no whole number, or out of range.
    """
    from captum.attr import Saliency

    n_samples = checks.whole("n_samples", n_samples)
    batch_size = checks.whole("batch_size", batch_size)
    noise = checks.number("noise", noise, low=0)
    twin, drawing = classifier.hookable(x), chance.torchs(seed, x.device)
    total = torch.zeros_like(x)
    for i in range(len(x)):
        method = Saliency(Answer(twin, target[i : i + 1]))
        deviation = torch.tensor(noise * float(x[i].max() - x[i].min()), device=x.device)
        for n in _parts(n_samples, batch_size):  # captum's NoiseTunnel draws globally
            noisy = x[i] + torch.normal(0, deviation.expand(n, *x.shape[1:]), generator=drawing)
            total[i] += method.attribute(leaf(noisy), abs=False).sum(0)
    return (total / n_samples).mean(1)


def gradient_shap(
    classifier: Classifier,
    x: Tensor,
    target: Question,
    n_samples: int = 50,
    baselines: Tensor | None = None,
    n_baselines: int = 8,
    batch_size: int = 25,
    *,
    seed: int = 0,
) -> Tensor:
    r"""GradientSHAP: integrated gradients from references by chance, sampled (Erion et al. 2021).

    .. math:: \frac1n \sum_i (x - x_i) \odot
        \partial f_c(x_i + a_i (x - x_i)) / \partial x, \quad a_i \sim U(0, 1)

    with :math:`x_i` one of the references by chance. In expectation it sums, over pixels and
    channels, to :math:`f_c(x)` less the mean of :math:`f_c` over the references.

    Args:
        classifier, x, target: As in `Method`.
        n_samples: Places at which the gradient is asked, >= 1.
        baselines: References (n, C, H, W); by default ``n_baselines`` solid colours by chance.
        n_baselines: How many where ``baselines`` are not given, >= 1.
        batch_size: Places asked at once.
        seed: Of colours and places.

    Returns:
        (N, H, W), signed: the mean over the channels.

    Raises:
        TypeError, ValueError: A setting is no whole number, or out of range.
    """
    from captum.attr import Saliency

    n_samples = checks.whole("n_samples", n_samples)
    batch_size = checks.whole("batch_size", batch_size)
    xs = references(baselines, n_baselines, classifier, x, seed)
    twin, drawing = classifier.hookable(x), chance.numpys(seed)
    total = torch.zeros_like(x)
    for i in range(len(x)):
        method = Saliency(Answer(twin, target[i : i + 1]))
        for n in _parts(n_samples, batch_size):  # captum's GradientShap draws globally
            starts = xs[drawing.choice(len(xs), n)]
            way = torch.tensor(drawing.uniform(0, 1, n)).to(x).view(-1, *[1] * (x.ndim - 1))
            places = leaf(way * x[i] + (1 - way) * starts)
            found = (x[i] - starts) * method.attribute(places, abs=False)
            total[i] += found.sum(0) / n * (n / n_samples)
    return total.mean(1)


def _parts(whole: int, most: int) -> list[int]:
    """``whole`` in parts of ``most``, the last one smaller."""
    return [min(most, whole - done) for done in range(0, whole, most)]


def leaf(x: Tensor) -> Tensor:
    """A copy of the images that can be differentiated by; captum would mark the caller's own."""
    return x.detach().clone().requires_grad_()


BASELINE = Setting(0.0, "the mean colour of the training: it shows no object")
BATCH = Setting(25, "bounds the memory; the map does not depend on it but for rounding")
COLOURS = {
    "baselines": Setting(None, "solid colours by chance: the call has no training pictures"),
    "n_baselines": Setting(8, "a few colours, so that no single one decides what counts as absent"),
}

TABLE: tuple[Method, ...] = (
    Method(
        "saliency",
        "Saliency",
        saliency,
        "gradient",
        NONNEGATIVE,
        "Simonyan et al. 2013, section 3.1",
    ),
    Method(
        "gradient_x_input",
        "Gradient × input",
        gradient_x_input,
        "gradient",
        SIGNED,
        "Shrikumar et al. 2016",
    ),
    Method(
        "integrated_gradients",
        "Integrated gradients",
        integrated_gradients,
        "gradient",
        SIGNED,
        "Sundararajan et al. 2017, eq. 1",
        passes="n_steps * (F + B)",
        settings={
            "n_steps": Setting(50, "captum's own; Sundararajan et al. find 20 to 300 enough"),
            "baseline": BASELINE,
            "batch_size": BATCH,
        },
    ),
    Method(
        "smooth_grad",
        "SmoothGrad",
        smooth_grad,
        "gradient",
        SIGNED,
        "Smilkov et al. 2017, section 3",
        passes="n_samples * (F + B)",
        stochastic=True,
        settings={
            "n_samples": Setting(50, "Smilkov et al. see little change beyond 50", stock=5),
            "noise": Setting(
                0.15,
                "10 to 20 % of the image's range, as Smilkov et al.; captum's 1.0 is in units of "
                "the normalised input, so it depends on the classifier's std",
                stock="1.0, absolute",
            ),
            "batch_size": BATCH,
        },
    ),
    Method(
        "gradient_shap",
        "GradientSHAP",
        gradient_shap,
        "gradient",
        SIGNED,
        "Erion et al. 2021 (expected gradients); Lundberg and Lee 2017",
        passes="n_samples * (F + B)",
        stochastic=True,
        needs=("baselines",),
        settings={
            "n_samples": Setting(50, "as many gradients as integrated gradients", stock=5),
            **COLOURS,
            "batch_size": BATCH,
        },
    ),
)
