"""A method of yours that changes what it is given: the others stay right, its own row says so."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

import xaiutils as xai
from xaiutils.cases.case import Case
from xaiutils.methods import METHODS, Method, combine
from xaiutils.metrics import METRICS, Metric
from xaiutils.metrics.scoring import Contender
from xaiutils.network.classifier import Classifier

QUICK = {"sparseness": {}, "relevance_mass": {}}


@cache
def case() -> Case:
    work = xai.load_workload("scenes", "unit", model="scenes_resnet_seed0")
    return xai.load_cases(work, [0])[0]


def first(classifier: Classifier) -> nn.Conv2d:
    return next(one for one in classifier.module.modules() if isinstance(one, nn.Conv2d))


def weight(classifier: Classifier) -> Tensor:
    return first(classifier).weight.detach()


def doubled(classifier: Classifier, x: Tensor) -> None:
    classifier.module.double()


def trained(classifier: Classifier, x: Tensor) -> None:
    classifier.module.get_submodule("bn1").train()


def in_place(classifier: Classifier, x: Tensor) -> None:
    with torch.no_grad():
        first(classifier).weight.mul_(2)


def behind_its_back(classifier: Classifier, x: Tensor) -> None:
    first(classifier).weight.data.zero_()


def by_numpy(classifier: Classifier, x: Tensor) -> None:
    weight(classifier).numpy()[:] = 0


def statistics(classifier: Classifier, x: Tensor) -> None:
    classifier.module.get_submodule("bn1").running_mean.add_(3)


def replaced(classifier: Classifier, x: Tensor) -> None:
    classifier.module.conv1 = nn.Conv2d(3, 8, 3, padding=1, bias=False).eval()


def another_weight(classifier: Classifier, x: Tensor) -> None:
    first(classifier).weight = nn.Parameter(torch.zeros_like(weight(classifier)))


def hooked(classifier: Classifier, x: Tensor) -> None:
    first(classifier).register_forward_hook(lambda module, given, found: found * 0)


CULPRITS: dict[Callable[[Classifier, Tensor], Any], str] = {
    (lambda c, x: x.zero_()): "x",
    (lambda c, x: x.data.zero_()): "x",
    (lambda c, x: x.numpy().fill(0)): "x",
    in_place: "the network's conv1.weight",
    behind_its_back: "the network's conv1.weight",
    by_numpy: "the network's conv1.weight",
    statistics: "the network's bn1.running_mean",
    doubled: "buffers of bn1, .* more",
    trained: "the mode of bn1",
    replaced: "modules of the network",
    another_weight: "parameters of conv1",
    hooked: "forward_hooks of conv1",
    (lambda c, x: torch.set_default_dtype(torch.float64)): "torch's default dtype",
    (lambda c, x: torch.set_num_threads(2)): "torch's number of threads",
    (lambda c, x: torch.use_deterministic_algorithms(True)): "torch's deterministic mode",
    (lambda c, x: np.seterr(all="raise")): "NumPy's handling of errors",
    (lambda c, x: os.chdir("/")): "the working directory",
}
each = pytest.mark.parametrize(("culprit", "what"), CULPRITS.items(), ids=range(len(CULPRITS)))


def own(culprit: Callable[[Classifier, Tensor], Any], name: str = "mine") -> Method:
    def function(classifier: Classifier, x: Tensor, target: Tensor) -> Tensor:
        maps = x.abs().mean(1)
        culprit(classifier, x)
        return maps

    return Method(name, name, function, "control", "not negative", "nowhere")


def rows(*methods: Any) -> pd.DataFrame:
    table = xai.score([case()], methods, QUICK)
    return table.set_index(["metric", "method"])[["value", "why"]]


@cache
def undisturbed() -> pd.DataFrame:
    return rows("grad_cam", "lrp_paper")


@each
def test_the_others_rows_are_right_and_the_culprits_says_what_it_did(
    culprit: Any, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    undisturbed()
    monkeypatch.chdir(os.getcwd())
    weights = {k: v.clone() for k, v in case().classifier.module.state_dict().items()}
    mine = Contender("mine", own(culprit))
    found = rows(mine, "grad_cam", "lrp_paper")
    pd.testing.assert_frame_equal(
        found.drop(index="mine", level="method"), undisturbed(), check_exact=True
    )
    says = found.xs("mine", level="method")["why"]
    assert says.str.match(rf"mine must leave .* as it was, and it changed {what}").all(), list(says)
    assert found.xs("mine", level="method")["value"].isna().all()
    now = case().classifier.module.state_dict()
    assert all(torch.equal(now[k], v) and now[k].dtype == v.dtype for k, v in weights.items())


def test_a_method_that_changes_nothing_has_its_row() -> None:
    found = rows(Contender("mine", own(lambda classifier, x: None)), "grad_cam")
    assert found["value"].notna().all()
    assert (found["why"] == "").all()


def test_a_part_of_a_combination_is_a_method_of_yours_too() -> None:
    both = combine(METHODS["grad_cam"], own(behind_its_back))
    found = rows(Contender("both", both), "grad_cam", "lrp_paper")
    pd.testing.assert_frame_equal(
        found.drop(index="both", level="method"), undisturbed(), check_exact=True
    )
    assert found.xs("both", level="method")["why"].str.contains("conv1.weight").all()


def test_an_error_of_the_method_is_told_as_it_is_and_what_it_changed_is_put_back() -> None:
    def fail(classifier: Classifier, x: Tensor) -> None:
        behind_its_back(classifier, x)
        raise KeyError("mine")

    before = weight(case().classifier).clone()
    with pytest.raises(KeyError, match="mine"):
        rows(Contender("mine", own(fail)))
    assert torch.equal(weight(case().classifier), before)


def meddling_metric(culprit: Callable[[Case], Any]) -> Metric:
    def function(one: Case, attribution: Tensor, explainer: Any, seed: int) -> float:
        culprit(one)
        return 0.5

    return Metric("mine", "mine", "complexity", "lower", function, 0, 1, "nowhere", "none")


@pytest.mark.parametrize(
    ("culprit", "what"),
    [
        (lambda one: one.x.zero_(), "x"),
        (lambda one: one.mask.logical_not_(), "mask"),
        (lambda one: behind_its_back(one.classifier, one.x), "the network's conv1.weight"),
        (lambda one: torch.set_grad_enabled(False), "torch's gradient mode"),
    ],
)
def test_a_metric_of_yours_is_held_to_the_same(
    culprit: Any, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(METRICS, "mine", meddling_metric(culprit))
    names = ["grad_cam", "lrp_paper"]
    quick = {"mine": {}, "relevance_mass": {}, "sparseness": {}}
    table = xai.score([case()], names, quick).set_index("metric")
    expected = xai.score([case()], names, list(quick)[1:]).set_index("metric")
    pd.testing.assert_frame_equal(table.drop(index="mine"), expected, check_exact=True)
    assert table.loc["mine", "why"].str.contains(f"it changed {what}", regex=False).all()


def test_an_explainer_that_writes_into_pictures_writes_into_its_own() -> None:
    before = case().x.clone()

    def explainer(classifier: Classifier, x: Tensor, target: Tensor) -> Tensor:
        return x.mul_(0.5).mean(1)

    found = [METRICS[name](case(), explainer, **QUICK[name]) for name in QUICK]
    assert all(np.isfinite(one.value) for one in found)
    assert torch.equal(case().x, before)


def test_a_study_books_the_culprits_rows_as_failed(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from xaiutils.evidence.study.tables import read_log

    monkeypatch.setitem(METHODS, "mine", own(behind_its_back))
    tables = {}
    for name, methods in (("with", ["mine", "grad_cam"]), ("without", ["grad_cam"])):
        study = xai.create_study(
            tmp_path / name,
            workload="scenes",
            split="unit",
            images=2,
            methods=methods,
            metrics=["sparseness"],
        )
        xai.run_study(study)
        tables[name] = study
    both, alone = (
        xai.load_study(tables[name]).query("method == 'grad_cam'") for name in ("with", "without")
    )
    assert both["value"].tolist() == alone["value"].tolist()
    log = read_log(tables["with"])
    culprits = log[log["method"] == "mine"]
    assert set(culprits["error_code"]) == {"failed"}
    assert culprits["reason"].str.contains("mine must leave").all()
