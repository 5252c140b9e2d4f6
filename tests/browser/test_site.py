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
    "docs/api/xaiutils.lrp.rules.html": True,
}

MEASURE = """async () => {
  await (window.MathJax?.startup?.promise ?? null);
  const images = [...document.images];
  images.forEach(one => { one.loading = 'eager'; });
  await Promise.allSettled(images.map(one => one.decode()));
  const broken = images.filter(one => !one.naturalWidth).map(one => one.src);
  return [document.documentElement.scrollWidth, broken];
}"""


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


@pytest.mark.parametrize("every", [8, pytest.param(1, marks=pytest.mark.slow)])
def test_pages_open_with_their_figures_and_are_no_wider_than_a_phone(page, site, every):
    """All that are written by hand, and each so many of the modules'."""
    paths = [one.relative_to(SITE).as_posix() for one in sorted(SITE.rglob("*.html"))]
    paths = [one for one in paths if not one.startswith(("_static", "_modules"))]
    paths.remove("index.html")  # it only leads on
    modules = [one for one in paths if one.startswith("docs/api/xaiutils.")]
    assert len(modules) > 100
    paths = sorted((set(paths) - set(modules)) | set(modules[::every]))
    assert len(paths) > 40
    paths.append("_modules/xaiutils/apps/explorer/view.html")  # one listing for all
    tabs = [page, *(page.context.new_page() for _ in range(3))]  # each is a process of its own
    for tab in tabs:
        tab.set_viewport_size(PHONE)
    wrong = []
    for i in range(0, len(paths), len(tabs)):
        opened = [
            (path, tab, tab.goto(f"{site}/{path}", wait_until="commit"))
            for path, tab in zip(paths[i : i + len(tabs)], tabs, strict=False)
        ]
        for path, tab, answer in opened:
            tab.wait_for_load_state("domcontentloaded")
            width, broken = tab.evaluate(MEASURE)
            if not answer.ok or width > PHONE["width"] or broken:
                wrong.append((path, answer.status, width, broken))
    assert wrong == []


@pytest.mark.parametrize("width", [390, 1000, 1280])
def test_the_menu_and_the_contents_open_and_close(page, site, width):
    page.set_viewport_size({"width": width, "height": 844})
    page.goto(f"{site}/docs/traps.html")
    menu, contents = (page.locator(f"{kind}-toggle:visible") for kind in (".primary", ".secondary"))
    entry = page.get_by_role("link", name="Glossary").and_(page.locator(".bd-links a")).first
    if width < 992:
        assert not entry.is_visible()
        menu.click()
        assert page.locator("dialog#pst-primary-sidebar-modal").is_visible()
        entry.click()
        page.wait_for_url("**/docs/glossary.html")
    else:  # the menu is there, and goes
        assert entry.is_visible()
        menu.click()
        entry.wait_for(state="hidden")
        menu.click()
        entry.wait_for()
    if width < 1200:
        contents.click()
        found = page.locator("dialog#pst-secondary-sidebar-modal")
        assert found.locator("a[href^='#']").first.is_visible()
        page.keyboard.press("Escape")
        found.wait_for(state="hidden")
    else:
        assert contents.count() == 0
        assert page.locator("#pst-secondary-sidebar a[href^='#']").first.is_visible()


def test_it_can_be_searched(page, site):
    page.goto(f"{site}/search.html?q=ledger")
    page.wait_for_selector("#search-results li")
