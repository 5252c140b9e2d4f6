"""Gather the parts of several folders of one study, such as the shards of a job array."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from xaiutils.files import alone, write_whole
from xaiutils.study.folder import MANIFEST, PICTURES, StudyFolder, open_study
from xaiutils.study.parts import found_parts, log_paths, part_path, read_part


def merge_studies(out: Path, folders: Sequence[StudyFolder]) -> int:
    """Gather the parts of several folders of one study, such as shards, in a new one; their number.

    Raises:
        ValueError: They are not of one study, or two of them disagree about a part.
        FileExistsError: ``out`` holds something else.
    """
    first = folders[0]
    _require_one(out, folders)
    for name in ("parts", "log"):
        (out / name).mkdir(parents=True, exist_ok=True)
    with alone(out, (1, 1)):
        for name in (PICTURES, MANIFEST):
            if not (out / name).exists():  # where its own network and pictures are stays
                _copy(first.path / name, out / name)
        for one in folders:
            for index in found_parts(one.path):
                rows = read_part(one.path, first.study.hash, index)
                if not part_path(out, index).is_file():
                    _copy(part_path(one.path, index), part_path(out, index))
                elif not read_part(out, first.study.hash, index).equals(rows):
                    raise ValueError(f"{one.path} and {out} disagree about part {index}")
            for path in log_paths(one.path):
                _copy(path, out / "log" / path.name)
    return len(list(found_parts(out)))


def _require_one(out: Path, folders: Sequence[StudyFolder]) -> None:
    own = folders[0].study.hash
    for one in folders:
        if one.study.hash != own:
            raise ValueError(
                f"folders must be of one study, {folders[0].path} is of {own}, "
                f"{one.path} of {one.study.hash}"
            )
    begun = (out / MANIFEST).is_file()
    other = open_study(out).study.hash != own if begun else out.exists() and any(out.iterdir())
    if other:
        raise FileExistsError(f"{out} must be new or of study {own}")


def _copy(source: Path, target: Path) -> None:
    content = source.read_bytes()
    write_whole(target, lambda stream: stream.write(content))
