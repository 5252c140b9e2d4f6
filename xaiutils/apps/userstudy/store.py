"""Answers as they are given: one SQLite file, one transaction for each answer, nothing twice.

Kept of a participant: a random code, a number, a hash of the browser's random token, and the
answers. No name, no address, no time of day.
"""

from __future__ import annotations

import hashlib
import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xaiutils.apps.userstudy.design import Design, Question, sheet

SCHEMA = 1  # the file's user_version
FILE = "answers.sqlite"
WAIT = 2.0  # seconds that an answer waits for a lock
LONGEST = 2000  # characters of free text
LETTERS = "ABCDEFGHJKMNPQRSTUVWXYZ23456789"  # none that is taken for another: 31 of them
CODE = 12  # letters: 31^12, some 59 bits

TABLES = """
CREATE TABLE setting (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE participant (
  code TEXT PRIMARY KEY, number INTEGER NOT NULL UNIQUE, device TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE answer (
  code TEXT NOT NULL REFERENCES participant(code) ON DELETE CASCADE,
  question TEXT NOT NULL, position INTEGER NOT NULL, kind TEXT NOT NULL, condition TEXT NOT NULL,
  answer TEXT NOT NULL, seconds REAL,
  UNIQUE (code, question));
"""
COUNT = "SELECT count(*) FROM sqlite_master"


class Unavailable(OSError):
    """The answers cannot be kept just now: the file is locked, read-only or full."""


class Elsewhere(ValueError):
    """The code is in use in another browser."""


class Unknown(ValueError):
    """No participant has this code."""


class NotAsked(ValueError):
    """The answer is none to the question that is due, or to one before it."""


@dataclass(frozen=True)
class Place:
    """Where a participant is: the sheet, what is answered, and the question that is due."""

    number: int
    questions: list[Question]
    answers: dict[str, str]

    @property
    def due(self) -> int:
        """Position of the first question without an answer; their number at the end."""
        return next(
            (i for i, q in enumerate(self.questions) if q.id not in self.answers),
            len(self.questions),
        )


