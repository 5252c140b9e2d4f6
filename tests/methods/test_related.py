"""Relevance-CAM, CLRP, SGLRP and FG-CAM: by hand, against slow twins, on real networks."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
import reference
import reference_cam
import reference_related as twin
import torch
from hypothesis import given, settings, strategies as st
from networks import untrained
from torch import Tensor, nn
from untouched import state_of

from xaiutils.cam import min_max, to_image
from xaiutils.hybrid import class_activation_map, relevance
from xaiutils.lrp.composites import Composite, Row
from xaiutils.lrp.rules import alpha_beta, epsilon, gamma
from xaiutils.methods.related import clrp, explanation_components, fg_cam, relevance_cam, sglrp
from xaiutils.methods.related.contrastive import contrast, softmax_gradient
from xaiutils.methods.related.fg_cam import denoised
from xaiutils.network.classifier import Classifier, load_model, wrap
from xaiutils.network.graph import GraphError
from xaiutils.network.kinds import WEIGHTED

light = settings(max_examples=40, deadline=None)
METHODS: dict[str, Callable[..., Tensor]] = {
    "relevance_cam": relevance_cam,
    "clrp others": lambda c, x, t=None: clrp(c, x, t, dual="others"),
    "clrp negated": lambda c, x, t=None: clrp(c, x, t, dual="negated"),
    "sglrp": sglrp,
    "fg_cam": fg_cam,
    "fg_cam denoised": lambda c, x, t=None: fg_cam(c, x, t, denoise=True),
    "fg_cam score_cam": lambda c, x, t=None: fg_cam(c, x, t, base="score_cam"),
}
CHEAP = tuple(name for name in METHODS if name != "fg_cam score_cam")
UNIT = ("relevance_cam", "fg_cam", "fg_cam denoised", "fg_cam score_cam")


class Hand(nn.Module):
    """Three pixels, two channels (2x and relu(2 - 2x)), and a linear layer for two classes."""

    def __init__(self, weights: tuple[tuple[float, ...], ...] | None = None) -> None:
        super().__init__()
        self.conv, self.relu = nn.Conv2d(1, 2, 1), nn.ReLU()
        self.head = nn.Linear(6, 2, bias=False)
        rows = weights or ((1, 2, 0, -1, 0, 0), (3, 2, 0, 1, 0, 1))
        with torch.no_grad():
            self.conv.weight.copy_(torch.tensor([2.0, -2]).view(2, 1, 1, 1))
            self.conv.bias.copy_(torch.tensor([0.0, 2]))
            self.head.weight.copy_(torch.tensor(rows))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.flatten(self.relu(self.conv(x)), 1))


def by_hand(weights: tuple[tuple[float, ...], ...] | None = None) -> tuple[Classifier, Tensor]:
    """x = (0.5, 1, 0), so A = (1, 2, 0 | 1, 0, 2) and the logits are (1 + 4 - 1, 3 + 4 + 1 + 2).

    Pixels are in [0, 1], so z^B divides by x w⁺ + (x - 1) w⁻: each kernel sees one pixel, which
    takes all that arrives. Shares of the classes by z⁺ over A w⁺: class 0 (1, 4, 0 | 0, 0, 0) / 5,
    class 1 (3, 4, 0 | 1, 0, 2) / 10; per pixel (0.2, 0.8, 0) and (0.4, 0.4, 0.2).
    """
    classifier = wrap(Hand(weights).double().eval(), size=(1, 3))
    return classifier, torch.tensor([0.5, 1, 0], dtype=torch.float64).view(1, 1, 1, 3)


def close(found: Tensor, expected: Any, atol: float = 1e-5) -> None:
    np.testing.assert_allclose(found.numpy().squeeze(), np.asarray(expected), atol=atol, rtol=0)


def test_relevance_cam_by_hand():
    # Start (1, -1/2): R = (0.2 - 0.15, 0.8 - 0.2, 0 | -0.05, 0, -0.1); w = (0.65 / 3, -0.05).
    # sum w A = (0.65 / 3 - 0.05, 1.3 / 3, -0.1) = (1/6, 13/30, -1/10); relu, over 13/30.
    close(relevance_cam(*by_hand(), 0), (5 / 13, 1, 0))


def test_clrp_by_hand():
    # R = 4 (0.2, 0.8, 0). Others: 4 (0.4, 0.4, 0.2). Negated: A (-w)⁺ = (0, 0, 0 | 1, 0, 0), so
    # pixel 0 takes 4. All sum to 4.
    close(clrp(*by_hand(), 0, dual="others"), (0, 1.6, 0))
    close(clrp(*by_hand(), 0, dual="negated"), (0, 3.2, 0))
    # Class 1: R = 10 (0.4, 0.4, 0.2), others 10 (0.2, 0.8, 0); no weight negated is positive.
    close(clrp(*by_hand(), 1, dual="others"), (2, 0, 2))
    close(clrp(*by_hand(), 1, dual="negated"), (4, 4, 2))


def test_a_negative_logit_starts_from_its_absolute_value():
    # f_0 = 1 - 2 = -1 with A w⁺ = (1, 0, 0 | 0, 0, 0): R = (1, 0, 0). Others: (0.4, 0.4, 0.2).
    weights = ((1.0, 0, 0, -2, 0, 0), (3.0, 2, 0, 1, 0, 1))
    close(clrp(*by_hand(weights), 0, dual="others"), (0.6, 0, 0))


def test_sglrp_by_hand():
    # Logits (4, 10): p_0 p_1 ((0.2, 0.8, 0) - (0.4, 0.4, 0.2)).
    p = 1 / (1 + np.exp(6))
    expected = p * (1 - p) * np.array([-0.2, 0.4, -0.2])
    close(sglrp(*by_hand(), 0), expected, atol=1e-8)
    close(sglrp(*by_hand(), 1), -expected, atol=1e-8)


def test_fg_cam_by_hand():
    # w = (mean(1, 2, 0), mean(-1, 0, 0)) = (1, -1/3): I = (1, 2, 0 | -1/3, 0, -2/3); each pixel
    # takes its own.
    classifier, x = by_hand()
    close(explanation_components(classifier, x, 0).sum(1), (2 / 3, 2, -2 / 3))
    close(fg_cam(classifier, x, 0), (1 / 3, 1, 0))


def test_identical_relevance_leaves_nothing():
    same = ((3.0, 2, 0, 1, 0, 1), (3.0, 2, 0, 1, 0, 1))
    assert not clrp(*by_hand(same), 0).any()
    close(sglrp(*by_hand(same), 0), (0, 0, 0), atol=1e-12)


def test_a_dual_without_relevance_is_left_out():
    # No weight of class 1 is positive, so z⁺ = 0 hands nothing down.
    classifier, x = by_hand(((1.0, 2, 0, -1, 0, 0), (-1.0, 0, 0, 0, 0, 0)))
    close(clrp(classifier, x, 0), (0.8, 3.2, 0))


@light
@given(seed=st.integers(0, 99), scale=st.floats(1e-3, 1e3))
def test_the_dual_is_scaled_to_the_same_sum(seed, scale):
    generator = torch.Generator().manual_seed(seed)
    r, dual = torch.rand(2, 2, 3, 4, 5, generator=generator)
    found = contrast(r, dual)
    assert found.shape == (2, 4, 5)
    np.testing.assert_allclose(found.sum((1, 2)), 0, atol=1e-6)
    torch.testing.assert_close(found, contrast(r, dual * scale), rtol=1e-4, atol=1e-5)
    expected = twin.contrast(
        r[0].double().sum(0).numpy().ravel(), dual[0].double().sum(0).numpy().ravel()
    )
    np.testing.assert_allclose(found[0].numpy().ravel(), expected, atol=1e-9)


LOGITS = st.lists(st.floats(-40, 40, width=32), min_size=2, max_size=6)


@light
@given(row=LOGITS, data=st.data())
def test_the_softmax_gradient_sums_to_zero_and_is_the_gradient(row, data):
    c = data.draw(st.integers(0, len(row) - 1))
    f = torch.tensor([row])
    found = softmax_gradient(f, torch.tensor([[c]]))
    assert found.dtype == torch.float64
    assert abs(float(found.sum())) <= 1e-12 * float(found.abs().max())
    leaf = f.double().requires_grad_()
    (expected,) = torch.autograd.grad(leaf.softmax(1)[0, c], leaf)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-15)


def test_a_confident_network_still_has_a_softmax_gradient():
    f = torch.tensor([[60.0, 0, 0]])
    assert f.softmax(1)[0, 0] == 1  # so that p (1 - p) is 0 in float32
    assert f.double().softmax(1)[0, 0] == 1  # and in float64
    found = softmax_gradient(f, torch.tensor([[0]]))[0]
    np.testing.assert_allclose(found, [2 * np.exp(-60), -np.exp(-60), -np.exp(-60)], rtol=1e-9)
    assert abs(float(found.sum())) <= 1e-12 * float(found[0])


def test_a_start_that_float32_cannot_hold_is_refused():
    classifier, x = by_hand()
    with torch.no_grad():
        classifier.module.head.weight.mul_(10)  # logits (40, 100)
        assert sglrp(classifier, x).abs().max() > 0
        classifier.module.head.weight.mul_(2)
    with pytest.raises(ValueError, match=r"p_c \(1 - p_c\).* got 8e-53 for image 0; use clrp"):
        sglrp(classifier, x)


class Small(nn.Module):
    """Everything that the twins know: two convolutions, both poolings, a linear layer; biases."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(2),
            nn.Conv2d(4, 5, 3, padding=1), nn.ReLU(inplace=True),
        )  # fmt: skip
        self.pool, self.head = nn.AvgPool2d(2), nn.Linear(20, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.flatten(self.pool(self.features(x)), 1))


