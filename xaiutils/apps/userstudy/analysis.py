r"""What the answers say: accuracy, differences to no map, strengths, usability, with intervals.

A participant is the unit: one person's answers are alike, so answers are no independent draws, and
whole participants are drawn anew (cluster bootstrap; Field and Welsh 2007). Pictures are fixed: an
interval is about other people, not about other pictures. Percentile intervals are too narrow for
few participants; their level is widened (Hesterberg 2015) to the one at which a normal interval is
Student's:

.. math:: \alpha' / 2 = \Phi\left(t_{n-1}(\alpha / 2) \sqrt{n / (n - 1)}\right)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm, t as student

from xaiutils.apps.userstudy.bradley_terry import chance_to_win, fit
from xaiutils.apps.userstudy.design import LEVELS, NONE, SUS, Design

DRAWS = 2000
STRATA = ("all", *LEVELS)
Numbers = NDArray[np.float64]


class Estimates(NamedTuple):
    """A value for each condition with its interval, (c,) each; NaN where nothing is known."""

    value: Numbers
    low: Numbers  # NaN also with fewer than two people
    high: Numbers


class Choices(NamedTuple):
    """What people chose: strengths of methods, with sum 0, and what follows from them."""

    strength: Estimates
    share: Estimates  # how often each method would be chosen against a random other one
    side: Estimates  # the log-odds of the left side between equals
    separated: bool  # half a choice was added to each pair, for want of a finite maximum


def draws(participants: int, count: int = DRAWS, seed: int = 0) -> Numbers:
    """How often each participant is in each resample: (count, participants), rows with that sum."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(participants, np.full(participants, 1 / participants), count).astype(
        float
    )


def interval(values: Numbers, participants: int, level: float = 0.95) -> tuple[Numbers, Numbers]:
    """The widened percentile interval of resamples (B, c); NaN with fewer than two participants."""
    if participants < 2:
        return (np.full(values.shape[1:], np.nan),) * 2
    reach = student.ppf((1 - level) / 2, participants - 1)
    tail = float(norm.cdf(reach * np.sqrt(participants / (participants - 1))))
    low, high = np.nanquantile(values, [tail, 1 - tail], axis=0)
    return low, high


def accuracy(correct: ArrayLike, shown: ArrayLike, drawn: Numbers | None = None) -> Estimates:
    """Share of right answers under each condition.

    Args:
        correct, shown: (P, c), right answers and answers of each participant.
        drawn: Of `draws`; drawn here by default.
    """
    return _rates(correct, shown, drawn, lambda rates: rates)


def gain(
    correct: ArrayLike, shown: ArrayLike, base: int, drawn: Numbers | None = None
) -> Estimates:
    """Accuracy of each condition less that of the condition ``base``, of the same people."""
    return _rates(correct, shown, drawn, lambda rates: rates - rates[..., base, None])


def choices(wins: ArrayLike, shown: ArrayLike, drawn: Numbers | None = None) -> Choices:
    """Bradley-Terry strengths of k methods.

    Args:
        wins, shown: (P, k, k), how often each participant chose, and saw, i on the left of j.
        drawn: Of `draws`; drawn here by default.
    """
    won, seen = np.asarray(wins, float), np.asarray(shown, float)
    people = len(won)
    drawn = draws(people) if drawn is None else drawn
    one = fit(won.sum(0), seen.sum(0))
    many = fit(np.tensordot(drawn, won, 1), np.tensordot(drawn, seen, 1))
    return Choices(
        _estimates(one.strength, many.strength, people),
        _estimates(chance_to_win(one.strength), chance_to_win(many.strength), people),
        _estimates(one.side[None], many.side[:, None], people),
        bool(one.separated),
    )


def sus_score(answers: Sequence[int]) -> float:
    r"""The System Usability Scale (Brooke 1996), in [0, 100].

    .. math:: 2.5 \left(\sum_{i\ \mathrm{odd}} (a_i - 1) + \sum_{i\ \mathrm{even}} (5 - a_i)\right)

    ``answers`` are ten whole numbers from 1 (strongly disagree) to 5, in the scale's order.
    """
    given = list(answers)
    if len(given) != len(SUS) or any(a not in range(1, 6) for a in given):
        raise ValueError(f"answers must be {len(SUS)} whole numbers in 1..5, got {given}")
    return 2.5 * sum(a - 1 if i % 2 == 0 else 5 - a for i, a in enumerate(given))


def counts(table: pd.DataFrame, task: str, conditions: Sequence[str]) -> tuple[Numbers, Numbers]:
    """Right answers and answers, (P, c) each, of the participants who answered the task."""
    rows = table[table["kind"] == task]
    cells = [rows.pivot_table("correct", "participant", "condition", how, observed=True)
             .reindex(columns=list(conditions)) for how in ("sum", "count")]  # fmt: skip
    right, asked = (cell.fillna(0).to_numpy(float) for cell in cells)
    return right, asked


