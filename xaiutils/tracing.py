"""What torch.fx needs to read a network without touching it: a copy that borrows its weights."""

from __future__ import annotations

import copy
import traceback
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx, nn

from xaiutils.attention import Attention, attend, write_out
from xaiutils.operations import SAFE
from xaiutils.steps import GraphError


class Tracer(fx.Tracer):
    """torch.fx's tracer, which also notes which module returned a value.

    Of nested modules that return the same value the outermost gives the name: ``layer4`` rather
    than ``layer4.2``; the whole network gives none.
    """

    proxy_buffer_attributes = True  # else a buffer's value at trace time is kept, and it is empty

    def __init__(self) -> None:
        super().__init__()
        self.returned_by: dict[fx.Node, str] = {}
        self.results: dict[str, fx.Node] = {}  # of every module, at its last call

    def create_proxy(
        self, kind: str, target: Any, args: Any, kwargs: Any, *rest: Any, **options: Any
    ) -> Any:
        """A node of the graph; attention becomes the nodes that it consists of.

        An argument of the network that has a default keeps it: a flag is no picture.
        """
        if kind == "placeholder" and args:
            return args[0]
        if target is F.scaled_dot_product_attention:
            return attend(*args, **kwargs)
        return super().create_proxy(kind, target, args, kwargs, *rest, **options)

    def call_module(self, m: nn.Module, forward: Any, args: Any, kwargs: Any) -> Any:
        """Trace a call, and note whose result it is."""
        result = super().call_module(m, forward, args, kwargs)
        if isinstance(result, fx.Proxy):
            path = self.path_of_module(m)
            self.results[path] = result.node
            self.returned_by[result.node] = path
        return result


def structural_copy(module: nn.Module) -> nn.Module:
    """The same modules around parameters on the meta device: no storage, no hooks, eval mode."""
    tensors = (*module.parameters(), *module.buffers())
    memo: dict[int, Any] = {id(t): torch.empty_like(t, device="meta") for t in tensors}
    for parameter in module.parameters():
        memo[id(parameter)] = nn.Parameter(memo[id(parameter)], requires_grad=False)
    twin = copy.deepcopy(module, memo)
    unhook(twin)
    write_out(twin)
    return twin.eval()


def unhook(module: nn.Module) -> None:
    """Let nothing but the module's own code run in its calls."""
    for part in module.modules():
        for hooks in ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks"):
            getattr(part, hooks).clear()


def borrow(twin: nn.Module, source: nn.Module) -> None:
    """Let ``twin`` use the parameters and buffers that ``source`` has now."""
    parts = dict(twin.named_modules())
    for path, module in source.named_modules():
        expected = Attention if type(module) is nn.MultiheadAttention else type(module)
        if path not in parts or type(parts[path]) is not expected:
            raise GraphError(f"{path} has changed since the module was traced; wrap it again")
        for name, value in module._parameters.items():
            parts[path]._parameters[name] = (
                None if value is None else nn.Parameter(value.detach(), requires_grad=False)
            )
        for name, value in module._buffers.items():
            parts[path]._buffers[name] = None if value is None else value.detach()


def dtype(module: nn.Module) -> torch.dtype:
    """The floating-point type of the module's parameters; float32 where it has none."""
    floats = (t.dtype for t in (*module.parameters(), *module.buffers()) if t.is_floating_point())
    return next(floats, torch.float32)


def why_untraceable(module: nn.Module) -> str:
    """What to do about a module that torch.fx cannot trace."""
    if hasattr(module, "_orig_mod"):
        return "give the module that was compiled: module._orig_mod"
    if isinstance(module, nn.DataParallel | nn.parallel.DistributedDataParallel):
        return "give the module inside: module.module"
    if isinstance(module, torch.jit.ScriptModule):
        return "give the module that was scripted, not the script"
    return (
        "its forward must not branch on tensors or their shapes, nor loop over pictures, nor leave "
        "torch; a subclass whose forward has the one path can be traced"
    )


def where_stopped(error: Exception) -> str:
    """The last line of the user's own code that tracing came to, with its file and number."""
    libraries = (Path(torch.__file__).parent, Path(__file__).parent)
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if not any(Path(f.filename).is_relative_to(b) for b in libraries)]
    return f" ({Path(own[-1].filename).name}, line {own[-1].lineno}: {own[-1].line})" if own else ""


def require_eval(module: nn.Module) -> None:
    """Raise if any part of the module is in train mode."""
    if any(part.training for part in module.modules()):
        raise ValueError("module must be in eval mode, got train mode; call module.eval() first")


def take_out_of_place(nodes: list[fx.Node], module: nn.Module) -> None:
    """Let the traced copy overwrite nothing: a value may still be read by somebody else."""
    for node in nodes:
        if node.op in ("call_function", "call_method"):
            node.target = SAFE.get(node.target, node.target)
            if "inplace" in node.kwargs:
                node.kwargs = {**node.kwargs, "inplace": False}
    for part in module.modules():
        if hasattr(part, "inplace"):
            setattr(part, "inplace", False)  # noqa: B010, a module's attributes are untyped
