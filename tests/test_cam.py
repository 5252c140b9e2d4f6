"""The CAM family: equal to its literal twins, and the properties that the papers promise."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import reference_cam as reference
import torch
from hypothesis import assume, given, settings, strategies as st
from hypothesis.extra import numpy as st_numpy
from torch import Tensor, nn

from xaiutils import cam
from xaiutils.cam import CAMS, min_max, to_image
from xaiutils.network.graph import Graph

light = settings(max_examples=40, deadline=None)
NAMES = [name for name in CAMS if name != "cam"]  # which needs a constant gradient
SIZES = st.tuples(st.integers(1, 2), st.integers(1, 3), st.integers(1, 4), st.integers(1, 4))
NUMBERS = st.floats(-4, 4, width=32).map(lambda v: round(v, 3))


@st.composite
def layers(draw: st.DrawFn, positive: bool = False) -> tuple[Tensor, Tensor]:
    """A and g of one shape, float64."""
    shape = draw(SIZES)
    a, g = (draw(st_numpy.arrays(np.float64, shape, elements=NUMBERS)) for _ in range(2))
    return torch.tensor(np.abs(a) if positive else a), torch.tensor(g)


def drawn(n: int = 2, k: int = 4, h: int = 3, w: int = 5, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Activations behind a ReLU and gradients of both signs."""
    generator = torch.Generator().manual_seed(seed)
    a, g = torch.randn(2, n, k, h, w, generator=generator, dtype=torch.float64)
    return a.relu(), g


