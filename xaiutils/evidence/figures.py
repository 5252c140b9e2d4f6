"""Every figure and table of the paper on one workload, in one go that can be taken up again.

First the tables that the notebooks read, then the notebooks as they stand: their pictures become
files, so that nothing is drawn twice. Scores are kept picture by picture, notebooks one by one.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from math import isnan
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from tqdm import tqdm

from xaiutils.cases.workloads import PLACED, Workload, load_workload, with_objects
from xaiutils.evidence import fingerprint, markdown, results
from xaiutils.evidence.experiments import CALIBRATION, TABLE_ONE
from xaiutils.evidence.tables import make_all
from xaiutils.methods import METHODS
from xaiutils.metrics import METRICS
from xaiutils.metrics.score_table import summarise
from xaiutils.support.borrowed import environment_kept
from xaiutils.support.checks import whole
from xaiutils.support.files import PACKAGE, alone, shipped, sweep, write_whole

IMAGES = 100  # in each table, the first ones that are classified rightly
PAPER: Mapping[str, str] = {  # the tag of a notebook's cell, and what the paper calls its figure
    "fig-1": "Fig. 1, the pipeline",
    "fig-2": "Fig. 2, the stages",
    "fig-3": "Fig. 3, other methods inside the bounding figure",
    "fig-4": "Fig. 4, a gallery",
    "fig-5": "Fig. 5, a second gallery",
    "fig-6": "Fig. 6, infidelity",
    "fig-7": "Fig. 7, Table I as a radar",
}
TABLES: Mapping[str, tuple[str, ...]] = {  # of those that need objects: what a notebook reads
    "06": (),
    "10": ("infidelity",),
    "11": ("table_one", "faithfulness", "localisation", "randomisation"),
    "12": ("table_one", "forensics"),
    "13": ("ablation", "agreement", "combinations", "localisation"),
}
BEYOND = ("12", "13")  # their tables are not the paper's and cost at least as much again
SCORES = (*TABLE_ONE, "relevance_mass")


Say = Callable[[str], None]


class Made(NamedTuple):
    """What a notebook gave: files of figures, in its order and by its cells' tags."""

    figures: list[str]
    tagged: dict[str, str]
    seconds: float = 0.0
    error: str = ""  # why there is nothing


def make_figures(
    out: Path,
    workload: str | None = None,
    *,
    model: str | None = None,
    weights: str | None = None,
    root: str | None = None,
    notebooks: Path | None = None,
    images: int | None = None,
    workers: int = 1,
    everything: bool = False,
    say: Say = lambda line: None,
) -> None:
    """Make the tables, execute the notebooks, save their figures, and write an index of it all.

    On scenes the tables are the stored ones; elsewhere they are made, into ``out/tables``. Where
    only some pictures have boxes or masks, only these are used.

    Args:
        out: Folder; gets ``README.md`` (the index), ``NN_name_K.png`` and the executed
            ``NN_name.ipynb`` of each notebook, ``table_1.md``, ``table_1.csv`` and ``tables``.
        workload, model, weights, root: See `load_workload`.
        notebooks: Folder of numbered notebooks; by default those of the package.
        images: In each table that is made, by default `IMAGES`; fewer where there are no more.
        workers: Processes for tables, and notebooks that are executed at a time.
        everything: Also the notebooks `BEYOND` the paper, which need further tables.
        say: Told, line by line, what there is.

    Raises:
        FileNotFoundError: There is no notebook in the folder.
        FileExistsError: ``out`` holds something else, whose README.md would be lost.
        ValueError: ``images`` with scenes, whose tables are shipped.
        ChildProcessError: A notebook failed; the others and the index are there.
        Busy: Another run has the folder.
    """
    folder = notebooks or shipped("notebooks")
    found = sorted(folder.glob("[0-9][0-9]_*.ipynb"))
    if not found:
        raise FileNotFoundError(f"notebooks must be a folder with numbered notebooks, got {folder}")
    whole("workers", workers)
    if images is not None:
        whole("images", images)
    if (out / "README.md").exists() and not (out / ".made").is_dir():
        raise FileExistsError(f"out must be new or of earlier figures, {out} has a README.md")
    (out / ".made").mkdir(parents=True, exist_ok=True)
    tables, note = out / "tables", ""
    if weights and Path(weights).is_file():  # notebooks are executed in another folder
        weights = str(Path(weights).resolve())
    asked = {
        "XAIUTILS_WORKLOAD": workload,
        "XAIUTILS_MODEL": model,
        "XAIUTILS_WEIGHTS": weights,
        "XAIUTILS_IMAGENET": root and str(Path(root).resolve()),
    }
    kept = environment_kept(*asked, PLACED, "XAIUTILS_RESULTS")
    with alone(out, (1, 1)), kept:
        os.environ.update({key: value for key, value in asked.items() if value is not None})
        work = load_workload(workload, CALIBRATION)  # nothing is read off the test split here
        if work.name not in ("photographs", "imagenet") and (model or weights or root):
            raise ValueError(f"model, weights and root must be left out on {work.name}")
        for place in (out, out / ".made", tables, *tables.glob("*")):
            sweep(place)
        own = results.base() / "scenes"  # which notebooks show beside those of other pictures
        own = own if own.is_dir() else shipped("results") / "scenes"
        shutil.copytree(own, tables / "scenes", dirs_exist_ok=True)
        if work.generated:
            if images is not None:
                raise ValueError(f"images must be left out on scenes, got {images}: see evidence")
        else:
            known = with_objects(work)
            if 0 < len(known.samples) < len(work.samples):
                os.environ[PLACED] = "1"  # in every process and kernel
                note = f"{len(known.samples)} of {len(work.samples)} pictures have boxes or masks"
                note += ": only these are used"
                say(note)
                work = known
            found = [
                one for one in found if _can(one, work, len(known.samples) > 0, everything, say)
            ]
            needed = tuple(dict.fromkeys(name for path in found for name in _names(path)))
            if needed:
                more: dict[str, Any] = {"workers": workers, "out": tables, "say": say}
                make_all(needed, workload, images=images or IMAGES, parts=tables / "parts", **more)
        table = _write_table_one(out, work, tables, say)
        os.environ["XAIUTILS_RESULTS"] = str(tables.resolve())
        made = _execute_all(found, work, results.folder(work, tables), out, workers)
        _write_index(out, work, note, table, made, say)
    failed = [f"{path.name}: {made[path].error}" for path in found if made[path].error]
    if failed:
        raise ChildProcessError("\n".join([f"{len(failed)} notebooks failed", *failed]))


