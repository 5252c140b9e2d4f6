"""The numbers of captum's methods: worked by hand, a linear network, and captum's own settings.

The network of the hand-worked tests sees one row of two pixels, a and b, in one channel. With
r = relu(x - 1) for each pixel it has two hidden units and two logits:

    s1 = 2 ra + 3 rb - 4    s2 = ra - 2 rb + 3    y = relu(s)    f0 = y1    f1 = y1 - y2

At x = (3, 2) it computes r = (2, 1), s1 = 3, s2 = 3, so f0 = 3; at x0 = (0, 0): r = 0, f0 = 0.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings, strategies as st
from torch import Tensor, nn

from xaiutils.methods import METHODS, CannotExplain
from xaiutils.network.classifier import Classifier, wrap
from xaiutils.network.hookable import Twin
from xaiutils.support import asking

saliency, gradient_x_input = METHODS["saliency"], METHODS["gradient_x_input"]
integrated_gradients, smooth_grad = METHODS["integrated_gradients"], METHODS["smooth_grad"]
gradient_shap, deep_lift = METHODS["gradient_shap"], METHODS["deep_lift"]
deep_lift_shap, occlusion = METHODS["deep_lift_shap"], METHODS["occlusion"]
guided_backprop, deconvolution = METHODS["guided_backprop"], METHODS["deconvolution"]
guided_grad_cam, feature_ablation = METHODS["guided_grad_cam"], METHODS["feature_ablation"]
shapley_sampling, kernel_shap = METHODS["shapley_sampling"], METHODS["kernel_shap"]
lime = METHODS["lime"]
FIRST, SECOND = torch.tensor([0]), torch.tensor([1])
PIXELS = torch.tensor([[[0, 1]]])  # each pixel a segment of its own


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """What captum and these tests draw, from the states of the process."""
    numpys = np.random.get_state()  # noqa: NPY002
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        yield
    np.random.set_state(numpys)  # noqa: NPY002


def filled(layer: Any, weight: list[Any], bias: list[float]) -> Any:
    layer.weight.data = torch.tensor(weight).reshape(layer.weight.shape)
    layer.bias.data = torch.tensor(bias)
    return layer


@functools.cache
def by_hand() -> Classifier:
    net = nn.Sequential(
        filled(nn.Conv2d(1, 1, 1), [1.0], [-1.0]),
        nn.ReLU(),
        nn.Flatten(),
        filled(nn.Linear(2, 2), [[2.0, 3.0], [1.0, -2.0]], [-4.0, 3.0]),
        nn.ReLU(),
        filled(nn.Linear(2, 2), [[1.0, 0.0], [1.0, -1.0]], [0.0, 0.0]),
    )
    return wrap(net.double().eval(), mean=[0.0], std=[1.0], size=(1, 2), cam_layer="1")


def picture(a: float, b: float) -> Tensor:
    return torch.tensor([[[[a, b]]]], dtype=torch.float64)


def close(found: Tensor, *expected: float, atol: float = 1e-6) -> bool:
    assert found.shape == (1, 1, 2)
    return found.flatten().tolist() == pytest.approx(expected, abs=atol)


X = picture(3, 2)


def test_saliency_and_gradient_x_input_by_hand() -> None:
    """All units are active: df0/dx = (2, 3), df1/dx = (2 - 1, 3 + 2) = (1, 5)."""
    assert close(saliency(by_hand(), X, FIRST), 2, 3)
    assert close(saliency(by_hand(), X, SECOND), 1, 5)
    assert close(gradient_x_input(by_hand(), X, FIRST), 6, 6)
    assert close(gradient_x_input(by_hand(), X, SECOND), 3, 10)


def test_saliency_takes_the_largest_magnitude_of_the_channels_the_others_their_mean() -> None:
    net = nn.Sequential(filled(nn.Conv2d(3, 1, 1), [1.0, -5.0, 1.0], [0.0]), nn.Flatten())
    net.append(filled(nn.Linear(2, 2), [[1.0, 2.0], [0.0, 0.0]], [0.0, 0.0]))
    classifier = wrap(net.eval(), size=(1, 2))
    x = torch.ones(1, 3, 1, 2)
    assert close(saliency(classifier, x, FIRST), 5, 10)
    assert close(gradient_x_input(classifier, x, FIRST), -1, -2)


def test_integrated_gradients_by_hand() -> None:
    """On the way t (3, 2): ra = relu(3 t - 1), rb = relu(2 t - 1), and f0 is positive behind
    t = 3/4, where 2 ra + 3 rb - 4 = 12 t - 9. The gradient (2, 3) holds for a quarter of the way:
    (3 * 2, 2 * 3) / 4 = (1.5, 1.5), whose sum is f0(x) - f0(x0) = 3.
    From x0 = (3, 0) ra = 2 throughout, and f0 = 3 rb is positive behind t = 1/2: (0, 2 * 3 / 2).
    """
    assert close(integrated_gradients(by_hand(), X, FIRST, n_steps=400), 1.5, 1.5, atol=0.01)
    start = torch.tensor([[[3.0, 0.0]]])
    assert close(
        integrated_gradients(by_hand(), X, FIRST, n_steps=400, baseline=start), 0, 3, atol=0.01
    )


def test_integrated_gradients_do_not_depend_on_the_batch_size() -> None:
    maps = [integrated_gradients(by_hand(), X, FIRST, n_steps=10, batch_size=b) for b in (1, 3, 50)]
    assert torch.allclose(maps[0], maps[1])
    assert torch.allclose(maps[0], maps[2])


def test_smooth_grad_by_hand() -> None:
    """Noise of 0.01 of the range 3 - 2 crosses no kink, so the mean gradient is the gradient; at
    x = (1, 4) the first ReLU is at its kink, and a passes in as many copies as have noise > 0."""
    classifier = by_hand()  # its layers draw their first weights by chance
    assert close(smooth_grad(classifier, X, FIRST, n_samples=4, noise=0.01), 2, 3)
    found = smooth_grad(classifier, picture(1, 4), FIRST, n_samples=8, noise=0.01, batch_size=3)
    with seeded(0):
        above = [torch.normal(0, torch.full((n, 1, 1, 2), 0.03))[..., 0] > 0 for n in (3, 3, 2)]
    share = float(torch.cat(above).double().mean())
    assert 0 < share < 1
    assert close(found, 2 * share, 3)


def test_gradient_shap_by_hand() -> None:
    """From the reference (0, 0) each sample is (3 * 2, 2 * 3) behind t = 3/4, otherwise (0, 0)."""
    start = torch.zeros(1, 1, 1, 2)
    classifier = by_hand()
    found = gradient_shap(classifier, X, FIRST, n_samples=10, baselines=start, batch_size=4)
    with seeded(0):
        draws = []
        for n in (4, 4, 2):
            np.random.choice(1, n)  # noqa: NPY002, captum draws the references first
            draws += list(np.random.uniform(0, 1, n))  # noqa: NPY002
    share = sum(t > 0.75 for t in draws) / 10
    assert 0 < share < 1
    assert close(found, 6 * share, 6 * share)


def test_deep_lift_by_hand() -> None:
    """From (0, 0): dz = (3, 2), dr = (2, 1), so the multipliers are (2/3, 1/2); ds1 = 7 and
    dy1 = 3, multiplier 3/7. a: 3 * 2/3 * 2 * 3/7 = 12/7, b: 2 * 1/2 * 3 * 3/7 = 9/7; the sum is 3.
    From (3, 0): a does not change; b: dz = 2, dr = 1, ds1 = dy1 = 3: 2 * 1/2 * 3 * 1 = 3.
    """
    assert close(deep_lift(by_hand(), X, FIRST), 12 / 7, 9 / 7)
    starts = torch.tensor([[[[0.0, 0.0]]], [[[3.0, 0.0]]]])
    assert close(deep_lift(by_hand(), X, FIRST, baseline=starts[1]), 0, 3)
    assert close(deep_lift_shap(by_hand(), X, FIRST, baselines=starts), 6 / 7, (9 / 7 + 3) / 2)


def test_guided_backprop_and_deconvolution_by_hand() -> None:
    """At (4, 0.5): r = (3, 0), s = (2, 6), and b is inactive. f1's gradient by y is (1, -1).

    Gradient: by r it is (2, 3) - (1, -2) = (1, 5), by x (1, 0). Guided: (1, -1) becomes (1, 0), by
    r it is (2, 3), by x (2, 0). Deconvolution: the same, but b need not be active: (2, 3).
    """
    x = picture(4, 0.5)
    assert close(saliency(by_hand(), x, SECOND), 1, 0)
    assert close(guided_backprop(by_hand(), x, SECOND), 2, 0)
    assert close(deconvolution(by_hand(), x, SECOND), 2, 3)


def test_guided_grad_cam_by_hand() -> None:
    """By r the gradient of f0 is (2, 3), mean 2.5; Grad-CAM is 2.5 r = (5, 2.5); times (2, 3)."""
    assert close(guided_grad_cam(by_hand(), X, FIRST), 10, 7.5)


def test_taking_away_by_hand() -> None:
    """Without a: r = (0, 1), s1 = -1; without b: r = (2, 0), s1 = 0: f0 falls from 3 to 0 twice.
    In place of a pixel 1.5 (r = 0.5): s1 = 1 + 3 - 4 = 0 and s1 = 4 + 1.5 - 4 = 1.5.
    """
    assert close(feature_ablation(by_hand(), X, FIRST, segments=PIXELS), 3, 3)
    assert close(feature_ablation(by_hand(), X, FIRST, baseline=1.5, segments=PIXELS), 3, 1.5)
    assert close(occlusion(by_hand(), X, FIRST, window=0.5), 3, 3)
    both = torch.zeros_like(PIXELS)
    assert close(feature_ablation(by_hand(), X, FIRST, segments=both), 3, 3)


def test_shapley_sampling_by_hand() -> None:
    """f0 is 3 with both pixels and 0 with one: whichever comes second gains 3."""
    classifier = by_hand()
    found = shapley_sampling(classifier, X, FIRST, n_samples=16, segments=PIXELS)
    with seeded(0):
        second = [int(torch.randperm(2)[1]) for _ in range(16)]
    a = 3 * second.count(0) / 16
    assert 0 < a < 3
    assert close(found, a, 3 - a)


def test_kernel_shap_by_hand() -> None:
    """The full and the empty picture, with a weight of a million each, demand a + b = 3 and an
    intercept of 0; n_a samples show a alone and n_b show b alone, with f0 = 0. The least
    n_a a^2 + n_b (3 - a)^2 is at a = 3 n_b / (n_a + n_b), near the Shapley value 1.5.
    """
    classifier = by_hand()
    found = kernel_shap(classifier, X, FIRST, n_samples=102, segments=PIXELS)
    share = float(found[0, 0, 0]) / 3 * 100
    assert abs(share - round(share)) < 0.1
    assert 35 <= round(share) <= 65
    assert float(found.sum()) == pytest.approx(3, abs=1e-3)


def test_lime_by_hand() -> None:
    """f0 is 3 with both pixels, otherwise 0; a sample with k pixels has cosine distance
    1 - sqrt(k / 2) from the full picture, 1 for k = 0."""
    n = 40
    classifier = by_hand()
    found = lime(classifier, X, FIRST, n_samples=n, segments=PIXELS)
    with seeded(0):
        z = np.array([torch.bernoulli(torch.full((1, 2), 0.5)).tolist()[0] for _ in range(n)])
    distance = 1 - np.sqrt(z.sum(1) / 2)
    root = np.sqrt(np.exp(-(distance**2) / (2 * 0.25**2)))[:, None]
    design = np.hstack([z, np.ones((n, 1))])
    values = 3 * z.prod(1)[:, None]
    (a, b, _), *_ = np.linalg.lstsq(root * design, root * values)
    assert close(found, a.item(), b.item(), atol=5e-3)  # captum solves in float32


# A linear network: everything that attributes must agree.


def linear(seed: int) -> tuple[Classifier, Tensor]:
    """A linear network in float64 and its weights (3, 3, 6, 6) by class."""
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Flatten(), nn.Linear(144, 3)).double()
    x = torch.zeros(3, 3, 6, 6, dtype=torch.float64, requires_grad=True)
    (w,) = torch.autograd.grad(net(x).diagonal().sum(), x)
    return wrap(net.eval(), size=6), w


def totals(contributions: Tensor, segments: Tensor) -> Tensor:
    """The sum over channels and over the pixels of each pixel's segment."""
    pixels, result = contributions.sum(1), torch.zeros_like(segments, dtype=torch.float64)
    for i, labels in enumerate(segments):
        for label in labels.unique():
            result[i][labels == label] = pixels[i][labels == label].sum()
    return result


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 1000), st.sampled_from(["number", "colour", "picture"]))
def test_on_a_linear_network_all_methods_agree(seed: int, kind: str) -> None:
    with seeded(seed):
        classifier, weights = linear(seed)
        x = torch.randn(2, 3, 6, 6).double()
        given = {"number": torch.tensor(0.3), "colour": torch.randn(3, 1, 1), "picture": x[0] / 2}
        x0 = given[kind].double()
        baseline: Any = 0.3 if kind == "number" else x0.flatten() if kind == "colour" else x0
        t = torch.tensor([2, 0])
        w, part = weights[t], weights[t] * (x - x0)
        segments = torch.randint(0, 4, (2, 6, 6))
        segments[:, 0, :4] = torch.arange(4)
        several = torch.stack([x0.expand(3, 6, 6), torch.randn(3, 6, 6).double()])

        def agree(found: Tensor, expected: Tensor, tolerance: float = 1e-6) -> None:
            assert (found - expected).abs().max() <= tolerance * expected.abs().max()

        agree(saliency(classifier, x, t), w.abs().amax(1))
        agree(gradient_x_input(classifier, x, t), (w * x).mean(1))
        agree(integrated_gradients(classifier, x, t, n_steps=5, baseline=baseline), part.mean(1))
        agree(smooth_grad(classifier, x, t, n_samples=3), w.mean(1))
        agree(gradient_shap(classifier, x, t, n_samples=3, baselines=several[:1]), part.mean(1))
        agree(deep_lift(classifier, x, t, baseline=baseline), part.mean(1))
        agree(
            deep_lift_shap(classifier, x, t, baselines=several), (w * (x - several.mean(0))).mean(1)
        )
        whole, parts = totals(part, segments), {"baseline": baseline, "segments": segments}
        agree(feature_ablation(classifier, x, t, **parts), whole)
        agree(shapley_sampling(classifier, x, t, n_samples=1, **parts), whole)
        agree(kernel_shap(classifier, x, t, n_samples=20, **parts), whole, 1e-3)
        agree(lime(classifier, x, t, n_samples=60, **parts), whole, 1e-3)
        agree(occlusion(classifier, x, t, baseline=baseline, window=1 / 6, stride=1.0), part.sum(1))
        for record in (guided_backprop, deconvolution, guided_grad_cam):
            with pytest.raises(CannotExplain, match=r"has none \(it has no activation\)"):
                record(classifier, x, 0)


