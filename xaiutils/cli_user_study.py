"""The options of ``xaiutils user-study``; `xaiutils.userstudy.command` does what they say."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add_user_study(commands: Any) -> None:
    """Add ``user-study`` to the subcommands of argparse."""
    study = commands.add_parser("user-study", help="a blinded study with people, in the browser")
    verbs = study.add_subparsers(dest="verb", required=True)

    build = verbs.add_parser("build", help="draw the pictures and freeze the design")
    build.add_argument("--workload", help="scenes, photographs, imagenet or module:function")
    build.add_argument("--methods", nargs="+", help="names; xaiutils methods lists them")
    build.add_argument("--items", type=int, default=2, help="pictures of each condition; 2")
    build.add_argument("--seed", type=int, default=0, help="of pictures and orders")
    build.add_argument("--contact", default="", help="a sentence: whom participants can ask")

    serve = verbs.add_parser("serve", help="let people take part, until Ctrl-C")
    serve.add_argument("--host", default="127.0.0.1", help="this machine alone by default")
    serve.add_argument("--port", type=int, default=8700, help="8700; 0 takes a free one")

    export = verbs.add_parser("export", help="every answer as a row of a CSV file, without codes")
    export.add_argument("--out", type=Path, required=True, metavar="CSV")

    analyse = verbs.add_parser("analyse", help="accuracy, Bradley-Terry and usability")
    withdraw = verbs.add_parser("withdraw", help="delete a participant's answers")
    for verb in (build, serve, export, analyse, withdraw):
        verb.add_argument("folder", type=Path, metavar="FOLDER", help="of the user study")
    withdraw.add_argument("code", metavar="CODE", help="as the participant has it")

    power = verbs.add_parser("power", help="how many participants are needed")
    power.add_argument("--accuracy", type=float, nargs=2, default=(0.6, 0.7), metavar=("A", "B"))
    power.add_argument("--share", type=float, default=0.6, help="of choices for one of two maps")
    power.add_argument("--items", type=int, default=2, help="as in build")
    power.add_argument("--icc", type=float, default=0.1, help="likeness of a person's answers")
    power.add_argument("--power", type=float, default=0.8)
    power.add_argument("--alpha", type=float, default=0.05)
    study.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    from xaiutils.userstudy import command

    getattr(command, options.verb)(options, print)
