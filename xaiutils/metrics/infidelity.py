"""Infidelity, computed by captum: does the map foretell how perturbations change the logit?"""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import torch
from torch import Tensor

from xaiutils.cases.case import Case
from xaiutils.methods.record import Setting
from xaiutils.metrics.record import BATCH, Explainer, Metric
from xaiutils.support import checks

PERTURBATIONS = ("squares", "gaussian")


def infidelity(
    case: Case,
    attribution: Tensor,
    explainer: Explainer,
    seed: int,
    *,
    perturbation: str,
    size: float,
    multiply_by_inputs: bool,
    samples: int,
    normalize: bool = True,
) -> float:
    r"""The mean squared error of the map as a forecast, after the best scaling; lower is better.

    .. math:: \min_\beta \frac{1}{n} \sum_{I}
              \big( \beta\, I^\top a - (f_c(x) - f_c(x - \Delta)) \big)^2

    Yeh et al. 2019 (arXiv 1901.09392), as captum computes it, in squared units of the logit. No
    factor on the map changes it, a negative one neither. Each channel has the whole map divided by
    C, so that the channels sum to it.

    Args:
        perturbation: ``"squares"``: Delta sets one square at a random place to 0, the mean colour;
            ``"gaussian"``: it is normal noise on every value.
        size: A square's side as a share of the picture's shorter one, at most 1; or the noise's
            standard deviation in normalised units.
        multiply_by_inputs: Whether a map's value is what a pixel adds to the logit, as in LRP; then
            I = Delta / x, the share that is removed. Otherwise it is a gradient, and I = Delta.
        samples: n.
        normalize: Whether beta is free; 1 otherwise.
    """
    from captum.metrics import infidelity as captum_infidelity, infidelity_perturb_func_decorator

    checks.choice("perturbation", perturbation, PERTURBATIONS)
    if not isinstance(multiply_by_inputs, bool):
        given = checks.describe(multiply_by_inputs)
        raise TypeError(f"multiply_by_inputs must be a bool, got {given}")
    if checks.number("size", size, low=0, high=1 if perturbation == "squares" else math.inf) == 0:
        raise ValueError("size must be above 0, got 0")
    samples = checks.whole("samples", samples)
    chance = np.random.default_rng(seed)
    found = captum_infidelity(
        # float64, since beta^2 A - 2 beta B + C loses its digits where a map is good
        lambda x: case.answer(case.classifier.predict(x).double()),
        infidelity_perturb_func_decorator(multiply_by_inputs)(
            lambda x: _perturbed(x, perturbation, size, chance)
        ),
        case.x,
        attribution.double().expand_as(case.x) / case.x.shape[1],
        n_perturb_samples=samples,
        max_examples_per_batch=min(BATCH, samples),
        normalize=normalize,
    )
    return float(found)


def _perturbed(x: Tensor, perturbation: str, size: float, chance: np.random.Generator) -> Tensor:
    """Each picture less normal noise on every value, or with one square, wholly inside, at 0."""
    if perturbation == "gaussian":
        return x - torch.from_numpy(chance.normal(0, size, tuple(x.shape))).to(x)
    height, width = x.shape[2:]
    side = max(1, round(size * min(height, width)))
    removed = x.clone()
    for picture in removed:
        top = int(chance.integers(height - side + 1))
        left = int(chance.integers(width - side + 1))
        picture[:, top : top + side, left : left + side] = 0
    return removed


_SAMPLES = Setting(10, "captum's own; another seed gives a further ten", 10)
_record = partial(
    Metric,
    family="faithfulness",
    better="lower",
    low=0,
    high=math.inf,
    passes=f"(samples + (samples + {BATCH - 1}) // {BATCH}) * F",
)

TABLE: tuple[Metric, ...] = (
    _record(
        name="infidelity",
        title="infidelity",
        function=infidelity,
        source="Yeh et al. 2019, arXiv 1901.09392; captum.metrics.infidelity, normalize=True",
        needs=("picture",),
        anchors="the variance of the logit's drops for a random map, whose sums are all alike; 0 "
        "for the exact contributions of a linear network; the oracle is far below random",
        settings={
            "perturbation": Setting(
                "squares", "removes what a map points at; noise probes the gradient alone"
            ),
            "size": Setting(0.25, "a square of about an object's size"),
            "multiply_by_inputs": Setting(
                True, "one reading for all methods: a map's sum in a square is its forecast"
            ),
            "samples": _SAMPLES,
        },
    ),
    _record(  # beta = 1: it judges the unit of a map more than the map
        name="infidelity_raw",
        title="infidelity, not normalised",
        function=partial(infidelity, normalize=False),
        source="Yeh et al. 2019, arXiv 1901.09392; captum.metrics.infidelity, that of Fig. 6 of "
        "Dhore et al., whose perturbations are not told",
        anchors="depends on the map's scale: the mean squared drop of the logit for a map close "
        "to zero, anything above for a map of large values",
        settings={
            "perturbation": Setting("gaussian", "the example in captum's documentation"),
            "size": Setting(0.003, "the example in captum's documentation"),
            "multiply_by_inputs": Setting(False, "the example in captum's documentation"),
            "samples": _SAMPLES,
        },
    ),
)
