"""Which layer a CAM reads: found from the graph, with the reason."""

from __future__ import annotations

import math
from typing import Any

from xaiutils.network.graph import Graph, Network
from xaiutils.network.kinds import (
    ACTIVATION,
    AVERAGE,
    CONSTANT,
    CONVOLUTION,
    LAYER_NORM,
    LINEAR,
    MATMUL,
    PASS,
    ROUTING,
    SOFTMAX,
)
from xaiutils.network.positions import Positions, guessed, plain, positions
from xaiutils.network.step import GraphError, Step
from xaiutils.network.uncaptured import Uncaptured

Maps = dict[Step, Positions]


def choose_cam_layer(network: Network, chosen: Any) -> tuple[str, str]:
    """The name of the layer for the CAM, the caller's or by default that found, and the reason."""
    if isinstance(chosen, list | tuple):
        raise TypeError(
            "cam_layer must be one layer here, since what follows it is the head of LRP's "
            f"composites, got {chosen!r}; explain(..., cam_layer={chosen!r}) averages several"
        )
    if network.uncaptured and chosen is None:
        return network.uncaptured.default
    if network.uncaptured:
        return network.uncaptured.find(chosen).path, "chosen by the caller"
    graph = network.graph()
    if chosen is None:
        step, reason = find_cam_layer(graph)
        return step.path, reason
    step = graph.find(chosen)
    told = "; rows and columns told by its shape alone" if reading(graph, step).guess else ""
    return step.path, "chosen by the caller" + told


def find_cam_layer(graph: Graph) -> tuple[Step, str]:
    """The layer for the CAM, with the reason.

    It is the last activated feature map before the layer that gives the classes. Where something
    flows past it, or nothing is activated, it is the last feature map that every path from the
    picture to the output passes; the reason says where branches never join as a map. Where a class
    token is read in the end, it is the layer norm before the last attention on the patches: behind
    it they no longer matter.
    """
    maps = _maps(graph)
    normed = _normed_tokens(graph, maps)
    shared = [s for s in bottlenecks(graph) if s in maps]
    if normed and _reads_class_token(graph):
        return _before_class_token(graph, maps, normed[-1], shared)
    weighted = [s for s in graph.steps if _is_weighted(s)]
    if not weighted:
        raise GraphError("module must have a linear layer or convolution that gives the classes")
    end = weighted[-1]
    if end in maps and end not in shared:  # inside a block, of a network without a class layer
        end = graph.output
    before = [s for s in graph.before(end) if s in maps]
    if not before:
        raise GraphError("module must have a feature map (N, C, H, W); name a layer by cam_layer=")
    learnt = {weighted[0], *graph.after(weighted[0])}
    features = [s for s in before if s in learnt] or before
    activated = [s for s in before if _is_activated(s)]
    last = (activated or features)[-1]
    shared = [s for s in shared if s in features]
    if shared and last not in shared:
        # Not the one before branches that go on, coarser, and never join.
        finer = math.prod(maps[shared[-1]].size) > math.prod(maps[last].size)
        last = last if finer and last in graph.after(shared[-1]) else shared[-1]
    last = _in_a_module(last, maps)
    kind = "activated feature map" if _is_activated(last) else "feature map"
    where = end.path if end is weighted[-1] else "the output"
    reason = f"last {kind} ({_in_words(maps[last])}) before {where}"
    if last in activated[-1:] and last in shared:
        return last, f"{reason}, whose channels are the classes"
    reason += " that everything flows through" if last in shared else ""
    if not _is_activated(last):
        reason += "; no activation comes last, so it can be negative"
    if last not in shared:
        several = [step.path for step in _exits(graph, features)]
        reason += f"; not everything flows through it, explain with cam_layer={several} reads all"
    return last, reason


def bottlenecks(graph: Graph) -> list[Step]:
    """The steps that every path from the picture to the output passes: no edge jumps over one."""
    live = [s for s in graph.steps if s.kind != CONSTANT]
    place = {step: i for i, step in enumerate(live)}
    found, reach = [], 0
    for i, step in enumerate(live):
        if reach <= i:
            found.append(step)
        reach = max([reach, *(place.get(user, 0) for user in step.users)])
    return found


def blocks(graph: Graph, cam_layer: str) -> list[Step]:
    """The feature maps worth looking at, from the picture to the CAM layer, which is the last.

    Of each size of map the last one (activated, where there is one) that everything flows through,
    where there is one; of a transformer the tokens that each attention reads.
    """
    end, shared = graph.find(cam_layer), bottlenecks(graph)
    maps = _maps(graph) | {end: reading(graph, end)}
    upstream = [s for s in (*graph.before(end), end) if s in maps]
    normed = [s for s in _normed_tokens(graph, maps) if s in upstream]
    behind = {*normed, *graph.after(normed[0])} if normed else set()
    seen = [s for s in upstream if s not in behind and not (normed and maps[s].tokens)]
    activated = [s for s in seen if _is_activated(s)]
    found: dict[tuple[int, ...], Step] = {}
    sizes = {maps[s].size for s in seen if s in shared}
    for size in dict.fromkeys(maps[s].size for s in activated or seen):
        if sizes and size not in sizes:
            continue  # of branches alone
        here = [s for s in seen if maps[s].size == size]
        last = [s for s in activated or seen if s in here][-1]
        through = [s for s in here if s in shared]
        found[size] = _in_a_module(last if last in shared or not through else through[-1], maps)
    chosen = {*found.values(), *normed} if normed else {**found, maps[end].size: end}.values()
    return [s for s in upstream if s in {*chosen, end}]


