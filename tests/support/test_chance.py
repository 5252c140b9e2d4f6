"""Chance is drawn by generators of our own: threads do not disturb each other, nor the caller.

Whatever seeds, draws from or puts back the random states of torch, NumPy or Python does it for the
whole process, so two things are asked of each public function: that none of those is called, and
that the states are afterwards what they were. tests/methods/test_methods.py asks it of
every method.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
import quantus  # noqa: F401, once in a process its import draws from Python's random state
import torch
from torch import Tensor, nn
from torch.nn import functional
from untouched import untouched

import xaiutils as xai
from data.train_scenes import Recipe, train
from xaiutils.cases.case import Case
from xaiutils.methods import METHODS, Method, baselines, combine
from xaiutils.metrics import METRICS, stats
from xaiutils.metrics.paper_quantus import CLASSES, plain
from xaiutils.metrics.randomised import randomised_networks
from xaiutils.network.classifier import Classifier, load_model
from xaiutils.pictures.scenes.networks import ARCHITECTURES, fold
from xaiutils.support import borrowed, chance

QUICK = {"n_samples": 60, "n_steps": 4, "n_baselines": 2}
CHEAP = {"faithfulness_correlation": {"runs": 8}, "avg_sensitivity": {"samples": 2}}
THEIRS = {"faithfulness_correlation": {"nr_runs": 8}, "avg_sensitivity": {"nr_samples": 2}}
STOCHASTIC = [name for name, method in METHODS.items() if method.stochastic]
SAMPLED = ["faithfulness_correlation", "avg_sensitivity", "random_logit", "infidelity", "srg"]


@cache
def classifier(kind: str = "vgg") -> Classifier:
    return load_model(f"scenes_{kind}_seed0")


@cache
def case() -> Case:
    work = xai.load_workload("scenes", "unit")
    return xai.load_cases(work, [0], classifier())[0]


def quick(method: Method) -> dict[str, Any]:
    few = {"shapley_sampling": 1, "smooth_grad": 3, "gradient_shap": 3}
    if method.name in few:
        return {"n_samples": few[method.name]}
    return {key: value for key, value in QUICK.items() if key in method.settings}


def explained(name: str, seed: int = 3) -> Tensor:
    method = METHODS[name]
    able = next(c for k in ("vgg", "resnet", "vit") if not method.refuses(c := classifier(k)))
    return method(able, case().x, 1, seed=seed, **quick(method))


def scored(name: str, seed: int = 3) -> Tensor:
    found = METRICS[name](case(), METHODS["grad_cam"], seed=seed, **CHEAP.get(name, {}))
    return torch.tensor(found.value)


def plainly(name: str, seed: int = 3) -> Tensor:
    one, method = case(), METHODS["grad_cam"]
    assert one.mask is not None
    maps = method(classifier(), one.x, one.targets)
    given = classifier(), one.x, one.targets, maps, one.mask[None], method
    return torch.from_numpy(plain(name, *given, seed=seed, **THEIRS.get(name, {})))


@pytest.mark.parametrize("name", METRICS)
def test_no_metric_touches_what_belongs_to_the_process(name: str) -> None:
    case()
    with untouched():
        scored(name)


@pytest.mark.parametrize("name", CLASSES)
def test_plain_quantus_touches_nothing(name: str) -> None:
    case()
    with untouched():
        plainly(name)


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.part = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1))
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.part(x).flatten(1))


def _studied(folder: Path) -> None:
    scored = {"methods": ["grad_cam", "random_map"], "metrics": ["sparseness", "avg_sensitivity"]}
    made = xai.create_study(folder / "s", workload="scenes", split="unit", images=1, **scored)
    xai.run_study(made)
    xai.open_study(folder / "s")
    xai.load_study(made)


def _watched() -> None:
    with xai.watch(), xai.remember():
        xai.explain(classifier(), case().x)


def _explored(folder: Path) -> None:
    picture = xai.load_workload("scenes", "unit").samples[0].image
    xai.explore(picture, classifier())


def _scored(folder: Path) -> None:
    methods = ["hybrid", "bounded_noise", xai.contender("smooth_grad", n_samples=2)]
    xai.score([case()], methods, ["sparseness", "random_logit"])


def x() -> Tensor:
    return case().x


STAGES = "cam", "bounded", "relevance", "product", "hybrid"
MAP = torch.rand(1, 8, 8, generator=torch.Generator().manual_seed(0))
TINY = Recipe(scenes=4, epochs=1, batch=4)
CALLS: dict[str, Callable[[Path], Any]] = {
    "load_model": lambda folder: load_model("scenes_resnet_seed0"),
    "load_model, random": lambda folder: load_model("squeezenet1_1", weights="random"),
    "load_workload": lambda folder: xai.load_workload("scenes", "unit"),
    "wrap": lambda folder: xai.wrap(NETWORK, size=8),
    "explain": lambda folder: xai.explain(classifier(), x()),
    "relevance": lambda folder: xai.relevance(classifier(), x(), 0),
    "class_activation_map": lambda folder: xai.class_activation_map(classifier(), x(), 0),
    "grad_cam_plus_plus": lambda folder: xai.grad_cam_plus_plus(classifier(), x(), 0),
    "explain_layers": lambda folder: xai.explain_layers(classifier(), x(), 0),
    "attention_rollout": lambda folder: xai.attention_rollout(classifier("vit"), x()),
    "bound": lambda folder: xai.bound(MAP, 0.2),
    "fuse": lambda folder: xai.fuse(MAP, MAP),
    "smooth": lambda folder: xai.smooth(MAP, 1.0),
    "combine": lambda folder: combine("random_map", "smooth_grad")(
        classifier(), x(), 0, method_n_samples=2
    ),
    "paper": lambda folder: xai.paper(2, 1),
    "load_image": lambda folder: xai.load_image(PHOTOGRAPH.image),
    "sample_photograph": lambda folder: xai.sample_photograph("coffee"),
    "sample_target": lambda folder: xai.sample_target(
        xai.Sample("mine", PHOTOGRAPH.image, 1, boxes=((9, 9, 60, 60),)), classifier().transform
    ),
    "denormalise": lambda folder: xai.denormalise(x(), classifier().transform),
    "load_cases": lambda folder: case(),
    "score": _scored,
    "contender": lambda folder: xai.contender("lime", n_samples=60),
    "load_table": lambda folder: xai.load_table("road", xai.load_workload("scenes", "test")),
    "explore": _explored,
    "create_study": _studied,
    "watch": lambda folder: _watched(),
    "baselines": lambda folder: baselines.random_map(x(), 3),
    "stats": lambda folder: stats.paired([1.0, 2, 4], [0.0, 3, 2]),
    "plots": lambda folder: xai.plots.save(
        xai.plots.stages(np.zeros((8, 8, 3), np.uint8) + 9, **dict.fromkeys(STAGES, MAP[0])),
        folder / "x.png",
    ),
    "randomised": lambda folder: randomised_networks(classifier(), 3, 1),
    "train": lambda folder: train("resnet", 1, TINY),
    "fold": lambda folder: fold(VGG),
}
WITH = {  # tried together with another
    "open_study": "create_study", "run_study": "create_study", "load_study": "create_study",
    "remember": "watch",
    "read_transform": "test_transforms",
    "open_imagenet": "tests/real, where the pictures are",
}  # fmt: skip
PHOTOGRAPH = xai.sample_photograph("chelsea")
NETWORK = Small().eval()
VGG = ARCHITECTURES["vgg"]().eval()


@pytest.mark.parametrize("name", CALLS)
def test_no_public_function_touches_what_belongs_to_the_process(name: str, tmp_path: Path) -> None:
    case()
    with untouched():
        CALLS[name](tmp_path)


def test_every_public_function_is_tried() -> None:
    functions = {n for n in xai.__all__ if type(getattr(xai, n)).__name__ == "function"}
    assert functions <= {*CALLS, *WITH}


RUNS = (
    {name: partial(explained, name) for name in STOCHASTIC}
    | {name: partial(scored, name) for name in SAMPLED}
    | {f"plain {name}": partial(plainly, name) for name in THEIRS}
)
SOME = ("smooth_grad", "random_map", "bounded_noise", "random_logit", "avg_sensitivity")
JOBS = [
    pytest.param(run, id=name, marks=[] if name in SOME else pytest.mark.slow)
    for name, run in RUNS.items()
]


def drawn(pause: float = 0) -> list[float]:
    """400 numbers of each state of the process, as a caller draws them who has seeded it."""
    torch.manual_seed(7), np.random.seed(7), random.seed(7)  # noqa: NPY002
    found = []
    for _ in range(400):
        found += [float(torch.rand(1)), np.random.rand(), random.random()]  # noqa: NPY002
        time.sleep(pause)
    return found


@pytest.mark.parametrize("job", JOBS)
def test_three_threads_are_three_serial_runs_and_a_fourth_draws_its_own(
    job: Callable[..., Tensor],
) -> None:
    expected, alone = [job(seed=seed) for seed in range(3)], drawn()
    with ThreadPoolExecutor(4) as pool:
        meanwhile = pool.submit(drawn, 1e-4)
        found = [pool.submit(job, seed=seed) for seed in range(3)]
    assert [torch.equal(a, b.result()) for a, b in zip(expected, found, strict=True)] == [True] * 3
    assert sum(a != b for a, b in zip(alone, meanwhile.result(), strict=True)) == 0


@pytest.mark.parametrize("make", [Small, ARCHITECTURES["vit"], lambda: nn.MultiheadAttention(8, 2)])
def test_first_weights_are_those_that_torch_draws_after_manual_seed(make: Any) -> None:
    """So the networks trained and the random ones are those of before."""
    with chance.Drawn(5):
        ours = make()
    torch.manual_seed(5)
    theirs = make()
    pairs = zip(ours.state_dict().values(), theirs.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize(
    "draw",
    [
        lambda: torch.rand(3),
        lambda: torch.randn(2, 3),
        lambda: torch.randint(9, (5,)),
        lambda: torch.randperm(6),
        lambda: torch.normal(0, torch.ones(4)),
        lambda: torch.bernoulli(torch.full((8,), 0.5)),
        lambda: torch.multinomial(torch.ones(5), 3),
        lambda: torch.empty(4).exponential_(),
        lambda: nn.init.trunc_normal_(torch.empty(3, 3)),
        lambda: nn.init.orthogonal_(torch.empty(3, 3)),
        lambda: torch.rand_like(torch.ones(3)),
        lambda: torch.randn_like(torch.ones(3)),
    ],
)
def test_all_that_torch_draws_inside_is_ours(draw: Callable[[], Tensor]) -> None:
    with untouched(), chance.Drawn(5):
        ours = draw()
    torch.manual_seed(5)
    assert torch.equal(ours, draw())


class Noisy(nn.Module):
    """Chance in eval mode, of a kind."""

    def __init__(self, kind: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.small, self.kind = Small(), kind

    def forward(self, x: Tensor) -> Tensor:
        return self.small(self.kind(x))


@pytest.mark.parametrize(
    "kind",
    [
        functional.dropout,
        functional.dropout2d,
        lambda x: functional.dropout(x, 0.3, True, False),
        lambda x: x + torch.randn_like(x),
        lambda x: x + torch.rand_like(x),
        torch.bernoulli,
    ],
)
def test_a_network_that_draws_is_refused_and_draws_nothing_of_the_callers(kind: Any) -> None:
    network = Noisy(kind).eval()
    with untouched(), pytest.raises(ValueError, match="by chance in eval mode"):
        xai.wrap(network, size=8)


def mine(function: Any, **fields: Any) -> Method:
    return Method("mine", "Mine", function, "control", "signed", "nowhere", **fields)


def test_an_own_method_by_chance_is_given_the_seed_and_one_that_takes_none_is_refused() -> None:
    def seeded(classifier: Classifier, x: Tensor, target: Tensor, *, seed: int) -> Tensor:
        return torch.rand(x[:, 0].shape, generator=torch.Generator().manual_seed(seed))

    method = mine(seeded, stochastic=True)
    assert torch.equal(method(classifier(), x(), 0, seed=4), method(classifier(), x(), 0, seed=4))
    assert not torch.equal(method(classifier(), x(), 0), method(classifier(), x(), 0, seed=4))
    with pytest.raises(
        TypeError, match=r"function of mine must take seed=, since it is stochastic"
    ):
        mine(lambda classifier, x, target: x[:, 0], stochastic=True)


def test_a_combination_of_two_by_chance_is_both_alone_with_its_seed() -> None:
    both = combine("random_map", "smooth_grad", sigma=0)
    maps = [METHODS[n](classifier(), x(), 0, seed=2) for n in ("random_map", "smooth_grad")]
    expected = xai.fuse(xai.bound(maps[0], both.settings["threshold"].default), maps[1])
    assert torch.equal(both(classifier(), x(), 0, seed=2), expected)


# What libraries do to the process.


def test_what_a_library_writes_into_the_environment_is_taken_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LD_LIBRARY_PATH", "/mine")
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)
    with borrowed.environment_kept():
        os.environ["LD_LIBRARY_PATH"] = "/theirs:/mine"
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = "/theirs"
    assert os.environ["LD_LIBRARY_PATH"] == "/mine"
    assert "TORCHINDUCTOR_CACHE_DIR" not in os.environ


FRESH = """
import os, warnings
os.environ.pop("LD_LIBRARY_PATH", None), os.environ.pop("TORCHINDUCTOR_CACHE_DIR", None)
before = dict(os.environ)
import matplotlib
backend = matplotlib.get_backend(auto_select=False)
import numpy as np, xaiutils as xai
from xaiutils.metrics import METRICS
work = xai.load_workload("scenes", "unit")
(case,) = xai.load_cases(work, [0])
for name in ("lrp_paper", "lime", "score_cam", "fg_cam_score"):
    found = xai.METHODS[name](case.classifier, case.x, 1)
