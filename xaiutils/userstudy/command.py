"""What ``xaiutils user-study VERB`` does and says; each verb is a function of its options."""

from __future__ import annotations

import argparse
from collections.abc import Callable

Say = Callable[[str], None]


def build(options: argparse.Namespace, say: Say) -> None:
    """Draw the pictures, freeze the design, and say how to go on."""
    from xaiutils.userstudy.build import METHODS, build_user_study

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
    from xaiutils.userstudy.server import serve as run

    if not 0 <= options.port <= 65535:
        raise ValueError(f"port must be in 0..65535, got {options.port}")
    run(options.folder, options.host, options.port, lambda text: _flushed(say, text))


def _flushed(say: Say, text: str) -> None:
    import sys

    say(text)
    sys.stdout.flush()  # who starts the server from a script waits for the address


def export(options: argparse.Namespace, say: Say) -> None:
    """Write the table of answers."""
    from xaiutils.userstudy.table import answers_table, write_csv

    if options.out.suffix.lower() != ".csv":  # such as the file of the answers itself
        raise ValueError(f"out must end in .csv, got {options.out.name!r}")
    table = answers_table(options.folder)
    write_csv(table, options.out)
    say(f"{options.out}: {len(table)} answers of {table['participant'].nunique()} participants")


def analyse(options: argparse.Namespace, say: Say) -> None:
    """Print the whole analysis, without and with those whom the rule leaves out."""
    from xaiutils.userstudy.analysis import report
    from xaiutils.userstudy.design import open_user_study
    from xaiutils.userstudy.table import answers_table

    for line in report(answers_table(options.folder), open_user_study(options.folder)):
        say(line)


def withdraw(options: argparse.Namespace, say: Say) -> None:
    """Delete a participant."""
    from xaiutils.userstudy.design import open_user_study
    from xaiutils.userstudy.store import Store, Unknown, normalised

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
    from xaiutils.userstudy.power import participants_for_accuracy, participants_for_choice

    a, b = options.accuracy
    more = {"items": options.items, "icc": options.icc}
    more |= {"power": options.power, "alpha": options.alpha}
    n = participants_for_accuracy(a, b, **more)
    say(f"accuracy {a:g} against {b:g}: {n} participants")
    n = participants_for_choice(options.share, **more)
    say(f"{options.share:g} of the choices between two maps: {n} participants")
