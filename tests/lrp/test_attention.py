"""Transformers: attention written out, AttnLRP's rules, tokens as maps, rollout."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
import torchvision
from hypothesis import given, settings, strategies as st
from reference_attention import bilinear_rule, layer_norm_rule, rollout, softmax_rule
from torch import Tensor, nn

from xaiutils.cam import to_image
from xaiutils.hybrid import explain, relevance
from xaiutils.lrp import unweighted
from xaiutils.lrp.composites import COMPOSITES, Composite, Row
from xaiutils.lrp.ledger import Ledger
from xaiutils.lrp.plan import Plan
from xaiutils.lrp.rules import epsilon, z
from xaiutils.lrp.walk import Relevance, propagate
from xaiutils.methods import rollout as rolling
from xaiutils.network.classifier import Classifier, load_model, wrap
from xaiutils.network.graph import Graph
from xaiutils.network.kinds import CONVOLUTION, LINEAR
from xaiutils.network.step import GraphError
from xaiutils.pictures.scenes import CLASSES, samples
from xaiutils.pictures.scenes.weights import load_scene_net

Z = COMPOSITES["z"]


@pytest.fixture
def exact(monkeypatch) -> None:
    """Sums and products divide without the stabiliser that float32 needs."""
    monkeypatch.setattr(unweighted, "STABILISER", 0.0)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


class Matrices(nn.Module):
    """Two linear views of the picture, multiplied: logits are the product's entries."""

    def __init__(self, softmax: bool = False, keywords: bool = False) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(12, 6, bias=False), nn.Linear(12, 8, bias=False)
        self.softmax, self.keywords = softmax, keywords

    def forward(self, x):
        a = self.a(x.flatten(1)).unflatten(1, (3, 2))
        if self.softmax:
            a = F.softmax(input=a, dim=-1) if self.keywords else a.softmax(-1)
        return (a @ self.b(x.flatten(1)).unflatten(1, (2, 4))).flatten(1)


def walk(
    module: nn.Module, x: Tensor, start: Tensor | None = None, composite: Composite = Z
) -> tuple[Graph, Relevance]:
    module = module.double().eval()
    graph = Graph(module, tuple(x.shape[1:]))
    plan = Plan(graph, composite, None)
    record = graph.run(x, inputs_of=plan.inputs_of, graph_of=plan.graph_of)
    start = record.logits.detach() if start is None else start
    return graph, propagate(plan, record, start, read=graph.steps)


def at(found: Relevance, graph: Graph, operation: str) -> Tensor:
    (step,) = [s for s in graph.steps if s.operation == operation]
    return found.layers[step.path]


def test_the_matrix_product_halves_relevance_as_the_literal_rule() -> None:
    torch.manual_seed(1)
    module, x, start = Matrices(), noise(2, 3, 2, 2), noise(2, 12, seed=3)
    graph, found = walk(module, x, start)
    a = module.a(x.flatten(1)).unflatten(1, (3, 2)).detach()
    b = module.b(x.flatten(1)).unflatten(1, (2, 4)).detach()
    splits = [s for s in graph.steps if s.operation == "unflatten"]
    for i in range(2):
        of_a, of_b = bilinear_rule(a[i], b[i], start[i].unflatten(0, (3, 4)), 1e-6)
        torch.testing.assert_close(found.layers[splits[0].path][i], of_a, rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(found.layers[splits[1].path][i], of_b, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("keywords", [False, True])
def test_the_softmax_keeps_its_taylor_bias_as_the_literal_rule(keywords: bool) -> None:
    torch.manual_seed(1)
    module, x, start = Matrices(True, keywords), noise(2, 3, 2, 2), noise(2, 12, seed=3)
    graph, found = walk(module, x, start)
    before = next(s for s in graph.steps if s.operation == "unflatten")
    a = module.a(x.flatten(1)).unflatten(1, (3, 2)).detach()
    arrived = at(found, graph, "softmax")
    (name,) = [s.name for s in graph.steps if s.operation == "softmax"]
    for i in range(2):
        biases = 0.0
        for row in range(3):
            shares, bias = softmax_rule(a[i, row], arrived[i, row])
            torch.testing.assert_close(
                found.layers[before.path][i, row], shares, rtol=1e-10, atol=1e-10
            )
            biases += bias
        assert float(found.ledger.steps[name][0][i]) == pytest.approx(biases, rel=1e-9)
    assert found.ledger.residual.abs().max() < 1e-9


def test_softmax_by_hand() -> None:
    # x = (0, ln 3): s = (1/4, 3/4). R = (1, 1): R_1 = 0 (1 - 1/4 * 2) = 0,
    # R_2 = ln 3 (1 - 3/4 * 2) = -ln 3 / 2; bias = (1 - 0 + 3/4 ln 3) + (1 - ln 3 + 3/4 ln 3)
    #     = 2 + ln 3 / 2; together 2, the start.
    log3 = torch.tensor(3.0, dtype=torch.float64).log()
    shares, bias = softmax_rule(torch.stack([0 * log3, log3]), torch.ones(2, dtype=torch.float64))
    torch.testing.assert_close(shares, torch.stack([0 * log3, -log3 / 2]))
    assert bias == pytest.approx(float(2 + log3 / 2))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), st.integers(2, 6))
