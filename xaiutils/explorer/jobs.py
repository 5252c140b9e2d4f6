"""Slow methods in the background: one at a time, with progress, and stopped when asked."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from threading import Event, Lock
from typing import Any

from torch import Tensor

from xaiutils import passes
from xaiutils.methods import METHODS
from xaiutils.models import Classifier

EVERY = 0.1  # seconds between two steps of the bar


@dataclass
class Bar:
    """What `xaiutils.passes.watch` moves: passes what it is told on, but not too often."""

    show: Callable[[int], None]
    count: int = 0
    last: float = 0.0

    def update(self, images: int) -> None:
        """So many more."""
        self.count += images
        now = time.monotonic()
        if now - self.last >= EVERY:
            self.last = now
            self.show(self.count)

    def close(self) -> None:
        """The end."""
        self.show(self.count)


class Worker:
    """One thread for methods; the network is asked by one thread at a time."""

    def __init__(self) -> None:
        self.network = Lock()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="xaiutils-explorer")
        self._stop = Event()
        self.future: Future[Any] | None = None

    def start(self, task: Callable[[Callable[[], bool]], Any]) -> Future[Any]:
        """Stop what runs, then run ``task(stopped)``."""
        self.stop()
        self._stop = Event()
        self.future = self._pool.submit(task, self._stop.is_set)
        return self.future

    def stop(self) -> None:
        """Ask what runs to end; it does before its next question to the network."""
        self._stop.set()


def explain_by(
    name: str,
    classifier: Classifier,
    x: Tensor,
    target: int,
    stopped: Callable[[], bool],
    show: Callable[[int], None],
) -> Tensor:
    """The map (H, W) of a method, watched.

    Raises:
        Cancelled: It was stopped.
        CannotExplain, ValueError: The method does not apply.
    """
    with passes.watch(cancelled=stopped) as seen:
        seen.bar = Bar(show)
        return METHODS[name](classifier, x, target)[0]
