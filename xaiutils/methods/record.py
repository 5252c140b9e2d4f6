"""The record of an explainer: one signature for all, and what a comparison must know of each."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from xaiutils.factors import Target
from xaiutils.lrp.composites import Composite
from xaiutils.lrp.plan import Plan
from xaiutils.network.classifier import Classifier, checked_classifier
from xaiutils.network.step import GraphError
from xaiutils.network.targets import Question, Scores, slope
from xaiutils.support import asking, checks
from xaiutils.support.extras import extras_named
from xaiutils.support.meddling import meddled

FAMILIES = (
    "CAM",
    "LRP",
    "gradient",
    "perturbation",
    "related work",
    "hybrid",
    "control",
    "baseline",
    "as published, faulty",
)
SIGNED, NONNEGATIVE = "signed", "not negative"
Function = Callable[..., Tensor]


class CannotExplain(ValueError):
    """This method does not apply to this network; the message says why, and what does."""


@dataclass(frozen=True)
class Setting:
    """A setting of a method or metric.

    Attributes:
        default: Its value where none is given.
        why: The reason for it.
        stock: The library's own default, where it differs.
        count: Whether it must be a whole number >= 1, which a method checks for its function.
    """

    default: Any
    why: str
    stock: Any = None
    count: bool = False


def merged(name: str, known: Mapping[str, Setting], given: Mapping[str, Any]) -> dict[str, Any]:
    """The defaults of a method or metric called ``name``, with the settings that were given."""
    for key in given:
        if key not in known:
            listed = ", ".join(known) or "none"
            raise TypeError(f"{name} has no setting {key!r}; its settings: {listed}")
    return {key: setting.default for key, setting in known.items()} | dict(given)


def value_of(passes: str, units: Mapping[str, float], settings: Mapping[str, Any]) -> float:
    """The value of a record's formula of cost, of ``units`` and the settings that are numbers."""
    numbers = {key: value for key, value in settings.items() if isinstance(value, int | float)}
    return float(eval(passes, {"__builtins__": {}}, {**units, **numbers}))


def never(classifier: Classifier) -> str | None:
    """For methods that can explain every classifier."""
    return None


def no_graph(classifier: Classifier) -> str | None:
    """For methods that need the graph alone, which a classifier without one raises for."""
    assert classifier.graph
    return None


def no_plan(classifier: Classifier, *, composite: Composite) -> str | None:
    """Why relevance by a composite cannot explain a classifier, or None: a step without a rule.

    A call does not ask it: the plan of its own walk back says the same.
    """
    try:
        graph = classifier.graph
        Plan(graph, composite, graph.find(classifier.cam_layer))
    except GraphError as error:
        return str(error)
    return None