def pair_counts(table: pd.DataFrame, methods: Sequence[str]) -> tuple[Numbers, Numbers]:
    """Wins of the left and pairs shown, (P, k, k) each, of the participants who chose."""
    rows = table[table["kind"] == "choice"]
    index = {name: i for i, name in enumerate(methods)}
    person = {number: i for i, number in enumerate(sorted(rows["participant"].unique()))}
    wins, shown = (np.zeros((len(person), len(index), len(index))) for _ in range(2))
    for number, condition, chosen in rows[["participant", "condition", "chosen"]].to_numpy():
        left, right = condition.split("|")
        place = person[number], index[left], index[right]
        shown[place] += 1
        wins[place] += chosen == left
    return wins, shown


def usability(table: pd.DataFrame) -> tuple[float, float, float, int]:
    """Mean SUS of those who answered all ten, Student's 95 % interval, and how many they are."""
    rows = table[table["kind"] == "sus"].sort_values(["participant", "question"])
    scores = [
        sus_score([int(a[0]) for a in answers])
        for _, answers in rows.groupby("participant")["answer"]
        if len(answers) == len(SUS)
    ]
    n = len(scores)
    mean = float(np.mean(scores)) if n else np.nan
    half = float(student.ppf(0.975, n - 1) * np.std(scores, ddof=1) / n**0.5) if n > 1 else np.nan
    return mean, mean - half, mean + half, n


def kept(table: pd.DataFrame, design: Design) -> pd.DataFrame:
    """The answers under the rule of the design: complete, and not too many checks failed."""
    return table[table["complete"] & (table["failed_checks"] <= design.failed_checks)]


def chance(design: Design, task: str) -> float:
    """Accuracy of guessing: the mean of one over the number of options."""
    return float(np.mean([1 / len(item.options) for item in design.items[task]]))


def report(table: pd.DataFrame, design: Design) -> list[str]:
    """The analysis as lines: under the rule and with everybody; all, experts and others."""
    lines = [f"{table['participant'].nunique()} participants; rule: complete, and at most "
             f"{design.failed_checks} attention checks failed"]  # fmt: skip
    for title, rows in (("under the rule", kept(table, design)), ("everybody", table)):
        for stratum in STRATA:
            some = rows if stratum == "all" else rows[rows["expertise"] == stratum]
            people = some["participant"].nunique()
            lines += ["", f"== {title}, {stratum}: {people} participants"]
            if people:
                lines += _stratum(some, design)
    return lines


def _stratum(rows: pd.DataFrame, design: Design) -> list[str]:
    lines, names = [], list(design.conditions)
    for task in ("say", "look"):
        right, asked = counts(rows, task, names)
        if not len(right):
            continue
        found, more = accuracy(right, asked), gain(right, asked, names.index(NONE))
        lines.append(f"{task}: accuracy, chance {chance(design, task):.3f}; difference to no map")
        lines += [f"  {n:24} {_told(found, i)}  {_told(more, i, '+')}" for i, n in enumerate(names)]
    wins, shown = pair_counts(rows, design.methods)
    if len(wins) and (shown.sum(0) + shown.sum(0).T + np.eye(len(design.methods)) > 0).all():
        chosen = choices(wins, shown)
        lines.append("choice: Bradley-Terry strength; share of choices against a random other")
        lines += [f"  {n:24} {_told(chosen.strength, i, '+')}  {_told(chosen.share, i)}"
                  for i, n in enumerate(design.methods)]  # fmt: skip
        lines.append(f"  {'left side (log-odds)':24} {_told(chosen.side, 0, '+')}")
        if chosen.separated:
            lines.append("  separated: half a choice for either side was added to every pair")
    elif len(wins):
        lines.append("choice: some pair of methods has no answer yet")
    mean, low, high, n = usability(rows)
    if n:
        lines.append(f"usability (SUS, 0 to 100): {mean:.1f} [{low:.1f}, {high:.1f}], n = {n}")
    return lines


def _told(found: Estimates, i: int, sign: str = "") -> str:
    return f"{found.value[i]:{sign}.3f} [{found.low[i]:{sign}.3f}, {found.high[i]:{sign}.3f}]"


def _rates(
    correct: ArrayLike, shown: ArrayLike, drawn: Numbers | None, what: Callable[[Numbers], Numbers]
) -> Estimates:
    """Of accuracies (c,) and those of the resamples (B, c) what is asked for."""
    right, asked = np.asarray(correct, float), np.asarray(shown, float)
    drawn = draws(len(right)) if drawn is None else drawn
    pairs = (right.sum(0), asked.sum(0)), (drawn @ right, drawn @ asked)
    one, many = (np.divide(a, b, out=np.full(a.shape, np.nan), where=b > 0) for a, b in pairs)
    return _estimates(what(one), what(many), len(right))


def _estimates(value: Numbers, many: Numbers, people: int) -> Estimates:
    return Estimates(value, *interval(many, people))
