"""The hybrid at every depth of a network: CAM, relevance and their product block by block."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from xaiutils.factors import Pass, Target, plan_for
from xaiutils.hybrid import THRESHOLD, bound, fuse, smooth
from xaiutils.lrp.composites import Composite
from xaiutils.network import cam_layer
from xaiutils.network.classifier import Classifier, checked_classifier


@dataclass(frozen=True, eq=False)
class LayerView:
    """What one layer says about the class, each map (N, H, W).

    Attributes:
        layer: Name of the layer.
        size: Height and width of its maps.
        cam: Class activation map of this layer, in [0, 1].
        relevance: Relevance at its output, summed over channels, upsampled; signed.
        hybrid: The bounding figure of ``cam`` times ``relevance``, smoothed.
    """

    layer: str
    size: tuple[int, int]
    cam: Tensor
    relevance: Tensor
    hybrid: Tensor


def explain_layers(
    classifier: Classifier,
    x: Tensor,
    target: Target = None,
    *,
    layers: Iterable[str] | None = None,
    threshold: float = THRESHOLD,
    sigma: float = 0.0,
    composite: str | Composite = "paper",
    cam: str = "grad_cam_plus_plus",
) -> list[LayerView]:
    r"""Steps 1 to 5 with the factors of each layer instead of the last CAM and the pixels.

    :math:`R_l = \sum_k R_{lk}` has the resolution of the layer's maps, as the CAM has, and both
    are upsampled bilinearly. One pass for all.

    Args:
        classifier, x, target, threshold, composite, cam: As in `explain`.
        layers: Names; by default the last map of each size up to the CAM layer.
        sigma: Of the Gaussian in pixels; none by default, the maps are coarse already.
    """
    graph = checked_classifier(classifier).graph_for(classifier.check(x))
    chosen = cam_layer.blocks(graph, classifier.cam_layer)
    if layers is not None:
        chosen = [graph.find(name) for name in layers]
    paths, plan = [step.path for step in chosen], plan_for(classifier, x, composite)
    seen = Pass(classifier, x, target, layers=paths, plan=plan, start="logit", read=paths)
    size, views = (x.shape[-2], x.shape[-1]), []
    cams, found = seen.cams(cam), seen.relevance().layers
    for path, own, read in zip(paths, cams, seen.readings, strict=True):
        at_layer = read.as_maps(found[path])
        summed = at_layer.sum(1, keepdim=True)
        grown = F.interpolate(summed, size, mode="bilinear", align_corners=False)[:, 0]
        product = fuse(bound(own, threshold), grown)
        shape = (int(at_layer.shape[-2]), int(at_layer.shape[-1]))
        views.append(LayerView(path, shape, own, grown, smooth(product, sigma)))
    return views