CUT, SHAPE = 5, (5, 4, 4)  # the twin's number of the layer that reads the CAM layer; its shape
LOW, HIGH = np.full(192, -2.0), np.full(192, 2.0)  # 0 and 1, less 0.5, over 0.25


def small() -> tuple[Classifier, Tensor, twin.Layers]:
    """The network, two pictures within the bounds, and the twin."""
    classifier, x, layers = captured()
    return classifier, x.clone(), layers


def fresh() -> tuple[Classifier, Tensor, twin.Layers]:
    """The same, of which a test may change the weights."""
    torch.manual_seed(0)
    module = Small().double().eval()
    with torch.no_grad():  # away from 0, or the stabiliser would be seen
        for parameter in module.parameters():
            parameter.mul_(3)
    half = (0.5,) * 3
    classifier = wrap(module, mean=half, std=(0.25,) * 3, size=8)
    x = torch.rand(2, 3, 8, 8, dtype=torch.float64) * 4 - 2

    def affine(layer: nn.Conv2d, side: int, first: bool = False) -> twin.Affine:
        kernel = layer.weight.detach().numpy()
        matrix, _ = reference.convolution_matrix(kernel, (side, side), padding=1)
        return twin.Affine(matrix, np.repeat(layer.bias.detach().numpy(), side * side), first)

    head = module.head
    layers = [
        affine(module.features[0], 8, first=True), twin.Relu(), twin.Max(twin.windows(4, 8, 8, 2)),
        affine(module.features[3], 4), twin.Relu(), twin.Mean(twin.windows(5, 4, 4, 2)),
        twin.Affine(head.weight.detach().numpy(), head.bias.detach().numpy()),
    ]  # fmt: skip
    return classifier, x, layers


