"""Pictures in, tensors out: a sample, and the preprocessing of the classifier's training."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
import PIL.Image
import torch

from xaiutils.pictures.decode import check_size, load_image
from xaiutils.pictures.photographs import PHOTOGRAPHS, photograph
from xaiutils.support import checks
from xaiutils.support.borrowed import environment_kept

if TYPE_CHECKING:
    from xaiutils.pictures.scenes.shapes import Scene

__all__ = [
    "PHOTOGRAPHS", "Box", "Sample", "Transform", "denormalise", "load_image", "sample_photograph",
]  # fmt: skip

Box = tuple[float, float, float, float]
INTERPOLATIONS = ("nearest", "nearest-exact", "bilinear", "bicubic", "box", "hamming", "lanczos")
CHOICES = {
    "interpolation": INTERPOLATIONS,
    "resampled": ("pillow", "uint8", "float"),
    "centre": ("even", "down"),
}
_ALWAYS = ("resize", "crop", "mean", "std", "interpolation", "antialias")


@dataclass(frozen=True, eq=False)
class Sample:
    """A picture and what is known about it, all in the picture's own pixels.

    Args:
        id: unique within its data set.
        image: RGB picture; or an array ``(C, *space)``, for a classifier of `Arrays`.
        label: class index of the data set, or ``None`` where nobody said.
        mask: ``(H, W)`` bool, the pixels of the labelled object.
        boxes: ``(x0, y0, x1, y1)`` of the labelled object, ``x1`` and ``y1`` exclusive.
        wnid: WordNet id of the class (ImageNet only).
        notes: what a reader should know, such as "box 2 reached beyond the picture".
        scene: of a generated picture, all that is on it.
        rival: of another object, its class index and boxes.
    """

    id: str
    image: Any
    label: int | None = None
    mask: np.ndarray | None = None
    boxes: tuple[Box, ...] = ()
    wnid: str | None = None
    notes: tuple[str, ...] = ()
    scene: Scene | None = field(default=None, repr=False)
    rival: tuple[int, tuple[Box, ...]] | None = None

    def __post_init__(self) -> None:
        """Refuse a mask or boxes of another size."""
        array = not isinstance(self.image, PIL.Image.Image)
        size = self.image.shape[1:] if array else (self.image.height, self.image.width)
        if array and self.boxes:
            raise ValueError(f"boxes must be of a picture, {self.id!r} is an array: give its mask")
        if self.mask is not None and np.shape(self.mask) != size:
            got = np.shape(self.mask)
            raise ValueError(f"mask must be of its picture's size {size}, got {got}")
        for box in (*self.boxes, *(self.rival[1] if self.rival else ())):
            x0, y0, x1, y1 = box
            if not (0 <= x0 < x1 <= size[1] and 0 <= y0 < y1 <= size[0]):
                raise ValueError(
                    "boxes must be (x0, y0, x1, y1) with x0 < x1 and y0 < y1 inside the picture of "
                    f"{size[1]} x {size[0]} pixels, got {tuple(box)}; give them in the picture's "
                    "own pixels, cut to it"
                )


def sample_photograph(name: str, classes: Sequence[str] = ()) -> Sample:
    """One of `PHOTOGRAPHS`, which libraries ship, from its installed files.

    Its label is the place of its class in ``classes``, and its boxes are around that object; where
    they do not have that class it has neither.
    """
    record = photograph(name)
    label = tuple(classes).index(record.kind) if record.kind in classes else None
    boxes = () if label is None else record.boxes
    notes = (record.note,) if record.note else ()
    return Sample(name, load_image(f"sample:{name}"), label, boxes=boxes, notes=notes)


class Layout(NamedTuple):
    """Where a picture's pixels go: resized to ``resized``, of which the network sees a window."""

    resized: tuple[int, int]
    top: int
    left: int
    size: tuple[int, int]


