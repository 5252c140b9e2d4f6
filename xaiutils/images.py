"""Pictures in, tensors out: a sample, and the preprocessing of the classifier's training."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import PIL.Image
import torch

from xaiutils import checks
from xaiutils.borrowed import environment_kept
from xaiutils.decode import PHOTOGRAPHS, check_size, load_image

__all__ = [
    "PHOTOGRAPHS", "Box", "Sample", "Transform", "denormalise", "load_image", "sample_photograph",
]  # fmt: skip

Box = tuple[float, float, float, float]
INTERPOLATIONS = ("nearest", "nearest-exact", "bilinear", "bicubic", "box", "hamming", "lanczos")


@dataclass(frozen=True, eq=False)
class Sample:
    """A picture and what is known about it, all in the picture's own pixels.

    Args:
        id: unique within its data set; result tables carry it.
        image: RGB picture.
        label: class index of the data set, or ``None`` where nobody said.
        mask: ``(H, W)`` bool, the pixels of the labelled object.
        boxes: ``(x0, y0, x1, y1)`` of the labelled object, pixels from the top left corner,
            ``x1`` and ``y1`` exclusive.
        wnid: WordNet id of the class (ImageNet only).
        notes: what a reader should know, such as "box 2 reached beyond the picture".

    Raises:
        ValueError: The mask has another size than the picture, or a box is empty or leaves it.
    """

    id: str
    image: PIL.Image.Image
    label: int | None = None
    mask: np.ndarray | None = None
    boxes: tuple[Box, ...] = ()
    wnid: str | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a mask or boxes of another size, such as of the picture before EXIF turned it."""
        size = self.image.height, self.image.width
        if self.mask is not None and np.shape(self.mask) != size:
            got = np.shape(self.mask)
            raise ValueError(f"mask must be of its picture's size {size}, got {got}")
        for box in self.boxes:
            x0, y0, x1, y1 = box
            if not (0 <= x0 < x1 <= size[1] and 0 <= y0 < y1 <= size[0]):
                raise ValueError(
                    "boxes must be (x0, y0, x1, y1) with x0 < x1 and y0 < y1 inside the picture of "
                    f"{size[1]} x {size[0]} pixels, got {tuple(box)}; give them in the picture's "
                    "own pixels, cut to it"
                )


def sample_photograph(name: str) -> Sample:
    """One of scikit-image's own photographs, without label; from its installed files, no download.

    Raises:
        ValueError: the name is not in ``PHOTOGRAPHS``.
        FileNotFoundError: scikit-image was installed without its data folder.
    """
    checks.choice("name", name, PHOTOGRAPHS)
    return Sample(name, load_image(f"sample:{name}"))


