"""The paper's parts as its libraries compute them, faults and all: for reproduction only.

captum 0.9.0 and grad-cam 1.5.7 give other maps than the equations do. Each function shows one of
their traps, and the hybrids are the four pairs of such a CAM and such an LRP.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from xaiutils.methods.combination import combine
from xaiutils.methods.masking import as_maps
from xaiutils.methods.record import NONNEGATIVE, SIGNED, Method, Setting, Table, no_graph
from xaiutils.network.classifier import Classifier
from xaiutils.network.hookable import Twin
from xaiutils.support import asking
from xaiutils.support.borrowed import environment_kept


def _refused(classifier: Classifier, *, given: tuple[type[nn.Module], ...]) -> str | None:
    """What captum would raise: for a layer without a rule, or one that is used twice.

    Those of a type in ``given`` have been given a rule.
    """
    from captum.attr._core.lrp import SUPPORTED_LAYERS_WITH_RULES, SUPPORTED_NON_LINEAR_LAYERS

    calls, named = classifier.graph.calls, classifier.module.named_modules()
    layers = {path: part for path, part in named if path and not any(part.children())}
    for path, layer in layers.items():
        supported = type(layer) in (*SUPPORTED_LAYERS_WITH_RULES, *SUPPORTED_NON_LINEAR_LAYERS)
        if not supported and not isinstance(layer, given):
            return (
                f"captum's LRP raises TypeError, it has no rule for {type(layer).__name__} "
                f"({path}); use lrp_paper"
            )
    for path, layer in layers.items():
        if calls[path] > 1 and type(layer) not in SUPPORTED_NON_LINEAR_LAYERS:
            return (
                f"captum's LRP raises RuntimeError, {path} ({type(layer).__name__}) is used more "
                "than once; use lrp_paper"
            )
    return None


PARTS = Table(family="as published, faulty", classes_only=True)
LRP: dict[str, Any] = {"sign": SIGNED, "passes": "2 * F + B"}
CAM: dict[str, Any] = {"sign": NONNEGATIVE, "pictures_only": True, "refuses": no_graph}


@PARTS(
    "LRP (captum, first call)",
    "captum 0.9.0, Alpha1_Beta0_Rule on Conv2d, EpsilonRule on Linear",
    **LRP,
    settings={
        "set_bias_to_zero": Setting(
            True, "nearer to α = 1, β = 0: biases of both signs bring z close to 0", False
        )
    },
    refuses=partial(_refused, given=(nn.Conv2d, nn.Linear)),
)
def captum_lrp_first_call(
    classifier: Classifier, x: Tensor, target: Tensor, *, set_bias_to_zero: bool
) -> Tensor:
    """Captum 0.9.0's LRP with its rules, as the first call on a model gives it: (N, H, W), signed.

    Trap: ``Alpha1_Beta0_Rule`` clamps the weights alone, and so is not α = 1, β = 0 where a layer
    reads negative values, as the first one does of every normalised picture: x = (1, -2) and
    w = (1, -1) give the relevance (3, 0) of 3 instead of (1, 2).

    Trap: captum does not see what a network computes with ``+``. On a ResNet both branches of each
    residual sum get the whole relevance, without a word. A functional ReLU gives another map than
    ``nn.ReLU``.
    """
    from captum.attr._utils.lrp_rules import Alpha1_Beta0_Rule, EpsilonRule

    model = _copy(classifier.module)
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.rule = Alpha1_Beta0_Rule(set_bias_to_zero=set_bias_to_zero)
        elif isinstance(module, nn.Linear):
            module.rule = EpsilonRule()
    return _captum_lrp(model, x, target)


@PARTS(
    "LRP (captum, later calls)",
    "captum 0.9.0, its rules gone: EpsilonRule(1e-9) everywhere",
    **LRP,
    refuses=partial(_refused, given=()),
)
def captum_lrp_second_call(classifier: Classifier, x: Tensor, target: Tensor) -> Tensor:
    """Captum 0.9.0's LRP as every call after the first on a model gives it: (N, H, W), signed.

    Trap: ``attribute()`` of captum 0.9.0 deletes the rules when it ends (its issue 1059). From
    the second call on ``EpsilonRule`` with ε = 1e-9 stands everywhere, which is LRP-0 in practice.
    This function gives captum no rules in the first place, which comes to the same numbers.
    """
    return _captum_lrp(_copy(classifier.module), x, target)


@PARTS(
    "Grad-CAM++ (grad-cam)",
    "grad-cam 1.5.7; Chattopadhay et al. 2018, eq. 19, with 1e-6 in the denominator",
    **CAM,
)
def library_grad_cam_plus_plus(classifier: Classifier, x: Tensor, target: Tensor) -> Tensor:
    r"""grad-cam's Grad-CAM++, (N, H, W) in [0, 1).

    .. math:: \alpha_{kij} = \frac{g_{kij}^2}{2 g_{kij}^2 + g_{kij}^3 \sum_{ab} A_{kab} + 10^{-6}}

    Trap: the 1e-6 is absolute. Gradients behind a deep network are small, and where g² is near it
    the weights are no longer those of Chattopadhay et al. 2018, eq. 19, but grow with g³. The map
    is scaled to [0, 1] twice, each time with 1e-7 in the denominator.
    """
    return _library_cam(classifier, x, target)


@PARTS(
    "Grad-CAM++ (grad-cam, targets=None)",
    "grad-cam 1.5.7 with targets=None",
    **CAM,
    class_specific=False,
)
def grad_cam_plus_plus_no_target(classifier: Classifier, x: Tensor, target: Tensor) -> Tensor:
    """`library_grad_cam_plus_plus`, (N, H, W), with ``targets=None``: ``target`` is ignored.

    Trap: the library then explains the class that it predicts for each image, whatever is asked.
    """
    return _library_cam(classifier, x, None)


def _copy(module: nn.Module) -> nn.Module:
    """A deep copy without the caller's hooks and captum rules."""
    model = copy.deepcopy(module)
    for part in model.modules():
        for hooks in ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks"):
            getattr(part, hooks).clear()
        if hasattr(part, "rule"):
            del part.rule
    return model


