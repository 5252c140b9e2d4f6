"""The scene classifiers' weights on disk, and the manifest that says how each was made."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from safetensors.torch import load, save
from torch import nn

from xaiutils.pictures.scenes import CLASSES, MEAN, SIZE, STD
from xaiutils.pictures.scenes.networks import ARCHITECTURES, VGG_WIDTHS, SceneVGG, data_folder
from xaiutils.support import chance, checks
from xaiutils.support.files import write_whole


def network_name(architecture: str, seed: int) -> str:
    """The name of a network in the manifest and in `MODELS`: ``scenes_vgg_seed0``."""
    return f"scenes_{checks.choice('architecture', architecture, ARCHITECTURES)}_seed{seed}"


def save_scene_net(
    net: nn.Module, architecture: str, seed: int, out: Path, record: dict[str, Any]
) -> dict[str, Any]:
    """Write the weights and their entry in ``manifest.json``, each by one rename."""
    name = network_name(architecture, seed)
    out.mkdir(parents=True, exist_ok=True)
    content = save({key: value.contiguous() for key, value in net.state_dict().items()})
    file = f"{name}.safetensors"
    entry = {
        "architecture": architecture,
        "seed": seed,
        "file": file,
        "sha256": hashlib.sha256(content).hexdigest(),
        "bytes": len(content),
    }
    path = out / "manifest.json"
    networks = json.loads(path.read_text())["networks"] if path.exists() else {}
    manifest = {
        "networks": dict(sorted((networks | {name: entry | record}).items())),
        "licence": "MIT",
        "command": "xaiutils train-scenes --architecture ARCHITECTURE --seed SEED --out data",
        "classes": CLASSES,
        "size": SIZE,
        "mean": MEAN,
        "std": STD,
        "vgg_widths": VGG_WIDTHS,
    }
    write_whole(out / file, lambda stream: stream.write(content))
    text = (json.dumps(manifest, indent=1) + "\n").encode()
    write_whole(path, lambda stream: stream.write(text))
    return entry | record


def load_scene_net(name: str = "scenes_vgg_seed0", folder: Path | None = None) -> nn.Module:
    """A shipped classifier in eval mode, after checking the sha256 of its weights."""
    folder = folder or data_folder()
    networks = json.loads(_read(folder / "manifest.json"))["networks"]
    entry = networks[checks.choice("name", name, networks)]
    weights = folder / entry["file"]
    content = _read(weights)
    found = hashlib.sha256(content).hexdigest()
    if found != entry["sha256"]:
        raise ValueError(f"{weights} must have sha256 {entry['sha256']}, got {found}")
    kind = entry["architecture"]
    with chance.Drawn(0):  # on disk the vgg's batch norm is folded
        net = SceneVGG(folded=True) if kind == "vgg" else ARCHITECTURES[kind]()
    net.load_state_dict(load(content))
    return net.eval()


def _read(path: Path) -> bytes:
    if not path.is_file():
        raise FileNotFoundError(f"{path} must exist; make it with xaiutils train-scenes")
    return path.read_bytes()
