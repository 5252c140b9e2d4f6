"""The user study's formulas, written out literally and slowly."""

from __future__ import annotations

from math import exp

import numpy as np
from scipy.optimize import minimize


def bradley_terry(wins, shown) -> tuple[np.ndarray, float]:
    """Maximise the likelihood by a general optimiser: strengths with sum 0, and the side."""
    k = len(wins)

    def loss(b):
        total = 0.0
        for i in range(k):
            for j in range(k):
                if i != j and shown[i][j]:
                    p = 1 / (1 + exp(-(b[i] - b[j] + b[k])))
                    total -= wins[i][j] * np.log(p) + (shown[i][j] - wins[i][j]) * np.log(1 - p)
        return total + sum(b[:k]) ** 2  # fixes the sum at 0

    found = minimize(loss, np.zeros(k + 1), method="BFGS", options={"gtol": 1e-8})
    return found.x[:k], float(found.x[k])


def bootstrap_accuracy(correct, shown, drawn) -> np.ndarray:
    """Every resample by itself: people are put together as often as they were drawn."""
    rows = []
    for times in drawn:
        who = [i for i, n in enumerate(times) for _ in range(int(n))]
        rows.append([
            sum(correct[i][c] for i in who) / sum(shown[i][c] for i in who)
            for c in range(len(correct[0]))
        ])  # fmt: skip
    return np.array(rows)


def sus(answers) -> float:
    total = 0
    for number, answer in enumerate(answers, start=1):
        total += answer - 1 if number % 2 == 1 else 5 - answer
    return total * 2.5
