"""Classifiers: a network with its classes, its preprocessing and its CAM layer.

`load_model` gives the shipped scene classifiers and every torchvision classifier, with published
weights or a file of yours; `wrap` takes your own network. Neither changes the module it is given.
"""

from __future__ import annotations

import numbers
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from xaiutils import batches, checks, memo
from xaiutils.borrowed import environment_kept
from xaiutils.cam_layer import choose_cam_layer
from xaiutils.graph import Graph
from xaiutils.images import Transform
from xaiutils.registry import MODELS, SCENE_NETWORKS, ModelRecord
from xaiutils.usable import channels_of, example, require_same, require_usable
from xaiutils.weights import download, load_state_dict, published_hash, read_state_dict, untrained
from xaiutils.yours import made_by


@dataclass(frozen=True, eq=False)
class Classifier:
    """A network that can be explained.

    Attributes:
        name: What tables and figures call it.
        module: The network, in eval mode; the caller's own, never changed.
        classes: A name for each logit.
        transform: Pictures to the network's input.
        graph: The traced network.
        cam_layer: Name of the layer whose activations the CAM reads; what follows it is the head.
        cam_reason: Why this layer.
        weights: Where the weights come from, with the file's sha256 where there is one.
        notes: What a reader should know.
    """

    name: str
    module: nn.Module
    classes: tuple[str, ...]
    transform: Transform
    graph: Graph = field(repr=False)
    cam_layer: str
    cam_reason: str
    weights: str
    notes: tuple[str, ...] = ()

    def preprocess(self, images: Any) -> Tensor:
        """Pictures as the network wants them: (N, C, H, W), on its device and in its dtype."""
        like = example(self.module)
        return self.transform(images).to(like.device, like.dtype)

    def picture(self, image: Any) -> np.ndarray:
        """What the network sees of a picture, (H, W, 3) uint8: to be drawn under its maps."""
        return np.asarray(self.transform.geometry(image).convert("RGB"))

    def predict(self, x: Tensor) -> Tensor:
        """Logits (N, K), without gradient."""
        self.check(x)

        def answer(some: Tensor) -> Tensor:
            if some.device.type == "cpu":  # there convolutions are up to twice as fast so
                some = some.contiguous(memory_format=torch.channels_last)
            return self.graph.run(some).logits.detach().to(x.dtype)  # autocast has another

        return memo.once(lambda: torch.cat(batches.in_pieces(answer, x)), "logits", self.module, x)

    def top(self, x: Tensor, k: int = 5) -> list[list[tuple[str, float]]]:
        """For each image of (N, C, H, W) its ``k`` likeliest classes with probability."""
        found = probabilities(self.predict(x)).topk(min(k, len(self.classes)))
        return [
            [(self.classes[i], p) for i, p in zip(row_i, row_p, strict=True)]
            for row_i, row_p in zip(found.indices.tolist(), found.values.tolist(), strict=True)
        ]

    def class_index(self, name: str | int) -> int:
        """The index of the class called ``name``; if none is called so, the one of this number.

        Raises:
            TypeError: Neither a name nor a whole number.
            ValueError: There is none; the nearest names are listed. Or two have this name, as
                two of ImageNet's cranes.
        """
        found = [i for i, known in enumerate(self.classes) if known == name]
        if len(found) > 1:
            several = " and ".join(map(str, found))
            raise ValueError(f"class must be one class, {name!r} are {several}: give the number")
        if found:
            return found[0]
        if isinstance(name, str) and not name.isdecimal():
            raise ValueError(checks.absent("class", name, self.classes))
        if isinstance(name, bool) or not isinstance(name, str | numbers.Integral):
            raise TypeError(f"class must be a name or a number, got {checks.describe(name)}")
        last = len(self.classes) - 1
        if len(str(name)) > 9 or not 0 <= int(name) <= last:
            raise ValueError(f"class must be a name or in 0..{last}, got {name}")
        return int(name)

    def check(self, x: Tensor) -> Tensor:
        """``x`` if the network can take it.

        Raises:
            TypeError: It is no float tensor of the weights' dtype on their device.
            ValueError: It is not (N, C, H, W) and finite, with the network's channels.
        """
        checks.images("x", x, self.transform.channels)
        like = example(self.module)
        if x.dtype != like.dtype or x.device != like.device:
            raise TypeError(
                f"x must be {like.dtype} on {like.device} as the classifier's weights, "
                f"got {x.dtype} on {x.device}"
            )
        return x

    def bounds(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """The darkest and the brightest possible input, (1, C, 1, 1): 0 and 1, normalised."""
        values = (self.transform.mean, self.transform.std)
        mean, std = (like.new_tensor(v)[None, :, None, None] for v in values)
        return -mean / std, (1 - mean) / std


def checked_classifier(value: Any) -> Classifier:
    """Return ``value`` if it is a classifier.

    Raises:
        TypeError: It is something else, such as the network itself.
    """
    if not isinstance(value, Classifier):
        raise TypeError(
            "classifier must be a Classifier, as wrap and load_model give it, "
            f"got {type(value).__name__}"
        )
    return value


def probabilities(logits: Tensor) -> Tensor:
    """The softmax of logits (N, K); of a single one, whose softmax is always 1, the sigmoid."""
    return logits.sigmoid() if logits.shape[1] == 1 else logits.softmax(1)


def load_model(
    name: str,
    weights: str | Path | None = None,
    *,
    preset: str | None = None,
    cam_layer: str | None = None,
) -> Classifier:
    """A classifier by name.

    Args:
        name: A name in `MODELS`: ``scenes_vgg_seed0`` (shipped, as are ``..1`` and ``..2``,
            ``scenes_resnet_seed0``, ``scenes_inception_seed0`` and ``scenes_vit_seed0``), or any
            torchvision classifier; or ``module:function``, a function of yours that returns a
            `Classifier`.
        weights: For torchvision models: None for the published default weights or the name of
            another published set (both are downloaded once by torchvision, which checks their
            hash); ``"random"`` for an untrained network (seed 0); or a file with a state dict,
            ``.safetensors``, ``.pth`` or ``.pt``. Files that need pickle are refused.
        preset: Which published weights' preprocessing a file goes with. By default that of the
            weights whose published hash the file has, otherwise of the default weights.
        cam_layer: See `wrap`.

    Raises:
        TypeError: A function of yours that returns something else.
        ValueError: Unknown name, weights that do not fit (the keys are listed), a pickle.
        FileNotFoundError: No such file; or the weights are neither on disk nor to be downloaded.
    """
    if name.endswith(".py"):
        raise ValueError(f"name must be module:function, as {Path(name).stem}:make, got {name!r}")
    if ":" in name:
        if weights is not None or preset is not None:
            raise ValueError(f"weights and preset must be left to {name}")
        made = made_by(name, Classifier)
        if cam_layer is None:
            return made
        layer, reason = choose_cam_layer(made.graph, cam_layer)
        return replace(made, cam_layer=layer, cam_reason=reason)
    if name in SCENE_NETWORKS:
        if weights is not None:
            raise ValueError(f"weights must be None for the shipped {name}, got {weights!r}")
        return _load_scenes(name, cam_layer)
    record = MODELS[checks.choice("name", name, MODELS)]
    return _load_torchvision(record, weights, preset, cam_layer)


def wrap(
    module: nn.Module,
    classes: Sequence[str] | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    size: int | tuple[int, int] | None = None,
    cam_layer: str | None = None,
    *,
    name: str | None = None,
    transform: Transform | None = None,
) -> Classifier:
    """Your own network as a classifier.

    Args:
        module: Takes (N, C, H, W), returns logits (N, K); in eval mode; torch.fx must trace it.
        classes: A name per logit; by default ``class 0``, ``class 1``, ...
        mean, std: Of each channel, for pixels in [0, 1], as in training; by default 0 and 1.
        size: Pictures are resized to exactly this (side, or height and width); by default they
            are taken as they are.
        cam_layer: The layer to read the CAM from, by module path; by default the last feature map
            behind an activation before the layer whose channels are the classes. What follows it
            is the head of LRP's composites too; `explain` has a ``cam_layer`` for the CAM alone.
        name: What tables call it; by default the module's class.
        transform: The preprocessing itself, instead of ``mean``, ``std`` and ``size``.

    Raises:
        TypeError: ``module`` is no ``torch.nn.Module``.
        ValueError: Train mode, a network that cannot be traced or computes something else when
            it is (a hook changes results), a wrong number of classes, an unknown layer, weights
            that are not finite, a batch norm without statistics, channels that no picture has.
    """
    if not isinstance(module, nn.Module):
        raise TypeError(f"module must be a torch.nn.Module, got {checks.describe(module)}")
    if isinstance(classes, str):
        raise TypeError(f"classes must be a name for each logit, got {checks.describe(classes)}")
    if transform is None:
        channels = channels_of(module) if mean is None and std is None else len(mean or std or ())
        pair = (size, size) if isinstance(size, int) else size
        resize = None if pair is None else (int(pair[0]), int(pair[1]))
        means = tuple(mean) if mean is not None else (0.0,) * channels
        stds = tuple(std) if std is not None else (1.0,) * channels
        transform = Transform(resize, None, means, stds)
    found = _classifier(name or type(module).__name__, module, classes, transform, cam_layer, "own")
    require_same(module, found.predict, _shape(transform))
    return found


def _classifier(
    name: str,
    module: nn.Module,
    classes: Iterable[str] | None,
    transform: Transform,
    cam_layer: str | None,
    weights: str,
    notes: tuple[str, ...] = (),
) -> Classifier:
    require_usable(module)
    kind = example(module).dtype
    if kind not in (torch.float32, torch.float64):
        raise ValueError(f"module must be of float32 or float64, got {kind}; call module.float()")
    graph = Graph(module, _shape(transform))
    names = tuple(classes or (f"class {i}" for i in range(graph.classes)))
    if len(names) != graph.classes:
        raise ValueError(f"classes must name each of {graph.classes} logits, got {len(names)}")
    layer, reason = choose_cam_layer(graph, cam_layer)
    return Classifier(name, module, names, transform, graph, layer, reason, weights, notes)


def _shape(transform: Transform) -> tuple[int, int, int]:
    """Of the network's input, (C, H, W); of a common side where pictures stay as they are."""
    return (transform.channels, *(transform.size or (224, 224)))


def _load_scenes(name: str, cam_layer: str | None) -> Classifier:
    from xaiutils import scenes
    from xaiutils.scene_weights import load_scene_net

    transform = Transform((scenes.SIZE, scenes.SIZE), None, scenes.MEAN, scenes.STD)
    module, source = load_scene_net(name), f"shipped, seed {name[-1]}"
    return _classifier(name, module, scenes.CLASSES, transform, cam_layer, source)


def _load_torchvision(
    record: ModelRecord, weights: str | Path | None, preset: str | None, cam_layer: str | None
) -> Classifier:
    with environment_kept():
        from torchvision import models

    enum = models.get_model_weights(record.name)
    if preset is not None:
        checks.choice("preset", preset, record.weights)
    chosen = enum[preset] if preset is not None else enum.DEFAULT
    notes: tuple[str, ...] = ()
    if weights is None or str(weights) in record.weights:
        chosen = enum.DEFAULT if weights is None else enum[str(weights)]
        module, source = download(record.name, chosen), f"torchvision {chosen.name}"
    elif weights == "random":
        module, source = untrained(record.name), "random, seed 0"
    else:
        state, digest = read_state_dict(weights)
        published = [w for w in enum if digest.startswith(published_hash(w.url))]
        chosen = published[0] if published and preset is None else chosen
        if not published and preset is None and len(record.weights) > 1:
            notes = (f"preprocessing of {chosen.name} assumed; other presets: preset=",)
        module, source = untrained(record.name), f"{Path(weights).name}, sha256 {digest}"
        load_state_dict(module, state)
    for branch in ("AuxLogits", "aux1", "aux2"):  # only training uses them
        if hasattr(module, branch):
            setattr(module, branch, None)
            setattr(module, "aux_logits", False)  # noqa: B010, untyped
    classes = chosen.meta["categories"]
    transform = Transform.from_weights(chosen)
    return _classifier(record.name, module.eval(), classes, transform, cam_layer, source, notes)
