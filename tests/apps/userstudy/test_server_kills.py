"""SIGKILL to the server at seeded moments: what was acknowledged is there, once."""

from __future__ import annotations

import random
import sqlite3
import time
from contextlib import suppress
from http.client import HTTPException
from threading import Timer

from tests.apps.userstudy.tiny import Client, Server, tiny
from xaiutils.apps.userstudy.store import FILE, normalised

KILLS, MOST = 22, 120  # a slow machine needs more of them to be hit while it answers


def test_no_acknowledged_answer_is_lost(tmp_path):
    folder = tmp_path / "study"
    tiny(folder)
    chance, said, kills, landed, uncertain = random.Random(4), {}, 0, 0, 0
    server = Server(folder)
    client, code, codes = Client(server.port), "", []
    while kills < KILLS or landed < 3 or len(said) <= 50:
        assert kills < MOST
        victim = Timer(chance.uniform(0.0, 0.12), server.process.kill)
        victim.start()
        sent = None
        with suppress(OSError, HTTPException):
            while True:
                if not code:
                    client = Client(server.port)
                    code = normalised(client.begin())
                    codes.append(code)
                client.get("/question")
                if client.location == "/thanks":
                    code = ""
                    continue
                options = client.options() or ["no remark"]
                sent = client.hidden("question"), chance.choice(options)
                shown = client.hidden("shown")
                client.post("/question", question=sent[0], answer=sent[1], shown=shown)
                assert (client.status, client.location) == (303, "/question")
                said[code, sent[0]] = sent[1]
                sent = None
        victim.join()
        server.process.communicate(timeout=20)
        kills += 1
        landed += sent is not None
        with sqlite3.connect(folder / FILE) as db:
            rows = db.execute("SELECT code, question, answer FROM answer").fetchall()
            assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        db.close()
        there = {(c, q): a for c, q, a in rows}
        assert len(there) == len(rows)
        lost = {key: answer for key, answer in said.items() if there.get(key) != answer}
        assert not lost
        more = set(there) - set(said)  # kept, and killed before it could be acknowledged
        assert len(more) <= 1
        uncertain += len(more)
        said |= {key: there[key] for key in more}
        server = Server(folder, server.port)
        client.port = server.port
        if code:
            client.get("/question")
            done = client.location == "/thanks"
            assert done or (code, client.hidden("question")) not in said
            resumed = Client(server.port)
            resumed.get("/")
            resumed.post("/resume", code=code)
            assert resumed.status == 409  # another browser: it asks first
    server.end()
    print(f"\n{kills} kills, {landed} of them while an answer was on its way, {len(said)} answers "
          f"({uncertain} kept unacknowledged) of {len(codes)} participants, 0 lost")  # fmt: skip


def test_the_server_goes_on_at_once_after_a_kill(tmp_path):
    """No lock is left behind: an answer right after the restart does not wait."""
    folder = tmp_path / "study"
    tiny(folder)
    server = Server(folder)
    client = Client(server.port)
    client.begin()
    client.answer()
    server.kill()
    server = Server(folder, server.port)
    start = time.monotonic()
    client.answer()
    assert client.status == 303
    assert time.monotonic() - start < 1.5
    assert "Page 3 of 28" in client.get("/question")
    server.end()