class Pooled(nn.Module):
    """Convolution, mean over positions, one linear layer: the network of CAM's paper."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution, self.relu = nn.Conv2d(3, 6, 3), nn.ReLU()
        self.classes = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.classes(self.relu(self.convolution(x)).mean((2, 3)))


def test_every_cam_has_a_twin():
    assert set(reference.CAMS) == set(CAMS)


@pytest.mark.parametrize("name", NAMES)
@light
@given(layer=layers(positive=True))
def test_a_cam_equals_its_literal_twin(name, layer):
    found = CAMS[name].function(*layer).numpy()
    np.testing.assert_allclose(found, reference.CAMS[name](*layer), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "xgrad_cam"])
@light
@given(layer=layers())
def test_a_cam_equals_its_literal_twin_before_a_relu_as_well(name, layer):
    a, g = layer
    total = 2 + g * a.sum((2, 3), keepdim=True)
    assume(bool(((total.abs() > 1e-6) | (g == 0)).all()))  # a sum that rounds to 0 has no twin
    found = CAMS[name].function(a, g).numpy()
    np.testing.assert_allclose(found, reference.CAMS[name](a, g), rtol=1e-7, atol=1e-9)


@light
@given(layer=layers())
def test_cam_equals_its_literal_twin_for_a_constant_gradient(layer):
    a, g = layer
    g = g[:, :, :1, :1].expand_as(a).contiguous()
    found = CAMS["cam"].function(a, g).numpy()
    np.testing.assert_allclose(found, reference.cam(a, g), rtol=1e-9, atol=1e-11)


@light
@given(layer=layers(positive=True))
def test_the_two_forms_of_alpha_agree(layer):
    a, g = layer
    np.testing.assert_allclose(
        reference.grad_cam_plus_plus(a, g), reference.grad_cam_plus_plus_exact(a, g), rtol=1e-9
    )
    for n, k, i, j in np.argwhere(g.numpy() > 0):
        share = reference.alpha_exact(a[n].numpy(), g[n].numpy(), k, i, j)
        assert 0 < share <= 0.5
        printed = reference.alpha(a[n].numpy(), g[n].numpy(), k, i, j, 0.0)
        assert printed == pytest.approx(share, rel=1e-9)


@light
@given(layer=layers(positive=True), epsilon=st.sampled_from([1e-12, 1e-6, 1e-2, 1.0]))
def test_the_form_with_epsilon_equals_its_twin(layer, epsilon):
    a, g = layer
    denominator = 2 * g.square() + a.sum((2, 3), keepdim=True) * g.pow(3) + epsilon
    assume(bool((denominator.abs() > 1e-6 * g.square()).all()))
    found = cam.grad_cam_plus_plus(a, g, epsilon).numpy()
    np.testing.assert_allclose(
        found, reference.grad_cam_plus_plus(a, g, epsilon=epsilon), rtol=1e-7, atol=1e-9
    )


def test_a_growing_epsilon_only_shrinks_the_map_and_a_tiny_one_changes_nothing():
    a, g = drawn()
    exact = cam.grad_cam_plus_plus(a, g)
    torch.testing.assert_close(cam.grad_cam_plus_plus(a, g, 1e-14), exact, rtol=1e-8, atol=0)
    maps = [exact, *(cam.grad_cam_plus_plus(a, g, e) for e in (1e-6, 1e-3, 1.0))]
    assert all((after <= before).all() for before, after in pairwise(maps))
    assert maps[-1].sum() < 0.9 * exact.sum()


def test_the_form_with_epsilon_scales_like_the_equation_says():
    """g -> c g, A -> A / c, epsilon -> c^2 epsilon leaves every alpha and the whole map alone."""
    a, g = drawn()
    plain = cam.grad_cam_plus_plus(a, g, 1e-3)
    torch.testing.assert_close(cam.grad_cam_plus_plus(a / 7, 7 * g, 49e-3), plain)
    torch.testing.assert_close(cam.grad_cam_plus_plus(a / 7, 7 * g), cam.grad_cam_plus_plus(a, g))
    fixed = cam.grad_cam_plus_plus(a / 7, 7 * g, 1e-3)
    assert (fixed - plain).abs().max() > 1e-5


@light
@given(layer=layers())
def test_undefined_alphas_are_counted(layer):
    assert cam.undefined_alphas(*layer).tolist() == reference.undefined_alphas(*layer)


def test_undefined_alphas_count_as_zero():
    a = torch.tensor([[[[-3.0, 0.0]]], [[[3.0, 0.0]]]], dtype=torch.float64)
    g = torch.tensor([[[[1.0, 0.5]]], [[[1.0, 0.5]]]], dtype=torch.float64)
    assert cam.undefined_alphas(a, g).tolist() == [1, 0]  # 2 - 3 and 2 - 1.5; 2 + 3 and 2 + 1.5
    expected = [[[-3 * 0.5 / 0.5, 0]], [[3 * (1 / 5 + 0.5 / 3.5), 0]]]
    torch.testing.assert_close(cam.grad_cam_plus_plus(a, g), torch.tensor(expected).double())


def test_alpha_is_at_most_a_half_behind_a_relu():
    """On one channel that is 1 at a position, the map is the sum of alpha relu(g)."""
    a, g = drawn(n=5, k=1)
    weight = cam.grad_cam_plus_plus(a, g)[a[:, 0] > 0] / a[:, 0][a[:, 0] > 0]
    positive = g.clamp(min=0).sum((1, 2, 3))[:, None, None].expand_as(a[:, 0])[a[:, 0] > 0]
    assert (weight > 0).all()
    assert (weight <= positive / 2).all()
    silent = torch.zeros_like(a)
    silent[..., 0, 0] = 1e-12  # a sum of nearly 0: alpha is nearly a half
    torch.testing.assert_close(
        cam.grad_cam_plus_plus(silent, g)[:, 0, 0] / 1e-12, g.clamp(min=0).sum((1, 2, 3)) / 2
    )


@pytest.mark.parametrize("name", CAMS)
def test_the_order_of_the_channels_does_not_matter(name):
    a, g = drawn(k=7)
    g = g.mean((2, 3), keepdim=True).expand_as(g) if name == "cam" else g
    order = torch.randperm(7, generator=torch.Generator().manual_seed(1))
    function = CAMS[name].function
    torch.testing.assert_close(function(a[:, order], g[:, order]), function(a, g))


@pytest.mark.parametrize("name", CAMS)
def test_the_images_of_a_batch_do_not_know_each_other(name):
    a, g = drawn(n=3)
    g = g.mean((2, 3), keepdim=True).expand_as(g) if name == "cam" else g
    alone = torch.cat([CAMS[name].function(a[i : i + 1], g[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(CAMS[name].function(a, g), alone)


@pytest.mark.parametrize("name", ["grad_cam", "hires_cam", "xgrad_cam"])
def test_these_are_linear_in_the_gradient(name):
    (a, g), (_, other) = drawn(), drawn(seed=1)
    function = CAMS[name].function
    mixed = 3 * function(a, g) - 0.5 * function(a, other)
    torch.testing.assert_close(function(a, 3 * g - 0.5 * other), mixed)


@pytest.mark.parametrize("name", ["grad_cam", "hires_cam", "layer_cam", "xgrad_cam"])
def test_their_image_does_not_depend_on_the_scale_of_the_logit(name):
    a, g = drawn()
    function = CAMS[name].function
    torch.testing.assert_close(
        to_image(function(a, 8 * g), (6, 7)), to_image(function(a, g), (6, 7))
    )


def test_grad_cam_plus_plus_depends_on_the_scale_of_the_logit():
    a, g = drawn()
    exact = [to_image(cam.grad_cam_plus_plus(a, scale * g), (6, 7)) for scale in (1, 10)]
    assert (exact[0] - exact[1]).abs().max() > 0.01


def test_hires_cam_is_grad_cam_for_a_constant_gradient_and_else_is_not():
    a, g = drawn()
    assert (cam.hires_cam(a, g) - cam.grad_cam(a, g)).abs().max() > 0.1
    constant = g.mean((2, 3), keepdim=True).expand_as(g)
    torch.testing.assert_close(cam.hires_cam(a, constant), cam.grad_cam(a, constant))


def test_on_the_network_of_its_paper_cam_is_grad_cam_times_the_positions():
    torch.manual_seed(0)
    module = Pooled().double().eval()
    x = torch.randn(2, 3, 8, 9, dtype=torch.float64)
    graph = Graph(module, (3, 8, 9))
    record = graph.run(x, leaf=graph.find("relu"))
    a = record.leaf
    (g,) = torch.autograd.grad(record.logits[:, 2].sum(), a)
    a = a.detach()
    found = cam.cam(a, g)
    torch.testing.assert_close(found, cam.grad_cam(a, g) * 6 * 7)
    weights = module.classes.weight[2].detach()
    torch.testing.assert_close(found, torch.einsum("k,nkhw->nhw", weights, a))
    bias = module.classes.bias[2].detach()
    torch.testing.assert_close(found.mean((1, 2)) + bias, record.logits[:, 2].detach())


def test_cam_refuses_another_head():
    a, g = drawn()
    with pytest.raises(ValueError, match="cam must have a head of global average pooling and one"):
        cam.cam(a, g)


def test_a_class_without_positive_weights_gets_a_map_of_zeros():
    a, g = drawn()
    for name in ("grad_cam_plus_plus", "grad_cam", "hires_cam", "layer_cam"):
        assert not to_image(CAMS[name].function(a, -g.abs()), (6, 7)).any(), name


@pytest.mark.parametrize("name", ["grad_cam_plus_plus", "layer_cam"])
def test_these_are_never_negative_behind_a_relu(name):
    assert (CAMS[name].function(*drawn(n=6)) >= 0).all()


@light
@given(
    raw=st_numpy.arrays(
        np.float64, st.tuples(st.integers(1, 2), st.integers(1, 5), st.integers(1, 5)),
        elements=NUMBERS,
    ),
    size=st.tuples(st.integers(1, 11), st.integers(1, 11)),
)  # fmt: skip
def test_to_image_equals_its_literal_twin(raw, size):
    grown = np.stack([reference.bilinear(np.maximum(image, 0), size) for image in raw])
    spread = grown.max((1, 2)) - grown.min((1, 2))
    assume(((spread == 0) | (spread > 1e-6)).all())  # rounding alone is not a map
    found = to_image(torch.tensor(raw), size).numpy()
    keep = spread > 0
    np.testing.assert_allclose(found[keep], reference.to_image(raw, size)[keep], atol=1e-9)
    assert ((found >= 0) & (found <= 1)).all()
    assert found.shape == (len(raw), *size)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_an_image_reaches_from_0_to_1(dtype):
    image = to_image(torch.randn(5, 7, 7).to(dtype), (64, 48))
    assert image.dtype == dtype
    assert image.amin((1, 2)).tolist() == [0] * 5
    assert image.amax((1, 2)).tolist() == [1] * 5


@pytest.mark.parametrize("value", [-2.0, 0.0, 0.3, 1e30, 1e-30])
def test_a_constant_map_becomes_zeros(value):
    assert not to_image(torch.full((2, 3, 4), value), (6, 8)).any()  # although upsampling rounds
    assert not min_max(torch.full((2, 3, 4), value)).any()


def test_a_constant_map_does_not_touch_its_neighbour():
    raw = torch.stack([torch.ones(2, 2), torch.tensor([[0.0, 1.0], [2.0, 3.0]])])
    scaled = min_max(raw)
    assert not scaled[0].any()
    torch.testing.assert_close(scaled[1], torch.tensor([[0, 1 / 3], [2 / 3, 1]]))


def test_inputs_are_left_as_they_are():
    a, g = drawn()
    kept = a.clone(), g.clone()
    for name in NAMES:
        to_image(CAMS[name].function(a, g), (6, 7))
    assert torch.equal(a, kept[0])
    assert torch.equal(g, kept[1])


BAD = {
    "not a tensor": (lambda: cam.grad_cam([1], [1]), TypeError, "a must be a torch.Tensor"),
    "rank": (lambda: cam.grad_cam(torch.ones(2, 3, 3), torch.ones(2, 3, 3)), ValueError, "a must"),
    "shapes": (
        lambda: cam.hires_cam(torch.ones(1, 2, 3, 3), torch.ones(1, 2, 3, 4)),
        ValueError,
        r"a and g must have one shape, got \(1, 2, 3, 3\) and \(1, 2, 3, 4\)",
    ),
    "NaN": (
        lambda: cam.layer_cam(torch.full((1, 1, 2, 2), torch.nan), torch.ones(1, 1, 2, 2)),
        ValueError,
        "a must be finite",
    ),
    "epsilon": (
        lambda: cam.grad_cam_plus_plus(*drawn(), epsilon=-1),
        ValueError,
        "epsilon must be >= 0, got -1",
    ),
    "raw": (lambda: to_image(torch.ones(2, 2), (4, 4)), ValueError, r"raw must have shape \(N, H"),
}


@pytest.mark.parametrize("case", BAD)
def test_errors_name_the_argument(case):
    call, error, match = BAD[case]
    with pytest.raises(error, match=match):
        call()
