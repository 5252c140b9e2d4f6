"""Others' preprocessing, read as a `Transform`: torchvision's, timm's and Hugging Face's.

None of these libraries is imported: an object says by its class and its attributes what it does.
What was read is then held against the object itself, on small pictures, so that a class that does
something else than its settings say is refused, whatever its version.
"""

from __future__ import annotations

import enum
import functools
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import PIL.Image
import torch
from torch import Tensor, nn

from xaiutils.pictures.images import INTERPOLATIONS, Transform
from xaiutils.support import checks

READ = (
    "Resize, CenterCrop, Grayscale, ToTensor, PILToTensor, ToImage, ToDtype, ConvertImageDtype, "
    "Normalize"
)
INSTEAD = "give mean=, std= and size=, or an xai.Transform that says the same"
_IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}  # timm's defaults
_PILLOW = ("nearest-exact", "lanczos", "bilinear", "bicubic", "box", "hamming")  # by number
_SETTLED = {"do_resize", "do_center_crop", "do_rescale", "do_normalize", "do_flip_channel_order"}
_HARMLESS = {"do_convert_rgb", "do_reduce_labels"}  # our pictures are RGB; labels are not ours
_NEAR = 1e-4  # a 255th, over a deviation, is 100 times as much


def read_transform(given: Any, channels: int = 3) -> Transform:
    """``given`` as a `Transform` that makes the same tensors.

    Args:
        given: A `Transform`; torchvision's ``Compose`` (v1 or v2) or preset
            (``weights.transforms()``, or the weights); timm's transform or its configuration
            (``model.pretrained_cfg``, ``resolve_data_config``); Hugging Face's image processor.
        channels: That the network reads, where one mean is meant for each of them.

    Raises:
        TypeError: It is none of these.
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
        found = _from_processor(given)
        return _same(given, _processed(given), found)
    if hasattr(given, "resize_size") and hasattr(given, "mean"):
        return _same(given, given, _from_preset(given))
    if type(given).__name__ in ("Compose", "Sequential") or _library(given) in (
        "torchvision",
        "timm",
    ):
        return _same(given, given, _from_steps(given, channels))
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
    """The evaluation transform of a configuration of timm, as its ``create_transform`` makes it.

    Raises:
        ValueError: A key is missing, or holds what cannot be read.
    """
    if not {"input_size", "crop_pct"} & config.keys():
        raise ValueError(
            "transform must be timm's data configuration, with input_size and the rest, got a "
            f"mapping of {', '.join(map(str, list(config)[:6])) or 'nothing'}; {INSTEAD}"
        )
    mode = checks.choice("crop_mode", config.get("crop_mode") or "center", _CROPS)
    height, width = tuple(config.get("input_size") or (3, 224, 224))[-2:]
    share = config.get("crop_pct") or 0.875
    scaled = math.floor(height / share), math.floor(width / share)
    mean, std = (
        _numbers(key, config.get(key) or default, channels) for key, default in _IMAGENET.items()
    )
    crop = int(height), int(width)
    if len(mean) != channels:
        raise ValueError(
            f"mean must be given for each of the {channels} channels that the network reads: its "
            f"configuration of timm has {len(mean)}; give mean= and std="
        )
    common: dict[str, Any] = {
        "crop": crop,
        "mean": mean,
        "std": std,
        "interpolation": _interpolation("interpolation", config.get("interpolation") or "bicubic"),
    }
    if mode == "border":
        fill = tuple(round(255 * value) for value in mean)
        return Transform(resize=scaled, fit="contain", fill=fill, **common)
    if mode == "squash":
        return Transform(resize=scaled, fill=_around(scaled, crop), **common)
    if scaled[0] == scaled[1]:
        return Transform(resize=scaled[0], fill=_around(scaled[0], crop), **common)
    return Transform(resize=scaled, fit="cover", fill=_around(scaled, crop), **common)


_CROPS = ("center", "squash", "border")


def _from_preset(preset: Any) -> Transform:
    """torchvision's presets of pictures: classification, and segmentation, which does not crop."""
    if "Video" in type(preset).__name__:
        raise ValueError(f"transform: {type(preset).__name__} reads clips; give them as xai.Arrays")
    resize, crop = (list(getattr(preset, key, None) or ()) for key in ("resize_size", "crop_size"))
    side = None if not resize else resize[0] if len(resize) == 1 else (resize[0], resize[1])
    return Transform(
        resize=side,
        crop=(crop[0], crop[-1]) if crop else None,
        mean=tuple(preset.mean),
        std=tuple(preset.std),
        interpolation=preset.interpolation.value,
    )


