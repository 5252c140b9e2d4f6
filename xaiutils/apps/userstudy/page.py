"""What all pages of the user study share: headers, the session, and errors that are pages too."""

from __future__ import annotations

import logging
import time
from typing import Any

from tornado.web import HTTPError, RequestHandler

from xaiutils.apps.userstudy.design import Design
from xaiutils.apps.userstudy.store import Elsewhere, Place, Store, Unavailable, Unknown, spelled
from xaiutils.apps.userstudy.words import MESSAGES

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
        """Keep the session in the browser, out of reach of scripts; other sites can only link here.

        A strict cookie would not come along with a link in somebody's mail: the participant would
        be asked to begin anew.
        """
        self.set_signed_cookie(
            SESSION, f"{code}:{device}", expires_days=DAYS, httponly=True, samesite="Lax"
        )

    def set_cookie(self, name: str, value: str | bytes, *given: Any, **options: Any) -> None:
        """Every cookie goes through HTTPS alone where the page came so, also through a proxy."""
        options["secure"] = self.request.protocol == "https"
        super().set_cookie(name, value, *given, **options)

    def participant(self) -> tuple[str, str, Place]:
        """Who this is and where they are; raises `Unknown` and `Elsewhere`, which are pages too."""
        found = self.session()
        if found is None:
            raise Unknown("no session")
        return *found, self.store.place(*found)

    def show(self, page: str, title: str, message: str = "", code: str = "", **more: Any) -> None:
        """Render a page; ``code`` is shown at its foot."""
        self.render(page, title=title, message=message, code=spelled(code), **more)

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
        elif isinstance(error, Elsewhere):
            self.elsewhere((self.session() or ("", ""))[0])
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

    def elsewhere(self, code: str, message: str = "", status: int = 409) -> None:
        """Ask whether the person in the other browser is the same; an answer is not lost."""
        self.set_status(status)
        given = {name: self.argument(name) for name in ("question", "answer", "shown")}
        self.show("elsewhere.html", "Another browser", message, elsewhere=code, **given)

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
