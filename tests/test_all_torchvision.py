"""Every torchvision classifier has a CAM layer, and a rule for each operation.

Plans need no weights, so the networks are built on the meta device where their builders allow it.
"""

from __future__ import annotations

import pytest
import torch
import torchvision
from torch import nn

from xaiutils.cam_layer import find_cam_layer
from xaiutils.composites import COMPOSITES
from xaiutils.graph import Graph
from xaiutils.lrp import propagate
from xaiutils.plan import Plan
from xaiutils.registry import MODELS

NAMES = [name for name, record in MODELS.items() if record.family == "torchvision"]
RUN = (
    "alexnet",
    "convnext_tiny",
    "densenet121",
    "efficientnet_b0",
    "googlenet",
    "mnasnet0_5",
    "mobilenet_v2",
    "mobilenet_v3_small",
    "regnet_x_400mf",
    "resnet18",
    "shufflenet_v2_x0_5",
    "squeezenet1_1",
)
MORE = ("inception_v3", "resnext50_32x4d", "vgg11", "vit_b_32")


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


EACH = [  # of a family that has no network in RUN, one more
    pytest.param(name, marks=[pytest.mark.slow] * (name not in (*RUN, *MORE))) for name in NAMES
]


@pytest.mark.parametrize("name", EACH)
def test_there_is_a_plan(name: str) -> None:
    graph = Graph(build(name), (3, size(name), size(name)))
    step, reason = find_cam_layer(graph)
    assert step.path
    assert ("tokens of" if name.startswith("vit") else "feature map") in reason
    Plan(graph, COMPOSITES["paper"], step)


@pytest.mark.parametrize("name", RUN)
def test_the_ledger_closes_in_a_real_run(name: str) -> None:
    torch.manual_seed(0)
    options = {"init_weights": False, "aux_logits": False} if name == "googlenet" else {}
    net = torchvision.models.get_model(name, weights=None, num_classes=10, **options)
    x = torch.randn(4, 3, 64, 64)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
    with torch.no_grad():
        net.train()(x)
    graph = Graph(net.eval().double(), (3, 64, 64))
    plan = Plan(graph, COMPOSITES["paper"], find_cam_layer(graph)[0])
    record = graph.run(x[:1].double(), inputs_of=plan.inputs_of, graph_of=plan.graph_of)
    ledger = propagate(plan, record, record.logits.detach(), forget=True).ledger
    assert float(ledger.input.abs()) > 0
    assert float((ledger.residual / ledger.start).abs()) <= 1e-9
