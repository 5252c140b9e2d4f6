"""The twin: the same function, with every activation a module of its own, on borrowed weights."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from networks import untrained
from torch import Tensor, nn

from xaiutils.network.classifier import load_model, wrap
from xaiutils.network.graph import Graph
from xaiutils.network.hookable import Twin
from xaiutils.support import asking


class Around(nn.Module):
    """A convolution, a function under test, a linear layer."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.before, self.after = nn.Conv2d(3, 4, 3, padding=1), nn.LazyLinear(3)
        self.function = function
        self(torch.zeros(2, 3, 8, 8))
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        return self.after(torch.flatten(self.function(self.before(x)), 1))


class Shared(nn.Module):
    """One ReLU module for two places, in place, and a residual sum."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.norm, self.relu = nn.BatchNorm2d(4), nn.ReLU(inplace=True)
        nn.init.uniform_(self.norm.running_mean)
        self.pool, self.classes = nn.AdaptiveAvgPool2d(2), nn.Linear(16, 3)
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        h = self.relu(self.first(x))
        h = self.relu(self.norm(self.second(h))) + h
        return self.classes(torch.flatten(self.pool(h), 1))


def noise(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


SLOW = [pytest.param(n, marks=pytest.mark.slow) for n in ("googlenet", "densenet121")]


@pytest.mark.parametrize("name", ["scenes_vgg_seed0", "resnet18", "mobilenet_v3_small", *SLOW])
def test_the_twin_computes_what_the_network_computes(name: str) -> None:
    classifier = load_model(name) if name.startswith("scenes") else untrained(name)
    x = noise(2, 3, 64, 64)
    with torch.no_grad():
        expected, found = classifier.module(x), Twin(classifier.graph)(x)
    assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()


ACTIVATIONS: dict[str, tuple[Callable[[Tensor], Tensor], type[nn.Module]]] = {
    "relu": (F.relu, nn.ReLU),
    "relu in place": (lambda x: F.relu(x, inplace=True), nn.ReLU),
    "tanh": (torch.tanh, nn.Tanh),
    "sigmoid": (torch.sigmoid, nn.Sigmoid),
    "softmax": (lambda x: x.softmax(2), nn.Softmax),
    "leaky_relu": (lambda x: F.leaky_relu(x, 0.3), nn.LeakyReLU),
    "hardtanh": (lambda x: F.hardtanh(x, -0.5, 2), nn.Hardtanh),
    "softplus": (lambda x: F.softplus(x, 2), nn.Softplus),
    "gelu": (lambda x: F.gelu(x, approximate="tanh"), nn.GELU),
    "elu": (lambda x: F.elu(x, alpha=0.7), nn.ELU),
    "max_pool2d": (lambda x: F.max_pool2d(x, 2), nn.MaxPool2d),
    "max_pool2d, all": (
        lambda x: F.max_pool2d(x, (3, 2), stride=2, padding=1, ceil_mode=True), nn.MaxPool2d
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_a_function_becomes_a_module_with_the_same_settings(name: str) -> None:
    function, kind = ACTIVATIONS[name]
    net = Around(function)
    twin = Twin(wrap(net, size=8).graph)
    x = noise(2, 3, 8, 8)
    assert torch.equal(twin(x), net(x))
    assert [type(part) for part in twin.parts.values()].count(kind) == 1


def test_each_call_is_a_module_of_its_own_that_overwrites_nothing() -> None:
    twin = Twin(wrap(Shared(), size=8).graph)
    relus = [module for module in twin.modules() if isinstance(module, nn.ReLU)]
    assert len(relus) == 2
    assert not any(relu.inplace for relu in relus)
    assert not any(module.training for module in twin.modules())


def test_the_cam_layer_is_a_module_even_where_the_network_adds() -> None:
    classifier = wrap(Shared(), size=8, cam_layer="add")
    twin, seen = Twin(classifier.graph, "add"), []
    twin.cam_layer.register_forward_hook(lambda *found: seen.append(found[2]))
    x = noise(2, 3, 8, 8)
    twin(x)
    (value,) = seen
    expected = classifier.graph.value_at(classifier.graph.find("add"), x)
    assert torch.allclose(value, expected, atol=1e-6)


def test_changing_the_cam_layers_result_changes_the_logits() -> None:
    net = Shared()
    twin = Twin(wrap(net, size=8, cam_layer="add").graph, "add")
    twin.cam_layer.register_forward_hook(lambda *found: torch.zeros_like(found[2]))
    assert torch.allclose(twin(noise(2, 3, 8, 8)), net.classes.bias.expand(2, 3))


def test_a_hook_sees_only_its_own_module() -> None:
    """f = relu(x) - 2 x at x = 3: guided backpropagation gives relu(1) - 2 = -1.

    captum hooks the tensor that the ReLU reads, so on the network itself it sees the gradient of
    both readers, 1 - 2 = -1, and makes it relu(-1) = 0.
    """
    from captum.attr import GuidedBackprop

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.relu = nn.Conv2d(1, 1, 1, bias=False), nn.ReLU()
            nn.init.ones_(self.conv.weight)

        def forward(self, x: Tensor) -> Tensor:
            h = self.conv(x)
            return torch.flatten(self.relu(h) - 2 * h, 1)

    net = Net().eval()
    twin = Twin(Graph(net, (1, 2, 2)))
    x = torch.full((1, 1, 2, 2), 3.0)
    for module, expected in ((twin, -1.0), (net, 0.0)):
        with pytest.warns(UserWarning, match="backward hooks"):
            found = GuidedBackprop(module).attribute(x.clone().requires_grad_(), target=0)
        assert found.flatten().tolist() == [expected, 0, 0, 0]


def test_the_weights_are_borrowed_frozen_and_the_network_stays_as_it_was() -> None:
    net = Shared()
    classifier = wrap(net, size=8)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    twin = Twin(classifier.graph)
    x = noise(1, 3, 8, 8).requires_grad_()
    twin(x).sum().backward()
    assert x.grad is not None
    shared = {parameter.data_ptr() for parameter in net.parameters()}
    assert {parameter.data_ptr() for parameter in twin.parameters()} == shared
    assert not any(parameter.requires_grad for parameter in twin.parameters())
    assert all(p.requires_grad and p.grad is None for p in net.parameters())
    assert all(torch.equal(before[name], t) for name, t in net.state_dict().items())
    assert not any(m._forward_hooks or m._backward_hooks for m in net.modules())
    assert net.relu.inplace


def test_hooks_on_a_twin_reach_neither_the_network_nor_another_twin() -> None:
    classifier = wrap(Shared(), size=8)
    x = noise(1, 3, 8, 8)
    expected = classifier.module(x)
    twin = Twin(classifier.graph)
    for module in twin.modules():
        if isinstance(module, nn.ReLU):
            module.register_forward_hook(lambda *found: found[2] * 0)
    assert not torch.allclose(twin(x), expected)
    assert torch.equal(Twin(classifier.graph)(x), Twin(classifier.graph)(x))
    assert torch.allclose(Twin(classifier.graph)(x), expected, atol=1e-6)
    assert torch.equal(classifier.module(x), expected)


def test_the_twin_has_the_weights_of_now() -> None:
    net = Shared()
    classifier = wrap(net, size=8)
    x = noise(1, 3, 8, 8)
    net.classes.weight.data.mul_(2)
    assert torch.allclose(Twin(classifier.graph)(x), net(x), atol=1e-6)


def test_a_network_in_train_mode_has_no_twin() -> None:
    net = Shared()
    classifier = wrap(net, size=8)
    net.train()
    with pytest.raises(ValueError, match="module must be in eval mode, got train mode"):
        Twin(classifier.graph)


def test_the_twin_says_what_it_is_asked() -> None:
    twin = Twin(wrap(Shared(), size=8).graph)
    with asking.watch() as seen:
        twin(noise(3, 3, 8, 8))
    assert seen.images == 3
