r"""Pixel flipping: replace pixels in the map's order, and watch the network's answer.

With the K logits f and the explained class c, the answer is the centred logit

.. math:: g(x) = f_c(x) - \frac{1}{K} \sum_k f_k(x)

or the softmax probability. Where the outputs do not exclude each other g is the output itself, and
the probability its sigmoid; a value such as an age and a score stand for themselves.

:math:`x_j` is the picture with the :math:`k_j = \mathrm{round}(jN/S)` first of N pixels replaced in
all channels, j = 0..S, and the area under the curve is the trapezoid rule over the share of pixels
that are replaced, :math:`k_j / N`.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from xaiutils.cases.case import Case
from xaiutils.hybrid import smooth
from xaiutils.methods.record import Setting
from xaiutils.metrics.record import BATCH, Explainer, Metric, always, picture_seed, require_order
from xaiutils.network.targets import Scores
from xaiutils.support import checks

STREAM = "pixel flipping"
KINDS = ("morf", "lerf", "insertion")
OUTPUTS = ("centred", "softmax")
BASES = ("mean", "blur", "black")
BLUR_SHARE = 1 / 20  # of the height: nothing of an object's outline is left


class Curve(NamedTuple):
    """The network's answer along the way, and the share of pixels that are replaced: (S + 1,)."""

    fractions: NDArray[np.float64]
    values: NDArray[np.float64]

    @property
    def area(self) -> float:
        """The area under the curve, by the trapezoid rule; the mean answer along the way."""
        return float(np.trapezoid(self.values, self.fractions))


def order(attribution: Tensor, seed: int) -> NDArray[np.intp]:
    """The pixels of a map (H, W) from the highest to the lowest, as flat indices (H * W,).

    Equal values stand in an order of chance, that zeros are not flipped row by row.
    """
    values = attribution.detach().cpu().double().numpy().ravel()
    chance = np.random.default_rng(seed).permutation(len(values))
    return np.lexsort((chance, -values))


def outputs(case: Case, pictures: Tensor, output: str = "centred") -> NDArray[np.float64]:
    """The network's answer g to each picture (N, C, H, W), (N,), asked in batches of `BATCH`.

    ``output`` is ``"centred"`` or ``"softmax"``; a score is asked as it is, whatever it says.
    """
    checks.choice("output", output, OUTPUTS)
    network = case.classifier
    scale = network.probabilities if output == "softmax" else network.centred
    found = []
    for some in pictures.split(BATCH):
        logits = network.predict(some).double().cpu()
        found.append(case.answer(logits if isinstance(case.targets, Scores) else scale(logits)))
    return torch.cat(found).detach().numpy()


def replacement(case: Case, base: str) -> Tensor:
    """The picture that removed pixels are taken from, (1, C, H, W).

    ``base`` is ``"mean"``, 0 in the network's units; ``"blur"``, the picture under a Gaussian of
    `BLUR_SHARE` of its height; or ``"black"``, the darkest input.
    """
    checks.choice("base", base, BASES)
    if base == "blur":
        sigma = case.x.shape[2:][-2:][0] * BLUR_SHARE  # of a signal its length
        return smooth(case.x[0], sigma, dimensions=case.x.ndim - 2)[None]
    if base == "black":
        return case.classifier.bounds(case.x)[0].expand_as(case.x)
    return torch.zeros_like(case.x)


