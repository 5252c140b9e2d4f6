"""Every figure and table in one go: what is made, what is left out, what is not made twice."""

from __future__ import annotations

import ast
import json
import os
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType

import nbformat
import numpy as np
import pandas as pd
import pytest

from xaiutils.apps.cli import __main__ as cli
from xaiutils.cases.workloads import Workload, load_workload, with_objects
from xaiutils.evidence import experiments, figures, results
from xaiutils.metrics.scoring import COLUMNS
from xaiutils.pictures.imagenet import ImageNetFolder, open_imagenet
from xaiutils.support.files import alone

ROOT = Path(__file__).parents[2]
DOT = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="
DRAW = f"""from base64 import b64decode
from IPython.display import Image
Image(b64decode("{DOT}"), format="png")"""  # a figure without the seconds of importing torch
WORK = (
    "from xaiutils.cases.workloads import load_workload\nwork = load_workload(split='calibration')"
)


def write(path: Path, *sources: str, tags: tuple[str, ...] = ()) -> Path:
    book = nbformat.v4.new_notebook()
    for source in sources:
        book.cells.append(nbformat.v4.new_code_cell(source, metadata={"tags": list(tags)}))
    nbformat.write(book, path)
    return path


@pytest.fixture
def books(tmp_path: Path) -> Path:
    folder = tmp_path / "notebooks"
    folder.mkdir()
    write(folder / "01_one.ipynb", DRAW, tags=("fig-2",))
    return folder


@pytest.fixture
def executions(monkeypatch) -> list[str]:
    done: list[str] = []
    real = figures._execute
    monkeypatch.setattr(
        figures, "_execute", lambda path, out: done.append(path.stem) or real(path, out)
    )
    return done


def run(books: Path, *more: str) -> int:
    out = books.parent / "out"
    return cli.main(["figures", "--notebooks", str(books), "--out", str(out), *more])


def test_figures_and_index_of_the_scenes(books, capsys, executions):
    write(books / "11_two.ipynb", "1 + 1")
    assert run(books) == 0
    out = books.parent / "out"
    assert (out / "01_one_1.png").read_bytes().startswith(b"\x89PNG")
    index = (out / "README.md").read_text()
    assert "| Fig. 2, the stages | [01_one_1.png](01_one_1.png) | 01_one |" in index
    assert nbformat.read(out / "01_one.ipynb", 4).cells[0].execution_count == 1
    table = (out / "table_1.md").read_text()
    summary = pd.read_csv(out / "table_1.csv")
    kept = summary[(summary["method"] == "hybrid") & (summary["metric"] == "sparseness")]
    assert f"{kept['mean'].min():.3f} to {kept['mean'].max():.3f}" in table
    assert "200 pictures" in table
    assert "1 figures from 2 notebooks" in capsys.readouterr().out

    (out / ".README.md.abc.tmp").touch()  # what a killed run left
    assert run(books) == 0  # nothing is made twice
    assert executions == ["01_one", "11_two"]
    assert not list(out.rglob(".*.tmp"))
    (out / "01_one_1.png").unlink()
    write(books / "11_two.ipynb", "1 + 2")
    assert run(books) == 0
    assert executions == ["01_one", "11_two"] * 2
    assert (out / "01_one_1.png").read_bytes().startswith(b"\x89PNG")
    stamp = out / ".made" / "01_one.json"
    for note in (b"", b"[" * 100_000, b'{"made": {}, "sha256": "0"}'):  # cut off, or of earlier
        stamp.write_bytes(note)
        assert figures._kept(stamp, "a key", out) is None


def test_a_notebook_that_fails_is_named_and_the_others_are_there(books, capsys, executions):
    write(books / "00_broken.ipynb", "1 / 0")
    assert run(books) == 2
    told = capsys.readouterr()
    assert "00_broken.ipynb failed: ZeroDivisionError: division by zero" in told.out  # at once
    assert "1 notebooks failed\n00_broken.ipynb: ZeroDivisionError" in told.err
    index = (books.parent / "out" / "README.md").read_text()
    assert "| 00_broken | ZeroDivisionError: division by zero |" in index
    assert "[1](01_one_1.png)" in index
    write(books / "00_broken.ipynb", "1 / 1")
    assert run(books) == 0
    assert executions == ["00_broken", "01_one", "00_broken"]


def test_a_notebook_without_a_kernel_is_named_and_the_others_are_there(books, capsys):
    write(books / "02_killed.ipynb", "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)")
    nowhere = nbformat.read(write(books / "03_nowhere.ipynb", DRAW), 4)
    nowhere.metadata["kernelspec"] = {"name": "nowhere", "display_name": "nowhere"}
    nbformat.write(nowhere, books / "03_nowhere.ipynb")
    assert run(books) == 2
    said = capsys.readouterr().err
    assert "2 notebooks failed\n02_killed.ipynb: DeadKernelError: " in said
    assert "03_nowhere.ipynb: NoSuchKernel: No such kernel named nowhere" in said
    assert "[1](01_one_1.png)" in (books.parent / "out" / "README.md").read_text()