captured = cache(fresh)


def agree(found: Tensor, expected: Any, rtol: float = 1e-6) -> None:
    """To float32, in which every method answers."""
    expected = np.asarray(expected)
    assert np.abs(expected).max() > 0
    atol = rtol * np.abs(expected).max()
    np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=atol)


def test_the_twin_computes_the_same_logits():
    classifier, x, layers = small()
    for one, f in zip(x, classifier.predict(x), strict=True):
        np.testing.assert_allclose(twin.forward(layers, one.numpy())[-1], f, atol=1e-9)


def test_relevance_cam_equals_its_twin():
    classifier, x, layers = small()
    for c in (0, 3):
        raw = [twin.relevance_cam(layers, one.numpy(), c, CUT, SHAPE) for one in x]
        agree(relevance_cam(classifier, x, c), reference_cam.to_image(raw, (8, 8)))
    raw = [twin.relevance_cam(layers, one.numpy(), 1, 2, (4, 8, 8)) for one in x]
    found = relevance_cam(classifier, x, 1, layer="features.1")
    agree(found, reference_cam.to_image(raw, (8, 8)))


@pytest.mark.parametrize("dual", ["others", "negated"])
def test_clrp_equals_its_twin(dual):
    classifier, x, layers = small()
    targets = [3, 1]
    expected = [
        twin.clrp(layers, one.numpy(), c, dual, LOW, HIGH)
        for one, c in zip(x, targets, strict=True)
    ]
    agree(clrp(classifier, x, targets, dual=dual), expected)


