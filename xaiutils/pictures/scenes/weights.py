"""The scene classifiers' weights on disk, and the manifest that says how each was made."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from safetensors.torch import load
from torch import nn

from xaiutils.pictures.scenes.networks import ARCHITECTURES, SceneVGG, data_folder
from xaiutils.support import chance, checks


def network_name(architecture: str, seed: int) -> str:
    """The name of a network in the manifest and in `MODELS`: ``scenes_vgg_seed0``."""
    return f"scenes_{checks.choice('architecture', architecture, ARCHITECTURES)}_seed{seed}"


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
        raise FileNotFoundError(f"{path} must exist; make it with `make scenes` in a checkout")
    return path.read_bytes()