class Store:
    """The file of a study's answers, made if it is not there.

    Raises:
        Unavailable: It cannot be written.
        ValueError: It is of another version or study, or is no database.
    """

    def __init__(self, folder: str | Path, design: Design, wait: float = WAIT) -> None:
        self.path = Path(folder) / FILE
        self.design = design
        with self._told("opened"):
            self.connection = sqlite3.connect(self.path, timeout=wait, isolation_level=None)
        try:
            self._open()
        except BaseException as error:
            self.connection.close()
            if isinstance(error, sqlite3.OperationalError):
                raise Unavailable(f"{self.path} cannot be written: {error}") from None
            if isinstance(error, sqlite3.DatabaseError):
                raise ValueError(f"{self.path} is no database of answers: {error}") from None
            raise

    def _open(self) -> None:
        """Make the tables of a new file; refuse those of others."""
        for pragma in ("foreign_keys = ON", "synchronous = FULL", "secure_delete = ON"):
            self._one(f"PRAGMA {pragma}")
        version, tables = self._one("PRAGMA user_version")[0], self._one(COUNT)[0]
        if version != SCHEMA and (version or tables):
            raise ValueError(
                f"{self.path} must be of version {SCHEMA}, got {version}; "
                "use the xaiutils that made it, or move it away to begin anew"
            )
        self._one("PRAGMA journal_mode = TRUNCATE")  # keeps nothing of those who have withdrawn
        with self._writing():
            if not self._one(COUNT)[0]:
                for statement in filter(str.strip, TABLES.split(";")):
                    self._one(statement)
                self._one(f"PRAGMA user_version = {SCHEMA}")
            for setting in (("design", self.design.hash), ("secret", secrets.token_hex(32))):
                self._one("INSERT OR IGNORE INTO setting VALUES (?, ?)", *setting)
        kept = dict(self.connection.execute("SELECT name, value FROM setting"))
        if kept["design"] != self.design.hash:
            raise ValueError(f"{self.path} holds the answers to another design")
        self.secret: str = kept["secret"]

    @contextmanager
    def _told(self, what: str) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise Unavailable(f"{self.path} cannot be {what}: {error}") from None

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """One transaction, on the disk when this ends; or nothing."""
        with self._told("written"):
            self._one("BEGIN IMMEDIATE")
            try:
                yield
                self._one("COMMIT")
            except BaseException:
                if self.connection.in_transaction:
                    self._one("ROLLBACK")
                raise

    def _one(self, statement: str, *values: Any) -> Any:
        """Execute; the first row, or None."""
        return self.connection.execute(statement, values).fetchone()

    def begin(self, device: str) -> str:
        """A new participant, after consent: the code. Numbers that withdrawals freed come first.

        A device that has begun and not answered yet gets the code that it has.
        """
        code = "".join(secrets.choice(LETTERS) for _ in range(CODE))
        with self._writing():
            begun = self._one(
                "SELECT code FROM participant WHERE device = ? "
                "AND NOT EXISTS (SELECT 1 FROM answer WHERE answer.code = participant.code)",
                _hashed(device),
            )
            if begun is not None:
                return str(begun[0])
            taken = {n for (n,) in self.connection.execute("SELECT number FROM participant")}
            number = min({*range(len(taken) + 1)} - taken)
            self._one("INSERT INTO participant VALUES (?, ?, ?)", code, number, _hashed(device))
        return code

    def place(self, code: str, device: str | None = None) -> Place:
        """Where a participant is; with ``device``, only for the browser that has the code."""
        with self._told("read"):
            row = self._one("SELECT number, device FROM participant WHERE code = ?", code)
            if row is None:
                raise Unknown("no participant has this code")
            if device is not None and not secrets.compare_digest(row[1], _hashed(device)):
                raise Elsewhere("this code is in use in another browser")
            answers = "SELECT question, answer FROM answer WHERE code = ?"
            found = self.connection.execute(answers, (code,)).fetchall()
            return Place(row[0], sheet(self.design, row[0]), dict(found))

    def take_over(self, code: str, device: str) -> None:
        """Give a code to another browser."""
        with self._writing():
            done = self.connection.execute(
                "UPDATE participant SET device = ? WHERE code = ?", (_hashed(device), code)
            )
            if not done.rowcount:
                raise Unknown("no participant has this code")

    def answer(
        self, code: str, device: str, question: str, answer: str, seconds: float | None
    ) -> bool:
        """Keep one answer; False if this question had one, which stays as it was."""
        with self._writing():
            place = self.place(code, device)
            by_id = {q.id: i for i, q in enumerate(place.questions[: place.due + 1])}
            if question not in by_id:
                raise NotAsked("this question is not due")
            asked = place.questions[by_id[question]]
            if asked.options and answer not in asked.options:
                raise NotAsked("this is not one of the answers")
            if not asked.options and len(answer) > LONGEST:
                raise NotAsked(f"the text must have at most {LONGEST} characters")
            done = self.connection.execute(
                "INSERT INTO answer VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                (code, question, by_id[question], asked.kind, asked.condition, answer, seconds),
            )
            return done.rowcount == 1

    def withdraw(self, code: str) -> int:
        """Delete a participant with all answers, also from the file's free pages: how many."""
        with self._writing():
            (count,) = self._one("SELECT count(*) FROM answer WHERE code = ?", code)
            done = self.connection.execute("DELETE FROM participant WHERE code = ?", (code,))
            if not done.rowcount:
                raise Unknown("no participant has this code")
        return int(count)

    def rows(self) -> list[tuple[int, str, int, str, str, str, float | None]]:
        """Every answer: number, question, position, kind, condition, answer, seconds; no codes."""
        with self._told("read"):
            return self.connection.execute(
                "SELECT number, question, position, kind, condition, answer, seconds "
                "FROM answer JOIN participant USING (code) ORDER BY number, position"
            ).fetchall()

    def close(self) -> None:
        """Let go of the file."""
        self.connection.close()


def normalised(code: str) -> str:
    """A code as it is kept, however it was typed: letters and digits alone, upper case."""
    return "".join(c for c in code.upper() if c.isascii() and c.isalnum())[:CODE]


def spelled(code: str) -> str:
    """A code as it is shown: in groups of four."""
    return "-".join(code[i : i + 4] for i in range(0, len(code), 4))


def _hashed(device: str) -> str:
    return hashlib.sha256(device.encode()).hexdigest()
