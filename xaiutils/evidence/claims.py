"""Claims of a paper in a form that scores can answer, read from YAML and checked."""

from __future__ import annotations

import datetime
import re
from collections import Counter
from collections.abc import Collection, Hashable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from xaiutils.support import checks

RELATIONS = ("better", "worse", "near", "not_better", "better_than_one")
STATISTICS = {"spread": ("draws", "methods"), "lowest": ()}  # their rows, or "always" and methods
LINK = re.compile(r"\d\d_\w+\.ipynb(#[\w.-]+)?")
WITHDRAWN, ADDED, CORRECTED = KINDS = ("withdrawn", "added", "corrected")


@dataclass(frozen=True)
class Amendment:
    """What became of a claim after the test split was opened.

    Attributes:
        date: Of the change, such as 2026-11-30.
        kind: One of `KINDS`: a claim that is ``withdrawn`` stays on the page, struck through, and
            is not counted; one ``added`` came after that; of one ``corrected`` words were changed,
            and nothing that is tested.
        why: What was wrong; of an added claim also whether its result was known.
    """

    date: str
    kind: str
    why: str


@dataclass(frozen=True)
class Claim:
    """A statement of the paper, in a form that scores can answer.

    Attributes:
        id: Unique.
        gist: What is claimed, in our words.
        where: In the paper, such as "Table I, complexity".
        paper: Its numbers, as text.
        table: The experiment whose table decides.
        metric: The metric that decides.
        of: The method that is claimed to be something.
        against: The methods that it is held against; the claim is about each of them, or, of
            ``better_than_one``, about at least one.
        relation: One of `RELATIONS`.
        margin: In the metric's unit, >= 0; above 0 for ``near`` and ``not_better``.
        workloads: Where it is tested.
        cell: The notebook that shows it, such as "11_metrics.ipynb#table".
        note: What a reader should know besides.
        statistic: One of `STATISTICS`: what is judged in place of the scores themselves, see
            `xaiutils.metrics.score_table`; ``of`` and ``against`` are then names of its rows.
        among: The methods whose scores the statistic is of.
        amended: What was changed since; None for nothing.
    """

    id: str
    gist: str
    where: str
    paper: str
    table: str
    metric: str
    of: str
    against: tuple[str, ...]
    relation: str
    margin: float
    workloads: tuple[str, ...]
    cell: str
    note: str = ""
    statistic: str = ""
    among: tuple[str, ...] = ()
    amended: Amendment | None = None

    @property
    def withdrawn(self) -> bool:
        """Whether it is no claim any more."""
        return self.amended is not None and self.amended.kind == WITHDRAWN


class _Loader(yaml.SafeLoader):
    """PyYAML keeps the last of two equal keys without a word; this one refuses them.

    And aliases, for a few lines of them stand for more text than any machine holds.
    """

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.events.AliasEvent):
            event = self.peek_event()
            raise yaml.composer.ComposerError(
                problem=f"*{event.anchor} must be written out: aliases are not read",
                problem_mark=event.start_mark,
            )
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
        for key, count in Counter(str(key.value) for key, _ in node.value).items():
            if count > 1:
                raise yaml.constructor.ConstructorError(
                    problem=f"key {key!r} stands twice", problem_mark=node.start_mark
                )
        return super().construct_mapping(node, deep)


def load_claims(
    path: str | Path, metrics: Collection[str] = (), methods: Collection[str] = ()
) -> list[Claim]:
    """Read a list of claims from YAML.

    Args:
        path: A file with a list of mappings, whose keys are the attributes of `Claim`.
        metrics, methods: Known names; where they are given, a claim must use them.

    Raises:
        TypeError, ValueError: The message names the claim, the key, the rule and what came.
    """
    checks.regular("path", Path(path))
    try:
        # A subclass of SafeLoader: it makes plain values only.
        found = yaml.load(Path(path).read_text(encoding="utf-8"), Loader=_Loader)
    except RecursionError:
        raise ValueError(f"{path} must be a list of claims, it is nested too deeply") from None
    except yaml.YAMLError as error:
        raise ValueError(f"{path} must be YAML, got: {error}") from error
    if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
        raise ValueError(f"{path} must be a list of claims, got {checks.describe(found)}")
    claims = [_claim(place, entry) for place, entry in enumerate(found)]
    for name, count in Counter(claim.id for claim in claims).items():
        if count > 1:
            raise ValueError(f"claim {name!r}: id must be unique, got it {count} times")
    for claim in claims:
        if metrics:
            checks.choice(f"claim {claim.id!r}: metric", claim.metric, metrics)
        named = {"of": (claim.of,), "against": claim.against}
        for key, names in ({"among": claim.among} if claim.statistic else named).items():
            for name in names if methods else ():
                checks.choice(f"claim {claim.id!r}: {key}", name, methods)
    return claims


