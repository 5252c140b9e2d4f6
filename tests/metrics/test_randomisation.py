"""Does a map change with class and weights: similarities, random networks, scores, refusals."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from scipy.stats import spearmanr
from torch import Tensor, nn

from xaiutils.cases.case import Case, load_cases
from xaiutils.cases.workloads import load_workload
from xaiutils.methods import METHODS
from xaiutils.metrics import randomisation
from xaiutils.metrics.randomisation import SIMILARITIES, cosine, spearman, ssim
from xaiutils.metrics.randomised import randomised_networks
from xaiutils.metrics.record import CannotScore, Explainer
from xaiutils.network.classifier import Classifier, load_model, wrap
from xaiutils.support import cache as memo

RECORDS = {record.name: record for record in randomisation.TABLE}
by_name = pytest.mark.parametrize("name", RECORDS)
NETWORKS = ("scenes_vgg_seed0", "scenes_resnet_seed0", "scenes_inception_seed0", "scenes_vit_seed0")


@cache
def scene() -> Case:
    return load_cases(load_workload("scenes", "calibration"), [3])[0]


class Tied(nn.Module):
    """The head is registered first; two convolutions share their weights."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.head = nn.Linear(4, classes)
        self.second = nn.Conv2d(4, 4, 3, padding=1)
        self.third = nn.Conv2d(4, 4, 3, padding=1)
        self.third.weight = self.second.weight
        self.norm = nn.BatchNorm2d(4)
        self.first = nn.Conv2d(1, 4, 3, padding=1)
        self.shift = nn.Parameter(torch.full((1, 4, 1, 1), 0.25))

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.first(x)).relu() + self.shift
        x = self.third(self.second(x).relu()).relu()
        return self.head(x.mean((2, 3)))


@cache
def tiny(classes: int = 3) -> Case:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = Tied(classes).eval()
        x = torch.randn(1, 1, 9, 10)
    return Case("tiny", wrap(module, size=(9, 10), mean=(0,), std=(1,)), x, classes - 1)


def by_weights(classifier: Classifier, x: Tensor, target: Tensor) -> Tensor:
    """A toy explanation that changes with picture, class and every weight."""
    rows = torch.linspace(-1, 1, x.shape[2])[:, None]
    sums = sum(float(p.detach().double().sum()) for p in classifier.module.parameters())
    return torch.stack([((sums + k) * x[0].mean(0) + rows).sin() for k in target.tolist()])


def same_always(classifier: Classifier, x: Tensor, target: Tensor) -> Tensor:
    return x.mean(1)


def fresh_noise(seed: int) -> Explainer:
    generator = torch.Generator().manual_seed(seed)
    return lambda classifier, x, target: torch.randn((len(x), *x.shape[2:]), generator=generator)


def literal_ranks(values: list[float]) -> list[float]:
    """Of each value: how many are lower, and half of those that are equal."""
    return [sum((w < v) + (w == v) / 2 for w in values) for v in values]


def literal_spearman(a: list[float], b: list[float]) -> float:
    first, second = literal_ranks(a), literal_ranks(b)
    n = len(a)
    one = [r - sum(first) / n for r in first]
    two = [r - sum(second) / n for r in second]
    scale = math.sqrt(sum(r * r for r in one) * sum(r * r for r in two))
    return sum(r * s for r, s in zip(one, two, strict=True)) / scale if scale else 0.0


def literal_ssim(a: np.ndarray, b: np.ndarray) -> float:
    """Wang et al. 2004, eq. 13, with equal weights in every whole window of 7 × 7."""
    a, b = (m / math.sqrt(sum(v * v for v in m.ravel()) / m.size) for m in (a, b))
    span = max(a.max(), b.max()) - min(a.min(), b.min())
    c1, c2 = (0.01 * span) ** 2, (0.03 * span) ** 2
    found = []
    for y in range(a.shape[0] - 6):
        for x in range(a.shape[1] - 6):
            p, q = a[y : y + 7, x : x + 7].ravel(), b[y : y + 7, x : x + 7].ravel()
            mp, mq = sum(p) / 49, sum(q) / 49
            vp, vq = sum((p - mp) ** 2) / 48, sum((q - mq) ** 2) / 48
            both = sum((p - mp) * (q - mq)) / 48
            above = (2 * mp * mq + c1) * (2 * both + c2)
            found.append(above / ((mp**2 + mq**2 + c1) * (vp + vq + c2)))
    return sum(found) / len(found)


