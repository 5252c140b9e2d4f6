"""Figures: scales, alpha, regions, errors, and nothing changed outside."""

from __future__ import annotations

import errno
import inspect
import os

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image

from xaiutils import plots
from xaiutils.plots import style

rng = np.random.default_rng(0)
PICTURE = rng.random((12, 16, 3))
POSITIVE = rng.random((12, 16)) + 0.25
SIGNED = rng.normal(size=(12, 16))
ZERO = np.zeros((12, 16))
STAGES = ("cam", "bounded", "relevance", "product", "hybrid")
MASK = np.zeros((12, 16), bool)
MASK[3:8, :5] = True  # touches the border
LOOKS = {"mask": MASK, "boxes": [[1, 2, 9, 8]]}

FIGURES = {
    "picture": lambda: plots.picture(PICTURE, "title", **LOOKS),
    "heatmap": lambda: plots.heatmap(SIGNED, title="title", clip=95),
    "overlay": lambda: plots.overlay(PICTURE, POSITIVE, **LOOKS),
    "panels": lambda: plots.panels([PICTURE, SIGNED, (PICTURE, ZERO)], columns=2, suptitle="s"),
    "stages": lambda: plots.stages(PICTURE, **dict.fromkeys(STAGES, SIGNED)),
    "gallery": lambda: plots.gallery([[PICTURE, *[SIGNED] * 3]] * 2, row_titles=["cat", "dog"]),
    "pipeline": lambda: plots.pipeline(
        PICTURE, rng.random((5, 3, 4)), **dict.fromkeys(STAGES, SIGNED),
        threshold=0.5, sigma=2, clip=99, title="t",
    ),
    "curves": lambda: plots.curves(
        np.arange(4), {"a": np.arange(4), "b": np.ones(4)}, xlabel="x", ylabel="y",
        bands={"a": (np.arange(4) - 1, np.arange(4) + 1)}, mark=2,
    ),
    "bars": lambda: plots.bars(
        {"a": 1, "b": -0.5}, intervals={"a": (0.5, 2)}, chance=0.1, highlight="b"
    ),
    "strips": lambda: plots.strips(
        {"a": rng.random(9), "b": torch.arange(9) / 9}, intervals={"a": (0.4, 0.6)}, chance=0.1,
        marked=[0, 2], marks="shown",
    ),
    "ledger": lambda: plots.ledger({"input": 0.9, "bias": 0.2, "epsilon": -0.1}),
}  # fmt: skip


def stages(**maps: np.ndarray) -> Figure:
    return plots.stages(PICTURE, **dict.fromkeys(STAGES, ZERO) | maps)


def pipeline(activations: np.ndarray) -> Figure:
    return plots.pipeline(PICTURE, activations, **dict.fromkeys(STAGES, ZERO))


def limits(figure: Figure, axes: int = 0, image: int = -1) -> tuple[float, float]:
    return figure.axes[axes].images[image].get_clim()


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_is_drawn_and_nothing_outside_is_changed(name, tmp_path):
    before, numbers = dict(mpl.rcParams), plt.get_fignums()
    figure = FIGURES[name]()
    plots.save(figure, tmp_path / "a.png")
    assert isinstance(figure, Figure)
    assert plt.get_fignums() == numbers
    assert dict(mpl.rcParams) == before
    assert 100 * figure.get_figwidth() <= 830.001


@pytest.mark.parametrize("name", ["stages", "bars", "ledger"])
def test_the_users_settings_do_not_change_the_bytes(name):
    png = plots.style.png_bytes(FIGURES[name]())
    with mpl.rc_context({"font.size": 20, "figure.facecolor": "red", "image.cmap": "jet"}):
        assert FIGURES[name]()._repr_png_() == png


def test_a_notebook_gets_one_png_and_a_stable_text():
    figure = plots.panels([POSITIVE] * 3)
    assert figure._repr_png_().startswith(b"\x89PNG")
    assert repr(figure) == "<Figure size 830x242 with 6 Axes>"


