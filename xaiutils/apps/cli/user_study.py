"""The options of ``xaiutils user-study``, and what each of its verbs does and says."""

from __future__ import annotations

import argparse
from collections.abc import Callable
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
    globals()[options.verb](options, print)


Say = Callable[[str], None]


def build(options: argparse.Namespace, say: Say) -> None:
    """Draw the pictures, freeze the design, and say how to go on."""
    from xaiutils.apps.userstudy.build import METHODS, build_user_study

    design = build_user_study(
        options.folder,
        options.workload,
        options.methods or METHODS,
        each=options.items,
        seed=options.seed,
        contact=options.contact,
    )
    counts = ", ".join(f"{len(design.items[task])} {task}" for task in design.tasks)
    say(f"{options.folder}: {counts}; methods {', '.join(design.methods)}; hash {design.hash[:16]}")
    if "look" not in design.tasks:
        say(f"no task 'look': {design.source['workload']} has no pictures with two known objects")
    say(f"go on with: xaiutils user-study serve {options.folder}")


def serve(options: argparse.Namespace, say: Say) -> None:
    """Serve until interrupted."""
    from xaiutils.apps.userstudy.server import serve as run

    if not 0 <= options.port <= 65535:
        raise ValueError(f"port must be in 0..65535, got {options.port}")
    run(options.folder, options.host, options.port, lambda text: _flushed(say, text))


def _flushed(say: Say, text: str) -> None:
    import sys

    say(text)
    sys.stdout.flush()  # who starts the server from a script waits for the address


def export(options: argparse.Namespace, say: Say) -> None:
    """Write the table of answers."""
    from xaiutils.apps.userstudy.table import answers_table, write_csv

    if options.out.suffix.lower() != ".csv":  # such as the file of the answers itself
        raise ValueError(f"out must end in .csv, got {options.out.name!r}")
    table = answers_table(options.folder)
    write_csv(table, options.out)
    say(f"{options.out}: {len(table)} answers of {table['participant'].nunique()} participants")


def analyse(options: argparse.Namespace, say: Say) -> None:
    """Print the whole analysis, without and with those whom the rule leaves out."""
    from xaiutils.apps.userstudy.analysis import report
    from xaiutils.apps.userstudy.design import open_user_study
    from xaiutils.apps.userstudy.table import answers_table

    for line in report(answers_table(options.folder), open_user_study(options.folder)):
        say(line)


def withdraw(options: argparse.Namespace, say: Say) -> None:
    """Delete a participant."""
    from xaiutils.apps.userstudy.design import open_user_study
    from xaiutils.apps.userstudy.store import Store, Unknown, normalised

    store = Store(options.folder, open_user_study(options.folder))
    try:
        count = store.withdraw(normalised(options.code))
    except Unknown:
        raise ValueError(f"CODE must be a participant's, got {options.code!r}") from None
    finally:
        store.close()
    say(f"deleted the participant and {count} answers")
    if not store.clean:
        say(
            f"another program is reading {store.path}: traces are left in {store.path.name}-wal "
            f"until it has ended; then run: xaiutils user-study analyse {options.folder}"
        )


def power(options: argparse.Namespace, say: Say) -> None:
    """Print how many participants the two kinds of question need."""
    from xaiutils.apps.userstudy.power import participants_for_accuracy, participants_for_choice

    a, b = options.accuracy
    more = {"items": options.items, "icc": options.icc}
    more |= {"power": options.power, "alpha": options.alpha}
    n = participants_for_accuracy(a, b, **more)
    say(f"accuracy {a:g} against {b:g}: {n} participants")
    n = participants_for_choice(options.share, **more)
    say(f"{options.share:g} of the choices between two maps: {n} participants")
