"""Run the experiments.

A table is a pure function of its configuration: pictures are scored one by one and by one thread,
so that neither the number of workers nor the order of the pictures changes a bit.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from tqdm.auto import tqdm

from xaiutils.cases.case import load_cases
from xaiutils.cases.workloads import Workload, load_workload
from xaiutils.evidence import fingerprint
from xaiutils.evidence.agreement import agreement_rows
from xaiutils.evidence.experiments import (
    AGREEMENT,
    AGREEMENT_IMAGES,
    AGREEMENT_SPLIT,
    CALIBRATION,
    EXPERIMENTS,
    TABLES,
    Chosen,
    Experiment,
)
from xaiutils.evidence.results import base, chosen, store
from xaiutils.methods import METHODS
from xaiutils.metrics import scoring
from xaiutils.metrics.scoring import Contender, contender
from xaiutils.network.classifier import load_model
from xaiutils.pictures.images import Sample
from xaiutils.support import checks
from xaiutils.support.checks import whole
from xaiutils.support.files import BrokenPart, read_checked, set_aside, write_checked
from xaiutils.support.processes import end_with_parent

PART = 4  # pictures that a worker takes at a time


def make_table(
    name: str,
    workload: str | None = None,
    *,
    images: int | None = None,
    networks: int | None = None,
    seeds: tuple[int, ...] | None = None,
    methods: tuple[str, ...] | None = None,
    workers: int = 1,
    progress: bool = False,
    out: Path | None = None,
    parts: Path | None = None,
) -> pd.DataFrame:
    """Score an experiment's pictures anew.

    Args:
        name: In `TABLES`.
        workload: See `load_workload`.
        images: Only the first ones of each network.
        networks: Only the first ones.
        seeds, methods: Only these of the experiment's.
        workers: Processes, one thread each; the table does not depend on their number.
        progress: Show a bar with the time left.
        out: Where the calibration's table is, see `folder`.
        parts: Folder that keeps each part as soon as it is scored, and gives back those that it
            has; a part is known by all that decides it but the pixels of its pictures, and one
            that was changed after it was written is moved aside and made anew.

    Raises:
        ValueError: An unknown name; no picture to score; seeds or methods for a table without.
        FileNotFoundError: The calibration's table, which chooses settings, is not there.
        ChildProcessError: A worker died; the parts that are kept stay.
    """
    checks.choice("name", name, TABLES)
    whole("workers", workers)
    if images is not None:
        whole("images", images)
    if name == AGREEMENT and (seeds is not None or methods is not None):
        raise ValueError(f"{AGREEMENT} has no seeds and methods to choose from")
    work = load_workload(workload, CALIBRATION)
    settings = None
    if name not in (CALIBRATION, AGREEMENT):
        settings = asdict(chosen(out))
    jobs = list(_jobs(name, workload, work, images, networks, seeds, methods, settings))
    if not jobs:
        raise ValueError(
            f"workload must have rightly classified pictures with boxes or masks for {name}, "
            f"{work.name} has none"
        )
    if parts is not None:
        jobs = _named(jobs, work, parts)
    table = pd.concat(_run(jobs, workers, progress), ignore_index=True)
    table.attrs = _configuration(name, work, table, settings)
    return table


def make_all(
    names: tuple[str, ...],
    workload: str | None,
    *,
    images: int | None,
    workers: int,
    out: Path | None,
    say: Callable[[str], None],
) -> None:
    """Make and store tables, and say how long each took.

    Args:
        names: In `TABLES`; all that the workload has if there is none.
        workload, images, workers, out: See `make_table`.
        say: Told a line for each table.

    Raises:
        ValueError: ``images`` without ``out``: the whole table that is stored would be lost.
    """
    if images is not None and out is None:
        raise ValueError(f"images must go with out, a folder that is not {base()}, got {images}")
    scenes = load_workload(workload, CALIBRATION).name == "scenes"
    default = [name for name in TABLES if scenes or name == AGREEMENT or EXPERIMENTS[name].real]
    for name in names or default:
        started = time.perf_counter()
        table = make_table(name, workload, images=images, workers=workers, progress=True, out=out)
        path = store(table, out, workload)
        missing = int(table["value"].isna().sum())
        seconds = time.perf_counter() - started
        say(f"{path}: {len(table)} scores, {missing} of them missing, {seconds:.0f} s")


@dataclass(frozen=True)
class _Job:
    """A part of a table: a few pictures.

    Attributes:
        table: Its name.
        workload: As `load_workload` was asked for it.
        network: A shipped one, or None for the workload's own.
        indices: Of the pictures.
        seeds, methods, settings: See `make_table`.
        file: Where its scores are kept; None if nowhere.
    """

    table: str
    workload: str | None
    network: str | None
    indices: tuple[int, ...]
    seeds: tuple[int, ...] | None
    methods: tuple[str, ...] | None
    settings: dict[str, Any] | None
    file: Path | None = None


def _jobs(
    name: str,
    asked: str | None,
    work: Workload,
    images: int | None,
    first: int | None,
    seeds: Any,
    methods: Any,
    settings: Any,
) -> Iterator[_Job]:
    """Parts of an experiment, small enough to be shared out: each is a few pictures."""
    scenes = work.name == "scenes"
    if name == AGREEMENT:
        networks: tuple[str | None, ...] = ("scenes_vgg_seed0",) if scenes else (None,)
        every = AGREEMENT_IMAGES
    else:
        one = EXPERIMENTS[name]
        networks = one.networks if scenes else (None,)
        every = one.images
    count = every if scenes else len(work.samples)
    count = min(count, images or count)
    for network in networks[:first]:
        indices = list(range(count)) if scenes else _right(work, count, name == AGREEMENT)
        for start in range(0, len(indices), PART):
            part = tuple(indices[start : start + PART])
            yield _Job(name, asked, network, part, seeds, methods, settings)


def _named(jobs: list[_Job], work: Workload, parts: Path) -> list[_Job]:
    """The jobs, each with a file named by a hash of what decides its scores."""
    parts.mkdir(parents=True, exist_ok=True)
    samples = _open(jobs[0]).samples if jobs else ()
    networks: dict[str | None, dict[str, Any]] = {}
    found = []
    for job in jobs:
        if job.network not in networks:
            classifier = load_model(job.network) if job.network else work.classifier
            hashed = {"weights": fingerprint.weights(classifier)}
            networks[job.network] = fingerprint.network(classifier) | hashed
        about = {
            "pictures": [work.name, *(samples[i].id for i in job.indices)],
            "network": networks[job.network],
            "methods": _methods(job.table, work, job.methods, job.settings),
            "metrics": _metrics(job.table),
            "seeds": job.seeds,
            "versions": fingerprint.versions(),
        }
        found.append(replace(job, file=parts / f"{job.table}-{fingerprint.of(about)}.parquet"))
    return found


def _right(work: Workload, count: int, everything: bool) -> list[int]:
    """Positions of the first ``count`` pictures with an object that the network says rightly.

    With ``everything``, of all that have a label.
    """
    found: list[int] = []
    for index in range(len(work.samples)):
        (sample,), x = work.batch([index])
        if sample.label is None:  # its prediction is neither right nor wrong
            continue
        predicted = int(work.classifier.predicted(work.classifier.predict(x)))
        if everything or (_placed(sample) and predicted == sample.label):
            found.append(index)
        if len(found) == count:
            break
    return found


def _placed(sample: Sample) -> bool:
    return bool(sample.boxes) or sample.mask is not None


def _run(jobs: list[_Job], workers: int, progress: bool) -> list[pd.DataFrame]:
    bar = tqdm(total=len(jobs), unit="part", disable=not progress, desc=jobs[0].table)
    found = [_kept(job) for job in jobs]
    left = [index for index, part in enumerate(found) if part is None]
    with bar:
        bar.update(len(jobs) - len(left))
        if workers == 1:
            threads = torch.get_num_threads()
            try:
                for index in left:
                    found[index] = _work(jobs[index])
                    bar.update()
            finally:
                torch.set_num_threads(threads)
        elif left:
            try:
                # Forked ones cannot differentiate, once a network was captured.
                spawned = multiprocessing.get_context("spawn")
                with ProcessPoolExecutor(workers, spawned, end_with_parent) as pool:
                    made = pool.map(_work, [jobs[index] for index in left])
                    for index, part in zip(left, made, strict=True):
                        found[index] = part
                        bar.update()
            except BrokenProcessPool:
                raise ChildProcessError(
                    f"a process that scored a part of {jobs[0].table} died, perhaps for want of "
                    "memory: take fewer workers; with one the error is seen"
                ) from None
    return [part for part in found if part is not None]


def _kept(job: _Job) -> pd.DataFrame | None:
    """The scores that are there of a part, if they are what was written."""
    if job.file is None or not job.file.is_file():
        return None
    try:
        about, table = read_checked(job.file)
        if about != {"part": job.file.name}:
            raise BrokenPart(f"{job.file} holds another part, {about}")
    except BrokenPart as error:
        tqdm.write(f"{error}; it was moved to {set_aside(job.file)} and is made anew")
        return None
    return table.to_pandas()


def _work(job: _Job) -> pd.DataFrame:
    import pyarrow as pa

    found = _score(job)
    if job.file is not None:
        table = pa.Table.from_pandas(found, preserve_index=False)
        write_checked(job.file, table.replace_schema_metadata(None), {"part": job.file.name})
    return found


def _open(job: _Job) -> Workload:
    split = AGREEMENT_SPLIT if job.table == AGREEMENT else EXPERIMENTS[job.table].split
    return load_workload(job.workload, split)


def _score(job: _Job) -> pd.DataFrame:
    torch.set_num_threads(1)  # the number of threads changes last bits
    work = _open(job)
    classifier = load_model(job.network) if job.network else None
    cases = load_cases(work, job.indices, classifier)
    if job.table == AGREEMENT:
        return agreement_rows(cases)
    one = EXPERIMENTS[job.table]
    settings = Chosen(**job.settings) if job.settings else None
    entrants = _contenders(one, cases[0].x.shape[-2], settings)
    if job.methods is not None:
        for label in job.methods:
            checks.choice("methods", label, [entrant.label for entrant in entrants])
        entrants = [entrant for entrant in entrants if entrant.label in job.methods]
    return scoring.score(
        cases, entrants, one.metrics, seeds=one.seeds if job.seeds is None else job.seeds
    )


def _contenders(one: Experiment, height: int, settings: Chosen | None) -> list[Contender]:
    entrants = one.contenders(height, settings)
    return [e if isinstance(e, Contender) else contender(e) for e in entrants]


def _methods(
    name: str, work: Workload, labels: Sequence[str] | None, settings: Any
) -> dict[str, Any]:
    """Each label's method with all its settings, so that a changed default changes the hash."""
    if name == AGREEMENT:
        hybrid = METHODS["hybrid"].settings
        return {"hybrid": {key: repr(setting.default) for key, setting in hybrid.items()}}
    height = work.batch([0])[1].shape[-2]
    entrants = _contenders(EXPERIMENTS[name], height, Chosen(**settings) if settings else None)
    return {
        one.label: fingerprint.method(one)
        for one in entrants
        if labels is None or one.label in labels
    }


def _metrics(name: str) -> dict[str, Any]:
    metrics = {} if name == AGREEMENT else EXPERIMENTS[name].metrics
    return {key: fingerprint.metric(key, given) for key, given in metrics.items()}


def _configuration(name: str, work: Workload, table: pd.DataFrame, settings: Any) -> dict[str, Any]:
    """All that decides a table, with a hash of it."""
    weights = {
        network: fingerprint.weights(
            load_model(network) if work.name == "scenes" else work.classifier
        )
        for network in dict.fromkeys(table["network"])
    }
    scored = set(table["metric"])
    about: dict[str, Any] = {
        "name": name,
        "workload": work.name,
        "split": sorted(set(table["split"])),
        "weights": weights,
        "images": hashlib.sha256("\n".join(table["image"].unique()).encode()).hexdigest()[:16],
        "methods": _methods(name, work, list(dict.fromkeys(table["method"])), settings),
        "metrics": {key: value for key, value in _metrics(name).items() if key in scored},
        "seeds": sorted({int(seed) for seed in table["seed"]}),
        "chosen": settings,
        "versions": fingerprint.versions(),
    }
    return about | {"hash": fingerprint.of(about)}
