"""Inputs that are no pictures: channels, signals and volumes; and maps in the original's pixels."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn
from torch.nn import functional as F

import xaiutils as xai
from xaiutils import plots
from xaiutils.cam import to_image
from xaiutils.cases.case import Case
from xaiutils.cases.workloads import Workload
from xaiutils.methods import METHODS, CannotExplain
from xaiutils.methods.arguments import reference
from xaiutils.metrics.flipping import replacement
from xaiutils.pictures.arrays import Arrays
from xaiutils.pictures.images import Transform

LAYERS: dict[int, Any] = {
    1: (nn.Conv1d, nn.MaxPool1d, nn.AdaptiveAvgPool1d),
    2: (nn.Conv2d, nn.MaxPool2d, nn.AdaptiveAvgPool2d),
    3: (nn.Conv3d, nn.MaxPool3d, nn.AdaptiveAvgPool3d),
}
SIZES = {1: (40,), 2: (12, 16), 3: (6, 8, 10)}
DRAW = np.random.default_rng(0)


def network(dimensions: int, channels: int, outputs: int = 3, bias: bool = True) -> nn.Module:
    convolution, pool, mean = LAYERS[dimensions]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(dimensions)
        return nn.Sequential(
            convolution(channels, 8, 3, padding=1, bias=bias), nn.ReLU(), pool(2),
            convolution(8, 8, 3, bias=bias), nn.ReLU(), mean(1), nn.Flatten(),
            nn.Linear(8, outputs, bias=bias),
        ).eval()  # fmt: skip


def data(dimensions: int, channels: int, count: int = 2) -> np.ndarray:
    return DRAW.normal(2.0, 3.0, (count, channels, *SIZES[dimensions]))


@pytest.fixture(scope="module", params=[(1, 2), (2, 5), (3, 1)], ids=["signal", "bands", "volume"])
def wrapped(request: pytest.FixtureRequest) -> xai.Classifier:
    dimensions, channels = request.param
    scale = {"mean": [2.0] * channels, "std": [3.0] * channels}
    return xai.wrap(network(dimensions, channels), size=SIZES[dimensions], **scale)


def test_arrays_are_normalised_and_nothing_else(wrapped: xai.Classifier) -> None:
    transform = wrapped.transform
    arrays = data(transform.dimensions, transform.channels)
    expected = torch.tensor((arrays - 2) / 3, dtype=torch.float32)
    for given in (
        arrays,
        list(arrays),
        torch.from_numpy(arrays),
        [xai.Sample("a", a) for a in arrays],
    ):
        torch.testing.assert_close(wrapped.preprocess(given), expected)
    torch.testing.assert_close(wrapped.preprocess(arrays[0]), expected[:1])
    with pytest.raises(ValueError, match=r"x must have shape \(N, C, "):
        wrapped.check(expected[..., None])


def test_the_hybrid_of_any_space_follows_the_equations(wrapped: xai.Classifier) -> None:
    """The five steps once more, with a hook, autograd and SciPy."""
    space = wrapped.transform.dimensions
    x = wrapped.preprocess(data(space, wrapped.transform.channels))
    found = xai.explain(wrapped, x, 1, threshold=0.3, sigma=1.5, start="one")
    kept: list[Tensor] = []
    net = copy.deepcopy(wrapped.module)
    net[4].register_forward_hook(lambda *given: kept.append(given[2]))
    logits = net(x)[:, 1]
    (g,) = torch.autograd.grad(logits.sum(), kept[0])
    a = kept[0].detach()
    where = tuple(range(2, a.ndim))
    alpha = 1 / (2 + g * a.sum(where, keepdim=True))
    weights = (alpha * g.clamp(min=0)).sum(where)
    raw = (weights.reshape(*weights.shape, *[1] * space) * a).sum(1).clamp(min=0)
    mode = {1: "linear", 2: "bilinear", 3: "trilinear"}[space]
    grown = F.interpolate(raw[:, None], x.shape[2:], mode=mode)[:, 0]
    for i in range(len(x)):
        cam = (grown[i] - grown[i].min()) / (grown[i].max() - grown[i].min())
        torch.testing.assert_close(found.cam[i], cam, atol=1e-5, rtol=1e-4)
        cut = (found.cam[i] - 0.3).clamp(min=0)
        product = cut / cut.max() * found.relevance[i]
        expected = gaussian_filter(product.numpy(), 1.5, mode="reflect")
        np.testing.assert_allclose(found.hybrid[i], expected, atol=1e-7)
    torch.testing.assert_close(found.relevance, found.relevance_per_channel.mean(1))
    total = sum(found.conservation.shares().values())
    torch.testing.assert_close(total, torch.ones(len(x)), atol=1e-3, rtol=0)


@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_relevance_without_bias_is_input_times_gradient(dimensions: int) -> None:
    """LRP-0 of a network of ReLUs without bias (Shrikumar et al. 2016), whatever its space."""
    net = network(dimensions, 2, bias=False)
    wrapped = xai.wrap(net.double(), mean=[0.0] * 2, std=[1.0] * 2, size=SIZES[dimensions])
    x = wrapped.preprocess(data(dimensions, 2)).requires_grad_()
    (gradient,) = torch.autograd.grad(net(x)[:, 0].sum(), x)
    found = xai.relevance(wrapped, x.detach(), 0, "epsilon")
    torch.testing.assert_close(found.map, x.detach() * gradient, atol=1e-5, rtol=1e-3)


def test_a_regression_on_five_channels_is_explained() -> None:
    mine = xai.wrap(network(2, 5, outputs=1), mean=[100.0] * 5, std=[40.0] * 5)
    found = xai.explain(mine, mine.preprocess(DRAW.integers(0, 255, (5, 20, 30))))
    assert mine.outputs == "value"
    assert found.hybrid.shape == (1, 20, 30)
    assert not any("far beyond" in note for note in found.notes)


def test_limits_are_asked_for_where_they_are_needed() -> None:
    arrays, scale = data(2, 5, 1), {"mean": [2.0] * 5, "std": [3.0] * 5}
    net = network(2, 5)
    unknown = xai.wrap(net, **scale)
    x = unknown.preprocess(arrays)
    for ask in (
        lambda: xai.relevance(unknown, x, 0, "epsilon_gamma_box"),
        lambda: unknown.bounds(x),
    ):
        with pytest.raises(ValueError, match=r"limits=\(least, largest\)"):
            ask()
    known = xai.wrap(net, **scale, limits=(-10, 14))
    low, high = known.bounds(x)
    assert low.unique().tolist() == pytest.approx([-4])
    assert high.unique().tolist() == pytest.approx([4])
    assert xai.relevance(known, x, 0, "epsilon_gamma_box").map.isfinite().all()
    far = xai.explain(known, x * 100, 0).notes
    assert any("far beyond what a picture can be (-4 to 4)" in note for note in far)


def test_what_is_shown_of_an_array() -> None:
    bands = np.stack([np.full((2, 2), 7.0), *DRAW.normal(size=(4, 2, 2))])
    plain = Arrays((0.0,) * 5, (1.0,) * 5)
    shown = plain.picture(bands)
    assert shown.dtype == np.uint8
    assert not shown[..., 0].any()  # a constant channel
    scaled = (bands[1] - bands[1].min()) / np.ptp(bands[1])
    np.testing.assert_array_equal(shown[..., 1], np.rint(scaled * 255))
    grey = Arrays((0.0,) * 2, (1.0,) * 2).picture(bands[:2])
    assert (grey == grey[..., :1]).all()
    own = Arrays((0.0,) * 5, (1.0,) * 5, preview=lambda a: np.repeat(a[0][..., None] / 7, 3, 2))
    assert (own.picture(bands) == 255).all()
    for made, match in (
        (lambda a: a, r"preview must give \(2, 2, 3\), got \(5, 2, 2\)"),
        (lambda a: np.full((2, 2, 3), 7.0), r"or values in \[0, 1\], got 7 to 7"),
    ):
        with pytest.raises(ValueError, match=match):
            Arrays((0.0,) * 5, (1.0,) * 5, preview=made).picture(bands)
    lines = Arrays((0.0,) * 2, (1.0,) * 2, (3,)).picture(bands.reshape(-1)[:6].reshape(2, 3))
    assert lines.shape == (2, 3)
    assert Arrays((0.0,), (1.0,), (3, 2, 2)).picture(bands[None, :3]).shape == (3, 2, 2, 3)


REFUSED: dict[str, tuple[Any, type[Exception], str]] = {
    "channels last": (np.zeros((4, 6, 5)), ValueError, r"np.moveaxis\(array, -1, 0\) puts"),
    "channels": (np.zeros((4, 4, 6)), ValueError, r"must have shape \(5, H, W\), got \(4, 4, 6\)"),
    "dimensions": (np.zeros((1, 1, 5, 4, 6)), ValueError, r"must have shape \(5, H, W\)"),
    "size": (np.zeros((5, 4, 7)), ValueError, r"must have the size \(4, 6\), got \(4, 7\)"),
    "NaN": (np.full((5, 4, 6), np.nan), ValueError, "must be finite, .* fill what is missing"),
    "a picture": (PIL.Image.new("RGB", (6, 4)), TypeError, r"must be real numbers \(5, H, W\)"),
    "masked": (np.ma.masked_less(np.zeros((5, 4, 6)), 1), TypeError, r"fill it, array.filled"),
    "text": (np.full((5, 4, 6), "a"), TypeError, "must be real numbers"),
    "bytes": (np.full((5, 4, 6), 200, np.uint8), ValueError, "divide the array by its full scale"),
    "none": ([], ValueError, "arrays must have one size, got none"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_arrays_that_do_not_fit_are_refused_with_the_way_out(case: str) -> None:
    given, error, match = REFUSED[case]
    with pytest.raises(error, match=match):
        Arrays((0.5,) * 5, (0.2,) * 5, (4, 6))(given)


WRONG: dict[str, tuple[Any, type[Exception], str]] = {
    "no size": (lambda: xai.wrap(network(1, 2)), ValueError,
                r"size must be pixels >= 1, \(length,\), whole numbers, got None"),
    "size of a volume": (lambda: xai.wrap(network(3, 1), size=(6, 8)), ValueError,
                         r"size must be pixels >= 1, \(depth, height, width\), whole numbers, got"),
    "std": (lambda: Arrays((0.0,), (0.0,)), ValueError, "std must be > 0"),
    "counts": (lambda: Arrays((0.0,), (1.0,) * 2), ValueError, "for each channel, got 1, 2"),
    "limits": (lambda: Arrays((0.0,), (1.0,), limits=(1.0, 0.0)), ValueError, "limits must be"),
    "preview": (lambda: Arrays((0.0,), (1.0,), preview="red"), TypeError, "preview must be a func"),
    "sides": (lambda: Arrays((0.0,), (1.0,), (2, 2, 2, 2)), ValueError, "must be one to three"),
    "a picture's preview": (lambda: xai.wrap(network(2, 3), preview=np.asarray), ValueError,
                            "preview and limits must be left out for pictures"),
    "boxes": (lambda: xai.Sample("a", np.zeros((5, 4, 6)), boxes=((0, 0, 1, 1),)), ValueError,
              "boxes must be of a picture, 'a' is an array"),
    "mask": (lambda: xai.Sample("a", np.zeros((5, 4, 6)), mask=np.ones((5, 4), bool)), ValueError,
             r"mask must be of its picture's size \(4, 6\)"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_right_is_refused(case: str) -> None:
    call, error, match = WRONG[case]
    with pytest.raises(error, match=match):
        call()


def test_steps_do_not_take_other_spaces_unasked() -> None:
    """A forgotten batch, or channels left in, must not be smoothed as a volume."""
    with pytest.raises(ValueError, match=r"map must have shape \(N, H, W\)"):
        xai.smooth(torch.zeros(2, 3, 4, 5), 1.0)
    with pytest.raises(ValueError, match=r"raw must have shape \(N, L\)"):
        to_image(torch.zeros(2, 3, 4), (8,))


def test_classifiers_of_arrays_can_be_pickled(wrapped: xai.Classifier) -> None:
    again = pickle.loads(pickle.dumps(wrapped.transform))
    assert again == wrapped.transform
    assert repr(again) == repr(wrapped.transform)


# Maps in the original's pixels


TRANSFORMS = [
    Transform((24, 40), None),
    Transform(30, (24, 24)),
    Transform(30, (25, 23)),
    Transform(None, (21, 20)),
]


@pytest.mark.parametrize("size", [(60, 90), (47, 33), (22, 95)])
@pytest.mark.parametrize("transform", TRANSFORMS, ids=repr)
def test_a_map_goes_back_where_its_pixels_came_from(transform: Transform, size: Any) -> None:
    """A smooth picture is its own map: what comes back is the picture, and NaN beyond the crop."""
    down, across = np.meshgrid(*(np.linspace(0, 1, side) for side in size), indexing="ij")
    values = np.rint(40 + 150 * (0.3 * down + 0.7 * across)).astype(np.uint8)
    picture = PIL.Image.fromarray(np.repeat(values[..., None], 3, 2))
    seen = transform.picture(picture)[..., 0].astype(np.float32)
    found = transform.to_picture(seen, picture)
    assert found.shape == size
    kept = np.isfinite(found)
    inside = PIL.Image.new("L", (picture.width, picture.height), 255)
    assert kept.any() or not transform.mask(np.asarray(inside) > 0).any()
    rim = gaussian_filter(kept.astype(float), 2, mode="constant") > 0.99
    np.testing.assert_allclose(found[rim], values[rim], atol=5)
    # The same region as that of a mask, which goes the other way.
    spot = np.zeros(size, dtype=bool)
    row, column = (int(i) for i in np.argwhere(kept).mean(0))
    spot[row - 4 : row + 4, column - 4 : column + 4] = True
    back = transform.to_picture(transform.mask(spot).astype(np.float32), picture)
    centre = np.argwhere(np.nan_to_num(back) > 0.5).mean(0)
    np.testing.assert_allclose(centre, np.argwhere(spot).mean(0), atol=1.1)


def test_a_crop_leaves_nan_outside_and_the_values_inside() -> None:
    transform, picture = Transform(None, (4, 4)), PIL.Image.new("RGB", (8, 6))
    map = np.arange(16, dtype=np.float32).reshape(4, 4) + 1
    found = transform.to_picture(map, picture)
    expected = np.full((6, 8), np.nan, dtype=np.float32)
    expected[1:5, 2:6] = map
    np.testing.assert_array_equal(found, expected)
    stack = transform.to_picture(np.stack([map, -map]), picture)
    np.testing.assert_array_equal(stack, np.stack([expected, -expected]))


def test_classifiers_put_maps_back_and_refuse_others(wrapped: xai.Classifier) -> None:
    array = data(wrapped.transform.dimensions, wrapped.transform.channels)[0]
    map = torch.rand(array.shape[1:])
    np.testing.assert_array_equal(wrapped.to_picture(map, array), map.numpy())
    with pytest.raises(ValueError, match="map must have the size of its array"):
        wrapped.to_picture(map[..., :-1], array)
    pictures = xai.load_model("scenes_vgg_seed0")
    with pytest.raises(ValueError, match=r"what the network sees of this picture, \(128, 128\), g"):
        pictures.to_picture(torch.rand(1, 64, 64), PIL.Image.new("RGB", (300, 200)))
    assert pictures.to_picture(torch.rand(128, 128), PIL.Image.new("RGB", (30, 20))).shape == (
        20,
        30,
    )


# Figures


def test_a_signal_is_drawn_with_its_maps() -> None:
    signal, map = DRAW.normal(size=(2, 50)), DRAW.normal(size=50)
    figure = plots.signal(signal, {"hybrid": map, "CAM": np.abs(map)}, clip=99)
    charts = [axes for axes in figure.axes if axes.get_title(loc="left")]
    assert [axes.get_title(loc="left") for axes in charts] == ["signal", "hybrid", "CAM"]
    np.testing.assert_array_equal(charts[0].lines[1].get_ydata(), signal[1])
    np.testing.assert_array_equal(charts[1].images[0].get_array()[0], map)
    low, high = charts[1].images[0].get_clim()
    assert -low == high == pytest.approx(np.percentile(np.abs(map), 99))
    assert charts[2].images[0].get_clim()[0] == 0


def test_slices_of_a_volume_share_a_scale() -> None:
    volume, map = DRAW.random((7, 6, 8, 3)), DRAW.normal(size=(7, 6, 8))
    figure = plots.slices(volume, {"hybrid": map}, count=3)
    drawn = [axes.images for axes in figure.axes if axes.images and axes.get_xlim()[1] == 7.5]
    assert len(drawn) == 6
    for images, i in zip(drawn[3:], (0, 3, 6), strict=True):
        np.testing.assert_array_equal(images[-1].get_array(), map[i])
        assert images[-1].get_clim()[1] == pytest.approx(np.abs(map).max())


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: plots.signal(np.ones((1, 5)), {}), "maps must hold at least one"),
        (lambda: plots.signal(np.ones((1, 5)), {"a": np.ones(4)}), "must have the signal's 5 val"),
        (lambda: plots.signal(np.ones(5), {"a": np.ones(5)}), r"values must have shape \(lines, L"),
        (lambda: plots.slices(np.ones((2, 3, 4, 3)), {"a": np.ones((2, 3, 3))}), "the volume's"),
        (lambda: plots.slices(np.ones((2, 3, 4, 3)), {"a": np.ones((2, 3, 4))}, count=0), "count"),
    ],
)
def test_wrong_figures(call: Any, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        call()


# Methods and scores


@pytest.mark.parametrize("name", ["clrp1", "clrp2", "sglrp", "hybrid", "gradient_shap"])
def test_a_volume_of_depth_one_is_a_picture(name: str) -> None:
    flat, deep = network(2, 2), network(3, 2)
    for mine, theirs in zip(deep, flat, strict=True):
        for key, value in theirs.named_parameters(recurse=False):
            own = getattr(mine, key)
            with torch.no_grad():
                own.zero_()
                if own.ndim == 5:
                    own[:, :, 1] = value
                else:
                    own.copy_(value)
    deep[2], deep[3].padding = nn.MaxPool3d((1, 2, 2)).eval(), (1, 0, 0)
    scale = {"mean": [0.0, 0.0], "std": [1.0, 1.0], "limits": (-9, 9)}
    x = torch.tensor(data(2, 2), dtype=torch.float32) / 3
    picture = METHODS[name](xai.wrap(flat, size=(12, 16), **scale), x, 1)
    volume = METHODS[name](xai.wrap(deep, size=(1, 12, 16), **scale), x[:, :, None], 1)
    torch.testing.assert_close(volume[:, 0], picture, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("dimensions", [1, 3])
def test_what_takes_pictures_alone_says_so(dimensions: int) -> None:
    classifier = xai.wrap(
        network(dimensions, 2), mean=[0.0] * 2, std=[1.0] * 2, size=SIZES[dimensions]
    )
    x = torch.tensor(data(dimensions, 2, 1), dtype=torch.float32)
    case = Case("one", classifier, x, 1)
    for name in ("score_cam", "guided_grad_cam", "relevance_cam", "fg_cam", "sobel_edges"):
        with pytest.raises(CannotExplain, match=r"it takes pictures \(N, C, H, W\)"):
            METHODS[name](classifier, x, 1)
    for name in ("faithfulness_correlation", "infidelity", "road"):
        assert "needs a picture" in xai.METRICS[name](case, METHODS["grad_cam"]).why
    for name in ("class_discrimination", "mprt_spearman", "insertion"):
        assert np.isfinite(xai.METRICS[name](case, METHODS["grad_cam"]).value)


@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_baselines_stand_where_they_belong(dimensions: int) -> None:
    """As many pictures, slices and channels as each other: no axis is told by its length."""
    x = torch.zeros(2, 2, *SIZES[dimensions])
    solid = reference(torch.tensor([1.0, 5.0]), x)
    assert torch.equal(solid, torch.tensor([1.0, 5.0]).view(1, 2, *[1] * dimensions).expand_as(x))
    assert torch.equal(reference(solid[:1], x), solid)
    noise = torch.randn(1, 2, *(60,) * dimensions, generator=torch.Generator().manual_seed(0))
    classifier = xai.wrap(network(dimensions, 2), mean=[0.0] * 2, std=[1.0] * 2,
                          size=noise.shape[2:])  # fmt: skip
    blurred = replacement(Case("one", classifier, noise, 1), "blur")
    assert float(blurred.std()) < 0.4 * float(noise.std())


# Scores


def test_hybrid_and_controls_are_scored_on_any_space(wrapped: xai.Classifier) -> None:
    space = wrapped.transform.dimensions
    arrays = data(space, wrapped.transform.channels)
    samples = [xai.Sample(str(i), array, label=i) for i, array in enumerate(arrays)]
    cases = xai.load_cases(Workload("mine", wrapped, samples), [0, 1])
    names = ["hybrid", "lrp_smoothed", "bounded_noise", "random_map", "centre_prior"]
    table = xai.score(cases, names, ["srg"])
    assert sorted(table["method"].unique()) == sorted(names)
    assert np.isfinite(table["value"]).all()
    own = METHODS["hybrid"](wrapped, cases[0].x, 0, threshold=0.2)
    torch.testing.assert_close(own, xai.explain(wrapped, cases[0].x, 0).hybrid)
