"""Slow methods in the background: one at a time, with progress, and stopped when asked."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from threading import Event, Lock
from typing import Any

from torch import Tensor

from xaiutils.methods import METHODS
from xaiutils.network.classifier import Classifier
from xaiutils.support import asking

EVERY = 0.1  # seconds between two steps of the bar


@dataclass
class _Bar:
    """What `xaiutils.support.asking.watch` moves: passes what it is told on, but not too often."""

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


def explain_each(
    names: Sequence[str],
    classifier: Classifier,
    x: Tensor,
    target: int,
    stopped: Callable[[], bool],
    progress: Callable[[str], Callable[[int], None]],
    keep: Callable[[str, Tensor], object],
    network: Lock,
) -> list[str]:
    """Explain by one method after the other; one that fails does not keep the others from it.

    Args:
        names: In `METHODS`.
        classifier, x, target: One picture (1, C, H, W) and its class.
        stopped: Asked before each question to the network.
        progress: Given a name, what to tell how many images the network has answered.
        keep: Given a name and its map (H, W).
        network: Held while it is asked.

    Returns:
        What went wrong, in words.
    """
    failed: list[str] = []
    for name in names:
        try:
            with network, asking.watch(cancelled=stopped) as seen:
                seen.bar = _Bar(progress(name))
                keep(name, METHODS[name](classifier, x, target)[0])
        except asking.Cancelled:
            return [*failed, "cancelled; the methods that were done are shown"]
        except Exception as error:  # whatever a method raises
            failed.append(f"{METHODS[name].title}: {words(error)}")
    return failed


def words(error: Exception) -> str:
    """What an error says, to stand in a sentence."""
    return (str(error) or type(error).__name__).rstrip(".")