METRICS["random_logit"](case, xai.METHODS["grad_cam"])
xai.load_model("squeezenet1_1", weights="random")
map = found[0].numpy()
names = "cam", "bounded", "relevance", "product", "hybrid"
xai.plots.stages(np.zeros((*map.shape, 3), np.uint8), **dict.fromkeys(names, map))._repr_png_()
changed = {k for k in {*before, *os.environ} if before.get(k) != os.environ.get(k)}
print(sorted(k for k in changed if not k.startswith("KMP_")))
print(matplotlib.get_backend(auto_select=False) == backend)
"""


@pytest.mark.slow
def test_the_first_call_of_each_library_leaves_environment_and_backend() -> None:
    """OpenMP's KMP_ variables are scikit-learn's, see borrowed."""
    done = subprocess.run(
        [sys.executable, "-c", FRESH], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.splitlines() == ["[]", "True"]


WORKERS = """
import os, sys
import torch, xaiutils as xai
if __name__ == "__main__":
    scored = {"methods": ["random_map"], "metrics": ["sparseness"], "images": 2, "part": 1}
    study = xai.create_study(sys.argv[1] + "/s", workload="scenes", split="unit", **scored)
    before, state = dict(os.environ), torch.get_rng_state()
    xai.run_study(study, workers=2)
    print(sorted(k for k in {*before, *os.environ} if before.get(k) != os.environ.get(k)))
    print(torch.equal(torch.get_rng_state(), state), len(xai.load_study(study)))
