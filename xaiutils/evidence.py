"""Run the experiments.

A table is a pure function of its configuration: pictures are scored one by one and by one thread,
so that neither the number of workers nor the order of the pictures changes a bit.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from xaiutils import checks, fingerprint, scoring
from xaiutils.agreement import agreement_rows
from xaiutils.checks import whole
from xaiutils.experiments import (
    AGREEMENT,
    AGREEMENT_IMAGES,
    AGREEMENT_SPLIT,
    CALIBRATION,
    EXPERIMENTS,
    TABLES,
    Chosen,
    Experiment,
)
from xaiutils.methods import METHODS
from xaiutils.metrics import METRICS
from xaiutils.metrics.case import load_cases
from xaiutils.models import load_model
from xaiutils.results import chosen, store
from xaiutils.scoring import Contender, contender
from xaiutils.workloads import Workload, load_workload

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
    jobs = list(_jobs(name, work, images, networks, seeds, methods, settings))
    if not jobs:
        raise ValueError(f"workload must have pictures with boxes for {name}, {work.name} has none")
    parts = _run(jobs, workers, progress)
    table = pd.concat(parts, ignore_index=True)
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
    """Make and store tables, all that the workload has by default, and say how long each took."""
    scenes = load_workload(workload, CALIBRATION).name == "scenes"
    default = [name for name in TABLES if scenes or name == AGREEMENT or EXPERIMENTS[name].real]
    for name in names or default:
        started = time.perf_counter()
        table = make_table(name, workload, images=images, workers=workers, progress=True, out=out)
        path = store(table, out, workload)
        missing = int(table["value"].isna().sum())
        seconds = time.perf_counter() - started
        say(f"{path}: {len(table)} scores, {missing} of them missing, {seconds:.0f} s")


Job = tuple[str, str, str | None, tuple[int, ...], Any, Any, Any]


def _jobs(
    name: str,
    work: Workload,
    images: int | None,
    first: int | None,
    seeds: Any,
    methods: Any,
    settings: Any,
) -> Iterator[Job]:
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
            yield name, work.name, network, part, seeds, methods, settings


def _right(work: Workload, count: int, everything: bool) -> list[int]:
    """Positions of the first ``count`` pictures with boxes that the network classifies rightly."""
    found: list[int] = []
    for index in range(len(work.samples)):
        (sample,), x = work.batch([index])
        predicted = int(work.classifier.predict(x).argmax(1))
        if everything or (sample.boxes and predicted == sample.label):
            found.append(index)
        if len(found) == count:
            break
    return found


def _run(jobs: list[Job], workers: int, progress: bool) -> list[pd.DataFrame]:
    from tqdm.auto import tqdm

    bar = tqdm(total=len(jobs), unit="part", disable=not progress, desc=jobs[0][0])
    found: list[pd.DataFrame] = []
    with bar:
        if workers == 1:
            threads = torch.get_num_threads()
            try:
                for job in jobs:
                    found.append(_work(job))
                    bar.update()
            finally:
                torch.set_num_threads(threads)
        else:
            with ProcessPoolExecutor(workers) as pool:
                for part in pool.map(_work, jobs):
                    found.append(part)
                    bar.update()
    return found


def _work(job: Job) -> pd.DataFrame:
    torch.set_num_threads(1)  # the number of threads changes last bits
    name, workload, network, indices, seeds, methods, settings = job
    split = AGREEMENT_SPLIT if name == AGREEMENT else EXPERIMENTS[name].split
    work = load_workload(workload, split)
    classifier = load_model(network) if network else None
    cases = load_cases(work, indices, classifier)
    if name == AGREEMENT:
        return agreement_rows(cases)
    one = EXPERIMENTS[name]
    entrants = _contenders(one, cases[0].x.shape[-2], Chosen(**settings) if settings else None)
    if methods is not None:
        for label in methods:
            checks.choice("methods", label, [entrant.label for entrant in entrants])
        entrants = [entrant for entrant in entrants if entrant.label in methods]
    return scoring.score(cases, entrants, one.metrics, seeds=one.seeds if seeds is None else seeds)


def _contenders(one: Experiment, height: int, settings: Chosen | None) -> list[Contender]:
    entrants = one.contenders(height, settings)
    return [e if isinstance(e, Contender) else contender(e) for e in entrants]


def _methods(name: str, work: Workload, labels: list[str], settings: Any) -> dict[str, Any]:
    """Each label's method with all its settings, so that a changed default changes the hash."""
    if name == AGREEMENT:
        hybrid = METHODS["hybrid"].settings
        return {"hybrid": {key: repr(setting.default) for key, setting in hybrid.items()}}
    height = work.batch([0])[1].shape[-2]
    entrants = _contenders(EXPERIMENTS[name], height, Chosen(**settings) if settings else None)
    return {one.label: fingerprint.method(one) for one in entrants if one.label in labels}


def _configuration(name: str, work: Workload, table: pd.DataFrame, settings: Any) -> dict[str, Any]:
    """All that decides a table, with a hash of it."""
    weights = {
        network: fingerprint.weights(
            load_model(network) if work.name == "scenes" else work.classifier
        )
        for network in dict.fromkeys(table["network"])
    }
    metrics = {} if name == AGREEMENT else EXPERIMENTS[name].metrics
    about: dict[str, Any] = {
        "name": name,
        "workload": work.name,
        "split": sorted(set(table["split"])),
        "weights": weights,
        "images": hashlib.sha256("\n".join(table["image"].unique()).encode()).hexdigest()[:16],
        "methods": _methods(name, work, list(dict.fromkeys(table["method"])), settings),
        "metrics": {
            key: fingerprint.metric(key, metrics.get(key, {}))
            for key in dict.fromkeys(table["metric"])
            if key in METRICS
        },
        "seeds": sorted({int(seed) for seed in table["seed"]}),
        "chosen": settings,
        "versions": fingerprint.versions(),
    }
    return about | {"hash": fingerprint.of(about)}
