"""A network of several inputs as a network of the picture alone: the others are fixed."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from xaiutils.support import checks


class Fixed(nn.Module):
    """``network`` with all inputs but the picture fixed: ``fixed(x)`` is ``network(x, *inputs)``.

    A tensor (1, ...) is repeated for each picture of a batch. By name, the picture is the first
    argument that is not named.

    Raises:
        TypeError, ValueError: ``inputs`` is neither a tuple nor a dict, not what the network takes,
            or has a tensor of another floating-point type than its weights, or with NaN.
    """

    def __init__(self, network: nn.Module, inputs: tuple[Any, ...] | Mapping[str, Any]) -> None:
        super().__init__()
        if not isinstance(inputs, tuple | list | Mapping):
            raise TypeError(
                "inputs must be a tuple of all inputs but the picture, or a dict of them by name, "
                f"got {checks.describe(inputs)}"
            )
        signature = inspect.signature(network.forward)
        named = dict(inputs) if isinstance(inputs, Mapping) else {}
        self.picture = next((one for one in signature.parameters if one not in named), "")
        try:
            signature.bind(**{self.picture: None} | named) if named else signature.bind(
                None, *inputs
            )
        except TypeError as error:
            raise TypeError(
                f"inputs must be all that {type(network).__name__}.forward{signature} takes beside "
                f"the picture: {error}"
            ) from error
        self.network, self.training = network, network.training
        self.names, self.others = (*named,), list(named.values() if named else inputs)
        weights = next((p.dtype for p in network.parameters() if p.is_floating_point()), None)
        for i, value in enumerate(self.others):
            if isinstance(value, Tensor):  # goes where the module goes, read with its weights
                floats = value.is_floating_point()
                if floats and weights not in (None, value.dtype):
                    raise TypeError(
                        f"inputs must be of the network's type {weights}, got {value.dtype}; "
                        f".to({weights})"
                    )
                if floats and bool(value.isnan().any()):
                    raise ValueError("inputs must be numbers, got NaN")
                self.register_buffer(f"input_{i}", value.detach().clone(), persistent=False)
                self.others[i] = None

    def forward(self, x: Tensor) -> Any:
        """What the network returns for pictures (N, C, H, W) and the fixed inputs."""
        given = []
        for i, value in enumerate(self.others):
            one = getattr(self, f"input_{i}", value)
            repeat = isinstance(one, Tensor) and one.ndim and one.shape[0] == 1
            given.append(one.expand(x.shape[0], *one.shape[1:]) if repeat else one)
        if not self.names:
            return self.network(x, *given)
        return self.network(**self._by_name(x, dict(zip(self.names, given, strict=True))))

    def _by_name(self, x: Any, named: dict[str, Any]) -> dict[str, Any]:
        return {self.picture: x} | named if named else {}
