r"""How many participants a study needs, before it begins.

.. math::

    n = \frac{(z_{1-\alpha/2} + z_{1-\beta})^2 \, (p_1 (1 - p_1) + p_2 (1 - p_2)) \,
        (1 + (r - 1) \rho)}{r \, (p_1 - p_2)^2}

Each participant gives r answers under either condition; ρ is the correlation of one person's
answers under one condition, and :math:`1 + (r - 1) \rho` Kish's design effect (Donner and Klar
2000). What somebody is better at under *both* conditions cancels in the difference and is left out:
the true n is then smaller. A choice between two maps is held against one half in the same way.
"""

from __future__ import annotations

from math import ceil

from scipy.stats import norm

from xaiutils.support import checks


def participants_for_accuracy(
    first: float, second: float, *, items: int = 2, icc: float = 0.1, power: float = 0.8,
    alpha: float = 0.05,
) -> int:  # fmt: skip
    """Participants to tell two accuracies apart.

    Args:
        first, second: In (0, 1), different.
        items: r, answers of a participant under each condition, >= 1. icc: ρ, in [0, 1].
        power: Chance to find the difference, in (0, 1). alpha: Two-sided level, in (0, 1).
    """
    p, q = _inside("first", first), _inside("second", second)
    if p == q:
        raise ValueError(f"first and second must differ, got {p:g} twice")
    spread = p * (1 - p) + q * (1 - q)
    return _participants(spread * _reach(power, alpha) ** 2, abs(p - q), items, icc)


def participants_for_choice(
    share: float, *, items: int = 2, icc: float = 0.1, power: float = 0.8, alpha: float = 0.05
) -> int:
    """Participants to tell the share of choices for one of two maps from one half; as above."""
    p = _inside("share", share)
    if p == 0.5:
        raise ValueError("share must differ from 0.5, got 0.5")
    a, b = _reach(0.5, alpha), _reach(power, 1.0)  # under one half, and under the share
    return _participants((a * 0.5 + b * (p * (1 - p)) ** 0.5) ** 2, abs(p - 0.5), items, icc)


def _participants(numerator: float, difference: float, items: int, icc: float) -> int:
    r = checks.number("items", items, low=1)
    rho = checks.number("icc", icc, low=0, high=1)
    return ceil(numerator * (1 + (r - 1) * rho) / (r * difference**2))


def _reach(power: float, alpha: float) -> float:
    level = checks.number("alpha", alpha, low=0, high=1)
    return float(norm.ppf(1 - level / 2) + norm.ppf(_inside("power", power)))


def _inside(argument: str, value: float) -> float:
    number = checks.number(argument, value, low=0, below=1)
    if number == 0:
        raise ValueError(f"{argument} must be > 0, got 0")
    return number
