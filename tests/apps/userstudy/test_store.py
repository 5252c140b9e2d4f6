"""Answers are kept once, or it is said that they are not."""

from __future__ import annotations

import csv
import os
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import example, given, settings, strategies as st

from tests.apps.userstudy.tiny import ROOT, tiny
from xaiutils.apps.userstudy.store import (
    CODE,
    FILE,
    LONGEST,
    Elsewhere,
    NotAsked,
    Store,
    Unavailable,
    Unknown,
    normalised,
    spelled,
)
from xaiutils.apps.userstudy.table import answers_table, write_csv


@pytest.fixture
def folder(tmp_path):
    tiny(tmp_path / "study")
    return tmp_path / "study"


@pytest.fixture
def store(folder):
    from xaiutils.apps.userstudy.design import open_user_study

    found = Store(folder, open_user_study(folder), wait=0.05)
    yield found
    found.close()


def answer_all(store, code, device="here", text="fine"):
    for q in store.place(code).questions:
        assert store.answer(code, device, q.id, q.options[0] if q.options else text, 1.5)


def test_the_file_has_no_log_beside_it_and_is_synced(store):
    assert store.connection.execute("PRAGMA journal_mode").fetchone() == ("truncate",)
    assert store.connection.execute("PRAGMA synchronous").fetchone() == (2,)


def test_codes_are_long_random_and_forgiving():
    assert normalised(" abcd-efgh 2345 ") == "ABCDEFGH2345"
    assert spelled("ABCDEFGH2345") == "ABCD-EFGH-2345"
    assert normalised(spelled("ABCDEFGH2345")) == "ABCDEFGH2345"
    assert normalised("é☃'; DROP TABLE") == "DROPTABLE"


def test_participants_get_numbers_in_turn_and_different_codes(store):
    codes = [store.begin(f"d{i}") for i in range(5)]
    assert len(set(codes)) == 5
    assert {len(code) for code in codes} == {CODE}
    assert [store.place(code).number for code in codes] == list(range(5))
    store.withdraw(codes[1])
    assert store.place(store.begin("new")).number == 1  # the balance is mended


def test_the_first_answer_stays(store):
    code = store.begin("here")
    assert store.answer(code, "here", "expertise", "Expert", 2.0)
    assert not store.answer(code, "here", "expertise", "Not an expert", 3.0)
    assert store.place(code).answers == {"expertise": "Expert"}
    assert store.place(code).due == 1
    row = ("x", "expertise", 0, "expertise", "", "Expert", None)
    with pytest.raises(sqlite3.IntegrityError):
        store.connection.execute(
            "INSERT INTO answer VALUES (?, ?, ?, ?, ?, ?, ?)", (code, *row[1:])
        )


def test_what_was_not_asked_is_not_kept(store):
    code = store.begin("here")
    late = store.place(code).questions[2].id
    for question, answer, said in (
        (late, "disc", "not due"),
        ("nonsense", "disc", "not due"),
        ("expertise", "Perhaps", "not one of the answers"),
        ("", "", "not due"),
    ):
        with pytest.raises(NotAsked, match=said):
            store.answer(code, "here", question, answer, None)
    assert store.rows() == []


def test_a_text_has_a_length(store):
    code = store.begin("here")
    for q in store.place(code).questions[:-1]:
        store.answer(code, "here", q.id, q.options[0], None)
    with pytest.raises(NotAsked, match=f"at most {LONGEST} characters"):
        store.answer(code, "here", "text", "x" * (LONGEST + 1), None)
    assert store.answer(code, "here", "text", "☃" * LONGEST, None)


def test_another_browser_is_noticed(store):
    code = store.begin("here")
    with pytest.raises(Elsewhere):
        store.answer(code, "there", "expertise", "Expert", None)
    store.take_over(code, "there")
    assert store.answer(code, "there", "expertise", "Expert", None)
    with pytest.raises(Elsewhere):
        store.place(code, "here")
    with pytest.raises(Unknown):
        store.take_over("AAAA", "there")
    with pytest.raises(Unknown):
        store.place("AAAA")


def test_withdrawal_leaves_no_trace(store, folder):
    code, other = store.begin("here"), store.begin("there")
    answer_all(store, code, text="a remark to be forgotten")
    answer_all(store, other, "there")
    asked = len(store.place(code).questions)
    assert store.withdraw(code) == asked
    with pytest.raises(Unknown):
        store.place(code)
    assert len(store.rows()) == asked
    store.close()
    assert b"a remark to be forgotten" not in traces(folder)
    assert code.encode() not in traces(folder)


def traces(folder) -> bytes:
    return b"".join(path.read_bytes() for path in folder.glob(f"{FILE}*"))


