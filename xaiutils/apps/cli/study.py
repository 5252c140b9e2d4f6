"""The options of ``xaiutils study``; `xaiutils.apps.cli.study_verbs` does what they say."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from xaiutils.support import checks


def add_study(commands: Any) -> None:
    """Add ``study`` to the subcommands of argparse."""
    study = commands.add_parser("study", help="images x methods x metrics, in parts, resumable")
    verbs = study.add_subparsers(dest="verb", required=True)

    run = verbs.add_parser("run", help="begin a study, or go on with it")
    run.add_argument("folder", type=Path, help="of the study; a new one needs methods and metrics")
    run.add_argument("--methods", nargs="+", help="NAME, NAME:SETTING=VALUE,... or CAM*METHOD")
    run.add_argument("--metrics", nargs="+", help="NAME or NAME:SETTING=VALUE,...")
    run.add_argument("--workload", help="scenes, photographs, imagenet or module:function")
    run.add_argument("--split", help="of the scenes; test by default")
    run.add_argument("--model", help="a name in MODELS, or module:function")
    run.add_argument("--weights", help="published name, or state-dict file")
    run.add_argument("--root", help="of ImageNet; XAIUTILS_IMAGENET by default")
    run.add_argument("--images", type=int, help="only the first ones")
    run.add_argument("--seeds", type=int, nargs="+", help="of the perturbations; 0 by default")
    run.add_argument("--part", type=int, help="pictures in a part; 8 by default")
    run.add_argument("--batch", type=_batch, help="pictures the network gets at most, or auto")
    run.add_argument("--threads", type=int, help="of a process; 1 by default")
    run.add_argument("--device", help="cpu (default) or cuda")
    run.add_argument("--autocast", action="store_true", default=None, help="compute in bfloat16")
    run.add_argument("--workers", type=int, default=1, help="processes on this machine")
    run.add_argument("--scheduler", help="address of a Dask cluster instead")
    run.add_argument("--wait", type=float, default=60, help="seconds for its first worker")
    run.add_argument("--shard", type=_shard, default=(1, 1), metavar="I/N", help="of a job array")
    run.add_argument("--retry-failed", action="store_true", help="try accidents again")

    status = verbs.add_parser("status", help="parts, accidents, seconds")
    table = verbs.add_parser("table", help="means with intervals, or against another study")
    table.add_argument("--against", type=Path, metavar="OTHER", help="folder of another study")
    table.add_argument("--out", type=Path, help="write the result table: .parquet or .csv")
    table.add_argument("--right-only", action="store_true", help="pictures classified rightly")
    table.add_argument("--partial", action="store_true", help="of the parts that are there")
    verdicts = verbs.add_parser("verdicts", help="judge the claims that the study can answer")
    verdicts.add_argument(
        "--claims", type=Path, help="docs/claims.yaml of this checkout by default"
    )
    for verb in (status, table, verdicts):
        verb.add_argument("folder", type=Path, help="of the study")

    merge = verbs.add_parser("merge", help="gather the parts of several folders of one study")
    merge.add_argument("out", type=Path, help="a new folder")
    merge.add_argument("folders", type=Path, nargs="+")
    study.set_defaults(run=_study)


def _batch(text: str) -> int | str:
    try:
        return text if text == "auto" else int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a number or auto, got {text!r}") from None


def _shard(text: str) -> tuple[int, int]:
    i, _, n = text.partition("/")
    try:
        shard = int(i), int(n)
    except ValueError:
        shard = 0, 0
    if not 1 <= shard[0] <= shard[1]:
        raise argparse.ArgumentTypeError(f"must be I/N from 1/N to N/N, got {text!r}")
    return shard


def _study(options: argparse.Namespace) -> None:
    from xaiutils.apps.cli import study_verbs

    say = print
    getattr(study_verbs, options.verb)(options, lambda text: say(checks.printable(text)))
