"""The paper's parts as its libraries compute them, faults and all: for reproduction only.

captum 0.9.0 and grad-cam 1.5.7, of the libraries that the paper names without a version, give
other maps than the equations do. Each function shows one of their traps, and the hybrids are the
four pairs of such a CAM and such an LRP. Nothing here is a default anywhere.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from xaiutils.methods.combination import combine
from xaiutils.methods.masking import as_maps
from xaiutils.methods.record import NONNEGATIVE, SIGNED, Method, Setting, no_graph
from xaiutils.network.classifier import Classifier
from xaiutils.network.hookable import Twin
from xaiutils.support import asking
from xaiutils.support.borrowed import environment_kept


def captum_lrp_first_call(
    classifier: Classifier, x: Tensor, target: Tensor, *, set_bias_to_zero: bool = True
) -> Tensor:
    """captum 0.9.0's LRP with its rules, as the first call on a model gives it: (N, H, W), signed.

    ``Alpha1_Beta0_Rule`` on convolutions, ``EpsilonRule`` on linear layers, mean over channels.

    Trap: that rule clamps the weights alone, and so is not α = 1, β = 0 where a layer reads
    negative values, as the first one does of every normalised picture: x = (1, -2) and
    w = (1, -1) give the relevance (3, 0) of 3 instead of (1, 2). Its denominators come close to
    0 there, and the relevance of those pixels grows without bound.

    Trap: captum does not see what a network computes with ``+``. On a ResNet it runs without a
    word and is wrong: both branches of each residual sum get the whole relevance, and on
    torchvision's the sum over the pixels exceeds the logit by orders of magnitude. A functional
    ReLU gives another map than ``nn.ReLU``.

    Args:
        classifier: captum works on a deep copy of its module: it swaps the weights during the
            call, and leaves the activations on the modules afterwards.
        x: (N, C, H, W), preprocessed.
        target: (N,), one class per image.
        set_bias_to_zero: Of the convolutions, captum's name for it.
    """
    from captum.attr._utils.lrp_rules import Alpha1_Beta0_Rule, EpsilonRule

    model = _copy(classifier.module)
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.rule = Alpha1_Beta0_Rule(set_bias_to_zero=set_bias_to_zero)
        elif isinstance(module, nn.Linear):
            module.rule = EpsilonRule()
    return _captum_lrp(model, x, target)


def captum_lrp_second_call(classifier: Classifier, x: Tensor, target: Tensor) -> Tensor:
    """captum 0.9.0's LRP as every call after the first on a model gives it: (N, H, W), signed.

    Trap: ``attribute()`` of captum 0.9.0 deletes the rules when it ends (its issue 1059). From
    the second call on ``EpsilonRule`` with ε = 1e-9 stands everywhere, which is LRP-0 in
    practice, whatever the paper's composite says. Nothing tells. This function gives captum no
    rules in the first place, which comes to the same numbers, and costs one call.

    Args:
        classifier, x, target: As in `captum_lrp_first_call`; residual sums are wrong here too.
    """
    return _captum_lrp(_copy(classifier.module), x, target)


def library_grad_cam_plus_plus(classifier: Classifier, x: Tensor, target: Tensor) -> Tensor:
    r"""grad-cam's Grad-CAM++, (N, H, W) in [0, 1).

    .. math:: \alpha_{kij} = \frac{g_{kij}^2}{2 g_{kij}^2 + g_{kij}^3 \sum_{ab} A_{kab} + 10^{-6}}

    Trap: the 1e-6 is absolute. Gradients behind a deep network are small, and where g² is near it
    the weights are no longer those of Chattopadhay et al. 2018, eq. 19, but grow with g³. The map
    is scaled to [0, 1] twice, each time with 1e-7 in the denominator.
    """
    return _library_cam(classifier, x, target)


def grad_cam_plus_plus_no_target(classifier: Classifier, x: Tensor, target: Tensor) -> Tensor:
    """`library_grad_cam_plus_plus`, (N, H, W), with ``targets=None``: ``target`` is ignored.

    Trap: the library then explains the class that it predicts for each image. Whoever compares
    the map with LRP of another class, or with that of a random class, compares two classes: the
    map is the same for all, and a test of class sensitivity scores it as if it were constant.
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


_FAMILY = "as published, faulty"
_CAPTUM, _GRAD_CAM = "captum 0.9.0", "grad-cam 1.5.7"

_PARTS: tuple[Method, ...] = (
    Method(
        name="captum_lrp_first_call",
        title="LRP (captum, first call)",
        function=captum_lrp_first_call,
        family=_FAMILY,
        classes_only=True,
        sign=SIGNED,
        source=f"{_CAPTUM}, Alpha1_Beta0_Rule on Conv2d, EpsilonRule on Linear",
        passes="2 * F + B",
        settings=MappingProxyType(
            {
                "set_bias_to_zero": Setting(
                    True, "nearer to α = 1, β = 0: biases of both signs bring z close to 0", False
                )
            }
        ),
        refuses=partial(_refused, given=(nn.Conv2d, nn.Linear)),
    ),
    Method(
        name="captum_lrp_second_call",
        title="LRP (captum, later calls)",
        function=captum_lrp_second_call,
        family=_FAMILY,
        classes_only=True,
        sign=SIGNED,
        source=f"{_CAPTUM}, its rules gone: EpsilonRule(1e-9) everywhere",
        passes="2 * F + B",
        refuses=partial(_refused, given=()),
    ),
    Method(
        name="library_grad_cam_plus_plus",
        title="Grad-CAM++ (grad-cam)",
        function=library_grad_cam_plus_plus,
        family=_FAMILY,
        pictures_only=True,
        classes_only=True,
        sign=NONNEGATIVE,
        source=f"{_GRAD_CAM}; Chattopadhay et al. 2018, eq. 19, with 1e-6 in the denominator",
        passes="F + B",
        refuses=no_graph,
    ),
    Method(
        name="grad_cam_plus_plus_no_target",
        title="Grad-CAM++ (grad-cam, targets=None)",
        function=grad_cam_plus_plus_no_target,
        family=_FAMILY,
        pictures_only=True,
        classes_only=True,
        sign=NONNEGATIVE,
        source=f"{_GRAD_CAM} with targets=None",
        passes="F + B",
        class_specific=False,
        refuses=no_graph,
    ),
)
_FIRST_CALL, _SECOND_CALL, _TARGET, _NO_TARGET = _PARTS


def _hybrid(name: str, title: str, cam: Method, lrp: Method) -> Method:
    return replace(combine(cam, lrp), name=name, title=title, family=_FAMILY)


TABLE: tuple[Method, ...] = (
    *_PARTS,
    _hybrid(
        "published_hybrid_target_first_call",
        "hybrid (grad-cam, captum's first call)",
        _TARGET,
        _FIRST_CALL,
    ),
    _hybrid(
        "published_hybrid_target_second_call",
        "hybrid (grad-cam, captum's later calls)",
        _TARGET,
        _SECOND_CALL,
    ),
    _hybrid(
        "published_hybrid_no_target_first_call",
        "hybrid (targets=None, captum's first call)",
        _NO_TARGET,
        _FIRST_CALL,
    ),
    _hybrid(
        "published_hybrid_no_target_second_call",
        "hybrid (targets=None, captum's later calls)",
        _NO_TARGET,
        _SECOND_CALL,
    ),
)
