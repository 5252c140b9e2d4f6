"""Methods that change the gradient of ReLUs: captum's, on the twin network.

In the twin each ReLU is a module of its own, a functional one too: captum sees no other.
"""

from __future__ import annotations

from contextlib import AbstractContextManager

from torch import Tensor, nn

from xaiutils.methods.arguments import Answer, by_answer, leaf
from xaiutils.methods.record import SIGNED, Setting, Table
from xaiutils.network.cam_layer import reading
from xaiutils.network.classifier import Classifier
from xaiutils.network.hookable import Twin
from xaiutils.network.kinds import ACTIVATION, GATE
from xaiutils.network.targets import Question
from xaiutils.support import checks
from xaiutils.support.borrowed import silenced


def hooking() -> AbstractContextManager[None]:
    """Captum warns that it hooks the network; here that is the twin, which nobody else has."""
    return silenced("Setting .*hooks", UserWarning)


def _without_relu(classifier: Classifier) -> str | None:
    """Why a method that changes the gradient of ReLUs cannot explain this network, or None."""
    if any(isinstance(module, nn.ReLU) for module in Twin(classifier.graph).modules()):
        return None
    steps = (step for step in classifier.graph.steps if step.kind in (ACTIVATION, GATE))
    found = ", ".join(sorted({step.operation for step in steps})) or "no activation"
    return (
        f"the method changes the gradient of ReLUs, and the network has none (it has {found}); "
        "saliency, smooth_grad and integrated_gradients need none"
    )


def _without_map(classifier: Classifier) -> str | None:
    """Why Guided Grad-CAM cannot explain this network, or None."""
    graph = classifier.graph
    if kind := reading(graph, graph.find(classifier.cam_layer)).kind:
        return f"its CAM layer gives {kind}, not feature maps; grad_cam reads both"
    return _without_relu(classifier)


TABLE = Table(family="gradient", sign=SIGNED, refuses=_without_relu)


@TABLE("Guided backpropagation", "Springenberg et al. 2014, section 3.4")
@by_answer
def guided_backprop(asked: Answer, x: Tensor) -> Tensor:
    """Guided backpropagation: (N, H, W), signed.

    The gradient passes a ReLU only where the input and the gradient itself are positive; other
    activations keep their derivative.
    """
    from captum.attr import GuidedBackprop

    with hooking():
        return GuidedBackprop(asked).attribute(leaf(x)).mean(1)


@TABLE("Deconvolution", "Zeiler and Fergus 2014, section 2.1")
@by_answer
def deconvolution(asked: Answer, x: Tensor) -> Tensor:
    """Deconvolution, in the form of a gradient by Simonyan et al. 2013: (N, H, W), signed.

    The gradient passes a ReLU where the gradient itself is positive, whatever the input. Behind
    many layers whose weights are negative on average nothing is left: on SqueezeNet trained on
    ImageNet the map is zero.
    """
    from captum.attr import Deconvolution

    with hooking():
        return Deconvolution(asked).attribute(leaf(x)).mean(1)


@TABLE(
    "Guided Grad-CAM",
    "Selvaraju et al. 2017, section 3.2",
    passes="2 * (F + B)",
    settings={
        "interpolation": Setting(
            "bilinear",
            "as Selvaraju et al.; captum's default draws the CAM layer's cells as squares",
            stock="nearest",
        )
    },
    refuses=_without_map,
    pictures_only=True,
)
def guided_grad_cam(
    classifier: Classifier, x: Tensor, target: Question, *, interpolation: str
) -> Tensor:
    """Guided backpropagation times Grad-CAM at the classifier's CAM layer: (N, H, W), signed.

    Grad-CAM is enlarged to the image, ``"bilinear"`` or ``"nearest"``, but not scaled.
    """
    from captum.attr import GuidedGradCam

    checks.choice("interpolation", interpolation, ("bilinear", "nearest"))
    twin = Twin(classifier.graph_for(x), classifier.cam_layer)
    with hooking():
        method = GuidedGradCam(Answer(twin, target), twin.cam_layer)
        return method.attribute(leaf(x), interpolate_mode=interpolation).mean(1)