# Literal twins on a small network that is not linear.


class Small(nn.Module):
    """Two convolutions; the ReLUs are functions, or modules."""

    def __init__(self, functional: bool = False, side: int = 8) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.first, self.second = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 6, 3, padding=1)
        self.head, self.classes = nn.Linear(6 * side * side // 4, 10), nn.Linear(10, 3)
        self.relus = None if functional else nn.ModuleList([nn.ReLU() for _ in range(3)])

    def relu(self, i: int, x: Tensor) -> Tensor:
        return F.relu(x) if self.relus is None else self.relus[i](x)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(self.relu(0, self.first(x)), 2)
        x = self.relu(2, self.head(torch.flatten(self.relu(1, self.second(x)), 1)))
        return self.classes(x)


def small(**arguments: Any) -> tuple[Classifier, Tensor]:
    classifier = wrap(Small(**arguments).eval(), size=8)
    return classifier, torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(5))


def test_occlusion_is_the_mean_over_the_windows_that_cover_a_pixel() -> None:
    """Windows of 3 by 3 in steps of 2 on 8 by 8 pixels; the last one is cut at the border."""
    classifier, x = small()
    found = occlusion(classifier, x, FIRST, baseline=0.5, window=3 / 8, stride=2 / 3, batch_size=5)
    total, covered = torch.zeros(8, 8), torch.zeros(8, 8)
    logit = classifier.predict(x)[0, 0]
    for top in range(0, 7, 2):
        for left in range(0, 7, 2):
            without = x.clone()
            without[..., top : top + 3, left : left + 3] = 0.5
            effect = logit - classifier.predict(without)[0, 0]
            total[top : top + 3, left : left + 3] += effect
            covered[top : top + 3, left : left + 3] += 1
    assert torch.allclose(found[0], total / covered, atol=1e-6)


