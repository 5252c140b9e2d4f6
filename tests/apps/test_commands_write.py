"""Commands write where they are told to, and over nothing that is not theirs."""

from __future__ import annotations

import shutil

import pytest

from tests.apps.userstudy.tiny import tiny
from xaiutils.apps.cli import __main__ as cli
from xaiutils.evidence import claims_page
from xaiutils.pictures import scenes
from xaiutils.support.files import shipped


@pytest.fixture
def docs(tmp_path, monkeypatch):
    """A checkout's docs, with claims that were judged."""
    folder = tmp_path / "docs"
    folder.mkdir()
    shutil.copy(shipped("docs") / "claims.yaml", folder)
    (folder / "claims.md").write_text("judged")
    monkeypatch.setattr(claims_page, "DOCS", folder)
    monkeypatch.delenv("XAIUTILS_RESULTS", raising=False)
    return folder


@pytest.mark.parametrize("way", ["out", "environment"])
@pytest.mark.parametrize("made", [True, False])
def test_claims_without_tables_are_refused_and_the_page_stays(
    docs, tmp_path, monkeypatch, capsys, way, made
):
    home = tmp_path / "tables"
    if made:
        home.mkdir()
    if way == "environment":
        monkeypatch.setenv("XAIUTILS_RESULTS", str(home))
    assert cli.main(["claims", *(["--out", str(home)] if way == "out" else [])]) == 2
    assert f"out must be a folder of tables, {home} has none" in capsys.readouterr().err
    assert (docs / "claims.md").read_text() == "judged"
    assert home.exists() == made


@pytest.mark.slow
def test_claims_of_other_tables_are_written_beside_them(docs, tmp_path, capsys):
    home = tmp_path / "tables"
    shutil.copytree(shipped("results") / "scenes", home / "scenes")
    assert cli.main(["claims", "--out", str(home)]) == 0
    assert f"written: {home / 'claims.md'}" in capsys.readouterr().out
    assert (docs / "claims.md").read_text() == "judged"
    assert "| holds |" in (home / "claims.md").read_text()
    assert claims_page.page_of() == docs / "claims.md"
    assert claims_page.page_of(docs / "mine.yaml") == shipped("results") / "claims.md"


def test_some_pictures_do_not_replace_a_whole_table(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("xaiutils.evidence.tables.make_table", None)  # nothing is scored
    assert cli.main(["evidence", "--images", "2", "table_one"]) == 2
    assert "images must go with out" in capsys.readouterr().err


@pytest.mark.parametrize("options", [[], ["--method", "sobel_edges"]], ids=str)
def test_a_picture_is_not_written_over(tmp_path, capsys, options):
    for name in ("one", "one_sobel_edges"):
        scenes.sample("unit", 3).image.save(tmp_path / f"{name}.png")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    assert cli.main(["explain", str(tmp_path), "--out", str(tmp_path), *options]) == 2
    assert "out must be another folder" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_figures_leave_a_folder_of_something_else(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("xaiutils.evidence.figures._execute_all", lambda *_: {})
    (tmp_path / "README.md").write_text("mine")
    assert cli.main(["figures", "--out", str(tmp_path)]) == 2
    assert f"{tmp_path} has a README.md" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["README.md"]
    assert (tmp_path / "README.md").read_text() == "mine"


@pytest.mark.parametrize("name", ["answers.sqlite", "design.json"])
def test_an_export_does_not_replace_the_study(tmp_path, capsys, name):
    from xaiutils.apps.userstudy.store import Store

    design = tiny(tmp_path / "study")
    store = Store(tmp_path / "study", design)
    store.begin("here")
    store.close()
    before = (tmp_path / "study" / name).read_bytes()
    command = ["user-study", "export", str(tmp_path / "study")]
    assert cli.main([*command, "--out", str(tmp_path / "study" / name)]) == 2
    assert "out must end in .csv" in capsys.readouterr().err
    assert (tmp_path / "study" / name).read_bytes() == before
