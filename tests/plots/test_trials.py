"""Charts of repeated trials: what is drawn where, the front, and errors."""

from __future__ import annotations

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

from xaiutils.plots import save
from xaiutils.plots.trials import efficient, forest, sweeps, trade_off

LINE = np.array([[1.0, 2.0, 3.0], [0.5, 1.5, 2.5], [1.5, 2.5, 4.0]])
POINTS = {"a": (0.0, 2.0), "b": (1.0, 1.0), "c": (0.5, 0.5), "d": (0.0, 1.0)}
ROW = {"one": (0.5, 0.2, 0.9), "two": (-0.5, -0.7, 0.1)}
FIGURES = {
    "sweeps": lambda: sweeps(
        ["0", "1", "2"], {"A": {"x": LINE, "y": LINE + 1}, "B": {"x": LINE}}, xlabel="t",
        levels={"B": {"chance": (0.1, 0.2)}}, mark=1, columns=2, title="found",
    ),
    "trade_off": lambda: trade_off(
        POINTS, xlabel="x", ylabel="y", spread={"a": (-1, 1, 1, 3)}, joined=[["a", "c"]],
        reference=["d"],
    ),
    "forest": lambda: forest({"first": ROW, "second": {"one": (1, 1, 1)}}, xlabel="difference"),
}  # fmt: skip


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_is_drawn_and_nothing_outside_is_changed(name, tmp_path):
    before, numbers = dict(mpl.rcParams), plt.get_fignums()
    figure = FIGURES[name]()
    save(figure, tmp_path / "a.png")
    assert isinstance(figure, Figure)
    assert figure.get_size_inches()[0] == pytest.approx(8.3)
    assert plt.get_fignums() == numbers
    assert dict(mpl.rcParams) == before


def test_lines_of_a_sweep_are_at_their_means_with_their_intervals():
    figure = FIGURES["sweeps"]()
    first, second = figure.axes
    lines = {line.get_label(): line for line in first.lines}
    drawn = [line.get_ydata() for line in first.lines[:2]]
    assert np.allclose(drawn, [LINE[0], LINE[0] + 1])
    # Two lines stand beside each other by 0.12 about the tick; one alone stands on it.
    assert np.allclose(first.lines[0].get_xdata(), [-0.06, 0.94, 1.94])
    whiskers = [segment[:, 1] for segment in first.collections[0].get_segments()]
    assert np.allclose(whiskers, LINE[1:].T)
    assert [text.get_text() for text in first.get_xticklabels()] == ["0", "1", "2"]
    assert np.allclose(second.lines[0].get_ydata(), 0.15)  # of the level from 0.1 to 0.2
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["x", "y", "chance"]
    assert len(lines) == 3  # and the dotted mark


def test_the_front_holds_what_no_other_exceeds():
    # c is below b in both scores; d has a's x and a lower y.
    assert efficient(POINTS) == ["a", "b"]
    assert efficient({"a": (1, 1), "b": (1, 1)}) == ["a", "b"]


places = st.tuples(st.integers(0, 5), st.integers(0, 5))


@given(st.dictionaries(st.text(max_size=3), places, min_size=1))
def test_every_point_off_the_front_is_exceeded_by_one_on_it(points):
    front = efficient(points)
    assert front
    for name, (x, y) in points.items():
        above = [n for n in front if points[n][0] >= x and points[n][1] >= y]
        assert above  # a point on the front is above itself
        if name in front:
            assert {points[n] for n in above} == {(x, y)}


def test_the_legend_of_a_trade_off_numbers_the_points_and_sets_the_front_apart():
    axes = FIGURES["trade_off"]().axes[0]
    texts = axes.get_legend().get_texts()
    assert [text.get_text() for text in texts] == ["1  a", "2  b", "3  c", "4  d"]
    assert [text.get_fontweight() for text in texts] == ["bold", "bold", "normal", "normal"]
    assert [text.get_text() for text in axes.texts] == ["1", "2", "3", "4"]


def test_a_logit_scale_spreads_scores_near_one():
    points = {"a": (0.6, 1.0), "b": (0.96, 2.0), "c": (0.98, 1.5)}
    axes = trade_off(points, xlabel="x", ylabel="y", xscale="logit").axes[0]
    (left, _), (middle, _), (right, _) = axes.transData.transform(list(points.values()))
    # log(p / (1 - p)): 0.41, 3.18, 3.89
    assert (right - middle) / (middle - left) == pytest.approx(0.71 / 2.77, abs=0.01)
    assert [text.get_text() for text in axes.get_xticklabels()][:3] == ["0.7", "0.8", "0.9"]


