"""Writes ``docs/models.md``: which networks of torchvision, timm and Hugging Face are explained.

``make models`` builds every network with random weights that are lively everywhere, explains one
picture, and writes down what came: CAM, relevance, hybrid, what the ledger misses, or the refusal.
``python docs/models.py resnet swin`` tries only the networks whose names contain one of the words,
and writes nothing.
"""

from __future__ import annotations

import math
import multiprocessing
import os
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any
from unittest import mock

import torch
import torchvision
from torch import Tensor, nn

import xaiutils as xai

PAGE = Path(__file__).parent / "models.md"
CLASSES = 10
MAY_REFUSE = {"timm": 4}
CLOSES = (
    1e-4  # of the start, or of all relevance: rounding of float32 in networks of a hundred layers
)

# At least one network of every family of timm 1.0, with the side of the picture: 64 where the
# network takes it. Of a family the smallest network, for what counts is what it consists of.
_FAMILIES = """
beit_base_patch16_224 botnet26t_256 repvgg_a0 lambda_resnet26t cait_xxs24_224 coat_lite_tiny
convit_tiny convmixer_768_32 convnext_atto cpubone_nano crossvit_9_240 csatv2 cs3darknet_s
cspnext_tiny davit_tiny deepseek_vit_412m deit_tiny_distilled_patch16_224 densenet121 dla34
dpn48b edgenext_xx_small efficientformer_l1 efficientformerv2_s0 efficientnet_b0 efficientvim_m1
efficientvit_b0 efficientvit_m0 eva02_tiny_patch14_224 fasternet_t0 fastvit_t8 focalnet_tiny_srf
gcvit_xxtiny gemma4_vit_167m ghostnet_050 hardcorenas_a hgnetv2_b0 hiera_tiny_224
sam2_hiera_tiny hrnet_w18_small iformer_t inception_next_atto inception_resnet_v2 inception_v3
inception_v4 lcnetv2_small levit_128s lowformer_b0 mambaout_femto coatnet_nano_rw_224
maxvit_pico_rw_256 poolformer_s12 caformer_s18 mixer_s32_224 mobilenetv3_small_050
mobilenetv5_base mobilevit_xxs mvitv2_tiny naflexvit_base_patch16_gap nasnetalarge nest_tiny
nextvit_small nfnet_l0 pit_ti_224 pnasnet5large pvt_v2_b0 qwen3_vit_88m rdnet_tiny regnety_002
repghostnet_050 repvit_m0_9 res2net50_14w_8s resnest14d resnet50 resnetv2_50 rexnet_100
selecsls42 legacy_seresnet18 sequencer2d_s shvit_s1 skresnet18 starnet_s050 swiftformer_xs
swin_tiny_patch4_window7_224 swinv2_tiny_window8_256 swinv2_cr_tiny_224 tiny_vit_5m_224
tnt_s_patch16_224 tresnet_m twins_svt_small vgg11_bn visformer_tiny vit_tiny_patch16_224
vit_tiny_r_s16_p8_224 vit_relpos_small_patch16_224 samvit_base_patch16_224 vitamin_small_224
volo_d1_224 ese_vovnet19b_slim_dw legacy_xception xception41 xcit_nano_12_p16_224
"""
TIMM = dict.fromkeys(_FAMILIES.split(), 64) | {
    "deepseek_vit_412m": 56,
    "crossvit_9_240": 240,
    "efficientformer_l1": 224,
    "inception_resnet_v2": 96,
    "inception_v3": 96,
    "inception_v4": 96,
    "csatv2": 256,
}

# Small networks of each architecture, from a configuration, without a download.
_VIT = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
_VIT |= {"intermediate_size": 64, "image_size": 64, "patch_size": 16}
_SWIN = {"image_size": 64, "patch_size": 2, "embed_dim": 16, "depths": [2, 2], "num_heads": [2, 4]}
_STAGES = {"hidden_sizes": [16, 32, 48, 64], "depths": [1, 1, 2, 1]}
HUGGING_FACE: dict[str, dict[str, Any]] = {
    "Beit": _VIT | {"use_relative_position_bias": True, "layer_scale_init_value": 0.1},
    "ConvNext": _STAGES,
    "ConvNextV2": _STAGES,
    "Deit": _VIT,
    "Dinov2": _VIT,
    "EfficientNet": {"width_coefficient": 0.25, "depth_coefficient": 0.25, "hidden_dim": 320},
    "Levit": {"image_size": 64, "hidden_sizes": [32, 48, 64], "num_attention_heads": [2, 3, 4]}
    | {"depths": [2, 2, 2], "key_dim": [8, 8, 8]},
    "MobileNetV1": {"depth_multiplier": 0.25},
    "MobileNetV2": {"depth_multiplier": 0.25},
    "MobileViT": {"image_size": 64, "hidden_sizes": [24, 32, 40], "num_attention_heads": 4},
    "PoolFormer": _STAGES,
    "RegNet": _STAGES | {"groups_width": 8},
    "ResNet": _STAGES | {"embedding_size": 16},
    "Swin": _SWIN | {"window_size": 4},
    "Swinv2": _SWIN | {"window_size": 4},
    "ViT": _VIT,
}


