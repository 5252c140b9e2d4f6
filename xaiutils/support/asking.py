"""How often a network is asked: counted, shown as progress, and the place to cancel.

Everything in this package that runs a network tells `asked` how many images it gave it. Whoever
wants to know opens a `watch` around the call::

    with watch(progress=True, cancelled=button.is_set) as seen:
        maps = METHODS["lime"](classifier, x)
    seen.images  # how many the network has answered
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TypeVar

import torch


class Cancelled(Exception):
    """The caller of a long method has changed their mind."""


@dataclass
class Watch:
    """What is seen of the calls in a `watch`: how many ``images`` networks have answered."""

    images: int = 0
    cancelled: Callable[[], bool] | None = None
    bar: Any = None
    outer: Watch | None = None


_ACTIVE: ContextVar[Watch | None] = ContextVar("watch", default=None)


def asked(images: int) -> None:
    """Count ``images`` that a network is about to answer; raises `Cancelled`."""
    seen = _ACTIVE.get()
    while seen is not None:
        if seen.cancelled is not None and seen.cancelled():
            raise Cancelled(f"cancelled after {seen.images} images")
        seen.images += images
        if seen.bar is not None:
            seen.bar.update(images)
        seen = seen.outer


@contextmanager
def watch(
    total: int | None = None, *, progress: bool = False,
    cancelled: Callable[[], bool] | None = None, title: str = "",
) -> Iterator[Watch]:  # fmt: skip
    """Watch the calls inside, in this thread, with a bar if ``progress``, of ``total`` images.

    ``cancelled`` is asked before every batch; once it is true the method stops with `Cancelled`.
    """
    seen = Watch(cancelled=cancelled, outer=_ACTIVE.get())
    if progress:
        from tqdm.auto import tqdm

        seen.bar = tqdm(total=total, unit="image", desc=title, leave=False)
    token = _ACTIVE.set(seen)
    try:
        yield seen
    finally:
        _ACTIVE.reset(token)
        if seen.bar is not None:
            seen.bar.close()


T = TypeVar("T")


@dataclass
class Limit:
    """How many pictures a network gets at once."""

    most: int | None = None  # in a batch; None for what is asked
    halve: bool = False  # whether a batch that memory does not hold is asked again in halves
    halvings: int = 0  # how often that was so


_LIMIT: ContextVar[Limit | None] = ContextVar("limit", default=None)


@contextmanager
def at_most(most: int | None = None, *, halve: bool = False) -> Iterator[Limit]:
    """Bound every batch inside, in this thread; ValueError if ``most`` is below 1."""
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

    What memory does not hold is raised where no halving is allowed, or one picture is too much.
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
