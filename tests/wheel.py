"""Install the wheel into an empty environment and explain a photograph: `make wheel-test`.

No part of the test suite, since it installs all dependencies anew: minutes and gigabytes, less with
TORCH_INDEX (see the Makefile).
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
SCRIPT = """
import xaiutils as xai
classifier = xai.load_model()
x = classifier.preprocess(xai.sample_photograph("chelsea"))
e = xai.explain(classifier, x)
print(xai.__file__, classifier.classes[e.target[0]], float(e.conservation.shares()["input"][0]))
"""


def run(*command: str | Path, cwd: Path) -> str:
    """The output of a command; an error ends everything."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "XAIUTILS"))}
    words = [str(word) for word in command]
    done = subprocess.run(
        words, cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"{' '.join(words)}\n{done.stdout}{done.stderr}")
    return done.stdout


def main() -> None:
    """Build, install, explain; print what each took."""
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        python = folder / "venv" / "bin" / "python"
        steps = {
            "build": (sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder),
            "environment": (sys.executable, "-m", "venv", folder / "venv"),
        }
        for step, command in steps.items():
            started = time.perf_counter()
            run(*command, cwd=ROOT)
            print(f"{step}: {time.perf_counter() - started:.0f} s")
        (wheel,) = folder.glob("*.whl")
        pip = (python, "-m", "pip", "install", "-q", "--disable-pip-version-check")
        lock = ("-c", ROOT / "requirements.lock")
        pinned = (ROOT / "requirements.lock").read_text("utf-8").splitlines()
        torch = [line for line in pinned if line.startswith(("torch==", "torchvision=="))]
        index = os.environ.get("TORCH_INDEX")
        # As `make opencv` does: of two packages with the same files the one without windows wins.
        (opencv,) = (line for line in pinned if line.startswith("opencv-python-headless=="))
        explain = (folder / "venv" / "bin" / "xaiutils", "explain", "sample:chelsea")
        later = {
            **({"torch": (*pip, "--index-url", index, *torch)} if index else {}),
            "install": (*pip, *lock, f"{wheel}[all]"),
            "opencv": (*pip, "--force-reinstall", "--no-deps", opencv),
            "explain": (*explain, "--out", folder / "maps"),
            "script": (python, "-c", SCRIPT),
        }
        for step, command in later.items():
            started = time.perf_counter()
            told = run(*command, cwd=folder)
            print(f"{step}: {time.perf_counter() - started:.0f} s", told.strip())
        assert str(folder) in told, "the package must be the wheel's"
        for file in (folder / "maps" / "chelsea.png", folder / "maps" / "chelsea.npz"):
            print(file.name, file.stat().st_size, "bytes")
        size = sum(p.lstat().st_size for p in (folder / "venv").rglob("*") if p.is_file())
        print(f"wheel {wheel.stat().st_size / 1e6:.1f} MB, environment {size / 1e9:.1f} GB")
    print(f"all: {time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
