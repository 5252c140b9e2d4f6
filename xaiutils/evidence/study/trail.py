"""What a process computes right now, on the disk: after its death the culprit is known.

``log/part-00007.now`` is there while the part is scored, and stays where the process died. It
holds the run, what is being computed, and what was whenever a process of this run died before.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple

TIMES = 3  # deaths over one picture and method, after which both together are left


class Unfinished(RuntimeError):
    """Parts are missing after all has been tried; what there is, is kept."""


class Deadly(RuntimeError):
    """Processes that computed this picture and method have died, one after the other."""


class Doing(NamedTuple):
    """What a process computes, and how it ended, where that is known.

    Without a picture it opens the network and the pictures.
    """

    image: str = ""
    method: str = ""
    metric: str = ""
    seed: int = 0
    how: str = ""

    def __str__(self) -> str:
        """In words."""
        if not self.image:
            return "opened the network and the pictures"
        return f"computed {self.method}, {self.metric}, seed {self.seed}, on {self.image}"


class Trail(NamedTuple):
    """What is on the disk of a part of a run.

    ``doing`` is being computed, or was when the process died; None if that is among ``deaths``.
    """

    run: str
    doing: Doing | None = None
    deaths: tuple[Doing, ...] = ()

    def mourn(self, how: str = "") -> Trail:
        """The trail once it is known that its process has died."""
        if self.doing is None:
            return self
        return Trail(self.run, None, (*self.deaths, self.doing._replace(how=how)))

    def suspected(self) -> bool:
        """Whether the next death over the same picture and method is the last."""
        return max(self._counted().values(), default=0) >= TIMES - 1

    def guilty(self) -> dict[tuple[str, str], str]:
        """The reason of each picture and method that are left, as they have cost their share."""
        found = {}
        last = {(one.image, one.method): one for one in self.deaths}
        for key, count in self._counted().items():
            if count >= TIMES:
                how = f", the last {last[key].how}" if last[key].how else ""
                found[key] = f"{count} processes died while each {last[key]}{how}"
        return found

    def require_begun(self, index: int) -> None:
        """Refuse to go on where processes die, again and again, before they reach a picture."""
        reason = self.guilty().get(("", ""))
        if reason:
            raise Unfinished(f"part {index} is missing: {reason}")

    def _counted(self) -> Counter[tuple[str, str]]:
        return Counter((one.image, one.method) for one in self.deaths)


def trail_path(folder: Path, index: int) -> Path:
    """Where a part's trail is."""
    return folder / "log" / f"part-{index:05d}.now"


def read_trail(folder: Path, index: int) -> Trail | None:
    """A part's trail, or None where there is none that can be read."""
    try:
        line = trail_path(folder, index).read_bytes().partition(b"\n")[0]
        run, doing, deaths = json.loads(line)
        return Trail(run, doing and Doing(*doing), tuple(Doing(*one) for one in deaths))
    except Exception:  # a half-written or changed file says nothing
        return None


def own_trail(folder: Path, index: int, run: str) -> Trail:
    """A part's trail in this run; what another run left says nothing about it."""
    found = read_trail(folder, index)
    return found if found is not None and found.run == run else Trail(run)


def write_trail(folder: Path, index: int, trail: Trail) -> None:
    """Keep what is known until the part is tried again."""
    trail_path(folder, index).write_bytes(_line(trail))


class Pen:
    """Writes what is being computed over what was, into an open file without a buffer."""

    def __init__(self, file: BinaryIO, trail: Trail) -> None:
        self._file, self._trail, self._guilty = file, trail, trail.guilty()

    def at(self, doing: Doing) -> None:
        """From now on this is computed."""
        self._file.seek(0)
        self._file.write(_line(self._trail._replace(doing=doing)))

    def require_harmless(self, doing: Doing) -> None:
        """Refuse what has cost its share of processes."""
        reason = self._guilty.get((doing.image, doing.method))
        if reason:
            raise Deadly(reason)


@contextmanager
def leave_trail(folder: Path, index: int, run: str) -> Iterator[Pen]:
    """Say on the disk what is being computed; whatever ends inside with an error is no death."""
    trail = own_trail(folder, index, run).mourn()
    path = trail_path(folder, index)
    try:
        with path.open("wb", buffering=0) as file:
            pen = Pen(file, trail)
            pen.at(Doing())
            trail.require_begun(index)
            yield pen
    finally:
        path.unlink(missing_ok=True)


def _line(trail: Trail) -> bytes:
    return json.dumps(trail).encode() + b"\n"
