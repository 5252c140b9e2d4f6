"""Which explainer can explain which network: every pair is run, or refused by name.

On torchvision's networks, where a pass takes long, all but a few pairs are marked slow.
"""

from __future__ import annotations

import re
from functools import cache

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from xaiutils.methods import METHODS, CannotExplain, Method
from xaiutils.network.classifier import Classifier, load_model
from xaiutils.pictures.scenes import samples

SCENES = tuple(f"scenes_{kind}_seed0" for kind in ("vgg", "resnet", "inception", "vit"))
TORCHVISION = ("vgg16", "resnet18", "googlenet", "vit_b_16")  # untrained
NAMES = (*SCENES, *TORCHVISION)
SIZE = 64  # of the random picture for torchvision's CNNs
QUICK = {"n_samples": 70, "n_steps": 5, "n_baselines": 2}
MANY = 80  # passes; a pair that needs more is not run
ON_VIT = ("grad_cam_plus_plus", "deep_lift")  # one that runs and one that is refused
ON_VGG = (*ON_VIT, "lrp_paper", "hybrid", "lime")


@cache
def classifier(name: str) -> Classifier:
    return load_model(name, None if name in SCENES else "random")


@cache
def picture(name: str) -> Tensor:
    found = classifier(name)
    if name in SCENES:
        return found.preprocess(samples("unit", 1))
    size = 224 if name.startswith("vit") else SIZE
    patches = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    return F.interpolate(patches, (size, size))  # noise would be a single segment


@cache
def target(name: str) -> int:
    return int(classifier(name).predict(picture(name)).argmax())


def refusal(method: Method, name: str) -> str | None:
    return method.refuses(classifier(name))


def explain(method: Method, name: str) -> Tensor:
    settings = {key: value for key, value in QUICK.items() if key in method.settings}
    return method(classifier(name), picture(name), target(name), **settings)


def cost(method: Method, name: str) -> float:
    shape = classifier(name).graph.find(classifier(name).cam_layer).shape
    channels = int(shape[1] if len(shape) == 4 else shape[2])
    quick = {key: value for key, value in QUICK.items() if key in method.settings}
    return method.cost(1, 1, S=50, C=channels, **quick)


def complaint(method: Method, name: str) -> str | None:
    """What is wrong with a pair's map; a network that knows nothing may have an empty CAM."""
    maps = explain(method, name)
    may_be_zero = name in TORCHVISION and method.sign == "not negative"
    if not bool(maps.isfinite().all()) or (not may_be_zero and not bool(maps.abs().max() > 0)):
        return f"{method.name} on {name}: a zero map, or not finite"
    return None


PAIRS = [
    pytest.param(
        method,
        name,
        marks=[pytest.mark.slow]
        * (
            (name == "vit_b_16" and method.name not in ON_VIT)
            or (name in ("vgg16", "googlenet", "resnet18") and method.name not in ON_VGG)
        ),
        id=f"{method.name}-{name}",
    )
    for method in METHODS.values()
    for name in NAMES
]


@pytest.mark.parametrize(("method", "name"), PAIRS)
def test_each_pair_runs_or_says_why_not(method: Method, name: str) -> None:
    reason = refusal(method, name)
    if reason is not None:
        assert len(reason) > 20
        with pytest.raises(CannotExplain, match=re.escape(reason)):
            explain(method, name)
    elif cost(method, name) <= (4 if name in TORCHVISION else MANY):
        assert complaint(method, name) is None


def test_every_family_of_networks_has_a_hybrid() -> None:
    for name in NAMES:
        assert refusal(METHODS["hybrid"], name) is None
