"""What a process computes right now, on the disk: after its death the culprit is known.

``log/part-00007.now`` is there while the part is scored, and stays where the process died.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple


class Unfinished(RuntimeError):
    """Parts are missing after all has been tried; what there is, is kept."""


class Doing(NamedTuple):
    """What a process computes; without a picture it opens the network and the pictures."""

    image: str = ""
    method: str = ""
    metric: str = ""
    seed: int = 0

    def __str__(self) -> str:
        """In words."""
        if not self.image:
            return "opened the network and the pictures"
        return f"computed {self.method}, {self.metric}, seed {self.seed}, on {self.image}"


@contextmanager
def leave_trail(folder: Path, index: int) -> Iterator[Callable[[Doing], None]]:
    """Say on the disk what is being computed; whatever ends inside with an error is no death."""
    path = _path(folder, index)
    try:
        with path.open("wb", buffering=0) as file:

            def at(doing: Doing) -> None:
                file.seek(0)
                file.write(json.dumps(doing).encode() + b"\n")

            at(Doing())
            yield at
    finally:
        path.unlink(missing_ok=True)


def take_trail(folder: Path, index: int) -> Doing | None:
    """What a part's process computed when it died, and forget it; None where nothing says so."""
    path = _path(folder, index)
    try:
        image, method, metric, seed = json.loads(path.read_bytes().partition(b"\n")[0])
        return Doing(str(image), str(method), str(metric), int(seed))
    except Exception:  # none, or a half-written or changed one
        return None
    finally:
        path.unlink(missing_ok=True)


def _path(folder: Path, index: int) -> Path:
    return folder / "log" / f"part-{index:05d}.now"
