"""Relevance through whole networks: operations, constants, gates, the caller's model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import reference as twin
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xaiutils import explain, relevance, wrap
from xaiutils.lrp.composites import COMPOSITES, Composite, Row, paper
from xaiutils.lrp.plan import Plan
from xaiutils.lrp.rules import epsilon, z, z_plus
from xaiutils.lrp.walk import Relevance
from xaiutils.network.graph import Graph, GraphError
from xaiutils.network.kinds import WEIGHTED

LRP_0 = Composite("z", (Row(WEIGHTED, "anywhere", z()),), "test")
SIZE = (8, 6)


class Net(nn.Module):
    """A convolution, ``middle``, then a linear layer; parts given by name."""

    def __init__(self, middle: Callable[[Any, Tensor], Tensor], **parts: Any) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.linear = nn.Linear(4, 3)
        self.middle, self.flat = middle, False
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x: Tensor) -> Tensor:
        y = self.middle(self, x)
        return self.linear(y if self.flat else y.mean((2, 3)))


def made(middle: Callable[[Any, Tensor], Tensor], **parts: Any) -> Net:
    net = Net(middle, **parts).double().eval()
    net.flat = middle(net, pictures()).ndim == 2
    return net


def pictures(size: tuple[int, int] = SIZE, count: int = 2, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 3, *size, generator=generator, dtype=torch.float64)


def closes(found: Relevance, tolerance: float = 1e-9) -> bool:
    ledger = found.ledger
    terms = sum(torch.stack(step).abs().sum(0) for step in ledger.steps.values())
    scale = ledger.start.abs() + terms + found.map.abs().flatten(1).sum(1)
    return bool((ledger.residual.abs() <= tolerance * scale).all())


def parameter(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.randn(*shape, generator=torch.Generator().manual_seed(7)))


def features(net: Any, x: Tensor) -> Tensor:
    return F.relu(net.conv(x))


def _inplace(net: Any, x: Tensor) -> Tensor:
    y = net.conv(x)
    y += net.conv(x * 0.5)
    y *= 2
    return y.relu_()


def _doubled(net: Any, x: Tensor) -> Tensor:
    y = features(net, x)
    return y + y


def _read_twice(net: Any, x: Tensor) -> Tensor:
    y = net.conv(x)
    return net.act(y) + net.again(y)


def _split(net: Any, x: Tensor) -> Tensor:
    first, second = torch.split(features(net, x), [1, 3], 1)
    return torch.cat((second, first), dim=1)


def _chunk(net: Any, x: Tensor) -> Tensor:
    halves = features(net, x).chunk(2, dim=1)
    return torch.cat([halves[1], halves[0]], 1)


# name: (what stands between picture and linear layer, modules that it uses)
OPERATIONS: dict[str, tuple[Callable[[Any, Tensor], Tensor], dict[str, Callable[[], Any]]]] = {
    "add": (lambda s, x: features(s, x) + s.other(x), {"other": lambda: nn.Conv2d(3, 4, 1)}),
    "torch.add alpha": (
        lambda s, x: torch.add(features(s, x), features(s, torch.flip(x, (3,))), alpha=-0.5),
        {},
    ),
    "sub": (
        lambda s, x: features(s, x) - F.relu(s.other(x)),
        {"other": lambda: nn.Conv2d(3, 4, 1)},
    ),
    "add itself": (_doubled, {}),
    "concat": (
        lambda s, x: torch.cat([features(s, x)[:, :2], s.other(x)], 1),
        {"other": lambda: nn.Conv2d(3, 2, 1)},
    ),
    "stack": (lambda s, x: torch.stack([features(s, x), s.conv(x)], 2).flatten(2, 3), {}),
    "split": (_split, {}),
    "chunk": (_chunk, {}),
    "getitem": (lambda s, x: features(s, x)[:, :, 1::2, ::2], {}),
    "unbind": (
        lambda s, x: torch.stack([y * 1.0 for y in [features(s, x).unbind(1)[0]] * 4], 1),
        {},
    ),
    "flatten": (
        lambda s, x: s.own(torch.flatten(features(s, x), 1)),
        {"own": lambda: nn.Linear(4 * 48, 4)},
    ),
    "view": (
        lambda s, x: s.own(features(s, x).view(x.size(0), -1)),
        {"own": lambda: nn.Linear(4 * 48, 4)},
    ),
    "reshape": (lambda s, x: features(s, x).reshape(x.shape[0], 4, -1, 4), {}),
    "permute": (lambda s, x: features(s, x).permute(0, 1, 3, 2), {}),
    "transpose, unsqueeze, squeeze": (
        lambda s, x: features(s, x).transpose(2, 3).unsqueeze(1).squeeze(1),
        {},
    ),
    "mean": (lambda s, x: features(s, x).mean((2, 3)), {}),
    "mean keepdim": (lambda s, x: torch.mean(features(s, x), dim=3, keepdim=True), {}),
    "sum": (lambda s, x: features(s, x).sum((2, 3)), {}),
    "adaptive average pool": (
        lambda s, x: s.pool(features(s, x)),
        {"pool": lambda: nn.AdaptiveAvgPool2d((3, 4))},
    ),
    "average pool, overlapping, padded": (
        lambda s, x: F.avg_pool2d(features(s, x), 3, 2, 1),
        {},
    ),
    "average pool of signed values": (lambda s, x: F.avg_pool2d(s.conv(x), 2), {}),
    "max pool": (lambda s, x: F.max_pool2d(features(s, x), 2), {}),
    "max pool, overlapping": (
        lambda s, x: s.pool(features(s, x)),
        {"pool": lambda: nn.MaxPool2d(3, 1, 1)},
    ),
    "adaptive max pool": (lambda s, x: F.adaptive_max_pool2d(features(s, x), (2, 3)), {}),
    "dropout": (
        lambda s, x: F.dropout(s.drop(features(s, x)), 0.9, s.training),
        {"drop": nn.Dropout},
    ),
    "activations": (
        lambda s, x: F.silu(
            F.gelu(F.hardswish(s.a(F.softsign(F.softshrink(torch.tanh(s.conv(x)), 0.01)))))
        ),
        {"a": lambda: nn.LeakyReLU(0.2)},
    ),
    "clamps": (
        lambda s, x: s.hard(F.hardtanh(s.conv(x).clamp(max=1.5), max_val=2)).clamp_(min=0),
        {"hard": lambda: nn.Hardtanh(-0.5, 1)},
    ),
    "clamps by functions": (lambda s, x: torch.clip(torch.clamp(s.conv(x), -1), 0, max=2), {}),
    "functional convolution": (
        lambda s, x: F.relu(F.conv2d(x, s.w, s.b, stride=2, padding=1)),
        {"w": lambda: parameter(4, 3, 3, 3), "b": lambda: parameter(4)},
    ),
    "functional convolution, positional": (
        lambda s, x: F.relu(F.conv2d(x, s.w, None, 1, 2, 2)),
        {"w": lambda: parameter(4, 3, 3, 3)},
    ),
    "functional convolution, keywords": (
        lambda s, x: F.relu(F.conv2d(x, weight=s.w, bias=s.b, dilation=2)),
        {"w": lambda: parameter(4, 3, 3, 3), "b": lambda: parameter(4)},
    ),
    "functional linear": (
        lambda s, x: F.linear(features(s, x).mean((2, 3)), s.w, bias=s.b),
        {"w": lambda: parameter(4, 4), "b": lambda: parameter(4)},
    ),
    "reused modules": (
        lambda s, x: s.act(s.again(s.act(s.again(features(s, x))))),
        {"again": lambda: nn.Conv2d(4, 4, 3, padding=1), "act": lambda: nn.ReLU(inplace=True)},
    ),
    "in place": (_inplace, {}),
    "read by two": (
        _read_twice,
        {"act": nn.ReLU, "again": lambda: nn.Conv2d(4, 4, 1)},
    ),
    "1x1": (lambda s, x: F.relu(s.small(features(s, x))), {"small": lambda: nn.Conv2d(4, 4, 1)}),
    "batch norm first": (lambda s, x: features(s, s.norm(x)), {"norm": lambda: nn.BatchNorm2d(3)}),
    "batch norm after a sum": (
        lambda s, x: F.relu(s.norm(s.conv(x) + x.mean(1, keepdim=True))),
        {"norm": lambda: nn.BatchNorm2d(4)},
    ),
    "constant added": (lambda s, x: features(s, x) + 0.5, {}),
    "constant added by keyword": (lambda s, x: torch.add(features(s, x), other=0.5), {}),
    "constant minus": (lambda s, x: F.relu(1 - s.conv(x)), {}),
    "parameter added": (lambda s, x: features(s, x) + s.w, {"w": lambda: parameter(4, 1, 1)}),
    "parameter multiplied": (lambda s, x: features(s, x) * s.w, {"w": lambda: parameter(4, 1, 1)}),
    "divided": (lambda s, x: features(s, x) / 3, {}),
    "constant joined": (
        lambda s, x: torch.cat([features(s, x)[:, :3], s.w.expand(x.shape[0], -1, *SIZE)], 1),
        {"w": lambda: parameter(1, 1, 1, 1)},
    ),
    "zero padding": (
        lambda s, x: features(s, s.pad(x)),
        {"pad": lambda: nn.ZeroPad2d((1, 2, 0, 3))},
    ),
    "zero padding by a function": (lambda s, x: features(s, F.pad(x, (1, 2, 0, 3))), {}),
    "reflection by a function": (lambda s, x: features(s, F.pad(x, (1, 1, 2, 0), "reflect")), {}),
    "replication padding": (
        lambda s, x: features(s, s.pad(x)),
        {"pad": lambda: nn.ReplicationPad2d(2)},
    ),
    "upsampled": (
        lambda s, x: features(s, F.interpolate(x, scale_factor=2, mode="bilinear")),
        {},
    ),
    "repeated": (
        lambda s, x: F.max_pool2d(s.up(features(s, x)).repeat(1, 2, 1, 1)[:, 2:6], 2),
        {"up": lambda: nn.Upsample(scale_factor=2)},
    ),
    "local response norm": (
        lambda s, x: F.local_response_norm(s.near(features(s, x)), 2),
        {"near": lambda: nn.LocalResponseNorm(3, alpha=1)},
    ),
    "transposed convolution and its norm": (
        lambda s, x: F.relu(s.norm(s.up(features(s, x)))),
        {
            "up": lambda: nn.ConvTranspose2d(4, 4, 3, stride=2, groups=2),
            "norm": lambda: nn.BatchNorm2d(4),
        },
    ),
    "largest": (lambda s, x: s.conv(x).amax((2, 3), keepdim=True).relu(), {}),
    "reflection padding": (
        lambda s, x: F.relu(s.c(x)),
        {"c": lambda: nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect")},
    ),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_the_pass_equals_the_modules_and_the_ledger_closes(name: str) -> None:
    middle, parts = OPERATIONS[name]
    net = made(middle, **{key: part() for key, part in parts.items()})
    for norm in [m for m in net.modules() if isinstance(m, nn.BatchNorm2d)]:
        for value in (norm.weight, norm.bias, norm.running_mean):
            value.data.uniform_(0.5, 1.5)
    x = pictures()
    classifier = wrap(net, mean=(0.5,) * 3, std=(0.2,) * 3, size=SIZE)
    assert torch.allclose(classifier.predict(x), net(x).detach(), atol=1e-12, rtol=1e-12)
    for composite in ("paper", "epsilon", "epsilon_plus_flat", "epsilon_gamma_box"):
        found = relevance(classifier, x, 1, composite)
        assert found.map.shape == x.shape
        assert float(found.map.abs().max()) > 0
        assert found.ledger.start.tolist() == pytest.approx(net(x)[:, 1].tolist())
        assert closes(found), composite


@pytest.mark.parametrize("name", ["constant added", "parameter multiplied", "divided", "mean"])
def test_a_classifier_takes_pictures_of_another_size_than_the_traced_one(name: str) -> None:
    middle, parts = OPERATIONS[name]
    net = made(middle, **{key: part() for key, part in parts.items()})
    found = relevance(wrap(net, size=SIZE), pictures((11, 13)))
    assert found.map.shape == (2, 3, 11, 13)
    assert closes(found)


# ---- numbers by hand ----


class Tiny(nn.Module):
    """One pixel (a, b, c) -> what ``middle`` makes of it -> the sum of its channels."""

    def __init__(self, middle: Callable[[Tensor], Tensor], channels: int = 3) -> None:
        super().__init__()
        self.middle = middle
        self.last = nn.Conv2d(channels, 1, 1, bias=False)
        nn.init.ones_(self.last.weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.middle(x)).flatten(1)


def _joined(x: Tensor) -> Tensor:
    return torch.cat([x, torch.ones((x.shape[0], 2, 1, 1), dtype=x.dtype)], 1)


def by_hand(
    middle: Callable[[Tensor], Tensor], values: tuple[float, ...], channels: int = 3, **options: Any
) -> Relevance:
    net = Tiny(middle, channels).double().eval()
    graph = Graph(net, (len(values), 1, 1))
    plan = Plan(graph, LRP_0, None, **options)
    x = torch.tensor(values, dtype=torch.float64).view(1, -1, 1, 1)
    record = graph.run(x, inputs_of=plan.inputs_of, graph_of=plan.graph_of)
    from xaiutils.lrp.walk import propagate

    return propagate(plan, record, record.logits.detach())


@pytest.mark.parametrize(
    ("middle", "channels", "expected", "bias"),
    [
        (lambda x: x + 2, 3, (1, 2, -4), 6),  # 3 + 4 - 2 = 5 = -1 of the pixel + 3 * 2
        (lambda x: 3 - x, 3, (-1, -2, 4), 9),
        (lambda x: torch.add(x, other=2), 3, (1, 2, -4), 6),
        (lambda x: torch.add(x, 1, alpha=2), 3, (1, 2, -4), 6),
        (lambda x: x * 3, 3, (3, 6, -12), 0),
        (lambda x: x / 2 + 1, 3, (0.5, 1, -2), 3),
        (lambda x: x[:, :1] - x[:, 1:2], 1, (1, -2, 0), 0),
        (lambda x: x + x[:, [2, 0, 1]], 3, (2, 4, -8), 0),
        (_joined, 5, (1, 2, -4), 2),
        (F.relu, 3, (1, 2, 0), 0),
        (lambda x: x.mean(1, keepdim=True), 1, (1 / 3, 2 / 3, -4 / 3), 0),
        (lambda x: F.max_pool2d(x, 1), 3, (1, 2, -4), 0),
    ],
    ids=[
        "add", "rsub", "add by keyword", "add alpha", "mul", "div and add", "sub", "sum", "cat",
        "relu", "mean", "max",
    ],
)  # fmt: skip
def test_constants_take_their_share_as_bias(
    middle: Callable[[Tensor], Tensor], channels: int, expected: tuple[float, ...], bias: float
) -> None:
    found = by_hand(middle, (1.0, 2.0, -4.0), channels)
    assert found.map.flatten().tolist() == pytest.approx(expected, abs=2e-5)
    assert found.ledger.bias.item() == pytest.approx(bias, abs=2e-5)
    assert closes(found)


def test_a_product_of_signal_and_gate_goes_to_the_signal() -> None:
    gate = 1 / (1 + np.exp(-2.0))
    found = by_hand(lambda x: x[:, :1] * torch.sigmoid(x[:, 1:2]), (3.0, 2.0), 1)
    assert found.map.flatten().tolist() == pytest.approx([3 * gate, 0])


def test_half_of_a_product_goes_to_the_gate_if_asked() -> None:
    value = 3 / (1 + np.exp(-2.0))
    found = by_hand(lambda x: x[:, :1] * torch.sigmoid(x[:, 1:2]), (3.0, 2.0), 1, gates="half")
    assert found.map.flatten().tolist() == pytest.approx([value / 2, value / 2])
    found = by_hand(lambda x: x[:, :1] * x[:, 1:2], (3.0, 2.0), 1, gates="half")
    assert found.map.flatten().tolist() == pytest.approx([3, 3])


def _excited(s: Any, x: Tensor) -> Tensor:
    y = features(s, x)
    return y * torch.sigmoid(s.squeeze(y.mean((2, 3), keepdim=True)))


def test_squeeze_and_excitation() -> None:
    net = made(_excited, squeeze=nn.Conv2d(4, 4, 1))
    classifier = wrap(net, size=SIZE)
    signal = relevance(classifier, pictures(), 0, "epsilon", layers=("squeeze", "relu"))
    half = relevance(classifier, pictures(), 0, "epsilon", gates="half", layers=("squeeze",))
    assert closes(signal)
    assert closes(half)
    assert "squeeze" not in signal.layers
    start = half.layers["squeeze"].sum((1, 2, 3))
    product = relevance(classifier, pictures(), 0, "epsilon", layers=("mul",)).layers["mul"]
    assert start.tolist() == pytest.approx((product.sum((1, 2, 3)) / 2).tolist())
    assert not torch.allclose(signal.map, half.map)


def test_of_two_signals_each_takes_half() -> None:
    net = made(lambda s, x: features(s, x) * s.other(x), other=nn.Conv2d(3, 4, 1))
    found = relevance(wrap(net, size=SIZE), pictures())
    assert closes(found)
    assert torch.equal(found.map, relevance(wrap(net, size=SIZE), pictures(), gates="half").map)


WITHOUT_RULE: dict[str, tuple[Callable[[Any, Tensor], Tensor], str]] = {
    "power": (lambda s, x: 2 ** features(s, x), "no relevance rule for pow, at pow"),
    "clamp above zero": (
        lambda s, x: s.conv(x).clamp(0.5),
        "no relevance rule for clamp, at clamp in",
    ),
    "clamp at the picture": (
        lambda s, x: torch.clip(s.conv(x), max=s.conv(x) + 1),
        "no relevance rule for cl.*, at cl.* in",
    ),
    "hard tanh above zero": (
        lambda s, x: F.hardtanh(s.conv(x), 0.1, 2),
        "no relevance rule for hardtanh, at hardtanh in",
    ),
    "instance norm of other pictures": (
        lambda s, x: s.norm(features(s, x)),
        "no relevance rule for instance_norm, at norm in the network",
    ),
    "division by what may be negative": (
        lambda s, x: features(s, x) / s.conv(x).mean((2, 3), keepdim=True),
        "no relevance rule for div, at div in",
    ),
    "weights of the picture": (
        lambda s, x: F.conv2d(features(s, x), s.conv(x)[:1].mean((2, 3), keepdim=True)),
        "each picture by itself",
    ),
}


@pytest.mark.parametrize("case", WITHOUT_RULE)
def test_an_operation_without_a_rule_is_named(case: str) -> None:
    middle, message = WITHOUT_RULE[case]
    net = made(middle, norm=nn.InstanceNorm2d(4, track_running_stats=True))
    if case == "weights of the picture":
        net.linear = nn.Linear(1, 3).double().eval()
    with pytest.raises(GraphError, match=message):
        Plan(Graph(net, (3, *SIZE)), COMPOSITES["epsilon"], None)


@pytest.mark.parametrize("last", [nn.Softmax(1), nn.Softmax(dim=-1)])
def test_a_softmax_at_the_end_is_refused_with_a_hint(last: nn.Module) -> None:
    net = nn.Sequential(made(features), last).eval()
    for gates in ("signal", "half"):
        with pytest.raises(
            GraphError, match=r"softmax, at 1 in.*final softmax or sigmoid can be left out"
        ):
            relevance(wrap(net, size=SIZE), pictures(), gates=gates)


def test_train_mode_is_refused() -> None:
    net = made(features)
    with pytest.raises(ValueError, match=r"eval mode, got train mode; call module.eval\(\) first"):
        wrap(net.train(), size=SIZE)
    classifier = wrap(net.eval(), size=SIZE)
    net.conv.train()
    with pytest.raises(ValueError, match="eval mode, got train mode"):
        relevance(classifier, pictures())


# ---- batch norm ----


def _normed(s: Any, x: Tensor) -> Tensor:
    return F.relu(s.norm(s.conv(x)))


def lively_norm(channels: int) -> nn.BatchNorm2d:
    norm: Any = nn.BatchNorm2d(channels)
    torch.manual_seed(2)
    for value in (norm.weight, norm.bias, norm.running_mean):
        value.data.normal_()
    norm.running_var.uniform_(0.5, 2)
    return norm


def test_batch_norm_is_folded_into_the_convolution_before_it() -> None:
    net = made(_normed, norm=lively_norm(4))
    graph = Graph(net, (3, *SIZE))
    assert {step.path: step.kind for step in graph.steps}["norm"] == "pass"
    plain = made(features)
    plain.load_state_dict(net.state_dict(), strict=False)
    plain.conv = torch.nn.utils.fusion.fuse_conv_bn_eval(net.conv, net.norm)
    x = pictures()
    for composite in COMPOSITES:
        folded, unfolded = wrap(plain, size=SIZE), wrap(net, size=SIZE)
        assert torch.allclose(folded.predict(x), unfolded.predict(x), atol=1e-12)
        a = relevance(folded, x, 1, composite).map
        b = relevance(unfolded, x, 1, composite).map
        assert (a - b).abs().max() <= 1e-9 * a.abs().max()


def test_batch_norm_that_follows_no_convolution_is_a_diagonal_convolution() -> None:
    net = made(lambda s, x: s.norm(features(s, x)), norm=lively_norm(4))
    found = relevance(wrap(net, size=SIZE), pictures(), 1, "epsilon_plus", layers=("norm", "relu"))
    assert closes(found)
    scale = (net.norm.weight / (net.norm.running_var + net.norm.eps).sqrt()).detach()
    shift = (net.norm.bias - net.norm.running_mean * scale).detach()
    places = SIZE[0] * SIZE[1]
    x = features(net, pictures())[0].detach().flatten().numpy()
    w, b = np.diag(np.repeat(scale.numpy(), places)), np.repeat(shift.numpy(), places)
    expected = twin.z_plus(x, w, b, found.layers["norm"][0].flatten().numpy(), 1e-6)
    assert np.abs(found.layers["relu"][0].flatten().numpy() - expected).max() <= 1e-10


# ---- what stands before the first layer ----


def _affine(s: Any, x: Tensor) -> Tensor:
    channels = [torch.unsqueeze(x[:, i], 1) * (0.5 + i) + (i - 1) * 0.25 for i in range(3)]
    return F.relu(s.conv(torch.cat(channels, 1)))


def test_bounds_are_carried_through_what_comes_before_the_first_layer() -> None:
    net = made(_affine)
    classifier = wrap(net, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4), size=SIZE)
    x = classifier.bounds(pictures())[0] * torch.rand(2, 3, *SIZE, dtype=torch.float64)
    found = relevance(classifier, x, 0, "epsilon_gamma_box", layers=("conv", "cat"))
    first = found.layers["cat"]
    scale = torch.tensor([0.5, 1.5, 2.5]).double().view(1, 3, 1, 1)
    shift = torch.tensor([-0.25, 0.0, 0.25]).double().view(1, 3, 1, 1)
    low, high = ((bound * scale + shift) for bound in classifier.bounds(x))
    w, _ = twin.convolution_matrix(net.conv.weight.detach().numpy(), SIZE, padding=1)
    expected = twin.z_box(
        (x * scale + shift)[0].flatten().numpy(),
        w,
        found.layers["conv"][0].flatten().numpy(),
        1e-6,
        low.expand(1, 3, *SIZE).flatten().numpy(),
        high.expand(1, 3, *SIZE).flatten().numpy(),
    )
    error = np.abs(first[0].flatten().numpy() - expected).max()
    assert error <= 1e-9 * np.abs(expected).max()
    assert closes(found)


# ---- the start, and layers on the way ----


def test_the_start_is_the_logit_or_one() -> None:
    net = made(features)
    net.linear.weight.data[2] = 0
    net.linear.bias.data[:] = torch.tensor([-5.0, 5.0, 0.0])
    classifier, x = wrap(net, size=SIZE), pictures()
    logits = classifier.predict(x)
    assert (logits[:, 0] < 0).all()
    for target in (0, 1):
        by_logit = relevance(classifier, x, target)
        by_one = relevance(classifier, x, target, start="one")
        assert by_logit.ledger.start.tolist() == logits[:, target].tolist()
        assert by_one.ledger.start.tolist() == [1, 1]
        scaled = by_one.map * logits[:, target].view(-1, 1, 1, 1)
        assert torch.allclose(scaled, by_logit.map, rtol=1e-9, atol=1e-12)
        assert closes(by_one)
    assert float(relevance(classifier, x, 0).map.sum()) * float(logits[0, 0]) != 0
    with pytest.raises(ValueError, match="start must be a known name, got 'two'"):
        relevance(classifier, x, 0, start="two")


def test_a_start_of_exactly_zero_is_said() -> None:
    net = made(features)
    net.linear.weight.data[2], net.linear.bias.data[2] = 0, 0
    classifier, x = wrap(net, size=SIZE), pictures()
    found = explain(classifier, x, [2, 1])
    assert [note for note in found.notes if "relevance starts" in note] == [
        "image 0: relevance starts from a logit of exactly 0"
    ]
    assert float(found.relevance[0].abs().max()) == 0
    assert float(found.relevance[1].abs().max()) > 0
    assert not [n for n in explain(classifier, x, 2, start="one").notes if "relevance starts" in n]


def chain(bias: bool) -> nn.Sequential:
    torch.manual_seed(3)
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 8, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 3),
    ).double()
    if not bias:
        for layer in (net[0], net[3], net[7]):
            nn.init.zeros_(layer.bias)
    return net.eval()


def test_relevance_is_conserved_at_every_layer_of_a_chain_without_biases() -> None:
    net = chain(bias=False)
    names = [str(i) for i in range(8)]
    for composite in (paper(), paper(convolution_bias=True), COMPOSITES["z"]):
        found = relevance(wrap(net, size=SIZE), pictures(), 1, composite, layers=names)
        assert list(found.layers) == names[::-1]
        for name in names:
            total = found.layers[name].flatten(1).sum(1)
            assert total.tolist() == pytest.approx(found.ledger.start.tolist(), rel=1e-4)
        assert found.ledger.input.tolist() == pytest.approx(found.ledger.start.tolist(), rel=1e-4)


def test_with_biases_what_a_layer_lost_is_booked_at_the_steps_after_it() -> None:
    classifier = wrap(chain(bias=True), size=SIZE)
    found = relevance(classifier, pictures(), 1, "epsilon", layers=("3",))
    before = {classifier.graph.find(path).name for path in ("0", "3")}
    later = [terms for name, terms in found.ledger.steps.items() if name not in before]
    lost = sum(sum(terms) for terms in later)
    at_3 = found.layers["3"].sum((1, 2, 3))
    assert (at_3 + lost).tolist() == pytest.approx(found.ledger.start.tolist())
    assert float(lost.abs().min()) > 0.01  # type: ignore[union-attr]


# ---- the caller's weights are read anew at every call ----


def _in_place(net: Net) -> None:
    with torch.no_grad():
        net.conv.weight.mul_(-1.5)


def _data(net: Net) -> None:
    net.conv.weight.data = net.conv.weight.data.flip(0)


def _load(net: Net) -> None:
    net.load_state_dict({k: v * 1.25 + 0.01 for k, v in net.state_dict().items()})


def _replace(net: Net) -> None:
    net.conv.weight = nn.Parameter(net.conv.weight.detach() + 0.3)


def _statistics(net: Net) -> None:
    net.norm.running_mean.add_(1)


@pytest.mark.parametrize("composite", ["paper", "epsilon_plus_flat"])
@pytest.mark.parametrize("change", [_in_place, _data, _load, _replace, _statistics])
def test_changed_weights_are_explained_as_they_are_now(
    change: Callable[[Net], None], composite: str
) -> None:
    net = made(_normed, norm=lively_norm(4))
    classifier, x = wrap(net, size=SIZE), pictures()
    before = relevance(classifier, x, 0, composite).map
    change(net)
    after = relevance(classifier, x, 0, composite).map
    assert torch.equal(after, relevance(wrap(net, size=SIZE), x, 0, composite).map)
    assert not torch.allclose(before, after)
    assert torch.allclose(classifier.predict(x), net(x).detach(), atol=1e-12)


def test_another_precision_and_back() -> None:
    net = chain(bias=True).float()
    classifier, x = wrap(net, size=SIZE), pictures()
    single = relevance(classifier, x.float(), 0).map
    net.to(torch.float64)
    double = relevance(classifier, x, 0).map
    assert double.dtype == torch.float64
    assert (single - double).abs().max() <= 1e-4 * double.abs().max()
    with pytest.raises(TypeError, match=r"x must be torch.float64 on cpu.*got torch.float32"):
        relevance(classifier, x.float(), 0)
    net.to(torch.float32)
    assert torch.equal(relevance(classifier, x.float(), 0).map, single)


def test_a_module_whose_parts_were_replaced_is_explained_as_it_is() -> None:
    net = made(features)
    classifier = wrap(net, size=SIZE)
    net.conv = nn.Sequential(nn.Conv2d(3, 4, 3)).double().eval()
    found = relevance(classifier, pictures(), 1)
    assert found.ledger.start.tolist() == pytest.approx(net(pictures())[:, 1].tolist())
    assert closes(found)


def test_a_recording_that_is_kept_can_be_walked_twice() -> None:
    from xaiutils.lrp.walk import propagate

    graph = Graph(chain(bias=True), (3, *SIZE))
    plan = Plan(graph, Composite("e", (Row(WEIGHTED, "anywhere", epsilon()),), "test"), None)
    record = graph.run(pictures(), inputs_of=plan.inputs_of, graph_of=plan.graph_of)
    start = record.logits.detach()
    assert torch.equal(propagate(plan, record, start).map, propagate(plan, record, start).map)
    plus = Plan(graph, Composite("p", (Row(WEIGHTED, "anywhere", z_plus()),), "test"), None)
    record = graph.run(pictures(), inputs_of=plus.inputs_of, graph_of=plus.graph_of)
    assert torch.equal(propagate(plus, record, start).map, propagate(plus, record, start).map)


def test_a_local_response_norm_counts_its_sums_as_constants():
    net = made(lambda s, x: s.near(features(s, x)), near=nn.LocalResponseNorm(3, alpha=1, k=0.5))
    classifier = wrap(net, size=SIZE)
    found = relevance(classifier, pictures(), 1, "epsilon", layers=("near", "relu"))
    torch.testing.assert_close(found.layers["relu"], found.layers["near"], rtol=0, atol=0)
    before, behind = (classifier.graph.find(name) for name in ("relu", "near"))
    assert before.nonnegative
    assert behind.nonnegative
