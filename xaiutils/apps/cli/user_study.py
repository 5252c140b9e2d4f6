"""``xaiutils user-study VERB``: the options of each verb, and what it does and says."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from xaiutils.apps.cli import add_command


def add_user_study(commands: Any) -> None:
    """Add ``user-study`` to the subcommands of argparse."""
    about, example = "a blinded study with people, in the browser", "serve mine"
    study = add_command(commands, "user-study", about, example)
    verbs = study.add_subparsers(dest="verb", required=True)

    about = "draw the pictures and freeze the design"
    build = add_command(verbs, "build", about, "mine --methods hybrid lrp_paper", _build)
    add = build.add_argument
    add("--workload", help="scenes, photographs, imagenet or module:function")
    add("--methods", nargs="+", help="names; xaiutils methods lists them")
    add("--items", type=int, default=2, help="pictures of each condition; 2")
    add("--seed", type=int, default=0, help="of pictures and orders")
    add("--contact", default="", help="a sentence: whom participants can ask")

    serve = add_command(verbs, "serve", "let people take part, until Ctrl-C", "mine", _serve)
    serve.add_argument("--host", default="127.0.0.1", help="this machine alone by default")
    serve.add_argument("--port", type=int, default=8700, help="8700; 0 takes a free one")

    about = "every answer as a row of a CSV file, without codes"
    export = add_command(verbs, "export", about, "mine --out answers.csv", _export)
    export.add_argument("--out", type=Path, required=True, metavar="CSV")

    about = "accuracy, Bradley-Terry and usability"
    analyse = add_command(verbs, "analyse", about, "mine", _analyse)
    about = "delete a participant's answers"
    withdraw = add_command(verbs, "withdraw", about, "mine ABCD-EFGH-JKLM", _withdraw)
    for verb in (build, serve, export, analyse, withdraw):
        verb.add_argument("folder", type=Path, metavar="FOLDER", help="of the user study")
    withdraw.add_argument("code", metavar="CODE", help="as the participant has it")

    about = "how many participants are needed"
    add = add_command(verbs, "power", about, "--accuracy 0.6 0.75", _power).add_argument
    add("--accuracy", type=float, nargs=2, default=(0.6, 0.7), metavar=("A", "B"))
    add("--share", type=float, default=0.6, help="of choices for one of two maps")
    add("--items", type=int, default=2, help="as in build")
    add("--icc", type=float, default=0.1, help="likeness of a person's answers")
    add("--power", type=float, default=0.8)
    add("--alpha", type=float, default=0.05)


def _build(
    folder: Path, workload: str | None, methods: Sequence[str] | None, items: int, **more: Any
) -> None:
    """Draw the pictures, freeze the design, and say how to go on."""
    from xaiutils.apps.userstudy.build import METHODS, build_user_study

    design = build_user_study(folder, workload, methods or METHODS, each=items, **more)
    counts = ", ".join(f"{len(design.items[task])} {task}" for task in design.tasks)
    print(f"{folder}: {counts}; methods {', '.join(design.methods)}; hash {design.hash[:16]}")
    if "look" not in design.tasks:
        print(f"no task 'look': {design.source['workload']} has no pictures with two known objects")
    print(f"go on with: xaiutils user-study serve {folder}")


def _serve(folder: Path, host: str, port: int) -> None:
    from xaiutils.apps.userstudy.server import serve

    if not 0 <= port <= 65535:
        raise ValueError(f"port must be in 0..65535, got {port}")
    # Who starts the server from a script waits for the address.
    serve(folder, host, port, partial(print, flush=True))


def _export(folder: Path, out: Path) -> None:
    from xaiutils.apps.userstudy.table import answers_table, write_csv

    if out.suffix.lower() != ".csv":  # such as the file of the answers itself
        raise ValueError(f"out must end in .csv, got {out.name!r}")
    table = answers_table(folder)
    write_csv(table, out)
    print(f"{out}: {len(table)} answers of {table['participant'].nunique()} participants")


def _analyse(folder: Path) -> None:
    """Print the whole analysis, without and with those whom the rule leaves out."""
    from xaiutils.apps.userstudy.analysis import report
    from xaiutils.apps.userstudy.design import open_user_study
    from xaiutils.apps.userstudy.table import answers_table

    for line in report(answers_table(folder), open_user_study(folder)):
        print(line)


def _withdraw(folder: Path, code: str) -> None:
    from xaiutils.apps.userstudy.design import open_user_study
    from xaiutils.apps.userstudy.store import Store, Unknown, normalised

    store = Store(folder, open_user_study(folder))
    try:
        count = store.withdraw(normalised(code))
    except Unknown:
        raise ValueError(f"CODE must be a participant's, got {code!r}") from None
    finally:
        store.close()
    print(f"deleted the participant and {count} answers")


def _power(accuracy: tuple[float, float], share: float, **more: Any) -> None:
    """Print how many participants the two kinds of question need."""
    from xaiutils.apps.userstudy.power import participants_for_accuracy, participants_for_choice

    a, b = accuracy
    n = participants_for_accuracy(a, b, **more)
    print(f"accuracy {a:g} against {b:g}: {n} participants")
    n = participants_for_choice(share, **more)
    print(f"{share:g} of the choices between two maps: {n} participants")
