from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from xaiutils.pictures.scenes import (
    CLASSES,
    DISTRACTORS,
    SPLITS,
    label,
    masks,
    render,
    sample,
    samples,
    scene,
    soft_label,
)
from xaiutils.pictures.scenes.drawing import MARGIN
from xaiutils.pictures.scenes.shapes import SIZE, Scene, coverage


@pytest.fixture(scope="module")
def test_scenes() -> list[Scene]:
    return [scene("test", i) for i in range(200)]


def test_a_scene_is_a_pure_function_of_split_and_index() -> None:
    first, second = scene("hard", 3), scene("hard", 3)
    assert first == second
    assert render(first).tobytes() == render(second).tobytes()
    assert render(first).shape == (SIZE, SIZE, 3)
    assert render(first).dtype == np.uint8


def test_the_splits_are_frozen() -> None:
    pictures = b"".join(render(scene(name, i)).tobytes() for name in SPLITS for i in range(2))
    expected = "00e28ee330ecec7de5ab31707e74fb7be177c07915c40c4aeaa7c7fcab54ff56"
    assert hashlib.sha256(pictures).hexdigest() == expected


def test_the_splits_are_disjoint() -> None:
    assert len({split.seed for split in SPLITS.values()}) == len(SPLITS)
    some = [scene(name, i) for name in SPLITS for i in range(4)]
    assert len({one.id for one in some}) == len(some)
    assert len({render(one).tobytes() for one in some}) == len(some)


@pytest.mark.parametrize(("split", "index"), [("test", 0), ("test", 4), ("duo", 1), ("hard", 2)])
def test_removing_an_object_changes_its_pixels_and_its_shadow_only(split: str, index: int) -> None:
    one = scene(split, index)
    picture = render(one)
    y, x = np.mgrid[:SIZE, :SIZE] + 0.5
    visible = {i: render(one, {i}) != picture for i in range(len(one.objects))}
    for i, piece in enumerate(one.objects):
        changed = visible[i].any(axis=2)
        reach = piece.radius + MARGIN + 1
        far = np.maximum(abs(x - piece.center[0]), abs(y - piece.center[1])) > reach
        assert not changed[far].any()
        if split == "hard":
            continue
        assert changed[coverage(piece) > 0.5].mean() > 0.98
        for j, other in enumerate(one.objects):
            assert i == j or not changed[coverage(other) == 1].any()


def test_without_nothing_is_the_picture_and_order_does_not_matter() -> None:
    one = scene("duo", 0)
    assert (render(one, ()) == render(one)).all()
    assert (render(one, [0, 1]) == render(one, {1, 0})).all()


@pytest.mark.parametrize("split", list(SPLITS))
def test_masks_fit_together(split: str) -> None:
    for i in range(4):
        one = scene(split, i)
        found = masks(one)
        assert [*found] == ["target", "other", "all", "distractors", "target_dilated", "background"]
        assert all(mask.shape == (SIZE, SIZE) and mask.dtype == bool for mask in found.values())
        parts = [found[name] for name in ("target", "other", "distractors", "background")]
        assert (np.sum(parts, axis=0) == 1).all()
        assert (found["all"] == ~found["background"]).all()
        assert found["other"].any() == (len(one.targets) == 2)
        near = ndimage.distance_transform_edt(~found["target"]) <= 4
        assert (found["target_dilated"] == near).all()


def test_on_the_hard_split_the_mask_is_the_visible_part() -> None:
    shares = []
    for i in range(40):
        one = scene("hard", i)
        bare = replace(one, objects=one.objects[:-1])
        visible, whole = masks(one)["target"], masks(bare)["target"]
        assert not (visible & ~whole).any()
        shares.append(visible.sum() / whole.sum())
    assert 0.3 < np.mean(shares) < 0.9
    assert min(shares) > 0.1


def test_the_target_covers_a_few_percent(test_scenes: list[Scene]) -> None:
    areas = [masks(one)["target"].mean() for one in test_scenes]
    assert 0.045 < np.mean(areas) < 0.065
    assert 0.015 < min(areas) < max(areas) < 0.14


