"""The paper's five metrics: literal twins, Quantus itself, anchors, chance, refusals."""

from __future__ import annotations

import gc
import inspect
import math
import random
import weakref
from functools import cache

import numpy as np
import pytest
import quantus
import torch
from torch import Tensor, nn

from xaiutils.cases.case import Case, load_cases
from xaiutils.cases.workloads import load_workload
from xaiutils.methods import METHODS
from xaiutils.metrics import paper_quantus
from xaiutils.metrics.paper import TABLE
from xaiutils.metrics.paper_quantus import CLASSES, plain
from xaiutils.metrics.record import picture_seed
from xaiutils.network.classifier import wrap
from xaiutils.support import cache as memo

METRICS = {metric.name: metric for metric in TABLE}
QUICK = {
    "avg_sensitivity": {"samples": 2},
    "faithfulness_correlation": {"runs": 6},
    "relevance_rank_accuracy": {},
    "sparseness": {},
    "random_logit": {},
}
SMALL = QUICK | {"faithfulness_correlation": {"runs": 6, "subset": 30}}  # for 12 x 12 pixels
# What Quantus calls our settings, so that both are asked the same.
THEIRS = {
    "avg_sensitivity": {"nr_samples": 2},
    "faithfulness_correlation": {"nr_runs": 6},
    "relevance_rank_accuracy": {},
    "sparseness": {},
    "random_logit": {"num_classes": 6},
}
by_name = pytest.mark.parametrize("name", METRICS)


@cache
def scenes(count: int = 16) -> list[Case]:
    return load_cases(load_workload("scenes", "calibration"), range(count))


def small(classes: int = 4, seed: int = 0) -> Case:
    torch.manual_seed(seed)
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(16, classes),
    ).eval()
    mask = torch.zeros(12, 12, dtype=torch.bool)
    mask[2:7, 3:9] = True
    return Case("small", wrap(net, size=12), torch.randn(1, 3, 12, 12), classes - 1, mask=mask)


def gradient(classifier, x: Tensor, target: Tensor) -> Tensor:
    """Gradient times input in float64, so that a twin can be compared to the last digit."""
    return METHODS["gradient_x_input"](classifier, x, target).double()


def edges(classifier, x: Tensor, target: Tensor) -> Tensor:
    return METHODS["sobel_edges"](classifier, x, target)


def fresh_noise(classifier, x: Tensor, target: Tensor) -> Tensor:
    return torch.randn(len(x), *x.shape[2:])


def oracle(case: Case):
    return lambda classifier, x, target: case.mask.float().expand(len(x), -1, -1)


# --- literal twins -----------------------------------------------------------------------------


def by_largest(values):
    top = max(abs(v) for v in values)
    return [v / top for v in values]


def flat(found: Tensor) -> list[float]:
    return found.double().flatten().tolist()


def literal_avg_sensitivity(case, explainer, seed, samples=2, radius=0.2):
    chance = np.random.RandomState(seed)
    a = by_largest(flat(explainer(case.classifier, case.x, case.targets)))
    ratios = []
    for _ in range(samples):
        noise = chance.uniform(-radius, radius, case.x.numel()).reshape(case.x.shape)
        noisy = torch.from_numpy((case.x.numpy() + noise).astype(np.float32))
        b = by_largest(flat(explainer(case.classifier, noisy, case.targets)))
        change = sum((p - q) ** 2 for p, q in zip(a, b, strict=True))
        ratios.append(math.sqrt(change / sum(p * p for p in a)))
    return sum(ratios) / samples


def literal_faithfulness_correlation(case, explainer, seed, runs=6, subset=224):
    chance = np.random.RandomState(seed)
    a = by_largest(flat(explainer(case.classifier, case.x, case.targets)))
    before = float(case.classifier.predict(case.x)[0, case.target])
    sums, drops = [], []
    for _ in range(runs):
        chosen = chance.choice(case.x.numel(), subset, replace=False)
        chance.uniform(size=1)  # Quantus draws the baseline that it does not use
        changed = case.x.clone().flatten()
        for i in chosen:
            changed[i] = case.x.min()
        after = case.classifier.predict(changed.view_as(case.x))
        drops.append(before - float(after[0, case.target]))
        sums.append(sum(a[i % len(a)] for i in chosen))
    p, q = np.mean(sums), np.mean(drops)
    both = sum((s - p) * (d - q) for s, d in zip(sums, drops, strict=True))
    return both / math.sqrt(sum((s - p) ** 2 for s in sums) * sum((d - q) ** 2 for d in drops))


