"""Networks that `torch.export` cannot read: what works by calling them, and what says why not."""

from __future__ import annotations

import copy
import pickle
import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor, nn

import xaiutils as xai
from xaiutils.cases.case import Case
from xaiutils.methods import METHODS, CannotExplain
from xaiutils.metrics import METRICS
from xaiutils.network.step import GraphError
from xaiutils.support import cache

SIDE = 12


class Plain(nn.Module):
    """Two convolutions and a linear layer, with activations in place."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.relu = nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(inplace=True)
        self.second, self.last = nn.Conv2d(4, 6, 3, padding=1), nn.ReLU(inplace=True)
        self.pool, self.classes = nn.MaxPool2d(2), nn.Linear(6, 3)

    def features(self, x: Tensor) -> Tensor:
        return self.last(self.second(self.relu(self.first(x))))

    def forward(self, x: Tensor) -> Tensor:
        return self.classes(self.pool(self.features(x)).mean((2, 3)))


class Branching(Plain):
    """Of a picture that is not far too dark the same."""

    def forward(self, x: Tensor) -> Tensor:
        if x.mean() > -1:
            return super().forward(x)
        return self.classes(self.relu(self.first(x)).mean((2, 3)).repeat(1, 2)[:, :6])


class Leaving(Plain):
    def forward(self, x: Tensor) -> Tensor:
        found = torch.from_numpy(self.features(x).detach().numpy())
        return self.classes(self.pool(found).mean((2, 3)))


class Neighbours(Plain):
    def forward(self, x: Tensor) -> Tensor:
        found = self.features(x)
        found = found - found.mean(0)
        return self.classes(found.mean((2, 3)))


class Mirrored(Plain):
    def forward(self, x: Tensor) -> Tensor:
        found = self.features(x)
        found = found + found.flip(0)
        return self.classes(found.mean((2, 3)))


class Broken(Plain):
    def forward(self, x: Tensor) -> Tensor:
        return {"a": x}["b"]


class Checked(Plain):
    def forward(self, x: Tensor) -> Tensor:
        if x.mean() > 0 or len(x) > 0:
            return self.classes(self.features(x).mean(3))
        return x


class Softened(Branching):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).softmax(1)


class Tuples(Branching):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        found = super().forward(x)
        return found, found


def made(kind: type[Plain]) -> Plain:
    torch.manual_seed(0)
    return kind().eval()


def scripted(module: nn.Module, *, traced: bool = False) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecated
        if traced:
            return torch.jit.trace(module, torch.ones(1, 3, SIDE, SIDE))
        return torch.jit.script(module)


@pytest.fixture(scope="module")
def plain() -> xai.Classifier:
    return xai.wrap(made(Plain), size=SIDE)


@pytest.fixture(scope="module")
def branching() -> xai.Classifier:
    return xai.wrap(made(Branching), size=SIDE)


@pytest.fixture(scope="module")
def leaving() -> xai.Classifier:
    return xai.wrap(made(Leaving), size=SIDE)


@pytest.fixture(scope="module", params=["script", "trace"])
def script(request) -> xai.Classifier:
    return xai.wrap(scripted(made(Plain), traced=request.param == "trace"), size=SIDE)


@pytest.fixture
def x() -> Tensor:
    return torch.rand(3, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))


def test_a_note_says_why_and_what_works(plain, branching, leaving, script):
    assert plain.notes == ()
    (note,) = branching.notes
    assert note.startswith("without a graph: torch.export cannot read Branching: it branches on a")
    assert "(test_uncaptured.py, line " in note
    assert ": if x.mean() > -1:); a subclass whose forward has the one path" in note
    works, fails = note.split("; what does not: ")
    assert "CAMs" in works
    assert "gradients" in works
    assert fails == "relevance, the hybrid, DeepLIFT, guided backpropagation"
    assert "found = torch.from_numpy(" in leaving.notes[0]
    assert "gradients" in leaving.notes[0].split("; what does not: ")[1]
    assert "it is TorchScript, not a Python module: give what was scripted" in script.notes[0]
    assert script.notes[0].endswith("guided backpropagation, CAMs")


def test_nothing_is_printed_where_capture_fails(capfd):
    xai.wrap(made(Branching), size=SIDE)
    assert capfd.readouterr() == ("", "")


def test_graph_none_skips_capture(plain, x):
    own = xai.wrap(made(Plain), size=SIDE, graph=None)
    assert own.notes[0].startswith("without a graph: it was wrapped with graph=None; what works")
    torch.testing.assert_close(own.predict(x), plain.predict(x))
    assert own.cam_layer == plain.cam_layer
    with pytest.raises(ValueError, match="graph must be a known name, got 'fx'"):
        xai.wrap(made(Plain), size=SIDE, graph="fx")


def test_prediction_is_the_modules_own(branching, script, x):
    x[1] -= 3  # takes the other branch, by itself alone
    with torch.no_grad():
        expected = torch.cat([branching.module(image[None]) for image in x])
        assert torch.equal(branching.predict(x), expected)
        torch.testing.assert_close(script.predict(x), script.module(x))
    assert branching.top(x)[0][0][1] == pytest.approx(float(expected[0].softmax(0).max()))
    assert branching.classes == ("class 0", "class 1", "class 2")
    assert branching.outputs == "softmax"


@pytest.mark.parametrize(
    "name",
    ["grad_cam_plus_plus", "grad_cam", "layer_cam", "score_cam", "ablation_cam", "bounded_cam"],
)
def test_cams_equal_those_of_the_network_without_the_branch(name, plain, branching, x):
    assert branching.cam_layer == plain.cam_layer == "last"
    assert "without a graph nothing says whether all flows through it" in branching.cam_reason
    for target in (None, [2, 0, 1]):
        expected = METHODS[name](plain, x, target)
        assert expected.any()
        torch.testing.assert_close(
            METHODS[name](branching, x, target), expected, atol=1e-5, rtol=1e-4
        )


def test_a_cam_of_several_layers_and_scores(plain, branching, x):
    margin = xai.targets.margin(0, 1)
    layers = ["relu", "last"]
    expected, found = (
        xai.class_activation_map(one, x, margin, cam_layer=layers) for one in (plain, branching)
    )
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


def test_a_picture_of_another_branch_gets_its_own_map(branching, x):
    x[1] -= 3
    alone = METHODS["saliency"](branching, x[1:2], 0)
    torch.testing.assert_close(METHODS["saliency"](branching, x, 0)[1:2], alone)
    with pytest.raises(CannotExplain, match="image 1 takes a branch without last"):
        METHODS["grad_cam"](branching, x)
    layer = METHODS["grad_cam"](branching, x, layer="relu")
    torch.testing.assert_close(METHODS["grad_cam"](branching, x[1:2], layer="relu"), layer[1:2])


@pytest.mark.parametrize(
    "name",
    [
        *("saliency", "gradient_x_input", "integrated_gradients", "smooth_grad", "gradient_shap"),
        *("occlusion", "feature_ablation", "shapley_sampling", "lime"),
    ],
)
def test_gradients_and_black_boxes_equal_those_of_the_captured(name, plain, branching, script, x):
    settings = {"n_samples": 2} if "n_samples" in METHODS[name].settings else {}
    if "segments" in METHODS[name].needs:
        cells = torch.arange(SIDE * SIDE).reshape(SIDE, SIDE) // (SIDE * SIDE // 4)
        settings["segments"] = cells.expand(1, SIDE, SIDE)
        settings |= {"n_samples": 20} if name == "lime" else {}
    expected = METHODS[name](plain, x[:1], 1, **settings)
    assert expected.any()
    for one in (branching, script):
        torch.testing.assert_close(
            METHODS[name](one, x[:1], 1, **settings), expected, atol=1e-5, rtol=1e-3
        )


@pytest.mark.parametrize(
    "name",
    [
        *("hybrid", "lrp_epsilon", "deep_lift", "deep_lift_shap", "guided_backprop"),
        *("deconvolution", "guided_grad_cam", "attention_rollout", "cam", "relevance_cam"),
        *("clrp1", "captum_lrp_first_call", "library_grad_cam_plus_plus", "lrp_smoothed"),
    ],
)
def test_what_needs_the_graph_is_refused_by_name(name, branching, script, x):
    why = f"{name} cannot explain Branching: classifier must have a graph: torch.export cannot read"
    with pytest.raises(CannotExplain, match=f"{why} .*; what works: prediction, occlusion"):
        METHODS[name](branching, x)
    with pytest.raises(CannotExplain, match=r"it is TorchScript, .*; what does not: relevance"):
        METHODS[name](script, x)


def test_the_functions_say_the_same(branching, x):
    for function in (xai.explain, xai.relevance):
        with pytest.raises(GraphError, match=r"must have a graph: .* line .*; what works: "):
            function(branching, x)
    with pytest.raises(GraphError, match="must have a graph"):
        _ = branching.graph


def test_what_has_no_layer_or_no_gradient_says_so(leaving, script, x):
    with pytest.raises(CannotExplain, match=r"grad_cam cannot .* hooks see, .* has none: TorchSc"):
        METHODS["grad_cam"](script, x)
    with pytest.raises(GraphError, match="TorchScript computes its layers where no hook"):
        xai.wrap(scripted(made(Plain)), size=SIDE, cam_layer="last")
    for name in ("grad_cam", "saliency", "integrated_gradients"):
        with pytest.raises(CannotExplain, match=f"{name} .* gradients by torch, and it leaves"):
            METHODS[name](leaving, x)
    assert METHODS["occlusion"](leaving, x).any()
    assert METHODS["score_cam"](leaving, x).any()


def test_a_layer_that_hooks_do_not_see(branching):
    assert xai.wrap(made(Branching), size=SIDE, cam_layer="pool").cam_layer == "pool"
    with pytest.raises(ValueError, match="layer must be a known name, got 'lst'; did you mean la"):
        xai.wrap(made(Branching), size=SIDE, cam_layer="lst")
    with pytest.raises(ValueError, match=r"classes is not, these are: first, relu, second, last"):
        xai.wrap(made(Branching), size=SIDE, cam_layer="classes")
    assert branching.network.uncaptured is not None


def test_channels_last_are_no_map():
    class Last(Branching):
        def features(self, x: Tensor) -> Tensor:
            found = super().features(x).movedim(1, -1)
            return nn.functional.relu(self.after(self.mixed(found))).movedim(-1, 1)

    network = made(Last)
    network.mixed, network.after = nn.Linear(6, 6), nn.GELU()
    one = xai.wrap(network.eval(), size=SIDE)
    assert one.cam_layer == "last"
    with pytest.raises(ValueError, match=r"with channels first .*after is not"):
        xai.wrap(network, size=SIDE, cam_layer="after")


def test_a_metric_asks_it(plain, branching, x):
    found = [
        METRICS[name](Case("one", one, x[:1], 1), METHODS["occlusion"]).value
        for name in ("srg", "sparseness")
        for one in (plain, branching)
    ]
    assert found[0] == pytest.approx(found[1], abs=1e-4)
    assert found[2] == pytest.approx(found[3], abs=1e-4)


def test_the_module_stays_as_it_is(x):
    module = made(Branching)
    before = copy.deepcopy(module.state_dict())
    hooked = {path: part._forward_hooks for path, part in module.named_modules()}
    one = xai.wrap(module, size=SIDE)
    for name in ("grad_cam", "saliency", "ablation_cam", "occlusion"):
        METHODS[name](one, x)
    assert not any(hooked.values())
    assert all(torch.equal(value, before[key]) for key, value in module.state_dict().items())
    assert all(p.requires_grad and p.grad is None for p in module.parameters())
    with torch.no_grad():  # its weights are read at each call
        module.classes.weight.neg_()
        module.classes.bias.neg_()
    torch.testing.assert_close(
        METHODS["gradient_x_input"](one, x, 0),
        METHODS["gradient_x_input"](xai.wrap(module, size=SIDE), x, 0),
    )
    module.train()
    for call in (one.predict, lambda x: METHODS["grad_cam"](one, x, 0)):
        with pytest.raises(ValueError, match="must be in eval mode"):
            call(x)


def test_it_is_pickled_threaded_and_remembered(branching, x):
    again = pickle.loads(pickle.dumps(branching))
    assert again.notes == branching.notes
    torch.testing.assert_close(again.predict(x), branching.predict(x))
    expected = METHODS["grad_cam"](branching, x)
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: METHODS["grad_cam"](again, x), range(8)):
            assert torch.equal(found, expected)
    with torch.inference_mode():
        assert torch.equal(METHODS["grad_cam"](branching, x.clone()), expected)
        found = xai.class_activation_map(branching, x.clone(), cam="grad_cam")
    torch.testing.assert_close(found, expected)
    with cache.remember():
        for _ in range(2):
            assert torch.equal(METHODS["grad_cam"](branching, x), expected)


def test_how_it_ends_is_seen(x):
    soft = xai.wrap(made(Softened), size=SIDE)
    assert torch.equal(soft.probabilities(soft.predict(x)), soft.predict(x))
    own = xai.wrap(nn.Sequential(made(Branching), nn.Sigmoid()).eval(), size=SIDE)
    assert own.outputs == "sigmoid"
    with pytest.raises(ValueError, match="outputs must be sigmoid or value"):
        xai.wrap(nn.Sequential(made(Branching), nn.Sigmoid()).eval(), size=SIDE, outputs="softmax")


def test_what_is_broken_stays_an_error():
    with pytest.raises(
        GraphError,
        match=r"outputs from images .* raises KeyError: 'b' \(test_.*, line .*: return {",
    ):
        xai.wrap(made(Broken), size=SIDE)
    for graph in ("auto", None):
        with pytest.raises(GraphError, match=r"module must take images|x must fit the network"):
            xai.wrap(made(Checked), size=SIDE, graph=graph)
        with pytest.raises(GraphError, match="module must return one tensor, or name it"):
            xai.wrap(made(Tuples), size=SIDE, graph=graph)
    with pytest.raises(ValueError, match="must be in eval mode"):
        xai.wrap(made(Plain).train(), size=SIDE, graph=None)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (
            Neighbours,
            r"each picture by itself, and mean \(test_uncaptured.py, line \d+: found = "
            r"found - found.mean\(0\)\) mixes those of a batch",
        ),
        (
            Mirrored,
            "the same for a picture alone and among others, and without chance, .* differ by",
        ),
    ],
)
def test_a_network_that_looks_at_the_neighbours_is_named(kind, said):
    with pytest.raises(ValueError, match=said):
        xai.wrap(made(kind), size=SIDE)
