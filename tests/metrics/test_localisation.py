"""Localisation records and the map as a localiser: twins, hand-worked numbers, chance, refusals."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import reference_localisation as literal
import torch
from hypothesis import given, settings, strategies as st
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn

from xaiutils.cases.case import Case, load_cases
from xaiutils.cases.workloads import load_workload
from xaiutils.metrics import localisation
from xaiutils.metrics.localisation import bounding_box, grow, hit_rate, inside_boxes, iou, pixel_auc
from xaiutils.metrics.record import CannotScore
from xaiutils.network.classifier import wrap

RECORDS = {record.name: record for record in localisation.TABLE}
by_name = pytest.mark.parametrize("name", RECORDS)


@cache
def cases(split: str = "calibration", indices: tuple[int, ...] = (0, 1)) -> list[Case]:
    return load_cases(load_workload("scenes", split), indices)


def duo() -> Case:
    return cases("validation", (1,))[0]  # a scene with two targets


@cache
def tiny() -> Case:
    """An 8 × 9 picture, its object the block of rows 2 to 4 and columns 3 to 6."""
    pool = nn.AdaptiveAvgPool2d(1), nn.Flatten()
    module = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), *pool, nn.Linear(3, 2))
    mask, rival = torch.zeros(2, 8, 9, dtype=torch.bool)
    mask[2:5, 3:7], rival[6:, :4] = True, True
    boxes = ((3.0, 2.0, 7.0, 5.0), (0.0, 0.0, 2.0, 1.0))
    classifier = wrap(module.eval(), size=(8, 9), mean=(0.0,), std=(1.0,))
    return Case("tiny", classifier, torch.zeros(1, 1, 8, 9), 1, mask, rival, boxes)


def score(name: str, case: Case, attribution: Tensor, **settings: float) -> float:
    found = RECORDS[name](case, unused, attribution=attribution, **settings)
    assert not found.why
    return found.value


def unused(*arguments: object) -> Tensor:
    raise AssertionError("a localisation score asks for no other map")


def noise(case: Case, seed: int = 0) -> Tensor:
    return torch.randn(case.x.shape[2:], generator=torch.Generator().manual_seed(seed))


def twin(name: str, case: Case, attribution: Tensor) -> float:
    grid = attribution.double().tolist()
    mask = case.mask.tolist()
    boxes = list(case.boxes)
    if name == "relevance_mass":
        return literal.mass(grid, mask)
    if name == "pointing_game":
        return literal.pointing(grid, mask, 0)
    if name == "energy_pointing_game":
        return literal.mass(grid, literal.in_boxes(attribution.shape, boxes))
    if name == "own_share":
        either = case.mask | case.rival
        return literal.mass(torch.where(either, attribution.double(), 0).tolist(), mask)
    if name == "auc":
        return literal.auc(grid, mask)
    return max(literal.iou(literal.largest_box(grid, 0.2), box) for box in boxes)


@by_name
@pytest.mark.parametrize("seed", range(4))
def test_scores_equal_their_literal_twins(name, seed):
    attribution = noise(tiny(), seed)
    found = score(name, tiny(), attribution)
    assert found == pytest.approx(twin(name, tiny(), attribution), abs=1e-6)
    tied = attribution.clamp(min=0).round()  # many zeros, as in the hybrid
    assert score(name, tiny(), tied) == pytest.approx(twin(name, tiny(), tied), abs=1e-6)


@by_name
def test_scores_of_a_scene_equal_their_literal_twins(name):
    small = slice(None, None, 4)  # 32 × 32: the twin of auc compares all pairs
    case = duo()
    boxes = tuple(tuple(float(v // 4) for v in box) for box in case.boxes)
    case = replace(
        case,
        x=case.x[..., small, small],
        mask=case.mask[small, small],
        rival=case.rival[small, small],
        boxes=boxes,
    )
    attribution = case.x[0].mean(0)  # signed
    found = score(name, case, attribution)
    assert found == pytest.approx(twin(name, case, attribution), abs=1e-6)


@by_name
def test_chance_is_what_random_maps_score_and_the_oracle_is_far_above(name):
    record, case = RECORDS[name], duo()
    scores = torch.tensor([score(name, case, noise(case, seed).sigmoid()) for seed in range(60)])
    chance, spread = record.chance(case), 3 * float(scores.std()) / 60**0.5
    assert abs(float(scores.mean()) - chance) <= spread + 1e-6
    assert score(name, case, case.mask.float()) == 1
    assert chance + spread < 0.9
    assert record.passes == "0"
    assert not record.explains


def test_pixel_auc_by_hand_and_by_a_second_source():
    # Inside 3 and 1, outside 2 and 1: 3 beats both, 1 loses to 2 and ties with 1: (2 + 0.5) / 4.
    maps = torch.tensor([[[3.0, 2.0], [1.0, 1.0]]])
    masks = torch.tensor([[[True, False], [True, False]]])
    assert float(pixel_auc(maps, masks)) == 0.625
    assert pixel_auc(maps, torch.ones_like(masks)).isnan()
    assert pixel_auc(maps, torch.zeros_like(masks)).isnan()
    case = cases()[0]
    values = case.x[0, 0].mul(4).round()  # many ties
    second = roc_auc_score(case.mask.flatten().numpy(), values.flatten().numpy())
    assert float(pixel_auc(values[None], case.mask[None])) == pytest.approx(second, abs=1e-12)


@given(st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=12, max_size=12))
@settings(max_examples=50, deadline=None)
def test_turning_a_map_over_turns_its_auc_over(rows):
    maps = torch.tensor([float(v) for v, _ in rows]).view(1, 3, 4)
    masks = torch.tensor([m for _, m in rows]).view(1, 3, 4)
    total = pixel_auc(maps, masks) + pixel_auc(-maps, masks)
    assert total.isnan() if masks.all() or not masks.any() else float(total) == pytest.approx(1)


def test_pointing_game_counts_ties_and_tolerance():
    maps = torch.zeros(1, 5, 6)
    maps[0, 1, 1] = maps[0, 1, 2] = maps[0, 4, 5] = 2  # three highest pixels, one in the mask
    mask = torch.zeros(5, 6, dtype=torch.bool)
    mask[1, 2] = True
    assert float(hit_rate(maps, mask[None])) == pytest.approx(1 / 3)
    assert float(hit_rate(maps, grow(mask, 1)[None])) == pytest.approx(2 / 3)
    # (4, 5) is 3 rows and 3 columns away: sqrt(18) = 4.243 px
    assert float(hit_rate(maps, grow(mask, 4.24)[None])) == pytest.approx(2 / 3)
    assert float(hit_rate(maps, grow(mask, 4.25)[None])) == 1
    assert torch.equal(grow(mask, 0), mask)
    assert not grow(torch.zeros_like(mask), 9).any()
    attribution = noise(tiny(), 3)
    for tolerance in (1, 2.5):
        expected = literal.pointing(attribution.tolist(), tiny().mask.tolist(), tolerance)
        assert score("pointing_game", tiny(), attribution, tolerance=tolerance) == expected


def test_a_pixel_is_in_a_box_with_its_centre():
    # centres 0.5, 1.5, 2.5, 3.5: of x from 0.6 to 2.5 only 1.5, of y from 0.5 on the first two
    inside = inside_boxes([(0.6, 0.5, 2.5, 2.4)], (3, 4))
    assert inside.nonzero().tolist() == [[0, 1], [1, 1]]
    both = inside_boxes([(0.6, 0.5, 2.5, 2.4), (3, 2, 4, 3)], (3, 4))
    assert both.nonzero().tolist() == [[0, 1], [1, 1], [2, 3]]


def test_the_box_is_around_the_largest_part():
    attribution = torch.zeros(6, 8)
    attribution[0, 0] = 10  # the highest pixel, alone
    attribution[2, 2:4] = 4
    attribution[3, 4] = 4  # hangs on by its corner
    attribution[5, 6] = 1.9  # under a fifth of the maximum
    attribution[5, 0] = -50
    assert bounding_box(attribution, 0.2) == (2, 2, 5, 4)
    assert bounding_box(attribution, 0.5) == (0, 0, 1, 1)
    assert bounding_box(attribution, 0) == (0, 0, 8, 6)
    attribution[4, 0] = attribution[4, 1] = 6  # a second part of two pixels, no longer alone:
    attribution[3, 4] = 0  # the first now has two as well, and less mass
    assert bounding_box(attribution, 0.3) == (0, 4, 2, 5)
    # boxes of 3 × 2 and 2 × 2 share 2 × 1: 2 / (6 + 4 - 2)
    assert iou((2, 2, 5, 4), (3, 3, 5, 5)) == 0.25
    assert iou((0, 0, 1, 1), (1, 0, 2, 1)) == 0


@pytest.mark.parametrize("seed", range(3))
def test_the_box_equals_its_twin_at_every_threshold(seed):
    attribution = noise(tiny(), seed)
    for threshold in (0, 0.2, 0.5, 0.9, 1):
        found = literal.largest_box(attribution.tolist(), threshold)
        expected = max(literal.iou(found, box) for box in tiny().boxes)
        assert score("box_iou", tiny(), attribution, threshold=threshold) == expected


def why(name: str, case: Case, attribution: Tensor) -> str:
    found = RECORDS[name](case, unused, attribution=attribution)
    assert np.isnan(found.value)
    return found.why


def test_what_has_no_score_says_why():
    case, negative = tiny(), -noise(tiny()).abs()
    for name in ("relevance_mass", "energy_pointing_game", "box_iou"):
        assert why(name, case, negative) == "the map has no positive value"
    assert why("own_share", case, negative) == "the map has no positive value on either object"
    everything = replace(case, mask=torch.ones_like(case.mask))
    assert why("auc", everything, noise(case)) == "the mask covers the whole picture"
    outside = replace(case, boxes=((3.6, 2.0, 4.4, 5.0),))
    assert why("energy_pointing_game", outside, noise(case)) == "no pixel lies in the boxes"
    bare = replace(case, mask=None, rival=None, boxes=())
    for name, record in RECORDS.items():
        assert why(name, bare, noise(case)).startswith("needs ")
        assert why(name, case, torch.zeros(8, 9)) == "the map is zero everywhere"
        assert record.needs
    for name in ("auc", "pointing_game"):  # an order among negative values is one
        assert 0 <= score(name, case, negative) <= 1
    with pytest.raises(CannotScore, match="the map is the same everywhere"):
        bounding_box(torch.ones(3, 3), 0.2)


def test_wrong_settings_are_refused():
    case = tiny()
    with pytest.raises(ValueError, match="tolerance must be >= 0, got -1"):
        score("pointing_game", case, noise(case), tolerance=-1)
    with pytest.raises(ValueError, match=r"threshold must be >= 0 and <= 1, got 1\.5"):
        score("box_iou", case, noise(case), threshold=1.5)
    with pytest.raises(TypeError, match="auc has no setting 'threshold'"):
        score("auc", case, noise(case), threshold=0.5)
