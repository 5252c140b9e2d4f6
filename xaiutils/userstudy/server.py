"""The study as pages: plain forms, one answer a request, kept before the next page is shown.

No script is needed, nothing is loaded from elsewhere, and neither addresses nor times of day are
logged or kept. torch is not loaded: the pictures were drawn when the study was built.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, HTTPError, RequestHandler

from xaiutils.userstudy.design import PICTURES, Design, Question, open_user_study
from xaiutils.userstudy.store import (
    LONGEST,
    Elsewhere,
    NotAsked,
    Place,
    Store,
    Unavailable,
    Unknown,
    normalised,
    spelled,
)
from xaiutils.userstudy.words import FEEDBACK, INSTRUCTIONS, MESSAGES, pictures_of

PAGES = Path(__file__).with_name("pages")
SESSION, DAYS = "participant", 90
LONGEST_SHOWN = 3600.0  # seconds; who takes longer was away, and no time is kept
POLICY = (
    "default-src 'self'; img-src 'self' data:; script-src 'none'; object-src 'none'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)


class Page(RequestHandler):
    """What all pages share: headers, the session, and errors that are pages too."""

    def set_default_headers(self) -> None:
        """Nothing from elsewhere, nothing kept by the browser or by those between."""
        self.clear_header("Server")
        self.set_header("Content-Security-Policy", POLICY)
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("Referrer-Policy", "no-referrer")
        self.set_header("Cache-Control", "no-store")

    @property
    def store(self) -> Store:
        """The answers."""
        return self.application.settings["store"]

    @property
    def design(self) -> Design:
        """The study."""
        return self.store.design

    def session(self) -> tuple[str, str] | None:
        """The code and the browser's token, from the signed cookie."""
        value = self.get_signed_cookie(SESSION, max_age_days=DAYS)
        code, _, device = (value or b"").decode().partition(":")
        return (code, device) if code and device else None

    def remember(self, code: str, device: str) -> None:
        """Keep the session in the browser, out of reach of scripts and other sites."""
        self.set_signed_cookie(
            SESSION, f"{code}:{device}", expires_days=DAYS, httponly=True, samesite="Strict",
            secure=self.request.protocol == "https",
        )  # fmt: skip

    def participant(self) -> tuple[str, str, Place]:
        """Who this is and where they are; raises `Unknown` without a session."""
        found = self.session()
        if found is None:
            raise Unknown("no session")
        return *found, self.store.place(*found)

    def show(self, page: str, title: str, message: str = "", code: str = "", **more: Any) -> None:
        """Render a page; ``code`` is shown at its foot."""
        known = {"title": title, "message": message, "code": spelled(code)} if code else {
            "title": title, "message": message, "code": ""}  # fmt: skip
        self.render(page, **known, **more)

    def note(self, status: int, name: str, link: str = "/", label: str = "Go on") -> None:
        """A page that says what happened."""
        title, *lines = MESSAGES[name]
        self.set_status(status)
        self.show("note.html", title, lines=lines, link=link, label=label)

    def argument(self, name: str) -> str:
        """What a form sent, or nothing; control characters do not come through."""
        return self.get_body_argument(name, "")

    def write_error(self, status_code: int, **more: Any) -> None:
        """Every error is a page with a way on."""
        error = (more.get("exc_info") or (None, None))[1]
        if isinstance(error, Unavailable):
            self.note(503, "unavailable", "/question", "Try again")
        elif isinstance(error, Unknown):
            self.note(404, "unknown")
        elif status_code == 403:  # the form is older than the cookie
            self.note(403, "stale", "/question")
        elif status_code in {404, 405}:
            self.note(404, "nothing here")
        elif status_code < 500:
            self.note(status_code, "not understood", "/question")
        else:
            self.note(500, "broken", "/question", "Try again")

    def log_exception(self, kind: Any, error: Any, trace: Any) -> None:
        """Log what is a fault of ours; the base class would log addresses."""
        if not isinstance(error, HTTPError | OSError | ValueError):
            logging.getLogger(__name__).error("fault", exc_info=(kind, error, trace))

    def elsewhere(self, code: str, **answer: str) -> None:
        """Ask whether the person in the other browser is the same; an answer is not lost."""
        self.set_status(409)
        given = {"question": "", "answer": "", "shown": ""} | answer
        self.show("elsewhere.html", "Another browser", elsewhere=code, **given)

    def seconds(self) -> float | None:
        """Since the page was shown, by the signed time in its form; None if unknown or long."""
        question = self.argument("question")
        value = self.get_signed_cookie(f"shown-{question}", self.argument("shown"))
        try:
            passed = time.time() - float(value or b"")
        except ValueError:
            return None
        return round(passed, 2) if 0 <= passed <= LONGEST_SHOWN else None

    def keep(self, code: str, device: str) -> None:
        """Keep the form's answer and go on to the next page."""
        question, answer = self.argument("question"), self.argument("answer")
        new = self.store.answer(code, device, question, answer, self.seconds())
        self.redirect("/question" if new else "/question?kept=1", status=303)


