"""What each operation hands down, against the gradient of the same network written for it.

Where a network is linear around a picture, LRP-z on every layer is picture times gradient. What is
not linear is written anew for the second source with what counts as a constant detached: gates,
standard deviations, the slope of an activation, half of each product of two results.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xaiutils.hybrid import relevance
from xaiutils.lrp import unweighted
from xaiutils.network.classifier import Classifier, wrap
from xaiutils.network.step import GraphError

SIDE = 8
CHANNELS = 4
Function = Callable[[Tensor], Tensor]


@pytest.fixture(autouse=True)
def exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sums and products divide without the stabiliser that float32 needs."""
    monkeypatch.setattr(unweighted, "STABILISER", 0.0)


def noise(*shape: int, seed: int = 7) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


class Around(nn.Module):
    """A convolution and a ReLU, the operation in question, a convolution where it fits, a head."""

    def __init__(self, function: Function | nn.Module) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.before = nn.Conv2d(3, CHANNELS, 3, padding=1).double()
            self.function = function
            shape = self.middle(torch.zeros(1, 3, SIDE, SIDE, dtype=torch.float64)).shape
            self.between = nn.Conv2d(shape[1], 5, 1) if len(shape) == 4 else nn.Identity()
            self.after = nn.Linear((5 if len(shape) == 4 else shape[1]) * shape[2:].numel(), 3)
            self.double().eval()

    def middle(self, x: Tensor) -> Tensor:
        return self.function(self.before(x).relu())

    def forward(self, x: Tensor) -> Tensor:
        return self.after(self.between(self.middle(x)).flatten(1))


# ---- what the second source is written with ----


def constant(x: Tensor) -> Tensor:
    return x.detach()


def passed_on(activation: Function) -> Function:
    """An activation whose slope through the origin counts as a constant."""
    return lambda x: x * constant(activation(x) / x.where(x != 0, 1e-30))


def half(product: Callable[[Tensor, Tensor], Tensor], a: Tensor, b: Tensor) -> Tensor:
    """A product of two results that hands half of the relevance to each."""
    return (product(a, constant(b)) + product(constant(a), b)) / 2


def half_matmul(a: Tensor, b: Tensor) -> Tensor:
    return half(torch.matmul, a, b)


def shares_of_sum(x: Tensor) -> Tensor:
    return x / x.sum(1, keepdim=True)


def slice_of(x: Tensor) -> Tensor:
    """Every picture, as an index beside others."""
    return torch.ones_like(x[:, 0, 0, 0], dtype=torch.int64).cumsum(0)[:, None] - 1


def without_gradient(x: Tensor) -> Tensor:
    with torch.no_grad():
        y = 1 + x.mean(1, keepdim=True).expand_as(x)
    return x * y


# ---- modules ----


