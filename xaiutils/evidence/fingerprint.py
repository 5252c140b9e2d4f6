"""What decides a table, in words that can be hashed: weights, settings, versions."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from xaiutils.metrics import METRICS
from xaiutils.metrics.scoring import Contender
from xaiutils.network.classifier import SOFTMAX, Classifier

LIBRARIES = (
    *("torch", "torchvision", "numpy", "scipy", "captum", "grad-cam", "quantus"),
    *("pillow", "scikit-image", "scikit-learn", "xaiutils"),
)


def weights(classifier: Classifier) -> str:
    """A hash of every parameter and buffer of a network, 16 hexadecimal digits."""
    digest = hashlib.sha256()
    for tensor in (*classifier.module.parameters(), *classifier.module.buffers()):
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def network(classifier: Classifier) -> dict[str, str]:
    """What else decides answers and maps: operations, CAM layer, preprocessing, outputs."""
    steps = (f"{one.name} {one.function} {one.args}" for one in classifier.graph.steps)
    other = {} if classifier.outputs == SOFTMAX else {"outputs": classifier.outputs}
    return {
        "operations": hashlib.sha256("\n".join(steps).encode()).hexdigest()[:16],
        "cam_layer": classifier.cam_layer,
        "transform": repr(classifier.transform),
    } | other  # left out where it is softmax, as in the tables that were stored before


def method(one: Contender) -> dict[str, str]:
    """A row's method with all its settings, so that a changed default changes the hash."""
    known = one.method.settings if one.method else {}
    used = {key: setting.default for key, setting in known.items()} | dict(one.settings)
    about = {key: repr(value) for key, value in used.items()}
    return {"method": one.method.name if one.method else one.label} | about


def metric(name: str, settings: Mapping[str, Any]) -> dict[str, str]:
    """A metric's settings, all of them."""
    defaults = {key: setting.default for key, setting in METRICS[name].settings.items()}
    return {key: repr(value) for key, value in (defaults | dict(settings)).items()}


def versions() -> dict[str, str]:
    """Of every library that has a say in a score."""
    return {library: version(library) for library in LIBRARIES}


def of(about: Mapping[str, Any], digits: int = 16) -> str:
    """The hash of what can be written as JSON, the same for any order of its keys."""
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:digits]
