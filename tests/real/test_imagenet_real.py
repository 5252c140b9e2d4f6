"""A real part of ImageNet, where the user has one: set XAIUTILS_IMAGENET to its folder."""

from __future__ import annotations

import os

import numpy as np
import PIL.Image
import pytest
import torch

from xaiutils.pictures.imagenet import ImageNetFolder, open_imagenet, sample_target
from xaiutils.pictures.images import Transform

pytestmark = pytest.mark.skipif(
    "XAIUTILS_IMAGENET" not in os.environ, reason="XAIUTILS_IMAGENET is not set"
)


@pytest.fixture(scope="module")
def data() -> ImageNetFolder:
    return open_imagenet()[:200]


def test_every_picture_has_a_label_and_boxes(data: ImageNetFolder) -> None:
    print(data.report)
    assert len(data.wnids) == len(data.classes) == 1000
    assert "without label" not in data.report
    grey = 0
    for entry, sample in zip(data.entries, data, strict=True):
        with PIL.Image.open(entry.path) as stored:
            grey += stored.mode == "L"
            assert stored.size == sample.image.size
        assert sample.image.mode == "RGB"
        assert sample.label is not None
        assert 0 <= sample.label < 1000
        assert data.wnids[sample.label] == sample.wnid
        assert sample.boxes
    print(f"{len(data)} pictures, {grey} of them grey")
    if len(data) == 70:
        assert grey == 3


def test_masks_are_not_empty_or_said_to_be(data: ImageNetFolder) -> None:
    targets = [sample_target(sample, Transform()) for sample in data]
    for target in targets:
        assert target.mask.any() == (len(target.boxes) > 0)
    chance = np.array([target.mask.mean() for target in targets])
    print(f"mask's share: mean {chance.mean():.3f}, least {chance.min():.3f}")


def test_the_transform_is_torchvisions_on_real_pictures(data: ImageNetFolder) -> None:
    from torchvision.models import SqueezeNet1_0_Weights

    weights = SqueezeNet1_0_Weights.IMAGENET1K_V1
    transform = Transform.from_weights(weights)
    for sample in data[:5]:
        assert torch.equal(transform(sample)[0], weights.transforms()(sample.image))
