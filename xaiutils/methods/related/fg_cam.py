r"""FG-CAM: a class activation map that is handed down to finer layers instead of upsampled.

Qiu et al. 2024 (AAAI, arXiv 2303.09171). The summands :math:`I_k = w_k A_k` of a CAM start as
relevance at the CAM layer, channel by channel and with their sign, and walk down by z⁺.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from xaiutils.cam import min_max, to_image
from xaiutils.factors import Pass, Target, plan_for
from xaiutils.lrp.composites import Composite, Row
from xaiutils.lrp.rules import flat, z_box, z_plus
from xaiutils.methods.related.relevance_cam import feature_map
from xaiutils.network.classifier import Classifier
from xaiutils.network.graph import Graph
from xaiutils.network.kinds import BATCH_NORM, CONVOLUTION, LINEAR, WEIGHTED
from xaiutils.network.step import Step
from xaiutils.network.targets import answer
from xaiutils.support import checks

BASES = ("grad_cam", "score_cam")
_IDENTITY = replace(flat(), name="identity", epsilon=0.0)  # of a step with one input per output
FG_CAM = Composite(
    "fg_cam",
    (
        Row(WEIGHTED, "input", z_box()),
        Row((BATCH_NORM,), "anywhere", _IDENTITY),
        Row((CONVOLUTION, LINEAR), "anywhere", z_plus(bias=False)),
    ),
    "Qiu et al. 2024: z⁺ without bias, z^B where the picture is read",
)


def fg_cam(classifier: Classifier, x: Tensor, target: Target = None, **settings: Any) -> Tensor:
    """FG-CAM: the sum over channels of `explanation_components`, as an image (N, H, W) in [0, 1].

    ``settings`` are those of `explanation_components`. Where ``to`` is the CAM layer it is the base
    CAM; zeros where the sum is nowhere positive.
    """
    found = explanation_components(classifier, x, target, **settings)
    return to_image(found.sum(1), tuple(x.shape[2:])).float()


@torch.inference_mode(False)
def explanation_components(
    classifier: Classifier,
    x: Tensor,
    target: Target = None,
    *,
    base: str = "grad_cam",
    denoise: bool = False,
    keep: float = 0.1,
    layer: str | None = None,
    to: str | None = None,
    batch: int = 32,
) -> Tensor:
    r"""What FG-CAM sums: :math:`I_k = w_k A_k`, handed down from the CAM layer to ``to``.

    The weights are those of the base CAM:

    - ``"grad_cam"``: :math:`w_k = \frac1{hw}\sum_{ij} \partial f_c / \partial A_{kij}`;
    - ``"score_cam"``: the probability of c (of an output that is a value, or a score, its value)
      for the image times :math:`A_k`, upsampled and scaled to [0, 1] (Wang et al. 2020, arXiv
      1910.01279; no baseline is taken off). One pass per channel.

    On the way down convolutions follow z⁺ without bias; the layer that reads the picture follows
    z^B between the least and the greatest value of each image. Batch norms are folded into their
    convolution, where the authors' code passes them by; one that follows no convolution passes on
    what it gets.

    Args:
        classifier, x, target: As in `explain`.
        base: ``"grad_cam"`` or ``"score_cam"``.
        denoise: Take off each channel's mean, then keep the largest singular values of the
            (C, h w) matrix of each image; the means are not put back.
        keep: The share of singular values that ``denoise`` keeps, in (0, 1], rounded down but at
            least one.
        layer: The CAM layer; by default the classifier's.
        to: The layer at which to stop; by default the picture.
        batch: How many masked images ``"score_cam"`` runs at once.

    Returns:
        (N, C', h', w') at the resolution of ``to``, signed, in units of the base CAM.
    """
    checks.choice("base", base, BASES)
    if checks.number("keep", keep, low=0, high=1) == 0:
        raise ValueError("keep must be > 0 and <= 1, got 0")
    batch = checks.whole("batch", batch)
    plan = plan_for(classifier, x, FG_CAM)
    step = feature_map(classifier, plan, layer)
    plan = plan.below(step)
    end = _end(plan.graph, step, plan.visited, to)
    seen = Pass(classifier, x, target, layers=[step.path], plan=plan)
    bounds = _range(x, needed=end is plan.graph.input)
    if base == "score_cam":
        weights = _scores(seen, x.detach(), batch)
    else:
        weights = seen.gradients[0].mean((2, 3))
    components = weights[:, :, None, None] * seen.activations[0]
    if denoise:
        components = denoised(components, keep)
    if end is step:
        return components
    return seen.walk(components, at=step, read=[end], bounds=bounds).layers[end.path]


def denoised(components: Tensor, keep: float) -> Tensor:
    """Channels (N, C, h, w) less their mean, on the strongest directions of each image."""
    rows = components.flatten(2)
    u, s, vh = torch.linalg.svd(rows - rows.mean(2, keepdim=True), full_matrices=False)
    kept = max(1, math.floor(keep * s.shape[1] + 1e-9))  # 0.29 * 100 is 28.999...
    return ((u[:, :, :kept] * s[:, None, :kept]) @ vh[:, :kept]).view_as(components)


def _end(graph: Graph, step: Step, visited: set[Step], to: str | None) -> Step:
    end = graph.input if to is None else graph.find(to)
    if end not in visited or len(end.shape or ()) != 4:
        raise ValueError(
            f"to must be the CAM layer {step} or a feature map on the way from it to the picture, "
            f"got {end}"
        )
    return end


def _range(x: Tensor, needed: bool) -> tuple[Tensor, Tensor]:
    """The least and the greatest value of each image, (N, C, H, W)."""
    bounds = x.detach().flatten(1).aminmax(dim=1)
    empty = (bounds.min == bounds.max).nonzero()[:, 0].tolist()
    if needed and empty:
        raise ValueError(f"x must not be of one value only, for z^B, but image {empty[0]} is")
    low, high = (bound[:, None, None, None].expand_as(x) for bound in bounds)
    return low, high


def _scores(seen: Pass, x: Tensor, batch: int) -> Tensor:
    """FG-CAM's weights after Score-CAM, (N, C)."""
    weights, probabilities = [], seen.classifier.probabilities
    for i, (image, channels) in enumerate(zip(x, seen.activations[0], strict=True)):
        own = seen.target[i : i + 1]
        # Scaled before as well: upsampling a constant rounds, and min-max would blow that up.
        grown = F.interpolate(min_max(channels)[None], tuple(x.shape[2:]), mode="bilinear")[0]
        logits = [
            seen.plan.graph.run(image * masks[:, None]).logits
            for masks in min_max(grown).split(batch)
        ]
        classes = isinstance(own, Tensor)
        runs = [answer(probabilities(f) if classes else f, own) for f in logits]
        weights.append(torch.cat(runs).detach())
    return torch.stack(weights)
