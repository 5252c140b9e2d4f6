"""Validation at the public edge: every message names the argument, the rule and what came.

``argument`` is what the message calls ``value``; what passes is returned, what is of another type
raises a TypeError, what breaks the rule a ValueError. torch is loaded by the checks of tensors
alone.
"""

from __future__ import annotations

import ast
import difflib
import math
import numbers
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    from pathlib import Path

    import torch

Value = TypeVar("Value")
SPACE = {1: "L", 2: "H, W", 3: "D, H, W"}  # by the number of dimensions


def choice(argument: str, value: str, options: Iterable[str]) -> str:
    """Return ``value`` if it is one of ``options``; the message lists the nearest."""
    names = [str(option) for option in options]
    if not isinstance(value, str):
        raise TypeError(f"{argument} must be a name (str), got {describe(value)}")
    if value not in names:
        near = difflib.get_close_matches(value, names, n=3, cutoff=0.4)
        hint = f"did you mean {', '.join(near)}?" if near else f"known: {', '.join(names[:12])}"
        raise ValueError(f"{argument} must be a known name, got {value!r}; {hint}")
    return value


def absent(argument: str, value: str, options: Iterable[str]) -> str:
    """What `choice` says of a name that is none of ``options``, for a KeyError."""
    try:
        return choice(argument, value, options)
    except (TypeError, ValueError) as error:
        return str(error)


class Registry(dict[str, Value]):
    """A table by name, in which a name that is not there is answered with the nearest."""

    def __init__(self, what: str, known: Mapping[str, Value]) -> None:
        """Call the names ``what`` in messages."""
        super().__init__(known)
        self.what = what

    def __missing__(self, name: str) -> Value:
        """Raise KeyError, with the nearest names."""
        raise KeyError(absent(self.what, name, self))