def literal_relevance_rank_accuracy(case, explainer, seed):
    a, inside = flat(explainer(case.classifier, case.x, case.targets)), flat(case.mask)
    highest = sorted(range(len(a)), key=lambda i: -a[i])[: int(sum(inside))]
    return sum(inside[i] for i in highest) / len(highest)


def literal_sparseness(case, explainer, seed):
    a = flat(explainer(case.classifier, case.x, case.targets))
    a = sorted(abs(v) + 1e-7 for v in by_largest(a))
    n = len(a)
    return sum((2 * i - n - 1) * v for i, v in enumerate(a, start=1)) / (n * sum(a))


def literal_random_logit(case, explainer, seed):
    others = [c for c in range(len(case.classifier.classes)) if c != case.target]
    other = others[np.random.RandomState(seed).randint(0, len(others))]
    a = by_largest(flat(explainer(case.classifier, case.x, case.targets)))
    b = by_largest(flat(explainer(case.classifier, case.x, torch.tensor([other]))))
    spread = max(a + b) - min(a + b)
    small_mean, small_variance = (0.01 * spread) ** 2, (0.03 * spread) ** 2
    found = []
    for start in range(len(a) - 6):
        p, q = np.array(a[start : start + 7]), np.array(b[start : start + 7])
        both = ((p - p.mean()) * (q - q.mean())).sum() / 6
        alike = (2 * p.mean() * q.mean() + small_mean) * (2 * both + small_variance)
        most = p.mean() ** 2 + q.mean() ** 2 + small_mean
        found.append(alike / (most * (p.var(ddof=1) + q.var(ddof=1) + small_variance)))
    return np.mean(found)


@by_name
@pytest.mark.parametrize("picture", ["small", "scene"])
def test_each_metric_equals_its_literal_twin(name, picture):
    case, used = (small(), SMALL[name]) if picture == "small" else (scenes()[3], QUICK[name])
    score = METRICS[name](case, gradient, seed=5, **used)
    twin = globals()[f"literal_{name}"](
        case, gradient, picture_seed(case, name, 5), **({"subset": 30} if "subset" in used else {})
    )
    assert score.why == ""
    # the logits' drops are float32 differences
    assert score.value == pytest.approx(twin, abs=1e-6)


def test_by_hand():
    """12 x 12 pixels that count down in rows: the 12 highest are the first row, of which 1 is in
    the first column: 1/12. One value among 143 zeros: (2 * 144 - 144 - 1) / 144 = 143/144."""
    case = small()
    column = torch.zeros(12, 12, dtype=torch.bool)
    column[:, 0] = True
    case = Case("hand", case.classifier, case.x, 0, mask=column)
    down = torch.arange(144.0, 0, -1).view(12, 12)
    rank = METRICS["relevance_rank_accuracy"](case, fresh_noise, attribution=down)
    assert rank.value == pytest.approx(1 / 12)
    one = torch.zeros(12, 12)
    one[1, 2] = -3
    sparse = METRICS["sparseness"](case, fresh_noise, attribution=one)
    # what Quantus adds to each value takes 143 * 1e-7 of it
    assert sparse.value == pytest.approx(143 / 144, abs=2e-5)


# --- Quantus itself ----------------------------------------------------------------------------


def direct(name, cases, maps, explainer, seed, batch_size, /, **arguments):
    """As a user of Quantus would write it."""
    classifier = cases[0].classifier

    def explain(model, inputs, targets, **_):
        found = explainer(classifier, torch.from_numpy(inputs), torch.from_numpy(targets))
        return found.numpy()[:, None]

    np.random.seed(seed)  # noqa: NPY002, what Quantus draws on
    metric = getattr(quantus, CLASSES[name])(return_aggregate=False, **arguments)
    return metric(
        model=classifier.module,
        x_batch=torch.cat([case.x for case in cases]).numpy(),
        y_batch=np.array([case.target for case in cases]),
        a_batch=maps.numpy().copy()[:, None],
        s_batch=torch.stack([case.mask for case in cases]).numpy()[:, None],
        explain_func=explain,
        batch_size=batch_size,
    )


