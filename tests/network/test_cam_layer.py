"""Which layer a CAM reads, how its result is read as maps, and the mean over several layers."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
import pytorch_grad_cam
import torch
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import Tensor, nn

from xaiutils.hybrid import class_activation_map, explain, relevance
from xaiutils.methods.layerwise import explain_layers
from xaiutils.network.cam_layer import blocks, bottlenecks, reading
from xaiutils.network.classifier import Classifier, wrap
from xaiutils.network.kinds import CONSTANT
from xaiutils.support import asking


def pictures(n: int, *side: int) -> Tensor:
    return torch.randn((n, 3, *side), generator=torch.Generator().manual_seed(5))


# ---- rows and columns are found in any layout ----


def with_class_token(tokens: Tensor) -> Tensor:
    first = torch.ones(1, 1, tokens.shape[2]).expand(tokens.shape[0], -1, -1)
    return torch.cat((first, tokens), 1)


LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "maps": lambda maps: maps,
    "channels_last": lambda maps: maps.permute(0, 2, 3, 1),
    "transposed_twice": lambda maps: maps.transpose(1, 2).transpose(2, 3),
    "tokens": lambda maps: maps.flatten(2).transpose(1, 2),
    "tokens_of_channels_last": lambda maps: maps.permute(0, 2, 3, 1).flatten(1, 2),
    "channels_and_tokens": lambda maps: maps.flatten(2),
    "tokens_first": lambda maps: maps.flatten(2).permute(2, 0, 1),
    "channels_first": lambda maps: maps.permute(1, 0, 2, 3),
    "class_token": lambda maps: with_class_token(maps.flatten(2).mT),
    "two_class_tokens": lambda maps: with_class_token(with_class_token(maps.flatten(2).mT)),
    "class_token_cut": lambda maps: with_class_token(maps.flatten(2).mT)[:, 1:],
    "class_token_last": lambda maps: torch.cat((maps.flatten(2).mT, maps.flatten(2).mT[:, :1]), 1),
    "there_and_back": lambda maps: maps.flatten(2).mT.mT.unflatten(2, (4, 6)),
    "one_channel_apart": lambda maps: torch.cat((maps[:, 0].unsqueeze(1), maps[:, 1:]), 1),
    "past_something_unknown": lambda maps: maps + maps.flatten(1).cumsum(1).view(maps.shape) * 0,
}
SIDE = (8, 12)  # 4 x 6 positions; and 24 = 4 * 6 channels, which could be taken for positions


class Laid(nn.Module):
    """The same maps in every layout, each weighed by the same weights: two outputs."""

    def __init__(self, width: int) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.patches = nn.Conv2d(3, width, 2, stride=2)
        weights = torch.randn(2, 1, width, 4, 6)
        self.at = nn.ModuleDict({name: nn.LeakyReLU(1.0) for name in LAYOUTS})  # as they are
        for name, layout in LAYOUTS.items():
            self.register_buffer(name, torch.stack([layout(w) for w in weights]))
            laid = layout(torch.zeros(7, width, 4, 6))
            assert laid.shape.count(7) == 1
            self.at[name].batch = laid.shape.index(7)

    def forward(self, x: Tensor) -> Tensor:
        maps, sums = self.patches(x), []
        for name, layout in LAYOUTS.items():
            at = self.at[name]
            values = at(layout(maps))
            weighed = (values * weights for weights in getattr(self, name))
            sums += [value.transpose(0, at.batch).flatten(1).sum(1) for value in weighed]
        return torch.stack((sum(sums[::2]), sum(sums[1::2])), 1)


@cache
def laid(width: int) -> Classifier:
    return wrap(Laid(width).eval(), size=SIDE, cam_layer="at.maps")


@pytest.mark.parametrize("width", [5, 24])
def test_a_layer_is_read_as_the_maps_that_it_was(width: int) -> None:
    classifier, x = laid(width), pictures(3, *SIDE)
    expected = classifier.module.patches(x)
    for name in LAYOUTS:
        step = classifier.graph.find(f"at.{name}")
        found = reading(classifier.graph, step).as_maps(classifier.graph.value_at(step, x))
        assert torch.equal(found, expected), name


@pytest.mark.parametrize("cam", ["grad_cam", "layer_cam"])
def test_the_cam_is_the_same_in_every_layout(cam: str) -> None:
    classifier, x = laid(24), pictures(3, *SIDE)
    expected = class_activation_map(classifier, x, 1, cam=cam)
    assert expected.max() == 1
    for name in LAYOUTS:
        if name != "class_token_last":  # there the gradient of the first position has two parts
            found = class_activation_map(classifier, x, 1, cam=cam, cam_layer=f"at.{name}")
            torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6, msg=name)


@pytest.mark.parametrize("layer", ["classes", "flat"])
def test_what_has_no_positions_is_no_cam_layer(layer: str) -> None:
    class Flat(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.patches, self.flat = nn.Conv2d(3, 4, 2, stride=2), nn.Flatten()
            self.classes = nn.Linear(64, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.classes(self.flat(self.patches(x)))

    said = r"cam_layer must give feature maps .* or the tokens \(N, T, D\) .* gives \(1, (3|64)\)"
    with pytest.raises(ValueError, match=said):
        wrap(Flat().eval(), size=8, cam_layer=layer)


# ---- which layer ----

NORM = {"elementwise_affine": False}


class Mixer(nn.Module):
    """Two blocks that mix along tokens and along channels, a norm, a mean over all tokens."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.patches = nn.Conv2d(3, 8, 4, stride=4)
        self.blocks = nn.Sequential(*(MixerBlock(8, 16) for _ in range(2)))
        self.norm, self.classes = nn.LayerNorm(8), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        return self.classes(self.norm(self.blocks(tokens)).mean(1))


