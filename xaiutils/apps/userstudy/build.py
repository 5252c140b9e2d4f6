"""Build a user study: choose the pictures, explain them, and freeze the design. Needs torch."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import torch

from xaiutils.apps.userstudy.design import ASKS, PICTURES, SIDES, TASKS, Design, Item, write_design
from xaiutils.cases import questions
from xaiutils.cases.workloads import Workload, load_workload
from xaiutils.methods import method_named
from xaiutils.pictures.images import Sample
from xaiutils.plots.panel import Panel
from xaiutils.plots.raster import pixels
from xaiutils.support import checks

METHODS = ("hybrid", "lrp_paper", "grad_cam_plus_plus", "bounded_noise")
OPTIONS = 4  # answers to "what does the network say?"
SIDE = 384  # px at least of a picture on the page
PATIENCE = 1000  # pictures that are looked at for each task
UNLABELLED = "What does the network say is in this picture? It may be wrong."
BATCH = 16
SPARE = 3  # pictures with two objects that are looked at for one that is taken


@dataclass(frozen=True)
class _Asked:
    """A picture that was chosen: what the network gets, what is explained, what can be answered."""

    picture: np.ndarray
    x: torch.Tensor
    target: int
    options: tuple[str, ...]
    answer: str = ""
    wrong: bool = False


def build_user_study(
    folder: str | Path,
    workload: str | None = None,
    methods: Sequence[str] = METHODS,
    *,
    each: int = 2,
    seed: int = 0,
    contact: str = "",
) -> Design:
    """Choose pictures, draw every method's map of each, and write the frozen design.

    With k methods there are ``each`` x (k + 1) pictures of either forward simulation (every method,
    and no map), and ``each`` x k (k - 1) / 2 of the forced choice (every pair). In the first half
    of the pictures for "what does the network say?" are such that it classifies wrongly, so that
    the label is no answer. "Which object does it look at?" needs two objects: scenes alone have it,
    and of those the pictures are taken whose two objects are the network's first two classes.

    Args:
        folder, workload: A new one; as for `load_workload`.
        methods: At least two names in `xaiutils.methods.METHODS`.
        each: Pictures of each condition, >= 1.
        seed: Of the choice of pictures and of all orders.
        contact: Whom participants can ask.

    Raises:
        FileExistsError: The folder holds something.
        TypeError, ValueError: An argument is wrong, or the workload has too few pictures.
    """
    place = Path(folder)
    chosen = [method_named(name) for name in methods]
    if len(chosen) < 2 or len(set(methods)) < len(chosen):
        raise ValueError(f"methods must be at least two different names, got {', '.join(methods)}")
    each, seed = checks.whole("each", each), checks.seed("seed", seed)
    if place.exists() and any(place.iterdir()):
        raise FileExistsError(f"FOLDER must be new or empty, {place} holds files")
    counts = {task: each * (len(chosen) + 1) + 1 for task in ("say", "look")}
    counts["choice"] = each * len(chosen) * (len(chosen) - 1) // 2 + 1
    work = load_workload(workload, "hard")
    if not work.classifier.chooses:
        raise ValueError(
            f"workload must have a network that chooses among classes, {work.classifier.name} has "
            f"{len(work.classifier.classes)} x {work.classifier.outputs} as outputs"
        )
    plain = load_workload("scenes", "test") if work.generated else work
    found = {
        "say": _say(work, counts["say"], seed),
        "look": _look(counts["look"], seed) if work.generated else [],
        "choice": _choice(plain, counts["choice"], seed),
    }
    (place / PICTURES).mkdir(parents=True, exist_ok=True)
    files: dict[str, str] = {}
    items = {t: tuple(_drawn(work, t, found[t], chosen, seed, place, files)) for t in TASKS}
    half = any(one.wrong for one in found["say"])  # else nobody knows how often it errs
    design = Design(
        seed=seed,
        methods=tuple(methods),
        each=each,
        items={task: items[task][1:] for task in TASKS},
        practice={task: items[task][0] for task in TASKS if items[task]},
        files=files,
        source={"workload": work.name, "network": work.classifier.name, "torch": torch.__version__},
        asks=ASKS if half else ASKS | {"say": UNLABELLED},
        contact=contact,
    )
    write_design(place, design)
    return design


def _walk(work: Workload, seed: int) -> Iterator[tuple[Sample, torch.Tensor, torch.Tensor]]:
    """Pictures in an order of the seed, each with the network's input and its logits."""
    order = np.random.default_rng([seed, 7]).permutation(len(work.samples))[:PATIENCE].tolist()
    for start in range(0, len(order), BATCH):
        samples, x = work.batch(order[start : start + BATCH])
        yield from zip(samples, x, work.classifier.predict(x), strict=True)


def _enough(task: str, found: Sequence[Any], count: int) -> None:
    if len(found) < count:
        raise ValueError(
            f"each must leave enough pictures for the task {task!r}: it needs {count}, "
            f"{len(found)} of the first {PATIENCE} will do; lower it or name fewer methods"
        )