def test_segments_as_a_vector_are_captums_feature_mask() -> None:
    from captum.attr import FeatureAblation, KernelShap, ShapleyValueSampling

    classifier, x = small()
    segments = torch.arange(64).reshape(1, 8, 8) // 11
    x0 = torch.full_like(x, 0.25)
    twin = Twin(classifier.graph)
    mask: dict[str, Any] = {"baselines": x0, "target": 1, "feature_mask": segments[None]}
    theirs = FeatureAblation(twin).attribute(x, **mask)[:, 0]
    assert torch.allclose(
        feature_ablation(classifier, x, SECOND, baseline=0.25, segments=segments), theirs
    )
    for ours, method, n in (
        (shapley_sampling, ShapleyValueSampling, 5),
        (kernel_shap, KernelShap, 30),
    ):
        with seeded(1):
            theirs = method(twin).attribute(x, n_samples=n, **mask)[:, 0]
        found = ours(classifier, x, SECOND, n_samples=n, baseline=0.25, segments=segments, seed=1)
        assert torch.allclose(found, theirs, atol=1e-4)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 4))
def test_shapley_values_sum_to_the_difference_for_any_number_of_orders(seed: int, n: int) -> None:
    classifier, x = small()
    segments = torch.arange(64).reshape(1, 8, 8) // 7
    found = shapley_sampling(classifier, x, FIRST, n_samples=n, segments=segments, seed=seed)
    total = sum(float(found[segments == label][0]) for label in range(10))
    difference = classifier.predict(x)[0, 0] - classifier.predict(torch.zeros_like(x))[0, 0]
    assert total == pytest.approx(float(difference), abs=1e-5)


