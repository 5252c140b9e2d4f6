"""The order of questions: balanced, the same again, and frozen."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from tests.apps.userstudy.tiny import tiny
from xaiutils.apps.userstudy.design import (
    DESIGN,
    NONE,
    PICTURES,
    assign,
    assign_sides,
    open_user_study,
    sheet,
)
from xaiutils.apps.userstudy.words import pictures_of


@pytest.fixture(scope="module")
def design(tmp_path_factory):
    return tiny(tmp_path_factory.mktemp("design") / "study", each=2)


@settings(deadline=None, max_examples=60)
@given(
    st.integers(0, 2**32),
    st.integers(0, 2),
    st.integers(2, 7),
    st.integers(1, 3),
    st.integers(0, 9),
)
def test_a_block_of_people_sees_every_picture_under_every_condition_once(
    seed, task, c, each, block
):
    rows = np.array([assign(seed, task, n, c * each, c) for n in range(block * c, block * c + c)])
    assert all(sorted(column) == list(range(c)) for column in rows.T)
    assert all(np.bincount(row, minlength=c).tolist() == [each] * c for row in rows)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32), st.integers(1, 6), st.integers(1, 3), st.integers(0, 5))
def test_two_blocks_see_every_pair_of_maps_once_on_either_side(seed, pairs, each, block):
    people = range(block * 2 * pairs, (block + 1) * 2 * pairs)
    drawn = [assign_sides(seed, n, pairs * each, pairs) for n in people]
    for i in range(pairs * each):
        seen = Counter((int(pair[i]), bool(swapped[i])) for pair, swapped in drawn)
        assert seen == {(p, s): 1 for p in range(pairs) for s in (False, True)}
    for pair, _ in drawn:
        assert np.bincount(pair, minlength=pairs).tolist() == [each] * pairs


def test_items_that_cannot_be_balanced_are_refused():
    with pytest.raises(ValueError, match="items must be a multiple of 3 conditions, got 4"):
        assign(0, 0, 0, 4, 3)


def test_blocks_differ_and_sheets_do_not_change(design):
    assert sheet(design, 5) == sheet(design, 5)
    orders = {tuple(q.id for q in sheet(design, n)) for n in range(20)}
    assert len(orders) == 20
    blocks = {tuple(assign(0, 0, 4 * b, 8, 4)) for b in range(20)}
    assert len(blocks) > 10


@pytest.mark.parametrize("number", range(8))
def test_a_sheet_asks_everything_once(design, number):
    questions = sheet(design, number)
    assert len({q.id for q in questions}) == len(questions)
    kinds = Counter(q.kind for q in questions)
    expected = {"expertise": 1, "practice": 3, "check": 2, "say": 8, "look": 8, "choice": 6}
    assert kinds == expected | {"sus": 10, "text": 1}
    tasks = [q.kind for q in questions if q.kind in {"say", "look", "choice"}]
    assert tasks == ["say"] * 8 + ["look"] * 8 + ["choice"] * 6
    for task in ("say", "look"):
        pictures = [q.pictures[0] for q in questions if q.kind == task]
        assert len(set(pictures)) == len(pictures)  # no picture under two conditions
    for q in questions:
        if q.kind == "check":
            assert q.answer in q.options
            assert f"“{q.answer}”" in q.text


@pytest.mark.parametrize("methods", [2, 3, 5])
def test_the_smallest_studies_have_sheets_too(tmp_path, methods):
    design = tiny(tmp_path / "study", tuple(f"m{i}" for i in range(methods)))
    for number in range(6):
        kinds = Counter(q.kind for q in sheet(design, number))
        assert (kinds["check"], kinds["choice"]) == (2, methods * (methods - 1) // 2)


def test_what_stands_for_a_picture_gives_nothing_away(design):
    """The texts are the same for every method, item and answer."""
    texts = {}
    for number in range(8):
        for q in sheet(design, number):
            shown = pictures_of(q)
            assert [file for file, _, _ in shown] == list(q.pictures)
            assert all(alternative and caption for _, alternative, caption in shown)
            texts.setdefault(len(shown), set()).add(tuple(t[1:] for t in shown))
            if q.condition == NONE:
                assert len(shown) == 1
    assert {count: len(found) for count, found in texts.items()} == {0: 1, 1: 1, 2: 1, 3: 1}
    words = str(texts).lower()
    assert not [m for m in (*design.methods, "disc", "ring", "star", "left", "right") if m in words]


def test_a_design_is_read_as_it_was_written(tmp_path):
    written = tiny(tmp_path / "study", contact="Ask “Ada” <room 3>.")
    assert open_user_study(tmp_path / "study") == written
    assert open_user_study(str(tmp_path / "study")).hash == written.hash


def test_the_wording_is_frozen_with_the_design(design):
    """A later version that words its questions otherwise asks those of the design."""
    asks = {name: f"{name} {{subject}}" for name in design.asks}
    other = replace(design, asks=asks, statements=tuple("abcdefghij"))
    assert other.hash != design.hash
    for q in sheet(other, 0):
        word = q.kind if q.kind in asks else q.task
        assert q.text.split()[0] == (word or q.text)
    assert [q.text for q in sheet(other, 0) if q.kind == "sus"] == list("abcdefghij")


@pytest.mark.parametrize(
    "text",
    [
        *("5", "null", "true", '"words"', "[]", "[1]", "{}", "NaN", "", "\x00", "9" * 5000),
        *("[" * 100_000, '{"a":' * 100_000, '{"hash": 1, "version": 2}'),
        '{"hash": 1, "version": 2, "items": 5, "practice": {}}',
        '{"hash": 1, "version": 2, "items": {"say": ["x"], "look": [], "choice": []}}',
    ],
    ids=lambda text: f"{text[:20]!r}, {len(text)}",
)
def test_a_file_that_is_no_design_is_said_in_our_words(tmp_path, text):
    (tmp_path / DESIGN).write_text(text)
    with pytest.raises(ValueError, match=r"is no design of a user study: .*build one with"):
        open_user_study(tmp_path)
    (tmp_path / DESIGN).write_bytes(b"\xff\xfe{")
    with pytest.raises(ValueError, match="is no design of a user study"):
        open_user_study(tmp_path)


def test_a_part_of_a_design_of_another_kind_is_said(tmp_path):
    tiny(tmp_path)
    whole = json.loads((tmp_path / DESIGN).read_text())
    for key in whole:
        for other in (5, None, "x", [1], {"a": 1}, {"a": {"b": 1}}):
            if whole[key] == other:
                continue
            (tmp_path / DESIGN).write_text(json.dumps(whole | {key: other}))
            said = "is no design of a user study|must be of version 2|was changed after it was"
            with pytest.raises(ValueError, match=said):
                open_user_study(tmp_path)


def test_what_was_changed_is_refused(tmp_path):
    folder = tmp_path / "study"
    design = tiny(folder)
    path = folder / DESIGN
    whole = path.read_text()
    path.write_text(whole.replace('"answer": "disc"', '"answer": "star"', 1))
    with pytest.raises(ValueError, match="changed after it was built; a design is frozen"):
        open_user_study(folder)
    path.write_text(json.dumps(json.loads(whole) | {"version": 9}))
    with pytest.raises(ValueError, match="must be of version 2, got 9; use the xaiutils"):
        open_user_study(folder)
    path.write_text(whole[:-40])
    with pytest.raises(ValueError, match="is no design of a user study"):
        open_user_study(folder)
    path.write_text(whole)
    picture = folder / PICTURES / next(iter(design.files))
    picture.write_bytes(picture.read_bytes() + b"x")
    with pytest.raises(ValueError, match=f"{picture.name} is missing or was changed"):
        open_user_study(folder)
    with pytest.raises(FileNotFoundError, match="begin one with: xaiutils user-study build"):
        open_user_study(tmp_path)