def test_saving_is_deterministic_and_scales(tmp_path):
    paths = [plots.save(plots.heatmap(SIGNED), tmp_path / f"{i}.png") for i in range(2)]
    assert paths[0].read_bytes() == paths[1].read_bytes()
    figure = plots.heatmap(SIGNED)
    plots.save(figure, tmp_path / "large.png", scale=2)
    assert plots.save(figure, tmp_path / "again.png").read_bytes() == paths[0].read_bytes()
    with Image.open(paths[0]) as small, Image.open(tmp_path / "large.png") as large:
        assert large.size == (2 * small.width, 2 * small.height)
        assert "Software" not in small.info
        assert small.convert("RGBA").getpixel((0, 0)) == (255, 255, 255, 255)


def test_a_full_disk_leaves_the_old_picture_and_names_the_file(tmp_path, monkeypatch):
    path = plots.save(plots.heatmap(SIGNED), tmp_path / "a.png")
    before = path.read_bytes()

    def full(number):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"No space left on device: '.*a\.png'"):
        plots.save(plots.heatmap(POSITIVE), path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["a.png"]


def test_signed_maps_have_symmetric_limits():
    low, high = limits(plots.heatmap(SIGNED))
    assert (low, high) == (-np.abs(SIGNED).max(), np.abs(SIGNED).max())
    clipped = limits(plots.heatmap(SIGNED, clip=90))
    assert clipped[1] == -clipped[0] == pytest.approx(np.percentile(np.abs(SIGNED), 90))
    assert limits(plots.heatmap(POSITIVE, signed=True)) == (-POSITIVE.max(), POSITIVE.max())


def test_sequential_limits_start_at_zero_unless_told():
    assert limits(plots.heatmap(POSITIVE)) == (0, POSITIVE.max())
    assert limits(plots.heatmap(POSITIVE, limits=(0.2, 3))) == (0.2, 3)
    assert limits(plots.heatmap(np.full((4, 4), 0.5))) == (0, 0.5)


def test_a_map_of_zeros_is_said_to_be_zero():
    figure = plots.heatmap(ZERO)
    assert limits(figure) == (0, 1)
    assert "all zero" in [text.get_text() for text in figure.texts]
    sparse = ZERO.copy()
    sparse[0, 0] = 2
    assert limits(plots.heatmap(sparse, clip=50)) == (0, 2)  # the percentile is 0


def test_the_clip_is_stated():
    texts = [text.get_text() for text in plots.heatmap(SIGNED, clip=99, caption="mine").texts]
    assert "mine\nclip 99 %" in texts
    texts = [text.get_text() for text in plots.heatmap(SIGNED, clip=99, caption="").texts]
    assert "clip 99 %" in texts


def test_an_overlay_is_clear_where_the_map_is_zero_and_grows_with_its_size():
    ramp = np.linspace(-1, 1, 192).reshape(12, 16)
    ramp[0, 0], ramp[5, 5] = -1, 0
    figure = plots.overlay(PICTURE, ramp, opacity=0.6)
    photo, shown = figure.axes[0].images
    alpha = shown.get_alpha()
    assert photo.get_array().ndim == 2  # greyed
    assert (photo.get_array().min(), photo.get_array().max()) == (0.5, 1)  # and light
    shown_alone = plots.overlay(PICTURE, np.abs(ramp)).axes[0].images[0].get_array()
    assert (shown_alone.min(), shown_alone.max()) == (0, 1)  # below one colour all of the greys
    assert alpha[5, 5] == 0
    np.testing.assert_allclose(alpha, 0.6 * np.abs(ramp))


def test_panels_counts_axes_and_accepts_tensors_and_pairs():
    tensor = torch.rand(12, 16, dtype=torch.bfloat16, requires_grad=True)
    image = torch.randint(0, 256, (12, 16, 3), dtype=torch.uint8)
    figure = plots.panels([tensor, image, (image, tensor)], columns=2, colorbar=False)
    assert len(figure.axes) == 3
    assert len(plots.panels([tensor, image, (image, tensor)]).axes) == 5  # two colour bars
    stages = dict.fromkeys(STAGES, POSITIVE)
    assert len(plots.stages(PICTURE, **stages).axes) == 6 + 5
    texts = plots.stages(PICTURE, **stages, cam_title="LayerCAM").texts
    assert [text.get_text() for text in texts][:3] == ["picture", "LayerCAM", "bounding figure"]


def test_stages_and_the_pipeline_take_the_same_maps_by_name_in_one_order():
    """Positional maps of one shape changed places without a word."""
    kinds = {}
    for function in (plots.stages, plots.pipeline):
        parameters = inspect.signature(function).parameters.values()
        kinds[function] = [p.name for p in parameters if p.name in STAGES]
        assert all(p.kind == p.KEYWORD_ONLY for p in parameters if p.name in STAGES)
    assert list(kinds.values()) == [list(STAGES)] * 2
    steps = {name: np.full((12, 16), i / 10) for i, name in enumerate(STAGES, 1)}
    drawn = plots.stages(PICTURE, **steps).axes
    shown = [float(a.images[0].get_array().max()) for a in drawn if a.images and a.get_title()]
    shown = shown or [float(a.images[0].get_array().max()) for a in drawn[1:] if a.images]
    assert shown == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5])