def explained(cases, explainer) -> Tensor:
    return torch.cat([explainer(case.classifier, case.x, case.targets) for case in cases])


def global_states():
    numpys = np.random.get_state()  # noqa: NPY002
    return (torch.get_rng_state().tolist(), numpys[1].tobytes(), numpys[2:], random.getstate())


@pytest.fixture
def states():
    """Quantus' own user changes NumPy's global state; put it back."""
    before = np.random.get_state()  # noqa: NPY002
    yield
    np.random.set_state(before)  # noqa: NPY002


@by_name
@pytest.mark.parametrize("batch_size", [6, 4])
def test_plainly_asked_it_is_quantus(name, batch_size, states):
    cases, explainer = scenes()[:6], METHODS["grad_cam"]
    maps = explained(cases, explainer)
    x, target = torch.cat([case.x for case in cases]), torch.tensor([c.target for c in cases])
    masks = torch.stack([case.mask for case in cases])
    given = cases[0].classifier, x, target, maps, masks, explainer
    before = global_states()
    ours = plain(name, *given, seed=3, batch_size=batch_size, **THEIRS[name])
    assert global_states() == before
    theirs = direct(name, cases, maps, explainer, 3, batch_size, **THEIRS[name])
    assert ours.shape == (6,)
    assert ours.dtype == np.float64
    np.testing.assert_allclose(ours, theirs, atol=1e-6, rtol=0)
    if name == "random_logit":  # the classifier's number of classes is known
        np.testing.assert_array_equal(plain(name, *given, seed=3, batch_size=batch_size), ours)


@by_name
@pytest.mark.parametrize("method", ["grad_cam", "hybrid"])
def test_one_picture_alone_is_quantus_with_one_picture(name, method, states):
    """Also says that leaving out the slow check changes no score."""
    for case in scenes()[:4]:
        seed = picture_seed(case, name, 0)
        same = {"seed": seed} if name == "random_logit" else {}
        same |= {"normalise": True} if name == "avg_sensitivity" else {}
        explainer = METHODS[method]
        theirs = direct(
            name, [case], explained([case], explainer), explainer, seed, 1, **THEIRS[name], **same
        )
        ours = METRICS[name](case, explainer, **QUICK[name])
        # Ours asks the network about many subsets at a time, which changes last bits of logits.
        tolerance = 1e-4 if "hybrid" in method or "faith" in name else 1e-6
        assert ours.value == pytest.approx(theirs[0], abs=tolerance)


@by_name
def test_pictures_in_any_order_have_the_same_scores(name):
    metric, explainer = METRICS[name], METHODS["hybrid"]
    forwards = [metric(case, explainer, **QUICK[name]).value for case in scenes()[:3]]
    with memo.remember():
        backwards = [metric(case, explainer, **QUICK[name]).value for case in scenes()[2::-1]]
    assert np.array(forwards).tobytes() == np.array(backwards[::-1]).tobytes()
    if name in ("avg_sensitivity", "faithfulness_correlation"):
        assert metric(scenes()[0], explainer, seed=1, **QUICK[name]).value != forwards[0]


def test_plain_quantus_divides_by_the_largest_of_the_batch_and_a_picture_alone_by_its_own():
    """Maps that ignore the class are the worst that RandomLogit knows, 1. In batches of one the
    given maps are divided by the largest of all, the other class' map by its own."""
    cases = scenes()[:4]
    maps = explained(cases, edges) * torch.tensor([1.0, 2, 3, 4])[:, None, None]

    def loud(classifier, x, target):
        found = edges(classifier, x, target)
        index = [next(i for i, c in enumerate(cases) if torch.equal(c.x[0], one)) for one in x]
        return found * torch.tensor([1.0, 2, 3, 4])[index][:, None, None]

    x, target = torch.cat([case.x for case in cases]), torch.tensor([c.target for c in cases])
    given = "random_logit", cases[0].classifier, x, target, maps, None, loud
    np.testing.assert_allclose(plain(*given, seed=0), 1, atol=1e-6)
    alone = plain(*given, seed=0, batch_size=1)
    assert alone.min() < 0.9
    assert alone.max() == pytest.approx(1)
    for case in cases:
        assert METRICS["random_logit"](case, loud).value == pytest.approx(1)


