"""Every torchvision classifier has a CAM layer, and a rule for each operation.

Plans need no weights, so the networks are built on the meta device where their builders allow it.
"""

from __future__ import annotations

import pytest
import torch
import torchvision
from torch import nn

from xaiutils.lrp.composites import COMPOSITES
from xaiutils.lrp.plan import Plan
from xaiutils.network.cam_layer import find_cam_layer
from xaiutils.network.graph import Graph
from xaiutils.network.weights import MODELS

NAMES = [name for name, record in MODELS.items() if record.family == "torchvision"]
EXPECTED_LAYERS = {
    "vgg16": "features.29", "squeezenet1_0": "features", "alexnet": "features.11",
    "resnet50": "layer4", "googlenet": "inception5b", "inception_v3": "Mixed_7c",
    "densenet121": "relu", "mobilenet_v2": "features", "mobilenet_v3_large": "features",
    "mobilenet_v3_small": "features", "efficientnet_b0": "features", "vgg11_bn": "features.27",
    "shufflenet_v2_x1_0": "conv5", "mnasnet0_5": "layers", "convnext_tiny": "features",
    "swin_t": "permute", "maxvit_t": "blocks.3",
}  # fmt: skip
NOT_ACTIVATED = ("convnext_tiny", "swin_t", "maxvit_t")
DIPPING = ("mobilenet_v3_large", "mobilenet_v3_small", "efficientnet_b0")  # SiLU, Hardswish
LONG = (  # to capture
    *("densenet121", "maxvit_t", "swin_t", "inception_v3", "efficientnet_b0"),
    *("mobilenet_v3_large", "mnasnet0_5", "resnext50_32x4d"),
)
QUICK = ("regnet_x_400mf", "resnext50_32x4d", "vit_b_32", *EXPECTED_LAYERS)


def build(name: str) -> nn.Module:
    """The network without weights; really built only where its builder refuses the meta device."""
    options = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    if name.startswith("regnet"):
        return built_without_values(name)
    with torch.device("meta"):
        return torchvision.models.get_model(name, weights=None, **options).eval()


def built_without_values(name: str) -> nn.Module:
    """RegNet's builder reads numbers from tensors: only its layers are put on the meta device."""
    to_meta = nn.Module.register_parameter

    def register(module: nn.Module, key: str, value: nn.Parameter | None) -> None:
        to_meta(module, key, None if value is None else nn.Parameter(value.to("meta")))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nn.Module, "register_parameter", register)
        return torchvision.models.get_model(name, weights=None).eval().to("meta")


def size(name: str) -> int:
    if name.startswith("vit"):
        return 224  # whatever the published weights take
    return int(torchvision.models.get_model_weights(name).DEFAULT.transforms().crop_size[0])


EACH = [
    pytest.param(name, marks=[pytest.mark.slow] * (name not in QUICK or name in LONG))
    for name in NAMES
]


@pytest.mark.parametrize("name", EACH)
def test_there_is_a_plan_and_a_cam_layer(name: str) -> None:
    graph = Graph(build(name), (3, size(name), size(name)))
    step, reason = find_cam_layer(graph)
    assert step.path
    assert ("tokens of" if name.startswith("vit") else "feature map") in reason
    Plan(graph, COMPOSITES["paper"], step)
    if name not in EXPECTED_LAYERS:
        return
    assert step.path == EXPECTED_LAYERS[name]
    assert step.shape is not None
    _, channels, h, w = step.shape
    assert channels >= 256
    assert 5 <= h == w <= 14
    if name in NOT_ACTIVATED:
        assert "that everything flows through; no activation comes last, so it can" in reason
    else:
        assert reason.startswith(f"last activated feature map ({h} x {w}) before ")
        assert step.nonnegative == (name not in DIPPING)