@dataclass(frozen=True)
class Method:
    """An explainer: ``METHODS[name](classifier, x, target)`` gives maps (N, H, W).

    Attributes:
        name, title: Its key in `METHODS`, and what figures and tables call it.
        function: ``(classifier, x, target, **settings)``: maps (N, H, W). ``target`` holds class
            indices (N,), or is `xaiutils.network.targets.Scores`: ``answer`` and ``slope`` there
            read both. It must leave the images as they are.
        family: One of `FAMILIES`.
        sign: ``"signed"``: positive speaks for the class; or ``"not negative"``.
        source: Paper and equation.
        passes: Cost for one image as a formula in F (forward pass), B (backward pass), the
            settings' names, S (segments), C (channels of the CAM layer) and K (classes).
        class_specific: Whether the map depends on the class that is explained.
        classes_only: Whether it explains class indices alone, and no other score.
        pictures_only: Whether it takes pictures (N, C, H, W) alone, no signals and no volumes.
        stochastic: Whether chance decides. Its function is given ``seed`` and draws by a generator
            of its own: the random states of torch, NumPy and Python belong to the caller.
        needs: What it explains with: ``"segments"``, labelled 0, 1, ..., or ``"baselines"``.
        settings: Their defaults, each with its reason.
        refuses: Why this method cannot explain a classifier, or None.
        alone: Whether its function is given each image by itself, as with ``stochastic`` or
            ``needs`` it always is: a map depends on its image and the seed, on no neighbour.
    """

    name: str
    title: str
    function: Function
    family: str
    sign: str
    source: str
    passes: str = "F + B"
    class_specific: bool = True
    classes_only: bool = False
    pictures_only: bool = False
    stochastic: bool = False
    needs: tuple[str, ...] = ()
    settings: Mapping[str, Setting] = field(default_factory=lambda: MappingProxyType({}))
    refuses: Callable[[Classifier], str | None] = never
    alone: bool = False

    def __post_init__(self) -> None:
        """Refuse a method by chance that takes no seed: nobody seeds the process."""
        known = inspect.signature(self.function).parameters.values()
        if self.stochastic and not any(p.name == "seed" or p.kind is p.VAR_KEYWORD for p in known):
            raise TypeError(
                f"function of {self.name} must take seed=, since it is stochastic: draw with a "
                "generator of its own, torch.Generator().manual_seed(seed) or "
                "numpy.random.default_rng(seed)"
            )

    def compute(
        self, classifier: Classifier, x: Tensor, target: Question, seed: int, used: dict[str, Any]
    ) -> Tensor:
        """What ``function`` gives for checked images (N, C, H, W) and all settings: (N, H, W)."""
        counts = {k: checks.whole(k, used[k]) for k, s in self.settings.items() if s.count}
        used = used | counts | ({"seed": seed} if self.stochastic else {})
        if not (self.alone or self.stochastic or self.needs):
            return self.function(classifier, x, target, **used)
        segments = checked_segments(used.get("segments"), x)
        maps = []
        for i in range(len(x)):
            own = {} if segments is None else {"segments": segments[i : i + 1]}
            maps.append(self.function(classifier, x[i : i + 1], target[i : i + 1], **used | own))
        return torch.cat(maps)

    def __call__(
        self,
        classifier: Classifier,
        x: Tensor,
        target: Target = None,
        *,
        seed: int = 0,
        progress: bool = False,
        **settings: Any,
    ) -> Tensor:
        """Explain each image: maps (N, H, W) float32, detached, on the device of ``x``.

        Args:
            classifier: From `load_model` or `wrap`; left as it is.
            x: (N, C, H, W), preprocessed by the classifier.
            target: As in `xaiutils.explain`: a class, a score, or one per image; by default the
                predicted class of each image.
            seed: Decides all chance; the random states of torch, NumPy and Python stay.
            progress: Show a bar of the images that the network answers. To cancel, call this
                inside `xaiutils.support.asking.watch`.
            **settings: Instead of the record's defaults. ``segments`` is (N, H, W), where needed.

        Raises:
            CannotExplain: The method does not apply to this network.
            Meddled: The method wrote into its copy of ``x``.
        """
        checked_classifier(classifier).check(x)
        seed = checks.seed("seed", seed)
        used = merged(self.name, self.settings, settings)
        planned = getattr(self.refuses, "func", None) is no_plan
        if not planned and (reason := self.refusal(classifier)) is not None:
            raise self._cannot(classifier, reason)
        total = self.expected(classifier, len(x), **settings) if progress else None
        watch = asking.watch(total, progress=progress, title=self.title)
        with watch, torch.inference_mode(False):
            x = x.clone() if x.is_inference() else x.detach()
            given, question = x.clone(), self._asked(classifier, x, target)
            try:
                with extras_named():
                    maps = self.compute(classifier, given, question, seed, used)
                maps = maps.detach().float()
            except GraphError as error:
                raise self._cannot(classifier, str(error)) from error
            if not torch.equal(given, x):
                raise meddled(self.name, ["x"])
        if maps.shape != (len(x), *x.shape[2:]):
            raise ValueError(f"{self.name} must return maps (N, H, W), got {checks.shape(maps)}")
        broken = [i for i, one in enumerate(maps) if not bool(one.isfinite().all())]
        if broken:
            raise ValueError(f"{self.name} must return finite maps, got others at {broken}")
        return maps

    def refusal(self, classifier: Classifier) -> str | None:
        """Why this method cannot explain a classifier, or None; one without a graph, perhaps."""
        if self.pictures_only and (space := classifier.transform.dimensions) != 2:
            read = {1: "signals (N, C, L)", 3: "volumes (N, C, D, H, W)"}[space]
            return f"it takes pictures (N, C, H, W), and the network reads {read}; use hybrid"
        try:
            return self.refuses(classifier)
        except GraphError as error:
            return str(error)

    def _cannot(self, classifier: Classifier, reason: str) -> CannotExplain:
        return CannotExplain(f"{self.name} cannot explain {classifier.name}: {reason}")

    def _asked(self, classifier: Classifier, x: Tensor, target: Target) -> Question:
        question = classifier.asked(target, len(x))
        if question is None:
            return classifier.predicted(classifier.predict(x)).cpu()
        if isinstance(question, Scores) and self.classes_only:
            raise CannotExplain(
                f"{self.name} explains one class among others, and no score, got {question.name}; "
                "hybrid and the methods of captum explain scores"
            )
        if isinstance(question, Scores) and self.family == "gradient":
            slope(classifier.predict(x), question)  # captum would return zeros without a word
        return question

    def cost(
        self,
        forward: float = 1,
        backward: float = 1,
        *,
        S: int = 50,
        C: int = 512,
        K: int = 1000,
        **settings: Any,
    ) -> float:
        """The value of ``passes`` for one image, in units of ``forward`` and ``backward``."""
        units = {"F": forward, "B": backward, "S": S, "C": C, "K": K}
        return value_of(self.passes, units, merged(self.name, self.settings, settings))

    def expected(self, classifier: Classifier, n: int = 1, /, **settings: Any) -> int | None:
        """About how many images the network will answer for ``n`` of them, for a bar."""
        try:
            C = classifier.reading().channels
            return round(n * self.cost(1, 0, C=C, K=len(classifier.classes), **settings))
        except (NameError, ArithmeticError, GraphError):
            return None  # a wrong setting, or no layer: the method itself says what is wrong