def number(
    argument: str, value: float, *, low: float = -math.inf, high: float = math.inf,
    below: float = math.inf,
) -> float:  # fmt: skip
    """Return ``value`` as a finite float with ``low <= value <= high`` and ``value < below``."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{argument} must be a number, got {describe(value)}")
    try:
        result = float(value)
    except OverflowError:  # a whole number of more than 308 digits
        result = math.inf
    rules = [] if math.isfinite(result) else ["finite"]
    rules += [f">= {low:g}"] if low > -math.inf else []
    rules += [f"<= {high:g}"] if high < math.inf else []
    rules += [f"< {below:g}"] if below < math.inf else []
    if not math.isfinite(result) or not (low <= result <= high) or not result < below:
        raise ValueError(f"{argument} must be {' and '.join(rules)}, got {result:g}")
    return result


def whole(argument: str, value: float, low: float = 1) -> int:
    """Return ``value`` as an int if it is a whole number >= ``low``."""
    result = number(argument, value, low=low)
    if result != int(result):
        raise ValueError(f"{argument} must be a whole number, got {result:g}")
    return int(result)


def seed(argument: str, value: float) -> int:
    """Return ``value`` as an int if it is a whole number from 0 to 2^32 - 1.

    Of a larger one torch's generator for CPUs and NumPy's keep the last 32 bits without a word, so
    that two seeds would draw the same.
    """
    found = whole(argument, value, low=0)
    if found >= 2**32:
        raise ValueError(f"{argument} must be below 2**32, as generators keep 32 bits, got {found}")
    return found


def numbers_of(argument: str, value: ArrayLike) -> NDArray[np.float64]:
    """Return ``value`` as float64, of any shape (...,); NaN and infinity are numbers here."""
    try:
        return np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{argument} must be numbers, got {describe(value)}") from error


def dense(argument: str, value: torch.Tensor, form: str, *, floating: bool = False) -> torch.Tensor:
    """Return ``value`` if it is a tensor that holds all its numbers, one for each place.

    ``form`` is the shape in letters, such as ``(N, H, W)``; ``floating``: numbers must be real.
    """
    import torch

    if not isinstance(value, torch.Tensor):
        way = "; torch.as_tensor(...) makes one" if isinstance(value, np.ndarray) else ""
        raise TypeError(f"{argument} must be a torch.Tensor {form}, got {describe(value)}{way}")
    masked = hasattr(value, "get_mask") and hasattr(value, "get_data")
    for wrong, kind, way in (
        (value.is_nested, "a nested one",
         "torch.stack(list(...)) makes one, where all are of one size"),
        (value.layout != torch.strided, f"one of layout {value.layout}", "its .to_dense() is one"),
        (value.is_quantized, f"a quantised one, {value.dtype}", "its .dequantize() is one"),
        (value.is_meta, "one on the meta device, which holds no numbers", "make it on the cpu"),
        (masked, "a masked one", "its .to_tensor(0.0) is one"),
    ):  # fmt: skip
        if wrong:
            raise TypeError(f"{argument} must be a dense torch.Tensor {form}, got {kind}: {way}")
    if floating and not value.is_floating_point():
        way = f"{argument}.real" if value.is_complex() else f"{argument}.float()"
        raise TypeError(
            f"{argument} must be a floating-point tensor, got {value.dtype}; {way} makes one"
        )
    return value


def images(
    argument: str, x: torch.Tensor, channels: int | None = None, dimensions: int = 2
) -> torch.Tensor:
    """Return ``x`` if it is a finite float batch ``(N, C, H, W)`` with N >= 1.

    ``dimensions`` of the space: 1 of a signal (N, C, L), 3 of a volume (N, C, D, H, W).
    """
    form = f"(N, C, {SPACE[dimensions]})"
    dense(argument, x, form, floating=True)
    if x.ndim != 2 + dimensions or x.shape[0] == 0:
        raise ValueError(f"{argument} must have shape {form} with N >= 1, got {shape(x)}")
    if channels is not None and x.shape[1] != channels:
        raise ValueError(f"{argument} must have {channels} channels, got {shape(x)}")
    return finite(argument, x)


def maps(argument: str, value: torch.Tensor, dimensions: int = 2) -> torch.Tensor:
    """Return ``value`` if it is a finite float batch of maps ``(N, H, W)``."""
    form = f"(N, {SPACE[dimensions]})"
    dense(argument, value, form, floating=True)
    if value.ndim != 1 + dimensions:
        raise ValueError(f"{argument} must have shape {form}, got {shape(value)}")
    return finite(argument, value)


def finite(argument: str, value: torch.Tensor) -> torch.Tensor:
    """Return ``value`` if it has neither NaN nor infinity."""
    if not value.isfinite().all():
        raise ValueError(f"{argument} must be finite, got NaN or infinity")
    return value


def targets(
    argument: str, target: int | Iterable[int] | torch.Tensor, count: int, classes: int
) -> torch.Tensor:
    """Return one class index per image, ``(count,)`` int64; a single one is meant for every."""
    import torch

    if isinstance(target, bool):
        raise TypeError(f"{argument} must be class indices (int), got {describe(target)}")
    if torch.is_tensor(target):
        dense(argument, target, "(N,)")
    try:
        result = torch.as_tensor(target if torch.is_tensor(target) else np.asarray(target))
    except (TypeError, ValueError) as error:  # words, or lists of unequal length
        raise TypeError(
            f"{argument} must be class indices (int), got {describe(target)}; "
            "classifier.class_index(name) gives one"
        ) from error
    if result.is_floating_point() or result.is_complex() or result.dtype == torch.bool:
        raise TypeError(f"{argument} must be class indices (int), got {result.dtype}")
    result = result.repeat(count) if result.ndim == 0 else result
    if result.shape != (count,):
        raise ValueError(
            f"{argument} must be one class index or one per image ({count}), got {shape(result)}"
        )
    wrong = result[(result < 0) | (result >= classes)]
    if len(wrong):
        raise ValueError(f"{argument} must be in 0..{classes - 1}, got {int(wrong[0])}")
    return result.detach().to("cpu", torch.int64, copy=True)


def same_shape(first: str, a: torch.Tensor, second: str, b: torch.Tensor) -> None:
    """Raise ValueError unless ``a`` and ``b``, called ``first`` and ``second``, have one shape."""
    if a.shape != b.shape:
        raise ValueError(f"{first} and {second} must have one shape, got {shape(a)} and {shape(b)}")


def regular(argument: str, path: Path) -> Path:
    """Return ``path`` unless it is there and no regular file: reading a pipe may wait for ever."""
    if path.exists() and not path.is_file():
        kind = "folder" if path.is_dir() else "pipe, socket or device"
        raise ValueError(f"{argument} must be a regular file, got the {kind} {str(path)!r}")
    return path


def literal(argument: str, text: str) -> Any:
    """The value that ``text`` writes out in Python, such as a number; otherwise the text."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError):
        return text
    except (RecursionError, MemoryError):
        raise ValueError(
            f"{argument} must be a value that can be read, got {len(text)} signs nested too deeply"
        ) from None


def describe(value: object) -> str:
    """Say what came, shortly: type, and the value where it is short."""
    text = repr(value)
    return f"{type(value).__name__} {text}" if len(text) <= 40 else type(value).__name__


def printable(text: str) -> str:
    """Text that UTF-8 can hold: what it cannot, such as a byte of a file name, is written out."""
    return text.encode("utf-8", "backslashreplace").decode()


def text_of(error: BaseException | str) -> str:
    """What an error says, also where it cannot be printed."""
    try:
        return printable(str(error))
    except Exception as reason:  # an error of the user's can do anything there
        return f"its text cannot be printed: {type(reason).__name__}"


def shape(value: torch.Tensor) -> str:
    """The shape as people write it: ``(2, 3, 224, 224)``."""
    return str(tuple(value.shape))
