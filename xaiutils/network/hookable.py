"""A copy of a captured network as an ordinary module, for the libraries that hook modules.

captum and grad-cam see modules only: a functional ReLU escapes guided backpropagation without a
word, and one ReLU module that is called twice stops DeepLIFT (captum 0.9.0). In the copy every
activation, pooling and softmax is a module of its own, nothing works in place, and the layer of the
CAM is a module even where the network computes it by ``+`` or ``torch.cat``. The copy borrows the
caller's weights, frozen; what a library leaves behind is left on the copy.
"""

from __future__ import annotations

from inspect import signature
from typing import Any

import torch
from torch import Tensor, nn

from xaiutils.network.capture import require_eval
from xaiutils.network.graph import Graph, last_uses
from xaiutils.network.step import Step
from xaiutils.support import asking

_MODULES = {  # by the names of their operations, without underscores
    kind.__name__.lower(): kind
    for kind in (
        *(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.SELU, nn.GELU, nn.SiLU, nn.Mish),
        *(nn.Hardswish, nn.Hardsigmoid, nn.Hardtanh, nn.Softplus, nn.Tanh, nn.Sigmoid),
        *(nn.Softmax, nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d),
    )
}


class Twin(nn.Module):
    """A fresh copy of the network that ``graph`` was captured from, in eval mode.

    Args:
        graph: The captured network.
        cam_layer: The layer whose result the copy's module ``cam_layer`` returns.
    """

    def __init__(self, graph: Graph, cam_layer: str | None = None) -> None:
        super().__init__()
        require_eval(graph.source)
        self.steps = [step for step in graph.steps if step.function is not None]
        self.input, self.output = graph.input, graph.output
        self.marked = None if cam_layer is None else graph.find(cam_layer)
        self.parts = nn.ModuleDict()
        for step in self.steps:
            module = _module(step)
            if module is not None:
                self.parts[step.key] = module
        self.cam_layer = nn.Identity()
        like = torch.empty(0, device=next(graph.source.parameters(), torch.empty(0)).device)
        self._held = graph.held(like)
        named = dict(graph.source.named_parameters(remove_duplicate=False))
        self.weights = nn.ParameterList(
            nn.Parameter(tensor, requires_grad=False)
            for step, tensor in self._held.items()
            if step.holds in named
        )
        self._last_use = last_uses(graph.steps, graph.output)
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        """The outputs (N, ...) of normalised images (N, C, H, W)."""
        asking.asked(len(x))
        values: dict[Step, Any] = {self.input: x, **self._held}
        for step in self.steps:
            if step.key in self.parts:
                values[step] = self.parts[step.key](_own(values[step.inputs[0]]))
            else:
                values[step] = step.compute(values)
            if step is self.marked:
                values[step] = self.cam_layer(values[step])
            for done in self._last_use.get(step, ()):
                del values[done]
        result: Tensor = values[self.output]
        return result


def _own(value: Any) -> Any:
    """The same numbers as a tensor that only one module reads.

    captum 0.9.0 hooks it, and would replace the gradient from all others that read it.
    """
    return value.view_as(value) if isinstance(value, Tensor) else value


def _module(step: Step) -> nn.Module | None:
    """The module that computes ``step``, or None where it stays a function."""
    kind = _MODULES.get(step.operation.replace("_", ""))
    if kind is None or step.operation[0] == "_" or step.varying != step.inputs:
        return None
    settings = {name: step.given[name] for name in signature(kind).parameters if name in step.given}
    # An empty stride is that of the kernel.
    lists = {key: tuple(value) for key, value in settings.items() if isinstance(value, list)}
    return kind(**settings | {key: value or None for key, value in lists.items()})
