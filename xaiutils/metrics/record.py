"""The record of a metric: one call for all, and what a table must say of each."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from xaiutils.cases.case import Case
from xaiutils.methods.record import Setting, merged, value_of
from xaiutils.network.classifier import VALUE, Classifier
from xaiutils.network.targets import Question, Scores
from xaiutils.support import checks
from xaiutils.support.extras import extras_named

FAMILIES = ("robustness", "faithfulness", "localisation", "complexity", "randomisation")
BATCH = 32  # pictures in one question; always cut alike, so that a memo finds the answers again
Explainer = Callable[[Classifier, Tensor, Question], Tensor]  # x (N, C, H, W), target (N,)
NEEDS: dict[str, str] = {
    "picture": "a picture (N, C, H, W), no signal and no volume",
    "mask": "where the object is",
    "rival": "a second object",
    "boxes": "boxes around the object",
    "pieces": "the picture drawn again without each object, which only scenes have",
}


class CannotScore(ValueError):
    """This picture or this map has no such score; the message says why. Reported, and counted."""


class Score(NamedTuple):
    """One score; NaN with the reason where there is none."""

    value: float
    why: str = ""


def always(level: float) -> Callable[[Case], float]:
    """The chance level of a metric for which it is the same on every case."""
    return lambda case: level


_NOT_KNOWN = always(torch.nan)


def mask_share(case: Case) -> float:
    """The mask's share of the picture: a random map's score in localisation; NaN without a mask."""
    return torch.nan if case.mask is None else float(case.mask.double().mean())


@dataclass(frozen=True)
class Metric:
    """A score of one explanation: ``METRICS[name](case, explainer)``.

    Attributes:
        name, title: Its key in `METRICS`, and what figures and tables call it.
        family: One of `FAMILIES`.
        better: ``"higher"`` or ``"lower"``.
        function: ``(case, attribution (H, W), explainer, seed, **settings)`` to a number; raises
            `CannotScore`. The seed comes from the picture, the metric and the caller's seed.
        low, high: The range of the score.
        of_probability: Whether that is a probability's range: of a network whose outputs are
            values, and of a case that asks for a score, it is in their units.
        source: Paper and equation, or the library that computes it.
        anchors: What a random map and the oracle (the object's mask as a map) score, in words.
        passes: Cost for one image as a formula in F (forward pass), E (one explanation) and the
            settings' names.
        chance: The score of a random map on a case, NaN where it is not known beforehand.
        needs: Keys of `NEEDS`: what a case must have.
        across_classes: Whether maps of different classes or networks are compared, so that LRP
            must start from one and not from logits of either sign.
        stream: Metrics of one stream have one seed for a picture, and so the same perturbations;
            by default a metric has its own.
        explains: Whether the explainer is asked again, on other pictures, classes or networks.
        settings: Their defaults, each with its reason.
    """

    name: str
    title: str
    family: str
    better: Literal["higher", "lower"]
    function: Callable[..., float]
    low: float
    high: float
    source: str
    anchors: str
    passes: str = "0"
    chance: Callable[[Case], float] = _NOT_KNOWN
    needs: tuple[str, ...] = ()
    across_classes: bool = False
    explains: bool = False
    stream: str = ""
    of_probability: bool = False
    settings: Mapping[str, Setting] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Nobody changes the settings of a record."""
        object.__setattr__(self, "settings", MappingProxyType(dict(self.settings)))

    @property
    def arrow(self) -> str:
        """↑ where higher is better, ↓ where lower is."""
        return "↑" if self.better == "higher" else "↓"

    def __call__(
        self,
        case: Case,
        explainer: Explainer,
        *,
        attribution: Tensor | None = None,
        seed: int = 0,
        **settings: Any,
    ) -> Score:
        """Score one explanation, whatever was scored before; global random states stay.

        Args:
            case: A picture, the class that is explained, and where its object is.
            explainer: ``(classifier, x (N, C, H, W), target (N,))`` to maps (N, H, W); an entry of
                `xaiutils.METHODS` is one.
            attribution: The explainer's map of the case, (H, W), where it is known already.
            seed: Decides, with the picture and the metric, all chance.
            **settings: Instead of the record's defaults.

        Returns:
            The score; NaN with the reason for a map without an order (zero, constant, NaN) and
            for a picture without what the metric needs.
        """
        used = merged(self.name, self.settings, settings)
        seed = checks.seed("seed", seed)
        if not callable(explainer):
            given = checks.describe(explainer)
            raise TypeError(f"explainer must be a function or an entry of METHODS, got {given}")
        explainer = _on_copies(explainer)
        size = tuple(case.x.shape[2:])
        if attribution is None:
            maps = explainer(case.classifier, case.x, case.targets)
            _sized("explainer's maps", maps, "(N, H, W)", "explainer must return maps", (1, *size))
            attribution = maps[0]
        _sized("attribution", attribution, "(H, W)", "attribution must be (H, W) =", size)
        if not attribution.is_floating_point():
            raise TypeError(f"attribution must be floating-point, got {attribution.dtype}")
        attribution = attribution.detach()
        try:
            for need in self.needs:
                if not case.has(need):
                    raise CannotScore(f"needs {NEEDS[need]}")
            require_order(attribution)
            drawn = picture_seed(case, self.stream or self.name, seed)
            with extras_named():
                value = float(self.function(case, attribution, explainer, drawn, **used))
        except CannotScore as reason:
            return Score(torch.nan, str(reason))
        free = case.classifier.outputs == VALUE or isinstance(case.targets, Scores)
        bounded = not (self.of_probability and free)
        if bounded and not self.low - 1e-6 <= value <= self.high + 1e-6:
            raise ValueError(f"{self.name} must be in [{self.low}, {self.high}], got {value}")
        return Score(value)

    def cost(self, forward: float = 1, explanation: float = 3, **settings: Any) -> float:
        """The value of ``passes`` for one image and one method that is scored alone."""
        units = {"F": forward, "E": explanation}
        return value_of(self.passes, units, merged(self.name, self.settings, settings))


def _on_copies(explainer: Explainer) -> Explainer:
    """It may write into the pictures that it is given: they are its own."""
    return lambda classifier, x, target: explainer(classifier, x.clone(), target)


def require_order(attribution: Tensor) -> None:
    """Raise `CannotScore` for a map that puts no pixel above another."""
    if not bool(attribution.isfinite().all()):
        raise CannotScore("the map has NaN or infinite values")
    if bool((attribution == 0).all()):
        raise CannotScore("the map is zero everywhere")
    if bool((attribution == attribution.flatten()[0]).all()):
        raise CannotScore("the map is the same everywhere")


def picture_seed(case: Case, *what: object) -> int:
    """A seed of 32 bits from the picture's bytes and ``what``: one for all classes and methods."""
    digest = hashlib.blake2b(digest_size=4)
    digest.update(case.x.detach().cpu().contiguous().numpy().tobytes())
    digest.update(repr(what).encode())
    return int.from_bytes(digest.digest(), "little")


def _sized(argument: str, value: Any, form: str, rule: str, size: tuple[int, ...]) -> None:
    if isinstance(value, Tensor):
        checks.dense(argument, value, form)
    if not isinstance(value, Tensor) or value.shape != size:
        got = checks.shape(value) if isinstance(value, Tensor) else checks.describe(value)
        raise ValueError(f"{rule} {size}, got {got}")
