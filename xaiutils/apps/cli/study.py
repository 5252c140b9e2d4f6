"""``xaiutils study VERB``: the options of each verb, and what it does and says."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xaiutils.apps.cli import add_command
from xaiutils.support import checks
from xaiutils.support.files import write_whole

if TYPE_CHECKING:
    from xaiutils.evidence.study.folder import StudyFolder
    from xaiutils.evidence.study.tables import Status


def add_study(commands: Any) -> None:
    """Add ``study`` to the subcommands of argparse."""
    about, example = "images x methods x metrics, in parts, resumable", "status mine"
    study = add_command(commands, "study", about, example)
    verbs = study.add_subparsers(dest="verb", required=True)

    about = "begin a study, or go on with it"
    example = "mine --methods hybrid lime --metrics deletion --images 20"
    add = add_command(verbs, "run", about, example, _run).add_argument
    add("folder", type=Path, help="of the study; a new one needs methods and metrics")
    add("--methods", nargs="+", help="NAME, NAME:SETTING=VALUE,... or CAM*METHOD")
    add("--metrics", nargs="+", help="NAME or NAME:SETTING=VALUE,...")
    add("--workload", help="scenes, photographs, imagenet or module:function")
    add("--split", help="of the scenes; test by default")
    add("--model", help="a name in MODELS, or module:function")
    add("--weights", help="published name, or state-dict file")
    add("--root", help="of ImageNet; XAIUTILS_IMAGENET by default")
    add("--images", type=int, help="only the first ones")
    add("--seeds", type=int, nargs="+", help="of the perturbations; 0 by default")
    add("--part", type=int, help="pictures in a part; 8 by default")
    add("--batch", type=_batch, help="pictures the network gets at most, or auto")
    add("--threads", type=int, help="of a process; 1 by default")
    add("--device", help="cpu (default) or cuda")
    add("--autocast", action="store_true", default=None, help="compute in bfloat16")
    add("--workers", type=int, default=1, help="processes on this machine")
    add("--shard", type=_shard, default=(1, 1), metavar="I/N", help="of a job array")
    add("--retry-failed", action="store_true", help="try accidents again")

    status = add_command(verbs, "status", "parts, accidents, seconds", "mine", _status)
    about, example = "means with intervals, or against another study", "mine --out scores.csv"
    table = add_command(verbs, "table", about, example, _table)
    add = table.add_argument
    add("--against", type=Path, metavar="OTHER", help="folder of another study")
    add("--out", type=Path, help="write the result table: .parquet or .csv")
    add("--right-only", action="store_true", help="pictures classified rightly")
    add("--partial", action="store_true", help="of the parts that are there")
    about = "judge the claims that the study can answer"
    verdicts = add_command(verbs, "verdicts", about, "mine", _verdicts)
    verdicts.add_argument(
        "--claims", type=Path, help="docs/claims.yaml of this checkout by default"
    )
    for verb in (status, table, verdicts):
        verb.add_argument("folder", type=Path, help="of the study")

    about = "gather the parts of several folders of one study"
    add = add_command(verbs, "merge", about, "whole first second", _merge).add_argument
    add("out", type=Path, help="a new folder")
    add("folders", type=Path, nargs="+")


def _batch(text: str) -> int | str:
    if text != "auto" and not text.isdecimal():
        raise argparse.ArgumentTypeError(f"must be a number or auto, got {text!r}")
    return text if text == "auto" else int(text)


def _shard(text: str) -> tuple[int, int]:
    i, _, n = text.partition("/")
    if not (i.isdecimal() and n.isdecimal() and 1 <= int(i) <= int(n)):
        raise argparse.ArgumentTypeError(f"must be I/N from 1/N to N/N, got {text!r}")
    return int(i), int(n)


def _say(text: str) -> None:
    print(checks.printable(text))


def _run(
    folder: Path, model: str | None, weights: str | None, root: str | None, workers: int,
    shard: tuple[int, int], retry_failed: bool, **asked: Any,
) -> None:  # fmt: skip
    """Begin or go on; an interrupted run says how to."""
    from tqdm import tqdm

    from xaiutils.evidence.study.engines import run_study
    from xaiutils.evidence.study.folder import MANIFEST, check_asked, create_study, open_study
    from xaiutils.evidence.study.trail import Unfinished

    place: dict[str, Any] = {"model": model, "weights": weights, "root": root}
    asked = {key: value for key, value in asked.items() if value is not None}
    if (folder / MANIFEST).is_file():
        opened = open_study(folder, **place)
        check_asked(opened, asked)
    else:
        missing = [name for name in ("methods", "metrics") if name not in asked]
        if missing:
            raise ValueError(
                f"{folder} holds no study yet: a new one needs --{' and --'.join(missing)}"
            )
        bar = partial(tqdm, unit="picture", desc="hashing", file=sys.stderr)
        opened = create_study(folder, progress=bar, **asked, **place)
    try:
        run_study(
            opened, workers=workers, shard=shard, retry_failed=retry_failed, progress=True,
            say=_say,
        )  # fmt: skip
    except KeyboardInterrupt:
        _say(f"interrupted; finished parts are kept. Go on with: xaiutils study run {opened.path}")
        raise
    except Unfinished as error:
        raise OSError(str(error)) from None
    found = _say_status(opened)
    if found.failed and not found.scored:
        reason = next((why for _, why in sorted(found.reasons.items()) if why), "see the log")
        raise OSError(
            f"no row of {opened.path} has a score, {found.failed} failed: {reason}. Mend that and "
            "add --retry-failed, or begin another study"
        )


def _status(folder: Path) -> None:
    from xaiutils.evidence.study.folder import open_study

    _say_status(open_study(folder))


def _say_status(opened: StudyFolder) -> Status:
    from xaiutils.evidence.study.tables import study_status

    found, study = study_status(opened), opened.study
    _say(
        f"study {study.hash}: {study.images} pictures x {len(study.methods)} methods x "
        f"{len(study.metrics)} metrics x {len(study.seeds)} seeds, {study.model}"
    )
    _say(f"parts: {found.done} of {found.parts}, rows: {found.rows}, log: {found.seconds:.0f} s")
    if found.broken:
        _say(f"broken parts: {list(found.broken)}; the next run makes them anew")
    for (code, method, metric), count in sorted(found.where.items()):
        reason = found.reasons.get((code, method, metric), "")
        _say(f"   {code}: {count} x {method}, {metric}" + (f": {reason}" if reason else ""))
    if found.unread:
        _say(f"logs that cannot be read: {', '.join(found.unread)}")
    if len({instructions for _, instructions in found.machines}) > 1:
        _say(f"machines of different kinds, last bits may differ: {list(found.machines)}")
    return found


def _table(
    folder: Path, against: Path | None, out: Path | None, right_only: bool, partial: bool
) -> None:
    """Summary, comparison, or the result table as a file."""
    from xaiutils.evidence.study import tables
    from xaiutils.evidence.study.folder import open_study

    opened = open_study(folder)
    _load_own(opened)
    if out is not None:
        if not out.parent.is_dir():
            raise ValueError(f"--out must lie in a folder that exists, got {out}")
        if against is not None:
            raise ValueError("--out must be left out with --against, which is printed")
        if out.suffix == ".parquet":
            if right_only or partial:
                raise ValueError("--out FILE.parquet must be the whole table; take FILE.csv")
            _say(f"{out}: {tables.write_result(opened, out)} rows")
            return
        if out.suffix != ".csv":
            raise ValueError(f"--out must end in .parquet or .csv, got {out}")
    own = tables.load_study(opened, right_only=right_only, partial=partial)
    if out is not None:
        write_whole(out, lambda stream: own.to_csv(stream, index=False))
        _say(f"{out}: {len(own)} scores")
    elif against is None:
        for row in tables.study_summary(own).itertuples():
            spread = f"{row.mean:10.3f} [{row.low:.3f}, {row.high:.3f}]"
            _say(f"{row.metric:26} {row.method:34} {spread}, n = {row.n}, without {row.excluded}")
    else:
        other = open_study(against)
        tables.require_comparable(opened, other)
        if opened.study.versions != other.study.versions:
            _say("the two were made with other versions of the libraries")
        theirs = tables.load_study(other, right_only=right_only, partial=partial)
        found = tables.against(own, theirs)
        _say("positive: the first is better")
        for row in found.itertuples():
            spread = f"{row.difference:+.3f} [{row.low:+.3f}, {row.high:+.3f}]"
            _say(f"{row.metric:26} {row.method} against {row.other}: {spread}, n = {row.n}")


def _verdicts(folder: Path, claims: Path | None) -> None:
    from xaiutils.evidence.claims_page import DOCS
    from xaiutils.evidence.study.folder import open_study
    from xaiutils.evidence.study.tables import study_verdicts

    opened = open_study(folder)
    _load_own(opened)
    claims = claims or DOCS / "claims.yaml"
    found = study_verdicts(opened, claims)
    if not found:
        _say(f"no claim of {claims} is about this study's workload, methods and metrics")
    for one in found:
        outcome = one.outcomes[opened.study.workload]
        _say(f"{outcome.verdict.upper():10} {one.claim} {outcome.why}".rstrip())
        for pair in one.pairs.itertuples():
            spread = f"{pair.difference:+.3f} [{pair.low:+.3f}, {pair.high:+.3f}]"
            _say(f"{'':10} {pair.metric}, {pair.method} against {pair.other}: {spread}")


def _load_own(opened: StudyFolder) -> None:
    """A module of the user's may add the methods and metrics that the table is about."""
    if ":" in opened.study.workload:
        opened.load()


def _merge(out: Path, folders: Sequence[Path]) -> None:
    from xaiutils.evidence.study.folder import open_study
    from xaiutils.evidence.study.parts import merge_studies

    studies = [open_study(folder) for folder in folders]
    count = merge_studies(out, studies)
    _say(f"{out}: {count} of {studies[0].study.parts} parts")
