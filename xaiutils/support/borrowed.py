"""What other libraries would do to the whole process, kept from it.

A progress bar, a warning or a random state that a library takes from its module cannot be given as
an argument: the function is copied and sees what it is given. What some libraries write into the
environment where they are imported is taken back.
"""

from __future__ import annotations

import os
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from threading import RLock
from types import FunctionType
from typing import Any

WRITTEN = ("LD_LIBRARY_PATH", "TORCHINDUCTOR_CACHE_DIR")  # by cv2; by torch._dynamo
_LOCK = RLock()
_SILENCED: Counter[tuple[str, type[Warning], str]] = Counter()


@contextmanager
def environment_kept(*names: str) -> Iterator[None]:
    """Put back what is written inside into the variables ``names``, by default `WRITTEN`."""
    # What another thread's import has just written is nothing to go back to.
    with nullcontext() if names else _LOCK:
        before = {name: os.environ.get(name) for name in names or WRITTEN}
        try:
            yield
        finally:
            for name, value in before.items():
                if value is not None:
                    os.environ[name] = value
                else:
                    os.environ.pop(name, None)


@contextmanager
def silenced(
    message: str = "", category: type[Warning] = Warning, module: str = ""
) -> Iterator[None]:
    """Ignore warnings inside, as `warnings.filterwarnings` does with these arguments.

    `warnings.catch_warnings` puts all filters back: in two threads at once, one puts back what the
    other had set. Here one filter is added and taken away.
    """
    key = message, category, module
    with _LOCK:
        _SILENCED[key] += 1
        warnings.filterwarnings("ignore", message, category, module)
        mine = warnings.filters[0]
    try:
        yield
    finally:
        with _LOCK:
            _SILENCED[key] -= 1
            if not _SILENCED[key] and mine in warnings.filters:
                warnings.filters.remove(mine)  # type: ignore[attr-defined]


def seeing(function: Any, package: str = "", **names: Any) -> Any:
    """A copy of ``function``, written in Python, that sees ``names`` instead of its module's own.

    Functions of ``package`` that it calls are copied as well, and those that they call.
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