def test_guided_backprop_sees_functional_relus_which_captum_alone_does_not() -> None:
    from captum.attr import GuidedBackprop

    (modules, x), (functions, _) = small(), small(functional=True)
    assert torch.equal(modules.predict(x), functions.predict(x))
    for method in (guided_backprop, deconvolution, guided_grad_cam):
        expected = method(modules, x, FIRST)
        assert torch.equal(method(functions, x, FIRST), expected)
    expected = guided_backprop(modules, x, FIRST)
    with pytest.warns(UserWarning, match="backward hooks"):
        alone = GuidedBackprop(functions.module).attribute(x.clone().requires_grad_(), target=0)
    (gradient,) = torch.autograd.grad(
        functions.module(leaf := x.clone().requires_grad_())[0, 0], leaf
    )
    assert torch.allclose(alone, gradient)  # captum returns the plain gradient, without a word
    assert (alone.mean(1) - expected).abs().max() > 0.1 * expected.abs().max()


# What captum's own settings would do.


def correlation(a: Tensor, b: Tensor) -> float:
    return float(torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1])


def between_seeds(method: Any, pairs: int = 6, **arguments: Any) -> float:
    """How the maps of two seeds correlate, the mean over some pairs."""
    classifier, x = small()
    maps = [method(classifier, x, FIRST, seed=seed, **arguments) for seed in range(2 * pairs)]
    return sum(correlation(*maps[i : i + 2]) for i in range(0, 2 * pairs, 2)) / pairs


