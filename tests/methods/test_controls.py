"""Baselines, controls and the hybrid as records, and their settings."""

from __future__ import annotations

from functools import cache
from inspect import signature
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from xaiutils.hybrid import explain, smooth
from xaiutils.methods import CannotExplain, Method, baselines, controls
from xaiutils.network.classifier import Classifier, load_model, wrap
from xaiutils.pictures.scenes import samples

RECORDS = {record.name: record for record in controls.TABLE}
by_name = pytest.mark.parametrize("name", RECORDS)


@cache
def network() -> Classifier:
    return load_model("scenes_vgg_seed0")


def scenes(count: int = 2) -> Tensor:
    return network().preprocess(samples("test", count))[:, :, 32:96, 24:104]  # not square


def test_settings_are_those_of_explain():
    defaults = {key: p.default for key, p in signature(explain).parameters.items()}
    found = {(key, s.default) for r in controls.TABLE for key, s in r.settings.items()}
    assert found == {
        (key, defaults[key]) for key in ("threshold", "sigma", "composite", "cam", "start")
    }


def test_the_hybrid_and_its_parts_are_explains():
    classifier, x = network(), scenes()
    settings: dict[str, Any]
    for settings in (
        {},
        {"threshold": 0.5, "sigma": 3.0, "composite": "epsilon_plus", "cam": "grad_cam"},
    ):
        whole = explain(classifier, x, [1, 4], **settings)
        sigma = float(whole.settings["sigma"])
        edges = torch.cat([baselines.sobel_edges(image[None]) for image in x])
        expected = {
            "hybrid": whole.hybrid,
            "bounded_cam": whole.bounded,
            "bounded_cam_smoothed": smooth(whole.bounded, sigma),
            "lrp_smoothed": smooth(whole.relevance, sigma),
            "bounded_edges": smooth(whole.bounded * edges, sigma),
        }
        for name, maps in expected.items():
            record = RECORDS[name]
            own = {key: value for key, value in settings.items() if key in record.settings}
            assert torch.equal(record(classifier, x, [1, 4], **own), maps), name
        noise_map = RECORDS["bounded_noise"](
            classifier, x, [1, 4],
            **{key: value for key, value in settings.items() if key != "composite"},
        )  # fmt: skip
        support = smooth((whole.bounded > 0).float(), sigma) > 0
        assert not noise_map[~support].any()


def test_the_bounded_noise_is_absolute_gaussian_noise():
    # Without threshold the figure is the CAM itself, and sigma = 0 leaves the noise as it is:
    # map / CAM is |noise|, whose mean is sqrt(2 / pi) and whose mean square is 1.
    classifier, x = network(), scenes()
    found = RECORDS["bounded_noise"](classifier, x, 1, threshold=0.0, sigma=0.0)
    cam = explain(classifier, x, 1).cam
    values = (found / cam)[cam > 0.1]
    assert len(values) > 2000
    assert float(values.mean()) == pytest.approx((2 / torch.pi) ** 0.5, abs=0.05)
    assert float(values.square().mean()) == pytest.approx(1, abs=0.1)


def test_chance_depends_on_the_image_and_the_seed_alone():
    classifier, x = network(), scenes()
    record = RECORDS["random_map"]
    maps = record(classifier, x, 0)
    assert not torch.equal(maps[0], maps[1])  # images do not share their luck
    assert torch.equal(maps, record(classifier, x, 3))
    assert torch.equal(maps.flip(0), record(classifier, x.flip(0), 0))
    assert not torch.equal(maps, record(classifier, x + 1e-3, 0))
    assert maps.min() >= 0
    assert maps.max() < 1
    assert float(maps.mean()) == pytest.approx(0.5, abs=0.01)
    both = torch.stack([maps.flatten(), record(classifier, x, 0, seed=1).flatten()])
    assert abs(float(torch.corrcoef(both)[0, 1])) < 0.05


def test_baselines_are_those_of_the_module():
    classifier, x = network(), scenes()
    found = RECORDS["centre_prior"](classifier, x, 0)
    assert torch.equal(found, baselines.centre_prior(x))
    found = RECORDS["sobel_edges"](classifier, x, 0)
    assert torch.equal(found[1:], baselines.sobel_edges(x[1:]))


def test_a_network_without_a_rule_is_refused_by_what_needs_one():
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convolution, self.classes = nn.Conv2d(3, 4, 3), nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            a = torch.relu(self.convolution(x))
            return self.classes(torch.cumsum(a, 3).mean((2, 3)))

    torch.manual_seed(0)
    classifier = wrap(Odd().eval(), size=8)
    x = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    for name in ("lrp_smoothed", "hybrid"):
        with pytest.raises(CannotExplain, match=f"{name} cannot explain Odd: no relevance rule"):
            RECORDS[name](classifier, x, 0)
    for name in ("bounded_cam", "bounded_noise", "bounded_edges"):
        assert RECORDS[name](classifier, x, 0).shape == (1, 8, 8)


@by_name
def test_wrong_settings_are_refused(name):
    record: Method = RECORDS[name]
    wrong = {
        "threshold": (1.5, ValueError, "threshold must be >= 0 and < 1, got 1.5"),
        "sigma": (-2, ValueError, "sigma must be >= 0, got -2"),
        "composite": ("papper", ValueError, "composite must be a known name, got 'papper'"),
        "cam": (3, TypeError, "cam must be a name"),
        "start": ("two", ValueError, "start must be a known name, got 'two'"),
    }
    for key in record.settings:
        value, error, message = wrong[key]
        with pytest.raises(error, match=message):
            record(network(), scenes(1), 0, **{key: value})
    with pytest.raises(TypeError, match=f"{name} has no setting 'sharpness'"):
        record(network(), scenes(1), 0, sharpness=1)
