"""Functions of the user's, called ``module:function`` where a name is asked for."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import TypeVar

from xaiutils.support import checks

Made = TypeVar("Made")
# The folder of the user's modules, for processes that the command line starts elsewhere (kernels).
# Not PYTHONPATH: that comes before the installed packages, and a yaml.py there would replace one.
FOLDER = "XAIUTILS_MODULES"


def find_modules(folder: str) -> None:
    """Let this process and its children import modules of a folder, behind all installed ones."""
    os.environ[FOLDER] = folder
    if folder not in sys.path:
        sys.path.append(folder)


def made_by(name: str, kind: type[Made]) -> Made:
    """What a function of the user's, called ``module:function``, returns, if it is a ``kind``."""
    module, _, function = name.partition(":")
    if FOLDER in os.environ:
        find_modules(os.environ[FOLDER])
    try:
        make = getattr(import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"name must be module:function to import, got {name!r}: {error}") from None
    made = make()
    if not isinstance(made, kind):
        raise TypeError(f"{name} must return a {kind.__name__}, got {checks.describe(made)}")
    return made
