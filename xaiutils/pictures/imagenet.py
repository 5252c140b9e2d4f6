"""ImageNet as users have it: Kaggle's download, torchvision's folders, or a folder of pictures."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from xaiutils.pictures import imagenet_files as files
from xaiutils.pictures.boxes import BoxTarget, sample_target
from xaiutils.pictures.imagenet_files import Annotation, inside
from xaiutils.pictures.images import Box, Sample, load_image
from xaiutils.support import checks
from xaiutils.support.borrowed import environment_kept

__all__ = ["BoxTarget", "ImageNetFolder", "Report", "open_imagenet", "sample_target"]

BEYOND = 0.2  # of a side: so far a box reaches out of a picture that was made smaller
SIZES = {"val": 50_000, "train": 1_281_167}


@dataclass(frozen=True)
class Report:
    """What ``open_imagenet`` found, and what it did not; ``print`` it.

    ``layout`` is ``kaggle`` (flat, labels from the CSV), ``xml`` (flat, labels from XML), ``tree``
    (one folder per class), or ``folder`` (pictures without labels); ``annotated`` have a CSV row or
    an XML file, ``unlisted`` have no label, ``absent`` are in the CSV but have no picture.
    """

    layout: str
    folder: Path
    images: int
    annotated: int
    unlisted: tuple[str, ...]
    absent: tuple[str, ...]
    missing: tuple[str, ...]
    notes: tuple[str, ...]

    def __str__(self) -> str:
        """The report as a few lines to print."""
        lines = [
            f"{self.images} pictures in {self.folder} (layout {self.layout}), "
            f"{self.annotated} with a CSV row or an XML file"
        ]
        for title, names in (("without label", self.unlisted), ("without picture", self.absent)):
            more = ", ..." if len(names) > 5 else ""
            lines += [f"{title}: {len(names)} ({', '.join(names[:5])}{more})"] if names else []
        return "\n".join([*lines, *(f"not found: {x}" for x in self.missing), *self.notes])


@dataclass(frozen=True)
class Entry:
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

    No file outside the ``root`` is read. ``wnids`` are sorted; the position is the class index,
    torchvision's where there are 1,000. A slice keeps the report of the whole.
    """

    root: Path
    layout: str
    wnids: tuple[str, ...] = field(repr=False)
    classes: tuple[str, ...] = field(repr=False)
    report: Report = field(repr=False)
    entries: tuple[Entry, ...] = field(repr=False)

    def __len__(self) -> int:
        """Number of pictures."""
        return len(self.entries)

    def __getitem__(self, index: Any) -> Any:
        """One sample, decoded now; or, for a slice, the same data set with fewer pictures.

        Raises:
            ValueError: the picture or its XML cannot be read, the XML is of a picture of another
                shape, or a box lies outside the picture.
        """
        if isinstance(index, slice):
            return replace(self, entries=self.entries[index])
        wnid, label, found = self.annotation(index)
        entry = self.entries[index]
        picture = load_image(self.file(index), upright=self.layout == "folder")
        if found and entry.row and entry.xml:  # the CSV does not tell of which size its boxes are
            found = replace(found, size=files.read_xml(inside(self.root, entry.xml)).size)
        boxes, notes = _cut(found, wnid, picture.size) if found else ((), ())
        return Sample(entry.id, picture, label, None, boxes, wnid, notes)

    def file(self, index: int) -> Path:
        """The file of one picture, which may have gone since the folder was opened."""
        return inside(self.root, self.entries[index].path)

    def annotation(self, index: int) -> tuple[str | None, int | None, Annotation | None]:
        """The wnid, class index and annotation of one picture, without decoding it.

        The CSV goes before the XML; in flat layouts the first object names the class.

        Raises:
            ValueError: The annotation cannot be read, or speaks of another class than the folder.
        """
        entry = self.entries[index]
        found = entry.row or (files.read_xml(inside(self.root, entry.xml)) if entry.xml else None)
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

    Boxes of an XML file are scaled to a picture that was resized in proportion. The CSV does not
    tell of which size its boxes are: resized pictures need the XML files beside it.

    Args:
        root: by default what the variable ``XAIUTILS_IMAGENET`` names.
        split: ``val`` or ``train``.
        allow_missing: accept a CSV that names more pictures than there are, and report them.

    Raises:
        FileNotFoundError: no such folder, no pictures in it, or a CSV row without its picture.
        ValueError: a malformed file, an unknown class, or a path that leaves ``root``.
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
    pictures = files.find_pictures(base, split)
    above = [p for p in (pictures.folder, *pictures.folder.parents) if p.is_relative_to(base)]

    def nearest(name: str) -> Path | None:
        """The annotation file nearest above the pictures, but not above the root."""
        return next((inside(base, p / name) for p in above if (p / name).exists()), None)

    table, listing = nearest(f"LOC_{split}_solution.csv"), nearest("LOC_synset_mapping.txt")
    voc = nearest(f"Annotations/CLS-LOC/{split}")
    rows = files.read_solution(table) if table else {}
    xmls = {path.stem: path for path in voc.rglob("*.xml")} if voc else {}
    absent = _without_picture(rows, pictures, allow_missing) if rows or xmls else ()
    flat = "kaggle" if rows else "xml" if xmls else "folder"
    layout = flat if pictures.classes is None else "tree"
    labelled = layout != "folder"
    entries = tuple(
        Entry(
            id=p.stem if layout in {"kaggle", "xml"} else p.relative_to(pictures.folder).as_posix(),
            path=p,
            folder=p.parent.name if layout == "tree" else None,
            row=rows.get(p.stem),
            xml=xmls.get(p.stem),
        )
        for p in pictures.files
    )
    mapping = files.read_mapping(listing) if listing else None
    known = {*(pictures.classes or ()), *(w for row in rows.values() for w, _ in row.objects)}
    if mapping is None and layout in {"kaggle", "xml"}:
        unread = [e.xml for e in entries if e.xml and not e.row]
        known |= {w for xml in unread for w, _ in files.read_xml(inside(base, xml)).objects}
    wnids, classes = _class_names(known, mapping)
    notes, missing = list(pictures.notes), []
    if not rows and not xmls:
        lacking = "no boxes" if labelled else "no labels and no boxes"
        missing.append(f"LOC_{split}_solution.csv or Annotations/CLS-LOC/{split}: {lacking}")
    if labelled and mapping is None and wnids == classes:
        missing.append("LOC_synset_mapping.txt: classes have no names")
    if labelled and len(wnids) != 1000:
        notes.append(f"class indices are within these {len(wnids)} classes, not ImageNet's 1,000")
    elif labelled and len(entries) != SIZES[split]:
        notes.append(f"ImageNet's split {split!r} has {SIZES[split]:,} pictures")
    report = Report(
        layout=layout,
        folder=pictures.folder,
        images=len(entries),
        annotated=sum(bool(e.row or e.xml) for e in entries),
        unlisted=tuple(e.id for e in entries if labelled and not (e.folder or e.row or e.xml)),
        absent=absent,
        missing=tuple(missing),
        notes=tuple(notes),
    )
    return ImageNetFolder(base, layout, wnids, classes, report, entries)


