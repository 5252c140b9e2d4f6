"""The explorer in JupyterLab and as a page: a slider moves, the picture changes, and the rest."""

from __future__ import annotations

import io
import re
import time

import nbformat
import numpy as np
import PIL.Image
import pytest

from tests.browser.conftest import DESKTOP, PHONE, Seen, watch
from tests.browser.servers import CULL, app, kernels, lab

TILE = 'figure[data-key="{}"]'
CELL = "import xaiutils as xai\n\nxai.explore()"
# JupyterLab's page calls a notebook without a kernel idle, too, and asks in a dialog which one to
# run a cell by: only its own objects tell that the kernel is there.
READY = """() => {
    const session = window.jupyterapp?.shell.currentWidget?.sessionContext;
    return session?.isReady && session.session?.kernel?.status === "idle";
}"""
RUN = "() => window.jupyterapp.commands.execute('notebook:run-all-cells')"


@pytest.fixture(scope="module")
def served():
    """What `make app` serves, and its process."""
    with app() as found:
        yield found


@pytest.fixture(scope="module")
def opened(browser, served):
    """One page for all tests, since each would start a kernel of its own."""
    with browser.new_context(viewport=DESKTOP, accept_downloads=True) as context:
        context.set_default_timeout(30_000)
        page, seen = context.new_page(), Seen()
        watch(page, seen)
        page.goto(served[0], timeout=120_000)
        page.wait_for_selector(f"{TILE.format('hybrid')} img", timeout=60_000)
        yield page, seen


@pytest.fixture
def explorer(opened):
    page, seen = opened
    page.get_by_label("picture", exact=True).select_option("test-00000")
    page.get_by_text("back to the beginning").click()
    page.wait_for_function(
        "() => document.body.innerText.includes('ring 98.0%: threshold 0.20, σ 2 px')"
        " && document.querySelectorAll('.xai-tile').length === 6"
    )
    yield page
    assert not seen.outside
    assert not seen.errors


def source(page, key):
    return page.get_attribute(f"{TILE.format(key)} img", "src")


def changed(page, key, before):
    page.wait_for_function(
        "([at, before]) => document.querySelector(at).src !== before",
        arg=[f"{TILE.format(key)} img", before],
    )


def handle(page, label):
    """The part of a slider that the keyboard moves."""
    row = page.locator(".widget-slider", has=page.locator(f'label:text-is("{label}")'))
    return row.locator(".noUi-handle").first


def test_a_slider_is_moved_by_the_keyboard_and_the_picture_changes(explorer):
    before = {key: source(explorer, key) for key in ("cam", "bounded", "relevance", "hybrid")}
    caption = explorer.inner_text(f"{TILE.format('bounded')} p")
    handle(explorer, "threshold").focus()
    for _ in range(20):
        explorer.keyboard.press("ArrowRight")
    explorer.wait_for_function("() => document.body.innerText.includes('threshold 0.40')")
    after = {key: source(explorer, key) for key in before}
    assert {key for key in after if after[key] != before[key]} == {"bounded", "hybrid"}
    assert explorer.inner_text(f"{TILE.format('bounded')} p") != caption


def test_pictures_are_there_and_have_words(explorer):
    found = explorer.eval_on_selector_all(
        ".xai-tile img", "all => all.map(one => [one.naturalWidth, one.alt])"
    )
    assert len(found) == 6
    for width, alt in found:
        assert width == 128
        assert len(alt) > 30


def test_everything_is_reached_by_the_tab_key(explorer):
    explorer.locator("select").first.focus()
    seen = set()
    for _ in range(60):
        explorer.keyboard.press("Tab")
        seen.add(
            explorer.evaluate("() => document.activeElement.closest('.jupyter-widgets')?.innerText")
        )
    text = "\n".join(filter(None, seen))
    for label in ("threshold", "σ, pixels", "composite", "contrast", "opacity", "methods"):
        assert label in text, label
    for button in ("explain by these", "insertion and deletion curves", "prepare PNG and NPZ"):
        assert button in text, button


def test_a_class_and_a_contrast(explorer):
    before = source(explorer, "hybrid")
    second = explorer.locator("select").nth(2).locator("option").nth(1).inner_text()
    explorer.get_by_label("class", exact=True).select_option(second)
    changed(explorer, "hybrid", before)
    explorer.get_by_label("contrast").select_option(index=1)
    explorer.wait_for_selector(TILE.format("difference"))


def test_a_class_that_does_not_exist_is_said(explorer):
    box = explorer.get_by_label("other class")
    box.fill("unicorn")
    box.press("Enter")
    said = explorer.wait_for_selector('[role="alert"]').inner_text()
    assert said.startswith("class must be a known name, got 'unicorn'")


