"""The five metrics of the paper's Table I by this project against the stock libraries.

    python -m benchmarks.metrics           (or make bench; most of an hour on two cores)

Time: one process, wall seconds, each part once. Before that each side scores one picture by
everything, for the first passes through a large network are slow. The project's side is one
`xaiutils.metrics.scoring.score` of all methods by all metrics. The plain side calls Quantus for
each method and metric, four pictures at a time, with maps from grad-cam, captum and SciPy; a set of
methods costs the sum of its parts. FaithfulnessCorrelation takes longest by far and asks the
network as often for one map as for another: one method is timed and stands for all, unless
``--every`` is given. ``--three`` times the smaller set twice, before and behind the plain side.
"""

from __future__ import annotations

import argparse
import copy
import gc
import os
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from unittest import mock

import numpy as np
import torch

from benchmarks.shared import captum_lrp, machine
from xaiutils.cases.workloads import Workload, load_workload
from xaiutils.evidence.experiments import TABLE_ONE
from xaiutils.hybrid import SIGMA_SHARE, THRESHOLD
from xaiutils.metrics import Case, Metric, load_cases, scoring
from xaiutils.metrics.paper_quantus import CLASSES
from xaiutils.network.classifier import Classifier, load_model
from xaiutils.pictures.images import PHOTOGRAPHS, sample_photograph

Explain = Callable[..., np.ndarray]
BATCH = 4
CAMS = {
    "grad_cam_plus_plus": "GradCAMPlusPlus",
    "grad_cam": "GradCAM",
    "hires_cam": "HiResCAM",
    "layer_cam": "LayerCAM",
    "xgrad_cam": "XGradCAM",
}
THREE = ("grad_cam_plus_plus", "lrp_paper", "hybrid(cam=grad_cam_plus_plus)")
TEN = (
    *THREE,
    *("grad_cam", "hires_cam", "layer_cam", "xgrad_cam"),
    *("hybrid(cam=grad_cam)", "hybrid(cam=hires_cam)", "hybrid(cam=layer_cam)"),
)


def our_method(label: str) -> scoring.Contender:
    """The project's contender of this label."""
    name, _, cam = label.removesuffix(")").partition("(cam=")
    return scoring.contender(name, label, **({"cam": cam} if cam else {}))


def plain_method(label: str, classifier: Classifier) -> Explain:
    """The same method, from the libraries; Quantus hands in the network and NumPy's arrays."""
    name, _, cam = label.removesuffix(")").partition("(cam=")
    if cam:
        return _hybrid(_cam(CAMS[cam], classifier.cam_layer))
    return _lrp if name == "lrp_paper" else _cam(CAMS[name], classifier.cam_layer)


def _cam(kind: str, layer: str) -> Explain:
    import pytorch_grad_cam
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    def explain(
        model: torch.nn.Module, inputs: np.ndarray, targets: np.ndarray, **_: Any
    ) -> np.ndarray:
        chosen = [ClassifierOutputTarget(int(target)) for target in targets]
        with getattr(pytorch_grad_cam, kind)(model, [model.get_submodule(layer)]) as run:
            return run(torch.tensor(inputs, dtype=torch.float32), chosen)[:, None]

    return explain


def _lrp(model: torch.nn.Module, inputs: np.ndarray, targets: np.ndarray, **_: Any) -> np.ndarray:
    x = torch.tensor(inputs, dtype=torch.float32)
    found = captum_lrp(model, x, torch.tensor(targets), zero_bias=True)
    return found.mean(1, keepdim=True).numpy()


def _hybrid(cam: Explain) -> Explain:
    from scipy.ndimage import gaussian_filter

    def explain(
        model: torch.nn.Module, inputs: np.ndarray, targets: np.ndarray, **_: Any
    ) -> np.ndarray:
        bounded = np.maximum(cam(model, inputs, targets) - THRESHOLD, 0)
        low, high = (edge((1, 2, 3), keepdims=True) for edge in (bounded.min, bounded.max))
        bounded = (bounded - low) / np.maximum(high - low, 1e-7)
        sigma = inputs.shape[2] * SIGMA_SHARE
        return gaussian_filter(bounded * _lrp(model, inputs, targets), (0, 0, sigma, sigma))

    return explain


