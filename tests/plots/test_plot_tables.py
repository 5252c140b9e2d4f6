"""The shaded table: its texts, its colours, its groups, and what it refuses."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pytest
import torch

from xaiutils.plots.tables import heat_table

VALUES = np.array([[1.0, 2.0], [0.5, np.nan], [-0.004, 3.0]])
SHADES = np.array([[0.0, 0.0], [-0.5, np.nan], [2.0, 0.7]])
GROUPS = {"CAM": ["paper", "ours"], "LRP": ["paper"]}


def draw(values=VALUES, shades=SHADES, groups=GROUPS, columns=("a", "b"), **options):
    return heat_table(values, shades, groups, columns, **options)


def test_each_cell_has_its_number_and_a_colour_by_its_shade():
    before = dict(mpl.rcParams)
    figure = draw(limit=1.5, title="title", label="label")
    axes, bar = figure.axes
    assert [text.get_text() for text in axes.texts[:6]] == [
        "1.00",
        "2.00",
        "0.50",
        "–",
        "0.00",
        "3.00",
    ]
    image = axes.images[0]
    assert image.get_clim() == (-1.5, 1.5)
    assert image.get_array().mask.tolist() == np.isnan(SHADES).tolist()
    assert [text.get_color() for text in axes.texts[:6]] == [*["black"] * 4, "white", "black"]
    assert bar.get_xlabel() == "label"
    assert figure._repr_png_().startswith(b"\x89PNG")
    assert dict(mpl.rcParams) == before
    assert 100 * figure.get_figwidth() <= 830.001


def test_the_first_row_of_each_group_is_bold_and_named():
    axes = draw().axes[0]
    weights = [label.get_fontweight() for label in axes.get_yticklabels()]
    assert weights == ["bold", "normal", "bold"]
    assert [text.get_text() for text in axes.texts[6:]] == ["CAM", "LRP"]
    assert [line.get_ydata()[0] for line in axes.lines] == [1.5]


def test_tensors_are_taken_and_left_alone():
    values = torch.from_numpy(VALUES.copy())
    draw(values, values)
    assert torch.equal(values.isnan(), torch.from_numpy(np.isnan(VALUES)))


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"groups": {}}, ValueError, "groups must each have at least one row"),
        ({"groups": {"CAM": []}}, ValueError, "groups must each have at least one row"),
        ({"groups": {"CAM": ["one"]}}, ValueError, "values must have 1 entries, got 3"),
        ({"columns": ["a"]}, ValueError, r"values\[0\] must have 1 entries, got 2"),
        ({"shades": SHADES[:2]}, ValueError, "shades must have 3 entries"),
        ({"values": VALUES[0]}, ValueError, r"values must have shape \(R, C\)"),
        ({"values": VALUES * np.inf}, ValueError, "values must be finite"),
        ({"values": [[1.0]]}, TypeError, "values must be a NumPy array"),
        ({"limit": 0}, ValueError, "limit must be above 0"),
    ],
)
def test_wrong_input_is_refused(change, error, match):
    with pytest.raises(error, match=match):
        draw(**change)
