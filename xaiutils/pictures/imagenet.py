"""ImageNet as users have it: Kaggle's download, torchvision's folders, or a folder of pictures."""

from __future__ import annotations

import csv
import math
import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

from xaiutils.pictures.boxes import BoxTarget, sample_target
from xaiutils.pictures.decode import ENDINGS
from xaiutils.pictures.images import Box, Sample, load_image
from xaiutils.support import checks
from xaiutils.support.borrowed import environment_kept

__all__ = ["BoxTarget", "ImageNetFolder", "open_imagenet", "sample_target"]

PLACES = ("ILSVRC/Data/CLS-LOC", "Data/CLS-LOC", "")
WNID = re.compile(r"n\d{8}")
BEYOND = 0.2  # of a side: so far a box reaches out of a picture that was made smaller
SIZES = {"val": 50_000, "train": 1_281_167}


class Annotation(NamedTuple):
    """What one row or one XML file (``where``) says: ``(wnid, box)``, and the picture's (w, h)."""

    objects: tuple[tuple[str, Box], ...]
    where: str
    size: tuple[int, int] | None = None


class Entry(NamedTuple):
    """One picture, not yet decoded; its class folder, CSV row and XML file, where it has them."""

    id: str
    path: Path
    folder: str | None
    row: Annotation | None
    xml: Path | None


@dataclass(frozen=True, eq=False)
class ImageNetFolder(Sequence[Sample]):
    """A lazy sequence of samples: a picture is decoded when its index is read.

    Pictures of a labelled layout are read as stored, since boxes and published accuracies refer
    to the stored pixels; those of a plain folder are turned as their EXIF orientation says.

    ``layout`` is ``kaggle`` (flat, labels from the CSV), ``xml`` (flat, labels from XML), ``tree``
    (one folder per class), or ``folder`` (pictures without labels). ``wnids`` are sorted; the
    position is the class index, torchvision's where there are 1,000. ``report``, of the whole, says
    what was found and what not.
    """

    root: Path
    layout: str
    wnids: tuple[str, ...] = field(repr=False)
    classes: tuple[str, ...] = field(repr=False)
    report: str = field(repr=False)
    entries: tuple[Entry, ...] = field(repr=False)

    def __len__(self) -> int:
        """Number of pictures."""
        return len(self.entries)

    def __getitem__(self, index: Any) -> Any:
        """One sample, decoded now; or, for a slice, the same data set with fewer pictures.

        Raises:
            ValueError: the picture or its XML cannot be read, the XML is of a picture of another
                size, or a box lies outside the picture.
        """
        if isinstance(index, slice):
            return replace(self, entries=self.entries[index])
        wnid, label, found = self.annotation(index)
        entry = self.entries[index]
        picture = load_image(self.file(index), upright=self.layout == "folder")
        if found and entry.row and entry.xml:  # the CSV does not tell of which size its boxes are
            found = found._replace(size=read_xml(entry.xml).size)
        boxes, notes = _cut(found, wnid, picture.size) if found else ((), ())
        return Sample(entry.id, picture, label, None, boxes, wnid, notes)

    def file(self, index: int) -> Path:
        """The file of one picture."""
        return self.entries[index].path

    def annotation(self, index: int) -> tuple[str | None, int | None, Annotation | None]:
        """The wnid, class index and annotation of one picture, without decoding it.

        The CSV goes before the XML; in flat layouts the first object names the class.

        Raises:
            ValueError: The annotation cannot be read, or speaks of another class than the folder.
        """
        entry = self.entries[index]
        found = entry.row or (read_xml(entry.xml) if entry.xml else None)
        names = [wnid for wnid, _ in found.objects] if found else []
        if found and names and entry.folder not in {None, *names}:
            raise ValueError(
                f"{found.where} must agree with the class folder {entry.folder}, got {names[0]}"
            )
        wnid = entry.folder or (names[0] if names else None)
        if wnid is not None and wnid not in self.wnids:
            raise ValueError(f"{entry.id} must have a class of the synset mapping, got {wnid}")
        return wnid, None if wnid is None else self.wnids.index(wnid), found


