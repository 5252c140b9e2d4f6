"""What an explanation is judged by: `METRICS`, each with its direction, anchors and source.

It imports `methods`, `cases` and what is below them. Start with `record` (what a metric is), then
any family, such as `localisation`; `scoring` runs many of them, `score_table` and `stats` sum up.
"""

from xaiutils.cases.case import Case, Piece, load_cases
from xaiutils.metrics import (
    counterfactual,
    flipping,
    infidelity,
    localisation,
    paper,
    randomisation,
    regions,
    road,
)
from xaiutils.metrics.localisation import mass_accuracy, own_share, rank_accuracy
from xaiutils.metrics.paper import gini
from xaiutils.metrics.record import CannotScore, Explainer, Metric, Score
from xaiutils.metrics.stats import mean_interval
from xaiutils.support.checks import Registry

_MODULES = paper, infidelity, flipping, road, regions, counterfactual, localisation
METRICS: Registry[Metric] = Registry(
    "metric", {one.name: one for module in (*_MODULES, randomisation) for one in module.TABLE}
)
SHIPPED = tuple(METRICS.values())  # to be told from those that you add

__all__ = [
    "METRICS",
    "CannotScore",
    "Case",
    "Explainer",
    "Metric",
    "Piece",
    "Score",
    "gini",
    "load_cases",
    "mass_accuracy",
    "mean_interval",
    "own_share",
    "rank_accuracy",
]
