"""The command line: ``xaiutils explain | methods | metrics | figures | study | ...``."""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).parents[2]


def main(arguments: Sequence[str] | None = None, folder: str | None = None) -> int:
    """Run one command; an error is one line on stderr, or with ``--debug`` its traceback.

    Args:
        arguments: By default those of the process.
        folder: Of modules of the user's, which this process and its children can name.

    Returns:
        0; 2 for a wrong argument, picture or file, or a library of an extra that is missing; 1 for
        a TypeError that none of our checks raised, which is a fault of a program; 130 for Ctrl-C.
    """
    command, again, debug = "", "", False
    try:
        # Here and not above, so that Ctrl-C while modules load is answered in words, too.
        from xaiutils.support.extras import extras_named
        from xaiutils.support.plugins import find_modules

        if folder is not None:
            find_modules(folder)
        options = vars(_parser().parse_args(arguments))
        debug, run, name = (options.pop(key) for key in ("debug", "run", "command"))
        options.pop("verb", None)
        command = f" {name}"
        again = "; the same command again goes on" if name == "figures" else ""
        with extras_named():
            run(**options)
    except (ValueError, TypeError, OSError, ModuleNotFoundError) as error:
        fault = isinstance(error, TypeError | ModuleNotFoundError) and not _checked(error)
        if debug:
            traceback.print_exc()
        else:
            where = f"; a fault of the program: xaiutils --debug{command} shows where"
            print(f"xaiutils{command}: {error}{where if fault else ''}", file=sys.stderr)
        return 1 if fault else 2
    except KeyboardInterrupt:
        print(f"xaiutils{command}: interrupted{again}", file=sys.stderr)
        return 130
    return 0


def _checked(error: Exception) -> bool:
    """Whether a statement of this package raised it, and not Python or a library."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return Path(last.filename).is_relative_to(PACKAGE) and (last.line or "").startswith("raise ")


def _parser() -> argparse.ArgumentParser:
    from xaiutils import __version__
    from xaiutils.apps.cli import MODEL, add_command
    from xaiutils.apps.cli.explain import add_explain
    from xaiutils.apps.cli.study import add_study
    from xaiutils.apps.cli.user_study import add_user_study

    parser = argparse.ArgumentParser(
        prog="xaiutils", description="Grad-CAM++ x composite-LRP explanations of CNNs."
    )
    parser.add_argument("--version", action="version", version=f"xaiutils {__version__}")
    parser.add_argument(
        "--debug", action="store_true", help="of an error show the traceback, not one line"
    )
    commands = parser.add_subparsers(dest="command", required=True)

    add_explain(commands)

    about = "list the explainers, and which suit a network"
    example = "--model resnet18 --weights random"
    add = add_command(commands, "methods", about, example, _methods).add_argument
    add("--model", help=MODEL)
    add("--weights", help="published name, state-dict file, or random")

    about = "list the metrics: direction, needs, cost"
    add_command(commands, "metrics", about, "", _metrics)

    about = "every figure and table of the paper; go on where it was stopped"
    example = "--workload photographs --model vgg16 --workers 2"
    add = add_command(commands, "figures", about, example, _figures).add_argument
    add("--workload", help="scenes (default), photographs, imagenet or module:function")
    add("--model", help="a torchvision name; XAIUTILS_MODEL by default")
    add("--weights", help="published name or state-dict file")
    add("--root", help="folder of ImageNet; XAIUTILS_IMAGENET by default")
    add("--images", type=int, help="in each table, 100 by default; not on scenes")
    add("--workers", type=int, default=1, help="processes, and notebooks at a time")
    every = "also notebooks 12 and 13, whose tables cost most"
    add("--all", action="store_true", dest="everything", help=every)
    add("--notebooks", type=Path, help="folder; that of this checkout by default")
    add("--out", type=Path, default=Path("results/figures"), help="folder")

    about = "compute the tables and the page of claims"
    example = "table_one --images 10 --out mine"
    add = add_command(commands, "evidence", about, example, _evidence).add_argument
    add("tables", nargs="*", metavar="TABLE", help="only these; all by default")
    add("--workload", help="scenes (default), imagenet or module:function")
    add("--images", type=int, help="only the first ones of each network")
    add("--workers", type=int, default=1, help="processes of one thread")
    add("--out", type=Path, help="folder; results beside the package by default")

    about = "judge docs/claims.yaml by the stored tables"
    add = add_command(commands, "claims", about, "--out mine", _claims).add_argument
    add("--out", type=Path, help="folder of tables, which gets the page; results by default")

    add_study(commands)
    add_user_study(commands)
    return parser


def _methods(model: str | None, weights: str | None) -> None:
    from xaiutils.methods import FAMILIES, METHODS
    from xaiutils.network.classifier import load_model

    classifier = load_model(model, weights)
    for family in FAMILIES:
        print(family)
        for method in (m for m in METHODS.values() if m.family == family):
            reason = method.refusal(classifier)
            print(f"  {method.name:40} {method.passes if reason is None else 'no: ' + reason}")


def _metrics() -> None:
    from xaiutils.metrics import METRICS

    for metric in METRICS.values():
        needs = f", needs {', '.join(metric.needs)}" if metric.needs else ""
        print(f"{metric.name:26} {metric.arrow} {metric.family:15} {metric.passes}{needs}")


def _figures(**options: Any) -> None:
    from xaiutils.evidence.figures import make_figures

    make_figures(**options, say=print)


def _evidence(tables: Sequence[str], workload: str | None, **options: Any) -> None:
    from xaiutils.evidence.tables import make_all

    make_all(tuple(tables), workload, **options, say=print)


def _claims(out: Path | None) -> None:
    from xaiutils.evidence.claims_page import page_of, write_page

    lines = write_page(out=out)
    start = lines.index("| workload | holds | fails | undecided |")
    print("\n".join(lines[start : lines.index("", start)]))
    print(f"written: {page_of(out=out)}")


def run() -> int:
    """The console script: modules of the working directory can be named."""
    return main(folder=os.getcwd())


if __name__ == "__main__":
    sys.exit(run())
