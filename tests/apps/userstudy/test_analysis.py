"""The analysis against twins, another library, known values, and people whose skill is known.

Notebook 16 simulates more of them, with abilities, difficulties, tastes and lapses.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm, ttest_1samp
from sklearn.linear_model import LogisticRegression

from tests.apps.userstudy.tiny import tiny
from tests.reference_user_study import bootstrap_accuracy, bradley_terry, sus
from xaiutils.apps.userstudy.analysis import (
    accuracy,
    choices,
    counts,
    draws,
    gain,
    interval,
    kept,
    pair_counts,
    report,
    sus_score,
    usability,
)
from xaiutils.apps.userstudy.bradley_terry import chance_to_win, fit
from xaiutils.apps.userstudy.design import LEVELS, sheet
from xaiutils.apps.userstudy.power import participants_for_accuracy, participants_for_choice
from xaiutils.apps.userstudy.table import tabulate

SKILL = {"hybrid": 0.85, "lrp_paper": 0.7, "noise": 0.6, "none": 0.45}  # of others; experts +0.1
QUALITY = {"hybrid": 0.6, "lrp_paper": -0.1, "noise": -0.5}  # log-odds


def answer_rows(design, people, seed, careless=0.0):
    """A study as the rows of a store."""
    rng, rows = np.random.default_rng(seed), []
    for number in range(people):
        expert, guesses = rng.random() < 0.5, rng.random() < careless
        for position, q in enumerate(sheet(design, number)):
            answer = q.options[rng.integers(len(q.options))] if q.options else "fine"
            if q.kind == "expertise":
                answer = LEVELS[0 if expert else 1]
            elif q.kind == "check" and not guesses:
                answer = q.answer
            elif q.kind == "choice" and not guesses:
                left, right = (QUALITY[name] for name in q.condition.split("|"))
                answer = q.options[int(rng.random() > 1 / (1 + np.exp(right - left)))]
            elif q.answer and not guesses:
                others = [option for option in q.options if option != q.answer]
                known = rng.random() < SKILL[q.condition] + 0.1 * expert
                answer = q.answer if known else others[0]
            rows.append((number, q.id, position, q.kind, q.condition, answer, 1.5))
    return rows


@pytest.fixture(scope="module")
def design(tmp_path_factory):
    return tiny(tmp_path_factory.mktemp("analysis") / "study", each=2)


def counted(seed, k=4):
    rng = np.random.default_rng(seed)
    shown = rng.integers(8, 30, (k, k)) * (1 - np.eye(k, dtype=int))
    return rng.binomial(shown, rng.uniform(0.25, 0.75, (k, k))), shown


@pytest.mark.parametrize("seed", range(5))
def test_strengths_are_those_of_the_twin_and_of_a_logistic_regression(seed):
    wins, shown = counted(seed)
    found = fit(wins, shown)
    strength, side = bradley_terry(wins, shown)
    np.testing.assert_allclose(found.strength, strength, atol=1e-5)
    assert found.side == pytest.approx(side, abs=1e-5)
    rows, said, weights = [], [], []
    for i, j in zip(*np.nonzero(shown), strict=True):
        row = np.zeros(4)
        row[i], row[j] = 1, -1
        rows += [row[:3]] * 2
        said += [1, 0]
        weights += [wins[i, j], shown[i, j] - wins[i, j]]
    model = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000)
    model.fit(np.array(rows), said, sample_weight=weights)
    other = np.append(model.coef_[0], 0)
    np.testing.assert_allclose(found.strength, other - other.mean(), atol=1e-4)
    assert found.side == pytest.approx(model.intercept_[0], abs=1e-4)


def test_many_tables_are_fitted_as_each_alone():
    tables = [counted(seed) for seed in range(20)]
    wins, shown = (np.array([t[i] for t in tables]) for i in (0, 1))
    wins[3] = shown[3] * (np.arange(4)[:, None] < np.arange(4))  # the order decides always
    many = fit(wins, shown)
    assert many.separated.tolist() == [i == 3 for i in range(20)]
    for i in range(20):
        one = fit(wins[i], shown[i])
        np.testing.assert_allclose(many.strength[i], one.strength, atol=1e-8)


def test_what_has_no_maximum_gets_half_a_choice_and_says_so():
    wins, shown = counted(0)
    wins[:, 0], wins[0] = 0, shown[0]  # the first wins always
    found = fit(wins, shown)
    assert found.separated
    half = 0.5 * (shown > 0)
    np.testing.assert_allclose(found.strength, fit(wins + half, shown + 2 * half).strength)
    assert found.strength.argmax() == 0
    assert np.isfinite(found.strength).all()
    assert fit(shown, shown).separated  # always the left side


@pytest.mark.parametrize(
    ("wins", "shown", "said"),
    [
        (np.ones((2, 3)), np.ones((2, 3)), "must be"),
        (np.ones((3, 3)) * 2, np.ones((3, 3)), r"wins must be in 0\.\.shown"),
        (np.zeros((3, 3)), np.diag([1, 1], 1) * np.array([1, 0, 0])[:, None], "must connect"),
    ],
)
def test_tables_that_are_none_are_refused(wins, shown, said):
    with pytest.raises(ValueError, match=said):
        fit(wins, shown)


def test_a_chance_to_win():
    assert chance_to_win([0.0, 0.0, 0.0]) == pytest.approx([0.5] * 3)
    assert chance_to_win([np.log(3), 0.0]) == pytest.approx([0.75, 0.25])


def test_the_bootstrap_is_the_literal_one():
    rng = np.random.default_rng(0)
    shown = rng.integers(1, 4, (9, 3))
    correct = rng.binomial(shown, 0.7)
    drawn = draws(9, 50)
    found = accuracy(correct, shown, drawn)
    literal = bootstrap_accuracy(correct, shown, drawn)
    low, high = interval(literal, 9)
    np.testing.assert_allclose(found.low, low)
    np.testing.assert_allclose(found.high, high)
    np.testing.assert_allclose(found.value, correct.sum(0) / shown.sum(0))
    more = gain(correct, shown, 2, drawn)
    np.testing.assert_allclose(more.low, interval(literal - literal[:, 2:], 9)[0])
    assert more.value[2] == more.low[2] == more.high[2] == 0


def test_one_person_has_no_interval():
    found = accuracy([[1, 2]], [[2, 2]])
    assert found.value.tolist() == [0.5, 1.0]
    assert np.isnan(found.low).all()


@pytest.mark.parametrize(
    ("answers", "score"),
    [
        ([5, 1] * 5, 100), ([1, 5] * 5, 0), ([3] * 10, 50), ([1] * 10, 50),
        ([4, 2, 4, 1, 4, 2, 5, 2, 4, 2], 80),  # by hand: 3+3+3+4+3+3+4+3+3+3 = 32
    ],
)  # fmt: skip
def test_the_usability_scale(answers, score):
    assert sus_score(answers) == score == sus(answers)


@pytest.mark.parametrize("answers", [[3] * 9, [3] * 9 + [6], [0] * 10])
def test_a_wrong_usability_scale_is_refused(answers):
    with pytest.raises(ValueError, match=r"answers must be 10 whole numbers in 1\.\.5"):
        sus_score(answers)


def test_a_table_of_people_gives_the_counts_of_their_answers(design):
    table = tabulate(design, answer_rows(design, 12, seed=1))
    right, asked = counts(table, "say", design.conditions)
    assert right.shape == asked.shape == (12, 4)
    assert (asked == 2).all()
    assert right.sum() == table.loc[table["kind"] == "say", "correct"].sum()
    wins, shown = pair_counts(table, design.methods)
    assert (shown.sum((1, 2)) == 6).all()
    assert wins.sum() == (table.loc[table["kind"] == "choice", "answer"] == "Map A").sum()
    mean, low, high, n = usability(table)
    assert n == 12
    assert low < mean < high


def test_the_careless_are_left_out_and_shown(design):
    table = tabulate(design, answer_rows(design, 40, seed=2, careless=0.4))
    left = kept(table, design)
    assert 10 < left["participant"].nunique() < 40
    assert (left["failed_checks"] == 0).all()
    lines = report(table, design)
    assert "== everybody, all: 40 participants" in lines
    assert f"== under the rule, all: {left['participant'].nunique()} participants" in lines
    unfinished = table[table["position"] < 20].assign(complete=False)
    assert kept(unfinished, design).empty
    said = report(unfinished[unfinished["participant"] < 2], design)
    assert any(line.startswith("say: accuracy") for line in said)
    assert not any("usability" in line for line in said)
    one = table[table["kind"] == "choice"].iloc[:1]
    assert "choice: some pair of methods has no answer yet" in report(one, design)


def test_what_is_put_in_is_found(design):
    table = tabulate(design, answer_rows(design, 400, seed=3))
    for task in ("say", "look"):
        right, asked = counts(table, task, design.conditions)
        known = [SKILL[name] + 0.05 for name in design.conditions]
        assert right.sum(0) / asked.sum(0) == pytest.approx(known, abs=0.06)
    means = table[table["kind"] == "say"].groupby("expertise")["correct"].mean()
    assert means["Expert"] - means["Not an expert"] == pytest.approx(0.1, abs=0.05)
    found = choices(*pair_counts(table, design.methods), draws(400, 200))
    assert found.strength.value == pytest.approx([*QUALITY.values()], abs=0.15)
    assert found.side.value[0] == pytest.approx(0, abs=0.15)


def test_intervals_hold_the_truth_in_200_studies():
    """People have abilities, which cancel in the differences to the last condition."""
    rng, people, skill = np.random.default_rng(0), 36, np.array([0.8, 0.7, 0.6, 0.5])
    strength, side, inside = np.array([0.6, -0.1, -0.5]), 0.2, []
    left = 1 / (1 + np.exp(strength - strength[:, None] - side))
    shown, seen = np.full((people, 4), 2), np.broadcast_to(1 - np.eye(3, dtype=int), (people, 3, 3))
    for i in range(200):
        correct = rng.binomial(shown, skill + rng.uniform(-0.15, 0.15, (people, 1)))
        drawn = draws(people, 600, i)
        chosen = choices(rng.binomial(seen, left), seen, drawn)
        more = gain(correct, shown, 3, drawn)
        inside.append(np.concatenate([
            (found.low <= true) & (true <= found.high)
            for found, true in (
                (accuracy(correct, shown, drawn), skill), (more, skill - 0.5),
                (chosen.strength, strength), (chosen.side, side),
            )
        ]))  # fmt: skip
    covered = np.delete(np.mean(inside, 0), 7)  # the last condition's difference to itself
    slack = 3 * (0.95 * 0.05 / 200) ** 0.5  # three standard errors of a share over 200 studies
    assert abs(covered.mean() - 0.95) < 0.015
    assert (abs(covered - 0.95) < slack + 0.01).all()


def answers(rng, p, icc, n, items):
    """Right answers of n people with exactly this intraclass correlation (beta-binomial)."""
    own = rng.beta(p * (1 - icc) / icc, (1 - p) * (1 - icc) / icc, n)
    return rng.binomial(items, own) / items


def test_the_planned_number_has_the_planned_power():
    rng = np.random.default_rng(0)
    n = participants_for_accuracy(0.6, 0.75, items=3, icc=0.2)
    found = [
        ttest_1samp(answers(rng, 0.75, 0.2, n, 3) - answers(rng, 0.6, 0.2, n, 3), 0).pvalue < 0.05
        for _ in range(1500)
    ]
    assert np.mean(found) == pytest.approx(0.8, abs=0.035)
    n = participants_for_choice(0.62, items=2, icc=0.1)
    found = [ttest_1samp(answers(rng, 0.62, 0.1, n, 2), 0.5).pvalue < 0.05 for _ in range(1500)]
    assert np.mean(found) == pytest.approx(0.8, abs=0.035)


def test_the_formula_by_hand():
    z = norm.ppf(0.975) + norm.ppf(0.8)
    by_hand = z**2 * (0.24 + 0.21) * 1.3 / (4 * 0.01)
    assert participants_for_accuracy(0.6, 0.7, items=4, icc=0.1) == np.ceil(by_hand)
    assert participants_for_accuracy(0.7, 0.6) == participants_for_accuracy(0.6, 0.7)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"second": 0.6}, "first and second must differ, got 0.6 twice"),
        ({"second": 1.0}, "second must be >= 0 and < 1, got 1"),
        ({"second": 0.7, "icc": 2}, "icc must be >= 0 and <= 1, got 2"),
        ({"second": 0.7, "items": 0}, "items must be >= 1, got 0"),
        ({"second": 0.7, "power": 0}, "power must be > 0, got 0"),
    ],
)
def test_a_plan_that_is_none_is_refused(given, said):
    with pytest.raises(ValueError, match=said):
        participants_for_accuracy(0.6, **given)


def test_a_study_without_the_task_of_two_objects(design):
    """As on photographs and ImageNet, where no second object is known."""
    less = replace(design, items={**design.items, "look": ()})
    assert less.tasks == ("say", "choice")
    table = tabulate(less, answer_rows(less, 10, seed=6))
    assert "look" not in set(table["kind"]) | set(table["task"])
    assert not [line for line in report(table, less) if line.startswith("look")]
