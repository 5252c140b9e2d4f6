"""What decides a table, in words that can be hashed: weights, settings, versions."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from xaiutils.metrics import METRICS
from xaiutils.metrics.scoring import Contender
from xaiutils.network.classifier import SOFTMAX, Classifier

LIBRARIES = (
    *("torch", "torchvision", "numpy", "scipy", "captum", "grad-cam", "quantus"),
    *("pillow", "scikit-image", "scikit-learn", "xaiutils"),
)


def digest(parts: Iterable[bytes], digits: int = 16) -> str:
    """The SHA-256 of bytes, one after the other, its first hexadecimal digits."""
    found = hashlib.sha256()
    for part in parts:
        found.update(part)
    return found.hexdigest()[:digits]


def of(about: Mapping[str, Any], digits: int = 16) -> str:
    """The hash of what can be written as JSON, the same for any order of its keys."""
    return digest([json.dumps(about, sort_keys=True).encode()], digits)


def files(*paths: Path) -> str:
    """A hash of the content of files."""
    return digest(path.read_bytes() for path in paths)


def weights(classifier: Classifier) -> str:
    """A hash of every parameter and buffer of a network."""
    tensors = (*classifier.module.parameters(), *classifier.module.buffers())
    return digest(one.detach().cpu().contiguous().numpy().tobytes() for one in tensors)


def network(classifier: Classifier) -> dict[str, str]:
    """What else decides answers and maps: operations, CAM layer, preprocessing, outputs."""
    steps = (f"{one.name} {one.function} {one.args}" for one in classifier.graph.steps)
    other = {} if classifier.outputs == SOFTMAX else {"outputs": classifier.outputs}
    return {
        "operations": digest(["\n".join(steps).encode()]),
        "cam_layer": classifier.cam_layer,
        "transform": repr(classifier.transform),
    } | other  # left out where it is softmax, as in the tables that were stored before


def method(one: Contender) -> dict[str, str]:
    """A row's method with all its settings, so that a changed default changes the hash."""
    known = one.method.settings if one.method else {}
    used = {key: setting.default for key, setting in known.items()} | dict(one.settings)
    return {"method": one.method.name if one.method else one.label} | _words(used)


def metric(name: str, settings: Mapping[str, Any]) -> dict[str, str]:
    """A metric's settings, all of them."""
    known = METRICS[name].settings
    return _words({key: one.default for key, one in known.items()} | dict(settings))


def _words(settings: Mapping[str, Any]) -> dict[str, str]:
    return {key: repr(value) for key, value in settings.items()}


def versions() -> dict[str, str]:
    """Of every library that has a say in a score."""
    return {library: version(library) for library in LIBRARIES}
