"""The scene classifier: its architecture, and its weights on disk.

The weights are looked for in ``data/`` beside the package (an editable install) or in the folder
that ``XAIUTILS_DATA`` names.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load, save
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from xaiutils import checks
from xaiutils.scenes import CLASSES, MEAN, SIZE, STD

WIDTHS: tuple[tuple[int, ...], ...] = ((8,), (16, 16), (32, 32), (64, 64))
CAM_LAYER = "features.16"  # of the folded network: the last ReLU, 64 maps of 16 × 16


class SceneNet(nn.Module):
    """A small VGG: blocks of 3 × 3 convolutions, global average pooling, two linear layers.

    Args:
        folded: build the shipped form, without batch norm and with convolution biases.

    Input ``(N, 3, H, W)`` normalised by ``MEAN`` and ``STD``; output logits ``(N, 6)``.
    """

    def __init__(self, folded: bool = False) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for block in WIDTHS:
            for width in block:
                layers.append(nn.Conv2d(channels, width, 3, padding=1, bias=folded))
                layers += [] if folded else [nn.BatchNorm2d(width)]
                layers.append(nn.ReLU())
                channels = width
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(
            nn.Linear(channels, 64), nn.ReLU(), nn.Linear(64, len(CLASSES))
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits ``(N, 6)`` of a normalised batch ``(N, 3, H, W)``."""
        x = self.avgpool(self.features(x))
        return self.classifier(torch.flatten(x, 1))


def fold(net: SceneNet) -> SceneNet:
    """Return a new network in eval mode with batch norm folded into the convolutions."""
    convolutions: list[nn.Module] = []
    layers = list(net.eval().features)
    for layer, following in zip(layers, [*layers[1:], None], strict=True):
        if isinstance(layer, nn.Conv2d) and isinstance(following, nn.BatchNorm2d):
            convolutions.append(fuse_conv_bn_eval(layer, following))
    result = SceneNet(folded=True)
    targets = [layer for layer in result.features if isinstance(layer, nn.Conv2d)]
    for target, source in zip(targets, convolutions, strict=True):
        target.load_state_dict(source.state_dict())
    result.classifier.load_state_dict(net.classifier.state_dict())
    return result.eval()


def normalise(pictures: np.ndarray | torch.Tensor) -> torch.Tensor:
    """Turn ``(N, H, W, 3)`` uint8 into ``(N, 3, H, W)`` float32 in [-2, 2]."""
    x = torch.as_tensor(pictures).permute(0, 3, 1, 2).float() / 255
    return (x - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]


def data_folder() -> Path:
    """Return ``XAIUTILS_DATA`` if it is set, else ``data/`` beside the package."""
    return Path(os.environ.get("XAIUTILS_DATA") or Path(__file__).parents[1] / "data")


def save_scene_net(net: SceneNet, seed: int, out: Path, record: dict[str, Any]) -> dict[str, Any]:
    """Write the weights and their entry in ``manifest.json``, each by one rename."""
    out.mkdir(parents=True, exist_ok=True)
    name = f"scenes_vgg_seed{seed}.safetensors"
    content = save({key: value.contiguous() for key, value in net.state_dict().items()})
    entry = {"file": name, "sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    path = out / "manifest.json"
    manifest = json.loads(path.read_text()) if path.exists() else {"seeds": {}}
    manifest |= {
        "licence": "MIT",
        "command": "xaiutils train-scenes --seed SEED --out data",
        "classes": CLASSES,
        "size": SIZE,
        "mean": MEAN,
        "std": STD,
        "widths": WIDTHS,
    }
    manifest["seeds"] = dict(sorted((manifest["seeds"] | {str(seed): entry | record}).items()))
    _replace(out / name, content)
    _replace(path, (json.dumps(manifest, indent=1) + "\n").encode())
    return entry | record


def _replace(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_bytes(content)
    temporary.replace(path)


def load_scene_net(seed: int = 0, folder: Path | None = None) -> SceneNet:
    """Return a shipped classifier in eval mode, after checking the sha256 of its weights.

    Raises:
        FileNotFoundError: no manifest, or no weights for this seed.
        ValueError: the manifest has no such seed, or the weights are not the ones it names.
    """
    folder = folder or data_folder()
    path = folder / "manifest.json"
    if not path.is_file():
        raise FileNotFoundError(f"{path} must exist; make it with xaiutils train-scenes")
    seeds = json.loads(path.read_text())["seeds"]
    if str(seed) not in seeds:
        raise ValueError(f"seed must be one of {', '.join(seeds)}, got {checks.describe(seed)}")
    entry = seeds[str(seed)]
    weights = folder / entry["file"]
    if not weights.is_file():
        raise FileNotFoundError(f"{weights} must exist; make it with xaiutils train-scenes")
    content = weights.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != entry["sha256"]:
        raise ValueError(f"{weights} must have sha256 {entry['sha256']}, got {found}")
    net = SceneNet(folded=True)
    net.load_state_dict(load(content))
    return net.eval()
