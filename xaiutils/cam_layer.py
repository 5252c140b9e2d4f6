"""Which layer a CAM reads: found from the graph, with the reason."""

from __future__ import annotations

import math

from xaiutils import tokens
from xaiutils.graph import Graph
from xaiutils.operations import (
    ACTIVATION,
    CONSTANT,
    CONVOLUTION,
    LAYER_NORM,
    LINEAR,
    MATMUL,
    PASS,
    ROUTING,
    SOFTMAX,
)
from xaiutils.steps import GraphError, Step


def choose_cam_layer(graph: Graph, chosen: str | None) -> tuple[str, str]:
    """The name of the layer for the CAM, the caller's or by default that found, and the reason."""
    if chosen is None:
        step, reason = find_cam_layer(graph)
        return step.path, reason
    require_map(graph, step := graph.find(chosen))
    return step.path, "chosen by the caller"


def find_cam_layer(graph: Graph) -> tuple[Step, str]:
    """The layer for the CAM, with the reason.

    It is the last feature map (four dimensions, more than one position) behind an activation
    before the layer whose channels are the classes: pooling after it only coarsens it, and what
    stands behind the class layer no longer describes features. Where no activation qualifies (a
    residual sum or a normalisation comes last) it is the last feature map itself.

    In a vision transformer it is the layer norm before the last attention: behind that attention
    only the class token is read, and the patches no longer matter.
    """
    normed = _normed_tokens(graph)
    if normed:
        patches = " x ".join(map(str, _grid(graph, normed[-1]) or ()))
        return normed[-1], (
            f"tokens of {patches} patches, normalised for the last attention: behind it only "
            "the class token counts; they can be negative"
        )
    weighted = [s for s in (*graph.before(graph.output), graph.output) if _is_weighted(s)]
    if not weighted:
        raise GraphError("module must have a linear layer or convolution that gives the classes")
    maps = [s for s in graph.before(weighted[-1]) if _is_map(graph, s) and s is not graph.input]
    activated = [s for s in maps if _is_activated(s)]
    if activated:
        step = activated[-1]
        size = " x ".join(map(str, (step.shape or ())[2:]))
        return step, (
            f"last activated feature map ({size}) before {weighted[-1].path}, "
            "whose channels are the classes"
        )
    if not maps:
        raise GraphError("module must have a feature map (N, C, H, W); name a layer by cam_layer=")
    return maps[-1], (
        f"last feature map before {weighted[-1].path}; no activation comes last, so it can be "
        "negative"
    )


def _is_weighted(step: Step) -> bool:
    """A convolution or linear layer, one that is written as ``features @ weight`` too."""
    product = step.kind == MATMUL or step.operation == "addmm"
    return step.kind in (CONVOLUTION, LINEAR) or (product and len(step.varying) == 1)


def _is_map(graph: Graph, step: Step) -> bool:
    shape, rank = step.shape or (), len(graph.input.shape or ())
    picture = len(shape) == rank and math.prod(shape[2:]) > 1 and step.kind != CONSTANT
    return picture and not _is_channels_last(step)


def _is_channels_last(step: Step) -> bool:
    """Whether its neighbours show that the map is (N, h, w, C), as inside ConvNeXt and Swin.

    Linear layers and layer norms read and write the last dimension; a permutation after them does
    not.
    """
    near = (step, *step.users, *(() if step.kind == ROUTING else step.inputs))
    last = (s for s in near if s.kind == LINEAR or s.operation in ("LayerNorm", "layer_norm"))
    return any(len(s.shape or ()) == 4 for s in last)


def blocks(graph: Graph, cam_layer: str) -> list[Step]:
    """The feature maps worth looking at, from the picture to the CAM layer, which is the last.

    Of each size of map the last one (activated, where there is one); of a transformer the tokens
    that each attention reads.
    """
    end = graph.find(cam_layer)
    upstream = [*graph.before(end), end]
    normed = [s for s in _normed_tokens(graph) if s in upstream]
    among_tokens = graph.after(normed[0]) if normed else set()  # four dimensions, but no picture
    maps = [
        s for s in upstream if _is_map(graph, s) and s not in among_tokens and s is not graph.input
    ]
    activated = [s for s in maps if _is_activated(s)] or maps
    last = [] if normed else [end]
    return [*{(s.shape or ())[2:]: s for s in (*activated, *last)}.values(), *normed]


def _normed_tokens(graph: Graph) -> list[Step]:
    """For each attention the tokens that it reads, behind their layer norm."""
    found: list[Step] = []
    normed = [s for s in graph.steps if s.kind == LAYER_NORM and _grid(graph, s)]
    for attention in graph.before(graph.output):
        if normed and is_attention(attention):
            upstream = set(graph.before(attention))
            found += [s for s in normed if s in upstream][-1:]
    return found


def is_attention(step: Step) -> bool:
    """Whether a softmax weighs the values of an attention: it is a factor of a matrix product."""
    readers = list(step.users)
    while len(readers) == 1 and readers[0].kind in (ROUTING, PASS):
        readers = readers[0].users
    return step.kind == SOFTMAX and any(reader.kind == MATMUL for reader in readers)


def require_map(graph: Graph, step: Step) -> None:
    """Raise unless ``step`` gives feature maps, or tokens, with more than one position."""
    if not _is_map(graph, step) and _grid(graph, step) is None:
        raise ValueError(
            f"cam_layer must give feature maps (N, C, h, w) with h * w > 1, or the tokens "
            f"(N, T, D) of square patches; {step} gives {step.shape}"
        )


def _grid(graph: Graph, step: Step) -> tuple[int, int] | None:
    """Rows and columns of the patches whose tokens ``step`` gives."""
    shape, picture = step.shape or (), graph.input.shape or ()
    known = len(shape) == 3 and len(picture) == 4
    return tokens.grid(shape[1], picture[2], picture[3]) if known else None


def _is_activated(step: Step) -> bool:
    """An activation, or activations side by side, as a Fire or Inception module ends."""
    if step.kind == ACTIVATION:
        return True
    joins = step.kind == ROUTING and len(step.varying) > 1
    return joins and all(_is_activated(other) for other in step.varying)
