"""METRICS, the page that lists them, and what every record must say."""

from __future__ import annotations

from pathlib import Path

import pytest

from xaiutils.metrics import METRICS
from xaiutils.metrics.record import FAMILIES, NEEDS

DOCS = Path(__file__).parents[2] / "docs"


def test_the_papers_metrics_have_quantus_direction():
    import quantus
    from quantus.helpers.enums import ScoreDirection

    from xaiutils.metrics.paper_quantus import CLASSES

    for name, theirs in CLASSES.items():
        direction = getattr(quantus, theirs).score_direction
        assert (METRICS[name].better == "higher") == (direction == ScoreDirection.HIGHER)


@pytest.mark.parametrize("name", METRICS)
def test_a_record_says_all(name):
    metric = METRICS[name]
    assert metric.name == name
    assert metric.family in FAMILIES
    assert set(metric.needs) <= set(NEEDS)
    assert metric.low < metric.high
    assert metric.arrow == {"higher": "↑", "lower": "↓"}[metric.better]
    assert all(setting.why for setting in metric.settings.values())
    assert metric.source
    assert metric.anchors
    assert metric.cost() >= 0
