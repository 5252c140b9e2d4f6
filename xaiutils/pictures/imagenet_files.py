"""ImageNet's files: where the pictures lie, and what the CSV, XML and synset mapping say."""

from __future__ import annotations

import csv
import math
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from xaiutils.pictures.decode import ENDINGS
from xaiutils.pictures.images import Box
from xaiutils.support import checks

PLACES = ("ILSVRC/Data/CLS-LOC", "Data/CLS-LOC", "")
WNID = re.compile(r"n\d{8}")


@dataclass(frozen=True)
class Pictures:
    """The pictures of a split; ``classes`` are the class folders' names, ``None`` if flat."""

    folder: Path
    files: tuple[Path, ...]
    classes: tuple[str, ...] | None
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Annotation:
    """What one row or one XML file (``where``) says: ``(wnid, box)``, and the picture's (w, h)."""

    objects: tuple[tuple[str, Box], ...]
    where: str
    size: tuple[int, int] | None = None


def inside(root: Path, path: Path) -> Path:
    """Return ``path`` unless it leads, by ``..`` or by a link, out of ``root`` (resolved)."""
    if not path.resolve().is_relative_to(root):
        raise ValueError(
            f"{path} must stay inside the root {root}, it leads to {path.resolve()}; "
            "give the folder that holds the real files"
        )
    return path


def find_pictures(root: Path, split: str) -> Pictures:
    """The pictures of a split, sorted by name: flat, or one folder per class."""
    places = [root / place / split for place in PLACES]
    # A folder that holds splits is no folder of classes.
    places += [] if any((root / name).is_dir() for name in ("train", "val")) else [root]
    for place in filter(Path.is_dir, places):
        files, folders, others = _listing(root, place)
        classes, notes = None, []
        if files and folders:
            notes = [f"{len(folders)} folders beside the pictures are not read"]
        elif not files:
            classes = tuple(sub.name for sub in folders)
            inner = [_listing(root, sub) for sub in folders]
            files = [path for more, _, _ in inner for path in more]
            others += sum(count for _, _, count in inner)
            empty = sum(not more for more, _, _ in inner)
            notes = [f"{empty} class folders have no picture"] if empty else []
        if files:
            notes += [f"{others} hidden or other files are not read"] if others else []
            return Pictures(place, tuple(files), classes, tuple(notes))
    raise FileNotFoundError(
        f"root must hold the pictures of the split {split!r} ({', '.join(sorted(ENDINGS))}), "
        f"flat or one folder per class; looked in {', '.join(map(str, places))}"
    )


def _listing(root: Path, folder: Path) -> tuple[list[Path], list[Path], int]:
    """Pictures and folders by name, and the number of other entries."""
    files, folders, others = [], [], 0
    with os.scandir(inside(root, folder)) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            path = Path(entry.path)
            if entry.is_dir() and not entry.name.startswith("."):
                folders.append(path)
            elif path.suffix.lower() in ENDINGS and not entry.name.startswith("."):
                files.append(inside(root, path) if entry.is_symlink() else path)
            else:
                others += 1
    return files, folders, others


def read_solution(path: Path) -> dict[str, Annotation]:
    """``LOC_val_solution.csv``: ``ImageId,PredictionString`` with ``wnid x0 y0 x1 y1`` repeated."""
    result: dict[str, Annotation] = {}
    checks.regular("the CSV", path)
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.reader(file, strict=True)
            header = next(rows, [])
            if header != ["ImageId", "PredictionString"]:
                raise ValueError(f"{path} must start with ImageId,PredictionString, got {header}")
            for row in rows:
                where = f"{path.name} row {rows.line_num}"
                if len(row) != 2 or not row[0]:
                    raise ValueError(f"{where} must be ImageId,PredictionString, got {row}")
                name, tokens = row[0], row[1].split()
                if name in result:
                    raise ValueError(f"{where} must name a new ImageId, got {name!r} again")
                if Path(name).name != name or "\\" in name or name == "..":
                    raise ValueError(
                        f"{where}: the ImageId must be a file name that stays inside the root, "
                        f"got {name!r}"
                    )
                if not tokens or len(tokens) % 5:
                    raise ValueError(
                        f"{where} must repeat 'wnid x0 y0 x1 y1', got {len(tokens)} values: "
                        f"{tokens[:6]}"
                    )
                fives = (tokens[i : i + 5] for i in range(0, len(tokens), 5))
                result[name] = Annotation(tuple(_object(five, where) for five in fives), where)
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f"{path} must be a UTF-8 CSV table, and cannot be read: {error}") from None
    if not result:
        raise ValueError(f"{path} must have rows, got a header only")
    return result


def read_xml(path: Path) -> Annotation:
    """A Pascal-VOC file without DTD and entities, since these can read any file."""
    import defusedxml
    from defusedxml import ElementTree

    checks.regular("the XML", path)
    try:
        tree = ElementTree.parse(path, forbid_dtd=True).getroot()
    except defusedxml.DefusedXmlException as error:
        raise ValueError(f"{path} must have no DTD and no entities, got {error}") from error
    except ElementTree.ParseError as error:
        raise ValueError(f"{path} must be XML, and cannot be read: {error}") from error
    sides = [tree.findtext(f"size/{side}", "").strip() for side in ("width", "height")]
    size = (int(sides[0]), int(sides[1])) if all(map(str.isdigit, sides)) else None
    parts = ("name", "bndbox/xmin", "bndbox/ymin", "bndbox/xmax", "bndbox/ymax")
    found = ([item.findtext(part) for part in parts] for item in tree.iter("object"))
    return Annotation(tuple(_object(values, str(path)) for values in found), str(path), size)


def read_mapping(path: Path) -> dict[str, str]:
    """``LOC_synset_mapping.txt``: one ``wnid names`` a line, as wnid -> names, sorted by wnid."""
    result: dict[str, str] = {}
    checks.regular("the synset mapping", path)
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), 1):
        wnid, _, name = line.strip().partition(" ")
        if not WNID.fullmatch(wnid) or not name or wnid in result:
            raise ValueError(
                f"{path.name} line {number} must be a new wnid and its names, got {line!r}"
            )
        result[wnid] = name
    return dict(sorted(result.items()))


def _object(values: Iterable[str | None], where: str) -> tuple[str, Box]:
    wnid, *numbers = ((value or "").strip() for value in values)
    if not WNID.fullmatch(wnid):
        raise ValueError(f"{where} must give the class as a wnid (n01440764), got {wnid!r}")
    try:
        x0, y0, x1, y1 = map(float, numbers)
    except ValueError:
        raise ValueError(f"{where} must give a box as four numbers, got {numbers}") from None
    if not all(map(math.isfinite, (x0, y0, x1, y1))) or x0 >= x1 or y0 >= y1:
        raise ValueError(
            f"{where} must give finite boxes with x0 < x1 and y0 < y1, got {[x0, y0, x1, y1]}"
        )
    return wnid, (x0, y0, x1, y1)
