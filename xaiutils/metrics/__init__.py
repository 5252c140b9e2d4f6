"""Scores of maps; so far those that the first notebooks need."""

from xaiutils.metrics.complexity import gini
from xaiutils.metrics.localisation import mass_accuracy, own_share, rank_accuracy
from xaiutils.metrics.summary import mean_interval

__all__ = ["gini", "mass_accuracy", "mean_interval", "own_share", "rank_accuracy"]
