"""Others' preprocessing, read as a `Transform`: torchvision's, timm's and Hugging Face's.

An object says by its attributes to which size it resizes, how it crops and which mean it takes. How
it rounds on the way it does not say: the ways are tried on small pictures, and an object that
agrees with none is refused.
"""

from __future__ import annotations

import enum
import functools
import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import PIL.Image
import torch
from torch import Tensor, nn

from xaiutils.pictures.images import CHOICES, INTERPOLATIONS, Transform
from xaiutils.support import checks

INSTEAD = "give mean=, std= and size=, or an xai.Transform that says the same"
_IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}  # timm's defaults
_PILLOW = ("nearest-exact", "lanczos", "bilinear", "bicubic", "box", "hamming")  # by number
_DONE = {"do_resize", "do_center_crop", "do_rescale", "do_normalize", "do_flip_channel_order"}
_DONE |= {"do_convert_rgb", "do_reduce_labels"}  # our pictures are RGB; labels are not ours
_NEAR = 1e-4  # a 255th, over a deviation, is 100 times as much


def read_transform(given: Any, channels: int = 3) -> Transform:
    """``given`` as a `Transform` that makes the same tensors.

    Args:
        given: A `Transform`; torchvision's ``Compose`` (v1 or v2) or preset
            (``weights.transforms()``, or the weights); timm's transform or its configuration
            (``model.pretrained_cfg``, ``resolve_data_config``); Hugging Face's image processor.
        channels: That the network reads, where one mean is meant for each of them.

    Raises:
        ValueError: A step or setting of it cannot be read, or it computes something else than its
            settings say; the message names it.
    """
    if isinstance(given, Transform):
        return given
    given = getattr(given, "transforms", given) if isinstance(given, enum.Enum) else given
    given = given() if isinstance(given, functools.partial) else given  # weights.transforms
    given = getattr(given, "image_processor", given)  # of a processor of texts and pictures
    given = getattr(given, "val_transforms", given)  # of timm's, as Hugging Face wraps it
    if _library(given) == "timm" and callable(getattr(given, "to_dict", None)):
        given = given.to_dict()
    if isinstance(given, Mapping):
        return from_timm(given, channels)
    if hasattr(given, "do_normalize") and hasattr(given, "image_mean"):

        def processed(picture: PIL.Image.Image) -> Tensor:
            return given(picture, return_tensors="pt")["pixel_values"][0]

        return _same(given, _from_processor(given), processed)
    if hasattr(given, "resize_size") and hasattr(given, "mean"):
        return _same(given, vars(Transform.from_preset(given)))
    named = type(given).__name__ in ("Compose", "Sequential")
    if named or _library(given) in ("torchvision", "timm"):
        return _same(given, _from_steps(given, channels))
    raise TypeError(
        "transform must be a Transform, torchvision's Compose or weights.transforms(), timm's data "
        f"configuration or Hugging Face's image processor, got {checks.describe(given)}; {INSTEAD}"
    )


def timm_config(module: nn.Module) -> Mapping[str, Any] | None:
    """What a network of timm says of its preprocessing, ``pretrained_cfg``; of others None."""
    found = getattr(module, "pretrained_cfg", None)
    known = isinstance(found, Mapping) and {"mean", "std", "input_size"} <= found.keys()
    return found if known else None


def from_timm(config: Mapping[str, Any], channels: int = 3) -> Transform:
    """The evaluation transform of a configuration of timm, as its ``create_transform`` makes it."""
    if not {"input_size", "crop_pct"} & config.keys():
        raise ValueError(
            "transform must be timm's data configuration, with input_size and the rest, got a "
            f"mapping of {', '.join(map(str, list(config)[:6])) or 'nothing'}; {INSTEAD}"
        )
    mode = checks.choice("crop_mode", config.get("crop_mode") or "center", ("center", "squash"))
    height, width = tuple(config.get("input_size") or (3, 224, 224))[-2:]
    share = config.get("crop_pct") or 0.875
    resize: Any = math.floor(height / share), math.floor(width / share)
    crop = int(height), int(width)
    fields: dict[str, Any] = {
        key: _numbers(key, config.get(key) or default, channels)
        for key, default in _IMAGENET.items()
    }
    mean = fields["mean"]
    if len(mean) != channels:
        raise ValueError(
            f"mean must be given for each of the {channels} channels that the network reads: its "
            f"configuration of timm has {len(mean)}; give mean= and std="
        )
    how = _interpolation("interpolation", config.get("interpolation") or "bicubic")
    if mode == "center" and height != width:
        raise ValueError(f"transform: a centre crop of {crop} by timm cannot be read; {INSTEAD}")
    resize = resize[0] if mode == "center" else resize
    return Transform(resize, crop, interpolation=how, **fields)


