"""The answers as a table: one row an answer, no codes, and nothing that a spreadsheet would run."""

from __future__ import annotations

import csv
import unicodedata
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

import pandas as pd

from xaiutils.apps.userstudy.design import Design, open_user_study, sheet
from xaiutils.apps.userstudy.store import FILE, Store
from xaiutils.support.files import write_whole

COLUMNS = (
    *("participant", "expertise", "complete", "failed_checks", "position", "kind", "task"),
    *("question", "condition", "chosen", "answer", "right_answer", "correct", "network_wrong"),
    *("seconds",),
)
FORMULAS = frozenset("=+-@\N{MINUS SIGN}")
PARTS = frozenset(";|\t\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029")
Row = tuple[int, str, int, str, str, str, float | None]


def answers_table(folder: str | Path) -> pd.DataFrame:
    """Every answer in a study's folder, with `COLUMNS`; raises as `open_user_study` and `Store`."""
    design = open_user_study(folder)
    if not (Path(folder) / FILE).is_file():
        raise FileNotFoundError(f"FOLDER must hold answers, {Path(folder) / FILE} is not there yet")
    with closing(Store(folder, design)) as store:
        return tabulate(design, store.rows())


def tabulate(design: Design, rows: Iterable[Row]) -> pd.DataFrame:
    """Rows of the store beside what was asked and what is right.

    ``condition`` is the method or the two of a choice as ``left|right``; ``chosen`` the method that
    was chosen there. ``complete`` says whether every question but the remark is answered.
    """
    items = {i.id: i for one in (*design.items.values(), design.practice.values()) for i in one}
    found: dict[int, list[Row]] = {}
    for row in rows:
        found.setdefault(row[0], []).append(row)
    table = []
    for number, answers in found.items():
        asked = {q.id: q for q in sheet(design, number)}
        given = {row[1]: row[5] for row in answers}
        tests = [q for q in asked.values() if q.kind == "check"]
        failed = sum(given.get(q.id, q.answer) != q.answer for q in tests)
        complete = all(q.id in given or q.optional for q in asked.values())
        for _, question, position, kind, condition, answer, seconds in answers:
            q, item = asked[question], items.get(question)
            right = q.answer if kind in {"say", "look", "practice", "check"} else ""
            chosen = condition.split("|")[q.options.index(answer)] if "|" in condition else ""
            table.append((
                number, given.get("expertise", ""), complete, failed, position, kind, q.task,
                question, condition, chosen, answer, right,
                float(answer == right) if right else float("nan"),
                item is not None and item.wrong, seconds,
            ))  # fmt: skip
    return pd.DataFrame(table, columns=list(COLUMNS))


def write_csv(table: pd.DataFrame, path: Path) -> None:
    """Write the table whole or not at all; every field is quoted, and no formula is left."""
    safe = table.copy()
    for column in safe.columns:
        safe[column] = [_words(one) if isinstance(one, str) else one for one in safe[column]]
    write_whole(path, lambda stream: safe.to_csv(stream, index=False, quoting=csv.QUOTE_ALL))


def _words(text: str) -> str:
    """An apostrophe before whatever a spreadsheet could take for the beginning of a formula.

    Also behind whatever parts fields in some spreadsheet, and whatever invisible stands before it.
    """
    safe, first = "", True
    for letter in text:
        if first and unicodedata.normalize("NFKC", letter)[:1] in FORMULAS:
            safe += "'"
        safe += letter
        hidden = letter == '"' or unicodedata.category(letter)[0] in "CMZ"
        first = letter in PARTS or (first and hidden)
    return safe
