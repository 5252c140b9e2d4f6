"""Both factors of the hybrid, steps 1 and 3, from one recorded forward pass; and notes on them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from xaiutils.cam import CAMS, min_max, to_image, undefined_alphas
from xaiutils.lrp.composites import Composite, composite_named, paper
from xaiutils.lrp.plan import Plan
from xaiutils.lrp.rules import Rule
from xaiutils.lrp.walk import Relevance, propagate
from xaiutils.network import targets
from xaiutils.network.cam_layer import reading
from xaiutils.network.classifier import Classifier, checked_classifier
from xaiutils.network.step import Recording
from xaiutils.network.targets import Question, Score, Scores
from xaiutils.network.uncaptured import Uncaptured, require_gradient
from xaiutils.support import cache, checks

One = int | str | Score | Callable[[Tensor], Tensor]
Target = One | Iterable[One] | Tensor | None
CamLayer = str | Sequence[str] | None

KEPT = 0.05  # the least share of the start that reaches the picture without a note
MADE = 2.0  # above this share of it a composite does not keep the start but makes more of it
_OTHERS: dict[str, str | Composite] = {  # as one writes them, in the order of trial
    "paper(gamma=1)": paper(gamma=1),
    '"epsilon"': "epsilon",
    '"attnlrp"': "attnlrp",
}


class Pass:
    """One forward pass of images, run when it is first asked, and both factors from it.

    Inside `xaiutils.support.cache.remember` gradients and relevance are kept, each by itself.

    Args:
        classifier, x, target: As in `xaiutils.hybrid.explain`.
        layers: Names of the layers whose activations and gradients are wanted.
        plan: The rules of the walks back, from `plan_for`.
        start: Of `relevance`, as in `explain`; none where walks have starts of their own.
        read: Names of the layers whose relevance is wanted as well.
    """

    def __init__(
        self,
        classifier: Classifier,
        x: Tensor,
        target: Target = None,
        *,
        layers: Sequence[str] = (),
        plan: Plan | None = None,
        start: str = "",
        read: Sequence[str] = (),
    ) -> None:
        if plan is None:  # else `plan_for` has looked at x
            checked_classifier(classifier).check(x)
        self.classifier, self.start, self._plan = classifier, start, plan
        # Channels last, a backward pass can kill the process: see data/train_scenes.py.
        self.x = x.contiguous()
        if start != "":
            checks.choice("start", start, targets.STARTS)
        self._network = plan.graph if plan else classifier.maps_for(x)
        self._question = classifier.asked(target, len(x))
        self._leaves = [self._network.find(name) for name in layers]
        self.readings = [reading(self._network, leaf) for leaf in self._leaves]
        self._read = [self._network.find(name) for name in read]
        self._memo, self._keys = cache.active(), dict[str, bytes]()
        asked = (classifier.module, classifier.outputs, self.x, targets.key_of(self._question))
        if self._memo and layers:
            self._keys["gradients"] = self._memo.key(*asked, tuple(s.path for s in self._leaves))
        if self._memo and plan and start:
            look = classifier.transform  # its bounds are for rules of the input
            rules = (cache.Same(plan.composite), plan.gates, classifier.cam_layer, start)
            bounds = (look.mean, look.std, look.limits)
            self._keys["relevance"] = self._memo.key(*asked, *rules, *bounds, tuple(read))
        self._known = {k: self._memo.recall(v) for k, v in self._keys.items() if self._memo}

    @cached_property
    def record(self) -> Recording:
        """What the forward pass left, of all that is not remembered."""
        plan = None if self._known.get("relevance") else self._plan
        network = self._network
        graph = self.classifier.graph_for(self.x) if isinstance(network, Uncaptured) else network
        record = graph.run(
            self.x,
            inputs_of=plan.inputs_of if plan else (),
            graph_of=plan.graph_of if plan else (),
            leaf=() if self._known.get("gradients") else self._leaves,
        )
        _require_finite(record.logits, self.x)
        return record

    @property
    def plan(self) -> Plan:
        """The rules of the walks back."""
        assert self._plan is not None
        return self._plan

    @property
    def logits(self) -> Tensor:
        """(N, K), or what the network gives, (N, ...); without gradient."""
        known = self._known.get("gradients") or self._known.get("relevance")
        return known[0] if known else self.record.logits.detach()

    @cached_property
    def target(self) -> Question:
        """(N,), the class explained, or the score of each image."""
        return self._chosen(self._question, self.logits)

    @property
    def activations(self) -> list[Tensor]:
        """A of each layer as maps, (N, K, h, w)."""
        known = self._known.get("gradients")
        found = known[1] if known else [self.record.leaves[s].detach() for s in self._leaves]
        return [r.as_maps(a) for r, a in zip(self.readings, found, strict=True)]

    @property
    def gradients(self) -> list[Tensor]:
        """The gradient of the target's score by A of each layer, (N, K, h, w)."""
        found = self._once("gradients", self._differentiate)[2]
        return [r.as_maps(g) for r, g in zip(self.readings, found, strict=True)]

    def cams(self, kind: str) -> list[Tensor]:
        """Step 1 at each layer: maps (N, H, W) in [0, 1], by a name in `CAMS`."""
        checks.choice("cam", kind, CAMS)
        size, pairs = tuple(self.x.shape[2:]), zip(self.gradients, self.activations, strict=True)
        return [
            to_image(CAMS[kind].function(_grid(a), _grid(g)).reshape(-1, *a.shape[2:]), size)
            for g, a in pairs
        ]

    def cam(self, kind: str) -> Tensor:
        """Step 1: the map of the layer, (N, H, W); of several the mean, scaled to [0, 1] again."""
        maps = self.cams(kind)
        return maps[0] if len(maps) == 1 else min_max(torch.stack(maps).mean(0))

    def relevance(self) -> Relevance:
        """Step 3: one walk back from ``start``, with its ledger; it frees what was recorded."""
        return self._walked[1]

    @torch.inference_mode(False)
    def walk(self, start: Tensor, plan: Plan | None = None, **options: Any) -> Relevance:
        """A walk back from ``start``, by other rules if need be; ``options`` of `propagate`."""
        options = {"bounds": self._bounds(), "read": self._read} | options
        return propagate(plan or self.plan, self.record, start, **options)

    @property
    def _walked(self) -> tuple[Tensor, Relevance, Tensor]:
        """Logits, relevance, and of which images it starts from 0 everywhere, (N,)."""
        return self._once("relevance", self._walk_back)

    def _once(self, half: str, compute: Callable[[], Any]) -> Any:
        if self._known.get(half) is None:
            with torch.inference_mode(False):
                self._known[half] = compute()
            if self._memo and half in self._keys:
                self._memo.keep(self._keys[half], self._known[half])
        return self._known[half]

    def _chosen(self, question: Question | None, logits: Tensor) -> Question:
        return self.classifier.predicted(logits).cpu() if question is None else question

    def _differentiate(self) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """Logits, activations and gradients; without a graph of each image alone."""
        if not isinstance(self._network, Uncaptured):
            return self._differentiated(self.record, self._question)
        found = []
        for i, record in enumerate(self._network.run(self.x, self._leaves)):
            _require_finite(record.logits, self.x, first=i)
            one = None if self._question is None else self._question[i : i + 1]
            found.append(self._differentiated(record, one))
        logits, a, g = zip(*found, strict=True)
        joined = ([torch.cat(layer) for layer in zip(*each, strict=True)] for each in (a, g))
        return torch.cat(logits), *joined  # type: ignore[return-value]

    def _differentiated(
        self, record: Recording, question: Question | None
    ) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        found, logits = [record.leaves[leaf] for leaf in self._leaves], record.logits.detach()
        slope = targets.slope(logits, self._chosen(question, logits))
        g = torch.autograd.grad(
            require_gradient(record.logits), found, slope, retain_graph=True, allow_unused=True,
            materialize_grads=True,
        )  # fmt: skip
        return logits, [a.detach() for a in found], list(g)

    def _walk_back(self) -> tuple[Tensor, Relevance, Tensor]:
        logits = self.record.logits.detach()
        start = targets.start_of(logits, self.target, self.start)
        found = self.walk(start, forget=True)
        broken = ~found.map.isfinite().flatten(1).all(1)
        if broken.any():
            raise ValueError(
                f"composite must give finite relevance, {self.plan.composite.name} gives NaN or "
                f"infinity for {_images(broken)}: it divides by sums near 0; take one with a "
                "stabiliser, as epsilon"
            )
        if self._known.get("gradients") or not self._leaves:
            del self.record  # with the rest of its gradient graph
        return logits, found, _empty(start)

    def _bounds(self) -> tuple[Tensor, Tensor] | None:
        """The lowest and the highest possible picture, where it is known."""
        if self.classifier.transform.limits is None:
            return None
        low, high = self.classifier.bounds(self.x)
        return low.expand_as(self.x[:1]), high.expand_as(self.x[:1])


