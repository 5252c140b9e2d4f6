"""Claims of a paper in a form that scores can answer: read from YAML, and judged by a table."""

from __future__ import annotations

import datetime
import re
from collections import Counter
from collections.abc import Callable, Collection, Hashable, Mapping
from dataclasses import MISSING, dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import yaml

from xaiutils.metrics.score_table import checked, compare, lowest, spread
from xaiutils.metrics.stats import Pair, equivalent
from xaiutils.support import checks

# Each relation, in words; they are what `verdict_of` knows.
RELATIONS: Mapping[str, str] = {
    "better": "{of} better than {others}, by more than {margin}",
    "worse": "{of} worse than {others}, by more than {margin}",
    "near": "{of} within {margin} of {others}",
    "not_better": "{of} not better than {others} by {margin}",
    "better_than_one": "{of} better than at least one of {others}, by more than {margin}",
}
# Each statistic, and the names of its rows, where they are not "always" and the methods.
STATISTICS = {"spread": (spread, ("draws", "methods")), "lowest": (lowest, ())}
LINK = re.compile(r"\d\d_\w+\.ipynb(#[\w.-]+)?")
WITHDRAWN, ADDED, CORRECTED = KINDS = ("withdrawn", "added", "corrected")
HOLDS, FAILS, UNDECIDED = VERDICTS = ("holds", "fails", "undecided")
MIN_IMAGES = 20


class Amendment(NamedTuple):
    """What became of a claim after the test split was opened.

    A claim that is ``withdrawn`` stays on the page, struck through, and is not counted; one
    ``added`` came after that; of one ``corrected`` words were changed, and nothing that is tested.
    """

    date: str
    kind: str
    why: str


@dataclass(frozen=True)
class Claim:
    """A statement of the paper, in a form that scores can answer.

    It is about ``of`` and each method of ``against``, or, of ``better_than_one``, about ``of`` and
    at least one. With a ``statistic`` both are names of its rows (`xaiutils.metrics.score_table`).
    """

    id: str
    gist: str
    where: str  # in the paper, such as "Table I, complexity"
    paper: str  # its numbers, as text
    table: str  # the experiment that decides
    metric: str
    of: str
    against: tuple[str, ...]
    relation: str  # one of `RELATIONS`
    margin: float  # in the metric's unit, >= 0; above 0 for "near" and "not_better"
    workloads: tuple[str, ...]
    cell: str  # where it is shown, such as "11_metrics.ipynb#table"
    note: str = ""
    statistic: str = ""  # one of `STATISTICS`, judged in place of the scores
    among: tuple[str, ...] = ()  # the methods whose scores the statistic is of
    amended: Amendment | None = None

    @property
    def withdrawn(self) -> bool:
        """Whether it is no claim any more."""
        return self.amended is not None and self.amended.kind == WITHDRAWN

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods whose scores decide."""
        return self.among or (self.of, *self.against)


class Outcome(NamedTuple):
    """A verdict, one of `VERDICTS`, and why there is no other."""

    verdict: str
    why: str = ""


class Verdict(NamedTuple):
    """What the scores say of one claim: its id, and the outcome of each workload.

    ``pairs`` are the rows of `xaiutils.metrics.score_table.compare`, with their ``verdict``.
    """

    claim: str
    outcomes: dict[str, Outcome]
    pairs: pd.DataFrame


def load_claims(path: str | Path, metrics: Collection[str] = ()) -> list[Claim]:
    """Read a list of claims from YAML.

    Args:
        path: A file with a list of mappings, whose keys are the attributes of `Claim`.
        metrics: Known names; where they are given, a claim must use them.

    Raises:
        TypeError, ValueError: The message names the claim, the key, the rule and what came.
    """
    text = checks.regular("path", Path(path)).read_text(encoding="utf-8")
    try:
        found = yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise ValueError(f"{path} must be YAML, got: {error}") from error
    if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
        raise ValueError(f"{path} must be a list of claims, got {checks.describe(found)}")
    claims = [_claim(place, entry) for place, entry in enumerate(found)]
    for name, count in Counter(claim.id for claim in claims).items():
        if count > 1:
            raise ValueError(f"claim {name!r}: id must be unique, got it {count} times")
    for claim in claims if metrics else ():
        checks.choice(f"claim {claim.id!r}: metric", claim.metric, metrics)
    return claims


class _Loader(yaml.SafeLoader):
    """PyYAML keeps the last of two equal keys without a word; this one refuses them."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
        for key, count in Counter(str(key.value) for key, _ in node.value).items():
            if count > 1:
                raise yaml.constructor.ConstructorError(
                    problem=f"key {key!r} stands twice", problem_mark=node.start_mark
                )
        return super().construct_mapping(node, deep)