def test_plain_quantus_draws_the_other_class_by_the_place_in_the_batch():
    cases, asked = scenes(), []

    def remember(classifier, x, target):
        asked.extend(zip((float(one.sum()) for one in x), target.tolist(), strict=True))
        return edges(classifier, x, target)

    def drawn(order):
        asked.clear()
        chosen = [cases[i] for i in order]
        x, target = torch.cat([c.x for c in chosen]), torch.tensor([c.target for c in chosen])
        maps = explained(chosen, edges)
        plain("random_logit", cases[0].classifier, x, target, maps, None, remember, seed=0)
        plainly = dict(asked)
        asked.clear()
        for case in chosen:
            METRICS["random_logit"](case, remember, attribution=explained([case], edges)[0])
        return plainly, dict(asked)

    (plainly, ours), (plainly_back, ours_back) = drawn(range(16)), drawn(range(15, -1, -1))
    assert plainly != plainly_back
    assert ours == ours_back
    assert len(set(ours.values())) > 2
    for case in cases:
        assert ours[float(case.x[0].sum())] != case.target


# --- invariants --------------------------------------------------------------------------------


def test_not_normalised_sensitivity_sees_the_scale_of_each_map():
    case = small()

    def louder(classifier, x, target):
        return gradient(classifier, x, target) * (1 if torch.equal(x, case.x) else 3)

    used = {"samples": 2}
    metric = METRICS["avg_sensitivity"]
    quiet = metric(case, gradient, **used).value
    assert metric(case, louder, **used).value == pytest.approx(quiet, abs=1e-6)
    assert metric(case, louder, normalise=False, **used).value > quiet + 1


def test_plain_quantus_changes_no_map_in_place():
    case = small()
    maps = gradient(case.classifier, case.x, case.targets).abs()
    kept = maps.clone()
    given = case.classifier, case.x, case.targets, maps, None, gradient
    plain("sparseness", *given, seed=0, abs=False, normalise=False)
    assert torch.equal(maps, kept)


def test_quantus_does_not_keep_the_network():
    case = small()
    METRICS["faithfulness_correlation"](case, gradient, runs=3, subset=30)
    network = weakref.ref(case.classifier.module)
    del case
    gc.collect()
    assert network() is None


def test_all_methods_see_the_same_perturbed_pictures():
    case, metric = small(), METRICS["faithfulness_correlation"]
    with memo.remember() as answers:
        metric(case, gradient, **SMALL[metric.name])
        first = answers.misses
        metric(case, gradient, attribution=case.mask.float(), **SMALL[metric.name])
        metric(case, gradient, attribution=-case.mask.float(), **SMALL[metric.name])
    assert answers.misses == first
    seen = []

    def watched(explainer):
        def look(classifier, x, target):
            seen.append(x.clone())
            return explainer(classifier, x, target)

        return look

    for explainer in (gradient, edges):
        METRICS["avg_sensitivity"](
            case, watched(explainer), attribution=case.mask.float(), samples=3
        )
    first, second = seen
    assert len(first) == 3
    assert torch.equal(first, second)
    changes = (first - case.x).flatten(1).abs()
    assert (changes.amax(1) > 0.1).all()
    assert float(changes.max()) <= 0.2 + 1e-6
    assert len(changes.unique(dim=0)) == 3


@pytest.mark.parametrize("together", [1, 4, 16])
@pytest.mark.parametrize("method", ["grad_cam", "lrp_paper", "hybrid", "bounded_noise"])
def test_how_many_copies_are_explained_together_decides_next_to_nothing(
    monkeypatch, method, together
):
    metric, case = METRICS["avg_sensitivity"], scenes()[0]
    before = metric(case, METHODS[method]).value
    monkeypatch.setattr(paper_quantus, "EXPLAINED", together)
    assert metric(case, METHODS[method]).value == pytest.approx(before, abs=1e-4)


def test_copies_of_other_size_are_each_divided_by_their_own_largest():
    case = small()

    def louder(classifier, x, target):
        factors = torch.tensor([1.0, 5.0, 25.0])[: len(x), None, None]
        return gradient(classifier, x, target) * factors

    attribution = gradient(case.classifier, case.x, case.targets)[0]
    metric, given = METRICS["avg_sensitivity"], {"attribution": attribution, "samples": 3}
    quiet = metric(case, gradient, **given).value
    assert metric(case, louder, **given).value == pytest.approx(quiet, abs=1e-6)


