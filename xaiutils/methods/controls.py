"""What every explanation has to beat: maps that look at no network, and the hybrid's own parts.

The baselines are of `xaiutils.methods.baselines` and cost no pass. The controls leave one idea out
of the hybrid or put nothing in its place: the bounding figure alone, sharp or blurred, LRP blurred
alone, and the bounding figure filled with noise or with edges. `hybrid` is the whole. Settings
are those of `xaiutils.hybrid.explain`.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from functools import partial
from types import MappingProxyType

import torch
from torch import Tensor

from xaiutils.factors import Pass, layers_named, plan_for
from xaiutils.hybrid import bound, class_activation_map, fuse, relevance
from xaiutils.lrp.composites import COMPOSITES, Composite
from xaiutils.methods import baselines
from xaiutils.methods.combination import EXPLAIN_SETTINGS, smooth_as_explain
from xaiutils.methods.record import NONNEGATIVE, SIGNED, Method, Setting, no_plan
from xaiutils.network.classifier import Classifier
from xaiutils.network.targets import Question
from xaiutils.support import chance


def random_map(classifier: Classifier, x: Tensor, target: Question, *, seed: int = 0) -> Tensor:
    """Independent uniform values in [0, 1), (N, H, W): chance level.

    Drawn anew for every image and seed, and the same for every class: maps of different images
    must not share their luck.
    """
    maps = [
        baselines.random_map(image[None], own, dimensions=x.ndim - 2)
        for image, own in zip(x, _seeds(x, seed), strict=True)
    ]
    return torch.cat(maps).to(x.device)


def centre_prior(classifier: Classifier, x: Tensor, target: Question) -> Tensor:
    """A Gaussian bump in the middle, sigma a quarter of each side: (N, H, W) in (0, 1]."""
    return baselines.centre_prior(x, dimensions=x.ndim - 2).to(x.device)


def sobel_edges(classifier: Classifier, x: Tensor, target: Question) -> Tensor:
    """The magnitude of the picture's Sobel gradient, (N, H, W), not negative."""
    return baselines.sobel_edges(x).to(x.device)


def bounded_cam(
    classifier: Classifier, x: Tensor, target: Question, *, threshold: float, cam: str
) -> Tensor:
    """The bounding figure P = minmax(relu(C - t)) alone, (N, H, W) in [0, 1]: no LRP.

    Args:
        classifier, x, target, threshold, cam: As in `xaiutils.hybrid.explain`.
    """
    found = class_activation_map(classifier, x, target, cam=cam)
    return bound(found, threshold, dimensions=x.ndim - 2)


def bounded_cam_smoothed(
    classifier: Classifier,
    x: Tensor,
    target: Question,
    *,
    threshold: float,
    sigma: float | None,
    cam: str,
) -> Tensor:
    """The bounding figure, smoothed, (N, H, W) in [0, 1]: the hybrid with 1 for LRP.

    Args:
        classifier, x, target, threshold, sigma, cam: As in `xaiutils.hybrid.explain`.
    """
    figure = bounded_cam(classifier, x, target, threshold=threshold, cam=cam)
    return smooth_as_explain(figure, sigma)


def lrp_smoothed(
    classifier: Classifier,
    x: Tensor,
    target: Question,
    *,
    sigma: float | None,
    composite: str | Composite,
    start: str,
) -> Tensor:
    """LRP, mean over channels, smoothed alone, (N, H, W), signed: no CAM.

    Args:
        classifier, x, target, sigma, composite, start: As in `xaiutils.hybrid.explain`.
    """
    return smooth_as_explain(
        relevance(classifier, x, target, composite, start=start).map.mean(1), sigma
    )


def bounded_noise(
    classifier: Classifier,
    x: Tensor,
    target: Question,
    *,
    threshold: float,
    sigma: float | None,
    cam: str,
    seed: int = 0,
) -> Tensor:
    """The bounding figure times the absolute value of Gaussian noise, smoothed: (N, H, W).

    The hybrid with noise for LRP. What the hybrid does no better than this is the CAM's doing.

    Args:
        classifier, x, target, threshold, sigma, cam: As in `xaiutils.hybrid.explain`.
        seed: Of the noise.
    """
    noise = [
        torch.randn(x.shape[2:], generator=chance.torchs(own), device="cpu").abs()
        for own in _seeds(x, seed)
    ]
    figure = bounded_cam(classifier, x, target, threshold=threshold, cam=cam)
    product = fuse(figure, torch.stack(noise).to(figure), dimensions=x.ndim - 2)
    return smooth_as_explain(product, sigma)


