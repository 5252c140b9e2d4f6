"""Does a map change with the class that is explained, and with the network's weights?

Maps are compared as they are, signed, and every picture and method with the same networks.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from scipy.stats import rankdata
from torch import Tensor

from xaiutils.cases.case import Case
from xaiutils.methods.record import Setting
from xaiutils.metrics.randomised import randomised_networks
from xaiutils.metrics.record import BATCH, CannotScore, Explainer, Metric
from xaiutils.network.classifier import Classifier
from xaiutils.network.targets import Question, Scores
from xaiutils.support import checks

WINDOW = 7  # px, of SSIM


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    """Correlation of the mean ranks of two maps (H, W), in [-1, 1]; 0 where one is constant."""
    first, second = (rankdata(one.ravel()) for one in (a, b))
    return cosine(first - first.mean(), second - second.mean())


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    """Cosine of two maps as vectors, in [-1, 1]; 0 where one is zero."""
    length = np.linalg.norm(a) * np.linalg.norm(b)
    return float((a * b).sum() / length) if length > 0 else 0.0


def ssim(a: np.ndarray, b: np.ndarray) -> float:
    r"""Structural similarity of two maps (H, W), mean over windows of 7 px, in [-1, 1].

    Wang et al. 2004 (IEEE Transactions on Image Processing 13(4)), by scikit-image, of
    :math:`a / \sqrt{\operatorname{mean} a^2}`; the range of the data is that of both together.
    """
    from skimage.metrics import structural_similarity

    if min(a.shape) < WINDOW:
        raise CannotScore(f"SSIM needs {WINDOW} x {WINDOW} pixels, the map has {a.shape}")
    first, second = (one / (np.sqrt((one**2).mean()) or 1) for one in (a, b))
    span = max(first.max(), second.max()) - min(first.min(), second.min())
    return float(structural_similarity(first, second, win_size=WINDOW, data_range=span))


SIMILARITIES = {"spearman": spearman, "ssim": ssim, "cosine": cosine}


def class_discrimination(
    case: Case,
    attribution: Tensor,
    explainer: Explainer,
    seed: int,
    *,
    similarity: str,
    others: int,
) -> float:
    """How like the map is to those of other classes: the mean similarity to each of them.

    The random logit test (Sixt et al. 2020, arXiv 1912.09818) with all other classes in place of
    one, or with ``others`` of them, drawn from the seed, where there are more. ``similarity`` is a
    name in `SIMILARITIES`; a method that shows nothing for a class has 0 there.
    """
    likeness = SIMILARITIES[checks.choice("similarity", similarity, SIMILARITIES)]
    count = checks.whole("others", others)
    if isinstance(case.targets, Scores):
        raise CannotScore("a score is explained, and no class that could be compared with others")
    classes = [k for k in range(len(case.classifier.classes)) if k != int(case.targets)]
    if not classes:
        raise CannotScore("the network has one class, there is none to compare with")
    if len(classes) > count:
        drawn = np.random.default_rng(seed).choice(classes, count, replace=False)
        classes = sorted(int(k) for k in drawn)
    own, found = _values(attribution), []
    for some in torch.tensor(classes).split(BATCH):
        maps = _explain(case, explainer, case.classifier, some)
        found += [likeness(own, one) for one in maps]
    return float(np.mean(found))


def mprt(
    case: Case,
    attribution: Tensor,
    explainer: Explainer,
    seed: int,
    *,
    similarity: str,
    stages: int,
    network_seed: int,
) -> float:
    """Mean similarity of the map to those of the `randomised_networks`.

    Model parameter randomisation test, cascading from the top (Adebayo et al. 2018, arXiv
    1810.03292); the class is the explained one throughout. It sorts out maps that ask no network
    and does not rank the rest: noise passes (Binder et al. 2023, arXiv 2211.12486).
    """
    likeness, own = SIMILARITIES[similarity], _values(attribution)
    networks = randomised_networks(case.classifier, stages, network_seed)
    maps = (_explain(case, explainer, network, case.targets)[0] for network in networks)
    return float(torch.tensor([likeness(own, one) for one in maps], dtype=torch.float64).mean())


def emprt(
    case: Case,
    attribution: Tensor,
    explainer: Explainer,
    seed: int,
    *,
    bins: int,
    network_seed: int,
) -> float:
    r"""The rise of the map's complexity when the whole network is random, (H' - H) / H.

    Efficient MPRT (Hedström et al. 2023, arXiv 2401.06465); H is the entropy of the histogram of
    equal bins from the map's lowest to its highest value.
    """
    network = randomised_networks(case.classifier, network_seed=network_seed)[-1]
    other = _explain(case, explainer, network, case.targets)
    if np.ptp(other) == 0:
        raise CannotScore("the map of the random network is the same everywhere")
    bins = checks.whole("bins", bins, low=2)
    before, after = (_entropy(values, bins) for values in (_values(attribution), other))
    return (after - before) / before


def _entropy(values: np.ndarray, bins: int) -> float:
    """In nats, in [0, log bins]."""
    counts = torch.from_numpy(np.histogram(values, bins)[0])[None]
    return float(torch.special.entr(counts / values.size).sum(1))


def _explain(
    case: Case, explainer: Explainer, classifier: Classifier, targets: Question
) -> np.ndarray:
    """The maps of the picture for some classes, (n, H, W) float64."""
    x = case.x.expand(len(targets), *case.x.shape[1:]).contiguous()
    maps = explainer(classifier, x, targets)
    if not bool(maps.isfinite().all()):
        raise CannotScore(f"a map of {classifier.name} has NaN or infinite values")
    return _values(maps)


def _values(maps: Tensor) -> np.ndarray:
    return maps.detach().cpu().double().numpy()


_SEED = Setting(0, "the same networks for every picture and method")
_record = partial(Metric, family="randomisation", low=-1, across_classes=True, explains=True)
_of_cascade = partial(
    _record,
    better="lower",
    high=1,
    passes="stages * E",
    settings={
        "stages": Setting(
            5, "equal steps of the cascade: the cost must not grow with the network's depth"
        ),
        "network_seed": _SEED,
    },
)

TABLE: tuple[Metric, ...] = (
    _record(
        name="class_discrimination",
        title="likeness to other classes' maps",
        better="lower",
        function=class_discrimination,
        high=1,
        source="after Sixt et al. 2020, arXiv 1912.09818, with all other classes",
        anchors="noise drawn anew for each class: 0; one map for all classes, as the random "
        "baseline and the oracle are: 1",
        passes="others * E",
        settings={
            "similarity": Setting("spearman", "ranks need neither a scale nor a window", "ssim"),
            "others": Setting(5, "all others of the scenes' six classes", 1),
        },
    ),
    _of_cascade(
        name="mprt_spearman",
        title="MPRT, rank correlation",
        function=partial(mprt, similarity="spearman"),
        source="Adebayo et al. 2018, arXiv 1810.03292, of signed maps",
        anchors="noise drawn anew for each network: 0; a map that asks no network: 1",
    ),
    _of_cascade(
        name="mprt_ssim",
        title="MPRT, structural similarity",
        function=partial(mprt, similarity="ssim"),
        source="Adebayo et al. 2018, arXiv 1810.03292, of signed maps; the scale as Binder et al. "
        "2023, arXiv 2211.12486",
        anchors="noise drawn anew for each network: about 0; a map that asks no network: 1",
    ),
    _record(
        name="emprt",
        title="rise of complexity (eMPRT)",
        better="higher",
        function=emprt,
        high=float("inf"),
        source="Hedström et al. 2023, arXiv 2401.06465",
        needs=("picture",),
        anchors="a map that asks no network: 0",
        passes="E",
        settings={
            "bins": Setting(100, "as Hedström et al.; Quantus takes a rule on all maps of a batch"),
            "network_seed": _SEED,
        },
    ),
)
