"""The closest published methods (`xaiutils.methods.related`) as related."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import Tensor

from xaiutils.lrp.composites import Composite
from xaiutils.methods import related
from xaiutils.methods.record import NONNEGATIVE, SIGNED, Method, Setting, no_plan
from xaiutils.methods.related.contrastive import Z_PLUS_BOX
from xaiutils.methods.related.fg_cam import FG_CAM
from xaiutils.methods.related.relevance_cam import RELEVANCE_CAM
from xaiutils.network.cam_layer import reading
from xaiutils.network.classifier import SOFTMAX, Classifier

LAYER = Setting(None, "the classifier's own CAM layer; any feature map can be read")
KEEP = Setting(0.1, "the share of singular values that the authors keep")
BATCH = Setting(32, "images in one call of the network; speed alone")


def _no_rivals(classifier: Classifier, *, softmax: bool) -> str | None:
    if len(classifier.classes) < 2:
        return "it has one output, and no other to contrast it with; use lrp_paper"
    if softmax and classifier.outputs != SOFTMAX:
        return f"its outputs are {classifier.outputs}, and it starts from a softmax; use lrp_paper"
    return _no_maps(classifier, composite=Z_PLUS_BOX)


def _no_maps(classifier: Classifier, *, composite: Composite) -> str | None:
    graph = classifier.graph
    if kind := reading(graph, graph.find(classifier.cam_layer)).kind:
        return f"its CAM layer gives {kind}, not feature maps, and z⁺ is made for ReLU networks"
    return no_plan(classifier, composite=composite)


_CONTRAST: dict[str, Any] = {"classes_only": True, "passes": "F + 2 * B"}
_RIVALS = _CONTRAST | {"refuses": partial(_no_rivals, softmax=False)}
_FG: dict[str, Any] = {"refuses": partial(_no_maps, composite=FG_CAM), "pictures_only": True}
_QIU, _GU = "Qiu et al. 2024, section 3", "Gu et al. 2018, section 4, dual by"


def _method(
    name: str, title: str, function: Callable[..., Tensor], sign: str, source: str, **more: Any
) -> Method:
    return Method(name, title, function, "related work", sign, source, **more)


TABLE: tuple[Method, ...] = (
    _method(
        "relevance_cam", "Relevance-CAM", related.relevance_cam, NONNEGATIVE,
        "Lee et al. 2021, section 3", refuses=partial(_no_maps, composite=RELEVANCE_CAM),
        pictures_only=True, classes_only=True, settings={"layer": LAYER},
    ),
    _method(
        "clrp1", "CLRP1", partial(related.clrp, dual="others"), NONNEGATIVE,
        f"{_GU} the other classes", **_RIVALS,
    ),
    _method(
        "clrp2", "CLRP2", partial(related.clrp, dual="negated"), NONNEGATIVE,
        f"{_GU} negated weights", **_RIVALS,
    ),
    _method(
        "sglrp", "SGLRP", related.sglrp, SIGNED, "Iwana et al. 2019, section 3",
        refuses=partial(_no_rivals, softmax=True), **_CONTRAST,
    ),
    _method(
        "fg_cam", "FG-CAM", related.fg_cam, NONNEGATIVE, _QIU,
        passes="F + 2 * B", settings={"layer": LAYER}, **_FG,
    ),
    _method(
        "fg_cam_denoised", "FG-CAM, denoised", partial(related.fg_cam, denoise=True), NONNEGATIVE,
        f"{_QIU}, denoised",
        passes="F + 2 * B", settings={"layer": LAYER, "keep": KEEP}, **_FG,
    ),
    _method(
        "fg_cam_score", "FG-CAM (Score-CAM)", partial(related.fg_cam, base="score_cam"),
        NONNEGATIVE, f"{_QIU}; weights of Wang et al. 2020",
        passes="(1 + C) * F + B", settings={"layer": LAYER, "batch": BATCH}, **_FG,
    ),
)  # fmt: skip