def test_numbers_of_crowded_points_do_not_cover_each_other_or_a_point():
    crowd = {str(i): (0.01 * (i % 4), 0.02 * (i // 4)) for i in range(12)} | {"far": (1.0, 1.0)}
    figure = trade_off(crowd, xlabel="x", ylabel="y")
    axes = figure.axes[0]
    figure.draw_without_rendering()
    places = axes.transData.transform(list(crowd.values()))
    numbers = [text.get_window_extent() for text in axes.texts]
    centres = np.array([[(box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2] for box in numbers])
    # Right above every point, as Matplotlib would place them, these are 2 dots apart.
    gaps = np.linalg.norm(centres[:, None] - centres, axis=2) + 99 * np.eye(len(centres))
    assert gaps.min() > 6
    assert np.linalg.norm(centres - places, axis=1).max() < 30


def test_a_row_of_a_forest_tells_the_range_of_its_means():
    axes = FIGURES["forest"]().axes[0]
    assert [text.get_text() for text in axes.texts] == ["−0.50 to +0.50", "+1.00"]
    assert not forest({"a": ROW}, xlabel="", form=None).axes[0].texts
    ends = [line.get_xdata() for line in axes.lines if len(line.get_xdata()) == 2][1:]
    assert [tuple(pair) for pair in ends] == [(0.2, 0.9), (-0.7, 0.1), (1, 1)]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: sweeps(["0"], {}, xlabel=""), "charts must hold at least one entry"),
        (lambda: sweeps(["0"], {"A": {}}, xlabel=""), r"charts\['A'\] must hold at least one"),
        (
            lambda: sweeps(["0"], {"A": {"x": LINE}}, xlabel=""),
            r"charts\['A'\]\['x'\] must have shape \(3, 1\), got \(3, 3\)",
        ),
        (
            lambda: sweeps(["0", "1", "2"], {"A": {"x": LINE[[0, 2, 1]]}}, xlabel=""),
            "must hold means, lower ends and upper ends",
        ),
        (
            lambda: sweeps(["0", "1", "2"], {"A": {"x": LINE * np.nan}}, xlabel=""),
            "must be finite",
        ),
        (
            lambda: sweeps(["0", "1", "2"], {"A": {"x": LINE}}, xlabel="", levels={"B": {}}),
            "levels must be a known name, got 'B'",
        ),
        (
            lambda: sweeps(["0", "1", "2"], {"A": {"x": LINE}}, xlabel="", mark=3),
            "mark must be >= 0 and <= 2, got 3",
        ),
        (lambda: trade_off({}, xlabel="", ylabel=""), "points must hold at least one entry"),
        (
            lambda: trade_off({"a": (0, np.nan)}, xlabel="", ylabel=""),
            r"points\['a'\] must be finite, got nan",
        ),
        (
            lambda: trade_off(POINTS, xlabel="", ylabel="", joined=[["a", "e"]]),
            "joined must be a known name, got 'e'",
        ),
        (
            lambda: trade_off(POINTS, xlabel="", ylabel="", reference=["e"]),
            "reference must be a known name, got 'e'",
        ),
        (
            lambda: trade_off({"a": (1, 0)}, xlabel="", ylabel="", xscale="logit"),
            r"points\['a'\] must be >= 1e-06 and <= 0.999999, got 1",
        ),
        (
            lambda: trade_off(POINTS, xlabel="", ylabel="", xscale="log"),
            "xscale must be a known name, got 'log'",
        ),
        (lambda: forest({}, xlabel=""), "rows must hold at least one entry"),
        (lambda: forest({"a": {}}, xlabel=""), r"rows\['a'\] must hold at least one entry"),
        (
            lambda: forest({"a": {"one": (0, 1)}}, xlabel=""),
            r"rows\['a'\]\['one'\] must have shape \(3, 1\), got \(2, 1\)",
        ),
    ],
)
def test_bad_input_is_refused_by_name(call, message):
    with pytest.raises((TypeError, ValueError), match=message):
        call()
