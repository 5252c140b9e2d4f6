"""Maps that only an experiment asks for: read at one block, or cut by the bounding figure."""

from __future__ import annotations

import zlib
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from xaiutils.hybrid import class_activation_map, explain, relevance
from xaiutils.methods import related
from xaiutils.methods.record import NONNEGATIVE, SIGNED, Method
from xaiutils.network.cam_layer import blocks
from xaiutils.network.classifier import Classifier
from xaiutils.network.targets import Question, key_of, slope
from xaiutils.support import cache

READ = {  # what can be read at a block: its sign, and its source
    "lrp_paper": (SIGNED, "relevance at the block, summed over channels"),
    "gradient": (SIGNED, "the logit's gradient at the block, summed over channels"),
    "gradient_x_activation": (SIGNED, "Draelos and Carin 2020, eq. 4, without the ReLU"),
    "grad_cam": (NONNEGATIVE, "Selvaraju et al. 2017"),
    "layer_cam": (NONNEGATIVE, "Jiang et al. 2021"),
    "relevance_cam": (NONNEGATIVE, "Lee et al. 2021"),
    "fg_cam": (NONNEGATIVE, "Qiu et al. 2024"),
}


def at_block(name: str, block: int) -> Method:
    """A map read at one of `xaiutils.network.cam_layer.blocks`, called "name at block n".

    Args:
        name: A key of `READ`.
        block: From 0, the finest; the last is the CAM layer.
    """
    title, function = f"{name} at block {block}", partial(_read, name=name, block=block)
    return Method(title, title, function, "control", *READ[name])


def removed(name: str) -> Method:
    """LRP where the bounding figure is zero, or a control of that, as a record.

    ``lrp_outside`` is what the hybrid throws away: the relevance outside the figure, 0 inside.
    ``lrp_outside_shuffled`` has the same values at random places outside, ``lrp_elsewhere`` what
    a figure of the same shape at a random place would throw away.
    """
    function = partial(_removed, kind=name)
    return Method(name, name, function, "control", SIGNED, "own", passes="F + 2 * B")


def _removed(classifier: Classifier, x: Tensor, target: Question, *, kind: str) -> Tensor:
    found = explain(classifier, x, target)
    maps = []
    for picture, figure, own in zip(x, found.bounded > 0, found.relevance, strict=True):
        seed = zlib.crc32(picture.detach().cpu().contiguous().numpy().tobytes())
        chance = torch.Generator().manual_seed(seed)
        if kind == "lrp_elsewhere":
            shift = [int(torch.randint(side, (), generator=chance)) for side in figure.shape]
            figure = figure.roll(shift, (0, 1))  # noqa: PLW2901, another figure is the point
        outside = own[~figure]
        if kind == "lrp_outside_shuffled":
            outside = outside[torch.randperm(len(outside), generator=chance).to(outside.device)]
        maps.append(torch.zeros_like(own).masked_scatter(~figure, outside))
    return torch.stack(maps)


def _read(classifier: Classifier, x: Tensor, target: Question, *, name: str, block: int) -> Tensor:
    """The map; what is no CAM is summed over channels and upsampled bilinearly to (N, H, W)."""
    layers = [step.path for step in blocks(classifier.graph, classifier.cam_layer)]
    layer = layers[block]
    if name == "relevance_cam":
        return related.relevance_cam(classifier, x, target, layer=layer)
    if name == "fg_cam":
        return related.fg_cam(classifier, x, target, to=layer)
    if name in ("grad_cam", "layer_cam"):
        return class_activation_map(classifier, x, target, cam=name, cam_layer=layer)
    if name == "lrp_paper":
        maps = relevance(classifier, x, target, layers=layers).layers[layer]  # all, for the memo
    else:
        activation, gradient = _differentiated(classifier, x, target, layer)
        maps = gradient if name == "gradient" else activation * gradient
    size = (x.shape[-2], x.shape[-1])
    summed = maps.sum(1, keepdim=True)
    return F.interpolate(summed, size, mode="bilinear", align_corners=False)[:, 0]


def _differentiated(
    classifier: Classifier, x: Tensor, target: Question, layer: str
) -> tuple[Tensor, Tensor]:
    """The activations of a layer and the gradient of the class's logit there."""

    def compute() -> tuple[Tensor, Tensor]:
        graph = classifier.graph_for(x)
        record = graph.run(x, leaf=graph.find(layer))
        assert record.leaf is not None
        with torch.inference_mode(False):
            at = slope(record.logits.detach(), target)
            (g,) = torch.autograd.grad(record.logits, record.leaf, at)
        return record.leaf.detach(), g

    return cache.once(compute, "at block", classifier.module, x, key_of(target), layer)
