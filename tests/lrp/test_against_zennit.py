"""Our composites equal zennit's, pair by pair, in float32 and float64; no pair is skipped.

zennit gets the network with its batch norms folded (its own merge leaves a residue), and for
ResNets its canonizer, which makes ``+`` visible. Biases are not zero and batch norm statistics are
not trivial. ``python tests/lrp/test_against_zennit.py`` prints the table.
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from zennit.layer import Sum

from xaiutils import load_model
from xaiutils.lrp.composites import COMPOSITES
from xaiutils.lrp.plan import Plan
from xaiutils.lrp.walk import propagate
from xaiutils.network.graph import Graph

PAIRS = {
    "epsilon_plus": "EpsilonPlus",
    "epsilon_alpha2_beta1": "EpsilonAlpha2Beta1",
    "epsilon_plus_flat": "EpsilonPlusFlat",
    "epsilon_gamma_box": "EpsilonGammaBox",
}
SIDES = {  # of the picture; these networks take any size that their pooling allows
    "scenes_vgg_seed0": 64,
    "alexnet": 64,
    "vgg16": 64,
    "vgg16_bn": 64,
    "squeezenet1_0": 64,
    "squeezenet1_1": 64,  # with the weights of its package
    "resnet18": 64,
    "resnet50": 64,
    "vgg19_bn": 64,
    "resnet101": 64,
    "wide_resnet50_2": 64,
    "resnext50_32x4d": 64,
    "branches": 32,
}
RESIDUAL = ("resnet18", "resnet50", "resnet101", "wide_resnet50_2", "resnext50_32x4d")
LARGE = ("vgg16", "vgg16_bn", "vgg19_bn", *RESIDUAL)
# vgg16 and resnet18 ask the same
TWICE = ("vgg16_bn", "resnet50", "vgg19_bn", "resnet101", "wide_resnet50_2", "resnext50_32x4d")
TOLERANCES = {torch.float32: 1e-5, torch.float64: 1e-10}  # times max |R|
BOUND = 3.0


class Branches(nn.Module):
    """What torchvision's networks have not: dilated and grouped branches, joined and added."""

    def __init__(self) -> None:
        super().__init__()

        def convolution(i: int, o: int, side: int = 3, **options: Any) -> nn.Sequential:
            made = nn.Conv2d(i, o, side, padding="same", bias=False, **options)
            return nn.Sequential(OrderedDict(conv=made, norm=nn.BatchNorm2d(o)))

        self.stem = nn.Sequential(nn.Conv2d(3, 12, 5, stride=2), nn.LeakyReLU(0.1))
        self.wide = convolution(12, 12, dilation=3, groups=3)
        self.narrow = convolution(12, 12, 1)
        self.deep = convolution(24, 24, groups=24)
        self.relu, self.add = nn.ReLU(), Sum(-1)
        self.pool = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.average, self.squeeze = nn.AvgPool2d(2), nn.AdaptiveAvgPool2d(1)
        self.classes = nn.Sequential(nn.Flatten(), nn.Linear(24, 20), nn.ReLU(), nn.Linear(20, 9))

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.stem(x))
        x = self.relu(torch.cat([self.wide(x), self.narrow(x)], 1))
        x = self.relu(self.add(torch.stack([x, self.deep(x)], -1)))
        return self.classes(self.squeeze(self.average(x)))


def network(name: str, dtype: torch.dtype) -> nn.Module:
    """The network, lively: biases normal with 0.05, batch norms that do something."""
    if name.startswith("scenes"):
        return copy.deepcopy(load_model(name).module).to(dtype)
    if name == "squeezenet1_1":
        return copy.deepcopy(load_model(name, "package").module).to(dtype)
    torch.manual_seed(0)
    build = Branches if name == "branches" else partial(torchvision.models.get_model, name)
    net = build().to(dtype)
    norms = [m for m in net.modules() if isinstance(m, nn.BatchNorm2d)]
    for module in net.modules():
        if isinstance(getattr(module, "bias", None), Tensor):
            nn.init.normal_(module.bias, std=0.05)
    for norm in norms:
        nn.init.uniform_(norm.weight, 0.5, 1.5)
        norm.momentum = None  # the statistics of the one pass below
    if norms:
        with torch.no_grad():
            net.train()(pictures(name, dtype, count=4))
    return net.eval()


def pictures(name: str, dtype: torch.dtype, count: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    side = SIDES[name]
    x = torch.randn(count, 3, side, side, generator=generator, dtype=torch.float64)
    return x.clamp(-BOUND, BOUND).to(dtype)


def folded(net: nn.Module) -> nn.Module:
    """A copy whose batch norms are part of the convolutions before them."""
    net = copy.deepcopy(net)
    for parent in list(net.modules()):
        before: tuple[str, nn.Module] | None = None
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.BatchNorm2d) and before is not None:
                assert isinstance(before[1], nn.Conv2d)
                setattr(parent, before[0], fuse_conv_bn_eval(before[1], child))
                setattr(parent, name, nn.Identity())
            if isinstance(child, nn.Conv2d | nn.BatchNorm2d):
                before = (name, child)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in net.modules())
    return net


