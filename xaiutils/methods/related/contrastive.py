r"""Contrastive LRP: the relevance of a class minus that of a dual, which stands for its rivals.

With z⁺ everywhere relevance hardly depends on the class that it starts from. Both methods here
subtract what it would be for something else:

.. math:: D = R - R^{\mathrm{dual}} \frac{\sum_p R_p}{\sum_p R^{\mathrm{dual}}_p},

with R and its dual summed over the channels. They differ in the two starts.
"""

from __future__ import annotations

import copy
from dataclasses import replace

import torch
from torch import Tensor

from xaiutils.factors import Pass, Target, plan_for
from xaiutils.lrp.composites import Composite, Row
from xaiutils.lrp.plan import Plan
from xaiutils.lrp.rules import Part, Rule, Situation, z_box, z_plus
from xaiutils.network.classifier import SOFTMAX, Classifier
from xaiutils.network.kinds import WEIGHTED
from xaiutils.network.targets import Scores
from xaiutils.support import checks

DUALS = ("others", "negated")
Z_PLUS_BOX = Composite(
    "z_plus_box",
    (Row(WEIGHTED, "input", z_box()), Row(WEIGHTED, "anywhere", z_plus(bias=False))),
    "Gu et al. 2018 and Iwana et al. 2019: z⁺, and z^B where the picture is read",
)


@torch.inference_mode(False)
def clrp(
    classifier: Classifier,
    x: Tensor,
    target: Target = None,
    *,
    dual: str = "others",
    composite: str | Composite = Z_PLUS_BOX,
) -> Tensor:
    r"""Contrastive LRP: :math:`\mathrm{relu}(D)`, D as above (Gu et al. 2018, arXiv 1812.02100).

    Relevance starts with :math:`|f_c|` at the target class c; the absolute value keeps a negative
    logit from turning both maps over. The dual starts with

    - ``"others"`` (CLRP1): :math:`|f_c| / (K - 1)` at each of the other classes;
    - ``"negated"`` (CLRP2): :math:`|f_c|` at c, whose weights in the last linear step change sign.

    Args:
        classifier, x, target: As in `explain`; two classes or more.
        dual: ``"others"`` or ``"negated"``.
        composite: z⁺ without bias, and z^B where the picture is read, as the authors have it; or
            another, with an alpha_beta or z_plus rule on the last linear step for ``"negated"``:
            rules such as epsilon give the same relevance for a weight and its negative.

    Returns:
        (N, H, W) >= 0, in logits. A dual whose sum is 0 cannot be scaled and is left out.
    """
    checks.choice("dual", dual, DUALS)
    seen = _forward(classifier, x, target, composite)
    index = index_of(seen)
    score = seen.logits.gather(1, index).abs()
    start = torch.zeros_like(seen.logits).scatter(1, index, score)
    if dual == "others":
        rivals = (score / (seen.plan.graph.classes - 1)).expand_as(start)
        against = seen.walk(rivals.scatter(1, index, 0))
    else:
        against = seen.walk(start, _last_negated(seen.plan))
    return contrast(seen.walk(start).map, against.map).clamp(min=0).float()


@torch.inference_mode(False)
def sglrp(
    classifier: Classifier,
    x: Tensor,
    target: Target = None,
    *,
    composite: str | Composite = Z_PLUS_BOX,
) -> Tensor:
    r"""Softmax-gradient LRP: D as above, signed (Iwana et al. 2019, arXiv 1908.04351).

    Relevance starts from the gradient of the softmax, `softmax_gradient`: its one positive
    entry :math:`p_c (1 - p_c)` gives R, the others' :math:`p_c p_n` the dual. Iwana et al.
    propagate both at once; as in their code they go down apart and the dual is scaled.

    Args:
        classifier, x, target: As in `explain`; two classes or more that exclude each other.
        composite: As in `clrp`.

    Returns:
        (N, H, W), signed: below 0 is evidence for the rivals. The sum over an image is 0, save
        where that of the dual is 0 and it is left out.

    Raises:
        ValueError: A start is so small that float32 cannot hold the map (a lead of 70 and more
            between the logits).
    """
    seen = _forward(classifier, x, target, composite, softmax=True)
    index = index_of(seen)
    start = softmax_gradient(seen.logits, index)
    size = start.gather(1, index)
    info = torch.finfo(torch.float32)
    small = (size[:, 0] < info.tiny / info.eps).nonzero()[:, 0].tolist()
    if small:
        raise ValueError(
            "target must have a softmax gradient p_c (1 - p_c) that float32 can hold the map of, "
            f"got {float(size[small[0]]):.0e} for image {small[0]}; use clrp"
        )
    share = (start / size).to(seen.logits)  # relevance is linear in its start: nothing underflows
    mine, rivals = (seen.walk(one).map for one in (share.clamp(min=0), -share.clamp(max=0)))
    difference = contrast(mine, rivals)
    return (difference * size.view(-1, *[1] * (difference.ndim - 1))).float()


