"""What the study layer costs, how it scales, and whether its memory stays flat.

    python -m benchmarks.study             (or make bench; some minutes on two cores)

Time: wall seconds on the generated scenes, the smallest of several turns, the sides taking turns.
*Overhead* is a serial study against a bare loop of `load_cases` and `score` over the same pictures,
methods and metrics with the same thread. *Throughput* is pictures per second of one run with
one thread, with two, and of two workers of one thread, whose start is counted apart. *Memory* is
the peak of a process of its own for each number of pictures.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from xaiutils import load_cases, score
from xaiutils.study import create_study, read_log, run_study
from xaiutils.workloads import load_workload

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
    """Seconds of a run; and from the first score to the last, as the log has it."""
    workers = more.pop("workers", 1)
    part = 4 if workers > 1 else 8
    opened = create_study(folder, methods=METHODS, metrics=METRICS, images=count, part=part, **more)
    started = time.perf_counter()
    run_study(opened, workers=workers)
    whole = time.perf_counter() - started
    log = read_log(opened)
    busy = log.groupby("process")["seconds"].sum().max()
    return whole, float(busy)


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
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


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
    sides: dict[str, list[float]] = {"bare": [], "one thread": [], "two threads": []}
    with tempfile.TemporaryDirectory() as home:
        for turn in range(options.turns):
            sides["bare"].append(bare(count))
            sides["one thread"].append(study(Path(home) / f"a{turn}", count)[0])
            sides["two threads"].append(study(Path(home) / f"b{turn}", count, threads=2)[0])
        least = {name: min(seconds) for name, seconds in sides.items()}
        for name, seconds in sides.items():
            text = ", ".join(f"{value:.2f}" for value in seconds)
            print(f"{name:12} {text} s; {count / least[name]:.2f} pictures/s")
        ratios = [b / a for a, b in zip(sides["bare"], sides["one thread"], strict=True)]
        print(f"overhead of the study in each turn: {', '.join(f'{r - 1:+.1%}' for r in ratios)}")
        whole, busy = study(Path(home) / "c", count, workers=2)
        print(
            f"two workers of one thread: {whole:.2f} s with their start, {busy:.2f} s of scoring; "
            f"{count / busy:.2f} pictures/s, {least['one thread'] / busy:.2f} x one thread"
        )
    for number in options.memory:
        print(f"{number} scenes: peak {memory(number):.0f} MiB")


if __name__ == "__main__":
    main()
