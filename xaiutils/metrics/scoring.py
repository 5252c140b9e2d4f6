"""Many methods on many pictures by many metrics: one row for each score.

Pictures are taken one by one, so that their order and number change no bit; all methods see the
same perturbed pictures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from xaiutils.cases.case import Case
from xaiutils.methods import METHODS, SHIPPED
from xaiutils.methods.record import CannotExplain, Method
from xaiutils.metrics import METRICS, SHIPPED as SHIPPED_METRICS
from xaiutils.metrics.record import Explainer, Metric, Score
from xaiutils.metrics.score_table import COLUMNS
from xaiutils.network.classifier import Classifier
from xaiutils.network.targets import Question, key_of
from xaiutils.support import cache, checks
from xaiutils.support.cache import Same, remember
from xaiutils.support.meddling import Meddled, left_alone

ORACLE = "oracle_mask"


@dataclass(frozen=True)
class Contender:
    """A method with its settings; None stands for the oracle, whose map is the object's mask.

    ``label`` is what the table calls it; ``settings`` stand instead of the record's defaults.
    """

    label: str
    method: Method | None
    settings: Mapping[str, Any] = field(default_factory=dict)

    def explainer(self, case: Case, seed: int, across_classes: bool = False) -> Explainer:
        """The method as a metric asks it: its maps are remembered by all that decides them.

        With ``across_classes`` relevance starts from one, for a start from logits of either sign
        would turn maps over. ``seed`` is the method's.
        """
        if self.method is None:
            mask = torch.as_tensor(case.mask).float()
            return lambda classifier, x, target: mask.to(x.device).expand(len(x), *mask.shape)
        method, settings = self.method, dict(self.settings)
        ours = any(method is one for one in SHIPPED)
        if across_classes and "start" in method.settings:
            settings.setdefault("start", "one")
        chosen = [
            (key, value if value is None or isinstance(value, str | int | float) else Same(value))
            for key, value in sorted(settings.items())
        ]

        def explain(classifier: Classifier, x: Tensor, target: Question) -> Tensor:
            look = classifier.transform
            network = (classifier.module, classifier.cam_layer, classifier.outputs)
            asked = (*network, look.mean, look.std, x, key_of(target))

            def compute() -> Tensor:
                with nullcontext() if ours else left_alone(method.name, classifier.module):
                    return method(classifier, x, target, seed=seed, **settings)

            return cache.once(compute, "map", Same(method), seed, chosen, *asked)

        return explain


def contender(name: str, label: str | None = None, **settings: Any) -> Contender:
    """A contender by its name in `METHODS`, or ``oracle_mask``.

    ``label`` is by default its name, with the ``settings`` that were given.
    """
    checks.choice("name", name, (*METHODS, ORACLE))
    method = METHODS.get(name)
    known = method.settings if method else {}
    for key in settings:
        checks.choice(f"setting of {name}", key, tuple(known))
    text = ", ".join(f"{key}={value}" for key, value in settings.items())
    return Contender(label or (f"{name}({text})" if text else name), method, settings)


def score(
    cases: Iterable[Case],
    methods: Sequence[str | Contender],
    metrics: Sequence[str] | Mapping[str, Mapping[str, Any]],
    *,
    seeds: Sequence[int] = (0,),
    progress: bool = False,
    megabytes: int = 512,
) -> pd.DataFrame:
    """The scores of all methods on all cases by all metrics.

    Args:
        cases: From `xaiutils.metrics.load_cases`.
        methods: Names in `METHODS`, ``oracle_mask``, or contenders with settings.
        metrics: Names in `METRICS`, or a mapping from them to settings.
        seeds: Each gives a row of its own: the same map, other perturbations.
        progress: Show a bar over the cases.
        megabytes: Of answers to remember.

    Returns:
        One row for each score with the columns `COLUMNS`; ``value`` is NaN where there is none,
        and ``why`` says the reason. Where a method or metric of yours changed the network or the
        like, its row says what, and it was put back before the next row.

    Example:
        >>> cases = xai.load_cases(xai.load_workload("photographs"), [1])
        >>> table = xai.score(cases, ["hybrid", "random_map"], ["relevance_mass"])
        >>> dict(zip(table["method"], table["value"].round(2)))
        {'hybrid': 0.89, 'random_map': 0.55}
    """
    for argument, value in (("methods", methods), ("metrics", metrics), ("seeds", seeds)):
        if isinstance(value, str) or not len(value):
            raise ValueError(f"{argument} must be a sequence of one or more, got {value!r}")
    entrants = [one if isinstance(one, Contender) else contender(one) for one in methods]
    labels = [one.label for one in entrants]
    if len(set(labels)) != len(labels):
        raise ValueError(f"methods must have labels of their own, got {labels}")
    chosen = dict(metrics) if isinstance(metrics, Mapping) else {key: {} for key in metrics}
    for name in chosen:
        checks.choice("metric", name, METRICS)
    cases = list(cases)
    if progress:
        from tqdm.auto import tqdm

        cases = tqdm(cases, unit="picture", leave=False)
    rows: list[tuple[Any, ...]] = []
    with remember(megabytes):
        for case in cases:
            for seed in seeds:
                found = score_case(case, entrants, chosen, seed, _said)
                place = (case.workload, case.classifier.name, case.split, case.id)
                asked = product(chosen, labels)
                rows += [(*place, label, name, seed, *found[label, name]) for name, label in asked]
    return pd.DataFrame(rows, columns=COLUMNS)


def score_case(
    case: Case,
    entrants: Sequence[Contender],
    metrics: Mapping[str, Mapping[str, Any]],
    seed: int,
    ask: Callable[[str, str, Callable[[], Score]], Score],
) -> dict[tuple[str, str], Score]:
    """The scores of one picture by label and metric, under one ``seed``; open `remember` around it.

    ``metrics`` maps names to settings. ``ask`` is called with label, metric and ``score``, which it
    calls: a study times it there and catches its errors.
    """
    # A hybrid's pass has a CAM and a relevance to leave behind, so hybrids are asked first.
    order = sorted(entrants, key=lambda one: one.method is None or one.method.family != "hybrid")
    found: dict[tuple[str, str], Score] = {}
    for name, settings in metrics.items():
        for one in order:
            score = partial(_one, case, one, METRICS[name], seed, settings)
            found[one.label, name] = ask(one.label, name, score)
    return found


def _said(label: str, name: str, score: Callable[[], Score]) -> Score:
    """A score, or the reason of whoever changed what the other rows are computed from."""
    try:
        return score()
    except Meddled as reason:
        return Score(torch.nan, str(reason))


def _one(
    case: Case, entrant: Contender, metric: Metric, seed: int, settings: Mapping[str, Any]
) -> Score:
    if entrant.method is None and not case.has("mask"):
        return Score(torch.nan, "the oracle needs where the object is")
    explainer = entrant.explainer(case, 0, metric.across_classes)
    ours = any(metric is one for one in SHIPPED_METRICS)
    given = {"x": case.x, "mask": case.mask, "rival": case.rival}
    try:
        with nullcontext() if ours else left_alone(metric.name, case.classifier.module, **given):
            return metric(case, explainer, seed=seed, **settings)
    except CannotExplain as reason:
        return Score(torch.nan, str(reason))