@by_name
def test_directions_and_stock_settings_are_quantus_own(name):
    theirs, metric = getattr(quantus, CLASSES[name]), METRICS[name]
    assert theirs.score_direction.value == metric.better
    defaults = inspect.signature(theirs.__init__).parameters
    called = {
        "samples": "nr_samples",
        "radius": "lower_bound",
        "runs": "nr_runs",
        "subset": "subset_size",
        "baseline": "perturb_baseline",
    }
    for key, setting in metric.settings.items():
        assert setting.stock == defaults[called.get(key, key)].default


# --- anchors -----------------------------------------------------------------------------------


def test_sensitivity_of_noise():
    """Independent maps of mean 0 and equal norm: sqrt(2). Uniform ones, E a^2 = 1/3 and
    E (a - a')^2 = 1/6: sqrt(1/2)."""
    metric = METRICS["avg_sensitivity"]
    normal = [metric(c, fresh_noise, normalise=False).value for c in scenes()[:4]]
    assert np.mean(normal) == pytest.approx(math.sqrt(2), abs=0.01)
    uniform = [metric(c, METHODS["random_map"]).value for c in scenes()[:4]]
    assert np.mean(uniform) == pytest.approx(math.sqrt(0.5), abs=0.01)
    assert metric(scenes()[0], oracle(scenes()[0])).value == 0


def test_sparseness_of_noise_and_of_the_oracle():
    metric, case = METRICS["sparseness"], scenes()[0]
    normal = torch.randn(128, 128, generator=torch.Generator().manual_seed(0))
    assert metric(case, fresh_noise, attribution=normal).value == pytest.approx(0.414, abs=0.005)
    uniform = np.mean([metric(c, METHODS["random_map"]).value for c in scenes()])
    assert uniform == pytest.approx(metric.chance(case), abs=0.002)
    share = float(case.mask.double().mean())
    assert metric(case, oracle(case)).value == pytest.approx(1 - share, abs=1e-5)


def test_ranks_of_noise_and_of_the_oracle():
    metric = METRICS["relevance_rank_accuracy"]
    found = np.array([metric(c, METHODS["random_map"]).value - metric.chance(c) for c in scenes()])
    assert abs(found.mean()) < 3 * found.std(ddof=1) / 4
    for case in scenes():
        assert metric(case, oracle(case)).value == 1


def test_correlation_of_noise_and_of_the_oracle():
    metric, cases = METRICS["faithfulness_correlation"], scenes()[:6]
    with memo.remember():
        noise = np.array([metric(case, METHODS["random_map"], runs=40).value for case in cases])
        best = np.array([metric(case, oracle(case), runs=40).value for case in cases])
    error = noise.std(ddof=1) / math.sqrt(6)
    assert abs(noise.mean()) < 3 * error
    assert noise.std(ddof=1) == pytest.approx(1 / math.sqrt(39), rel=0.5)
    above = best - noise
    assert above.mean() - 1.96 * above.std(ddof=1) / math.sqrt(6) > 0


def test_random_logit_of_maps_with_and_without_a_class():
    case, metric = scenes()[0], METRICS["random_logit"]
    assert metric(case, oracle(case)).value == 1
    assert metric(case, METHODS["random_map"]).value == 1
    assert metric(case, fresh_noise).value == pytest.approx(0, abs=0.03)


# --- refusals ----------------------------------------------------------------------------------


def refused(name, case, explainer, **given) -> str:
    score = METRICS[name](case, explainer, **SMALL[name], **given)
    assert math.isnan(score.value)
    return score.why


def test_where_there_is_no_score_it_says_why():
    case = small()
    some = case.mask.float()

    def nothing(classifier, x, target):
        return torch.zeros(len(x), 12, 12)

    for name in ("avg_sensitivity", "random_logit"):
        why = refused(name, case, nothing, attribution=some)
        assert why == "explained again, the map is zero everywhere"
    assert refused("random_logit", small(classes=1), gradient) == "the network has no other class"
    bare = Case("bare", case.classifier, case.x, case.target)
    why = refused("relevance_rank_accuracy", bare, gradient)
    assert why == "needs where the object is"
    last = case.classifier.module[4]
    with torch.no_grad():
        last.weight[case.target] = 0
    assert refused("faithfulness_correlation", case, gradient, attribution=some) == (
        "there is no correlation: the logit or the sums are always the same"
    )


