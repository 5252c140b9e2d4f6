"""Whether the settings that a study was given are ones that its methods and metrics take.

Each is asked once, on one picture, with what it was given; its own checks answer before the network
is asked for long. Where it fails with its defaults too, the settings are not the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from xaiutils.cases.case import Case, load_cases
from xaiutils.cases.workloads import Workload
from xaiutils.methods.record import CannotExplain
from xaiutils.metrics import METRICS
from xaiutils.metrics.scoring import Contender
from xaiutils.network.classifier import Classifier
from xaiutils.network.targets import Question
from xaiutils.support import asking
from xaiutils.support.checks import text_of

ANSWERS = 16  # of the network, after which a setting is taken
TRIED = 8  # pictures, until one can be read


def require_settings(
    work: Workload, entrants: Sequence[Contender], metrics: Mapping[str, Mapping[str, Any]]
) -> None:
    """Refuse what would fail on every picture.

    Raises:
        ValueError: A method or metric does not take a setting; its own message says why.
    """
    methods = [one for one in entrants if one.method is not None and one.settings]
    given = {name: settings for name, settings in metrics.items() if settings}
    case = _picture(work) if methods or given else None
    if case is None:
        return
    asked: list[tuple[str, str, Callable[..., object], Mapping[str, Any]]] = []
    for one in methods:
        assert one.method is not None
        explain = partial(one.method, case.classifier, case.x, case.targets)
        asked.append(("methods", one.label, explain, one.settings))
    for name, settings in given.items():
        asked.append(("metrics", name, partial(METRICS[name], case, _ramp), settings))
    for argument, name, ask, settings in asked:
        reason = _failure(ask, settings)
        if reason is not None and _failure(ask, {}) is None:
            words = ", ".join(f"{key}={value!r}" for key, value in settings.items())
            raise ValueError(
                f"{argument} must have settings that they take, {name} refuses {words}: "
                f"{text_of(reason)}"
            )


def _failure(ask: Callable[..., object], settings: Mapping[str, Any]) -> BaseException | None:
    """What it raises, if it does so before the network has answered `ANSWERS` times."""
    seen = asking.Watch()
    try:
        with asking.watch(cancelled=lambda: seen.images >= ANSWERS) as seen:
            ask(**settings)
    except CannotExplain:
        return None
    except (Exception, SystemExit) as reason:
        return None if seen.images >= ANSWERS else reason
    return None


def _picture(work: Workload) -> Case | None:
    """The first that can be read, with an object and another where nobody said."""
    for index in range(min(TRIED, len(work.samples))):
        try:
            (case,) = load_cases(work, [index])
        except Exception:  # it will be a row of the study
            continue
        mask, boxes = case.mask, case.boxes
        if mask is None or not mask.any() or mask.all():
            height, width = case.size
            mask = torch.arange(height)[:, None].expand(height, width) < height // 2
            boxes = ((0.0, 0.0, float(width), float(height // 2)),)
        rival = ~mask if case.rival is None else case.rival
        return replace(case, mask=mask, rival=rival, boxes=boxes)
    return None


def _ramp(classifier: Classifier, x: Tensor, target: Question) -> Tensor:
    across = torch.linspace(0, 1, x.shape[2] * x.shape[3]).reshape(1, *x.shape[2:])
    return across.expand(len(x), *x.shape[2:])
