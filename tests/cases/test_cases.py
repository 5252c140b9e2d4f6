"""A case and a metric's record: what is refused, and what is counted with its reason."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache

import pytest
import torch
from torch import Tensor, nn

from xaiutils.cases.workloads import Workload, load_workload
from xaiutils.methods import METHODS
from xaiutils.metrics import METRICS, Case, Score, load_cases
from xaiutils.metrics.record import NEEDS, CannotScore, picture_seed, require_order
from xaiutils.network.classifier import load_model, wrap
from xaiutils.pictures import scenes

SIZE = 16
QUICK = {
    "avg_sensitivity": {"samples": 2},
    "faithfulness_correlation": {"runs": 6, "subset": 40},
    "srg": {"steps": 4},
    "morf": {"steps": 4},
    "lerf": {"steps": 4},
    "deletion": {"steps": 4},
    "insertion": {"steps": 4},
    "road": {"percentiles": 3},
    "idsds": {"grid": 4},
    "sensitivity_n": {"grid": 4, "sizes": 3, "subsets": 6},
}
of_all = pytest.mark.parametrize("name", METRICS)


def small(classes: int = 3) -> Case:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(
            nn.Conv2d(3, 4, 3, padding=1),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
            nn.Linear(16, classes),
        )
        x = torch.randn(1, 3, SIZE, SIZE)
    mask, rival = torch.zeros(2, SIZE, SIZE, dtype=torch.bool)
    mask[2:7, 3:9], rival[10:14, 8:12] = True, True
    boxes = ((3.0, 2.0, 9.0, 7.0),)
    return Case("small", wrap(net.eval(), size=SIZE), x, classes - 1, mask, rival, boxes)


@cache
def scene_case(split: str, index: int = 0) -> Case:
    return load_cases(load_workload("scenes", split), [index])[0]


def noise(case: Case) -> Tensor:
    return torch.randn(case.x.shape[2:], generator=torch.Generator().manual_seed(1))


def slope(classifier, x: Tensor, target: Tensor) -> Tensor:
    return METHODS["gradient_x_input"](classifier, x, target)


def never(classifier, x: Tensor, target: Tensor) -> Tensor:
    raise AssertionError("the map is given, and nothing is to be explained")


# What is not a case


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"x": torch.zeros(3, 8, 8)}, ValueError, r"x must have shape \(N, C, H, W\)"),
        ({"x": torch.zeros(2, 3, 8, 8)}, ValueError, r"x must be one picture \(1, C, H, W\), got"),
        ({"x": torch.zeros(1, 1, 8, 8)}, ValueError, "x must have 3 channels"),
        ({"x": torch.full((1, 3, 8, 8), torch.nan)}, ValueError, "x must be finite"),
        ({"x": torch.zeros(1, 3, 8, 8).double()}, TypeError, "x must be torch.float32"),
        ({"target": 3}, ValueError, "target must be <= 2, got 3"),
        ({"target": -1}, ValueError, "target must be >= 0, got -1"),
        ({"target": 0.5}, ValueError, "target must be a whole number, got 0.5"),
        ({"target": None}, TypeError, "target must be a number, got NoneType None"),
        ({"mask": torch.ones(SIZE, SIZE)}, TypeError, "mask must be a bool .* got torch.float32"),
        ({"mask": [[True]]}, TypeError, r"mask must be a bool tensor \(H, W\), got list"),
        ({"mask": torch.ones(SIZE, 8) > 0}, ValueError, "mask and a channel of x must have one sh"),
        ({"rival": torch.ones(1, SIZE, SIZE) > 0}, ValueError, r"rival .* got \(1, 16, 16\)"),
    ],
)
def test_a_wrong_case_is_refused(changes, error, message):
    with pytest.raises(error, match=message):
        replace(small(), **changes)


def test_asking_about_another_class_leaves_the_rest():
    case = small()
    other = case.asking(0)
    assert (case.target, other.target, other.targets.tolist()) == (2, 0, [0])
    assert other.x is case.x
    assert other.mask is case.mask
    with pytest.raises(ValueError, match="target must be <= 2, got 6"):
        case.asking(6)


def test_an_empty_mask_is_none():
    case = small()
    assert all(case.has(need) for need in ("mask", "rival", "boxes"))
    assert not case.has("pieces")
    bare = replace(case, mask=case.mask & False, rival=None, boxes=())
    assert [need for need in NEEDS if bare.has(need)] == ["picture"]


# Cases of a workload


def test_load_cases_take_the_scene_s_own_mask_box_and_second_object():
    alone, both = scene_case("unit"), scene_case("duo")
    (x0, y0, x1, y1) = alone.boxes[0]
    rows, columns = alone.mask.nonzero().T
    assert (x0, y0) == (int(columns.min()), int(rows.min()))
    assert (x1, y1) == (int(columns.max()) + 1, int(rows.max()) + 1)
    assert alone.target == scenes.label(alone.scene)
    assert (alone.id, alone.split, alone.workload) == ("unit-00000", "unit", "scenes")
    assert alone.rival is None
    assert both.rival.any()
    assert not (both.rival & both.mask).any()


def test_the_pieces_are_the_objects_and_the_scene_without_each():
    case = scene_case("unit")
    assert len(case.pieces) == len(case.scene.objects)
    assert sum(piece.target for piece in case.pieces) == 1
    for piece in case.pieces:
        changed = (piece.without != case.x)[0].any(0)
        assert changed[piece.mask].double().mean() > 0.9, "the object is gone"
        assert torch.equal(piece.mask, case.mask) == piece.target


def test_load_cases_are_the_asked_ones_in_order():
    work = load_workload("scenes", "unit")
    assert [case.id for case in load_cases(work, [2, 0])] == ["unit-00002", "unit-00000"]
    with pytest.raises(ValueError, match="indices must name at least one sample, got none"):
        load_cases(work, [])
    with pytest.raises(IndexError, match=r"indices must be in -16\.\.15, got 16"):
        load_cases(work, [16])
    yours = replace(work, samples=[replace(work.samples[0], label=9)])
    with pytest.raises(IndexError, match=r"indices must be in -1\.\.0, got 1"):
        load_cases(yours, [1])
    with pytest.raises(ValueError, match=r"label must be in 0\.\.5, got 9"):
        load_cases(yours, [0])


def test_load_cases_leave_out_what_the_network_takes_for_something_else():
    work = load_workload("scenes", "unit")
    sample = work.samples[0]
    wrong = replace(sample, label=(sample.label + 1) % 6)
    mixed = Workload("own", work.classifier, [sample, wrong])
    assert len(load_cases(mixed, [0, 1])) == 2
    (right,) = load_cases(mixed, [0, 1], right_only=True)
    assert right.target == sample.label
    other = load_model("scenes_vgg_seed1")
    assert load_cases(mixed, [0], other)[0].classifier is other


def test_a_scene_is_known_whatever_the_workload_is_called_and_its_size():
    sample = replace(load_workload("scenes", "duo").samples[0], label=1)
    (case,) = load_cases(Workload("own", small().classifier, [sample]), [0])
    assert case.scene == scenes.scene("duo", 0)
    assert case.rival.shape == case.pieces[1].mask.shape == (SIZE, SIZE)
    assert torch.equal(case.rival, case.pieces[1].mask)


def test_without_a_label_the_predicted_class_is_explained():
    work = load_workload("scenes", "unit")
    (case,) = load_cases(
        Workload("own", work.classifier, [replace(work.samples[0], label=None, mask=None)]), [0]
    )
    assert case.target == int(work.classifier.predict(case.x).argmax(1))
    assert case.has("mask"), "the union of the boxes"


# What a metric refuses


@of_all
def test_an_unknown_setting_and_a_wrong_seed_are_refused(name):
    case = small()
    known = ", ".join(METRICS[name].settings) or "none"
    with pytest.raises(TypeError, match=f"{name} has no setting 'colour'; its settings: {known}"):
        METRICS[name](case, never, attribution=noise(case), colour=1)
    with pytest.raises(ValueError, match="seed must be >= 0, got -1"):
        METRICS[name](case, never, attribution=noise(case), seed=-1)


@pytest.mark.parametrize(
    ("attribution", "error", "message"),
    [
        (torch.ones(1, SIZE, SIZE), ValueError, r"\(H, W\) = \(16, 16\), got \(1, 16, 16\)"),
        (torch.ones(SIZE, 8), ValueError, r"attribution must be \(H, W\) = .*, got \(16, 8\)"),
        ([[1.0]], ValueError, r"attribution must be \(H, W\) = \(16, 16\), got list \[\[1.0\]\]"),
        (torch.ones(SIZE, SIZE) > 0, TypeError, "attribution must be floating-point, got torch.b"),
    ],
)
@of_all
def test_a_map_of_another_shape_or_type_is_refused(name, attribution, error, message):
    with pytest.raises(error, match=message):
        METRICS[name](small(), never, attribution=attribution)


@pytest.mark.parametrize(
    ("explainer", "error", "message"),
    [
        ("hybrid", TypeError, "explainer must be a function or an entry of METHODS, got str 'hyb"),
        (lambda c, x, t: x[0, 0], ValueError, r"maps \(1, 16, 16\), got \(16, 16\)"),
        (lambda c, x, t: x[0], ValueError, r"maps \(1, 16, 16\), got \(3, 16, 16\)"),
        (lambda c, x, t: None, ValueError, r"explainer must return maps .*, got NoneType None"),
    ],
)
def test_an_explainer_that_gives_no_map_is_refused(explainer, error, message):
    with pytest.raises(error, match=message):
        METRICS["sparseness"](small(), explainer)


# What has no score


ORDERLESS = {
    "the map is zero everywhere": lambda like: like * 0,
    "the map is the same everywhere": lambda like: like * 0 + 0.3,
    "the map has NaN or infinite values": lambda like: like.index_fill(
        0, torch.tensor([3]), torch.nan
    ),
}


@of_all
@pytest.mark.parametrize("why", ORDERLESS)
def test_a_map_without_an_order_has_no_score_by_any_metric(name, why):
    case = scene_case("duo")
    score = METRICS[name](case, never, attribution=ORDERLESS[why](noise(case)))
    assert math.isnan(score.value)
    assert score.why == why


def test_an_infinite_map_has_no_order():
    with pytest.raises(CannotScore, match="NaN or infinite"):
        require_order(torch.tensor([[1.0, torch.inf]]))
    require_order(torch.tensor([[1.0, 1.0 + 1e-6]]))  # two values are an order


@of_all
def test_a_case_without_what_the_metric_needs_has_no_score(name):
    case = small()
    bare = replace(case, mask=case.mask & False, rival=None, boxes=())
    needs = [need for need in METRICS[name].needs if need != "picture"]
    score = METRICS[name](bare, slope, **QUICK.get(name, {}))
    if needs:
        assert math.isnan(score.value)
        assert score.why == f"needs {NEEDS[needs[0]]}"
    else:
        assert math.isfinite(score.value)
        assert score.why == ""


@pytest.mark.parametrize("name", [n for n, one in METRICS.items() if one.family == "randomisation"])
def test_one_class_leaves_none_to_compare_with(name):
    score = METRICS[name](small(classes=1), slope)
    if name in ("random_logit", "class_discrimination"):
        assert math.isnan(score.value)
        assert "class" in score.why
    else:
        assert math.isfinite(score.value), "the networks differ, though the class is the only one"


def test_a_score_outside_its_range_is_an_error_and_never_a_number():
    case = small()
    broken = replace(METRICS["sparseness"], function=lambda *a, **k: 1.2)
    with pytest.raises(ValueError, match=r"sparseness must be in \[0, 1\], got 1.2"):
        broken(case, never, attribution=noise(case))
    broken = replace(broken, function=lambda *a, **k: math.nan)
    with pytest.raises(ValueError, match="got nan"):
        broken(case, never, attribution=noise(case))


# The seed of a picture


def test_a_picture_s_seed_is_that_of_its_bytes_and_of_what_is_asked():
    case = small()
    seed = picture_seed(case, "srg", 0)
    assert 0 <= seed < 2**32
    assert picture_seed(replace(case, id="other", x=case.x.clone()), "srg", 0) == seed
    assert picture_seed(case.asking(0), "srg", 0) == seed, "all classes see the same perturbations"
    nudged = case.x.clone()
    nudged[0, 0, 0, 0] += 1e-6
    others = [
        picture_seed(case, "srg", 1),
        picture_seed(case, "morf", 0),
        picture_seed(replace(case, x=nudged), "srg", 0),
    ]
    assert len({seed, *others}) == 4


def test_metrics_of_one_stream_see_the_same_perturbations_and_others_their_own():
    case, drawn = small(), {}
    for name, one in METRICS.items():
        seen = replace(one, needs=(), function=lambda c, a, e, seed, **k: drawn.update(s=seed) or 0)
        assert seen(case, never, attribution=noise(case)) == Score(0.0)
        drawn[name] = drawn.pop("s")
    streams = {name: one.stream or name for name, one in METRICS.items()}
    assert len(set(drawn.values())) == len(set(streams.values()))
    assert drawn["morf"] == drawn["insertion"]


@of_all
def test_the_record_s_chance_is_in_the_score_s_range(name):
    case, one = scene_case("duo"), METRICS[name]
    chance = one.chance(case)
    assert math.isnan(chance) or one.low <= chance <= one.high
    assert one.arrow == {"higher": "↑", "lower": "↓"}[one.better]
    assert one.cost() >= 0
