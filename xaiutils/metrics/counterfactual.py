"""Does a map spread over the objects as their effect does? An exact counterfactual, on scenes."""

from __future__ import annotations

import torch
from torch import Tensor

from xaiutils.cases.case import Case
from xaiutils.metrics.flipping import outputs
from xaiutils.metrics.record import CannotScore, Explainer, Metric


def drops(case: Case) -> Tensor:
    r"""How much the centred logit falls when each object is gone, (O,) float64, signed.

    .. math:: d_o = \bar f_c(x) - \bar f_c(x \setminus o),
              \quad \bar f_c = f_c - \tfrac{1}{K} \sum_k f_k

    Where outputs do not exclude each other, the output itself stands for :math:`\bar f_c`. The
    scene is drawn again without the object and its shadow, so that nothing is painted over.
    """
    x = torch.cat([case.x, *(piece.without.to(case.x) for piece in case.pieces)])
    centred = torch.from_numpy(outputs(case, x))
    return centred[0] - centred[1:]


def counterfactual(case: Case, attribution: Tensor, explainer: Explainer, seed: int) -> float:
    r"""The overlap of the map's shares on the objects with the shares of their effect.

    .. math:: \sum_o \min\Big(\frac{a_o}{\sum_p a_p}, \frac{d_o^+}{\sum_p d_p^+}\Big),
              \quad a_o = \sum_{i \in o} a_i^+

    One minus the total variation distance of the two. What lies outside all objects is not
    judged. A map without positive mass on any object scores 0, for it says that none matters.
    """
    positive = attribution.detach().cpu().double().clamp(min=0)
    return _overlap(torch.stack([positive[piece.mask.cpu()].sum() for piece in case.pieces]), case)


def _overlap(masses: Tensor, case: Case) -> float:
    effect = drops(case).clamp(min=0)
    if float(effect.sum()) == 0:
        raise CannotScore("no object's removal lowers the logit of the class")
    if float(masses.sum()) == 0:
        return 0.0
    return float(torch.minimum(masses / masses.sum(), effect / effect.sum()).sum())


def _by_area(case: Case) -> float:
    try:
        return _overlap(torch.stack([piece.mask.sum().double() for piece in case.pieces]), case)
    except CannotScore:
        return torch.nan


TABLE: tuple[Metric, ...] = (
    Metric(
        name="counterfactual",
        title="overlap with the objects' effect",
        family="faithfulness",
        better="higher",
        function=counterfactual,
        low=0,
        high=1,
        source="own; objects removed by drawing anew after Hesse et al. 2023 (FunnyBirds), "
        "arXiv 2308.06248",
        anchors="random map: the overlap of the objects' areas with their effect; oracle: the "
        "explained object's share of the effect",
        passes="4.5 * F",  # a scene has three or four objects
        chance=_by_area,
        needs=("pieces",),
    ),
)
