"""A copy of a traced network as an ordinary module, for the libraries that hook modules.

captum and grad-cam see modules only: a functional ReLU escapes guided backpropagation without a
word, and one ReLU module that is called twice stops DeepLIFT (captum 0.9.0). In the copy every
operation that has a module is a module of its own, nothing works in place, and the layer of the
CAM is a module even where the network computes it by ``+`` or ``torch.cat``. The copy borrows the
caller's weights, frozen; what a library leaves behind is left on the copy.
"""

from __future__ import annotations

import copy
import operator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from xaiutils import passes
from xaiutils.compute import compute, last_uses
from xaiutils.graph import Graph
from xaiutils.steps import Step
from xaiutils.tracing import borrow, require_eval

_POOL = ("kernel_size", "stride", "padding", "dilation", "ceil_mode")
_MODULES: dict[Any, tuple[type[nn.Module], tuple[str, ...]]] = {  # of a function: module, settings
    **dict.fromkeys((F.relu, torch.relu, "relu"), (nn.ReLU, ())),
    **dict.fromkeys((torch.tanh, "tanh"), (nn.Tanh, ())),
    **dict.fromkeys((torch.sigmoid, F.sigmoid, "sigmoid"), (nn.Sigmoid, ())),
    **dict.fromkeys((F.softmax, torch.softmax, "softmax"), (nn.Softmax, ("dim",))),
    **dict.fromkeys((F.max_pool2d, torch.max_pool2d), (nn.MaxPool2d, _POOL)),
    F.leaky_relu: (nn.LeakyReLU, ("negative_slope",)),
    F.elu: (nn.ELU, ("alpha",)),
}


class Twin(nn.Module):
    """A fresh copy of the network that ``graph`` was traced from, in eval mode.

    Args:
        graph: The traced network.
        cam_layer: The layer whose result the copy's module ``cam_layer`` returns.
    """

    def __init__(self, graph: Graph, cam_layer: str | None = None) -> None:
        super().__init__()
        require_eval(graph.source)
        borrow(graph.copy, graph.source)
        self.steps = [step for step in graph.steps if step is not graph.input]
        self.input, self.output = graph.input, graph.output
        self.marked = None if cam_layer is None else graph.find(cam_layer)
        self.parts = nn.ModuleDict()
        for step in self.steps:
            module = _module(step)
            if module is not None:
                self.parts[step.name] = module
        self.cam_layer = nn.Identity()
        self._source = (graph.copy,)  # in a tuple, so that it is no part of this module
        self._last_use = last_uses(graph.steps, graph.output)
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, K) of normalised images (N, C, H, W)."""
        passes.asked(len(x))
        env: dict[fx.Node, Any] = {self.input.node: x}
        for step in self.steps:
            env[step.node] = self._compute(step, env)
            if step is self.marked:
                env[step.node] = self.cam_layer(env[step.node])
            for done in self._last_use.get(step, ()):
                del env[done.node]
        return env[self.output.node]

    def _compute(self, step: Step, env: dict[fx.Node, Any]) -> Any:
        if step.node.op == "get_attr":
            return operator.attrgetter(str(step.node.target))(self._source[0])
        if step.name not in self.parts:
            return compute(step, env, None, False)
        read: Any = (step.node.args, step.node.kwargs)
        args, kwargs = fx.node.map_arg(read, lambda node: _own(env[node]))
        if step.module is None:  # a function's settings are in its module
            return self.parts[step.name](args[0] if args else kwargs["input"])
        return self.parts[step.name](*args, **kwargs)


def _own(value: Any) -> Any:
    """The same numbers as a tensor that only one module reads.

    captum hooks the tensor that a module reads: the hook would see, and replace, the gradient from
    all others that read it, such as the branches of an Inception module (captum 0.9.0).
    """
    return value.view_as(value) if isinstance(value, Tensor) else value


def _module(step: Step) -> nn.Module | None:
    """The module that computes ``step`` alone, or None where it stays a function."""
    if step.module is not None:
        shared = (*step.module.parameters(), *step.module.buffers())
        return copy.deepcopy(step.module, {id(tensor): tensor for tensor in shared})
    if step.node.target not in _MODULES:
        return None
    kind, names = _MODULES[step.node.target]
    given = dict(zip(names, step.node.args[1:], strict=False)) | {
        key: value for key, value in step.node.kwargs.items() if key in names
    }
    return kind(**given)
