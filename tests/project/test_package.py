"""The wheel and the sdist: what is in them, and that the wheel works away from the checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from importlib.metadata import version
from pathlib import Path

import PIL.Image
import pytest

import xaiutils

ROOT = Path(__file__).parents[2]
VERSION = xaiutils.__version__
SHIPPED = {"data", "notebooks", "results", "docs"}
STRAY = (
    *("data/.manifest.json.7", "notebooks/.ipynb_checkpoints/01.ipynb", "results/scenes/one.part"),
    *("xaiutils/__pycache__/old.pyc", "build/lib/xaiutils/old.py", "docs/node_modules/old.js"),
)


def build(source: Path, out: Path, *kinds: str) -> Path:
    targets = [word for kind in kinds for word in ("-t", kind)]
    command = [sys.executable, "-m", "hatchling", "build", *targets, "-d", str(out)]
    subprocess.run(command, cwd=source, check=True, capture_output=True)
    return out


@pytest.fixture(scope="module")
def copy(tmp_path_factory) -> Path:
    """What is tracked, or will be, and nothing else."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, check=True, capture_output=True).stdout
    folder = tmp_path_factory.mktemp("source")
    for name in filter(None, names.decode().split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)
    for name in STRAY:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("made by work in the checkout")
    return folder


@pytest.fixture(scope="module")
def built(copy: Path, tmp_path_factory) -> Path:
    return build(copy, tmp_path_factory.mktemp("dist"), "sdist", "wheel")


@pytest.fixture(scope="module")
def installed(built: Path, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(built / f"xaiutils-{VERSION}-py3-none-any.whl") as wheel:
        wheel.extractall(folder)
    return folder


def run(installed: Path, where: Path, *arguments: str) -> str:
    where.mkdir(exist_ok=True)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("XAIUTILS_")}
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=where,
        env=environment | {"PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_wheel_has_all_that_the_package_reads_and_nothing_else(installed):
    top = {path.name for path in installed.iterdir()}
    assert top == {"xaiutils", f"xaiutils-{VERSION}.dist-info"}
    assert not {path.name for path in installed.rglob("*")} & {Path(name).name for name in STRAY}
    files = installed / "xaiutils" / "files"
    assert {path.name for path in files.iterdir()} == SHIPPED
    for name in (*SHIPPED - {"results", "docs"}, "results/scenes"):
        own = {
            p.name for p in (ROOT / name).iterdir() if p.name[0] not in "._" and p.suffix != ".py"
        }
        assert {path.name for path in (files / name).iterdir()} == own
    code = {str(path.relative_to(ROOT)) for path in (ROOT / "xaiutils").rglob("*.py")}
    assert {str(path.relative_to(installed)) for path in installed.rglob("*.py")} == code
    about = (installed / f"xaiutils-{VERSION}.dist-info" / "METADATA").read_text()
    assert "License-Expression: MIT" in about


def test_an_editable_install_copies_nothing(copy, tmp_path):
    (made,) = build(copy, tmp_path, "wheel:editable").iterdir()
    with zipfile.ZipFile(made) as wheel:
        (path,) = (n for n in wheel.namelist() if not n.startswith(f"xaiutils-{VERSION}.dist-info"))
        assert path.endswith(".pth")
        assert wheel.read(path).decode().strip() == str(copy)


def test_the_sdist_gives_the_same_wheel(built, tmp_path):
    with tarfile.open(built / f"xaiutils-{VERSION}.tar.gz") as sdist:
        sdist.extractall(tmp_path, filter="data")
    (source,) = tmp_path.iterdir()
    assert [name for name in STRAY if (source / name).exists()] == []
    assert not (source / "tests").exists()
    again = build(source, tmp_path / "again", "wheel") / f"xaiutils-{VERSION}-py3-none-any.whl"
    with (
        zipfile.ZipFile(built / again.name) as first,
        zipfile.ZipFile(again) as second,
    ):
        assert {i.filename: i.CRC for i in first.infolist()} == {
            i.filename: i.CRC for i in second.infolist()
        }


@pytest.mark.slow
def test_the_wheel_explains_a_photograph_away_from_the_checkout(installed, tmp_path):
    where = tmp_path / "elsewhere"
    script = (
        "import xaiutils as xai\n"
        "from xaiutils.apps.cli.__main__ import main\n"
        "assert main(['explain', 'sample:chelsea', '--out', 'maps']) == 0\n"
        "from xaiutils.evidence.results import base\n"
        "from xaiutils.evidence.claims_page import judge_claims\n"
        "work = xai.load_workload('scenes', 'calibration')\n"
        "rows = len(xai.load_table('table_one', work))\n"
        "print(xai.__file__, base(), len(judge_claims()), rows)"
    )
    told = run(installed, where, "-c", script).split()[-4:]
    with PIL.Image.open(where / "maps" / "chelsea.png") as drawn:
        assert drawn.width > 800
    assert (where / "maps" / "chelsea.npz").is_file()
    assert told[0] == str(installed / "xaiutils" / "__init__.py")
    assert told[1] == "results"  # of the working directory: a package is not written to
    assert int(told[2]) > 20  # claims, judged by the tables that came along
    assert int(told[3]) > 1000


def test_one_version_everywhere():
    citation = (ROOT / "CITATION.cff").read_text("utf-8")
    assert f"\nversion: {VERSION}\n" in citation
    assert f"\n## {VERSION} (" in (ROOT / "CHANGELOG.md").read_text("utf-8")
    assert version("xaiutils") == VERSION
    released = citation.partition("date-released: ")[2].splitlines()[0]
    assert f"\n## {VERSION} ({released})\n" in (ROOT / "CHANGELOG.md").read_text("utf-8")
