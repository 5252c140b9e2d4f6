"""What all tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

# A gate must answer the same twice; whoever calls pytest without it looks for new examples.
settings.register_profile("gate", derandomize=True, deadline=None)
if os.environ.get("XAIUTILS_GATE"):
    settings.load_profile("gate")

# Files and tests of some seconds each, which smaller tests stand in for: slow, as `make test-slow`
# has it, so that `make test` stays under twenty minutes on two cores.
LONG = tuple(Path(__file__).with_name("long.txt").read_text("utf-8").split("\n"))[:-1]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as slow what long.txt names: a file, a test, or one case of a test."""
    for item in items:
        if {item.nodeid, *(item.nodeid.partition(end)[0] for end in ("[", "::"))} & {*LONG}:
            item.add_marker(pytest.mark.slow)
