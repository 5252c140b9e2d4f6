"""Every relevance rule: the hand net of the reference, literal twins, properties, errors."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any

import numpy as np
import pytest
import reference as twin
import torch
from hypothesis import given, settings, strategies as st
from torch import Tensor, nn

from xaiutils.lrp import rules
from xaiutils.lrp.composites import COMPOSITES, Composite, Row, composite_named, paper
from xaiutils.lrp.plan import Plan
from xaiutils.lrp.rules import Rule
from xaiutils.lrp.walk import Relevance, propagate
from xaiutils.network.graph import Graph, GraphError
from xaiutils.network.kinds import CONVOLUTION, LINEAR, WEIGHTED

RULES: dict[str, Rule] = {
    "z": rules.z(),
    "z, no bias": rules.z(bias=False),
    "epsilon": rules.epsilon(0.1),
    "a1b0": rules.alpha_beta(),
    "a1b0, no bias": rules.alpha_beta(bias=False),
    "a2b1": rules.alpha_beta(2, 1),
    "a2b1, no bias": rules.alpha_beta(2, 1, bias=False),
    "z_plus": rules.z_plus(),
    "z_plus, no bias": rules.z_plus(bias=False),
    "gamma": rules.gamma(),
    "flat": rules.flat(),
    "w_squared": rules.w_squared(),
    "w_squared, no bias": rules.w_squared(bias=False),
    "z_box": rules.z_box(),
}
several = settings(max_examples=8, deadline=None, derandomize=True)
seeds = st.integers(0, 2**31 - 1)


@lru_cache(maxsize=2)  # of the net of one test: weights are read at every run
def captured(net: nn.Module, shape: tuple[int, ...]) -> Graph:
    return Graph(net.eval(), shape)


def walk(
    net: nn.Module,
    x: Tensor,
    rule: Rule,
    start: Tensor | None = None,
    rest: Rule | None = None,
    bounds: tuple[Tensor, Tensor] | None = None,
) -> Relevance:
    """Relevance of ``net`` with ``rule`` on its first layer and ``rest`` on the others."""
    rows = (Row(WEIGHTED, "input", rule), Row(WEIGHTED, "anywhere", rest or rule))
    graph = captured(net, tuple(x.shape[1:]))
    plan = Plan(graph, Composite("test", rows, "test"), None)
    record = graph.run(x, inputs_of=plan.inputs_of, graph_of=plan.graph_of)
    start = record.logits.detach() if start is None else start
    return propagate(plan, record, start, bounds=bounds)


def box(x: Tensor) -> tuple[Tensor, Tensor]:
    """Bounds that hold for ``x`` and differ between its places."""
    return x.min(0, keepdim=True).values - 0.5, x.max(0, keepdim=True).values + 0.25


def one_layer(layer: nn.Module, x: Tensor, rule: Rule, start: Tensor, **options: Any) -> Tensor:
    """Relevance of the inputs of ``layer``, whose outputs have the relevance ``start``."""
    net = nn.Sequential(layer, nn.Flatten())
    return walk(net, x, rule, start.flatten(1), **options).map


def small_net(seed: int, *, bias: bool = True, pool: nn.Module | None = None) -> nn.Module:
    torch.manual_seed(seed)
    groups = 1 + seed % 2
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1, bias=bias),
        nn.ReLU(),
        pool or nn.MaxPool2d(2),
        nn.Conv2d(4, 4, 3, stride=2, padding=1, groups=groups, bias=bias),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(16, 3, bias=bias),
    ).double()


# ---- a hand net: Linear(2, 2), ReLU, Linear(2, 1), worked out on paper and by zennit ----

HAND_X = torch.tensor([[1.0, -2.0]], dtype=torch.float64)
HAND_ROWS: dict[str, tuple[Rule, tuple[float, float]]] = {
    "LRP-0": (rules.z(), (-3, 6)),
    "epsilon 0.1": (rules.epsilon(0.1), (-2.664141, 5.580808)),
    "a1b0": (rules.alpha_beta(), (-1 / 3, 2)),
    "z_plus": (rules.z_plus(), (-1 / 3, 2)),
    "a2b1": (rules.alpha_beta(2, 1), (-2 / 3, 6)),
    "a1b0, no bias": (rules.alpha_beta(bias=False), (-5 / 6, 7 / 3)),
    "a2b1, no bias": (rules.alpha_beta(2, 1, bias=False), (-5 / 3, 20 / 3)),
    "gamma 0.25": (rules.gamma(), (-1.857143, 4.285714)),
    "flat": (rules.flat(), (0.75, 0.75)),
    "w_squared": (rules.w_squared(), (2 / 9, 11 / 9)),
    "w_squared, no bias": (rules.w_squared(bias=False), (0.15, 1.35)),
    "z_box": (rules.z_box(), (-2 / 9, 31 / 18)),
}
HAND_BOUNDS = (torch.full_like(HAND_X, -3), torch.full_like(HAND_X, 3))


def hand_net(dtype: torch.dtype = torch.float64) -> nn.Sequential:
    net = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1)).to(dtype)
    values = ([[1.0, -1.0], [2.0, 1.0]], [0.5, 1.0], [[1.0, -2.0]], [0.25])
    # The reference writes weights as x @ W1 and W2 @ h, so that z1 = (3.5, 1).
    for parameter, value in zip(net.parameters(), values, strict=True):
        parameter.data = torch.tensor(value, dtype=dtype)
    return net.eval()


def fine(rule: Rule) -> Rule:
    """The rule with the stabiliser that the table was computed with."""
    return replace(rule, epsilon=1e-12) if rule.epsilon == rules.STABILISER else rule


def test_the_hand_net_is_the_one_of_the_table() -> None:
    net = hand_net()
    assert net[0](HAND_X).tolist() == [[3.5, 1.0]]
    assert net(HAND_X).item() == 1.75


@pytest.mark.parametrize("name", HAND_ROWS)
def test_hand_net(name: str) -> None:
    rule, expected = HAND_ROWS[name]
    bounds = HAND_BOUNDS if rule.needs_bounds else None
    found = walk(hand_net(), HAND_X, fine(rule), rest=rules.z(), bounds=bounds)
    assert found.map[0].tolist() == pytest.approx(expected, abs=6e-7)
    ledger = found.ledger
    assert ledger.start.item() == 1.75
    assert ledger.input.item() == pytest.approx(sum(expected), abs=1e-6)
    assert ledger.residual.item() == pytest.approx(0, abs=1e-9)


def test_hand_net_with_zero_bias_books_the_lost_beta_share() -> None:
    ledger = walk(hand_net(), HAND_X, fine(rules.alpha_beta(2, 1, bias=False)), rest=rules.z())
    # Nothing pushes neuron 1 (relevance 3.5) downwards: -beta * 3.5 finds nobody.
    assert ledger.ledger.unreceived.item() == pytest.approx(-3.5)
    assert ledger.ledger.bias.item() == pytest.approx(0.25)


@pytest.mark.parametrize("name", HAND_ROWS)
def test_hand_net_by_the_twins(name: str) -> None:
    w, b = np.array([[1.0, -1.0], [2.0, 1.0]]), np.array([0.5, 1.0])
    x, hidden = HAND_X[0].numpy(), np.array([3.5, 1.0])
    top = twin.z(hidden, np.array([[1.0, -2.0]]), np.array([0.25]), np.array([1.75]), 0)
    assert top.tolist() == pytest.approx([3.5, -2])
    found = by_twin(fine(HAND_ROWS[name][0]), name, x, w, b, top, np.ones_like(w), -3 + 0 * x, 3.0)
    assert found.tolist() == pytest.approx(HAND_ROWS[name][1], abs=6e-7)


@pytest.mark.parametrize(
    ("captum_rule", "expected", "ours"),
    [
        ("alpha1_beta0", (-5 / 3, 4), "a1b0"),
        ("alpha1_beta0, zero bias", (-4.0e9, 4.0e9), "a1b0, no bias"),
        ("gamma 0.25", (-23 / 6, 6.866667), "gamma 0.25"),
    ],
)
def test_captum_differs_on_the_hand_net(
    captum_rule: str, expected: tuple[float, float], ours: str
) -> None:
    from captum.attr import LRP
    from captum.attr._utils.lrp_rules import Alpha1_Beta0_Rule, EpsilonRule, GammaRule

    made = {
        "alpha1_beta0": Alpha1_Beta0_Rule,
        "alpha1_beta0, zero bias": partial(Alpha1_Beta0_Rule, set_bias_to_zero=True),
        "gamma 0.25": GammaRule,
    }
    net: Any = hand_net()
    net[0].rule, net[2].rule = made[captum_rule](), EpsilonRule()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Setting forward, backward hooks", UserWarning)
        warnings.filterwarnings("ignore", "Input Tensor 0 did not already", UserWarning)
        found = LRP(net).attribute(HAND_X.clone(), target=0)[0].tolist()
    assert found == pytest.approx(expected, rel=2e-6)
    assert found != pytest.approx(HAND_ROWS[ours][1], rel=0.1)


# ---- literal twins ----


def by_twin(
    rule: Rule,
    name: str,
    x: Any,
    w: Any,
    b: Any,
    R: Any,
    seen: Any,
    low: Any,
    high: Any,
) -> Any:
    eps, bias = rule.epsilon, "no bias" not in name
    kind = name.partition(",")[0].partition(" ")[0]
    return {
        "LRP-0": partial(twin.z, x, w, b if bias else 0 * b, R, eps),
        "z": partial(twin.z, x, w, b if bias else 0 * b, R, eps),
        "epsilon": partial(twin.epsilon, x, w, b, R, eps),
        "a1b0": partial(twin.alpha_beta, x, w, b, R, eps, 1, 0, bias),
        "a2b1": partial(twin.alpha_beta, x, w, b, R, eps, 2, 1, bias),
        "z_plus": partial(twin.z_plus, x, w, b, R, eps, bias),
        "gamma": partial(twin.gamma, x, w, b, R, eps, 0.25),
        "flat": partial(twin.flat, seen, R, eps),
        "w_squared": partial(twin.w_squared, w, b, R, eps, bias),
        "z_box": partial(twin.z_box, x, w, R, eps, low, high),
    }[kind]()


LAYERS: dict[str, Callable[[], nn.Module]] = {
    "linear": lambda: nn.Linear(7, 5),
    "conv": lambda: nn.Conv2d(2, 3, 3),
    "conv 1x1": lambda: nn.Conv2d(2, 3, 1),
    "conv stride 2 padding 1": lambda: nn.Conv2d(2, 3, 3, stride=2, padding=1),
    "conv dilation 2 padding 2": lambda: nn.Conv2d(2, 3, 3, dilation=2, padding=2),
    "conv groups 2": lambda: nn.Conv2d(4, 6, 3, groups=2, padding=1),
    "conv depthwise": lambda: nn.Conv2d(3, 3, (2, 3), groups=3, stride=2),
    "transposed": lambda: nn.ConvTranspose2d(2, 3, 3),
    "transposed stride 2 groups 2": lambda: nn.ConvTranspose2d(
        4, 6, 3, stride=2, padding=1, output_padding=1, groups=2
    ),
    "transposed dilation 2": lambda: nn.ConvTranspose2d(2, 3, 2, dilation=2, bias=False),
    "conv without bias": lambda: nn.Conv2d(2, 3, 3, padding=1, bias=False),
}


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("layer_name", LAYERS)
def test_rule_equals_its_twin(name: str, layer_name: str) -> None:
    torch.manual_seed(len(layer_name))
    layer: Any = LAYERS[layer_name]().double()
    if layer_name == "linear":
        x = torch.randn(2, 7, dtype=torch.float64)
    else:
        x = torch.randn(2, layer.in_channels, 6, 5, dtype=torch.float64)
    start = torch.randn_like(layer(x).detach())
    low, high = box(x)
    found = one_layer(layer, x, RULES[name], start, bounds=(low, high))

    weight = layer.weight.detach().numpy()
    count = start.shape[1]
    bias = np.zeros(count) if layer.bias is None else layer.bias.detach().numpy()
    if layer_name == "linear":
        w, seen, places = weight, np.ones_like(weight), 1
    else:
        options = {key: getattr(layer, key)[0] for key in ("stride", "padding", "dilation")} | {
            "groups": layer.groups
        }
        back = isinstance(layer, nn.ConvTranspose2d)  # the matrix of a convolution, transposed
        reads, gives = (start, x) if back else (x, start)
        size = tuple(reads.shape[2:])
        w, shape = twin.convolution_matrix(weight, size, **options)
        seen, _ = twin.convolution_matrix(np.ones_like(weight), size, **options)
        assert shape == gives.shape[1:]
        w, seen = (w.T, seen.T) if back else (w, seen)
        places = start[0, 0].numel()
    b = np.repeat(bias, places)
    assert np.allclose(
        w @ x[0].flatten().numpy() + b, layer(x)[0].detach().flatten().numpy(), atol=1e-12
    )
    for i in range(2):
        expected = by_twin(
            RULES[name],
            name,
            x[i].flatten().numpy(),
            w,
            b,
            start[i].flatten().numpy(),
            seen,
            low[0].flatten().numpy(),
            high[0].flatten().numpy(),
        )
        scale = np.abs(expected).max()
        assert np.abs(found[i].flatten().numpy() - expected).max() <= 1e-10 * scale


def test_a_batch_norm_that_stands_alone_is_a_diagonal_convolution() -> None:
    torch.manual_seed(1)
    norm: Any = nn.BatchNorm2d(3).double().eval()
    for value in (norm.weight, norm.bias, norm.running_mean):
        value.data.normal_()
    norm.running_var.uniform_(0.5, 2)
    x, start = (torch.randn(2, 3, 4, 2, dtype=torch.float64) for _ in range(2))
    scale = (norm.weight / (norm.running_var + norm.eps).sqrt()).detach().numpy()
    shift = (norm.bias - norm.running_mean * torch.from_numpy(scale)).detach().numpy()
    w, b = np.diag(np.repeat(scale, 8)), np.repeat(shift, 8)
    low, high = box(x)
    for name, rule in RULES.items():
        found = one_layer(norm, x, rule, start, bounds=(low, high))
        xs, rs = x[1].flatten().numpy(), start[1].flatten().numpy()
        bounds = (low[0].flatten().numpy(), high[0].flatten().numpy())
        expected = by_twin(rule, name, xs, w, b, rs, np.eye(24), *bounds)
        error = np.abs(found[1].flatten().numpy() - expected).max()
        assert error <= 1e-10 * np.abs(expected).max(), name


# ---- properties ----


@pytest.mark.parametrize("name", RULES)
@several
@given(seed=seeds)
def test_the_ledger_closes(name: str, seed: int) -> None:
    pools = (nn.MaxPool2d(2), nn.AvgPool2d(2), nn.MaxPool2d(3, 2, 1))
    net = small_net(seed, pool=pools[seed % 3])
    x = torch.randn(2, 2, 8, 8, dtype=torch.float64)
    rule = RULES[name]
    rest = rules.z_plus() if rule.needs_bounds else rule
    found = walk(net, x, rule, rest=rest, bounds=box(x))
    ledger = found.ledger
    terms = torch.stack([torch.stack(step).abs().sum(0) for step in ledger.steps.values()])
    scale = ledger.start.abs() + terms.sum(0) + found.map.abs().flatten(1).sum(1)
    assert (ledger.residual.abs() <= 1e-10 * scale).all()
    parts = torch.stack([torch.stack(step) for step in ledger.steps.values()]).sum(0)
    for total, term in zip((ledger.bias, ledger.epsilon, ledger.unreceived), parts, strict=True):
        assert total.tolist() == pytest.approx(term.tolist(), abs=1e-12 * float(scale.max()))
    assert ledger.input.tolist() == pytest.approx(found.map.sum((1, 2, 3)).tolist())


@several
@given(seed=seeds)
def test_without_biases_everything_reaches_the_image(seed: int) -> None:
    net = small_net(seed, bias=False)
    x = torch.randn(2, 2, 8, 8, dtype=torch.float64)
    for name in ("z", "a1b0", "z_plus", "flat", "w_squared"):
        ledger = walk(net, x, replace(RULES[name], epsilon=0.0)).ledger
        assert ledger.bias.tolist() == ledger.epsilon.tolist() == [0, 0]
        expected = ledger.start - ledger.unreceived
        assert ledger.input.tolist() == pytest.approx(expected.tolist(), rel=1e-6)


@several
@given(seed=seeds)
def test_a1b0_is_z_plus(seed: int) -> None:
    net, x = small_net(seed), torch.randn(2, 2, 8, 8, dtype=torch.float64)
    for bias in (True, False):
        a1b0, plus = rules.alpha_beta(1, 0, bias=bias), rules.z_plus(bias=bias)
        assert torch.equal(walk(net, x, a1b0).map, walk(net, x, plus).map)


@several
@given(seed=seeds)
def test_gamma_of_zero_is_epsilon(seed: int) -> None:
    net, x = small_net(seed), torch.randn(2, 2, 8, 8, dtype=torch.float64)
    found, expected = walk(net, x, rules.gamma(0)).map, walk(net, x, rules.epsilon()).map
    assert (found - expected).abs().max() <= 1e-10 * expected.abs().max()


@several
@given(seed=seeds)
def test_a_huge_gamma_is_z_plus_where_inputs_and_outputs_are_positive(seed: int) -> None:
    torch.manual_seed(seed)
    layer = nn.Linear(6, 4).double()
    x = torch.rand(3, 6, dtype=torch.float64)
    start = torch.rand(3, 4, dtype=torch.float64) * (layer(x).detach() > 0)
    found = one_layer(layer, x, rules.gamma(1e10), start)
    expected = one_layer(layer, x, rules.z_plus(), start)
    assert found.flatten().tolist() == pytest.approx(
        expected.flatten().tolist(), rel=1e-4, abs=1e-5
    )


@several
@given(seed=seeds)
def test_z_box_of_width_zero_is_z_without_bias(seed: int) -> None:
    net, x = small_net(seed), torch.randn(2, 2, 8, 8, dtype=torch.float64)
    zero = torch.zeros_like(x[:1])
    tight = replace(rules.z_box(), epsilon=0.0)
    found = walk(net, x, tight, rest=rules.epsilon(), bounds=(zero, zero)).map
    expected = walk(net, x, rules.z(bias=False), rest=rules.epsilon()).map
    assert (found - expected).abs().max() <= 1e-10 * expected.abs().max()


def test_flat_spreads_evenly_over_the_field_of_view() -> None:
    layer = nn.Conv2d(4, 1, 3).double()
    x = torch.randn(1, 4, 3, 3, dtype=torch.float64)
    found = one_layer(layer, x, fine(rules.flat()), torch.full((1, 1, 1, 1), 2.0).double())
    assert found.flatten().tolist() == pytest.approx([2 / (9 * 4)] * 36)


@several
@given(seed=seeds)
def test_z_plus_is_nonnegative_where_the_outputs_are(seed: int) -> None:
    net, x = small_net(seed), torch.randn(2, 2, 8, 8, dtype=torch.float64)
    found = walk(net, x, rules.z_plus(), torch.rand(2, 3, dtype=torch.float64)).map
    assert float(found.min()) >= 0
    assert float(found.max()) > 0


@several
@given(seed=seeds)
def test_lrp_0_is_gradient_times_input_without_biases(seed: int) -> None:
    net = small_net(seed, bias=False)
    x = torch.randn(2, 2, 8, 8, dtype=torch.float64)
    found = walk(net, x, rules.z()).map
    leaf = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(net(leaf).sum(), leaf)
    assert (found - gradient * x).abs().max() <= 1e-8 * found.abs().max()


@pytest.mark.parametrize("name", RULES)
def test_an_input_that_nobody_reads_gets_nothing_but_flats_share(name: str) -> None:
    net: Any = small_net(3)
    net[0].weight.data[:, 1] = 0
    x = torch.randn(2, 2, 8, 8, dtype=torch.float64)
    rest = rules.z_plus() if RULES[name].needs_bounds else None
    found = walk(net, x, RULES[name], rest=rest, bounds=box(x)).map
    assert float(found[:, 0].abs().max()) > 0
    assert (float(found[:, 1].abs().max()) > 0) == (name == "flat")


@pytest.mark.parametrize("name", [name for name in RULES if name != "z_box"])
def test_relevance_moves_with_the_picture(name: str) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1, bias=False),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(4, 4, 3, padding=1, bias=False),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, 3),
    ).double()
    here, there = torch.zeros(2, 1, 2, 24, 24, dtype=torch.float64)
    here[:, :, 8:13, 6:12] = there[:, :, 10:15, 10:16] = torch.randn(1, 2, 5, 6).double()
    rest = rules.z_plus() if name == "flat" or "w_squared" in name else None  # meant for the first
    first, second = (walk(net, x, RULES[name], rest=rest).map for x in (here, there))
    moved = torch.roll(first, (2, 4), (2, 3))
    assert float(first.abs().max()) > 0
    assert (moved - second).abs().max() <= 1e-10 * first.abs().max()


@pytest.mark.parametrize("name", RULES)
def test_relevance_is_linear_in_its_start(name: str) -> None:
    net, x = small_net(5), torch.randn(2, 2, 8, 8, dtype=torch.float64)
    rest = rules.z_plus() if RULES[name].needs_bounds else None
    relevance = partial(walk, net, x, RULES[name], rest=rest, bounds=box(x))
    a, b = torch.randn(2, 2, 3, dtype=torch.float64)
    both = relevance(start=2 * a - 3 * b).map
    expected = 2 * relevance(start=a).map - 3 * relevance(start=b).map
    assert (both - expected).abs().max() <= 1e-10 * expected.abs().max()


@pytest.mark.parametrize("name", RULES)
def test_a_batch_is_its_images_one_by_one(name: str) -> None:
    net, x = small_net(6), torch.randn(3, 2, 8, 8, dtype=torch.float64)
    rest = rules.z_plus() if RULES[name].needs_bounds else None
    bounds = box(x)
    together = walk(net, x, RULES[name], rest=rest, bounds=bounds).map
    alone = [walk(net, x[i : i + 1], RULES[name], rest=rest, bounds=bounds).map for i in range(3)]
    assert (together - torch.cat(alone)).abs().max() <= 1e-12 * together.abs().max()


def test_an_output_of_exactly_zero_hands_nothing_down_and_is_booked() -> None:
    layer: Any = nn.Linear(2, 1, bias=False).double()
    layer.weight.data[:] = 1
    x = torch.tensor([[1.0, -1.0]], dtype=torch.float64)
    for rule in (rules.z(), rules.z(bias=False), rules.gamma()):
        found = walk(layer, x, rule, torch.ones(1, 1).double())
        assert found.map.tolist() == [[0, 0]]
        assert found.ledger.unreceived.tolist() == [1]
        assert found.ledger.residual.tolist() == [0]


# ---- errors ----


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: rules.alpha_beta(2, 0.5), r"alpha - beta must be 1, got 2 - 0.5 = 1.5"),
        (lambda: rules.alpha_beta(0.5, -0.5), "beta must be >= 0, got -0.5"),
        (lambda: rules.alpha_beta(-1, -2), "alpha must be >= 0, got -1"),
        (lambda: rules.alpha_beta(stabiliser=-1), "stabiliser must be >= 0, got -1"),
        (lambda: rules.epsilon(-0.1), "epsilon must be >= 0, got -0.1"),
        (lambda: rules.epsilon(float("nan")), "epsilon must be finite and >= 0, got nan"),
        (lambda: rules.gamma(-1), "gamma must be >= 0, got -1"),
        (lambda: paper(alpha=3), r"alpha - beta must be 1, got 3 - 0 = 3"),
        (lambda: composite_named("epsilon_pluss"), "did you mean epsilon_plus"),
    ],
)
def test_wrong_settings_are_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_settings_must_be_numbers() -> None:
    with pytest.raises(TypeError, match="alpha must be a number, got str '1'"):
        rules.alpha_beta("1")  # type: ignore[arg-type]


def test_z_box_needs_bounds() -> None:
    net, x = small_net(0), torch.randn(1, 2, 8, 8, dtype=torch.float64)
    with pytest.raises(ValueError, match="z_box rule must know the input's bounds, got none"):
        walk(net, x, rules.z_box(), rest=rules.epsilon())


def test_z_box_must_come_first() -> None:
    net, x = small_net(0), torch.randn(1, 2, 8, 8, dtype=torch.float64)
    with pytest.raises(GraphError, match=r"z_box must stand at the layer that reads the images, "):
        walk(net, x, rules.epsilon(), rest=rules.z_box(), bounds=box(x))


def test_a_composite_without_a_row_for_a_layer_names_it() -> None:
    graph = Graph(small_net(0).eval(), (2, 8, 8))
    only = Composite("halves", (Row((LINEAR,), "anywhere", rules.z()),), "test")
    with pytest.raises(GraphError, match=r"halves has no rule for 0 \(conv2d\) in the body"):
        Plan(graph, only, None)


def test_the_first_row_that_fits_gives_the_rule() -> None:
    graph = Graph(small_net(0).eval(), (2, 8, 8))
    plan = Plan(graph, COMPOSITES["epsilon_plus_flat"], None)
    assert {step.path: rule.name for step, rule in plan.rules.items()} == {
        "0": "flat",
        "3": "z_plus",
        "6": "epsilon(1e-06)",
    }
    plan = Plan(graph, paper(2, 1, head_bias=False), graph.find("4"))
    assert {step.path: rule.name for step, rule in plan.rules.items()} == {
        "0": "alpha2_beta1, no bias",
        "3": "alpha2_beta1, no bias",
        "6": "z, no bias",
    }
    body = Plan(graph, paper(), graph.find("0"))
    assert {rule.name for step, rule in body.rules.items() if step.kind == CONVOLUTION} == {
        "alpha1_beta0, no bias",
        "z",
    }


def test_the_composites_are_those_that_the_documentation_names() -> None:
    assert list(COMPOSITES) == [
        "paper",
        "z",
        "epsilon",
        "epsilon_plus",
        "epsilon_alpha2_beta1",
        "epsilon_plus_flat",
        "epsilon_alpha2_beta1_flat",
        "epsilon_gamma_box",
        "attnlrp",
        "cp_lrp",
    ]