LITERAL: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "spearman": lambda a, b: literal_spearman(a.ravel().tolist(), b.ravel().tolist()),
    "ssim": literal_ssim,
    "cosine": lambda a, b: (
        sum((a * b).ravel()) / math.sqrt(sum((a * a).ravel()) * sum((b * b).ravel()))
    ),
}


@pytest.mark.parametrize("name", SIMILARITIES)
@pytest.mark.parametrize("seed", range(3))
def test_similarities_equal_their_literal_twins(name, seed):
    generator = np.random.default_rng(seed)
    a, b = generator.normal(size=(2, 9, 10))
    b = (a + b).round(0 if seed else 8)  # with ties, as the hybrid has them
    assert SIMILARITIES[name](a, b) == pytest.approx(LITERAL[name](a, b), abs=1e-9)
    assert SIMILARITIES[name](a, a) == pytest.approx(1)
    assert SIMILARITIES[name](3.7 * a, b) == pytest.approx(SIMILARITIES[name](a, b), abs=1e-9)
    assert SIMILARITIES[name](a, b) == pytest.approx(SIMILARITIES[name](b, a))


def test_similarities_by_hand():
    # ranks 1, 2, 3, 4 and 1.5, 1.5, 4, 3: centred -1.5, -0.5, 0.5, 1.5 and -1, -1, 1.5, 0.5
    # product 1.5 + 0.5 + 0.75 + 0.75 = 3.5; squares 5 and 4.5
    a, b = np.array([[1.0, 2.0], [3.0, 9.0]]), np.array([[0.0, 0.0], [8.0, 7.0]])
    assert spearman(a, b) == pytest.approx(3.5 / math.sqrt(5 * 4.5))
    assert spearman(a, b) == pytest.approx(spearmanr(a.ravel(), b.ravel()).statistic)
    assert cosine(np.array([[3.0, 4.0]]), np.array([[4.0, 3.0]])) == pytest.approx(24 / 25)
    assert spearman(a, np.ones((2, 2))) == cosine(a, np.zeros((2, 2))) == 0
    assert abs(ssim(np.eye(9), np.zeros((9, 9)))) < 0.5
    with pytest.raises(CannotScore, match=r"SSIM needs 7 x 7 pixels, the map has \(6, 9\)"):
        ssim(np.ones((6, 9)), np.ones((6, 9)))


@given(st.lists(st.integers(-4, 4), min_size=12, max_size=12).filter(lambda v: len(set(v)) > 1))
@settings(max_examples=40, deadline=None)
def test_rank_correlation_sees_order_alone(values):
    a = np.array(values, dtype=float).reshape(3, 4)
    b = np.random.default_rng(0).normal(size=(3, 4))
    assert spearman(a, np.exp(a)) == pytest.approx(1)
    assert spearman(a, -a) == pytest.approx(-1)
    assert spearman(np.exp(a), b) == pytest.approx(spearman(a, b), abs=1e-12)
    assert -1 - 1e-12 <= spearman(a, b) == pytest.approx(-spearman(a, -b), abs=1e-12)


def named(classifier: Classifier) -> dict[str, Tensor]:
    return dict(classifier.module.named_parameters(remove_duplicate=False))