class Rewritten(nn.Module):
    """A write into a view, then a batch norm whose result is scaled."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(CHANNELS)
        nn.init.uniform_(self.norm.weight, 0.5, 1.5)
        nn.init.normal_(self.norm.bias, std=0.2)
        self.norm.running_var.fill_(0.3)

    def forward(self, x: Tensor) -> Tensor:
        y = x * 1
        y[:, 2:] *= 2
        return self.norm(y) * 0.5


class Kept(nn.Module):
    """A function with a module or weights of its own."""

    def __init__(self, function: Callable[..., Tensor], *parts: nn.Module | Tensor) -> None:
        super().__init__()
        self.function = function
        self.modules_ = nn.ModuleList(p for p in parts if isinstance(p, nn.Module)).double()
        self.weights = nn.ParameterList(p for p in parts if isinstance(p, Tensor))

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x, *self.modules_, *self.weights)


def seeded(build: Callable[[], nn.Module]) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return build().double().eval()


def line(x: Tensor) -> Tensor:
    """(N, C, L)."""
    return x.flatten(2)


def volume(x: Tensor) -> Tensor:
    """(N, 2, D, H, W)."""
    return x.unflatten(1, (2, -1))


class Gated(nn.Module):
    """Squeeze and excite; ``squeeze``, ``gate`` and ``multiply`` are how people write it."""

    def __init__(
        self,
        squeeze: Function,
        gate: Function = torch.sigmoid,
        multiply: Callable[[Tensor, Tensor], Tensor] = torch.mul,
    ) -> None:
        super().__init__()
        self.squeeze, self.gate, self.multiply = squeeze, gate, multiply
        self.narrow, self.wide = (seeded(lambda s=s: nn.Conv2d(*s, 1)) for s in ((4, 2), (2, 4)))
        self.plain = False

    def forward(self, x: Tensor) -> Tensor:
        gate = self.gate(self.wide(self.narrow(self.squeeze(x)).relu()))
        return x * constant(gate) if self.plain else self.multiply(x, gate)


class InLine(nn.Module):
    """The same with linear layers and views."""

    def __init__(self, efficient: bool = False) -> None:
        super().__init__()
        self.efficient = efficient  # a convolution along the channels
        self.linear = seeded(lambda: nn.Linear(4, 4))
        self.along = seeded(lambda: nn.Conv1d(1, 1, 3, padding=1))
        self.plain = False

    def forward(self, x: Tensor) -> Tensor:
        n, c = x.size(0), x.size(1)
        mean = F.adaptive_avg_pool2d(x, 1).view(n, c)
        gate = self.along(mean[:, None])[:, 0] if self.efficient else self.linear(mean)
        gate = gate.sigmoid().view(n, c, 1, 1)
        return x * constant(gate) if self.plain else x * gate.expand_as(x)


class Standardised(nn.Conv2d):
    """Weight standardisation: the weight less its mean, divided by its deviation."""

    def standard(self) -> Tensor:
        spread, mean = torch.var_mean(self.weight, dim=(1, 2, 3), keepdim=True, correction=0)
        return (self.weight - mean) * torch.rsqrt(spread + 1e-5)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.standard(), self.bias, padding=1)


class Normed(nn.Module):
    """A weight standardised by batch norm's function, as in many libraries."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=1)
        self.gain = nn.Parameter(torch.full((4, 1, 1, 1), 0.7))

    def forward(self, x: Tensor) -> Tensor:
        w = self.conv.weight
        w = F.batch_norm(
            w.reshape(1, 4, -1), None, None, weight=self.gain.view(-1), training=True, momentum=0.0
        ).reshape_as(w)
        return F.conv2d(x, w, self.conv.bias, padding=1)


