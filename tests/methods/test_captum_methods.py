"""captum's methods as records: cost, cancelling, segments, references and wrong settings."""

from __future__ import annotations

import functools
import random
from typing import Any

import numpy as np
import pytest
import torch
from networks import untrained
from torch import Tensor

from xaiutils.methods import METHODS, CannotExplain, Method
from xaiutils.methods.segments import slic
from xaiutils.network.classifier import Classifier, load_model
from xaiutils.network.hookable import Twin
from xaiutils.pictures import scenes
from xaiutils.support import asking

RECORDS = {m.name: m for m in METHODS.values() if m.family in ("gradient", "perturbation")}
QUICK: dict[str, dict[str, Any]] = {  # little work: these tests ask for the contract, not quality
    "integrated_gradients": {"n_steps": 4},
    "smooth_grad": {"n_samples": 3, "batch_size": 2},
    "gradient_shap": {"n_samples": 3, "n_baselines": 2, "batch_size": 2},
    "deep_lift_shap": {"n_baselines": 2},
    "occlusion": {"window": 0.5},
    "shapley_sampling": {"n_samples": 1},
    "lime": {"n_samples": 14},
    "kernel_shap": {"n_samples": 14},
}
names = pytest.mark.parametrize("name", RECORDS)


@functools.cache
def scene_classifier() -> Classifier:
    return load_model("scenes_vgg_seed0")


@functools.cache
def scene_images() -> Tensor:
    return scene_classifier().preprocess(scenes.samples("unit", 2))


@functools.cache
def few_segments() -> Tensor:
    return slic(scene_classifier(), scene_images(), n_segments=9)


def used(record: Method) -> dict[str, Any]:
    """Quick settings, with the segments of both images where the method needs some."""
    found = dict(QUICK.get(record.name, {}))
    return found | ({"segments": few_segments()} if "segments" in record.needs else {})


def explained(name: str) -> Tensor:
    record = RECORDS[name]
    return record(scene_classifier(), scene_images(), [1, 4], **used(record))


first = functools.cache(explained)


def states() -> tuple[Any, ...]:
    return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()  # noqa: NPY002


@names
def test_the_cost_is_the_formula(name: str) -> None:
    record, asked, answered = RECORDS[name], 0, 0
    real = Twin.forward

    def counting(self: Twin, x: Tensor) -> Tensor:
        logits = real(self, x)
        if logits.requires_grad:
            logits.register_hook(count)
        return logits

    def count(gradient: Tensor) -> None:
        nonlocal answered
        answered += len(gradient)

    with pytest.MonkeyPatch.context() as patch, asking.watch() as seen:
        patch.setattr(Twin, "forward", counting)
        explained(name)
        asked = seen.images
    segments = [int(labels.max()) + 1 for labels in few_segments()]
    settings = {key: v for key, v in used(record).items() if key != "segments"}
    assert asked == sum(record.cost(1, 0, S=count, **settings) for count in segments)
    assert answered == sum(record.cost(0, 1, S=count, **settings) for count in segments)
    assert (answered == 0) == (record.family == "perturbation")


@pytest.mark.parametrize(
    "name", ["integrated_gradients", "deep_lift_shap", "occlusion", "lime", "shapley_sampling"]
)
def test_a_method_can_be_cancelled_halfway_and_leaves_no_trace(name: str) -> None:
    record, before, calls = RECORDS[name], states(), 0

    def cancelled() -> bool:
        nonlocal calls
        calls += 1
        return calls > 1

    small = {key: 2 for key in record.settings if key == "batch_size"}
    with pytest.raises(asking.Cancelled), asking.watch(cancelled=cancelled) as seen:
        record(scene_classifier(), scene_images(), [1, 4], **(used(record) | small))
    assert 0 < seen.images <= 2
    assert states() == before
    module = scene_classifier().module
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in module.modules())
    assert torch.equal(explained(name), first(name))


def test_the_bar_expects_the_cost(capsys: pytest.CaptureFixture[str]) -> None:
    settings = used(RECORDS["lime"])
    RECORDS["lime"](scene_classifier(), scene_images(), [1, 4], progress=True, **settings)
    drawn = capsys.readouterr().err
    assert "LIME" in drawn
    assert "/28" in drawn


def test_occlusion_by_segments_is_feature_ablation() -> None:
    assert torch.equal(first("occlusion_segments"), first("feature_ablation"))


@pytest.mark.parametrize("name", [n for n, r in RECORDS.items() if "segments" in r.needs])
def test_segments_are_slic_unless_given(name: str) -> None:
    record, x = RECORDS[name], scene_images()[:1]
    settings = dict(QUICK.get(name, {})) | (
        {"n_samples": 60} if "n_samples" in QUICK.get(name, {}) else {}
    )
    if name == "shapley_sampling":
        settings["n_samples"] = 1
    segments = slic(scene_classifier(), x)
    default = record(scene_classifier(), x, 1, **settings)
    assert torch.equal(default, record(scene_classifier(), x, 1, segments=segments, **settings))
    for label in range(int(segments.max()) + 1):
        assert len(default[segments == label].unique()) == 1


