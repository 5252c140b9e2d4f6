"""Scores as targets: each has a slow twin, and all that explains and judges asks for the same."""

from __future__ import annotations

import math
import pickle
from functools import cache, partial
from typing import Any

import pytest
import torch
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import FinerWeightedTarget
from torch import Tensor, nn

from xaiutils.cases.case import Case
from xaiutils.hybrid import class_activation_map, explain, relevance
from xaiutils.methods import METHODS, CannotExplain
from xaiutils.methods.layerwise import explain_layers
from xaiutils.metrics import METRICS
from xaiutils.metrics.flipping import outputs
from xaiutils.metrics.scoring import score
from xaiutils.network import targets
from xaiutils.network.classifier import Classifier, wrap
from xaiutils.network.targets import (
    Score,
    answer,
    box,
    logit,
    margin,
    region,
    similarity,
    slope,
    value,
)
from xaiutils.support.cache import remember

SIZE, CLASSES = 24, ("cat", "dog", "hen", "owl")
FEW = {  # of methods that ask often
    "lime": {"n_samples": 60},
    "kernel_shap": {"n_samples": 60},
    "shapley_sampling": {"n_samples": 1},
    "integrated_gradients": {"n_steps": 3},
    "smooth_grad": {"n_samples": 3},
    "gradient_shap": {"n_samples": 3},
    "deep_lift_shap": {"n_baselines": 2},
}


