"""Run the experiments.

A table is a pure function of its configuration: pictures are scored one by one and by one thread,
so that neither the number of workers nor the order of the pictures changes a bit.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm.auto import tqdm

from xaiutils.cases.case import load_cases
from xaiutils.cases.workloads import Workload, load_workload
from xaiutils.evidence import fingerprint
from xaiutils.evidence.agreement import agreement_rows
from xaiutils.evidence.experiments import AGREEMENT, CALIBRATION, TABLES, Chosen
from xaiutils.evidence.results import base, chosen, store
from xaiutils.evidence.runner import run_jobs, threads
from xaiutils.metrics import scoring
from xaiutils.metrics.scoring import Contender, contender
from xaiutils.network.classifier import Classifier, load_model
from xaiutils.support import checks
from xaiutils.support.checks import whole
from xaiutils.support.files import BrokenPart, read_checked, write_checked

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
            has; a part is known by all that decides it but the pixels of its pictures.

    Raises:
        ValueError: An unknown name; no picture to score; seeds or methods for a table without.
        FileNotFoundError: The calibration's table, which chooses settings, is not there.
        ChildProcessError: A worker died; the parts that are kept stay.
    """
    one = TABLES[checks.choice("name", name, TABLES)]
    whole("workers", workers)
    if images is not None:
        whole("images", images)
    if name == AGREEMENT and (seeds is not None or methods is not None):
        raise ValueError(f"{AGREEMENT} has no seeds and methods to choose from")
    settings = None if name in (CALIBRATION, AGREEMENT) else chosen(out)
    job = _Job(name, workload, None, (), seeds, methods, settings, secrets.token_hex(8))
    work, own = _opened(workload, one.split, None, job.run)
    if work.generated:
        models: dict[str | None, Classifier] = {n: load_model(n) for n in one.networks[:networks]}
        indices = list(range(min(one.images, images or one.images)))
    else:
        models = dict([(None, own)][:networks])
        indices = _right(work, images or len(work.samples), everything=name == AGREEMENT)
    if not models or not indices:
        raise ValueError(
            f"workload must have rightly classified pictures with boxes or masks for {name}, "
            f"{work.name} has none"
        )
    about = _about(job, work, list(models.values()), indices[0])
    places = [tuple(indices[start : start + PART]) for start in range(0, len(indices), PART)]
    jobs = [replace(job, network=network, indices=i) for network in models for i in places]
    if parts is not None:
        parts.mkdir(parents=True, exist_ok=True)
        jobs = [
            replace(one, file=parts / _file(one, about, work, models[one.network])) for one in jobs
        ]
    try:
        table = pd.concat(_run(jobs, workers, progress), ignore_index=True)
    finally:
        _opened.cache_clear()
    table.attrs = _configuration(about, table)
    return table


def make_all(
    names: tuple[str, ...],
    workload: str | None,
    *,
    images: int | None,
    workers: int,
    out: Path | None,
    say: Callable[[str], None],
    parts: Path | None = None,
) -> None:
    """Make and store tables, by default all that the workload has, and say how long each took.

    Raises:
        ValueError: ``images`` without ``out``: the whole table that is stored would be lost.
    """
    if images is not None and out is None:
        raise ValueError(f"images must go with out, a folder that is not {base()}, got {images}")
    scenes = (workload or os.environ.get("XAIUTILS_WORKLOAD", "scenes")) == "scenes"
    more: dict[str, Any] = {"images": images, "workers": workers, "out": out, "parts": parts}
    for name in names or [name for name, one in TABLES.items() if scenes or one.real]:
        started = time.perf_counter()
        table = make_table(name, workload, progress=True, **more)
        path, missing = store(table, out), int(table["value"].isna().sum())
        seconds = time.perf_counter() - started
        count = table["image"].nunique()
        say(
            f"{path}: {len(table)} scores of {count} pictures, {missing} of them missing, "
            f"{seconds:.0f} s"
        )


@dataclass(frozen=True)
class _Job:
    """A part of a table: a few pictures, by one network."""

    table: str
    workload: str | None
    network: str | None  # None for the workload's own
    indices: tuple[int, ...]
    seeds: tuple[int, ...] | None
    methods: tuple[str, ...] | None
    settings: Chosen | None
    run: str  # each opens networks and pictures anew
    file: Path | None = None  # which keeps the scores


