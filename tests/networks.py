"""Networks that several tests look at and none changes: built and captured once a process."""

from __future__ import annotations

from functools import cache

from xaiutils.network.classifier import Classifier, load_model


@cache
def untrained(name: str) -> Classifier:
    """One of torchvision's, with random weights."""
    return load_model(name, "random")