class GeM(nn.Module):
    """Generalised mean pooling."""

    def __init__(self) -> None:
        super().__init__()
        self.p = nn.Parameter(torch.tensor([3.0]))

    def forward(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(x.clamp(min=1e-6).pow(self.p), (4, 4)).pow(1.0 / self.p)


class Cosine(nn.Module):
    """A cosine head: features and weights of length 1."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(noise(6, 4))
        self.plain = False

    def forward(self, x: Tensor) -> Tensor:
        x = x.mean((2, 3)) - 0.3
        if self.plain:
            x = x / constant(x.norm(dim=1, keepdim=True).clamp(min=1e-12))
        else:
            x = F.normalize(x, dim=1)
        return 5 * F.linear(x, F.normalize(self.weight, dim=1))


class LayerScale(nn.Module):
    """A residual branch whose channels are scaled."""

    def __init__(self) -> None:
        super().__init__()
        self.branch, self.gamma = nn.Conv2d(4, 4, 1), nn.Parameter(noise(4) / 3)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.branch(x) * self.gamma.reshape(1, -1, 1, 1)


class Windows(nn.Module):
    """Attention within shifted windows of 4 × 4, a table of positions, and a mask."""

    def __init__(self, cosine: bool = False) -> None:
        super().__init__()
        self.qkv, self.proj = nn.Linear(4, 12), nn.Linear(4, 4)
        self.table = nn.Parameter(noise(49, 2) / 2)
        axis = torch.arange(4)
        grid = torch.stack(torch.meshgrid(axis, axis, indexing="ij")).flatten(1)
        apart = grid[:, :, None] - grid[:, None] + 3
        self.register_buffer("index", apart[0] * 7 + apart[1])
        region = torch.zeros(8, 8)
        region[6:], region[:, 6:] = 1, region[:, 6:] + 2
        flat = self.windows(region[None, :, :, None]).squeeze(-1)
        self.register_buffer("mask", (flat[:, None] != flat[:, :, None]) * -100.0)
        self.cosine, self.plain = cosine, False

    @staticmethod
    def windows(x: Tensor) -> Tensor:
        """(N, 8, 8, C) to (N 4, 16, C)."""
        c = x.shape[3]
        return x.view(-1, 2, 4, 2, 4, c).permute(0, 1, 3, 2, 4, 5).reshape(-1, 16, c)

    def forward(self, x: Tensor) -> Tensor:
        product = half_matmul if self.plain else torch.matmul
        x = torch.roll(x.permute(0, 2, 3, 1), shifts=(-2, -2), dims=(1, 2))
        w = self.windows(x)
        q, k, v = self.qkv(w).reshape(-1, 16, 3, 2, 2).permute(2, 0, 3, 1, 4).unbind(0)
        if self.cosine and self.plain:
            q, k = (t / constant(t.norm(dim=-1, keepdim=True)) for t in (q, k))
        elif self.cosine:
            q, k = F.normalize(q, dim=-1), F.normalize(k, dim=-1)
        a = product(q * 2**-0.5, k.transpose(-2, -1))
        bias = self.table[self.index.view(-1)].view(16, 16, 2).permute(2, 0, 1)
        a = a + bias.unsqueeze(0)
        a = a.view(-1, 4, 2, 16, 16) + self.mask[None, :, None]
        a = a.view(-1, 2, 16, 16).softmax(dim=-1)
        out = self.proj(product(a, v).transpose(1, 2).reshape(-1, 16, 4))
        out = out.view(-1, 2, 2, 4, 4, 4).permute(0, 1, 3, 2, 4, 5).reshape(-1, 8, 8, 4)
        return torch.roll(out, shifts=(2, 2), dims=(1, 2)).permute(0, 3, 1, 2)


class Heads(nn.Module):
    """Attention as PyTorch's own function computes it, without a window."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(4, 12)
        self.plain = False

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x.flatten(2).mT).unflatten(-1, (3, 2, 2)).permute(2, 0, 3, 1, 4)
        if self.plain:
            out = half_matmul(half_matmul(q, k.mT).mul(2**-0.5).softmax(-1), v)
        else:
            out = F.scaled_dot_product_attention(q, k, v)
        return out.transpose(1, 2).flatten(2).mT.unflatten(2, (8, 8))


class Norm(nn.Module):
    """A norm over channels, whose deviation counts as a constant."""

    def __init__(self, norm: nn.Module, root_mean_square: bool = False) -> None:
        super().__init__()
        self.norm, self.rms, self.plain = norm, root_mean_square, False
        nn.init.uniform_(norm.weight, 0.5, 1.5)

    def forward(self, x: Tensor) -> Tensor:
        x = x.permute(0, 2, 3, 1)
        if not self.plain:
            return self.norm(x).permute(0, 3, 1, 2)
        centred = x if self.rms else x - x.mean(-1, keepdim=True)
        eps = torch.finfo(x.dtype).eps if self.norm.eps is None else self.norm.eps
        spread = constant((centred.square().mean(-1, keepdim=True) + eps).sqrt())
        y = centred / spread * self.norm.weight
        y = y if self.rms else y + self.norm.bias
        return y.permute(0, 3, 1, 2)


class Vectors(nn.Module):
    """Batch norm of tokens, each a vector of its own (N 64, C), or of one vector per picture."""

    def __init__(self, tokens: bool) -> None:
        super().__init__()
        self.norm, self.tokens = nn.BatchNorm1d(4), tokens
        for value in (self.norm.weight, self.norm.bias, self.norm.running_mean):
            nn.init.uniform_(value, -0.5, 1.5)

    def forward(self, x: Tensor) -> Tensor:
        if not self.tokens:
            return self.norm(x.mean((2, 3)))
        x = x.flatten(2).transpose(1, 2)
        return self.norm(x.flatten(0, 1)).reshape_as(x)


