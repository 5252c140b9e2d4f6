"""Figures that compare methods: what they show, what they leave out, and errors."""

from __future__ import annotations

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

from xaiutils import plots
from xaiutils.plots.comparisons import cliques, dots, matrix, radar, rank_diagram

NAMES = ["cam", "lrp", "hybrid"]
SCORES = np.array([[[0.5, 0.4, 0.6]], [[np.nan] * 3], [[0.8, 0.7, 0.9]]])
CORRELATIONS = np.array([[1, -0.4], [-0.4, 1]])

FIGURES = {
    "dots": lambda: dots(
        {"score": SCORES}, NAMES, groups=["one"], chance={"score": 0.1}, title="t",
        marks={"score": {"hybrid": 0.3}}, marked="paper", highlight=["hybrid"],
    ),
    "radar": lambda: radar({"a": np.array([0, 0.5, 1])}, NAMES, title="t"),
    "rank_diagram": lambda: rank_diagram({"a": 1.2, "b": 2.9, "c": 1.9}, 0.8, highlight=["c"]),
    "matrix": lambda: matrix(CORRELATIONS, ["a", "b"], title="t"),
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


def test_a_radar_is_closed_and_keeps_negative_values_off_the_centre():
    chart = radar({"a": np.array([-0.5, 0.5, 1.2])}, NAMES).axes[0]
    line = next(line for line in chart.lines if line.get_label() == "a")
    assert list(line.get_ydata()) == [-0.5, 0.5, 1.2, -0.5]
    assert (chart.get_rmin(), chart.get_rmax()) == (-0.62, 1.2)
    assert np.allclose(line.get_xdata(), [0, 2 * np.pi / 3, 4 * np.pi / 3, 2 * np.pi])


def test_two_radars_share_their_scale_and_their_looks():
    a, b = np.array([0, 0.5, 1]), np.array([-0.5, 2, 1])
    two = radar({"a": a}, NAMES, beside={"b": b, "a": a}, names=("one", "two"))
    first, second = two.axes
    assert [first.get_title(), second.get_title()] == ["one", "two"]
    assert first.get_rmax() == second.get_rmax() == 2
    assert first.get_rmin() == second.get_rmin() == -0.62
    lines = [{line.get_label(): line for line in chart.lines} for chart in two.axes]
    assert lines[0]["a"].get_color() == lines[1]["a"].get_color() != lines[1]["b"].get_color()
    assert [text.get_text() for text in two.legends[0].get_texts()] == ["a", "b"]
    with pytest.raises(ValueError, match=r"beside\['b'\] must have 3 entries, got 2"):
        radar({"a": a}, NAMES, beside={"b": np.ones(2)})


def test_a_rank_diagram_sorts_and_joins_what_is_close():
    axes = FIGURES["rank_diagram"]().axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "c", "b"]
    assert [list(line.get_ydata()) for line in axes.lines] == [[-0.25, 1.25]]  # 1.2, 1.9; not 2.9


def test_cliques_by_hand():
    # Within 1: from 1.0 up to 2.0; from 1.5 to 2.5; from 2.0 to 2.5 lies inside the one before.
    assert cliques(np.array([1.0, 1.5, 2.0, 2.5, 4.0]), 1.0) == [(0, 2), (1, 3)]
    assert cliques(np.array([1.0, 2.5]), 1.0) == []


@given(st.lists(st.floats(1, 20), min_size=1, max_size=12), st.floats(0.1, 10))
def test_two_ranks_share_a_bar_exactly_where_they_are_close(ranks, distance):
    values = np.sort(ranks)
    runs = cliques(values, distance)
    for i in range(len(values)):
        for j in range(i + 1, len(values)):
            joined = any(start <= i and j <= end for start, end in runs)
            assert joined == (values[j] <= values[i] + distance)


def test_a_matrix_shows_its_numbers_on_a_scale_around_zero():
    axes = FIGURES["matrix"]().axes[0]
    assert [text.get_text() for text in axes.texts] == ["1.00", "−0.40", "−0.40", "1.00"]
    assert axes.images[0].get_clim() == (-1, 1)


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
        (lambda: radar({}, NAMES), "series must hold at least one entry, got none"),
        (lambda: radar({"a": np.ones(2)}, NAMES), r"series\['a'\] must have 3 entries, got 2"),
        (lambda: radar({"a": np.ones(2)}, NAMES[:2]), "axes must have at least 3 entries, got 2"),
        (lambda: rank_diagram({"a": 1}, 1), "ranks must hold at least two entries, got 1"),
        (lambda: rank_diagram({"a": 1, "b": 3}, 1), r"ranks\['b'\] must be"),
        (lambda: rank_diagram({"a": 1, "b": 2}, 0), "critical_difference must be above 0, got 0"),
        (lambda: rank_diagram({"a": 1, "b": 2}, 1, highlight=["c"]), "highlight must be"),
        (lambda: matrix(CORRELATIONS, ["a"]), r"values must be \(K, K\) with K = 1, got \(2, 2\)"),
        (lambda: matrix(CORRELATIONS * 2, ["a", "b"]), r"values must be in \[-1, 1\], got 2"),
    ],
)
def test_errors_name_the_argument_the_rule_and_what_came(call, match):
    with np.errstate(all="ignore"), pytest.raises(ValueError, match=match):
        call()
