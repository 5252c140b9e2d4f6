"""What the book is made with: its links to the repository, its API pages, its checker."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "docs"))

import book  # noqa: E402
import check_site  # noqa: E402


def test_no_repository_is_invented(monkeypatch):
    monkeypatch.delenv("XAIUTILS_REPOSITORY", raising=False)
    assert book.repository() == ""
    options = book.theme_options("")
    assert "repository_url" not in options
    assert "launch_buttons" not in options


def test_a_repository_gives_buttons(monkeypatch):
    monkeypatch.setenv("XAIUTILS_REPOSITORY", "https://github.com/someone/xaiutils/")
    where = book.repository()
    assert where == "https://github.com/someone/xaiutils"
    options = book.theme_options(where)
    assert options["repository_url"] == where
    assert set(options["launch_buttons"]) == {"binderhub_url", "colab_url"}
    elsewhere = book.theme_options("https://gitlab.com/someone/xaiutils")
    assert set(elsewhere["launch_buttons"]) == {"binderhub_url"}


@pytest.mark.parametrize(
    ("page", "kept"),
    [("docs/api/xaiutils.cam", ""), ("docs/references", ""), ("docs/traps", ".md")],
)
def test_pages_written_at_build_cannot_be_edited(page, kept):
    context = {"page_source_suffix": ".md"}
    book.no_edit(None, page, "page.html", context, None)
    assert context == {"page_source_suffix": kept}


@pytest.mark.parametrize(
    "text", ["github.com/a/b", "http://github.com/a/b", "https://github.com/a", "https://x.org/a/b"]
)
def test_what_is_no_repository_is_refused(text):
    with pytest.raises(
        ValueError, match=r"repository must be https://HOST/OWNER/NAME on github\.com or"
    ):
        book.repository(text)


def test_every_public_module_has_a_page(tmp_path):
    (tmp_path / "xaiutils.gone.rst").write_text("a module that was removed")
    pages = {page.stem for page in book.api_pages(tmp_path)}
    assert {
        "xaiutils.hybrid",
        "xaiutils.evidence.study.engines",
        "xaiutils.apps.explorer.view",
    } <= pages
    assert {path.stem for path in tmp_path.iterdir()} == pages
    listed = (tmp_path / "index.rst").read_text()
    assert all(f" <{name}>`: " in listed for name in pages - {"index"})
    assert "automodule:: xaiutils.hybrid" in (tmp_path / "xaiutils.hybrid.rst").read_text()


def test_every_work_is_listed_once(tmp_path):
    works = book.references(ROOT / "notebooks", ROOT / "xaiutils", tmp_path / "references.md")
    text = (tmp_path / "references.md").read_text("utf-8")
    assert len(works) == len(set(works)) > 20
    for name in ("Dhore et al.", "Generalized Gradient-", "2008.02312", "Sanity Checks for Sal"):
        assert sum(name in work for work in works) == 1, name
    assert all(f"- {work} Cited in [" in text for work in works)


PAGE = '<html><link rel="stylesheet" href="style.css"><h1 id="top">x</h1>{}</html>'


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ('<a href="other.html#here">x</a><a href="#top">y</a><img src="a.png">', None),
        ('<a href="https://example.org">x</a><a href="mailto:a@b.c">y</a>', None),
        ('<a href="gone.html">x</a>', "leads to gone.html, which is not there"),
        ('<a href="other.html#gone">x</a>', "other.html#gone has no such anchor"),
        ('<a href="../../etc/passwd">x</a>', "which is not there"),
        ('<img src="gone.png">', "leads to gone.png, which is not there"),
        ('<script src="https://cdn.example.org/x.js"></script>', "loads https://cdn"),
        ('<script src="//cdn.example.org/x.js"></script>', "loads //cdn"),
        ('<link rel="stylesheet" href="https://cdn.example.org/x.css">', "loads https://cdn"),
    ],
)
def test_the_checker(tmp_path, body, complaint):
    (tmp_path / "style.css").write_text("a { background: url('a.png') }")
    (tmp_path / "a.png").write_bytes(b"")
    (tmp_path / "other.html").write_text('<p id="here">')
    (tmp_path / "page.html").write_text(PAGE.format(body))
    wrong, outside, _ = check_site.check(tmp_path)
    check_site._page.cache_clear()
    assert len(wrong) == (complaint is not None)
    assert complaint is None or complaint in wrong[0]
    assert outside == (["https://example.org"] if "https://example.org" in body else [])


@pytest.mark.parametrize(
    "text", ['@import url("https://x.org/a.css")', "@font-face { src: url(https://x.org/f.woff) }"]
)
def test_a_style_that_loads_from_elsewhere_is_found(tmp_path, text):
    (tmp_path / "style.css").write_text(text)
    (tmp_path / "page.html").write_text(PAGE.format(""))
    assert check_site.check(tmp_path)[0] == ["style.css loads from elsewhere"]
    check_site._page.cache_clear()
