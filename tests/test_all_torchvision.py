"""Every torchvision classifier either has a rule for each operation or is refused by name.

``python tests/test_all_torchvision.py`` writes the table of docs/models.md anew. Plans need no
weights, so the networks are built on the meta device where their builders allow it.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
import torch
import torchvision
from torch import nn

from xaiutils.cam_layer import find_cam_layer
from xaiutils.composites import COMPOSITES
from xaiutils.graph import Graph, GraphError
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
MORE = ("inception_v3", "maxvit_t", "resnext50_32x4d", "swin_v2_t", "vgg11", "vit_b_32")
PAGE = Path(__file__).parents[1] / "docs" / "models.md"
HEAD = """# Which networks can be explained

Every torchvision classifier, with the layer that a CAM reads by default and whether relevance has a
rule for each of its operations. A network without one is refused with an error that names the
place; its CAM works all the same. Made by `python tests/test_all_torchvision.py`.

| model | CAM layer | why this layer | relevance |
|---|---|---|---|
"""


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
        return torchvision.models.get_model(name, weights=None).eval()


def size(name: str) -> int:
    if name.startswith("vit"):
        return 224  # whatever the published weights take
    return int(torchvision.models.get_model_weights(name).DEFAULT.transforms().crop_size[0])


@cache
def support(name: str) -> tuple[str, str, str]:
    """CAM layer, the reason for it, and ``yes`` or the message of the refusal."""
    graph = Graph(build(name), (3, size(name), size(name)))
    step, reason = find_cam_layer(graph)
    try:
        Plan(graph, COMPOSITES["paper"], step)
    except GraphError as error:
        return step.path, reason, str(error)
    return step.path, reason, "yes"


def row(name: str) -> str:
    layer, reason, answer = support(name)
    if answer != "yes":
        answer = "no: " + answer.removeprefix("no relevance rule for ").partition(" in the net")[0]
    return f"| {name} | `{layer}` | {reason} | {answer} |\n"


def page() -> str:
    return HEAD + "".join(map(row, NAMES))


EACH = [  # of a family that has no network in RUN, one more
    pytest.param(name, marks=[pytest.mark.slow] * (name not in (*RUN, *MORE))) for name in NAMES
]


@pytest.mark.parametrize("name", EACH)
def test_there_is_a_plan_or_the_node_without_a_rule_is_named(name: str) -> None:
    layer, reason, answer = support(name)
    assert layer
    assert ("tokens of" if name.startswith("vit") else "feature map") in reason
    windowed = name.startswith("swin")  # its attention is one operation for torch.fx
    assert (answer == "yes") == (not windowed)
    if windowed:
        assert answer.startswith("no relevance rule for shifted_window_attention, at ")
    assert row(name) in PAGE.read_text(), "write it anew: python tests/test_all_torchvision.py"


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


def test_the_documented_table_names_every_network_once() -> None:
    lines = PAGE.read_text().removeprefix(HEAD).splitlines()
    assert [line.split(" | ")[0] for line in lines] == [f"| {name}" for name in NAMES]


@pytest.mark.slow
def test_the_documented_table_is_up_to_date() -> None:
    assert PAGE.read_text() == page(), "write it anew: python tests/test_all_torchvision.py"


if __name__ == "__main__":
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page())
