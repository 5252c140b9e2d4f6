"""DeepLIFT and DeepLIFT SHAP: captum's rescale rule, on a twin that it reads rightly.

captum 0.9.0 takes a module without a rule for linear: such networks are refused. Its rule for max
pooling keeps one of the windows that a pixel wins: windows are laid side by side first. In a batch
it fills in the first image's gradient where an input equals its reference: each pair goes alone.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xaiutils.methods.arguments import (
    BASELINE,
    COLOURS,
    Answer,
    Baseline,
    leaf,
    reference,
    references,
)
from xaiutils.methods.guided import hooking
from xaiutils.methods.record import SIGNED, Table
from xaiutils.network.classifier import Classifier
from xaiutils.network.hookable import Twin
from xaiutils.network.kinds import AVERAGE, CONSTANT, PASS, PRODUCT, ROUTING, SUM, WEIGHTED
from xaiutils.network.step import Step
from xaiutils.network.targets import Question

# Modules with a rule of captum's that sums to the difference (for softmax it does not).
RULES = (nn.ReLU, nn.ELU, nn.LeakyReLU, nn.Sigmoid, nn.Tanh, nn.Softplus, nn.MaxPool2d)
LINEAR_KINDS = (*WEIGHTED, AVERAGE, ROUTING, PASS, SUM, CONSTANT)


def without_rule(classifier: Classifier) -> str | None:
    """Why DeepLIFT would be wrong on this network, or None: operations that it has no rule for."""
    graph = classifier.graph
    parts = Twin(graph).parts
    used = [*graph.before(graph.output), graph.output]
    found = [s for s in used if s is not graph.input and not _has_rule(s, parts)]
    if not found:
        return None
    named = "; ".join(str(step) for step in found[:3])
    more = f" and {len(found) - 3} more" if len(found) > 3 else ""
    return (
        f"DeepLIFT has no rule for {named}{more}, and captum would take them for linear; "
        "integrated_gradients and gradient_shap need no rules"
    )


def _has_rule(step: Step, parts: nn.ModuleDict) -> bool:
    if step.key in parts and type(parts[step.key]) in RULES:
        return True
    if step.kind == PRODUCT:  # linear where only one factor is of the picture, and only once
        return len(step.varying) == 1 and step.read.count(step.varying[0]) == 1
    return step.kind in LINEAR_KINDS and "max" not in step.operation.lower()


TABLE = Table(family="gradient", sign=SIGNED, refuses=without_rule)


@TABLE(
    "DeepLIFT",
    "Shrikumar et al. 2017, section 3.5.2 (rescale rule)",
    passes="2 * (F + B)",
    alone=True,
    settings={"baseline": BASELINE},
)
def deep_lift(classifier: Classifier, x: Tensor, target: Question, *, baseline: Baseline) -> Tensor:
    r"""DeepLIFT of an image, as a gradient (Ancona 2018): (1, H, W), signed.

    The gradient in which each nonlinearity's derivative is replaced by
    :math:`\Delta y / \Delta x`, the differences from the reference, times :math:`x - x_0`, the mean
    over the channels. Summed over pixels and channels it is :math:`f_c(x) - f_c(x_0)`.
    """
    return _contributions(classifier, x, reference(baseline, x), target)


@TABLE(
    "DeepLIFT SHAP",
    "Lundberg and Lee 2017, section 4.2",
    passes="2 * n_baselines * (F + B)",
    stochastic=True,
    needs=("baselines",),
    settings=COLOURS,
)
def deep_lift_shap(
    classifier: Classifier, x: Tensor, target: Question, *, seed: int, **colours: Any
) -> Tensor:
    r"""The mean of DeepLIFT of an image over several `references`: (1, H, W), signed.

    Summed over pixels and channels it is :math:`f_c(x)` less the mean of :math:`f_c` over them.
    """
    return _contributions(classifier, x, references(classifier, x, seed, **colours), target)


def _contributions(classifier: Classifier, x: Tensor, starts: Tensor, target: Question) -> Tensor:
    """The mean over the references of DeepLIFT's map of an image, (1, H, W)."""
    from captum.attr import DeepLift

    twin = Twin(classifier.graph_for(x))
    for name, part in twin.parts.items():
        if type(part) is nn.MaxPool2d:
            twin.parts[name] = nn.Sequential(SideBySide(part), nn.MaxPool2d(part.kernel_size))
    method = DeepLift(Answer(twin, target))
    total = torch.zeros_like(x)
    with hooking():
        for x0 in starts:
            total += method.attribute(leaf(x), x0[None]).detach() / len(starts)
    return total.mean(1)


class SideBySide(nn.Module):
    """Lays the windows of a max pooling side by side, so that none overlaps another.

    A place beyond the border shows the window's first place inside it, which changes no maximum.
    """

    def __init__(self, pool: nn.MaxPool2d) -> None:
        super().__init__()
        self.pooling = (pool.kernel_size, pool.stride, pool.padding, pool.dilation)
        self.ceil_mode = pool.ceil_mode

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C, windows down times their height, windows across times width)."""
        shape = torch.empty_like(x, device="meta")
        counts = F.max_pool2d(shape, *self.pooling, ceil_mode=self.ceil_mode).shape[-2:]
        pairs = (value if isinstance(value, tuple) else (value,) * 2 for value in self.pooling)
        settings = zip(*pairs, strict=True)
        rows, columns = (
            _places(count, side, *each).to(x.device)
            for count, side, each in zip(counts, x.shape[-2:], settings, strict=True)
        )
        return x[..., rows[:, None], columns]


def _places(count: int, side: int, kernel: int, stride: int, padding: int, dilation: int) -> Tensor:
    """The index that each place of ``count`` windows reads, along one side: (count * kernel,)."""
    at = torch.arange(count)[:, None] * stride - padding + torch.arange(kernel) * dilation
    inside = (at >= 0) & (at < side)
    first = at.gather(1, inside.int().argmax(1, keepdim=True))
    return at.where(inside, first).flatten()