def test_a_reader_delays_a_withdrawal_and_keeps_nothing_of_it(store, folder):
    code = store.begin("here")
    answer_all(store, code, text="a remark to be forgotten")
    reader = sqlite3.connect(folder / FILE)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM answer").fetchone()
    with pytest.raises(Unavailable, match="cannot be written: database is locked"):
        store.withdraw(code)
    assert store.place(code).due == len(store.place(code).questions)
    reader.close()
    store.withdraw(code)
    assert b"a remark to be forgotten" not in traces(folder)
    assert code.encode() not in traces(folder)


def test_a_file_of_an_earlier_version_with_a_log_is_taken_over(store, folder):
    code = store.begin("here")
    answer_all(store, code, text="a remark to be forgotten")
    store.connection.execute("PRAGMA journal_mode = WAL")
    answer_all(store, store.begin("there"), "there")
    store.close()
    again = Store(folder, store.design)
    assert len(again.rows()) == 2 * len(again.place(code).questions)
    again.withdraw(code)
    assert b"a remark to be forgotten" not in traces(folder)
    again.close()


def test_one_device_begins_once_until_it_has_answered(store):
    code = store.begin("here")
    assert store.begin("here") == code
    assert store.begin("there") != code
    assert store.answer(code, "here", "expertise", "Expert", None)
    again = store.begin("here")
    assert again != code
    assert store.place(again).answers == {}


def test_a_locked_file_is_said_and_nothing_is_half_kept(store, folder):
    code = store.begin("here")
    other = sqlite3.connect(folder / FILE, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unavailable, match=r"answers\.sqlite cannot be written: .*locked"):
        store.answer(code, "here", "expertise", "Expert", None)
    assert store.place(code).answers == {}
    other.execute("ROLLBACK")
    other.close()
    assert store.answer(code, "here", "expertise", "Expert", None)


def test_a_read_only_file_is_said(store):
    code = store.begin("here")
    store.connection.execute("PRAGMA query_only = ON")
    with pytest.raises(Unavailable, match="cannot be written: attempt to write a readonly"):
        store.answer(code, "here", "expertise", "Expert", None)
    assert store.place(code).due == 0


def test_a_full_disk_is_said_and_the_answer_can_be_given_again(store):
    code = store.begin("here")
    for q in store.place(code).questions[:-1]:
        store.answer(code, "here", q.id, q.options[0], None)
    (pages,) = store.connection.execute("PRAGMA page_count").fetchone()
    store.connection.execute(f"PRAGMA max_page_count = {pages}")
    long = "☃" * LONGEST
    with pytest.raises(Unavailable, match="cannot be written: database or disk is full"):
        store.answer(code, "here", "text", long, None)
    assert "text" not in store.place(code).answers
    store.connection.execute("PRAGMA max_page_count = 100000")
    assert store.answer(code, "here", "text", long, None)


@pytest.mark.parametrize("replaced", [False, True])
def test_a_file_that_is_taken_away_takes_no_answer_with_it(store, folder, tmp_path, replaced):
    """SQLite looks, where its journal is no write-ahead log."""
    code = store.begin("here")
    (folder / FILE).rename(tmp_path / FILE)
    if replaced:
        (folder / FILE).write_bytes((tmp_path / FILE).read_bytes())
    with pytest.raises(Unavailable, match="cannot be written: attempt to write a readonly"):
        store.answer(code, "here", "expertise", "Expert", None)
    (tmp_path / FILE).replace(folder / FILE)
    assert store.answer(code, "here", "expertise", "Expert", None)


def test_a_folder_that_is_read_only_from_the_start_is_said():
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "study"
        design = tiny(folder)
        Store(folder, design).close()
        os.chmod(place, 0o755)
        folder.chmod(0o555)
        (folder / FILE).chmod(0o444)
        with unprivileged(), pytest.raises(Unavailable, match=r"answers\.sqlite cannot be written"):
            Store(folder, design)
        folder.chmod(0o755)


@contextmanager
def unprivileged():
    """Root may write everything: be nobody for a while."""
    if os.geteuid():
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.parametrize("made", ["version", "foreign", "text", "folder", "design"])
def test_a_file_that_is_not_ours_is_refused_and_left(store, folder, tmp_path, made):
    store.close()
    path = folder / FILE
    said = {
        "version": "must be of version 1, got 7; use the xaiutils that made it",
        "foreign": "must be of version 1, got 0",
        "text": "is no database of answers",
        "folder": "cannot be opened",
        "design": "holds the answers to another design",
    }[made]
    design = store.design
    if made == "version":
        with sqlite3.connect(path) as other:
            other.execute("PRAGMA user_version = 7")
        other.close()
    elif made == "design":
        design = tiny(tmp_path / "other", each=2)
    else:
        for old in folder.glob(f"{FILE}*"):
            old.unlink()
        if made == "folder":
            path.mkdir()
        elif made == "text":
            path.write_text("no database at all, but long enough to be read as one" * 20)
        else:
            with sqlite3.connect(path) as other:
                other.execute("CREATE TABLE mine (x)")
            other.close()
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises((ValueError, Unavailable), match=said):
        Store(folder, design)
    assert before is None or path.read_bytes() == before