def timm_network(name: str, side: int) -> nn.Module:
    """A network of timm; those that are made for one size are made for this one."""
    import timm

    try:
        return timm.create_model(name, num_classes=CLASSES, img_size=side)
    except TypeError:  # takes any size
        return timm.create_model(name, num_classes=CLASSES)


def hugging_face_network(name: str) -> nn.Module:
    """A network of transformers."""
    import transformers

    known = {"Deit": "DeiT"}.get(name, name)
    configuration = getattr(transformers, f"{known}Config")(
        num_labels=CLASSES, **HUGGING_FACE[name]
    )
    return getattr(transformers, f"{known}ForImageClassification")(configuration)


def torchvision_network(name: str, side: int) -> nn.Module:
    """A network of torchvision, without the branches that only training uses."""
    options: dict[str, Any] = {"num_classes": CLASSES}
    if name in ("googlenet", "inception_v3"):
        options |= {"aux_logits": False, "init_weights": False}
    if name.startswith("vit"):
        options["image_size"] = side
    return torchvision.models.get_model(name, weights=None, **options)


def torchvision_side(name: str) -> int:
    """The side of the picture: small where the network takes any."""
    return {"maxvit_t": 224, "inception_v3": 128, "vit_h_14": 56}.get(name, 64)


def networks() -> Iterator[Network]:
    """Every network of the page."""
    for name in torchvision.models.list_models(module=torchvision.models):
        yield Network("torchvision", name, torchvision_side(name))
    for name, side in sorted(TIMM.items()):
        yield Network("timm", name, side)
    for name in HUGGING_FACE:
        yield Network("Hugging Face", name, 64)


@dataclass(frozen=True)
class Network:
    """One network: its library, its name there, and the side of its pictures."""

    library: str
    name: str
    side: int

    def build(self) -> nn.Module:
        """The network as its library makes it, without weights."""
        if self.library == "timm":
            return timm_network(self.name, self.side)
        if self.library == "torchvision":
            return torchvision_network(self.name, self.side)
        return hugging_face_network(self.name)


@contextmanager
def undrawn() -> Iterator[None]:
    """Weights that would be drawn at random are zero: `enlivened` draws them, and in less time."""
    with ExitStack() as stack:
        for name in ("normal_", "uniform_"):
            stack.enter_context(
                mock.patch.object(Tensor, name, lambda self, *_, **__: self.zero_())
            )
        yield


