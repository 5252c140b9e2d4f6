"""A study is built from scenes: balanced, blinded, and with a truth that the network gave."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import PIL.Image
import pytest

from xaiutils.apps.userstudy.build import _sides, build_user_study
from xaiutils.apps.userstudy.design import PICTURES, open_user_study, sheet
from xaiutils.cases.workloads import Workload, load_workload


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("build") / "study"
    return folder, build_user_study(folder, "scenes", ["hybrid", "random_map"], each=2, seed=1)


def test_it_is_frozen_and_complete(built):
    folder, design = built
    assert open_user_study(folder) == design
    counts = {task: len(items) for task, items in design.items.items()}
    assert counts == {"say": 6, "look": 6, "choice": 2}
    ids = [i.picture for items in design.items.values() for i in items]
    assert len(set(ids)) == len(ids)


def test_the_label_is_no_answer(built):
    _, design = built
    assert sum(item.wrong for item in design.items["say"]) == 3
    for item in design.items["say"]:
        assert item.answer in item.options
        assert len(set(item.options)) == 4
    for item in design.items["look"]:
        shapes = [option.split()[1] for option in item.options]
        assert len(set(shapes)) == 2
        assert item.answer == item.options[shapes.index(item.subject)]


def test_two_objects_are_named_with_their_place():
    corner = np.zeros((4, 4), bool)
    corner[3, 0] = True
    disc_star = ("disc", "star")
    right, top = corner[:, ::-1], corner[::-1]
    said = ("the disc on the left", "the star on the right")
    assert _sides(corner, right, disc_star) == (said, said[0])
    said = ("the star on the left", "the disc on the right")
    assert _sides(right, corner, disc_star) == (said, said[1])
    said = ("the disc above", "the star below")
    assert _sides(top, corner, disc_star) == (said, said[0])
    said = ("the star above", "the disc below")
    assert _sides(corner, top, disc_star) == (said, said[1])


def unlabelled() -> Workload:
    """Scenes that nobody labelled, as a user's own pictures may be."""
    work = load_workload("scenes", "hard")
    return replace(
        work, name="own", samples=[replace(work.samples[i], label=None) for i in range(9)]
    )


def test_without_labels_nobody_says_how_often_the_network_is_wrong(built, tmp_path):
    _, labelled = built
    own = build_user_study(tmp_path, f"{__name__}:unlabelled", ["hybrid", "random_map"], each=1)
    assert own.tasks == ("say", "choice")
    assert not any(item.wrong for item in own.items["say"])
    for design, said in ((labelled, "is wrong about half of the time"), (own, "may be wrong")):
        asked = {q.text for q in sheet(design, 0) if q.kind == "say"}
        assert len(asked) == 1
        assert said in asked.pop()
    assert open_user_study(tmp_path) == own


def test_all_maps_have_one_colour_map(built):
    """From blue over grey to red, whatever the signs of a method's values: no yellow, no black."""
    folder, design = built
    for items in design.items.values():
        for item in items:
            for file in item.maps.values():
                with PIL.Image.open(folder / PICTURES / file) as image:
                    r, g, b = (np.asarray(image).astype(int)[1::3, 1::3, i] for i in range(3))
                assert ((g <= np.maximum(r, b) + 3) & ~((r > b + 30) & (g > b + 30))).all()
                assert ((r > b + 30) | (b > r + 30)).any()
                assert np.maximum(r, b)[(abs(r - b) < 10)].min() > 100  # the grey below


def test_file_names_and_files_say_nothing(built):
    folder, design = built
    names = {path.name for path in (folder / PICTURES).iterdir()}
    assert names == set(design.files)
    assert all(re.fullmatch(r"[0-9a-f]{16}\.png", name) for name in names)
    for name in names:
        with PIL.Image.open(folder / PICTURES / name) as image:
            assert image.size == (384, 384)
            assert not image.info  # no text beside the pixels


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"methods": ["hybrid"]}, "methods must be at least two different names, got hybrid"),
        ({"methods": ["hybrid", "hybrid"]}, "methods must be at least two different names"),
        ({"methods": ["hybrid", "hibrid"]}, "did you mean hybrid"),
        ({"each": 0}, "each must be >= 1, got 0"),
        ({"each": 1.5}, "each must be a whole number, got 1.5"),
        ({"seed": -1}, "seed must be >= 0, got -1"),
    ],
)
def test_bad_arguments_leave_no_folder(tmp_path, given, said):
    with pytest.raises(ValueError, match=said):
        build_user_study(tmp_path / "new", "scenes", **given)
    assert not (tmp_path / "new").exists()


def test_a_folder_that_holds_something_is_left(built):
    folder, design = built
    with pytest.raises(FileExistsError, match="FOLDER must be new or empty"):
        build_user_study(folder, "scenes")
    assert open_user_study(folder) == design