def _resize(step: Any) -> dict[str, Any]:
    size = (step.size,) if isinstance(step.size, int) else tuple(step.size or (None,))
    how = _interpolation(type(step).__name__, step.interpolation)
    return {"resize": size[0] if len(size) == 1 else size, "interpolation": how}


def _center_crop(step: Any) -> dict[str, Any]:
    size = (step.size,) if isinstance(step.size, int) else tuple(step.size)
    return {"crop": (size[0], size[-1])}


# What each step says; those that only turn a picture into numbers say nothing.
_STEPS: dict[str, Callable[[Any], dict[str, Any]]] = {
    "Resize": _resize,
    "CenterCrop": _center_crop,
    "Grayscale": lambda step: {"grey": step.num_output_channels},
    "Normalize": lambda step: {"mean": step.mean, "std": step.std},
} | dict.fromkeys(
    ("ToTensor", "PILToTensor", "ToImage", "ToDtype", "ConvertImageDtype", "MaybeToTensor",
     "MaybePILToTensor", "ObjectDetection", "Identity", "ToPureTensor", "RGB"),
    lambda step: {},
)  # fmt: skip


def _from_steps(given: Any, channels: int) -> dict[str, Any]:
    fields: dict[str, Any] = {"resize": None, "crop": None, "mean": 0.0, "std": 1.0, "grey": 0}
    for step in _flat(given):
        name = type(step).__name__
        if name not in _STEPS or _library(step) not in ("torchvision", "timm", "torch"):
            random = "Random" in name or "Jitter" in name or "Augment" in name
            why = "draws at random, and belongs to training" if random else "cannot be read"
            raise ValueError(f"transform: {name} {why} (read are {', '.join(_STEPS)}); {INSTEAD}")
        fields |= _STEPS[name](step)
    for key in ("mean", "std"):
        fields[key] = _numbers(key, fields[key], fields["grey"] or channels)
    return fields | {"grey": fields["grey"] > 1}


def _flat(given: Any) -> Iterator[Any]:
    """The steps inside a Compose or Sequential, and in those inside it."""
    if type(given).__name__ not in ("Compose", "Sequential"):
        yield given
        return
    for step in given if isinstance(given, nn.Sequential) else getattr(given, "transforms", ()):
        yield from _flat(step)


def _library(given: Any) -> str:
    return type(given).__module__.partition(".")[0]


def _from_processor(given: Any) -> dict[str, Any]:
    """Hugging Face's image processors, by their settings."""
    name = type(given).__name__
    asked = {key for key in dir(given) if key.startswith("do_") and getattr(given, key) is True}
    if strange := sorted(asked - _DONE):
        raise ValueError(f"transform: {', '.join(strange)} of {name} cannot be read; {INSTEAD}")
    fields: dict[str, Any] = {"resize": None, "crop": None, "centre": "down"}
    if "do_resize" in asked:
        fields |= _resizing(given, name)
        fields["interpolation"] = _interpolation("resample", given.resample)
    if "do_center_crop" in asked:
        fields["crop"] = _side(given.crop_size, "height"), _side(given.crop_size, "width")
    # A value v of 0..255 becomes z = (v f - o - m) / s, with a factor, an offset and m and s.
    factor = 255 * (float(given.rescale_factor) if "do_rescale" in asked else 1.0)
    offset = 1.0 if getattr(given, "rescale_offset", False) else 0.0
    normal = "do_normalize" in asked
    mean = _numbers("image_mean", given.image_mean if normal else 0.0, 3)
    std = _numbers("image_std", given.image_std if normal else 1.0, 3)
    again = _numbers("image_std", given.image_std if getattr(given, "include_top", False) else 1, 3)
    fields["mean"] = tuple((m + offset) / factor for m in mean)
    fields["std"] = tuple(s * a / factor for s, a in zip(std, again, strict=True))
    return fields | {"bgr": "do_flip_channel_order" in asked}


def _resizing(given: Any, name: str) -> dict[str, Any]:
    """The size to resize to, and, where a class crops while it resizes, the crop."""
    short, share = _side(given.size, "shortest_edge"), getattr(given, "crop_pct", None)
    if _side(given.size, "longest_edge") or not (short or _side(given.size, "height")):
        raise ValueError(f"transform: size {given.size} of {name} cannot be read; {INSTEAD}")
    if not short:
        return {"resize": (_side(given.size, "height"), _side(given.size, "width"))}
    if share and name.startswith("ConvNext"):
        if short >= 384:
            return {"resize": (short, short)}
        return {"resize": int(short / share), "crop": (short, short)}
    return {"resize": int(short / share) if share else short}


