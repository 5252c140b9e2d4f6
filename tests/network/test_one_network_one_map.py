"""However a network is written, it has one map: what it computes decides, not how."""

from __future__ import annotations

import re
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import prune

from xaiutils.cam import grad_cam, to_image
from xaiutils.hybrid import explain, relevance
from xaiutils.network.classifier import Classifier, wrap

SIDE = 16


def pictures(n: int = 2, side: int = SIDE) -> Tensor:
    return torch.rand((n, 3, side, side), generator=torch.Generator().manual_seed(5))


def settled(module: nn.Module) -> nn.Module:
    """In eval mode, with statistics that a training could have left in its batch norms."""
    generator = torch.Generator().manual_seed(1)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_var.uniform_(0.5, 2, generator=generator)
            part.running_mean.normal_(0, 0.3, generator=generator)
            nn.init.normal_(part.bias, 0, 0.5, generator=generator)
    return module.eval()


def cosine(a: Tensor, b: Tensor) -> float:
    return float(torch.cosine_similarity(a.double().flatten(1), b.double().flatten(1)).min())


# ---- one network, written in several ways ----


class Modules(nn.Module):
    """Three convolutions, each with its batch norm, as everybody writes them."""

    def __init__(self, convolution: type[nn.Conv2d] = nn.Conv2d) -> None:
        super().__init__()
        torch.manual_seed(3)
        sizes = ((3, 8), (8, 8), (8, 12))
        self.convolutions = nn.ModuleList(
            convolution(i, o, 3, padding=1, bias=False) for i, o in sizes
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(o) for _, o in sizes)
        self.classes = nn.Linear(12, 4)

    def convolve(self, i: int, x: Tensor) -> Tensor:
        return self.convolutions[i](x)

    def forward(self, x: Tensor) -> Tensor:
        for i, norm in enumerate(self.norms):
            x = F.relu(norm(self.convolve(i, x)))
        return self.classes(x.mean((2, 3)))


class Functional(Modules):
    """The same by the function."""

    def convolve(self, i: int, x: Tensor) -> Tensor:
        return F.conv2d(x, self.convolutions[i].weight, padding=1)


class Same(nn.Conv2d):
    """A convolution that pads in its own forward, as those of many EfficientNets."""

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight, self.bias, self.stride, self.padding)


@pytest.mark.parametrize("composite", ["paper", "epsilon_plus", "epsilon_alpha2_beta1"])
@pytest.mark.parametrize("written", [Functional, lambda: Modules(Same)], ids=["function", "own"])
def test_a_batch_norm_behind_any_convolution_gives_one_map(
    written: Callable[[], nn.Module], composite: str
) -> None:
    usual, other = settled(Modules()), settled(written())
    other.load_state_dict(usual.state_dict())
    x = pictures()
    torch.testing.assert_close(other(x), usual(x))
    maps = [relevance(wrap(net, size=SIDE), x, 1, composite).map for net in (usual, other)]
    assert cosine(*maps) > 0.9999


# ---- which axis counts the images ----


class TokensFirst(nn.Module):
    """Linear layers on (tokens, images, channels), as old transformers have them."""

    def __init__(self, tokens: int) -> None:
        super().__init__()
        torch.manual_seed(4)
        self.patches = nn.Conv2d(3, 6, 2, stride=2)
        self.inner, self.classes = nn.Linear(6, 6), nn.Linear(6, 3)
        self.tokens = tokens

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).flatten(2).permute(2, 0, 1)
        tokens = F.relu(self.inner(tokens))
        return self.classes(tokens.permute(1, 2, 0).mean(2))


@pytest.mark.parametrize("tokens", [46, 23, 48])
@pytest.mark.parametrize("composite", ["epsilon", "epsilon_plus"])
def test_the_ledger_of_a_picture_does_not_depend_on_its_neighbour(
    tokens: int, composite: str
) -> None:
    classifier = wrap(TokensFirst(tokens).eval(), size=(2, 2 * tokens))
    generator = torch.Generator().manual_seed(6)
    x = torch.rand((2, 3, 2, 2 * tokens), generator=generator)
    x[1] *= 0.1
    both = relevance(classifier, x, 1, composite).ledger
    for i in range(2):
        alone = relevance(classifier, x[i : i + 1], 1, composite).ledger
        for name in ("start", "input", "bias", "epsilon", "unreceived"):
            one, among = getattr(alone, name)[0], getattr(both, name)[i]
            assert float(among) == pytest.approx(float(one), rel=1e-4, abs=1e-6), name


