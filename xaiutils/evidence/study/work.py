"""Score one part: the same rows whoever does it, whenever, and on how many machines."""

from __future__ import annotations

import os
import platform
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache, partial
from math import isnan
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

import torch

from xaiutils.cases.case import Case, load_cases
from xaiutils.cases.workloads import Workload
from xaiutils.evidence.runner import threads
from xaiutils.evidence.study.configuration import HALVE, Study
from xaiutils.evidence.study.folder import Place, StudyFolder, open_study
from xaiutils.evidence.study.parts import KEY, read_part, write_log, write_part
from xaiutils.evidence.study.pictures import Picture, look
from xaiutils.evidence.study.trail import Doing, leave_trail
from xaiutils.metrics.record import Score
from xaiutils.metrics.scoring import Contender, score_case
from xaiutils.pictures.imagenet import ImageNetFolder
from xaiutils.support import asking, cache
from xaiutils.support.checks import printable, text_of

# What a row has instead of a score: no score exists (the log says why), or an accident.
UNDEFINED = "undefined"
ACCIDENTS = (
    MISSING := "picture_missing",
    CHANGED := "picture_changed",
    BROKEN := "picture_broken",
    MEMORY := "out_of_memory",
    FAILED := "failed",
)
NETWORK, RIGHT = "network", "right"  # method and metric of the row: was the picture's label said?


class _Changed(ValueError):
    """A picture that is not the one that the study began with."""


_key = itemgetter(*KEY)  # of a row
CODES = ((_Changed, CHANGED), (FileNotFoundError, MISSING), (OSError, BROKEN), (ValueError, BROKEN))


class _Opened(NamedTuple):
    """What a process keeps between parts."""

    folder: StudyFolder
    work: Workload
    entrants: list[Contender]
    places: dict[str, int] | None  # of ImageNet's pictures, which may be fewer than they were


@dataclass
class _Rows:
    """The rows of a part in the making, and the log of how they came about."""

    study: Study
    at: Callable[[Doing], None]
    guilty: Mapping[tuple[str, str], str]
    rows: list[dict[str, Any]] = field(default_factory=list)
    log: list[dict[str, Any]] = field(default_factory=list)
    doing: Doing = field(default_factory=Doing)
    started: float = 0.0

    def begin(self, doing: Doing) -> None:
        """From now on this row is computed."""
        self.doing, self.started = doing, time.perf_counter()
        self.at(doing)

    def require_harmless(self) -> None:
        """Refuse a picture and method that have cost their share of processes."""
        reason = self.guilty.get((self.doing.image, self.doing.method))
        if reason:
            raise RuntimeError(reason)

    def end(
        self, picture: Picture, value: float, code: str, error: BaseException | str = ""
    ) -> None:
        """The row that was begun, and what the log says of it."""
        seconds = time.perf_counter() - self.started
        _, method, metric, seed = self.doing
        self.add(picture, method, metric, seed, value, code)
        lines = traceback.format_exception(error) if isinstance(error, BaseException) else []
        self.log.append(
            {
                **dict(zip(KEY, self.doing, strict=True)),
                "seconds": seconds,
                "error_code": code,
                "reason": text_of(error),
                "traceback": printable("".join(lines)),
                "host": platform.node(),
                "process": os.getpid(),
                "instructions": torch.backends.cpu.get_cpu_capability(),
                "finished": datetime.now(UTC).isoformat(timespec="milliseconds"),
            }
        )

    def add(
        self, picture: Picture, method: str, metric: str, seed: int, value: float, code: str
    ) -> None:
        """One result row."""
        key = dict(zip(KEY, (picture.image_id, method, metric, seed), strict=True))
        about = {"wnid": picture.wnid, "model": printable(self.study.model)}
        self.rows.append(key | about | {"value": value, "error_code": code})


def score_part(
    folder: str | Path,
    study: str,
    index: int,
    place: Place,
    *,
    run: str,
    retry: bool = False,
    guilty: Mapping[tuple[str, str], str] | None = None,
) -> int:
    """Score a part and write it; its accidents.

    Args:
        folder, study, index, place: The study, the hash that it must have, the part, and where
            network and pictures are.
        run: Each run looks at network and pictures anew.
        retry: Only pictures that met an accident; a score that is there is never given up for an
            accident of the second attempt.
        guilty: The reason of each picture and method that are left, for they have ended processes.

    Raises:
        ValueError: Folder, network, pictures or libraries are not those of the study.
        OSError: The part cannot be written.
    """
    with leave_trail(Path(folder), index) as at:
        tools = _tools(str(folder), study, place, run)
        opened = tools.folder
        book = _Rows(opened.study, at, guilty or {})
        pictures: Sequence[Picture] = opened.part(index)
        kept: dict[tuple[Any, ...], dict[str, Any]] = {}
        if retry:
            kept = {_key(row): row for row in read_part(opened.path, study, index).to_pylist()}
            again = {row["image_id"] for row in kept.values() if row["error_code"] in ACCIDENTS}
            pictures = [picture for picture in pictures if picture.image_id in again]
        with _engine(opened.study), cache.remember():
            for picture in pictures:
                _score_picture(tools, picture, book)
        write_log(opened.path, index, book.log)
        for row in book.rows:
            old = kept.get(_key(row))
            if old is None or old["error_code"] in ACCIDENTS or row["error_code"] not in ACCIDENTS:
                kept[_key(row)] = row
        write_part(opened.path, study, index, list(kept.values()))
        return sum(row["error_code"] in ACCIDENTS for row in kept.values())