class WrittenNorm(nn.Module):
    """A root-mean-square norm in a few operations, as people write it."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.plain = nn.Parameter(noise(1, 4, 1, 1).abs() + 0.5), False

    def forward(self, x: Tensor) -> Tensor:
        x = x - 0.2
        scale = torch.rsqrt(x.pow(2).mean(1, keepdim=True) + 1e-6)
        return x * (constant(scale) if self.plain else scale) * self.weight


@dataclass(frozen=True)
class Case:
    """An operation, and the second source's version of it: by default the same."""

    function: Callable[[], Function | nn.Module]
    plain: Callable[[], Function | nn.Module] | None = None


def f(function: Function, plain: Function | None = None) -> Case:
    return Case(lambda: function, None if plain is None else lambda: plain)


def m(build: Callable[[], nn.Module], before: Function | None = None) -> Case:
    """A module, fed with what ``before`` makes of the map; with ``plain`` if it has one."""

    def made(plain: bool) -> nn.Module:
        module = seeded(build)
        if hasattr(module, "plain"):
            module.plain = plain
        return module if before is None else Kept(lambda x, part: part(before(x)), module)

    return Case(lambda: made(False), lambda: made(True))


MASK = torch.arange(64).reshape(8, 8) % 3 == 0
MIXING = noise(4, 6)
GATE = noise(1, 4, 1, 1)


def squeezed(x: Tensor) -> Tensor:
    return x.mean((2, 3), keepdim=True)


def of_two(gate: Tensor) -> Tensor:
    return gate.view(-1, 2, 2, 1, 1).softmax(1).flatten(1, 2)


def addition(x: Tensor) -> Tensor:
    return x.mean(1, keepdim=True).expand_as(x) + x.flip(1)


