"""Segments: of the picture as people see it, without chance, labelled 0, 1, ... without gaps."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import Tensor, nn

from xaiutils.methods import METHODS
from xaiutils.methods.record import checked_segments
from xaiutils.methods.segments import slic
from xaiutils.network.classifier import Classifier, load_model, wrap
from xaiutils.pictures import scenes


def classifier_of(channels: int, side: int, mean: float = 0.0, std: float = 1.0) -> Classifier:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(channels, 2, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(2, 3),
    )  # fmt: skip
    return wrap(net.eval(), mean=[mean] * channels, std=[std] * channels, size=side)


def test_scenes_are_cut_into_about_as_many_segments_as_asked_without_gaps() -> None:
    classifier = load_model("scenes_vgg_seed0")
    x = classifier.preprocess(scenes.samples("unit", 2))
    state = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    found = slic(classifier, x)
    assert found.shape == (2, 128, 128)
    assert found.dtype == torch.int64
    for labels in found:
        count = int(labels.max()) + 1
        assert labels.unique().tolist() == list(range(count))
        assert 25 <= count <= 60
    assert torch.equal(check(found), found)
    assert torch.equal(slic(classifier, x), found)
    assert torch.equal(torch.cat([slic(classifier, x[i : i + 1]) for i in range(2)]), found)
    assert torch.equal(torch.get_rng_state(), state[0])
    assert np.array_equal(np.random.get_state()[1], state[1])  # noqa: NPY002
    assert int(slic(classifier, x, n_segments=12).max()) < int(found.max())


def test_no_segment_crosses_an_edge_whatever_the_normalisation() -> None:
    picture = torch.zeros(1, 3, 16, 16)
    picture[..., 6:] = 1
    for mean, std in ((0.0, 1.0), (0.5, 0.25)):
        (found,) = slic(classifier_of(3, 16, mean, std), (picture - mean) / std, n_segments=4)
        left, right = (set(half.flatten().tolist()) for half in (found[:, :6], found[:, 6:]))
        assert left.isdisjoint(right)
        assert sorted(left | right) == [0, 1, 2, 3]


def waves(channels: int) -> Tensor:
    """Wavy stripes, 32 x 32."""
    y, x = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
    return (0.5 + 0.5 * torch.sin(x / 3 + torch.sin(y / 4))).expand(1, channels, 32, 32)


def test_a_grey_picture_is_cut_as_the_same_picture_in_colour() -> None:
    one, three = (slic(classifier_of(c, 32), waves(c), 16) for c in (1, 3))
    assert torch.equal(one, three)
    assert int(one.max()) >= 8


def test_compactness_makes_segments_squarer() -> None:
    loose, tight = (slic(classifier_of(3, 32), waves(3), 16, c) for c in (10.0, 1000.0))
    assert borders(tight) < borders(loose)
    assert int(tight.max()) + 1 == 16


def borders(labels: Tensor) -> int:
    """How many neighbouring pixels lie in different segments."""
    down = (labels[:, 1:] != labels[:, :-1]).sum()
    return int(down + (labels[..., 1:] != labels[..., :-1]).sum())


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"n_segments": 0}, ValueError, "n_segments must be >= 1, got 0"),
        ({"n_segments": 2.5}, ValueError, "n_segments must be a whole number, got 2.5"),
        ({"n_segments": "9"}, TypeError, "n_segments must be a number, got str '9'"),
        ({"compactness": 0}, ValueError, "compactness must be > 0, got 0"),
    ],
)
def test_wrong_settings_are_refused(arguments, error, message) -> None:
    with pytest.raises(error, match=message):
        slic(classifier_of(3, 8), torch.rand(1, 3, 8, 8), **arguments)


def check(segments: Tensor) -> Tensor:
    found = checked_segments(segments, torch.zeros(len(segments), 3, *segments.shape[1:]))
    assert found is not None
    return found


LABELS = st.lists(st.integers(0, 5), min_size=12, max_size=12)


@settings(max_examples=60, deadline=None)
@given(LABELS)
def test_labels_are_accepted_exactly_when_they_have_no_gap(values: list[int]) -> None:
    segments = torch.tensor(values).reshape(1, 3, 4)
    if sorted(set(values)) == list(range(max(values) + 1)):
        assert torch.equal(check(segments), segments)
    else:
        with pytest.raises(ValueError, match=r"labelled 0, 1, \.\.\. without gaps, image 0"):
            check(segments)


@pytest.mark.parametrize(
    ("segments", "error", "message"),
    [
        (torch.zeros(1, 2, 2), TypeError, "segments must be whole numbers, got torch.float32"),
        (torch.zeros(1, 2, 2) > 0, TypeError, "segments must be whole numbers, got torch.bool"),
        (torch.tensor([[[1, 1], [2, 2]]]), ValueError, "image 0 has 2 labels from 1 to 2"),
        (torch.tensor([[[0, 1]], [[0, 2]]]), ValueError, "image 1 has 2 labels from 0 to 2"),
    ],
)
def test_wrong_segments_are_refused(segments, error, message) -> None:
    with pytest.raises(error, match=message):
        check(segments)


@pytest.mark.parametrize("name", ["feature_ablation", "lime", "shapley_sampling"])
def test_noise_that_slic_sees_as_one_segment_is_refused_with_a_remedy(name: str) -> None:
    classifier = classifier_of(3, 64)
    x = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    assert int(slic(classifier, x).max()) == 0
    with pytest.raises(ValueError, match=r"at least 2 per image to compare, got 1: SLIC"):
        METHODS[name](classifier, x, 1)
    finer = slic(classifier, x, compactness=100)
    assert int(finer.max()) > 20
    assert METHODS[name](classifier, x, 1, segments=finer).std() > 0