def plan_for(
    classifier: Classifier,
    x: Tensor,
    composite: str | Composite,
    input_rule: Rule | None = None,
    gates: str = "signal",
) -> Plan:
    """The rules of a walk back from the output for ``x``; arguments and errors as `explain` has."""
    graph = checked_classifier(classifier).graph_for(classifier.check(x))
    chosen = composite_named(composite)
    chosen = chosen if input_rule is None else chosen.with_input_rule(input_rule)
    return Plan(graph, chosen, graph.find(classifier.cam_layer), gates)


def layers_named(classifier: Classifier, cam_layer: CamLayer = None) -> tuple[str, ...]:
    """The layers of a CAM: those given, a name or different names, or the classifier's own."""
    if cam_layer is None or isinstance(cam_layer, str):
        return (cam_layer or checked_classifier(classifier).cam_layer,)
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


def notes(seen: Pass, kind: str, cam: Tensor) -> list[str]:
    """What a reader should know of single images, their map ``cam`` of ``kind`` and relevance."""
    found = _far(seen)
    if any(read.guess for read in seen.readings):
        says = "rows and columns of the CAM layer are told by its shape alone"
        found += notes_of(torch.ones(len(cam), dtype=torch.bool), says)
    if kind == "grad_cam_plus_plus":
        pairs = zip(seen.activations, seen.gradients, strict=True)
        undefined = sum(undefined_alphas(_grid(a), _grid(g)) for a, g in pairs)
        says = "Grad-CAM++ counts some alphas as 0: 2 + g ΣA is not > 0"
        found += notes_of(torch.as_tensor(undefined) > 0, says)
    found += notes_of(_empty(cam), "the CAM is nowhere positive, or constant")
    if isinstance(seen.target, Scores):
        says = "the score hardly depends on the output here: what is shown is rounding"
        found += notes_of(targets.faint(seen.logits, seen.target), says)
    _, relevance, silent = seen._walked
    found += notes_of(silent, "relevance starts from a logit of exactly 0")
    found += notes_of(_empty(relevance.map), "the relevance is zero everywhere")
    return found + _negative(seen)