def test_the_cascade_runs_from_the_logits_down_in_the_order_of_computation():
    case = tiny()
    before = {key: value.clone() for key, value in named(case.classifier).items()}
    networks = randomised_networks(case.classifier, stages=99)
    # `shift` is the module's own, used after the first convolution and its norm; the tied weight
    # is first used in the second convolution, so the third has its bias alone.
    order = [
        {"head.weight", "head.bias"},
        {"third.bias"},
        {"second.weight", "third.weight", "second.bias"},
        {"shift"},
        {"first.weight", "first.bias", "norm.weight", "norm.bias"},
    ]
    random_now: set[str] = set()
    assert len(networks) == len(order)
    last: dict[str, Tensor] = {}
    for network, layer in zip(networks, order, strict=True):
        random_now |= layer
        now, own = named(network), named(case.classifier)
        assert {key for key in now if now[key] is not own[key]} == random_now
        assert now["second.weight"] is now["third.weight"]
        assert all(now[key] is value for key, value in last.items() if key in random_now - layer)
        assert network.classes == case.classifier.classes
        assert network.cam_layer == case.classifier.cam_layer
        last = now
    assert networks[1].name == "Tied, 2 of 5 layers random"
    after = named(case.classifier)
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert not any(parameter.grad is not None for parameter in after.values())


def test_what_is_drawn_and_from_which_seed():
    case = tiny()
    (one,) = randomised_networks(case.classifier, 1)
    (again,) = randomised_networks(case.classifier, 1)
    (other,) = randomised_networks(case.classifier, 1, network_seed=1)
    full = randomised_networks(case.classifier, 4)[-1]
    for key, value in named(one).items():
        assert torch.equal(value, named(again)[key])
        assert torch.equal(value, named(full)[key])  # the number of stages draws nothing
    assert not torch.equal(named(one)["head.weight"], named(other)["head.weight"])
    assert torch.equal(named(one)["shift"], named(case.classifier)["shift"])  # no spread: its mean
    assert torch.equal(one.module.norm.running_var, case.classifier.module.norm.running_var)
    vgg = load_model("scenes_vgg_seed0")
    (drawn,) = randomised_networks(vgg, 1)
    for key, value in vgg.module.state_dict().items():
        new, n = drawn.module.state_dict()[key], value.numel()
        centre = float(value.mean()) if value.ndim == 1 else 0.0
        spread = float(value.std(correction=0))
        assert abs(float(new.mean()) - centre) < 4 * spread / n**0.5
        assert float(new.std()) == pytest.approx(spread, rel=5 / n**0.5)
        assert abs(float(torch.corrcoef(torch.stack([new.flatten(), value.flatten()]))[0, 1])) < (
            5 / n**0.5
        )


@pytest.mark.parametrize("name", [*NETWORKS, "squeezenet1_1"])
def test_every_parameter_of_a_network_is_drawn_and_it_can_be_explained(name):
    classifier = load_model(name) if name in NETWORKS else load_model(name, "random")
    x = scene().x
    before = {key: value.clone() for key, value in classifier.module.state_dict().items()}
    states = torch.get_rng_state(), random.getstate(), str(np.random.get_state())  # noqa: NPY002
    networks = randomised_networks(classifier, 3)
    assert len(networks) == 3
    own = named(classifier)
    assert all(value is not own[key] for key, value in named(networks[-1]).items())
    assert any(value is own[key] for key, value in named(networks[0]).items())
    for network in networks:
        logits = network.predict(x)
        assert logits.isfinite().all()
        assert float(logits.abs().max()) < 1e3
        assert not torch.allclose(logits, classifier.predict(x))
    METHODS["lrp_epsilon" if "vit" not in name else "attention_rollout"](networks[-1], x, 1)
    after = classifier.module.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert torch.equal(states[0], torch.get_rng_state())
    assert states[1:] == (random.getstate(), str(np.random.get_state()))  # noqa: NPY002


