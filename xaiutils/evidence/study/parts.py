"""Parts of a study: a few pictures' scores in a Parquet file that says whose it is.

``parts/part-00007.parquet`` holds the result rows of the part's pictures, sorted by their key,
with the study's hash and a checksum in its metadata. ``log/part-00007-....parquet`` holds what is
not a function of the configuration: seconds, worker, host, reasons and tracebacks of each attempt.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Container, Iterator, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any

import pyarrow as pa

from xaiutils.evidence.study.folder import MANIFEST, PICTURES, StudyFolder, open_study
from xaiutils.support.files import (
    TEMPORARY,
    BrokenPart,
    alone,
    checksum,
    read_checked,
    write_table,
    write_whole,
)

KEY = ("image_id", "method", "metric", "seed")
_NUMBERS = {"value": pa.float64(), "seconds": pa.float64(), "seed": pa.int32()}
_NUMBERS |= {"process": pa.int64()}


def _schema(names: str) -> pa.Schema:
    return pa.schema([(name, _NUMBERS.get(name, pa.string())) for name in names.split()])


RESULT = _schema("image_id wnid model method metric value seed error_code")
LOG = _schema(
    "image_id method metric seed seconds error_code reason traceback host process instructions "
    "finished"
)
_NAME = re.compile(r"part-(\d{5,})\.parquet")


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
    rows = sorted(rows, key=itemgetter(*KEY))
    table = pa.Table.from_pylist(rows, schema=RESULT)
    about = {"study": study, "part": index, "rows": len(rows)}
    about["sha256"] = checksum(f"{study} {index}", table)
    write_table(part_path(folder, index), table, about)


def write_log(folder: Path, index: int, rows: list[dict[str, Any]]) -> None:
    """Write what an attempt took and said; no attempt overwrites another."""
    table = pa.Table.from_pylist(rows, schema=LOG)
    path = folder / "log" / f"part-{index:05d}-{secrets.token_hex(4)}.parquet"
    write_table(path, table, {"part": index})


def read_part(folder: Path, study: str, index: int) -> pa.Table:
    """A part's result rows, after every check.

    Raises:
        FileNotFoundError, BrokenPart: It is not there, or is not what was written.
        ForeignPart: It belongs to another study.
    """
    path = part_path(folder, index)
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} must exist: the study is unfinished, go on with xaiutils study run {folder}"
        )
    about, table = read_checked(path, lambda own: f"{own['study']} {int(own['part'])}")
    own = about["study"], int(about["part"])
    if not table.schema.equals(RESULT):
        raise BrokenPart(f"{path} has other columns than were written")
    if own != (study, index):
        raise ForeignPart(
            f"{path} must be part {index} of study {study}, it is part {own[1]} of {own[0]}"
        )
    return table


def remove_temporary(folder: Path, mine: Container[int]) -> None:
    """Remove what killed writers left of these parts."""
    for path in (path for name in ("parts", "log") for path in (folder / name).glob(".part-*")):
        number = re.search(r"part-(\d+)", path.name)
        if path.name.endswith(TEMPORARY) and number and int(number[1]) in mine:
            path.unlink(missing_ok=True)


def merge_studies(out: Path, folders: Sequence[StudyFolder]) -> int:
    """Gather the parts of several folders of one study, such as shards, in a new one; their number.

    Raises:
        ValueError: They are not of one study, or two of them disagree about a part.
        FileExistsError: ``out`` holds something else.
    """
    first, own = folders[0], folders[0].study.hash
    for one in folders:
        if one.study.hash != own:
            raise ValueError(
                f"folders must be of one study, {first.path} is of {own}, "
                f"{one.path} of {one.study.hash}"
            )
    begun = (out / MANIFEST).is_file()
    if open_study(out).study.hash != own if begun else out.exists() and any(out.iterdir()):
        raise FileExistsError(f"{out} must be new or of study {own}")
    for name in ("parts", "log"):
        (out / name).mkdir(parents=True, exist_ok=True)
    with alone(out, (1, 1)):
        for name in (PICTURES, MANIFEST):
            if not (out / name).exists():  # where its own network and pictures are stays
                _copy(first.path / name, out / name)
        for one in folders:
            for index in found_parts(one.path):
                rows = read_part(one.path, own, index)
                if not part_path(out, index).is_file():
                    _copy(part_path(one.path, index), part_path(out, index))
                elif not read_part(out, own, index).equals(rows):
                    raise ValueError(f"{one.path} and {out} disagree about part {index}")
            for path in log_paths(one.path):
                _copy(path, out / "log" / path.name)
    return len(list(found_parts(out)))


def _copy(source: Path, target: Path) -> None:
    write_whole(target, lambda stream: stream.write(source.read_bytes()))