@pytest.fixture
def own(tmp_path, monkeypatch) -> str:
    """A workload of one's own: six scenes that are not called so, one of them mistaken."""
    (tmp_path / "mine.py").write_text(
        "from dataclasses import replace\n"
        "from xaiutils.cases.workloads import Workload, load_workload\n"
        "def work():\n"
        "    base = load_workload('scenes', 'unit')\n"
        "    samples = [base.samples[i] for i in range(6)]\n"
        "    samples[1] = replace(samples[1], label=(samples[1].label + 1) % 6)\n"
        "    return Workload('mine', base.classifier, samples)\n"
        "def bare():\n"
        "    some = work()\n"
        "    return Workload('bare', some.classifier, "
        "[replace(s, mask=None, boxes=()) for s in some.samples])\n"
        "def mixed():\n"
        "    every, none = work(), bare()\n"
        "    samples = [*none.samples[:2], *every.samples[2:5], none.samples[5]]\n"
        "    return Workload('mixed', every.classifier, samples)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    return "mine:work"


@pytest.mark.slow
def test_tables_of_other_pictures_are_made_and_taken_up_again(
    books, own, capsys, executions, monkeypatch
):
    one = experiments.EXPERIMENTS["table_one"]
    for name in ("table_one", "localisation"):  # two cheap metrics stand for all
        cheap = {"sparseness": {}, "relevance_rank_accuracy": {}}
        if name == "localisation":
            cheap = {"relevance_mass": {}}
        small = replace(
            one,
            metrics=MappingProxyType(cheap),
            contenders=lambda height, chosen: ["hybrid", "random_map"],
        )
        monkeypatch.setitem(experiments.TABLES, name, small)
    monkeypatch.setattr(figures, "TABLES", {"11": ("table_one", "localisation")})
    source = f"{WORK}\nfrom xaiutils.evidence import results"
    write(books / "11_two.ipynb", f"{source}\nprint(len(results.load_table('table_one', work)))")
    write(books / "12_three.ipynb", "1 / 0")  # beyond the paper
    assert run(books, "--workload", own, "--images", "3") == 0
    out = books.parent / "out"
    table = pd.read_parquet(out / "tables" / "mine_scenes_vgg_seed0" / "table_one.parquet")
    assert list(table.columns) == list(COLUMNS)
    assert table["image"].nunique() == 3  # the mistaken one is passed over
    assert "3 pictures" in (out / "table_1.md").read_text()
    assert "left out 12_three.ipynb: ask for it by --all" in capsys.readouterr().out
    printed = nbformat.read(out / "11_two.ipynb", 4).cells[0].outputs[0].text
    assert printed == f"{len(table)}\n"

    monkeypatch.setattr("xaiutils.evidence.tables._score", None)  # every part is there
    assert run(books, "--workload", own, "--images", "3") == 0
    assert executions == ["01_one", "11_two"]


def test_pictures_without_objects_make_no_tables(books, own, capsys):
    for name in ("06_combinations.ipynb", "10_infidelity.ipynb"):
        write(books / name, "1 / 0")
    assert run(books, "--workload", "mine:bare") == 0
    told = capsys.readouterr().out
    for name in ("06_combinations.ipynb", "10_infidelity.ipynb"):
        assert f"left out {name}: bare has no boxes or masks to score by" in told
    assert not (books.parent / "out" / "table_1.md").exists()


@pytest.mark.slow
def test_pictures_without_objects_are_left_out_where_others_have_theirs(
    books, own, capsys, monkeypatch
):
    """The first picture lacks its object: that decides neither which notebooks run nor on what."""
    monkeypatch.setattr(figures, "TABLES", {"10": ()})
    write(books / "10_ten.ipynb", f"{WORK}\nprint(len(work.samples), len(work.samples[1:]))")
    assert run(books, "--workload", "mine:mixed") == 0
    said = "3 of 6 pictures have boxes or masks: only these are used"
    told, out = capsys.readouterr().out, books.parent / "out"
    assert said in told
    assert "left out" not in told
    assert f"3 pictures. xaiutils {version('xaiutils')}" in (out / "README.md").read_text()
    assert f"\n{said}.\n" in (out / "README.md").read_text()
    assert nbformat.read(out / "10_ten.ipynb", 4).cells[0].outputs[0].text == "3 2\n"
    assert figures.PLACED not in os.environ


def test_of_imagenet_only_annotated_pictures_are_known_and_none_is_decoded(tmp_path):
    network = load_workload("scenes", "unit").classifier
    place = tmp_path / "ILSVRC" / "Data" / "CLS-LOC" / "val"
    place.mkdir(parents=True)
    for name in "abc":
        (place / f"{name}.JPEG").write_bytes(b"no picture")
    rows = "ImageId,PredictionString\nb,n02123045 1 2 3 4\n"
    (tmp_path / "LOC_val_solution.csv").write_text(rows)
    xmls = tmp_path / "ILSVRC" / "Annotations" / "CLS-LOC" / "val"
    xmls.mkdir(parents=True)
    (xmls / "c.xml").write_text("<annotation></annotation>")  # names no object
    work = Workload("imagenet", network, open_imagenet(tmp_path))
    assert len(work.samples) == 3
    known = with_objects(work).samples
    assert isinstance(known, ImageNetFolder)
    assert [entry.id for entry in known.entries] == ["b"]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--images", "3"), "images must be left out on scenes"),
        (("--images", "0"), "images must be"),
        (("--model", "vgg16"), "model, weights and root must be left out on scenes"),
        (("--workers", "0"), "workers must be"),
        (("--workload", "photos"), "did you mean photographs"),
        (("--notebooks", "nowhere"), "numbered notebooks, got nowhere"),
    ],
)
def test_wrong_arguments_are_one_line(books, more, message, capsys):
    assert run(books, *more) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error