def test_the_pipeline_shows_six_maps_and_the_four_strongest_channels():
    channels = torch.arange(6.0)[:, None, None].expand(6, 3, 4)
    axes = plots.pipeline(PICTURE, channels, **dict.fromkeys(STAGES, POSITIVE)).axes
    assert len(axes) == 6 + 4
    assert [int(a.images[0].get_array().max()) for a in axes[6:]] == [2, 3, 4, 5]


def test_a_column_of_the_gallery_has_one_kind_of_scale():
    rows = [[PICTURE, POSITIVE, SIGNED, POSITIVE], [PICTURE, POSITIVE, POSITIVE, POSITIVE]]
    figure = plots.gallery(rows)
    assert limits(figure, 6) == (-POSITIVE.max(), POSITIVE.max())
    assert limits(figure, 5) == (0, POSITIVE.max())
    assert [t.get_text() for t in figure.texts][:1] == ["picture"]
    rows = [[PICTURE, POSITIVE, SIGNED, plots.Panel(map=POSITIVE, signed=True)]] * 2
    assert limits(plots.gallery(rows), 3) == (-POSITIVE.max(), POSITIVE.max())  # if told so


def test_regions_are_drawn_inside_the_picture():
    for mask in (MASK, MASK | True, MASK & False):
        axes = plots.picture(PICTURE, mask=mask, boxes=torch.tensor([2, 3, 9, 10])).axes[0]
        assert axes.get_xlim() == (-0.5, 15.5)
        assert axes.get_ylim() == (11.5, -0.5)
        assert len(axes.collections) == mask.any()
        assert axes.patches[0].get_bbox().bounds == (1.5, 2.5, 7, 7)
    assert not plots.picture(PICTURE, boxes=[]).axes[0].patches


def test_the_ledger_puts_negative_shares_left_of_zero():
    figure = plots.ledger({"input": 0.9, "bias": 0.2, "epsilon": -0.1})
    spans = [(p.get_x(), p.get_x() + p.get_width()) for p in figure.axes[0].patches]
    np.testing.assert_allclose(spans, [(0, 0.9), (0.9, 1.1), (0, -0.1)], atol=1e-12)
    legend = figure.legends[0]
    assert legend.get_title().get_text() == "sum 1.000"
    assert legend.get_texts()[2].get_text() == "epsilon −0.100"


def test_bars_print_their_numbers():
    assert [t.get_text() for t in FIGURES["bars"]().axes[0].texts] == ["1.00", "−0.50"]