def test_negating_in_the_rule_is_negating_in_the_network():
    classifier, x, _ = fresh()
    both_signs = uniform(alpha_beta(2, 1))  # its two denominators hold the bias
    found = clrp(classifier, x, 0, dual="negated", composite=both_signs)
    sign = classifier.predict(x)[:, 0].sign().view(2, 1, 1, 1)  # CLRP starts from |f|
    mine = relevance(classifier, x, 0, both_signs).map * sign
    with torch.no_grad():
        classifier.module.head.weight[0] *= -1
        classifier.module.head.bias[0] *= -1
    rival = relevance(classifier, x, 0, both_signs, start="one").map
    agree(found, contrast(mine, rival).clamp(min=0).numpy())


def test_sglrp_equals_its_twin():
    classifier, x, layers = small()
    expected = [
        twin.sglrp(layers, one.numpy(), c, LOW, HIGH) for one, c in zip(x, (2, 0), strict=True)
    ]
    found = sglrp(classifier, x, [2, 0])
    agree(found, expected)
    np.testing.assert_allclose(found.double().sum((1, 2)), 0, atol=1e-6 * float(found.abs().max()))


def gradient_weights(layers: twin.Layers, c: int) -> list[float]:
    """Grad-CAM's, over 16 places: each reads the weight of its window over 4."""
    w = layers[-1].w[c].reshape(5, 2, 2)
    return [
        sum(w[k, i // 2, j // 2] / 4 for i in range(4) for j in range(4)) / 16 for k in range(5)
    ]


@pytest.mark.parametrize("base", ["grad_cam", "score_cam"])
def test_fg_cam_equals_its_twin(base):
    classifier, x, layers = small()
    for one in x:
        picture = one.numpy()
        a = twin.forward(layers, picture)[CUT].reshape(SHAPE)
        weights = gradient_weights(layers, 2)
        if base == "score_cam":
            weights = twin.score_weights(layers, picture, a, 2)
        expected = twin.fg_cam(layers, picture, weights, CUT, SHAPE).reshape(1, 3, 8, 8)
        options = {"base": base, "batch": 2}
        agree(explanation_components(classifier, one[None], 2, **options), expected)
        raw = expected.sum(1)
        agree(fg_cam(classifier, one[None], 2, **options), reference_cam.to_image(raw, (8, 8)))
        middle = twin.fg_cam(layers, picture, weights, CUT, SHAPE, stop=3).reshape(1, 4, 4, 4)
        found = explanation_components(classifier, one[None], 2, to="features.2", **options)
        agree(found, middle)


@pytest.mark.parametrize("keep", [0.1, 0.5, 1.0])
def test_denoising_equals_its_twin(keep):
    components = torch.randn(2, 5, 3, 4, generator=torch.Generator().manual_seed(0)).double()
    found = denoised(components, keep)
    for one, result in zip(components, found, strict=True):
        agree(result, twin.denoised(one.numpy(), keep), 1e-9)
        assert torch.linalg.matrix_rank(result.flatten(1)) <= max(1, int(5 * keep))
    if keep == 1:  # nothing is dropped: only the channels' means are gone
        torch.testing.assert_close(found, components - components.mean((2, 3), keepdim=True))


def test_denoising_starts_from_the_denoised_components():
    classifier, x, _ = small()
    plain = explanation_components(classifier, x, 1, to="features")
    found = explanation_components(classifier, x, 1, to="features", denoise=True, keep=0.4)
    assert torch.equal(found, denoised(plain, 0.4))
    walked = fg_cam(classifier, x, 1, denoise=True)
    assert not torch.allclose(walked, fg_cam(classifier, x, 1), atol=1e-2)


@pytest.mark.parametrize("layer", ["features", "features.1"])
def test_at_the_cam_layer_fg_cam_is_grad_cam(layer):
    classifier, x, _ = small()
    found = fg_cam(classifier, x, layer=layer, to=layer)
    expected = class_activation_map(classifier, x, cam="grad_cam", cam_layer=layer).float()
    assert expected.max() == 1
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


def test_the_components_sum_to_the_raw_cam():
    classifier, x, _ = small()
    module = classifier.module
    a = module.features(x).detach().requires_grad_()
    logits = module.head(module.pool(a).flatten(1)).sum(0)
    signs = set()
    for c in range(4):
        (g,) = torch.autograd.grad(logits[c], a, retain_graph=True)
        expected = torch.tensor(reference_cam.grad_cam(a.detach(), g))
        found = explanation_components(classifier, x, c, to="features").sum(1)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)
        signs |= set(expected.sign().unique().tolist())
    assert {-1, 1} <= signs


class Branched(nn.Module):
    """No bias anywhere: a residual block, two branches joined, both poolings."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1, bias=False)
        self.inner = nn.Conv2d(6, 6, 3, padding=1, bias=False)
        self.left = nn.Conv2d(6, 4, 1, bias=False)
        self.right = nn.Conv2d(6, 4, 3, padding=1, bias=False)
        self.last, self.act = nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.ReLU()
        self.halve, self.mean = nn.MaxPool2d(2), nn.AvgPool2d(2)
        self.head = nn.Linear(8, 3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.halve(torch.relu(self.stem(x)))
        x = torch.relu(torch.relu(self.inner(x)) + x)
        x = torch.cat((torch.relu(self.left(x)), torch.relu(self.right(x))), 1)
        x = self.act(self.last(self.mean(x)))
        return self.head(x.mean((2, 3)))


def branched(gain: float = 1) -> tuple[Classifier, Tensor]:
    torch.manual_seed(1)
    module = Branched().double().eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(gain)
    return wrap(module, size=16), torch.randn(2, 3, 16, 16, dtype=torch.float64)


@pytest.mark.parametrize("to", ["act", "last", "mean", "halve", "stem", None])
def test_a_bias_free_network_hands_the_components_down_whole(to):
    classifier, x = branched(gain=30)  # away from 0, or the stabiliser would be seen
    start = explanation_components(classifier, x, [0, 2], to="act")
    found = explanation_components(classifier, x, [0, 2], to=to)
    lost = (found.sum((1, 2, 3)) - start.sum((1, 2, 3))) / start.abs().sum((1, 2, 3))
    assert lost.abs().max() < 1e-7
    assert start.amin() < 0 < start.amax()


def test_z_box_reads_each_images_own_range():
    classifier, x, _ = small()
    x[1] = x[1] * 0.1
    both = explanation_components(classifier, x, 0)
    for i in range(2):
        agree(both[i : i + 1], explanation_components(classifier, x[i : i + 1], 0), 1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_pictures_need_not_be_square(method):
    classifier, _ = branched()
    x = torch.randn(2, 3, 16, 24, dtype=torch.float64)
    found = METHODS[method](classifier, x, [2, 0])
    assert found.shape == (2, 16, 24)
    assert found.any()


class Normed(nn.Module):
    """A batch norm that follows no convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.relu, self.norm = nn.Conv2d(3, 4, 3), nn.ReLU(), nn.BatchNorm2d(4)
        self.last, self.act, self.head = nn.Conv2d(4, 4, 1), nn.ReLU(), nn.Linear(4, 3)
        nn.init.normal_(self.norm.weight)
        nn.init.normal_(self.norm.bias)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.relu(self.conv(x)))
        return self.head(self.act(self.last(x)).mean((2, 3)))


