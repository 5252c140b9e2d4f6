"""How concentrated a map is."""

from __future__ import annotations

import torch
from torch import Tensor

from xaiutils.support import checks


def gini(maps: Tensor) -> Tensor:
    r"""Sparseness as the Gini index of the absolute values, (N,) in [0, 1); higher is sparser.

    .. math:: \frac{\sum_i (2i - n - 1)\, a_{(i)}}{n \sum_i a_i},
              \quad a_{(1)} \le \dots \le a_{(n)}

    Chalasani et al. 2020 (arXiv 1810.06583). 0 for equal values, 1 - 1/n for a single one,
    0.414 for Gaussian noise; NaN for a map of zeros, which has no distribution.

    Raises:
        TypeError, ValueError: ``maps`` is no finite batch of maps.
    """
    checks.maps("maps", maps)
    values = maps.flatten(1).abs().double().sort(1).values
    n = values.shape[1]
    rank = torch.arange(1, n + 1, dtype=torch.float64, device=maps.device)
    return ((2 * rank - n - 1) * values).sum(1) / (n * values.sum(1))
