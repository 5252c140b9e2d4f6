"""The pictures of a study: which ones, and a hash of each, so that none is swapped unseen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from xaiutils.cases.workloads import Workload
from xaiutils.evidence import fingerprint
from xaiutils.pictures import scenes
from xaiutils.pictures.imagenet import ImageNetFolder
from xaiutils.pictures.images import Sample
from xaiutils.support.checks import printable
from xaiutils.support.files import write_table

TEXTS = dict.fromkeys(("image_id", "wnid", "sha256"), pa.string())


@dataclass(frozen=True)
class Picture:
    """One picture: its place in the workload, its label if it has one, and a hash of all of it."""

    image_id: str
    index: int
    wnid: str
    label: int | None
    sha256: str


FIELDS = pa.schema([(name, TEXTS.get(name, pa.int64())) for name in Picture.__dataclass_fields__])


def look(work: Workload, index: int) -> Picture:
    """One picture as it is now.

    The hash is of the file and its annotation for ImageNet, of the description for a scene, and of
    pixels, label, mask and boxes for all others.
    """
    if isinstance(work.samples, ImageNetFolder):
        return _of_imagenet(work.samples, index)
    if work.generated:
        scene = scenes.scene(work.split, index)
        return Picture(scene.id, index, "", scenes.label(scene), _hash(repr(scene).encode()))
    sample = work.samples[index]
    names = printable(sample.id), index, printable(sample.wnid or "")
    return Picture(*names, sample.label, _hash(*_content(sample)))


def listing(work: Workload, indices: Iterable[int]) -> list[Picture]:
    """Pictures sorted by their names, each its own: the order of the result table."""
    found = sorted((look(work, index) for index in indices), key=lambda one: one.image_id)
    for name, count in Counter(one.image_id for one in found).items():
        if count > 1:
            raise ValueError(f"pictures must have names of their own, got {name} twice")
    return found


def digest(pictures: Iterable[Picture]) -> str:
    """A hash of all of them."""
    return _hash(*(repr((p.image_id, p.wnid, p.label, p.sha256)).encode() for p in pictures))[:16]


def write_pictures(path: Path, pictures: Iterable[Picture]) -> None:
    """Write the list."""
    write_table(path, pa.Table.from_pylist([vars(one) for one in pictures], schema=FIELDS), {})


def read_pictures(path: Path) -> list[Picture]:
    """The list that was written."""
    with path.open("rb") as stream:
        return [Picture(**row) for row in pq.read_table(stream).to_pylist()]


def _of_imagenet(folder: ImageNetFolder, index: int) -> Picture:
    entry = folder.entries[index]
    try:
        wnid, label, found = folder.annotation(index)
        about = repr((wnid, label, found and found.objects))
    except (OSError, ValueError) as error:  # the picture will be scored as broken
        wnid, label, about = entry.folder, None, f"unreadable: {type(error).__name__}"
    content = bytes.fromhex(fingerprint.digest([folder.file(index).read_bytes()], 64))
    names = printable(entry.id), index, printable(wnid or "")
    return Picture(*names, label, _hash(content, about.encode()))


def _content(sample: Sample) -> Iterator[bytes]:
    yield repr((sample.image.size, sample.label, sample.boxes, sample.wnid)).encode()
    yield sample.image.tobytes()
    yield b"" if sample.mask is None else sample.mask.tobytes()


def _hash(*parts: bytes) -> str:
    """Of parts that cannot be taken for others: each says how long it is."""
    return fingerprint.digest((b"%d:%b" % (len(part), part) for part in parts), 64)
