"""captum's LRP beside ours: equal where captum is right, and its traps, each as a regression test.

L1: in 0.9.0 rules are gone after a call; L2: αβ splits only weights; L5: residual sums are
not seen.
"""

from __future__ import annotations

import copy
import warnings
from importlib.metadata import version
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn

from xaiutils.lrp.composites import COMPOSITES, Composite, Row
from xaiutils.lrp.plan import Plan
from xaiutils.lrp.rules import Rule, epsilon, z_plus
from xaiutils.lrp.walk import Relevance, propagate
from xaiutils.network.graph import Graph
from xaiutils.network.kinds import CONVOLUTION, LINEAR, WEIGHTED


class Small(nn.Module):
    """Flattens with torch.flatten: captum refuses nn.Flatten (trap L6)."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(8, 8, 3),
            nn.ReLU(),
        )
        self.head = nn.Linear(8 * 16, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.flatten(self.features(x), 1))


def small_net() -> nn.Module:
    torch.manual_seed(0)
    return Small().double().eval()


def by_captum(net: nn.Module, x: Tensor, target: int) -> Tensor:
    """captum's relevance, with the rules that the modules carry."""
    from captum.attr import LRP

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Setting forward, backward hooks", UserWarning)
        warnings.filterwarnings("ignore", "Input Tensor 0 did not already", UserWarning)
        return LRP(net).attribute(x.clone(), target=target).detach()


def give_rules(net: nn.Module, convolution: Any, linear: Any) -> None:
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            module.rule = convolution()
        elif isinstance(module, nn.Linear):
            module.rule = linear()


def ours(net: nn.Module, x: Tensor, target: int, convolution: Rule, linear: Rule) -> Relevance:
    rows = (Row((CONVOLUTION,), "anywhere", convolution), Row((LINEAR,), "anywhere", linear))
    return walked(net, x, target, Composite("test", rows, "test"))


def walked(net: nn.Module, x: Tensor, target: int, composite: Composite) -> Relevance:
    graph = Graph(net, tuple(x.shape[1:]))
    plan = Plan(graph, composite, None)
    record = graph.run(x, inputs_of=plan.inputs_of, graph_of=plan.graph_of)
    logits = record.logits.detach()
    start = torch.zeros_like(logits)
    start[:, target] = logits[:, target]
    return propagate(plan, record, start)


def test_epsilon_everywhere_equals_captums() -> None:
    from captum.attr._utils.lrp_rules import EpsilonRule

    net = small_net()
    x = torch.randn(2, 3, 12, 12, generator=torch.Generator().manual_seed(1)).double()
    for target in range(5):
        expected = ours(net, x, target, epsilon(1e-9), epsilon(1e-9)).map
        theirs = copy.deepcopy(net)
        give_rules(theirs, EpsilonRule, EpsilonRule)
        found = by_captum(theirs, x, target)
        assert (found - expected).abs().max() <= 1e-6 * expected.abs().max()


def test_a1b0_equals_captums_without_bias_for_nonnegative_pictures() -> None:
    from captum.attr._utils.lrp_rules import Alpha1_Beta0_Rule, EpsilonRule

    net = small_net()
    x = torch.rand(2, 3, 12, 12, generator=torch.Generator().manual_seed(1)).double()
    expected = ours(net, x, 2, z_plus(bias=False), epsilon(1e-9)).map
    theirs = copy.deepcopy(net)
    give_rules(theirs, lambda: Alpha1_Beta0_Rule(set_bias_to_zero=True), EpsilonRule)
    found = by_captum(theirs, x, 2)
    # Stabilisers differ: captum's is 1e-9, ours 1e-6.
    assert (found - expected).abs().max() <= 1e-4 * expected.abs().max()
    theirs = copy.deepcopy(net)
    give_rules(theirs, lambda: Alpha1_Beta0_Rule(set_bias_to_zero=True), EpsilonRule)
    signed = by_captum(theirs, x - 0.5, 2)
    right = ours(net, x - 0.5, 2, z_plus(bias=False), epsilon(1e-9)).map
    assert (signed - right).abs().max() > right.abs().max()


def rules_after_a_call() -> str:
    """What the second call runs with: "kept", the rules of the first; "lost", epsilon."""
    from captum.attr._utils.lrp_rules import Alpha1_Beta0_Rule, EpsilonRule

    net = small_net()
    x = torch.rand(1, 3, 12, 12, generator=torch.Generator().manual_seed(1)).double()
    give_rules(net, lambda: Alpha1_Beta0_Rule(set_bias_to_zero=True), EpsilonRule)
    first, second = by_captum(net, x, 1), by_captum(net, x, 1)
    plain = by_captum(small_net(), x, 1)
    assert (first - plain).abs().max() > 0.1 * first.abs().max()
    (found,) = [k for k, v in {"kept": first, "lost": plain}.items() if torch.equal(second, v)]
    return found


def test_trap_l1_what_the_installed_captum_does_with_rules_after_a_call(record_property) -> None:
    """captum 0.9.0 loses them (its issue 1059); of another version either is said, none assumed."""
    installed, found = version("captum"), rules_after_a_call()
    record_property(f"captum {installed}", f"rules {found}")
    print(f"captum {installed}: rules {found} after the first call")
    assert installed != "0.9.0" or found == "lost"


def test_our_second_call_runs_the_rules_of_the_first() -> None:
    x = torch.rand(1, 3, 12, 12, generator=torch.Generator().manual_seed(1)).double()
    mine = [ours(small_net(), x, 1, z_plus(bias=False), epsilon()).map for _ in range(2)]
    assert torch.equal(*mine)


def test_trap_l2_captums_a1b0_is_wrong_for_negative_inputs() -> None:
    from captum.attr._utils.lrp_rules import Alpha1_Beta0_Rule

    net: Any = nn.Sequential(nn.Linear(2, 1, bias=False)).double().eval()
    net[0].weight.data[:] = torch.tensor([1.0, -1.0])
    x = torch.tensor([[1.0, -2.0]], dtype=torch.float64)
    rows = (Row(WEIGHTED, "anywhere", z_plus()),)
    assert walked(net, x, 0, Composite("z+", rows, "")).map.tolist()[0] == pytest.approx([1, 2])
    net[0].rule = Alpha1_Beta0_Rule()
    assert by_captum(net, x, 0).tolist()[0] == pytest.approx([3, 0])


def test_trap_l5_captum_does_not_split_relevance_at_a_residual_sum() -> None:
    torch.manual_seed(0)
    net = torchvision.models.resnet18(weights=None).eval()
    x = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    logit = float(net(x)[0, 7].detach())
    ledger = walked(net, x, 7, COMPOSITES["epsilon"]).ledger
    assert ledger.start.item() == pytest.approx(logit, rel=1e-5)
    assert abs(ledger.residual.item()) <= 1e-4 * abs(logit)
    theirs = copy.deepcopy(net)
    total = float(by_captum(theirs, x, 7).sum())
    assert abs(total - logit) > 10 * abs(logit)
