"""Tables of scores: what decides a score and what does not, what it costs, what has none."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from xaiutils.cases.workloads import load_workload
from xaiutils.methods import METHODS
from xaiutils.methods.record import SIGNED, CannotExplain, Method
from xaiutils.metrics import (
    METRICS,
    Case,
    flipping,
    infidelity,
    load_cases,
    paper_quantus,
    randomisation,
)
from xaiutils.metrics.record import NEEDS
from xaiutils.metrics.score_table import checked
from xaiutils.metrics.scoring import COLUMNS, ORACLE, Contender, contender, score
from xaiutils.network.classifier import load_model, wrap
from xaiutils.support import asking
from xaiutils.support.cache import remember

# Of every family, and with every way of asking: batches, single pictures, captum, Quantus.
CHEAP = {
    "srg": {"steps": 8},
    "faithfulness_correlation": {"runs": 10},
    "idsds": {"grid": 4},
    "infidelity": {"samples": 6},
    "counterfactual": {},
    "relevance_rank_accuracy": {},
    "relevance_mass": {},
    "sparseness": {},
    "class_discrimination": {"others": 3},
    "random_logit": {},
}
ENTRANTS = ("grad_cam_plus_plus", "lrp_paper", "hybrid", "random_map", ORACLE)
TEN = (
    *("grad_cam_plus_plus", "lrp_paper", "hybrid", "bounded_cam", "bounded_noise"),
    *("lrp_smoothed", "random_map", "centre_prior", "sobel_edges", ORACLE),
)


@cache
def unit() -> tuple[Case, ...]:
    return tuple(load_cases(load_workload("scenes", "unit"), range(2)))


@cache
def plain() -> pd.DataFrame:
    return score(unit(), ENTRANTS, CHEAP)


def tidy(table: pd.DataFrame) -> pd.DataFrame:
    """The rows in an order of their own."""
    return table.sort_values(list(COLUMNS[:-2])).reset_index(drop=True)


def equal(one: pd.DataFrame, other: pd.DataFrame) -> None:
    """Bit for bit: NaN is equal to itself, and 1e-17 is a difference."""
    pd.testing.assert_frame_equal(tidy(one), tidy(other), check_exact=True)


def images(call) -> int:
    with asking.watch() as seen:
        call()
    return seen.images


def small(classes: int = 3) -> Case:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        pool = nn.AdaptiveAvgPool2d(2), nn.Flatten()
        net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), *pool, nn.Linear(16, classes))
        x = torch.randn(1, 3, 16, 16)
    return Case("small", wrap(net.eval(), size=16), x, 0, split="made", workload="made")


def made(name: str, function) -> Contender:
    return Contender(name, Method(name, name, function, "control", SIGNED, "nowhere"))


# What a table is


def test_a_table_has_one_row_for_each_case_method_metric_and_seed():
    table = plain()
    assert list(table.columns) == list(COLUMNS)
    assert len(table) == 2 * len(ENTRANTS) * len(CHEAP)
    assert checked(table) is table
    assert set(table["image"]) == {"unit-00000", "unit-00001"}
    assert set(table["network"]) == {"scenes_vgg_seed0"}
    assert set(table["method"]) == set(ENTRANTS)
    assert table["value"].isna().sum() == 0
    assert (table["why"] == "").all()


def test_a_score_of_the_table_is_that_of_the_metric():
    case, table = unit()[1], plain()
    row = table[table["image"] == case.id].set_index(["method", "metric"])["value"]
    for name in ("srg", "infidelity", "sparseness"):
        alone = METRICS[name](case, METHODS["hybrid"], **CHEAP[name])
        assert row["hybrid", name] == alone.value
    oracle = case.mask.float()
    alone = METRICS["relevance_rank_accuracy"](case, METHODS["hybrid"], attribution=oracle)
    assert row[ORACLE, "relevance_rank_accuracy"] == alone.value == 1


def test_maps_of_several_classes_start_from_one_and_others_from_the_logit():
    case = unit()[0]
    table = score([case], ["lrp_paper"], ["random_logit", "sparseness"]).set_index("metric")
    random_logit = METRICS["random_logit"]

    def from_one(classifier, x: Tensor, target: Tensor) -> Tensor:
        return METHODS["lrp_paper"](classifier, x, target, start="one")

    assert table.loc["random_logit", "value"] == random_logit(case, from_one).value
    asked = contender("lrp_paper", start="logit")
    assert asked.label == "lrp_paper(start=logit)"
    (found,) = score([case], [asked], ["random_logit"])["value"]
    assert found == random_logit(case, METHODS["lrp_paper"]).value


# What does not decide a score


def test_the_order_of_the_cases_decides_nothing():
    equal(score(unit()[::-1], ENTRANTS, CHEAP), plain())


def test_the_parts_of_a_table_are_those_of_the_whole():
    parts = [score([case], ENTRANTS, CHEAP) for case in unit()]
    pd.testing.assert_frame_equal(
        pd.concat(parts, ignore_index=True), plain(), check_exact=True
    )  # in one order, too


def test_methods_alone_and_together_have_the_same_scores():
    case = unit()[:1]
    together = plain()[plain()["image"] == case[0].id]
    alone = [score(case, [name], CHEAP) for name in ENTRANTS[::-1]]
    equal(pd.concat(alone, ignore_index=True), together)
    equal(score(case, ENTRANTS[::-1], dict(reversed(CHEAP.items()))), together)


def test_what_is_remembered_from_before_decides_nothing():
    case = unit()[0]
    together = plain()[plain()["image"] == case.id]
    with remember():
        METHODS["lrp_paper"](case.classifier, case.x, case.target)
        case.classifier.predict(case.x)
        equal(score([case], ENTRANTS, CHEAP), together)
        equal(score([case], ENTRANTS, CHEAP), together)
    equal(
        score([case], ENTRANTS[:3], CHEAP, megabytes=0),
        together[together["method"].isin(ENTRANTS[:3])],
    )


# Ranks of nearly equal numbers may change places; one pixel of the object's is their step.
@pytest.mark.parametrize("batch", [1, 4, 16])
def test_the_size_of_a_batch_decides_next_to_nothing(monkeypatch, batch):
    for module in (paper_quantus, flipping, infidelity, randomisation):
        assert module.BATCH == 32
        monkeypatch.setattr(module, "BATCH", batch)
    case = unit()[0]
    found = score([case], ENTRANTS, CHEAP).set_index(["method", "metric"])["value"]
    before = plain()[plain()["image"] == case.id].set_index(["method", "metric"])["value"]
    pixel = 1 / int(case.mask.sum())
    for key, value in before.items():
        allowed = pixel if key[1] == "relevance_rank_accuracy" else 1e-4
        assert found[key] == pytest.approx(value, abs=allowed), key


def test_a_seed_gives_other_perturbations_of_the_same_map():
    case = unit()[:1]
    table = score(case, ["hybrid"], ["infidelity", "sparseness"], seeds=(0, 3))
    values = table.set_index(["metric", "seed"])["value"]
    assert values["sparseness", 0] == values["sparseness", 3]
    assert values["infidelity", 0] != values["infidelity", 3]
    (alone,) = score(case, ["hybrid"], ["infidelity"], seeds=[3])["value"]
    assert alone == values["infidelity", 3]


# What it costs


@pytest.mark.parametrize("name", ["faithfulness_correlation", "idsds", "infidelity", "sparseness"])
def test_ten_methods_ask_the_network_little_more_than_one(name):
    metrics = {name: CHEAP[name]}
    one = images(lambda: score(unit()[:1], ["hybrid"], metrics))
    ten = images(lambda: score(unit()[:1], TEN, metrics))
    # The maps themselves: noise in the bounding figure has its CAM from the hybrid, and the rest
    # shares the hybrid's pass or asks nothing.
    assert ten == one
    apart = sum(images(lambda m=m: score(unit()[:1], [m], metrics)) for m in TEN)
    questions = one - 1  # beside the pass of the hybrid
    assert apart >= 10 * questions


def test_a_metric_that_follows_the_map_asks_anew_for_each():
    metrics = {"srg": {"steps": 8}}
    one = images(lambda: score(unit()[:1], ["hybrid"], metrics))
    two = images(lambda: score(unit()[:1], ["hybrid", "random_map"], metrics))
    assert one == 1 + 2 + 2 * 7  # the map; the two ends; both ways, seven steps between
    assert two == one + 2 * 7


def test_hybrids_share_the_halves_that_they_have_in_common():
    metrics = ["relevance_mass"]
    settings = ({}, {"threshold": 0.5}, {"sigma": 0.0}, {"cam": "grad_cam"}, {"cam": "layer_cam"})
    entrants = [contender("hybrid", **one) for one in settings]
    assert images(lambda: score(unit()[:1], entrants, metrics)) == 1
    other = contender("hybrid", composite="epsilon_plus_flat")
    assert images(lambda: score(unit()[:1], [*entrants, other], metrics)) == 2
    assert images(lambda: score(unit()[:1], ["grad_cam_plus_plus", "lrp_paper"], metrics)) == 2
    asked = ["grad_cam_plus_plus", "lrp_paper", "hybrid"]  # the hybrid is asked first all the same
    assert images(lambda: score(unit()[:1], asked, metrics)) == 1


# What has no score, and what is refused


def test_maps_without_an_order_are_counted_and_say_why():
    def marked(fill: float):
        return lambda c, x, t: torch.full_like(x[:, 0], fill)

    entrants = [made("zero", marked(0.0)), made("constant", marked(0.5)), "random_map"]
    table = score([small()], entrants, ["sparseness", "srg"]).set_index(["method", "metric"])
    for name in ("sparseness", "srg"):
        assert math.isnan(table.loc[("zero", name), "value"])
        assert table.loc[("zero", name), "why"] == "the map is zero everywhere"
        assert table.loc[("constant", name), "why"] == "the map is the same everywhere"
        assert math.isfinite(table.loc[("random_map", name), "value"])
        assert table.loc[("random_map", name), "why"] == ""


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda c, x, t: x[:, 0] * torch.nan, r"mine must return finite maps, got others at \[0\]"),
        (lambda c, x, t: x, r"mine must return maps \(N, H, W\), got \(1, 3, 16, 16\)"),
        (lambda c, x, t: x[:, 0, :8], r"mine must return maps \(N, H, W\), got \(1, 8, 16\)"),
    ],
)
def test_a_method_that_gives_no_map_stops_the_table(function, message):
    with pytest.raises(ValueError, match=message):
        score([small()], [made("mine", function)], ["sparseness"])


def test_a_method_that_refuses_the_network_is_counted_with_its_reason():
    def refuse(classifier) -> str:
        return "it has no attention"

    method = replace(METHODS["random_map"], name="mine", refuses=refuse)
    case = small()
    table = score([case], [Contender("mine", method), "random_map"], ["sparseness"])
    by_method = table.set_index("method")
    assert math.isnan(by_method.loc["mine", "value"])
    assert (
        by_method.loc["mine", "why"]
        == f"mine cannot explain {case.classifier.name}: it has no attention"
    )
    assert math.isfinite(by_method.loc["random_map", "value"])


def test_a_method_that_refuses_only_when_asked_again_is_counted_too():
    calls = []

    def tired(classifier, x: Tensor, target: Tensor) -> Tensor:
        calls.append(target)
        if len(calls) > 1:
            raise CannotExplain("not twice")
        return x[:, 0]

    (row,) = score([small()], [made("tired", tired)], ["random_logit"]).to_dict("records")
    assert math.isnan(row["value"])
    assert row["why"] == "not twice"


def test_what_a_picture_lacks_is_counted_with_its_reason():
    metrics = {"relevance_mass": "mask", "box_iou": "boxes", "counterfactual": "pieces"}
    table = score([small()], ["sobel_edges"], list(metrics)).set_index("metric")
    for name, need in metrics.items():
        assert math.isnan(table.loc[name, "value"])
        assert table.loc[name, "why"] == f"needs {NEEDS[need]}"
    (row,) = score(unit()[:1], ["sobel_edges"], ["own_share"]).to_dict("records")
    assert math.isnan(row["value"])
    assert row["why"] == f"needs {NEEDS['rival']}"


@pytest.mark.parametrize("mask", [None, torch.zeros(16, 16, dtype=torch.bool)])
def test_the_oracle_without_a_mask_is_counted_with_its_reason(mask):
    table = score([replace(small(), mask=mask)], [ORACLE, "sobel_edges"], ["sparseness"])
    oracle, edges = table.to_dict("records")
    assert math.isnan(oracle["value"])
    assert oracle["why"] == "the oracle needs where the object is"
    assert math.isfinite(edges["value"])


def test_a_network_of_one_class_has_no_other_to_compare_with():
    table = score([small(classes=1)], ["random_map"], ["random_logit", "class_discrimination"])
    assert table["value"].isna().all()
    assert table["why"].str.contains("class").all()


@pytest.mark.parametrize(
    ("asked", "error", "message"),
    [
        ((["hybird"], ["srg"]), ValueError, "name must be a known name, got 'hybird'; did you mea"),
        ((["hybrid"], ["sgr"]), ValueError, "metric must be a known name, got 'sgr'; did you mean"),
        ((["hybrid", "hybrid"], ["srg"]), ValueError, r"labels of their own, got \['hybrid', 'hy"),
        ((["hybrid"], {"srg": {"step": 3}}), TypeError, "srg has no setting 'step'; its settings"),
        ((["hybrid"], {"srg": {"steps": 1}}), ValueError, "steps must be >= 2, got 1"),
    ],
)
def test_wrong_names_and_settings_are_refused(asked, error, message):
    with pytest.raises(error, match=message):
        score(unit()[:1], *asked)
    with pytest.raises(ValueError, match="seed must be >= 0"):
        score(unit()[:1], ["random_map"], ["sparseness"], seeds=[-1])


def test_a_contender_s_settings_are_checked_and_named():
    assert contender("hybrid").label == "hybrid"
    assert contender("hybrid", threshold=0.5, sigma=2).label == "hybrid(threshold=0.5, sigma=2)"
    assert contender("hybrid", "mine", threshold=0.5).label == "mine"
    with pytest.raises(ValueError, match="setting of hybrid must be a known name, got 'treshold'"):
        contender("hybrid", treshold=0.5)
    with pytest.raises(ValueError, match="setting of oracle_mask must be a known name"):
        contender(ORACLE, threshold=0.5)
    with pytest.raises(ValueError, match="threshold must be"):
        score(unit()[:1], [contender("hybrid", threshold=2.0)], ["sparseness"])


# What is left as it was


def test_the_network_and_all_random_states_are_left_as_they_were():
    one = load_model("scenes_vgg_seed0")
    module = one.module
    for parameter in module.parameters():
        parameter.grad = torch.full_like(parameter, 3)
    case = replace(unit()[0], classifier=one)

    def state() -> list:
        tensors = [t.clone() for t in module.state_dict().values()]
        grads = [p.grad.clone() for p in module.parameters()]
        parts = module.modules()
        flags = [(m.training, len(m._forward_hooks), len(m._backward_hooks)) for m in parts]
        asked = [p.requires_grad for p in module.parameters()]
        chance = [torch.get_rng_state(), torch.from_numpy(np.random.get_state()[1].copy())]  # noqa: NPY002
        return [tensors, grads, chance], [flags, asked, random.getstate(), torch.get_num_threads()]

    before = state()
    score([case], ["hybrid", "bounded_noise", "smooth_grad"], CHEAP | {"emprt": {}})
    after = state()
    assert before[1] == after[1]
    for old, new in zip(before[0], after[0], strict=True):
        assert all(torch.equal(a, b) for a, b in zip(old, new, strict=True))
