"""What is asked, and in which order: a frozen design, and each participant's sheet of questions.

A sheet is a pure function of the design and the participant's number, so that nothing but the
number has to be kept to go on where somebody stopped.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

VERSION = 2  # of 1 the maps have colours that the pages now describe wrongly
DESIGN, PICTURES = "design.json", "items"
NONE = "none"  # the control: no map is shown
TASKS = ("say", "look", "choice")
SIDES = ("A", "B")
LEVELS = ("Expert", "Not an expert")
SUS = (
    "I think that I would like to use these explanations frequently.",
    "I found these explanations unnecessarily complex.",
    "I thought these explanations were easy to use.",
    "I think that I would need the support of a technical person to be able to use them.",
    "I found the different parts of these explanations were well integrated.",
    "I thought there was too much inconsistency in these explanations.",
    "I would imagine that most people would learn to use these explanations very quickly.",
    "I found these explanations very awkward to use.",
    "I felt very confident using these explanations.",
    "I needed to learn a lot of things before I could get going with these explanations.",
)
AGREE = ("1 strongly disagree", "2", "3", "4", "5 strongly agree")
ASKS = {
    "expertise": "Would you call yourself an expert in machine learning or computer vision?",
    "say": "What does the network say is in this picture? It is wrong about half of the time.",
    "look": "The network found reasons for one of the two objects. Which one does it look at?",
    "choice": "Which map shows better why the network says “{subject}”?",
    "check": "This page checks that the questions are read. Please choose “{subject}”.",
    "text": "Is there anything you would like to say about the maps? Please write no names.",
}


@dataclass(frozen=True)
class Item:
    """One picture of one task, with a map of each method."""

    id: str  # say-03
    picture: str  # file names say nothing
    maps: Mapping[str, str]  # by method
    options: tuple[str, ...]
    answer: str = ""  # the right one; empty where there is none
    subject: str = ""  # the class that is explained; shown in the task "choice" alone
    wrong: bool = False  # whether the network errs


@dataclass(frozen=True)
class Question:
    """What one page asks."""

    id: str  # the same for all participants; an answer's key
    kind: str  # of `TASKS`, or practice, check, expertise, sus, text
    text: str
    options: tuple[str, ...] = ()  # none where words are written
    answer: str = ""  # the right one; empty where there is none
    pictures: tuple[str, ...] = ()  # file names: the picture, then what lies beside it
    condition: str = ""  # the method, `NONE`, or left|right of a choice
    task: str = ""  # also of a practice question or an attention check
    optional: bool = False  # whether it may be left empty


@dataclass(frozen=True)
class Design:
    """A frozen study; `write_design` keeps it, `open_user_study` reads it."""

    seed: int  # of all orders
    methods: tuple[str, ...]  # at least two
    each: int  # pictures of each condition that a participant sees in a task
    items: Mapping[str, tuple[Item, ...]]  # of each task
    practice: Mapping[str, Item]  # one of each task
    files: Mapping[str, str] = field(default_factory=dict)  # SHA-256 of each picture
    source: Mapping[str, str] = field(default_factory=dict)  # workload, network, versions
    asks: Mapping[str, str] = field(default_factory=ASKS.copy)  # as frozen, not as worded later
    statements: tuple[str, ...] = SUS
    failed_checks: int = 0  # who fails more attention checks is left out
    contact: str = ""  # whom participants can ask; shown on the first page
    version: int = VERSION

    @property
    def conditions(self) -> tuple[str, ...]:
        """Of the two forward simulations: every method, and no map."""
        return (*self.methods, NONE)

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """Of the forced choice: each two methods once."""
        return tuple(combinations(self.methods, 2))

    @cached_property
    def hash(self) -> str:
        """SHA-256 of everything in the design."""
        text = json.dumps(asdict(self), sort_keys=True, ensure_ascii=True)
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks that have items."""
        return tuple(task for task in TASKS if self.items[task])


def assign(seed: int, task: int, number: int, items: int, conditions: int) -> np.ndarray:
    """The condition of each item for one participant, (items,): a randomised Latin square.

    Participants, numbered from 0, come in blocks of ``conditions``; in a block every item meets
    every condition once, and every participant meets every condition equally often.
    """
    if items % conditions:
        raise ValueError(f"items must be a multiple of {conditions} conditions, got {items}")
    block, place = divmod(number, conditions)
    offsets = np.arange(items) % conditions
    np.random.default_rng([seed, task, block]).shuffle(offsets)
    return (offsets + place) % conditions