def test_strips_show_every_scored_image_its_mean_and_the_marked_ones():
    scores = {"a": np.array([1.0, np.nan, 4.0]), "b": torch.tensor([2.0, 0.0, -4.0])}
    figure = plots.strips(scores, intervals={"a": (2, 3)}, chance=0.5, marked=[2], marks="shown")
    axes = figure.axes[0]
    assert [t.get_text() for t in axes.texts] == ["2.50", "−0.67"]  # (1 + 4)/2, (2 + 0 - 4)/3
    dots, chosen, mean, whisker = axes.lines[:4]
    np.testing.assert_array_equal(dots.get_xdata(), [1, np.nan, 4])
    assert chosen.get_xdata().tolist() == [4]
    assert (chosen.get_ydata() == dots.get_ydata()[2]).all()
    assert mean.get_xdata()[0] == 2.5
    assert list(whisker.get_xdata()) == [2, 3]
    assert [t.get_text() for t in figure.legends[0].get_texts()] == ["shown", "chance 0.5"]
    rows = [np.abs(axes.lines[i].get_ydata() - row).max() for i, row in ((0, 0), (4, 1))]
    assert max(rows) < 0.38  # no dot can be taken for one of the next row


def test_a_gallery_may_be_narrow():
    rows = [[PICTURE, *[SIGNED] * 3]]
    assert plots.gallery(rows, width=1.0).get_figwidth() < plots.gallery(rows).get_figwidth() / 1.5


def test_lines_differ_without_colour():
    lines = plots.curves([0, 1] * np.ones(2), {n: np.ones(2) for n in "abcdefg"}, xlabel="",
                         ylabel="").axes[0].lines  # fmt: skip
    assert len({(line.get_linestyle(), line.get_marker()) for line in lines}) == 7


def test_a_method_looks_the_same_in_every_chart():
    both = {"hybrid": np.ones(2), "mine": np.ones(2), "LRP": np.ones(2)}
    lines = plots.curves([0, 1] * np.ones(2), both, xlabel="", ylabel="").axes[0].lines
    assert [line.get_color() for line in lines] == [plots.COLORS[i] for i in (1, 6, 2)]
    (alone,) = plots.curves(np.arange(2), {"LRP": np.ones(2)}, xlabel="", ylabel="").axes[0].lines
    assert (alone.get_color(), alone.get_marker()) == (lines[2].get_color(), lines[2].get_marker())


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        ([0.973, 0.5, -0.001], ["0.97", "0.50", "0.00"]),
        ([12.34, 1], ["12.3", "1.0"]),
        ([0.0123, -0.004], ["0.012", "−0.004"]),
        ([0.0], ["0.00"]),
    ],
)
def test_the_numbers_of_one_chart_have_the_same_decimals(values, texts):
    assert style.alike(values) == texts


def test_lines_of_a_title_are_about_equally_long():
    text = "The hybrid is the cleanest of each row"
    lines = style.wrap(text, 3.6, 12).split("\n")
    assert " ".join(lines) == text
    assert len(lines) == 2
    assert abs(len(lines[0]) - len(lines[1])) < 8
    assert style.wrap("", 3.6, 12) == ""


