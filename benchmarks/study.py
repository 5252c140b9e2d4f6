"""What the study layer costs, how it scales, and whether its memory stays flat.

    python -m benchmarks.study             (or make bench; some minutes on two cores)

Time: wall seconds on the generated scenes, the smallest of several turns, the sides taking turns.
*Overhead* is a serial study against a bare loop of `load_cases` and `score` over the same pictures,
methods and metrics with the same thread. *Throughput* is pictures per second
with one thread, with two, and of two workers of one thread, over the whole run and once warm:
starting a worker takes some seconds that a long run does not notice. *Memory* is
the peak of a process of its own for each number of pictures.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from benchmarks.shared import resident
from xaiutils import load_cases, score
from xaiutils.cases.workloads import load_workload
from xaiutils.evidence.study import create_study, read_log, run_study

METHODS = [
    *("hybrid", "lrp_paper", "grad_cam_plus_plus", "grad_cam", "bounded_noise"),
    *("lrp_smoothed", "random_map", "centre_prior"),
]
METRICS = ["sparseness", "relevance_rank_accuracy", "relevance_mass", "srg"]
CHEAP = {"methods": ["hybrid", "random_map"], "metrics": ["sparseness", "relevance_mass"]}


def bare(count: int) -> float:
    """Seconds of a loop that keeps nothing."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    started = time.perf_counter()
    work = load_workload("scenes", "test")
    for start in range(0, count, 8):
        score(load_cases(work, range(start, min(start + 8, count))), METHODS, METRICS)
    torch.set_num_threads(threads)
    return time.perf_counter() - started


def study(folder: Path, count: int, **more: int) -> tuple[float, float]:
    """Seconds of a run, and of a picture once a process is warm (the median of its log)."""
    workers = more.pop("workers", 1)
    opened = create_study(folder, methods=METHODS, metrics=METRICS, images=count, part=4, **more)
    started = time.perf_counter()
    run_study(opened, workers=workers)
    whole = time.perf_counter() - started
    return whole, float(read_log(opened).groupby("image_id")["seconds"].sum().median())


def memory(count: int) -> float:
    """Peak MiB of a serial study in a process of its own."""
    code = f"from benchmarks.study import peak; print(peak({count}))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(found.stdout.split()[-1])


def peak(count: int) -> float:
    """Peak MiB of this process after a study of the scenes of the split train."""
    with tempfile.TemporaryDirectory() as folder:
        opened = create_study(Path(folder) / "s", **CHEAP, split="train", images=count)
        run_study(opened)
    # getrusage's peak is inherited from the process that started this one; the kernel's is not.
    return resident("VmHWM")


def main() -> None:
    """Print all of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=32)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--memory", type=int, nargs="*", default=[100, 1000, 5000])
    options = parser.parse_args()
    count = options.images
    print(f"{count} scenes, {len(METHODS)} methods, {len(METRICS)} metrics")
    bare(8)
    kinds = {"one thread": {}, "two threads": {"threads": 2}, "two workers": {"workers": 2}}
    sides: dict[str, list[float]] = {"bare loop": [], **{name: [] for name in kinds}}
    warm: dict[str, list[float]] = {name: [] for name in kinds}
    with tempfile.TemporaryDirectory() as home:
        for turn in range(options.turns):
            sides["bare loop"].append(bare(count))
            for name, more in kinds.items():
                whole, each = study(Path(home) / f"{name} {turn}", count, **more)
                sides[name].append(whole)
                warm[name].append(more.get("workers", 1) / each)
    for name, seconds in sides.items():
        text = ", ".join(f"{value:.2f}" for value in seconds)
        rate = f"; warm {max(warm[name]):.2f}" if name in warm else ""
        print(f"{name:12} {text} s; {count / min(seconds):.2f} pictures/s{rate}")
    both = zip(sides["bare loop"], sides["one thread"], strict=True)
    print(f"overhead of the study in each turn: {', '.join(f'{b / a - 1:+.1%}' for a, b in both)}")
    one = max(warm["one thread"])
    ratios = ", ".join(f"{name} {max(warm[name]) / one:.2f}" for name in kinds)
    print(f"pictures/s once warm, against one thread: {ratios}")
    for number in options.memory:
        print(f"{number} scenes: peak {memory(number):.0f} MiB")


if __name__ == "__main__":
    main()
