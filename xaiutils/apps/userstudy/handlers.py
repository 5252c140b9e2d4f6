"""The pages of the user study, in the order in which a participant meets them."""

from __future__ import annotations

import secrets
import time
from math import ceil
from typing import Any

from tornado.web import HTTPError

from xaiutils.apps.userstudy.design import Question, sheet
from xaiutils.apps.userstudy.page import SESSION, Page
from xaiutils.apps.userstudy.store import (
    LONGEST,
    Elsewhere,
    NotAsked,
    Place,
    Unavailable,
    Unknown,
    normalised,
)
from xaiutils.apps.userstudy.words import FEEDBACK, INSTRUCTIONS, LEGEND, MESSAGES, pictures_of

PACE = 18  # seconds a page, a guess for the first page; nobody has been timed


class Welcome(Page):
    """What the study is, consent, and the way back in."""

    def get(self) -> None:
        """Those who have begun are asked first: another person may sit at the same computer."""
        try:
            _, _, place = self.participant()
        except Unknown:
            self.welcome()
            return
        self.show("back.html", "Welcome back", place=place)

    def welcome(self, message: str = "", status: int = 200) -> None:
        """The first page."""
        self.set_status(status)
        items = sum(map(len, self.design.items.values()))
        minutes = 5 * ceil(len(sheet(self.design, 0)) * PACE / 300)
        self.show(
            "welcome.html", "A study of explanation maps", message,
            items=items, minutes=minutes, contact=self.design.contact,
            form=self.create_signed_value("form", secrets.token_urlsafe(18)).decode(),
        )  # fmt: skip


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
            form = self.get_signed_cookie("form", self.argument("form"))
            device = form.decode() if form else secrets.token_urlsafe(18)
            code = self.store.begin(device)
            self.remember(code, device)
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
            heading=heading, instructions=instructions, longest=LONGEST, legend=LEGEND,
            feedback=_feedback(before, place.answers), pictures=pictures_of(asked),
            shown=self.create_signed_value(f"shown-{asked.id}", f"{time.time():.3f}").decode(),
        )  # fmt: skip

    def post(self) -> None:
        """Keep the answer of this browser's participant."""
        found = self.session()
        if found is None:
            raise Unknown("no session")
        self.save(*found)

    def save(self, code: str, device: str) -> None:
        """Keep the answer; whatever hinders that gives the form back, filled in."""
        answer = self.argument("answer")
        try:
            self.keep(code, device)
        except Elsewhere:
            self.elsewhere(code)
        except NotAsked as error:
            place = self.store.place(code, device)
            self.set_status(400)
            if place.due == len(place.questions):
                self.note(400, "not understood", "/thanks")
            else:
                self.ask(code, place, f"Not saved: {error}. Please answer again.", answer)
        except Unavailable:
            place = self.store.place(code, device)
            self.set_status(503)
            self.ask(code, place, MESSAGES["busy"][0], answer)


class TakeOver(Ask):
    """The same person in another browser."""

    def post(self) -> None:
        """Give the code to this browser, and keep the answer that was on its way."""
        code, device = normalised(self.argument("code")), secrets.token_urlsafe(18)
        try:
            self.store.take_over(code, device)
        except Unavailable:
            self.elsewhere(code, MESSAGES["busy"][0], 503)
            return
        self.remember(code, device)
        if self.argument("question"):
            self.save(code, device)
        else:
            self.redirect("/question", status=303)


class Thanks(Page):
    """The end."""

    def get(self) -> None:
        """For those who have answered everything."""
        code, _, place = self.participant()
        if place.due < len(place.questions):
            self.redirect("/question", status=303)
            return
        title, *lines = MESSAGES["thanks"]
        self.show("thanks.html", title, code=code, lines=lines)


class Withdraw(Page):
    """Delete everything of a participant."""

    def get(self) -> None:
        """Ask first."""
        self.show("withdraw.html", "Delete your answers?", code=self.participant()[0])

    def post(self) -> None:
        """Delete."""
        self.store.withdraw(self.participant()[0])
        self.clear_cookie(SESSION)
        done = "withdrawn" if self.store.clean else "traces"
        self.note(200, done, "/", "To the first page")


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


ROUTES: list[Any] = [
    ("/", Welcome), ("/begin", Begin), ("/code", Code), ("/resume", Resume),
    ("/take-over", TakeOver), ("/leave", Leave), ("/question", Ask), ("/thanks", Thanks),
    ("/withdraw", Withdraw), (r"/items/([0-9a-f]+\.png)", File), (r"/(style\.css)", File),
]  # fmt: skip
