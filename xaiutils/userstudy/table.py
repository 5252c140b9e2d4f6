"""The answers as a table: one row an answer, no codes, and nothing that a spreadsheet would run."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from xaiutils.files import write_whole
from xaiutils.userstudy.design import Design, open_user_study, sheet
from xaiutils.userstudy.store import FILE, Store

COLUMNS = (
    *("participant", "expertise", "complete", "failed_checks", "position", "kind", "task"),
    *("question", "condition", "chosen", "answer", "right_answer", "correct", "network_wrong"),
    *("seconds",),
)
Row = tuple[int, str, int, str, str, str, float | None]


def answers_table(folder: str | Path) -> pd.DataFrame:
    """Every answer in a study's folder, with `COLUMNS`.

    Raises:
        FileNotFoundError, ValueError, Unavailable: There is no study or no answer file, or they
            cannot be read.
    """
    design = open_user_study(folder)
    if not (Path(folder) / FILE).is_file():
        raise FileNotFoundError(f"FOLDER must hold answers, {Path(folder) / FILE} is not there yet")
    store = Store(folder, design)
    try:
        return tabulate(design, store.rows())
    finally:
        store.close()


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
        given = {question: answer for _, question, _, _, _, answer, _ in answers}
        failed = sum(
            given.get(q.id, q.answer) != q.answer for q in asked.values() if q.kind == "check"
        )
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
    """Write the table whole or not at all; words that a spreadsheet takes for a formula are quoted.

    Raises:
        OSError: The file cannot be written.
    """
    safe = table.copy()
    safe["answer"] = [
        f"'{a}" if a[:1] in {"=", "+", "-", "@", "\t", "\r"} else a for a in safe["answer"]
    ]
    write_whole(path, lambda stream: safe.to_csv(stream, index=False))
