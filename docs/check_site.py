"""Check the built book: ``python docs/check_site.py build/site [STARTED]``.

Every link inside it must lead somewhere, anchors included, and nothing may be loaded from
elsewhere. Links to other sites are written to external-links.txt, and not followed. STARTED is a
file that was written when the build began, for its seconds.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOADS = {("script", "src"), ("img", "src"), ("iframe", "src"), ("source", "src"), ("video", "src")}
IN_CSS = re.compile(r"url\(\s*['\"]?(https?:)?//|@import\s+(?:url\()?['\"]?(https?:)?//")


class Page(HTMLParser):
    """What a page links to, what it loads, and its anchors."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        """Collect."""
        found = {key: value or "" for key, value in attributes}
        self.anchors |= {found[key] for key in ("id", "name") if key in found}
        if tag == "a" and "href" in found:
            self.links.append(found["href"])
        if tag == "link" and found.get("rel") in ("stylesheet", "preload", "icon", "modulepreload"):
            self.loads.append(found.get("href", ""))
        self.loads += [found[key] for name, key in LOADS if name == tag and key in found]


def check(site: Path) -> tuple[list[str], list[str], int]:
    """What is wrong, the links to other sites, and how many links lead inside."""
    wrong: list[str] = []
    outside: set[str] = set()
    inside = 0
    for path in _pages(site):
        page = _page(path)
        for link in page.links:
            if urlsplit(link).scheme in ("http", "https"):
                outside.add(link)
            elif not urlsplit(link).scheme:
                inside += 1
                wrong += _broken(site, path, link)
        for load in page.loads:
            url = urlsplit(load)
            if url.scheme in ("http", "https") or url.netloc:
                wrong.append(f"{path.relative_to(site)} loads {load}")
            elif not url.scheme:
                wrong += _broken(site, path, load)
    wrong += [f"{path.relative_to(site)} loads from elsewhere" for path in _styles(site)]
    return wrong, sorted(outside), inside


def _broken(site: Path, page: Path, link: str) -> Iterator[str]:
    url = urlsplit(link)
    target = (page.parent / unquote(url.path)).resolve() if url.path else page
    if target.is_dir():
        target /= "index.html"
    if not target.is_relative_to(site.resolve()) or not target.is_file():
        yield f"{page.relative_to(site)} leads to {link}, which is not there"
    elif url.fragment and target.suffix == ".html":
        missing = unquote(url.fragment) not in _page(target.resolve()).anchors
        yield from [f"{page.relative_to(site)}: {link} has no such anchor"] * missing


def _pages(site: Path) -> list[Path]:
    """All pages; what the theme keeps among its own files are templates."""
    found = sorted(site.rglob("*.html"))
    return [path for path in found if "_static" not in path.relative_to(site).parts]


@cache
def _page(path: Path) -> Page:
    return Page(path.read_text("utf-8"))


def _styles(site: Path) -> list[Path]:
    return [p for p in sorted(site.rglob("*.css")) if IN_CSS.search(p.read_text("utf-8"))]


def main() -> None:
    """Check the site that the command line names."""
    site = Path(sys.argv[1]).resolve()
    wrong, outside, inside = check(site)
    (site / "external-links.txt").write_text("".join(f"{link}\n" for link in outside), "utf-8")
    pages, others = len(_pages(site)), len(outside)
    took = [f", {time.time() - Path(f).stat().st_mtime:.0f} s" for f in sys.argv[2:]]
    print(
        f"{pages} pages, {inside} links inside, {others} outside, {len(wrong)} wrong", *took, sep=""
    )
    for text in wrong:
        print(text)
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
