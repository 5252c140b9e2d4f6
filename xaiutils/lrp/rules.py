r"""LRP rules as data: how a linear step divides relevance among its inputs.

For a linear step :math:`z_j = \sum_i x_i w_{ij} + b_j` every rule here is a sum of *parts*; a part
is a list of terms (an input and a weight), a bias and a factor :math:`c`, and

.. math:: R_i = \sum_{\text{parts}} c \sum_{\text{terms}} x_i \sum_j w_{ij} \frac{R_j}{z_j},
          \qquad z_j = \sum_{\text{terms}} \sum_i x_i w_{ij} + b_j .

walk.py computes these sums; a new rule is a new list of parts and is registered nowhere: a row of
a `Composite` (composites.py) names it. Sources: Bach et al. 2015
(doi 10.1371/journal.pone.0130140); Montavon et al. 2017 (Deep Taylor, arXiv 1512.02479);
Montavon et al. 2019 (Layer-Wise Relevance Propagation: An Overview); Lapuschkin et al. 2019
(arXiv 1902.10178); Andéol et al. 2021 (arXiv 2106.13727).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from xaiutils.support import checks

STABILISER = 1e-6  # added to a denominator with its sign, sign(0) = +1; the field's usual value


@dataclass(frozen=True)
class Part:
    """One fraction of a rule: ``factor`` times the shares of ``terms`` in their sum and ``bias``.

    ``terms`` are pairs of an input (N, ...) and a weight. ``where`` is the sign of the outputs
    that it is meant for, 0 for all. ``sign`` is 1 or -1 where the denominator can only be >= 0 or
    <= 0; ``above`` says that relevance stands only where it is above zero.
    """

    terms: tuple[tuple[Tensor, Tensor], ...]
    bias: Tensor | None = None
    factor: float = 1.0
    where: int = 0
    sign: int = 0
    above: bool = False


@dataclass(frozen=True)
class Situation:
    """What a rule may look at: input (N, ...), weight and bias of a step, and what is known.

    ``nonnegative`` says that no input can be below zero, so that negative halves are left out;
    ``bounds`` are the lowest and highest possible inputs of the first layer. ``above`` says that
    relevance stands only at outputs above zero, as in front of a ReLU.
    """

    x: Tensor
    w: Tensor
    b: Tensor | None
    nonnegative: bool = False
    bounds: tuple[Tensor, Tensor] | None = None
    above: bool = False

    def positive(self) -> list[tuple[Tensor, Tensor]]:
        """The terms that push upwards: x⁺ with w⁺, and x⁻ with w⁻ where x can be negative."""
        return self._terms(self.w.clamp(min=0), lambda: self.w.clamp(max=0))

    def negative(self) -> list[tuple[Tensor, Tensor]]:
        """The terms that push downwards: x⁺ with w⁻, and x⁻ with w⁺ where x can be negative."""
        return self._terms(self.w.clamp(max=0), lambda: self.w.clamp(min=0))

    def _terms(self, w: Tensor, other: Callable[[], Tensor]) -> list[tuple[Tensor, Tensor]]:
        if self.nonnegative:
            return [(self.x, w)]
        return [(self.x.clamp(min=0), w), (self.x.clamp(max=0), other())]


@dataclass(frozen=True)
class Rule:
    """A rule with its settings, as `z`, `epsilon`, `alpha_beta` and the others below make it.

    Attributes:
        name: What settings and messages call it.
        parts: Of a situation.
        epsilon: The stabiliser.
        plain: Whether it divides by the output of the step itself, which is known already.
        needs_bounds: Whether it asks for the bounds of the input.
        zero_at_zero: Whether an input of exactly zero always receives zero.
    """

    name: str
    parts: Callable[[Situation], list[Part]]
    epsilon: float = STABILISER
    plain: bool = False
    needs_bounds: bool = False
    zero_at_zero: bool = False


def _plain(s: Situation) -> list[Part]:
    return [Part(((s.x, s.w),), s.b)]


def z(*, bias: bool = True) -> Rule:
    r"""LRP-z: :math:`R_i = \sum_j x_i w_{ij} R_j / z_j` (Bach et al. 2015, eq. 56).

    Signed. Where :math:`z_j = 0` nothing is handed down and the ledger says so.
    ``bias=False`` leaves the bias out of :math:`z_j`.
    """
    if bias:
        return Rule("z", _plain, epsilon=0.0, plain=True, zero_at_zero=True)
    return Rule("z, no bias", lambda s: [Part(((s.x, s.w),))], epsilon=0.0, zero_at_zero=True)


def epsilon(value: float = STABILISER) -> Rule:
    r"""LRP-ε: LRP-z with :math:`z_j + \varepsilon\,\mathrm{sign}(z_j)` below (ibid., eq. 58).

    Raises:
        TypeError, ValueError: ``value`` is below 0.
    """
    value = checks.number("epsilon", value, low=0)
    return Rule(f"epsilon({value:g})", _plain, epsilon=value, plain=True, zero_at_zero=True)


def _alpha_beta(s: Situation, alpha: float, beta: float, bias: bool) -> list[Part]:
    b, whole = s.b if bias else None, bias or s.b is None
    up, down = (None, None) if b is None else (b.clamp(min=0), b.clamp(max=0))
    positive = Part(tuple(s.positive()), up, alpha, sign=1, above=s.above and whole)
    parts = [positive] if alpha else []
    return parts + ([Part(tuple(s.negative()), down, -beta, sign=-1)] if beta else [])


def alpha_beta(
    alpha: float = 1.0, beta: float = 0.0, *, bias: bool = True, stabiliser: float = STABILISER
) -> Rule:
    r"""LRP-αβ: :math:`R_i = \sum_j (\alpha\, z_{ij}^+ / z_j^+ - \beta\, z_{ij}^- / z_j^-) R_j`.

    Bach et al. 2015, eq. 60. :math:`z_{ij}^\pm` are the positive and negative contributions
    :math:`x_i w_{ij}`, so the signs of inputs *and* weights are split; :math:`z_j^\pm` their sum
    with the positive or negative part of the bias, or without it (``bias=False``). ``stabiliser``
    is added to the denominators with their sign, as zennit does.

    Raises:
        ValueError: alpha - beta is not 1, or one of them is negative.
    """
    alpha = checks.number("alpha", alpha, low=0)
    beta = checks.number("beta", beta, low=0)
    if abs(alpha - beta - 1) > 1e-9:
        raise ValueError(f"alpha - beta must be 1, got {alpha:g} - {beta:g} = {alpha - beta:g}")
    name = f"alpha{alpha:g}_beta{beta:g}" + ("" if bias else ", no bias")
    parts = partial(_alpha_beta, alpha=alpha, beta=beta, bias=bias)
    stabiliser = checks.number("stabiliser", stabiliser, low=0)
    return Rule(name, parts, stabiliser, zero_at_zero=True)


def z_plus(*, bias: bool = True) -> Rule:
    """LRP-z⁺: `alpha_beta` with α = 1, β = 0 (Montavon et al. 2017)."""
    return replace(alpha_beta(1, 0, bias=bias), name="z_plus" if bias else "z_plus, no bias")


def _gamma(s: Situation, value: float, bias: bool) -> list[Part]:
    b, whole = s.b if bias else None, bias or s.b is None
    up, down = (None, None) if b is None else (b.clamp(min=0), b.clamp(max=0))

    def part(favoured: list[tuple[Tensor, Tensor]], more: Tensor | None, **options: Any) -> Part:
        terms = tuple((x, s.w + value * w) for x, w in favoured)
        return Part(terms, b if b is None or more is None else b + value * more, **options)

    if s.above and whole:  # one sign is enough
        return [part(s.positive(), up, sign=1, above=True)]
    return [part(s.positive(), up, where=1), part(s.negative(), down, where=-1)]


def gamma(value: float = 0.25, *, bias: bool = True) -> Rule:
    r"""LRP-γ: :math:`w_{ij} + \gamma w_{ij}^+` in place of the weight (Montavon et al. 2019).

    Generalised to inputs of both signs: where :math:`z_j > 0` what pushes upwards is made
    stronger, where :math:`z_j < 0` what pushes downwards (Andéol et al. 2021). ``bias=False``
    leaves the bias out of :math:`z_j`: everything is handed down, but where :math:`z_j = 0`.

    Raises:
        TypeError, ValueError: ``value`` is below 0.
    """
    value = checks.number("gamma", value, low=0)
    name = f"gamma({value:g})" + ("" if bias else ", no bias")
    parts = partial(_gamma, value=value, bias=bias)
    return Rule(name, parts, zero_at_zero=True)


def flat() -> Rule:
    """Flat: every input that an output sees gets the same (Lapuschkin et al. 2019)."""
    return Rule("flat", lambda s: [Part(((torch.ones_like(s.x), torch.ones_like(s.w)),))])


def w_squared(*, bias: bool = True) -> Rule:
    r"""LRP-w²: :math:`w_{ij}^2 / (\sum_{i'} w_{i'j}^2 + b_j^2)` (Montavon et al. 2017)."""

    def parts(s: Situation) -> list[Part]:
        b = s.b.square() if bias and s.b is not None else None
        return [Part(((torch.ones_like(s.x), s.w.square()),), b)]

    return Rule("w_squared" if bias else "w_squared, no bias", parts)


def _z_box(s: Situation) -> list[Part]:
    if s.bounds is None:
        raise ValueError(
            "the z_box rule must know the input's bounds, got none: give the limits of the data, "
            "wrap(..., limits=(least, largest))"
        )
    low, high = (bound.expand_as(s.x) for bound in s.bounds)
    return [Part(((s.x, s.w), (-low, s.w.clamp(min=0)), (-high, s.w.clamp(max=0))))]


def z_box() -> Rule:
    r"""LRP-z^B for the first layer (Montavon et al. 2017) with pixel bounds l ≤ x ≤ h.

    .. math:: R_i = \sum_j \frac{x_i w_{ij} - l_i w_{ij}^+ - h_i w_{ij}^-}{\sum_{i'} \ldots} R_j
    """
    return Rule("z_box", _z_box, needs_bounds=True)
