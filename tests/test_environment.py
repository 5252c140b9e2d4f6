"""What the project installs: environment, lock, the OpenCV build, and nbval's rules."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest
import yaml
from nbval.plugin import get_sanitize_patterns
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
RUNTIME = [Requirement(line) for line in PROJECT["dependencies"]]
DEVELOPMENT = [
    Requirement(line) for lines in PROJECT["optional-dependencies"].values() for line in lines
]
LINES = (ROOT / "requirements.lock").read_text("utf-8").splitlines()
LOCK = {
    canonicalize_name(line.partition("==")[0]): line.partition("==")[2]
    for line in LINES
    if line and not line.startswith("#")
}


def test_conda_gives_python_and_pip_and_the_lock_the_rest():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text("utf-8"))
    assert environment["name"] == "xaiutils"
    assert environment["channels"] == ["conda-forge", "nodefaults"]
    *conda, pip = environment["dependencies"]
    assert sorted(conda) == ["pip", "python=3.11"]
    assert pip == {"pip": ["-r requirements.lock", "-e ."]}


def test_the_python_of_the_environment_is_one_that_the_package_takes():
    assert Requirement(f"python{PROJECT['requires-python']}").specifier.contains("3.11.0")


@pytest.mark.parametrize("line", [line for line in LINES if line and line[0] != "#"])
def test_the_lock_pins_every_line_exactly(line):
    assert re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.]*", line)
    Version(line.partition("==")[2])


def test_the_lock_names_nothing_twice():
    assert len(LOCK) == sum(bool(line) and line[0] != "#" for line in LINES) > 50


@pytest.mark.parametrize("requirement", RUNTIME + DEVELOPMENT, ids=str)
def test_a_dependency_is_pinned_within_its_range(requirement):
    pinned = LOCK[canonicalize_name(requirement.name)]
    assert requirement.specifier.contains(pinned)


@pytest.mark.parametrize("name", sorted(LOCK))
def test_what_is_installed_is_what_was_locked(name):
    try:
        found = version(name)
    except PackageNotFoundError:
        found = "nothing"
    assert found.partition("+")[0] == LOCK[name]  # torch adds +cpu or +cu130


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
