"""Figures that compare methods: what they show, what they leave out, and errors."""

from __future__ import annotations

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.figure import Figure

from xaiutils import plots
from xaiutils.plots.comparisons import dots, matrix
from xaiutils.plots.trials import forest

NAMES = ["cam", "lrp", "hybrid"]
SCORES = np.array([[[0.5, 0.4, 0.6]], [[np.nan] * 3], [[0.8, 0.7, 0.9]]])
CORRELATIONS = np.array([[1, -0.4], [-0.4, 1]])
ROW = {"one": (0.5, 0.2, 0.9), "two": (-0.5, -0.7, 0.1)}

FIGURES = {
    "dots": lambda: dots(
        {"score": SCORES}, NAMES, groups=["one"], chance={"score": 0.1}, title="t",
        marks={"score": {"hybrid": 0.3}}, marked="paper", highlight=["hybrid"],
    ),
    "matrix": lambda: matrix(CORRELATIONS, ["a", "b"], title="t"),
    "forest": lambda: forest({"first": ROW, "second": {"one": (1, 1, 1)}}, xlabel="difference"),
}  # fmt: skip


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_is_drawn_and_nothing_outside_is_changed(name, tmp_path):
    before, numbers = dict(mpl.rcParams), plt.get_fignums()
    figure = FIGURES[name]()
    first = plots.save(figure, tmp_path / "a.png").read_bytes()
    assert plots.save(FIGURES[name](), tmp_path / "b.png").read_bytes() == first
    assert isinstance(figure, Figure)
    assert plt.get_fignums() == numbers
    assert dict(mpl.rcParams) == before
    assert 100 * figure.get_figwidth() <= 830.001


def test_dots_stand_at_their_means_and_intervals_and_a_missing_one_is_left_out():
    axes = FIGURES["dots"]().axes[0]
    chance, mean, cross = (
        next(line for line in axes.lines if line.get_label() == label)
        for label in ("chance", "one", "paper")
    )
    np.testing.assert_equal(mean.get_xdata(), [0.5, np.nan, 0.8])
    np.testing.assert_equal(mean.get_ydata(), [0, 1, 2])
    assert list(chance.get_xdata()) == [0.1, 0.1]
    assert (list(cross.get_xdata()), list(cross.get_ydata())) == ([0.3], [2])
    whiskers = axes.collections[1].get_segments()
    assert whiskers[0].tolist() == [[0.4, 0], [0.6, 0]]
    assert [label.get_fontweight() for label in axes.get_yticklabels()] == ["normal"] * 2 + ["bold"]


def test_dots_shift_groups_apart_around_their_row():
    axes = dots({"score": np.repeat(SCORES, 3, axis=1)}, NAMES, groups=["a", "b", "c"]).axes[0]
    rows = [line.get_ydata()[0] for line in axes.lines if line.get_label() in "abc"]
    np.testing.assert_allclose(rows, [-0.22, 0, 0.22])


def test_a_matrix_shows_its_numbers_on_a_scale_around_zero():
    axes = FIGURES["matrix"]().axes[0]
    assert [text.get_text() for text in axes.texts] == ["1.00", "−0.40", "−0.40", "1.00"]
    assert axes.images[0].get_clim() == (-1, 1)


def test_a_row_of_a_forest_tells_the_range_of_its_means():
    axes = FIGURES["forest"]().axes[0]
    assert [text.get_text() for text in axes.texts] == ["−0.50 to +0.50", "+1.00"]
    assert not forest({"a": ROW}, xlabel="", form=None).axes[0].texts
    ends = [line.get_xdata() for line in axes.lines if len(line.get_xdata()) == 2][1:]
    assert [tuple(pair) for pair in ends] == [(0.2, 0.9), (-0.7, 0.1), (1, 1)]


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: dots({}, NAMES), "panels must hold at least one entry, got none"),
        (lambda: dots({"s": SCORES[:2]}, NAMES), r"panels\['s'\] must have shape \(3, 1, 3\), got"),
        (lambda: dots({"s": SCORES / 0.0}, NAMES), r"panels\['s'\] must be finite, or NaN"),
        (lambda: dots({"s": SCORES * np.nan}, NAMES), r"panels\['s'\] must be finite, or NaN"),
        (lambda: dots({"s": SCORES}, NAMES, chance={"t": 0}), "chance must be"),
        (lambda: dots({"s": SCORES}, NAMES, highlight=["x"]), "highlight must be"),
        (lambda: dots({"s": SCORES}, NAMES, marks={"s": {"x": 0}}), r"marks\['s'\] must be"),
        (lambda: dots({"s": SCORES}, NAMES, marks={"t": {}}), "marks must be"),
        (lambda: matrix(CORRELATIONS, ["a"]), r"values must be \(K, K\) with K = 1, got \(2, 2\)"),
        (lambda: matrix(CORRELATIONS * 2, ["a", "b"]), r"values must be in \[-1, 1\], got 2"),
        (lambda: forest({}, xlabel=""), "rows must hold at least one entry"),
        (lambda: forest({"a": {}}, xlabel=""), r"rows\['a'\] must hold at least one entry"),
        (
            lambda: forest({"a": {"one": (0, 1)}}, xlabel=""),
            r"rows\['a'\]\['one'\] must have shape \(3, 1\), got \(2, 1\)",
        ),
    ],
)
def test_errors_name_the_argument_the_rule_and_what_came(call, match):
    with np.errstate(all="ignore"), pytest.raises(ValueError, match=match):
        call()