def notes_of(which: Tensor, text: str) -> list[str]:
    """``text`` for each image where ``which`` (N,) is true."""
    return [f"image {i}: {text}" for i in which.nonzero()[:, 0].tolist()]


def lost(seen: Pass, input_rule: Rule | None) -> list[str]:
    """A note for each image whose map holds little of the start, or many times it.

    It names a composite that keeps it: others are tried in order, a further pass each.
    """
    ledger, start = seen.relevance().ledger, seen.start
    shares = {name: share.tolist() for name, share in ledger.shares().items()}
    within = [KEPT <= share <= 1 / KEPT for share in shares["input"]]
    poor = [i for i, given in enumerate(ledger.start.tolist()) if given and not within[i]]
    keeps: dict[int, str] = {}
    for written, composite in _OTHERS.items():
        left = [i for i in poor if i not in keeps]
        if not left:
            break
        x, target = seen.x[left], seen.target[left]
        try:
            plan = plan_for(seen.classifier, x, composite, input_rule, seen.plan.gates)
            other = Pass(seen.classifier, x, target, plan=plan, start=start).relevance().ledger
        except ValueError:  # it has no rule for a layer of this network, or gives no numbers
            continue
        for i, share in zip(left, other.shares()["input"].tolist(), strict=True):
            if KEPT <= share <= MADE:
                keeps[i] = f"composite={written} keeps {share:.0%}"
    what = "logit" if start == "logit" and isinstance(seen.target, Tensor) else "start"
    found = []
    for i in poor:
        terms = {name: share[i] for name, share in shares.items()}
        reaches = f"{terms.pop('input'):.1%} of the {what} reaches the picture"
        rest = ", ".join(f"{name} {term:.1%}" for name, term in terms.items() if abs(term) > 5e-4)
        said = keeps.get(i, f"none of {', '.join(_OTHERS)} keeps {KEPT:.0%} to {MADE:.0%} of it")
        found.append(f"image {i}: {reaches} ({rest}); {said}")
    return found