def test_uploads(explorer):
    packed = io.BytesIO()
    picture = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    PIL.Image.fromarray(picture).save(packed, "PNG")
    before = source(explorer, "hybrid")
    send(explorer, "mine.png", packed.getvalue())
    changed(explorer, "hybrid", before)
    assert explorer.get_by_label("picture", exact=True).input_value() == "mine.png (uploaded)"
    send(explorer, "notes.txt", b"some text")
    explorer.wait_for_selector('[role="alert"]:has-text("notes.txt: source (bytes) must be")')
    PIL.Image.new("1", (10_000, 10_000)).save(packed := io.BytesIO(), "PNG")
    send(explorer, "large.png", packed.getvalue())
    explorer.wait_for_selector('[role="alert"]:has-text("at most 64000000 pixels")')
    kept = source(explorer, "hybrid")
    handle(explorer, "threshold").focus()
    explorer.keyboard.press("ArrowRight")
    changed(explorer, "hybrid", kept)  # it lives


def send(page, name, content):
    with page.expect_file_chooser() as chooser:
        page.get_by_text("upload a picture").click()
    chooser.value.set_files({"name": name, "mimeType": "image/png", "buffer": content})


def test_files_come_out(explorer, tmp_path):
    explorer.get_by_text("prepare PNG and NPZ").click()
    explorer.wait_for_selector('a[download="view.npz"]')
    for name in ("view.png", "view.npz", "view.py"):
        with explorer.expect_download() as download:
            explorer.click(f'a[download="{name}"]')
        download.value.save_as(tmp_path / name)
    with PIL.Image.open(tmp_path / "view.png") as image:
        assert image.width > 1000
    with np.load(tmp_path / "view.npz") as arrays:
        assert arrays["hybrid"].shape == (128, 128)
    assert "xai.explore(" in (tmp_path / "view.py").read_text("utf-8")


def test_other_methods_run_in_the_background_and_are_cancelled(explorer):
    methods = explorer.get_by_label("methods", exact=True)
    methods.select_option(label="baseline: Sobel edges")
    explorer.get_by_text("explain by these").click()
    explorer.wait_for_selector(TILE.format("method-sobel_edges"))
    slow = methods.locator("option", has_text="Shapley value sampling").first.inner_text()
    methods.select_option(label=slow)
    explorer.get_by_text("explain by these").click()
    explorer.get_by_role("button", name="cancel").click()
    explorer.wait_for_selector('[role="alert"]:has-text("cancelled")')


def test_curves(explorer):
    explorer.get_by_text("insertion and deletion curves").click()
    explorer.wait_for_selector(".xai-chart >> nth=1")
    found = explorer.eval_on_selector_all(".xai-chart", "all => all.map(one => one.alt)")
    assert [re.match(r"\w+", alt)[0] for alt in found] == ["deletion", "insertion"]


def test_on_a_phone_nothing_is_wider_than_the_page(explorer):
    explorer.set_viewport_size(PHONE)
    explorer.wait_for_timeout(300)
    width = explorer.evaluate("() => document.documentElement.scrollWidth")
    explorer.set_viewport_size(DESKTOP)
    assert width <= PHONE["width"]


def test_in_jupyterlab(page, tmp_path):
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CELL)])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
    nbformat.write(notebook, tmp_path / "app.ipynb")
    with lab(tmp_path) as address:
        page.goto(f"{address}lab/tree/app.ipynb")
        page.wait_for_function(READY, timeout=120_000)
        page.evaluate(RUN)
        page.wait_for_selector(f"{TILE.format('hybrid')} img", timeout=60_000)
        before = source(page, "hybrid")
        handle(page, "threshold").focus()
        for _ in range(5):
            page.keyboard.press("ArrowRight")
        changed(page, "hybrid", before)
        page.goto("about:blank")  # or the server's end is an error of the page


def wait_for(server, count, seconds):
    """Until no more kernels are there."""
    deadline = time.monotonic() + seconds
    while len(kernels(server)) > count:
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_a_page_is_new_whenever_it_is_opened_and_its_kernel_ends_with_it(page, served, explorer):
    address, server = served
    for _ in range(2):
        page.goto(address, timeout=120_000)
        page.wait_for_selector(f"{TILE.format('hybrid')} img", timeout=120_000)
        assert page.inner_text("h1") == "Explore the hybrid"
        assert page.locator("[role=alert]").count() == 0
        assert page.locator(".xai-tile").count() == 6
        assert "ring 98.0%: threshold 0.20, σ 2 px" in page.inner_text("body")
        assert "threshold" not in page.locator("textarea").input_value()
        wait_for(server, 2, CULL)  # loaded anew: the page says so, and is believed
    page.close()  # and says nothing, as one that is killed
    wait_for(server, 1, 4 * CULL)
    before = source(explorer, "hybrid")  # the page that is open has its own still
    handle(explorer, "threshold").focus()
    explorer.keyboard.press("ArrowRight")
    changed(explorer, "hybrid", before)
