"""Hand out parts to the workers of a Dask cluster."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any

from xaiutils.evidence.study.trail import TIMES, Unfinished

LOOK = 2  # seconds between looks at a cluster's workers
ANSWER = 30  # seconds that a scheduler that is at work may take to answer, at least


class Lost(ConnectionError):
    """Scheduler or workers are gone."""


def run_on_cluster(
    function: Callable[..., Any],
    jobs: Mapping[int, Mapping[str, Any]],
    scheduler: str,
    wait: float,
    got: Callable[[int, Any], object],
    died: Callable[[int, str], object],
    begun: Callable[[int], bool],
    say: Callable[[str], None],
) -> None:
    """Do every job, as `run_jobs` does; ``begun`` says whether one that was lost had begun.

    There are a few more at a time than threads, so that memory stays flat.

    Raises:
        ConnectionError: There is no scheduler, or no worker.
        Lost: They are gone.
        Unfinished: A job's workers die again and again before they begin.
    """
    from distributed import KilledWorker, as_completed
    from distributed.comm.core import CommClosedError

    beside: Counter[int] = Counter()  # jobs whose worker died while it did another's
    with _client(scheduler, wait) as client:
        say(f"dashboard: {client.dashboard_link}")
        rest, names = deque(jobs), dict[Any, int]()
        flying = as_completed(loop=client.loop)
        try:
            while rest or names:
                # A cluster may grow.
                while rest and len(names) < 2 * max(1, _threads(client, wait)):
                    index = rest.popleft()
                    # Another run on this cluster is no other's, and neither is another try.
                    key = f"part-{index}-{secrets.token_hex(8)}"
                    future = client.submit(function, **jobs[index], key=key)
                    names[future] = index
                    flying.add(future)
                _wait(client, flying, names, wait)
                future = next(flying)
                index = names.pop(future)
                if future.status == "cancelled":
                    raise Lost("the scheduler is gone")
                error = future.exception()
                if isinstance(error, KilledWorker):
                    rest.appendleft(index)
                    beside[index] += 1
                    if begun(index):
                        died(index, "was lost by the cluster")
                        beside.clear()
                    elif beside[index] == TIMES:
                        raise Unfinished(
                            f"part {index} is missing: its workers died before they began, again "
                            "and again"
                        )
                elif error is not None:
                    raise error
                else:
                    beside.clear()
                    try:
                        got(index, future.result(timeout=wait))
                    except TimeoutError:  # its worker died with the answer; the part is on disk
                        raise Lost("a worker is gone, and no other answers") from None
        except CommClosedError:  # whatever is asked of a scheduler just as it dies
            raise Lost("the scheduler is gone") from None


def _wait(client: Any, flying: Any, names: Mapping[Any, int], wait: float) -> None:
    """Until a job is done."""
    looked = seen = time.monotonic()
    while not flying.has_ready():
        time.sleep(0.05)
        if time.monotonic() - looked < LOOK:
            continue
        looked = time.monotonic()
        if _threads(client, wait):
            seen = looked
        elif looked - seen > wait:
            raise Lost(
                f"parts {sorted(names.values())} are missing: the cluster has had no worker for "
                f"{wait:g} s, see wait"
            )


@contextmanager
def _client(scheduler: str, wait: float) -> Iterator[Any]:
    from distributed import Client

    with ExitStack() as stack:
        for name in ("tornado.application", "asyncio"):  # they log what Ctrl-C cuts short
            logger = logging.getLogger(name)
            stack.callback(logger.setLevel, logger.level)
            logger.setLevel(logging.CRITICAL)
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


def _threads(client: Any, wait: float) -> int:
    asked = client.scheduler.ncores  # `Client.nthreads` has no timeout
    try:
        return sum(client.sync(asked, callback_timeout=max(wait, ANSWER)).values())
    except (OSError, TimeoutError):
        raise Lost("the scheduler is gone") from None