class _Steps:
    """The steps of a pipeline of torchvision or timm, read one after the other."""

    def __init__(self) -> None:
        self.fields: dict[str, Any] = {"resize": None, "crop": None}
        self.kind = "pillow"  # what the next step gets: a picture, or a tensor of either kind
        self.scaled = True
        self.grey = 0
        self.colours: tuple[Any, Any] | None = None

    def read(self, step: Any) -> None:
        """Take one step.

        Raises:
            ValueError: It cannot be read, or stands where it means something else.
        """
        name = type(step).__name__
        method = getattr(self, f"_{name.lower()}", None)
        if method is None or _library(step) not in ("torchvision", "timm", "torch"):
            random = "Random" in name or "Jitter" in name or "Augment" in name
            why = "draws at random, and belongs to training" if random else "cannot be read"
            raise ValueError(f"transform: {name} {why} (read are {READ}); {INSTEAD}")
        if self.colours is not None and name not in ("Identity", "ToPureTensor"):
            raise ValueError(f"transform: {name} must stand before Normalize; {INSTEAD}")
        method(step)

    def _once(self, step: Any, field: str) -> None:
        if self.fields[field] is not None or (field == "resize" and self.fields["crop"]):
            raise ValueError(
                f"transform: a second {type(step).__name__}, or one after the crop, cannot be "
                f"read: one Resize, then one CenterCrop; {INSTEAD}"
            )

    def _resize(self, step: Any) -> None:
        self._once(step, "resize")
        if getattr(step, "max_size", None) is not None or step.size is None:
            raise ValueError(f"transform: Resize with max_size cannot be read; {INSTEAD}")
        size = [step.size] if isinstance(step.size, int) else list(step.size)
        self.fields["resize"] = size[0] if len(size) == 1 else (size[0], size[1])
        self.fields["interpolation"] = _interpolation("Resize", step.interpolation)
        self.fields["resampled"] = self.kind
        if self.kind != "pillow":
            self.fields["antialias"] = step.antialias is not False

    def _resizekeepratio(self, step: Any) -> None:
        self._once(step, "resize")
        if step.random_scale_prob or step.random_aspect_prob or step.longest not in (0, 1):
            raise ValueError(f"transform: this ResizeKeepRatio cannot be read: {step}; {INSTEAD}")
        fit = "contain" if step.longest else "cover"
        how = _interpolation("ResizeKeepRatio", step.interpolation)
        self.fields |= {"resize": tuple(step.size), "fit": fit, "interpolation": how}
        self.fields["resampled"] = self.kind

    def _centercrop(self, step: Any) -> None:
        self._once(step, "crop")
        size = [step.size] if isinstance(step.size, int) else list(step.size)
        self.fields["crop"] = (size[0], size[-1])
        self.fields["fill"] = _around(self.fields["resize"], self.fields["crop"])

    def _centercroporpad(self, step: Any) -> None:
        if step.padding_mode != "constant":
            raise ValueError(f"transform: padding_mode {step.padding_mode!r} cannot be read")
        self._centercrop(step)
        fill = step.fill if isinstance(step.fill, list | tuple) else (step.fill,)
        self.fields["fill"] = tuple(int(value) for value in fill)

    def _grayscale(self, step: Any) -> None:
        if self.fields["resize"] is not None or self.kind != "pillow":
            raise ValueError(
                f"transform: Grayscale must come first, later it rounds differently; {INSTEAD}"
            )
        self.grey = step.num_output_channels

    def _totensor(self, step: Any) -> None:
        self.kind = "float"

    def _piltotensor(self, step: Any) -> None:
        self.kind = "uint8"

    _maybetotensor = _objectdetection = _totensor  # torchvision's preset of detectors
    _maybepiltotensor = _toimage = _piltotensor

    def _todtype(self, step: Any, scale: bool | None = None) -> None:
        wanted = getattr(step.dtype, "is_floating_point", None)
        if wanted is None or (not wanted and step.dtype != torch.uint8):
            raise ValueError(f"transform: {type(step).__name__} to {step.dtype} cannot be read")
        if wanted and self.kind == "uint8":
            self.kind = "float"
            self.scaled = bool(getattr(step, "scale", False)) if scale is None else scale

    def _convertimagedtype(self, step: Any) -> None:
        self._todtype(step, scale=True)

    def _normalize(self, step: Any) -> None:
        self.colours = step.mean, step.std

    def _identity(self, step: Any) -> None:
        pass

    _topuretensor = _rgb = _identity

    def transform(self, channels: int) -> Transform:
        """What they do together."""
        if self.kind != "float":
            raise ValueError(
                "transform must end in a tensor of floats: ToTensor(), or ToImage() and "
                f"ToDtype(torch.float32, scale=True), is missing; {INSTEAD}"
            )
        count = self.grey or channels
        unit = 1 if self.scaled else 255
        means, stds = self.colours or (0.0, 1.0)
        mean, std = (
            tuple(v / unit for v in _numbers(key, value, count))
            for key, value in (("mean", means), ("std", stds))
        )
        if not self.scaled and self.fields.get("resampled") == "float":
            raise ValueError(f"transform: Resize of values in 0..255 cannot be read; {INSTEAD}")
        return Transform(**self.fields, mean=mean, std=std, grey=self.grey > 1)