def _score_picture(tools: _Opened, picture: Picture, book: _Rows) -> None:
    study = book.study
    book.begin(Doing(picture.image_id, NETWORK, RIGHT, study.seeds[0]))
    try:
        book.require_harmless()
        case = _case(tools, picture)
        chooses = case.classifier.chooses
        said = int(case.classifier.predicted(case.classifier.predict(case.x))) if chooses else -1
    except (Exception, SystemExit) as reason:  # whatever pictures or a network of the user's raise
        code = next((code for kind, code in CODES if isinstance(reason, kind)), _code(reason))
        book.end(picture, torch.nan, code, reason)
        for seed in study.seeds:
            for one in tools.entrants:
                for metric in study.scores():
                    book.add(picture, one.label, metric, seed, torch.nan, code)
        return
    # Without a label the prediction is explained; one output, or values, predict no class.
    unknown = "" if chooses else "the network predicts no class"
    unknown = "without a label" if picture.label is None else unknown
    right = torch.nan if unknown else float(said == case.target)
    book.end(picture, right, UNDEFINED if unknown else "", unknown)
    for seed in study.seeds:
        ask = partial(_ask, picture=picture, seed=seed, book=book)
        score_case(case, tools.entrants, study.scores(), seed, ask)


def _ask(
    label: str,
    metric: str,
    score: Callable[[], Score],
    *,
    picture: Picture,
    seed: int,
    book: _Rows,
) -> Score:
    """One score, timed; an error becomes a row and ends nothing."""
    error: BaseException | str
    book.begin(Doing(picture.image_id, label, metric, seed))
    try:
        book.require_harmless()
        found = score()
    except (Exception, SystemExit) as reason:  # whatever a method or a metric raises
        code, error = _code(reason), reason
        found = Score(torch.nan, text_of(reason))
    else:
        code, error = (UNDEFINED if found.why else ""), found.why
        if isnan(found.value) and not found.why:
            code, error = FAILED, "NaN without a reason"
    book.end(picture, found.value, code, error)
    return found


def _code(error: BaseException) -> str:
    try:
        return MEMORY if asking.out_of_memory(error) else FAILED
    except Exception:  # its text cannot be printed
        return FAILED


def _case(tools: _Opened, picture: Picture) -> Case:
    """The picture, which a folder may have at another place than it was, or lost."""
    index: int | None = picture.index
    if tools.places is not None:
        index = tools.places.get(picture.image_id)
    if index is None or index >= len(tools.work.samples):
        raise FileNotFoundError(f"{picture.image_id} must be among the workload's pictures")
    try:
        (case,) = load_cases(tools.work, [index])
    finally:  # a swapped picture is no broken one
        now = look(tools.work, index)
        if now.sha256 != picture.sha256:
            raise _Changed(
                f"{picture.image_id} is not the picture that the study began with: its hash was "
                f"{picture.sha256[:16]} and is {now.sha256[:16]}"
            )
    return case


@lru_cache(maxsize=1)
def _tools(folder: str, study: str, place: Place, run: str) -> _Opened:
    """Network and pictures, opened and checked once in a process and run."""
    opened = open_study(folder, **vars(place))
    if opened.study.hash != study:
        raise ValueError(f"{folder} must hold study {study}, it holds {opened.study.hash}")
    work = opened.load()
    places = None
    if isinstance(work.samples, ImageNetFolder):
        places = {printable(one.id): index for index, one in enumerate(work.samples.entries)}
    return _Opened(opened, work, opened.study.entrants(), places)


@contextmanager
def _engine(study: Study) -> Iterator[None]:
    """Threads, batches and precision as the configuration names them, here only."""
    most = study.batch if isinstance(study.batch, int) else None
    kind = torch.autocast(study.device, torch.bfloat16) if study.autocast else nullcontext()
    with threads(study.threads), asking.at_most(most, halve=study.batch == HALVE), kind:
        yield