def assign_sides(seed: int, number: int, items: int, pairs: int) -> tuple[np.ndarray, np.ndarray]:
    """The pair of each item of the forced choice, and whether its sides are swapped.

    Two blocks of participants belong together: the second sees the pairs of the first with their
    sides the other way round, so that 2 x ``pairs`` participants see every item with every pair
    once on either side.
    """
    block, place = divmod(number, pairs)
    pair = assign(seed, TASKS.index("choice"), block // 2 * pairs + place, items, pairs)
    drawn = np.random.default_rng([seed, len(TASKS), block // 2]).integers(0, 2, (items, pairs))
    swapped = drawn[np.arange(items), pair] ^ (block % 2)
    return pair, swapped.astype(bool)


def sheet(design: Design, number: int) -> list[Question]:
    """All questions of participant ``number`` (0, 1, ...), in the order of this participant."""
    rng = np.random.default_rng([design.seed, len(TASKS) + 1, number])
    found = [Question("expertise", "expertise", design.asks["expertise"], LEVELS)]
    for task in design.tasks:
        found.append(_practice(design, task, number))
        asked = [_asked(design, task, *one) for one in _conditions(design, task, number)]
        asked = [asked[i] for i in rng.permutation(len(asked))]
        if task != "look":  # two checks are enough
            asked.insert(int(rng.integers(1, max(2, len(asked)))), _check(design, task))
        found += asked
    for i, text in enumerate(design.statements):
        found.append(Question(f"sus-{i + 1:02}", "sus", text, AGREE))
    return [*found, Question("text", "text", design.asks["text"], optional=True)]


def _conditions(design: Design, task: str, number: int) -> list[tuple[Item, str]]:
    items = design.items[task]
    if task == "choice":
        places, swaps = assign_sides(design.seed, number, len(items), len(design.pairs))
        pairs = [design.pairs[p][:: -1 if s else 1] for p, s in zip(places, swaps, strict=True)]
        return [(item, "|".join(pair)) for item, pair in zip(items, pairs, strict=True)]
    drawn = assign(design.seed, TASKS.index(task), number, len(items), len(design.conditions))
    return [(item, design.conditions[c]) for item, c in zip(items, drawn, strict=True)]


def _asked(
    design: Design, task: str, item: Item, condition: str, practice: bool = False
) -> Question:
    shown = [] if condition == NONE else condition.split("|")
    pictures = (item.picture, *(item.maps[name] for name in shown))
    text, kind = design.asks[task].format(subject=item.subject), "practice" if practice else task
    return Question(item.id, kind, text, item.options, item.answer, pictures, condition, task)


def _practice(design: Design, task: str, number: int) -> Question:
    """Practice is with a map, which one rotates over participants."""
    shown = ["|".join(pair) for pair in design.pairs] if task == "choice" else design.methods
    item, condition = design.practice[task], shown[number % len(shown)]
    return _asked(design, task, item, condition, practice=True)


def _check(design: Design, task: str) -> Question:
    """An instructed response: the text says what to choose."""
    item = design.practice[task]
    last = item.options[-1]
    text = design.asks["check"].format(subject=last)
    return Question(f"check-{task}", "check", text, item.options, last, (item.picture,), task=task)


def write_design(folder: Path, design: Design) -> None:
    """Write the design, with its hash, into a folder that has none."""
    text = json.dumps(asdict(design) | {"hash": design.hash}, indent=1, sort_keys=True)
    with (folder / DESIGN).open("x", encoding="utf-8") as stream:
        stream.write(text + "\n")


def open_user_study(folder: str | Path) -> Design:
    """Read a study's design and hold it and the pictures to their hashes.

    Raises:
        FileNotFoundError: There is no study.
        ValueError: It is of another version, or was changed after it was built.
    """
    path = Path(folder) / DESIGN
    if not path.is_file():
        raise FileNotFoundError(
            f"FOLDER must hold a user study, {path} is not there; "
            f"begin one with: xaiutils user-study build {folder}"
        )
    try:
        read: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        told, version = read.pop("hash"), read["version"]
        design = None if version != VERSION else _design(read)
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise ValueError(
            f"{path} is no design of a user study: {repr(error)[:100]}; "
            f"build one with: xaiutils user-study build {folder}"
        ) from None
    if design is None:
        raise ValueError(
            f"{path} must be of version {VERSION}, got {version}; use the xaiutils that made it"
        )
    if design.hash != told:
        raise ValueError(
            f"{path} was changed after it was built; a design is frozen, build another"
        )
    for name, digest in design.files.items():
        file = path.parent / PICTURES / name
        if not file.is_file() or hashlib.sha256(file.read_bytes()).hexdigest() != digest:
            raise ValueError(f"{file} is missing or was changed after the study was built")
    return design


def _design(read: dict[str, Any]) -> Design:
    items = {task: tuple(_item(one) for one in read["items"][task]) for task in TASKS}
    practice = {task: _item(one) for task, one in read["practice"].items()}
    lists = {name: tuple(read[name]) for name in ("methods", "statements")}
    return Design(**(read | lists | {"items": items, "practice": practice}))


def _item(read: Mapping[str, Any]) -> Item:
    return Item(**(dict(read) | {"options": tuple(read["options"])}))
