"""Inputs that are no pictures: any number of channels, signals and volumes, as arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from xaiutils.pictures.images import Sample
from xaiutils.support import checks


@dataclass(frozen=True)
class Arrays:
    """The preprocessing of arrays ``(C, *space)``: ``x = (a - mean) / std``, and nothing else.

    Space is ``(L,)`` of a signal, ``(H, W)`` or ``(D, H, W)`` of a volume; channels come first.

    Args:
        mean, std: per channel, in the array's own units.
        size: of the space, or ``None`` where the network takes any.
        dimensions: of the space, 1 to 3; by default those of ``size``, else 2.
        limits: the least and the largest value that the data can have, for what asks for it (the
            z_box rule, black baselines); ``None`` where nobody knows.
        preview: makes of an array what is shown of it: ``(*space, 3)``, uint8 or in [0, 1], or of
            a signal ``(lines, L)``. By default the first three channels, or the first, each from
            its least to its largest value; of a signal all of them.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    size: tuple[int, ...] | None = None
    dimensions: int = 0
    limits: tuple[float, float] | None = None
    preview: Callable[[np.ndarray], Any] | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        """Refuse what would come out wrong."""
        for number in (*self.mean, *self.std, *(self.limits or ())):
            checks.number("mean, std and limits", number)
        counts = len(self.mean), len(self.std)
        if not self.mean or counts[0] != counts[1]:
            raise ValueError(
                f"mean and std must have a value for each channel, got {counts[0]}, {counts[1]}"
            )
        if min(self.std) <= 0:
            raise ValueError(f"std must be > 0, got {self.std}")
        limits = self.limits or (0, 1)
        if len(limits) != 2 or limits[0] >= limits[1]:
            raise ValueError(f"limits must be (least, largest), got {self.limits}")
        if self.preview is not None and not callable(self.preview):
            raise TypeError(
                f"preview must be a function of an array, got {checks.describe(self.preview)}"
            )
        count = self.dimensions or len(self.size or (0, 0))
        object.__setattr__(self, "dimensions", count)
        fits = self.size is None or (len(self.size) == count and min(self.size) >= 1)
        if count not in checks.SPACE or not fits:
            raise ValueError(
                f"size must be one to three sides >= 1, as many as dimensions, got {self.size} "
                f"for {count}"
            )

    @property
    def channels(self) -> int:
        """Channels of every array."""
        return len(self.mean)

    @property
    def form(self) -> str:
        """The shape of one array in letters."""
        return f"({self.channels}, {checks.SPACE[self.dimensions]})"

    def __call__(self, arrays: Any) -> torch.Tensor:
        """One or several arrays, tensors or samples: ``(N, C, *space)`` float32, normalised."""
        alone = isinstance(arrays, Sample) or getattr(arrays, "ndim", 0) == 1 + self.dimensions
        several = [arrays] if alone or not isinstance(arrays, Iterable) else arrays
        found = [self._checked(array) for array in several]
        if len({array.shape for array in found}) != 1:
            sizes = sorted({array.shape for array in found})
            raise ValueError(f"arrays must have one size, got {sizes or 'none'}")
        shape = (-1, *[1] * self.dimensions)
        mean, std = (np.reshape(value, shape) for value in (self.mean, self.std))
        values = np.stack([(array - mean) / std for array in found])
        return torch.from_numpy(values.astype(np.float32))

    def picture(self, array: Any) -> np.ndarray:
        """What is shown of an array: ``(H, W, 3)`` uint8; of a signal ``(lines, L)`` float."""
        values = self._checked(array)
        shown = values if self.preview is None else np.asarray(self.preview(values))
        if self.dimensions == 1:
            if shown.ndim != 2 or shown.shape[1] != values.shape[1]:
                raise ValueError(f"preview must give lines (n, {values.shape[1]}), {shown.shape}")
            return shown.astype(float)
        if self.preview is None:
            first = values[: 3 if len(values) > 2 else 1]
            shown = np.stack([_scaled(first[i % len(first)]) for i in range(3)], -1)
        if shown.shape != (*values.shape[1:], 3):
            raise ValueError(f"preview must give {(*values.shape[1:], 3)}, got {shown.shape}")
        if shown.dtype == np.uint8:
            return shown
        if not (np.isfinite(shown).all() and shown.min() >= 0 and shown.max() <= 1):
            got = f"{shown.min():g} to {shown.max():g}"
            raise ValueError(f"preview must give uint8, or values in [0, 1], got {got}")
        return np.rint(shown * 255).astype(np.uint8)

    def mask(self, mask: np.ndarray) -> np.ndarray:
        """The mask as it is, ``(H, W)`` bool, if it has the arrays' size."""
        if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_:
            raise TypeError(f"mask must be a bool array, got {checks.describe(mask)}")
        if mask.ndim != self.dimensions or self.size not in (None, mask.shape):
            raise ValueError(f"mask must be ({checks.SPACE[self.dimensions]}), got {mask.shape}")
        return mask

    def to_picture(self, map: np.ndarray, array: Any) -> np.ndarray:
        """The map ``(..., H, W)`` as it is, float32, if it has the array's size."""
        size = self._checked(array).shape[1:]
        if map.shape[-self.dimensions :] != size:
            raise ValueError(f"map must have the size of its array, {size}, got {map.shape}")
        return np.array(map, dtype=np.float32)

    def _checked(self, given: Any) -> np.ndarray:
        """The array, float64, if it is one that fits."""
        value = given.image if isinstance(given, Sample) else given
        if isinstance(value, torch.Tensor):
            value = checks.dense("array", value, self.form).detach().cpu()
            value = (value.double() if value.is_floating_point() else value).numpy()
        if isinstance(value, np.ma.MaskedArray):
            raise TypeError(
                "array must have no mask, for what is masked would reach the network as it stands: "
                "fill it, array.filled(value)"
            )
        if not isinstance(value, np.ndarray) or value.dtype.kind not in "buif":
            raise TypeError(f"array must be real numbers {self.form}, got {checks.describe(value)}")
        if value.ndim != 1 + self.dimensions or value.shape[0] != self.channels:
            last = value.ndim == 1 + self.dimensions and value.shape[-1] == self.channels
            way = "; np.moveaxis(array, -1, 0) puts the channels first" if last else ""
            raise ValueError(f"array must have shape {self.form}, got {value.shape}{way}")
        if self.size not in (None, value.shape[1:]):
            raise ValueError(f"array must have the size {self.size}, got {value.shape[1:]}")
        if not np.isfinite(value).all():
            raise ValueError("array must be finite, got NaN or infinity: fill what is missing")
        units = (*self.mean, *self.std)
        small = max(units) <= 1 and set(units) != {0.0, 1.0}
        if small and value.dtype.kind in "ui" and value.size and value.max() > 1:
            raise ValueError(
                f"mean and std must be in the array's units, got {self.mean}, {self.std} for "
                f"whole numbers up to {value.max()}: divide the array by its full scale"
            )
        return value.astype(np.float64)


def _scaled(channel: np.ndarray) -> np.ndarray:
    """Values from 0 to 1; a constant is 0."""
    low, high = channel.min(), channel.max()
    return (channel - low) / (high - low) if high > low else np.zeros_like(channel)