def _far(seen: Pass) -> list[str]:
    """A note for each image beyond its channel's bounds by more than half of their width.

    Rounding and a little noise stay nearer; pixels of 0..255, or normalised twice, do not.
    """
    if seen.classifier.transform.limits is None:
        return []
    x = seen.x.detach()
    low, high = seen.classifier.bounds(x)
    far = ((x - (low + high) / 2).abs() > high - low).flatten(1).any(1)
    ends = f"{float(low.min()) + 0.0:.3g} to {float(high.max()):.3g}"
    return [
        f"image {i}: x goes from {float(x[i].min()):.3g} to {float(x[i].max()):.3g}, far beyond "
        f"what a picture can be ({ends}); classifier.preprocess(picture) gives x"
        for i in far.nonzero()[:, 0].tolist()
    ]


def _negative(seen: Pass) -> list[str]:
    """A note for each image whose logit, or score, is negative: what red and blue mean."""
    rule = next(reversed(seen.plan.rules.values()), None)  # of the layer that gives the classes
    # Shares in an output have the sign of what they add to it over that of the output; other rules
    # hand down the sign of what arrives.
    by_output = rule is None or rule.plain or re.fullmatch(r"gamma\(.*\)", rule.name) is not None
    what, values = "logit", targets.answer(seen.logits, seen.target)
    says = "red and blue stay as with a positive one"
    if isinstance(seen.target, Scores):
        what = "score"
    if (seen.start == "one") == by_output:
        other = "logit" if seen.start == "one" else "one"
        says = f'red and blue change places, as against a positive one; start="{other}" keeps them'
        if isinstance(seen.target, Scores):  # it is the outputs' signs that turn them over
            what = "sum of the outputs that the score reads"
            g = targets.slope(seen.logits, seen.target, held=True).abs()
            values = (g * seen.logits).reshape(len(g), -1).sum(1)
    each = enumerate(values.tolist())
    return [f"image {i}: the {what} is negative ({v:.3g}): {says}" for i, v in each if v < 0]


def _empty(value: Tensor) -> Tensor:
    return (value == 0).reshape(len(value), -1).all(1)


def _grid(maps: Tensor) -> Tensor:
    """Maps as (N, K, h, w): to a CAM all positions are alike, those of signals and volumes too."""
    return maps if maps.ndim == 4 else maps.reshape(*maps.shape[:2], maps.shape[2], -1)


def _require_finite(logits: Tensor, x: Tensor, first: int = 0) -> None:
    broken = ~logits.detach().flatten(1).isfinite().all(1)
    if broken.any():
        raise ValueError(
            "classifier must give finite logits, got NaN or infinity for "
            f"{_images(broken, first)}: x or the weights are too large for {x.dtype}"
        )


def _images(which: Tensor, first: int = 0) -> str:
    """The images where ``which`` (N,) is true, in words; they are counted from ``first``."""
    return f"image {', '.join(str(first + i) for i in which.nonzero()[:, 0].tolist())}"