def ask_quantus(
    name: str, model: torch.nn.Module, cases: Sequence[Case], maps: np.ndarray, explain: Explain
) -> None:
    """One of Quantus' metrics with its own settings, but 10 samples of AvgSensitivity, not 200."""
    import quantus

    settings: dict[str, Any] = {"avg_sensitivity": {"nr_samples": 10}}.get(name, {})
    if name == "random_logit":
        settings = {"num_classes": len(cases[0].classifier.classes)}
    metric = getattr(quantus, CLASSES[name])(disable_warnings=True, **settings)
    metric(
        model=model,
        x_batch=torch.cat([case.x for case in cases]).numpy(),
        y_batch=np.array([case.target for case in cases]),
        a_batch=maps.copy(),
        s_batch=torch.stack([case.mask for case in cases if case.mask is not None])[
            :, None
        ].numpy(),
        channel_first=True,
        explain_func=explain,
        batch_size=BATCH,
    )


def explain_all(model: torch.nn.Module, cases: Sequence[Case], explain: Explain) -> np.ndarray:
    """The maps (N, 1, H, W) of all pictures."""
    found = []
    for start in range(0, len(cases), BATCH):
        some = cases[start : start + BATCH]
        x = torch.cat([case.x for case in some]).numpy()
        found.append(explain(model, x, np.array([case.target for case in some])))
    return np.concatenate(found)


def plain_seconds(
    cases: Sequence[Case], labels: Sequence[str], every: bool
) -> dict[tuple[str, str], float]:
    """Of each method: of its maps, and of each metric."""
    model = copy.deepcopy(cases[0].classifier.module)
    first = plain_method(labels[0], cases[0].classifier)
    for name in TABLE_ONE:
        ask_quantus(name, model, cases[:1], explain_all(model, cases[:1], first), first)
    parts: dict[tuple[str, str], float] = {}
    print("\n| plain, seconds | maps | " + " | ".join(TABLE_ONE) + " |")
    print("|---" * (2 + len(TABLE_ONE)) + "|")
    for label in labels:
        explain = plain_method(label, cases[0].classifier)
        explain_all(model, cases[:1], explain)
        with clocked(parts, (label, "maps")):
            maps = explain_all(model, cases, explain)
        for name in TABLE_ONE:
            if name == "faithfulness_correlation" and label != labels[0] and not every:
                parts[label, name] = parts[labels[0], name]
                continue
            with clocked(parts, (label, name)):
                ask_quantus(name, model, cases, maps, explain)
        row = " | ".join(f"{parts[label, name]:.2f}" for name in ("maps", *TABLE_ONE))
        print(f"| {label} | {row} |", flush=True)
    return parts


def our_seconds(cases: Sequence[Case], labels: Sequence[str]) -> dict[str, float]:
    """Of one `score`: in all under ``total``, and of each metric, with the maps it asks for."""
    methods = [our_method(label) for label in labels]
    scoring.score(cases[:1], methods, TABLE_ONE)
    spent: dict[str, float] = Counter()
    ask = Metric.__call__

    def timed(metric: Metric, *arguments: Any, **settings: Any) -> Any:
        started = time.perf_counter()
        score = ask(metric, *arguments, **settings)
        spent[metric.name] += time.perf_counter() - started
        return score

    with mock.patch.object(Metric, "__call__", timed), clocked(spent, "total"):
        table = scoring.score(cases, methods, TABLE_ONE)
    if table.value.isna().any():  # work that was left out would flatter this side
        raise RuntimeError(f"no score for {table[table.value.isna()].to_string()}")
    return spent


