"""The five metrics of the paper's Table I, each computed by Quantus on one picture alone."""

from __future__ import annotations

import math
from types import MappingProxyType

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
    r"""How much the map changes when the picture is perturbed, >= 0; lower is better.

    .. math:: \frac{1}{n} \sum_{i=1}^{n} \frac{\|a(x) - a(x + u_i)\|_2}{\|a(x)\|_2},
              \quad u_i \sim U(-r, r)

    Yeh et al. 2019 (arXiv 1901.09392), with the mean for the maximum, as Quantus computes it;
    Dhore et al. cite Bhatt et al. 2020. The class is that of the case even where the network now
    predicts another.

    Args:
        samples: n.
        radius: r, in the network's normalised units, for every value of the picture.
        normalise: Divide each map by its own largest magnitude first.

    Raises:
        CannotScore: A perturbed picture's map has no order.
        TypeError, ValueError: A setting is of another type or out of range.
    """
    if checks.number("radius", radius, low=0) == 0:
        raise ValueError("radius must be above 0, got 0")
    if not isinstance(normalise, bool):
        raise TypeError(f"normalise must be a bool, got {checks.describe(normalise)}")
    return judge(
        "avg_sensitivity",
        case,
        attribution,
        explainer,
        seed,
        nr_samples=checks.whole("samples", samples),
        lower_bound=float(radius),
        normalise=normalise,
    )


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
    r"""Does the logit drop as the map says? In [-1, 1]; higher is better.

    .. math:: \operatorname{corr}_S \Big( \sum_{i \in S} a_i,\; f_c(x) - f_c(x_{S \to b}) \Big)

    Bhatt et al. 2020 (arXiv 2005.00631), as Quantus computes it: S is drawn from the C·H·W
    single values, not from pixels, and each channel has the whole map. Of independent numbers the
    correlation has a standard deviation of 1/sqrt(runs - 1).

    Args:
        runs: How many sets S are drawn.
        subset: Values in S; below H·W.
        baseline: b. A number in normalised units, or of the picture itself: ``"black"`` is its
            smallest value over all channels, which need not be black, ``"white"`` the largest,
            ``"mean"`` the mean; ``"uniform"`` is one number from [0, 1) in each run.

    Raises:
        CannotScore: The logit or the sums are the same in every run.
        TypeError, ValueError: A setting is of another type, unknown or out of range.
    """
    height, width = attribution.shape
    if checks.whole("subset", subset) >= height * width:
        raise ValueError(f"subset must be below H * W = {height * width}, got {subset}")
    if isinstance(baseline, str):
        checks.choice("baseline", baseline, BASELINES)
    else:
        baseline = checks.number("baseline", baseline)
    value = judge(
        "faithfulness_correlation",
        case,
        attribution,
        explainer,
        seed,
        nr_runs=checks.whole("runs", runs, low=3),
        subset_size=int(subset),
        perturb_baseline=baseline,
    )
    if math.isnan(value):
        raise CannotScore("there is no correlation: the logit or the sums are always the same")
    return value


def relevance_rank_accuracy(
    case: Case, attribution: Tensor, explainer: Explainer, seed: int
) -> float:
    """Of the k highest pixels, the share inside a mask of k pixels, in [0, 1]; higher is better.

    Arras et al. 2022 (arXiv 2003.07258), eq. 3, as Quantus computes it. Pixels of one value come
    in the order in which NumPy's unstable sort leaves them: a map with fewer than k positive
    pixels and many zeros owes a part of its score to that.
    `xaiutils.metrics.localisation.rank_accuracy` has a stable order.
    """
    return judge("relevance_rank_accuracy", case, attribution, explainer, seed)


def sparseness(case: Case, attribution: Tensor, explainer: Explainer, seed: int) -> float:
    """The Gini index of the map's magnitudes, in [0, 1); higher is sparser.

    Chalasani et al. 2020 (arXiv 1810.06583), as Quantus computes it: of ``|a| / max|a| + 1e-7``.
    `xaiutils.metrics.complexity.gini` is the same without the 1e-7.
    """
    return judge("sparseness", case, attribution, explainer, seed)


def random_logit(case: Case, attribution: Tensor, explainer: Explainer, seed: int) -> float:
    """How alike the maps of the class and of another class are, in [-1, 1]; lower is better.

    Sixt et al. 2020 (arXiv 1912.09818), as Quantus computes it: the structural similarity of both
    maps as rows of H·W numbers, in windows of 7, each map divided by its largest magnitude. The
    other class is drawn from the seed. A map that does not depend on the class has 1. Dhore et al.
    call it a distance and read 1 as the best.

    Raises:
        CannotScore: The network has one class, a score is explained, or the other class has a map
            without an order.
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
        settings=MappingProxyType(
            {
                "samples": Setting(
                    10,
                    "16 scenes' means equal those of 200 samples to 0.005, one score to 0.07",
                    200,
                ),
                "radius": Setting(0.2, "Quantus' own; in normalised units", 0.2),
                "normalise": Setting(
                    True, "so that maps of a fixed range and maps in logits compare", False
                ),
            }
        ),
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
        settings=MappingProxyType(
            {
                "runs": Setting(100, "Quantus' own", 100),
                "subset": Setting(224, "Quantus' own, single values of C * H * W", 224),
                "baseline": Setting("black", "Quantus' own: the picture's smallest value", "black"),
            }
        ),
    ),
    Metric(
        name="relevance_rank_accuracy",
        title="relevance rank accuracy",
        family="localisation",
        better="higher",
        function=relevance_rank_accuracy,
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
        function=sparseness,
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
