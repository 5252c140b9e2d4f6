"""A workload whose method ends its process: where, how and how often is what DEADLY says.

``DEADLY`` is JSON: ``how`` (segfault, exit, kill), ``at`` (start, or a picture's name), ``times``
(at most, in all processes together) and ``folder``, where they are counted.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from tests.evidence.study import own_workload
from xaiutils import METHODS
from xaiutils.cases.workloads import Workload
from xaiutils.evidence.study import work as real

NAME = "tests.evidence.study.deadly:work"


def _die(at: str) -> None:
    about = json.loads(os.environ["DEADLY"])
    if about["at"] != at:
        return
    for time in range(about["times"]):
        with suppress(FileExistsError):
            (Path(about["folder"]) / f"death-{time}").touch(exist_ok=False)
            break
    else:
        return
    if about["how"] == "segfault":
        ctypes.string_at(0)
    elif about["how"] == "exit":
        os._exit(3)
    else:
        os.kill(os.getpid(), signal.SIGKILL)


def _deadly(classifier, x, target):
    picture = next(one for one in PICTURES if (classifier.preprocess(one) == x).all())
    _die(Path(picture.id).stem)
    return METHODS["sobel_edges"].function(classifier, x, target)


PICTURES: list = []


def score_part(**question):
    """In a process of a fork server, whose environment is older than the test."""
    beside = Path(question["folder"]).with_name("environment.json")
    os.environ.update(json.loads(beside.read_text()))
    return real.score_part(**question)


def work() -> Workload:
    _die("start")
    METHODS["deadly"] = replace(METHODS["sobel_edges"], name="deadly", function=_deadly)
    made = own_workload.small()
    PICTURES[:] = made.samples
    return made
