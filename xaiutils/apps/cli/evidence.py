"""The command line of figures and tables: ``xaiutils figures | evidence | claims``."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any


def add_evidence(commands: Any, say: Callable[[str], None]) -> None:
    """Add the three to the subcommands of argparse; they tell ``say`` what they made."""
    figures = commands.add_parser(
        "figures", help="every figure and table of the paper; go on where it was stopped"
    )
    figures.add_argument(
        "--workload", help="scenes (default), photographs, imagenet or module:function"
    )
    figures.add_argument("--model", help="a torchvision name; XAIUTILS_MODEL by default")
    figures.add_argument("--weights", help="published name or state-dict file")
    figures.add_argument("--root", help="folder of ImageNet; XAIUTILS_IMAGENET by default")
    figures.add_argument("--images", type=int, help="in each table, 100 by default; not on scenes")
    figures.add_argument(
        "--workers", type=int, default=1, help="processes, and notebooks at a time"
    )
    figures.add_argument(
        "--all", action="store_true", help="also notebooks 12 and 13, whose tables cost most"
    )
    figures.add_argument("--notebooks", type=Path, help="folder; that of this checkout by default")
    figures.add_argument("--out", type=Path, default=Path("results/figures"), help="folder")
    figures.set_defaults(run=_figures, say=say)

    evidence = commands.add_parser("evidence", help="compute the tables and the page of claims")
    evidence.add_argument("tables", nargs="*", metavar="TABLE", help="only these; all by default")
    evidence.add_argument("--workload", help="scenes (default), imagenet or module:function")
    evidence.add_argument("--images", type=int, help="only the first ones of each network")
    evidence.add_argument("--workers", type=int, default=1, help="processes of one thread")
    evidence.add_argument("--out", type=Path, help="folder; results beside the package by default")
    evidence.set_defaults(run=_evidence, say=say)

    claims = commands.add_parser("claims", help="judge docs/claims.yaml by the stored tables")
    claims.add_argument(
        "--out", type=Path, help="folder of tables, which gets the page; results by default"
    )
    claims.set_defaults(run=_claims, say=say)


def _figures(options: argparse.Namespace) -> None:
    from xaiutils.evidence.figures import make_figures

    make_figures(
        options.out,
        options.workload,
        model=options.model,
        weights=options.weights,
        root=options.root,
        notebooks=options.notebooks,
        images=options.images,
        workers=options.workers,
        everything=options.all,
        say=options.say,
    )


def _evidence(options: argparse.Namespace) -> None:
    from xaiutils.evidence.tables import make_all

    make_all(
        tuple(options.tables),
        options.workload,
        images=options.images,
        workers=options.workers,
        out=options.out,
        say=options.say,
    )


def _claims(options: argparse.Namespace) -> None:
    from xaiutils.evidence.claims_page import page_of, write_page

    lines = write_page(out=options.out)
    start = lines.index("| workload | holds | fails | undecided |")
    options.say("\n".join(lines[start : lines.index("", start)]))
    options.say(f"written: {page_of(out=options.out)}")