@dataclass(frozen=True)
class Transform:
    """A classifier's preprocessing as data: resize, centre crop, scale to [0, 1], normalise.

    One `Layout` carries pictures, boxes, masks and maps. A picture smaller than its crop is an
    error: nothing is padded.

    Args:
        resize: the shorter side in pixels, or ``(h, w)``, or ``None`` for no resizing.
        crop: centre crop ``(h, w)``, or ``None``.
        mean, std: per channel, for values in [0, 1]; one channel makes the picture grey.
        interpolation: one of ``INTERPOLATIONS``.
        antialias: false for tensors that were resized without; Pillow always antialiases.
        resampled: what is resized: ``"pillow"`` the picture, ``"uint8"`` a tensor of its 8-bit
            values, ``"float"`` of values in [0, 1]; they round differently.
        centre: how half a pixel beside the crop is rounded: ``"even"`` as torchvision does,
            ``"down"`` as Hugging Face does.
        grey: whether colours are taken out first, and the grey repeated in the channels.
        bgr: whether the network takes blue first; mean and std are in its order.
        dimensions, limits: of all pictures, not to be given: 2, and pixels from 0 to 1.
    """

    resize: int | tuple[int, int] | None = 256
    crop: tuple[int, int] | None = (224, 224)
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    interpolation: str = "bilinear"
    antialias: bool = True
    resampled: str = "pillow"
    centre: str = "even"
    grey: bool = False
    bgr: bool = False
    dimensions: ClassVar[int] = 2
    limits: ClassVar[tuple[float, float] | None] = (0.0, 1.0)

    def __post_init__(self) -> None:
        """Refuse what torchvision would accept and misread."""
        if not (_is_side(self.resize) or _is_pair(self.resize)) and self.resize is not None:
            raise ValueError(f"resize must be pixels >= 1, (h, w) or None, got {self.resize!r}")
        if not _is_pair(self.crop) and self.crop is not None:
            raise ValueError(f"crop must be pixels >= 1 as (h, w), or None, got {self.crop!r}")
        least = self.resize if isinstance(self.resize, tuple) else (self.resize or math.inf,) * 2
        if self.crop and (least[0] < self.crop[0] or least[1] < self.crop[1]):
            raise ValueError(f"crop must fit into resize {self.resize}, got {self.crop}")
        for number in (*self.mean, *self.std):
            checks.number("mean and std", number)
        if len(self.mean) not in {1, 3} or len(self.mean) != len(self.std):
            raise ValueError(
                f"mean and std must have 1 or 3 values each, got {len(self.mean)}, {len(self.std)}"
            )
        if min(self.std) <= 0:
            raise ValueError(f"std must be > 0, got {self.std}")
        for name, values in (("mean", self.mean), ("std", self.std)):
            if min(values) < 0 or max(values) > 1:
                raise ValueError(
                    f"{name} must be in [0, 1], since pixels are scaled to [0, 1], got {values}; "
                    "divide both mean and std of pixels in 0..255 by 255 (a std of 1 too)"
                )
        for name, options in CHOICES.items():
            checks.choice(name, getattr(self, name), options)
        if not self.antialias and self.resampled == "pillow":
            raise ValueError("antialias must be True (Pillow always antialiases), got False")

    def __repr__(self) -> str:
        """As a dataclass, less what is rarely set: fingerprints that were stored before hold."""
        shown = [f for f in fields(self) if f.default != getattr(self, f.name) or f.name in _ALWAYS]
        values = (f"{f.name}={getattr(self, f.name)!r}" for f in shown)
        return f"Transform({', '.join(values)})"

    @classmethod
    def from_weights(cls, weights: Any) -> Transform:
        """The preset of a torchvision classification weight, such as ``VGG16_Weights.DEFAULT``."""
        make = getattr(weights, "transforms", None)
        preset = make() if callable(make) else None
        names = ("resize_size", "crop_size", "mean", "std", "interpolation", "antialias")
        if not all(hasattr(preset, name) for name in names):
            raise TypeError(
                "weights must be a member of a torchvision classification enum, such as "
                f"VGG16_Weights.IMAGENET1K_V1, got {checks.describe(weights)}"
            )
        return cls.from_preset(preset)

    @classmethod
    def from_preset(cls, preset: Any) -> Transform:
        """What ``weights.transforms()`` of torchvision says: of segmentation without a crop."""
        resize, crop = (
            tuple(getattr(preset, key, None) or ()) for key in ("resize_size", "crop_size")
        )
        return cls(
            resize=resize[0] if len(resize) == 1 else resize or None,
            crop=(crop[0], crop[-1]) if crop else None,
            mean=tuple(preset.mean),
            std=tuple(preset.std),
            interpolation=preset.interpolation.value,
        )

    @property
    def size(self) -> tuple[int, int] | None:
        """``(H, W)`` of every result, or ``None`` where it follows the picture."""
        return self.crop or (self.resize if isinstance(self.resize, tuple) else None)

    @property
    def channels(self) -> int:
        """Channels of every result: 1 or 3."""
        return len(self.mean)

    def __call__(
        self, images: PIL.Image.Image | Sample | Iterable[PIL.Image.Image | Sample]
    ) -> torch.Tensor:
        """Pictures as the classifier wants them: ``(N, C, H, W)`` float32, normalised."""
        several = [images] if isinstance(images, (PIL.Image.Image, Sample)) else images
        if not isinstance(several, Iterable):
            raise TypeError(f"images must be pictures or samples, got {checks.describe(images)}")
        mean, std = _columns(self)
        values = (self._values(image) for image in several)
        batch = [((x.flip(0) if self.bgr else x) - mean) / std for x in values]
        sizes = {tuple(x.shape[-2:]) for x in batch}
        if len(sizes) != 1:
            raise ValueError(
                f"images must give one size, got {sorted(sizes) or 'no image'}; "
                "set crop, or resize to (h, w)"
            )
        return torch.stack(batch)

    def geometry(self, image: PIL.Image.Image | Sample) -> PIL.Image.Image:
        """The picture as the network sees it: resized and cropped, RGB or grey."""
        if self.resampled == "pillow":
            return self._moved(self._checked(image))
        values = (self._values(image) * 255).round().clamp(0, 255).to(torch.uint8)
        return PIL.Image.fromarray(values.permute(1, 2, 0).squeeze(2).numpy())

    def picture(self, image: PIL.Image.Image | Sample) -> np.ndarray:
        """The picture as the network sees it, ``(H, W, 3)`` uint8."""
        return np.asarray(self.geometry(image).convert("RGB"))

    def layout(self, height: int, width: int) -> Layout:
        """Where the pixels of a picture of this size go."""
        resized = self._resized(height, width)
        if self.crop is None:
            return Layout(resized, 0, 0, resized)
        half = round if self.centre == "even" else math.floor
        top, left = (half((side - cut) / 2) for side, cut in zip(resized, self.crop, strict=True))
        return Layout(resized, top, left, self.crop)

    def to_picture(self, map: np.ndarray, image: PIL.Image.Image | Sample) -> np.ndarray:
        r"""A map ``(..., h, w)`` of what the network sees, in the pixels of the original picture.

        The map is laid into the resized picture, as it was cut out there, and both it and what it
        covers (1 or 0) are resized to the picture: :math:`m' = r(m) / r(1)`, bilinear, antialiased.
        Values stay in the map's unit; they are NaN where the network did not look.
        """
        picture = self._checked(image)
        height, width = picture.height, picture.width
        (rows, columns), top, left, (h, w) = found = self.layout(height, width)
        if map.shape[-2:] != found.size:
            raise ValueError(
                f"map must have the size of what the network sees of this picture, {found.size}, "
                f"got {map.shape}; give the picture that was explained"
            )
        given = torch.as_tensor(np.ascontiguousarray(map), dtype=torch.float32)
        flat = torch.cat([given.reshape(-1, h, w), torch.ones(1, h, w)])
        laid = torch.zeros(len(flat), rows, columns)
        laid[:, top : top + h, left : left + w] = flat
        if found.resized != (height, width):
            laid = torch.nn.functional.interpolate(
                laid[None], (height, width), mode="bilinear", antialias=True
            )[0]
        seen = laid[-1] > 0.5  # the pixel's centre lies inside
        moved = (laid[:-1] / laid[-1]).masked_fill(~seen, torch.nan)
        return moved.reshape(*map.shape[:-2], height, width).numpy()

    def boxes(self, boxes: Sequence[Box], image_size: tuple[int, int]) -> torch.Tensor:
        """Boxes ``(x0, y0, x1, y1)`` of a picture ``(height, width)`` where the network sees them.

        They are ``(n, 4)`` float64, clamped; a box that the crop cut away has zero area.
        """
        values = torch.as_tensor(boxes, dtype=torch.float64).reshape(-1, 4)
        wrong = ~((values[:, 2:] > values[:, :2]).all(1) & torch.isfinite(values).all(1))
        if wrong.any():
            raise ValueError(
                "boxes must be finite (x0, y0, x1, y1) with x0 < x1 and y0 < y1, "
                f"got {values[wrong][0].tolist()}"
            )
        self._check_picture(*image_size)
        (rows, columns), top, left, (h, w) = self.layout(*image_size)
        # In float32, as torchvision moves boxes.
        scale = torch.tensor(
            [columns / image_size[1], rows / image_size[0]] * 2, dtype=torch.float32
        )
        moved = values * scale - torch.tensor([left, top] * 2)
        return moved.clamp(min=0).minimum(torch.tensor([w, h] * 2, dtype=torch.float64))

    def mask(self, mask: np.ndarray) -> np.ndarray:
        """A mask through the picture's own resize and crop: ``(H, W)`` bool, half or more kept."""
        if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_ or mask.ndim != 2:
            raise TypeError(f"mask must be a bool array (H, W), got {checks.describe(mask)}")
        self._check_picture(*mask.shape)
        # torchvision resizes masks by the top left neighbour: half a pixel off the picture.
        grey = PIL.Image.fromarray(mask.astype(np.uint8) * np.uint8(255))
        return np.asarray(self._moved(grey)) >= 128

    def _checked(self, image: Any) -> PIL.Image.Image:
        """The picture, RGB or grey, if it is one that fits."""
        picture = image.image if isinstance(image, Sample) else image
        if not isinstance(picture, PIL.Image.Image):
            raise TypeError(
                "images must be PIL images or samples (use load_image first), "
                f"got {checks.describe(picture)}"
            )
        if picture.mode != "RGB":
            picture = load_image(picture, upright=False)
        self._check_picture(picture.height, picture.width)
        if self.channels == 1:
            return picture.convert("L")
        return picture.convert("L").convert("RGB") if self.grey else picture

    def _values(self, image: Any) -> torch.Tensor:
        """The picture as the network sees it, ``(C, H, W)`` in [0, 1]."""
        picture = self._checked(image)
        size = picture.height, picture.width
        picture = self._moved(picture) if self.resampled == "pillow" else picture
        values = torch.from_numpy(np.atleast_3d(np.array(picture))).permute(2, 0, 1).contiguous()
        if self.resampled == "float":
            return self._moved(values.float() / 255, size)
        return (self._moved(values, size) if self.resampled == "uint8" else values).float() / 255

    def _moved(self, value: Any, size: tuple[int, int] | None = None) -> Any:
        """A picture or tensor, resized and cropped as the layout for ``size`` says."""
        size = size or (value.height, value.width)
        found = self.layout(*size)
        if found == (size, 0, 0, size):
            return value
        with environment_kept():
            from torchvision.transforms import InterpolationMode
            from torchvision.transforms.v2 import functional

        if found.resized != size:
            mode = InterpolationMode(self.interpolation)
            value = functional.resize(value, [*found.resized], mode, antialias=self.antialias)
        return functional.crop(value, found.top, found.left, *found.size)

    def _resized(self, height: int, width: int) -> tuple[int, int]:
        if not isinstance(self.resize, int):
            return self.resize or (height, width)
        if height <= width:
            return self.resize, int(self.resize * width / height)
        return int(self.resize * height / width), self.resize

    def _check_picture(self, height: int, width: int) -> None:
        check_size("the picture", (height, width))
        if self.resize is not None:
            # 1 x 100,000 pixels, resized to a shorter side of 256, would be 20 GB.
            check_size("the resized picture", self._resized(height, width))
        small = self.crop and (height < self.crop[0] or width < self.crop[1])
        if small and not self.resize:
            raise ValueError(f"the picture must be at least {self.crop}, got {(height, width)}")


def denormalise(x: torch.Tensor, transform: Transform) -> np.ndarray:
    """Network input ``(N, C, H, W)`` as pictures ``(N, H, W, 3)`` float32, clipped to [0, 1]."""
    checks.images("x", x, transform.channels)
    mean, std = _columns(transform)
    pixels = (x.detach().cpu().float() * std + mean).clamp(0, 1)
    pixels = pixels.flip(1) if transform.bgr else pixels
    return pixels.expand(-1, 3, -1, -1).permute(0, 2, 3, 1).contiguous().numpy()


def _columns(transform: Transform) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and deviation, ``(C, 1, 1)`` each."""
    mean, std = torch.tensor([transform.mean, transform.std], dtype=torch.float32)[..., None, None]
    return mean, std


def _is_side(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _is_pair(value: object) -> bool:
    return isinstance(value, tuple) and len(value) == 2 and all(map(_is_side, value))
