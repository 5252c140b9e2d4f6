"""Do two maps of one picture agree, and does that tell when the network errs?"""

from __future__ import annotations

from collections.abc import Iterable
from math import isfinite

import pandas as pd
import torch
from scipy.stats import spearmanr
from torch import Tensor

from xaiutils.cases.case import Case
from xaiutils.hybrid import explain
from xaiutils.methods import METHODS
from xaiutils.metrics import METRICS
from xaiutils.metrics.score_table import COLUMNS
from xaiutils.support import checks
from xaiutils.support.cache import remember

SHARE = 0.1  # of the pixels, in the sets of highest ones


def rank_agreement(maps: Tensor, others: Tensor) -> Tensor:
    """Spearman's correlation of two maps (N, H, W) of each picture, (N,); NaN for a constant."""
    constant = _constant(maps, others).tolist()
    pairs = zip(maps.flatten(1).cpu().numpy(), others.flatten(1).cpu().numpy(), strict=True)
    found = [
        torch.nan if flat else float(spearmanr(a, b).statistic)
        for (a, b), flat in zip(pairs, constant, strict=True)
    ]
    return torch.tensor(found, dtype=torch.float64)


def top_overlap(maps: Tensor, others: Tensor, share: float = SHARE) -> Tensor:
    """Of the k highest pixels of one map, the share among the k highest of the other, (N,).

    In [0, 1]; two independent maps have ``share``, which is k as a share of the pixels, in (0, 1].
    Ties are broken by the pixels' order; NaN for a constant, which is nothing but ties.
    """
    constant = _constant(maps, others)
    k = max(1, round(checks.number("share", share, low=1e-9, high=1) * maps[0].numel()))
    chosen = []
    for found in (maps.flatten(1), others.flatten(1)):
        order = found.argsort(dim=1, descending=True, stable=True)[:, :k]
        chosen.append(torch.zeros_like(found, dtype=torch.bool).scatter(1, order, True))
    shares = (chosen[0] & chosen[1]).sum(1).double() / k
    return shares.masked_fill(constant, torch.nan)


def agreement_rows(cases: Iterable[Case]) -> pd.DataFrame:
    """For each picture: is the network right, how sure is it, and do CAM and LRP agree?

    The predicted class is explained, for nobody knows beforehand that it is wrong. Rows as those
    of `xaiutils.metrics.scoring.score`: ``right`` (1 or 0) and ``confidence`` (probability of the
    predicted class) of the method ``prediction``, NaN where the network predicts no class;
    ``agreement`` (Spearman) and ``top_overlap`` of ``cam_and_lrp``; ``idsds`` of the hybrid, its
    faithfulness.
    """
    rows: list[tuple[object, ...]] = []
    for case in cases:
        with remember():
            found = explain(case.classifier, case.x)
            predicted = int(found.target[0])
            asked = case.asking(predicted)
            faithful = METRICS["idsds"](asked, METHODS["hybrid"], attribution=found.hybrid[0])
        right, probability, unknown = torch.nan, torch.nan, "the network predicts no class"
        if case.classifier.chooses:
            right, unknown = float(predicted == case.target), ""
            likely = case.classifier.probabilities(found.logits.double())
            probability = float(likely[0, predicted])
        agreement = float(rank_agreement(found.cam, found.relevance))
        overlap = float(top_overlap(found.cam, found.relevance))
        constant = "" if isfinite(agreement) else "a map is the same everywhere"
        for method, metric, value, why in (
            ("prediction", "right", right, unknown),
            ("prediction", "confidence", probability, unknown),
            ("cam_and_lrp", "agreement", agreement, constant),
            ("cam_and_lrp", "top_overlap", overlap, constant),
            ("hybrid", "idsds", *faithful),
        ):
            place = (case.workload, case.classifier.name, case.split, case.id)
            rows.append((*place, method, metric, 0, value, why))
    return pd.DataFrame(rows, columns=COLUMNS)


def _constant(maps: Tensor, others: Tensor) -> Tensor:
    """(N,) bool, where either map has one value everywhere."""
    checks.maps("maps", maps)
    checks.maps("others", others)
    checks.same_shape("maps", maps, "others", others)
    first, second = ((one == one[:, :1, :1]).flatten(1).all(1) for one in (maps, others))
    return first | second
