"""Relevance-CAM: a class activation map whose weights are relevance in place of gradients."""

from __future__ import annotations

import torch
from torch import Tensor

from xaiutils.cam import grad_cam, to_image
from xaiutils.factors import Pass, Target, plan_for
from xaiutils.lrp.composites import Composite, Row
from xaiutils.lrp.plan import Plan
from xaiutils.lrp.rules import z_plus
from xaiutils.methods.related.contrastive import index_of
from xaiutils.network.cam_layer import reading
from xaiutils.network.classifier import Classifier
from xaiutils.network.kinds import WEIGHTED
from xaiutils.network.step import Step

RELEVANCE_CAM = Composite(
    "relevance_cam", (Row(WEIGHTED, "anywhere", z_plus()),), "Lee et al. 2021: α = 1, β = 0"
)


@torch.inference_mode(False)
def relevance_cam(
    classifier: Classifier, x: Tensor, target: Target = None, *, layer: str | None = None
) -> Tensor:
    r"""Relevance-CAM: :math:`\sum_k w_k A_k`, :math:`w_k = \frac1{hw}\sum_{ij} R_{kij}`.

    Lee et al. 2021 (CVPR, "Relevance-CAM: Your Model Already Knows Where to Look"). R is the
    relevance at the layer by LRP-α1β0 from the contrastive start :math:`R_c = 1`,
    :math:`R_n = -1/K` for the other classes, as in the authors' code; it sums to 1/K, nearly 0.
    Three things of that code are left out: it counts the bias twice in the denominator, takes
    the square of a batch norm's variance, and scales the map without a ReLU. Here the bias counts
    once, by its positive part, and batch norms are folded into their convolutions.

    Args:
        classifier, x, target: As in `explain`.
        layer: Any layer that gives feature maps; by default the classifier's CAM layer.

    Returns:
        (N, H, W) in [0, 1]; zeros where the map is nowhere positive.
    """
    plan = plan_for(classifier, x, RELEVANCE_CAM)
    step = feature_map(classifier, plan, layer)
    seen = Pass(classifier, x, target, layers=[step.path], plan=plan)
    share = 1 / plan.graph.classes
    start = torch.zeros_like(seen.logits).scatter(1, index_of(seen), 1 + share) - share
    relevance = seen.walk(start, read=[step]).layers[step.path]
    return to_image(grad_cam(seen.activations[0], relevance), tuple(x.shape[2:])).float()


def feature_map(classifier: Classifier, plan: Plan, layer: str | None) -> Step:
    """The step called ``layer``, or the classifier's CAM layer; it must give feature maps."""
    step = plan.graph.find(layer or classifier.cam_layer)
    if reading(plan.graph, step).kind:
        raise ValueError(f"layer must give feature maps (N, C, h, w), {step} gives {step.shape}")
    if step not in plan.visited:
        raise ValueError(f"layer must be one that relevance passes through, {step} is not")
    return step
