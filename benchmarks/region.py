"""What a walk restricted to the bounding figure could save at the most: SqueezeNet, photographs.

    XAIUTILS_IMAGENET=FOLDER XAIUTILS_MODEL=squeezenet1_0 python -m benchmarks.region

The hybrid needs relevance only at pixels where the bounding figure P is positive, so a walk could
leave out every output whose receptive field misses the box around P. For each picture and layer
this times what the paper's composite computes (the positive sum and its derivative by the input)
on all outputs and on those that the box needs. Cutting out and putting together is taken to cost
nothing, so that this bounds the gain from above; the forward pass must stay whole.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.shared import machine
from xaiutils import hybrid
from xaiutils.cases.workloads import load_workload

Box = tuple[int, int, int, int]  # first and last row, first and last column


def around(figure: Tensor) -> Box:
    """The box around what is positive."""
    rows, columns = ((figure > 0).any(dim).nonzero()[:, 0] for dim in (1, 0))
    return int(rows[0]), int(rows[-1]), int(columns[0]), int(columns[-1])


def outputs(layer: Any, box: Box, size: tuple[int, int]) -> Box:
    """The outputs of a convolution or pooling that see the box, of ``size`` in all."""
    found = []
    for axis in (0, 1):
        k, s, p = (v if isinstance(v, int) else v[axis] for v in _geometry(layer))
        first, last = box[2 * axis : 2 * axis + 2]
        found += [
            max(0, math.ceil((first + p - k + 1) / s)),
            max(0, min(size[axis] - 1, (last + p) // s)),
        ]
    return tuple(found)  # type: ignore[return-value]


def _geometry(layer: Any) -> tuple[Any, Any, Any]:
    return layer.kernel_size, layer.stride, layer.padding


def seconds(layer: nn.Conv2d, x: Tensor, size: tuple[int, int]) -> float:
    """Time of the positive sum of ``layer`` and its derivative, for an output of ``size``."""
    (kh, kw), (sh, sw) = layer.kernel_size, layer.stride
    shape = ((size[0] - 1) * sh + kh, (size[1] - 1) * sw + kw)
    x = torch.nn.functional.pad(x, (0, shape[1], 0, shape[0]))[..., : shape[0], : shape[1]]
    x = x.contiguous().requires_grad_()
    weight = layer.weight.detach().clamp(min=0)
    started = time.perf_counter()
    y = torch.nn.functional.conv2d(x, weight, None, layer.stride)
    torch.autograd.grad(y, x, y.detach())
    return time.perf_counter() - started


def timed(call: Callable[[], Any]) -> float:
    """Wall time of one call."""
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def main() -> None:
    """Print the share of the picture that the box covers, and the bound on the gain."""
    work = load_workload("imagenet")
    network = work.classifier.module
    layers = {
        name: layer
        for name, layer in network.named_modules()
        if isinstance(layer, nn.Conv2d | nn.MaxPool2d)
    }
    covered, walks, wholes = [], [], []
    for sample in work.samples:
        x = work.classifier.preprocess(sample.image)
        box = around(hybrid.bound(hybrid.grad_cam_plus_plus(work.classifier, x))[0])
        covered.append((box[1] - box[0] + 1) * (box[3] - box[2] + 1) / x[0, 0].numel())
        seen: dict[str, tuple[Tensor, tuple[int, int]]] = {}

        def keep(name: str, inputs: Any, output: Tensor, seen: dict[str, Any] = seen) -> None:
            seen[name] = inputs[0].detach().clone(), tuple(output.shape[-2:])

        hooks = [
            layer.register_forward_hook(lambda _, i, o, name=name: keep(name, i, o))
            for name, layer in layers.items()
        ]
        network(x)
        for hook in hooks:
            hook.remove()
        whole = part = 0.0
        for name, layer in layers.items():
            inputs, size = seen[name]
            needed = outputs(layer, box, size)
            if isinstance(layer, nn.Conv2d):
                cut = (needed[1] - needed[0] + 1, needed[3] - needed[2] + 1)
                whole += min(seconds(layer, inputs, size) for _ in range(3))
                part += min(seconds(layer, inputs, cut) for _ in range(3))
            if not name.endswith("expand1x1"):  # its twin of 3 x 3 sees more, and is joined to it
                box = needed
        with torch.no_grad():
            forward = min(timed(lambda x=x: network(x)) for _ in range(3))
        walks.append(whole / part)
        wholes.append((forward + whole) / (forward + part))
    print(f"SqueezeNet 1.0, {len(covered)} photographs, {machine()}")
    print("| at the most, of 1 picture | median | least | most |\n|---|---|---|---|")
    for what, values in (
        ("share of the picture in the box", covered),
        ("walk ÷ restricted walk", walks),
        ("forward and walk ÷ forward and restricted walk", wholes),
    ):
        print(
            f"| {what} | {statistics.median(values):.2f} | {min(values):.2f} | {max(values):.2f} |"
        )


if __name__ == "__main__":
    main()
