"""The five metrics of the paper's Table I, each computed by Quantus on one picture alone."""

from __future__ import annotations

import math
from functools import partial

import torch
from torch import Tensor

from xaiutils.cases.case import Case
from xaiutils.methods.record import Setting
from xaiutils.metrics.paper_quantus import judge
from xaiutils.metrics.record import CannotScore, Explainer, Metric, always, mask_share
from xaiutils.network.targets import Scores
from xaiutils.support import checks

BASELINES = ("black", "white", "mean", "uniform")


def avg_sensitivity(
    case: Case,
    attribution: Tensor,
    explainer: Explainer,
    seed: int,
    *,
    samples: int,
    radius: float,
    normalise: bool,
) -> float:
    r"""How much the map changes when the picture is perturbed.

    .. math:: \frac{1}{n} \sum_{i=1}^{n} \frac{\|a(x) - a(x + u_i)\|_2}{\|a(x)\|_2},
              \quad u_i \sim U(-r, r)

    Yeh et al. 2019 (arXiv 1901.09392), with the mean for the maximum, as Quantus computes it. The
    class is that of the case even where the network now predicts another.

    Args:
        samples: n.
        radius: r, in the network's normalised units.
        normalise: Divide each map by its own largest magnitude first.
    """
    if checks.number("radius", radius, low=0) == 0:
        raise ValueError("radius must be above 0, got 0")
    if not isinstance(normalise, bool):
        raise TypeError(f"normalise must be a bool, got {checks.describe(normalise)}")
    used = {"nr_samples": checks.whole("samples", samples), "lower_bound": float(radius)}
    return judge("avg_sensitivity", case, attribution, explainer, seed, normalise=normalise, **used)


def faithfulness_correlation(
    case: Case,
    attribution: Tensor,
    explainer: Explainer,
    seed: int,
    *,
    runs: int,
    subset: int,
    baseline: str | float,
) -> float:
    r"""Does the logit drop as the map says?

    .. math:: \operatorname{corr}_S \Big( \sum_{i \in S} a_i,\; f_c(x) - f_c(x_{S \to b}) \Big)

    Bhatt et al. 2020 (arXiv 2005.00631), as Quantus computes it: S is drawn from the C·H·W
    single values, not from pixels, and each channel has the whole map.

    Args:
        runs: How many sets S are drawn, at least 3.
        subset: Values in S; below H·W.
        baseline: b. A number in normalised units, or of the picture itself: ``"black"`` is its
            smallest value over all channels, which need not be black, ``"white"`` the largest,
            ``"mean"`` the mean; ``"uniform"`` is one number from [0, 1) in each run.
    """
    height, width = attribution.shape
    if checks.whole("subset", subset) >= height * width:
        raise ValueError(f"subset must be below H * W = {height * width}, got {subset}")
    if isinstance(baseline, str):
        checks.choice("baseline", baseline, BASELINES)
    else:
        baseline = checks.number("baseline", baseline)
    used = {"nr_runs": checks.whole("runs", runs, low=3), "perturb_baseline": baseline}
    used["subset_size"] = int(subset)
    value = judge("faithfulness_correlation", case, attribution, explainer, seed, **used)
    if math.isnan(value):
        raise CannotScore("there is no correlation: the logit or the sums are always the same")
    return value


def gini(maps: Tensor) -> Tensor:
    r"""Sparseness as the Gini index of the absolute values, (N,) in [0, 1); higher is sparser.

    .. math:: \frac{\sum_i (2i - n - 1)\, a_{(i)}}{n \sum_i a_i},
              \quad a_{(1)} \le \dots \le a_{(n)}

    Chalasani et al. 2020 (arXiv 1810.06583). 0 for equal values, 1 - 1/n for a single one,
    0.414 for Gaussian noise; NaN for a map of zeros, which has no distribution.
    """
    checks.maps("maps", maps)
    values = maps.flatten(1).abs().double().sort(1).values
    n = values.shape[1]
    rank = torch.arange(1, n + 1, dtype=torch.float64, device=maps.device)
    return ((2 * rank - n - 1) * values).sum(1) / (n * values.sum(1))


