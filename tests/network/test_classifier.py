"""Classifiers: every way to get weights, every way that goes wrong, and the CAM layer's choice."""

from __future__ import annotations

import hashlib
import pickle
import shutil
import socket
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision import models as zoo

from xaiutils.cam import CAMS
from xaiutils.hybrid import explain, grad_cam_plus_plus
from xaiutils.lrp.composites import COMPOSITES
from xaiutils.methods import METHODS
from xaiutils.methods.layerwise import explain_layers
from xaiutils.methods.segments import slic
from xaiutils.metrics import METRICS
from xaiutils.network.classifier import (
    Classifier,
    load_model,
    load_state_dict,
    read_state_dict,
    wrap,
)
from xaiutils.network.graph import GraphError
from xaiutils.network.weights import MODELS
from xaiutils.pictures.images import Transform, sample_photograph
from xaiutils.pictures.scenes.networks import data_folder

SMALL = "squeezenet1_1"  # 1.2 million parameters
PUBLISHED = zoo.SqueezeNet1_1_Weights.IMAGENET1K_V1


@cache
def random_net() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return zoo.squeezenet1_1(weights=None).eval()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The random network's weights in each format, and the sha256 of the .pth."""
    folder = tmp_path_factory.mktemp("weights")
    state = random_net().state_dict()
    torch.save(state, folder / "own.pth")
    torch.save(state, folder / "own.pt")
    save_file(state, folder / "own.safetensors")
    return {suffix: folder / f"own.{suffix}" for suffix in ("pth", "pt", "safetensors")}


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def images(n: int = 2, c: int = 3, side: int = 64) -> Tensor:
    return torch.randn(n, c, side, side, generator=torch.Generator().manual_seed(0))


class Tiny(nn.Module):
    """Convolution, ReLU, pooling, linear."""

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        self.convolution, self.relu = nn.Conv2d(channels, 4, 3), nn.ReLU()
        self.pool, self.classes = nn.AdaptiveAvgPool2d(1), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.classes(self.pool(self.relu(self.convolution(x))).flatten(1))


class TwoArguments(Tiny):
    def forward(self, x: Tensor, scale: Tensor) -> Tensor:
        return super().forward(x) * scale


class Tuple(Tiny):
    def forward(self, x: Tensor) -> Any:
        return super().forward(x), x


class Maps(Tiny):
    def forward(self, x: Tensor) -> Tensor:
        return self.convolution(x)


class NoClasses(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3))


@cache
def tiny() -> Classifier:
    torch.manual_seed(0)
    return wrap(Tiny().eval(), ["cat", "dog", "12"], size=64)


@pytest.mark.parametrize(
    ("kind", "layer", "size"),
    [("resnet", "layer3", 16), ("inception", "mixed3", 16), ("vit", "encoder.3.norm1", 8)],
)
def test_the_other_shipped_architectures(kind, layer, size):
    from xaiutils.pictures.scenes import CLASSES, samples

    classifier = load_model(f"scenes_{kind}_seed0")
    assert classifier.classes == CLASSES
    assert classifier.cam_layer == layer
    assert f"{size} x {size}" in classifier.cam_reason
    chosen = samples("unit", 8)
    x = classifier.preprocess(chosen)
    with torch.no_grad():
        torch.testing.assert_close(
            classifier.predict(x), classifier.module(x), rtol=1e-4, atol=1e-4
        )


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_shipped_scene_classifier(seed):
    if not (data_folder() / f"scenes_vgg_seed{seed}.safetensors").is_file():
        pytest.skip(f"scenes_vgg_seed{seed} has not been trained yet")
    from xaiutils.pictures.scenes import CLASSES, SIZE, samples

    classifier = load_model(f"scenes_vgg_seed{seed}")
    x = classifier.preprocess(samples("test", 20))
    assert classifier.classes == CLASSES
    assert x.shape == (20, 3, SIZE, SIZE)
    step = classifier.graph.find(classifier.cam_layer)
    assert step.operation == "relu"
    assert step.shape[2:] == (16, 16)
    right = classifier.predict(x).argmax(1) == torch.tensor([s.label for s in samples("test", 20)])
    assert right.float().mean() >= 0.8
    assert classifier.weights == f"shipped, seed {seed}"


SLOW = [
    pytest.param(n, marks=pytest.mark.slow)
    for n in ("mobilenet_v3_small", "shufflenet_v2_x0_5", "mnasnet0_5")
]


