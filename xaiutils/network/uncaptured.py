"""A network that `torch.export` cannot read: it is called as it is, its layers are seen by hooks.

Each picture is given to it alone. Where a branch is taken by a value of the whole batch, a picture
among others would get the answer of another path.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from xaiutils.network.capture import copied, read_output, require_eval
from xaiutils.network.kinds import GATE, SOFTMAX, UNKNOWN
from xaiutils.network.step import GraphError, Recording, Step
from xaiutils.network.usable import example
from xaiutils.support import asking, chance, checks

_CONVOLUTIONS = (nn.modules.conv._ConvNd,)
_ACTIVATIONS = (
    *(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.ELU, nn.SELU, nn.GELU, nn.SiLU, nn.Mish),
    *(nn.Hardswish, nn.Softplus, nn.Tanh),
)
_NORMS = (nn.modules.batchnorm._NormBase, nn.GroupNorm)


class Whole(nn.Module):
    """A copy of a network around the caller's weights, frozen; each picture is computed alone.

    The result of the module ``cam_layer`` passes through the copy's module of this name.
    """

    def __init__(self, module: nn.Module, cam_layer: str | None = None) -> None:
        super().__init__()
        require_eval(module)
        self.inside = copied(module)
        self.cam_layer: nn.Module = nn.Identity()
        if cam_layer is not None:
            # A copy goes on: what follows may work in place.
            self.watch(cam_layer, lambda value: self.cam_layer(value).clone())
        self.eval()

    def watch(self, layer: str, seen: Callable[[Tensor], Tensor]) -> None:
        """Go on with what ``seen`` makes of each result of a layer."""
        self.inside.get_submodule(layer).register_forward_hook(lambda _, __, value: seen(value))

    def forward(self, x: Tensor) -> Tensor:
        """The outputs (N, ...) of normalised images (N, C, H, W)."""
        out = torch.cat([one_answer(self.inside, image[None]) for image in x])
        return require_gradient(out) if x.requires_grad and torch.is_grad_enabled() else out


def one_answer(module: nn.Module, x: Tensor) -> Tensor:
    """The output (1, ...) for one picture (1, C, H, W); GraphError where there is none."""
    asking.asked(1)
    try:
        found = read_output(module(x))
    except (torch.OutOfMemoryError, GraphError):
        raise
    except RuntimeError as error:
        raise GraphError(
            f"x must fit the network; {checks.shape(x)} {x.dtype} on {x.device} failed: {error}"
        ) from error
    if found.shape[:1] != (1,):
        raise GraphError(
            f"module must return logits (N, K), got {checks.shape(found)} for one picture"
        )
    return found


class Uncaptured:
    """What is known of a network without its graph.

    ``why`` there is none; the shape of one picture's ``output``, (1, ...); the kind of its
    ``ending``, a softmax or sigmoid; the shapes of the ``maps`` (1, C, h, w) by layer, in order;
    whether it is ``differentiable``; the ``default`` CAM layer, or none, and the reason.
    """

    def __init__(self, module: nn.Module, shape: tuple[int, ...], why: str) -> None:
        """Ask ``module`` for one random picture of ``shape`` (C, H, W)."""
        self.module, self.why = module, why
        x = torch.rand((1, *shape), generator=chance.torchs(0), device="cpu").to(example(module))
        twin, seen = Whole(module), []
        parts = {id(part): path for path, part in twin.inside.named_modules() if path}

        def note(part: nn.Module, _: Any, value: Any) -> None:
            if isinstance(value, Tensor) and id(part) in parts:
                seen.append((parts[id(part)], part, value))

        for part in twin.inside.modules():
            if not isinstance(part, torch.jit.ScriptModule):  # takes no hooks
                part.register_forward_hook(note)
        with chance.Drawn(0), torch.inference_mode(False), torch.enable_grad():
            out = one_answer(twin.inside, x.clone().requires_grad_())
        self.differentiable, out = out.requires_grad, out.detach()
        self.output = tuple(out.shape)
        self.maps = {
            path: tuple(value.shape) for path, part, value in seen if _is_map(part, value, x)
        }
        self.ending = _ending(seen, out)
        self.default = self._default(seen)

    def __str__(self) -> str:
        """Why there is no graph, what works without one, and what does not."""
        works = ["prediction", "occlusion", "LIME", "the metrics that ask for outputs alone"]
        fails = ["relevance", "the hybrid", "DeepLIFT", "guided backpropagation"]
        gradients = "gradients (of the branch that each picture takes)"
        (works if self.differentiable else fails).append(gradients)
        (works if self.differentiable and self.maps else fails).append("CAMs")
        return f"{self.why}; what works: {', '.join(works)}; what does not: {', '.join(fails)}"

    def _default(self, seen: list[tuple[str, nn.Module, Tensor]]) -> tuple[str, str]:
        """The last map that a convolution, activation or norm gives before the class layer."""
        if isinstance(self.module, torch.jit.ScriptModule):
            return "", "none: TorchScript computes its layers where no hook sees them"
        weights = (nn.Linear, *_CONVOLUTIONS)
        weighted = [i for i, (_, part, _) in enumerate(seen) if isinstance(part, weights)]
        before = seen[: weighted[-1]] if weighted else seen
        first = {id(value): part for _, part, value in reversed(before)}
        good = [
            (path, value)
            for path, part, value in before
            if self.maps.get(path) == tuple(value.shape)
            and _learns(part)
            and "Pool" not in type(first[id(value)]).__name__
        ]
        if not good:
            return "", "none: no module of it is seen to give a feature map; name one by cam_layer="
        last = good[-1][1]
        path = min((p for p, v in reversed(good) if v is last), key=lambda p: p.count("."))
        size = " x ".join(map(str, last.shape[2:]))
        return path, (
            f"last feature map ({size}) of a convolution, activation or norm that hooks saw before "
            f"{seen[weighted[-1]][0] if weighted else 'the output'}: without a graph nothing says "
            "whether all flows through it"
        )

    def find(self, layer: Any) -> Step:
        """A step that stands for a module that gives maps, by its path; raises if there is none."""
        if not self.maps or layer == "":
            raise GraphError(
                f"cam_layer must be a layer that hooks see, {type(self.module).__name__} has "
                f"{self.default[1]}; gradients, occlusion and LIME need no layer"
            )
        known = [path for path, _ in self.module.named_modules() if path]
        if checks.choice("layer", layer, known) not in self.maps:
            raise ValueError(
                "cam_layer must give feature maps (N, C, h, w) with h * w > 1, with channels first "
                f"where there is no graph, and be called by the network; {layer} is not, these "
                f"are: {', '.join(self.maps)}"
            )
        return Step(layer, layer, kind=UNKNOWN, shape=self.maps[layer])

    def predict(self, x: Tensor) -> Tensor:
        """The outputs (N, ...) of the caller's module itself, without gradient."""
        require_eval(self.module)
        with torch.inference_mode(False), torch.no_grad():
            return torch.cat([one_answer(self.module, image[None].clone()) for image in x])

    def run(self, x: Tensor, layers: Sequence[Step]) -> Iterator[Recording]:
        """Of each picture (N, C, H, W) the output, and each layer's last result as a leaf."""
        twin, found = Whole(self.module), dict[Step, Tensor]()

        def seen(layer: Step, value: Tensor) -> Tensor:
            found[layer] = value if value.requires_grad else value.detach().requires_grad_()
            return found[layer].clone()

        for layer in layers:
            twin.watch(layer.path, partial(seen, layer))
        x = x.clone() if x.is_inference() else x.detach()
        for i, image in enumerate(x):
            found.clear()
            with torch.enable_grad():
                out = twin(image[None].clone())
            absent = [layer.path for layer in layers if layer not in found]
            if absent:
                raise GraphError(
                    f"cam_layer must be called for every image, image {i} takes a branch without "
                    f"{absent[0]}"
                )
            yield Recording(require_gradient(out), dict(found))