def test_a_softmax_spends_exactly_what_it_receives(seed: int, length: int) -> None:
    x, r = noise(length, seed=seed), noise(length, seed=seed + 1)
    unweighted, bias = softmax_rule(x, r)
    assert float(unweighted.sum()) + bias == pytest.approx(float(r.sum()), abs=1e-9)


class Block(nn.Module):
    """A tiny vision transformer: patches, class token, positions, pre-norm blocks."""

    def __init__(self, attention: nn.Module, size: int = 4) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 4, stride=4)
        self.token = nn.Parameter(torch.randn(1, 1, 8))
        self.position = nn.Parameter(torch.randn(1, size * size + 1, 8) / 3)
        self.norm1, self.norm2 = nn.LayerNorm(8), nn.LayerNorm(8)
        self.attention = attention
        self.mlp = nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 8))
        self.norm, self.head = nn.LayerNorm(8), nn.Linear(8, 5)

    def forward(self, x):
        t = self.patches(x).flatten(2).transpose(1, 2)
        t = torch.cat([self.token.expand(t.size(0), -1, -1), t], dim=1) + self.position
        a = self.norm1(t)
        t = t + self.attention(a)
        t = t + self.mlp(self.norm2(t))
        return self.head(self.norm(t)[:, 0])


class Fused(nn.Module):
    """Two heads through torch's fused function."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.out = nn.Linear(8, 24), nn.Linear(8, 8)

    def heads(self, x):
        q, k, v = self.qkv(x).chunk(3, -1)
        return [part.unflatten(2, (2, 4)).transpose(1, 2) for part in (q, k, v)]

    def forward(self, x):
        q, k, v = self.heads(x)
        mixed = F.scaled_dot_product_attention(q, k, v)
        return self.out(mixed.transpose(1, 2).flatten(2))


class Einsum(Fused):
    def forward(self, x):
        q, k, v = (part.transpose(1, 2) for part in self.heads(x))
        weights = torch.softmax(torch.einsum("nihd,njhd->nhij", q, k) / 2, dim=-1)
        return self.out(torch.einsum("nhij,njhd->nihd", weights, v).flatten(2))


class Library(nn.Module):
    def __init__(self, **options) -> None:
        super().__init__()
        self.inner = nn.MultiheadAttention(8, 2, batch_first=True, **options)

    def forward(self, x):
        return self.inner(x, x, x, need_weights=False)[0]


class LengthFirst(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.MultiheadAttention(8, 2)

    def forward(self, x):
        x = x.transpose(0, 1)
        return self.inner(x, x, x)[0].transpose(0, 1)


ATTENTIONS = {
    "fused": Fused,
    "einsum": Einsum,
    "library": Library,
    "no bias": lambda: Library(bias=False),
    "keys of another width": lambda: Library(kdim=8, vdim=8),
    "length first": LengthFirst,
}


def tiny(kind: str = "library") -> nn.Module:
    torch.manual_seed(4)
    return Block(ATTENTIONS[kind]()).double().eval()


@pytest.mark.parametrize("kind", ATTENTIONS)
def test_attention_written_out_computes_the_same(kind: str) -> None:
    module, x = tiny(kind), noise(3, 3, 16, 16)
    classifier = wrap(module, size=16)
    torch.testing.assert_close(classifier.predict(x), module(x).detach(), rtol=1e-12, atol=1e-12)
    assert classifier.cam_layer == "norm1"
    assert "4 x 4 patches" in classifier.cam_reason
    assert [type(m) for m in module.modules()] == [type(m) for m in tiny(kind).modules()]


@pytest.mark.parametrize("kind", ATTENTIONS)
@pytest.mark.parametrize("composite", ["z", "epsilon_plus", "attnlrp", "cp_lrp", "paper"])
def test_the_ledger_closes_on_a_transformer(kind: str, composite: str) -> None:
    classifier = wrap(tiny(kind), size=16)
    ledger = relevance(classifier, noise(3, 3, 16, 16), composite=composite).ledger
    assert (ledger.residual / ledger.start).abs().max() < 1e-10
    assert any(name.startswith(("layer", "head", "patches")) for name in ledger.steps)


def test_equal_attentions_get_equal_relevance(exact) -> None:
    fused, einsum = Fused(), Einsum()
    einsum.load_state_dict(fused.state_dict())
    torch.manual_seed(4)
    first = Block(fused).double().eval()
    torch.manual_seed(4)
    second = Block(einsum).double().eval()
    second.load_state_dict(first.state_dict())
    x = noise(2, 3, 16, 16)
    maps = [relevance(wrap(m, size=16), x, composite="attnlrp").map for m in (first, second)]
    assert maps[0].abs().max() > 1e-3
    torch.testing.assert_close(*maps, rtol=1e-8, atol=1e-10)


def test_attention_weights_as_constants_send_all_to_the_values(exact) -> None:
    """The value's own convention: x · ∂f/∂x with softmaxes, deviations and GELUs frozen."""
    graph = wrap(tiny("fused"), size=16).graph
    cp, bilinear = (Plan(graph, COMPOSITES[name], None) for name in ("cp_lrp", "attnlrp"))
    softmax = next(s for s in graph.steps if s.kind == "softmax")
    assert softmax in bilinear.visited
    assert softmax not in cp.visited
    expected, x = input_times_gradient(lambda scores: scores.softmax(-1).detach(), torch.matmul)
    rows = (Row((LINEAR, CONVOLUTION), "anywhere", z()),)
    composite = Composite("values", rows, "test", attention="value")
    found = relevance(wrap(tiny("fused"), size=16), x, 2, composite)
    assert (found.map - expected).abs().max() < 1e-9 * expected.abs().max()