def by_zennit(pair: str, net: nn.Module, x: Tensor, start: Tensor, resnet: bool) -> Tensor:
    from zennit import composites
    from zennit.attribution import Gradient
    from zennit.torchvision import ResNetCanonizer

    options: dict[str, Any] = {"canonizers": [ResNetCanonizer()]} if resnet else {}
    if pair == "epsilon_gamma_box":
        options |= {"low": torch.full_like(x[:1], -BOUND), "high": torch.full_like(x[:1], BOUND)}
    composite = getattr(composites, PAIRS[pair])(**options)
    with Gradient(model=net, composite=composite) as attributor:
        _, relevance = attributor(x, start)
    return relevance.detach()


def deviations(name: str, dtype: torch.dtype) -> Iterator[tuple[str, str, float, float]]:
    """Of each pair and target: composite, target, max |ours - zennit's| / max |R|, max |R|."""
    net = network(name, dtype)
    normed = any(isinstance(m, nn.BatchNorm2d) for m in net.modules())
    theirs = folded(net) if normed else net
    one = pictures(name, dtype, count=1)
    graph = Graph(net, tuple(one.shape[1:]))
    logits = graph.run(one).logits
    low, high = (torch.full_like(one, sign * BOUND) for sign in (-1, 1))
    lowest = logits.argmin(1)
    if name.startswith("squeezenet"):  # it ends in a ReLU: no logit is below zero
        lowest = torch.where(logits > 0, logits, torch.inf).argmin(1)
    else:
        assert float(logits.min()) < 0
    target = torch.cat([logits.argmax(1), lowest])[:, None]
    x = one.expand(2, -1, -1, -1).contiguous()
    both = graph.run(x).logits
    start = torch.zeros_like(both).scatter(1, target, both.gather(1, target))
    for pair in PAIRS:
        plan = Plan(graph, COMPOSITES[pair], None)
        record = graph.run(x, inputs_of=plan.inputs_of, graph_of=plan.graph_of)
        ours = propagate(plan, record, start, bounds=(low, high), forget=True).map
        other = by_zennit(pair, theirs, x, start, name in RESIDUAL)
        for i, which in enumerate(("predicted", "negative")):
            scale = float(other[i].abs().max())
            yield pair, which, float((ours[i] - other[i]).abs().max()) / scale, scale


CASES = [
    pytest.param(
        name,
        dtype,
        # 138 million weights, or 50 layers, once more
        marks=[pytest.mark.slow] * (name in TWICE or (dtype == torch.float64 and name in LARGE)),
        id=f"{name}-{str(dtype)[6:]}",
    )
    for name in SIDES
    for dtype in TOLERANCES
]


@pytest.mark.parametrize(("name", "dtype"), CASES)
def test_composites_equal_zennits(name: str, dtype: torch.dtype) -> None:
    try:
        rows = list(deviations(name, dtype))
    except FileNotFoundError as error:
        assert name.startswith("scenes")
        pytest.skip(f"the shipped classifier is not there yet: {error}")
    assert {row[0] for row in rows} == set(PAIRS)
    assert len(rows) == 2 * len(PAIRS)
    print(*(line(name, dtype, row) for row in rows), sep="\n")
    for pair, which, deviation, scale in rows:
        assert scale > 0, (pair, which)
        assert deviation <= TOLERANCES[dtype], (pair, which)


@pytest.mark.parametrize("pair", [name for name in PAIRS if name != "epsilon_gamma_box"])
def test_transposed_convolutions_equal_zennits(pair: str) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = nn.Sequential(
            nn.Conv2d(3, 6, 3), nn.ReLU(),
            nn.ConvTranspose2d(6, 4, 3, stride=2, padding=1, output_padding=1, groups=2), nn.ReLU(),
            nn.Flatten(), nn.Linear(4 * 12 * 12, 5),
        ).double().eval()  # fmt: skip
        x = torch.randn(2, 3, 8, 8, dtype=torch.float64)
    graph = Graph(net, (3, 8, 8))
    logits = graph.run(x).logits
    start = torch.zeros_like(logits).scatter(1, logits.argmax(1, keepdim=True), 1)
    plan = Plan(graph, COMPOSITES[pair], None)
    record = graph.run(x, inputs_of=plan.inputs_of, graph_of=plan.graph_of)
    ours = propagate(plan, record, start, bounds=(x, x)).map
    theirs = by_zennit(pair, net, x, start, False)
    assert float((ours - theirs).abs().max()) <= 1e-10 * float(theirs.abs().max())


def test_a_wrong_composite_would_be_seen() -> None:
    net, x = network("alexnet", torch.float32), pictures("alexnet", torch.float32)
    start = torch.zeros(2, 1000).index_fill(1, torch.tensor([7]), 1.0)
    plus, a2b1 = (
        by_zennit(pair, net, x, start, False) for pair in ("epsilon_plus", "epsilon_alpha2_beta1")
    )
    assert (plus - a2b1).abs().max() > 0.1 * plus.abs().max()


def line(name: str, dtype: torch.dtype, row: tuple[str, str, float, float]) -> str:
    pair, which, deviation, scale = row
    return f"{name:17s} {str(dtype)[6:]:8s} {pair:21s} {which:10s} {deviation:.1e} {scale:.1e}"


if __name__ == "__main__":
    for one in SIDES:
        for kind in TOLERANCES:
            for found in deviations(one, kind):
                print(line(one, kind, found))
