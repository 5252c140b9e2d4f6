r"""ROAD: remove and debias. Removed pixels are filled in from their neighbours.

Rong et al. 2022 (arXiv 2202.00449): a pixel that is simply blanked shows where the map was.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array, diags_array
from scipy.sparse.linalg import splu
from torch import Tensor

from xaiutils.cases.case import Case
from xaiutils.methods.record import Setting
from xaiutils.metrics.flipping import order, outputs
from xaiutils.metrics.record import Explainer, Metric, always
from xaiutils.support import checks


def impute(picture: NDArray[np.float64], known: NDArray[np.bool_]) -> NDArray[np.float64]:
    r"""Fill in the pixels of a picture (C, H, W) that are not ``known`` (H, W), from the others.

    .. math:: \sum_{n \in N_8(i)} w_n (x_i - x_n) = 0

    for all removed pixels i at once, :math:`w = 1/6` beside and :math:`1/12` across the corner;
    neighbours outside the picture do not count. Rong et al. 2022, without the noise. 0, the mean
    colour, everywhere where no pixel is known.
    """
    if not known.any():
        return np.zeros_like(picture)
    removed, kept = np.flatnonzero(~known), np.flatnonzero(known)
    filled = picture.reshape(len(picture), -1).copy()
    beside = _weights(*known.shape)[removed]
    left = diags_array(beside.sum(axis=1)) - beside[:, removed]
    # The matrix is symmetric and its diagonal dominates: no pivoting, and half of COLAMD's time.
    factors = splu(left.tocsc(), "MMD_AT_PLUS_A", 0.0, options={"SymmetricMode": True})
    filled[:, removed] = factors.solve(beside[:, kept] @ filled[:, kept].T).T
    return filled.reshape(picture.shape)


@lru_cache(maxsize=1)
def _weights(height: int, width: int) -> csr_array:
    """Of each pixel's neighbours, (H * W, H * W): 1/6 beside it and 1/12 across the corner."""
    at = np.arange(height * width).reshape(height, width)
    beside = [(at[:, 1:], at[:, :-1]), (at[1:], at[:-1])]
    across = [(at[1:, 1:], at[:-1, :-1]), (at[1:, :-1], at[:-1, 1:])]
    rows, columns = (
        np.concatenate([ends.ravel() for ends in side])
        for side in zip(*beside, *across, strict=True)
    )
    sizes = [sum(ends.size for ends, _ in pairs) for pairs in (beside, across)]
    weights = np.repeat([1 / 6, 1 / 12], sizes)
    half = coo_array((weights, (rows, columns)), shape=(at.size, at.size))
    return (half + half.T).tocsr()


def road(
    case: Case,
    attribution: Tensor,
    explainer: Explainer,
    seed: int,
    *,
    percentiles: int,
    noise: float,
    output: str,
) -> float:
    r"""Half of what the answer keeps more when the lowest pixels are imputed and not the highest.

    .. math:: \frac{1}{P} \sum_p \frac{g(x_p^\mathrm{LeRF}) - g(x_p^\mathrm{MoRF})}{2}

    over P = ``percentiles`` shares p of the pixels, evenly spread. Rong et al. 2022, with most and
    least relevant first in one number as grad-cam's ``ROADCombined``. Pixels go by rank, ties by
    chance; grad-cam cuts at a value, and so removes all pixels of a map that is mostly zero. A blur
    of the map alone can raise this score (Song et al. 2023, arXiv 2304.13836). ``noise`` is the
    standard deviation of what is added to imputed pixels, as a share of the pixels' range.
    """
    percentiles = checks.whole("percentiles", percentiles)
    noise = checks.number("noise", noise, low=0)
    pixels = attribution.numel()
    ranked = order(attribution, seed)
    generator = np.random.default_rng([seed, 1])  # another stream than the order's
    picture = case.x[0].detach().cpu().double().numpy()
    black, white = case.classifier.bounds(case.x)
    width = (white - black)[0].cpu().double().numpy()
    shares = [round(pixels * j / (percentiles + 1)) for j in range(1, percentiles + 1)]
    grain = noise * width * generator.standard_normal((percentiles, *picture.shape))
    filled = []
    for turn in (ranked, ranked[::-1]):
        for count, added in zip(shares, grain, strict=True):
            stays = np.ones(pixels, dtype=bool)
            stays[turn[:count]] = False
            known = stays.reshape(picture.shape[1:])
            filled.append(impute(picture, known) + added * ~known)
    answers = outputs(case, torch.from_numpy(np.stack(filled)).to(case.x), output)
    most, least = answers.reshape(2, percentiles)
    return float((least - most).mean() / 2)


TABLE: tuple[Metric, ...] = (
    Metric(
        name="road",
        title="ROAD",
        family="faithfulness",
        better="higher",
        function=road,
        low=-np.inf,
        high=np.inf,
        source="Rong et al. 2022, arXiv 2202.00449; combined as in grad-cam's ROADCombined",
        needs=("picture",),
        anchors="a random map scores 0 on average; the oracle scores above it; a blur alone can "
        "raise the score",
        passes="2 * percentiles * F",
        chance=always(0.0),
        settings={
            "percentiles": Setting(9, "10, 20, .. 90 % of the pixels, as grad-cam's"),
            "noise": Setting(
                0.01, "1 % of the pixels' range, hardly seen", "0.01 in the network's units"
            ),
            "output": Setting("centred", "no common shift of the logits moves it", "logit"),
        },
    ),
)
