"""Pages of Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from xaiutils.support.files import write_whole


def row(cells: Sequence[str]) -> str:
    """One row of a table."""
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A table, line by line."""
    return [row(heads), "|" + "---|" * len(heads), *map(row, rows)]


def write(path: Path, lines: Iterable[str]) -> None:
    """Write a page, whole or not at all."""
    text = "\n".join(lines) + "\n"
    write_whole(path, lambda stream: stream.write(text.encode()))
