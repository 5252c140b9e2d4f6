"""What a network's outputs are: classes, labels of their own, or values; scores and words of each.

A single logit less the mean of all logits is 0, and its softmax is 1, whatever the map.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from functools import cache
from types import SimpleNamespace

import numpy as np
import PIL.Image
import pytest
import reference_faithfulness as literal
import torch
from torch import Tensor, nn

from xaiutils.apps.explorer import Subject, explore, output
from xaiutils.apps.userstudy import build
from xaiutils.cases.case import Case, load_cases
from xaiutils.cases.workloads import Workload
from xaiutils.evidence import fingerprint
from xaiutils.evidence.agreement import agreement_rows
from xaiutils.hybrid import explain
from xaiutils.methods import METHODS, CannotExplain
from xaiutils.methods.related import fg_cam, sglrp
from xaiutils.metrics import METRICS, flipping as flip
from xaiutils.metrics.record import picture_seed
from xaiutils.metrics.scoring import contender, score
from xaiutils.network.classifier import Classifier, wrap
from xaiutils.pictures.images import Sample
from xaiutils.support.cache import remember

HEIGHT, WIDTH = 8, 9
SCORES = {"softmax": literal.centred, "sigmoid": literal.itself, "value": literal.itself}
CHANCES = {"softmax": literal.probability, "sigmoid": literal.sigmoid, "value": literal.itself}
KINDS = {  # outputs as they are given, and how many
    "one": (None, 1),
    "one label": ("sigmoid", 1),
    "labels": ("sigmoid", 4),
    "values": ("value", 4),
    "classes": (None, 4),
}
of_all = pytest.mark.parametrize("kind", KINDS)


class Net(nn.Module):
    """Convolution, ReLU, linear; then whatever ends it."""

    def __init__(self, count: int, end: nn.Module | None = None) -> None:
        super().__init__()
        self.first, self.relu = nn.Conv2d(3, 3, 3, padding=1), nn.ReLU()
        self.last, self.end = nn.Linear(3 * HEIGHT * WIDTH, count), end or nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.end(self.last(self.relu(self.first(x)).flatten(1)))


@cache
def network(count: int, end: type[nn.Module] | None = None, dtype: torch.dtype = torch.float64):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        made = None if end is None else end(1) if end is nn.Softmax else end()
        return Net(count, made).to(dtype).eval()


def case_of(kind: str) -> Case:
    outputs, count = KINDS[kind]
    x = torch.randn(1, 3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(1)).double()
    sizes = {"mean": (0.4, 0.5, 0.6), "std": (0.2, 0.25, 0.5), "size": (HEIGHT, WIDTH)}
    return Case("small", wrap(network(count), outputs=outputs, **sizes), x, count // 2)


def picture_of_noise() -> PIL.Image.Image:
    pixels = np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)
    return PIL.Image.fromarray(pixels)


def never(classifier: Classifier, x: Tensor, target: Tensor) -> Tensor:
    raise AssertionError("these metrics ask no explainer")


def three_maps(case: Case) -> dict[str, Tensor]:
    """A random map, gradient times input, and how far each pixel's removal lowers the answer."""
    x = case.x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(case.classifier.module(x)[0, case.target], x)
    alone = case.x.repeat(HEIGHT * WIDTH, 1, 1, 1)
    places = torch.arange(HEIGHT * WIDTH)
    alone[places, :, places // WIDTH, places % WIDTH] = 0
    with torch.no_grad():
        before, after = (case.classifier.module(p)[:, case.target] for p in (case.x, alone))
    random = torch.rand(HEIGHT, WIDTH, generator=torch.Generator().manual_seed(0))
    return {
        "random": random,
        "gradient": (gradient * case.x).sum(1)[0],
        "oracle": (before - after).view(HEIGHT, WIDTH),
    }


def answer_of(case: Case) -> literal.Answer:
    def answer(picture: np.ndarray) -> list[float]:
        with torch.no_grad():
            return case.classifier.module(torch.from_numpy(picture)[None])[0].tolist()

    return answer


def literal_scores(case: Case, attribution: Tensor) -> dict[str, float]:
    """Every flipping score, ROAD and the regions' as their equations read."""
    outputs, target = case.classifier.outputs, case.target
    x, values = case.x[0].numpy(), attribution.double().flatten().tolist()
    order = literal.ordered(values, picture_seed(case, flip.STREAM, 0))
    blur, zero = literal.blurred(x, HEIGHT / 20), 0 * x

    def area(ends: tuple[np.ndarray, np.ndarray], turn: list[int], scores: dict) -> float:
        return literal.flipping_area(
            answer_of(case), *ends, turn, 6, lambda logits: scores[outputs](logits, target)
        )

    found = {
        "morf": area((x, zero), order, SCORES),
        "lerf": area((x, zero), order[::-1], SCORES),
        "deletion": area((x, zero), order, CHANCES),
        "insertion": area((blur, x), order, CHANCES),
    }
    turn = literal.ordered(values, picture_seed(case, "road", 0))
    found["road"] = literal.road(answer_of(case), x, turn, 3, target, SCORES[outputs])
    patches = literal.patch_pixels(HEIGHT, WIDTH, 3)
    pairs = literal.region_pairs(answer_of(case), x, values, patches, target, SCORES[outputs])
    found["idsds"] = literal.pearson(*map(literal.ranks, pairs))
    return found | {"srg": found["lerf"] - found["morf"]}


@of_all
def test_scores_equal_their_literal_twins_and_tell_maps_apart(kind):
    case = case_of(kind)
    flipping = "srg", "morf", "lerf", "deletion", "insertion"
    settings: dict[str, dict[str, int]] = {name: {"steps": 6} for name in flipping}
    settings |= {"road": {"percentiles": 3, "noise": 0}, "idsds": {"grid": 3}}
    found: dict[str, list[float]] = {}
    for attribution in three_maps(case).values():
        for name, expected in literal_scores(case, attribution).items():
            one = METRICS[name](case, never, attribution=attribution, **settings[name])
            assert one.value == pytest.approx(expected, abs=1e-9), (name, one.why)
            found.setdefault(name, []).append(one.value)
    for name, values in found.items():
        assert len({round(value, 9) for value in values}) == 3, (name, values)
    random, _, oracle = found["srg"]
    assert oracle > random + 0.05


def test_one_output_by_hand():
    """The output is the sum of four pixels, 4 2 1 1; a value, so that no softmax is in it."""
    module = nn.Sequential(nn.Conv2d(1, 1, 1, bias=False), nn.Flatten(), nn.Linear(4, 1))
    for parameter in module.parameters():
        nn.init.ones_(parameter)
    nn.init.zeros_(module[2].bias)
    x = torch.tensor([[[[4.0, 2.0], [1.0, 1.0]]]])
    ranked = torch.tensor([[4.0, 3.0], [2.0, 1.0]])
    case = Case("hand", wrap(module.eval(), size=2, cam_layer="0"), x, 0)
    for name, value in {"morf": 2.75, "lerf": 5.25, "srg": 2.5, "deletion": 2.75}.items():
        assert METRICS[name](case, never, attribution=ranked, steps=4).value == value
    label = Case("hand", replace(case.classifier, outputs="sigmoid"), x, 0)
    p = [1 / (1 + np.exp(-s)) for s in (8, 2, 0)]
    found = METRICS["deletion"](label, never, attribution=ranked, steps=2).value
    assert found == pytest.approx((p[0] / 2 + p[1] + p[2] / 2) / 2)
    assert METRICS["morf"](label, never, attribution=ranked, steps=4).value == 2.75


def test_classes_are_scored_as_ever():
    """The logit less the mean, and the softmax, to the last bit."""
    case = case_of("classes")
    pictures = torch.cat([case.x, case.x.flip(3)])
    logits = case.classifier.predict(pictures)
    assert case.classifier.outputs == "softmax"
    centred = (logits - logits.mean(1, keepdim=True))[:, 2].numpy()
    assert np.array_equal(flip.outputs(case, pictures), centred)
    assert np.array_equal(flip.outputs(case, pictures, "softmax"), logits.softmax(1)[:, 2].numpy())


@pytest.mark.parametrize("end", [nn.Softmax, nn.Sigmoid])
def test_no_second_softmax_follows_the_network_s_own(end):
    """And what the outputs are is known by how the network ends."""
    count = 4
    plain, ended = (wrap(network(count, one), size=(HEIGHT, WIDTH)) for one in (None, end))
    named = "softmax" if end is nn.Softmax else "sigmoid"
    assert (plain.outputs, ended.outputs) == ("softmax", named)
    x = case_of("classes").x
    expected = replace(plain, outputs=named).top(x, count)
    for row, other in zip(ended.top(x, count)[0], expected[0], strict=True):
        assert row == (other[0], pytest.approx(other[1]))
    assert wrap(network(1, nn.Sigmoid), size=(HEIGHT, WIDTH)).outputs == "sigmoid"
    other = "sigmoid" if named == "softmax" else "softmax"
    with pytest.raises(ValueError, match=f"outputs must be {named} or value, since the network en"):
        wrap(network(count, end), size=(HEIGHT, WIDTH), outputs=other)


def test_outputs_that_are_none_are_refused():
    with pytest.raises(ValueError, match="must be sigmoid or value for a network with one out"):
        wrap(network(1), size=(HEIGHT, WIDTH), outputs="softmax")
    with pytest.raises(ValueError, match="outputs must be a known name, got 'sigmod'; did you mea"):
        wrap(network(1), size=(HEIGHT, WIDTH), outputs="sigmod")
    with pytest.raises(ValueError, match="outputs must be a known name, got ''"):
        wrap(network(1), size=(HEIGHT, WIDTH), outputs="")
    with pytest.raises(TypeError, match="outputs must be a name"):
        wrap(network(1), size=(HEIGHT, WIDTH), outputs=True)


def test_words_follow_the_outputs():
    x = case_of("one").x
    raw = float(network(1)(x)[0, 0].detach())
    made = {kind: case_of(kind).classifier for kind in KINDS}
    assert made["one"].outputs == "value"
    assert made["one"].top(x) == [[("output 0", pytest.approx(raw))]]
    assert made["one label"].top(x) == [[("class 0", pytest.approx(1 / (1 + np.exp(-raw))))]]
    several = network(4)(x)[0].detach()
    order = several.argsort(descending=True).tolist()
    assert made["labels"].top(x, 4)[0] == [
        (f"class {i}", pytest.approx(float(several[i].sigmoid()))) for i in order
    ]
    assert made["values"].top(x, 2)[0] == [
        (f"output {i}", pytest.approx(float(several[i])))
        for i in (0, 1)  # in their own order
    ]
    said = {kind: one.said(one.predict(x)[0], 0) for kind, one in made.items()}
    assert said["one"] == f"{raw:.4g}"
    assert said["values"] == f"{float(several[0]):.4g}"
    assert said["labels"] == f"{float(several[0].sigmoid()):.1%}"
    assert said["classes"] == f"{float(several.softmax(0)[0]):.1%}"
    age = wrap(network(1), ["age"], size=(HEIGHT, WIDTH))
    assert age.said(torch.tensor([41.25]), 0) == "41.25"
    label = replace(age, outputs="sigmoid")
    assert label.said(torch.tensor([0.0]), 0) == "50.0%"


def test_of_several_values_none_is_predicted():
    case = case_of("values")
    for call in (
        lambda: explain(case.classifier, case.x),
        lambda: METHODS["saliency"](case.classifier, case.x),
        lambda: METHODS["relevance_cam"](case.classifier, case.x),
    ):
        with pytest.raises(ValueError, match=r"target .* must be given: Net has 4 values"):
            call()
    assert explain(case.classifier, case.x, 3).target.tolist() == [3]
    assert explain(case_of("one").classifier, case.x).target.tolist() == [0]
    assert explain(case_of("labels").classifier, case.x).target.tolist() == [
        int(network(4)(case.x).argmax())
    ]


def test_a_memo_keeps_networks_with_other_outputs_apart():
    classes, values = (case_of(kind) for kind in ("classes", "values"))
    ask = contender("sglrp")
    with remember():
        explain(classes.classifier, classes.x)
        ask.explainer(classes, 0)(classes.classifier, classes.x, classes.targets)
        with pytest.raises(ValueError, match="must be given"):
            explain(values.classifier, classes.x)
        with pytest.raises(CannotExplain, match="outputs are value"):
            ask.explainer(values, 0)(values.classifier, values.x, values.targets)


@pytest.mark.parametrize("kind", ["one", "one label"])
def test_what_needs_another_class_says_so(kind):
    case = case_of(kind)
    attribution = three_maps(case)["gradient"]
    reasons = {"random_logit": "no other class", "class_discrimination": "none to compare with"}
    for name, why in reasons.items():
        found = METRICS[name](case, METHODS["saliency"], attribution=attribution)
        assert np.isnan(found.value)
        assert why in found.why
    for name in ("clrp1", "clrp2", "sglrp"):
        with pytest.raises(CannotExplain, match="it has one output, and no other to contrast"):
            METHODS[name](case.classifier, case.x, 0)


@pytest.mark.parametrize("kind", ["labels", "values"])
def test_sglrp_is_of_a_softmax_alone(kind):
    case = case_of(kind)
    with pytest.raises(CannotExplain, match=f"its outputs are {case.classifier.outputs}"):
        METHODS["sglrp"](case.classifier, case.x, 0)
    with pytest.raises(ValueError, match="classifier must have classes that exclude each other"):
        sglrp(case.classifier, case.x, 0)
    assert METHODS["clrp1"](case.classifier, case.x, 0).any()


def test_the_weights_of_fg_cam_are_no_softmax_of_one_output():
    """With the softmax of one logit every channel would weigh 1."""
    x, module = case_of("one").x, copy.deepcopy(network(1))
    module.last.bias.data.fill_(3)
    classifier = wrap(module, size=(HEIGHT, WIDTH))
    found = fg_cam(classifier, x, base="score_cam", to="relu", layer="relu")
    with torch.no_grad():
        a = module.relu(module.first(x))[0]
        scaled = [(m - m.min()) / (m.max() - m.min()) for m in a]
        weights = [float(module(x * one)[0, 0]) for one in scaled]
    assert min(weights) > 0
    raw = sum(w * m for w, m in zip(weights, a, strict=True))
    expected = (raw - raw.min()) / (raw.max() - raw.min())
    torch.testing.assert_close(found[0].double(), expected, rtol=0, atol=1e-5)


def test_no_class_is_right_where_none_is_predicted():
    picture = picture_of_noise()
    made = wrap(network(1, dtype=torch.float32), size=(HEIGHT, WIDTH))
    work = Workload("mine", made, [Sample("a", picture, 0)])
    with pytest.raises(ValueError, match="right_only must be False for Net, which predicts no"):
        load_cases(work, [0], right_only=True)
    rows = agreement_rows(load_cases(work, [0])).set_index("metric")
    for metric in ("right", "confidence"):
        assert np.isnan(rows["value"][metric])
        assert rows["why"][metric] == "the network predicts no class"


def test_the_fingerprint_of_classes_is_that_of_stored_tables():
    about = fingerprint.network(case_of("classes").classifier)
    assert about.keys() == {"operations", "cam_layer", "transform"}
    assert fingerprint.network(case_of("one").classifier)["outputs"] == "value"
    assert fingerprint.network(case_of("labels").classifier)["outputs"] == "sigmoid"


@pytest.mark.parametrize("kind", ["one", "labels", "values"])
def test_the_explorer_says_values_and_labels(kind, monkeypatch):
    outputs, count = KINDS[kind]
    made = wrap(network(count, dtype=torch.float32), outputs=outputs, size=(HEIGHT, WIDTH))
    picture = picture_of_noise()
    subject = Subject(made, Sample("a", picture))
    x = made.preprocess(picture)
    logits = made.predict(x)[0]
    first = int(logits.argmax()) if kind == "labels" else 0
    said = f"{float(logits[first].sigmoid()):.1%}" if kind == "labels" else f"{logits[first]:.4g}"
    name = f"{'class' if kind == 'labels' else 'output'} {first}"
    assert subject.say(subject.first) == f"{name} {said}"
    explorer = explore(Sample("a", picture), made)
    assert f"network says {name} {said}" in explorer.tiles["picture"].caption
    assert (explorer.controls.target.options[0]) == (f"{name} {said}", first)
    seen: list[str] = []
    monkeypatch.setattr(output, "curves_html", lambda found, label: seen.append(label))
    explorer._draw_curves()
    assert seen == [f"probability of {name}" if kind == "labels" else name]


def test_labels_that_all_round_to_one_keep_the_order_of_their_logits():
    module = copy.deepcopy(network(4, dtype=torch.float32))
    module.last.bias.data += 60
    made = wrap(module, outputs="sigmoid", size=(HEIGHT, WIDTH))
    x = made.preprocess(picture_of_noise())
    order = made.predict(x)[0].argsort(descending=True).tolist()
    assert [name for name, _ in made.top(x, 4)[0]] == [f"class {i}" for i in order]
    subject = Subject(made, Sample("a", picture_of_noise()))
    assert subject.likeliest(4) == order
    assert subject.first == int(explain(made, x).target)


def test_a_score_table_of_one_output_has_numbers():
    case = case_of("one")
    table = score([case], ["saliency", "sglrp"], {"srg": {"steps": 4}, "deletion": {"steps": 4}})
    values = table.set_index(["method", "metric"])["value"]
    assert values["saliency"].notna().all()
    assert values["saliency", "srg"] != 0
    assert values["saliency", "deletion"] != 1
    assert values["sglrp"].isna().all()
    assert table[table["method"] == "sglrp"]["why"].str.contains("one output").all()


def test_a_study_books_no_right_answer_where_no_class_is_predicted(monkeypatch):
    from xaiutils.evidence.study import work as study

    case = case_of("one")
    monkeypatch.setattr(study, "_case", lambda tools, picture: case)
    monkeypatch.setattr(study, "score_case", lambda *asked: None)
    about = SimpleNamespace(seeds=(0,), model="net", scores=dict)
    book = study._Rows(about, lambda doing: None, {})
    picture = SimpleNamespace(image_id="a", wnid=None, label=0)
    study._score_picture(SimpleNamespace(entrants=[]), picture, book)
    (row,), (note,) = book.rows, book.log
    assert np.isnan(row["value"])
    assert row["error_code"] == study.UNDEFINED
    assert note["reason"] == "the network predicts no class"


@pytest.mark.parametrize("kind", ["one", "one label", "values"])
def test_a_user_study_needs_a_network_that_chooses(kind, monkeypatch, tmp_path):
    work = Workload("mine", case_of(kind).classifier, [])
    monkeypatch.setattr(build, "load_workload", lambda *asked: work)
    with pytest.raises(ValueError, match="workload must have a network that chooses among class"):
        build.build_user_study(tmp_path / "study", "mine:work", ("hybrid", "lrp_paper"))


def test_no_question_of_a_user_study_has_one_answer_twice(monkeypatch):
    made = wrap(network(4), ["crane", "owl", "crane", "hen"], size=(HEIGHT, WIDTH))
    monkeypatch.setattr(build, "OPTIONS", 3)
    rows = [torch.tensor(logits) for logits in ([3.0, 2.0, 1.0, 0.0], [3.0, 2.0, 0.0, 1.0])]
    asked = [(Sample("a", picture_of_noise()), torch.zeros(3, 8, 9), row) for row in rows]
    monkeypatch.setattr(build, "_walk", lambda work, seed: iter(asked))
    (one,) = build._say(Workload("mine", made, []), 1, 0)
    assert one.options == ("crane", "owl", "hen")
