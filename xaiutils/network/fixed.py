"""A network of several inputs as a network of the picture alone: the others are fixed."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from xaiutils.support import checks


class Fixed(nn.Module):
    """``network`` with all inputs but the picture fixed: ``fixed(x)`` is ``network(x, *inputs)``.

    The network is the caller's own and stays as it is. A tensor (1, ...) is repeated for each
    picture of a batch; every other value is handed on as it is. By name, the picture is the first
    argument that is not named.

    Raises:
        TypeError: ``inputs`` is neither a tuple nor a dict, not what the network takes, or of
            another floating-point type than its weights.
        ValueError: A tensor has NaN in it.
    """

    def __init__(self, network: nn.Module, inputs: tuple[Any, ...] | Mapping[str, Any]) -> None:
        super().__init__()
        if not isinstance(inputs, tuple | list | Mapping):
            raise TypeError(
                "inputs must be a tuple of all inputs but the picture, or a dict of them by name, "
                f"got {checks.describe(inputs)}"
            )
        self.names = _names(network, inputs)
        self.network, self.training = network, network.training
        self.others: list[Any] = list(inputs.values() if isinstance(inputs, Mapping) else inputs)
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
        return self.network(**dict(zip(self.names, (x, *given), strict=True)))


def _names(network: nn.Module, inputs: Any) -> tuple[str, ...]:
    """The arguments' names, first the picture's, where ``inputs`` has names."""
    signature = inspect.signature(network.forward)
    free = [name for name in signature.parameters if name not in inputs]
    try:
        if not isinstance(inputs, Mapping):
            signature.bind(None, *inputs)
            return ()
        signature.bind(**dict.fromkeys((*inputs, *free[:1])))
        return (*free[:1], *inputs)
    except TypeError as error:
        raise TypeError(
            f"inputs must be all that {type(network).__name__}.forward{signature} takes beside the "
            f"picture: {error}"
        ) from error