def _same(
    given: Any, fields: dict[str, Any], call: Callable[[PIL.Image.Image], Any] | None = None
) -> Transform:
    """The transform of ``fields`` that rounds so that it makes the tensors of ``given``."""
    name, ways = type(given).__name__, list(_ways(fields))
    first = ways[0] if ways else Transform(**fields)
    pictures = list(_pictures(first))
    grey = first.channels == 1 and not any(type(s).__name__ == "Grayscale" for s in _flat(given))
    try:
        seen = [picture.convert("L") if grey else picture for picture in pictures]
        expected = [(call or given)(picture) for picture in seen]
    except Exception as error:
        raise ValueError(
            f"transform: {name} fails on a picture: {checks.text_of(error)}; {INSTEAD}"
        ) from error
    if not call and not (isinstance(expected[0], Tensor) and expected[0].is_floating_point()):
        raise ValueError(
            "transform must end in a tensor of floats: ToTensor(), or ToImage() and "
            f"ToDtype(torch.float32, scale=True), is missing; {INSTEAD}"
        )
    pairs = [(p, torch.as_tensor(e)) for p, e in zip(pictures, expected, strict=True)]
    for found in ways:
        if not any(_difference(found, *pair) for pair in pairs):
            return found
    what = next(filter(None, (_difference(first, *pair) for pair in pairs)))
    raise ValueError(
        f"transform: {name} computes something else than its settings say: {first} differs "
        f"{what}; {INSTEAD}"
    )


def _ways(fields: dict[str, Any]) -> Iterator[Transform]:
    """Values up to 1 or 255; a picture or a tensor that is resized, with antialias or without."""
    for unit, kind, smooth in itertools.product((1, 255), CHOICES["resampled"], (True, False)):
        colours = {key: tuple(v / unit for v in fields[key]) for key in ("mean", "std")}
        try:
            yield Transform(**fields | colours | {"resampled": kind, "antialias": smooth})
        except ValueError:
            continue


def _pictures(found: Transform) -> Iterator[PIL.Image.Image]:
    sides = (found.resize,) if isinstance(found.resize, int) else found.resize or (24,)
    least = max((*sides, *(found.crop or ())))
    # Four remainders of what the crop leaves over: halves of pixels are rounded in each way.
    shapes = [(least, least + long) for long in (9, 10, 11, 12)]
    if found.resize is not None:  # and larger ones, of other forms, which are really resized
        shapes += [(least * 8 // 5, least * 8 // 5 + 7), (least * 6 // 5, least * 3)]
    draw = np.random.default_rng(0)
    for i, shape in enumerate(shapes):
        picture = PIL.Image.fromarray(draw.integers(0, 256, (*shape, 3), dtype=np.uint8))
        yield picture.transpose(PIL.Image.Transpose.ROTATE_90) if i % 2 else picture


def _difference(found: Transform, picture: PIL.Image.Image, expected: Tensor) -> str:
    """What the transform makes otherwise of a picture; nothing where it agrees."""
    got = found(picture)[0].double()
    if got.shape != expected.shape:
        return f"in shape, {checks.shape(expected)} and {checks.shape(got)}"
    worst = float((got - expected).abs().max())
    near = worst <= _NEAR * max(1.0, float(expected.abs().max()))
    return "" if near else f"by up to {worst:.3g}"


def _side(size: Any, key: str) -> int | None:
    """A side that a size of Hugging Face names, a mapping or a record of sides."""
    value = size.get(key) if isinstance(size, Mapping) else getattr(size, key, None)
    return None if value is None else int(value)


def _numbers(name: str, value: Any, count: int) -> tuple[float, ...]:
    """A number for each channel; one alone is meant for all ``count``."""
    value = value.tolist() if hasattr(value, "tolist") else value
    found = tuple(value) if isinstance(value, list | tuple) else (value,)
    found = tuple(checks.number(name, number) for number in found)
    return found * count if len(found) == 1 else found


def _interpolation(name: str, value: Any) -> str:
    """The interpolation by torchvision's name, from its enum, its name or Pillow's number."""
    value = getattr(value, "value", value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(_PILLOW):
        return _PILLOW[value]
    return checks.choice(f"interpolation of {name}", value, INTERPOLATIONS)
