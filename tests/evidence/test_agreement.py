"""Do two maps agree: ranks, the highest pixels, and the rows that a table holds."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from scipy.stats import spearmanr
from torch import Tensor

from xaiutils.cases.workloads import load_workload
from xaiutils.evidence.agreement import agreement_rows, rank_agreement, top_overlap
from xaiutils.evidence.tables import make_table
from xaiutils.hybrid import explain
from xaiutils.metrics import METRICS, load_cases
from xaiutils.metrics.score_table import checked
from xaiutils.metrics.scoring import COLUMNS


def noise(count: int, side: int, seed: int) -> Tensor:
    return torch.randn(count, side, side, generator=torch.Generator().manual_seed(seed))


def literal_ranks(values: list[float]) -> list[float]:
    """From 1; equal values share the mean of their places."""
    return [
        sum(other < one for other in values) + (sum(other == one for other in values) + 1) / 2
        for one in values
    ]


def literal_spearman(a: list[float], b: list[float]) -> float:
    first, second = literal_ranks(a), literal_ranks(b)
    mean = (len(a) + 1) / 2
    above = sum((p - mean) * (q - mean) for p, q in zip(first, second, strict=True))
    below = sum((p - mean) ** 2 for p in first) * sum((q - mean) ** 2 for q in second)
    return above / math.sqrt(below)


def literal_overlap(a: list[float], b: list[float], share: float) -> float:
    k = max(1, round(share * len(a)))
    first, second = (
        set(sorted(range(len(values)), key=lambda i: (-values[i], i))[:k]) for values in (a, b)
    )
    return len(first & second) / k


# Few values, so that there are ties; two different ones at least.
VALUES = st.lists(st.integers(-3, 3).map(float), min_size=12, max_size=12).filter(
    lambda values: len(set(values)) > 1
)


@given(VALUES, VALUES, st.floats(0.01, 1))
@settings(max_examples=60, deadline=None)
def test_both_equal_their_literal_twins(a, b, share):
    maps, others = torch.tensor(a).view(1, 3, 4), torch.tensor(b).view(1, 3, 4)
    ranks = float(rank_agreement(maps, others))
    assert ranks == pytest.approx(literal_spearman(a, b), abs=1e-9)
    assert ranks == pytest.approx(float(rank_agreement(others, maps)), abs=1e-12)
    assert float(top_overlap(maps, others, share)) == literal_overlap(a, b, share)


def test_the_overlap_by_hand():
    # The three highest of ten: pixels 0 1 2 of the one, 2 1 9 of the other; two are the same.
    one = torch.tensor([9.0, 8, 7, 6, 5, 4, 3, 2, 1, 0]).view(1, 2, 5)
    other = torch.tensor([0.0, 8, 9, 1, 1, 1, 1, 1, 1, 7]).view(1, 2, 5)
    assert float(top_overlap(one, other, 0.3)) == pytest.approx(2 / 3)
    assert float(top_overlap(one, other, 0.1)) == 0  # pixel 0 against pixel 2
    assert float(top_overlap(one, other, 1.0)) == 1
    assert float(top_overlap(one, other, 0.01)) == 0  # one pixel at least
    # Ties: the first of the equal pixels, 3, joins 2, 1 and 9; four of 0 1 2 3 are asked for.
    assert float(top_overlap(one, other, 0.4)) == 3 / 4


@pytest.mark.parametrize("measure", [rank_agreement, top_overlap])
def test_a_constant_map_agrees_with_none(measure):
    maps, others = noise(3, 6, 0), noise(3, 6, 1)
    maps[1], others[2] = 0, 0.5
    assert measure(maps, others).isnan().tolist() == [False, True, True]


@pytest.mark.parametrize("measure", [rank_agreement, top_overlap])
def test_wrong_maps_are_refused(measure):
    maps = noise(2, 4, 0)
    with pytest.raises(ValueError, match="maps and others must have one shape"):
        measure(maps, maps[:1])
    with pytest.raises(ValueError, match="others must be finite"):
        measure(maps, maps * torch.nan)
    with pytest.raises(ValueError, match=r"maps must have shape \(N, H, W\), got \(4, 4\)"):
        measure(maps[0], maps[0])
    for share in (0, 1.1):
        with pytest.raises(ValueError, match="share must be"):
            top_overlap(maps, maps, share)


def test_the_rows_of_three_hard_scenes():
    cases = load_cases(load_workload("scenes", "hard"), range(3))
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()  # noqa: NPY002
    table = agreement_rows(cases)
    after = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()  # noqa: NPY002
    assert before == after
    assert list(checked(table).columns) == list(COLUMNS)
    assert len(table) == 3 * 5
    assert set(table["split"]) == {"hard"}
    for case in cases:
        of_case = table[table["image"] == case.id].set_index(["method", "metric"])["value"]
        found = explain(case.classifier, case.x)
        logits = case.classifier.module(case.x).detach().double()[0]
        predicted = int(logits.argmax())
        assert of_case["prediction", "right"] == (predicted == case.target)
        confidence = float(logits.exp()[predicted] / logits.exp().sum())
        assert of_case["prediction", "confidence"] == pytest.approx(confidence, abs=1e-6)
        cam, relevance = (one.flatten().tolist() for one in (found.cam, found.relevance))
        assert of_case["cam_and_lrp", "agreement"] == spearmanr(cam, relevance).statistic
        overlap = literal_overlap(cam, relevance, 0.1)
        assert of_case["cam_and_lrp", "top_overlap"] == overlap
        asked = replace(case, target=predicted)
        faithful = METRICS["idsds"](asked, explain, attribution=found.hybrid[0])
        assert of_case["hybrid", "idsds"] == faithful.value
    alone = agreement_rows(cases[2:])
    assert alone["value"].tolist() == table["value"].tolist()[10:]


def test_a_wrong_prediction_is_the_class_that_is_explained():
    (case,) = load_cases(load_workload("scenes", "unit"), [0])
    predicted = int(case.classifier.predict(case.x).argmax(1))
    right = agreement_rows([case.asking(predicted)])["value"].tolist()
    wrong = agreement_rows([case.asking((predicted + 1) % 6)])["value"].tolist()
    assert (right[0], wrong[0]) == (1, 0)
    assert right[1:] == wrong[1:], "the label says whether it is right, and no more"


def test_a_map_without_an_order_is_counted_with_its_reason(monkeypatch):
    from xaiutils.evidence import agreement

    def flat(classifier, x: Tensor):
        found = explain(classifier, x)
        found.cam.zero_()
        found.hybrid.zero_()
        return found

    monkeypatch.setattr(agreement, "explain", flat)
    table = agreement_rows(load_cases(load_workload("scenes", "unit"), [0]))
    by_metric = table.set_index("metric")
    for name in ("agreement", "top_overlap"):
        assert math.isnan(by_metric.loc[name, "value"])
        assert by_metric.loc[name, "why"] == "a map is the same everywhere"
    assert math.isnan(by_metric.loc["idsds", "value"])
    assert by_metric.loc["idsds", "why"] == "the map is zero everywhere"
    assert by_metric.loc["right", "why"] == ""


def test_the_table_is_made_of_the_hard_scenes_without_any_chosen_setting(tmp_path):
    table = make_table("agreement", images=2, out=tmp_path)
    assert table.attrs["split"] == ["hard"]
    assert table.attrs["chosen"] is None
    assert table["image"].unique().tolist() == ["hard-00000", "hard-00001"]
    rows = agreement_rows(load_cases(load_workload("scenes", "hard"), range(2)))
    assert table["value"].tolist() == pytest.approx(rows["value"].tolist(), abs=1e-5)