CASES: dict[str, Case] = {
    # ---- handed on ----
    "expand_as": f(addition),
    "to and float": f(lambda x: x.to(torch.float32).double().type_as(x)),
    "flip": f(lambda x: x.flip((1, 3))),
    "roll": f(lambda x: torch.roll(x, (1, -2), (2, 3))),
    "index_select": f(lambda x: x.index_select(1, torch.tensor([2, 0, 0]))),
    "index": f(lambda x: x[:, [3, 1]]),
    "slices": f(lambda x: torch.cat([x[..., 0::2, :], x[..., 1::2, :]], 1)),
    "gather": f(
        lambda x: x.gather(1, torch.tensor([1, 1, 2]).view(1, 3, 1, 1).expand(x.shape[0], 3, 8, 8))
    ),
    "masked_fill": f(lambda x: x.masked_fill(MASK, 0.0)),
    "masked_fill, a value": f(lambda x: x.masked_fill(MASK, -0.5)),
    "where": f(lambda x: torch.where(MASK, x, x.flip(3))),
    "repeat": f(lambda x: x.repeat(1, 2, 1, 1)),
    "repeat_interleave": f(lambda x: x.repeat_interleave(2, dim=1)),
    "stack": f(lambda x: torch.stack([x, 2 * x.flip(1)], 2).flatten(1, 2)),
    "chunk and shuffle": f(
        lambda x: (
            torch.cat(x.chunk(2, 1)[::-1], 1)
            .view(-1, 2, 2, 8, 8)
            .transpose(1, 2)
            .reshape(-1, 4, 8, 8)
        )
    ),
    "pixel_shuffle": f(lambda x: F.pixel_shuffle(x, 2)),
    "pixel_unshuffle": f(lambda x: F.pixel_unshuffle(x, 2)),
    "unfold": f(lambda x: F.unfold(x, 3, stride=2)),
    "fold": f(lambda x: F.fold(F.unfold(x, 3, stride=2, padding=1), 8, 3, stride=2, padding=1)),
    "pad": f(lambda x: F.pad(x, (1, 2, 0, 1))),
    "pad, a value": f(lambda x: F.pad(x, (1, 1, 1, 1), value=-0.7)),
    "pad, cropped": f(lambda x: F.pad(x, (-1, 0, 2, 0))),
    "pad, reflected": f(lambda x: F.pad(x, (1, 2, 1, 1), mode="reflect")),
    "pad, replicated": f(lambda x: F.pad(x, (1, 2, 1, 1), mode="replicate")),
    "pad, circular": f(lambda x: F.pad(x, (1, 2, 1, 1), mode="circular")),
    # ---- to the winner ----
    "max": f(lambda x: x.max(1, keepdim=True).values),
    "max, of all": f(lambda x: x.flatten(2).max(-1)[0]),
    "amax": f(lambda x: x.amax((2, 3))),
    "maximum": f(lambda x: torch.maximum(x - 0.3, 0.5 * x.flip(3))),
    "minimum": f(lambda x: torch.minimum(x - 0.3, 0.5 * x.flip(3))),
    "max_pool1d": f(lambda x: F.max_pool1d(line(x), 3, 2)),
    "max_pool2d": f(lambda x: F.max_pool2d(x, 3, 2, 1)),
    "max_pool3d": f(lambda x: F.max_pool3d(volume(x), 2)),
    "adaptive_max_pool1d": f(lambda x: F.adaptive_max_pool1d(line(x), 5)),
    "adaptive_max_pool2d": f(lambda x: F.adaptive_max_pool2d(x, 3)),
    "adaptive_max_pool3d": f(lambda x: F.adaptive_max_pool3d(volume(x), (1, 3, 3))),
    # ---- in proportion ----
    "mean": f(lambda x: x.mean((-2, -1))),
    "sum": f(lambda x: x.sum(1)),
    "avg_pool1d": f(lambda x: F.avg_pool1d(line(x), 4, 2)),
    "avg_pool2d": f(lambda x: F.avg_pool2d(x, 3, 2, 1, ceil_mode=True, count_include_pad=False)),
    "avg_pool3d": f(lambda x: F.avg_pool3d(volume(x), 2)),
    "adaptive_avg_pool1d": f(lambda x: F.adaptive_avg_pool1d(line(x), 5)),
    "adaptive_avg_pool2d": f(lambda x: F.adaptive_avg_pool2d(x, 3)),
    "adaptive_avg_pool3d": f(lambda x: F.adaptive_avg_pool3d(volume(x), (1, 3, 3))),
    "upsampling, nearest": f(lambda x: F.interpolate(x, scale_factor=2)),
    "upsampling, nearest-exact": f(lambda x: F.interpolate(x, 11, mode="nearest-exact")),
    "upsampling, linear": f(lambda x: F.interpolate(line(x), 100, mode="linear")),
    "upsampling, bilinear": f(lambda x: F.interpolate(x, 11, mode="bilinear")),
    "upsampling, aligned": f(
        lambda x: F.interpolate(x, size=(13, 5), mode="bilinear", align_corners=True)
    ),
    "upsampling, antialiased": f(lambda x: F.interpolate(x, 5, mode="bilinear", antialias=True)),
    "upsampling, bicubic": f(lambda x: F.interpolate(x, 11, mode="bicubic")),
    "upsampling, trilinear": f(lambda x: F.interpolate(volume(x), 5, mode="trilinear")),
    "GeM": m(GeM),
    "addcmul": Case(lambda: Kept(lambda x, w: torch.addcmul(x.flip(1), x, w, value=0.5), GATE)),
    "lerp": f(lambda x: torch.lerp(x, x.flip(3), 0.3)),
    "sub and neg": f(lambda x: -(x - 2 * x.flip(1)) / 3),
    "rsub": f(lambda x: 1 - x),
    "LayerScale": m(LayerScale),
    "maximum, a parameter": Case(lambda: Kept(torch.maximum, GATE)),
    "minimum, a parameter": Case(lambda: Kept(torch.minimum, GATE)),
    "index_put, accumulated": f(
        lambda x: x.index_put(
            (slice_of(x), torch.tensor([0, 1]), torch.tensor([2, 2])), x[:, 2:, 1], accumulate=True
        )
    ),
    "avg_pool, a negative divisor": f(lambda x: F.avg_pool2d(x, 2, divisor_override=-3)),
    "softplus turned over": f(
        lambda x: F.softplus(x - 0.4, beta=-1.0),
        lambda x: passed_on(lambda y: F.softplus(y, beta=-1.0))(x - 0.4),
    ),
    "batch norm behind a write into a view": m(Rewritten),
    "a part without gradient": f(
        without_gradient, lambda x: half(torch.mul, x, 1 + x.mean(1, keepdim=True).expand_as(x))
    ),
    "a full map times a full gate of one channel": f(
        lambda x: x.sum(1, keepdim=True) * (x - 0.3).sigmoid(),
        lambda x: x.sum(1, keepdim=True) * constant((x - 0.3).sigmoid()),
    ),
    # ---- with weights ----
    "conv1d": m(lambda: nn.Conv1d(4, 3, 5, stride=2, groups=1), line),
    "conv3d": m(lambda: nn.Conv3d(2, 3, (2, 3, 3)), volume),
    "conv_transpose1d": m(lambda: nn.ConvTranspose1d(4, 3, 3, 2), line),
    "conv_transpose2d": m(lambda: nn.ConvTranspose2d(4, 6, 3, 2, 1, 1, groups=2)),
    "conv_transpose3d": m(lambda: nn.ConvTranspose3d(2, 3, 2, 2), volume),
    "conv2d, padded same": m(lambda: nn.Conv2d(4, 4, 3, padding="same", padding_mode="reflect")),
    "weight standardisation": m(lambda: Standardised(4, 4, 3)),
    "weight standardisation, by batch norm": m(Normed),
    "weight norm": m(lambda: nn.utils.parametrizations.weight_norm(nn.Conv2d(4, 4, 3))),
    "einsum, a weight": Case(
        lambda: Kept(lambda x, w: torch.einsum("nchw,cd->ndhw", x, w), MIXING)
    ),
    "matmul, a weight": Case(
        lambda: Kept(lambda x, w: (x.permute(0, 2, 3, 1) @ w).permute(0, 3, 1, 2), MIXING)
    ),
    "einsum, two results": f(
        lambda x: torch.einsum("nchw,ndhw->ncd", x, 1 + x.flip(2)),
        lambda x: half(lambda a, b: torch.einsum("nchw,ndhw->ncd", a, b), x, 1 + x.flip(2)),
    ),
    "batch norm of vectors": m(lambda: Vectors(False)),
    "batch norm of tokens": m(lambda: Vectors(True)),
    # ---- activations ----
    "softplus": f(lambda x: F.softplus(x - 0.4), lambda x: passed_on(F.softplus)(x - 0.4)),
    "silu": f(lambda x: F.silu(x - 0.4), lambda x: passed_on(F.silu)(x - 0.4)),
    "x sigmoid(x)": f(
        lambda x: (x - 0.4) * torch.sigmoid(x - 0.4), lambda x: passed_on(F.silu)(x - 0.4)
    ),
    "x tanh(softplus(x))": f(
        lambda x: (x - 0.4) * torch.tanh(F.softplus(x - 0.4)),
        lambda x: passed_on(F.mish)(x - 0.4),
    ),
    "hardswish, written out": f(
        lambda x: (x - 0.4) * F.relu6(x - 0.4 + 3) / 6,
        lambda x: passed_on(F.hardswish)(x - 0.4),
    ),
    "gelu, tanh": f(
        lambda x: F.gelu(x - 0.4, approximate="tanh"),
        lambda x: passed_on(lambda y: F.gelu(y, approximate="tanh"))(x - 0.4),
    ),
    "sigmoid, no gate": f(
        lambda x: torch.sigmoid(x - 0.4) + x, lambda x: passed_on(torch.sigmoid)(x - 0.4) + x
    ),
    "clamp": f(lambda x: x.clamp(0, 0.5), passed_on(lambda x: x.clamp(0, 0.5))),
    # ---- norms ----
    "layer norm": m(lambda: Norm(nn.LayerNorm(4))),
    "rms norm": m(lambda: Norm(nn.RMSNorm(4), True)),
    "rms norm, written out": m(WrittenNorm),
    "normalize": f(
        lambda x: F.normalize(x, dim=1),
        lambda x: x / constant(x.norm(dim=1, keepdim=True).clamp(min=1e-12)),
    ),
    "shares of a sum": f(
        lambda x: shares_of_sum(x - 0.4),
        lambda x: (x - 0.4) / constant((x - 0.4).sum(1, keepdim=True)),
    ),
    "cosine head": m(Cosine),
    # ---- gates ----
    "glu": f(
        lambda x: F.glu(x - 0.2, 1),
        lambda x: (x[:, :2] - 0.2) * constant((x[:, 2:] - 0.2).sigmoid()),
    ),
    "squeeze: mean": m(lambda: Gated(squeezed)),
    "squeeze: pool": m(lambda: Gated(lambda x: F.adaptive_avg_pool2d(x, 1))),
    "squeeze: views": m(InLine),
    "squeeze: along channels": m(lambda: InLine(True)),
    "squeeze: gate first": m(lambda: Gated(squeezed, multiply=lambda x, g: g * x)),
    "squeeze: in place": m(lambda: Gated(squeezed, multiply=lambda x, g: x.clone().mul_(g))),
    "squeeze: hard sigmoid": m(lambda: Gated(squeezed, F.hardsigmoid)),
    "squeeze: relu6": m(lambda: Gated(squeezed, lambda g: F.relu6(g + 3) / 6)),
    "squeeze: hardtanh": m(lambda: Gated(squeezed, lambda g: F.hardtanh(g + 0.5, 0, 1))),
    "squeeze: 1 + tanh": m(lambda: Gated(squeezed, lambda g: 1 + g.tanh())),
    "squeeze: softmax of two": m(lambda: Gated(squeezed, of_two)),
    "a map as gate": f(
        lambda x: x * torch.sigmoid(x.mean(1, keepdim=True) - 0.3),
        lambda x: x * constant(torch.sigmoid(x.mean(1, keepdim=True) - 0.3)),
    ),
    # ---- attention ----
    "attention": m(Heads),
    "windowed attention": m(Windows),
    "windowed cosine attention": m(lambda: Windows(True)),
}


