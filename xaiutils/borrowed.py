"""Functions of other libraries that see something else where their module has a global name.

A progress bar, a warning or a random state that a library takes from its module cannot be given as
an argument. The function is copied and sees what it is given; nothing in the library changes.
"""

from __future__ import annotations

from types import FunctionType
from typing import Any


def seeing(function: Any, package: str = "", **names: Any) -> Any:
    """A copy of ``function`` that sees ``names`` instead of its module's own.

    Args:
        function: Written in Python.
        package: Functions of this package that it calls are copied as well, and those that they
            call; by default none.
        **names: What it sees.
    """
    return _copied(function, package, names, {})


def _copied(
    function: FunctionType, package: str, names: dict[str, Any], known: dict[FunctionType, Any]
) -> Any:
    if function in known:
        return known[function]
    own = function.__globals__ | names
    found = known[function] = FunctionType(
        function.__code__, own, function.__name__, function.__defaults__, function.__closure__
    )
    found.__kwdefaults__ = function.__kwdefaults__
    for name in function.__code__.co_names if package else ():
        called = own.get(name)
        if isinstance(called, FunctionType) and called.__module__.startswith(package):
            own[name] = _copied(called, package, names, known)
    return found
