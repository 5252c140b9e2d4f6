"""Composites: tables that give every linear step its rule by what it is and where it stands."""

from __future__ import annotations

from dataclasses import dataclass, replace

from xaiutils.lrp import rules
from xaiutils.lrp.rules import Rule, alpha_beta, epsilon, flat, gamma, z, z_box, z_plus
from xaiutils.network.kinds import BATCH_NORM, CONVOLUTION, LINEAR, WEIGHTED
from xaiutils.network.step import GraphError, Step
from xaiutils.support import checks
from xaiutils.support.checks import Registry


@dataclass(frozen=True)
class Row:
    """One line of a composite: which steps get which ``rule``.

    ``kinds`` are of `convolution`, `linear`, `batch_norm` (one that follows no convolution and so
    counts as a diagonal convolution); ``place`` is ``"head"`` (after the CAM layer), ``"body"``,
    ``"input"`` (reads the picture first) or ``"anywhere"``.
    """

    kinds: tuple[str, ...]
    place: str
    rule: Rule


@dataclass(frozen=True)
class Composite:
    """Which rule stands where: the first of ``rows`` that fits a step gives its rule.

    ``attention`` says who receives at a product of two matrices: ``"bilinear"``: each factor half
    (AttnLRP, Achtibat et al. 2024); ``"value"``: the attention weights count as a constant, as in
    the conservative propagation of Ali et al. 2022. ``norm`` is what a layer norm does:
    ``"detached"``: its standard deviation is a constant, the rest is linear; ``"identity"``: it
    passes relevance on unchanged. ``name`` is its key in `COMPOSITES`,
    ``source`` its paper.
    """

    name: str
    rows: tuple[Row, ...]
    source: str
    attention: str = "bilinear"
    norm: str = "detached"

    def rule_for(self, step: Step, place: str, first: bool) -> Rule:
        """The rule of ``step``, which stands in ``place`` (head or body), ``first`` or not.

        Raises:
            GraphError: No row of the table matches it.
        """
        for row in self.rows:
            if step.kind in row.kinds and (
                row.place in ("anywhere", place) or (row.place == "input" and first)
            ):
                return row.rule
        raise GraphError(f"composite {self.name} has no rule for {step} in the {place}")

    def with_input_rule(self, rule: Rule) -> Composite:
        """The same composite with ``rule`` on the layers that read the picture."""
        return replace(
            self,
            name=f"{self.name}, {rule.name} first",
            rows=(Row(WEIGHTED, "input", rule), *self.rows),
        )


_CONVOLUTIONS = (CONVOLUTION, BATCH_NORM)
_PAPER = "Dhore et al., Enhancing Explainable AI, section III-B"
_KOHLBRENNER = "Kohlbrenner et al. 2020, arXiv 1910.09840; rules as in zennit 0.5.1"
_ATTNLRP = "Achtibat et al. 2024, arXiv 2402.05602; gammas from the range that its code tries"
_CP_LRP = "Ali et al. 2022, arXiv 2202.07304: attention weights as constants; gammas as attnlrp"


def paper(
    alpha: float = 1.0,
    beta: float = 0.0,
    *,
    convolution_bias: bool = False,
    head_bias: bool = True,
    gamma: float | None = None,
) -> Composite:
    """The paper's composite: LRP-z on the head, behind the CAM layer, LRP-αβ on the convolutions.

    The paper gives neither α and β nor what becomes of biases: here α = 1, β = 0, the one αβ-rule
    of captum, which it used; the convolutions' biases count as zero (``convolution_bias``), the
    head's take part (``head_bias``). With ``gamma`` the convolutions get LRP-γ: what αβ loses in
    networks of depthwise convolutions and batch norms, where a whole sum may be negative, γ hands
    down.
    """
    body = alpha_beta(alpha, beta, bias=convolution_bias)
    if gamma is not None:
        body = rules.gamma(gamma, bias=convolution_bias)
    head = z(bias=head_bias)
    rows = (
        Row(WEIGHTED, "head", head),
        Row(_CONVOLUTIONS, "body", body),
        Row((LINEAR,), "body", head),
    )
    # The name tells apart what tables must not mix.
    own: dict[str, float] = {"alpha": alpha, "beta": beta} if (alpha, beta) != (1, 0) else {}
    own |= {} if gamma is None else {"gamma": gamma}
    own |= {"convolution_bias": True} if convolution_bias else {}
    own |= {} if head_bias else {"head_bias": False}
    settings = ", ".join(f"{key}={value:g}" for key, value in own.items())
    return Composite(f"paper({settings})" if own else "paper", rows, _PAPER)


def _by_type(
    name: str, convolution: Rule, linear: Rule, *first: Rule, source: str = _KOHLBRENNER
) -> Composite:
    rows = (Row(_CONVOLUTIONS, "anywhere", convolution), Row((LINEAR,), "anywhere", linear))
    return Composite(name, (*(Row(WEIGHTED, "input", rule) for rule in first), *rows), source)


_TABLE = (
    paper(),
    _by_type("z", z(), z(), source="Bach et al. 2015, eq. 56, on every layer"),
    _by_type("epsilon", epsilon(), epsilon(), source="Bach et al. 2015, eq. 58, on every layer"),
    _by_type("epsilon_plus", z_plus(), epsilon()),
    _by_type("epsilon_alpha2_beta1", alpha_beta(2, 1), epsilon()),
    _by_type("epsilon_plus_flat", z_plus(), epsilon(), flat()),
    _by_type("epsilon_alpha2_beta1_flat", alpha_beta(2, 1), epsilon(), flat()),
    _by_type("epsilon_gamma_box", gamma(), epsilon(), z_box()),
    _by_type("attnlrp", gamma(0.25), gamma(0.05), source=_ATTNLRP),
    replace(_by_type("cp_lrp", gamma(0.25), gamma(0.05), source=_CP_LRP), attention="value"),
)
COMPOSITES: Registry[Composite] = Registry("composite", {one.name: one for one in _TABLE})


def composite_named(composite: str | Composite) -> Composite:
    """The composite itself, or the one of that name in `COMPOSITES`.

    Raises:
        TypeError, ValueError: It is neither.
    """
    if isinstance(composite, Composite):
        return composite
    return COMPOSITES[checks.choice("composite", composite, COMPOSITES)]
