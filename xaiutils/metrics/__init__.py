"""Scores of maps; so far those that the first notebooks need."""

from xaiutils.metrics.complexity import gini
from xaiutils.metrics.localisation import mass_accuracy, rank_accuracy

__all__ = ["gini", "mass_accuracy", "rank_accuracy"]