def test_networks_are_made_once_inside_remember_and_follow_the_weights_outside():
    case = tiny()
    with memo.remember():
        first = randomised_networks(case.classifier)
        assert randomised_networks(case.classifier) is first
        assert randomised_networks(case.classifier, network_seed=1) is not first
        assert randomised_networks(case.classifier, 2) is not first
    module = Tied(3).eval()
    classifier = wrap(module, size=(9, 10), mean=(0,), std=(1,))
    before = named(randomised_networks(classifier, 1)[0])["head.weight"].clone()
    module.head.weight.data.mul_(2)
    after = named(randomised_networks(classifier, 1)[0])["head.weight"]
    torch.testing.assert_close(after, 2 * before)


def test_class_discrimination_equals_its_loop_over_classes():
    case = tiny(6)
    own = by_weights(case.classifier, case.x, case.targets)[0]
    for similarity, literal in LITERAL.items():
        found = RECORDS["class_discrimination"](case, by_weights, similarity=similarity)
        likeness = [
            literal(
                own.double().numpy(),
                by_weights(case.classifier, case.x, torch.tensor([k]))[0].double().numpy(),
            )
            for k in range(6)
            if k != case.target
        ]
        assert found.value == pytest.approx(sum(likeness) / 5, abs=1e-6)


def test_many_classes_are_drawn_from_the_seed():
    record, case = RECORDS["class_discrimination"], tiny(40)
    asked: list[list[int]] = []

    def explainer(classifier: Classifier, x: Tensor, target: Tensor) -> Tensor:
        asked.append(target.tolist())
        assert len(x) == len(target) <= 32
        return by_weights(classifier, x, target)

    attribution = by_weights(case.classifier, case.x, case.targets)[0]
    for seed in (0, 0, 1):
        record(case, explainer, attribution=attribution, seed=seed)
    assert asked[0] == asked[1] != asked[2]
    assert [len(set(classes) - {case.target}) for classes in asked] == [5, 5, 5]
    asked.clear()
    record(case, explainer, attribution=attribution, others=100)
    assert sorted(k for classes in asked for k in classes) == list(
        range(39)
    )  # all but the explained, the last
    assert record.cost(1, 3) == 15
    assert record.cost(1, 3, others=2) == 6


@by_name
def test_a_map_that_asks_neither_class_nor_network_is_the_worst(name):
    record = RECORDS[name]
    found = record(scene(), same_always)
    assert found.value == pytest.approx(0 if name == "emprt" else 1)
    assert record.across_classes
    assert record.explains
    assert np.isnan(record.chance(scene()))


@pytest.mark.parametrize("name", ["class_discrimination", "mprt_spearman", "mprt_ssim"])
def test_fresh_noise_is_like_nothing(name):
    with memo.remember():
        scores = [RECORDS[name](scene(), fresh_noise(seed)).value for seed in range(20)]
    bias = 0.01 if name == "mprt_ssim" else 0  # the constants in SSIM's numerator are positive
    assert abs(np.mean(scores)) < 3 * np.std(scores, ddof=1) / 20**0.5 + bias
    assert np.std(scores) < 0.05


@pytest.mark.parametrize("name", ["spearman", "ssim"])
def test_mprt_is_the_mean_over_the_random_networks(name):
    case = tiny()
    own = by_weights(case.classifier, case.x, case.targets)[0]
    expected = [
        LITERAL[name](
            own.double().numpy(), by_weights(network, case.x, case.targets)[0].double().numpy()
        )
        for network in randomised_networks(case.classifier, 4, 2)
    ]
    found = RECORDS[f"mprt_{name}"](case, by_weights, stages=4, network_seed=2)
    assert found.value == pytest.approx(sum(expected) / 4, abs=1e-6)
    other = RECORDS[f"mprt_{name}"](case, by_weights, stages=4, network_seed=3)
    assert other.value != found.value
    seeded = RECORDS[f"mprt_{name}"](case, by_weights, seed=9, stages=4, network_seed=2)
    assert seeded.value == found.value


