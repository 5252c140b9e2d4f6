"""How many pictures a network gets at once: as asked, at most so many, or what memory holds.

Metrics ask in batches of their own. Inside ``with at_most(16):`` no batch is larger, and with
``halve=True`` a batch that memory does not hold is asked again in halves. Both change last bits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TypeVar

import torch

T = TypeVar("T")


@dataclass
class Limit:
    """How many pictures a network gets at once.

    Attributes:
        most: In a batch; None for what is asked.
        halve: Whether a batch that memory does not hold is asked again in halves.
        halvings: How often that was so.
    """

    most: int | None = None
    halve: bool = False
    halvings: int = 0


_LIMIT: ContextVar[Limit | None] = ContextVar("limit", default=None)


@contextmanager
def at_most(most: int | None = None, *, halve: bool = False) -> Iterator[Limit]:
    """Bound every batch inside, in this thread.

    Raises:
        ValueError: ``most`` is no whole number from 1.
    """
    if most is not None and most < 1:
        raise ValueError(f"most must be a whole number >= 1 or None, got {most}")
    limit = Limit(most, halve)
    token = _LIMIT.set(limit)
    try:
        yield limit
    finally:
        _LIMIT.reset(token)


def in_pieces(answer: Callable[[Any], T], x: Any) -> list[T]:
    """``answer`` to the pieces of ``x`` that the limit allows, in order; to ``x`` without one.

    Raises:
        torch.OutOfMemoryError, MemoryError, RuntimeError: What memory did not hold, where no
            halving is allowed or one picture alone is too much.
    """
    limit = _LIMIT.get()
    if limit is None or not len(x):
        return [answer(x)]
    found, start = [], 0
    while start < len(x):
        count = min(limit.most or len(x), len(x) - start)
        try:
            found.append(answer(x[start : start + count]))
        except (MemoryError, RuntimeError) as error:
            if not (limit.halve and count > 1 and out_of_memory(error)):
                raise
            limit.most = count // 2
            limit.halvings += 1
            if torch.cuda.is_initialized():
                torch.cuda.empty_cache()
        else:
            start += count
    return found


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory did not suffice; torch's allocator for CPUs says it so."""
    known = isinstance(error, MemoryError | torch.OutOfMemoryError)
    return known or "DefaultCPUAllocator: can't allocate memory" in str(error)
