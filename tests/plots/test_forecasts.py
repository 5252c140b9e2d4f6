"""Forecasts against what came: the scaling, what is drawn where, and errors."""

from __future__ import annotations

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xaiutils.plots import Figure, save
from xaiutils.plots.trials import best_scale, forecasts

LABELS = {"xlabel": "foretold", "ylabel": "came"}
DROPS = np.array([2.0, 0.0, 4.0])
SUMS = {"right in other units": DROPS * 100, "wrong": np.array([1.0, 1.0, 1.0])}


def test_a_figure_is_drawn_and_nothing_outside_is_changed(tmp_path):
    before, numbers = dict(mpl.rcParams), plt.get_fignums()
    figure = forecasts(DROPS, SUMS | {"third": DROPS + 1}, columns=2, title="found", **LABELS)
    save(figure, tmp_path / "a.png")
    assert isinstance(figure, Figure)
    assert figure.get_size_inches()[0] == pytest.approx(8.3)
    assert len(figure.axes) == 3
    assert plt.get_fignums() == numbers
    assert dict(mpl.rcParams) == before


def test_dots_are_scaled_forecasts_with_their_mean_squared_error():
    right, wrong = forecasts(DROPS, SUMS, **LABELS).axes
    # In other units, but right: the scaling brings it onto the line.
    assert np.allclose(right.lines[1].get_data(), [DROPS, DROPS])
    assert right.get_title("center") == "right in other units\n0.00"
    # beta = (2 + 0 + 4) / 3 = 2; the errors are 0, 2 and 2, their mean square 8 / 3.
    assert np.allclose(wrong.lines[1].get_data(), [[2, 2, 2], DROPS])
    assert wrong.get_title("center") == "wrong\n2.67"
    for axes in (right, wrong):
        assert np.allclose(axes.lines[0].get_data(), [[0, 4], [0, 4]])


def test_the_line_spans_forecasts_that_go_beyond_the_drops():
    # beta = 10 / 17, so that the forecasts are 40 / 17 and 10 / 17, beyond both drops.
    (axes,) = forecasts(np.array([1.0, 6.0]), {"a": np.array([4.0, 1.0])}, **LABELS).axes
    assert np.allclose(axes.lines[0].get_xdata(), [10 / 17, 6])
    (axes,) = forecasts(np.array([2.0, 2.0]), {"a": np.array([4.0, 1.0])}, **LABELS).axes
    assert np.allclose(axes.lines[0].get_xdata(), [10 / 17, 40 / 17])


numbers = st.lists(st.tuples(st.floats(-5, 5), st.floats(-5, 5)), min_size=2, max_size=8).filter(
    lambda pairs: any(abs(s) > 0.1 for s, _ in pairs)
)


@given(numbers, st.floats(-3, 3))
def test_no_other_factor_is_closer(pairs, other):
    foretold, came = np.array(pairs).T
    best = best_scale(foretold=foretold, came=came)
    error = ((best * foretold - came) ** 2).sum()
    assert error <= ((other * foretold - came) ** 2).sum() + 1e-9


@pytest.mark.parametrize(
    ("drops", "sums", "message"),
    [
        (DROPS, {}, "sums must hold at least one entry"),
        (DROPS, {"a": DROPS[:2]}, r"sums\['a'\] must have 3 entries, got 2"),
        (DROPS, {"a": DROPS * 0}, "foretold must hold a value that is not 0"),
        (DROPS, {"a": DROPS * np.nan}, r"sums\['a'\] must be finite"),
        (DROPS[None], {"a": DROPS}, r"drops must have shape \(n\)"),
    ],
)
def test_bad_values_are_refused(drops, sums, message):
    with pytest.raises(ValueError, match=message):
        forecasts(drops, sums, **LABELS)


def test_columns_must_be_one_or_more():
    with pytest.raises(ValueError, match="columns must"):
        forecasts(DROPS, SUMS, columns=0, **LABELS)
