"""What the project installs: the OpenCV build, and nbval's rules."""

from __future__ import annotations

import re
from pathlib import Path

from nbval.plugin import get_sanitize_patterns

ROOT = Path(__file__).parents[2]


def test_opencv_is_the_build_without_windows():
    """Two packages own cv2's files; the one with Qt needs libGL, which servers do not have."""
    import cv2

    found = re.search(r"^  GUI:(.*)\n((?:    .*\n)*)", cv2.getBuildInformation(), re.MULTILINE)
    assert found
    gui = f"{found[1]}\n{found[2]}"
    assert not re.search(r"QT\w*: +(?!NONE|NO\b)\S", gui, re.IGNORECASE), "run `make opencv`"
    assert found[1].strip() in {"NONE", "NO", ""}


def test_nbval_reads_every_rule_and_every_rule_leaves_a_visible_token():
    """nbval's own reader drops a pair whose replacement is empty, and says nothing."""
    text = (ROOT / "nbval.ini").read_text("utf-8")
    rules = get_sanitize_patterns(text)
    written = [line for line in text.splitlines() if line.startswith("regex")]
    assert len(rules) == len(written) == sum(x.startswith("replace") for x in text.splitlines())
    assert rules
    for pattern, token in rules:
        re.compile(pattern)
        assert re.fullmatch(r"\S(.*\S)?", token)
        assert token.isprintable()


def test_the_rule_hides_an_address_and_nothing_else():
    shown = "<Thing at 0x7f3a5c0d91e0> 0.5 0x1F"
    for pattern, token in get_sanitize_patterns((ROOT / "nbval.ini").read_text("utf-8")):
        shown = re.sub(pattern, token, shown)
    assert shown == "<Thing at ADDRESS> 0.5 0x1F"
