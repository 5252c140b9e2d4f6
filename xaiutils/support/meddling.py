"""What a method of yours must leave as it was, checked and put back: the others' rows depend on it.

A network is compared with a copy of its weights: a tensor's own count of writes does not see those
through ``.data`` or NumPy. The copy is made once in a `xaiutils.support.cache.remember`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from xaiutils.support import cache

# What belongs to the process or the thread: name, how to read it, how to put it back.
_SURROUNDINGS: tuple[tuple[str, Callable[[], Any], Callable[[Any], Any]], ...] = (
    ("torch's default dtype", torch.get_default_dtype, torch.set_default_dtype),
    ("torch's gradient mode", torch.is_grad_enabled, torch.set_grad_enabled),
    ("torch's number of threads", torch.get_num_threads, torch.set_num_threads),
    ("torch's precision of float32 products",
     torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
    ("torch's deterministic mode",
     torch.are_deterministic_algorithms_enabled, torch.use_deterministic_algorithms),
    ("NumPy's handling of errors", np.geterr, lambda value: np.seterr(**value)),
    ("the working directory", os.getcwd, os.chdir),
)  # fmt: skip


class Meddled(RuntimeError):
    """A method or metric changed what others are computed from; the message says what."""


@contextmanager
def left_alone(who: str, module: nn.Module, **tensors: Tensor | None) -> Iterator[None]:
    """Whatever is changed inside, of the network ``module`` and of ``tensors``, is put back.

    Raises:
        Meddled: Something was changed, and no other error raised; ``who`` did it.
    """
    kept = cache.once(lambda: _Network(module), "kept", cache.Same(module), shared=True)
    copies = {name: (t, t.clone()) for name, t in tensors.items() if t is not None}
    around = [read() for _, read, _ in _SURROUNDINGS]
    changed: list[str] = []
    try:
        yield
    finally:
        for (name, read, put), value in zip(_SURROUNDINGS, around, strict=True):
            if read() != value:
                put(value)
                changed.append(name)
        changed += [name for name, (tensor, copy) in copies.items() if _restored(tensor, copy)]
        changed += kept.restored()
    if changed:
        raise meddled(who, changed)


def meddled(who: str, changed: list[str]) -> Meddled:
    """The error of whoever ``changed`` what is named."""
    listed = ", ".join(changed[:3]) + (f" and {len(changed) - 3} more" if changed[3:] else "")
    return Meddled(
        f"{who} must leave what it is given as it was, and it changed {listed}; that was put "
        "back: let it work on copies"
    )


class _Network:
    """A network as it was: weights, buffers, layers, hooks and modes."""

    def __init__(self, module: nn.Module) -> None:
        self.parts = [
            (path, part, part.training, {k: dict(v) for k, v in _dicts(part)})
            for path, part in module.named_modules()
        ]
        named = (*module.named_parameters(), *module.named_buffers())
        self.tensors = [(name, tensor, tensor.detach().clone()) for name, tensor in named]

    def restored(self) -> list[str]:
        """What was changed, by name; it is put back."""
        found = []
        for path, part, training, dicts in self.parts:
            if part.training != training:
                part.training = training
                found.append(f"the mode of {path or 'the network'}")
            for name, now in _dicts(part):
                before = dicts.get(name, {})
                if now.keys() == before.keys() and all(now[k] is before[k] for k in now):
                    continue
                now.clear()
                now.update(before)
                found.append(f"{name.strip('_')} of {path or 'the network'}")
        return found + [
            f"the network's {name}" for name, one, copy in self.tensors if _restored(one, copy)
        ]


def _dicts(part: nn.Module) -> list[tuple[str, dict[str, Any]]]:
    """A module's parameters, buffers, layers and hooks."""
    known = ("_parameters", "_buffers", "_modules")
    named = [(name, value) for name, value in vars(part).items() if isinstance(value, dict)]
    return [(name, value) for name, value in named if name in known or "_hooks" in name]


def _restored(tensor: Tensor, copy: Tensor) -> bool:
    """Whether a tensor is not what it was; it is put back."""
    alike = (tensor.dtype, tensor.shape, tensor.device) == (copy.dtype, copy.shape, copy.device)
    if alike and torch.equal(tensor, copy):
        return False
    with torch.no_grad():
        if alike:
            tensor.copy_(copy)
        else:
            tensor.data = copy.clone()
    return True
