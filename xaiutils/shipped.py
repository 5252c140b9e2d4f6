"""Where the files are that come with the package: weights, notebooks, tables, claims."""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).parent
FILES = PACKAGE / "files"  # of a wheel; in a checkout they lie beside the package


def shipped(name: str) -> Path:
    """The folder ``data``, ``notebooks``, ``results`` or ``docs`` that came with the package."""
    return (FILES if FILES.is_dir() else PACKAGE.parent) / name


def is_checkout() -> bool:
    """Whether these folders are a checkout's, to be written to."""
    return not FILES.is_dir()
