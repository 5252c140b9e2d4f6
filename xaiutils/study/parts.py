"""Parts of a study: a few pictures' scores in a Parquet file that says whose it is.

``parts/part-00007.parquet`` holds the result rows of the part's pictures, sorted by their key,
with the study's hash and a checksum in its metadata. ``log/part-00007-....parquet`` holds what is
not a function of the configuration: seconds, worker, host, reasons and tracebacks of each attempt.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from xaiutils.files import ABOUT, TEMPORARY, write_table

KEY = ("image_id", "method", "metric", "seed")
RESULT = pa.schema(
    [
        ("image_id", pa.string()),
        ("wnid", pa.string()),
        ("model", pa.string()),
        ("method", pa.string()),
        ("metric", pa.string()),
        ("value", pa.float64()),
        ("seed", pa.int32()),
        ("error_code", pa.string()),
    ]
)
LOG = pa.schema(
    [
        ("image_id", pa.string()),
        ("method", pa.string()),
        ("metric", pa.string()),
        ("seed", pa.int32()),
        ("seconds", pa.float64()),
        ("error_code", pa.string()),
        ("reason", pa.string()),
        ("traceback", pa.string()),
        ("host", pa.string()),
        ("process", pa.int64()),
        ("instructions", pa.string()),
        ("finished", pa.string()),
    ]
)
_NAME = re.compile(r"part-(\d{5,})\.parquet")


class BrokenPart(ValueError):
    """A part that was cut off, emptied or changed after it was written."""


class ForeignPart(ValueError):
    """A part of another study, or of another place in this one."""


def part_path(folder: Path, index: int) -> Path:
    """Where a part is."""
    return folder / "parts" / f"part-{index:05d}.parquet"


def log_paths(folder: Path) -> list[Path]:
    """The logs of all attempts, in the order of their parts."""
    return sorted((folder / "log").glob("part-*.parquet"))


def found_parts(folder: Path) -> Iterator[int]:
    """The numbers of the parts that are there, whole or not, in order."""
    names = (_NAME.fullmatch(path.name) for path in (folder / "parts").glob("part-*.parquet"))
    yield from sorted(int(name[1]) for name in names if name)


def write_part(folder: Path, study: str, index: int, rows: list[dict[str, Any]]) -> None:
    """Write a part's result rows, sorted by `KEY`."""
    rows = sorted(rows, key=lambda row: tuple(row[key] for key in KEY))
    table = pa.Table.from_pylist(rows, schema=RESULT)
    about = {"study": study, "part": index, "rows": len(rows)}
    about["sha256"] = _checksum(study, index, table)
    write_table(part_path(folder, index), table, about)


def write_log(folder: Path, index: int, rows: list[dict[str, Any]]) -> None:
    """Write what an attempt took and said; no attempt overwrites another."""
    table = pa.Table.from_pylist(rows, schema=LOG)
    path = folder / "log" / f"part-{index:05d}-{secrets.token_hex(4)}.parquet"
    write_table(path, table, {"part": index})


def read_part(folder: Path, study: str, index: int) -> pa.Table:
    """A part's result rows, after every check.

    Raises:
        FileNotFoundError: It is not there.
        BrokenPart: It cannot be read, or is not what was written.
        ForeignPart: It belongs to another study.
    """
    path = part_path(folder, index)
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} must exist: the study is unfinished, go on with xaiutils study run {folder}"
        )
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            about = json.loads((file.schema_arrow.metadata or {}).get(ABOUT, b"{}"))
            table = file.read()
        own = str(about["study"]), int(about["part"])
        whole = table.schema.equals(RESULT) and _checksum(*own, table) == about["sha256"]
    except Exception as error:  # a changed byte can mean anything to JSON and Arrow
        raise BrokenPart(f"{path} cannot be read: {type(error).__name__}, {error}") from None
    if not whole:
        raise BrokenPart(f"{path} has another content than was written: its checksum differs")
    if own != (study, index):
        raise ForeignPart(
            f"{path} must be part {index} of study {study}, it is part {own[1]} of {own[0]}"
        )
    return table.replace_schema_metadata(None)


def _checksum(study: str, index: int, table: pa.Table) -> str:
    """A hash of whose part it is and of every value of its rows, however they are stored."""
    digest = hashlib.sha256(f"{study} {index} ".encode())
    for name in RESULT.names:
        column = table.column(name).combine_chunks()
        if pa.types.is_string(column.type):
            content = json.dumps(column.to_pylist()).encode()
        else:
            content = column.to_numpy(zero_copy_only=False).tobytes()
        digest.update(f"{name}:{len(content)}:".encode())
        digest.update(content)
    return digest.hexdigest()


def set_aside(folder: Path, index: int) -> Path:
    """Move a broken part out of the way, where it can be looked at; its new name."""
    path = part_path(folder, index)
    aside = path.with_name(f"{path.name}.broken-{secrets.token_hex(4)}")
    path.rename(aside)
    return aside


def remove_temporary(folder: Path, mine: Callable[[int], bool]) -> int:
    """Remove what killed writers left of the parts that ``mine(index)`` is true of; how many."""
    count = 0
    for path in (path for name in ("parts", "log") for path in (folder / name).glob(".part-*")):
        number = re.search(r"part-(\d+)", path.name)
        if path.name.endswith(TEMPORARY) and number and mine(int(number[1])):
            path.unlink(missing_ok=True)
            count += 1
    return count