class Welcome(Page):
    """What the study is, consent, and the way back in."""

    def get(self) -> None:
        """To the next question for those who have begun."""
        try:
            self.participant()
        except Unknown:
            self.welcome()
        except Elsewhere:
            self.elsewhere((self.session() or ("", ""))[0])
        else:
            self.redirect("/question", status=303)

    def welcome(self, message: str = "", status: int = 200) -> None:
        """The first page."""
        self.set_status(status)
        items = sum(map(len, self.design.items.values()))
        self.show("welcome.html", "A study of explanation maps", message, items=items,
                  contact=self.design.contact)  # fmt: skip


class Begin(Welcome):
    """A new participant, after consent."""

    def post(self) -> None:
        """Nothing is stored without consent; a form sent twice begins once."""
        if self.argument("consent") != "yes":
            self.welcome("Please agree first. Nothing was stored.", 400)
            return
        try:
            self.participant()
        except (Unknown, Elsewhere):
            device = secrets.token_urlsafe(18)
            self.remember(self.store.begin(device), device)
        self.redirect("/code", status=303)


class Code(Page):
    """The code, to write down."""

    def get(self) -> None:
        """It is shown to the browser that has it."""
        self.show("code.html", "Your code", code=self.participant()[0])


class Resume(Welcome):
    """Go on by code."""

    def post(self) -> None:
        """Straight on in the browser that has the code; elsewhere it asks first."""
        code = normalised(self.argument("code"))
        own = self.session()
        try:
            self.store.place(code, own[1] if own else "")
        except Unknown:
            self.welcome("No participant has this code. Please look at it again.", 404)
        except Elsewhere:
            self.elsewhere(code)
        else:
            self.redirect("/question", status=303)


class TakeOver(Page):
    """The same person in another browser."""

    def post(self) -> None:
        """Give the code to this browser, and keep the answer that was on its way."""
        code, device = normalised(self.argument("code")), secrets.token_urlsafe(18)
        self.store.take_over(code, device)
        self.remember(code, device)
        if self.argument("question"):
            self.keep(code, device)
        else:
            self.redirect("/question", status=303)


class Leave(Page):
    """Forget the session in this browser; the answers stay."""

    def post(self) -> None:
        """To the first page."""
        self.clear_cookie(SESSION)
        self.redirect("/", status=303)


class Ask(Page):
    """The question that is due, and its answer."""

    def get(self) -> None:
        """The next question, or thanks."""
        try:
            code, _, place = self.participant()
        except Unknown:
            self.redirect("/", status=303)
            return
        except Elsewhere:
            self.elsewhere((self.session() or ("", ""))[0])
            return
        if place.due == len(place.questions):
            self.redirect("/thanks", status=303)
            return
        kept = self.get_query_argument("kept", "")
        self.ask(code, place, MESSAGES["kept"][0] if kept else "")

    def ask(self, code: str, place: Place, message: str = "", given: str = "") -> None:
        """One question as a form."""
        asked = place.questions[place.due]
        before = place.questions[place.due - 1] if place.due else None
        heading, instructions = "", list[str]()
        if asked.kind == "practice" or asked.id == "sus-01":
            heading, *instructions = INSTRUCTIONS[asked.task or "sus"]
        self.show(
            "question.html", f"Page {place.due + 1} of {len(place.questions)}", message, code,
            asked=asked, position=place.due, total=len(place.questions), given=given,
            heading=heading, instructions=instructions, longest=LONGEST,
            feedback=_feedback(before, place.answers), pictures=pictures_of(asked),
            shown=self.create_signed_value(f"shown-{asked.id}", f"{time.time():.3f}").decode(),
        )  # fmt: skip

    def post(self) -> None:
        """Keep the answer; whatever hinders that gives the form back, filled in."""
        answer = self.argument("answer")
        found = self.session()
        if found is None:
            raise Unknown("no session")
        try:
            self.keep(*found)
        except Elsewhere:
            form = {name: self.argument(name) for name in ("question", "shown")}
            self.elsewhere(found[0], answer=answer, **form)
        except NotAsked as error:
            place = self.store.place(*found)
            self.set_status(400)
            if place.due == len(place.questions):
                self.note(400, "not understood", "/thanks")
            else:
                self.ask(found[0], place, f"Not saved: {error}. Please answer again.", answer)
        except Unavailable:
            place = self.store.place(*found)
            self.set_status(503)
            self.ask(found[0], place, MESSAGES["busy"][0], answer)


