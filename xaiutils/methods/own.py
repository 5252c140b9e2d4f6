"""This package's own explainers as records: CAMs, LRP by every composite, attention rollout."""

from __future__ import annotations

from functools import partial

from torch import Tensor

from xaiutils import hybrid
from xaiutils.cam import CAMS
from xaiutils.lrp.composites import COMPOSITES
from xaiutils.methods import rollout
from xaiutils.methods.record import NONNEGATIVE, SIGNED, Method, Setting, never, no_plan
from xaiutils.network.classifier import Classifier
from xaiutils.network.kinds import AVERAGE, LINEAR, PASS, ROUTING
from xaiutils.network.targets import Question

TITLES = {
    "grad_cam_plus_plus": "Grad-CAM++",
    "grad_cam": "Grad-CAM",
    "hires_cam": "HiResCAM",
    "layer_cam": "LayerCAM",
    "xgrad_cam": "XGrad-CAM",
    "cam": "CAM",
    "paper": "LRP (paper)",
    "z": "LRP-z",
    "epsilon": "LRP-ε",
    "epsilon_plus": "LRP ε-z⁺",
    "epsilon_alpha2_beta1": "LRP ε-α2β1",
    "epsilon_plus_flat": "LRP ε-z⁺-flat",
    "epsilon_alpha2_beta1_flat": "LRP ε-α2β1-flat",
    "epsilon_gamma_box": "LRP ε-γ-box",
    "attnlrp": "AttnLRP",
    "cp_lrp": "CP-LRP",
}


def title_of(name: str) -> str:
    """What figures call a CAM or composite; one that a user has registered, by its name."""
    return TITLES.get(name, name)


LAYER = Setting(
    None, "the classifier's own, docs/models.md says which; any feature map can be read"
)
START = Setting("logit", "in units of the logit; 'one' where classes are compared: see explain")


def _cam(
    classifier: Classifier, x: Tensor, target: Question, *, cam: str, layer: str | None = None
) -> Tensor:
    return hybrid.class_activation_map(classifier, x, target, cam=cam, cam_layer=layer)


def _lrp(
    classifier: Classifier, x: Tensor, target: Question, *, composite: str, start: str = "logit"
) -> Tensor:
    return hybrid.relevance(classifier, x, target, composite, start=start).map.mean(1)


def _rollout(classifier: Classifier, x: Tensor, target: Question) -> Tensor:
    return rollout.attention_rollout(classifier, x)


def _no_plain_head(classifier: Classifier) -> str | None:
    graph = classifier.graph
    behind = graph.after(graph.find(classifier.cam_layer))
    plain = all(
        s.kind in (LINEAR, AVERAGE, PASS)
        or (s.kind == ROUTING and "max" not in s.operation.lower())
        for s in behind
    )
    kinds = [s.kind for s in behind]
    if plain and kinds.count(LINEAR) == 1 and AVERAGE in kinds:
        return None
    return "its head is not global average pooling and one linear layer; use grad_cam"


def _no_attention(classifier: Classifier) -> str | None:
    if rollout.attention_steps(classifier):
        return None
    return "it has no attention over patches; a CNN has CAMs: grad_cam"


TABLE: tuple[Method, ...] = (
    *(
        Method(
            name,
            title_of(name),
            partial(_cam, cam=name),
            "CAM",
            NONNEGATIVE,
            record.source,
            settings={"layer": LAYER},
            refuses=_no_plain_head if name == "cam" else never,
        )
        for name, record in CAMS.items()
    ),
    Method(
        "attention_rollout",
        "Attention rollout",
        _rollout,
        "CAM",
        NONNEGATIVE,
        "Abnar and Zuidema 2020, section 3",
        passes="F",
        class_specific=False,
        refuses=_no_attention,
    ),
    *(
        Method(
            f"lrp_{name}",
            title_of(name),
            partial(_lrp, composite=name),
            "LRP",
            SIGNED,
            composite.source,
            settings={"start": START},
            refuses=partial(no_plan, composite=composite),
        )
        for name, composite in COMPOSITES.items()
    ),
)