def classifier_of(case: Case) -> Classifier:
    return wrap(Around(case.function()), size=SIDE, outputs="value", cam_layer="before")


def by_gradient(case: Case, x: Tensor, target: int) -> Tensor:
    net = Around((case.plain or case.function)())
    x = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(net(x)[:, target].sum(), x)
    return (x * gradient).detach()


@pytest.mark.parametrize("name", CASES)
def test_relevance_is_picture_times_gradient_of_the_network_written_for_it(name: str) -> None:
    case, x = CASES[name], noise(2, 3, SIDE, SIDE)
    classifier = classifier_of(case)
    found = relevance(classifier, x, 1, "z")
    expected = by_gradient(case, x, 1)
    scale = float(expected.abs().max())
    assert scale > 0
    assert float((found.map - expected).abs().max()) <= 1e-6 * scale
    limit = 1e-5 if name == "to and float" else 1e-9  # rounding of the cast
    for ledger in (found.ledger, relevance(classifier, x, 1, "paper").ledger):
        assert float((ledger.residual / ledger.start).abs().max()) <= limit
    graph = classifier.graph
    for step in graph.steps:  # rules leave out what a sign rules out
        value = graph.value_at(step, x) if step.nonnegative and step.varying else None
        if isinstance(value, Tensor):
            assert float(value.min()) >= 0, step


def test_a_standardised_weight_has_the_rules_of_a_plain_one() -> None:
    standard, x = seeded(lambda: Standardised(4, 4, 3)), noise(2, 3, SIDE, SIDE)
    plain = nn.Conv2d(4, 4, 3, padding=1).double()
    with torch.no_grad():
        plain.weight.copy_(standard.standard())
        plain.bias.copy_(standard.bias)
    maps = [
        relevance(
            wrap(Around(part), size=SIDE, outputs="value", cam_layer="before"), x, 1, rule
        ).map
        for part in (standard, plain)
        for rule in ("epsilon_plus", "epsilon_alpha2_beta1")
    ]
    torch.testing.assert_close(maps[0], maps[2])
    torch.testing.assert_close(maps[1], maps[3])


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(8, 4, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.lstm(x.mean(1))[0]


def test_a_recurrent_layer_is_refused_by_name() -> None:
    classifier = classifier_of(Case(lambda: seeded(Recurrent)))
    with pytest.raises(GraphError, match=r"(?i)lstm"):
        relevance(classifier, noise(2, 3, SIDE, SIDE), 1, "z")