def _without_picture(
    rows: Mapping[str, Annotation], pictures: files.Pictures, allow_missing: bool
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


def _cut(
    found: Annotation, wnid: str | None, size: tuple[int, int]
) -> tuple[tuple[Box, ...], tuple[str, ...]]:
    """The boxes of one class cut to the decoded picture ``(w, h)``, and what had to be said."""
    boxes, notes = [], [] if found.objects else [f"{found.where} names no object"]
    own = [box for name, box in found.objects if name == wnid]
    if len(own) < len(found.objects):
        notes.append(f"{len(found.objects) - len(own)} boxes of other classes are left out")
    (width, height), (across, down, said) = map(float, size), _scale(found, size)
    notes += said
    for number, (x0, y0, x1, y1) in enumerate(own, 1):
        box = x0 * across, y0 * down, x1 * across, y1 * down
        cut = max(box[0], 0.0), max(box[1], 0.0), min(box[2], width), min(box[3], height)
        if cut[0] >= cut[2] or cut[1] >= cut[3]:
            raise ValueError(
                f"{found.where}: box {number} must overlap the picture of {size} pixels, got {box}"
            )
        if max(abs(a - b) / side for a, b, side in zip(cut, box, size * 2, strict=True)) > BEYOND:
            raise ValueError(
                f"{found.where}: box {number} must lie in the picture of {size} pixels, got {box}; "
                "if the pictures were resized, their XML files must tell from which size"
            )
        if cut != box:
            notes.append(f"box {number} {box} is cut to the picture of {size} pixels")
        boxes.append(cut)
    return tuple(boxes), tuple(notes)


def _scale(found: Annotation, size: tuple[int, int]) -> tuple[float, float, list[str]]:
    """What takes an annotation's pixels to those of a picture of this size: across, down, a note.

    A copy resized in proportion has sides within a pixel of :math:`s w` and :math:`s h`.
    """
    if found.size in (None, size):
        return 1, 1, []
    (width, height), (w, h) = size, found.size
    if 0 in found.size:
        return 1, 1, [f"the XML says {found.size} pixels; boxes are kept"]
    told = f"the XML says {found.size} pixels, the picture has {size}"
    if abs(width - w) <= 1 and abs(height - h) <= 1:
        return 1, 1, [f"{told}; boxes are kept"]
    if abs(width * h - height * w) > w + h:
        raise ValueError(
            f"{found.where} must be of this picture or of one in proportion to it, it says "
            f"{found.size} pixels and the picture has {size}: cut, stretched or turned, so that "
            "the boxes would lie elsewhere; give the picture as it was annotated"
        )
    return width / w, height / h, [f"{told}; boxes are scaled"]


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
    if len(wnids) == 1000 and all(map(files.WNID.fullmatch, wnids)):
        with environment_kept():
            from torchvision.models import AlexNet_Weights

        return wnids, tuple(AlexNet_Weights.IMAGENET1K_V1.meta["categories"])
    return wnids, wnids
