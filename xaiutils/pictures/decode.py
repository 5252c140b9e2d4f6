"""Read any picture as 8-bit RGB, or say what is wrong with it."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import PIL.ImageOps
import torch

from xaiutils.pictures.photographs import photograph
from xaiutils.support import checks

Source = str | os.PathLike[str] | bytes | PIL.Image.Image | np.ndarray | torch.Tensor

MAX_PIXELS = 100_000_000
MAX_SIDE = 65_535  # JPEG's own limit; a picture of 1 x 99,999,999 needs 3.4 GB
# Those that Pillow decodes itself: for others it may start a program (Ghostscript for EPS).
FORMATS = (
    *("PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP", "DIB", "PPM", "TGA", "ICO"),
    *("JPEG2000", "AVIF", "HEIF"),  # the last with a plugin, where one is registered
)
ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm", ".pgm")
ARRAY = "source (an array)"
ALL_BITS = "give the array that OpenCV reads, cv2.imread(file, cv2.IMREAD_UNCHANGED)[..., ::-1]"


def pictures_in(folder: Path) -> list[Path]:
    """The files of a folder that are called as pictures, by name; not those of folders in it.

    Raises:
        ValueError: It has none.
    """
    files = (path for path in folder.iterdir() if path.is_file() and path.name[0] != ".")
    found = sorted(path for path in files if path.suffix.lower() in ENDINGS)
    if not found:
        raise ValueError(
            f"source must be a folder with pictures ({', '.join(ENDINGS)}), {folder} has none"
        )
    return found


def load_image(
    source: Source,
    *,
    max_pixels: int = MAX_PIXELS,
    upright: bool = True,
    full_scale: float | None = None,
) -> PIL.Image.Image:
    """Read a picture as 8-bit RGB, without metadata.

    Transparent pixels are laid over white; 16-bit values are scaled (not clipped) to 8 bits; of an
    animation the first frame is read; a colour profile is not applied, as torchvision's loaders do
    not. Values that fill a small part of their type's range, as 12 bits in a 16-bit file do, bring
    a warning.

    Args:
        source: a path, ``"sample:chelsea"`` (a name in ``PHOTOGRAPHS``), the bytes of a file, a
            PIL image, an array ``(H, W)`` or ``(H, W, C)``, or a tensor ``(H, W)`` or
            ``(C, H, W)``; C is 1, 3 or 4; uint8, uint16, bool, or floats in [0, 1].
        max_pixels: a larger picture is refused from its header, before it is decoded.
        upright: turn the picture as its EXIF orientation says.
        full_scale: the value that is white, such as 4095 for 12 bits; by default the largest that
            the type holds, 1 for floats.

    Raises:
        FileNotFoundError, TypeError: there is no such file; a source or dtype of another type.
        ValueError: not a picture, truncated, of several pages, too large, or out of range.

    Example:
        >>> xai.load_image("sample:chelsea").size
        (451, 300)
    """
    checks.number("max_pixels", max_pixels, low=1)
    if full_scale is not None and checks.number("full_scale", full_scale) <= 0:
        raise ValueError(f"full_scale must be > 0, got {full_scale}")
    if isinstance(source, torch.Tensor):
        if source.ndim not in {2, 3}:
            shape = checks.shape(source)
            raise ValueError(f"source must be a tensor (H, W) or (C, H, W), got {shape}")
        array = source.detach().cpu()
        array = array.float() if array.dtype in {torch.bfloat16, torch.float16} else array
        source = (array.permute(1, 2, 0) if array.ndim == 3 else array).numpy()
    if isinstance(source, np.ndarray):
        return _to_rgb(_from_array(source, max_pixels, full_scale), ARRAY)
    if isinstance(source, PIL.Image.Image):
        name = str(getattr(source, "filename", "") or "source (a PIL image)")
        return _decode(source, name, max_pixels, upright, full_scale)
    stream, name = _open(source)
    with stream:
        try:
            PIL.Image.init()
            formats = [name for name in FORMATS if name in PIL.Image.OPEN]
            picture = PIL.Image.open(stream, formats=formats)
        # A damaged header comes out of Pillow's readers as any of a dozen exceptions.
        except Exception as error:
            stream.seek(0)
            got = f"a file that starts with {stream.read(8)!r}"
            got += "" if isinstance(error, PIL.UnidentifiedImageError) else f": {error}"
            raise ValueError(
                f"{name} must be a picture of one of the formats {', '.join(FORMATS)}, got {got}"
            ) from error
        return _decode(picture, name, max_pixels, upright, full_scale)


def _open(source: Any) -> tuple[io.BytesIO | io.BufferedReader, str]:
    """The source as a stream of our own, and the name that error messages use."""
    if isinstance(source, bytes):
        return io.BytesIO(source), "source (bytes)"
    if not isinstance(source, str | os.PathLike):
        raise TypeError(
            "source must be a path, bytes, a PIL image, an array or a tensor, "
            f"got {checks.describe(source)}"
        )
    text = str(os.fspath(source))
    if text.startswith("sample:"):
        return photograph(text.removeprefix("sample:")).path().open("rb"), text
    if text.startswith(("http://", "https://")):
        raise ValueError(f"source must be a local file, got {text}; download it first")
    path = Path(text).expanduser()
    if not path.exists():
        raise FileNotFoundError(f"source must be an existing file, got {text!r}")
    return checks.regular("source", path).open("rb"), text


def check_size(name: str, size: Sequence[int], max_pixels: int = MAX_PIXELS) -> None:
    """Raise unless both sides are in 1..`MAX_SIDE`, and their product is at most ``max_pixels``."""
    if min(size) < 1 or max(size) > MAX_SIDE or size[0] * size[1] > max_pixels:
        raise ValueError(
            f"{name} must have sides of 1 to {MAX_SIDE} pixels and at most {max_pixels} pixels, "
            f"got {size[0]} x {size[1]}; give a smaller copy, or raise max_pixels"
        )


def _decode(
    picture: PIL.Image.Image, name: str, max_pixels: int, upright: bool, full_scale: float | None
) -> PIL.Image.Image:
    check_size(name, picture.size, max_pixels)
    if picture.format == "TIFF" and getattr(picture, "is_animated", False):
        raise ValueError(
            f"{name} must be one picture, got a TIFF of several pages; open it with "
            "PIL.Image.open, go to a page with .seek(number), and give its .copy()"
        )
    deep = any(";16" in str(tile[3]) for tile in getattr(picture, "tile", ()))
    try:
        picture.load()
        picture = PIL.ImageOps.exif_transpose(picture) if upright else picture
    except Exception as error:
        raise ValueError(
            f"{name} must be a complete picture, and cannot be decoded ({error}); get a new copy"
        ) from error
    if picture.mode.startswith("I"):
        values = np.asarray(picture).astype(np.int64)
        grey = _scaled(values, name, 65535, full_scale)
        grey[values == picture.info.get("transparency", -1)] = 255
        picture = PIL.Image.fromarray(grey)
    elif picture.mode == "F":
        picture = PIL.Image.fromarray(_scaled(np.asarray(picture), name, 1, full_scale))
    elif full_scale is not None:
        raise ValueError(
            f"full_scale must be of an array or of a grey picture of 16 bits or floats, {name} has "
            f"the mode {picture.mode}; {ALL_BITS}"
        )
    elif deep:  # of 16-bit colours Pillow keeps the upper 8 bits: of 12-bit values in them, 4
        _look_at_range(name, np.asarray(picture.convert("RGB")).max() * 257.0, 65535, ALL_BITS)
    return _to_rgb(picture, name)


def _look_at_range(name: str, highest: float, full: float, way: str = "") -> None:
    """Warn where values fill a small part of their type's range, and the picture would be dark."""
    # Files of 10, 12 and 14 bits are kept in 16; elsewhere a sixteenth is dark enough to ask.
    if not 0 < highest < full / (4 if full == 65535 else 16):
        return
    guess = 2 ** int(highest).bit_length() - 1 if highest >= 1 else highest
    warnings.warn(
        f"{name}: its values reach {highest:g} of {full:g}, as if fewer bits were stored in a "
        f"larger type, and it comes out dark: pass full_scale={guess:g} if that is white; "
        f"{way or f'full_scale={full:g} if it is that dark'}",
        stacklevel=2,
    )


