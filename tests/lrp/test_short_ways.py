"""The walk takes short ways in front of a ReLU; they give what the long way gives.

The long way: the same network with its ReLUs written as leaky ones of slope 0, of which the walk
knows nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xaiutils.lrp.composites import Composite, Row
from xaiutils.lrp.plan import Plan
from xaiutils.lrp.rules import Rule, alpha_beta, epsilon, flat, gamma, z, z_plus
from xaiutils.lrp.walk import Relevance, propagate
from xaiutils.network.graph import Graph
from xaiutils.network.kinds import WEIGHTED
from xaiutils.network.step import Step

RULES = {
    "z": z(),
    "epsilon": epsilon(0.01),
    "z_plus": z_plus(),
    "a2b1": alpha_beta(2, 1),
    "a2b1, no bias": alpha_beta(2, 1, bias=False),
    "gamma": gamma(),
    "gamma, no bias": gamma(bias=False),
}
Rectify = Callable[[Tensor], Tensor]


def leaky(x: Tensor) -> Tensor:
    return F.leaky_relu(x, 0.0)


def leaky_6(x: Tensor) -> Tensor:
    return F.hardtanh(F.leaky_relu(x, 0.0), -1.0, 6.0)


def chained(s: Any, x: Tensor, relu: Rectify) -> Tensor:
    return relu(s.b(F.max_pool2d(relu(s.a(x)), 2)))


def pooled_first(s: Any, x: Tensor, relu: Rectify) -> Tensor:
    return relu(F.max_pool2d(s.b(s.a(x)), 2))


def read_twice(s: Any, x: Tensor, relu: Rectify) -> Tensor:
    y = s.b(relu(s.a(x)))
    return relu(y) + y


def gated(s: Any, x: Tensor, relu: Rectify) -> Tensor:
    y = relu(s.b(relu(s.a(x))))
    return relu(s.c(y * torch.sigmoid(y.mean((2, 3), keepdim=True))) + y)


NETS = {f.__name__: f for f in (chained, pooled_first, read_twice, gated)}


class Net(nn.Module):
    """Three convolutions put together by ``middle``, and a linear layer."""

    def __init__(self, middle: Any, relu: Rectify, last: Rectify | None = None) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.a = nn.Conv2d(2, 4, 3, padding=1)
        self.b = nn.Conv2d(4, 4, 3, padding=1)
        self.c = nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect")
        self.linear = nn.Linear(4, 5)
        nn.init.constant_(self.a.bias, -0.5)  # so that some outputs see nothing but zeros
        self.middle, self.relu, self.last = middle, relu, last

    def forward(self, x: Tensor) -> Tensor:
        y = self.linear(self.middle(self, x, self.relu).mean((2, 3)))
        return y if self.last is None else self.last(y)


def captured(middle: Any, relu: Rectify, last: Rectify | None = None) -> Graph:
    return Graph(Net(middle, relu, last).double().eval(), (2, 12, 12))


def walk(graph: Graph, rule: Rule, first: Rule | None = None, at: Step | None = None) -> Relevance:
    """Relevance from a start of ones, at the logits or another step."""
    x = torch.randn(2, 2, 12, 12, generator=torch.Generator().manual_seed(1)).double()
    rows = (Row(WEIGHTED, "input", first or rule), Row(WEIGHTED, "anywhere", rule))
    plan = Plan(graph, Composite("test", rows, "test"), None)
    record = graph.run(x, inputs_of=plan.inputs_of, graph_of=plan.graph_of)
    shape = ((at or graph.output).shape or ())[1:]
    return propagate(plan, record, torch.ones(2, *shape).double(), at=at)


def equal(found: Relevance, expected: Relevance) -> None:
    scale = float(expected.map.abs().max())
    assert scale > 0
    assert float((found.map - expected.map).abs().max()) <= 1e-11 * scale
    for term in ("input", "bias", "epsilon", "unreceived"):
        assert torch.allclose(getattr(found.ledger, term), getattr(expected.ledger, term)), term
    assert float(found.ledger.residual.abs().max()) <= 1e-9


@pytest.mark.parametrize("name", NETS)
def test_the_short_way_is_the_long_way(name: str) -> None:
    ours, theirs = (captured(NETS[name], relu) for relu in (torch.relu, leaky))
    for rule in RULES.values():
        equal(walk(ours, rule), walk(theirs, rule))


def test_what_a_relu_cuts_off_above_is_no_output() -> None:
    ours, theirs = (captured(chained, relu) for relu in (F.relu6, leaky_6))
    for graph in (ours, theirs):
        nn.init.uniform_(graph.source.b.weight, -8, 9, torch.Generator().manual_seed(0))
    for rule in (gamma(), alpha_beta(2, 1)):
        equal(walk(ours, rule), walk(theirs, rule))


def test_relevance_at_what_is_zero_takes_the_long_way() -> None:
    """The flat rule gives relevance to what is zero; and it may start there."""
    ours, theirs = (captured(chained, relu, last=relu) for relu in (torch.relu, leaky))
    places = [
        next(s for s in g.steps if s.inputs and s.inputs[0].path == "b") for g in (ours, theirs)
    ]
    for rule in (epsilon(0.01), alpha_beta(2, 1), gamma()):
        equal(walk(ours, rule), walk(theirs, rule))
        equal(walk(ours, flat(), first=rule), walk(theirs, flat(), first=rule))
        equal(walk(ours, rule, at=places[0]), walk(theirs, rule, at=places[1]))


def test_an_output_of_minus_epsilon_divides_nothing_by_zero() -> None:
    graph = captured(chained, torch.relu)
    nn.init.zeros_(graph.source.b.weight[:1])
    nn.init.constant_(graph.source.b.bias[:1], -0.25)
    assert walk(graph, epsilon(0.25)).map.isfinite().all()


def test_the_negative_sum_is_added_up_where_its_digits_would_cancel() -> None:
    """A filter with one weight just below zero: its negative sum is lost in the positive one."""
    net = nn.Sequential(
        nn.Conv2d(2, 4, 1), nn.ReLU(), nn.Conv2d(4, 3, 1), nn.ReLU(), nn.Flatten(), nn.LazyLinear(2)
    )
    x = torch.rand(2, 2, 6, 6, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        net(x)
        for layer in (net[0], net[2]):
            layer.weight.abs_()
            layer.bias.zero_()
        net[2].weight[:, 1] *= -1e-6
    maps = []
    for dtype in (torch.float32, torch.float64):
        graph = Graph(net.to(dtype).eval(), (2, 6, 6))
        rows = (Row(WEIGHTED, "anywhere", alpha_beta(2, 1, stabiliser=0)),)
        plan = Plan(graph, Composite("test", rows, ""), None)
        record = graph.run(x.to(dtype), inputs_of=plan.inputs_of, graph_of=plan.graph_of)
        maps.append(propagate(plan, record, torch.ones_like(record.logits)).map.double())
    assert float((maps[0] - maps[1]).abs().max()) <= 1e-5 * float(maps[1].abs().max())
