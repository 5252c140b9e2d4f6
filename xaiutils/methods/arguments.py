"""What several methods share: the reference image, a set of them, and the network's answer."""

from __future__ import annotations

from functools import wraps
from typing import Any

import torch
from torch import Tensor, nn

from xaiutils.methods.record import Function, Setting
from xaiutils.network.classifier import Classifier
from xaiutils.network.targets import Question, answer
from xaiutils.support import chance, checks

Baseline = float | Tensor

BASELINE = Setting(0.0, "the mean colour of the training: it shows no object")
COLOURS = {
    "baselines": Setting(None, "solid colours by chance: the call has no training pictures"),
    "n_baselines": Setting(8, "a few colours, so that no single one decides what counts as absent"),
}


class Answer(nn.Module):
    """A network's twin that answers a question: images (n, C, H, W) to (n,)."""

    def __init__(self, twin: nn.Module, question: Question) -> None:
        super().__init__()
        self.twin, self.question = twin, question
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        """The answer to each image."""
        return answer(self.twin(x), self.question)


def by_answer(function: Function) -> Function:
    """The function of a record of ``function(asked, x, **settings)``, which asks the network."""

    @wraps(function)
    def explain(classifier: Classifier, x: Tensor, target: Question, **settings: Any) -> Tensor:
        return function(Answer(classifier.hookable(x), target), x, **settings)

    return explain


def leaf(x: Tensor) -> Tensor:
    """A copy of the images that can be differentiated by; captum would mark the caller's own."""
    return x.detach().clone().requires_grad_()


def reference(baseline: Baseline, x: Tensor) -> Tensor:
    """The image that shows nothing, one for each of ``x``: (N, C, H, W).

    ``baseline`` is in the network's own units, where 0 is the mean colour of its training: a
    number, or a tensor (C,), (C, H, W) or (1, C, H, W); H and W may both be 1, so that
    ``classifier.bounds(x)[0]`` is black.
    """
    if not isinstance(baseline, Tensor):
        return torch.full_like(x, checks.number("baseline", baseline))
    checks.dense("baseline", baseline, "(C, H, W)", floating=True)
    channels, *size = x.shape[1:]
    one = baseline[0] if baseline.ndim == x.ndim and len(baseline) == 1 else baseline
    flat = [1] * len(size)  # of a solid colour
    one = one.view(-1, *flat) if one.ndim == 1 else one
    if list(one.shape) not in ([channels, *size], [channels, *flat]):
        raise ValueError(
            f"baseline must be a number or ({channels},), {tuple(x.shape[1:])} or "
            f"{(1, *x.shape[1:])} as one image, got {checks.shape(baseline)}"
        )
    return checks.finite("baseline", one).detach().to(x).expand_as(x)


def references(
    classifier: Classifier, x: Tensor, seed: int, *, baselines: Tensor | None, n_baselines: int
) -> Tensor:
    """Images that show nothing, (n, C, H, W): those given, or ``n_baselines`` solid colours.

    Each colour is uniform between the darkest and the brightest that a picture can hold.
    """
    if baselines is None:
        low, high = classifier.bounds(x)
        shape = (checks.whole("n_baselines", n_baselines), x.shape[1], *[1] * (x.ndim - 2))
        drawn = torch.rand(shape, generator=chance.torchs(seed), device="cpu").to(x)
        return (low + drawn * (high - low)).expand(-1, -1, *x.shape[2:])
    checks.dense("baselines", baselines, "(n, C, H, W)", floating=True)
    if baselines.ndim != x.ndim or len(baselines) == 0 or baselines.shape[1:] != x.shape[1:]:
        raise ValueError(
            f"baselines must be (n, {', '.join(map(str, x.shape[1:]))}) with n >= 1, "
            f"got {checks.shape(baselines)}"
        )
    return checks.finite("baselines", baselines).detach().to(x)
