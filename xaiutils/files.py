"""Files that are there whole or not at all, and a folder that one run has at a time."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from filelock import FileLock, Timeout

if TYPE_CHECKING:
    import pyarrow as pa

TEMPORARY = ".tmp"
ABOUT = b"xaiutils"  # the key of a table's metadata
GUARD = "start.lock"
START = 60  # seconds that a run waits for others that are starting


class Busy(OSError):
    """Another run has the folder."""


def write_whole(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file so that it appears under its name complete, or not at all.

    ``write`` fills a temporary file beside it, which is synced to the disk and renamed; then the
    folder is synced. What fails leaves the old file, if there was one, and no temporary one; what
    is killed leaves a temporary one, which the next run removes.

    Raises:
        OSError: The disk is full, the folder is read-only, and the like.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}{TEMPORARY}")
    try:
        with temporary.open("xb") as stream:
            write(stream)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as an NPZ can hold them: numbers and text; NumPy pickles anything else."""
    kept = (bool, int, float, str)
    return {key: value if isinstance(value, kept) else str(value) for key, value in values.items()}


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_table(
    path: Path, table: pa.Table, about: Mapping[str, Any], *, checksums: bool = True
) -> None:
    """Write Parquet with ``about`` as JSON in its metadata; the same rows give the same bytes.

    Args:
        path: The file.
        table: Its rows.
        about: What they are.
        checksums: Of every page, so that a reader can tell a changed byte.
    """
    import pyarrow.parquet as pq

    text = json.dumps(about, sort_keys=True).encode()
    table = table.replace_schema_metadata({ABOUT: text})
    options = {"compression": "zstd", "write_page_checksum": checksums}
    write_whole(path, lambda stream: pq.write_table(table, stream, **options))


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
