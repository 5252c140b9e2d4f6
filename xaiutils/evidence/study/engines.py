"""Run a study: one process, several on this machine, a Dask cluster, or a shard of a job array.

Whoever scores a part, its rows are the same. A part that is there is skipped, so that a run that
was killed at any moment goes on where it was: that is the whole resume.

A process that dies has one part in hand, whose trail says what it computed. The part is tried
again; a picture and method that cost three processes are left as failed rows.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from tqdm.auto import tqdm

from xaiutils.evidence.runner import NoProcess, run_jobs
from xaiutils.evidence.study.cluster import Lost, run_on_cluster
from xaiutils.evidence.study.folder import StudyFolder
from xaiutils.evidence.study.parts import part_path, read_part, remove_temporary
from xaiutils.evidence.study.trail import (
    Doing,
    Unfinished,
    own_trail,
    read_trail,
    trail_path,
    write_trail,
)
from xaiutils.evidence.study.work import ACCIDENTS, score_part
from xaiutils.support import checks
from xaiutils.support.files import BrokenPart, alone, set_aside

Say = Callable[[str], None]


@dataclass(frozen=True)
class Todo:
    """What a run has to do.

    Attributes:
        fresh: Parts that are not there. again: Parts whose accidents are tried again.
        kept: How many are there and stay. broken: Where broken ones were moved.
    """

    fresh: tuple[int, ...]
    again: tuple[int, ...]
    kept: int
    broken: tuple[Path, ...]


def run_study(
    opened: StudyFolder,
    *,
    workers: int = 1,
    scheduler: str | None = None,
    wait: float = 60,
    shard: tuple[int, int] = (1, 1),
    retry_failed: bool = False,
    progress: bool = False,
    say: Say = lambda text: None,
) -> Todo:
    """Score every part that is not there yet.

    Args:
        opened: From `create_study` or `open_study`.
        workers: 1: this process; more: so many processes of this machine, of one thread each.
        scheduler: Instead, the address of a Dask cluster whose workers see the folder, the
            pictures and the weights under the same paths.
        wait: Seconds for the cluster's first worker, which may stand in a queue, and for another
            where none is left.
        shard: ``(i, n)``: only the i-th of n shares, for an array of jobs; they may run beside
            each other on one folder, or on copies that `merge_studies` joins.
        retry_failed: Also score anew the pictures that met an accident (`ACCIDENTS`).
        progress: Show a bar with the time left.
        say: Told what a reader of the terminal should know.

    Returns:
        What there was to do; all of it is done.

    Raises:
        Busy: Another process runs this study.
        ForeignPart, ValueError: The folder, the network, the pictures or the libraries are not
            those of the configuration.
        OSError: The disk is full, the folder cannot be written, the scheduler is gone.
        Unfinished: No process can be had, or all die before they have opened network and pictures.
    """
    checks.whole("workers", workers)
    checks.number("wait", wait, low=0)
    i, n = (checks.whole("shard", number) for number in shard)
    if i > n:
        raise ValueError(f"shard must be i/n with 1 <= i <= n, got {i}/{n}")
    if scheduler is not None and workers > 1:
        raise ValueError(f"workers must be left out with a scheduler, got {workers}")
    with alone(opened.path, (i, n)):
        mine = range(i - 1, opened.study.parts, n)
        remove_temporary(opened.path, mine)
        todo = _todo(opened, mine, retry_failed)
        for path in todo.broken:
            say(f"a broken part was moved to {path} and will be made anew")
        indices, again = (*todo.fresh, *todo.again), set(todo.again)
        asked = set(indices)
        for index in mine:
            _say_who_died(opened, index, index in asked, say)
        say(f"study {opened.study.hash}: {len(indices)} parts to score, {todo.kept} are there")
        if not indices:
            return todo
        run = secrets.token_hex(8)
        about = {"folder": str(opened.path), "study": opened.study.hash, "place": opened.place}
        about |= {"run": run}
        jobs = {index: about | {"index": index, "retry": index in again} for index in indices}
        with tqdm(total=len(jobs), unit="part", disable=not progress) as bar:
            accidents = 0

            def got(index: int, errors: int) -> None:
                nonlocal accidents
                accidents += errors
                bar.set_postfix(accidents=accidents)
                bar.update()

            def died(index: int, how: str) -> bool:
                return _bury(opened, index, run, how, say)

            def begun(index: int) -> bool:
                return own_trail(opened.path, index, run).doing is not None

            try:
                if scheduler is not None:
                    run_on_cluster(score_part, jobs, scheduler, wait, got, died, begun, say)
                else:
                    run_jobs(score_part, jobs, workers, got, died)
                if lost := _lost(opened, jobs):
                    raise Unfinished(
                        f"parts {lost} were scored and are not in {opened.path}, which all workers "
                        "must see"
                    )
            except (Unfinished, NoProcess, Lost) as error:
                kind = ConnectionError if isinstance(error, Lost) else Unfinished
                lost = _lost(opened, jobs)
                text = f"parts {lost} are missing: " if isinstance(error, NoProcess) else ""
                raise kind(
                    f"{text}{error}; finished parts are kept; go on with: xaiutils study run "
                    f"{opened.path}"
                ) from None
    return todo


def _todo(opened: StudyFolder, mine: range, retry: bool) -> Todo:
    fresh, again, broken, kept = [], [], [], 0
    for index in mine:
        try:
            rows = read_part(opened.path, opened.study.hash, index)
        except FileNotFoundError:
            fresh.append(index)
        except BrokenPart:
            broken.append(set_aside(part_path(opened.path, index)))
            fresh.append(index)
        else:
            accident = retry and not set(ACCIDENTS).isdisjoint(rows["error_code"].to_pylist())
            again += [index] if accident else []
            kept += not accident
    return Todo(tuple(fresh), tuple(again), kept, tuple(broken))


def _lost(opened: StudyFolder, jobs: Iterable[int]) -> list[int]:
    return [index for index in jobs if not part_path(opened.path, index).is_file()]


def _say_who_died(opened: StudyFolder, index: int, asked: bool, say: Say) -> None:
    """Say what the process of another run computed that ended without a word, and forget it."""
    trail = read_trail(opened.path, index)
    if trail is not None and trail.doing is not None and asked:
        say(
            f"the process that scored part {index} ended without a word while it {trail.doing}. "
            "If one does so again, --workers 2 leaves what costs three of them as failed rows"
        )
    trail_path(opened.path, index).unlink(missing_ok=True)


def _bury(opened: StudyFolder, index: int, run: str, how: str, say: Say) -> bool:
    """Write down and say what a process computed when it died; whether the next death is the last.

    Raises:
        Unfinished: Too many have died before their first picture.
    """
    found = own_trail(opened.path, index, run)
    doing = found.doing or Doing()  # without one it died before it began
    found = found._replace(doing=doing).mourn(how)
    write_trail(opened.path, index, found)
    say(f"a process {how} while it {doing}; part {index} is tried again")
    found.require_begun(index)
    return found.suspected()