def test_the_table_has_no_codes_and_no_formulas(store, folder, tmp_path):
    code = store.begin("here")
    answer_all(store, code, text='=HYPERLINK("x"),\n"quoted"')
    table = answers_table(folder)
    assert len(table) == len(store.place(code).questions)
    assert table["complete"].all()
    write_csv(table, tmp_path / "out.csv")
    text = (tmp_path / "out.csv").read_text()
    assert code not in text
    assert "'=HYPERLINK" in text
    assert ",=" not in text
    assert '\n"=' not in text
    checks = table[table["kind"] == "check"]
    failed = int((checks["answer"] != checks["right_answer"]).sum())
    assert set(table["failed_checks"]) == {failed}
    chosen = table[table["kind"] == "choice"]
    assert (chosen["chosen"] == chosen["condition"].str.split("|").str[0]).all()  # always Map A


FORMULA = "=+-@\uff1d\uff0b\uff0d\uff20\u2212"
HIDDEN = ' \u200b\ufeff\u00a0\u00ad\u2060\u3000\t\n\r"\u034f'


def cells(path, delimiter):
    with path.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.reader(stream, delimiter=delimiter))
    return [cell.lstrip(HIDDEN) for row in rows for cell in row]


def exported(folder, text):
    """A table of one answer, as it is written; and read again with every separator."""
    table = pd.DataFrame({"participant": [0], "answer": [text], "seconds": [1.5]})
    path = folder / "out.csv"
    write_csv(table, path)
    return {mark: cells(path, mark) for mark in ",;\t|"}


@settings(max_examples=300, deadline=None)
@given(st.text(st.sampled_from(FORMULA + HIDDEN + ";,|'aß1"), max_size=12))
@example("hello;=1+1;+cmd|' /C calc'!A0")
@example('a;"=1+1"')
@example("fine\r\n=1+1")
def test_no_spreadsheet_finds_a_formula(text):
    with tempfile.TemporaryDirectory() as folder:
        for mark, found in exported(Path(folder), text).items():
            assert not [cell for cell in found if cell[:1] and cell[0] in FORMULA], mark


def test_plain_words_and_numbers_come_back_as_they_are(tmp_path):
    for text in ("It's fine, really - a 5+ of 5; thanks: x=1.", "naïve “maps”\nof noise", "ring"):
        assert text in exported(tmp_path, text)[","]
    exported(tmp_path, "ring")
    assert (tmp_path / "out.csv").read_text().splitlines() == [
        '"participant","answer","seconds"',
        '"0","ring","1.5"',
    ]
    again = pd.read_csv(tmp_path / "out.csv")
    assert again.to_dict("list") == {"participant": [0], "answer": ["ring"], "seconds": [1.5]}


def test_a_class_that_is_a_formula_is_none_in_the_table(tmp_path):
    row = {"participant": [0], "answer": ["x"], "right_answer": ["=1+1"], "chosen": ["@a"]}
    write_csv(pd.DataFrame(row), tmp_path / "out.csv")
    found = cells(tmp_path / "out.csv", ",")
    assert found[-2:] == ["'=1+1", "'@a"]


def command(*words: str):
    return subprocess.run(
        [sys.executable, "-m", "xaiutils.apps.cli.__main__", "user-study", *map(str, words)],
        capture_output=True, text=True, cwd=ROOT, timeout=120, check=False,
    )  # fmt: skip


def test_the_commands(store, folder, tmp_path):
    empty = command("export", folder / "nothing", "--out", tmp_path / "a.csv")
    assert empty.returncode == 2
    assert "begin one with: xaiutils user-study build" in empty.stderr
    code = store.begin("here")
    answer_all(store, code)
    done = command("export", folder, "--out", tmp_path / "a.csv")
    assert done.stdout.strip().endswith("28 answers of 1 participants"), done
    assert "everybody, all: 1 participants" in command("analyse", folder).stdout
    assert "CODE must be a participant's, got 'x'" in command("withdraw", folder, "x").stderr
    assert (
        "deleted the participant and 28 answers"
        in command("withdraw", folder, spelled(code)).stdout
    )
    assert "0 participants" in command("analyse", folder).stdout
    planned = command("power", "--accuracy", "0.6", "0.7", "--items", "4").stdout
    assert "accuracy 0.6 against 0.7: 115 participants" in planned
