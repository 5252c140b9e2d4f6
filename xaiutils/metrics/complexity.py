"""How concentrated a map is."""

from __future__ import annotations

import numpy as np
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


def histogram_entropy(maps: Tensor, bins: int = 100) -> Tensor:
    r"""Shannon entropy of each map's histogram in nats, (N,) in [0, log bins].

    .. math:: -\sum_b p_b \log p_b

    with the share :math:`p_b` of the pixels in bin b of equal bins from the map's lowest to its
    highest value: the complexity of Hedström et al. 2023 (arXiv 2401.06465). The map's own
    range makes it free of scale; a constant map has 0.
    """
    checks.maps("maps", maps)
    if bins < 2:
        raise ValueError(f"bins must be >= 2, got {bins}")
    values = maps.detach().cpu().double().flatten(1).numpy()
    counts = torch.tensor(np.stack([np.histogram(row, bins)[0] for row in values]))
    return torch.special.entr(counts / values.shape[1]).sum(1)