@pytest.mark.parametrize("method", [smooth_grad, gradient_shap])
def test_captums_5_samples_are_noisier_than_50(method: Any) -> None:
    assert between_seeds(method, n_samples=5) < between_seeds(method, n_samples=50) - 0.03


def test_noise_as_a_share_of_the_range_does_not_depend_on_the_normalisation() -> None:
    """The same network on the same picture in units four times as fine, as with std 0.25."""
    from captum.attr import NoiseTunnel, Saliency

    net, rescaled = Small().eval(), Small().eval()
    rescaled.first.weight.data /= 4
    x = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(5))
    maps, stock = [], []
    for module, scale in ((net, 1), (rescaled, 4)):
        classifier = wrap(module, mean=[0.0] * 3, std=[1 / scale] * 3, size=8)
        maps.append(smooth_grad(classifier, scale * x, FIRST) * scale)
        with seeded(0):
            tunnel = NoiseTunnel(Saliency(module))
            stock.append(
                tunnel.attribute(scale * x, nt_samples=50, target=0, abs=False).mean(1) * scale
            )
    assert torch.allclose(*maps, atol=1e-5)
    assert correlation(*stock) < 0.95


def test_nearest_draws_the_cells_of_the_cam_layer_as_squares() -> None:
    """Guided backpropagation is constant here, so the map's steps are those of the enlarged CAM,
    (0 or 1) times a constant: nearest steps by all at once, bilinear by a quarter, half, a quarter.
    """
    net = nn.Sequential(
        filled(nn.Conv2d(1, 1, 1), [1.0], [0.0]), nn.ReLU(), nn.AvgPool2d(2), nn.ReLU(),
        nn.Flatten(), filled(nn.Linear(4, 2), [[1.0] * 4, [0.0] * 4], [0.0, 0.0]),
    )  # fmt: skip
    classifier = wrap(net.eval(), mean=[0.0], std=[1.0], size=4, cam_layer="3")
    x = torch.full((1, 1, 4, 4), 1e-6)
    x[..., 2:] = 4
    rows = [
        guided_grad_cam(classifier, x, FIRST, interpolation=mode)[0, 0]
        for mode in ("nearest", "bilinear")
    ]
    steps = [(row.diff() / (row[-1] - row[0])).tolist() for row in rows]
    assert steps[0] == pytest.approx([0, 1, 0])
    assert steps[1] == pytest.approx([0.25, 0.5, 0.25])


