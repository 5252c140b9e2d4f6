"""The overlap of a map with what the removal of each object does: by hand, twins, chance."""

from __future__ import annotations

from functools import cache

import numpy as np
import PIL.Image
import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import Tensor, nn

from xaiutils.cases.case import Case, Piece, load_cases
from xaiutils.cases.workloads import load_workload
from xaiutils.metrics.counterfactual import TABLE, drops
from xaiutils.network.classifier import wrap
from xaiutils.pictures import scenes
from xaiutils.support import asking, cache as memo

(RECORD,) = TABLE


@cache
def shipped() -> list[Case]:
    return load_cases(load_workload("scenes", "calibration"), range(4))


def unused(*arguments: object) -> Tensor:
    raise AssertionError("this score asks for no other map")


def adding(values: list[float], target: int = 0) -> Case:
    """A 6 × 6 picture with one object to a row, and a network whose first logit is its mean.

    The second logit is always 0, so the centred logit is ± half the mean of the pixels.
    """
    convolution, linear = nn.Conv2d(1, 2, 1), nn.Linear(2, 2)
    nn.init.constant_(convolution.weight, 1)
    nn.init.zeros_(convolution.bias)
    linear.weight.data = torch.tensor([[1.0, 0.0], [0.0, 0.0]])
    nn.init.zeros_(linear.bias)
    head = nn.AdaptiveAvgPool2d(1), nn.Flatten(), linear
    module = nn.Sequential(convolution, nn.ReLU(), *head).eval()
    x = torch.full((1, 1, 6, 6), 0.5)
    found = []
    for row, value in enumerate(values):
        mask = torch.zeros(6, 6, dtype=torch.bool)
        mask[row, : row + 1] = True  # of 1, 2, 3, ... pixels
        x[0, 0, mask] = value
        found.append(mask)
    case = Case("adding", wrap(module, size=(6, 6)), x, target)
    pieces = tuple(
        Piece(mask, torch.where(mask, torch.tensor(0.5), x), row == 0)
        for row, mask in enumerate(found)
    )
    case.__dict__["pieces"] = pieces  # as if a scene had been drawn again
    return case


def on_objects(case: Case, masses: list[float], outside: float = 0.0) -> Tensor:
    attribution = torch.full((6, 6), outside)
    for piece, mass in zip(case.pieces, masses, strict=True):
        attribution[piece.mask] = mass / int(piece.mask.sum())
    return attribution


def score(case: Case, attribution: Tensor) -> float:
    found = RECORD(case, unused, attribution=attribution)
    assert not found.why
    return found.value


def test_the_score_by_hand():
    # Without the first object 1.5 is gone from the sum of the pixels, without the second
    # 2 · 0.25 = 0.5; with the third comes 3 · 0.3 = 0.9. The effects' shares: 3/4, 1/4, 0.
    case = adding([2, 0.75, 0.2])
    expected = torch.tensor([1.5, 0.5, -0.9], dtype=torch.float64) / 36 / 2
    torch.testing.assert_close(drops(case), expected, atol=1e-8, rtol=1e-5)
    cases = {
        (3, 1, 0): 1,  # as the effects are
        (1, 1, 0): 0.75,  # 0.5 and 0.25
        (1, 1, 2): 0.5,  # 0.25 and 0.25
        (0, 0, 1): 0,  # all on the object without effect
        (1, -5, -5): 0.75,  # negative values count as zero
    }
    for masses, value in cases.items():
        for outside in (-0.1, 0.3):  # what lies outside is not judged
            attribution = on_objects(case, list(masses), outside)
            assert score(case, attribution) == pytest.approx(value, abs=1e-6)
            assert score(case, attribution * 37) == pytest.approx(value, abs=1e-6)
    # areas 1, 2 and 3: min(1/6, 3/4) + min(2/6, 1/4)
    assert RECORD.chance(case) == pytest.approx(1 / 6 + 1 / 4)


def test_no_mass_is_nothing_and_no_effect_is_no_score():
    case = adding([2, 1])
    assert score(case, on_objects(case, [-1, -2], 3.0)) == 0
    other = adding([2, 1], target=1)  # its centred logit rises without either object
    found = RECORD(other, unused, attribution=on_objects(other, [1, 2]))
    assert np.isnan(found.value)
    assert found.why == "no object's removal lowers the logit of the class"
    assert np.isnan(RECORD.chance(other))
    bare = Case("bare", case.classifier, case.x, 0)
    found = RECORD(bare, unused, attribution=on_objects(case, [1, 2]))
    assert found.why == "needs the picture drawn again without each object, which only scenes have"


@given(st.lists(st.floats(0, 5), min_size=3, max_size=3).filter(lambda v: sum(v) > 0.01))
@settings(max_examples=25, deadline=None)
def test_it_is_one_minus_the_total_variation(masses):
    case = additive()
    shares = np.array(masses) / sum(masses)
    effect = np.array([0.75, 0.25, 0])
    expected = 1 - np.abs(shares - effect).sum() / 2
    assert score(case, on_objects(case, masses, -1.0)) == pytest.approx(expected, abs=1e-5)


@cache
def additive() -> Case:
    return adding([2, 0.75, 0.2])


@pytest.mark.parametrize("index", range(2))
def test_a_scene_equals_the_literal_twin(index):
    case = shipped()[index]
    attribution = torch.randn(128, 128, generator=torch.Generator().manual_seed(index))

    def centred(picture: np.ndarray) -> float:
        x = case.classifier.preprocess([PIL.Image.fromarray(picture)])
        logits = case.classifier.predict(x)[0].double().tolist()
        return logits[case.target] - sum(logits) / len(logits)

    found, areas, effects = [], [], []
    for i, mask in enumerate(scenes.visible(case.scene)):
        drop = centred(scenes.render(case.scene)) - centred(scenes.render(case.scene, (i,)))
        effects.append(max(drop, 0))
        found.append(sum(max(v, 0) for v in attribution[torch.from_numpy(mask)].tolist()))
        areas.append(int(mask.sum()))
    effect = np.array(effects) / sum(effects)
    expected = np.minimum(np.array(found) / sum(found), effect).sum()
    assert score(case, attribution) == pytest.approx(expected, abs=1e-5)
    chance = np.minimum(np.array(areas) / sum(areas), effect).sum()
    assert RECORD.chance(case) == pytest.approx(chance, abs=1e-5)


def test_random_maps_score_chance_and_the_oracle_more():
    for case in shipped():
        generator = torch.Generator().manual_seed(0)
        with memo.remember():
            scores = [score(case, torch.rand(128, 128, generator=generator)) for _ in range(30)]
            oracle = score(case, case.mask.float())
            effect = drops(case).clamp(min=0)
        target = next(i for i, piece in enumerate(case.pieces) if piece.target)
        assert np.mean(scores) == pytest.approx(RECORD.chance(case), abs=0.01)
        assert oracle == pytest.approx(float(effect[target] / effect.sum()), abs=1e-6)
        assert oracle > max(scores)


def test_the_pictures_asked_do_not_depend_on_the_map():
    counts = []
    for case in shipped():
        with asking.watch() as seen:
            score(case, case.mask.float())
        assert seen.images == 1 + len(case.pieces)
        counts.append(seen.images)
        with memo.remember(), asking.watch() as seen:
            score(case, case.mask.float())
            score(case, case.x[0].mean(0))
        assert seen.images == 1 + len(case.pieces)  # the second map asks nothing new
    assert {4, 5} == set(counts)
    assert RECORD.cost() == 4.5
