"""The user study in a real browser: taken, killed half-way, resumed, finished."""

from __future__ import annotations

import sqlite3

import pytest

from tests.apps.userstudy.tiny import Server, tiny
from tests.browser.conftest import DESKTOP, PHONE, watch
from xaiutils.apps.userstudy.store import FILE, normalised

QUESTIONS = 28


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("browser") / "study"
    tiny(place)
    return place


@pytest.fixture(scope="module")
def address(folder):
    server = Server(folder)
    yield f"http://127.0.0.1:{server.port}"
    server.end()


def press(page, selector: str) -> None:
    """Click, and wait for the next page with its pictures."""
    with page.expect_navigation():
        page.click(selector)


def begin(page, address: str) -> str:
    page.goto(address)
    page.check("input[name=consent]")
    press(page, "button:has-text('Begin')")
    code = page.inner_text(".code.large")
    press(page, "a.button")
    return code


def due(page) -> str:
    return page.input_value("input[name=question]")


def fits(page) -> bool:
    return page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def answer(page, said: dict[str, str]) -> None:
    """Choose the last answer, or write a remark."""
    question = due(page)
    assert question not in said
    for image in page.locator("img").all():
        assert image.get_attribute("alt")
        assert image.evaluate("i => i.complete && i.naturalWidth > 0")
    radios = page.locator("input[type=radio]")
    if radios.count():
        said[question] = radios.last.get_attribute("value")
        radios.last.check()
    else:
        said[question] = "A remark with “quotes” & <b>tags</b>."
        page.fill("textarea", said[question])
    press(page, "form[action='/question'] button")


def kept(folder, code: str) -> dict[str, str]:
    with sqlite3.connect(folder / FILE) as db:
        rows = db.execute(
            "SELECT question, answer FROM answer WHERE code = ?", (normalised(code),)
        ).fetchall()
    db.close()
    assert len(dict(rows)) == len(rows)
    return dict(rows)


def test_a_killed_tab_goes_on_in_another_browser(browser, page, seen, folder, address):
    said: dict[str, str] = {}
    code = begin(page, address)
    for _ in range(QUESTIONS // 2):
        answer(page, said)
    page.locator("input[type=radio]").first.check()  # chosen and not sent: the tab dies
    page.close()
    assert kept(folder, code) == said
    with browser.new_context(viewport=PHONE) as context:
        other = context.new_page()
        watch(other, seen)
        other.goto(address)
        other.fill("#code", code.lower())
        press(other, "button:has-text('Go on')")
        assert "in use in another browser" in other.inner_text("h1")
        seen.errors[:] = [e for e in seen.errors if "409" not in e]  # Chromium logs the status
        press(other, "button:has-text('It is me')")
        while other.locator("input[name=question]").count():
            assert fits(other)
            answer(other, said)
        assert other.inner_text("h1") == "Thank you!"
        assert len(said) == QUESTIONS
        assert sum(q.startswith("sus-") for q in said) == 10
        assert kept(folder, code) == said


def test_the_keyboard_alone_will_do(page, folder, address):
    code = begin(page, address)
    for count in range(3):
        question = due(page)
        for _ in range(3):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.type") == "radio":
                break
        page.keyboard.press("ArrowDown")
        chosen = page.evaluate("document.activeElement.value")
        page.keyboard.press("Enter")
        page.wait_for_selector(f'[name=question]:not([value="{question}"])', state="attached")
        assert kept(folder, code)[question] == chosen
        assert len(kept(folder, code)) == count + 1


def test_every_page_fits_a_telephone(page, address):
    page.set_viewport_size(PHONE)
    page.goto(address)
    assert fits(page)
    begin(page, address)
    assert fits(page)
    page.goto(f"{address}/withdraw")
    assert fits(page)
    page.set_viewport_size(DESKTOP)
    assert fits(page)


def test_a_link_from_elsewhere_finds_the_participant(page, serve, tmp_path, folder, address):
    """As in webmail: the page that is open goes on, too."""
    code, said = begin(page, address), {}
    (tmp_path / "index.html").write_text(
        f"<!doctype html><link rel='icon' href='data:,'><a href='{address}'>the study</a>"
    )
    other = page.context.new_page()
    other.goto(serve(tmp_path).replace("127.0.0.1", "localhost"))  # another site
    press(other, "a")
    assert other.inner_text("h1") == "Somebody has begun in this browser"
    answer(page, said)
    press(other, "a.button")
    answer(other, said)
    assert kept(folder, code) == said


def test_back_leads_to_the_question_that_is_due(page, folder, address):
    code, said = begin(page, address), {}
    answer(page, said)
    answer(page, said)
    with page.expect_navigation():
        page.evaluate("history.back()")
    answer(page, said)  # asserts that this question had no answer
    assert len(said) == 3
    assert kept(folder, code) == said


def test_a_locked_file_is_a_message_and_the_choice_stays(page, seen, folder, address):
    code = begin(page, address)
    other = sqlite3.connect(folder / FILE, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    page.locator("input[type=radio]").last.check()
    press(page, "form[action='/question'] button")
    assert "could not be saved" in page.inner_text("[role=alert]")
    seen.errors[:] = [e for e in seen.errors if "503" not in e]
    other.execute("ROLLBACK")
    other.close()
    assert page.locator("input[type=radio]").last.is_checked()
    press(page, "form[action='/question'] button")
    assert "Page 2" in page.inner_text(".progress")
    assert len(kept(folder, code)) == 1
