"""The notebooks as they are committed: executed, tidy, and with solutions that run."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import nbformat
import pytest

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
MACHINE_PATH = re.compile(r"/(?:work|root|tmp|home|Users)/|[A-Z]:\\\\Users")
SOLUTION = re.compile(
    r"<details><summary>Solution</summary>\n\n```python\n(.+?)\n```\n\n</details>", re.DOTALL
)

QUICK, LESSONS = NOTEBOOKS[0], NOTEBOOKS[1:]

each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
# Their set-up is the most part of their exercises.
DEAR = ("06", "07", "09", "10", "11", "13", "14", "16")


@cache
def read(path: Path) -> Any:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    return notebook


def cells(path: Path, kind: str) -> list[Any]:
    return [cell for cell in read(path).cells if cell.cell_type == kind]


def tags(cell: Any) -> list[str]:
    return cell.metadata.get("tags", [])


@each_notebook
def test_executed_in_order_without_errors(path):
    code = cells(path, "code")
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    for cell in code:
        errors = [output.evalue for output in cell.outputs if output.output_type == "error"]
        assert not errors or "raises-exception" in tags(cell)
        warnings = [o.text for o in cell.outputs if o.get("name") == "stderr"]
        assert not warnings


@each_notebook
def test_small_and_free_of_machine_paths(path):
    assert path.stat().st_size < 1_000_000
    raw = json.loads(path.read_text())
    for cell in raw["cells"]:
        for output in cell.get("outputs", ()):
            output.get("data", {}).pop("image/png", None)  # base64 may spell anything
    assert MACHINE_PATH.findall(json.dumps(raw)) == []
    assert raw["metadata"]["kernelspec"]["name"] == "python3"


@each_notebook
def test_setup_cells_come_first_and_one_holds_the_parameters(path):
    code = cells(path, "code")
    setup = [i for i, cell in enumerate(code) if "setup" in tags(cell)]
    assert setup[:3] == [0, 1, 2][: 2 if path == QUICK else 3]
    parameters = [cell for cell in code if "parameters" in tags(cell)]
    assert len(parameters) == 1
    assert "setup" in tags(parameters[0])
    assert "WORKLOAD = " in parameters[0].source


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(path, id=path.stem, marks=[pytest.mark.slow] * (path.stem[:2] in DEAR))
        for path in LESSONS
    ],
)
def test_two_exercises_whose_solutions_run(path, monkeypatch, capsys):
    code = cells(path, "code")
    text = [cell.source for cell in cells(path, "markdown")]
    tasks = [
        i for i, source in enumerate(text) if re.search(r"^(?:### |\*\*)Exercise \d", source, re.M)
    ]
    assert len(tasks) == 2
    monkeypatch.chdir(path.parent)
    setup: dict[str, Any] = {"__name__": "__main__"}
    for cell in code:
        if "setup" in tags(cell):
            exec(compile(cell.source, path.name, "exec"), setup)
    for i in tasks:
        (solution,) = SOLUTION.findall(text[i + 1])
        assert "assert" in solution
        exec(compile(solution, f"{path.name}, solution {i}", "exec"), dict(setup))
    assert re.search(r"\d", capsys.readouterr().out)
