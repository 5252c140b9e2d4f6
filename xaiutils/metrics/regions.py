r"""Regions removed for real: does the map's sum over a region say how much the answer falls?

The answer is that of `xaiutils.metrics.flipping`. Regions are the patches of a grid, and a removed
one has the mean colour, whatever the map is. The shipped networks were not trained with removed
patches, as Hesse et al. ask for: the drops are true, but of pictures that they cannot read.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import rankdata
from torch import Tensor

from xaiutils.cases.case import Case
from xaiutils.methods.record import Setting
from xaiutils.metrics.flipping import outputs
from xaiutils.metrics.record import CannotScore, Explainer, Metric, always
from xaiutils.support import checks

Floats = NDArray[np.float64]

FEWEST, MOST = 1 / 20, 4 / 5  # of all patches, in a subset of sensitivity_n


def patches(size: tuple[int, int], grid: int) -> NDArray[np.intp]:
    """The number of each pixel's patch, (H, W), row by row; sides differ by one pixel at most."""
    checks.number("grid", checks.whole("grid", grid, low=2), high=min(size))
    rows, columns = (np.arange(side) * grid // side for side in size)
    return rows[:, None] * grid + columns


def drops(case: Case, removed: NDArray[np.bool_]) -> Floats:
    """How far the answer falls, (n,), where ``removed`` pixels (n, H, W) take the mean colour."""
    gone = torch.from_numpy(removed).to(case.x.device)[:, None]
    answers = outputs(case, torch.cat([case.x, case.x.masked_fill(gone, 0)]))
    return answers[0] - answers[1:]


def idsds(case: Case, attribution: Tensor, explainer: Explainer, seed: int, *, grid: int) -> float:
    r"""Single deletion: whether the patches' sums have the order of the patches' true effects.

    .. math:: \rho_\mathrm{Spearman}\Big(\sum_{i \in q} a_i,\; g(x) - g(x_{\setminus q})\Big)

    over the patches q, ``grid`` along each side. Hesse et al. 2024 (arXiv 2407.11910).
    """
    patch = patches(case.size, grid)
    effect = drops(case, patch == np.arange(grid**2)[:, None, None])
    return _correlation(rankdata(_sums(attribution, patch)), rankdata(effect))


def sensitivity_n(
    case: Case,
    attribution: Tensor,
    explainer: Explainer,
    seed: int,
    *,
    grid: int,
    sizes: int,
    subsets: int,
) -> float:
    r"""Sensitivity-n: whether the map's sum over n regions says how far the answer then falls.

    .. math:: \frac{1}{|\mathcal N|} \sum_{n \in \mathcal N} r_\mathrm{Pearson}\Big(
              \sum_{i \in S} a_i,\; g(x) - g(x_{\setminus S})\Big), \quad |S| = n

    Ancona et al. 2018 (arXiv 1711.06104), with patches for pixels. The ``sizes`` n are
    spread geometrically from a twentieth to four fifths of the patches, ``grid`` along each
    side; of each size there are ``subsets`` random S, at least 3, whatever the map is.
    """
    patch = patches(case.size, grid)
    sizes, subsets = checks.whole("sizes", sizes), checks.whole("subsets", subsets, low=3)
    chosen = _subsets(grid**2, sizes, subsets, seed)
    flat = chosen.reshape(-1, grid**2)
    effect = drops(case, flat[:, patch]).reshape(chosen.shape[:2])
    sums = chosen @ _sums(attribution, patch)
    return float(np.mean([*map(_correlation, sums, effect)]))


def _subsets(count: int, sizes: int, subsets: int, seed: int) -> NDArray[np.bool_]:
    """Random subsets of ``count`` patches: (sizes, subsets, count)."""
    wanted = np.rint(np.geomspace(max(1, FEWEST * count), MOST * count, sizes)).astype(int)
    if len(set(wanted.tolist())) < sizes:
        raise ValueError(
            f"sizes must be at most the different numbers of {count} patches, "
            f"got {sizes}: {wanted.tolist()}"
        )
    generator = np.random.default_rng(seed)
    rank = generator.permuted(np.tile(np.arange(count), (sizes, subsets, 1)), axis=2)
    return rank < wanted[:, None, None]


def _sums(attribution: Tensor, patch: NDArray[np.intp]) -> Floats:
    values = attribution.detach().cpu().double().numpy()
    return np.bincount(patch.ravel(), weights=values.ravel()).astype(np.float64)


def _correlation(sums: Floats, effect: Floats) -> float:
    """Pearson's r; ranks make it Spearman's."""
    if np.ptp(sums) == 0:
        raise CannotScore("the map gives every region the same sum")
    if np.ptp(effect) == 0:
        raise CannotScore("no region changes the network's answer more than another")
    a, b = sums - sums.mean(), effect - effect.mean()
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


_GRID = Setting(
    8, "patches of 16 px at 128 px: parts of an object, and each still changes the logit"
)
_record = partial(
    Metric,
    family="faithfulness",
    better="higher",
    low=-1,
    high=1,
    chance=always(0.0),
    needs=("picture",),
)

TABLE: tuple[Metric, ...] = (
    _record(
        name="idsds",
        title="single deletion",
        function=idsds,
        source="Hesse et al. 2024, arXiv 2407.11910, on networks not trained with deletion",
        anchors="a random map scores 0 on average; the drops themselves as a map score 1; the "
        "oracle scores above chance",
        passes="(grid ** 2 + 1) * F",
        settings={"grid": _GRID},
    ),
    _record(
        name="sensitivity_n",
        title="sensitivity-n",
        function=sensitivity_n,
        source="Ancona et al. 2018, arXiv 1711.06104, with patches for pixels",
        anchors="a random map scores 0 on average; the oracle scores above chance",
        passes="(sizes * subsets + 1) * F",
        settings={
            "grid": _GRID,
            "sizes": Setting(5, "from a twentieth to four fifths of the patches"),
            "subsets": Setting(30, "150 questions for a picture, shared by all methods", 100),
        },
    ),
)