def test_emprt_equals_its_definition():
    case = tiny()
    own = by_weights(case.classifier, case.x, case.targets)[0]
    network = randomised_networks(case.classifier, 4, 0)[-1]
    other = by_weights(network, case.x, case.targets)[0]

    def entropy(attribution: Tensor, bins: int) -> float:
        values = attribution.double().flatten().tolist()
        low, high = min(values), max(values)
        counts = [0] * bins
        for value in values:
            counts[min(int((value - low) / (high - low) * bins), bins - 1)] += 1
        return -sum(c / len(values) * math.log(c / len(values)) for c in counts if c)

    expected = (entropy(other, 20) - entropy(own, 20)) / entropy(own, 20)
    assert RECORDS["emprt"](case, by_weights, bins=20).value == pytest.approx(expected, abs=1e-6)
    flat = torch.arange(90.0).view(9, 10)  # a flat histogram for the random network

    def explainer(classifier: Classifier, x: Tensor, target: Tensor) -> Tensor:
        return (flat if "random" in classifier.name else (flat == 4).float())[None]

    # one pixel of 90 alone: H = -(1/90) ln(1/90) - (89/90) ln(89/90); then ln 90 in 90 bins
    before = math.log(90) / 90 - 89 / 90 * math.log(89 / 90)
    found = RECORDS["emprt"](case, explainer, bins=90).value
    assert found == pytest.approx(math.log(90) / before - 1, rel=1e-6)


def test_real_methods_leave_everything_as_it_was():
    case = scene()
    before = {key: value.clone() for key, value in case.classifier.module.state_dict().items()}
    states = torch.get_rng_state(), random.getstate(), str(np.random.get_state())  # noqa: NPY002

    def explainer(classifier: Classifier, x: Tensor, target: Tensor) -> Tensor:
        return METHODS["lrp_epsilon_plus"](classifier, x, target)

    with memo.remember():
        scores = {name: record(case, explainer).value for name, record in RECORDS.items()}
    assert all(np.isfinite(value) for value in scores.values())
    assert scores["class_discrimination"] < 0.9
    assert scores["mprt_spearman"] < 0.9
    after = case.classifier.module.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert all(p.grad is None for p in case.classifier.module.parameters())
    assert torch.equal(states[0], torch.get_rng_state())
    assert states[1:] == (random.getstate(), str(np.random.get_state()))  # noqa: NPY002


def test_a_vanished_map_is_like_nothing_and_a_broken_one_has_no_score():
    case = tiny()
    attribution = by_weights(case.classifier, case.x, case.targets)[0]

    def zeros(classifier: Classifier, x: Tensor, target: Tensor) -> Tensor:
        return torch.zeros(len(x), *x.shape[2:])

    def broken(classifier: Classifier, x: Tensor, target: Tensor) -> Tensor:
        return zeros(classifier, x, target) * torch.nan

    for name, record in RECORDS.items():
        found = record(case, zeros, attribution=attribution)
        if name == "emprt":
            assert found.why == "the map of the random network is the same everywhere"
        elif name == "mprt_ssim":
            assert abs(found.value) < 0.05
        else:
            assert found.value == 0
        assert record(case, broken, attribution=attribution).why.endswith(
            "has NaN or infinite values"
        )


def test_wrong_settings_are_refused():
    case = tiny()
    discrimination = RECORDS["class_discrimination"]
    with pytest.raises(ValueError, match="similarity must be a known name, got 'sim'"):
        discrimination(case, by_weights, similarity="sim")
    with pytest.raises(ValueError, match="others must be >= 1, got 0"):
        discrimination(case, by_weights, others=0)
    with pytest.raises(ValueError, match="stages must be >= 1, got 0"):
        RECORDS["mprt_ssim"](case, by_weights, stages=0)
    with pytest.raises(ValueError, match=r"network_seed must be a whole number, got 0\.5"):
        RECORDS["mprt_spearman"](case, by_weights, network_seed=0.5)
    with pytest.raises(ValueError, match=r"network_seed must be below 2\*\*32"):
        RECORDS["mprt_spearman"](case, by_weights, network_seed=2**32)
    with pytest.raises(ValueError, match="bins must be >= 2, got 1"):
        RECORDS["emprt"](case, by_weights, bins=1)