def flipping_curve(
    case: Case,
    attribution: Tensor,
    kind: str = "morf",
    *,
    seed: int | None = None,
    steps: int = 25,
    output: str = "centred",
    base: str = "mean",
) -> Curve:
    """The network's answer while pixels are replaced in the order of a map (H, W).

    Args:
        case, attribution: The picture and the class; its map.
        kind: ``"morf"``: the highest pixels are removed first; ``"lerf"``: the lowest;
            ``"insertion"``: the highest are put back first into the replacement.
        seed: Decides between equal pixels; by default that of the metrics for the caller's seed 0.
        steps: Of the curve, from 2 to the number of pixels.
        output, base: See `outputs` and `replacement`.
    """
    checks.choice("kind", kind, KINDS)
    checks.same_shape("attribution", attribution, "picture", case.x[0, 0])
    require_order(attribution)
    pixels = attribution.numel()
    checks.number("steps", checks.whole("steps", steps, low=2), high=pixels)
    first = order(attribution, picture_seed(case, STREAM, 0) if seed is None else seed)
    rank = np.empty(pixels, dtype=np.int64)
    rank[first[::-1] if kind == "lerf" else first] = np.arange(pixels)
    counts = np.rint(np.arange(steps + 1) * pixels / steps)

    removed = replacement(case, base)
    start, end = (removed, case.x) if kind == "insertion" else (case.x, removed)
    flipped = torch.from_numpy(rank < counts[1:-1, None]).to(case.x.device)
    between = torch.where(flipped.view(-1, 1, *attribution.shape), end, start)
    ends = outputs(case, torch.cat([start, end]), output)  # the same for every map
    values = np.concatenate([ends[:1], outputs(case, between, output), ends[1:]])
    return Curve(counts / pixels, values)


def _area(
    case: Case,
    attribution: Tensor,
    explainer: Explainer,
    seed: int,
    *,
    kinds: tuple[str, ...],
    **settings: Any,
) -> float:
    """The area under the map's curve; of two kinds the second's less the first's."""
    areas = [flipping_curve(case, attribution, k, seed=seed, **settings).area for k in kinds]
    return areas[0] if len(areas) == 1 else areas[1] - areas[0]


_STEPS = Setting(25, "one step is 4 % of the pixels", 224)
_MEAN = Setting("mean", "the colour that the network's preprocessing makes 0", "mean")
_BLUR = Setting(
    "blur",
    "RISE's choice, with a Gaussian that grows with the picture: H / 20",
    "5 px at 224 px, cut off at 11 px",
)
_OUTPUT = Setting("centred", "no common shift of the logits moves it; no saturation")
_flips = partial(Metric, family="faithfulness", stream=STREAM, passes="(steps + 1) * F")
_of_logit = partial(
    _flips, low=-np.inf, high=np.inf, settings={"steps": _STEPS, "output": _OUTPUT, "base": _MEAN}
)
_of_probability = partial(
    _flips, low=0, high=1, of_probability=True, source="Petsiuk et al. 2018, arXiv 1806.07421"
)

TABLE: tuple[Metric, ...] = (
    _of_logit(
        name="srg",
        title="symmetric relevance gain",
        better="higher",
        function=partial(_area, kinds=("morf", "lerf")),
        source="Blücher et al. 2024, arXiv 2401.06654: area of LeRF minus area of MoRF",
        anchors="a random map scores 0 on average; the oracle scores above it, but methods may "
        "score above the oracle",
        passes="2 * (steps + 1) * F",
        chance=always(0.0),
    ),
    _of_logit(
        name="morf",
        title="most relevant first",
        better="lower",
        function=partial(_area, kinds=("morf",)),
        source="Samek et al. 2017, arXiv 1509.06321, with single pixels and the area itself",
        anchors="a random map scores what it scores in lerf, on average; the oracle can score "
        "above it, which is worse: an object in one colour keeps its outline",
    ),
    _of_logit(
        name="lerf",
        title="least relevant first",
        better="higher",
        function=partial(_area, kinds=("lerf",)),
        source="the reverse of Samek et al. 2017, arXiv 1509.06321",
        anchors="a random map scores what it scores in morf, on average; the oracle scores above",
    ),
    _of_probability(
        name="deletion",
        title="deletion",
        better="lower",
        function=partial(_area, kinds=("morf",), output="softmax"),
        anchors="the oracle can score above a random map, which is worse: an object in one colour "
        "keeps its outline",
        settings={"steps": _STEPS, "base": _MEAN},
    ),
    _of_probability(
        name="insertion",
        title="insertion",
        better="higher",
        function=partial(_area, kinds=("insertion",), output="softmax"),
        anchors="the oracle scores above a random map",
        settings={"steps": _STEPS, "base": _BLUR},
    ),
)
