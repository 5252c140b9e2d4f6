"""Run a study: one process, several on this machine, a Dask cluster, or a shard of a job array.

Whoever scores a part, its rows are the same. A part that is there is skipped, so that a run that
was killed at any moment goes on where it was: that is the whole resume.

A process that dies has one part in hand, whose trail says what it computed. The part is tried
again; a picture and method that cost three processes are left as failed rows.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xaiutils.evidence.study.folder import StudyFolder
from xaiutils.evidence.study.parts import part_path, read_part, remove_temporary
from xaiutils.evidence.study.trail import (
    TIMES,
    Doing,
    Trail,
    Unfinished,
    own_trail,
    read_trail,
    trail_path,
    write_trail,
)
from xaiutils.evidence.study.work import ACCIDENTS, Done, score_part
from xaiutils.support import checks
from xaiutils.support.files import BrokenPart, alone, set_aside
from xaiutils.support.processes import Died, Worker, ready

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
LOOK = 2  # seconds between looks at a cluster's workers
ANSWER = 30  # seconds that a scheduler that is at work may take to answer, at least


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
        workers: 1: this process; more: so many processes of this machine, of one thread each.
        scheduler: Instead, the address of a Dask cluster whose workers see the folder, the
            pictures and the weights under the same paths.
        wait: Seconds for the cluster's first worker, which may stand in a queue, and for another
            where none is left.
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
        Unfinished: No process can be had, or all die before they have opened network and pictures.
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
        for index in filter(mine, range(opened.study.parts)):
            _say_who_died(opened, index, {*todo.fresh, *todo.again}, say)
        many = len(todo.fresh) + len(todo.again)
        say(f"study {opened.study.hash}: {many} parts to score, {todo.kept} are there")
        if not many:
            return todo
        run = secrets.token_hex(8)
        jobs = [(index, False) for index in todo.fresh] + [(index, True) for index in todo.again]
        with _bar(many, progress) as advance:
            if scheduler is not None:
                with _scheduler_lives(opened):
                    _on_dask(opened, jobs, run, scheduler, wait, advance, say)
            elif workers == 1:
                for job in jobs:
                    advance(score_part(**_question(opened, job, run)))
            else:
                _on_processes(opened, jobs, run, workers, advance, say)
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
            broken.append(set_aside(part_path(opened.path, index)))
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


def _say_who_died(opened: StudyFolder, index: int, todo: set[int], say: Say) -> None:
    """Say what the process of another run computed that ended without a word, and forget it."""
    trail = read_trail(opened.path, index)
    if trail is not None and trail.doing is not None and index in todo:
        say(
            f"the process that scored part {index} ended without a word while it {trail.doing}. "
            "If one does so again, --workers 2 leaves what costs three of them as failed rows"
        )
    trail_path(opened.path, index).unlink(missing_ok=True)


def _on_processes(
    opened: StudyFolder,
    jobs: Sequence[tuple[int, bool]],
    run: str,
    workers: int,
    advance: Callable[[Done], None],
    say: Say,
) -> None:
    """Hand out parts to processes of this machine, one at a time to each.

    A part in which two processes have died over one picture and method is put off until nothing
    else runs: the system ends the largest process where memory does not suffice, and that may have
    been the wrong one.
    """
    waiting, suspected = deque(jobs), deque[tuple[int, bool]]()
    idle: list[Worker] = []
    busy: dict[Worker, tuple[int, bool]] = {}
    try:
        while waiting or suspected or busy:
            while (waiting and len(busy) < workers) or (suspected and not busy):
                if not waiting:
                    _end(idle[1:])
                    del idle[1:]
                try:
                    worker = idle.pop() if idle else _worker(busy)
                except OSError as error:  # the system gives no more: make do with those there are
                    if busy:
                        workers = len(busy)
                        break
                    lost = sorted(index for index, _ in (*waiting, *suspected))
                    raise Unfinished(
                        f"parts {lost} are missing: no process can be had, {error}; "
                        f"{_go_on(opened)}"
                    ) from None
                job = busy[worker] = (waiting or suspected).popleft()
                worker.ask(**_question(opened, job, run))
            for worker in ready(busy):
                job = busy.pop(worker)
                try:
                    done = worker.answer()
                except Died as death:
                    doubtful = _bury(opened, job[0], run, str(death), say).suspected()
                    (suspected if doubtful else waiting).append(job)
                else:
                    idle.append(worker)
                    advance(done)
    finally:
        _end([*busy, *idle])


def _question(opened: StudyFolder, job: tuple[int, bool], run: str) -> dict[str, Any]:
    index, retry = job
    return {
        "folder": str(opened.path),
        "study": opened.study.hash,
        "index": index,
        "place": opened.place,
        "run": run,
        "retry": retry,
    }


def _worker(busy: dict[Worker, Any]) -> Worker:
    taken = {worker.number for worker in busy}
    return Worker(min({*range(len(taken) + 1)} - taken), score_part, ONE_THREAD)


def _end(workers: Sequence[Worker]) -> None:
    for worker in workers:
        worker.end()


def _bury(opened: StudyFolder, index: int, run: str, how: str, say: Say) -> Trail:
    """Write down and say what a process computed when it died; what is known of the part."""
    found = own_trail(opened.path, index, run)
    if found.doing is None:  # it died before it began
        found = found._replace(doing=Doing())
    doing, found = found.doing, found.mourn(how)
    write_trail(opened.path, index, found)
    say(f"a process {how} while it {doing}; part {index} is tried again")
    try:
        found.require_begun(index)
    except Unfinished as error:
        raise Unfinished(f"{error}; {_go_on(opened)}") from None
    return found


def _on_dask(
    opened: StudyFolder,
    jobs: Sequence[tuple[int, bool]],
    run: str,
    scheduler: str,
    wait: float,
    advance: Callable[[Done], None],
    say: Say,
) -> None:
    """Hand out parts, a few more at a time than there are threads: memory stays flat."""
    from distributed import KilledWorker, as_completed

    beside: Counter[int] = Counter()  # parts whose worker died while it did another's
    with ExitStack() as stack:
        for logger in ("tornado.application", "asyncio"):  # they log what Ctrl-C cuts short
            stack.enter_context(_quiet(logger))
        client = stack.enter_context(_client(scheduler, wait))
        say(f"dashboard: {client.dashboard_link}")
        rest = deque(jobs)
        flying = as_completed(loop=client.loop)
        names: dict[Any, tuple[int, bool]] = {}
        while rest or names:
            while rest and len(names) < 2 * max(
                1, _threads(client, opened, wait)
            ):  # a cluster may grow
                job = rest.popleft()
                # Another run on this cluster is no other's, and neither is another try.
                key = f"part-{job[0]}-{run}-{secrets.token_hex(4)}"
                future = client.submit(score_part, **_question(opened, job, run), key=key)
                names[future] = job
                flying.add(future)
            _wait(flying, client, opened, wait, names)
            future = next(flying)
            job = names.pop(future)
            if future.status == "cancelled":
                raise _gone(opened)
            error = future.exception()
            if isinstance(error, KilledWorker):
                rest.appendleft(job)
                beside[job[0]] += 1
                if own_trail(opened.path, job[0], run).doing is not None:
                    _bury(opened, job[0], run, "was lost by the cluster", say)
                    beside.clear()
                elif beside[job[0]] == TIMES:
                    raise Unfinished(
                        f"part {job[0]} is missing: its workers died before they began, again and "
                        f"again; {_go_on(opened)}"
                    )
            elif isinstance(error, Unfinished):
                raise Unfinished(f"{error}; {_go_on(opened)}")
            elif error is not None:
                raise error
            else:
                beside.clear()
                advance(future.result())


def _wait(
    flying: Any, client: Any, opened: StudyFolder, wait: float, names: dict[Any, tuple[int, bool]]
) -> None:
    """Until a part is done, or for want of workers.

    Raises:
        ConnectionError: There has been none for ``wait`` seconds.
    """
    looked = seen = time.monotonic()
    while not flying.has_ready():
        time.sleep(0.05)
        if time.monotonic() - looked < LOOK:
            continue
        looked = time.monotonic()
        if _threads(client, opened, wait):
            seen = looked
        elif looked - seen > wait:
            lost = sorted(index for index, _ in names.values())
            raise ConnectionError(
                f"parts {lost} are missing: the cluster has had no worker for {wait:g} s, see "
                f"wait; {_go_on(opened)}"
            )


@contextmanager
def _client(scheduler: str, wait: float) -> Iterator[Any]:
    from distributed import Client

    with ExitStack() as stack:
        try:
            with ThreadPoolExecutor(1) as thread:  # this one may have a loop already
                thread.submit(asyncio.run, _greet(scheduler, wait)).result()
            client = stack.enter_context(Client(scheduler, timeout=wait, set_as_default=False))
            client.wait_for_workers(1, timeout=wait)
        except (TimeoutError, OSError, ValueError, TypeError) as error:
            raise ConnectionError(
                f"scheduler must be the address of a Dask cluster with workers, {scheduler} "
                f"gave none in {wait:g} s, see wait: {str(error) or type(error).__name__}"
            ) from None
        yield client


async def _greet(scheduler: str, wait: float) -> None:
    """Ask who is there: a client would wait without end where somebody listens and says nothing."""
    from distributed import rpc
    from distributed.security import Security

    arguments = Security().get_connection_args("client")
    async with rpc(scheduler, connection_args=arguments) as found:
        await asyncio.wait_for(found.identity(), wait)


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


def _threads(client: Any, opened: StudyFolder, wait: float) -> int:
    asked = client.scheduler.ncores  # `Client.nthreads` has no timeout
    try:
        return sum(client.sync(asked, callback_timeout=max(wait, ANSWER)).values())
    except (OSError, TimeoutError):
        raise _gone(opened) from None


def _gone(opened: StudyFolder) -> ConnectionError:
    return ConnectionError(f"the scheduler is gone; {_go_on(opened)}")


def _go_on(opened: StudyFolder) -> str:
    return f"finished parts are kept; go on with: xaiutils study run {opened.path}"
