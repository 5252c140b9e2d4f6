"""docs/traps.md: every trap names a test that exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROWS = [
    line
    for line in (ROOT / "docs" / "traps.md").read_text("utf-8").splitlines()
    if line.startswith("|") and not line.startswith(("|---", "| what happens"))
]


def test_there_are_many():
    assert len(ROWS) > 25


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[2:40])
def test_a_trap_names_a_test_that_exists(row):
    what, done, shown = (cell.strip() for cell in row.strip("|").split(" | "))
    assert what
    assert done
    path, name = re.fullmatch(r"`(tests/\w+\.py)::(test_\w+)`", shown).groups()
    tree = ast.parse((ROOT / path).read_text("utf-8"))
    assert name in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_no_trap_is_told_twice():
    assert len({row.split(" | ")[0] for row in ROWS}) == len(ROWS)