# ---- the layer of the CAM ----


def small(seed: int) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 8, 3, padding=1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4),
    )  # fmt: skip


class MeanOfTwo(nn.Module):
    """An ensemble."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = small(0), small(1)

    def forward(self, x: Tensor) -> Tensor:
        return (self.first(x) + self.second(x)) / 2


class TwoBackbones(nn.Module):
    """Two feature extractors side by side, one head."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = small(0)[:6], small(1)[:6]
        self.classes = nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.classes(torch.cat((self.first(x), self.second(x)), 1))


class ConvNextBlock(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.norm, self.up = nn.LayerNorm(width), nn.Linear(width, 2 * width)
        self.act, self.down = nn.GELU(), nn.Linear(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        return x + self.down(self.act(self.up(y))).permute(0, 3, 1, 2)


class ConvMlpBlock(nn.Module):
    """The same with convolutions of 1 x 1 in place of linear layers."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.norm, self.up = nn.GroupNorm(1, width), nn.Conv2d(width, 2 * width, 1)
        self.act, self.down = nn.GELU(), nn.Conv2d(2 * width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.down(self.act(self.up(self.norm(self.depthwise(x)))))


class PoolFormerBlock(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm, self.norm2 = nn.GroupNorm(1, width), nn.GroupNorm(1, width)
        self.pool = nn.AvgPool2d(3, 1, 1, count_include_pad=False)
        self.up, self.act = nn.Conv2d(width, 2 * width, 1), nn.GELU()
        self.down = nn.Conv2d(2 * width, width, 1)
        self.scale = nn.Parameter(torch.full((width, 1, 1), 0.5))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(x)
        x = x + (self.pool(y) - y) * self.scale
        return x + self.down(self.act(self.up(self.norm2(x)))) * self.scale


class MaxVitBlock(nn.Module):
    """Its convolutional half: inverted residual with squeeze and excitation."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm, self.up = nn.BatchNorm2d(width), nn.Conv2d(width, 2 * width, 1)
        self.act, self.depthwise = nn.GELU(), nn.Conv2d(2 * width, 2 * width, 3, 1, 1, groups=width)
        self.squeeze, self.down = nn.Conv2d(2 * width, 2 * width, 1), nn.Conv2d(2 * width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.act(self.depthwise(self.act(self.up(self.norm(x)))))
        y = y * torch.sigmoid(self.squeeze(y.mean((2, 3), keepdim=True)))
        return x + self.down(y)


class Residual(nn.Module):
    """A stem, three blocks that end with their sum, a mean and a linear layer."""

    def __init__(self, block: type[nn.Module]) -> None:
        super().__init__()
        torch.manual_seed(7)
        self.stem = nn.Conv2d(3, 8, 4, stride=4)
        self.blocks = nn.Sequential(*(block(8) for _ in range(3)))
        self.classes = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.classes(self.blocks(self.stem(x)).mean((2, 3)))


def all_flows_through(classifier: Classifier, x: Tensor) -> bool:
    """Whether the logits no longer depend on the picture where the layer's result is zero."""
    layers: Any = classifier.cam_layer
    hooks = [
        classifier.module.get_submodule(layer).register_forward_hook(
            lambda module, inputs, output: torch.zeros_like(output)
        )
        for layer in ([layers] if isinstance(layers, str) else layers)
    ]
    try:
        with torch.no_grad():
            return torch.equal(classifier.module(x), classifier.module(x.flip(0)))
    finally:
        for hook in hooks:
            hook.remove()


@pytest.mark.parametrize(
    "made",
    [
        pytest.param(lambda: small(0), id="one network"),
        pytest.param(MeanOfTwo, id="mean of two"),
        pytest.param(TwoBackbones, id="two backbones"),
        pytest.param(lambda: Residual(ConvNextBlock), id="ConvNeXt"),
        pytest.param(lambda: Residual(ConvMlpBlock), id="ConvNeXt, 1 x 1"),
        pytest.param(lambda: Residual(PoolFormerBlock), id="PoolFormer"),
        pytest.param(lambda: Residual(MaxVitBlock), id="MaxViT"),
    ],
)
def test_everything_flows_through_the_layer_of_the_cam_or_the_reason_says_so(
    made: Callable[[], nn.Module],
) -> None:
    classifier = wrap(settled(made()), size=SIDE)
    said = re.search("branch|several|not everything|flows past", classifier.cam_reason)
    assert said or all_flows_through(classifier, pictures())


# ---- what changes after wrap ----


def _stride(net: nn.Module) -> None:
    net.convolutions[1].stride = (2, 2)  # type: ignore[union-attr]


def _padding(net: nn.Module) -> None:
    net.convolutions[1].padding = (0, 0)  # type: ignore[union-attr]


def _eps(net: nn.Module) -> None:
    net.norms[1].eps = 1.0  # type: ignore[union-attr]


def _forward(net: nn.Module) -> None:
    def forward(self: Modules, x: Tensor) -> Tensor:
        return Modules.forward(self, 1 - x)

    net.forward = types.MethodType(forward, net)


def _forward_of_a_part(net: nn.Module) -> None:
    net.norms[1].forward = lambda x: 2 * x  # type: ignore[union-attr]


def _slope(net: nn.Module) -> None:
    net.act.negative_slope = 0.9


class Leaky(Modules):
    """With an activation that has a setting."""

    def __init__(self) -> None:
        super().__init__()
        self.act = nn.LeakyReLU(0.1)

    def forward(self, x: Tensor) -> Tensor:
        for i, norm in enumerate(self.norms):
            x = self.act(norm(self.convolve(i, x)))
        return self.classes(x.mean((2, 3)))


@pytest.mark.parametrize("change", [_stride, _padding, _forward, _forward_of_a_part, _slope, _eps])
def test_a_network_that_was_changed_is_explained_as_it_is_or_refused(
    change: Callable[[nn.Module], None],
) -> None:
    net, x = settled(Leaky()), pictures()
    classifier = wrap(net, size=SIDE)
    before = net(x)
    change(net)
    after = net(x)
    assert not torch.allclose(before, after, rtol=1e-3)
    try:
        found = explain(classifier, x, 1)
    except ValueError as error:
        assert "wrap" in str(error)  # noqa: PT017, the way out
        return
    torch.testing.assert_close(found.logits, after.detach(), rtol=1e-4, atol=1e-5)


FACTOR = 1.0  # of a file, read in a forward method


class Settings:
    def __init__(self) -> None:
        self.factor = 1.0


class Holding(nn.Module):
    """Reads a factor of each kind that Python and torch have, and one of each is told."""

    shared = 1.0

    def __init__(self) -> None:
        super().__init__()
        self.convolution, self.classes = nn.Conv2d(3, 4, 3), nn.Linear(4, 3)
        self.twin = nn.Conv2d(4, 4, 1)
        self.other = nn.Conv2d(4, 4, 1)
        self.other.weight = self.twin.weight
        self.register_buffer("lost", torch.ones(()), persistent=False)
        self.plain = torch.ones(())
        self.number, self.array, self.set = 1, np.ones(1), {1.0}
        self.tensors, self.list = [torch.ones(())], [nn.Conv2d(4, 4, 1).eval()]
        self.settings = Settings()

    def forward(self, x: Tensor) -> Tensor:
        x = self.other(self.twin(self.convolution(x))).relu()
        x = self.list[0](x) * self.lost * self.plain * self.number * self.tensors[0]
        x = x * float(self.array[0]) * max(self.set) * self.settings.factor
        return self.classes((x * self.shared * FACTOR).mean((2, 3)))


def _weight_in_a_list(net: Any) -> None:
    net.list[0].weight.data.mul_(2)


CHANGES: dict[str, Callable[[Any], None]] = {
    "a buffer that is not saved": lambda net: setattr(net, "lost", torch.tensor(2.0)),
    "the same, through another type": lambda net: net.double().float().lost.mul_(2),
    "a tensor": lambda net: setattr(net, "plain", torch.tensor(2.0)),
    "a tensor in place": lambda net: net.plain.mul_(2),
    "a tensor in a list": lambda net: net.tensors.__setitem__(0, torch.tensor(2.0)),
    "a tensor in a list, in place": lambda net: net.tensors[0].mul_(2),
    "a number's type": lambda net: setattr(net, "number", -0.0),
    "an array in place": lambda net: net.array.__setitem__(0, 2.0),
    "a set": lambda net: net.set.add(2.0),
    "an object's attribute": lambda net: setattr(net.settings, "factor", 2.0),
    "a weight in a list of modules": _weight_in_a_list,
    "tied weights": lambda net: setattr(
        net.other, "weight", nn.Parameter(net.twin.weight.detach().flip(0))
    ),
    "a hook in a list of modules": lambda net: net.list[0].register_forward_hook(
        lambda _, __, y: 2 * y
    ),
}


@pytest.mark.parametrize("name", [*CHANGES, "a class", "a file", "all modules"])
def test_what_a_network_holds_is_read_as_it_is(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    net, x = Holding().eval(), pictures()
    classifier = wrap(net, size=SIDE)
    before = classifier.predict(x)
    torch.testing.assert_close(before, net(x).detach())
    if name == "a class":
        monkeypatch.setattr(Holding, "shared", 2.0)
    elif name == "a file":
        monkeypatch.setattr(f"{__name__}.FACTOR", 2.0)
    elif name == "all modules":
        undo = nn.modules.module.register_module_forward_hook(
            lambda part, _, y: 2 * y if isinstance(part, nn.Linear) else None
        )
        monkeypatch.setattr(torch, "_undo", undo, raising=False)
    else:
        CHANGES[name](net)
    try:
        after = net(x).detach()
        assert not torch.allclose(before, after, rtol=1e-3)
        torch.testing.assert_close(explain(classifier, x, 1).logits, after, rtol=1e-4, atol=1e-5)
    finally:
        if name == "all modules":
            undo.remove()


def test_a_network_that_nobody_changes_is_captured_once() -> None:
    net, x = Holding().eval(), pictures()
    for part in (net.twin, net.list[0]):
        part.register_forward_hook(lambda _, __, y, factor=1.0: y * factor)
    classifier = wrap(net, size=SIDE)
    graph = classifier.graph
    for _ in range(20):
        classifier.predict(x)
        net(x)
        assert classifier.graph is graph


def test_names_of_parts_and_of_constants_do_not_meet() -> None:
    class Inner(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.full((), 5.0))

    class Outer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.module, self.scale = Inner(), torch.full((), 3.0)
            self.convolution, self.classes = nn.Conv2d(3, 4, 3), nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            x = self.convolution(x).relu() * self.scale + self.module.scale
            return self.classes(x.mean((2, 3)))

    net, x = Outer().eval(), pictures()
    torch.testing.assert_close(wrap(net, size=SIDE).predict(x), net(x).detach())


def _under_no_grad(x: Tensor) -> Tensor:
    y = x * 1
    with torch.no_grad():
        y[:, 1:].clamp_(max=0.2)
    return y


WRITES: dict[str, Callable[[Tensor], Tensor]] = {
    "under no_grad": _under_no_grad,
    "transposed in place": lambda x: (x * 1).transpose_(2, 3).transpose(2, 3) * 1,
    "copy_": lambda x: (x * 1).copy_(x.flip(2)),
    "addcmul_": lambda x: (x * 1).addcmul_(x, x.sigmoid(), value=0.5),
    "lerp_": lambda x: (x * 1).lerp_(x.flip(2), 0.3),
    "the picture itself": lambda x: x,
}


class Writing(nn.Module):
    def __init__(self, name: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.name, self.write = name, WRITES[name]
        self.convolution, self.classes = nn.Conv2d(3, 4, 3), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        if self.name == "the picture itself":
            x.sub_(0.5).div_(0.5)
        return self.classes(self.write(self.convolution(x)).relu().mean((2, 3)))


@pytest.mark.parametrize("name", WRITES)
def test_statements_in_place_do_what_they_do(name: str) -> None:
    net, x = Writing(name).eval(), pictures()
    kept = x.clone()
    found = explain(wrap(net, size=SIDE), x, 1, composite="epsilon")
    assert torch.equal(x, kept)
    torch.testing.assert_close(found.logits, net(kept.clone()).detach(), rtol=1e-4, atol=1e-5)
    assert float(found.conservation.residual.abs().max()) < 1e-5


def test_a_view_by_einsum_is_not_written_into() -> None:
    class Views(Writing):
        def forward(self, x: Tensor) -> Tensor:
            y = self.convolution(x)
            torch.einsum("nchw->nhwc", y).clamp_(max=0.2)
            return self.classes(y.relu().mean((2, 3)))

    net = Views("copy_").eval()
    classifier = wrap(net, size=SIDE)
    assert "einsum" in str(classifier.network.uncaptured)
    torch.testing.assert_close(classifier.predict(pictures()), net(pictures()).detach())


def test_no_gradient_flows_where_the_network_lets_none() -> None:
    class Detached(Writing):
        def forward(self, x: Tensor) -> Tensor:
            y = self.convolution(x).relu()
            with torch.no_grad():
                gate = y.mean((2, 3), keepdim=True)
            return self.classes((y * gate * y.amax((2, 3), keepdim=True).detach()).mean((2, 3)))

    net, x = Detached("copy_").eval(), pictures()
    classifier = wrap(net, size=SIDE, cam_layer="relu")
    y = net.convolution(x).relu().detach().requires_grad_()
    gate = y.detach().mean((2, 3), keepdim=True) * y.detach().amax((2, 3), keepdim=True)
    (g,) = torch.autograd.grad(net.classes((y * gate).mean((2, 3)))[:, 1].sum(), y)
    expected = to_image(grad_cam(y.detach(), g), tuple(x.shape[2:]))
    assert expected.any()
    torch.testing.assert_close(explain(classifier, x, 1, cam="grad_cam").cam, expected)


def test_changed_weights_and_statistics_are_read_anew() -> None:
    net, x = settled(Modules()), pictures()
    classifier = wrap(net, size=SIDE)
    with torch.no_grad():
        net.convolutions[1].weight.mul_(1.5)
        net.norms[2].running_mean.add_(0.5)
    torch.testing.assert_close(explain(classifier, x, 1).logits, net(x).detach())


# ---- the right result, or the true reason ----


class InPlace(Modules):
    """The result of the operation in place is not used, the tensor that it changed is."""

    def forward(self, x: Tensor) -> Tensor:
        for i, norm in enumerate(self.norms):
            x = norm(self.convolve(i, x))
            x.relu_()
        return self.classes(x.mean((2, 3)))


class Assigned(Modules):
    def forward(self, x: Tensor) -> Tensor:
        for i, norm in enumerate(self.norms):
            x = norm(self.convolve(i, x)).relu_()
        return self.classes(x.mean((2, 3)))


class Autocast(Modules):
    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            y = super().forward(x)
        return y.float()


class Extracted(nn.Module):
    """A backbone that torchvision has cut out."""

    def __init__(self) -> None:
        from torchvision.models.feature_extraction import create_feature_extractor

        super().__init__()
        whole = Modules()
        self.features = create_feature_extractor(settled(whole), {"relu_2": "map"})
        self.classes = whole.classes

    def forward(self, x: Tensor) -> Tensor:
        return self.classes(self.features(x)["map"].mean((2, 3)))


def pruned() -> nn.Module:
    net = Modules()
    for part in net.convolutions:
        prune.random_unstructured(part, "weight", amount=0.0)  # a mask of ones: the same network
    return net


def normed() -> nn.Module:
    net = Modules()
    for part in net.convolutions:
        with pytest.warns(FutureWarning, match="weight_norm"):
            nn.utils.weight_norm(part)
    return net


class WithIdentity(Modules):
    def __init__(self) -> None:
        super().__init__()
        self.nothing = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(self.nothing(x))

    def eval(self) -> WithIdentity:
        super().eval()
        self.nothing.training = True
        return self


CASES: dict[str, Callable[[], nn.Module]] = {
    "in place": InPlace,
    "in place, assigned": Assigned,
    "feature extractor": Extracted,
    "pruned": pruned,
    "weight norm": normed,
    "identity in train mode": WithIdentity,
}


@pytest.mark.parametrize("case", CASES)
def test_the_same_network_has_the_same_map(case: str) -> None:
    x, usual, other = pictures(), settled(Modules()), settled(CASES[case]())
    torch.testing.assert_close(other(x), usual(x), rtol=1e-4, atol=1e-5)
    maps = [relevance(wrap(net, size=SIDE), x, 1).map for net in (usual, other)]
    assert cosine(*maps) > 0.9999


def test_autocast_within_a_network_is_refused() -> None:
    with pytest.raises(ValueError, match="autocast"):
        relevance(wrap(settled(Autocast()), size=SIDE), pictures(), 1)


class Encoder(nn.Module):
    """torch's own transformer on patches."""

    def __init__(self, first: bool) -> None:
        super().__init__()
        torch.manual_seed(8)
        self.patches = nn.Conv2d(3, 8, 4, stride=4)
        layer = nn.TransformerEncoderLayer(8, 2, 16, 0.0, batch_first=True, norm_first=first)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.classes = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.classes(self.encoder(self.patches(x).flatten(2).transpose(1, 2)).mean(1))


@pytest.mark.parametrize("first", [False, True])
def test_a_transformer_encoder_of_torch_is_explained(first: bool) -> None:
    net, x = Encoder(first).eval(), pictures()
    classifier = wrap(net, size=SIDE)
    found = relevance(classifier, x, 1, "attnlrp")
    torch.testing.assert_close(classifier.predict(x), net(x).detach(), rtol=1e-4, atol=1e-5)
    assert float((found.ledger.residual / found.ledger.start).abs().max()) < 1e-3
