"""Execute notebooks as they stand and keep what they draw; what is there is not drawn again."""

from __future__ import annotations

import ast
import asyncio
import base64
import json
import os
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tqdm import tqdm

from xaiutils.cases.workloads import Workload
from xaiutils.evidence import fingerprint
from xaiutils.support.files import set_aside, write_whole


@dataclass(frozen=True)
class Made:
    """What a notebook gave.

    Attributes:
        key: A hash of all that decides it.
        figures, tagged: File names, in the notebook's order, and one by each tag of its cell.
        seconds, error: It took, or why there is nothing.
        files: A hash of each file that was written, by its name.
    """

    key: str
    figures: list[str] = field(default_factory=list)
    tagged: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    error: str = ""
    files: dict[str, str] = field(default_factory=dict)


def make_notebooks(
    reads: Mapping[Path, Sequence[Path]], work: Workload, out: Path, workers: int
) -> dict[Path, Made]:
    """Execute what has not been executed with this network, these pictures, tables and code.

    Args:
        reads: The notebooks, each with the files whose content decides what it shows.
        work: What the environment makes them explain.
        out: Folder for their pictures, their executed copies, and ``.made``, the notes on them.
        workers: Executed at a time.
    """
    about = {
        "workload": [work.name, len(work.samples), work.samples[0].id],
        "weights": fingerprint.weights(work.classifier),
        "network": fingerprint.network(work.classifier),
        "code": _code(Path(__file__).parents[1]),
        "versions": fingerprint.versions(),
        "environment": {k: v for k, v in os.environ.items() if k == "XAIUTILS_MODELS"},
    }

    def one(path: Path) -> Made:
        files = {"notebook": fingerprint.files(path), "reads": fingerprint.files(*reads[path])}
        key = fingerprint.of(about | files)
        stamp = out / ".made" / f"{path.stem}.json"
        kept = _kept(stamp, key, out)
        if kept is not None:
            return kept
        made = _execute(path, key, out)
        if made.error:
            tqdm.write(f"{path.name} failed: {made.error}")
        else:
            stamp.parent.mkdir(exist_ok=True)
            told = asdict(made)
            note = json.dumps({"made": told, "sha256": fingerprint.of(told, 64)}, indent=1)
            _write(stamp, note.encode())
        return made

    with ThreadPoolExecutor(workers) as pool:
        try:
            bar = tqdm(pool.map(one, reads), total=len(reads), unit="notebook")
            return dict(zip(reads, bar, strict=True))
        except KeyboardInterrupt:
            tqdm.write("stopping, minutes perhaps: notebooks that run are finished and kept")
            pool.shutdown(cancel_futures=True)
            raise


def _code(package: Path) -> str:
    """A hash of what a package does: its layout, comments and docstrings decide nothing."""
    found = []
    for path in sorted(package.rglob("*.py")):
        tree = ast.parse(path.read_bytes())
        for node in ast.walk(tree):
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
                node.value.value = None
        found.append(f"{path.relative_to(package)} {ast.dump(tree)}\n".encode())
    return fingerprint.digest(found)


def _kept(stamp: Path, key: str, out: Path) -> Made | None:
    """What was made by this key, if note and files are what was written; others are moved aside."""
    if not stamp.is_file():
        return None
    try:
        note = json.loads(stamp.read_text(encoding="utf-8"))
        made = Made(**note["made"])
        if fingerprint.of(note["made"], 64) != note["sha256"]:
            raise ValueError("its checksum differs")
        if any(Path(name).name != name for name in made.files):
            raise ValueError("it names files of other folders")
    except Exception as error:  # a changed byte can mean anything to JSON
        aside = set_aside(stamp)
        tqdm.write(f"{stamp} cannot be read: {error!r}; it was moved to {aside} and is made anew")
        return None
    if made.key != key or made.error:
        return None
    whole = True
    for name, told in made.files.items():
        path = out / name
        if path.is_file() and fingerprint.files(path) == told:
            continue
        whole = False
        if path.is_file():
            tqdm.write(f"{path} was changed; it was moved to {set_aside(path)} and is made anew")
    return made if whole else None


def _execute(path: Path, key: str, out: Path) -> Made:
    """Execute a notebook where it stands; its pictures and its executed copy go to ``out``."""
    import nbformat
    from jupyter_client.kernelspec import NoSuchKernel
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError

    started = time.perf_counter()
    notebook = nbformat.read(path, as_version=4)
    resources = {"metadata": {"path": str(path.parent)}}
    quiet = ["--IPKernelApp.log_level=40"]  # each kernel would warn of its own TCP connection
    client = NotebookClient(notebook, timeout=None, resources=resources, extra_arguments=quiet)
    try:
        asyncio.run(client.async_execute(env=dict(os.environ)))  # a thread has no loop of its own
    except CellExecutionError as error:
        return Made(key, error=f"{error.ename}: {error.evalue}".splitlines()[0])
    except (RuntimeError, NoSuchKernel) as error:  # no kernel, or it died, of its memory perhaps
        return Made(key, error=f"{type(error).__name__}: {error}")
    figures: list[str] = []
    tagged: dict[str, str] = {}
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            if "image/png" in output.get("data", {}):
                figures.append(f"{path.stem}_{len(figures) + 1}.png")
                _write(out / figures[-1], base64.b64decode(output["data"]["image/png"]))
                tagged |= dict.fromkeys(cell.metadata.get("tags", ()), figures[-1])
    _write(out / path.name, (nbformat.writes(notebook) + "\n").encode())
    files = {name: fingerprint.files(out / name) for name in (*figures, path.name)}
    return Made(key, figures, tagged, time.perf_counter() - started, files=files)


def _write(path: Path, content: bytes) -> None:
    write_whole(path, lambda stream: stream.write(content))
