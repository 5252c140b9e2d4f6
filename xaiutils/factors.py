"""One forward pass, and from it the CAM, the relevance, or both."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from xaiutils.cam import CAMS, min_max, to_image, undefined_alphas
from xaiutils.lrp.composites import Composite, composite_named
from xaiutils.lrp.plan import Plan
from xaiutils.lrp.rules import Rule
from xaiutils.lrp.walk import Relevance, propagate
from xaiutils.network import targets
from xaiutils.network.cam_layer import reading
from xaiutils.network.classifier import Classifier, checked_classifier
from xaiutils.network.positions import Positions
from xaiutils.network.step import Recording, Step
from xaiutils.network.targets import Question, Score, Scores
from xaiutils.network.uncaptured import Uncaptured, require_gradient
from xaiutils.support import cache, checks

One = int | str | Score | Callable[[Tensor], Tensor]
Target = One | Iterable[One] | Tensor | None
CamLayer = str | Sequence[str] | None


@dataclass
class Seen:
    """What `look` found; ``cam`` and ``relevance`` are None where they were not asked for.

    Attributes:
        target: (N,), the class explained, or the score of each image.
        logits: (N, K), or what the network gives, (N, ...).
        cam: (N, H, W) in [0, 1].
        relevance: With its ledger.
        notes: What a reader should know of single images.
    """

    target: Question
    logits: Tensor
    cam: Tensor | None
    relevance: Relevance | None
    notes: list[str]


@dataclass(frozen=True)
class _Gradients:
    """What CAMs are made of: activations of each layer and the gradient of the score there."""

    target: Question
    logits: Tensor
    at_layers: list[tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class _Walk:
    target: Question
    logits: Tensor
    relevance: Relevance
    notes: list[str]


def look(
    classifier: Classifier,
    x: Tensor,
    target: Target,
    cam: str | None = None,
    cam_layer: CamLayer = None,
    composite: str | Composite | None = None,
    input_rule: Rule | None = None,
    start: str = "logit",
    gates: str = "signal",
    layers: Iterable[str] = (),
) -> Seen:
    """The CAM, the relevance, or both; the arguments are those of `xaiutils.hybrid.explain`.

    Inside `xaiutils.support.cache.remember` the two halves are kept, each by itself: a CAM of
    another kind needs the same gradients, a hybrid the same relevance.
    """
    known = checked_classifier(classifier).maps_for(classifier.check(x))
    x = x.contiguous()  # laid out last, a backward pass can kill the process: training.py
    checks.choice("start", start, targets.STARTS)
    question = classifier.asked(target, len(x))
    asked = (classifier.module, classifier.outputs, x, targets.key_of(question))
    first = second = None
    if cam is not None:
        checks.choice("cam", cam, CAMS)
        leaves = [known.find(name) for name in layers_named(cam_layer, classifier.cam_layer)]
        read_as = [reading(known, leaf) for leaf in leaves]
        first = _Half("gradients", *asked, tuple(leaf.path for leaf in leaves))
    if composite is not None:
        chosen, named = composite_named(composite), tuple(layers)
        rules = (cache.Same(chosen), cache.Same(input_rule), start, gates, classifier.cam_layer)
        look = classifier.transform
        bounds = (look.mean, look.std, look.limits)  # for rules of the input
        second = _Half("relevance", *asked, *rules, *bounds, named)
    if isinstance(known, Uncaptured) and second is None:
        if first and first.answer is None:
            with torch.inference_mode(False):
                first.keep(_one_by_one(classifier, known, x, question, leaves))
    elif (first and first.answer is None) or (second and second.answer is None):
        graph = classifier.graph_for(x) if isinstance(known, Uncaptured) else known
        plan = None
        if second and second.answer is None:
            chosen = chosen if input_rule is None else chosen.with_input_rule(input_rule)
            plan = Plan(graph, chosen, graph.find(classifier.cam_layer), gates)
        record = graph.run(
            x,
            inputs_of=plan.inputs_of if plan else (),
            graph_of=plan.graph_of if plan else (),
            leaf=leaves if first and first.answer is None else (),
        )
        _require_finite(record.logits, x)
        with torch.inference_mode(False):
            if first and first.answer is None:
                first.keep(_gradients(classifier, record, question, leaves))
            if second and plan:
                read = [graph.find(name) for name in named]
                second.keep(_walk(classifier, plan, record, x, question, start, read))
    found = next(half.answer for half in (first, second) if half)
    seen = Seen(found.target, found.logits, None, None, [])
    if first:
        seen.cam = _cam(first.answer, str(cam), read_as, tuple(x.shape[2:]), seen.notes)
    if isinstance(found.target, Scores):
        says = "the score hardly depends on the output here: what is shown is rounding"
        seen.notes += notes_of(targets.faint(found.logits, found.target), says)
    if second:
        seen.relevance = second.answer.relevance
        seen.notes += second.answer.notes
    return seen


def layers_named(cam_layer: CamLayer, own: str) -> tuple[str, ...]:
    """The layers of a CAM: those given, or the classifier's own.

    Raises:
        TypeError, ValueError: Neither a name nor a list of different names.
    """
    if cam_layer is None or isinstance(cam_layer, str):
        return (cam_layer or own,)
    if not isinstance(cam_layer, list | tuple) or not all(isinstance(n, str) for n in cam_layer):
        raise TypeError(
            "cam_layer must be the name of a layer, or a list of names, "
            f"got {checks.describe(cam_layer)}"
        )
    if not cam_layer or len(set(cam_layer)) < len(cam_layer):
        raise ValueError(
            f"cam_layer must name at least one layer, and each once, got {list(cam_layer)}"
        )
    return tuple(cam_layer)


def notes_of(which: Tensor, text: str) -> list[str]:
    """``text`` for each image where ``which`` (N,) is true."""
    return [f"image {i}: {text}" for i in which.nonzero()[:, 0].tolist()]


class _Half:
    """One half of the answer: from the open memo, or still to be computed."""

    def __init__(self, *asked: Any) -> None:
        self.memo = cache.active()
        self.key = self.memo.key(*asked) if self.memo else b""
        self.answer: Any = self.memo.recall(self.key) if self.memo else None

    def keep(self, answer: Any) -> None:
        self.answer = answer
        if self.memo:
            self.memo.keep(self.key, answer)


def _targets(classifier: Classifier, record: Recording, question: Question | None) -> Question:
    return classifier.predicted(record.logits.detach()).cpu() if question is None else question


def _gradients(
    classifier: Classifier, record: Recording, question: Question | None, leaves: list[Step]
) -> _Gradients:
    found = [record.leaves[leaf] for leaf in leaves]
    target = _targets(classifier, record, question)
    slope = targets.slope(record.logits.detach(), target)
    g = torch.autograd.grad(
        require_gradient(record.logits), found, slope, retain_graph=True, allow_unused=True,
        materialize_grads=True,
    )  # fmt: skip
    at_layers = [(a.detach(), at) for a, at in zip(found, g, strict=True)]
    return _Gradients(target, record.logits.detach(), at_layers)


def _one_by_one(
    classifier: Classifier,
    network: Uncaptured,
    x: Tensor,
    question: Question | None,
    leaves: list[Step],
) -> _Gradients:
    """The same of a network without a graph, which is given each image alone."""
    found = []
    for i, record in enumerate(network.run(x, leaves)):
        _require_finite(record.logits, x)
        one = None if question is None else question[i : i + 1]
        found.append(_gradients(classifier, record, one, leaves))
    at_layers = [
        (torch.cat([a for a, _ in layer]), torch.cat([g for _, g in layer]))
        for layer in zip(*(one.at_layers for one in found), strict=True)
    ]
    if question is None:
        question = torch.cat([one.target for one in found])  # type: ignore[misc]
    return _Gradients(question, torch.cat([one.logits for one in found]), at_layers)


def _require_finite(logits: Tensor, x: Tensor) -> None:
    broken = ~logits.detach().flatten(1).isfinite().all(1)
    if broken.any():
        raise ValueError(
            "classifier must give finite logits, got NaN or infinity for "
            f"{_images(broken)}: x or the weights are too large for {x.dtype}"
        )


def _walk(
    classifier: Classifier,
    plan: Plan,
    record: Recording,
    x: Tensor,
    question: Question | None,
    start: str,
    read: list[Any],
) -> _Walk:
    target, logits = _targets(classifier, record, question), record.logits.detach()
    spread = targets.start_of(logits, target, start)
    notes = notes_of(
        (spread == 0).reshape(len(x), -1).all(1), "relevance starts from a logit of exactly 0"
    )
    bounds = None
    if classifier.transform.limits is not None:
        low, high = classifier.bounds(x)
        bounds = low.expand_as(x[:1]), high.expand_as(x[:1])
    found = propagate(plan, record, spread, bounds=bounds, read=read, forget=True)
    broken = ~found.map.isfinite().flatten(1).all(1)
    if broken.any():
        raise ValueError(
            f"composite must give finite relevance, {plan.composite.name} gives NaN or infinity "
            f"for {_images(broken)}: it divides by sums near 0; take one with a stabiliser, as "
            "epsilon"
        )
    notes += notes_of((found.map == 0).flatten(1).all(1), "the relevance is zero everywhere")
    return _Walk(target, logits, found, notes + _negative(plan, logits, target, start))


def _negative(plan: Plan, logits: Tensor, target: Question, start: str) -> list[str]:
    """A note for each image whose logit, or score, is negative: what red and blue mean."""
    rule = next(reversed(plan.rules.values()), None)  # of the layer that gives the classes
    # Shares in an output have the sign of what they add to it over that of the output; other rules
    # hand down the sign of what arrives.
    by_output = rule is None or rule.plain or re.fullmatch(r"gamma\(.*\)", rule.name) is not None
    what, values = "logit", targets.answer(logits, target)
    says = "red and blue stay as with a positive one"
    if isinstance(target, Scores):
        what = "score"
    if (start == "one") == by_output:
        other = "logit" if start == "one" else "one"
        says = f'red and blue change places, as against a positive one; start="{other}" keeps them'
        if isinstance(target, Scores):  # it is the outputs' signs that turn them over
            what = "sum of the outputs that the score reads"
            g = targets.slope(logits, target, held=True).abs()
            values = (g * logits).reshape(len(g), -1).sum(1)
    each = enumerate(values.tolist())
    return [f"image {i}: the {what} is negative ({v:.3g}): {says}" for i, v in each if v < 0]


def _images(which: Tensor) -> str:
    """The images where ``which`` (N,) is true, in words."""
    return f"image {', '.join(map(str, which.nonzero()[:, 0].tolist()))}"


def _cam(
    found: _Gradients, cam: str, read_as: list[Positions], size: tuple[int, ...], notes: list[str]
) -> Tensor:
    """The map of the layer; of several the mean of their maps, scaled to [0, 1] again."""
    maps, undefined = [], torch.zeros(len(found.logits), device=found.logits.device)
    for read, at_layer in zip(read_as, found.at_layers, strict=True):
        a, g = map(read.as_maps, at_layer)
        space = a.shape[2:]
        if len(space) != 2:  # to a CAM all positions are alike: those of signals, volumes in a grid
            a, g = (value.reshape(*value.shape[:2], space[0], -1) for value in (a, g))
        if cam == "grad_cam_plus_plus":
            undefined = undefined + undefined_alphas(a, g)
        maps.append(to_image(CAMS[cam].function(a, g).reshape(-1, *space), size))
    if any(read.guess for read in read_as):
        says = "rows and columns of the CAM layer are told by its shape alone"
        notes += notes_of(torch.ones(len(found.logits), dtype=torch.bool), says)
    notes += notes_of(undefined > 0, "Grad-CAM++ counts some alphas as 0: 2 + g ΣA is not > 0")
    result = maps[0] if len(maps) == 1 else min_max(torch.stack(maps).mean(0))
    notes += notes_of((result == 0).flatten(1).all(1), "the CAM is nowhere positive, or constant")
    return result
