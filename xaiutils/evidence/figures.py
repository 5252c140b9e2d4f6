"""Every figure and table of the paper on one workload, in one go that can be taken up again.

First the tables that the notebooks read, then the notebooks as they stand: their pictures become
files, so that nothing is drawn twice. What is there already is not made again: scores are kept
picture by picture, notebooks one by one.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from math import isnan
from pathlib import Path
from typing import Any

import pandas as pd

from xaiutils.cases.workloads import PLACED, Workload, load_workload, with_objects
from xaiutils.evidence import fingerprint, markdown, results
from xaiutils.evidence.experiments import CALIBRATION, TABLE_ONE
from xaiutils.evidence.notebooks import Made, make_notebooks
from xaiutils.evidence.tables import make_all
from xaiutils.methods import METHODS
from xaiutils.metrics import METRICS
from xaiutils.metrics.score_table import summarise
from xaiutils.support.checks import whole
from xaiutils.support.files import alone, shipped, sweep, write_whole

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
    say: Callable[[str], None] = lambda line: None,
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
    out.mkdir(parents=True, exist_ok=True)
    note = ""
    with alone(out, (1, 1)), _set(_asked(workload, model, weights, root)), ExitStack() as held:
        work = load_workload(workload, CALIBRATION)  # nothing is read off the test split here
        if work.name not in ("photographs", "imagenet") and (model or weights or root):
            raise ValueError(f"model, weights and root must be left out on {work.name}")
        tables = out / "tables"
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
                held.enter_context(_set({PLACED: "1"}))  # in every process and kernel
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
        home = results.folder(work, tables)
        table = _write_table_one(out, work, tables, say)
        with _set({"XAIUTILS_RESULTS": str(tables.resolve())}):
            reads = {path: [home / f"{name}.parquet" for name in _names(path)] for path in found}
            made = make_notebooks(reads, work, out, workers)
        _write_index(out, work, note, table, made, say)
    failed = [f"{path.name}: {made[path].error}" for path in found if made[path].error]
    if failed:
        raise ChildProcessError("\n".join([f"{len(failed)} notebooks failed", *failed]))


def _asked(
    workload: str | None, model: str | None, weights: str | None, root: str | None
) -> dict[str, str]:
    """The environment as the notebooks read it, from any working folder."""
    if weights and Path(weights).is_file():
        weights = str(Path(weights).resolve())
    asked = {
        "XAIUTILS_WORKLOAD": workload,
        "XAIUTILS_MODEL": model,
        "XAIUTILS_WEIGHTS": weights,
        "XAIUTILS_IMAGENET": root and str(Path(root).resolve()),
    }
    return {key: value for key, value in asked.items() if value is not None}


@contextmanager
def _set(values: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        for key in values:
            os.environ.pop(key)
        os.environ.update({key: before[key] for key in values if key in before})


def _can(
    path: Path, work: Workload, known: bool, everything: bool, say: Callable[[str], None]
) -> bool:
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


def _write_table_one(
    out: Path, work: Workload, tables: Path, say: Callable[[str], None]
) -> list[str]:
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
    say: Callable[[str], None],
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
