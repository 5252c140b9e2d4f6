"""Functions of the user's, called ``module:function`` where a name is asked for."""

from __future__ import annotations

from importlib import import_module
from typing import TypeVar

from xaiutils import checks

Made = TypeVar("Made")


def made_by(name: str, kind: type[Made]) -> Made:
    """What a function of the user's, called ``module:function``, returns.

    Raises:
        ValueError: There is no such module or function.
        TypeError: It returns no ``kind``.
    """
    module, _, function = name.partition(":")
    try:
        make = getattr(import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"name must be module:function to import, got {name!r}: {error}") from None
    made = make()
    if not isinstance(made, kind):
        raise TypeError(f"{name} must return a {kind.__name__}, got {checks.describe(made)}")
    return made
