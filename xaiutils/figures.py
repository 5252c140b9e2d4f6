"""Every figure of the notebooks, and a table of scores, into one folder.

The notebooks are executed as they stand (on the workload asked for) and their pictures written to
files, so that the demo shows what a reader of the notebooks sees and nothing is drawn twice.
"""

from __future__ import annotations

import base64
import csv
import os
from collections.abc import Callable
from math import isnan
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from xaiutils import checks, metrics, results
from xaiutils.methods import METHODS
from xaiutils.workloads import Workload, load_workload

BATCH = 10
SCORED = (  # the hybrid, its factors, and what it has to beat
    *("grad_cam_plus_plus", "bounded_cam", "lrp_paper", "lrp_smoothed", "hybrid"),
    *("bounded_noise", "bounded_edges", "random_map", "centre_prior", "sobel_edges"),
)


def make_figures(
    out: Path,
    workload: str | None = None,
    notebooks: Path | None = None,
    images: int = 100,
    say: Callable[[str], None] = lambda line: None,
) -> None:
    """Execute the notebooks, save their figures, and score the stages beside the baselines.

    Args:
        out: Folder; gets ``NN_name_K.png`` for each notebook, ``scores.csv`` and ``scores.md``.
        workload: See `load_workload`.
        notebooks: Folder of numbered notebooks; by default that of this checkout.
        images: Number of images in the table, the first of the workload.
        say: Told, line by line, what there is.

    Raises:
        FileNotFoundError: There is no notebook in the folder.
    """
    folder = notebooks or Path(__file__).parents[1] / "notebooks"
    found = sorted(folder.glob("[0-9][0-9]_*.ipynb"))
    if not found:
        raise FileNotFoundError(f"notebooks must be a folder with numbered notebooks, got {folder}")
    checks.number("images", images, low=1)
    out.mkdir(parents=True, exist_ok=True)
    work = load_workload(workload, "calibration")  # nothing is read off the test split here
    if not results.folder(work).is_dir():
        needing = [path for path in found if "load_table(" in path.read_text(encoding="utf-8")]
        found = [path for path in found if path not in needing]
        for path in needing:
            say(f"left out {path.name}: it reads tables, which xaiutils evidence makes")
    count = sum(_execute(path, out, work.name) for path in tqdm(found, unit="notebook"))
    say(f"{count} figures from {len(found)} notebooks in {out}")
    if work.name == "photographs":
        say("no table: these photographs have no masks")
        return
    table = score(work, images)
    _write_csv(out / "scores.csv", table)
    lines = markdown(table, work)
    (out / "scores.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    for line in lines:
        say(line)
    say(f"Look at {out}: scores.md is the table above, 04_fusion_*.png the method in pictures.")
    say(f"Open the notebooks beside them: .venv/bin/jupyter lab {folder}")


def _execute(path: Path, out: Path, workload: str) -> int:
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook, timeout=600, resources={"metadata": {"path": str(path.parent)}}
    )
    client.execute(env={**os.environ, "XAIUTILS_WORKLOAD": workload})
    pictures = [
        output["data"]["image/png"]
        for cell in notebook.cells
        for output in cell.get("outputs", ())
        if "image/png" in output.get("data", {})
    ]
    for number, picture in enumerate(pictures, start=1):
        (out / f"{path.stem}_{number}.png").write_bytes(base64.b64decode(picture))
    return len(pictures)


def score(work: Workload, images: int) -> dict[str, dict[str, Tensor]]:
    """Rank accuracy, mass accuracy and Gini index of each of `SCORED`, (images,), by title.

    The class explained is the label where there is one, so that map and mask belong together.
    """
    scores: dict[str, dict[str, list[Tensor]]] = {}
    total = min(images, len(work.samples))
    for start in tqdm(range(0, total, BATCH), unit="batch"):
        chosen, x = work.batch(range(start, min(start + BATCH, total)))
        labels = [sample.label for sample in chosen]
        target = None if None in labels else torch.tensor(labels)
        masks = work.masks(chosen)
        for name in SCORED:
            method = METHODS[name]
            maps = method(work.classifier, x, target)
            mine = scores.setdefault(
                method.title, {"rank accuracy": [], "mass accuracy": [], "Gini": []}
            )
            mine["rank accuracy"].append(metrics.rank_accuracy(maps.cpu(), masks))
            mine["mass accuracy"].append(metrics.mass_accuracy(maps.cpu(), masks))
            mine["Gini"].append(metrics.gini(maps.cpu()))
        chance = masks.flatten(1).double().mean(1)
        mine = scores.setdefault("chance", {"rank accuracy": [], "mass accuracy": [], "Gini": []})
        mine["rank accuracy"].append(chance)
        mine["mass accuracy"].append(chance)
        mine["Gini"].append(torch.full_like(chance, torch.nan))
    return {name: {key: torch.cat(v) for key, v in rows.items()} for name, rows in scores.items()}


def _interval(values: Tensor) -> str:
    """Mean and bootstrap interval over images; what cannot be scored is left out and counted."""
    mean, low, high = metrics.mean_interval(values)
    missing = int((~values.isfinite()).sum())
    if isnan(mean):
        return "-"
    text = f"{mean:.3f}"
    if low < high:
        text += f" [{low:.3f}, {high:.3f}]"
    return text + (f" ({missing} not scored)" if missing else "")


def markdown(table: dict[str, dict[str, Tensor]], work: Workload) -> list[str]:
    """The table of mean scores with their bootstrap intervals, as lines of Markdown."""
    number = len(next(iter(table.values()))["Gini"])
    return [
        f"Workload {work.name}, {work.classifier.name}, {number} images; mean [95 % interval].",
        "",
        "| map | rank accuracy ↑ | mass accuracy ↑ | Gini |",
        "|---|---|---|---|",
        *(
            f"| {name} | " + " | ".join(_interval(values) for values in rows.values()) + " |"
            for name, rows in table.items()
        ),
    ]


def _write_csv(path: Path, table: dict[str, dict[str, Tensor]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["map", "metric", "image", "value"])
        for name, rows in table.items():
            for metric, values in rows.items():
                writer.writerows([name, metric, i, v] for i, v in enumerate(values.tolist()))