def test_captums_25_samples_starve_lime_and_kernel_shap() -> None:
    segments = torch.arange(64).reshape(1, 8, 8) // 2  # 32, more than 25
    from captum.attr import KernelShap, Lime

    def stock(method: Any) -> Any:
        def explain(classifier: Classifier, x: Tensor, target: Tensor, seed: int = 0) -> Tensor:
            asked = method(Twin(classifier.graph))
            with seeded(seed):
                return asked.attribute(x, target=int(target), feature_mask=segments[None])[:, 0]

        return explain

    starved = between_seeds(stock(KernelShap), pairs=3)
    assert between_seeds(kernel_shap, pairs=2, n_samples=500, segments=segments) > starved + 0.4
    classifier, x = small()
    sparse = stock(Lime)(classifier, x, FIRST)
    assert float((sparse == 0).float().mean()) > 0.25
    for ours in (lime, kernel_shap):
        with pytest.raises(ValueError, match=r"segments \+ 1, 33, .* got 25"):
            ours(classifier, x, FIRST, n_samples=25, segments=segments)


def test_the_lasso_zeroes_segments_that_least_squares_does_not() -> None:
    classifier, x = small()
    segments = torch.arange(64).reshape(1, 8, 8) // 2
    zeros = []
    for alpha in (0.0, 0.01):
        found = lime(classifier, x, FIRST, n_samples=500, alpha=alpha, segments=segments)
        zeros.append(int((found == 0).sum()) / 2)
    assert zeros[0] == 0
    assert zeros[1] >= 3


def test_a_kernel_of_width_1_is_hardly_local() -> None:
    """Near the picture, taking a pixel away costs 3 (see above); the value falls further from it
    the more weight the pictures without any pixel have: exp(-1/2) = 0.6 against exp(-8)."""
    values = []
    for width in (0.25, 1.0):
        found = lime(by_hand(), X, FIRST, n_samples=400, kernel_width=width, segments=PIXELS)
        values.append(float(found.mean()))
    assert values[1] < values[0] - 0.2 < 3 - 0.2
    assert math.exp(-1 / (2 * 1.0**2)) > 0.6


def test_batches_change_the_number_of_calls_and_nothing_else() -> None:
    classifier, x = small()
    segments = torch.arange(64).reshape(1, 8, 8) // 2
    for method, more in (
        (feature_ablation, {}),
        (shapley_sampling, {"n_samples": 2}),
        (kernel_shap, {"n_samples": 66}),
        (lime, {"n_samples": 66}),
        (occlusion, {"window": 0.25}),
    ):
        maps, calls = [], []
        for batch_size in (32, 1):
            parts = {} if method is occlusion else {"segments": segments}
            count = 0

            def called() -> bool:
                nonlocal count
                count += 1
                return False

            with asking.watch(cancelled=called):
                maps.append(method(classifier, x, FIRST, batch_size=batch_size, **parts, **more))
            calls.append(count)
        assert torch.allclose(*maps, atol=1e-4)
        assert calls[1] > 8 * calls[0]