def _execute_all(
    books: Iterable[Path], work: Workload, tables: Path, out: Path, workers: int
) -> dict[Path, Made]:
    """Execute what has not been executed with this network, these pictures, tables and code."""
    about = {
        "workload": [work.name, len(work.samples), work.samples[0].id],
        "weights": fingerprint.weights(work.classifier),
        "network": fingerprint.network(work.classifier),
        "code": fingerprint.files(*sorted(PACKAGE.rglob("*.py"))),
        "versions": fingerprint.versions(),
        "models": os.environ.get("XAIUTILS_MODELS"),
    }

    def one(path: Path) -> Made:
        reads = [tables / f"{name}.parquet" for name in _names(path)]
        key = fingerprint.of(about | {"reads": fingerprint.files(path, *reads)})
        stamp = out / ".made" / f"{path.stem}.json"
        made = _kept(stamp, key, out)
        if made is None:
            made = _execute(path, out)
            if made.error:
                tqdm.write(f"{path.name} failed: {made.error}")
            else:
                _write(stamp, json.dumps(made._asdict() | {"key": key}).encode())
        return made

    with ThreadPoolExecutor(workers) as pool:
        try:
            bar = tqdm(pool.map(one, books), total=len(list(books)), unit="notebook")
            return dict(zip(books, bar, strict=True))
        except KeyboardInterrupt:
            tqdm.write("stopping, minutes perhaps: notebooks that run are finished and kept")
            pool.shutdown(cancel_futures=True)
            raise


def _kept(stamp: Path, key: str, out: Path) -> Made | None:
    """What was made by this key, if its files are there."""
    try:
        note = json.loads(stamp.read_text("utf-8"))
        same = note.pop("key") == key
        made = Made(**note)
        there = all((out / name).is_file() for name in (*made.figures, f"{stamp.stem}.ipynb"))
    except Exception:  # none, or one of an earlier version
        return None
    return made if same and there else None


def _execute(path: Path, out: Path) -> Made:
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
    made = Made([], {})
    try:
        asyncio.run(client.async_execute(env=dict(os.environ)))  # a thread has no loop of its own
    except CellExecutionError as error:
        return made._replace(error=f"{error.ename}: {error.evalue}".splitlines()[0])
    except (RuntimeError, NoSuchKernel) as error:  # no kernel, or it died, of its memory perhaps
        return made._replace(error=f"{type(error).__name__}: {error}")
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            if "image/png" in output.get("data", {}):
                made.figures.append(f"{path.stem}_{len(made.figures) + 1}.png")
                _write(out / made.figures[-1], base64.b64decode(output["data"]["image/png"]))
                made.tagged.update(dict.fromkeys(cell.metadata.get("tags", ()), made.figures[-1]))
    _write(out / path.name, (nbformat.writes(notebook) + "\n").encode())
    return made._replace(seconds=time.perf_counter() - started)


