"""What decides the operations of a module, but for the numbers in its weights.

What a forward method reads beside its module and the plain names of its file cannot all be told.
"""

from __future__ import annotations

import hashlib
import io
import marshal
import pickle
import types
from collections import deque
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

_PLAIN = (type(None), bool, int, float, str, bytes, np.ndarray)
_LIBRARIES = ("torch", "builtins", "functools", "types", "typing", "abc", "collections")
_FUNCTIONS = (types.FunctionType, types.MethodType)


def structure(module: nn.Module) -> tuple[str, list[Tensor]]:
    """A hash of what decides the operations, and the tensors that are told by where they lie."""
    hooks = [v for k, v in vars(nn.modules.module).items() if k.startswith("_global_") and v]
    told = _Told(module, hooks)
    return hashlib.sha256(told.written.getvalue()).hexdigest(), [*told.tensors.values()]


def inside(module: nn.Module) -> list[Tensor]:
    """The tensors that a module, or what it holds in lists, dicts and other objects, holds."""
    return [*_Told(module).tensors.values()]


class _Told(pickle.Pickler):
    """What a module holds, written down as by pickle; nothing is read back from it."""

    def __init__(self, module: nn.Module, *others: Any) -> None:
        self.written, self.tensors = io.BytesIO(), dict[int, Tensor]()
        self.weights = {id(one) for one in (*module.parameters(), *module.buffers())}
        super().__init__(self.written, protocol=5)
        self.dump((module, others))

    def reducer_override(self, value: Any) -> Any:
        """What stands for a value: pickle itself asks for neither numbers nor lists and dicts."""
        if value is list or isinstance(value, np.ndarray | np.generic):
            return NotImplemented
        return list, (), self.told(value)

    def told(self, value: Any) -> Any:  # noqa: PLR0911, one kind a line
        """A value in plain ones and others that have this method's place in turn."""
        if isinstance(value, Tensor):
            self.tensors[id(value)] = value
            form = [tuple(value.shape), str(value.dtype), str(value.device)]
            if id(value) in self.weights:  # which are read anew
                return form
            return [
                form,
                id(value),
                0 if value.is_inference() else value._version,
                value.data_ptr(),
            ]
        if isinstance(value, types.MethodType):
            return [value.__func__, value.__self__]
        if isinstance(value, types.FunctionType):
            return self.function(value)
        if isinstance(value, type):  # what people's own classes hold may be changed, too
            kinds = (*_FUNCTIONS, *_PLAIN, list, dict)
            own = [vars(one).items() for one in value.__mro__ if not _of_library(one)]
            held = [(k, v) for one in own for k, v in one if isinstance(v, kinds) and k[:2] != "__"]
            return [value.__module__, value.__qualname__, held]
        if isinstance(value, dict):
            return [type(value), [*value.items()]]
        if isinstance(value, list | tuple | set | frozenset | deque):
            return [type(value), [*value]]
        if isinstance(value, torch.dtype | torch.device):
            return str(value)
        if isinstance(value, nn.Module):
            held = [(k, v) for k, v in vars(value).items() if not isinstance(v, dict) or v]
            return [type(value), held]  # most kinds of hooks are empty
        # An object of people's own classes, such as a configuration, has attributes.
        attributes = not _of_library(type(value)) and hasattr(value, "__dict__")
        return [type(value), vars(value) if attributes else id(value)]

    def function(self, function: types.FunctionType) -> Any:
        """A function, its defaults, and the plain values that it encloses and of its file.

        Lists are left out: hooks write down in them what they see.
        """
        filled = [cell for cell in function.__closure__ or () if cell != types.CellType()]
        cells = [cell.cell_contents for cell in filled]
        names = {name: function.__globals__.get(name) for name in function.__code__.co_names}
        return [
            marshal.dumps(function.__code__, 2),  # without references, whose number may vary
            [one for one in cells if isinstance(one, (*_PLAIN, Tensor))],
            function.__defaults__,
            {name: one for name, one in names.items() if isinstance(one, _PLAIN)},
        ]


def _of_library(type_: type) -> bool:
    return type_.__module__.partition(".")[0] in _LIBRARIES
