"""The folder of a study: ``study.json``, ``pictures.parquet``, and its parts.

The first holds the configuration and its hash, and where weights and pictures were, which may
change. Both are written once and checked whenever the folder is opened; nothing is unpickled.
"""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from filelock import FileLock

from xaiutils.cases.workloads import Workload, load_workload, model_asked
from xaiutils.evidence import fingerprint
from xaiutils.evidence.study.configuration import (
    DEVICES,
    HALVE,
    Study,
    parse_method,
    parse_metric,
    require_once,
    settings_of,
)
from xaiutils.evidence.study.pictures import Picture, digest, listing, read_pictures, write_pictures
from xaiutils.evidence.study.trial import require_settings
from xaiutils.support import checks
from xaiutils.support.files import GUARD, START, TEMPORARY, write_whole

MANIFEST, PICTURES = "study.json", "pictures.parquet"


@dataclass(frozen=True)
class Place:
    """Where network and pictures are; not a part of the configuration, whose hashes check them."""

    model: str | None = None
    weights: str | None = None
    root: str | None = None


@dataclass(frozen=True)
class StudyFolder:
    """An opened folder."""

    path: Path
    study: Study
    place: Place
    pictures: tuple[Picture, ...]  # in the order of the table
    asked: int | None  # how many pictures were asked for; None for all
    code: str = ""  # the function of a model that the manifest names and nobody asked for

    def part(self, index: int) -> tuple[Picture, ...]:
        """The pictures of a part."""
        start = index * self.study.part
        return self.pictures[start : start + self.study.part]

    def load(self) -> Workload:
        """The network, on its device, and the pictures.

        Raises:
            ValueError: They, or the libraries, are not those of the configuration; or only the
                manifest asks for code to be run.
        """
        if self.code:
            raise ValueError(
                f"model must be named by whoever runs the study where it is code: {MANIFEST} of "
                f"{self.path} names {self.code}. If you trust it, say --model {self.code}"
            )
        study = self.study
        work = load_workload(study.workload, study.split, **asdict(self.place), allow_missing=True)
        study.require(work)
        if study.device == "cuda":
            work.classifier.module.to(_own_gpu())
        return work