"""


@pytest.mark.slow
def test_a_study_with_workers_leaves_the_environment(tmp_path: Path) -> None:
    """Dask writes what its workers are to inherit into the environment of this process."""
    (tmp_path / "run.py").write_text(WORKERS)
    command = [sys.executable, str(tmp_path / "run.py"), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=240)
    assert done.stdout.splitlines() == ["[]", "True 2"]


def test_filters_of_warnings_outlive_two_threads_that_silence() -> None:
    """`catch_warnings` in two threads at once leaves the filter of the one that ends last."""
    before, inside = list(warnings.filters), threading.Barrier(2)

    def first() -> None:
        with borrowed.silenced("mine", UserWarning):
            inside.wait(), inside.wait()

    def second() -> None:
        inside.wait()
        with borrowed.silenced("mine", UserWarning):
            inside.wait()
            one.join()
            warnings.warn("mine", UserWarning, stacklevel=1)  # an error where it is not silenced

    one = threading.Thread(target=first)
    one.start()
    second()
    assert list(warnings.filters) == before


def test_rcparams_outlive_two_threads_that_draw() -> None:
    before = {k: str(v) for k, v in dict.items(matplotlib.rcParams)}
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(xai.plots.style.styled(time.sleep), [0.001, 0.003] * 6))
    assert {k: str(v) for k, v in dict.items(matplotlib.rcParams)} == before