def _captum_lrp(model: nn.Module, x: Tensor, target: Tensor) -> Tensor:
    """The mean over channels of what captum makes of ``model``, which is a copy."""
    from captum.attr import LRP

    def count(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        asking.asked(len(inputs[0]))

    model.register_forward_pre_hook(count)
    index = target.to(x.device, copy=True)  # usable in gradients
    found = LRP(model).attribute(x.clone().requires_grad_(), target=index)
    return found.detach().mean(1)


def _library_cam(classifier: Classifier, x: Tensor, target: Tensor | None) -> Tensor:
    with environment_kept():
        from pytorch_grad_cam import GradCAMPlusPlus
        from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    twin = Twin(classifier.graph_for(x), cam_layer=classifier.cam_layer)
    run = GradCAMPlusPlus(twin, [twin.cam_layer], reshape_transform=as_maps(classifier))
    targets = None if target is None else [ClassifierOutputTarget(t) for t in target.tolist()]
    with torch.enable_grad():
        found = run(input_tensor=x.clone().requires_grad_(), targets=targets)
    return torch.from_numpy(found).to(x.device)


_FIRST, _SECOND, _TARGET, _NO_TARGET = PARTS


def _hybrid(cam: Method, lrp: Method) -> Method:
    by_cam, says_cam = ("target", "grad-cam") if cam is _TARGET else ("no_target", "targets=None")
    by_lrp, says_lrp = ("first", "first call") if lrp is _FIRST else ("second", "later calls")
    return replace(
        combine(cam, lrp),
        name=f"published_hybrid_{by_cam}_{by_lrp}_call",
        title=f"hybrid ({says_cam}, captum's {says_lrp})",
        family=cam.family,
    )


TABLE = (*PARTS, *(_hybrid(cam, lrp) for cam in (_TARGET, _NO_TARGET) for lrp in (_FIRST, _SECOND)))
