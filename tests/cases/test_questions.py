"""Questions about pictures: which class, where its object is, and means over pictures."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import PIL.Image
import pytest
import torch

from xaiutils import metrics
from xaiutils.cases.questions import Questions, load_questions
from xaiutils.cases.workloads import load_workload
from xaiutils.pictures import scenes
from xaiutils.pictures.images import PHOTOGRAPHS, Sample


@pytest.fixture(scope="module")
def duo() -> Questions:
    return load_questions("scenes", 3)


def test_a_duo_scene_is_asked_about_each_of_its_objects(duo):
    assert duo.picture.tolist() == [0, 0, 1, 1, 2, 2]
    assert duo.pictures == 3
    assert [sample.id for sample in duo.samples[::2]] == ["duo-00000", "duo-00001", "duo-00002"]
    assert bool(duo.paired.all())
    for i in range(3):
        scene = scenes.scene("duo", i)
        kinds = [scenes.CLASSES[k] for k in duo.target[2 * i : 2 * i + 2].tolist()]
        assert kinds == [scene.objects[place].kind for place in scene.targets]
        masks = scenes.masks(scene)
        for k, name in enumerate(("target", "other")):
            assert np.array_equal(duo.own[2 * i + k].numpy(), masks[name])
            assert np.array_equal(duo.rival[2 * i + 1 - k].numpy(), masks[name])
        assert torch.equal(duo.x[2 * i], duo.x[2 * i + 1])
    assert torch.equal(duo.x[::2], load_workload("scenes", "duo").batch(range(3))[1])


def test_a_scene_with_one_object_is_asked_once_and_its_rival_is_the_rest():
    asked = load_questions("scenes", 2, split="calibration")
    assert asked.picture.tolist() == [0, 1]
    assert not bool(asked.paired.any())
    assert asked.target.tolist() == [scenes.label(scenes.scene("calibration", i)) for i in (0, 1)]
    assert torch.equal(asked.rival, ~asked.own)
    maps = torch.randn(asked.own.shape, generator=torch.Generator().manual_seed(0))
    share = metrics.own_share(maps, asked.own, asked.rival)
    assert torch.equal(share, metrics.mass_accuracy(maps, asked.own))


def test_a_split_of_both_kinds_asks_each_scene_by_its_own():
    asked = load_questions("scenes", 8, split="validation")
    objects = [len(scenes.scene("validation", i).targets) for i in range(8)]
    assert set(objects) == {1, 2}
    assert torch.bincount(asked.picture).tolist() == objects
    assert asked.paired.tolist() == [n == 2 for n in objects for _ in range(n)]


def test_means_are_over_the_known_values_of_a_picture(duo):
    values = torch.tensor([0.2, 0.6, torch.nan, 1.0, torch.nan, torch.nan])
    found = duo.per_picture(values)
    assert found.dtype == torch.float64
    assert found[:2].tolist() == pytest.approx([0.4, 1.0])
    assert bool(found[2].isnan())


def test_values_must_be_one_for_each_question(duo):
    with pytest.raises(ValueError, match=r"values must be \(6,\), one for each question, got \(3,"):
        duo.per_picture(torch.zeros(3))
    with pytest.raises(TypeError, match=r"values must be a tensor \(N,\), got"):
        duo.per_picture([0.0] * 6)


@pytest.fixture(scope="module")
def pairs():
    return load_questions("photographs", 100)


def test_two_photographs_beside_each_other_are_asked_about_both(pairs):
    alone = load_workload("photographs")
    said = alone.classifier.predict(alone.classifier.preprocess(alone.samples)).argmax(1).tolist()
    found = zip(alone.samples, said, strict=True)
    right = [one for one, kind in found if one.label == kind and one.boxes]
    assert pairs.pictures == len(right) * (len(right) - 1)
    assert len(pairs.target) == 2 * pairs.pictures
    assert bool(pairs.paired.all())
    left, other = right[0], right[1]
    x = alone.classifier.preprocess([left, other])
    assert torch.equal(pairs.x[0], torch.cat([x[0], x[1]], 2))
    assert pairs.target[:2].tolist() == [left.label, other.label]


def test_of_a_pair_each_object_lies_in_its_own_half(pairs):
    half = pairs.x.shape[3] // 2
    alone = load_workload("photographs")
    sample = next(one for one in alone.samples if one.id == pairs.samples[0].id.split(" | ")[0])
    assert torch.equal(pairs.own[0][:, :half], alone.masks([sample])[0])
    assert not pairs.own[0][:, half:].any()
    assert not pairs.rival[0][:, :half].any()
    assert pairs.rival[0].any()
    assert torch.equal(pairs.own[1], pairs.rival[0])


def test_single_photographs_are_asked_about_where_their_object_is_known():
    singles = load_questions("photographs", 100, split="test")
    assert {sample.id for sample in singles.samples} == {
        name for name, record in PHOTOGRAPHS.items() if record.boxes
    }
    assert float(singles.own.double().mean((1, 2)).max()) < 0.95  # else every map is right


def test_a_network_that_knows_no_photograph_cannot_be_asked_about_two():
    with pytest.raises(ValueError, match="must name two of the photographs rightly"):
        load_workload("photographs", "duo", model="squeezenet1_0", weights="random")
    with pytest.raises(ValueError, match="names 0 of the 0 whose class it has"):
        load_workload("photographs", "duo", model="scenes_vgg_seed0")


def test_other_pictures_are_asked_about_their_label(monkeypatch):
    work = load_workload("scenes", "duo")
    boxed = Sample("boxed", PIL.Image.new("RGB", (128, 128)), 4, boxes=((0, 0, 128, 32),))
    own = replace(work, name="imagenet", samples=[boxed])
    monkeypatch.setattr("xaiutils.cases.questions.load_workload", lambda name, split: own)
    asked = load_questions("imagenet", 5)
    assert (asked.target.tolist(), asked.paired.tolist()) == ([4], [False])
    assert float(asked.own.double().mean()) == 0.25
    assert torch.equal(asked.rival, ~asked.own)
    for wrong, words in (
        (replace(boxed, label=None), "a label"),
        (replace(boxed, boxes=()), "a mask"),
    ):
        own.samples[0] = wrong
        with pytest.raises(ValueError, match=f"samples must have {words}"):
            load_questions("imagenet")


@pytest.mark.parametrize(
    ("count", "error"), [(0, "count must be >= 1"), (1.5, "count must be a whole number")]
)
def test_count_is_a_whole_number(count, error):
    with pytest.raises(ValueError, match=error):
        load_questions("scenes", count)


def test_a_split_that_does_not_exist_is_named():
    with pytest.raises(ValueError, match="split must be a known name"):
        load_questions("scenes", split="duos")
