"""Photographs that libraries ship, with what we say of them in ``data/photographs.json``.

They are there after set-up: nothing is downloaded, and no library is imported for them.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
from dataclasses import dataclass
from pathlib import Path

from xaiutils.support import checks
from xaiutils.support.files import shipped

INSTALLS = {"skimage": "scikit-image", "sklearn": "scikit-learn", "matplotlib": "matplotlib"}


@dataclass(frozen=True)
class Photograph:
    """Where a photograph lies, what ImageNet calls its object, and boxes of ours around that.

    Attributes:
        package, file, sha256: The library, the file's place in its folder, and its hash.
        kind: The object's class in ImageNet; None where no class names it.
        boxes: (x0, y0, x1, y1) in the file's pixels, as in `Sample`.
        licence, note: What may be done with it; what a reader should know.
    """

    package: str
    file: str
    sha256: str
    kind: str | None
    boxes: tuple[tuple[float, float, float, float], ...]
    licence: str
    note: str = ""

    def path(self) -> Path:
        """The file.

        Raises:
            FileNotFoundError: The library is not installed, or came without its pictures.
            ValueError: It is another picture than that of which class and boxes are known.
        """
        spec = importlib.util.find_spec(self.package)
        found = Path(spec.origin).parent / self.file if spec and spec.origin else None
        if found is None or not found.is_file():
            raise FileNotFoundError(
                f"the photograph {self.file} must lie in the folder of {self.package}, and does "
                f"not: pip install {INSTALLS.get(self.package, self.package)}, from its wheel"
            )
        digest = hashlib.sha256(found.read_bytes()).hexdigest()
        if digest != self.sha256:
            raise ValueError(
                f"{found} must have sha256 {self.sha256}, got {digest}: this version of "
                f"{self.package} has another picture; requirements.lock names the one that is known"
            )
        return found


def _read() -> dict[str, Photograph]:
    records = json.loads((shipped("data") / "photographs.json").read_text("utf-8"))["photographs"]
    return {
        name: Photograph(
            record["package"],
            record["file"],
            record["sha256"],
            record["class"],
            tuple(tuple(box) for box in record["boxes"]),
            record["licence"],
            record.get("note", ""),
        )
        for name, record in records.items()
    }


PHOTOGRAPHS = _read()


def photograph(name: str) -> Photograph:
    """The record of the photograph called ``name``."""
    return PHOTOGRAPHS[checks.choice("sample", name, PHOTOGRAPHS)]