def _about(job: _Job, work: Workload, models: list[Classifier], index: int) -> dict[str, Any]:
    """What decides a table before it is made: a changed default changes it, too."""
    entrants = _entrants(job, work.batch([index])[1].shape[-2])
    methods = {entrant.label: fingerprint.method(entrant) for entrant in entrants}
    if job.table == AGREEMENT:
        about = fingerprint.method(contender("hybrid"))
        methods = {"hybrid": {key: value for key, value in about.items() if key != "method"}}
    metrics = TABLES[job.table].metrics
    return {
        "name": job.table,
        "workload": work.name,
        "weights": {model.name: fingerprint.weights(model) for model in models},
        "methods": methods,
        "metrics": {name: fingerprint.metric(name, given) for name, given in metrics.items()},
        "chosen": job.settings and asdict(job.settings),
        "versions": fingerprint.versions(),
    }


def _configuration(about: dict[str, Any], table: pd.DataFrame) -> dict[str, Any]:
    """All that decides a table, with a hash of it."""
    found = about | {
        "split": sorted(set(table["split"])),
        "images": fingerprint.digest(["\n".join(table["image"].unique()).encode()]),
        "seeds": sorted({int(seed) for seed in table["seed"]}),
    }
    return found | {"hash": fingerprint.of(found)}


def _file(job: _Job, about: dict[str, Any], work: Workload, model: Classifier) -> str:
    """A part's file, named by a hash of what decides its scores."""
    own = {
        "pictures": [work.samples[i].id for i in job.indices],
        "network": fingerprint.network(model) | {"weights": about["weights"][model.name]},
        "seeds": job.seeds,
    }
    return f"{job.table}-{fingerprint.of({**about, **own, 'weights': None})}.parquet"


def _right(work: Workload, count: int, everything: bool) -> list[int]:
    """Positions of the first ``count`` pictures with an object that the network says rightly.

    With ``everything``, of all that have a label.
    """
    found: list[int] = []
    for index in range(len(work.samples)):
        (sample,), x = work.batch([index])
        if sample.label is None:  # its prediction is neither right nor wrong
            continue
        placed = bool(sample.boxes) or sample.mask is not None
        predicted = int(work.classifier.predicted(work.classifier.predict(x)))
        if everything or (placed and predicted == sample.label):
            found.append(index)
        if len(found) == count:
            break
    return found


def _run(jobs: list[_Job], workers: int, progress: bool) -> list[pd.DataFrame]:
    """The scores of all parts, in their order."""
    name = jobs[0].table
    found = {i: kept for i, job in enumerate(jobs) if (kept := _kept(job)) is not None}
    left = {i: {"job": job} for i, job in enumerate(jobs) if i not in found}

    def died(index: int, how: str) -> bool:
        raise ChildProcessError(
            f"a process that scored a part of {name} died, it {how}, perhaps for want of memory: "
            "take fewer workers; with one the error is seen"
        )

    def got(index: int, part: pd.DataFrame) -> None:
        found[index] = part
        bar.update()

    with tqdm(
        total=len(jobs), initial=len(found), unit="part", disable=not progress, desc=name
    ) as bar:
        run_jobs(_work, left, workers, got, died)
    return [found[index] for index in range(len(jobs))]


def _kept(job: _Job) -> pd.DataFrame | None:
    """The scores that are there of a part, if they are what was written."""
    if job.file is None or not job.file.is_file():
        return None
    try:
        about, table = read_checked(job.file)
    except BrokenPart as error:
        tqdm.write(f"{error}; it is made anew")
        return None
    return table.to_pandas() if about == {"part": job.file.name} else None


def _work(job: _Job) -> pd.DataFrame:
    import pyarrow as pa

    with threads(1):
        found = _score(job)
    if job.file is not None:
        table = pa.Table.from_pandas(found, preserve_index=False)
        write_checked(job.file, table.replace_schema_metadata(None), {"part": job.file.name})
    return found


def _score(job: _Job) -> pd.DataFrame:
    one = TABLES[job.table]
    work, classifier = _opened(job.workload, one.split, job.network, job.run)
    cases = load_cases(work, job.indices, classifier)
    if job.table == AGREEMENT:
        return agreement_rows(cases)
    seeds = one.seeds if job.seeds is None else job.seeds
    return scoring.score(cases, _entrants(job, cases[0].x.shape[-2]), one.metrics, seeds=seeds)


@lru_cache(maxsize=1)
def _opened(
    workload: str | None, split: str, network: str | None, run: str
) -> tuple[Workload, Classifier]:
    """Pictures and network, opened once in a process and run."""
    work = load_workload(workload, split)
    return work, load_model(network) if network else work.classifier


def _entrants(job: _Job, height: int) -> list[Contender]:
    found = TABLES[job.table].contenders(height, job.settings)
    entrants = [one if isinstance(one, Contender) else contender(one) for one in found]
    if job.methods is None:
        return entrants
    for label in job.methods:
        checks.choice("methods", label, [one.label for one in entrants])
    return [one for one in entrants if one.label in job.methods]
