"""Weights: published ones through torchvision, or a state dict from a file; never pickle."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from xaiutils.support import chance, checks
from xaiutils.support.borrowed import environment_kept


def zoo() -> Any:
    """Torchvision's models: to import them takes a second, and scenes do without."""
    with environment_kept():
        from torchvision import models

    return models


def download(name: str, weights: Any) -> nn.Module:
    """A torchvision model with published weights, fetched once and checked by torchvision."""
    models = zoo()
    try:
        with chance.Drawn(0):  # the first weights, which the published ones then replace
            return models.get_model(name, weights=weights)
    except OSError as error:
        raise FileNotFoundError(
            f"the weights {weights.name} of {name} are not on this machine and cannot be "
            f"downloaded ({error}); fetch {weights.url} elsewhere and give the file: "
            f'load_model("{name}", weights="FILE"), --weights FILE or XAIUTILS_WEIGHTS'
            + (f'; or take those of a package, weights="{PACKAGE}"' if name in PACKAGED else "")
        ) from error
    except RuntimeError as error:
        raise ValueError(f"the weights {weights.name} of {name} must be intact: {error}") from error


def untrained(name: str) -> nn.Module:
    """A torchvision model with random weights, always the same."""
    extra = {}
    if name in ("googlenet", "inception_v3"):  # whose published weights were trained so
        extra = {"transform_input": True, "aux_logits": True, "init_weights": False}
    with chance.Drawn(0):
        model = zoo().get_model(name, weights=None, **extra)
        if name.startswith("vit_"):  # torchvision lets its head begin at 0: every logit would be 0
            nn.init.normal_(model.heads.head.weight, std=0.02)
        return model


def read_state_dict(path: str | Path) -> tuple[dict[str, Tensor], str]:
    """A state dict from a file, and the file's sha256; tensors only, never pickle.

    Raises:
        FileNotFoundError, ValueError: No such file; another kind, or one of more than tensors.
    """
    file = Path(path)
    if not file.is_file():
        raise FileNotFoundError(f"weights must be a file with a state dict, {file} is none")
    if file.suffix not in (".safetensors", ".pth", ".pt"):
        raise ValueError(f"weights must be .safetensors, .pth or .pt, got {file.name}")
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    try:
        if file.suffix == ".safetensors":
            from safetensors.torch import load_file

            state: Any = load_file(file)
        else:
            state = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # each format has errors of its own
        reason = re.sub(r"\x1b\[\d*m", "", str(error)).partition("\n")[0] or type(error).__name__
        raise ValueError(
            f"weights must be a state dict of tensors, {file.name} is not: it is damaged or needs "
            f"pickle, which can run code and is refused ({reason})"
        ) from error
    if not isinstance(state, dict) or not all(
        isinstance(k, str) and isinstance(v, Tensor) for k, v in state.items()
    ):
        raise ValueError(
            f"weights must be a state dict of tensors, {file.name} holds "
            f"{checks.describe(state)}; save model.state_dict() alone"
        )
    for key, value in state.items():
        dense = value.layout == torch.strided and not value.is_nested
        if not dense or value.is_meta or value.is_quantized:
            raise ValueError(
                f"weights must be dense tensors with their numbers, {key!r} in {file.name} is not; "
                "save the state dict of the loaded network, dense and on the CPU"
            )
    return state, digest


def load_state_dict(module: nn.Module, state: dict[str, Tensor]) -> None:
    """Fill ``module`` with ``state``; every key must fit.

    Raises:
        ValueError: Keys are missing, unexpected or of another shape, which torch lists, or their
            numbers are of another kind (complex or whole where the network has real ones).
    """
    own = module.state_dict()
    for key in own.keys() & state.keys():
        if _kind(state[key]) != _kind(own[key]):
            raise ValueError(
                f"weights must be numbers of the network's kind, got {key} {state[key].dtype} "
                f"instead of {own[key].dtype}; PyTorch would cast them without a word: save the "
                "float weights that the network was trained with"
            )
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        raise ValueError(
            f"weights must fit {type(module).__name__}, as saved by network.state_dict() without a "
            f"DataParallel around it; a network that you changed, give to wrap: {error}"
        ) from error


def _kind(tensor: Tensor) -> tuple[bool, bool]:
    return tensor.is_complex(), tensor.is_floating_point()


def published_hash(url: str) -> str:
    """The start of the file's sha256, which torchvision writes into the file's name."""
    found = re.search(r"-([0-9a-f]{8,})\.pth$", url)
    return found.group(1) if found else "no hash in the name"


PACKAGE = "package"  # the name of the weights that come in a package, see packaged.py
PACKAGED = ("squeezenet1_1", "efficientnet_lite0")
DEFAULT_MODEL = PACKAGED[0]
SCENE_NETWORKS = (
    *(f"scenes_vgg_seed{seed}" for seed in range(3)),
    *(f"scenes_{architecture}_seed0" for architecture in ("resnet", "inception", "vit")),
)


@dataclass(frozen=True)
class ModelRecord:
    """What `load_model` knows by ``name``: its ``family``, the names of published ``weights``."""

    name: str
    family: str
    weights: tuple[str, ...]


class _Models(Mapping[str, ModelRecord]):
    """Read at the first look."""

    @cached_property
    def _records(self) -> dict[str, ModelRecord]:
        models = zoo()
        shipped = [ModelRecord(name, "scenes", ()) for name in SCENE_NETWORKS]
        published = [
            ModelRecord(name, "torchvision", tuple(w.name for w in models.get_model_weights(name)))
            for name in models.list_models(module=models)
        ]
        found = {record.name: record for record in (*shipped, *published)}
        for name in PACKAGED:
            known = found.get(name, ModelRecord(name, PACKAGE, ()))
            found[name] = replace(known, weights=(*known.weights, PACKAGE))
        return found

    def __getitem__(self, name: str) -> ModelRecord:
        if name not in self._records:
            raise KeyError(checks.absent("model", name, self._records))
        return self._records[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._records)

    def __len__(self) -> int:
        return len(self._records)


MODELS: Mapping[str, ModelRecord] = _Models()