def enlivened(net: nn.Module, x: Tensor) -> nn.Module:
    """The network in eval mode with nothing trivial in it.

    Weights of several dimensions get the variance that keeps a signal's; what else is constant
    (scales of norms and layers, biases, tokens, tables of positions) becomes random; batch norms
    get the statistics of pictures ``x``.
    """
    norms = [m for m in net.eval().modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if bool((parameter != parameter.flatten()[0]).any()):
                continue
            fan_in = parameter[0].numel()
            if bool((parameter == 1).all()):
                parameter.uniform_(0.5, 1.5)
            elif name.endswith("weight") and fan_in > 1:
                parameter.normal_(std=fan_in**-0.5)
            else:
                parameter.normal_(std=0.1)
        for norm in norms:
            norm.train()
            norm.momentum = None
        net(x)
    return net.eval()


@dataclass
class Row:
    """What came of one network; an empty text where it worked."""

    network: Network
    cam: str = ""
    relevance: str = ""
    hybrid: str = ""
    layer: str = ""
    reason: str = ""
    residual: float = math.nan
    seconds: float = math.nan

    @property
    def refusal(self) -> str:
        """The first thing that was refused, and how; empty where the network is explained."""
        found = {"CAM": self.cam, "relevance": self.relevance, "hybrid": self.hybrid}
        said = next((f"{what}: {text}" for what, text in found.items() if text), "")
        if said or self.residual <= CLOSES:
            return said
        return f"the ledger misses {self.residual:.1e} of what was spent"

    def __str__(self) -> str:
        """The row of a table; numbers by their order alone, so that machines agree on them."""
        answer = f"no: {self.refusal}" if self.refusal else "yes"
        cells = [self.network.name, f"`{self.layer}`" if self.layer else "", self.reason]
        cells += [answer.replace("|", "/"), _order(self.residual), _order(self.seconds)]
        return "| " + " | ".join(cells) + " |"


def _order(value: float) -> str:
    """The power of ten that is not below a number; nothing for what is none."""
    if math.isnan(value):
        return ""
    return "0" if value == 0 else f"≤ 1e{math.ceil(math.log10(value))}"


def tried(network: Network) -> Row:
    """Build a network, enliven it, explain a picture; whatever is raised is written down."""
    row = Row(network)

    def attempt(step: Callable[[], Any]) -> tuple[Any, str]:
        try:
            return step(), ""
        except Exception as error:  # each refusal is written down
            return None, f"{type(error).__name__}: {error}"

    torch.manual_seed(0)
    pictures = torch.randn(8, 3, network.side, network.side)
    with undrawn():
        built = network.build()
    net, x, began = enlivened(built, pictures), pictures[:1], time.perf_counter()
    mean, std = [0.0] * 3, [1.0] * 3
    classifier, refusal = attempt(lambda: xai.wrap(net, mean=mean, std=std, size=network.side))
    if classifier is None:
        row.cam = row.relevance = row.hybrid = refusal
        return row
    row.layer = classifier.cam_layer
    row.reason = re.sub(r" \(\d.*?\)|;.*| of \d+ x \d+ patches", "", classifier.cam_reason)
    explanation, row.hybrid = attempt(lambda: xai.explain(classifier, x))
    row.seconds = time.perf_counter() - began
    if explanation is None:
        _, row.cam = attempt(lambda: xai.grad_cam_plus_plus(classifier, x))
        _, row.relevance = attempt(lambda: xai.relevance(classifier, x))
    else:
        ledger = explanation.conservation
        spent = explanation.relevance_per_channel.abs().sum()
        row.residual = float(ledger.residual.abs() / ledger.start.abs().maximum(spent))
    return row


HEAD = """# Which networks can be explained

Random weights, lively everywhere: no scale is one, no bias zero, no token the same for all
channels. Of one picture in float32: Grad-CAM++, relevance by the paper's composite, and the hybrid;
how much the ledger misses of the start, or of all relevance without its sign where that is more:
rounding; seconds from `xai.wrap` to the hybrid, with the capture of the graph. What is refused is
refused by name. timm {timm}, at least one network of each of its families; Hugging Face's
transformers {transformers}; torchvision {torchvision}. Made by `make models`.
"""
COLUMNS = """
| model | CAM layer | why this layer | CAM, relevance and hybrid | the ledger misses | seconds |
|---|---|---|---|---|---|
"""


def page(rows: list[Row]) -> str:
    """The page: counts, then a table for each library."""
    libraries = list(dict.fromkeys(row.network.library for row in rows))
    own = {name: [row for row in rows if row.network.library == name] for name in libraries}
    counts = "\n| networks of | tried | explained |\n|---|---|---|\n"
    tables = ""
    for name, found in own.items():
        explained = sum(not row.refusal for row in found)
        counts += f"| {name} | {len(found)} | {explained} |\n"
        tables += f"\n## {name}\n{COLUMNS}" + "".join(f"{row}\n" for row in found)
    versions = {name: version(name) for name in ("timm", "transformers", "torchvision")}
    return HEAD.format(**versions) + counts + tables


def main() -> int:
    """Try the networks named, or all and write the page; 1 where too many are refused."""
    words = sys.argv[1:]
    chosen = [n for n in networks() if not words or any(word in n.name for word in words)]
    # A few networks to a process: what libraries keep for themselves goes with it. A pool whose
    # workers end by themselves (max_tasks_per_child) may wait for ever, cpython issue 115634.
    context, workers = multiprocessing.get_context("spawn"), os.cpu_count() or 1
    rows: list[Row] = []
    for first in range(0, len(chosen), 10 * workers):
        with ProcessPoolExecutor(workers, context) as pool:
            for row in pool.map(tried, chosen[first : first + 10 * workers]):
                rows.append(row)
                print(f"{len(rows):3d} of {len(chosen)} {row.network.library} {row}", flush=True)
    refused = Counter(row.network.library for row in rows if row.refusal)
    if not words:
        PAGE.write_text(page(rows), encoding="utf-8")
    print(dict(refused) or "all are explained")
    return int(any(count > MAY_REFUSE.get(name, 0) for name, count in refused.items()))


if __name__ == "__main__":
    sys.exit(main())