class MixerBlock(nn.Module):
    def __init__(self, width: int, count: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width, **NORM), nn.LayerNorm(width, **NORM)
        self.along = nn.Sequential(nn.Linear(count, count), nn.GELU(), nn.Linear(count, count))
        self.across = nn.Sequential(nn.Linear(width, 16), nn.GELU(), nn.Linear(16, width))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.along(self.norm1(x).transpose(1, 2)).transpose(1, 2)
        return x + self.across(self.norm2(x))


class Attention(nn.Module):
    """Of ``asks`` to ``x``, one head."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(width, width) for _ in range(3))

    def forward(self, asks: Tensor, x: Tensor) -> Tensor:
        return (self.q(asks) @ self.k(x).transpose(1, 2)).softmax(2) @ self.v(x)


class Transformer(nn.Module):
    """One attention over patches, which are read by a class token of their own, or by their mean.

    ``late``: a class token that comes in after the patches' own blocks, and asks twice.
    """

    def __init__(self, reads: str) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.reads = reads
        self.patches, self.token = nn.Conv2d(3, 8, 4, stride=4), nn.Parameter(torch.randn(1, 1, 8))
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(8) for _ in range(3))
        self.attention, self.ask = Attention(8), Attention(8)
        self.block, self.classes = nn.Identity(), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        tokens, token = self.patches(x).flatten(2).transpose(1, 2), self.token
        if self.reads == "token":
            tokens = torch.cat((token.expand(x.shape[0], -1, -1), tokens), 1)
        normed = self.norm1(tokens)
        tokens = tokens + self.attention(normed, normed)
        if self.reads == "token":
            return self.classes(self.norm2(tokens)[:, 0])
        if self.reads == "mean":
            return self.classes(self.norm2(tokens).mean(1))
        token = token.expand(x.shape[0], -1, -1)
        for _ in range(2):
            token = token + self.ask(self.norm3(token), self.norm2(torch.cat((token, tokens), 1)))
        return self.classes(token[:, 0])


class Lost(Transformer):
    """Patches whose rows and columns a product of two results hides; only their number tells."""

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        mixed = torch.einsum("nij,njk,nkl->nil", tokens, tokens.transpose(1, 2), tokens)
        tokens = torch.cat((self.token.expand(x.shape[0], -1, -1), mixed / 16), 1)
        normed = self.norm1(tokens)
        tokens = tokens + self.attention(normed, normed)
        return self.classes(self.norm2(tokens)[:, 0])


class Gated(nn.Module):
    """A pooling whose weights a small network with an activation finds on the map itself."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(4)
        self.patches, self.gate = nn.Conv2d(3, 8, 4, stride=4), nn.Conv2d(8, 8, 1)
        self.block = MixerBlock(8, 16)
        self.one, self.classes = nn.Conv2d(8, 1, 1), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        maps = self.patches(x)
        weights = self.one(self.gate(maps).tanh()).flatten(2).softmax(2)
        return self.classes((maps.flatten(2) * weights).sum(2))