NAN = np.where(MASK, np.nan, 1.0)


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda: plots.picture(POSITIVE), ValueError, r"image must have shape \(H, W, 3\), got"),
        (lambda: plots.picture(torch.rand(3, 8, 8)), ValueError, r"image .*got \(3, 8, 8\)"),
        (lambda: plots.picture(PICTURE * 3), ValueError, r"image must be uint8 or float in \[0, 1"),
        (lambda: plots.picture("cat.png"), TypeError, "image must be a NumPy array or tensor, got"),
        (lambda: plots.heatmap(PICTURE), ValueError, r"map must have shape \(H, W\), got \(12, "),
        (lambda: plots.heatmap(NAN), ValueError, "map must be finite, got NaN"),
        (lambda: plots.heatmap(ZERO[:0]), ValueError, r"map must have shape .*got \(0, 16\)"),
        (lambda: plots.heatmap(ZERO * 1j), TypeError, "map must hold real numbers, got complex"),
        (lambda: plots.heatmap(SIGNED, signed=False), ValueError, "map must be >= 0 where signed"),
        (lambda: plots.heatmap(SIGNED, clip=101), ValueError, "clip must be .*<= 100, got 101"),
        (lambda: plots.heatmap(SIGNED, limits=(1, 1)), ValueError, "limits must be low < high"),
        (lambda: plots.overlay(PICTURE, ZERO[1:]), ValueError, r"shape \(12, 16\), got \(11, 16"),
        (lambda: plots.overlay(PICTURE, ZERO, opacity=2), ValueError, "opacity must be .*got 2"),
        (lambda: plots.picture(PICTURE, mask=MASK[1:]), ValueError, "mask must have shape"),
        (lambda: plots.picture(PICTURE, boxes=[5, 5, 5, 9]), ValueError, "boxes must be rows x0"),
        (lambda: plots.panels([]), ValueError, "items must hold at least one .*got none"),
        (lambda: plots.panels([None]), ValueError, r"items\[0\] must hold a picture or a map"),
        (lambda: plots.panels([ZERO, NAN]), ValueError, r"items\[1\] must be finite"),
        (lambda: plots.panels([ZERO], titles=["a", "b"]), ValueError, "titles must have 1 entries"),
        (lambda: plots.panels([ZERO], captions=[]), ValueError, "captions must have 1 entries"),
        (lambda: plots.panels([ZERO], row_titles=[]), ValueError, "row_titles must have 1"),
        (lambda: plots.panels([ZERO], columns=0), ValueError, "columns must be >= 1, got 0"),
        (lambda: stages(bounded=NAN), ValueError, "bounded must be finite"),
        (lambda: stages(cam=ZERO.T), ValueError, "cam must have its picture's shape"),
        (lambda: plots.stages(PICTURE, *[ZERO] * 5), TypeError, "takes 1 positional argument"),
        (lambda: plots.gallery([[PICTURE, ZERO]]), ValueError, r"rows\[0\] must have 4 entries"),
        (lambda: pipeline(ZERO), ValueError, r"activations .*\(K, h, w\)"),
        (lambda: plots.pipeline(PICTURE, *[ZERO] * 6), TypeError, "takes 2 positional arguments"),
        (
            lambda: plots.curves(np.ones(2), {"a": np.ones(3)}, xlabel="", ylabel=""),
            ValueError,
            r"series\['a'\] must have 2 entries, got 3",
        ),
        (lambda: plots.bars({}), ValueError, "values must hold at least one entry, got none"),
        (lambda: plots.bars({"a": np.nan}), ValueError, r"values\['a'\] must be finite, got nan"),
        (lambda: plots.bars({"a": 1}, highlight="b"), ValueError, "highlight must be a known"),
        (lambda: plots.bars({"a": 1}, intervals={"b": (0, 1)}), ValueError, "intervals must be a"),
        (lambda: plots.strips({}), ValueError, "values must hold at least one entry, got none"),
        (lambda: plots.strips({"a": [1.0]}), TypeError, r"values\['a'\] must be a NumPy array"),
        (lambda: plots.strips({"a": SIGNED}), ValueError, r"values\['a'\] must have shape \(n\)"),
        (
            lambda: plots.strips({"a": np.array([np.nan])}),
            ValueError,
            r"values\['a'\] must hold a score that is not NaN, got none",
        ),
        (
            lambda: plots.strips({"a": np.array([1, np.inf])}),
            ValueError,
            r"values\['a'\] must be finite",
        ),
        (
            lambda: plots.strips({"a": np.ones(2)}, marked=[2]),
            ValueError,
            r"marked must be in 0\.\.1, got \[2\]",
        ),
        (
            lambda: plots.strips({"a": np.ones(2)}, intervals={"b": (0, 1)}),
            ValueError,
            "intervals must be a known",
        ),
        (lambda: plots.ledger({"a": "b"}), TypeError, r"shares\['a'\] must be a number, got str"),
        (lambda: plots.save(Figure(), "a.jpg"), ValueError, r"path must end in \.png, got 'a.jpg'"),
    ],
)
def test_errors_name_the_argument_the_rule_and_what_came(call, error, match):
    with pytest.raises(error, match=match):
        call()
