"""The workflows run what anybody runs: targets of the Makefile."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
ACTION = re.compile(r"actions/[a-z-]+@v\d+")


def read(path: Path) -> dict[Any, Any]:
    return yaml.safe_load(path.read_text("utf-8"))


def targets(path: Path) -> set[str]:
    """The words behind ``make`` in the steps of all jobs, the matrix filled in."""
    found: set[str] = set()
    for job in read(path)["jobs"].values():
        matrix = job.get("strategy", {}).get("matrix", {})
        for step in job["steps"]:
            for line in step.get("run", "").splitlines():
                if line.startswith("make "):
                    word = line.split(maxsplit=2)[2]
                    key = re.fullmatch(r"\$\{\{ matrix\.(\w+) \}\}", word)
                    found |= set(matrix[key[1]]) if key else {word}
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_target_is_one_that_make_can_follow(path):
    for target in targets(path):
        done = subprocess.run(
            ["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr


def test_every_part_of_make_test_is_run_on_each_push_and_the_slow_ones_weekly():
    makefile = (ROOT / "Makefile").read_text("utf-8")
    rule = makefile.split("\ntest:")[1].split("\n\n")[0]
    parts = set(re.findall(r" (lint|test-\w+)", rule))
    more = set(re.search(r"^test-all: test (.+)$", makefile, re.MULTILINE)[1].split())
    test, weekly = (targets(path) for path in FILES)
    assert [path.stem for path in FILES] == ["test", "weekly"]
    assert {"lint", "test-fast", "test-notebooks", "test-browser"} == parts <= test
    assert more <= test | weekly
    assert "newest" in weekly


def test_a_browser_that_is_missing_is_a_failure():
    """Its tests are skipped where there is none."""
    (job,) = read(ROOT / ".github" / "workflows" / "test.yml")["jobs"].values()
    local = re.search(r"BROWSER_TESTS=(\d+)", (ROOT / ".ci" / "run").read_text("utf-8"))
    (step,) = (s["run"] for s in job["steps"] if "CHROMIUM" in s.get("run", ""))
    assert local
    assert local[0] in step


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_only_named_versions_of_github_s_own_actions(path):
    flow = read(path)
    used = [s["uses"] for job in flow["jobs"].values() for s in job["steps"] if "uses" in s]
    assert used
    assert [name for name in used if not ACTION.fullmatch(name)] == []
    assert flow["permissions"] == {"contents": "read"}