def _claim(place: int, entry: dict[str, Any]) -> Claim:
    title = f"claim {entry['id']!r}" if "id" in entry else f"claim number {place + 1}"
    known = {field.name: field.default is MISSING for field in fields(Claim)}
    for key in entry:
        checks.choice(f"{title}: key", key, known)
    missing = [key for key, needed in known.items() if needed and key not in entry]
    if missing:
        raise ValueError(f"{title}: keys must be complete, got none named {', '.join(missing)}")
    readers: dict[str, Callable[[str, Any], Any]] = {"amended": _amendment}
    readers |= dict.fromkeys(("against", "workloads", "among"), _names)
    readers["margin"] = partial(checks.number, low=0)
    claim = Claim(**{k: readers.get(k, _text)(f"{title}: {k}", v) for k, v in entry.items()})
    relation, others = claim.relation, list(claim.against)
    checks.choice(f"{title}: relation", relation, RELATIONS)
    for wrong, message in (
        (
            relation in ("near", "not_better") and claim.margin == 0,
            f"margin must be > 0 for {relation!r}, got 0",
        ),
        (claim.of in others, f"against must name other methods, got {claim.of!r}"),
        (
            relation == "better_than_one" and len(others) < 2,
            f"against must name two or more for 'better_than_one', got {others}",
        ),
        (
            bool(claim.statistic) != bool(claim.among),
            "statistic and among must stand together, got one of them",
        ),
        (len(claim.among) == 1, f"among must name two or more, got {list(claim.among)}"),
        (
            not LINK.fullmatch(claim.cell),
            f'cell must be a notebook such as "11_metrics.ipynb#table", got {claim.cell!r}',
        ),
    ):
        if wrong:
            raise ValueError(f"{title}: {message}")
    if claim.statistic:
        checks.choice(f"{title}: statistic", claim.statistic, STATISTICS)
        rows = STATISTICS[claim.statistic][1] or ("always", *claim.among)
        for name in (claim.of, *others):
            checks.choice(f"{title}: row of {claim.statistic}", name, rows)
    return claim


def _amendment(argument: str, value: Any) -> Amendment:
    if not isinstance(value, dict) or set(value) != set(Amendment._fields):
        rule = f"a mapping of {', '.join(Amendment._fields)}"
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


def verdict_of(relation: str, pair: Pair, margin: float) -> str:
    """The verdict, one of `VERDICTS`, on one pair of methods, by the table of `judge`."""
    low, high = pair.low, pair.high
    holds, fails = {
        "better": (low > margin, high <= margin),
        "better_than_one": (low > margin, high <= margin),
        "worse": (high < -margin, low >= -margin),
        "near": (equivalent(pair, margin), low >= margin or high <= -margin),
        "not_better": (high < margin, low >= margin),
    }[relation]
    return HOLDS if holds else FAILS if fails else UNDECIDED


def judge(claim: Claim, table: pd.DataFrame, better: str) -> Verdict:
    r"""Hold one claim against a score table.

    With the mean difference :math:`d` per image, positive where ``of`` is better, its 95 %
    interval :math:`[l, h]` and the claim's margin :math:`m`:

    ==========  ======================================  =============================
    relation    holds                                   fails
    ==========  ======================================  =============================
    better      :math:`l > m`                           :math:`h \le m`
    worse       :math:`h < -m`                          :math:`l \ge -m`
    near        90 % interval inside :math:`(-m, m)`    :math:`l \ge m`, :math:`h \le -m`
    not_better  :math:`h < m`                           :math:`l \ge m`
    ==========  ======================================  =============================

    Anything else, and fewer than `MIN_IMAGES` paired images, is undecided. On one network a claim
    holds if it does against every method and fails if it does against any; ``better_than_one``,
    each pair of which is judged as ``better``, holds if it does against any and fails if it does
    against every one. On a workload a claim holds or fails if it does so on every network.

    Intervals decide, and no p value: an interval knows the margin and is about the mean, where the
    Wilcoxon test asks whether the differences are symmetric about 0. A claim that must hold
    against all methods and on all networks needs no correction for their number.

    Args:
        claim: From `load_claims`.
        table: With the columns `xaiutils.metrics.score_table.COLUMNS`.
        better: Direction of the claim's metric, ``"higher"`` or ``"lower"``; a statistic in its
            place is higher where there is more of it.
    """
    scores = checked(table)[table["metric"] == claim.metric]
    outcomes: dict[str, Outcome] = {}
    found: list[pd.DataFrame] = []
    for workload in claim.workloads:
        rows = scores[scores["workload"] == workload]
        missing = [name for name in claim.methods if name not in set(rows["method"])]
        if missing:
            outcomes[workload] = Outcome(UNDECIDED, f"not scored: {', '.join(missing)}")
            continue
        turned = better
        if claim.statistic:
            measure, _ = STATISTICS[claim.statistic]
            rows, turned = measure(rows, claim.metric, claim.among, better), "higher"
        pairs = compare(rows, claim.metric, claim.of, claim.against, turned)
        splits = sorted(pairs["split"].unique())
        if len(splits) > 1:
            raise ValueError(
                f"claim {claim.id!r}: table must hold one split of {workload}, got {splits}"
            )
        pairs["verdict"] = [
            verdict_of(claim.relation, pair, claim.margin) if pair.n >= MIN_IMAGES else UNDECIDED
            for pair in pairs.itertuples(index=False)
        ]
        outcomes[workload] = _over_networks(pairs, claim.relation)
        found.append(pairs)
    pairs = pd.concat(found, ignore_index=True) if found else pd.DataFrame()
    return Verdict(claim.id, outcomes, pairs)


def _over_networks(pairs: pd.DataFrame, relation: str) -> Outcome:
    """A verdict of each network by those against every method, and one of all networks."""
    one, every = (HOLDS, FAILS) if relation == "better_than_one" else (FAILS, HOLDS)
    said: Counter[str] = Counter()
    for _, rows in pairs.groupby("network"):
        found = set(rows["verdict"])
        said[one if one in found else every if found == {every} else UNDECIDED] += 1
    fewest = pairs["n"].min()
    few = f"{fewest} paired images, {MIN_IMAGES} needed" if fewest < MIN_IMAGES else ""
    if len(said) == 1:
        (verdict,) = said
        return Outcome(verdict, few if verdict == UNDECIDED else "")
    counts = ", ".join(f"{verdict} on {said[verdict]}" for verdict in VERDICTS if said[verdict])
    whys = [f"{counts} of {said.total()} networks", few]
    return Outcome(UNDECIDED, "; ".join(why for why in whys if why))
