"""The book in a browser: pages open, with figures and equations, and nothing from elsewhere."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from tests.browser.conftest import PHONE
from tests.browser.servers import ROOT

SITE = ROOT / "build" / "site"
PAGES = {  # and whether there are equations on it
    "index.html": False,
    "docs/index.html": False,
    "docs/traps.html": False,
    "docs/references.html": False,
    "notebooks/01_grad_cam_plus_plus.html": True,
    "notebooks/02_composite_lrp.html": True,
    "notebooks/15_explorer.html": False,
    "docs/api/xaiutils.hybrid.html": True,
    "docs/api/xaiutils.rules.html": True,
}


@pytest.fixture(scope="module")
def site(serve):
    if shutil.which("npm") is None:
        pytest.skip("no npm, from which the book's MathJax comes")
    fetch = ["npm", "ci", "--silent", "--prefix", "docs"]
    if subprocess.run(fetch, cwd=ROOT, capture_output=True, check=False).returncode:
        pytest.skip("npm reaches no registry, from which the book's MathJax comes")
    made = subprocess.run(["make", "site"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stdout[-3000:] + made.stderr[-3000:]
    print(made.stdout.splitlines()[-1])
    return serve(SITE)


@pytest.mark.parametrize("path", PAGES)
def test_a_page_opens_with_its_figures_and_equations(page, site, path):
    page.goto(f"{site}/{path}")
    page.wait_for_selector(".bd-article h1")
    if PAGES[path]:
        page.wait_for_selector("mjx-container mjx-math")
        assert page.eval_on_selector("mjx-container", "one => one.offsetWidth") > 0
        assert page.evaluate("() => [...document.fonts].some(f => f.family.startsWith('MJX'))")
    page.wait_for_load_state("networkidle")
    broken = page.eval_on_selector_all(
        "img", "all => all.filter(one => !one.naturalWidth).map(one => one.src)"
    )
    assert broken == []


@pytest.mark.parametrize(
    "path", ["docs/index.html", "notebooks/15_explorer.html", "docs/api/xaiutils.hybrid.html"]
)
def test_on_a_phone_a_page_is_no_wider_than_it(page, site, path):
    page.set_viewport_size(PHONE)
    page.goto(f"{site}/{path}")
    page.wait_for_selector(".bd-article h1")
    assert page.evaluate("() => document.documentElement.scrollWidth") <= PHONE["width"]


def test_it_can_be_searched(page, site):
    page.goto(f"{site}/search.html?q=ledger")
    page.wait_for_selector("#search-results li")
