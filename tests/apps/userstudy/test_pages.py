"""The server as a process: what it loads, keeps, says, and refuses."""

from __future__ import annotations

import re
import socket
import sqlite3
import subprocess
import sys

import matplotlib
import numpy as np
import pytest

from tests.apps.userstudy.tiny import ROOT, Client, Server, tiny
from xaiutils.apps.userstudy.server import PAGES
from xaiutils.apps.userstudy.store import FILE
from xaiutils.plots.style import DIVERGING


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("pages") / "study"
    tiny(place, contact="Ask <b>Ada</b> & co.")
    return place


@pytest.fixture(scope="module")
def server(folder):
    found = Server(folder)
    yield found
    said = found.end()
    assert found.process.returncode == 0
    assert "Traceback" not in said
    assert said.strip() == "ended; every answer is in the folder"


@pytest.fixture
def client(server):
    return Client(server.port)


def kept(folder, question="%"):
    with sqlite3.connect(folder / FILE) as db:
        found = db.execute("SELECT * FROM answer WHERE question LIKE ?", (question,)).fetchall()
    db.close()
    return found


def test_the_server_does_not_load_torch():
    code = (
        "import sys; import xaiutils.apps.cli.__main__\n"
        "from xaiutils.apps.userstudy import server, table\n"
        "from xaiutils.apps.cli import user_study\n"
        "print(*[n for n in ('torch', 'matplotlib', 'captum', 'scipy') if n in sys.modules], 'end')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert done.stdout.split() == ["end"], done


def test_every_page_is_strict_and_says_so(client):
    client.get("/")
    policy = client.headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "script-src 'none'" in policy
    assert client.headers["Cache-Control"] == "no-store"
    assert "Server" not in client.headers
    assert "<script" not in client.text
    assert "it may take 10 minutes" in client.text  # 28 pages of 18 seconds
    assert "Ask &lt;b&gt;Ada&lt;/b&gt; &amp; co." in client.text
    cookies = client.headers.get_all("Set-Cookie")
    assert all("HttpOnly" in line and "SameSite=Lax" in line for line in cookies)


def test_nothing_is_kept_without_consent(client, folder):
    with sqlite3.connect(folder / FILE) as db:
        before = db.execute("SELECT count(*) FROM participant").fetchone()
    client.get("/")
    client.post("/begin")
    assert client.status == 400
    assert "Please agree first. Nothing was stored." in client.text
    client.get("/question")
    assert (client.status, client.location) == (303, "/")
    assert db.execute("SELECT count(*) FROM participant").fetchone() == before
    db.close()


def test_a_form_of_another_site_is_refused(client, folder):
    client.begin()
    client.get("/question")
    client.post("/question", _xsrf="forged", question="expertise", answer="Expert")
    assert client.status == 403
    assert "Nothing was saved" in client.text
    assert client.answer() == ("expertise", "Expert")
    assert client.status == 303


def test_back_and_again_keeps_the_first_answer(client, folder):
    code = client.begin()
    client.get("/question")
    form = {"question": "expertise", "answer": "Expert", "shown": client.hidden("shown")}
    client.post("/question", **form)
    assert client.location == "/question"
    client.post("/question", **(form | {"answer": "Not an expert"}))
    assert client.location == "/question?kept=1"
    assert "the first answer was kept" in client.get(client.location)
    rows = [row for row in kept(folder, "expertise") if row[0] == code.replace("-", "")]
    assert [row[5] for row in rows] == ["Expert"]
    assert 0 <= rows[0][6] < 5


def test_the_time_cannot_be_made_up(client, folder):
    code = client.begin()
    client.get("/question")
    client.post("/question", question="expertise", answer="Expert", shown="12345")
    row = next(row for row in kept(folder) if row[0] == code.replace("-", ""))
    assert row[6] is None


@pytest.mark.parametrize(
    "form",
    [
        {"question": "expertise", "answer": "Neither"},
        {"question": "sus-01", "answer": "3"},
        {"question": "<script>", "answer": "<b>"},
        {"question": "", "answer": ""},
        {},
        {"question": "expertise", "answer": "Expert\x00'; DROP TABLE answer"},
    ],
)
def test_a_wrong_answer_is_a_message_in_the_page(client, folder, form):
    client.begin()
    before = kept(folder)
    client.get("/question")
    client.post("/question", **form)
    assert client.status == 400
    assert "Not saved: this" in client.text
    assert client.hidden("question") == "expertise"
    assert "<script>" not in client.text
    assert kept(folder) == before


@pytest.mark.parametrize(
    "path", ["/items/../design.json", "/design.json", "/answers.sqlite", "/items/hybrid.png", "/x"]
)
def test_nothing_but_the_pictures_is_served(client, path):
    assert "There is nothing here" in client.get(path)
    assert client.status == 404


def test_a_page_names_no_method_and_no_answer(client, folder):
    client.begin()
    seen = ""
    for _ in range(28):
        client.get("/question")
        seen += re.sub(r'value="[^"]*"', "", client.text.lower())
        client.answer()
        assert client.status == 303
    assert not [word for word in ("hybrid", "lrp", "noise", "none") if word in seen]
    client.get("/question")
    assert client.location == "/thanks"
    assert "All your answers are saved" in client.get("/thanks")
    client.post("/question", question="text", answer="again")
    assert client.status in {303, 403}


def test_two_people_with_one_code(client, server, folder):
    code = client.begin()
    client.answer("Expert")
    second = Client(server.port)
    second.get("/")
    second.post("/resume", code=code.lower().replace("-", " "))
    assert second.status == 409
    assert "in use in another browser" in second.text
    second.post("/take-over", code=code)
    assert second.status == 303
    assert "Page 2 of 28" in second.get("/question")
    client.answer()
    client.get("/question")
    assert client.status == 409
    second.answer()
    second.get("/question")
    assert "Page 3 of 28" in second.text
    # The first browser's next answer is not lost: it is on the page, and kept on going on.
    client.get("/")
    third = second.hidden("question")
    client.post("/question", question=third, answer=second.options()[1], shown="")
    assert client.status == 409
    assert "will be if you go on here" in client.text
    client.post(
        "/take-over", code=code, question=client.hidden("question"), answer=client.hidden("answer"),
        shown="",
    )  # fmt: skip
    assert client.status == 303
    assert "Page 4 of 28" in client.get("/question")
    rows = [row for row in kept(folder) if row[0] == code.replace("-", "")]
    assert len({row[1] for row in rows}) == len(rows) == 3


def second_browser(client, code):
    """Another browser that has taken the code over, at the question that is due."""
    second = Client(client.port)
    second.get("/")
    second.post("/take-over", code=code)
    second.get("/question")
    return second


@pytest.mark.parametrize("path", ["/", "/question", "/code", "/thanks", "/withdraw"])
def test_a_browser_that_lost_its_code_is_asked_on_every_page(client, folder, path):
    code = client.begin()
    client.answer("Expert")
    second_browser(client, code)
    client.get(path)
    assert client.status == 409
    assert "in use in another browser" in client.text
    client.post("/withdraw")
    assert client.status == 409
    assert [row[5] for row in kept(folder) if row[0] == code.replace("-", "")] == ["Expert"]


def test_an_answer_that_is_on_its_way_outlives_a_locked_file(client, folder):
    code = client.begin()
    client.answer("Expert")
    client.get("/question")
    asked, answer, shown = client.hidden("question"), client.options()[2], client.hidden("shown")
    second = second_browser(client, code)
    client.post("/question", question=asked, answer=answer, shown=shown)
    assert client.status == 409
    other = sqlite3.connect(folder / FILE, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    form = {name: client.hidden(name) for name in ("code", "question", "answer", "shown")}
    client.post("/take-over", **form)
    assert client.status == 503
    assert "could not be saved just now" in client.text
    assert {name: client.hidden(name) for name in form} == form
    other.execute("ROLLBACK")
    other.close()
    client.post("/take-over", **form)
    assert (client.status, client.location) == (303, "/question")
    rows = [row for row in kept(folder, asked) if row[0] == code.replace("-", "")]
    assert [row[5] for row in rows] == [answer]
    second.post("/take-over", code=code, question="sus-01", answer="3")
    assert second.status == 400
    assert "Not saved: this question is not due" in second.text


@pytest.mark.parametrize("answers", [1, 28])
def test_the_next_person_at_the_same_computer(client, folder, answers):
    code = client.begin()
    for _ in range(answers):
        client.answer()
    client.get("/" if answers == 1 else "/thanks")
    if answers == 1:
        assert "Somebody has begun in this browser" in client.text
        assert code not in client.text
    client.post("/leave")
    assert client.location == "/"
    assert "What you will do" in client.get("/")
    new = client.begin()
    assert new != code
    assert "Page 1 of 28" in client.get("/question")
    rows = [row for row in kept(folder) if row[0] == code.replace("-", "")]
    assert len(rows) == answers
    client.post("/resume", code=code)
    assert client.status == 409


def test_a_code_that_nobody_has(client):
    client.get("/")
    client.post("/resume", code="ABCD-EFGH-JKLM")
    assert client.status == 404
    assert "No participant has this code" in client.text


def test_withdrawal_in_the_page(client, folder):
    code = client.begin()
    client.answer()
    assert "cannot be undone" in client.get("/withdraw")
    client.post("/withdraw")
    assert "Your answers are deleted" in client.text
    assert not [row for row in kept(folder) if row[0] == code.replace("-", "")]
    client.get("/question")
    assert client.location == "/"


def people(folder):
    with sqlite3.connect(folder / FILE) as db:
        (count,) = db.execute("SELECT count(*) FROM participant").fetchone()
    db.close()
    return count


def test_begin_sent_twice_at_once_begins_once(client, folder):
    before = people(folder)
    client.get("/")
    form, cookies, page, codes = client.hidden("form"), dict(client.cookies), client.text, []
    for _ in range(2):  # the second is on its way before the first has its cookie
        client.cookies, client.text = dict(cookies), page
        client.post("/begin", consent="yes", form=form)
        assert (client.status, client.location) == (303, "/code")
        codes.append(re.search(r'class="code large">([A-Z0-9-]+)<', client.get("/code"))[1])
    assert codes[0] == codes[1]
    assert people(folder) == before + 1
    client.answer("Expert")
    client.cookies, client.text = dict(cookies), page  # the next person, on the page before
    client.post("/begin", consent="yes", form=form)
    assert codes[0] not in client.get("/code")
    assert "Page 1 of 28" in client.get("/question")
    client.cookies, client.text = dict(cookies), page
    client.post("/begin", consent="yes", form="made up")
    assert (client.status, client.location) == (303, "/code")
    assert people(folder) == before + 3


@pytest.mark.parametrize("protocol", ["https", "http"])
def test_cookies_are_secure_where_the_page_is(server, protocol):
    client = Client(server.port)
    client.told = {"X-Forwarded-Proto": protocol}
    client.get("/")
    lines = client.headers.get_all("Set-Cookie")
    client.post("/begin", consent="yes", form=client.hidden("form"))
    lines += client.headers.get_all("Set-Cookie")
    client.get("/")
    client.post("/leave")
    lines += client.headers.get_all("Set-Cookie")
    names = {line.partition("=")[0] for line in lines}
    assert names == {"_xsrf", "participant"}
    assert {"; Secure" in line for line in lines} == {protocol == "https"}


def test_a_page_with_a_map_has_a_legend_of_the_colours(client):
    client.begin()
    seen = {}
    for _ in range(28):
        client.get("/question")
        pictures, legend = client.text.count("<figure>"), 'class="legend"' in client.text
        seen.setdefault(pictures, set()).add(legend)
        assert "brighter" not in client.text
        if "This one is for practice" in client.text and pictures == 2:
            assert "the stronger the colour, the more" in client.text
        client.answer()
    assert seen == {0: {False}, 1: {False}, 2: {True}, 3: {True}}
    style = (PAGES / "style.css").read_text()
    said = re.search(r"linear-gradient\(to right, ([^)]+)\)", style)[1].split(", ")
    colors = matplotlib.colormaps[DIVERGING]
    for text, value in zip(said, (-1, -0.5, 0, 0.5, 1), strict=True):
        drawn = np.array([int(text[i : i + 2], 16) for i in (1, 3, 5)])
        over = 0.75 * (1 - 0.8 * abs(value)) + 0.8 * abs(value) * np.array(colors(value / 2 + 0.5))
        assert np.abs(drawn - 255 * over[:3]).max() < 3


def test_a_locked_file_gives_the_form_back_filled_in(client, folder):
    client.begin()
    client.answer("Expert")
    client.get("/question")
    chosen = client.options()[2]
    other = sqlite3.connect(folder / FILE, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    client.answer(chosen)
    assert client.status == 503
    assert "could not be saved just now" in client.text
    assert f'value="{chosen}" required checked' in client.text
    fresh = Client(client.port)
    fresh.get("/")
    fresh.post("/begin", consent="yes")
    assert fresh.status == 503
    assert "Nothing that you answered before is lost" in fresh.text
    other.execute("ROLLBACK")
    other.close()
    client.answer(chosen)
    assert client.status == 303


def test_no_address_and_no_name_of_a_browser_is_kept(folder):
    with sqlite3.connect(folder / FILE) as db:
        dump = "\n".join(db.iterdump())
        columns = {
            table: [row[1] for row in db.execute(f"PRAGMA table_info({table})")]
            for table in ("participant", "answer")
        }
    db.close()
    assert "127.0.0.1" not in dump
    assert columns["participant"] == ["code", "number", "device"]
    assert columns["answer"][0] == "code"
    assert not re.search(r"20\d\d-\d\d-\d\d", dump)


def refused(folder, *options: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "xaiutils.apps.cli", "user-study", "serve", folder, *options],
        capture_output=True, text=True, cwd=ROOT, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    return done.stderr


def test_where_nobody_can_listen_is_said(folder):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        assert f"127.0.0.1:{port} is not: Address already" in refused(folder, "--port", port)
    assert "nowhere.invalid:8700 is not" in refused(folder, "--host", "nowhere.invalid")
    assert "port must be in 0..65535, got 70000" in refused(folder, "--port", "70000")
