"""Which layer a CAM reads, how its result is read as maps, and the mean over several layers."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pytest
import pytorch_grad_cam
import torch
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import Tensor, nn

from xaiutils import passes
from xaiutils.cam_layer import blocks, bottlenecks, find_cam_layer, reading
from xaiutils.graph import Graph
from xaiutils.hybrid import class_activation_map, explain
from xaiutils.layerwise import explain_layers
from xaiutils.models import Classifier, load_model, wrap
from xaiutils.operations import CONSTANT
from xaiutils.scenes import samples
from xaiutils.steps import Step

SIDE, WIDTH = (8, 12), 6  # 4 x 6 positions; 24 = 4 * 6 channels in one of the networks below


def pictures(n: int = 2, side: tuple[int, int] = SIDE) -> Tensor:
    return torch.randn((n, 3, *side), generator=torch.Generator().manual_seed(5))


# ---- rows and columns are found in any layout ----


def with_class_token(tokens: Tensor) -> Tensor:
    return torch.cat((tokens.new_ones(1, 1, tokens.shape[2]).expand(len(tokens), -1, -1), tokens), 1)


LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "maps": lambda maps: maps,
    "channels last": lambda maps: maps.permute(0, 2, 3, 1),
    "twice transposed": lambda maps: maps.transpose(1, 2).transpose(2, 3),
    "tokens": lambda maps: maps.flatten(2).transpose(1, 2),
    "tokens of channels last": lambda maps: maps.permute(0, 2, 3, 1).flatten(1, 2),
    "channels, tokens": lambda maps: maps.flatten(2),
    "tokens first": lambda maps: maps.flatten(2).permute(2, 0, 1),
    "channels first": lambda maps: maps.permute(1, 0, 2, 3),
    "class token": lambda maps: with_class_token(maps.flatten(2).mT),
    "two class tokens": lambda maps: with_class_token(with_class_token(maps.flatten(2).mT)),
    "class token cut": lambda maps: with_class_token(maps.flatten(2).mT)[:, 1:],
    "last": lambda maps: torch.cat((maps.flatten(2).mT, maps.flatten(2)[:, :, :1].mT), 1),
    "there and back": lambda maps: maps.flatten(2).mT.mT.unflatten(2, (4, 6)),
    "windows and back": lambda maps: (
        maps + maps.unflatten(3, (2, 3)).unflatten(2, (2, 2)).flatten(1).view(maps.shape) / 7
    ),
    "shuffled channels": lambda maps: maps.unflatten(1, (2, -1)).transpose(1, 2).flatten(1, 2),
}


class Laid(nn.Module):
    """A convolution whose result is laid out in some way, an activation, a mean, classes."""

    def __init__(self, layout: Callable[[Tensor], Tensor], width: int = WIDTH) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.patches, self.layout = nn.Conv2d(3, width, 2, stride=2), layout
        laid = layout(self.patches(torch.zeros(5, 3, *SIDE)))
        self.batch = laid.shape.index(5)
        self.act, self.classes = nn.Tanh(), nn.Linear(laid.numel() // 5, 3)
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        laid = self.act(self.layout(self.patches(x)))
        return self.classes(laid.transpose(self.batch, 0).flatten(1))


EXPECTED = {
    "windows and back": lambda maps: LAYOUTS["windows and back"](maps),
    "shuffled channels": lambda maps: LAYOUTS["shuffled channels"](maps),
}


@pytest.mark.parametrize("width", [WIDTH, 24])
@pytest.mark.parametrize("name", LAYOUTS)
def test_a_layer_is_read_as_the_maps_that_it_was(name: str, width: int) -> None:
    net, x = Laid(LAYOUTS[name], width), pictures(5)
    graph = Graph(net, x.shape[1:])
    step = graph.find("act")
    maps = net.patches(x)
    expected = EXPECTED.get(name, lambda maps: maps)(maps).tanh()
    found = reading(graph, step).as_maps(graph.value_at(step, x))
    assert torch.equal(found, expected)


@pytest.mark.parametrize("name", ["channels last", "tokens", "tokens first", "class token"])
@pytest.mark.parametrize("cam", ["grad_cam", "grad_cam_plus_plus"])
def test_the_cam_is_the_same_in_every_layout(name: str, cam: str) -> None:
    maps, other = Laid(LAYOUTS["maps"]), Laid(LAYOUTS[name])
    x = pictures(3)
    # the same function: the head's weights in the order of the other layout
    weights = maps.classes.weight.detach().reshape(3, WIDTH, 4, 6)
    own = LAYOUTS[name](weights).transpose(other.batch, 0)
    if name == "class token":
        own[:, 0] = 0
    with torch.no_grad():
        other.classes.weight.copy_(own.flatten(1))
        other.classes.bias.copy_(maps.classes.bias)
    torch.testing.assert_close(other(x), maps(x))
    wrapped = (wrap(net, size=SIDE, cam_layer="act") for net in (maps, other))
    first, second = (class_activation_map(c, x, 1, cam=cam) for c in wrapped)
    assert first.max() == 1
    torch.testing.assert_close(second, first, rtol=1e-4, atol=1e-5)