@dataclass(frozen=True)
class Transform:
    """A classifier's preprocessing as data: resize, centre crop, scale to [0, 1], normalise.

    One torchvision v2 pipeline carries pictures, boxes and masks, so that they cannot disagree.

    Args:
        resize: the shorter side in pixels, or exactly ``(h, w)``, or ``None`` for no resizing.
        crop: centre crop ``(h, w)``, or ``None``; a crop that would need padding is an error.
        mean, std: per channel, for values in [0, 1]; one channel makes the picture grey.
        interpolation: one of ``INTERPOLATIONS``.
        antialias: always true, since Pillow always antialiases; kept as a record of the preset.

    Raises:
        TypeError, ValueError: a field, at construction; a picture too small, when it comes.
    """

    resize: int | tuple[int, int] | None = 256
    crop: tuple[int, int] | None = (224, 224)
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    interpolation: str = "bilinear"
    antialias: bool = True

    def __post_init__(self) -> None:
        """Refuse what torchvision would accept and misread."""
        if not (_is_side(self.resize) or _is_pair(self.resize)) and self.resize is not None:
            raise ValueError(f"resize must be pixels >= 1, (h, w) or None, got {self.resize!r}")
        if not _is_pair(self.crop) and self.crop is not None:
            raise ValueError(f"crop must be pixels >= 1 as (h, w), or None, got {self.crop!r}")
        if self.crop and self.resize:
            height, width = (self.resize,) * 2 if isinstance(self.resize, int) else self.resize
            if self.crop[0] > height or self.crop[1] > width:
                raise ValueError(f"crop must fit into resize {self.resize}, got {self.crop}")
        for number in (*self.mean, *self.std):
            checks.number("mean and std", number)
        if len(self.mean) not in {1, 3} or len(self.mean) != len(self.std):
            raise ValueError(
                f"mean and std must have 1 or 3 values each, got {len(self.mean)}, {len(self.std)}"
            )
        if min(self.std) <= 0:
            raise ValueError(f"std must be > 0, got {self.std}")
        beyond = [
            name
            for name, values in (("mean", self.mean), ("std", self.std))
            if min(values) < 0 or max(values) > 1
        ]
        if beyond:
            raise ValueError(
                f"{beyond[0]} must be in [0, 1], since pixels are scaled to [0, 1], got "
                f"{getattr(self, beyond[0])}; divide both mean and std of pixels in 0..255 by 255 "
                "(a std of 1 too)"
            )
        checks.choice("interpolation", self.interpolation, INTERPOLATIONS)
        if not self.antialias:
            raise ValueError("antialias must be True (Pillow always antialiases), got False")

    @classmethod
    def from_weights(cls, weights: Any) -> Transform:
        """The preset of a torchvision classification weight, such as ``VGG16_Weights.DEFAULT``.

        Raises:
            TypeError: ``weights`` is nothing of the kind.
        """
        preset: Any = (
            weights.transforms() if callable(getattr(weights, "transforms", None)) else None
        )
        fields = ("resize_size", "crop_size", "mean", "std", "interpolation", "antialias")
        if not all(hasattr(preset, field) for field in fields):
            raise TypeError(
                "weights must be a member of a torchvision classification enum, such as "
                f"VGG16_Weights.IMAGENET1K_V1, got {checks.describe(weights)}"
            )
        resize, crop = (list(getattr(preset, field)) for field in fields[:2])
        return cls(
            resize=resize[0] if len(resize) == 1 else (resize[0], resize[1]),
            crop=(crop[0], crop[-1]),
            mean=tuple(preset.mean),
            std=tuple(preset.std),
            interpolation=preset.interpolation.value,
            antialias=bool(preset.antialias),
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
        """Pictures as the classifier wants them: ``(N, C, H, W)`` float32, normalised.

        Bit by bit as torchvision's presets do: divided by 255, less the mean, over the deviation.
        """
        several = [images] if isinstance(images, (PIL.Image.Image, Sample)) else images
        if not isinstance(several, Iterable):
            raise TypeError(f"images must be pictures or samples, got {checks.describe(images)}")
        mean, std = (
            torch.tensor(value, dtype=torch.float32)[:, None, None]
            for value in (self.mean, self.std)
        )
        pixels = (np.atleast_3d(np.array(self.geometry(image))) for image in several)
        values = (torch.from_numpy(x).permute(2, 0, 1).contiguous().float() / 255 for x in pixels)
        batch = [(x - mean) / std for x in values]
        sizes = {tuple(x.shape[-2:]) for x in batch}
        if len(sizes) != 1:
            raise ValueError(
                f"images must give one size, got {sorted(sizes) or 'no image'}; "
                "set crop, or resize to (h, w)"
            )
        return torch.stack(batch)

    def geometry(self, image: PIL.Image.Image | Sample) -> PIL.Image.Image:
        """The picture as the network sees it: resized and cropped, RGB or grey, for plots.

        Raises:
            TypeError: It is neither a PIL image nor a sample.
        """
        picture = image.image if isinstance(image, Sample) else image
        if not isinstance(picture, PIL.Image.Image):
            raise TypeError(
                "images must be PIL images or samples (use load_image first), "
                f"got {checks.describe(picture)}"
            )
        if picture.mode != "RGB":
            picture = load_image(picture, upright=False)
        self._check_picture(picture.height, picture.width)
        return self._fitted(picture.convert("L") if self.channels == 1 else picture)

    def boxes(self, boxes: Sequence[Box], image_size: tuple[int, int]) -> torch.Tensor:
        """Boxes through the picture's own resize and crop: ``(n, 4)`` float64, clamped.

        Args:
            boxes: ``(x0, y0, x1, y1)`` in pixels of the original picture.
            image_size: ``(height, width)`` of the original picture.

        Returns:
            One row per box, in order; a box that the crop cut away has zero area.

        Raises:
            ValueError: A box that is empty, turned round or not finite.
        """
        with environment_kept():
            from torchvision import tv_tensors
            from torchvision.transforms import v2

        values = torch.as_tensor(boxes, dtype=torch.float64).reshape(-1, 4)
        wrong = ~((values[:, 2:] > values[:, :2]).all(1) & torch.isfinite(values).all(1))
        if wrong.any():
            raise ValueError(
                "boxes must be finite (x0, y0, x1, y1) with x0 < x1 and y0 < y1, "
                f"got {values[wrong][0].tolist()}"
            )
        self._check_picture(*image_size)
        wrapped = tv_tensors.BoundingBoxes(values, format="XYXY", canvas_size=tuple(image_size))
        moved = v2.Compose([self._pipeline(), v2.ClampBoundingBoxes()])(wrapped)
        return moved.as_subclass(torch.Tensor)

    def mask(self, mask: np.ndarray) -> np.ndarray:
        """A mask through the picture's own resize and crop: ``(H, W)`` bool, half or more kept.

        Raises:
            TypeError: It is no bool array (H, W).
        """
        if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_ or mask.ndim != 2:
            raise TypeError(f"mask must be a bool array (H, W), got {checks.describe(mask)}")
        self._check_picture(*mask.shape)
        # torchvision resizes masks by the top left neighbour: half a pixel off the picture.
        grey = PIL.Image.fromarray(mask.astype(np.uint8) * np.uint8(255))
        return np.asarray(self._fitted(grey)) >= 128

    def _fitted(self, picture: PIL.Image.Image) -> PIL.Image.Image:
        size = (picture.height, picture.width)
        if self.resize in (None, size) and self.crop in (None, size):
            return picture  # the pipeline would not change it
        return self._pipeline()(picture)

    def _pipeline(self) -> Any:
        with environment_kept():
            from torchvision.transforms import v2

        resize = list(self.resize) if isinstance(self.resize, tuple) else self.resize
        mode = v2.InterpolationMode(self.interpolation)
        steps: list[torch.nn.Module] = [v2.Identity()]
        steps += [v2.Resize(resize, interpolation=mode, antialias=True)] if resize else []
        steps += [v2.CenterCrop(list(self.crop))] if self.crop else []
        return v2.Compose(steps)

    def _check_picture(self, height: int, width: int) -> None:
        check_size("the picture", (height, width))
        if isinstance(self.resize, int):
            # 1 x 100,000 pixels, resized to a shorter side of 256, would be 20 GB.
            long = self.resize * max(height, width) // min(height, width)
            check_size("the resized picture", (self.resize, long))
        if self.crop and not self.resize and (height < self.crop[0] or width < self.crop[1]):
            raise ValueError(f"the picture must be at least {self.crop}, got {(height, width)}")


def denormalise(x: torch.Tensor, transform: Transform) -> np.ndarray:
    """Network input ``(N, C, H, W)`` as pictures ``(N, H, W, 3)`` float32, clipped to [0, 1].

    Raises:
        TypeError, ValueError: ``x`` is no finite batch with the channels of ``transform``.
    """
    checks.images("x", x, transform.channels)
    mean, std = (
        torch.tensor(value, dtype=torch.float32) for value in (transform.mean, transform.std)
    )
    pixels = (x.detach().cpu().float() * std[:, None, None] + mean[:, None, None]).clamp(0, 1)
    return pixels.expand(-1, 3, -1, -1).permute(0, 2, 3, 1).contiguous().numpy()


def _is_side(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _is_pair(value: object) -> bool:
    return isinstance(value, tuple) and len(value) == 2 and all(map(_is_side, value))
