"""The command line: ``xaiutils explain | methods | metrics | figures | study | ...``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; an error of ours is one line on stderr and exit code 2."""
    command, again = "", ""
    try:
        options = _parser().parse_args(arguments)
        command = f" {options.command}"
        again = "; the same command again goes on" if options.command == "figures" else ""
        options.run(options)
    except (ValueError, TypeError, OSError) as error:
        print(f"xaiutils{command}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"xaiutils{command}: interrupted{again}", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    # Here and not above, so that Ctrl-C while modules load is answered in words, too.
    from xaiutils.apps.cli.evidence import add_evidence
    from xaiutils.apps.cli.explain import add_explain
    from xaiutils.apps.cli.study import add_study
    from xaiutils.apps.cli.user_study import add_user_study

    parser = argparse.ArgumentParser(
        prog="xaiutils", description="Grad-CAM++ x composite-LRP explanations of CNNs."
    )
    commands = parser.add_subparsers(dest="command", required=True)

    add_explain(commands)

    methods = commands.add_parser("methods", help="list the explainers, and which suit a network")
    methods.add_argument(
        "--model", default="scenes_vgg_seed0", help="a name in MODELS, or module:function"
    )
    methods.add_argument("--weights", help="published name, state-dict file, or random")
    methods.set_defaults(run=_methods)

    metrics = commands.add_parser("metrics", help="list the metrics: direction, needs, cost")
    metrics.set_defaults(run=_metrics)

    add_evidence(commands, print)
    add_study(commands)
    add_user_study(commands)

    train = commands.add_parser("train-scenes", help="train a scene classifier and ship it")
    train.add_argument("--architecture", default="vgg", help="vgg, resnet, inception or vit")
    train.add_argument("--seed", type=int, default=0)
    train.add_argument("--out", type=Path, default=Path("data"), help="folder")
    train.set_defaults(run=_train)
    return parser


def _methods(options: argparse.Namespace) -> None:
    from xaiutils.methods import FAMILIES, METHODS
    from xaiutils.network.classifier import load_model

    classifier = load_model(options.model, options.weights)
    for family in FAMILIES:
        print(family)
        for method in (m for m in METHODS.values() if m.family == family):
            reason = method.refusal(classifier)
            print(f"  {method.name:40} {method.passes if reason is None else 'no: ' + reason}")


def _metrics(options: argparse.Namespace) -> None:
    from xaiutils.metrics import METRICS

    for metric in METRICS.values():
        needs = f", needs {', '.join(metric.needs)}" if metric.needs else ""
        print(f"{metric.name:26} {metric.arrow} {metric.family:15} {metric.passes}{needs}")


def _train(options: argparse.Namespace) -> None:
    from xaiutils.pictures.scenes.training import train_scenes

    train_scenes(options.architecture, options.seed, options.out, report=print)


def run() -> int:
    """The console script: modules of the working directory can be named, also by its children."""
    try:
        from xaiutils.support.plugins import find_modules

        find_modules(os.getcwd())
    except KeyboardInterrupt:
        print("xaiutils: interrupted", file=sys.stderr)
        return 130
    return main()


if __name__ == "__main__":
    sys.exit(run())