def _claim(place: int, entry: dict[str, Any]) -> Claim:
    title = f"claim {entry['id']!r}" if "id" in entry else f"claim number {place + 1}"
    known = [field.name for field in fields(Claim)]
    for key in entry:
        checks.choice(f"{title}: key", key, known)
    optional = ("note", "statistic", "among", "amended")
    missing = [key for key in known if key not in entry and key not in optional]
    if missing:
        raise ValueError(f"{title}: keys must be complete, got none named {', '.join(missing)}")
    values = dict(entry)
    for key in known:
        argument = f"{title}: {key}"
        if key in ("against", "workloads") or (key == "among" and key in entry):
            values[key] = _names(argument, entry[key])
        elif key == "amended":
            values[key] = _amendment(argument, entry[key]) if key in entry else None
        elif key != "margin" and key in entry:
            values[key] = _text(argument, entry[key])
    checks.choice(f"{title}: relation", values["relation"], RELATIONS)
    values["margin"] = checks.number(f"{title}: margin", entry["margin"], low=0)
    if values["relation"] in ("near", "not_better") and values["margin"] == 0:
        raise ValueError(f"{title}: margin must be > 0 for {values['relation']!r}, got 0")
    _check_against(title, values)
    if not LINK.fullmatch(values["cell"]):
        rule = 'a notebook such as "11_metrics.ipynb#table"'
        raise ValueError(f"{title}: cell must be {rule}, got {values['cell']!r}")
    return Claim(**values)


def _check_against(title: str, values: dict[str, Any]) -> None:
    """What is compared with what: rows of the table, or those of a statistic."""
    if values["of"] in values["against"]:
        raise ValueError(f"{title}: against must name other methods, got {values['of']!r}")
    if values["relation"] == "better_than_one" and len(values["against"]) < 2:
        rule = "against must name two or more for 'better_than_one'"
        raise ValueError(f"{title}: {rule}, got {list(values['against'])}")
    if ("statistic" in values) != ("among" in values):
        raise ValueError(f"{title}: statistic and among must stand together, got one of them")
    if "statistic" in values:
        checks.choice(f"{title}: statistic", values["statistic"], STATISTICS)
        if len(values["among"]) < 2:
            raise ValueError(f"{title}: among must name two or more, got {list(values['among'])}")
        rows = STATISTICS[values["statistic"]] or ("always", *values["among"])
        for name in (values["of"], *values["against"]):
            checks.choice(f"{title}: row of {values['statistic']}", name, rows)


def _amendment(argument: str, value: Any) -> Amendment:
    keys = {field.name for field in fields(Amendment)}
    if not isinstance(value, dict) or set(value) != keys:
        rule = f"a mapping of {', '.join(sorted(keys))}"
        raise TypeError(f"{argument} must be {rule}, got {checks.describe(value)}")
    if type(value["date"]) is not datetime.date:
        found = checks.describe(value["date"])
        raise TypeError(f"{argument}: date must be a day such as 2026-11-30, got {found}")
    kind = checks.choice(f"{argument}: kind", value["kind"], KINDS)
    return Amendment(value["date"].isoformat(), kind, _text(f"{argument}: why", value["why"]))


def _text(argument: str, value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise TypeError(f"{argument} must be text (in quotes), got {checks.describe(value)}")
    return " ".join(value.split())


def _names(argument: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not value:
        raise TypeError(f"{argument} must be a list of names, got {checks.describe(value)}")
    names = tuple(_text(argument, name) for name in value)
    if len(set(names)) < len(names):
        raise ValueError(f"{argument} must name each once, got {list(names)}")
    return names