class StemOfTwo(nn.Module):
    """One stem, and two coarser branches that only meet behind their pooling."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.first, self.second = (
            nn.Sequential(nn.Conv2d(8, 6, 2, stride=2), nn.ReLU(), nn.MaxPool2d(2))
            for _ in range(2)
        )
        self.classes = nn.Linear(12, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        return self.classes(torch.cat((self.first(x), self.second(x)), 1).mean((2, 3)))


class Apart(StemOfTwo):
    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        means = [branch(x).mean((2, 3)) for branch in (self.first, self.second)]
        return self.classes(torch.cat(means, 1))


MADE: dict[str, Callable[[], nn.Module]] = {
    "mixer": Mixer,
    **{reads: lambda reads=reads: Transformer(reads) for reads in ("mean", "token", "late")},
    "lost": lambda: Lost("token"),
    "gated": Gated,
    "joined": StemOfTwo,
    "apart": Apart,
}
CHOSEN = {  # the layer, and what is said of it
    "mixer": ("norm", "last feature map (4 x 4, tokens) before classes that everything flows thro"),
    "mean": ("norm2", "last feature map (4 x 4, tokens) before classes that everything flows thro"),
    "token": (
        "norm1",
        "tokens of 4 x 4 patches, normalised for the last attention: behind it only",
    ),
    "lost": (
        "norm1",
        "tokens of 4 x 4 patches, by their number alone, normalised for the last attention: beh",
    ),
    "late": ("add", "last feature map (4 x 4, tokens) before classes that everything flows thro"),
    "gated": (
        "mul",
        "last feature map (4 x 4, tokens) before classes that everything flows through; ",
    ),
    "joined": ("cat", "last feature map (4 x 4) before classes that everything flows through; no "),
    "apart": ("second.1", "last activated feature map (8 x 8) before classes; not everything flow"),
}


@cache
def made(name: str) -> Classifier:
    return wrap(MADE[name]().eval(), size=16)


@pytest.mark.parametrize("name", MADE)
def test_the_layer_and_the_reason(name: str) -> None:
    layer, reason = CHOSEN[name]
    assert made(name).cam_layer == layer
    assert made(name).cam_reason.startswith(reason)
    found = class_activation_map(made(name), pictures(4, 16, 16), [0, 1, 2, 3], cam="hires_cam")
    assert found.max() == 1


def test_the_reason_names_the_branches_that_are_left_out() -> None:
    named = re.search(r"\[.*\]", made("apart").cam_reason)
    assert named
    assert named.group() == "['first.1', 'second.1']"
    explain(made("apart"), pictures(1, 16, 16), 1, cam_layer=["first.1", "second.1"])


@pytest.mark.parametrize("name", MADE)
def test_every_path_passes_the_bottlenecks_and_no_other_step(name: str) -> None:
    graph = made(name).graph
    passed = bottlenecks(graph)
    for removed in graph.steps:
        if removed.kind == CONSTANT or graph.output not in {removed, *graph.after(removed)}:
            continue
        seen, left = set(), [graph.input]
        while left:
            step = left.pop()
            if step is not removed and step not in seen:
                seen.add(step)
                left += [user for user in step.users if user.kind != CONSTANT]
        assert (removed in passed) == (graph.output not in seen), removed


def test_the_blocks_of_a_mixer_and_of_a_transformer() -> None:
    for name, expected in (("mixer", ["norm"]), ("token", ["patches", "norm1"])):
        classifier = made(name)
        found = [step.path for step in blocks(classifier.graph, classifier.cam_layer)]
        assert found == expected
    views = explain_layers(made("mixer"), pictures(1, 16, 16), 1, composite="epsilon")
    assert [view.size for view in views] == [(4, 4)]


# ---- several layers ----


class Deep(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(6)
        self.first = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
        self.second = nn.Sequential(nn.Conv2d(6, 8, 3, padding=1), nn.ReLU())
        self.classes = nn.Linear(8, 4)
        nn.init.normal_(self.classes.weight, std=30)  # grad-cam divides by 1e-7 more than there is

    def forward(self, x: Tensor) -> Tensor:
        return self.classes(self.second(self.first(x)).mean((2, 3)))


@cache
def deep() -> Classifier:
    return wrap(Deep().eval(), size=16)


SEVERAL = ["first.1", "second"]


def test_several_layers_are_the_mean_of_their_maps_from_one_pass() -> None:
    x = pictures(3, 16, 16)
    alone = [class_activation_map(deep(), x, [1, 2, 3], cam_layer=layer) for layer in SEVERAL]
    with asking.watch() as seen:
        found = explain(deep(), x, [1, 2, 3], cam_layer=SEVERAL)
    assert seen.images == 3
    assert found.settings["cam_layer"] == "first.1, second"
    assert not torch.equal(*alone)
    for i, cam in enumerate(found.cam):
        mean = (alone[0][i] + alone[1][i]) / 2
        torch.testing.assert_close(cam, (mean - mean.min()) / (mean.max() - mean.min()))
    assert torch.equal(found.relevance, relevance(deep(), x, [1, 2, 3]).map.mean(1))


@pytest.mark.parametrize("cam", ["grad_cam", "layer_cam"])
def test_several_layers_of_the_pictures_size_are_those_of_grad_cam(cam: str) -> None:
    """Of smaller ones it does not scale the maps again that upsampling has flattened."""
    theirs = {"grad_cam": pytorch_grad_cam.GradCAM, "layer_cam": pytorch_grad_cam.LayerCAM}[cam]
    x, net = pictures(3, 16, 16), Deep().eval()
    with theirs(model=net, target_layers=[net.first[0], net.first[1]]) as run:
        expected = run(x, [ClassifierOutputTarget(t) for t in (1, 2, 3)])
    found = class_activation_map(deep(), x, [1, 2, 3], cam=cam, cam_layer=["first.0", "first.1"])
    np.testing.assert_allclose(found.numpy(), expected, atol=2e-5)


def test_one_layer_in_a_list_is_that_layer() -> None:
    x = pictures(1, 16, 16)
    one, named = (class_activation_map(deep(), x, 1, cam_layer=c) for c in (["first"], "first"))
    assert torch.equal(one, named)


@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        ([], ValueError, r"cam_layer must name at least one layer, and each once, got \[\]"),
        (["first", "first"], ValueError, "cam_layer must name at least one layer, and each once"),
        (["first", 3], TypeError, "cam_layer must be the name of a layer, or a list of names"),
        (3, TypeError, "cam_layer must be the name of a layer, or a list of names, got"),
        (["first", "frist"], ValueError, "did you mean first"),
    ],
)
def test_wrong_layers_are_named(given: object, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        explain(deep(), pictures(1, 16, 16), 1, cam_layer=given)  # type: ignore[arg-type]


def test_a_classifier_has_one_layer_since_the_head_begins_there() -> None:
    with pytest.raises(
        TypeError, match=r"cam_layer must be one layer here, .* explain\(\.\.\., cam_"
    ):
        wrap(Deep().eval(), size=16, cam_layer=SEVERAL)  # type: ignore[arg-type]