def test_a_map_of_negative_values_has_an_order():
    """Quantus refuses batches of them; the order of the pixels is as good as any."""
    case = small()
    below = gradient(case.classifier, case.x, case.targets)[0]
    below = below - below.max() - 1
    metric = METRICS["relevance_rank_accuracy"]
    shifted = metric(case, gradient, attribution=below + 100)
    assert metric(case, gradient, attribution=below) == shifted


@pytest.mark.parametrize(
    ("name", "setting", "error", "message"),
    [
        ("avg_sensitivity", {"samples": 0}, ValueError, "samples must be >= 1, got 0"),
        ("avg_sensitivity", {"samples": 1.5}, ValueError, "samples must be a whole number"),
        ("avg_sensitivity", {"radius": 0}, ValueError, "radius must be above 0, got 0"),
        ("avg_sensitivity", {"normalise": 1}, TypeError, "normalise must be a bool, got int 1"),
        (
            "faithfulness_correlation",
            {"runs": 2, "subset": 9},
            ValueError,
            "runs must be >= 3, got 2",
        ),
        ("faithfulness_correlation", {}, ValueError, r"subset must be below H \* W = 144, got 224"),
        (
            "faithfulness_correlation",
            {"subset": 9, "baseline": "blak"},
            ValueError,
            "baseline must be a known name, got 'blak'; did you mean black",
        ),
        (
            "faithfulness_correlation",
            {"subset": 9, "baseline": None},
            TypeError,
            "baseline must be a number, got NoneType",
        ),
        ("sparseness", {"samples": 1}, TypeError, "sparseness has no setting 'samples'"),
    ],
)
def test_wrong_settings_are_named(name, setting, error, message):
    with pytest.raises(error, match=message):
        METRICS[name](small(), gradient, **setting)


@pytest.mark.parametrize("baseline", ["white", "mean", "uniform", 0, 0.5])
def test_every_baseline_can_be_had(baseline):
    used = {"runs": 20, "subset": 30}
    metric = METRICS["faithfulness_correlation"]
    score = metric(small(), gradient, baseline=baseline, **used).value
    assert -1 <= score <= 1
    assert score != metric(small(), gradient, **used).value


def test_an_explainer_of_another_shape_is_named():
    message = r"explainer must return maps \(N, H, W\), got \(1, 3, 12, 12\)"
    case = small()
    with pytest.raises(ValueError, match=message):
        METRICS["random_logit"](
            case, lambda classifier, x, target: x, attribution=case.mask.float()
        )


def test_wrong_arguments_of_plain_are_named():
    case = small()
    maps = gradient(case.classifier, case.x, case.targets)
    given = case.classifier, case.x, case.targets, maps, None, gradient
    with pytest.raises(ValueError, match="name must be a known name, got 'sparsenes'; did you"):
        plain("sparsenes", *given, seed=0)
    with pytest.raises(TypeError, match="sparseness has no setting 'samples'; Quantus' are "):
        plain("sparseness", *given, seed=0, samples=3)
    with pytest.raises(TypeError, match="has no setting 'return_aggregate'"):
        plain("sparseness", *given, seed=0, return_aggregate=True)
    with pytest.raises(ValueError, match="masks must be given for relevance_rank_accuracy"):
        plain("relevance_rank_accuracy", *given, seed=0)
    with pytest.raises(ValueError, match="maps and x of one channel must have one shape"):
        plain("sparseness", *given[:3], maps[:, 1:], None, gradient, seed=0)
    with pytest.raises(ValueError, match="batch_size must be >= 1, got 0"):
        plain("sparseness", *given, seed=0, batch_size=0)
    with pytest.raises(ValueError, match=r"target must be in 0\.\.3, got 4"):
        plain("sparseness", *given[:2], torch.tensor([4]), *given[3:], seed=0)
    with pytest.raises(AssertionError, match="all equal to zero"):
        plain("sparseness", *given[:3], maps * 0, None, gradient, seed=0)