def open_imagenet(
    root: str | os.PathLike[str] | None = None, split: str = "val", *, allow_missing: bool = False
) -> ImageNetFolder:
    """Open ImageNet by detection of its layout; print ``.report`` to see what was found.

    Args:
        root: by default what the variable ``XAIUTILS_IMAGENET`` names.
        split: ``val`` or ``train``.
        allow_missing: accept a CSV that names more pictures than there are, and report them.

    Raises:
        FileNotFoundError: no such folder, no pictures in it, or a CSV row without its picture.
        ValueError: a malformed file, or an unknown class.
    """
    checks.choice("split", split, SIZES)
    given = os.environ.get("XAIUTILS_IMAGENET", "") if root is None else os.fspath(root)
    if not given:
        raise ValueError(
            "root must be the folder that holds ImageNet, got nothing; "
            "pass it, or set the variable XAIUTILS_IMAGENET"
        )
    base = Path(given).expanduser().resolve()
    if not base.is_dir():
        raise FileNotFoundError(f"root must be an existing folder, got {str(given)!r}")
    folder, paths, folders = _pictures(base, split)
    above = [p for p in (folder, *folder.parents) if p.is_relative_to(base)]

    def nearest(name: str) -> Path | None:
        """The annotation file nearest above the pictures, but not above the root."""
        return next((p / name for p in above if (p / name).exists()), None)

    table, listing = nearest(f"LOC_{split}_solution.csv"), nearest("LOC_synset_mapping.txt")
    voc = nearest(f"Annotations/CLS-LOC/{split}")
    rows = read_solution(table) if table else {}
    xmls = {path.stem: path for path in voc.rglob("*.xml")} if voc else {}
    flat = "kaggle" if rows else "xml" if xmls else "folder"
    layout = flat if folders is None else "tree"
    entries = tuple(
        Entry(
            p.stem if layout in {"kaggle", "xml"} else p.relative_to(folder).as_posix(), p,
            folder=p.parent.name if layout == "tree" else None,
            row=rows.get(p.stem), xml=xmls.get(p.stem),
        )
        for p in paths
    )  # fmt: skip
    stems = Counter(path.stem for path in paths)
    twice = [stem for stem, count in stems.items() if count > 1]
    if twice and (rows or xmls):
        raise ValueError(f"pictures must have unique names, got several {twice[0]!r}")
    absent = [name for name in rows if name not in stems]
    if absent and not allow_missing:
        raise FileNotFoundError(
            f"{rows[absent[0]].where} names {absent[0]!r}, and {folder} has no such "
            f"picture ({len(absent)} such rows); complete the copy, or pass allow_missing=True"
        )
    mapping = read_mapping(listing) if listing else None
    known = {*(folders or ()), *(w for row in rows.values() for w, _ in row.objects)}
    if mapping is None and layout in {"kaggle", "xml"}:
        unread = [e.xml for e in entries if e.xml and not e.row]
        known |= {w for xml in unread for w, _ in read_xml(xml).objects}
    wnids, classes = _class_names(known, mapping)

    annotated = sum(bool(e.row or e.xml) for e in entries)
    lines = [
        f"{len(entries)} pictures in {folder} (layout {layout}), "
        f"{annotated} with a CSV row or an XML file"
    ]
    unlisted = [e.id for e in entries if layout != "folder" and not (e.folder or e.row or e.xml)]
    for title, names in (("without label", unlisted), ("without picture", absent)):
        more = ", ..." if len(names) > 5 else ""
        lines += [f"{title}: {len(names)} ({', '.join(names[:5])}{more})"] if names else []
    if not rows and not xmls:
        lines.append(f"not found: LOC_{split}_solution.csv or Annotations/CLS-LOC/{split}: boxes")
    if layout != "folder" and wnids == classes:
        lines.append("not found: LOC_synset_mapping.txt: names of the classes")
    if layout != "folder" and len(wnids) != 1000:
        lines.append(f"class indices are within these {len(wnids)} classes, not ImageNet's 1,000")
    elif layout != "folder" and len(entries) != SIZES[split]:
        lines.append(f"ImageNet's split {split!r} has {SIZES[split]:,} pictures")
    return ImageNetFolder(base, layout, wnids, classes, "\n".join(lines), entries)