def _scaled(values: np.ndarray, name: str, full: float, given: float | None) -> np.ndarray:
    """Numbers from 0 to full scale as 8-bit values."""
    white = full if given is None else given
    if values.size and not ((values >= 0) & (values <= white)).all():
        raise ValueError(
            f"{name} must be in [0, {white:g}], got {values.min():g} to {values.max():g}; pass its "
            "full_scale (255 for 8 bits, 4095 for 12), or undo the normalisation"
        )
    if given is None:
        _look_at_range(name, float(values.max()), full)
        if values.dtype == np.uint8:
            return values
    return np.round(values * (255.0 / white)).astype(np.uint8)


def _from_array(array: np.ndarray, max_pixels: int, full_scale: float | None) -> PIL.Image.Image:
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.ndim != 2 and (array.ndim != 3 or array.shape[2] not in {3, 4}):
        raise ValueError(
            f"source must be an array (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), got {array.shape}"
        )
    check_size(ARRAY, array.shape[1::-1], max_pixels)
    kind = array.dtype.kind
    full = 1 if kind == "f" else {"uint8": 255, "uint16": 65535}.get(array.dtype.name, full_scale)
    if kind == "b":
        array = array.astype(np.uint8) * np.uint8(255)
    elif kind in "fui" and full is not None:
        array = _scaled(array, f"{ARRAY} of floats" if kind == "f" else ARRAY, full, full_scale)
    else:
        raise TypeError(
            f"source must be uint8, uint16, bool or float in [0, 1], got {array.dtype}; "
            "pass full_scale with another type of whole numbers"
        )
    return PIL.Image.fromarray(np.ascontiguousarray(array))


def _to_rgb(picture: PIL.Image.Image, name: str) -> PIL.Image.Image:
    try:
        if picture.has_transparency_data:
            picture = picture.convert("RGBA")
            white = PIL.Image.new("RGBA", picture.size, "white")
            picture = PIL.Image.alpha_composite(white, picture)
        picture = picture.convert("RGB")
    except ValueError as error:
        raise ValueError(f"{name} must be convertible to RGB, got mode {picture.mode}") from error
    # An orientation tag left here would turn the picture again at its next reading.
    picture.info.clear()
    return picture