class Detached:
    """A layer norm whose standard deviation is a constant for autograd."""

    def __init__(self, norm: nn.LayerNorm) -> None:
        self.norm = norm

    def __call__(self, x: Tensor) -> Tensor:
        centred = x - x.mean(-1, keepdim=True)
        sigma = (centred.square().mean(-1, keepdim=True) + self.norm.eps).sqrt().detach()
        return centred / sigma * self.norm.weight + self.norm.bias


class Normed(nn.Module):
    """One norm between two linear layers."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.before, self.after = nn.Linear(12, 6), nn.Linear(6, 4, bias=False)
        self.norm = nn.RMSNorm(6) if kind == "rms" else nn.LayerNorm(6)
        for parameter in self.norm.parameters():
            nn.init.normal_(parameter, mean=1.0)
        self.kind = kind

    def forward(self, x):
        x = self.before(x.flatten(1))
        if self.kind == "function":
            norm = self.norm
            return self.after(F.layer_norm(x, (6,), norm.weight, bias=norm.bias, eps=norm.eps))
        return self.after(self.norm(x))


@pytest.mark.parametrize("kind", ["module", "function", "rms"])
def test_a_layer_norm_follows_the_literal_rule(kind: str, exact) -> None:
    torch.manual_seed(2)
    module, x = Normed(kind), noise(2, 3, 2, 2)
    graph, found = walk(module, x, noise(2, 4, seed=3))
    norm = next(s for s in graph.steps if s.kind == "layer_norm")
    hidden = module.before(x.flatten(1)).detach()
    arrived, handed = found.layers[norm.path], found.layers[norm.inputs[0].path]
    centred = kind != "rms"
    eps = module.norm.eps if centred else torch.finfo(torch.float64).eps
    beta = module.norm.bias.detach() if centred else torch.zeros(6)
    for i in range(2):
        gamma = module.norm.weight.detach()
        shares, bias = layer_norm_rule(hidden[i], gamma, beta, eps, arrived[i], centred)
        torch.testing.assert_close(handed[i], shares, rtol=1e-9, atol=1e-12)
        assert float(found.ledger.steps[norm.name][0][i]) == pytest.approx(bias, rel=1e-9)
    assert found.ledger.residual.abs().max() < 1e-9


class Grouped(nn.Module):
    """A norm over groups of channels, or over each, between two convolutions."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.before, self.after = nn.Conv2d(3, 6, 1), nn.Conv2d(6, 4, 2, bias=False)
        self.norm = nn.GroupNorm(2, 6) if "group" in kind else nn.InstanceNorm2d(6, affine=True)
        for parameter in self.norm.parameters():
            nn.init.normal_(parameter, mean=1.0)
        self.kind = kind

    def forward(self, x):
        x, norm = self.before(x), self.norm
        if self.kind == "group, function":
            return self.after(F.group_norm(x, 2, norm.weight, norm.bias, norm.eps)).flatten(1)
        return self.after(norm(x)).flatten(1)


