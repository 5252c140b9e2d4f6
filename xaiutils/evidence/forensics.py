r"""How near a trio of rows (CAM, LRP, hybrid) comes to those of the paper's Table I.

Orders are counted in all five columns. The distance leaves faithfulness out: the paper's three
values are closer to each other than one run's chance on one picture, and a scale made of their
range would weigh chance most.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

ROWS = ("CAM", "LRP", "hybrid")
SCALED = ("avg_sensitivity", "sparseness", "relevance_rank_accuracy", "random_logit")
COLUMNS = (*SCALED, "faithfulness_correlation")
TABLE_ONE: Mapping[str, tuple[float, ...]] = MappingProxyType(
    {
        "CAM": (0.2158, 0.4219, 0.7459, 1.0, 0.03482),
        "LRP": (1.3243, 0.6286, 0.5184, 0.6354, 0.08190),
        "hybrid": (1.1653, 0.8355, 0.5598, 0.8062, 0.03734),
    }
)
PAPER = np.array([TABLE_ONE[row] for row in ROWS])
NO_TARGET, LIBRARY = "grad_cam_plus_plus_no_target", "library_grad_cam_plus_plus"
FIRST_CALL, RULES_LOST = "captum_lrp_first_call", "captum_lrp_second_call"
PUBLISHED = "published_hybrid"
TRIOS: Mapping[str, tuple[str, str, str]] = MappingProxyType(  # the suspects: CAM, LRP and hybrid
    {
        "as defined": ("grad_cam_plus_plus", "lrp_paper", "hybrid"),
        "start: logit": ("grad_cam_plus_plus", "lrp_paper(start=logit)", "hybrid(start=logit)"),
        "captum's α-β": (LIBRARY, FIRST_CALL, f"{PUBLISHED}_target_first_call"),
        "rules lost": (LIBRARY, RULES_LOST, f"{PUBLISHED}_target_second_call"),
        "no target, captum's α-β": (NO_TARGET, FIRST_CALL, f"{PUBLISHED}_no_target_first_call"),
        "no target, rules lost": (NO_TARGET, RULES_LOST, f"{PUBLISHED}_no_target_second_call"),
    }
)
CONTROLS: Mapping[str, tuple[str, str, str]] = MappingProxyType(
    {
        "the same, noise for LRP": (NO_TARGET, RULES_LOST, "bounded_noise"),
        "no network": ("centre_prior", "random_map", "sobel_edges"),
    }
)


class Nearness(NamedTuple):
    """How near the mean rows of one trio come to the paper's."""

    distance: float
    low: float  # of the distance's 95 % interval
    high: float
    orders: int
    share: float  # of the resamples, those in which no other trio is nearer


def distance(rows: ArrayLike, paper: ArrayLike = PAPER) -> NDArray[np.float64]:
    r"""The mean magnitude of the deviations from the paper, (...); 0 for the paper's own rows.

    .. math:: d_{rc} = \frac{v_{rc} - p_{rc}}{\max_r p_{rc} - \min_r p_{rc}}

    1 means: wrong on average by as much as the paper's best and worst row differ.

    Args:
        rows: v, (..., 3, C): CAM, LRP and hybrid in the order of `ROWS`, columns as in ``paper``.
        paper: p, (3, C), with a range in each column; by default Table I, columns as in `COLUMNS`.
    """
    told = np.asarray(paper, float)
    return np.abs((np.asarray(rows, float) - told) / np.ptp(told, axis=0)).mean((-2, -1))


def orders(rows: ArrayLike, paper: ArrayLike = PAPER) -> NDArray[np.int64]:
    """How many pairs of rows stand, column by column, in the paper's order: (...), up to 3 C.

    A tie in one of the two and not in the other is no agreement.
    """
    values, told = np.asarray(rows, float), np.asarray(paper, float)
    agree = [
        np.sign(values[..., a, :] - values[..., b, :]) == np.sign(told[a] - told[b])
        for a, b in combinations(range(len(ROWS)), 2)
    ]
    return np.stack(agree).sum((0, -1))


def trio_scores(table: pd.DataFrame) -> dict[str, NDArray[np.float64]]:
    """Scores of the suspects and controls, each (N, 3, 5), for `nearest`.

    ``table`` is of the experiment ``forensics``, on one network, and has every suspect. An image
    without one of the scores is left out for all.
    """
    trios = {**TRIOS, **CONTROLS}
    missing = {method for trio in trios.values() for method in trio} - set(table["method"])
    if missing:
        raise ValueError(f"table must have every suspect, lacks {sorted(missing)}")
    rows = table[table["metric"].isin(COLUMNS)]
    wide = rows.pivot(index="image", columns=["method", "metric"], values="value").dropna()
    return {
        name: np.stack([wide[method][list(COLUMNS)].to_numpy() for method in trio], axis=1)
        for name, trio in trios.items()
    }


def nearest(
    scores: Mapping[str, ArrayLike],
    paper: ArrayLike = PAPER,
    *,
    scaled: int = len(SCALED),
    resamples: int = 2000,
    seed: int = 0,
) -> dict[str, Nearness]:
    """Compare trios, nearest first; all of them are resampled with the same images.

    Args:
        scores: Name to (N, 3, C), the scores of the same N >= 2 images, finite.
        paper: (3, C).
        scaled: So many columns, from the first, make the distance; the orders take all.
        resamples, seed: Bootstrap samples of the images, and what decides them.
    """
    values = np.stack([np.asarray(one, float) for one in scores.values()])
    agree = orders(values.mean(1), paper)
    values, paper = values[..., :scaled], np.asarray(paper, float)[:, :scaled]
    found = distance(values.mean(1), paper)
    n = values.shape[1]
    weights = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), resamples) / n
    drawn = distance(np.einsum("bn,tnrc->tbrc", weights, values), paper)
    low, high = np.quantile(drawn, (0.025, 0.975), axis=1)
    first = (drawn == drawn.min(0)).mean(1)
    each = zip(*(one.tolist() for one in (found, low, high, agree, first)), strict=True)
    named = {name: Nearness(*one) for name, one in zip(scores, each, strict=True)}
    return dict(sorted(named.items(), key=lambda item: item[1].distance))
