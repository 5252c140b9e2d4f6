r"""The paper on one page: bounding figure, fusion, smoothing, and all five steps at once.

Dhore et al., "Enhancing Explainable AI: A Hybrid Approach Combining GradCAM and LRP for CNN
Interpretability", section III-B. Its five steps are our counting; the paper counts three (I-D):
the CAM freed of noise, the product, the blur. With the Grad-CAM++ map :math:`C \in [0, 1]`, the
threshold :math:`t` and the composite relevance :math:`L` (mean over colour channels):

.. math:: P = \mathrm{minmax}(\mathrm{relu}(C - t)), \qquad E = G_\sigma * (P \odot L).

1. :math:`C`: cam.py has the equations, `xaiutils.factors.Pass.cam` reads it from a pass;
2. :math:`P`: `bound`;
3. :math:`L`: lrp/ has the rules, `xaiutils.factors.Pass.relevance` walks back over the same pass;
4. :math:`P \odot L`: `fuse`;
5. :math:`E`: `smooth`.

`explain` does all five. The caller's module, its gradients and the random state stay as they were.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from xaiutils.cam import min_max
from xaiutils.factors import CamLayer, Pass, Target, layers_named, lost, notes, notes_of, plan_for
from xaiutils.lrp.composites import Composite, composite_named
from xaiutils.lrp.ledger import Ledger, quotient
from xaiutils.lrp.rules import Rule
from xaiutils.lrp.walk import Relevance
from xaiutils.network.classifier import Classifier
from xaiutils.network.targets import Question, Scores
from xaiutils.support import checks


@dataclass
class Explanation:
    """Every stage of the hybrid for N images; maps are (N, H, W), of signals (N, L), and so on.

    Attributes:
        target: (N,) the class that both factors explain, or the `Scores` of the images.
        logits: (N, K), or what the network gives, (N, ...).
        cam: Class activation map, in [0, 1].
        bounded: Bounding figure, in [0, 1].
        relevance: Mean over colour channels of the relevance, signed, in logits / C.
        product: ``bounded * relevance``, signed.
        hybrid: ``product``, smoothed.
        conservation: How the start of the relevance was spent.
        relevance_per_channel: (N, C, H, W); its sum is ``conservation.input``.
        settings: What the maps were computed with.
        notes: What went other than expected, one sentence each, naming the image.
        activations: Of each CAM layer, (N, K, h, w).
    """

    target: Question
    logits: Tensor
    cam: Tensor
    bounded: Tensor
    relevance: Tensor
    product: Tensor
    hybrid: Tensor
    conservation: Ledger
    relevance_per_channel: Tensor
    settings: dict[str, str | float]
    notes: tuple[str, ...] = ()
    activations: tuple[Tensor, ...] = ()

    @property
    def retention(self) -> Tensor:
        """(N,) share of the relevance that fusion keeps: sum(product) / sum(relevance).

        0 where the relevance adds up to 0.
        """
        space = tuple(range(1, self.product.ndim))
        return quotient(self.product.sum(space), self.relevance.sum(space))


THRESHOLD = 0.2  # arbitrary until calibrated; the paper gives none
SIGMA_SHARE = 1 / 64  # of the image's height; arbitrary until calibrated
EMPTY = "bounding figure is empty: the CAM nowhere exceeds the threshold"


def bound(cam: Tensor, threshold: float = THRESHOLD, *, dimensions: int = 2) -> Tensor:
    r"""Step 2, the bounding figure: :math:`P = \mathrm{minmax}(\mathrm{relu}(C - t))`.

    Dhore et al., section III-B. Zeros where a map nowhere exceeds t, or is the same everywhere.

    Args:
        cam: (N, H, W) in [0, 1], as the result.
        threshold: t in [0, 1).
        dimensions: 1 for maps of signals (N, L), 3 for those of volumes (N, D, H, W).

    Raises:
        ValueError: A map beyond [0, 1], a threshold beyond [0, 1).

    Example:
        >>> xai.bound(torch.tensor([[[0.0, 0.2, 0.6, 1.0]]]), threshold=0.2)
        tensor([[[0.0000, 0.0000, 0.5000, 1.0000]]])
    """
    checks.maps("cam", cam, dimensions)
    threshold = checks.number("threshold", threshold, low=0, below=1)
    low, high = float(cam.min()), float(cam.max())
    if low < 0 or high > 1 + 1e-6:
        raise ValueError(f"cam must be scaled to [0, 1], got values from {low:g} to {high:g}")
    return min_max((cam - threshold).clamp(min=0))


def fuse(bounded: Tensor, relevance: Tensor, *, dimensions: int = 2) -> Tensor:
    r"""Step 4, fusion: the elementwise product :math:`P \odot L` (section III-B), with L's sign.

    Relevance outside the figure is lost: conservation ends here.

    Args:
        bounded: The bounding figure, (N, H, W) in [0, 1].
        relevance: Relevance averaged over the colour channels, (N, H, W), signed.
        dimensions: As in `bound`.

    Raises:
        TypeError, ValueError: They are no finite maps of one shape.

    Example:
        >>> xai.fuse(torch.tensor([[[0.0, 0.5, 1.0]]]), torch.tensor([[[3.0, 2.0, -1.0]]]))
        tensor([[[ 0.,  1., -1.]]])
    """
    checks.maps("bounded", bounded, dimensions)
    checks.maps("relevance", relevance, dimensions)
    checks.same_shape("bounded", bounded, "relevance", relevance)
    return bounded * relevance


def smooth(map: Tensor, sigma: float, *, dimensions: int = 2) -> Tensor:
    r"""Step 5, smoothing: :math:`G_\sigma * m`, SciPy's Gaussian (section III-B), on map's device.

    The border is reflected about the pixels' edge, which keeps the sum; the kernel ends at 4 σ.

    Args:
        map: (N, H, W), signed.
        sigma: In pixels, >= 0, the same in each dimension; 0 changes nothing.
        dimensions: As in `bound`.

    Raises:
        TypeError, ValueError: ``map`` is no finite batch of maps, or ``sigma`` is below 0.

    Example:
        >>> point = torch.zeros(1, 5, 5)
        >>> point[0, 2, 2] = 1
        >>> xai.smooth(point, sigma=1)[0, 2]
        tensor([0.0233, 0.0966, 0.1592, 0.0966, 0.0233])
    """
    checks.maps("map", map, dimensions)
    sigma = checks.number("sigma", sigma, low=0)
    if sigma == 0:
        return map.clone()
    smoothed = map.detach()
    for axis in range(map.ndim - dimensions, map.ndim):
        line = _gaussian(map.shape[axis], sigma, map)
        moved = smoothed.movedim(axis, -1).to(line) @ line
        smoothed = moved.movedim(-1, axis).to(map)
    return smoothed.contiguous()


def _gaussian(size: int, sigma: float, like: Tensor) -> Tensor:
    """The symmetric matrix (size, size) that smooths a line of pixels, reflected at its ends."""
    wide = torch.float32 if like.device.type == "mps" else torch.float64  # as SciPy sums
    reach = int(4 * sigma + 0.5)
    offsets = torch.arange(-reach, reach + 1, device=like.device)
    weights = torch.exp(-0.5 * (offsets.to(wide) / sigma).square())
    # Reflection repeats a line with its mirror image: a ring of twice its length.
    ring = weights.new_zeros(2 * size).index_add(0, offsets % (2 * size), weights / weights.sum())
    i = torch.arange(size, device=like.device)
    return ring[(i - i[:, None]) % (2 * size)] + ring[(-1 - i - i[:, None]) % (2 * size)]


def explain(
    classifier: Classifier,
    x: Tensor,
    target: Target = None,
    *,
    threshold: float = THRESHOLD,
    sigma: float | None = None,
    composite: str | Composite = "paper",
    cam: str = "grad_cam_plus_plus",
    cam_layer: CamLayer = None,
    input_rule: Rule | None = None,
    start: str = "logit",
    gates: str = "signal",
) -> Explanation:
    """The hybrid explanation of each image: all five steps, from one forward pass.

    Dhore et al., section III-B. Where less than 5 % of the start reaches a picture, other
    composites are asked, with a pass each, so that a note can name one that keeps it.

    Args:
        classifier: From `load_model` or `wrap`.
        x: (N, C, H, W), preprocessed by the classifier.
        target: Class index or name, a score from `xaiutils.network.targets`, or a function of the
            output (N, ...) that gives (N,); or a list of one per image. By default the predicted
            class of each image.
        threshold: Of the bounding figure, in [0, 1). 0.2 is arbitrary: the paper gives none.
        sigma: Of the Gaussian, in pixels. The default, H / 64, is as arbitrary.
        composite: A name in `COMPOSITES` or a composite such as ``paper(alpha=2, beta=1)``.
        cam: A name in `CAMS`.
        cam_layer: Another layer for the CAM alone, or several, averaged as in
            `class_activation_map`; the composite's head stays behind the classifier's own.
        input_rule: A rule for the layer that reads the image, before the composite's own.
        start: ``"logit"``: relevance starts with the logit and is in its units. ``"one"``: it
            starts with 1, which comparisons across classes need: where logits differ in sign the
            other turns maps over. `xaiutils.network.targets.start_of` says what both are for a
            score.
        gates: ``"signal"``: of a product, as in squeeze and excitation, the signal takes all
            relevance and its gate counts as a constant; ``"half"``: each factor takes half.

    Raises:
        TypeError, ValueError: An argument is wrong; the message says which, the rule and what
            came. A network with an operation that has no rule raises GraphError, a ValueError.

    Example:
        >>> classifier = xai.load_model()
        >>> e = xai.explain(classifier, classifier.preprocess(xai.load_image("sample:coffee")))
        >>> classifier.classes[e.target[0]], tuple(e.hybrid.shape)
        ('espresso', (1, 224, 224))
        >>> bool(e.conservation.residual.abs() < 1e-4 * e.conservation.start)
        True
    """
    threshold = checks.number("threshold", threshold, low=0, below=1)
    if sigma is not None:
        sigma = checks.number("sigma", sigma, low=0)
    layers = layers_named(classifier, cam_layer)
    plan = plan_for(classifier, x, composite, input_rule, gates)
    seen = Pass(classifier, x, target, layers=layers, plan=plan, start=start)
    space = x.ndim - 2
    shown = seen.cam(cam)  # step 1
    bounded = bound(shown, threshold, dimensions=space)  # step 2
    found = seen.relevance()  # step 3
    mean = found.map.mean(1)
    product = fuse(bounded, mean, dimensions=space)  # step 4
    sigma = x.shape[-2 if space > 1 else -1] * SIGMA_SHARE if sigma is None else sigma
    smoothed = smooth(product, sigma, dimensions=space)  # step 5
    settings: dict[str, str | float] = {
        "threshold": threshold,
        "sigma": sigma,
        "composite": composite_named(composite).name,
        "cam": cam,
        "cam_layer": ", ".join(layers),
        "input_rule": "" if input_rule is None else input_rule.name,
        "start": start,
        "gates": gates,
        "head_after": classifier.cam_layer,
    }
    if isinstance(seen.target, Scores):
        settings["score"] = seen.target.name
    return Explanation(
        target=seen.target,
        logits=seen.logits,
        cam=shown,
        bounded=bounded,
        relevance=mean,
        product=product,
        hybrid=smoothed,
        conservation=found.ledger,
        relevance_per_channel=found.map,
        settings=settings,
        notes=(
            *notes(seen, cam, shown),
            *notes_of((bounded == 0).flatten(1).all(1), EMPTY),
            *lost(seen, input_rule),
        ),
        activations=tuple(seen.activations),
    )


def class_activation_map(
    classifier: Classifier,
    x: Tensor,
    target: Target = None,
    *,
    cam: str = "grad_cam_plus_plus",
    cam_layer: CamLayer = None,
) -> Tensor:
    r"""Step 1, the CAM of each image: `to_image` of the raw map, (N, H, W) in [0, 1].

    Of several layers the mean of their maps, :math:`\mathrm{minmax}(\frac1L \sum_l C_l)`, each
    scaled to [0, 1] at the picture's size before, as grad-cam does with ``target_layers``.

    Args:
        classifier, x, target: As in `explain`.
        cam: In `CAMS`, which names each one's source (by default Chattopadhay et al. 2018).
        cam_layer: Module path, or a list of them; by default the classifier's.

    Example:
        >>> classifier = xai.load_model()
        >>> x = classifier.preprocess(xai.load_image("sample:coffee"))
        >>> cam = xai.class_activation_map(classifier, x, "cup", cam="layer_cam")
        >>> float(cam.min()), float(cam.max())
        (0.0, 1.0)
    """
    layers = layers_named(classifier, cam_layer)
    return Pass(classifier, x, target, layers=layers).cam(cam)


def grad_cam_plus_plus(classifier: Classifier, x: Tensor, target: Target = None) -> Tensor:
    """Step 1, Grad-CAM++ at the classifier's CAM layer: (N, H, W) in [0, 1].

    Dhore et al., section III-B; `xaiutils.cam.grad_cam_plus_plus` has the equation.

    Args:
        classifier, x, target: As in `explain`.
    """
    return class_activation_map(classifier, x, target)


def relevance(
    classifier: Classifier,
    x: Tensor,
    target: Target = None,
    composite: str | Composite = "paper",
    *,
    input_rule: Rule | None = None,
    start: str = "logit",
    gates: str = "signal",
    layers: Iterable[str] = (),
) -> Relevance:
    """Step 3, composite LRP: relevance of every pixel and channel, (N, C, H, W), with its ledger.

    Dhore et al., section III-B; `xaiutils.lrp.rules` has the equations.

    Args:
        classifier, x, target, composite, input_rule, start, gates: As in `explain`.
        layers: Names of layers whose relevance is wanted as well.

    Example:
        >>> classifier = xai.load_model()
        >>> x = classifier.preprocess(xai.load_image("sample:coffee"))
        >>> found = xai.relevance(classifier, x, "espresso", composite="epsilon_plus")
        >>> tuple(found.map.shape), round(float(found.ledger.shares()["input"]), 2)
        ((1, 3, 224, 224), 0.99)
    """
    plan = plan_for(classifier, x, composite, input_rule, gates)
    return Pass(classifier, x, target, plan=plan, start=start, read=tuple(layers)).relevance()
