"""Chance that is ours: drawn from a seed, by a generator that nobody else has.

torch, NumPy and Python have one random state each for the whole process: whoever seeds it does so
for all threads. So nothing in this package touches them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

# What draws and can be given a generator: layers' first weights (torch.nn.init), and the rest.
_GIVEN = {
    *("kaiming_normal_", "kaiming_uniform_", "orthogonal_", "sparse_", "trunc_normal_"),
    *("xavier_normal_", "xavier_uniform_"),
    *("bernoulli_", "cauchy_", "exponential_", "geometric_", "log_normal_", "normal_"),
    *("random_", "uniform_"),
    *("bernoulli", "multinomial", "normal", "poisson", "rand", "randint", "randn", "randperm"),
}
_LIKE = {"rand_like": torch.rand, "randn_like": torch.randn}
_DROPPING = {
    *("alpha_dropout", "dropout", "dropout1d", "dropout2d", "dropout3d", "feature_alpha_dropout"),
}


def torchs(seed: int, device: torch.device | str = "cpu") -> torch.Generator:
    """A generator that draws what torch draws there after ``torch.manual_seed(seed)``."""
    return torch.Generator(device).manual_seed(seed)


def numpys(seed: int) -> np.random.RandomState:
    """What draws as NumPy does after ``numpy.random.seed(seed)``."""
    return np.random.RandomState(seed)


class Drawn(TorchFunctionMode):
    """In this thread, what torch draws inside comes from ``seed``, as after `torch.manual_seed`.

    For code of others that takes no generator. Dropout alone has another pattern.
    """

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.seed = seed
        self.generators: dict[torch.device, torch.Generator] = {}

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # fmt: skip
        """Call torch's function, with a generator of ours where it draws."""
        given, name = dict(kwargs or {}), getattr(func, "__name__", "")
        if name in _GIVEN and given.get("generator") is None:
            found = next((one.device for one in args if isinstance(one, Tensor)), None)
            given["generator"] = self._of(found or given.get("device"))
        elif name in _LIKE:
            like = args[0]
            drawn = _LIKE[name](like.shape, generator=self._of(None), device="cpu")
            return drawn.to(like.device, given.get("dtype") or like.dtype)
        elif name in _DROPPING:
            return self._drop(*args, **given)
        return func(*args, **given)

    def _of(self, device: torch.device | str | None) -> torch.Generator:
        place = torch.device(device or "cpu")
        return self.generators.setdefault(place, torchs(self.seed, place))

    def _drop(
        self, input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
    ) -> Tensor:
        if not training:
            return input
        kept = torch.rand(input.shape, generator=self._of(None), device="cpu") >= p
        dropped = torch.where(kept.to(input.device), input / (1 - p) if p < 1 else input, 0.0)
        return input.copy_(dropped) if inplace else dropped
