"""A small study without torch, a server of it as a process, and a client that answers forms."""

from __future__ import annotations

import hashlib
import html
import os
import re
import subprocess
import sys
from http.client import HTTPConnection, HTTPResponse
from io import BytesIO
from pathlib import Path
from urllib.parse import urlencode

import PIL.Image

from xaiutils.apps.userstudy.design import PICTURES, TASKS, Design, Item, write_design

ROOT = Path(__file__).parents[3]
METHODS = ("hybrid", "lrp_paper", "noise")


def tiny(folder: Path, methods=METHODS, each: int = 1, contact: str = "") -> Design:
    """A study whose pictures are plain colours."""
    (folder / PICTURES).mkdir(parents=True)
    files: dict[str, str] = {}

    def save() -> str:
        packed = BytesIO()
        shade = len(files) * 5 % 256
        PIL.Image.new("RGB", (96, 96), (shade, 90, 255 - shade)).save(packed, format="PNG")
        name = f"{len(files):016x}.png"
        (folder / PICTURES / name).write_bytes(packed.getvalue())
        files[name] = hashlib.sha256(packed.getvalue()).hexdigest()
        return name

    def item(name: str, task: str, i: int) -> Item:
        options = {
            "say": ("disc", "ring", "star", "plus"),
            "look": ("the left one", "the right one"),
        }
        given = options.get(task, ("Map A", "Map B"))
        answer = given[i % len(given)] if task != "choice" else ""
        return Item(name, save(), {m: save() for m in methods}, given, answer, "star", i % 2 == 0)

    pairs = len(methods) * (len(methods) - 1) // 2
    counts = {"say": each * (len(methods) + 1), "look": each * (len(methods) + 1)}
    counts["choice"] = each * pairs
    items = {t: tuple(item(f"{t}-{i:02}", t, i) for i in range(counts[t])) for t in TASKS}
    practice = {t: item(f"practice-{t}", t, 0) for t in TASKS}
    design = Design(3, tuple(methods), each, items, practice, files, contact=contact)
    write_design(folder, design)
    return design


class Server:
    """``xaiutils user-study serve`` as a process of its own."""

    def __init__(self, folder: Path, port: int = 0) -> None:
        words = [
            sys.executable,
            "-m",
            "xaiutils.apps.cli.__main__",
            "user-study",
            "serve",
            str(folder),
        ]
        self.process = subprocess.Popen(
            [*words, "--port", str(port)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        line = self.process.stdout.readline()
        found = re.search(r"http://127\.0\.0\.1:(\d+)/", line)
        assert found, line + self.process.stdout.read()
        self.port = int(found[1])

    def kill(self) -> None:
        self.process.kill()
        self.end()

    def end(self) -> str:
        """Ask it to end; what it said."""
        self.process.terminate()
        return self.process.communicate(timeout=20)[0]


class Client:
    """A browser without a screen: cookies, forms, no redirects."""

    def __init__(self, port: int) -> None:
        self.port, self.cookies, self.told = port, {}, {}
        self.status, self.text, self.location = 0, "", ""
        self.headers: HTTPResponse

    def get(self, path: str) -> str:
        return self._ask("GET", path, None)

    def post(self, path: str, **form: str) -> str:
        form = {"_xsrf": self.hidden("_xsrf")} | form
        return self._ask("POST", path, urlencode(form))

    def _ask(self, method: str, path: str, body: str | None) -> str:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=20)
        headers = {"Cookie": "; ".join(f"{k}={v}" for k, v in self.cookies.items())}
        headers |= {"Content-Type": "application/x-www-form-urlencoded"} if body else {}
        headers |= self.told  # by a proxy
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            text = answer.read().decode(errors="replace")
        finally:
            connection.close()
        for line in answer.headers.get_all("Set-Cookie") or []:
            name, _, value = line.partition(";")[0].partition("=")
            self.cookies[name] = value
        self.status, self.headers = answer.status, answer.headers
        self.location = answer.headers.get("Location", "")
        if text:
            self.text = text
        return self.text

    def hidden(self, name: str) -> str:
        found = re.search(rf'name="{name}" value="([^"]*)"', self.text)
        return html.unescape(found[1]) if found else ""

    def options(self) -> list[str]:
        return [
            html.unescape(x)
            for x in re.findall(r'type="radio" name="answer" value="([^"]*)"', self.text)
        ]

    def begin(self) -> str:
        """Take part: the code."""
        self.get("/")
        self.post("/begin", consent="yes", form=self.hidden("form"))
        assert (self.status, self.location) == (303, "/code")
        found = re.search(r'class="code large">([A-Z0-9-]+)<', self.get("/code"))
        return found[1]

    def answer(self, text: str | None = None) -> tuple[str, str]:
        """Fetch the page that is due and post an answer: (question, answer); see ``status``."""
        self.get("/question")
        options = self.options()
        given = text if text is not None else (options[0] if options else "no remark")
        question = self.hidden("question")
        self.post("/question", question=question, answer=given, shown=self.hidden("shown"))
        return question, given
