"""What every explanation has to beat: maps that look at no network, and the hybrid's own parts.

The controls leave one idea out of the hybrid or put nothing in its place; `hybrid` is the whole.
Settings are those of `xaiutils.hybrid.explain`.
"""

from __future__ import annotations

import zlib
from functools import partial
from typing import Any

import torch
from torch import Tensor

from xaiutils.factors import Pass, layers_named, plan_for
from xaiutils.hybrid import bound, class_activation_map, fuse, relevance
from xaiutils.lrp.composites import COMPOSITES, Composite
from xaiutils.methods import baselines
from xaiutils.methods.combination import EXPLAIN_SETTINGS, smooth_as_explain
from xaiutils.methods.record import NONNEGATIVE, SIGNED, Table, no_plan
from xaiutils.network.classifier import Classifier
from xaiutils.network.targets import Question
from xaiutils.support import chance

PAPER = "Dhore et al., section III-B"
IN_THE_FIGURE = {key: EXPLAIN_SETTINGS[key] for key in ("threshold", "sigma", "cam")}
WITHOUT_RULE = partial(no_plan, composite=COMPOSITES[EXPLAIN_SETTINGS["composite"].default])
BASELINES = Table(family="baseline", sign=NONNEGATIVE, passes="0", class_specific=False)
CONTROLS = Table(family="control", sign=NONNEGATIVE, settings=IN_THE_FIGURE)


@BASELINES("random", "chance level: uniform noise", stochastic=True)
def random_map(classifier: Classifier, x: Tensor, target: Question, *, seed: int) -> Tensor:
    """Uniform noise, (1, H, W), drawn anew for every image and seed, the same for every class."""
    return baselines.random_map(x, _seed(x, seed), dimensions=x.ndim - 2).to(x.device)


@BASELINES(
    "centre prior",
    "the bias of photographers for the middle: Tatler 2007, Journal of Vision 7(14):4",
)
def centre_prior(classifier: Classifier, x: Tensor, target: Question) -> Tensor:
    """A Gaussian bump in the middle: (N, H, W) in (0, 1]."""
    return baselines.centre_prior(x, dimensions=x.ndim - 2).to(x.device)


@BASELINES(
    "Sobel edges",
    "an edge detector as explanation: Adebayo et al. 2018, arXiv 1810.03292",
    pictures_only=True,
)
def sobel_edges(classifier: Classifier, x: Tensor, target: Question) -> Tensor:
    """The magnitude of the picture's Sobel gradient, (N, H, W), not negative."""
    return baselines.sobel_edges(x).to(x.device)


@CONTROLS(
    "bounding figure",
    f"{PAPER}, without LRP",
    settings={key: EXPLAIN_SETTINGS[key] for key in ("threshold", "cam")},
)
def bounded_cam(
    classifier: Classifier, x: Tensor, target: Question, *, threshold: float, cam: str
) -> Tensor:
    """The bounding figure P = minmax(relu(C - t)) alone, (N, H, W) in [0, 1]: no LRP."""
    found = class_activation_map(classifier, x, target, cam=cam)
    return bound(found, threshold, dimensions=x.ndim - 2)


@CONTROLS("bounding figure, smoothed", f"{PAPER}, without LRP")
def bounded_cam_smoothed(
    classifier: Classifier, x: Tensor, target: Question, *, sigma: float | None, **figure: Any
) -> Tensor:
    """The bounding figure, smoothed, (N, H, W) in [0, 1]: the hybrid with 1 for LRP."""
    return smooth_as_explain(bounded_cam(classifier, x, target, **figure), sigma)


@CONTROLS(
    "LRP, smoothed",
    f"{PAPER}, without CAM; blur alone helps: Rao et al. 2022, arXiv 2205.10435",
    sign=SIGNED,
    settings={key: EXPLAIN_SETTINGS[key] for key in ("sigma", "composite", "start")},
    refuses=WITHOUT_RULE,
)
def lrp_smoothed(
    classifier: Classifier,
    x: Tensor,
    target: Question,
    *,
    sigma: float | None,
    composite: str | Composite,
    start: str,
) -> Tensor:
    """LRP, mean over channels, smoothed alone, (N, H, W), signed: no CAM."""
    found = relevance(classifier, x, target, composite, start=start)
    return smooth_as_explain(found.map.mean(1), sigma)


@CONTROLS(
    "bounding figure x noise, smoothed",
    f"{PAPER}, with absolute Gaussian noise for LRP",
    stochastic=True,
)
def bounded_noise(
    classifier: Classifier,
    x: Tensor,
    target: Question,
    *,
    sigma: float | None,
    seed: int,
    **figure: Any,
) -> Tensor:
    """The bounding figure of an image times absolute Gaussian noise, smoothed: (1, H, W)."""
    generator = chance.torchs(_seed(x, seed))
    noise = torch.randn(x.shape[2:], generator=generator, device="cpu").abs()[None]
    bounded = bounded_cam(classifier, x, target, **figure)
    return smooth_as_explain(fuse(bounded, noise.to(bounded), dimensions=x.ndim - 2), sigma)


@CONTROLS(
    "bounding figure x edges, smoothed", f"{PAPER}, with Sobel edges for LRP", pictures_only=True
)
def bounded_edges(
    classifier: Classifier, x: Tensor, target: Question, *, sigma: float | None, **figure: Any
) -> Tensor:
    """The bounding figure times the picture's Sobel edges, smoothed: (N, H, W)."""
    bounded = bounded_cam(classifier, x, target, **figure)
    return smooth_as_explain(fuse(bounded, sobel_edges(classifier, x, target).to(bounded)), sigma)


@CONTROLS(
    "hybrid",
    f"{PAPER}, all five steps",
    family="hybrid",
    sign=SIGNED,
    passes="F + 2 * B",
    settings=EXPLAIN_SETTINGS,
    refuses=WITHOUT_RULE,
)
def hybrid(
    classifier: Classifier,
    x: Tensor,
    target: Question,
    *,
    threshold: float,
    sigma: float | None,
    composite: str | Composite,
    cam: str,
    start: str,
) -> Tensor:
    """The paper's explanation, `explain(...).hybrid`: (N, H, W), signed, in units of the logit.

    Always one pass: the notes of `explain` may ask for more.
    """
    layers, plan = layers_named(classifier), plan_for(classifier, x, composite)
    seen = Pass(classifier, x, target, layers=layers, plan=plan, start=start)
    space = x.ndim - 2
    bounded = bound(seen.cam(cam), threshold, dimensions=space)
    product = fuse(bounded, seen.relevance().map.mean(1), dimensions=space)
    return smooth_as_explain(product, sigma)


def _seed(x: Tensor, seed: int) -> int:
    """A seed for an image, from ``seed`` and its own values."""
    drawn = int(torch.randint(2**31, (), generator=chance.torchs(seed), device="cpu"))
    return drawn ^ zlib.crc32(x.detach().cpu().float().numpy().tobytes())


TABLE = (*BASELINES, *CONTROLS)
