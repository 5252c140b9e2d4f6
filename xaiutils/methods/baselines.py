"""Maps that look at no network: what every explanation has to beat.

Each takes images (N, C, H, W), of signals (N, C, L) with ``dimensions`` 1 and of volumes
(N, C, D, H, W) with 3, and returns maps (N, H, W), float32, not negative.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.ndimage import sobel
from torch import Tensor

from xaiutils.support import checks


def random_map(x: Tensor, seed: int = 0, *, dimensions: int = 2) -> Tensor:
    """Independent uniform values in [0, 1) from ``seed`` alone: (N, H, W)."""
    checks.images("x", x, dimensions=dimensions)
    generator = torch.Generator().manual_seed(checks.seed("seed", seed))
    return torch.rand((len(x), *x.shape[2:]), generator=generator)


def centre_prior(x: Tensor, *, dimensions: int = 2) -> Tensor:
    """A Gaussian bump in the middle, where objects tend to be: (N, H, W) in (0, 1].

    ``m = exp(-8 (u² + v²))`` with u and v from -1/2 to 1/2: sigma is a quarter of each side.
    """
    checks.images("x", x, dimensions=dimensions)
    bumps = []
    for side in x.shape[2:]:
        place = (torch.arange(side, dtype=torch.float32) + 0.5) / side - 0.5
        bumps.append(torch.exp(-8 * place.square()))
    letters = "ijk"[:dimensions]
    bump = torch.einsum(f"{','.join(letters)}->{letters}", *bumps)
    return bump.expand(len(x), *bump.shape).clone()


def sobel_edges(x: Tensor) -> Tensor:
    """Edges, (N, H, W): ``m = sqrt(Gx² + Gy²)``, the Sobel gradient of the mean over channels."""
    checks.images("x", x)
    grey = x.detach().cpu().float().mean(1).numpy()
    # Each picture alone: on a stack the filter would smooth from one picture to the next.
    edges = [np.hypot(sobel(one, axis=0), sobel(one, axis=1)) for one in grey]
    return torch.from_numpy(np.stack(edges))