@contextmanager
def clocked(spent: dict[Any, float], key: Any) -> Iterator[None]:
    """Put the wall seconds of what is inside into ``spent[key]``."""
    gc.collect()
    started = time.perf_counter()
    yield
    spent[key] = time.perf_counter() - started


def compare(title: str, cases: Sequence[Case], sets: Sequence[Sequence[str]], every: bool) -> None:
    """Print the tables of one network, for sets of methods of which the last has all."""
    side = cases[0].x.shape[-1]
    print(f"\n## {title}, {len(cases)} pictures of {side} x {side}", flush=True)
    ours = [our_seconds(cases, sets[0])]  # before and behind the plain side: a drift of the
    parts = plain_seconds(cases, sets[-1], every)  # machine does not fall on one of the two
    ours += [our_seconds(cases, labels) for labels in sets[1:]]
    print(
        "\n| seconds, plain ÷ ours | "
        + " | ".join(f"{len(n)} methods | ratio" for n in sets)
        + " |"
    )
    print("|---" * (1 + 2 * len(sets)) + "|")
    print("| maps | " + " | ".join(f"{_sum(parts, n, 'maps'):.1f} | " for n in sets) + " |")
    for name in TABLE_ONE:
        cells = [_cells(_sum(parts, n, name), our[name]) for n, our in zip(sets, ours, strict=True)]
        print(f"| {name} | " + " | ".join(cells) + " |")
    names = ("maps", *TABLE_ONE)
    totals = [
        _cells(sum(_sum(parts, n, name) for name in names), our["total"])
        for n, our in zip(sets, ours, strict=True)
    ]
    print("| **all** | " + " | ".join(totals) + " |", flush=True)


def _sum(parts: dict[tuple[str, str], float], labels: Sequence[str], name: str) -> float:
    return sum(parts[label, name] for label in labels)


def _cells(plain: float, ours: float) -> str:
    return f"{plain:.2f} ÷ {ours:.2f} | {plain / ours:.1f}"


def scene_cases(images: int) -> list[Case]:
    """The first scenes of the calibration split, on the shipped network."""
    return load_cases(load_workload("scenes", "calibration"), range(images))


def vgg_cases() -> list[Case]:
    """Four photographs on an untrained VGG-16, with a box in the middle; time asks no accuracy."""
    classifier = load_model("vgg16", weights="random")
    samples = [sample_photograph(name) for name in list(PHOTOGRAPHS)[:4]]
    mask = torch.zeros(224, 224, dtype=torch.bool)
    mask[56:168, 56:168] = True
    cases = load_cases(Workload("photographs", classifier, samples), range(4))
    return [replace(case, mask=mask) for case in cases]


def imagenet_cases() -> list[Case]:
    """The first four pictures of yours that have a box, on the network that you name."""
    cases = load_cases(load_workload("imagenet"), range(16))
    return [case for case in cases if case.has("mask")][:4]


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="two scenes alone, to see it run")
    parser.add_argument(
        "--every", action="store_true", help="FaithfulnessCorrelation of each method"
    )
    parser.add_argument("--three", action="store_true", help="three methods, not ten as well")
    parser.add_argument("--only", choices=("scenes", "imagenet", "vgg16"), help="one network")
    options = parser.parse_args()
    sets = (THREE, THREE) if options.three else (THREE, TEN)
    warnings.filterwarnings("ignore", module="captum|quantus|scipy")
    print(machine())
    if options.quick:
        compare("scenes_vgg_seed0", scene_cases(2), sets, options.every)
        return
    chosen = (options.only,) if options.only else ("scenes", "imagenet", "vgg16")
    if "scenes" in chosen:
        compare("scenes_vgg_seed0", scene_cases(16), sets, options.every)
    if "imagenet" in chosen and "XAIUTILS_IMAGENET" in os.environ:
        cases = imagenet_cases()
        compare(cases[0].classifier.name, cases, sets, options.every)
    if "vgg16" in chosen:
        compare("vgg16, random weights", vgg_cases(), sets, options.every)


if __name__ == "__main__":
    main()
