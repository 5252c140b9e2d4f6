"""A folder that one run has at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

GUARD = "start.lock"
START = 60  # seconds that a run waits for others that are starting


class Busy(OSError):
    """Another run has the folder."""


@contextmanager
def alone(folder: Path, shard: tuple[int, int]) -> Iterator[None]:
    """Hold the folder for one shard ``(i, n)`` of n; a whole run is the shard (1, 1).

    The system gives a lock back when its process dies, however it dies. Shards of one n may run
    beside each other, and nothing else.

    Raises:
        Busy: Another run has the folder, or this shard of it.
    """
    own = folder / f"run-{shard[0]}-of-{shard[1]}.lock"
    with ExitStack() as held:
        with FileLock(folder / GUARD, timeout=START):  # a lock that is only looked at is held too
            if not _take(held, own):
                raise Busy(f"{folder} is being run by another process, which holds {own.name}")
            for other in sorted(folder.glob("run-*-of-*.lock")):
                if other.stem.endswith(f"-of-{shard[1]}"):
                    continue
                with ExitStack() as tried:
                    if not _take(tried, other):
                        raise Busy(
                            f"{folder} is being run by another process, which holds {other.name}; "
                            "shards run beside shards of the same n only"
                        )
        yield


def _take(held: ExitStack, path: Path) -> bool:
    try:
        held.enter_context(FileLock(path, timeout=0))
    except Timeout:
        return False
    return True