def _pictures(root: Path, split: str) -> tuple[Path, list[Path], list[str] | None]:
    """The folder of a split, its pictures by name, and its class folders, None where it is flat."""
    places = [root / place / split for place in PLACES]
    # A folder that holds splits is no folder of classes.
    places += [] if any((root / name).is_dir() for name in ("train", "val")) else [root]
    for place in filter(Path.is_dir, places):
        if files := _listing(place):
            return place, files, None
        folders = sorted(p for p in place.iterdir() if p.is_dir() and p.name[0] != ".")
        files = [path for one in folders for path in _listing(one)]
        if files:
            return place, files, [one.name for one in folders]
    raise FileNotFoundError(
        f"root must hold the pictures of the split {split!r} ({', '.join(sorted(ENDINGS))}), "
        f"flat or one folder per class; looked in {', '.join(map(str, places))}"
    )


def _listing(folder: Path) -> list[Path]:
    """Its pictures, told by their names alone: there may be a million."""
    with os.scandir(folder) as entries:
        names = (e.name for e in entries if e.name.lower().endswith(ENDINGS) and e.name[0] != ".")
        return [folder / name for name in sorted(names)]


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
                if len(row) != 2 or not row[0] or row[0] in result:
                    raise ValueError(f"{where} must be a new ImageId,PredictionString, got {row}")
                tokens = row[1].split()
                if not tokens or len(tokens) % 5:
                    raise ValueError(
                        f"{where} must repeat 'wnid x0 y0 x1 y1', got {len(tokens)} values: "
                        f"{tokens[:6]}"
                    )
                fives = (tokens[i : i + 5] for i in range(0, len(tokens), 5))
                result[row[0]] = Annotation(tuple(_object(five, where) for five in fives), where)
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f"{path} must be a UTF-8 CSV table, and cannot be read: {error}") from None
    if not result:
        raise ValueError(f"{path} must have rows, got a header only")
    return result


def read_xml(path: Path) -> Annotation:
    """A Pascal-VOC file; one with a DTD, which can define entities, is refused."""
    text = checks.regular("the XML", path).read_text(encoding="utf-8")
    if "<!DOCTYPE" in text:
        raise ValueError(f"{path} must have no DTD and no entities")
    try:
        tree = ElementTree.fromstring(text)
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


def _cut(
    found: Annotation, wnid: str | None, size: tuple[int, int]
) -> tuple[tuple[Box, ...], tuple[str, ...]]:
    """The boxes of one class cut to the decoded picture ``(w, h)``, and what had to be said."""
    told = found.size or size
    if 0 not in told and max(abs(a - b) for a, b in zip(told, size, strict=True)) > 1:
        raise ValueError(
            f"{found.where} must be of this picture, it says {told} pixels and the picture has "
            f"{size}: the boxes would lie elsewhere; give the picture as it was annotated"
        )
    boxes, notes = [], [] if found.objects else [f"{found.where} names no object"]
    own = [box for name, box in found.objects if name == wnid]
    if len(own) < len(found.objects):
        notes.append(f"{len(found.objects) - len(own)} boxes of other classes are left out")
    for number, box in enumerate(own, 1):
        cut = max(box[0], 0.0), max(box[1], 0.0), min(box[2], size[0]), min(box[3], size[1])
        out = max(abs(a - b) / side for a, b, side in zip(cut, box, size * 2, strict=True))
        if cut[0] >= cut[2] or cut[1] >= cut[3] or out > BEYOND:
            raise ValueError(
                f"{found.where}: box {number} must lie in the picture of {size} pixels, got {box}; "
                "give the picture as it was annotated"
            )
        if cut != box:
            notes.append(f"box {number} {box} is cut to the picture of {size} pixels")
        boxes.append(cut)
    return tuple(boxes), tuple(notes)


def _class_names(
    known: set[str], mapping: dict[str, str] | None
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Sorted wnids, and their names: the mapping's, or torchvision's for a full set."""
    if mapping is not None:
        unknown = sorted(known - mapping.keys())
        if unknown:
            raise ValueError(f"classes must be in LOC_synset_mapping.txt, got {unknown[:5]}")
        return tuple(mapping), tuple(mapping.values())
    wnids = tuple(sorted(known))
    if len(wnids) == 1000 and all(map(WNID.fullmatch, wnids)):
        with environment_kept():
            from torchvision.models import AlexNet_Weights

        return wnids, tuple(AlexNet_Weights.IMAGENET1K_V1.meta["categories"])
    return wnids, wnids
