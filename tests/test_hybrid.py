"""The five steps: closed forms, the whole equal to its parts, and no side effects."""

from __future__ import annotations

import random
from functools import cache
from typing import Any

import numpy as np
import pytest
import reference_cam as reference
import torch
import torch.nn.functional as F
from hypothesis import assume, given, settings, strategies as st
from hypothesis.extra import numpy as st_numpy
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn
from untouched import state_of

from xaiutils import hybrid
from xaiutils.hybrid import bound, class_activation_map, explain, fuse, relevance, smooth
from xaiutils.lrp.composites import COMPOSITES, paper
from xaiutils.lrp.rules import flat, z_box
from xaiutils.network.cam_layer import blocks
from xaiutils.network.classifier import Classifier, load_model, wrap
from xaiutils.pictures import scenes
from xaiutils.pictures.scenes.networks import data_folder

light = settings(max_examples=40, deadline=None)
NUMBERS = st.floats(-4, 4, width=32).map(lambda v: round(v, 3))
SHAPES = st.tuples(st.integers(1, 2), st.integers(1, 7), st.integers(1, 7))
MAPS = st_numpy.arrays(np.float64, SHAPES, elements=NUMBERS)
STAGES = ("cam", "bounded", "relevance", "product", "hybrid")


class Plain(nn.Module):
    """Two convolutions and two linear layers, as VGG in small; the ReLUs work in place."""

    def __init__(self, channels: int = 3, side: int = 3) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(channels, 6, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(2),
            nn.Conv2d(6, 8, 3, padding=1), nn.ReLU(inplace=True),
        )  # fmt: skip
        self.pool, self.head = nn.AdaptiveAvgPool2d(side), nn.Linear(8 * side * side, 12)
        self.classes = nn.Linear(12, 5)

    def forward(self, x: Tensor) -> Tensor:
        pooled = torch.flatten(self.pool(self.features(x)), 1)
        return self.classes(torch.relu(self.head(pooled)))


