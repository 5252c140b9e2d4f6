"""The one runner of tables and studies: jobs for this process, or for several of this machine."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from threadpoolctl import threadpool_limits

from xaiutils.support.processes import Died, Worker, ready

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
Key = TypeVar("Key")


class NoProcess(ChildProcessError):
    """The system gives no process, not even one."""


@contextmanager
def threads(count: int) -> Iterator[None]:
    """So many threads here; their number changes last bits."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        with threadpool_limits(count, user_api="blas"):
            yield
    finally:
        torch.set_num_threads(before)


def run_jobs(
    function: Callable[..., Any],
    jobs: Mapping[Key, Mapping[str, Any]],
    workers: int,
    got: Callable[[Key, Any], object],
    died: Callable[[Key, str], bool],
) -> None:
    """Call ``function`` for every job, in this process or in so many others of one thread.

    ``got`` is told each answer as it comes, ``died`` of a job whose process died, and how: the job
    is done again, where this is true not before nothing else runs, for the system ends the largest
    process where memory does not suffice, and that may have been the wrong one.

    Raises:
        NoProcess: None can be had. What ``function`` and ``died`` raise ends the run.
    """
    if workers == 1:
        for key, question in jobs.items():
            got(key, function(**question))
        return
    waiting, suspected = deque(jobs), deque[Key]()
    idle: list[Worker] = []
    busy: dict[Worker, Key] = {}
    try:
        while waiting or suspected or busy:
            while (waiting and len(busy) < workers) or (suspected and not busy):
                while idle[1:] and not waiting:
                    idle.pop().end()
                try:
                    worker = idle.pop() if idle else _started(function, busy)
                except OSError as error:  # the system gives no more: make do with those there are
                    if not busy:
                        raise NoProcess(f"no process can be had, {error}") from None
                    workers = len(busy)
                    break
                key = busy[worker] = (waiting or suspected).popleft()
                worker.ask(**jobs[key])
            for worker in ready(busy):
                key = busy.pop(worker)
                try:
                    answer = worker.answer()
                except Died as death:
                    (suspected if died(key, str(death)) else waiting).append(key)
                else:
                    idle.append(worker)
                    got(key, answer)
    finally:
        for worker in (*busy, *idle):
            worker.end()


def _started(function: Callable[..., Any], busy: Mapping[Worker, Any]) -> Worker:
    """A process with the lowest number that is free: it may choose a GPU by it."""
    taken = {worker.number for worker in busy}
    return Worker(min({*range(len(taken) + 1)} - taken), function, ONE_THREAD)