def reading(graph: Graph | Uncaptured, step: Step) -> Positions:
    """How the result of ``step`` is read as maps (N, C, h, w); without a graph as it is.

    Raises:
        ValueError: It has not more than one position, or other axes than these and channels.
    """
    found = plain(step.shape or ()) if isinstance(graph, Uncaptured) else _all(graph).get(step)
    found = found or (guessed(step, graph.input) if isinstance(graph, Graph) else None)
    if found is None or not found.is_map:
        raise ValueError(
            "cam_layer must give feature maps (N, C, h, w) with h * w > 1, with channels first or "
            f"last, or the tokens (N, T, D) of patches; {step} gives {step.shape}"
        )
    return found


def attended(graph: Graph) -> Maps:
    """The softmax of each attention over tokens, and how the tokens are read that it weighs."""
    known, found = _all(graph), {}
    for attention in filter(is_attention, graph.steps):
        tokens = [known[s] for s in graph.before(attention) if s in known and known[s].tokens]
        if tokens:
            found[attention] = tokens[-1]
    return found


def is_attention(step: Step) -> bool:
    """Whether a softmax weighs the values of an attention: it is a factor of a matrix product."""
    readers = list(step.users)
    while len(readers) == 1 and readers[0].kind in (ROUTING, PASS):
        readers = readers[0].users
    return step.kind == SOFTMAX and any(reader.kind == MATMUL for reader in readers)


def _all(graph: Graph) -> Maps:
    """How each step is read.

    Where that could not be followed to the last that all flows through, from the first behind that
    looks like tokens, or like a map where there is none.
    """
    if graph.positions is None:
        found = positions(graph)
        passed = [s for s in bottlenecks(graph) if s is not graph.input]
        known = [i for i, s in enumerate(passed) if s in found and found[s].is_map]
        for step in passed[known[-1] + 1 if known else 0 :]:
            guess = guessed(step, graph.input)
            if guess is not None and guess.is_map and (guess.tokens or not known):
                found = positions(graph, step, guess) | found
                break
        graph.positions = found
    return graph.positions


def _maps(graph: Graph) -> Maps:
    """The steps that can be read as maps, but for the picture."""
    return {s: p for s, p in _all(graph).items() if p.is_map and s is not graph.input}


def _in_a_module(step: Step, maps: Maps) -> Step:
    """The step, or the one before it of which it only hands on the result, under no known name."""
    while not step.returned and step.kind in (ROUTING, PASS) and len(step.varying) == 1:
        before = step.varying[0]
        if maps.get(before) != maps[step]:  # of more or fewer channels, too
            break
        step = before
    return step


def _is_weighted(step: Step) -> bool:
    """A convolution or linear layer, one that is written as ``features @ weight`` too."""
    product = step.kind == MATMUL or step.operation == "addmm"
    return step.kind in (CONVOLUTION, LINEAR) or (product and len(step.varying) == 1)


def _normed_tokens(graph: Graph, maps: Maps) -> list[Step]:
    """For each attention the tokens that it reads, behind their layer norm."""
    found: list[Step] = []
    normed = [s for s in maps if s.kind == LAYER_NORM and maps[s].tokens]
    for attention in filter(is_attention, graph.steps):
        upstream = set(graph.before(attention))
        found += [s for s in normed if s in upstream][-1:]
    return list(dict.fromkeys(found))


def _reads_class_token(graph: Graph) -> bool:
    """Whether of the last tokens some are taken that are no patches, and the rest is left."""
    known = _all(graph)
    live = [s for s in graph.steps[:-1] if s.kind != CONSTANT]
    tokens = [s for s in live if s in known and known[s].tokens]
    if not tokens or not known[tokens[-1]].skip:
        return False
    readers = [s for s in tokens[-1].users if s in live]
    return all(s.kind == ROUTING and s not in known for s in readers)


def _before_class_token(
    graph: Graph, maps: Maps, normed: Step, shared: list[Step]
) -> tuple[Step, str]:
    """What the last attention reads; if others read the same patches, what all of them read."""
    upstream = set(graph.before(normed))
    before = [s for s in shared if s in upstream]
    readers = [s for s in graph.after((before or [graph.input])[-1]) if is_attention(s)]
    last = before[-1] if before and len(readers) > 1 else normed
    says = "normalised for the last attention: behind it only the class token counts"
    if not before:
        says += ", and not everything flows through it"
    if last is not normed:
        says = f"the last that everything flows through: {len(readers)} attentions read them"
    patches = " x ".join(map(str, maps[last].size)) + " patches"
    patches += ", by their number alone" if maps[last].guess else ""
    return last, f"tokens of {patches}, {says}; they can be negative"


def _is_activated(step: Step) -> bool:
    """An activation, or activations side by side, as a Fire or Inception module ends."""
    if step.kind == ACTIVATION:
        return True
    joins = step.kind == ROUTING and len(step.varying) > 1
    return joins and all(_is_activated(other) for other in step.varying)


def _exits(graph: Graph, features: list[Step]) -> list[Step]:
    """The feature maps from which a path leads to the output that passes no other.

    Of one that only pools an activated map, that map.
    """
    past, found = {graph.output}, []
    for step in reversed(graph.steps[:-1]):
        if not past.isdisjoint(step.users):
            if step not in features:
                past.add(step)
                continue
            pooled = step.behind((ROUTING, AVERAGE, PASS))
            found.append(pooled if _is_activated(pooled) and pooled in features else step)
    return found[::-1]


def _in_words(found: Positions) -> str:
    told = "by its shape alone" if found.guess else ""
    return ", ".join(filter(None, (" x ".join(map(str, found.size)), found.kind, told)))