def test_one_run_at_a_time(books, capsys):
    out = books.parent / "out"
    out.mkdir()
    with alone(out, (1, 1)):
        assert run(books) == 2
    assert "is being run by another process" in capsys.readouterr().err


def test_the_environment_is_as_it_was(books, own):
    before = dict(os.environ)
    assert run(books, "--workload", "mine:bare") == 0
    assert dict(os.environ) == before


def test_each_figure_of_the_paper_is_one_cell_of_the_notebooks():
    found: dict[str, list[str]] = {tag: [] for tag in figures.PAPER}
    for path in sorted((ROOT / "notebooks").glob("[0-9]*.ipynb")):
        for cell in json.loads(path.read_text())["cells"]:
            for tag in set(cell["metadata"].get("tags", ())) & set(found):
                pictures = [o for o in cell["outputs"] if "image/png" in o.get("data", {})]
                found[tag] += [path.stem] * len(pictures)
    assert {tag: len(places) for tag, places in found.items()} == dict.fromkeys(figures.PAPER, 1)


def test_both_galleries_show_the_readers_pictures_once_each(monkeypatch):
    """Figs. 4 and 5 are rows of one class each: picture, Grad-CAM, LRP, hybrid."""
    for name, value in (("WORKLOAD", "photographs"), ("MODEL", "squeezenet1_0")):
        monkeypatch.setenv(f"XAIUTILS_{name}", value)
    monkeypatch.setenv("XAIUTILS_WEIGHTS", "random")
    book = nbformat.read(ROOT / "notebooks" / "07_gallery.ipynb", 4)
    code = [cell for cell in book.cells if cell.cell_type == "code"]
    tags = [cell.metadata.get("tags", []) for cell in code]
    space, shown = {"__name__": "__main__"}, []
    for cell, tag in zip(code, tags[: tags.index(["fig-5"]) + 1], strict=False):
        body = ast.parse(cell.source).body
        drawn = body.pop() if {"fig-4", "fig-5"} & set(tag) else None
        exec(compile(ast.Module(body, []), "07", "exec"), space)
        if "parameters" in tag:
            space["ROWS"] = 2
        if drawn is not None:
            figure = eval(compile(ast.Expression(drawn.value), "07", "eval"), space)
            images = [one.images[0].get_array() for one in figure.axes if one.images]
            assert len(images) % 4 == 0
            shown += images[::4]
    assert len(shown) == space["ROWS"]
    for picture, photo in zip(shown, space["photos"], strict=True):
        assert np.array_equal(picture, photo)


def test_what_a_notebook_reads_is_listed():
    for path in sorted((ROOT / "notebooks").glob("[0-9]*.ipynb")):
        named = path.read_text()
        reads = {name for name in experiments.TABLES if f'load_table(\\"{name}\\", work)' in named}
        listed = figures.TABLES.get(path.name[:2], ())
        scenes_only = {"classes", "road", "calibration"}  # pictures of photographs have none
        assert reads - scenes_only <= set(listed), path.name
        assert ("load_table(" in named) == bool(listed), path.name


def test_stored_tables_are_where_the_demo_reads_them():
    for names in figures.TABLES.values():
        for name in names:
            assert (results.base() / "scenes" / f"{name}.parquet").is_file()