def _from_steps(given: Any, channels: int) -> Transform:
    reading = _Steps()
    for step in _flat(given):
        reading.read(step)
    return reading.transform(channels)


def _flat(given: Any) -> Iterator[Any]:
    """The steps inside a Compose or Sequential, and in those inside it."""
    name = type(given).__name__
    if name not in ("Compose", "Sequential"):
        yield given
        return
    if _library(given) not in ("torchvision", "torch"):
        raise ValueError(f"transform: {name} of {_library(given)} cannot be read; {INSTEAD}")
    for step in given if isinstance(given, nn.Sequential) else given.transforms:
        yield from _flat(step)


def _from_processor(given: Any) -> Transform:
    """Hugging Face's image processors, by their settings."""
    name = type(given).__name__
    if getattr(given, "keep_aspect_ratio", False):
        raise ValueError(f"transform: keep_aspect_ratio of {name} cannot be read; {INSTEAD}")
    asked = {key for key in dir(given) if key.startswith("do_") and getattr(given, key) is True}
    if strange := sorted(asked - _SETTLED - _HARMLESS):
        raise ValueError(f"transform: {', '.join(strange)} of {name} cannot be read; {INSTEAD}")
    pillow = getattr(given, "backend", "") != "torchvision" and not name.endswith("Fast")
    fields: dict[str, Any] = {"resize": None, "crop": None}
    fields["resampled"], fields["centre"] = ("pillow", "down") if pillow else ("uint8", "to_zero")
    if name.startswith("DINOv3"):  # it scales before it resizes
        fields["resampled"] = "float"
    if "do_resize" in asked:
        fields |= _resizing(given, name)
        fields["interpolation"] = _interpolation("resample", given.resample)
    if "do_center_crop" in asked:
        fields["crop"] = _side(given.crop_size, "height"), _side(given.crop_size, "width")
    if fields["crop"]:
        fields["fill"] = _around(fields["resize"], fields["crop"])
    # A value v of 0..255 becomes z = (v f - o - m) / s, with a factor, an offset and m and s.
    factor = float(given.rescale_factor) if "do_rescale" in asked else 1.0
    offset = 1.0 if getattr(given, "rescale_offset", False) else 0.0
    normal = "do_normalize" in asked
    mean = _numbers("image_mean", given.image_mean if normal else 0.0, 3)
    std = _numbers("image_std", given.image_std if normal else 1.0, 3)
    again = _numbers("image_std", given.image_std if getattr(given, "include_top", False) else 1, 3)
    return Transform(
        **fields,
        mean=tuple((m + offset) / (255 * factor) for m in mean),
        std=tuple(s * a / (255 * factor) for s, a in zip(std, again, strict=True)),
        bgr="do_flip_channel_order" in asked,
    )


