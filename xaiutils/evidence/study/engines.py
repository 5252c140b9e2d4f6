"""Run a study: one process, several of this machine, or a shard of a job array.

Whoever scores a part, its rows are the same. A part that is there is skipped, so that a run that
was killed at any moment goes on where it was: that is the whole resume.

A process that dies has one part in hand, whose trail says what it computed. The part is tried
again; a picture and method that cost three processes are left as failed rows.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from tqdm.auto import tqdm

from xaiutils.evidence.runner import NoProcess, run_jobs
from xaiutils.evidence.study.folder import StudyFolder
from xaiutils.evidence.study.parts import part_path, read_part, remove_temporary
from xaiutils.evidence.study.trail import Doing, Unfinished, take_trail
from xaiutils.evidence.study.work import ACCIDENTS, score_part
from xaiutils.support import checks
from xaiutils.support.files import BrokenPart, alone, set_aside

TIMES = 3  # deaths over one picture and method, after which both together are left


class Todo(NamedTuple):
    """What a run has to do."""

    fresh: tuple[int, ...]  # parts that are not there
    again: tuple[int, ...]  # parts whose accidents are tried again
    kept: int  # how many are there and stay
    broken: tuple[Path, ...]  # where broken ones were moved


def run_study(
    opened: StudyFolder,
    *,
    workers: int = 1,
    shard: tuple[int, int] = (1, 1),
    retry_failed: bool = False,
    progress: bool = False,
    say: Callable[[str], None] = lambda text: None,
) -> Todo:
    """Score every part that is not there yet.

    Args:
        opened: From `create_study` or `open_study`.
        workers: 1: this process; more: so many processes of this machine, of one thread each.
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
        OSError: The disk is full, or the folder cannot be written.
        Unfinished: No process can be had, or all die before they have opened network and pictures.
    """
    checks.whole("workers", workers)
    i, n = (checks.whole("shard", number) for number in shard)
    if i > n:
        raise ValueError(f"shard must be i/n with 1 <= i <= n, got {i}/{n}")
    with alone(opened.path, (i, n)):
        mine = range(i - 1, opened.study.parts, n)
        remove_temporary(opened.path, mine)
        todo = _todo(opened, mine, retry_failed)
        for path in todo.broken:
            say(f"a broken part was moved to {path} and will be made anew")
        indices = (*todo.fresh, *todo.again)
        for index in mine:
            doing = take_trail(opened.path, index)
            if doing is not None and index in indices:
                say(
                    f"the process that scored part {index} ended without a word while it {doing}. "
                    "If one does so again, --workers 2 leaves what costs three of them as failed "
                    "rows"
                )
        say(f"study {opened.study.hash}: {len(indices)} parts to score, {todo.kept} are there")
        if indices:
            _score(opened, indices, set(todo.again), workers, progress, say)
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


def _score(
    opened: StudyFolder, indices: tuple[int, ...], again: set[int], workers: int, progress: bool,
    say: Callable[[str], None],
) -> None:  # fmt: skip
    about = {"folder": str(opened.path), "study": opened.study.hash, "place": opened.place}
    about |= {"run": secrets.token_hex(8)}
    jobs: dict[int, dict[str, Any]] = {
        index: about | {"index": index, "retry": index in again, "guilty": {}} for index in indices
    }
    deaths: Counter[tuple[int, str, str]] = Counter()
    accidents = 0

    def got(index: int, errors: int) -> None:
        nonlocal accidents
        accidents += errors
        bar.set_postfix(accidents=accidents)
        bar.update()

    def died(index: int, how: str) -> bool:
        doing = take_trail(opened.path, index) or Doing()  # without one it died before it began
        say(f"a process {how} while it {doing}; part {index} is tried again")
        key = index, doing.image, doing.method
        deaths[key] += 1
        if deaths[key] >= TIMES:
            reason = f"{TIMES} processes died while each {doing}, the last {how}"
            if not doing.image:
                raise Unfinished(f"part {index} is missing: {reason}")
            jobs[index]["guilty"][key[1:]] = reason
        return any(deaths[one] >= TIMES - 1 for one in deaths if one[0] == index)

    with tqdm(total=len(jobs), unit="part", disable=not progress) as bar:
        try:
            run_jobs(score_part, jobs, workers, got, died)
        except (Unfinished, NoProcess) as error:
            lost = [index for index in jobs if not part_path(opened.path, index).is_file()]
            text = f"parts {lost} are missing: " if isinstance(error, NoProcess) else ""
            raise Unfinished(
                f"{text}{error}; finished parts are kept; go on with: xaiutils study run "
                f"{opened.path}"
            ) from None
