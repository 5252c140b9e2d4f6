"""What decides the operations of a module, but for the numbers in its weights.

`structure` gives values that are equal as long as a capture holds. What a forward method reads
beside its module and the plain names of its own file cannot all be told.
"""

from __future__ import annotations

import types
from collections import deque
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

_PLAIN = (type(None), bool, int, str, bytes, torch.dtype, torch.device, torch.Size)
_LIBRARIES = ("torch", "builtins", "functools", "types", "typing", "abc")
_FUNCTIONS = (types.FunctionType, types.MethodType)


def structure(module: nn.Module) -> list[Any]:
    """What decides the operations of a module: compare two results by ``==``."""
    told = _Told()
    of_all = vars(nn.modules.module).items()  # hooks of every module there is
    hooks = [told(one) for name, one in of_all if name.startswith("_global_") and one]
    return [*told.module(module), *hooks]


def inside(module: nn.Module) -> list[Tensor]:
    """The tensors that a module, or what it holds in lists, dicts and other objects, holds."""
    told = _Told()
    told.module(module)
    return [tensor for _, tensor in told.tensors.values()]


class _Told:
    """Turns what modules hold into what can be compared."""

    def __init__(self) -> None:
        self.found: dict[int, int] = {}  # objects that are told already, by their number
        self.kept: list[Any] = []  # these, so that no other takes their id
        self.tensors: dict[int, tuple[int, Tensor]] = {}  # by their number

    def module(self, module: nn.Module, *, strict: bool = False) -> list[Any]:
        """Every part's type and settings; of weights the form, and which are one and the same.

        ``strict``: of weights that are none of the network's own, for nobody reads them anew.
        """
        found: list[Any] = []
        for path, part in module.named_modules():
            self.number(part)
            found += (path, self.type(type(part)))
            for name, value in vars(part).items():
                if type(value) in _PLAIN:
                    found += (name, type(value), value)
                elif name in ("_parameters", "_buffers") and not strict:
                    found += [(key, self.form(one)) for key, one in value.items()]
                elif name == "_modules":
                    found += [(key, id(one)) for key, one in value.items()]
                elif not isinstance(value, dict) or value:  # most kinds of hooks are empty
                    found += (name, self(value))
        return found

    def number(self, value: Any) -> None:
        """Count an object that is told, once."""
        self.kept.append(value)
        self.found.setdefault(id(value), len(self.found))

    def form(self, value: Tensor | None) -> Any:
        """A weight's form, and which of all it is."""
        if value is None:
            return None
        which, _ = self.tensors.setdefault(id(value), (len(self.tensors), value))
        return which, tuple(value.shape), value.dtype, value.device

    def __call__(self, value: Any) -> Any:  # noqa: PLR0911, one kind a line
        """A setting to compare; what has no value of its own by its identity."""
        if type(value) in _PLAIN:
            return type(value), value
        if isinstance(value, float):
            return repr(value)  # tells 0.0 from -0.0, and NaN equals itself
        if isinstance(value, Tensor):
            self.form(value)
            return _Itself(value), 0 if value.is_inference() else value._version, value.data_ptr()
        if isinstance(value, np.ndarray):
            return value.shape, value.dtype.str, value.tobytes()
        if isinstance(value, type):
            return self.type(value)
        if id(value) in self.found:
            return self.found[id(value)]
        self.number(value)
        if isinstance(value, dict):
            return type(value), [(self(key), self(one)) for key, one in value.items()]
        if isinstance(value, list | tuple | set | frozenset | deque):
            each = [self(one) for one in value]
            return type(value), sorted(map(repr, each)) if isinstance(value, set) else each
        if isinstance(value, nn.Module):
            return self.module(value, strict=True)
        if isinstance(value, _FUNCTIONS):
            return self.function(value)
        # An object of people's own classes, such as a configuration, has attributes.
        library = type(value).__module__.partition(".")[0]
        own = library not in _LIBRARIES and hasattr(value, "__dict__")
        return _Itself(value), self(vars(value)) if own else None

    def function(self, function: Any) -> Any:
        """A function, its defaults, and the plain values that it encloses and of its file.

        Lists are left out: hooks write down in them what they see.
        """
        owner = getattr(function, "__self__", None)
        function = getattr(function, "__func__", function)
        filled = [cell for cell in function.__closure__ or () if cell != types.CellType()]
        names = {name: function.__globals__.get(name) for name in function.__code__.co_names}
        simple = (*_PLAIN, float, np.ndarray)
        plain = {key: value for key, value in names.items() if isinstance(value, simple)}
        cells = [cell.cell_contents for cell in filled]
        cells = [one for one in cells if isinstance(one, (*simple, Tensor))]
        return (
            *(_Itself(function.__code__), self(cells), self(function.__defaults__)),
            *(self(plain), self(owner)),
        )

    def type(self, type_: type) -> Any:
        """A class: what people's own classes hold may be changed, too."""
        if id(type_) in self.found:
            return self.found[id(type_)]
        self.number(type_)
        kinds = (*_FUNCTIONS, *_PLAIN, float, list, dict)
        held = [
            (name, self(value))
            for one in type_.__mro__
            if one.__module__.partition(".")[0] not in _LIBRARIES
            for name, value in vars(one).items()
            if isinstance(value, kinds) and name[:2] != "__"
        ]
        return _Itself(type_), held


class _Itself:
    """An object that equals itself alone; it is held, so that no other can take its place."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Itself) and other.value is self.value

    __hash__ = None  # type: ignore[assignment]
