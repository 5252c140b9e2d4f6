r"""Attention rollout: where a vision transformer's class token has looked, for any class alike."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from xaiutils.cam import to_image
from xaiutils.network.cam_layer import attended
from xaiutils.network.classifier import Classifier, checked_classifier
from xaiutils.network.positions import Positions
from xaiutils.network.step import GraphError, Step


def attention_steps(classifier: Classifier) -> dict[Step, Positions]:
    """The softmaxes of the network's attentions over patches, in order, and those patches."""
    read = attended(checked_classifier(classifier).graph).items()
    sides = {step: (math.prod(found.size) + found.extra,) * 2 for step, found in read}
    return {step: found for step, found in read if (step.shape or ())[2:] == sides[step]}


def attention_rollout(classifier: Classifier, x: Tensor) -> Tensor:
    r"""Attention rollout (Abnar and Zuidema 2020, arXiv 2005.00928, section 3).

    .. math:: \hat A_l = \tfrac12 \Big(\frac1H \sum_h A_{lh} + I\Big), \qquad
              \tilde A = \hat A_L \hat A_{L-1} \cdots \hat A_1

    with the attention weights :math:`A_{lh}` of head h in block l, whose rows add up to 1. The map
    is the class token's row of :math:`\tilde A` over the patches; without a class token, the mean
    row. It does not depend on the class.

    Of images (N, C, H, W) it is (N, H, W) in [0, 1], upsampled as a CAM.

    Raises:
        GraphError: The network has no attention over patches.
    """
    steps = attention_steps(classifier)
    if not steps:
        raise GraphError(
            f"rollout must have attention over patches, {classifier.name} has none; "
            "a CNN has CAMs: class_activation_map"
        )
    record = classifier.graph.run(classifier.check(x), graph_of=steps)
    total: Tensor | None = None
    for step in steps:
        weights = record.outputs[step].detach().mean(1)
        mixed = (weights + torch.eye(weights.shape[-1]).to(weights)) / 2
        total = mixed if total is None else mixed @ total
    assert total is not None
    patches = steps[step]
    row = total[:, 0] if patches.skip else total.mean(1)
    places = row.narrow(1, patches.skip, math.prod(patches.size)).unflatten(1, patches.size)
    return to_image(places, (x.shape[2], x.shape[3]))