@pytest.mark.parametrize("kind", ["group", "group, function", "instance"])
def test_a_group_norm_follows_the_literal_rule_of_each_group(kind: str, exact) -> None:
    torch.manual_seed(2)
    module, x = Grouped(kind), noise(2, 3, 2, 2)
    graph, found = walk(module, x, noise(2, 4, seed=3))
    norm = next(s for s in graph.steps if s.kind == "layer_norm")
    hidden = module.before(x).detach()
    arrived, handed = found.layers[norm.path], found.layers[norm.inputs[0].path]
    groups = 2 if "group" in kind else 6
    gamma, beta = (p.detach()[:, None, None].expand(6, 2, 2) for p in module.norm.parameters())
    for i in range(2):
        booked = 0.0
        for rows in range(groups):
            own = slice(rows * 6 // groups, (rows + 1) * 6 // groups)
            row = [v[own].reshape(-1) for v in (hidden[i], gamma, beta, arrived[i])]
            shares, bias = layer_norm_rule(*row[:3], module.norm.eps, row[3])
            torch.testing.assert_close(handed[i, own].reshape(-1), shares, rtol=1e-9, atol=1e-12)
            booked += bias
        assert float(found.ledger.steps[norm.name][0][i]) == pytest.approx(booked, rel=1e-9)
    assert found.ledger.residual.abs().max() < 1e-9


def test_one_group_is_a_layer_norm_of_the_whole_map(exact) -> None:
    torch.manual_seed(2)
    module, x = Grouped("group"), noise(2, 3, 2, 2)
    module.norm = nn.GroupNorm(1, 6)
    _, one = walk(module, x)
    module.norm = nn.LayerNorm((6, 2, 2))
    _, other = walk(module, x)
    torch.testing.assert_close(one.map, other.map, rtol=1e-12, atol=1e-14)


def test_a_layer_norm_by_hand() -> None:
    # x = (1, 3): mean 2, deviation 1; γ = (1, 2), β = (0, 1) and no ε: y = (-1, 3). R = (1, 3):
    # s = (-1, 1), γ s = (-1, 2), its mean 1/2: R_1 = 1 (-1 - 1/2) = -3/2, R_2 = 3 (2 - 1/2) = 9/2;
    # bias = 1 · 1 = 1. Together 4, the start.
    values = [torch.tensor(v, dtype=torch.float64) for v in ([1, 3], [1, 2], [0, 1], [1, 3])]
    shares, bias = layer_norm_rule(*values[:3], 0.0, values[3])
    torch.testing.assert_close(shares, torch.tensor([-1.5, 4.5]).double())
    assert bias == pytest.approx(1)


def test_a_layer_norm_may_pass_relevance_on_unchanged() -> None:
    torch.manual_seed(2)
    identity = replace(Z, norm="identity")
    graph, found = walk(Normed("module"), noise(2, 3, 2, 2), composite=identity)
    norm = next(s for s in graph.steps if s.kind == "layer_norm")
    assert torch.equal(found.layers[norm.path], found.layers[norm.inputs[0].path])
    assert norm.name not in found.ledger.steps


class Half(torch.autograd.Function):
    """A matrix product that hands half of the gradient to each side."""

    @staticmethod
    def forward(ctx, a, b):
        ctx.save_for_backward(a, b)
        return a @ b

    @staticmethod
    def backward(ctx, g):
        a, b = ctx.saved_tensors
        return g @ b.transpose(-2, -1) / 2, a.transpose(-2, -1) @ g / 2


def input_times_gradient(softmax, multiply) -> tuple[Tensor, Tensor]:
    """x · ∂f/∂x of the tiny transformer, written by hand: deviations and GELUs frozen factors."""
    m, x = tiny("fused"), noise(1, 3, 16, 16).requires_grad_()
    t = m.patches(x).flatten(2).transpose(1, 2)
    t = torch.cat([m.token, t], dim=1) + m.position
    q, k, v = m.attention.heads(Detached(m.norm1)(t))
    mixed = multiply(softmax(multiply(q, k.transpose(-2, -1)) / 2), v)
    t = t + m.attention.out(mixed.transpose(1, 2).flatten(2))
    hidden = m.mlp[0](Detached(m.norm2)(t))
    t = t + m.mlp[2](hidden * (F.gelu(hidden) / hidden).detach())
    m.head(Detached(m.norm)(t)[:, 0])[0, 2].backward()
    return (x * x.grad).detach(), x.detach()


def test_attnlrp_with_rule_z_is_input_times_a_rewritten_gradient(exact) -> None:
    """A second source, autograd alone: the form in which Achtibat et al. implement their rules.

    The softmax needs no rewriting: x · (its own gradient) is the Taylor rule.
    """
    expected, x = input_times_gradient(lambda scores: scores.softmax(-1), Half.apply)
    rows = (Row((LINEAR, CONVOLUTION), "anywhere", z()),)
    found = relevance(wrap(tiny("fused"), size=16), x, 2, Composite("z", rows, "test"))
    assert (found.map - expected).abs().max() < 1e-9 * expected.abs().max()


def test_a_masked_attention_loses_nothing() -> None:
    class Masked(Fused):
        def __init__(self) -> None:
            super().__init__()
            mask = torch.zeros(17, 17).masked_fill(torch.arange(17) > 12, -torch.inf)
            self.register_buffer("mask", mask)

        def forward(self, x):
            q, k, v = self.heads(x)
            mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=self.mask)
            return self.out(mixed.transpose(1, 2).flatten(2))

    torch.manual_seed(4)
    module = Block(Masked()).double().eval()
    classifier, x = wrap(module, size=16), noise(2, 3, 16, 16)
    torch.testing.assert_close(classifier.predict(x), module(x).detach())
    found = relevance(classifier, x, composite="epsilon")
    assert found.map.isfinite().all()
    assert (found.ledger.residual / found.ledger.start).abs().max() < 1e-10