def test_colour_place_and_light_are_independent_of_the_class() -> None:
    some = [scene("train", i) for i in range(1500)]
    labels = np.array([label(one) for one in some])
    targets = [one.objects[one.targets[0]] for one in some]
    rows = [
        (*np.sqrt(t.color), *t.center, t.radius, one.exposure, np.cos(one.light))
        for t, one in zip(targets, some, strict=True)
    ]
    facts = np.array(rows)
    scores = (facts - facts.mean(0)) / facts.std(0)
    for k in range(len(CLASSES)):
        assert (np.abs(scores[labels == k].mean(0)) < 0.25).all()


def test_soft_labels_are_balanced_and_a_quarter_is_duo() -> None:
    some = [scene("train", i) for i in range(1500)]
    labels = np.stack([soft_label(one) for one in some])
    assert np.allclose(labels.sum(1), 1)
    assert np.abs(labels.mean(0) - 1 / 6).max() < 0.025
    assert abs((labels.max(1) == 0.5).mean() - 0.25) < 0.03
    kinds = {piece.kind for one in some for piece in one.objects}
    assert kinds == set(CLASSES) | set(DISTRACTORS)


def test_duo_scenes_hold_two_classes_and_single_scenes_one() -> None:
    for i in range(50):
        kinds = [scene("duo", i).objects[j].kind for j in scene("duo", i).targets]
        assert len(set(kinds)) == 2
        assert kinds[0] == CLASSES[label(scene("duo", i))]
        assert len(scene("test", i).targets) == 1


def _rank_accuracy(values: np.ndarray, mask: np.ndarray) -> float:
    order = np.argsort(-values.ravel(), kind="stable")
    return float(mask.ravel()[order[: mask.sum()]].mean())


def test_trivial_baselines_stay_below_half_of_the_oracle(test_scenes: list[Scene]) -> None:
    y, x = np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2
    scores: dict[str, list[float]] = {"sobel": [], "centre": [], "colour": [], "chroma": []}
    for one in test_scenes[:80]:
        picture = render(one) / 255
        grey = picture.mean(2)
        median = np.median(picture.reshape(-1, 3), axis=0)
        found = {
            "sobel": np.hypot(ndimage.sobel(grey, 0), ndimage.sobel(grey, 1)),
            "centre": np.exp(-(x**2 + y**2) / (2 * 32**2)),
            "colour": np.linalg.norm(picture - median, axis=2),
            "chroma": picture.max(2) - picture.min(2),
        }
        mask = masks(one)["target"]
        for name, values in found.items():
            scores[name].append(_rank_accuracy(values, mask))
        assert _rank_accuracy(mask.astype(float), mask) == 1
    assert not [name for name, values in scores.items() if np.mean(values) >= 0.5]


def test_samples_carry_picture_label_mask_and_box() -> None:
    one = sample("unit", 2)
    assert one.id == "unit-00002"
    assert one.image.size == (SIZE, SIZE)
    assert one.image.mode == "RGB"
    assert one.label == label(scene("unit", 2))
    assert one.scene == scene("unit", 2)
    assert one.mask is not None
    x0, y0, x1, y1 = (int(value) for value in one.boxes[0])
    assert one.mask[y0:y1, x0:x1].sum() == one.mask.sum()
    assert one.mask[y0].any()
    assert one.mask[:, x1 - 1].any()
    assert [s.id for s in samples("unit", 2, start=5)] == ["unit-00005", "unit-00006"]
    assert len(samples("unit")) == SPLITS["unit"].count


def test_wrong_input_is_named() -> None:
    with pytest.raises(ValueError, match=r"split must be a known name, .* did you mean test"):
        scene("tset", 0)
    with pytest.raises(ValueError, match=r"index must be in 0\.\.15 for 'unit', got 16"):
        scene("unit", 16)
    with pytest.raises(TypeError, match="index must be an integer, got float"):
        scene("unit", 1.0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"without must hold positions 0\.\.\d, got 9"):
        render(scene("unit", 0), {9})
    with pytest.raises(ValueError, match="count must be >= 0 and <= 4, got 5"):
        samples("unit", 5, start=12)
