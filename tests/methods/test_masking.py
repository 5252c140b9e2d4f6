"""Score-CAM and Ablation-CAM: worked by hand, beside slow loops, and grad-cam's own traps."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import pytorch_grad_cam
import torch
import torch.nn.functional as F
import tqdm
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import Tensor, nn
from torchvision.models import VisionTransformer

from xaiutils.methods import masking
from xaiutils.methods.masking import TABLE
from xaiutils.network.classifier import Classifier, load_model, wrap
from xaiutils.network.hookable import Twin
from xaiutils.support import asking

RECORDS = {record.name: record for record in TABLE}
by_name = pytest.mark.parametrize("name", RECORDS)


class TwoChannels(nn.Module):
    """A = (relu(x), relu(-x)), and logits that are sums of A with these weights."""

    def __init__(self, weights: list[list[float]]) -> None:
        super().__init__()
        self.convolution, self.relu = nn.Conv2d(1, 2, 1, bias=False), nn.ReLU()
        self.pool, self.classes = nn.AdaptiveAvgPool2d(1), nn.Linear(2, len(weights), bias=False)
        self.convolution.weight.data = torch.tensor([1.0, -1.0]).view(2, 1, 1, 1)
        self.classes.weight.data = 4 * torch.tensor(weights)  # four pixels: mean to sum

    def forward(self, x: Tensor) -> Tensor:
        return self.classes(self.pool(self.relu(self.convolution(x))).flatten(1))


WORKED = torch.tensor([[[[1.0, -2.0], [3.0, 0.0]]]])  # A1 = [[1, 0], [3, 0]], A2 = [[0, 2], [0, 0]]


def worked() -> Classifier:
    """Logits of WORKED: ΣA1 - ΣA2 = 2; ΣA2 = 2; ΣA2 - ΣA1 = -2; 0."""
    weights = [[1.0, -1.0], [0.0, 1.0], [-1.0, 1.0], [0.0, 0.0]]
    return wrap(TwoChannels(weights).eval(), size=2)


class Small(nn.Module):
    """Two convolutions, a ReLU that can be told never to be 0, two linear layers."""

    def __init__(self, shift: float = 0.0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 8, 3, padding=1)
        self.relu, self.pool = nn.ReLU(), nn.AdaptiveAvgPool2d(2)
        self.hidden, self.classes = nn.Linear(32, 10), nn.Linear(10, 5)
        self.second.bias.data += shift

    def features(self, x: Tensor) -> Tensor:
        return self.relu(self.second(F.max_pool2d(self.first(x).relu(), 2)))

    def head(self, a: Tensor) -> Tensor:
        return self.classes(self.hidden(self.pool(a).flatten(1)).relu())

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))


def small(shift: float = 0.0) -> tuple[Small, Classifier]:
    module = Small(shift).eval()
    return module, wrap(module, size=(12, 16), cam_layer="relu")


def noise(count: int = 3) -> Tensor:
    return torch.randn(count, 3, 12, 16, generator=torch.Generator().manual_seed(1))


def scaled(maps: Tensor) -> Tensor:
    low, high = maps.amin((1, 2), keepdim=True), maps.amax((1, 2), keepdim=True)
    return (maps - low) / (high - low + 1e-7)


def image(raw: Tensor, size: tuple[int, ...]) -> Tensor:
    """ReLU, scaling, upsampling and scaling, as the library does."""
    small_map = scaled(raw.clamp(min=0))
    return scaled(F.interpolate(small_map[:, None], size, mode="bilinear")[:, 0])


def score_cam_loop(module: Small, x: Tensor, target: list[int]) -> Tensor:
    """One mask at a time, in float64."""
    maps = []
    for picture, t in zip(x, target, strict=True):
        a = module.features(picture[None])[0]
        scores = []
        for channel in a:
            up = F.interpolate(
                channel[None, None], x.shape[2:], mode="bilinear", align_corners=True
            )
            mask = (up - up.min()) / (up.max() - up.min() + 1e-8)
            scores.append(float(module(picture[None] * mask)[0, t]))
        total = sum(math.exp(s) for s in scores)
        maps.append(sum(math.exp(s) / total * c for s, c in zip(scores, a, strict=True)))
    return image(torch.stack(maps), x.shape[2:])


def ablation_cam_loop(module: Small, x: Tensor, target: list[int]) -> Tensor:
    """One channel at a time set to zero before the head, in float64."""
    maps = []
    for picture, t in zip(x, target, strict=True):
        a = module.features(picture[None])
        logit, raw = float(module.head(a)[0, t]), torch.zeros_like(a[0, 0])
        for k in range(a.shape[1]):
            without = a.clone()
            without[:, k] = 0
            raw += (logit - float(module.head(without)[0, t])) / logit * a[0, k]
        maps.append(raw)
    return image(torch.stack(maps), x.shape[2:])


LOOPS: dict[str, Any] = {"score_cam": score_cam_loop, "ablation_cam": ablation_cam_loop}


@by_name
@pytest.mark.parametrize("shift", [0, 2])
def test_equal_to_a_slow_loop(name, shift):
    module, classifier = small(shift)
    x, target = noise(), [0, 3, 4]
    found = RECORDS[name](classifier, x, target)
    with torch.no_grad():
        expected = LOOPS[name](module.double(), x.double(), target)
    assert (expected.amax((1, 2)) > 0.99).sum() >= 2  # one map is empty
    np.testing.assert_allclose(found.numpy(), expected.numpy(), atol=2e-5)


def test_score_cam_worked_by_hand():
    # Masks: M1 = A1 / 3, M2 = A2 / 2. x M1 = [[1/3, 0], [3, 0]] has the logit 1/3 + 3 = 10/3,
    # x M2 = [[0, -2], [0, 0]] the logit -2. So w1 = 1 / (1 + exp(-16/3)), w2 = 1 - w1, and the map
    # [[w1, 2 w2], [3 w1, 0]] is divided by its largest value, 3 w1.
    w = 1 / (1 + math.exp(-16 / 3))
    found = RECORDS["score_cam"](worked(), WORKED, 0)
    expected = torch.tensor([[[1 / 3, 2 * (1 - w) / (3 * w)], [1, 0]]])
    assert torch.allclose(found, expected, atol=1e-6)


def test_ablation_cam_worked_by_hand():
    # Class 0, logit 2: without A1 it is -2, w1 = (2 + 2) / 2 = 2; without A2 it is 4,
    # w2 = (2 - 4) / 2 = -1. relu(2 A1 - A2) = [[2, 0], [6, 0]].
    found = RECORDS["ablation_cam"](worked(), WORKED, 0)
    assert torch.allclose(found, torch.tensor([[[1 / 3, 0], [1, 0]]]), atol=1e-6)
    # Class 1, logit 2: without A1 still 2, w1 = 0; without A2 it is 0, w2 = 1.
    found = RECORDS["ablation_cam"](worked(), WORKED, 1)
    assert torch.allclose(found, torch.tensor([[[0, 1.0], [0, 0]]]), atol=1e-6)


def test_a_negative_logit_turns_ablation_cams_weights_over():
    # Class 2 is class 0 with the other sign, logit -2: w1 = (-2 - 2) / -2 = 2 and
    # w2 = (-2 + 4) / -2 = -1, as for class 0, although A1 speaks against this class.
    maps = [RECORDS["ablation_cam"](worked(), WORKED, target) for target in (0, 2)]
    assert torch.equal(*maps)


def test_ablation_cam_refuses_a_logit_of_exactly_zero():
    both = torch.cat([WORKED, WORKED])
    with pytest.raises(ValueError, match="got exactly 0 for class 3 at image 1"):
        RECORDS["ablation_cam"](worked(), both, [0, 3])
    assert RECORDS["score_cam"](worked(), WORKED, 3).any()  # it divides by no logit


def test_the_library_switches_a_channel_off_otherwise_where_none_is_zero():
    module, classifier = small(shift=2)
    assert module.features(noise()).min() > 0
    twin = Twin(classifier.graph, cam_layer="relu")
    run = pytorch_grad_cam.AblationCAM(model=twin, target_layers=[twin.cam_layer])
    targets = [ClassifierOutputTarget(0)] * 3
    with torch.no_grad():
        theirs = run(input_tensor=noise(), targets=targets)
    ours = RECORDS["ablation_cam"](classifier, noise(), 0)
    assert np.abs(theirs - ours.numpy()).max() > 0.1


@by_name
def test_the_library_gives_the_same_map_on_the_module_itself(name):
    module, classifier = small()
    theirs = {"score_cam": pytorch_grad_cam.ScoreCAM, "ablation_cam": pytorch_grad_cam.AblationCAM}
    run = theirs[name](model=module, target_layers=[module.relu])
    with torch.no_grad():
        expected = run(input_tensor=noise(), targets=[ClassifierOutputTarget(t) for t in (0, 3, 4)])
    found = RECORDS[name](classifier, noise(), [0, 3, 4])
    # The logits come from another memory layout than the library's: other last bits.
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-5)


@by_name
def test_batch_size_is_not_seen_in_the_map(name):
    record, (_, classifier) = RECORDS[name], small()
    maps = [record(classifier, noise(), 1, batch_size=size) for size in (1, 3, 8, 50)]
    for other in maps[1:]:
        assert torch.allclose(maps[0], other, atol=1e-5)


@by_name
@pytest.mark.parametrize(
    ("size", "error", "message"),
    [
        (0, ValueError, "batch_size must be >= 1, got 0"),
        (2.5, ValueError, r"batch_size must be a whole number, got 2\.5"),
        ("many", TypeError, "batch_size must be a number, got str 'many'"),
    ],
)
def test_wrong_batch_sizes_are_refused(name, size, error, message):
    with pytest.raises(error, match=message):
        RECORDS[name](small()[1], noise(), 1, batch_size=size)


@by_name
def test_the_librarys_habits_stay_with_it(name, capsys, monkeypatch):
    before = pytorch_grad_cam.score_cam.tqdm, pytorch_grad_cam.ablation_cam.tqdm
    classifier = small()[1]
    RECORDS[name](classifier, noise(1), 2)
    monkeypatch.setattr(masking, "answer", lambda output, question: output[:, 99])
    with pytest.raises(IndexError):  # its `with` block would swallow this
        RECORDS[name](classifier, noise(1), 2)
    assert capsys.readouterr() == ("", "")  # no bar
    assert (pytorch_grad_cam.score_cam.tqdm, pytorch_grad_cam.ablation_cam.tqdm) == before
    assert before == (tqdm, tqdm)


@by_name
def test_can_be_cancelled(name):
    asked = []

    def enough() -> bool:
        asked.append(1)
        return len(asked) > 3

    with pytest.raises(asking.Cancelled), asking.watch(cancelled=enough) as seen:
        RECORDS[name](small()[1], noise(), 1, batch_size=2)
    assert 0 < seen.images < RECORDS[name].cost(1, 0, C=8)


@by_name
def test_on_a_torchvision_network_whose_cam_layer_is_a_residual_sum(name):
    classifier = load_model("resnet18", "random", cam_layer="layer1")
    x = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    maps = [RECORDS[name](classifier, x, target) for target in (3, 4)]
    assert maps[0].min() == 0
    assert 0.99 < maps[0].max() <= 1
    assert not torch.equal(*maps)


def small_transformer() -> Classifier:
    torch.manual_seed(0)
    module = VisionTransformer(
        image_size=32, patch_size=8, num_layers=2, num_heads=2, hidden_dim=8, mlp_dim=16,
        num_classes=5,
    )  # fmt: skip
    nn.init.normal_(module.heads.head.weight)  # zero by default
    return wrap(module.eval(), size=32)


def test_a_transformers_tokens_are_its_maps():
    classifier = small_transformer()
    x = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    t = int(classifier.predict(x).argmax())
    graph, size = classifier.graph, (x.shape[2], x.shape[3])
    layer = graph.find(classifier.cam_layer)
    a = graph.value_at(layer, x)
    assert a.ndim == 3
    maps = a[0, 1:].mT.unflatten(1, (4, 4))  # the first is the class token
    logit, weights, scores = float(classifier.predict(x)[0, t]), [], []
    for k, channel in enumerate(maps):
        twin = Twin(graph, cam_layer=classifier.cam_layer)
        kept = torch.ones(a.shape[2])
        kept[k] = 0  # in the class token as well
        twin.cam_layer.register_forward_hook(lambda _, __, out, kept=kept: out * kept)
        up = F.interpolate(channel[None, None], size, mode="bilinear", align_corners=True)
        mask = (up - up.min()) / (up.max() - up.min() + 1e-8)
        with torch.no_grad():
            weights.append((logit - float(twin(x)[0, t])) / logit)
        scores.append(float(classifier.predict(x * mask)[0, t]))
    for name, values in (
        ("ablation_cam", torch.tensor(weights)),
        ("score_cam", torch.tensor(scores).softmax(0)),
    ):
        raw = torch.einsum("k,kij->ij", values, maps)[None]
        found = RECORDS[name](classifier, x, t)
        assert found.max() > 0.99
        np.testing.assert_allclose(found.numpy(), image(raw, size).numpy(), atol=1e-4)
