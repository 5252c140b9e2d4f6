"""Files that are there whole or not at all, and a folder that one run has at a time."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    import pyarrow as pa

TEMPORARY = ".tmp"
ABOUT = b"xaiutils"  # the key of a table's metadata
GUARD = "start.lock"
START = 60  # seconds that a run waits for others that are starting


class Busy(OSError):
    """Another run has the folder."""


class BrokenPart(ValueError):
    """A part that was cut off, emptied or changed after it was written."""


def write_whole(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file so that it appears under its name complete, or not at all.

    ``write`` fills a temporary file beside it, which is synced to the disk and renamed. What is
    killed leaves a temporary one for `sweep`. An OSError names the file.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}{TEMPORARY}")
    try:
        with temporary.open("xb") as stream:
            write(stream)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        ours = (None, str(temporary))
        if isinstance(error, OSError) and error.errno is not None and error.filename in ours:
            raise OSError(error.errno, os.strerror(error.errno), str(path)) from error
        raise
    if os.name == "posix":
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as an NPZ can hold them: numbers and text; NumPy pickles anything else."""
    kept = (bool, int, float, str)
    return {key: value if isinstance(value, kept) else str(value) for key, value in values.items()}


def sweep(folder: Path, name: str = "*", older: float = 0) -> None:
    """Remove what killed writers left in ``folder`` of the files called ``name``, a pattern.

    Only what nobody has written to for ``older`` seconds, where others may write.
    """
    for path in folder.glob(f".{name}.*{TEMPORARY}"):
        with suppress(FileNotFoundError):
            if time.time() - path.stat().st_mtime >= older:
                path.unlink()


def write_table(
    path: Path, table: pa.Table, about: Mapping[str, Any], *, checksums: bool = True
) -> None:
    """Write Parquet with ``about`` as JSON in its metadata; the same rows give the same bytes.

    With ``checksums`` of every page, by which a reader can tell a changed byte.
    """
    import pyarrow.parquet as pq

    text = json.dumps(about, sort_keys=True).encode()
    table = table.replace_schema_metadata({ABOUT: text})
    options = {"compression": "zstd", "write_page_checksum": checksums}
    write_whole(path, lambda stream: pq.write_table(table, stream, **options))


def checksum(whose: str, table: pa.Table) -> str:
    """A hash of ``whose`` a table is and of every value of its rows, however they are stored."""
    import pyarrow as pa

    digest = hashlib.sha256(f"{whose} ".encode())
    for name in table.column_names:
        column = table.column(name).combine_chunks()
        if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
            content = column.to_numpy(zero_copy_only=False).tobytes()
        else:
            content = json.dumps(column.to_pylist()).encode()
        digest.update(f"{name}:{len(content)}:".encode())
        digest.update(content)
    return digest.hexdigest()


def write_checked(path: Path, table: pa.Table, about: Mapping[str, Any]) -> None:
    """Write a table that `read_checked` can tell from every other."""
    whose = json.dumps(about, sort_keys=True)
    write_table(path, table, {**about, "sha256": checksum(whose, table)})


def read_checked(path: Path, whose: Callable[[Any], str] | None = None) -> tuple[Any, pa.Table]:
    """What a table says of itself, and the table, if both are what was written; else `BrokenPart`.

    ``whose`` makes of the former what `checksum` was told; by default it was all of it.
    """
    import pyarrow.parquet as pq

    with path.open("rb") as stream:  # Arrow takes no name that is not UTF-8
        try:
            with pq.ParquetFile(stream, page_checksum_verification=True) as file:
                about = json.loads((file.schema_arrow.metadata or {}).get(ABOUT, b"{}"))
                table = file.read().replace_schema_metadata(None)
            told = about.pop("sha256")
            own = whose(about) if whose else json.dumps(about, sort_keys=True)
            same = checksum(own, table) == told
        except Exception as error:  # a changed byte can mean anything to JSON and Arrow
            raise BrokenPart(f"{path} cannot be read: {type(error).__name__}, {error}") from None
    if not same:
        raise BrokenPart(f"{path} has another content than was written: its checksum differs")
    return about, table


def set_aside(path: Path) -> Path:
    """Move a broken file out of the way, where it can be looked at; its new name."""
    aside = path.with_name(f"{path.name}.broken-{secrets.token_hex(4)}")
    path.rename(aside)
    return aside


@contextmanager
def alone(folder: Path, shard: tuple[int, int]) -> Iterator[None]:
    """Hold the folder for one shard ``(i, n)`` of n, or raise `Busy`; a whole run is (1, 1).

    The system gives a lock back when its process dies. Shards of one n may run beside each other,
    and nothing else.
    """
    from filelock import FileLock

    own = folder / f"run-{shard[0]}-of-{shard[1]}.lock"
    with ExitStack() as held:
        with FileLock(folder / GUARD, timeout=START):  # a lock that is only looked at is held too
            if not _take(held, own):
                raise Busy(f"{folder} is being run by another process, which holds {own.name}")
            for other in sorted(folder.glob("run-*-of-*.lock")):
                with ExitStack() as tried:
                    if not other.stem.endswith(f"-of-{shard[1]}") and not _take(tried, other):
                        raise Busy(
                            f"{folder} is being run by another process, which holds {other.name}; "
                            "shards run beside shards of the same n only"
                        )
        yield


def _take(held: ExitStack, path: Path) -> bool:
    from filelock import FileLock, Timeout

    try:
        held.enter_context(FileLock(path, timeout=0))
    except Timeout:
        return False
    return True


PACKAGE = Path(__file__).parents[1]
FILES = PACKAGE / "files"  # of a wheel; in a checkout they lie beside the package


def shipped(name: str) -> Path:
    """The folder ``data``, ``notebooks``, ``results`` or ``docs`` that came with the package."""
    return (FILES if FILES.is_dir() else PACKAGE.parent) / name


def is_checkout() -> bool:
    """Whether these folders are a checkout's, to be written to."""
    return not FILES.is_dir()
