r"""People of known skill, who take the study by the same sheets as real ones.

.. math::

    P(\text{right}) &= \frac{\lambda}{m} + (1 - \lambda)
      \left(\frac1m + \left(1 - \frac1m\right) \sigma(s_c + a_p + e_p\, \delta - d_i)\right) \\
    P(\text{left}) &= \frac{\lambda}{2} + (1 - \lambda)\, \sigma(q_l - q_r + u_{pl} - u_{pr} + b)

with skill s of condition c, ability a and expertise e of a person, difficulty d of a picture with m
options, a lapse rate λ, quality q of a method, one person's own taste u, and a bias b to the left.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from xaiutils.apps.userstudy.analysis import accuracy, choices, draws, gain
from xaiutils.apps.userstudy.bradley_terry import fit
from xaiutils.apps.userstudy.design import AGREE, LEVELS, NONE, Design, sheet
from xaiutils.apps.userstudy.table import Row

Numbers = NDArray[np.float64]
CROWD = 40_000  # people whose mean stands for everybody


@dataclass(frozen=True)
class Crowd:
    """What is true of simulated people.

    Attributes:
        skill: Of each condition (also ``none``), on the logit scale above chance.
        quality: Of each method in the forced choice, in log-odds.
        ability: Standard deviation between people.
        expert: What experts have more of ability. experts: Their share.
        taste: Standard deviation of a person's own quality for each method.
        difficulty: Standard deviation between pictures.
        bias: To the left, in log-odds.
        lapse: Share of answers that are guesses.
        careless: Share of people who guess everything, the attention checks too.
    """

    skill: Mapping[str, float]
    quality: Mapping[str, float]
    ability: float = 0.8
    expert: float = 0.7
    experts: float = 0.5
    taste: float = 0.5
    difficulty: float = 0.5
    bias: float = 0.2
    lapse: float = 0.05
    careless: float = 0.0
    tasks: tuple[str, ...] = field(default=("say", "look"))


class Plan(NamedTuple):
    """The sheets of n participants as arrays, from `sheet` itself.

    Attributes:
        condition: Of each task and participant, (n, items): an index of the conditions.
        left, right: (n, items), indices of the methods.
        options: Of each task, (items,), how many answers there are.
    """

    condition: dict[str, NDArray[np.int_]]
    left: NDArray[np.int_]
    right: NDArray[np.int_]
    options: dict[str, NDArray[np.int_]]


def plan(design: Design, participants: int) -> Plan:
    """Read the sheets of participants 0..n - 1."""
    names = {name: i for i, name in enumerate(design.conditions)}
    condition: dict[str, list[list[int]]] = {"say": [], "look": []}
    sides: list[list[list[int]]] = []
    for number in range(participants):
        shown = {q.id: q.condition for q in sheet(design, number)}
        for task, rows in condition.items():
            rows.append([names[shown[item.id]] for item in design.items[task]])
        pairs = [shown[item.id].split("|") for item in design.items["choice"]]
        sides.append([[names[name] for name in pair] for pair in pairs])
    both = np.array(sides)
    options = {t: np.array([len(i.options) for i in design.items[t]]) for t in condition}
    return Plan(
        {t: np.array(rows) for t, rows in condition.items()}, both[..., 0], both[..., 1], options
    )


class Study(NamedTuple):
    """Counts of one simulated study, as `xaiutils.apps.userstudy.analysis` takes them.

    Attributes:
        correct, shown: Of each task, (P, c).
        wins, pairs: (P, k, k).
    """

    correct: dict[str, Numbers]
    shown: dict[str, Numbers]
    wins: Numbers
    pairs: Numbers


def take(design: Design, crowd: Crowd, sheets: Plan, rng: np.random.Generator) -> Study:
    """One study of as many people as there are sheets."""
    people, k = len(sheets.left), len(design.methods)
    ability, taste = _people(crowd, people, k, rng)
    correct, shown = {}, {}
    for task in design.tasks[:-1]:
        c = sheets.condition[task]
        right = rng.random(c.shape) < _right(design, crowd, sheets, task, ability)
        hot = np.eye(k + 1)[c]
        correct[task], shown[task] = (right[..., None] * hot).sum(1), hot.sum(1)
    left = rng.random(sheets.left.shape) < _left(design, crowd, sheets, taste)
    wins, pairs = np.zeros((people, k, k)), np.zeros((people, k, k))
    who = np.arange(people)[:, None]
    np.add.at(wins, (who, sheets.left, sheets.right), left)
    np.add.at(pairs, (who, sheets.left, sheets.right), 1)
    return Study(correct, shown, wins, pairs)


class Truth(NamedTuple):
    """What an endless study would find.

    Attributes:
        accuracy: Of each task, (c,), over people and over the study's pictures.
        strength: (k,), Bradley and Terry's, of all people's choices together; a fit to their
            probabilities, since lapses and tastes draw it towards 0 from the quality.
        side: The left's log-odds.
    """

    accuracy: dict[str, Numbers]
    strength: Numbers
    side: float


def truth(design: Design, crowd: Crowd, people: int = CROWD) -> Truth:
    """The mean over a crowd that sees every picture under every condition."""
    rng, k = np.random.default_rng([design.seed, 99]), len(design.methods)
    ability, taste = _people(crowd, people, k, rng)
    skill = np.array([crowd.skill[name] for name in design.conditions])
    found = {}
    for task in design.tasks[:-1]:
        d, m = (
            _difficulty(design, crowd, task),
            np.array([len(i.options) for i in design.items[task]]),
        )
        logit = (ability[:, None, None] + skill[:, None] - d).reshape(-1, len(d))
        found[task] = (
            _with_lapses(crowd, m, _sigmoid(logit)).reshape(people, k + 1, -1).mean((0, 2))
        )
    quality = np.array([crowd.quality[name] for name in design.methods]) + taste
    logit = quality[:, :, None] - quality[:, None, :] + crowd.bias
    left = (crowd.lapse / 2 + (1 - crowd.lapse) * _sigmoid(logit)).mean(0)
    fitted = fit(left, np.ones((k, k)))
    return Truth(found, fitted.strength, float(fitted.side))


def answer_rows(design: Design, crowd: Crowd, participants: int, seed: int = 0) -> list[Row]:
    """A study as the rows of a store, expertise, checks and the usability scale included."""
    rng, k = np.random.default_rng(seed), len(design.methods)
    names = {name: i for i, name in enumerate(design.conditions)}
    quality = np.array([crowd.quality[name] for name in design.methods])
    rows: list[Row] = []
    for number in range(participants):
        expert, careless = rng.random() < crowd.experts, rng.random() < crowd.careless
        ability = rng.normal(0, crowd.ability) + crowd.expert * expert
        own = quality + rng.normal(0, crowd.taste, k)
        for position, q in enumerate(sheet(design, number)):
            guess = bool(q.options) and (careless or rng.random() < crowd.lapse)
            answer = q.options[int(rng.integers(len(q.options)))] if q.options else ""
            if q.kind == "expertise":
                answer = LEVELS[0] if expert else LEVELS[1]
            elif q.kind == "check" and not careless:
                answer = q.answer
            elif q.task == "choice" and q.kind != "check" and not guess:
                left, right = (own[names[name]] for name in q.condition.split("|"))
                answer = q.options[int(rng.random() > _sigmoid(left - right + crowd.bias))]
            elif q.answer and not guess:
                items = design.items[q.task]
                place = next((i for i, item in enumerate(items) if item.id == q.id), 0)
                hard = _difficulty(design, crowd, q.task)[place]
                if rng.random() < _sigmoid(crowd.skill[q.condition] + ability - hard):
                    answer = q.answer
            elif q.kind == "sus" and not guess:
                mean = 3.8 if int(q.id[-2:]) % 2 else 2.2
                answer = AGREE[int(np.clip(round(rng.normal(mean, 1)), 1, len(AGREE))) - 1]
            seconds = round(float(rng.lognormal(2, 0.5)), 2)
            rows.append((number, q.id, position, q.kind, q.condition, answer, seconds))
    return rows


def _people(crowd: Crowd, count: int, k: int, rng: np.random.Generator) -> tuple[Numbers, Numbers]:
    expert = rng.random(count) < crowd.experts
    return rng.normal(0, crowd.ability, count) + crowd.expert * expert, rng.normal(
        0, crowd.taste, (count, k)
    )


def _difficulty(design: Design, crowd: Crowd, task: str) -> Numbers:
    """Of each picture: drawn once for a study, since its pictures are fixed."""
    rng = np.random.default_rng([design.seed, 98, design.tasks.index(task)])
    return rng.normal(0, crowd.difficulty, len(design.items[task]))


def _right(design: Design, crowd: Crowd, sheets: Plan, task: str, ability: Numbers) -> Numbers:
    skill = np.array([crowd.skill[name] for name in design.conditions])[sheets.condition[task]]
    logit = skill + ability[:, None] - _difficulty(design, crowd, task)
    return _with_lapses(crowd, sheets.options[task], _sigmoid(logit))


def _left(design: Design, crowd: Crowd, sheets: Plan, taste: Numbers) -> Numbers:
    own = np.array([crowd.quality[name] for name in design.methods]) + taste
    who = np.arange(len(own))[:, None]
    logit = own[who, sheets.left] - own[who, sheets.right] + crowd.bias
    return crowd.lapse / 2 + (1 - crowd.lapse) * _sigmoid(logit)


def _with_lapses(crowd: Crowd, options: NDArray[np.int_], known: Numbers) -> Numbers:
    guess = 1 / options
    return crowd.lapse * guess + (1 - crowd.lapse) * (guess + (1 - guess) * known)


def _sigmoid(x: Numbers) -> Numbers:
    return 1 / (1 + np.exp(-x))


def coverage(
    design: Design, crowd: Crowd, participants: int = 40, studies: int = 200, resamples: int = 1000
) -> pd.DataFrame:
    """Simulate studies of one crowd, analyse each, and hold every interval against the truth.

    Returns:
        A row for each quantity: ``what`` (say, look, their differences to no map, strength, side),
        ``name``, ``truth``, ``mean`` of the estimates, ``width`` of the intervals, and ``covered``,
        the share of studies whose 95 % interval holds the truth.
    """
    sheets, true = plan(design, participants), truth(design, crowd)
    base = design.conditions.index(NONE)
    rows: list[tuple[object, ...]] = []
    for i in range(studies):
        study = take(design, crowd, sheets, np.random.default_rng([design.seed, i]))
        drawn = draws(participants, resamples, i)
        chosen = choices(study.wins, study.pairs, drawn)
        found = [("strength", design.methods, chosen.strength, true.strength)]
        found += [("side", ("left",), chosen.side, np.array([true.side]))]
        for task, right in true.accuracy.items():
            cells = study.correct[task], study.shown[task]
            found += [(task, design.conditions, accuracy(*cells, drawn), right)]
            more = gain(*cells, base, drawn)
            found += [(f"{task}, difference", design.conditions, more, right - right[base])]
        for what, names, e, t in found:
            inside = (e.low <= t) & (t <= e.high)
            rows += zip([what] * len(t), names, t, e.value, e.high - e.low, inside, strict=True)
    table = pd.DataFrame(rows, columns=["what", "name", "truth", "mean", "width", "covered"])
    table = table[~((table["name"] == NONE) & table["what"].str.contains("difference"))]
    table["covered"] = table["covered"].astype(float)
    return table.groupby(["what", "name"], sort=False).mean().reset_index()
