"""The hybrid on VGG-16 at 224 x 224 against what it is made of and against the stock libraries.

    python -m benchmarks.hybrid            (or make bench; about twenty minutes on two cores)

Time: one process, the contestants interleaved, the median of the ratios of at least nine pairs
after two warm-ups. Memory: a fresh process for each, its peak resident size (VmHWM, reset before
the call) minus what was resident before the call.
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks.shared import captum_lrp, machine, resident
from xaiutils import hybrid
from xaiutils.network import classifier as models

COMPOSITES = (
    "epsilon",
    "epsilon_plus",
    "paper",
    "epsilon_alpha2_beta1",
    "epsilon_gamma_box",
)
Contestant = Callable[[torch.Tensor], object]
LAYER = 29  # VGG-16's last ReLU, where both Grad-CAM++ read their map


def contestants() -> dict[str, Contestant]:
    """One call of each, for a batch of images; the class explained is the predicted one."""
    classifier = models.load_model("vgg16", weights="random")
    network = classifier.module

    def forward_and_backward(x: torch.Tensor) -> object:
        x = x.detach().requires_grad_()
        return torch.autograd.grad(network(x).max(1).values.sum(), x)

    def ours(x: torch.Tensor) -> object:
        return hybrid.explain(classifier, x)

    def composite(name: str) -> Contestant:
        return lambda x: hybrid.relevance(classifier, x, composite=name)

    def stock(x: torch.Tensor) -> object:
        from pytorch_grad_cam import GradCAMPlusPlus
        from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

        targets = network(x).argmax(1).tolist()
        with GradCAMPlusPlus(network, [network.features[LAYER]]) as cam:
            cam(x, [ClassifierOutputTarget(target) for target in targets])
        return captum_lrp(network, x, torch.tensor(targets), zero_bias=False)

    def zennit(x: torch.Tensor) -> object:
        from zennit.attribution import Gradient
        from zennit.composites import EpsilonPlus

        with Gradient(model=network, composite=EpsilonPlus()) as attributor:
            return attributor(x, lambda out: torch.eye(1000)[out.argmax(1)] * out)

    return {
        "forward + backward": forward_and_backward,
        "hybrid": ours,
        "grad-cam + captum": stock,
        "zennit EpsilonPlus": zennit,
        **{name: composite(name) for name in COMPOSITES},
    }


def batch(size: int) -> torch.Tensor:
    """Noise of the size and spread of normalised images; time does not depend on the values."""
    return torch.randn(size, 3, 224, 224, generator=torch.Generator().manual_seed(0))


def seconds(call: Contestant, x: torch.Tensor) -> float:
    """Wall time of one call."""
    gc.collect()
    started = time.perf_counter()
    call(x)
    return time.perf_counter() - started


def race(names: tuple[str, str], size: int, pairs: int, warm_ups: int = 2) -> dict[str, float]:
    """Median over interleaved pairs of the first's time divided by the second's."""
    calls, x = contestants(), batch(size)
    rows = []
    for turn in range(warm_ups + pairs):
        times = {name: seconds(calls[name], x) for name in (names if turn % 2 else names[::-1])}
        rows.append([times[name] for name in names])
    rows = rows[warm_ups:]
    ratios = sorted(first / second for first, second in rows)
    return {
        "first": statistics.median(row[0] for row in rows),
        "second": statistics.median(row[1] for row in rows),
        "ratio": statistics.median(ratios),
        "low": ratios[0],
        "high": ratios[-1],
    }


def peak_memory(name: str, size: int) -> float:
    """Peak resident MiB that one call adds, in a fresh process."""
    command = [sys.executable, "-m", "benchmarks.hybrid", "--memory", name, str(size)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(json.loads(result.stdout.splitlines()[-1])["mib"])


def _measure_memory(name: str, size: int) -> None:
    calls, small, x = contestants(), batch(1)[:, :, :64, :64], batch(size)
    calls[name](small)  # load libraries and thread pools first
    gc.collect()
    before = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # resets the high-water mark
    calls[name](x)
    print(json.dumps({"mib": resident("VmHWM") - before}))


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--memory", nargs=2, metavar=("CONTESTANT", "BATCH"))
    options = parser.parse_args()
    warnings.filterwarnings("ignore", category=UserWarning, module="captum")
    if options.memory:
        _measure_memory(options.memory[0], int(options.memory[1]))
        return
    print(f"VGG-16, 224 x 224, {machine()}")
    print(
        "\n| ratio of times | batch | median | least | most | seconds |\n|---|---|---|---|---|---|"
    )
    for names, sizes in (
        (("hybrid", "forward + backward"), (1, 4, 8)),
        (("grad-cam + captum", "hybrid"), (1, 4)),
        (("zennit EpsilonPlus", "hybrid"), (1, 4)),
        *(((name, "forward + backward"), (2,)) for name in COMPOSITES),
    ):
        for size in sizes:
            r = race(names, size, options.pairs)
            print(
                f"| {names[0]} ÷ {names[1]} | {size} | {r['ratio']:.2f} | {r['low']:.2f} | "
                f"{r['high']:.2f} | {r['first']:.2f} ÷ {r['second']:.2f} |",
                flush=True,
            )
    print("\n| peak memory, MiB | " + " | ".join(f"batch {n}" for n in (1, 4, 8)) + " |")
    print("|---|---|---|---|")
    for name in contestants():
        cells = [f"{peak_memory(name, size):.0f}" for size in (1, 4, 8)]
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