class Residual(nn.Module):
    """A residual block with batch norm and functional ReLUs."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6)
        self.inner, self.inner_norm = nn.Conv2d(6, 6, 3, padding=1), nn.BatchNorm2d(6)
        self.classes = nn.Linear(6, 5)
        for norm in (self.norm, self.inner_norm):
            nn.init.uniform_(norm.running_var, 0.5, 2)
            nn.init.normal_(norm.running_mean)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.norm(self.stem(x)))
        x = F.relu(self.inner_norm(self.inner(x)) + x)
        return self.classes(F.adaptive_avg_pool2d(x, 1).flatten(1))


@cache
def made(kind: str = "plain", dtype: torch.dtype = torch.float32) -> Classifier:
    torch.manual_seed(0)
    modules = {"plain": Plain, "grey": lambda: Plain(1), "residual": Residual}
    return wrap(modules[kind]().to(dtype).eval(), size=16)


fresh = made.__wrapped__  # for tests that change its weights


def noise(n: int = 3, c: int = 3, h: int = 16, w: int = 16, seed: int = 0) -> Tensor:
    return torch.randn(n, c, h, w, generator=torch.Generator().manual_seed(seed))


def scene_net() -> tuple[Classifier, Tensor]:
    if not (data_folder() / "scenes_vgg_seed0.safetensors").is_file():
        pytest.skip("scenes_vgg_seed0 has not been trained yet")
    from xaiutils.pictures.scenes import samples

    classifier = load_model("scenes_vgg_seed0")
    return classifier, classifier.preprocess(samples("test", 2))


CASES = {
    "plain": lambda: (made(), noise()),
    "grey": lambda: (made("grey"), noise(c=1)),
    "residual": lambda: (made("residual"), noise()),
    "96 x 160": lambda: (made(), noise(2, 3, 96, 160)),
    "12 images": lambda: (made(), noise(12)),
    "double": lambda: (made(dtype=torch.float64), noise().double()),
    "scenes": scene_net,
}


def values(explanation: Any) -> dict[str, Tensor]:
    """Everything an explanation holds that is a tensor."""
    fields = {**vars(explanation), **vars(explanation.conservation)}
    return {name: value for name, value in fields.items() if isinstance(value, Tensor)}


@light
@given(raw=MAPS, threshold=st.sampled_from([0.0, 0.1, 0.5, 0.9]))
def test_the_bounding_figure_equals_its_closed_form_and_its_twin(raw, threshold):
    spread = raw.max((1, 2)) - raw.min((1, 2))
    assume((spread > 1e-2).all())
    cam = np.stack([reference.min_max(image) for image in raw])
    found = bound(torch.tensor(cam), threshold).numpy()
    np.testing.assert_allclose(found, np.maximum(cam - threshold, 0) / (1 - threshold), atol=1e-12)
    np.testing.assert_allclose(found, reference.bound(cam, threshold), atol=1e-12)


@light
@given(raw=st_numpy.arrays(np.float64, SHAPES, elements=st.integers(0, 20).map(lambda v: v / 20)))
def test_the_bounding_figure_of_any_map_equals_its_twin(raw):
    found = bound(torch.tensor(raw), 0.3).numpy()
    np.testing.assert_allclose(found, reference.bound(raw, 0.3), atol=1e-9)
    assert ((found >= 0) & (found <= 1)).all()


def test_the_bounding_figure_is_empty_where_nothing_exceeds_the_threshold():
    cam = torch.tensor([[[0.0, 0.2], [0.1, 0.2]], [[0.0, 0.2], [0.1, 0.4]]])
    found = bound(cam, 0.2)
    assert not found[0].any()
    torch.testing.assert_close(found[1], torch.tensor([[0.0, 0], [0, 1]]))


def test_a_threshold_of_zero_leaves_a_scaled_map_alone():
    cam = torch.rand(2, 5, 6, generator=torch.Generator().manual_seed(0))
    cam = (cam - cam.amin((1, 2), keepdim=True)) / (cam - cam.amin((1, 2), True)).amax((1, 2), True)
    torch.testing.assert_close(bound(cam, 0), cam, rtol=0, atol=0)


@light
@given(pair=SHAPES.flatmap(lambda s: st.tuples(*[st_numpy.arrays(float, s, elements=NUMBERS)] * 2)))
def test_fusion_is_the_product_inside_the_figure(pair):
    bounded, signed = np.abs(pair[0]), pair[1]
    found = fuse(torch.tensor(bounded), torch.tensor(signed)).numpy()
    np.testing.assert_array_equal(found, reference.fuse(bounded, signed))
    assert not found[bounded == 0].any()
    assert (np.sign(found) == np.sign(bounded) * np.sign(signed)).all()


@light
@given(raw=MAPS, sigma=st.sampled_from([0.1, 0.5, 1.0, 2.3]))
def test_smoothing_equals_its_literal_twin_and_keeps_the_sum(raw, sigma):
    found = smooth(torch.tensor(raw), sigma).numpy()
    np.testing.assert_allclose(found, reference.gaussian(raw, sigma), atol=1e-10)
    np.testing.assert_allclose(found.sum((1, 2)), raw.sum((1, 2)), atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(2, 64, 48), (1, 1, 1), (2, 5, 40)])
def test_smoothing_equals_scipys(shape, dtype):
    m = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(dtype)
    for sigma in (1e-200, 0.1, 1.7, 12, 1e4):  # a kernel wider than the picture too
        found = smooth(m, sigma)
        expected = gaussian_filter(m.numpy(), (0, sigma, sigma)) if sigma > 1e-9 else m
        assert found.dtype == dtype
        np.testing.assert_allclose(
            found, expected, rtol=0, atol=1e-12 if dtype.itemsize > 4 else 1e-7
        )


@light
@given(raw=MAPS, factor=NUMBERS)
def test_smoothing_is_linear_and_blind_to_the_direction(raw, factor):
    m = torch.tensor(raw)
    other = m.flip(1).square()
    mixed = factor * smooth(m, 1.5) + smooth(other, 1.5)
    torch.testing.assert_close(smooth(factor * m + other, 1.5), mixed)
    torch.testing.assert_close(smooth(m.flip(1, 2), 1.5).flip(1, 2), smooth(m, 1.5))


def test_smoothing_by_zero_is_a_copy():
    m = noise()[:, 0]
    found = smooth(m, 0)
    assert torch.equal(found, m)
    found += 1
    assert torch.equal(m, noise()[:, 0])


@pytest.mark.parametrize("sigma", [0.3, 0.5, 1.0, 1.6, 3.0])
def test_the_blur_widens_the_support_by_four_sigma(sigma):
    m = torch.zeros(1, 61, 61, dtype=torch.float64)
    m[0, 30, 30] = 1
    radius = int(4 * sigma + 0.5)
    rows = smooth(m, sigma)[0].any(1).nonzero()[:, 0]
    assert (int(rows[0]), int(rows[-1])) == (30 - radius, 30 + radius)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_the_steps_keep_the_dtype_and_do_not_write_to_their_input(dtype):
    cam, signed = torch.rand(2, 6, 7).to(dtype), torch.randn(2, 6, 7).to(dtype)
    kept = cam.clone(), signed.clone()
    assert {bound(cam).dtype, fuse(cam, signed).dtype, smooth(signed, 1).dtype} == {dtype}
    assert torch.equal(cam, kept[0])
    assert torch.equal(signed, kept[1])


@pytest.mark.parametrize("case", CASES)
def test_explain_is_the_five_steps_done_separately(case):
    classifier, x = CASES[case]()
    found = explain(classifier, x, 2, threshold=0.3, sigma=1.2)
    cam = class_activation_map(classifier, x, 2)
    assert torch.equal(found.cam, cam)
    bounded = bound(cam, 0.3)
    assert torch.equal(found.bounded, bounded)
    parts = relevance(classifier, x, 2)
    assert torch.equal(found.relevance_per_channel, parts.map)
    assert torch.equal(found.relevance, parts.map.mean(1))
    product = fuse(bounded, found.relevance)
    assert torch.equal(found.product, product)
    assert torch.equal(found.hybrid, smooth(product, 1.2))
    torch.testing.assert_close(found.logits, classifier.module(x).detach(), rtol=1e-5, atol=1e-5)
    assert found.cam.any()
    assert found.product.any()
    graph = classifier.graph_for(x)
    (activations,) = found.activations
    assert torch.equal(activations, graph.run(x, leaf=graph.find(classifier.cam_layer)).leaf)


@pytest.mark.parametrize("case", CASES)
def test_an_explanation_has_the_shapes_ranges_and_supports_that_it_promises(case):
    classifier, x = CASES[case]()
    found = explain(classifier, x)
    n, c, h, w = x.shape
    assert all(getattr(found, stage).shape == (n, h, w) for stage in STAGES)
    assert all(getattr(found, stage).dtype == x.dtype for stage in STAGES)
    assert found.relevance_per_channel.shape == (n, c, h, w)
    assert not any(value.requires_grad for value in values(found).values())
    for stage in (found.cam, found.bounded):
        assert stage.min() >= 0
        assert stage.max() <= 1
    assert not found.product[found.bounded == 0].any()
    residual = found.conservation.residual.abs()
    assert (residual <= 1e-3 * found.logits.abs().amax(1)).all()
    torch.testing.assert_close(
        found.conservation.input, found.relevance_per_channel.sum((1, 2, 3)), rtol=1e-4, atol=1e-5
    )
    torch.testing.assert_close(
        found.hybrid.sum((1, 2)), found.product.sum((1, 2)), rtol=1e-3, atol=1e-5
    )


@pytest.mark.parametrize("case", CASES)
def test_two_calls_give_the_same_bits(case):
    classifier, x = CASES[case]()
    first, second = values(explain(classifier, x)), values(explain(classifier, x))
    assert len(first) >= 13
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("case", CASES)
def test_a_batch_equals_its_images_one_by_one(case):
    classifier, x = CASES[case]()
    whole = explain(classifier, x)
    for i in range(len(x)):
        one = explain(classifier, x[i : i + 1])
        assert int(one.target) == int(whole.target[i])
        for stage in STAGES:
            ours, alone = getattr(whole, stage)[i], getattr(one, stage)[0]
            assert (ours - alone).abs().max() <= 1e-5 * max(1e-9, float(alone.abs().max())), stage


def test_the_target_is_the_predicted_class_one_for_all_or_one_per_image():
    classifier, x = made(), noise()
    predicted = classifier.predict(x).argmax(1)
    assert torch.equal(explain(classifier, x).target, predicted)
    assert explain(classifier, x, 4).target.tolist() == [4, 4, 4]
    mixed = explain(classifier, x, [4, 0, 1])
    assert mixed.target.tolist() == [4, 0, 1]
    for i, target in enumerate((4, 0, 1)):
        same = explain(classifier, x, target)
        assert torch.equal(mixed.hybrid[i], same.hybrid[i])
    assert torch.equal(explain(classifier, x, predicted).hybrid, explain(classifier, x).hybrid)


def test_both_factors_explain_the_same_target():
    classifier, x = made(), noise()
    for target in (0, 3):
        found = explain(classifier, x, target)
        assert torch.equal(found.cam, hybrid.grad_cam_plus_plus(classifier, x, target))
        assert torch.equal(found.relevance_per_channel, relevance(classifier, x, target).map)
        assert torch.equal(found.conservation.start, found.logits[:, target])
    zero, three = (explain(classifier, x, t) for t in (0, 3))
    assert not torch.allclose(zero.cam, three.cam)
    assert not torch.allclose(zero.relevance, three.relevance)


def test_a_start_of_one_is_the_logits_map_divided_by_the_logit():
    classifier, x = made(), noise()
    spent, one = explain(classifier, x, 1), explain(classifier, x, 1, start="one")
    assert torch.equal(one.conservation.start, torch.ones(3))
    logit = spent.logits[:, 1, None, None]
    torch.testing.assert_close(one.hybrid * logit, spent.hybrid, rtol=1e-4, atol=1e-6)


def test_the_settings_say_what_was_computed():
    found = explain(
        made(), noise(), 1, threshold=0.4, sigma=2, cam="layer_cam", cam_layer="features.1",
        composite=paper(2, 1), input_rule=flat(), start="one",
    )  # fmt: skip
    expected = {
        "threshold": 0.4, "sigma": 2.0, "cam": "layer_cam", "cam_layer": "features.1",
        "composite": "paper(alpha=2, beta=1)", "input_rule": "flat", "start": "one",
    }  # fmt: skip
    assert expected.items() <= found.settings.items()
    defaults = explain(made(), noise(3, 3, 32, 16)).settings
    assert defaults["sigma"] == 32 / 64
    assert defaults["cam_layer"] == made().cam_layer == "features"
    assert defaults["input_rule"] == ""


@pytest.mark.parametrize("composite", COMPOSITES)
def test_every_composite_can_be_fused(composite):
    found = explain(made(), noise(), composite=composite)
    assert torch.equal(found.relevance, relevance(made(), noise(), composite=composite).map.mean(1))
    assert found.settings["composite"] == composite
    assert found.hybrid.any()


def test_an_input_rule_stands_before_the_composites_own():
    boxed = explain(made(), noise(), composite="epsilon_plus", input_rule=z_box())
    plain = explain(made(), noise(), composite="epsilon_plus")
    assert not torch.allclose(boxed.relevance, plain.relevance)
    flattened = explain(made(), noise(), composite="epsilon_plus", input_rule=flat())
    named = explain(made(), noise(), composite="epsilon_plus_flat")
    assert torch.equal(flattened.relevance, named.relevance)


def test_another_cam_layer_moves_the_cam_and_leaves_the_composites_head():
    classifier, x = made(), noise()
    default = explain(classifier, x)
    moved = explain(classifier, x, cam_layer="features.1")
    assert moved.settings["cam_layer"] == "features.1"
    assert torch.equal(moved.relevance_per_channel, default.relevance_per_channel)
    assert not torch.allclose(moved.cam, default.cam)
    rewrapped = wrap(classifier.module, cam_layer="features.1")  # here the head moves as well
    assert torch.equal(class_activation_map(rewrapped, x), moved.cam)
    assert not torch.allclose(explain(rewrapped, x).relevance, default.relevance)


def test_an_empty_bounding_figure_gives_zeros_and_a_note():
    module = Plain().eval()
    with torch.no_grad():
        module.classes.weight[3] = 0  # a logit that does not depend on the picture
    found = explain(wrap(module), noise(), [3, 0, 3])
    assert not found.cam[[0, 2]].any()
    assert not found.hybrid[[0, 2]].any()
    assert found.hybrid[1].any()
    notes = "\n".join(found.notes)
    for i in (0, 2):
        assert f"image {i}: bounding figure is empty" in notes
        assert f"image {i}: the CAM is nowhere positive, or constant" in notes
    assert not [n for n in found.notes if "CAM" in n and "image 1:" in n]


def test_activations_that_can_be_negative_are_noted_where_they_undo_alphas():
    classifier = fresh()
    with torch.no_grad():
        classifier.module.features[3].bias -= 0.5
        classifier.module.classes.weight *= 100
    notes = explain(classifier, noise(), cam_layer="features.3").notes
    assert any("Grad-CAM++ counts some alphas as 0: 2 + g ΣA is not > 0" in note for note in notes)


def test_retention_is_the_share_that_fusion_keeps():
    found = explain(made(), noise(), threshold=0.4)
    for i, share in enumerate(found.retention.tolist()):
        kept = float(found.product[i].sum()) / float(found.relevance[i].sum())
        assert share == pytest.approx(kept, rel=1e-5)
    everything = explain(made(), noise(), threshold=0)
    everything.product = everything.relevance
    torch.testing.assert_close(everything.retention, torch.ones(3))


@pytest.mark.parametrize("cam", ["grad_cam", "hires_cam", "layer_cam", "xgrad_cam"])
def test_every_cam_can_be_fused(cam):
    found = explain(made(), noise(), cam=cam)
    assert torch.equal(found.cam, class_activation_map(made(), noise(), cam=cam))
    assert found.settings["cam"] == cam


def test_float64_and_float32_agree():
    single = explain(made(), noise(), 1)
    double = explain(made(dtype=torch.float64), noise().double(), 1)
    for stage in STAGES:
        ours, finer = getattr(single, stage).double(), getattr(double, stage)
        torch.testing.assert_close(ours, finer, rtol=1e-3, atol=1e-4 * float(finer.abs().max()))


@pytest.mark.parametrize("frozen", [False, True], ids=["trainable", "frozen"])
@pytest.mark.parametrize("kind", ["plain", "residual"])
def test_the_callers_module_and_random_numbers_stay_as_they_are(kind, frozen):
    module, calls = fresh(kind).module, []
    module.requires_grad_(not frozen)
    module.classes.weight.grad = torch.full_like(module.classes.weight, 7)
    module.classes.bias.requires_grad_(False)
    handle = module.classes.register_forward_hook(lambda *_: calls.append(1))
    before = state_of(module)
    torch.manual_seed(5)
    rngs = random.getstate(), str(np.random.get_state()), torch.get_rng_state()  # noqa: NPY002
    x = noise()
    kept = x.clone()
    classifier = wrap(module, size=16)
    calls.clear()  # it was captured, and asked, to see that both compute the same
    for composite in COMPOSITES:
        explain(classifier, x, [0, 1, 2], composite=composite)
    class_activation_map(classifier, x)
    classifier.predict(x)
    assert state_of(module) == before
    assert random.getstate() == rngs[0]
    assert str(np.random.get_state()) == rngs[1]  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), rngs[2])
    assert torch.equal(x, kept)
    assert x.grad is None
    assert torch.is_grad_enabled()
    assert calls == []
    handle.remove()


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode], ids=["no_grad", "infer"])
def test_the_callers_grad_mode_does_not_matter(mode):
    classifier, x = made(), noise()
    expected = explain(classifier, x)
    with mode():
        again = wrap(classifier.module, size=16)
        found = [explain(classifier, x), explain(again, noise(), expected.target.clone())]
        parts = class_activation_map(classifier, x), relevance(classifier, x).map.mean(1)
    assert all(torch.equal(one.hybrid, expected.hybrid) for one in found)
    assert torch.equal(parts[0], expected.cam)
    assert torch.equal(parts[1], expected.relevance)
    assert torch.equal(explain(classifier, x.requires_grad_()).hybrid, expected.hybrid)
    assert x.grad is None


def test_weights_that_change_after_wrapping_are_explained():
    classifier, x = fresh(), noise()
    before = explain(classifier, x, 0)
    with torch.no_grad():
        classifier.module.features[0].weight *= -1
    after = explain(classifier, x, 0)
    assert not torch.allclose(before.hybrid, after.hybrid)
    assert torch.equal(after.hybrid, explain(wrap(classifier.module), x, 0).hybrid)


BAD: dict[str, tuple[Any, type[Exception], str]] = {
    "threshold": (lambda c, x: explain(c, x, threshold=1), ValueError, "threshold must be >= 0"),
    "sigma": (lambda c, x: explain(c, x, sigma=-1), ValueError, "sigma must be >= 0, got -1"),
    "composite": (lambda c, x: explain(c, x, composite="papr"), ValueError, "did you mean paper"),
    "cam": (lambda c, x: explain(c, x, cam="gradcam"), ValueError, "cam must be a known name"),
    "start": (lambda c, x: explain(c, x, start="two"), ValueError, "start must be a known name"),
    "gates": (lambda c, x: explain(c, x, gates="all"), ValueError, "gates must be a known name"),
    "layer": (lambda c, x: explain(c, x, cam_layer="featres"), ValueError, "did you mean features"),
    "flat layer": (lambda c, x: explain(c, x, cam_layer="head"), ValueError,
                   r"cam_layer must give feature maps .* head \(linear\) gives \(1, 12\)"),
    "target": (lambda c, x: explain(c, x, 5), ValueError, r"target must be in 0\.\.4, got 5"),
    "targets": (lambda c, x: explain(c, x, [1, 2]), ValueError, r"one per image \(3\), got \(2,\)"),
    "channels": (lambda c, x: explain(c, x[:, :1]), ValueError, "x must have 3 channels, got"),
    "dtype": (lambda c, x: explain(c, x.double()), TypeError, "x must be torch.float32 on cpu"),
    "rank": (lambda c, x: explain(c, x[0]), ValueError, r"x must have shape \(N, C, H, W\)"),
    "no tensor": (lambda c, x: explain(c, "cat.png"), TypeError, "x must be a torch.Tensor"),
    "NaN": (lambda c, x: explain(c, x * torch.nan), ValueError, "x must be finite"),
    "pixels": (lambda c, x: explain(c, x[:, :, :1]), ValueError, "module must take images"),
    "cam range": (lambda c, x: bound(x[:, 0]), ValueError, r"cam must be scaled to \[0, 1\]"),
    "cam dtype": (lambda c, x: bound(x[:, 0] > 0), TypeError, "cam must be a floating-point"),
    "bound": (lambda c, x: bound(x[:, 0].abs() / 9, 1.0), ValueError, "threshold must be .* < 1"),
    "fuse": (lambda c, x: fuse(x[:, 0], x[:2, 0]), ValueError, "bounded and relevance must have"),
    "smooth": (lambda c, x: smooth(x[:, 0], "2"), TypeError, "sigma must be a number, got str '2'"),
    "smooth rank": (lambda c, x: smooth(x, 2), ValueError, r"map must have shape \(N, H, W\)"),
    "layers": (lambda c, x: relevance(c, x, layers=["nowhere"]), ValueError, "layer must be a kno"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_errors_name_the_argument_the_rule_and_what_came(case):
    call, error, match = BAD[case]
    with pytest.raises(error, match=match):
        call(made(), noise())


@pytest.mark.parametrize("kind", ["vgg", "resnet", "inception", "vit"])
def test_relevance_does_not_depend_on_which_layer_the_cam_reads(kind):
    """Behind the CAM layer values are differentiated for the CAM and walked back for relevance."""
    classifier = load_model(f"scenes_{kind}_seed0")
    x = classifier.preprocess(scenes.samples("unit", 2))
    composite = "attnlrp" if kind == "vit" else "paper"
    alone = relevance(classifier, x, [1, 3], composite)
    for step in blocks(classifier.graph, classifier.cam_layer):
        found = explain(classifier, x, [1, 3], composite=composite, cam_layer=step.path)
        torch.testing.assert_close(found.relevance_per_channel, alone.map, rtol=1e-4, atol=1e-6)
        ledger = found.conservation
        assert (ledger.residual / ledger.start).abs().max() < 1e-4
        cam = class_activation_map(classifier, x, [1, 3], cam_layer=step.path)
        torch.testing.assert_close(found.cam, cam, rtol=1e-4, atol=1e-5)