def require_gradient(out: Tensor) -> Tensor:
    """The output, if it can be differentiated."""
    if not out.requires_grad:
        raise GraphError(
            "module must compute its output with gradients by torch, and it leaves torch or enters "
            "no_grad; occlusion, LIME and others that ask for outputs alone work"
        )
    return out


def _is_map(part: nn.Module, value: Tensor, x: Tensor) -> bool:
    """Whether a result is a map (1, C, h, w): its sides are the picture's by one factor.

    With channels last they are not; a convolution or norm gives nothing else.
    """
    if value.ndim != x.ndim or len(value) != 1 or value[0, 0].numel() < 2:
        return False
    sides = [a / b for a, b in zip(value.shape[2:], x.shape[2:], strict=True)]
    return isinstance(part, (*_CONVOLUTIONS, *_NORMS)) or min(sides) >= 0.9 * max(sides)


def _learns(part: nn.Module) -> bool:
    """Whether a module's result is a feature map, where it is one at all."""
    if any(True for _ in part.children()):
        return any(isinstance(inner, _CONVOLUTIONS) for inner in part.modules())
    return isinstance(part, (*_CONVOLUTIONS, *_ACTIVATIONS, *_NORMS))


def _ending(seen: list[tuple[str, nn.Module, Tensor]], out: Tensor) -> str | None:
    """The kind of the last module, where it gives the output; a softmax is told by its sum, too."""
    last = seen[-1] if seen else None
    for part, kind in ((nn.Softmax, SOFTMAX), (nn.Sigmoid, GATE)):
        if last and isinstance(last[1], part) and torch.equal(last[2].reshape(-1), out.reshape(-1)):
            return kind
    summed = out.sum(1) if out.ndim > 1 and out.shape[1] > 1 else out.new_zeros(1)
    near = bool((out >= 0).all()) and bool(((summed - 1).abs() < 1e-5).all())
    return SOFTMAX if near else None