def _resizing(given: Any, name: str) -> dict[str, Any]:
    """The size to resize to, and, where a class crops while it resizes, the crop."""
    short, share = _side(given.size, "shortest_edge"), getattr(given, "crop_pct", None)
    if _side(given.size, "longest_edge") or not (short or _side(given.size, "height")):
        raise ValueError(f"transform: size {given.size} of {name} cannot be read; {INSTEAD}")
    if not short:
        return {"resize": (_side(given.size, "height"), _side(given.size, "width"))}
    if name.startswith("Levit"):
        return {"resize": int(256 / 224 * short)}
    if share and name.startswith("ConvNext"):
        if short >= 384:
            return {"resize": (short, short)}
        return {"resize": int(short / share), "crop": (short, short)}
    return {"resize": int(short / share) if share else short}


def _processed(given: Any) -> Callable[[PIL.Image.Image], Tensor]:
    return lambda picture: given(picture, return_tensors="pt")["pixel_values"][0]


def _same(given: Any, call: Callable[[PIL.Image.Image], Any], found: Transform) -> Transform:
    """Return ``found`` if it makes the same tensors as ``call`` of small pictures.

    Raises:
        ValueError: They differ, or ``call`` fails; the message names ``given``.
    """
    name = type(given).__name__
    sides = (found.resize,) if isinstance(found.resize, int) else found.resize or (24,)
    least = max((*sides, *(found.crop or ()))) if found.fill is None else min(sides)
    draw = np.random.default_rng(0)
    # Four remainders of what the crop leaves over: halves of pixels are rounded in each way.
    shapes = [(least, least + long) for long in (9, 10, 11, 12)]
    if found.resize is not None:  # and larger ones, of other forms, which are really resized
        shapes += [(least * 8 // 5, least * 8 // 5 + 7), (least * 6 // 5, least * 3)]
    for i, (short, long) in enumerate(shapes):
        shape, turned = (short, long, 3), i % 2 == 1
        picture = PIL.Image.fromarray(draw.integers(0, 256, shape, dtype=np.uint8))
        picture = picture.transpose(PIL.Image.Transpose.ROTATE_90) if turned else picture
        seen = picture.convert("L") if found.channels == 1 and not _greys(given) else picture
        try:
            expected = torch.as_tensor(call(seen)).double()
        except Exception as error:
            raise ValueError(
                f"transform: {name} fails on a picture: {checks.text_of(error)}; {INSTEAD}"
            ) from error
        got = found(picture)[0].double()
        alike = got.shape == expected.shape
        worst = float((got - expected).abs().max()) if alike else math.nan
        if not worst <= _NEAR * max(1.0, float(expected.abs().max())):
            what = (
                f"by up to {worst:.3g}"
                if alike
                else f"in shape, {checks.shape(expected)} and {checks.shape(got)}"
            )
            raise ValueError(
                f"transform: {name} computes something else than its settings say: {found} differs "
                f"{what}; {INSTEAD}"
            )
    return found


def _greys(given: Any) -> bool:
    return any(type(step).__name__ == "Grayscale" for step in _flat(given))


def _library(given: Any) -> str:
    return type(given).__module__.partition(".")[0]


def _side(size: Any, key: str) -> int | None:
    """A side that a size of Hugging Face names, a mapping or a record of sides."""
    value = size.get(key) if isinstance(size, Mapping) else getattr(size, key, None)
    return None if value is None else int(value)


def _around(resize: Any, crop: tuple[int, int]) -> tuple[int, ...] | None:
    """Black beside a picture that is smaller than its crop, where that can be."""
    least = (resize, resize) if isinstance(resize, int) else resize or (0, 0)
    return None if least[0] >= crop[0] and least[1] >= crop[1] else (0,)


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