class Net(nn.Module):
    """Two convolutions, a mean, a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 8, 3), nn.ReLU()
        )
        self.pool, self.last = nn.AdaptiveAvgPool2d(1), nn.Linear(8, len(CLASSES))

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.pool(self.features(x)).flatten(1))


@cache
def network(outputs: str = "softmax") -> Classifier:
    torch.manual_seed(1)
    found = wrap(Net().eval(), CLASSES, size=SIZE, outputs=outputs)
    nn.init.normal_(found.module.last.weight, std=2.0)
    nn.init.normal_(found.module.last.bias, std=1.0)
    return found


def pictures(n: int = 2) -> Tensor:
    return torch.rand(n, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(n))


def third(output: Tensor) -> Tensor:
    return output[:, 2]


def output(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


# Slow twins of each score, number by number; an output of two pictures.


MASK = torch.tensor([[True, False, False], [True, True, False]])
ANCHORS = torch.tensor([[0, 0, 4, 4], [1, 0, 5, 4], [0, 0, 2, 2], [6, 6, 8, 8]]).float()
REFERENCE = torch.tensor([0.5, -1.0, 2.0, 0.1], dtype=torch.float64)


def likeness(row: Any) -> float:
    pairs = list(zip(row, REFERENCE.tolist(), strict=True))
    length = math.sqrt(sum(a * a for a, _ in pairs)) * math.sqrt(sum(b * b for _, b in pairs))
    return sum(a * b for a, b in pairs) / length


TWINS: dict[str, tuple[Score, tuple[int, ...], Any]] = {
    "logit": (logit(2), (2, 4), lambda f: f[2]),
    "value": (value(1), (2, 4), lambda f: f[1]),
    "value alone": (value(), (2,), lambda f: f),
    "margin": (margin(1, 3, 0.5), (2, 4), lambda f: f[1] - 0.5 * f[3]),
    "region": (
        region(1, MASK), (2, 3, 2, 3), lambda f: (f[1][0][0] + f[1][1][0] + f[1][1][1]) / 3
    ),
    "similarity": (similarity(REFERENCE), (2, 4), likeness),
    "box of anchors": (  # the second covers 12 of 20, the third 4 of 16, the fourth nothing
        box(1, (0, 0, 4, 4), ANCHORS), (2, 3, 4), lambda f: max(f[1][0], f[1][1])
    ),
    "the best anchor": (box(1, (1, 1, 8, 9), ANCHORS[2:]), (2, 3, 2), lambda f: f[1][1]),
    "box of cells": (
        box(0, (0.0, 0.5, 0.5, 1.0)), (2, 3, 4, 4),
        lambda f: max(f[0][2][0], f[0][2][1], f[0][3][0], f[0][3][1]),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", TWINS)
def test_a_score_is_its_equation(name):
    record, shape, twin = TWINS[name]
    f = output(*shape)
    expected = torch.tensor([twin(row) for row in f.tolist()], dtype=torch.float64)
    torch.testing.assert_close(record(f), expected)


@pytest.mark.parametrize("name", TWINS)
def test_the_slope_is_the_difference_quotient(name):
    record, shape, _ = TWINS[name]
    f, step = output(*shape), 1e-6
    found = slope(f, targets.Scores([record] * 2))
    expected = torch.zeros_like(f)
    for i in range(f.numel()):
        high, low = f.clone(), f.clone()
        high.view(-1)[i] += step
        low.view(-1)[i] -= step
        expected.view(-1)[i] = ((record(high) - record(low)) / (2 * step)).sum()
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("name", TWINS)
def test_relevance_starts_with_the_score_or_with_shares_of_one(name):
    record, shape, twin = TWINS[name]
    f, asked = output(*shape), targets.Scores([record] * 2)
    by_logit, by_one = (targets.start_of(f, asked, start) for start in targets.STARTS)
    assert by_logit.shape == by_one.shape == f.shape
    expected = torch.tensor([twin(row) for row in f.tolist()], dtype=torch.float64)
    torch.testing.assert_close(by_logit.reshape(2, -1).sum(1), expected)
    torch.testing.assert_close(by_one.reshape(2, -1).abs().sum(1), torch.ones(2).double())
    torch.testing.assert_close(by_one.sign() * f.sign(), by_logit.sign())
    if "margin" not in name and name != "similarity":
        torch.testing.assert_close(by_one.reshape(2, -1).sum(1), torch.ones(2).double())


def test_the_region_is_grad_cams_but_for_the_number_of_pixels():
    from pytorch_grad_cam.utils.model_targets import SemanticSegmentationTarget

    f = output(1, 3, 2, 3)
    theirs = SemanticSegmentationTarget(1, MASK.numpy())(f[0])
    torch.testing.assert_close(region(1, MASK)(f)[0] * 3, theirs)


# A class by its index, its name, `logit` and a function of the output.


def maps_of(target: Any, start: str = "logit") -> list[Tensor]:
    found = explain(network(), pictures(), target, start=start)
    return [found.cam, found.relevance_per_channel, found.hybrid, found.conservation.input]


@pytest.mark.parametrize("start", targets.STARTS)
@pytest.mark.parametrize(
    "target", ["hen", ["hen", 2], logit("hen"), [logit(2), "hen"], third, [third, logit(2)]]
)
def test_a_class_is_the_same_however_it_is_asked_for(target, start):
    for found, expected in zip(maps_of(target, start), maps_of(2, start), strict=True):
        assert torch.equal(found, expected)


def test_each_picture_has_its_own():
    for found, expected in zip(maps_of(["owl", third]), maps_of([3, 2]), strict=True):
        assert torch.equal(found, expected)
    found = explain_layers(network(), pictures(), ["owl", third])
    expected = explain_layers(network(), pictures(), [3, 2])
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one.hybrid, other.hybrid)


def test_the_explanation_says_what_was_explained():
    found = explain(network(), pictures(), logit("hen"))
    assert found.target.tolist() == [2, 2]
    assert "score" not in found.settings
    asked = margin("hen", 0, 0.5)
    found = explain(network(), pictures(), asked)
    assert found.settings["score"] == "margin(hen, 0, 0.5)"
    assert [one.name for one in found.target.each] == [asked.name] * 2
    assert found.target[0].classes == (2, 0)
    value = answer(found.logits, found.target)
    torch.testing.assert_close(value, found.logits[:, 2] - 0.5 * found.logits[:, 0])
    torch.testing.assert_close(found.conservation.start, value)
    assert (found.conservation.residual.abs() < 1e-5 * value.abs().clamp(min=1)).all()
    said = [note for note in found.notes if "the score is negative" in note]
    assert len(said) == int((value < 0).sum())


ABOUT = {  # of every score that starts relevance at several outputs: relevance is linear in it
    "margin": (margin(1, 3, 0.5), lambda r, f: r(1) - 0.5 * r(3)),
    "function": (lambda f: f[:, 0] + 2 * f[:, 1], lambda r, f: r(0) + 2 * r(1)),
    "similarity": (
        similarity(REFERENCE.float()),
        lambda r, f: (
            sum(float(REFERENCE[k]) * r(k) for k in range(4))
            / (f.norm(dim=1) * REFERENCE.float().norm()).view(-1, 1, 1, 1)
        ),
    ),
}


@pytest.mark.parametrize("composite", ["paper", "epsilon", "epsilon_plus"])
@pytest.mark.parametrize("name", ABOUT)
def test_relevance_is_that_of_the_classes_added_up(name, composite):
    target, added = ABOUT[name]
    found = relevance(network(), pictures(), target, composite)
    logits = network().predict(pictures())
    expected = added(lambda k: relevance(network(), pictures(), k, composite).map, logits)
    torch.testing.assert_close(found.map, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(
        found.ledger.start,
        answer(logits, network().asked(target, 2)),
        rtol=1e-5,
        atol=1e-5,
    )


def test_a_margin_of_one_starts_with_shares():
    one = partial(relevance, network(), pictures(), composite="epsilon_plus", start="one")
    expected = (one(target=1).map - 0.5 * one(target=3).map) / 1.5
    torch.testing.assert_close(one(target=margin(1, 3, 0.5)).map, expected, rtol=1e-4, atol=1e-6)


def test_the_margins_cam_is_finer_cams():
    classifier, x = network(), pictures()
    found = class_activation_map(classifier, x, margin(1, 3, 0.6), cam="grad_cam")
    layer = classifier.module.get_submodule(classifier.cam_layer)
    with GradCAM(classifier.module, [layer]) as theirs:
        expected = theirs(x.clone(), [FinerWeightedTarget(1, [3], 0.6)] * 2)
    torch.testing.assert_close(found, torch.from_numpy(expected), rtol=1e-3, atol=1e-3)


def test_the_cam_of_a_similarity_has_its_true_gradient():
    classifier, x = network(), pictures()
    found = class_activation_map(classifier, x, similarity(REFERENCE.float()), cam="grad_cam")
    a = classifier.module.features(x).detach().requires_grad_()
    f = classifier.module.last(classifier.module.pool(a).flatten(1))
    torch.cosine_similarity(f, REFERENCE.float()[None]).sum().backward()
    raw = (a.grad.mean((2, 3), keepdim=True) * a.detach()).sum(1).relu()
    grown = nn.functional.interpolate(raw[:, None], (SIZE, SIZE), mode="bilinear")[:, 0]
    low, high = grown.amin((1, 2), keepdim=True), grown.amax((1, 2), keepdim=True)
    torch.testing.assert_close(found, (grown - low) / (high - low), rtol=1e-4, atol=1e-5)


# The same score in every method and metric.

APPLY = [name for name, method in METHODS.items() if method.refuses(network("value")) is None]


@pytest.mark.parametrize("name", APPLY)
def test_every_method_explains_the_same_score(name):
    method, settings = METHODS[name], FEW.get(name, {})
    if method.classes_only:
        with pytest.raises(CannotExplain, match="one class among others, and no score"):
            method(network("value"), pictures(), third, **settings)
        return
    expected = method(network("value"), pictures(), 2, **settings)
    found = method(network("value"), pictures(), third, **settings)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-7)
    if method.class_specific:
        other = method(network("value"), pictures(), margin(2, 1), **settings)
        assert not torch.equal(other, expected)
        assert bool(other.any())


def test_methods_that_explain_classes_alone_are_few():
    few = {name for name, method in METHODS.items() if method.classes_only}
    assert {name for name in few if "published" not in name and "captum" not in name} == {
        *("relevance_cam", "clrp1", "clrp2", "sglrp"),
        *(n for n in METHODS if n.startswith(("library_grad_cam", "grad_cam_plus_plus_no_target"))),
    }


def case(target: Any, outputs: str = "value") -> Case:
    mask = torch.zeros(SIZE, SIZE, dtype=torch.bool)
    mask[4:12, 6:20] = True
    asked = Score("third", third) if target is third else target
    return Case("one", network(outputs), pictures(1), asked, mask=mask, rival=mask.flip(0))


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_asks_for_the_same_score(name):
    metric, method = METRICS[name], METHODS["hybrid"]
    found, expected = metric(case(third), method), metric(case(2), method)
    if name in ("random_logit", "class_discrimination"):
        assert math.isnan(found.value)
        assert "a score is explained" in found.why
    elif math.isnan(expected.value):
        assert found.why == expected.why
    else:
        assert found.value == pytest.approx(expected.value, rel=1e-9)
        if metric.passes != "0" and "E" not in metric.passes:
            assert metric(case(margin(2, 1)), method).value != expected.value


def test_a_score_is_asked_as_it_is():
    asked, x = case(margin(2, 1), "softmax"), pictures(3)
    expected = network().predict(x).double()
    expected = (expected[:, 2] - expected[:, 1]).numpy()
    for kind in ("centred", "softmax"):
        assert outputs(asked, x, kind) == pytest.approx(expected, rel=1e-12)
    area = METRICS["deletion"](asked, METHODS["hybrid"])
    assert area.why == ""  # a margin need not lie in [0, 1]


def test_a_memo_tells_scores_apart():
    asked = [margin(2, 1), margin(2, 0), margin(2, 1, 0.5), third, 2, similarity(REFERENCE.float())]
    asked.append(similarity(2 * REFERENCE.float() + 1))
    alone = [explain(network(), pictures(), target).hybrid for target in asked]
    with remember() as memo:
        for target, expected in zip(asked, alone, strict=True):
            assert torch.equal(explain(network(), pictures(), target).hybrid, expected)
        before = memo.hits
        again = explain(network(), pictures(), margin("hen", "dog")).hybrid
        assert torch.equal(again, alone[0])
        assert memo.hits > before  # known by what it computes, not by its name or object
    rows = score([case(margin(2, 1)), case(margin(2, 0))], ["hybrid"], ["srg"])
    ones = [METRICS["srg"](case(margin(2, k)), METHODS["hybrid"]).value for k in (1, 0)]
    assert rows["value"].tolist() == pytest.approx(ones, rel=1e-6)


def test_a_score_survives_pickling():
    for record, shape, _ in TWINS.values():
        assert torch.equal(
            pickle.loads(pickle.dumps(record))(output(*shape)), record(output(*shape))
        )


def test_the_callers_mask_may_change_afterwards():
    mask = MASK.clone()
    asked = region(1, mask)
    mask[:] = True
    assert torch.equal(asked(output(2, 3, 2, 3)), region(1, MASK)(output(2, 3, 2, 3)))


# Bad input.


def never(f: Tensor) -> Tensor:
    return torch.ones(len(f))


def flat(f: Tensor) -> Tensor:
    return 0 * f.sum(1)


def rooted(f: Tensor) -> Tensor:
    return (f - f.amax(1, keepdim=True)).abs().sqrt().sum(1)


def best(f: Tensor) -> Tensor:
    return f.argmax(1)


def loud(f: Tensor) -> Tensor:
    return f.missing


WEIGHT = torch.ones((), requires_grad=True)
BAD_TARGETS: dict[str, tuple[Any, type[Exception], str]] = {
    "depends on nothing": (never, ValueError, "a gradient by the output, never has none"),
    "no gradient": (best, ValueError, "a gradient by the output, best has none"),
    "gradient 0": (flat, ValueError, "the output, flat has a gradient of 0 .* image 0, 1"),
    "no number": (rooted, ValueError, "rooted has a gradient of NaN or infinity for image 0"),
    "several numbers": (lambda f: f[:, :2], ValueError, r"one real number per pic.* \(1, 2\)"),
    "no dimension": (lambda f: f.sum(), ValueError, r"one real number per picture, .* \(\)"),
    "complex": (lambda f: torch.complex(f[:, 0], f[:, 1]), ValueError, "gives torch.complex64"),
    "weights alone": (lambda f: torch.ones(len(f)) * WEIGHT, ValueError, "a gradient of 0 everyw"),
    "no tensor": (lambda f: 3, ValueError, "<lambda> gives 3"),
    "an error": (loud, ValueError, "loud fails: 'Tensor' object has no attribute 'missing'"),
    "no such class": (margin(0, 9), ValueError, r"class must be a name or in 0\.\.3, got 9"),
    "no such name": (margin(0, "oul"), ValueError, "class must be a known name, .* mean owl"),
    "a logit too far": (logit(4), ValueError, r"in 0\.\.3, got 4"),
    "a name": ("oul", ValueError, "did you mean owl"),
    "too few": ([third], ValueError, r"one per image \(2\), got 1"),
    "a region": (region(0, MASK), ValueError, r"of the output's size \(\), got \(2, 3\)"),
    "a reference": (similarity(torch.ones(3)), ValueError, r"output's size \(4,\), got \(3,\)"),
    "a box": (box(0, (0, 0, 1, 1)), ValueError, "box must have candidates= where the output is"),
    "anchors": (box(0, (0, 0, 4, 4), ANCHORS), ValueError, r"of the output, \(\), got 4"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_TARGETS)
@pytest.mark.parametrize("method", ["hybrid", "saliency"])
def test_a_bad_target_is_refused(name, method):
    target, error, message = BAD_TARGETS[name]
    with pytest.raises(error, match=message):
        METHODS[method](network(), pictures(), target)


def test_a_function_sees_the_output_of_one_picture_alone():
    found = explain(network(), pictures(), lambda f: f[:, 2] / f.shape[0] + 0 * f[-1, 2])
    assert torch.equal(found.hybrid, explain(network(), pictures(), 2).hybrid)


def test_a_method_without_gradients_takes_a_score_without_one():
    found = METHODS["occlusion"](network(), pictures(), lambda f: f[:, 2].detach())
    assert torch.equal(found, METHODS["occlusion"](network(), pictures(), 2))


BAD: dict[str, tuple[Any, type[Exception], str]] = {
    "gamma": (lambda: margin(0, 1, -1), ValueError, "gamma must be >= 0, got -1"),
    "mask of numbers": (lambda: region(0, MASK.float()), TypeError, "mask must be a bool tensor"),
    "empty mask": (lambda: region(0, MASK & False), ValueError, "with at least one pixel in it"),
    "masks": (lambda: region(0, MASK[None]), ValueError, "a list of regions is one per picture"),
    "reference": (lambda: similarity(torch.zeros(3)), ValueError, "not zero everywhere"),
    "reference of what": (lambda: similarity([1.0]), TypeError, "reference must be a torch.Tensor"),
    "box": (lambda: box(0, (3, 0, 1, 1)), ValueError, "x0 < x1 and y0 < y1, got"),
    "no box": (lambda: box(0, None), TypeError, "box must be .* got None"),
    "pixels": (lambda: box(0, (0, 0, 4, 4)), ValueError, "in shares of width and height, from 0"),
    "no candidates": (lambda: box(0, (0, 0, 1, 1), ANCHORS[:0]), ValueError, r"A >= 1, got \(0, 4"),
    "candidates of NaN": (lambda: box(0, (0, 0, 1, 1), ANCHORS * torch.nan), ValueError, "finite"),
    "three sides": (lambda: box(0, (0, 0, 1)), ValueError, r"box must be \(x0, y0, x1, y1\)"),
    "candidates": (lambda: box(0, (0, 0, 1, 1), MASK.float()), ValueError, r"must be \(A, 4\)"),
    "beside": (lambda: box(0, (20, 20, 21, 21), ANCHORS), ValueError, "must overlap one of the"),
    "no cell": (lambda: box(0, (0.4, 0.4, 0.6, 0.6))(output(1, 3, 2, 2)), ValueError, "holds none"),
    "a name without a classifier": (lambda: logit("cat")(output(1, 3)), ValueError, "got 'cat'"),
    "no such class": (lambda: region(7, MASK)(output(1, 3, 2, 3)), ValueError, r"in 0\.\.2, got 7"),
    "other size": (lambda: region(1, MASK)(output(1, 3, 2, 2)), ValueError, r"size \(2, 2\), got"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_errors_name_the_argument_the_rule_and_what_came(name):
    call, error, message = BAD[name]
    with pytest.raises(error, match=message):
        call()


def test_a_case_asks_for_what_the_network_has():
    with pytest.raises(ValueError, match="class must be a known name"):
        case(margin(0, "oul"))
    assert case(2).asking(margin(2, 1)).targets[0].classes == (2, 1)


def test_of_an_output_with_no_classes_a_score_must_be_asked_for():
    with pytest.raises(
        ValueError, match=r"target must be given: Net gives \('N', 3, 2, 2\), .*score"
    ):
        network().predicted(output(1, 3, 2, 2))
    with pytest.raises(ValueError, match=r"a score where the output is \('N', 3, 2, 2\)"):
        targets.asked(1, 2, (1, 3, 2, 2), int)
    assert targets.asked(logit(1), 2, (1, 3, 2, 2), int).name == "logit(1)"


# Several inputs, of which one is the picture.


class Two(nn.Module):
    """A picture and three measurements; and whether they are doubled."""

    def __init__(self) -> None:
        super().__init__()
        self.net, self.extra = Net(), nn.Linear(3, len(CLASSES))

    def forward(self, x: Tensor, measured: Tensor, twice: bool = False) -> Tensor:
        return self.net(x) + self.extra(measured) * (2 if twice else 1)


class Behind(Two):
    """The picture comes second."""

    def forward(self, measured: Tensor, x: Tensor) -> Tensor:
        return super().forward(x, measured)


MEASURED = torch.tensor([[0.5, -1.0, 2.0]])


@pytest.mark.parametrize(
    ("kind", "inputs", "twice"),
    [
        (Two, (MEASURED,), 1),
        (Two, (MEASURED, True), 2),
        (Two, {"measured": MEASURED}, 1),
        (Two, {"twice": True, "measured": MEASURED}, 2),
        (Behind, {"measured": MEASURED}, 1),
    ],
)
def test_all_inputs_but_the_picture_are_fixed(kind, inputs, twice):
    torch.manual_seed(0)
    module = kind().eval()
    before = {name: p.clone() for name, p in module.state_dict().items()}
    classifier, x = wrap(module, CLASSES, size=SIZE, inputs=inputs), pictures(3)
    expected = module.net(x) + twice * module.extra(MEASURED)
    torch.testing.assert_close(classifier.predict(x), expected)
    assert classifier.name == kind.__name__
    found = explain(classifier, x)
    start = found.conservation.start
    assert (found.conservation.residual.abs() < 1e-5 * start.abs().clamp(min=1)).all()
    assert module.state_dict().keys() == before.keys()
    assert not module.training


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (MEASURED, "a tuple of all inputs but the picture, or a dict"),
        ((), "takes beside the picture: missing a required argument: 'measured'"),
        ((MEASURED, True, 3), "too many positional arguments"),
        ({"meant": MEASURED}, "unexpected keyword|missing a required argument"),
        ((MEASURED.double(),), "of the network's type torch.float32, got torch.float64"),
    ],
)
def test_inputs_that_the_network_does_not_take_are_refused(inputs, message):
    with pytest.raises(TypeError, match=message):
        wrap(Two().eval(), inputs=inputs)


def test_fixed_inputs_are_numbers_and_stay_as_they_were_given():
    with pytest.raises(ValueError, match="inputs must be numbers, got NaN"):
        wrap(Two().eval(), size=SIZE, inputs=(MEASURED * torch.nan,))
    given, x = MEASURED.clone(), pictures()
    classifier = wrap(Two().eval(), size=SIZE, inputs=(given,))
    before = classifier.predict(x)
    given.zero_()
    assert torch.equal(classifier.predict(x), before)


def test_the_likeness_of_a_picture_to_itself_is_noted_as_rounding():
    x = pictures(2)
    itself = similarity(network().predict(x)[0])
    (note,) = [n for n in explain(network(), x, itself).notes if "rounding" in n]
    assert note.startswith("image 0: the score hardly depends on the output")


@pytest.mark.parametrize("last", ["linear", "convolution"])
@pytest.mark.parametrize("start", ["logit", "one"])
def test_the_note_on_red_and_blue_goes_by_the_outputs(last, start):
    """A margin of two outputs below 0 may be above it, and turns the map over all the same."""
    torch.manual_seed(0)
    mean, flat = nn.AdaptiveAvgPool2d(1), nn.Flatten()
    second = nn.Linear(4, 2) if last == "linear" else nn.Conv2d(4, 2, 1)
    nn.init.constant_(second.bias, -5)
    end = (mean, flat, second) if last == "linear" else (second, mean, flat)
    classifier = wrap(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), *end).eval(), size=SIZE)
    x = pictures(1)
    f = classifier.predict(x)[0]
    asked = margin(int(f.argmax()), int(f.argmin()))
    assert f.max() < 0
    right, found = (
        relevance(classifier, x, asked, "epsilon_plus", start=kind).map.flatten()
        for kind in ("logit" if last == "linear" else "one", start)
    )
    notes = explain(classifier, x, asked, composite="epsilon_plus", start=start).notes
    said = any("red and blue change places" in note for note in notes)
    turned = bool(torch.corrcoef(torch.stack([right, found]))[0, 1] < 0)
    assert said == turned == ((start == "one") == (last == "linear"))


def test_a_network_in_train_mode_is_refused_with_fixed_inputs_too():
    with pytest.raises(ValueError, match="eval"):
        wrap(Two(), inputs=(MEASURED,))
