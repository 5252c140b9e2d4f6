"""Run a study: one process, a cluster on this machine, any Dask cluster, or a shard of a job array.

Whoever scores a part, its rows are the same. A part that is there is skipped, so that a run that
was killed at any moment goes on where it was: that is the whole resume.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from xaiutils import checks
from xaiutils.borrowed import environment_kept
from xaiutils.files import alone
from xaiutils.study.folder import StudyFolder
from xaiutils.study.parts import BrokenPart, part_path, read_part, remove_temporary, set_aside
from xaiutils.study.work import ACCIDENTS, Done, score_part

DEATHS = 10  # of its workers, that a part survives on a local cluster
ONE_THREAD = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
DASK = {
    "distributed.scheduler.allowed-failures": DEATHS,
    # Results are small, and what is written to disk would be pickled.
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.profile.enabled": False,
    # Dask makes malloc give memory back at once: torch then spends half of its time on page faults.
    "distributed.nanny.pre-spawn-environ": dict.fromkeys(ONE_THREAD, 1),
}


# What Dask writes into this process's environment for its workers to inherit.
FOR_WORKERS = (*ONE_THREAD, "PYTHONHASHSEED", "__DASK_PARENT_PID")


class Unfinished(RuntimeError):
    """Parts are missing after all has been tried; what there is, is kept."""


@dataclass(frozen=True)
class Todo:
    """What a run has to do.

    Attributes:
        fresh: Parts that are not there. again: Parts whose accidents are tried again.
        kept: How many are there and stay. broken: Where broken ones were moved.
    """

    fresh: tuple[int, ...]
    again: tuple[int, ...]
    kept: int
    broken: tuple[Path, ...]


Say = Callable[[str], None]


def run_study(
    opened: StudyFolder,
    *,
    workers: int = 1,
    scheduler: str | None = None,
    wait: float = 60,
    shard: tuple[int, int] = (1, 1),
    retry_failed: bool = False,
    progress: bool = False,
    say: Say = lambda text: None,
) -> Todo:
    """Score every part that is not there yet.

    Args:
        opened: From `create_study` or `open_study`.
        workers: 1: this process; more: a Dask cluster on this machine, which listens to this
            machine alone, one process of one thread each. Dask draws from Python's `random` here.
        scheduler: Instead, the address of a Dask cluster whose workers see the folder, the
            pictures and the weights under the same paths.
        wait: Seconds for the cluster's first worker, which may stand in a queue.
        shard: ``(i, n)``: only the i-th of n shares, for an array of jobs; they may run beside
            each other on one folder, or on copies that `merge_studies` joins.
        retry_failed: Also score anew the pictures that met an accident (`ACCIDENTS`).
        progress: Show a bar with the time left.
        say: Told what a reader of the terminal should know.

    Returns:
        What there was to do; all of it is done.

    Raises:
        Busy: Another process runs this study.
        ForeignPart, ValueError: The folder, the network, the pictures or the libraries are not
            those of the configuration.
        OSError: The disk is full, the folder cannot be written, the scheduler is gone.
        Unfinished: A part's workers died again and again.
    """
    checks.whole("workers", workers)
    checks.number("wait", wait, low=0)
    i, n = (checks.whole("shard", number) for number in shard)
    if i > n:
        raise ValueError(f"shard must be i/n with 1 <= i <= n, got {i}/{n}")
    if scheduler is not None and workers > 1:
        raise ValueError(f"workers must be left out with a scheduler, got {workers}")

    def mine(index: int) -> bool:
        return index % n == i - 1

    with alone(opened.path, (i, n)):
        remove_temporary(opened.path, mine)
        todo = _todo(opened, mine, retry_failed)
        for path in todo.broken:
            say(f"a broken part was moved to {path} and will be made anew")
        many = len(todo.fresh) + len(todo.again)
        say(f"study {opened.study.hash}: {many} parts to score, {todo.kept} are there")
        if not many:
            return todo
        run = secrets.token_hex(8)
        jobs = [(index, False) for index in todo.fresh] + [(index, True) for index in todo.again]
        with _bar(many, progress) as advance:
            if workers == 1 and scheduler is None:
                where = opened.path, opened.study.hash
                for index, retry in jobs:
                    advance(score_part(*where, index, opened.place, run=run, retry=retry))
            else:
                client = partial(_client, workers, scheduler, wait)
                with _scheduler_lives(opened), environment_kept(*FOR_WORKERS):
                    _on_dask(opened, jobs, run, workers, client, advance, say)
        lost = [index for index, _ in jobs if not part_path(opened.path, index).is_file()]
        if lost:
            raise Unfinished(
                f"parts {lost} were scored and are not in {opened.path}: do all workers see "
                f"this folder? {_go_on(opened)}"
            )
    return todo


def _todo(opened: StudyFolder, mine: Callable[[int], bool], retry: bool) -> Todo:
    fresh, again, broken, kept = [], [], [], 0
    for index in filter(mine, range(opened.study.parts)):
        try:
            rows = read_part(opened.path, opened.study.hash, index)
        except FileNotFoundError:
            fresh.append(index)
        except BrokenPart:
            broken.append(set_aside(opened.path, index))
            fresh.append(index)
        else:
            accident = retry and not set(ACCIDENTS).isdisjoint(rows["error_code"].to_pylist())
            again += [index] if accident else []
            kept += not accident
    return Todo(tuple(fresh), tuple(again), kept, tuple(broken))


@contextmanager
def _bar(total: int, progress: bool) -> Iterator[Callable[[Done], None]]:
    from tqdm.auto import tqdm

    errors = 0
    with tqdm(total=total, unit="part", disable=not progress) as bar:

        def advance(done: Done) -> None:
            nonlocal errors
            errors += done.errors
            bar.set_postfix(accidents=errors)
            bar.update()

        yield advance


def _on_dask(
    opened: StudyFolder,
    jobs: Sequence[tuple[int, bool]],
    run: str,
    workers: int,
    connect: Callable[[], AbstractContextManager[Any]],
    advance: Callable[[Done], None],
    say: Say,
) -> None:
    """Hand out parts, a few more at a time than there are threads: memory stays flat."""
    import dask
    from distributed import KilledWorker, as_completed

    dead: list[int] = []
    with ExitStack() as stack:
        stack.enter_context(dask.config.set(DASK))
        for logger in ("tornado.application", "asyncio"):  # they log what Ctrl-C cuts short
            stack.enter_context(_quiet(logger))
        client = stack.enter_context(connect())
        say(f"dashboard: {client.dashboard_link}")
        rest = iter(jobs)
        flying = as_completed(loop=client.loop)
        names: dict[Any, int] = {}

        def top_up() -> None:
            while len(names) < 2 * max(workers, _threads(client, opened)):  # a cluster may grow
                index, retry = next(rest, (None, False))
                if index is None:
                    return
                future = client.submit(
                    score_part,
                    str(opened.path),
                    opened.study.hash,
                    index,
                    opened.place,
                    run=run,
                    retry=retry,
                    key=f"part-{index}-{run}",  # another run on this cluster is no other's
                )
                names[future] = index
                flying.add(future)

        top_up()
        for future in flying:
            index = names.pop(future)
            if future.status == "cancelled":
                raise _gone(opened)
            error = future.exception()
            if isinstance(error, KilledWorker):
                dead.append(index)
            elif error is not None:
                raise error
            else:
                advance(future.result())
            top_up()
    if dead:
        raise Unfinished(
            f"parts {dead} are missing: the processes that scored them died again and again, "
            f"perhaps for want of memory; {_go_on(opened)}"
        )


@contextmanager
def _client(workers: int, scheduler: str | None, wait: float) -> Iterator[Any]:
    from distributed import Client, LocalCluster

    with ExitStack() as stack:
        if scheduler is None:
            address: Any = stack.enter_context(
                LocalCluster(
                    n_workers=workers,
                    threads_per_worker=1,
                    host="127.0.0.1",
                    dashboard_address="127.0.0.1:0",
                    preload="xaiutils.study.deaf",
                    silence_logs=logging.CRITICAL,  # errors come with the futures
                )
            )
        else:
            address = scheduler
        try:
            client = stack.enter_context(Client(address, timeout=wait, set_as_default=False))
            client.wait_for_workers(1, timeout=wait)
        except (TimeoutError, OSError) as error:
            raise ConnectionError(
                f"scheduler must be the address of a Dask cluster with workers, {scheduler} "
                f"gave none in {wait:g} s, see wait: {error}"
            ) from None
        yield client


@contextmanager
def _quiet(name: str) -> Iterator[None]:
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


@contextmanager
def _scheduler_lives(opened: StudyFolder) -> Iterator[None]:
    """Whatever is asked of it just as it dies fails with this."""
    from distributed.comm.core import CommClosedError

    try:
        yield
    except CommClosedError:
        raise _gone(opened) from None


def _threads(client: Any, opened: StudyFolder) -> int:
    try:
        return sum(client.nthreads().values())
    except (OSError, TimeoutError):
        raise _gone(opened) from None


def _gone(opened: StudyFolder) -> ConnectionError:
    return ConnectionError(f"the scheduler is gone; {_go_on(opened)}")


def _go_on(opened: StudyFolder) -> str:
    return f"finished parts are kept; go on with: xaiutils study run {opened.path}"
