"""The five networks of docs/four-lines.md: each explained."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LIBRARIES = ROOT / "build" / "networks"  # where `make models` installs them
PAGE = (ROOT / "docs" / "four-lines.md").read_text("utf-8")
SCRIPTS = dict(re.findall(r"^## ([^,:\n]+).*?```python\n(.+?)```", PAGE, re.DOTALL | re.MULTILINE))
NEEDS = {  # of a script, a package beside the lock
    "timm": "timm",
    "Hugging Face": "transformers",
    "EfficientNet-Lite0": "efficientnet_lite_pytorch",
}
QUICK = "Regression on five channels"
CHECK = """
ledger = explanation.conservation
assert explanation.hybrid.isfinite().all() and explanation.relevance.abs().max() > 0
assert explanation.hybrid.shape == explanation.cam.shape
assert float((ledger.residual / ledger.start).abs().max()) <= 1e-3, ledger
"""


def test_all_five_are_run() -> None:
    assert len(SCRIPTS) == 5 > len(NEEDS) == len(NEEDS.keys() & SCRIPTS.keys())


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.slow] * (name != QUICK)) for name in SCRIPTS],
)
def test_a_script_explains(name: str, tmp_path: Path) -> None:
    package = NEEDS.get(name, "torch")
    if importlib.util.find_spec(package) is None and not (LIBRARIES / package).exists():
        pytest.skip(f"{package} is not installed: make models does it")
    path = os.pathsep.join([str(ROOT), str(LIBRARIES), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", SCRIPTS[name] + CHECK],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
