"""The command line: `__main__` has the parser and the short commands, each other module one more.

None of them imports torch before a command needs it.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

MODEL = "a name in MODELS, or module:function; by default SqueezeNet 1.1 with a package's weights"


def add_command(
    commands: Any, name: str, help: str, example: str, run: Callable[..., None] | None = None
) -> argparse.ArgumentParser:
    """Add a command to argparse's ``commands``; ``run`` is called with its options by name."""
    parser: argparse.ArgumentParser = commands.add_parser(name, help=help, description=help)
    parser.epilog = f"example: {parser.prog} {example}".rstrip()
    parser.set_defaults(run=run)
    return parser
