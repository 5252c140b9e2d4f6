"""Which explainer can explain which network: every pair is run or refused by name.

``python tests/test_support.py`` runs all pairs (minutes), or those of the networks that it is
given, and writes docs/methods.md anew; the test runs the quick ones and compares all refusals. On
torchvision's networks, where a pass takes long, all but a few of them are marked slow.
"""

from __future__ import annotations

import re
import sys
from functools import cache
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from xaiutils.methods import FAMILIES, METHODS, CannotExplain, Method
from xaiutils.network.classifier import Classifier, load_model
from xaiutils.pictures.scenes import samples

SCENES = tuple(f"scenes_{kind}_seed0" for kind in ("vgg", "resnet", "inception", "vit"))
TORCHVISION = ("vgg16", "resnet18", "googlenet", "vit_b_16")  # untrained
NAMES = (*SCENES, *TORCHVISION)
SIZE = 64  # of the random picture for torchvision's CNNs
QUICK = {"n_samples": 70, "n_steps": 5, "n_baselines": 2}
MANY = 80  # passes; a pair that needs more is run only for the page
LONG = 20  # passes; more of them are not run on ViT-B/16 at all
ON_VIT = ("grad_cam_plus_plus", "deep_lift")  # one that runs and one that is refused
ON_VGG = (*ON_VIT, "lrp_paper", "hybrid", "lime")
PAGE = Path(__file__).parents[1] / "docs" / "methods.md"
HEAD = """# Explainers

Every record of `METHODS`: what it costs, where it comes from, and which networks it can explain.
Made by `python tests/test_support.py`, which runs each method on each network: the shipped scene
classifiers, and torchvision's VGG-16, ResNet-18, GoogLeNet and ViT-B/16 with random weights.
Methods of more than 20 passes are not run on ViT-B/16, where a pass takes long; their cells say
that nothing speaks against them.

`passes` is the cost of one image: F forward passes, B backward passes, S segments, C channels of
the CAM layer, K classes, and the method's own settings. *Signed*: positive speaks for the class.
*Class*: whether the map depends on the class that is explained, or is the same for all alike.
*Elsewhere*: the default of the library that computes the method, where it differs.

To begin with: `hybrid` and its factors `grad_cam_plus_plus` and `lrp_paper`; `occlusion`, which
needs nothing but the network's answers; `bounded_noise`, which a good explanation has to beat.
"""


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


def page() -> str:
    reasons: list[str] = []
    lines = [HEAD]
    for family in FAMILIES:
        members = [m for m in METHODS.values() if m.family == family]
        lines += [f"\n## {family} ({len(members)})\n", "| method | " + " | ".join(NAMES) + " |"]
        lines += ["|---|" + ":-:|" * len(NAMES)]
        for method in members:
            cells = []
            for name in NAMES:
                reason = refusal(method, name)
                if reason is not None and reason not in reasons:
                    reasons.append(reason)
                cells.append("yes" if reason is None else f"no ({reasons.index(reason) + 1})")
            lines.append(f"| `{method.name}` | " + " | ".join(cells) + " |")
        lines += ["", "| method | sign | class | passes | source |", "|---|---|---|---|---|"]
        for m in members:
            which = "its own" if m.class_specific else "all alike"
            lines.append(f"| {m.title} | {m.sign} | {which} | `{m.passes}` | {m.source} |")
        settings = [(m, key, s) for m in members for key, s in m.settings.items()]
        if settings:
            lines += [
                "",
                "| method | setting | default | elsewhere | why |",
                "|---|---|---|---|---|",
            ]
        for m, key, setting in settings:
            stock = "" if setting.stock is None else f"{setting.stock}"
            lines.append(f"| `{m.name}` | `{key}` | {setting.default} | {stock} | {setting.why} |")
    lines += ["\n## Why not\n"]
    lines += [f"{number}. {reason}" for number, reason in enumerate(reasons, start=1)]
    return "\n".join(lines) + "\n"


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


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text() == page(), "write it anew: python tests/test_support.py"


if __name__ == "__main__":
    from tqdm import tqdm

    asked = sys.argv[1:] or NAMES
    pairs = [(m, n) for n in asked for m in METHODS.values() if refusal(m, n) is None]
    pairs = [(m, n) for m, n in pairs if not (n == "vit_b_16" and cost(m, n) > LONG)]
    wrong = [text for m, n in tqdm(pairs) if (text := complaint(m, n)) is not None]
    if wrong:
        raise SystemExit("\n".join(wrong))
    PAGE.write_text(page())