def random_logit(case: Case, attribution: Tensor, explainer: Explainer, seed: int) -> float:
    """How alike the maps of the class and of another class, drawn from the seed, are.

    Sixt et al. 2020 (arXiv 1912.09818), as Quantus computes it: the structural similarity of both
    maps as rows of H·W numbers, in windows of 7, each map divided by its largest magnitude. Dhore
    et al. call it a distance and read 1 as the best.
    """
    classes = len(case.classifier.classes)
    if isinstance(case.targets, Scores):
        raise CannotScore("a score is explained, and no class that could be compared with another")
    if classes == 1:
        raise CannotScore("the network has no other class")
    return judge("random_logit", case, attribution, explainer, seed, num_classes=classes, seed=seed)


TABLE: tuple[Metric, ...] = (
    Metric(
        name="avg_sensitivity",
        title="average sensitivity",
        family="robustness",
        better="lower",
        function=avg_sensitivity,
        low=0,
        high=math.inf,
        source="Yeh et al. 2019, arXiv 1901.09392; quantus.AvgSensitivity; Dhore et al. cite Bhatt "
        "et al. 2020 for it",
        anchors="0.71 for uniform noise that is drawn anew for each picture, 1.41 for noise of "
        "mean 0; 0 for the oracle and every map that does not depend on the picture",
        passes="samples * E",
        explains=True,
        settings={
            "samples": Setting(
                10, "16 scenes' means equal those of 200 samples to 0.005, one score to 0.07", 200
            ),
            "radius": Setting(0.2, "Quantus' own; in normalised units", 0.2),
            "normalise": Setting(
                True, "so that maps of a fixed range and maps in logits compare", False
            ),
        },
    ),
    Metric(
        name="faithfulness_correlation",
        title="faithfulness correlation",
        family="faithfulness",
        better="higher",
        function=faithfulness_correlation,
        low=-1,
        high=1,
        source="Bhatt et al. 2020, arXiv 2005.00631; quantus.FaithfulnessCorrelation",
        needs=("picture",),
        anchors="0 for a random map, with a standard deviation of 1/sqrt(runs - 1) per picture; "
        "the oracle is above it, but far from 1, for so few values change",
        passes="(runs + 1) * F",
        chance=always(0.0),
        settings={
            "runs": Setting(100, "Quantus' own", 100),
            "subset": Setting(224, "Quantus' own, single values of C * H * W", 224),
            "baseline": Setting("black", "Quantus' own: the picture's smallest value", "black"),
        },
    ),
    Metric(
        name="relevance_rank_accuracy",
        title="relevance rank accuracy",
        family="localisation",
        better="higher",
        # Pixels of one value come as NumPy's unstable sort leaves them.
        function=partial(judge, "relevance_rank_accuracy"),
        low=0,
        high=1,
        source="Arras et al. 2022, arXiv 2003.07258, eq. 3; quantus.RelevanceRankAccuracy",
        anchors="the mask's share of the picture for a random map, 1 for the oracle",
        chance=mask_share,
        needs=("mask",),
    ),
    Metric(
        name="sparseness",
        title="sparseness",
        family="complexity",
        better="higher",
        function=partial(judge, "sparseness"),  # of |a| / max|a| + 1e-7
        low=0,
        high=1,
        source="Chalasani et al. 2020, arXiv 1810.06583; quantus.Sparseness",
        anchors="1/3 for uniform noise, 0.414 for the magnitude of Gaussian noise, 1 - p for the "
        "oracle with a mask of share p",
        chance=always(1 / 3),
    ),
    Metric(
        name="random_logit",
        title="random logit",
        family="randomisation",
        better="lower",
        function=random_logit,
        low=-1,
        high=1,
        source="Sixt et al. 2020, arXiv 1912.09818; quantus.RandomLogit",
        anchors="1 for the oracle and every map that does not depend on the class; 0 for noise "
        "that is drawn anew for each class",
        passes="E",
        across_classes=True,
        explains=True,
    ),
)
