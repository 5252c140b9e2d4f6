"""What the pages say: instructions, feedback, messages, and what stands for a picture unseen.

No sentence names a method or depends on the answer.
"""

from __future__ import annotations

from xaiutils.apps.userstudy.design import Question

INSTRUCTIONS = {
    "say": (
        "Part: what will the network say?",
        "A network was asked what is in the picture, and gave one of "
        "the names below. Please choose the name that you think the network gave, whether or not "
        "it is true.",
        "Mostly there is a coloured map beside the picture. Red marks what spoke for the name that "
        "the network gave, blue what spoke against it: the stronger the colour, the more. What is "
        "grey did neither. This one is for practice.",
    ),
    "look": (
        "Part: which object does it look at?",
        "Now each picture holds two objects that the network knows, among others. The network was "
        "asked about one of the two. Please say which.",
        "Where there is a map, red is where the network found reasons for that object, blue where "
        "it found reasons against it: the stronger the colour, the more. Where there is no map, "
        "guess. This one is for practice.",
    ),
    "choice": (
        "Part: which map shows it better?",
        "Now you see a picture, the name that the network gave, and two maps of the same picture. "
        "Please choose the map that shows you better why the network gave that name. There is no "
        "right or wrong answer. This one is for practice.",
    ),
    "sus": (
        "Part: ten statements",
        "Now please think of all the coloured maps that you have seen, and say how far you agree "
        "with each statement.",
    ),
}
FEEDBACK = {
    "say": "Practice: you chose “{given}”, the network said “{answer}”. "
    "From now on there is no feedback.",
    "look": "Practice: you chose “{given}”, it was {answer}. From now on there is no feedback.",
    "choice": "Practice: you chose “{given}”. From now on it counts.",
}
MESSAGES = {
    "kept": ("That question was answered before; the first answer was kept.",),
    "busy": (
        "That could not be saved just now, because the study's file is busy or cannot be "
        "written. This page remembers it: please press the button again in a moment. If this "
        "goes on, tell the people who run the study; all earlier answers are safe.",
    ),
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
    "thanks": (
        "Thank you!",
        "All your answers are saved. You can close this page.",
        "Keep your code if you may want your answers deleted later.",
    ),
    "withdrawn": ("Your answers are deleted", "Nothing of you is left in the study's file."),
    "traces": (
        "Your answers are deleted",
        "Nobody finds them in the study any more. Another program is reading the study's file just "
        "now, so that traces of them stay on the disk until it has ended; they are removed then.",
    ),
}
LEGEND = ("against", "neither", "for")
PICTURE = ("The picture that the network was shown.", "The picture")
MAP = ("The same picture in grey under a coloured map.", "The map")


def pictures_of(question: Question) -> list[tuple[str, str, str]]:
    """File, alternative text and caption of each picture of a question."""
    if not question.pictures:
        return []
    first, *maps = question.pictures
    texts = [MAP]
    if len(maps) == 2:
        texts = [
            (f"Map {s}: the same picture in grey under a coloured map.", f"Map {s}") for s in "AB"
        ]
    return [(first, *PICTURE), *((m, *t) for m, t in zip(maps, texts, strict=False))]