@pytest.mark.parametrize("name", [SMALL, *SLOW])
def test_a_random_network_is_the_same_every_time_and_leaves_the_random_state(name):
    torch.manual_seed(11)
    before = torch.get_rng_state()
    first, second = load_model(name, "random"), load_model(name, weights="random")
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first.predict(images()), second.predict(images()))
    assert first.weights == "random, seed 0"
    assert len(first.classes) == 1000
    assert first.classes[1] == "goldfish"
    assert not first.module.training
    torch.testing.assert_close(
        first.predict(images()), first.module(images()).detach(), rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("suffix", ["pth", "pt", "safetensors"])
def test_a_file_of_weights(files, suffix):
    classifier = load_model(SMALL, files[suffix])
    assert torch.equal(load_model(SMALL, str(files[suffix])).predict(images()),
                       classifier.predict(images()))  # fmt: skip
    torch.testing.assert_close(classifier.predict(images()), random_net()(images()).detach())
    assert classifier.weights == f"own.{suffix}, sha256 {digest(files[suffix])}"
    assert classifier.notes == ()  # there is only one preset


def test_a_published_file_brings_its_own_preprocessing(tmp_path, monkeypatch):
    enum = zoo.MobileNet_V2_Weights
    assert enum.DEFAULT is enum.IMAGENET1K_V2
    torch.save(zoo.mobilenet_v2(weights=None).state_dict(), tmp_path / "renamed.pth")
    name, found = "mobilenet_v2", tmp_path / "renamed.pth"
    assumed = load_model(name, found)
    assert assumed.transform == Transform.from_weights(enum.IMAGENET1K_V2)
    assert assumed.notes == ("preprocessing of IMAGENET1K_V2 assumed; other presets: preset=",)
    url = f"https://example.org/mobilenet_v2-{digest(found)[:8]}.pth"
    monkeypatch.setattr(enum.IMAGENET1K_V1.value, "url", url)
    detected = load_model(name, found)
    assert detected.transform == Transform.from_weights(enum.IMAGENET1K_V1)
    assert detected.notes == ()
    chosen = load_model(name, found, preset="IMAGENET1K_V2")
    assert chosen.transform == Transform.from_weights(enum.IMAGENET1K_V2)
    assert detected.transform.resize == 256
    assert chosen.transform.resize == 232


@pytest.fixture
def served(files, tmp_path, monkeypatch):
    """torchvision's download, turned to a local file; its folder is empty before."""

    def serve(prefix: str) -> Path:
        published = tmp_path / f"squeezenet1_1-{prefix}.pth"
        shutil.copy(files["pth"], published)
        monkeypatch.setattr(PUBLISHED.value, "url", published.as_uri())
        return published

    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    return serve


@pytest.mark.parametrize("weights", [None, "IMAGENET1K_V1"])
def test_published_weights_are_downloaded_once(files, served, tmp_path, weights):
    source = served(digest(files["pth"])[:8])
    classifier = load_model(SMALL, weights)
    assert classifier.weights == "torchvision IMAGENET1K_V1"
    torch.testing.assert_close(classifier.predict(images()), random_net()(images()).detach())
    source.unlink()
    again = load_model(SMALL, weights)  # from disk now
    assert torch.equal(again.predict(images()), classifier.predict(images()))
    assert [p.name for p in tmp_path.rglob("home/**/*.pth")] == [source.name]


def test_a_download_with_another_hash_is_refused(served, tmp_path):
    served("00000000")
    with pytest.raises(ValueError, match=f"weights IMAGENET1K_V1 of {SMALL} must be intact: inval"):
        load_model(SMALL)
    assert not list(tmp_path.rglob("home/**/*.pth"))


def test_without_a_network_the_message_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound, and nobody listens
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/squeezenet1_1-b8a52dc0.pth"
        monkeypatch.setattr(PUBLISHED.value, "url", url)
        message = (
            f"the weights IMAGENET1K_V1 of {SMALL} are not on this machine and cannot be "
            rf"downloaded \(.*\); fetch {url} elsewhere and give the file: "
            rf'load_model\("{SMALL}", weights="FILE"\), --weights FILE or XAIUTILS_WEIGHTS'
        )
        with pytest.raises(FileNotFoundError, match=message):
            load_model(SMALL)


class Evil:
    """Unpickling this would write a file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.marker,)


@pytest.mark.parametrize("save", [torch.save, lambda o, p: p.write_bytes(pickle.dumps(o))],
                         ids=["torch", "pickle"])  # fmt: skip
def test_a_pickle_with_code_is_refused_and_not_run(tmp_path, save):
    marker, file = tmp_path / "ran", tmp_path / "evil.pth"
    save({"weight": Evil(marker)}, file)
    with pytest.raises(ValueError, match=r"evil\.pth is not: it is damaged or needs pickle, wh"):
        load_model(SMALL, file)
    assert not marker.exists()
    pickle.loads(pickle.dumps(Evil(marker)))  # the trap itself works
    assert marker.exists()


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
@pytest.mark.parametrize("damage", ["cut", "text", "empty"])
def test_a_damaged_file_is_refused(files, tmp_path, suffix, damage):
    content = {"cut": files[suffix].read_bytes()[:-5000], "text": b"not weights", "empty": b""}
    file = tmp_path / f"bad.{suffix}"
    file.write_bytes(content[damage])
    with pytest.raises(ValueError, match=f"weights must be a state dict of tensors, bad.{suffix}"):
        load_model(SMALL, file)


@pytest.mark.parametrize(
    "content",
    [[torch.ones(2)], {"epoch": 3, "model": torch.ones(2)}, torch.ones(2), {"state_dict": {}}],
    ids=["list", "checkpoint", "tensor", "nested"],
)
def test_a_file_with_more_than_tensors_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "mine.pth")
    with pytest.raises(ValueError, match=r"mine.pth holds .*; save model.state_dict\(\) alone"):
        read_state_dict(tmp_path / "mine.pth")


def test_another_suffix_and_no_file(tmp_path):
    (tmp_path / "model.h5").touch()
    with pytest.raises(ValueError, match=r"weights must be .safetensors, .pth or .pt, got model"):
        load_model(SMALL, tmp_path / "model.h5")
    with pytest.raises(FileNotFoundError, match=r"a state dict, .*none.pth is none"):
        load_model(SMALL, tmp_path / "none.pth")
    with pytest.raises(FileNotFoundError, match="IMAGENET1K_V9 is none"):
        load_model(SMALL, "IMAGENET1K_V9")


def test_keys_that_do_not_fit_are_listed():
    module = Tiny()
    state = module.state_dict() | {"head.weight": torch.ones(1), "classes.weight": torch.ones(5, 4)}
    del state["convolution.bias"]
    for said in ("convolution.bias", "head.weight", r"classes.weight.*\(\[5, 4\]\)"):
        with pytest.raises(ValueError, match=f"(?s)weights must fit Tiny.*{said}"):
            load_state_dict(module, state)


def test_weights_of_another_network_are_refused(files):
    with pytest.raises(ValueError, match=r"(?s)weights must fit AlexNet.*features\.3\.weight"):
        load_model("alexnet", files["pth"])


def test_batch_counters_may_be_missing():
    module = nn.Sequential(nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2))
    state = {k: v + 1 for k, v in module.state_dict().items() if "num_batches" not in k}
    load_state_dict(module, state)
    assert torch.equal(module[1].running_mean, torch.ones(2))


NAMES: dict[str, tuple[Any, str]] = {
    "near": (lambda: load_model("resnet5O"), "name must be a known name, got 'resnet5O'; did y"),
    "nearest": (lambda: load_model("vgg_16"), "did you mean vgg16"),
    "far": (lambda: load_model("??"), "name must be a known name, got '..'; known: scenes"),
    "scenes": (lambda: load_model("scenes_vgg_seed0", "random"),
               "weights must be None for the shipped scenes_vgg_seed0, got 'random'"),
    "preset": (lambda: load_model(SMALL, "random", preset="IMAGENET1K_V2"),
               "preset must be a known name, got 'IMAGENET1K_V2'; did you mean IMAGENET1K_V1"),
    "layer": (lambda: load_model(SMALL, "random", cam_layer="feature"), "did you mean features"),
}  # fmt: skip


@pytest.mark.parametrize("value", [torch.zeros(2, device="meta"), torch.eye(2).to_sparse()])
def test_weights_without_their_numbers_are_refused(value, tmp_path, monkeypatch):
    # torch.save refuses some of these kinds, so that the reader gets them by itself.
    (tmp_path / "odd.pth").write_bytes(b"")
    monkeypatch.setattr(torch, "load", lambda *_, **__: {"fine": torch.zeros(1), "odd": value})
    with pytest.raises(ValueError, match=r"'odd' in odd.pth is not; save the state dict"):
        read_state_dict(tmp_path / "odd.pth")


def test_keys_that_are_no_names_are_refused(tmp_path):
    torch.save({0: torch.zeros(1)}, tmp_path / "odd.pth")
    with pytest.raises(ValueError, match=r"state dict of tensors, odd.pth holds dict .*; save"):
        read_state_dict(tmp_path / "odd.pth")


@pytest.mark.parametrize("dtype", [torch.complex64, torch.int64, torch.uint8, torch.bool])
def test_weights_of_another_kind_of_number_are_not_cast(dtype):
    module = torch.nn.Linear(2, 2)
    state = {"weight": torch.ones(2, 2, dtype=dtype), "bias": torch.zeros(2)}
    with pytest.raises(ValueError, match=rf"kind, got weight {dtype} instead of torch.float32"):
        load_state_dict(module, state)
    counted = torch.nn.BatchNorm2d(2)
    odd = counted.state_dict() | {"num_batches_tracked": torch.tensor(0.5)}
    with pytest.raises(ValueError, match=r"num_batches_tracked torch.float32 instead of"):
        load_state_dict(counted, odd)
    half = {key: value.half() for key, value in module.state_dict().items()}
    load_state_dict(module, half)  # of the same kind: rounded where it was saved
    assert torch.equal(module.weight, half["weight"].float())


@pytest.mark.parametrize("case", NAMES)
def test_wrong_names_are_answered_with_the_nearest(case):
    call, match = NAMES[case]
    with pytest.raises(ValueError, match=match):
        call()


def test_every_torchvision_classifier_is_a_model():
    assert set(zoo.list_models(module=zoo)) <= set(MODELS)
    assert MODELS["vgg16"].weights == ("IMAGENET1K_V1", "IMAGENET1K_FEATURES")
    others = {f"scenes_{kind}_seed0" for kind in ("resnet", "inception", "vit")}
    assert {name for name, m in MODELS.items() if m.family == "scenes"} == others | {
        f"scenes_vgg_seed{i}" for i in range(3)
    }


@pytest.mark.parametrize("name", [SMALL, "mobilenet_v2"])
def test_preprocessing_is_the_published_weights_own(name):
    picture = sample_photograph("chelsea").image
    expected = zoo.get_model_weights(name).DEFAULT.transforms()(picture)[None]
    classifier = load_model(name, "random")
    assert torch.equal(classifier.preprocess(picture), expected)
    double = wrap(random_net(), transform=classifier.transform)
    assert double.preprocess([picture, picture]).shape == (2, 3, 224, 224)


def test_wrap_takes_names_numbers_and_layers():
    classifier = wrap(
        Tiny().eval(), ["a", "b", "c"], mean=[0.5] * 3, std=[0.25] * 3, size=(40, 50),
        cam_layer="convolution", name="mine",
    )  # fmt: skip
    assert (classifier.name, classifier.classes) == ("mine", ("a", "b", "c"))
    assert (classifier.cam_layer, classifier.cam_reason) == ("convolution", "chosen by the caller")
    picture = PIL.Image.new("RGB", (50, 40), (255, 0, 127))
    x = classifier.preprocess(picture)
    assert x.shape == (1, 3, 40, 50)
    torch.testing.assert_close(x[0, :, 0, 0], torch.tensor([2.0, -2.0, (127 / 255 - 0.5) / 0.25]))
    low, high = classifier.bounds(x)
    assert (low.flatten().tolist(), high.flatten().tolist()) == ([-2.0] * 3, [2.0] * 3)


def test_wrap_has_defaults():
    classifier = wrap(Tiny().eval(), size=20)
    assert classifier.classes == ("class 0", "class 1", "class 2")
    assert (classifier.name, classifier.cam_layer, classifier.weights) == ("Tiny", "relu", "own")
    assert classifier.preprocess(PIL.Image.new("RGB", (50, 40))).shape == (1, 3, 20, 20)
    whole = wrap(Tiny().eval())
    assert whole.preprocess(PIL.Image.new("RGB", (50, 40))).shape == (1, 3, 40, 50)


def test_a_network_with_one_channel_gets_grey_pictures():
    classifier = wrap(Tiny(1).eval())
    x = classifier.preprocess(PIL.Image.new("RGB", (8, 9), (255, 255, 255)))
    assert x.shape == (1, 1, 9, 8)
    assert (x == 1).all()
    assert classifier.predict(x).shape == (1, 3)


def test_preprocessing_follows_the_networks_dtype():
    classifier = wrap(Tiny().double().eval(), size=20)
    x = classifier.preprocess(PIL.Image.new("RGB", (20, 20)))
    assert x.dtype == classifier.predict(x).dtype == torch.float64


def test_prediction_is_the_modules_own():
    classifier = tiny()
    found = classifier.predict(images(5))
    torch.testing.assert_close(found, classifier.module(images(5)).detach(), rtol=1e-5, atol=1e-5)
    assert not found.requires_grad


def test_top_and_class_index():
    classifier = tiny()
    shares = classifier.predict(images()).softmax(1)
    found = classifier.top(images(), 2)
    for i, row in enumerate(found):
        order = shares[i].argsort(descending=True)[:2].tolist()
        assert [name for name, _ in row] == [classifier.classes[k] for k in order]
        assert [p for _, p in row] == pytest.approx(shares[i, order].tolist())
    assert [len(row) for row in classifier.top(images())] == [3, 3]
    assert [classifier.class_index(name) for name in ("dog", "0", "12")] == [1, 0, 2]
    with pytest.raises(ValueError, match="class must be a known name, got 'dgo'; did you mean dog"):
        classifier.class_index("dgo")


def test_a_class_called_by_a_number_is_not_the_class_of_that_number():
    digits = wrap(Tiny().eval(), ["1", "2", "crane"])
    assert [digits.class_index(name) for name in ("1", "2", "0", 2)] == [0, 1, 0, 2]
    assert digits.class_index(np.int64(2)) == 2
    for wrong in (True, 1.0, None):
        with pytest.raises(TypeError, match="class must be a name or a number, got"):
            digits.class_index(wrong)
    for wrong in ("3", 3, -1, "9" * 5000):
        with pytest.raises(ValueError, match=rf"class must be a name or in 0\.\.2, got {wrong}"):
            digits.class_index(wrong)
    cranes = replace(digits, classes=["crane", "dog", "crane"])
    assert cranes.class_index("dog") == 1
    with pytest.raises(ValueError, match="'crane' are 0 and 2: give the number"):
        cranes.class_index("crane")


REFUSED: dict[str, tuple[Any, type[Exception], str]] = {
    "no module": (lambda: wrap("resnet50"), TypeError, "module must be a torch.nn.Module, got str"),
    "classes": (lambda: wrap(Tiny().eval(), ["a"]), ValueError,
                "classes must name each of 3 logits, got 1"),
    "train mode": (lambda: wrap(Tiny()), ValueError, "module must be in eval mode, got train mode"),
    "one part": (lambda: wrap(_half_trained()), ValueError, "module must be in eval mode, got"),
    "layer": (lambda: wrap(Tiny().eval(), cam_layer="rleu"), ValueError,
              "layer must be a known name, got 'rleu'; did you mean relu"),
    "no positions": (lambda: wrap(Tiny().eval(), cam_layer="pool"), ValueError,
                     r"cam_layer must give feature maps \(N, C, h, w\) with h \* w > 1, .*; "
                     r"pool \(adaptive_avg_pool2d\) gives \(1, 4, 1, 1\)"),
    "no map": (lambda: wrap(Tiny().eval(), cam_layer="classes"), ValueError,
               r"cam_layer must give .* classes \(linear\) gives \(1, 3\)"),
    "two arguments": (lambda: wrap(TwoArguments().eval()), GraphError,
                      r"module must compute outputs .*forward\(\) missing 1 required positional"),
    "tuple": (lambda: wrap(Tuple().eval()), GraphError, "must return one tensor, .* a tuple of 2"),
    "not finite": (lambda: wrap(_with_nan()), ValueError,
                   "module must have finite weights and statistics, classes.bias has NaN"),
    "statistics": (lambda: wrap(_with_nan(nn.BatchNorm1d(3))), ValueError,
                   "module must have finite weights and statistics, 1.running_var has NaN"),
    "lazy": (lambda: wrap(nn.Sequential(Tiny(), nn.LazyLinear(3)).eval()), ValueError,
             "module must know its weights' shapes, 1.weight has none: call it once"),
    "inference": (lambda: wrap(_inferred()), ValueError,
                  "module must be made outside of torch.inference_mode"),
    "batch statistics": (lambda: wrap(nn.Sequential(
        Tiny(), nn.BatchNorm1d(3, track_running_stats=False)).eval()), ValueError,
        "module must keep statistics in its batch norms, 1 has none"),
    "one text": (lambda: wrap(Tiny().eval(), "cat"), TypeError, "classes must be a name .* for"),
    "a file": (lambda: load_model("mine.py"), ValueError, "module:function, as mine:make, got"),
    "maps": (lambda: wrap(Maps().eval(), size=20), GraphError,
             r"module must have a feature map \(N, C, H, W\); name a layer"),
    "no linear": (lambda: wrap(NoClasses().eval()), GraphError,
                  "module must have a linear layer or convolution that gives the classes"),
    "flat": (lambda: wrap(nn.Sequential(nn.Flatten(), nn.Linear(12, 2)).eval(), size=2), GraphError,
             "module must have a feature map"),
    "size": (lambda: wrap(Tiny().eval(), size=2), GraphError,
             r"module must take images \(N, 3, 2, 2\); "),
    "mean": (lambda: wrap(Tiny().eval(), mean=[0, 0]), GraphError,
             r"module must take images \(N, 2, 224, 224\); .* mean and std have 2 values, one for"),
    "grey": (lambda: wrap(Tiny().eval(), mean=[0.5]), GraphError,
             r"module must take images \(N, 1, 224, 224\); .* mean and std have 1 values, one for"),
    "x dtype": (lambda: tiny().predict(images().double()), TypeError,
                "x must be torch.float32 on cpu as the classifier's weights, got torch.float64 on"),
    "x integers": (lambda: tiny().predict(images().int()), TypeError, "x must be a floating-point"),
    "x channels": (lambda: tiny().predict(images(c=1)), ValueError, r"x must have 3 channels, got"),
    "x NaN": (lambda: tiny().predict(images() * torch.nan), ValueError, "x must be finite, got"),
    "x rank": (lambda: tiny().predict(images()[0]), ValueError, r"x must have shape \(N, C, H, W"),
    "x small": (lambda: tiny().predict(images(side=2)), GraphError, "module must take images "),
    "device": (lambda: wrap(Tiny().eval().to("meta")).check(images()), TypeError,
               "x must be torch.float32 on meta as the classifier's weights, got torch"),
}  # fmt: skip


def _with_nan(norm: nn.Module | None = None) -> nn.Module:
    module = Tiny().eval()
    with torch.no_grad():
        if norm is None:
            module.classes.bias[1] = torch.nan
            return module
        norm.running_var[1] = torch.nan
    return nn.Sequential(module, norm).eval()


def _inferred() -> nn.Module:
    with torch.inference_mode():
        return Tiny().eval()


def _half_trained() -> nn.Module:
    module = Tiny().eval()
    module.relu.train()
    return module


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_explained_is_refused_in_words(case):
    call, error, match = REFUSED[case]
    with pytest.raises(error, match=match):
        call()


def test_a_hook_that_changes_results_is_part_of_the_network():
    network = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()
    ).append(torch.nn.Linear(4, 2))
    network.eval()
    seen = []
    handle = network[0].register_forward_hook(lambda module, inputs, output: seen.append(1))
    classifier = wrap(network, size=16)
    handle.remove()
    assert seen == [1, 1]  # captured, and asked
    network[0].register_forward_hook(lambda module, inputs, output: output * 9 + 3)
    x = images(side=16)
    assert torch.allclose(classifier.predict(x), network(x).detach(), atol=1e-5)


@pytest.mark.parametrize(
    "head", [lambda y, w, b: y @ w, lambda y, w, b: y @ w + b, lambda y, w, b: (y @ w) * 2]
)
def test_a_linear_layer_written_as_a_product_gives_the_classes(head):
    class Product(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            layers = nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.ReLU()
            self.features = nn.Sequential(*layers)
            self.weight, self.bias = nn.Parameter(torch.randn(4, 3)), nn.Parameter(torch.randn(3))

        def forward(self, x: Tensor) -> Tensor:
            return head(self.features(x).mean((2, 3)), self.weight, self.bias)

    torch.manual_seed(0)
    classifier = wrap(Product().eval(), size=16)
    assert classifier.cam_layer == "features"
    x = images(side=16)
    found = explain(classifier, x, composite="epsilon")
    shares = found.conservation.shares()
    torch.testing.assert_close(sum(shares.values()), torch.ones(2), rtol=0, atol=1e-4)


def test_the_network_itself_is_no_classifier():
    for call in (explain, grad_cam_plus_plus, METHODS["saliency"], explain_layers, slic):
        with pytest.raises(TypeError, match=r"must be a Classifier, as wrap .* Tiny"):
            call(Tiny().eval(), images())


def test_settings_tell_apart_what_gives_other_maps():
    x = images(side=16)
    at_relu, at_conv = (wrap(Tiny().eval(), cam_layer=layer) for layer in ("relu", "convolution"))
    one, two = (explain(c, x, cam_layer="relu").settings for c in (at_relu, at_conv))
    assert one != two
    assert (one["head_after"], two["head_after"]) == ("relu", "convolution")
    assert explain(at_relu, x, gates="half").settings["gates"] == "half"


def test_weights_say_how_they_do_not_fit(tmp_path):
    state = random_net().state_dict()
    torch.save({f"module.{key}": value for key, value in state.items()}, tmp_path / "parallel.pth")
    with pytest.raises(ValueError, match="without a DataParallel around it"):
        load_model(SMALL, tmp_path / "parallel.pth")
    state["classifier.1.bias"] = torch.zeros(5)
    torch.save(state, tmp_path / "five.pth")
    with pytest.raises(ValueError, match=r"a network that you changed, give to wrap"):
        load_model(SMALL, tmp_path / "five.pth")
    with pytest.raises(FileNotFoundError, match=r"must be a file with a state dict, .* is none"):
        load_model(SMALL, tmp_path)


@pytest.mark.parametrize("table", [METHODS, METRICS, COMPOSITES, CAMS, MODELS])
def test_a_table_answers_a_wrong_name_with_the_nearest(table):
    name = next(iter(table))
    with pytest.raises(KeyError, match=f"must be a known name, got .*; did you mean .*{name}"):
        table[f"{name}x"]
    assert table.get("absent") is None


# Names of the classes


NAMED = ("cat", "dog", "hen")


def named(classes: Any) -> tuple[str, ...]:
    return replace(tiny(), classes=classes).classes


@pytest.mark.parametrize(
    "classes",
    [
        {2: "hen", 0: "cat", 1: "dog"},
        {np.int64(2): "hen", 0: "cat", "1": "dog"},
        MappingProxyType({1: "dog", 0: "cat", 2: "hen"}),
        np.array(NAMED),
        list(NAMED),
    ],
    ids=lambda one: type(one).__name__,
)
def test_classes_are_named_by_index_or_in_order(classes):
    found = named(classes)
    assert found == NAMED
    assert {type(name) for name in found} == {str}


MAPPED = r"classes must map each index in 0\.\.2 to its name, as a model's id2label does, got "
MISNAMED: dict[str, tuple[Any, type[Exception], str]] = {
    "name to index": ({"cat": 0, "dog": 1, "hen": 2}, ValueError, MAPPED),
    "from one": ({1: "cat", 2: "dog", 3: "hen"}, ValueError, MAPPED),
    "a gap": ({0: "cat", 2: "hen"}, ValueError, MAPPED),
    "twice": ({0: "cat", "0": "dog", 1: "hen", 2: "owl"}, ValueError, MAPPED),
    "fractions": ({0.0: "cat", 1.0: "dog", 2.0: "hen"}, ValueError, MAPPED),
    "truth": ({False: "cat", True: "dog", 2: "hen"}, ValueError, MAPPED),
    "a set": (set(NAMED), TypeError, "classes must be a name .* got set"),
    "keys": ({"cat": 0, "dog": 1, "hen": 2}.keys(), TypeError, "got dict_keys"),
    "a generator": ((name for name in NAMED), TypeError, "got generator"),
    "a text": ("abc", TypeError, "got str 'abc'"),
    "numbers": ([0, 1, 2], TypeError, r"classes must be a name \(str\) .* got list"),
    "an array of numbers": (np.arange(3), TypeError, "got list"),
    "a tensor": (torch.arange(3), TypeError, "got Tensor"),
    "a name missing": (["cat", None, "hen"], TypeError, "got list"),
    "values of another type": ({0: "cat", 1: ["dog"], 2: "hen"}, TypeError, "got list"),
    "few": (["cat", "dog"], ValueError, "classes must name each of 3 logits, got 2"),
    "none": ([], ValueError, "classes must name each of 3 logits, got 0"),
}


@pytest.mark.parametrize("case", MISNAMED)
def test_classes_whose_order_is_not_known_are_refused(case):
    classes, error, match = MISNAMED[case]
    with pytest.raises(error, match=match):
        named(classes)


def test_two_classes_may_have_one_name():
    assert named(["cat", "cat", "dog"]) == ("cat", "cat", "dog")  # as ImageNet's two cranes


# Preprocessing


PREPROCESSED: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "mean of bytes": ({"mean": [123.675, 116.28, 103.53]}, ValueError, "mean must be in .0, 1."),
    "std of bytes": ({"std": [58.395, 57.12, 57.375]}, ValueError, "std must be in .* by 255"),
    "both of bytes": ({"mean": [123.7] * 3, "std": [58.4] * 3}, ValueError, "both mean and std"),
    "to bytes twice": ({"mean": [0.0] * 3, "std": [255.0] * 3}, ValueError, "std must be in"),
    "Caffe": ({"mean": [104, 117, 124], "std": [1, 1, 1]}, ValueError, r"\(a std of 1 too\)"),
    "std of nothing": ({"std": [0.5, 0.0, 0.5]}, ValueError, "std must be > 0"),
    "std unknown": ({"std": [0.5, float("nan"), 0.5]}, ValueError, "std must be finite, got nan"),
    "mean one number": ({"mean": 0.5}, TypeError, "mean must be a list .* got float 0.5"),
    "std one number": ({"std": 0.5}, TypeError, "std must be a list .* got float 0.5"),
    "mean empty": ({"mean": []}, TypeError, "mean must be a list .* got list"),
    "two channels": ({"mean": [0.5, 0.5]}, GraphError, "mean and std have 2 values, one for each"),
    "one channel": ({"mean": [0.5], "std": [0.5]}, GraphError, r"must take images \(N, 1, 224"),
    "size below": ({"size": -16}, ValueError, r"size must be pixels >= 1, .* got int -16"),
    "size zero": ({"size": (16, 0)}, ValueError, r"size must be .* got tuple \(16, 0\)"),
    "size truth": ({"size": True}, ValueError, "size must be .* got bool True"),
    "size a text": ({"size": "16"}, ValueError, "size must be .* got str '16'"),
    "sizes of fractions": ({"size": (16.7, 16)}, ValueError, "size must be .* got tuple"),
    "size of three": ({"size": (3, 16, 16)}, ValueError, "size must be .* got tuple .3, 16, 16."),
    "both": ({"size": 16, "transform": Transform()}, ValueError, "size must be left out where tr"),
    "a function": ({"transform": np.asarray}, TypeError, "transform must be a Transform, .* got"),
}


@pytest.mark.parametrize("case", PREPROCESSED)
def test_wrong_preprocessing_is_refused_with_the_way_out(case):
    given, error, match = PREPROCESSED[case]
    with pytest.raises(error, match=match):
        wrap(Tiny().eval(), **given)


def test_a_swapped_size_is_told_where_the_network_does_not_take_it():
    layers = nn.Conv2d(3, 2, 3), nn.ReLU(), nn.AvgPool2d((6, 14)), nn.Flatten(), nn.Linear(2, 2)
    net = nn.Sequential(*layers).eval()
    assert wrap(net, size=(8, 16)).transform.size == (8, 16)
    with pytest.raises(GraphError, match=r"size is \(height, width\), got \(16, 8\)"):
        wrap(net, size=(16, 8))


@pytest.mark.parametrize("make", [list, tuple, np.array, torch.tensor], ids=lambda f: f.__name__)
def test_preprocessing_may_come_as_an_array(make):
    look = wrap(Tiny().eval(), mean=make([0.25] * 3), std=make([0.5] * 3), size=make([16, 20]))
    assert look.transform == Transform((16, 20), None, (0.25,) * 3, (0.5,) * 3)
    assert repr(look.transform) == repr(Transform((16, 20), None, (0.25,) * 3, (0.5,) * 3))
    assert wrap(Tiny().eval(), size=np.int64(16)).transform.size == (16, 16)


def test_pixels_of_a_network_for_bytes_are_those_of_its_training():
    """Caffe's networks: 255 x less the mean is (x - mean / 255) / (1 / 255)."""
    mean = (104.0, 117.0, 124.0)
    made = wrap(Tiny().eval(), mean=[m / 255 for m in mean], std=[1 / 255] * 3, size=4)
    pixels = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    found = made.preprocess(PIL.Image.fromarray(pixels))[0].permute(1, 2, 0)
    np.testing.assert_allclose(found, pixels - np.array(mean), atol=1e-3)
