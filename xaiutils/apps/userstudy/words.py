"""What the pages say beside their templates, and what stands for a picture unseen.

No sentence names a method or depends on the answer.
"""

from __future__ import annotations

from xaiutils.apps.userstudy.design import SIDES, Question

KEPT = "That question was answered before; the first answer was kept."
BUSY = (
    "That could not be saved just now, because the study's file is busy or cannot be written. This "
    "page remembers it: please press the button again in a moment. If this goes on, tell the "
    "people who run the study; all earlier answers are safe."
)
NOTES = {
    "unavailable": (
        "Just a moment",
        "The study's file is busy or cannot be written. Nothing that you answered before is lost. "
        "Please try again; if this goes on, tell the people who run the study.",
    ),
    "unknown": (
        "This browser is not taking part",
        "There is no participant for this browser: it has not begun, its cookie is gone, or the "
        "answers were deleted. On the first page you can begin, or go on with your code.",
    ),
    "stale": (
        "Please go back one step",
        "The form was older than this browser's cookie, or cookies are blocked. Nothing was saved. "
        "Go on to the question that is due, and allow this site's cookies.",
    ),
    "nothing here": ("There is nothing here", "The study begins on its first page."),
    "not understood": ("That was not understood", "Nothing was saved. Go on where you were."),
    "broken": (
        "Something went wrong on our side",
        "All earlier answers are safe. Please try again; if this goes on, tell the people who run "
        "the study.",
    ),
    "withdrawn": ("Your answers are deleted", "Nothing of you is left in the study's file."),
}
PICTURE = ("The picture that the network was shown.", "The picture")
MAP = ("The same picture in grey under a coloured map.", "The map")
MAPS = [(f"Map {s}: the same picture in grey under a coloured map.", f"Map {s}") for s in SIDES]


def pictures_of(question: Question) -> list[tuple[str, str, str]]:
    """File, alternative text and caption of each picture of a question."""
    texts = [PICTURE, *(MAPS if len(question.pictures) > 2 else [MAP])]
    return [(file, *text) for file, text in zip(question.pictures, texts, strict=False)]
