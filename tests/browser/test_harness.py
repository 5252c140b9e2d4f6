"""The harness itself: a page of ours is seen, and what leaves the machine or errs is noticed."""

from __future__ import annotations


def test_a_page_is_seen(page, serve, tmp_path):
    (tmp_path / "index.html").write_text("<link rel=icon href=data:,><h1>Relevance</h1>")
    page.goto(serve(tmp_path))
    assert page.inner_text("h1") == "Relevance"


def test_what_leaves_the_machine_is_blocked_and_noticed(page, seen, serve, tmp_path):
    where = ["https://example.org/x.js", "http://203.0.113.1/x.js"]  # a name, and a bare number
    text = "<link rel=icon href=data:,>" + "".join(f"<script src={u}></script>" for u in where)
    (tmp_path / "index.html").write_text(text)
    page.goto(serve(tmp_path))
    assert sorted(seen.outside) == sorted(where)
    assert len(seen.errors) == 2
    assert all("ERR_NAME_NOT_RESOLVED" in error for error in seen.errors)
    seen.outside.clear()
    seen.errors.clear()


def test_an_error_of_a_page_is_noticed(page, seen, serve, tmp_path):
    text = "<link rel=icon href=data:,><script>nothing.here()</script>"
    (tmp_path / "index.html").write_text(text)
    page.goto(serve(tmp_path))
    assert any("nothing is not defined" in error for error in seen.errors)
    seen.errors.clear()