def test_a_batch_norm_that_stands_alone_hands_the_components_on():
    torch.manual_seed(0)
    classifier, x = wrap(Normed().eval(), size=8), noise(2, 8)
    above = explanation_components(classifier, x, 0, to="norm")
    below = explanation_components(classifier, x, 0, to="relu")
    assert above.any()
    assert (classifier.module.norm.weight < 0).any()  # where z⁺ would hand nothing on
    assert torch.equal(above, below)


class Pooled(nn.Module):
    """The picture's channels are the features; their means are the logits."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv, self.relu = nn.Conv2d(channels, channels, 1, bias=False), nn.ReLU()
        self.head = nn.Linear(channels, channels, bias=False)
        with torch.no_grad():
            self.conv.weight.copy_(torch.eye(channels)[:, :, None, None])
            self.head.weight.copy_(torch.eye(channels))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.relu(self.conv(x)).mean((2, 3)))


def test_relevance_cam_ranks_like_cam_behind_pooling():
    # Channels that sum to 1 at each place: R_k sums to its start, so w = (1, -1/K, ...) / hw and
    # the map is A_c - (1 - A_c) / K over hw, which rises with CAM's A_c.
    k = 3
    a = torch.randn(2, k, 6, 6, generator=torch.Generator().manual_seed(0)).double().softmax(1)
    classifier = wrap(Pooled(k).double().eval(), size=6)
    for c in range(k):
        found = relevance_cam(classifier, a, c)
        expected = min_max((a[:, c] * (1 + 1 / k) - 1 / k).clamp(min=0))
        torch.testing.assert_close(found, expected.float(), rtol=0, atol=1e-4)
        cam = class_activation_map(classifier, a, c, cam="cam")
        for ours, other in zip(found, cam, strict=True):
            order = ours.flatten()[other.flatten().argsort()]
            assert (order.diff() >= -1e-6).all()


def test_relevance_cam_turns_over_with_the_class():
    a = torch.rand(1, 1, 6, 6, generator=torch.Generator().manual_seed(0)).double()
    classifier, x = wrap(Pooled(3).double().eval(), size=6), torch.cat((a, 1 - a, 0 * a), 1)
    first, second = (relevance_cam(classifier, x, c)[0] for c in (0, 1))
    assert first[second == second.max()] == 0
    assert second[first == first.max()] == 0


def noise(n: int = 2, side: int = 96) -> Tensor:
    return torch.randn(n, 3, side, side, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def scenes() -> tuple[Classifier, Tensor]:
    from xaiutils.pictures.scenes import samples

    classifier = load_model("scenes_vgg_seed0")
    return classifier, classifier.preprocess(samples("test", 2))


@pytest.mark.parametrize("method", METHODS)
def test_maps_of_the_scene_classifier(method, scenes):
    classifier, x = scenes
    f = METHODS[method]
    predicted = classifier.predict(x).argmax(1)
    found = f(classifier, x)
    assert found.shape == (2, *x.shape[2:])
    assert found.dtype == torch.float32
    assert not found.requires_grad
    assert torch.isfinite(found).all()
    assert torch.equal(found, f(classifier, x, predicted))
    assert (found.flatten(1).abs().amax(1) > 0).all()
    if method in UNIT:
        assert found.amin() == 0
        assert found.amax() == 1
    other = f(classifier, x, (predicted + 1) % len(classifier.classes))
    scale = found.flatten(1).abs().amax(1)[:, None, None]
    assert ((found - other).abs() / scale > 0.05).flatten(1).any(1).all()
    for i in range(2):
        alone = f(classifier, x[i : i + 1], [int(predicted[i])])
        torch.testing.assert_close(alone[0], found[i], rtol=0, atol=1e-5 * float(scale[i]))


@pytest.mark.parametrize(
    "name",
    ["resnet18", *(pytest.param(n, marks=pytest.mark.slow) for n in ("googlenet", "densenet121"))],
)
@pytest.mark.parametrize("method", CHEAP)
def test_networks_with_branches_and_batch_norms(name, method, networks):
    classifier = networks(name)
    found = METHODS[method](classifier, noise(), [3, 7])
    assert found.shape == (2, 96, 96)
    assert torch.isfinite(found).all()
    assert found.any()  # of untrained networks one map may well be nowhere positive


@pytest.fixture(scope="module")
def networks() -> Callable[[str], Classifier]:
    return untrained


@pytest.mark.parametrize("layer", ["maxpool", "layer1.0", "layer2", "layer3.1"])
def test_any_layer_of_a_residual_network(layer, networks):
    classifier, x = networks("resnet18"), noise(1)
    assert relevance_cam(classifier, x, 5, layer=layer).amax() == 1
    components = explanation_components(classifier, x, 5, to=layer)
    assert components.shape[1] == classifier.graph.find(layer).shape[1]
    fine = fg_cam(classifier, x, 5, to=layer)
    torch.testing.assert_close(fine, to_image(components.sum(1), (96, 96)))
    assert fine.shape == (1, 96, 96)
    assert fine.amax() == 1


@pytest.mark.parametrize("method", METHODS)
def test_the_callers_module_and_random_numbers_stay_as_they_are(method):
    classifier, x, _ = fresh()
    module = classifier.module
    module.head.weight.grad = torch.full_like(module.head.weight, 7)
    module.head.bias.requires_grad_(False)
    handle = module.head.register_forward_hook(lambda *_: None)
    before, kept = state_of(module), x.clone()
    rngs = random.getstate(), str(np.random.get_state()), torch.get_rng_state()  # noqa: NPY002
    METHODS[method](classifier, x, [1, 3])
    assert state_of(module) == before
    assert random.getstate() == rngs[0]
    assert str(np.random.get_state()) == rngs[1]  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), rngs[2])
    assert torch.equal(x, kept)
    handle.remove()


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode], ids=["no_grad", "infer"])
@pytest.mark.parametrize("method", METHODS)
def test_the_callers_grad_mode_does_not_matter(method, mode):
    classifier, x, _ = small()
    f = METHODS[method]
    expected = f(classifier, x, [1, 3])
    with mode():
        found = f(classifier, x.clone(), torch.tensor([1, 3]))
    assert torch.equal(found, expected)
    leaf = x.clone().requires_grad_()
    assert torch.equal(f(classifier, leaf, [1, 3]), expected)
    assert leaf.grad is None


class One(nn.Module):
    """One logit."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.relu, self.head = nn.Conv2d(3, 2, 1), nn.ReLU(), nn.Linear(2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.relu(self.conv(x)).mean((2, 3)))


