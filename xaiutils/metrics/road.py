r"""ROAD: remove and debias. Removed pixels are filled in from their neighbours.

A pixel that is simply blanked shows where the map was: the network may read the mask. Rong et al.
2022 (arXiv 2202.00449) let every removed pixel be the weighted mean of its neighbours
and add a little noise, so that the picture stays near the natural ones and tells little of the
mask.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.linalg import splu
from torch import Tensor

from xaiutils.cases.case import Case
from xaiutils.methods.record import Setting
from xaiutils.metrics.flipping import order, outputs
from xaiutils.metrics.record import Explainer, Metric, always
from xaiutils.support import checks

NEIGHBOURS = tuple(
    (dy, dx, 1 / 12 if dy and dx else 1 / 6) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if dy or dx
)
OUTSIDE, KNOWN = -2, -1  # of the picture's border; a pixel that is not removed


def impute(picture: NDArray[np.float64], known: NDArray[np.bool_]) -> NDArray[np.float64]:
    r"""Fill in the pixels that are not known, each as the weighted mean of its neighbours.

    .. math:: \sum_{n \in N_8(i)} w_n (x_i - x_n) = 0

    for all removed pixels i at once, :math:`w = 1/6` beside and :math:`1/12` across the corner;
    neighbours outside the picture do not count. Rong et al. 2022, without the noise.

    Args:
        picture: (C, H, W).
        known: (H, W), the pixels that stay.

    Returns:
        (C, H, W); 0, the mean colour, everywhere where no pixel is known.
    """
    if not known.any():
        return np.zeros_like(picture)
    height, width = known.shape
    removed = ~known
    count = int(removed.sum())
    unknown = np.arange(count)
    index = np.full(known.shape, KNOWN)
    index[removed] = unknown
    index = np.pad(index, 1, constant_values=OUTSIDE)
    values = np.pad(picture * known, ((0, 0), (1, 1), (1, 1)))
    total = np.zeros(count)
    right = np.zeros((count, len(picture)))
    rows, columns, entries = [unknown], [unknown], [total]
    for dy, dx, weight in NEIGHBOURS:
        beside = slice(1 + dy, 1 + dy + height), slice(1 + dx, 1 + dx + width)
        neighbour = index[beside][removed]
        total += weight * (neighbour != OUTSIDE)
        right += weight * values[:, *beside][:, removed].T
        coupled = neighbour >= 0
        rows.append(unknown[coupled])
        columns.append(neighbour[coupled])
        entries.append(np.full(int(coupled.sum()), -weight))
    place = np.concatenate(rows), np.concatenate(columns)
    left = coo_array((np.concatenate(entries), place), shape=(count, count)).tocsc()
    # The matrix is symmetric and its diagonal dominates: no pivoting, and half of COLAMD's time.
    factors = splu(
        left,
        permc_spec="MMD_AT_PLUS_A",
        diag_pivot_thresh=0.0,
        options={"SymmetricMode": True},
    )
    filled = picture.copy()
    filled[:, removed] = factors.solve(right).T
    return filled


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

    over P shares p of the pixels, evenly spread (9: a tenth to nine tenths). Rong et al. 2022,
    with most and least relevant first in one number as grad-cam's ``ROADCombined``. Unbounded for
    the centred logit, higher is better. Pixels go by rank, ties by chance; grad-cam cuts at a
    value, and so removes all pixels of a map that is mostly zero. A blur of the map alone can
    raise this score (Song et al. 2023, arXiv 2304.13836): compare with maps as smooth.

    Args:
        percentiles: P, how many shares.
        noise: Standard deviation of what is added to imputed pixels, as a share of the range that
            pixels have (from black to white).
        output: As `xaiutils.metrics.flipping.outputs` has it.
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
