"""What ``xaiutils study VERB`` does and says; each verb is a function of its options."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from xaiutils.evidence.claims_page import DOCS
from xaiutils.evidence.study.engines import run_study
from xaiutils.evidence.study.folder import (
    MANIFEST,
    StudyFolder,
    check_asked,
    create_study,
    open_study,
)
from xaiutils.evidence.study.parts import merge_studies
from xaiutils.evidence.study.tables import (
    Status,
    against,
    load_study,
    require_comparable,
    study_status,
    study_summary,
    study_verdicts,
    write_result,
)
from xaiutils.evidence.study.trail import Unfinished
from xaiutils.support.files import write_whole

Say = Callable[[str], None]
ASKED = (
    *("methods", "metrics", "workload", "split", "images", "seeds"),
    *("part", "batch", "threads", "device", "autocast"),
)


def run(options: argparse.Namespace, say: Say) -> None:
    """Begin or go on; an interrupted run says how to."""
    place = {name: getattr(options, name) for name in ("model", "weights", "root")}
    asked = {key: value for key in ASKED if (value := getattr(options, key)) is not None}
    if (options.folder / MANIFEST).is_file():
        opened = open_study(options.folder, **place)
        check_asked(opened, asked)
    else:
        opened = _begin(options.folder, asked, place)
    try:
        run_study(
            opened,
            workers=options.workers,
            scheduler=options.scheduler,
            wait=options.wait,
            shard=options.shard,
            retry_failed=options.retry_failed,
            progress=True,
            say=say,
        )
    except KeyboardInterrupt:
        say(f"interrupted; finished parts are kept. Go on with: xaiutils study run {opened.path}")
        raise
    except Unfinished as error:
        raise OSError(str(error)) from None
    found = _status_of(opened, say)
    if found.failed and not found.scored:
        reason = next((why for _, why in sorted(found.reasons.items()) if why), "see the log")
        raise OSError(
            f"no row of {opened.path} has a score, {found.failed} failed: {reason}. Mend that and "
            "add --retry-failed, or begin another study"
        )


def _begin(folder: Path, asked: dict[str, object], place: dict[str, str | None]) -> StudyFolder:
    from tqdm import tqdm

    missing = [name for name in ("methods", "metrics") if name not in asked]
    if missing:
        raise ValueError(
            f"{folder} holds no study yet: a new one needs --{' and --'.join(missing)}"
        )
    bar = lambda indices: tqdm(indices, unit="picture", desc="hashing", file=sys.stderr)  # noqa: E731
    return create_study(folder, progress=bar, **asked, **place)  # type: ignore[arg-type]


def status(options: argparse.Namespace, say: Say) -> None:
    """How far it is."""
    _status_of(open_study(options.folder), say)


def _status_of(opened: StudyFolder, say: Say) -> Status:
    """Say how far a study is."""
    found, study = study_status(opened), opened.study
    say(
        f"study {study.hash}: {study.images} pictures x {len(study.methods)} methods x "
        f"{len(study.metrics)} metrics x {len(study.seeds)} seeds, {study.model}"
    )
    say(f"parts: {found.done} of {found.parts}, rows: {found.rows}, log: {found.seconds:.0f} s")
    if found.broken:
        say(f"broken parts: {list(found.broken)}; the next run makes them anew")
    for (code, method, metric), count in sorted(found.where.items()):
        reason = found.reasons.get((code, method, metric), "")
        say(f"   {code}: {count} x {method}, {metric}" + (f": {reason}" if reason else ""))
    if found.unread:
        say(f"logs that cannot be read: {', '.join(found.unread)}")
    if len({instructions for _, instructions in found.machines}) > 1:
        say(f"machines of different kinds, last bits may differ: {list(found.machines)}")
    return found


def table(options: argparse.Namespace, say: Say) -> None:
    """Summary, comparison, or the result table as a file."""
    opened = open_study(options.folder)
    _load_own(opened)
    if options.out is not None:
        if not options.out.parent.is_dir():
            raise ValueError(f"--out must lie in a folder that exists, got {options.out}")
        if options.against is not None:
            raise ValueError("--out must be left out with --against, which is printed")
        if options.out.suffix == ".parquet":
            if options.right_only or options.partial:
                raise ValueError("--out FILE.parquet must be the whole table; take FILE.csv")
            say(f"{options.out}: {write_result(opened, options.out)} rows")
        elif options.out.suffix == ".csv":
            scores = load_study(opened, right_only=options.right_only, partial=options.partial)
            write_whole(options.out, lambda stream: scores.to_csv(stream, index=False))
            say(f"{options.out}: {len(scores)} scores")
        else:
            raise ValueError(f"--out must end in .parquet or .csv, got {options.out}")
        return
    kind = {"right_only": options.right_only, "partial": options.partial}
    own = load_study(opened, **kind)
    if options.against is None:
        for row in study_summary(own).itertuples():
            spread = f"{row.mean:10.3f} [{row.low:.3f}, {row.high:.3f}]"
            say(f"{row.metric:26} {row.method:34} {spread}, n = {row.n}, without {row.excluded}")
        return
    other = open_study(options.against)
    require_comparable(opened, other)
    if opened.study.versions != other.study.versions:
        say("the two were made with other versions of the libraries")
    found = against(own, load_study(other, **kind))
    say("positive: the first is better")
    for row in found.itertuples():
        spread = f"{row.difference:+.3f} [{row.low:+.3f}, {row.high:+.3f}]"
        say(f"{row.metric:26} {row.method} against {row.other}: {spread}, n = {row.n}")


def verdicts(options: argparse.Namespace, say: Say) -> None:
    """The claims that the study's methods and metrics can answer."""
    opened = open_study(options.folder)
    _load_own(opened)
    claims = options.claims or DOCS / "claims.yaml"
    found = study_verdicts(opened, claims)
    if not found:
        say(f"no claim of {claims} is about this study's workload, methods and metrics")
    for one in found:
        outcome = one.outcomes[opened.study.workload]
        say(f"{outcome.verdict.upper():10} {one.claim} {outcome.why}".rstrip())
        for pair in one.pairs.itertuples():
            spread = f"{pair.difference:+.3f} [{pair.low:+.3f}, {pair.high:+.3f}]"
            say(f"{'':10} {pair.metric}, {pair.method} against {pair.other}: {spread}")


def _load_own(opened: StudyFolder) -> None:
    """A module of the user's may add the methods and metrics that the table is about."""
    if ":" in opened.study.workload:
        opened.load()


def merge(options: argparse.Namespace, say: Say) -> None:
    """Shards become one study."""
    folders = [open_study(folder) for folder in options.folders]
    count = merge_studies(options.out, folders)
    say(f"{options.out}: {count} of {folders[0].study.parts} parts")
