"""The closest published methods (`xaiutils.methods.related`) as records."""

from __future__ import annotations

from functools import partial

from xaiutils.lrp.composites import Composite
from xaiutils.methods import related
from xaiutils.methods.record import NONNEGATIVE, SIGNED, Method, Setting, no_plan
from xaiutils.methods.related.contrastive import Z_PLUS_BOX
from xaiutils.methods.related.fg_cam import FG_CAM
from xaiutils.methods.related.relevance_cam import RELEVANCE_CAM
from xaiutils.network.cam_layer import reading
from xaiutils.network.classifier import SOFTMAX, Classifier


def _no_rivals(classifier: Classifier, *, softmax: bool = False) -> str | None:
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


_LAYER = {"layer": Setting(None, "the classifier's own CAM layer; any feature map can be read")}
_KEEP = {"keep": Setting(0.1, "the share of singular values that the authors keep")}
_BATCH = {"batch": Setting(32, "images in one call of the network; speed alone")}

_method = partial(Method, family="related work", sign=NONNEGATIVE)
_contrast = partial(_method, classes_only=True, passes="F + 2 * B", refuses=_no_rivals)
_fg_cam = partial(
    _method,
    refuses=partial(_no_maps, composite=FG_CAM),
    pictures_only=True,
    passes="F + 2 * B",
    settings=_LAYER,
)

TABLE: tuple[Method, ...] = (
    _method(
        "relevance_cam",
        "Relevance-CAM",
        related.relevance_cam,
        source="Lee et al. 2021, section 3",
        refuses=partial(_no_maps, composite=RELEVANCE_CAM),
        pictures_only=True,
        classes_only=True,
        settings=_LAYER,
    ),
    _contrast(
        "clrp1",
        "CLRP1",
        partial(related.clrp, dual="others"),
        source="Gu et al. 2018, section 4, dual by the other classes",
    ),
    _contrast(
        "clrp2",
        "CLRP2",
        partial(related.clrp, dual="negated"),
        source="Gu et al. 2018, section 4, dual by negated weights",
    ),
    _contrast(
        "sglrp",
        "SGLRP",
        related.sglrp,
        sign=SIGNED,
        source="Iwana et al. 2019, section 3",
        refuses=partial(_no_rivals, softmax=True),
    ),
    _fg_cam("fg_cam", "FG-CAM", related.fg_cam, source="Qiu et al. 2024, section 3"),
    _fg_cam(
        "fg_cam_denoised",
        "FG-CAM, denoised",
        partial(related.fg_cam, denoise=True),
        source="Qiu et al. 2024, section 3, denoised",
        settings=_LAYER | _KEEP,
    ),
    _fg_cam(
        "fg_cam_score",
        "FG-CAM (Score-CAM)",
        partial(related.fg_cam, base="score_cam"),
        source="Qiu et al. 2024, section 3; weights of Wang et al. 2020",
        passes="(1 + C) * F + B",
        settings=_LAYER | _BATCH,
    ),
)
