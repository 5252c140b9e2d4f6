"""ImageNet's files: where the pictures lie, and what the CSV, XML and synset mapping say."""

from __future__ import annotations

import csv
import math
import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from xaiutils.pictures.images import Box
from xaiutils.support import checks

PICTURES = {".jpeg", ".jpg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"}
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
    """What one row or one XML file says about one picture.

    Args:
        objects: ``(wnid, box)`` in the order of the file.
        where: file and row, for messages.
        size: ``(width, height)`` that the XML declares.
    """

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
    """The pictures of a split, sorted by name: flat, or one folder per class.

    Raises:
        FileNotFoundError: none of the known places holds a picture.
        ValueError: a link leads out of ``root``.
    """
    places = [root / place / split for place in PLACES]
    # A folder that holds splits is no folder of classes.
    places += [] if any((root / name).is_dir() for name in ("train", "val")) else [root]
    for place in places:
        if place.is_dir():
            found = _scan(root, inside(root, place))
            if found.files:
                return found
    raise FileNotFoundError(
        f"root must hold the pictures of the split {split!r} ({', '.join(sorted(PICTURES))}), "
        f"flat or one folder per class; looked in {', '.join(map(str, places))}"
    )


def look_up(root: Path, pictures: Pictures, name: str) -> Path | None:
    """The annotation file nearest above the pictures, but not above the root."""
    for place in (pictures.folder, *pictures.folder.parents):
        if place.is_relative_to(root) and (place / name).exists():
            return inside(root, place / name)
    return None


def without_picture(
    rows: Mapping[str, Annotation], pictures: Pictures, allow_missing: bool
) -> tuple[str, ...]:
    """Ids of rows that no picture answers to, if they are allowed; the first one's error if not."""
    stems = Counter(path.stem for path in pictures.files)
    ambiguous = [stem for stem, count in stems.items() if count > 1]
    if ambiguous:
        raise ValueError(f"pictures must have unique names, got several {ambiguous[0]!r}")
    absent = tuple(name for name in rows if name not in stems)
    if absent and not allow_missing:
        raise FileNotFoundError(
            f"{rows[absent[0]].where} names {absent[0]!r}, and {pictures.folder} has no such "
            f"picture ({len(absent)} such rows); complete the copy, or pass allow_missing=True"
        )
    return absent


def _scan(root: Path, folder: Path) -> Pictures:
    files, folders, others = _listing(root, folder)
    if files:
        notes = [f"{len(folders)} folders beside the pictures are not read"] if folders else []
        classes = None
    else:
        notes, empty = [], 0
        for sub in folders:
            more, _, other = _listing(root, inside(root, sub))
            files += more
            others += other
            empty += not more
        classes = tuple(sub.name for sub in folders)
        notes += [f"{empty} class folders have no picture"] if empty else []
    notes += [f"{others} hidden or other files are not read"] if others else []
    return Pictures(folder, tuple(files), classes, tuple(notes))


def _listing(root: Path, folder: Path) -> tuple[list[Path], list[Path], int]:
    """Pictures and folders by name, and the number of other entries."""
    files, folders, others = [], [], 0
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            path = Path(entry.path)
            if entry.name.startswith("."):
                others += 1
            elif entry.is_dir():
                folders.append(path)
            elif path.suffix.lower() in PICTURES:
                files.append(inside(root, path) if entry.is_symlink() else path)
            else:
                others += 1
    return files, folders, others


def read_solution(path: Path) -> dict[str, Annotation]:
    """``LOC_val_solution.csv``: ``ImageId,PredictionString`` with ``wnid x0 y0 x1 y1`` repeated.

    Raises:
        ValueError: another header, or a malformed row, named by its line number.
    """
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
                if row[0] in result:
                    raise ValueError(f"{where} must name a new ImageId, got {row[0]!r} again")
                if Path(row[0]).name != row[0] or "\\" in row[0] or row[0] == "..":
                    raise ValueError(
                        f"{where}: the ImageId must be a file name that stays inside the root, "
                        f"got {row[0]!r}"
                    )
                result[row[0]] = _from_prediction(row[1].split(), where)
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f"{path} must be a UTF-8 CSV table, and cannot be read: {error}") from None
    if not result:
        raise ValueError(f"{path} must have rows, got a header only")
    return result


def read_xml(path: Path) -> Annotation:
    """A Pascal-VOC file: ``object/name`` is the wnid, ``object/bndbox`` the box.

    Raises:
        ValueError: not such a file; entities and DTDs are refused, since they can read any file.
    """
    import defusedxml
    from defusedxml import ElementTree

    checks.regular("the XML", path)
    try:
        tree = ElementTree.parse(path, forbid_dtd=True).getroot()
    except defusedxml.DefusedXmlException as error:
        raise ValueError(f"{path} must have no DTD and no entities, got {error}") from error
    except ElementTree.ParseError as error:
        raise ValueError(f"{path} must be XML, and cannot be read: {error}") from error
    sides = [tree.findtext(f"size/{side}") for side in ("width", "height")]
    size = (int(sides[0]), int(sides[1])) if all(s and s.strip().isdigit() for s in sides) else None
    objects = []
    for item in tree.iter("object"):
        box = [item.findtext(f"bndbox/{side}") for side in ("xmin", "ymin", "xmax", "ymax")]
        objects.append(_object([item.findtext("name"), *box], str(path)))
    return Annotation(tuple(objects), str(path), size)


def read_mapping(path: Path) -> dict[str, str]:
    """``LOC_synset_mapping.txt``: one ``wnid names`` a line, as wnid -> names, sorted by wnid.

    Raises:
        ValueError: a line without wnid or without name, or a wnid twice, named by line number.
    """
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


def _from_prediction(tokens: list[str], where: str) -> Annotation:
    if not tokens or len(tokens) % 5:
        raise ValueError(
            f"{where} must repeat 'wnid x0 y0 x1 y1', got {len(tokens)} values: {tokens[:6]}"
        )
    objects = (_object(tokens[i : i + 5], where) for i in range(0, len(tokens), 5))
    return Annotation(tuple(objects), where)


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
