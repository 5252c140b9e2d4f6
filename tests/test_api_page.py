"""docs/api.md lists what the package makes public today, each name once."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import xaiutils

DOCS = Path(__file__).parents[1] / "docs"


def test_the_page_is_that_of_the_package():
    page = runpy.run_path(str(DOCS / "api.py"))["page"]()
    assert (DOCS / "api.md").read_text("utf-8") == page, "run: python docs/api.py"
    rows = re.findall(r"^\| (?:`(\w+)`|\[(\w+)\]\([^)]+\)) \| (.+?) \|", page, flags=re.MULTILINE)
    assert sorted(name or module for name, module, _ in rows) == xaiutils.__all__
    assert [row for row in rows if not row[2].endswith((".", "?"))] == []
    files = re.findall(r"\]\(([^)]+)\)", re.sub(r"`[^`]*`", "", page))
    assert len(files) == len(rows)
    assert all((DOCS / file).is_file() for file in files)