@pytest.mark.parametrize("name", ["guided_backprop", "deconvolution", "guided_grad_cam"])
@pytest.mark.parametrize(
    "network", [pytest.param("efficientnet_b0", marks=pytest.mark.slow), "mobilenet_v2"]
)
def test_what_changes_relus_refuses_networks_without(name: str, network: str) -> None:
    classifier = untrained(network)
    has = {"efficientnet_b0": "silu", "mobilenet_v2": "hardtanh"}[network]
    with pytest.raises(
        CannotExplain, match=rf"the network has none \(it has .*{has}.*\); saliency"
    ):
        RECORDS[name](classifier, torch.zeros(1, 3, 64, 64), 0)


WRONG = [
    ("integrated_gradients", {"n_steps": 0}, "n_steps must be >= 1, got 0"),
    ("integrated_gradients", {"n_steps": 2.5}, "n_steps must be a whole number, got 2.5"),
    ("integrated_gradients", {"batch_size": 0}, "batch_size must be >= 1, got 0"),
    ("integrated_gradients", {"baseline": float("nan")}, "baseline must be finite, got nan"),
    ("deep_lift", {"baseline": torch.zeros(4)}, r"baseline must be a number or \(3,\), .*\(4,\)"),
    ("lime", {"baseline": torch.zeros(2, 3, 128, 128)}, r"as one image, got \(2, 3, 128, 128\)"),
    ("occlusion", {"baseline": torch.full((3,), torch.inf)}, "baseline must be finite, got NaN"),
    ("occlusion", {"window": 0}, "window must be > 0, got 0"),
    ("occlusion", {"window": 1.5}, "window must be >= 0 and <= 1, got 1.5"),
    ("occlusion", {"stride": 0}, "stride must be > 0, got 0"),
    ("smooth_grad", {"noise": -1}, "noise must be >= 0, got -1"),
    ("smooth_grad", {"n_samples": 0}, "n_samples must be >= 1, got 0"),
    ("gradient_shap", {"n_baselines": 0}, "n_baselines must be >= 1, got 0"),
    ("gradient_shap", {"baselines": torch.zeros(3, 128, 128)}, r"must be \(n, 3, 128, 128\)"),
    ("deep_lift_shap", {"baselines": torch.zeros(0, 3, 128, 128)}, "with n >= 1, got"),
    ("deep_lift_shap", {"baselines": torch.full((1, 3, 128, 128), torch.nan)}, "must be finite"),
    ("guided_grad_cam", {"interpolation": "bicubic"}, "interpolation must be a known name"),
    ("lime", {"kernel_width": 0}, "kernel_width must be > 0, got 0"),
    ("lime", {"alpha": -1}, "alpha must be >= 0, got -1"),
    ("lime", {"n_samples": 25}, r"at least the number of segments \+ 1, 3\d, .* got 25"),
    ("kernel_shap", {"n_samples": 25}, r"at least the number of segments \+ 1, 3\d, .* got 25"),
    ("lime", {"segments": torch.zeros(2, 128, 128).long()}, "at least 2 per image to compare"),
    ("feature_ablation", {"segments": torch.ones(2, 128, 128).long()}, r"labelled 0, 1, \.\.\."),
]  # fmt: skip


@pytest.mark.parametrize(("name", "settings", "message"), WRONG)
def test_wrong_settings_are_refused(name: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RECORDS[name](scene_classifier(), scene_images(), 0, **settings)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("integrated_gradients", {"baseline": "black"}, "must be a number, got str 'black'"),
        ("feature_ablation", {"baseline": torch.zeros(3).int()}, "must be a floating-point tensor"),
        ("gradient_shap", {"baselines": 0}, r"must be a torch.Tensor \(n, C, H, W\), got int 0"),
        ("lime", {"n_samples": "9"}, "n_samples must be a number, got str '9'"),
    ],
)  # fmt: skip
def test_settings_of_a_wrong_type_are_refused(name: str, settings: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        RECORDS[name](scene_classifier(), scene_images(), 0, **settings)


@pytest.mark.parametrize(
    "name", ["integrated_gradients", "deep_lift", "occlusion", "feature_ablation"]
)
def test_a_reference_may_be_a_number_a_colour_or_a_picture(name: str) -> None:
    record, classifier, x = RECORDS[name], scene_classifier(), scene_images()[:1]
    settings = {k: v[:1] if k == "segments" else v for k, v in used(record).items()}
    black = classifier.bounds(x)[0]
    given = (black, black[0, :, 0, 0], black[0], black.expand_as(x), black[0].expand_as(x[0]), -2.0)
    maps = [record(classifier, x, 1, baseline=one, **settings) for one in given]
    assert float(black.unique()) == -2
    assert all(torch.equal(found, maps[0]) for found in maps)
    assert not torch.allclose(maps[0], record(classifier, x, 1, **settings), rtol=0.05)