class Gated(nn.Module):
    """Channels weighted by a squeeze-and-excite gate, through which no relevance goes."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.gate, self.head = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1), nn.Linear(4, 2)
        self.middle, self.wide = nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.middle(self.conv(x))
        gate = torch.sigmoid(self.wide(self.gate(x)).mean((2, 3), keepdim=True))
        return self.head((x * gate).mean((2, 3)))


def uniform(rule: Any) -> Composite:
    return Composite("test", (Row(WEIGHTED, "anywhere", rule),), "test")


EPSILON, GAMMA = uniform(epsilon()), uniform(gamma())
Call = Callable[[Classifier, Tensor], Tensor]
BAD: dict[str, tuple[Call, type[Exception], str]] = {
    "dual": (lambda c, x: clrp(c, x, dual="other"), ValueError, "dual must be .* mean others"),
    "base": (lambda c, x: fg_cam(c, x, base="gradcam"), ValueError, "base must be .* mean grad_c"),
    "keep 0": (lambda c, x: fg_cam(c, x, keep=0), ValueError, "keep must be > 0 and <= 1, got 0"),
    "keep 2": (lambda c, x: fg_cam(c, x, keep=2), ValueError, "keep must be .* <= 1, got 2"),
    "batch": (lambda c, x: fg_cam(c, x, batch=0), ValueError, "batch must be >= 1, got 0"),
    "half batch": (lambda c, x: fg_cam(c, x, batch=1.5), ValueError, "batch must be a whole"),
    "to after": (lambda c, x: fg_cam(c, x, to="pool"), ValueError,
                 r"to must be the CAM layer features \(relu\) or .* got pool \(avg_pool2d\)"),
    "to above": (lambda c, x: fg_cam(c, x, layer="features.1", to="features.3"), ValueError,
                 r"to must be the CAM layer features.1 \(relu\) or .* got features.3"),
    "to unknown": (lambda c, x: fg_cam(c, x, to="feature"), ValueError, "did you mean features"),
    "layer": (lambda c, x: relevance_cam(c, x, layer="head"), ValueError, "must give feature maps"),
    "no layer": (lambda c, x: fg_cam(c, x, layer="haed"), ValueError, "layer must be a known name"),
    "constant": (lambda c, x: fg_cam(c, x * 0 + 1), ValueError, "of one value only.* image 0 is"),
    "composite": (lambda c, x: sglrp(c, x, composite="zplus"), ValueError, "composite must be a"),
    "epsilon": (lambda c, x: clrp(c, x, dual="negated", composite=EPSILON), ValueError,
                r"composite must have an alpha_beta or z_plus .* got epsilon\(1e-06\)"),
    "gamma": (lambda c, x: clrp(c, x, dual="negated", composite=GAMMA), ValueError,
              r"composite must have an alpha_beta or z_plus .* got gamma\(0.25\)"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_errors_name_the_argument_the_rule_and_what_came(case):
    call, error, match = BAD[case]
    classifier, x, _ = small()
    with pytest.raises(error, match=match):
        call(classifier, x)


@pytest.mark.parametrize("method", METHODS)
def test_wrong_images_and_targets_are_refused(method):
    classifier, x, _ = small()
    f = METHODS[method]
    with pytest.raises(ValueError, match=r"target must be in 0\.\.3, got 4"):
        f(classifier, x, 4)
    with pytest.raises(ValueError, match=r"one per image \(2\), got \(3,\)"):
        f(classifier, x, [0, 1, 2])
    with pytest.raises(ValueError, match="class must be a known name, got 'cat'"):
        f(classifier, x, "cat")
    with pytest.raises(ValueError, match="x must be finite"):
        f(classifier, x * torch.nan, 0)
    with pytest.raises(TypeError, match=r"x must be torch.float64 on cpu"):
        f(classifier, x.float(), 0)


def test_one_class_has_no_rivals():
    classifier = wrap(One().eval(), size=4)
    for method in (clrp, sglrp):
        with pytest.raises(ValueError, match="two classes or more"):
            method(classifier, noise(1, 4))


def test_a_gate_is_no_way_for_relevance():
    classifier = wrap(Gated().eval(), size=8, cam_layer="middle")
    assert relevance_cam(classifier, noise(1, 8)).shape == (1, 8, 8)
    for method in (relevance_cam, fg_cam):
        with pytest.raises(ValueError, match=r"layer must be one that relevance .* gate \(conv2d"):
            method(classifier, noise(1, 8), layer="gate")


def test_an_operation_without_a_rule_is_named():
    class Odd(Small):
        def forward(self, x: Tensor) -> Tensor:
            return torch.sin(super().forward(x))

    classifier = wrap(Odd().eval(), size=8)
    for method in (relevance_cam, clrp, sglrp, fg_cam):
        with pytest.raises(GraphError, match="no relevance rule for sin"):
            method(classifier, noise(1, 8))