def _say(work: Workload, count: int, seed: int) -> list[_Asked]:
    """Half of them wrong where labels are known; the options are the network's next ideas."""
    classes = work.classifier.classes
    kept: dict[bool, list[_Asked]] = {False: [], True: []}
    room = {True: count // 2, False: count - count // 2}
    for sample, x, logits in _walk(work, seed):
        order = logits.argsort(descending=True).tolist()
        said = order[0]
        wrong = sample.label is not None and said != sample.label
        if sample.label is None:
            room = {True: 0, False: count}
        if len(kept[wrong]) == room[wrong]:
            if all(len(kept[w]) == room[w] for w in room):
                break
            continue
        if sample.label is not None:
            order.remove(sample.label)
            order.insert(1 if wrong else 0, sample.label)
        options = tuple(classes[i] for i in sorted(order[:OPTIONS]))
        if len(set(options)) < len(options):  # ImageNet has two classes called crane
            continue
        kept[wrong].append(_Asked(work.picture(sample), x, said, options, classes[said], wrong))
    turns = zip_longest(kept[False], kept[True])
    found = [one for two in turns for one in two if one is not None]
    _enough("say", found, count)
    return found


def _look(count: int, seed: int) -> list[_Asked]:
    """Scenes with two objects, both of which the network sees; chance says which is explained."""
    rng = np.random.default_rng([seed, 8])
    asked = questions.load_questions("scenes", SPARE * count)
    first, second = asked.target[::2], asked.target[1::2]
    work, found = asked.work, []
    for i in rng.permutation(len(first)).tolist():
        q = 2 * i + int(rng.integers(2))
        top = work.classifier.predict(asked.x[q : q + 1])[0].topk(2).indices.tolist()
        if sorted(top) != sorted((int(first[i]), int(second[i]))):
            continue
        target, rival = (int(one) for one in (asked.target[q], asked.target[q ^ 1]))
        names = work.classifier.classes[target], work.classifier.classes[rival]
        options, answer = _sides(asked.own[q].numpy(), asked.rival[q].numpy(), names)
        found.append(_Asked(work.picture(asked.samples[q]), asked.x[q], target, options, answer))
        if len(found) == count:
            break
    _enough("look", found, count)
    return found


def _sides(
    own: np.ndarray, rival: np.ndarray, names: tuple[str, str]
) -> tuple[tuple[str, str], str]:
    """Two objects by name and place, left or upper one first, and which is the first given."""
    (y, x), (v, u) = (np.argwhere(mask).mean(0) for mask in (own, rival))
    beside = abs(x - u) >= abs(y - v)
    second = bool(x > u if beside else y > v)
    where = ("on the left", "on the right") if beside else ("above", "below")
    ordered = names[::-1] if second else names
    options = (f"the {ordered[0]} {where[0]}", f"the {ordered[1]} {where[1]}")
    return options, options[second]


def _choice(work: Workload, count: int, seed: int) -> list[_Asked]:
    """Pictures that the network classifies rightly, where that is known."""
    found = []
    for sample, x, logits in _walk(work, seed + 1):
        said = int(logits.argmax())
        if sample.label in {None, said}:
            found.append(_Asked(work.picture(sample), x, said, tuple(f"Map {s}" for s in SIDES)))
        if len(found) == count:
            break
    _enough("choice", found, count)
    return found


def _drawn(
    work: Workload, task: str, found: list[_Asked], methods: list[Any], seed: int, place: Path,
    files: dict[str, str],
) -> Iterator[Item]:  # fmt: skip
    """The items, whose pictures are written, with all maps drawn for the class that is explained.

    File names are drawn anew each time: a seed would give them away.
    """

    def save(array: np.ndarray) -> str:
        image = PIL.Image.fromarray(array)
        times = max(1, round(SIDE / max(image.size)))
        size = image.width * times, image.height * times
        packed = BytesIO()
        image.resize(size, PIL.Image.Resampling.BICUBIC).save(packed, format="PNG")
        file = f"{secrets.token_hex(8)}.png"
        (place / PICTURES / file).write_bytes(packed.getvalue())
        files[file] = hashlib.sha256(packed.getvalue()).hexdigest()
        return file

    if not found:
        return
    x = torch.stack([one.x for one in found])
    targets = torch.tensor([one.target for one in found])
    maps = {m.name: m(work.classifier, x, targets, seed=seed).cpu().numpy() for m in methods}
    for i, one in enumerate(found):
        name = f"{task}-{i:02}" if i else f"practice-{task}"
        # One colour map for all, or a participant could tell methods apart by their colours.
        panels = {m: Panel(one.picture, v[i], signed=True, clip=99.5) for m, v in maps.items()}
        drawn = {method: save(pixels(panel)) for method, panel in panels.items()}
        subject = work.classifier.classes[one.target]
        yield Item(name, save(one.picture), drawn, one.options, one.answer, subject, one.wrong)
