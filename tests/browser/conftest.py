"""A real Chromium that reaches this machine alone: what a page asks of anyone else fails its test.

The browser is the one that ``CHROMIUM`` names, or the first on the path; without one every test
here is skipped. ``BROWSER_TESTS=N`` makes fewer than N passed tests a failure.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from playwright.sync_api import Browser, Page, Request, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
OUTSIDE = re.compile(r"^(?!https?://(127\.0\.0\.1|localhost)[:/]|data:|blob:)")
QUIET = (
    *("--no-first-run", "--disable-background-networking", "--disable-component-update"),
    *("--disable-sync", "--disable-quic", "--disable-gpu", "--disable-dev-shm-usage"),
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
)
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}


def chromium() -> str | None:
    """Where a Chromium is."""
    given = os.environ.get("CHROMIUM")
    return given or next(filter(None, map(shutil.which, NAMES)), None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if chromium() is None:
        reason = "no Chromium: install one, or name it in CHROMIUM"
        for item in items:
            if Path(__file__).parent in item.path.parents:
                item.add_marker(pytest.mark.skip(reason=reason))


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    wanted = int(os.environ.get("BROWSER_TESTS", "0"))
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None:  # one of several processes: the one that started them counts
        return
    passed = len(reporter.stats.get("passed", []))
    if passed < wanted and not exitstatus:
        reporter.write_line(f"{passed} browser tests passed, {wanted} were expected", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    root = ("--no-sandbox",) if os.getuid() == 0 else ()
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=chromium(), args=[*QUIET, *root])
        yield found
        found.close()


@dataclass
class Seen:
    """What went wrong in a page: requests that would have left the machine, and errors."""

    outside: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


def watch(page: Page, seen: Seen) -> None:
    """Note what would have left the machine, and every error, of all pages of its context.

    Not by a route, which would switch off the cache: no name but this machine's is ever found.
    """

    def failed(request: Request) -> None:
        if OUTSIDE.match(request.url):
            seen.outside.append(request.url)

    context = page.context
    context.on("requestfailed", failed)
    context.on("weberror", lambda event: seen.errors.append(str(event.error)))
    context.on("console", lambda said: said.type == "error" and seen.errors.append(said.text))


@pytest.fixture
def seen() -> Seen:
    """Filled by `page`; a test may take out of it what it caused on purpose."""
    return Seen()


@pytest.fixture
def page(browser: Browser, seen: Seen) -> Iterator[Page]:
    """A new page; at the end nothing has left the machine and no error was logged."""
    with browser.new_context(viewport=DESKTOP, accept_downloads=True) as context:
        context.set_default_timeout(30_000)
        page = context.new_page()
        watch(page, seen)
        yield page
    assert not seen.outside
    assert not seen.errors


@pytest.fixture(scope="session")
def serve() -> Iterator[partial[str]]:
    """``serve(folder)``: the address at which a folder's files are."""
    servers: list[ThreadingHTTPServer] = []

    def start(folder: Path) -> str:
        handler = partial(_Silent, directory=str(folder))
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}"

    yield start  # type: ignore[misc]
    for server in servers:
        server.shutdown()
        server.server_close()


class _Silent(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""