def _write(path: Path, content: bytes) -> None:
    write_whole(path, lambda stream: stream.write(content))


def _can(path: Path, work: Workload, known: bool, everything: bool, say: Say) -> bool:
    """Whether a notebook can be executed; ``known``: there are pictures whose object is."""
    reason = ""
    if path.name[:2] in TABLES and not known:
        reason = f"{work.name} has no boxes or masks to score by"
    elif path.name[:2] in BEYOND and not everything:
        reason = "ask for it by --all, its tables cost most"
    if reason:
        say(f"left out {path.name}: {reason}")
    return not reason


def _names(path: Path) -> tuple[str, ...]:
    return TABLES.get(path.name[:2], ())


def table_one(work: Workload, tables: Path) -> pd.DataFrame:
    """The paper's Table I and the mass on the object, as `summarise` gives them."""
    names = ("table_one", "localisation")
    rows = pd.concat([results.load_table(name, work, tables) for name in names], ignore_index=True)
    return summarise(rows[rows["metric"].isin(SCORES)])


def lines_of(summary: pd.DataFrame) -> list[str]:
    """Means with their 95 % intervals over pictures; over several networks their range instead."""
    rows = []
    for method, own in summary.groupby("method", sort=False):
        cells = own.groupby("metric").apply(_cell, include_groups=False)
        title = METHODS[method].title if method in METHODS else method
        rows.append([title, *(cells.get(name, "") for name in SCORES)])
    heads = (f"{METRICS[name].title} {METRICS[name].arrow}" for name in SCORES)
    return markdown.table(("map", *heads), rows)


def _cell(rows: pd.DataFrame) -> str:
    if len(rows) > 1:
        return f"{rows['mean'].min():.3f} to {rows['mean'].max():.3f}"
    mean, low, high = rows[["mean", "low", "high"]].iloc[0]
    if isnan(mean):
        return "-"
    return f"{mean:.3f}" + (f" [{low:.3f}, {high:.3f}]" if low < high else "")


def _write_table_one(out: Path, work: Workload, tables: Path, say: Say) -> list[str]:
    """Table I as files, before the notebooks, which take longer; its lines, none without tables."""
    if not (results.folder(work, tables) / "table_one.parquet").is_file():
        return []
    summary = table_one(work, tables)
    write_whole(out / "table_1.csv", lambda stream: summary.to_csv(stream, index=False))
    lines = [
        f"Table I and the mass on the object, {int(summary['n'].max())} pictures: mean, BCa 95 % "
        "interval over pictures; over several networks the range of their means.",
        "",
        *lines_of(summary),
    ]
    markdown.write(out / "table_1.md", lines)
    say("\n".join(lines))
    return lines


def _write_index(
    out: Path,
    work: Workload,
    note: str,
    table: list[str],
    made: dict[Path, Made],
    say: Say,
) -> None:
    tagged = {tag: (path, name) for path, one in made.items() for tag, name in one.tagged.items()}
    paper = [
        (title, f"[{tagged[tag][1]}]({tagged[tag][1]})", tagged[tag][0].stem)
        for tag, title in PAPER.items()
        if tag in tagged
    ]
    if table:
        paper.append(("Table I", "[table_1.md](table_1.md), [.csv](table_1.csv)", "11_metrics"))
    books = []
    for path, one in made.items():
        names = " ".join(f"[{i}]({name})" for i, name in enumerate(one.figures, start=1))
        books.append((path.stem, one.error or names, f"{one.seconds:.0f}"))
    lines = [
        f"# {work.name}, {work.classifier.name}",
        "",
        f"Weights: {work.classifier.weights}. {len(work.samples)} pictures. xaiutils "
        f"{fingerprint.versions()['xaiutils']}, torch {fingerprint.versions()['torch']}.",
        *(["", f"{note}."] if note else []),
        "",
        "The texts and summaries in the notebooks speak of the generated scenes; on other pictures "
        "read the printed numbers and the figures. Sections on scenes stay on scenes.",
        "",
        *markdown.table(("in the paper", "file", "notebook"), paper),
        *(["", *table] if table else []),
        "",
        *markdown.table(("notebook", "figures", "seconds"), books),
    ]
    markdown.write(out / "README.md", lines)
    figures = sum(len(one.figures) for one in made.values())
    say(f"{figures} figures from {len(made)} notebooks in {out}; {out / 'README.md'} is the index")