def test_a_buffer_that_forward_reads_is_read_anew_at_every_run() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convolution, self.linear = nn.Conv2d(3, 4, 3), nn.Linear(4, 2)
            self.register_buffer("order", torch.tensor([3, 1, 0, 2]))

        def forward(self, x):
            maps = torch.relu(self.convolution(x))
            return self.linear(maps.mean((2, 3))[:, self.order])

    module, x = Scaled().double().eval(), noise(2, 3, 8, 8)
    classifier = wrap(module, size=8)
    torch.testing.assert_close(classifier.predict(x), module(x).detach())
    module.order.copy_(torch.tensor([0, 1, 2, 3]))
    torch.testing.assert_close(classifier.predict(x), module(x).detach())


def test_causal_attention_and_one_with_a_zero_token_are_explained() -> None:
    class Causal(Fused):
        def forward(self, x):
            q, k, v = self.heads(x)
            out = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            return self.out(out.transpose(1, 2).flatten(2))

    x = noise(2, 3, 16, 16)
    for attention in (Causal(), Library(add_zero_attn=True)):
        module = Block(attention).double().eval()
        classifier = wrap(module, size=16)
        torch.testing.assert_close(classifier.predict(x), module(x).detach())
        found = relevance(classifier, x, 1, "attnlrp")
        assert (found.ledger.residual / found.ledger.start).abs().max() < 1e-9


def test_a_final_softmax_is_still_refused() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(3))
    module(torch.zeros(1, 3, 8, 8))
    graph = Graph(nn.Sequential(module, nn.Softmax(1)).eval(), (3, 8, 8))
    with pytest.raises(GraphError, match=r"softmax.*a final softmax or sigmoid can be left out"):
        Plan(graph, Z, None)


def test_token_grad_cam_is_the_mean_gradient_times_the_tokens() -> None:
    module, x = tiny(), noise(2, 3, 16, 16)
    kept: list[Tensor] = []

    def keep(module, inputs, output) -> None:
        output.retain_grad()
        kept.append(output)

    module.norm1.register_forward_hook(keep)
    logits = module(x)
    logits[:, 1].sum().backward()
    a, g = kept[0][:, 1:].detach(), kept[0].grad[:, 1:]
    raw = torch.einsum("nd,ntd->nt", g.mean(1), a).unflatten(1, (4, 4))
    found = explain(wrap(tiny(), size=16), x, 1, cam="grad_cam")
    torch.testing.assert_close(found.cam, to_image(raw, (16, 16)), rtol=1e-9, atol=1e-9)


