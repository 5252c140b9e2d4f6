r"""Strengths from choices between two: Bradley and Terry 1952, with a preference for a side.

.. math:: \operatorname{logit} P(\text{left chosen}) = \theta_l - \theta_r + \beta

with :math:`\sum_i \theta_i = 0`; :math:`\beta` is how much the left side is preferred (Davidson and
Beaver 1977). Many tables, such as a bootstrap's, are fitted at once by Newton's method.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

STEPS, CLOSE, FAR = 40, 1e-9, 12.0


class Fit(NamedTuple):
    """Maximum likelihood of one table, or of many."""

    strength: NDArray[np.float64]  # (..., k), with sum 0; a difference is the log-odds of a choice
    side: NDArray[np.float64]  # (...), the log-odds of the left side between equals
    separated: NDArray[np.bool_]  # (...), there was no finite maximum and half a choice was added


def fit(wins: ArrayLike, shown: ArrayLike) -> Fit:
    """Fit strengths and side.

    Where a method wins or loses always, or one side is always chosen, the likelihood has no finite
    maximum. Then half a choice for either side is added to every pair that was shown (the usual
    correction of a log-odds) and the fit says so. Nothing is added otherwise.

    Args:
        wins: (..., k, k), how often i was chosen on the left of j.
        shown: (..., k, k), how often i was shown on the left of j; the diagonal is not read. Every
            method must be connected with every other by pairs that were shown.

    Raises:
        ValueError: Shapes differ, counts are negative or wins above shown, or methods unconnected.
    """
    won, seen = np.asarray(wins, float), np.asarray(shown, float)
    k = won.shape[-1] if won.ndim else 0
    if won.shape != seen.shape or won.ndim < 2 or won.shape[-2] != k or k < 2:
        raise ValueError(f"wins and shown must be (..., k, k), got {won.shape} and {seen.shape}")
    left, right = np.nonzero(~np.eye(k, dtype=bool))
    w, n = (table[..., left, right].reshape(-1, len(left)) for table in (won, seen))
    if not ((w >= 0) & (w <= n)).all():
        raise ValueError("wins must be in 0..shown")
    linked = (seen > 0) | (seen.swapaxes(-1, -2) > 0) | np.eye(k, dtype=bool)
    if not np.linalg.matrix_power(linked.astype(float), k - 1).all():
        raise ValueError("shown must connect every method with every other")
    design = np.eye(k)[left] - np.eye(k)[right]
    design[:, -1] = 1  # the side; the last method has strength 0
    found, fine = _newton(design, w, n)
    if not fine.all():
        half = 0.5 * (n[~fine] > 0)
        found[~fine], _ = _newton(design, w[~fine] + half, n[~fine] + 2 * half)
    strength = np.concatenate([found[:, :-1], np.zeros((len(found), 1))], 1)
    strength -= strength.mean(1, keepdims=True)
    shape = won.shape[:-2]
    return Fit(strength.reshape(*shape, k), found[:, -1].reshape(shape), ~fine.reshape(shape))


def _newton(
    x: NDArray[np.float64], w: NDArray[np.float64], n: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Maximise sum of w log p + (n - w) log(1 - p) for every row; which rows came to rest."""
    b = np.zeros((len(w), x.shape[1]))
    step = np.ones_like(b)
    for _ in range(STEPS):
        p = 1 / (1 + np.exp(-(b @ x.T)))
        gradient = (w - n * p) @ x
        curvature = np.einsum("bm,mi,mj->bij", n * p * (1 - p), x, x, optimize=True)
        curvature += 1e-10 * np.eye(x.shape[1])
        step = np.linalg.solve(curvature, gradient[..., None])[..., 0]
        step *= np.minimum(1, 2 / np.abs(step).max(1, keepdims=True).clip(1e-300))
        b = (b + step).clip(-2 * FAR, 2 * FAR)
        if np.abs(step).max(initial=0) < CLOSE:
            break
    return b, (np.abs(step).max(1) < 1e-6) & (np.abs(b).max(1) < FAR)


def chance_to_win(strength: ArrayLike) -> NDArray[np.float64]:
    """How often each method would be chosen against a random other one, (..., k) in [0, 1]."""
    s = np.asarray(strength, float)
    p = 1 / (1 + np.exp(s[..., None, :] - s[..., :, None]))
    k = s.shape[-1]
    return (p.sum(-1) - 0.5) / (k - 1)
