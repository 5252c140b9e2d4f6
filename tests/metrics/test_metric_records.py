"""What holds for every metric: its record, its cost, no matter of scale, nothing changed."""

from __future__ import annotations

import random
from functools import cache

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from xaiutils.cases.case import Case, Piece
from xaiutils.metrics import METRICS
from xaiutils.metrics.record import FAMILIES, NEEDS
from xaiutils.network.classifier import Classifier, wrap
from xaiutils.support import asking

QUICK = {
    "avg_sensitivity": {"samples": 2},
    "faithfulness_correlation": {"runs": 6, "subset": 40},
    "infidelity": {"samples": 35},
    "sensitivity_n": {"grid": 4, "sizes": 3, "subsets": 6},
}
QUICK |= {name: {"stages": 2} for name in ("mprt_spearman", "mprt_ssim")}  # the network's layers
QUICK |= {name: {"steps": 7} for name in ("srg", "morf", "lerf", "deletion", "insertion")}
of_all = pytest.mark.parametrize("name", METRICS)


@cache
def small() -> Case:
    """A scene of 16 x 16 pixels with two objects, and a network of a few weights."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        head = nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 6)
        module = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), *head).eval()
        x = torch.randn(1, 3, 16, 16)
    mask, rival = torch.zeros(2, 16, 16, dtype=torch.bool)
    mask[2:7, 3:9], rival[10:14, 8:12] = True, True
    case = Case("small", wrap(module, size=16), x, 0, mask, rival, ((3.0, 2.0, 9.0, 7.0),))
    pieces = [Piece(one, x.masked_fill(one, 0), one is mask) for one in (mask, rival)]
    case.__dict__["pieces"] = tuple(pieces)  # as if a scene had been drawn again
    return case


def toy(classifier: Classifier, x: Tensor, target: Tensor) -> Tensor:
    """Maps that change with picture, class and every weight, and ask the network nothing."""
    rows = torch.linspace(-1, 1, x.shape[2])[:, None]
    sums = sum(float(p.detach().double().sum()) for p in classifier.module.parameters())
    pairs = zip(x, target.tolist(), strict=True)
    return torch.stack([((sums + k) * one.mean(0) + rows).sin() for one, k in pairs])


def own_map() -> Tensor:
    return toy(small().classifier, small().x, small().targets)[0]


@of_all
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
    with pytest.raises(TypeError):
        metric.settings["mine"] = 1


@of_all
def test_the_cost_is_what_network_and_explainer_are_asked(name):
    case, metric, used, explained = small(), METRICS[name], QUICK.get(name, {}), []

    def counted(classifier: Classifier, x: Tensor, target: Tensor) -> Tensor:
        explained.extend(target.tolist())
        return toy(classifier, x, target)

    with asking.watch() as seen:
        score = metric(case, counted, attribution=own_map(), **used)
    assert score.why == ""
    assert len(explained) == metric.cost(0, 1, **used)
    assert metric.explains == (len(explained) > 0)
    pieces = 1 + len(case.pieces)  # the record counts those of a usual scene
    assert seen.images == (pieces if name == "counterfactual" else metric.cost(1, 0, **used))


@pytest.mark.parametrize("name", [name for name in METRICS if name != "infidelity_raw"])
def test_a_positive_factor_changes_nothing(name):
    metric, used = METRICS[name], QUICK.get(name, {})
    plain = metric(small(), toy, **used).value
    for factor in (0.125, 3.7, 1024.0):
        found = metric(small(), lambda *asked, k=factor: k * toy(*asked), **used).value
        assert found == pytest.approx(plain, abs=1e-6)


@of_all
def test_scores_repeat_and_nothing_of_the_callers_is_changed(name, capsys):
    case, attribution, used = small(), own_map(), QUICK.get(name, {})
    module = case.classifier.module

    def state() -> list:
        tensors = [case.x, case.mask, case.rival, attribution, *module.state_dict().values()]
        chance = random.getstate(), str(np.random.get_state())  # noqa: NPY002
        grads = [p.grad for p in module.parameters()], torch.is_grad_enabled()
        return [[t.tolist() for t in (*tensors, torch.get_rng_state())], chance, grads]

    before = state()
    first = METRICS[name](case, toy, attribution=attribution, seed=3, **used)
    assert METRICS[name](case, toy, attribution=attribution, seed=3, **used) == first
    assert first.why == ""
    assert state() == before
    assert capsys.readouterr() == ("", "")