class Table(list[Method]):
    """Records that share fields, in order; ``@table(title, source, ...)`` adds a function's."""

    def __init__(self, **shared: Any) -> None:
        super().__init__()
        self.shared = shared

    def __call__(
        self, title: str, source: str, *, name: str = "", **fields: Any
    ) -> Callable[[Function], Function]:
        """Add the record of a function, by default under its own name."""

        def add(function: Function) -> Function:
            given = self.shared | fields | {"source": source}
            self.append(Method(name or function.__name__, title, function, **given))
            return function

        return add


def checked_segments(segments: Any, x: Tensor) -> Tensor | None:
    """A map of labels 0, 1, ... without gaps for each image, int64; None where none is given."""
    if segments is None:
        return None
    checks.dense("segments", segments, "(N, H, W)")
    expected = (len(x), *x.shape[2:])
    if segments.shape != expected:
        came = checks.shape(segments)
        raise ValueError(f"segments must be (N, H, W) as the images, {expected}, got {came}")
    if segments.is_floating_point() or segments.is_complex() or segments.dtype == torch.bool:
        raise TypeError(f"segments must be whole numbers, got {segments.dtype}")
    for i, image in enumerate(segments):
        labels = image.unique().tolist()
        if labels != list(range(len(labels))):
            raise ValueError(
                f"segments must be labelled 0, 1, ... without gaps, image {i} has "
                f"{len(labels)} labels from {labels[0]} to {labels[-1]}"
            )
    return segments.long()