def softmax_gradient(logits: Tensor, index: Tensor) -> Tensor:
    r""":math:`\partial p_c / \partial f`: :math:`p_c (1 - p_c)` at c, :math:`-p_c p_n` elsewhere.

    Of logits (N, K) and the class (N, 1): (N, K) float64, whose rows sum to 0. :math:`1 - p_c` is
    the ratio of the sums of :math:`e^f` over the others and over all, which keeps its digits as
    :math:`p_c` nears 1.
    """
    f = logits.double()
    log_p = f.log_softmax(1)
    log_target = log_p.gather(1, index)
    others = f.scatter(1, index, -torch.inf).logsumexp(1, keepdim=True) - f.logsumexp(1, True)
    return -(log_target + log_p).exp().scatter(1, index, -(log_target + others).exp())


def contrast(relevance: Tensor, dual: Tensor) -> Tensor:
    """Relevance minus its dual, scaled to the same sum: (N, C, H, W) each to (N, H, W) float64.

    Where the dual sums to 0 it is left out.
    """
    r, d = relevance.double().sum(1), dual.double().sum(1)
    whole = tuple(range(1, r.ndim))
    mine, other = r.sum(whole, keepdim=True), d.sum(whole, keepdim=True)
    return r - d * (mine / other).masked_fill(other == 0, 0)


def _forward(
    classifier: Classifier,
    x: Tensor,
    target: Target,
    composite: str | Composite,
    *,
    softmax: bool = False,
) -> Pass:
    plan = plan_for(classifier, x, composite)
    if plan.graph.classes < 2:
        raise ValueError("classifier must have two classes or more to contrast, got 1")
    if softmax and classifier.outputs != SOFTMAX:
        raise ValueError(
            "classifier must have classes that exclude each other, for the gradient of the "
            f"softmax, got outputs that are {classifier.outputs}; use lrp_paper"
        )
    return Pass(classifier, x, target, plan=plan)


def index_of(seen: Pass) -> Tensor:
    """(N, 1), the class that is explained; TypeError for a score, which these do not know."""
    if isinstance(seen.target, Scores):
        raise TypeError(
            f"target must be a class index or name here, got the score {seen.target.name}"
        )
    return seen.target.to(seen.logits.device)[:, None]


def _last_negated(plan: Plan) -> Plan:
    """The plan with negated weights in the steps that give the logits."""
    twin = copy.copy(plan)
    weighted = set(plan.rules)
    last = {step for step in weighted if weighted.isdisjoint(plan.graph.after(step))}
    twin.rules = {s: _negated(rule) if s in last else rule for s, rule in plan.rules.items()}
    return twin


def _negated(rule: Rule) -> Rule:
    """The rule for weights and bias of the other sign."""

    def parts(s: Situation) -> list[Part]:
        found = rule.parts(replace(s, w=-s.w, b=None if s.b is None else -s.b))
        if not all(part.sign for part in found):
            raise ValueError(
                "composite must have an alpha_beta or z_plus rule on the last linear step for "
                f'dual="negated", got {rule.name}'
            )
        return found

    return replace(rule, name=f"{rule.name}, negated", parts=parts, plain=False)