def test_rollout_is_the_product_of_averaged_attentions() -> None:
    classifier, x = wrap(tiny(), size=16), noise(2, 3, 16, 16)
    (step,) = rolling.attention_steps(classifier)
    weights = classifier.graph.run(x, graph_of=[step]).outputs[step].detach()
    found = rolling.attention_rollout(classifier, x)
    for i in range(2):
        expected = to_image(rollout([weights[i]]).unflatten(0, (4, 4))[None], (16, 16))
        torch.testing.assert_close(found[i], expected[0], rtol=1e-9, atol=1e-9)


def test_rollout_of_two_blocks_by_hand() -> None:
    # One head, two tokens. A1 = [[.5, .5], [0, 1]] -> (A1 + I) / 2 = [[.75, .25], [0, 1]];
    # A2 = [[0, 1], [1, 0]] -> [[.5, .5], [.5, .5]]; A2' A1' first row: (.375, .125 + .5).
    first = torch.tensor([[[0.5, 0.5], [0.0, 1.0]]])
    second = torch.tensor([[[0.0, 1.0], [1.0, 0.0]]])
    torch.testing.assert_close(rollout([first, second]), torch.tensor([0.625]).double())


def test_rollout_on_a_cnn_is_refused() -> None:
    with pytest.raises(GraphError, match="scenes_vgg_seed0 has none; a CNN has CAMs"):
        rolling.attention_rollout(load_model("scenes_vgg_seed0"), torch.zeros(1, 3, 128, 128))


@pytest.fixture(scope="module")
def vit() -> Classifier:
    """ViT-B/16's twelve layers, narrower and on fewer patches; itself it runs in test_support."""
    torch.manual_seed(0)
    network = torchvision.models.VisionTransformer(64, 16, 12, 4, 64, 128, num_classes=10)
    nn.init.normal_(network.heads.head.weight, std=0.02)  # 0 by default
    return wrap(network.eval(), size=64)


def test_torchvisions_own_transformer_runs(vit: Classifier) -> None:
    x = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    found = explain(vit, x, 3, composite="attnlrp", cam="grad_cam")
    assert found.settings["cam_layer"] == "encoder.layers.encoder_layer_11.ln_1"
    assert found.hybrid.isfinite().all()
    assert found.hybrid.abs().max() > 0
    assert (found.conservation.residual / found.conservation.start).abs().max() < 1e-5
    assert len(rolling.attention_steps(vit)) == 12
    assert rolling.attention_rollout(vit, x).max() == 1


def test_the_ledger_names_each_softmax(vit: Classifier) -> None:
    x = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    ledger: Ledger = relevance(vit, x, 3, composite="attnlrp").ledger
    softmaxes = [s.name for s in vit.graph.steps if s.kind == "softmax"]
    assert len(softmaxes) == 12
    assert all(float(ledger.steps[name][0].abs()) > 0 for name in softmaxes)


def test_epsilon_is_used_where_a_composite_says_so() -> None:
    rows = (Row((LINEAR, CONVOLUTION), "anywhere", epsilon(0.1)),)
    classifier = wrap(tiny(), size=16)
    found = relevance(classifier, noise(2, 3, 16, 16), composite=Composite("e", rows, "test"))
    assert found.ledger.epsilon.abs().min() > 0
    assert (found.ledger.residual / found.ledger.start).abs().max() < 1e-10


@pytest.mark.parametrize("composite", ["attnlrp", "cp_lrp", "epsilon_plus"])
def test_the_ledger_of_the_trained_transformer_closes(composite: str) -> None:
    classifier = load_model("scenes_vit_seed0")
    x = classifier.preprocess(samples("unit", 8))
    found = relevance(classifier, x, composite=composite)
    assert (found.ledger.residual / found.ledger.start).abs().max() < 1e-5
    module = load_scene_net("scenes_vit_seed0").double()
    double = wrap(module, classes=CLASSES, transform=classifier.transform)
    exact = relevance(double, x.double(), composite=composite).ledger
    assert (exact.residual / exact.start).abs().max() < 1e-10
