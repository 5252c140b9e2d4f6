"""The pages of the user study, in the order in which a participant meets them."""

from __future__ import annotations

import logging
import secrets
import time
from math import ceil
from typing import Any

from tornado.web import HTTPError, RequestHandler

from xaiutils.apps.userstudy.design import sheet
from xaiutils.apps.userstudy.store import (
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
from xaiutils.apps.userstudy.words import BUSY, KEPT, NOTES, pictures_of

PACE = 18  # seconds a page, a guess for the first page; nobody has been timed
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
    def _store(self) -> Store:
        return self.settings["store"]

    def _session(self) -> tuple[str, str]:
        """The code and the browser's token, from the signed cookie; empty where there is none."""
        value = self.get_signed_cookie(SESSION, max_age_days=DAYS)
        code, _, device = (value or b"").decode().partition(":")
        return code, device

    def _place(self) -> Place:
        """Where this participant is; raises `Unknown` and `Elsewhere`, which are pages too."""
        return self._store.place(*self._session())

    def _remember(self, code: str, device: str) -> None:
        """Keep the session in the browser; a strict cookie would not come with a mailed link."""
        self.set_signed_cookie(
            SESSION, f"{code}:{device}", expires_days=DAYS, httponly=True, samesite="Lax"
        )

    def set_cookie(self, name: str, value: str | bytes, *given: Any, **options: Any) -> None:
        """Every cookie goes through HTTPS alone where the page came so, also through a proxy."""
        options["secure"] = self.request.protocol == "https"
        super().set_cookie(name, value, *given, **options)

    def _argument(self, name: str) -> str:
        """What a form sent, or nothing; control characters do not come through."""
        return self.get_body_argument(name, "")

    def _go(self, path: str) -> None:
        self.redirect(path, status=303)

    def _show(
        self, page: str, title: str, message: str = "", status: int = 200, code: str = "",
        **more: Any,
    ) -> None:  # fmt: skip
        """Render a page; ``code`` is shown at its foot."""
        self.set_status(status)
        self.render(page, title=title, message=message, code=spelled(code), **more)

    def _note(self, status: int, name: str, link: str, label: str = "Go on") -> None:
        """A page that says what happened."""
        title, *lines = NOTES[name]
        self._show("note.html", title, status=status, lines=lines, link=link, label=label)

    def _elsewhere(self, code: str, message: str = "", status: int = 409) -> None:
        """Ask whether the person in the other browser is the same; an answer is not lost."""
        given = {name: self._argument(name) for name in ("question", "answer", "shown")}
        self._show("elsewhere.html", "Another browser", message, status, elsewhere=code, **given)

    def write_error(self, status_code: int, **more: Any) -> None:
        """Every error is a page with a way on."""
        error = (more.get("exc_info") or (None, None))[1]
        if isinstance(error, Elsewhere):
            self._elsewhere(self._session()[0])
            return
        known = {
            Unavailable: (503, "unavailable"),
            Unknown: (404, "unknown"),
            403: (403, "stale"),  # the form is older than the cookie
            404: (404, "nothing here"),
            405: (404, "nothing here"),
        }
        other = (status_code, "not understood") if status_code < 500 else (500, "broken")
        status, name = known.get(type(error)) or known.get(status_code) or other
        label = "Go on" if status < 500 else "Try again"
        self._note(status, name, "/" if status == 404 else "/question", label)

    def log_exception(self, kind: Any, error: Any, trace: Any) -> None:
        """Log what is a fault of ours; the base class would log addresses."""
        if not isinstance(error, HTTPError | OSError | ValueError):
            logging.getLogger(__name__).error("fault", exc_info=(kind, error, trace))


class _Welcome(Page):
    def get(self) -> None:
        """Those who have begun are asked first: another person may sit at the same computer."""
        try:
            place = self._place()
        except Unknown:
            self._welcome()
        else:
            self._show("back.html", "Welcome back", place=place)

    def _welcome(self, message: str = "", status: int = 200) -> None:
        design = self._store.design
        self._show(
            "welcome.html", "A study of explanation maps", message, status,
            items=sum(map(len, design.items.values())), contact=design.contact,
            minutes=5 * ceil(len(sheet(design, 0)) * PACE / 300),
            form=self.create_signed_value("form", secrets.token_urlsafe(18)).decode(),
        )  # fmt: skip


class _Begin(_Welcome):
    def post(self) -> None:
        """Nothing is stored without consent; a form sent twice begins once."""
        if self._argument("consent") != "yes":
            self._welcome("Please agree first. Nothing was stored.", 400)
            return
        try:
            self._place()
        except (Unknown, Elsewhere):
            form = self.get_signed_cookie("form", self._argument("form"))
            device = form.decode() if form else secrets.token_urlsafe(18)
            self._remember(self._store.begin(device), device)
        self._go("/code")


class _Code(Page):
    def get(self) -> None:
        self._place()
        self._show("code.html", "Your code", code=self._session()[0])


class _Resume(_Welcome):
    def post(self) -> None:
        """Straight on in the browser that has the code; elsewhere it asks first."""
        code = normalised(self._argument("code"))
        try:
            self._store.place(code, self._session()[1])
        except Unknown:
            self._welcome("No participant has this code. Please look at it again.", 404)
        except Elsewhere:
            self._elsewhere(code)
        else:
            self._go("/question")


class _Leave(Page):
    def post(self) -> None:
        """Forget the session in this browser; the answers stay."""
        self.clear_cookie(SESSION)
        self._go("/")


class _Ask(Page):
    def get(self) -> None:
        """The question that is due, or thanks."""
        try:
            place = self._place()
        except Unknown:
            self._go("/")
            return
        if place.due == len(place.questions):
            self._go("/thanks")
        else:
            kept = self.get_query_argument("kept", "")
            self._ask(self._session()[0], place, KEPT if kept else "")

    def _ask(
        self, code: str, place: Place, message: str = "", status: int = 200, given: str = ""
    ) -> None:
        asked, total = place.questions[place.due], len(place.questions)
        before = place.questions[place.due - 1] if place.due else None
        self._show(
            "question.html", f"Page {place.due + 1} of {total}", message, status, code,
            asked=asked, before=before, position=place.due, total=total, given=given,
            said=place.answers.get(before.id, "") if before else "",
            longest=LONGEST, pictures=pictures_of(asked),
            shown=self.create_signed_value(f"shown-{asked.id}", f"{time.time():.3f}").decode(),
        )  # fmt: skip

    def post(self) -> None:
        """Keep the answer of this browser's participant."""
        self._save(*self._session())

    def _save(self, code: str, device: str) -> None:
        """Keep the answer; whatever hinders that gives the form back, filled in."""
        question, answer = self._argument("question"), self._argument("answer")
        try:
            new = self._store.answer(code, device, question, answer, self._seconds(question))
        except Elsewhere:
            self._elsewhere(code)
        except NotAsked as error:
            place = self._store.place(code, device)
            if place.due == len(place.questions):
                self._note(400, "not understood", "/thanks")
            else:
                self._ask(code, place, f"Not saved: {error}. Please answer again.", 400, answer)
        except Unavailable:
            self._ask(code, self._store.place(code, device), BUSY, 503, answer)
        else:
            self._go("/question" if new else "/question?kept=1")

    def _seconds(self, question: str) -> float | None:
        """Since the page was shown, by the signed time in its form; None if unknown or long."""
        value = self.get_signed_cookie(f"shown-{question}", self._argument("shown"))
        try:
            passed = time.time() - float(value or b"")
        except ValueError:
            return None
        return round(passed, 2) if 0 <= passed <= LONGEST_SHOWN else None


class _TakeOver(_Ask):
    def post(self) -> None:
        """Give the code to this browser, and keep the answer that was on its way."""
        code, device = normalised(self._argument("code")), secrets.token_urlsafe(18)
        try:
            self._store.take_over(code, device)
        except Unavailable:
            self._elsewhere(code, BUSY, 503)
            return
        self._remember(code, device)
        if self._argument("question"):
            self._save(code, device)
        else:
            self._go("/question")


class _Thanks(Page):
    def get(self) -> None:
        """For those who have answered everything."""
        place = self._place()
        if place.due < len(place.questions):
            self._go("/question")
        else:
            self._show("thanks.html", "Thank you!", code=self._session()[0])


class _Withdraw(Page):
    def get(self) -> None:
        self._place()
        self._show("withdraw.html", "Delete your answers?", code=self._session()[0])

    def post(self) -> None:
        """Delete everything of the participant."""
        self._place()
        self._store.withdraw(self._session()[0])
        self.clear_cookie(SESSION)
        self._note(200, "withdrawn", "/", "To the first page")


class _File(Page):
    def get(self, name: str) -> None:
        """A picture or the style, from memory: only names that the design has."""
        found = self.settings["files"].get(name)
        if found is None:
            raise HTTPError(404)
        self.set_header("Content-Type", "image/png" if name.endswith(".png") else "text/css")
        self.set_header("Cache-Control", "private, max-age=3600")
        self.finish(found)


ROUTES: list[Any] = [
    ("/", _Welcome), ("/begin", _Begin), ("/code", _Code), ("/resume", _Resume),
    ("/take-over", _TakeOver), ("/leave", _Leave), ("/question", _Ask), ("/thanks", _Thanks),
    ("/withdraw", _Withdraw), (r"/items/([0-9a-f]+\.png)", _File), (r"/(style\.css)", _File),
]  # fmt: skip