def bounded_edges(
    classifier: Classifier,
    x: Tensor,
    target: Question,
    *,
    threshold: float,
    sigma: float | None,
    cam: str,
) -> Tensor:
    """The bounding figure times the picture's Sobel edges, smoothed: (N, H, W), not negative.

    The hybrid with an edge filter for LRP. What the hybrid does no better than this needs no
    relevance, only edges where the CAM is high.

    Args:
        classifier, x, target, threshold, sigma, cam: As in `xaiutils.hybrid.explain`.
    """
    figure = bounded_cam(classifier, x, target, threshold=threshold, cam=cam)
    return smooth_as_explain(fuse(figure, sobel_edges(classifier, x, target).to(figure)), sigma)


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

    Args:
        classifier, x, target, threshold, sigma, composite, cam, start: As in
            `xaiutils.hybrid.explain`.
    """
    layers, plan = layers_named(classifier), plan_for(classifier, x, composite)
    seen = Pass(classifier, x, target, layers=layers, plan=plan, start=start)
    space = x.ndim - 2
    bounded = bound(seen.cam(cam), threshold, dimensions=space)
    product = fuse(bounded, seen.relevance().map.mean(1), dimensions=space)
    return smooth_as_explain(product, sigma)


def _seeds(x: Tensor, seed: int) -> list[int]:
    """A seed for each image, from ``seed`` and the image's own values."""
    drawn = int(torch.randint(2**31, (), generator=chance.torchs(seed), device="cpu"))
    return [drawn ^ zlib.crc32(image.detach().cpu().float().numpy().tobytes()) for image in x]


def _settings(*names: str) -> Mapping[str, Setting]:
    return MappingProxyType({name: EXPLAIN_SETTINGS[name] for name in names})


_PAPER = "Dhore et al., section III-B"
_IN_THE_FIGURE = _settings("threshold", "sigma", "cam")
_WITHOUT_RULE = partial(no_plan, composite=COMPOSITES[EXPLAIN_SETTINGS["composite"].default])

TABLE: tuple[Method, ...] = (
    Method(
        name="random_map",
        title="random",
        function=random_map,
        family="baseline",
        sign=NONNEGATIVE,
        source="chance level: uniform noise",
        passes="0",
        class_specific=False,
        stochastic=True,
    ),
    Method(
        name="centre_prior",
        title="centre prior",
        function=centre_prior,
        family="baseline",
        sign=NONNEGATIVE,
        source="the bias of photographers for the middle: Tatler 2007, Journal of Vision 7(14):4",
        passes="0",
        class_specific=False,
    ),
    Method(
        name="sobel_edges",
        title="Sobel edges",
        function=sobel_edges,
        family="baseline",
        pictures_only=True,
        sign=NONNEGATIVE,
        source="an edge detector as explanation: Adebayo et al. 2018, arXiv 1810.03292",
        passes="0",
        class_specific=False,
    ),
    Method(
        name="bounded_cam",
        title="bounding figure",
        function=bounded_cam,
        family="control",
        sign=NONNEGATIVE,
        source=f"{_PAPER}, without LRP",
        passes="F + B",
        settings=_settings("threshold", "cam"),
    ),
    Method(
        name="bounded_cam_smoothed",
        title="bounding figure, smoothed",
        function=bounded_cam_smoothed,
        family="control",
        sign=NONNEGATIVE,
        source=f"{_PAPER}, without LRP",
        passes="F + B",
        settings=_IN_THE_FIGURE,
    ),
    Method(
        name="lrp_smoothed",
        title="LRP, smoothed",
        function=lrp_smoothed,
        family="control",
        sign=SIGNED,
        source=f"{_PAPER}, without CAM; blur alone helps: Rao et al. 2022, arXiv 2205.10435",
        passes="F + B",
        settings=_settings("sigma", "composite", "start"),
        refuses=_WITHOUT_RULE,
    ),
    Method(
        name="bounded_noise",
        title="bounding figure x noise, smoothed",
        function=bounded_noise,
        family="control",
        sign=NONNEGATIVE,
        source=f"{_PAPER}, with absolute Gaussian noise for LRP",
        passes="F + B",
        stochastic=True,
        settings=_IN_THE_FIGURE,
    ),
    Method(
        name="bounded_edges",
        title="bounding figure x edges, smoothed",
        function=bounded_edges,
        family="control",
        pictures_only=True,
        sign=NONNEGATIVE,
        source=f"{_PAPER}, with Sobel edges for LRP",
        passes="F + B",
        settings=_IN_THE_FIGURE,
    ),
    Method(
        name="hybrid",
        title="hybrid",
        function=hybrid,
        family="hybrid",
        sign=SIGNED,
        source=f"{_PAPER}, all five steps",
        passes="F + 2 * B",
        settings=EXPLAIN_SETTINGS,
        refuses=_WITHOUT_RULE,
    ),
)