class Thanks(Page):
    """The end."""

    def get(self) -> None:
        """For those who have answered everything."""
        code, _, place = self.participant()
        if place.due < len(place.questions):
            self.redirect("/question", status=303)
            return
        title, *lines = MESSAGES["thanks"]
        self.show("note.html", title, code=code, lines=lines, link="", label="")


class Withdraw(Page):
    """Delete everything of a participant."""

    def get(self) -> None:
        """Ask first."""
        self.show("withdraw.html", "Delete your answers?", code=self.participant()[0])

    def post(self) -> None:
        """Delete."""
        self.store.withdraw(self.participant()[0])
        self.clear_cookie(SESSION)
        self.note(200, "withdrawn", "/", "To the first page")


class File(Page):
    """A picture or the style, from memory: only names that the design has."""

    def get(self, name: str) -> None:
        """The file's bytes."""
        found = self.application.settings["files"].get(name)
        if found is None:
            raise HTTPError(404)
        self.set_header("Content-Type", "image/png" if name.endswith(".png") else "text/css")
        self.set_header("Cache-Control", "private, max-age=3600")
        self.finish(found)


class Missing(Page):
    """Any other address."""

    def prepare(self) -> None:
        """There is nothing."""
        raise HTTPError(404)


def _feedback(before: Question | None, answers: dict[str, str]) -> str:
    if before is None or before.kind != "practice":
        return ""
    given = answers.get(before.id, "")
    right = "right" if given == before.answer else "wrong"
    return FEEDBACK[before.task].format(given=given, answer=before.answer, right=right)


def application(folder: str | Path, wait: float | None = None) -> Application:
    """The study in a folder as a Tornado application.

    Raises:
        FileNotFoundError, ValueError, Unavailable: As `open_user_study` and `Store`.
    """
    design = open_user_study(folder)
    store = Store(folder, design) if wait is None else Store(folder, design, wait)
    files = {name: (Path(folder) / PICTURES / name).read_bytes() for name in design.files}
    files["style.css"] = (PAGES / "style.css").read_bytes()
    routes: list[Any] = [
        ("/", Welcome), ("/begin", Begin), ("/code", Code), ("/resume", Resume),
        ("/take-over", TakeOver), ("/leave", Leave), ("/question", Ask), ("/thanks", Thanks),
        ("/withdraw", Withdraw), (r"/items/([0-9a-f]+\.png)", File), (r"/(style\.css)", File),
    ]  # fmt: skip
    return Application(
        routes, default_handler_class=Missing, template_path=str(PAGES), store=store, files=files,
        cookie_secret=store.secret, xsrf_cookies=True, log_function=lambda _: None,
        xsrf_cookie_kwargs={"httponly": True, "samesite": "Strict"},
    )  # fmt: skip


def serve(folder: str | Path, host: str, port: int, say: Callable[[str], None]) -> None:
    """Serve a study until it is interrupted; port 0 takes a free one.

    Raises:
        FileNotFoundError, ValueError, OSError: The study or the port cannot be opened.
    """
    asyncio.run(_serve(application(folder), host, port, say))


async def _serve(app: Application, host: str, port: int, say: Callable[[str], None]) -> None:
    for name in ("tornado.access", "tornado.general"):  # they would log addresses
        logging.getLogger(name).disabled = True
    try:
        sockets = bind_sockets(port, host)
    except OSError as error:
        raise OSError(f"port must be free on {host}, {port} is not: {error.strerror}") from None
    server = HTTPServer(app, max_body_size=100_000, max_header_size=20_000)
    server.add_sockets(sockets)
    say(f"the study is at http://{host}:{sockets[0].getsockname()[1]}/ ; Ctrl-C ends it")
    if host not in {"127.0.0.1", "localhost", "::1"}:
        say("it is open to the network, without encryption: see docs/user-study.md")
    stop = asyncio.Event()
    for sign in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(sign, stop.set)
    await stop.wait()
    server.stop()
    await server.close_all_connections()
    app.settings["store"].close()
    say("ended; every answer is in the folder")