def create_study(
    folder: str | os.PathLike[str],
    *,
    methods: Sequence[str],
    metrics: Sequence[str],
    workload: str | None = None,
    split: str = "test",
    model: str | None = None,
    weights: str | None = None,
    root: str | None = None,
    images: int | None = None,
    seeds: Sequence[int] = (0,),
    part: int = 8,
    batch: int | str | None = None,
    threads: int = 1,
    device: str = "cpu",
    autocast: bool = False,
    progress: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> StudyFolder:
    """Begin a study: hash the network and the pictures, and write the manifest.

    Args:
        folder: A new or an empty one.
        methods, metrics: As `parse_method` and `parse_metric` read them.
        workload, split, model, weights, root: See `load_workload`.
        images: Only the first ones.
        seeds, part, batch, threads, device, autocast: See `Study`.
        progress: Wraps the pictures while they are hashed, such as tqdm.

    Raises:
        FileExistsError: The folder holds something already.
        TypeError, ValueError: An unknown name, a wrong number or setting, no pictures.
    """
    for argument, number in (("part", part), ("threads", threads)):
        checks.whole(argument, number)
    checks.choice("device", device, DEVICES)
    if isinstance(batch, str):
        checks.choice("batch", batch, (HALVE,))
    elif batch is not None:
        checks.whole("batch", batch)
    own = tuple(checks.whole("seeds", seed, low=0) for seed in seeds)
    require_once("seeds", own)
    if max(own) >= 2**31:
        raise ValueError(f"seeds must be below 2**31, got {max(own)}")
    path = Path(folder)
    _require_empty(path)
    source = workload or os.environ.get("XAIUTILS_WORKLOAD", "scenes")
    place = _absolute(Place(model, weights, root), source)
    work = load_workload(source, split, **asdict(place))
    if split not in ("test", work.split):
        raise ValueError(f"split must be one that {source} has, got {split!r}")
    settings = settings_of(methods, metrics)  # after the workload, which may have added some
    require_settings(work, [*map(parse_method, methods)], dict(map(parse_metric, metrics)))
    count = len(work.samples)
    if images is not None:
        count = min(checks.whole("images", images), count)
    if not count:
        raise ValueError(f"workload must have pictures, {source} has none")
    pictures = listing(work, progress(range(count)))
    study = Study(
        workload=source,
        split=work.split,
        model=work.classifier.name,
        weights=fingerprint.weights(work.classifier),
        network=fingerprint.network(work.classifier),
        pictures=digest(pictures),
        images=len(pictures),
        methods=tuple(methods),
        metrics=tuple(metrics),
        seeds=own,
        part=part,
        batch=batch,
        threads=threads,
        device=device,
        autocast=bool(autocast),
        settings=settings,
        versions=fingerprint.versions(),
    )
    for name in ("parts", "log"):
        (path / name).mkdir(parents=True, exist_ok=True)
    with FileLock(path / GUARD, timeout=START):  # of two who begin at once one is refused
        _require_empty(path)
        write_pictures(path / PICTURES, pictures)
        about = {"study": asdict(study), "hash": study.hash, "place": asdict(place)}
        text = json.dumps(about | {"images": images}, indent=2, sort_keys=True).encode()
        write_whole(path / MANIFEST, lambda stream: stream.write(text))
    return open_study(path, model=place.model)


def open_study(
    folder: str | os.PathLike[str],
    *,
    model: str | None = None,
    weights: str | None = None,
    root: str | None = None,
) -> StudyFolder:
    """Open a folder that `create_study` has begun.

    ``model``, ``weights`` and ``root`` say where network and pictures are now, if they have moved.
    A model ``module:function`` is run, and must be named each time.

    Raises:
        FileNotFoundError: It holds no study.
        ValueError: Manifest or pictures were changed, or cannot be read.
    """
    path = Path(folder)
    if not (path / MANIFEST).is_file():
        raise FileNotFoundError(f"folder must hold a study, {path} has no {MANIFEST}")
    try:
        about = json.loads((path / MANIFEST).read_text("utf-8"))
        lists = {k: tuple(v) for k, v in about["study"].items() if isinstance(v, list)}
        study, place = Study(**{**about["study"], **lists}), Place(**about["place"])
        told, own, asked = about["hash"], study.hash, about["images"]
    except (ValueError, LookupError, TypeError, RecursionError, AttributeError) as error:
        raise ValueError(f"{path / MANIFEST} cannot be read: {error!r}") from None
    if own != told:
        raise ValueError(
            f"{path / MANIFEST} was changed: its hash is {told}, "
            f"that of its content {own}. Take another folder for another study"
        )
    try:
        pictures = read_pictures(path / PICTURES)
    except Exception as error:  # a changed byte can mean anything to Arrow
        raise ValueError(f"{path / PICTURES} cannot be read: {error!r}") from None
    if digest(pictures) != study.pictures:
        raise ValueError(f"{path / PICTURES} was changed: its hash is not that of the manifest")
    moved = {"model": model, "weights": weights, "root": root}
    place = replace(place, **{key: value for key, value in moved.items() if value is not None})
    code = place.model if model is None and place.model and ":" in place.model else ""
    if code:
        place = replace(place, model=None)
    return StudyFolder(path.resolve(), study, place, tuple(pictures), asked, code)


def _require_empty(path: Path) -> None:
    """A folder may hold what was left of a beginning that was killed, and nothing else."""
    left = {GUARD, PICTURES, "parts", "log"}
    found = (*path.iterdir(), *(path / "parts").glob("*")) if path.is_dir() else ()
    file = path.exists() and not path.is_dir()
    if file or any(one.name not in left and one.suffix != TEMPORARY for one in found):
        raise FileExistsError(f"folder must be new or empty, {path} is neither")


def check_asked(opened: StudyFolder, asked: dict[str, Any]) -> None:
    """Refuse to resume a study with other options than it began with."""
    for key, value in asked.items():
        now = opened.asked if key == "images" else getattr(opened.study, key)
        given = tuple(value) if isinstance(now, tuple) else value
        if given != now:
            raise ValueError(
                f"{key} must be as the study began, {_text(now)}, got {_text(given)}; take "
                "another folder for another study, or leave the option out to go on"
            )


def _text(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _absolute(place: Place, name: str) -> Place:
    """The same place from any working folder, with what the environment says written down."""
    if name == "scenes" or ":" in name:
        return place
    root = place.root
    model, weights = model_asked(name, place.model, place.weights)
    if weights is not None and (file := Path(weights).expanduser()).is_file():
        weights = str(file.resolve())
    root = root or os.environ.get("XAIUTILS_IMAGENET") if name == "imagenet" else None
    return Place(model, weights, str(Path(root).expanduser().resolve()) if root else None)


def _own_gpu() -> str:
    """A GPU for this process: workers of this machine, which are numbered, take turns."""
    import torch

    if not torch.cuda.is_available():
        raise ValueError("device must be one that is here, got cuda without a GPU")
    number = multiprocessing.current_process().name.rpartition("worker-")[2]
    return f"cuda:{int(number) % torch.cuda.device_count() if number.isdigit() else 0}"
