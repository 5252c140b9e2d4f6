"""Read any picture as 8-bit RGB, or say what is wrong with it."""

from __future__ import annotations

import importlib.util
import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import PIL.ImageOps
import torch

from xaiutils import checks

Source = (
    str | os.PathLike[str] | bytes | bytearray | memoryview | io.IOBase | PIL.Image.Image
    | np.ndarray | torch.Tensor
)  # fmt: skip

MAX_PIXELS = 100_000_000
ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif")

# Files inside scikit-image's wheel (its other pictures are downloads), free to redistribute.
PHOTOGRAPHS = {
    "chelsea": "chelsea.png",
    "coffee": "coffee.png",
    "rocket": "rocket.jpg",
    "astronaut": "astronaut.png",
    "motorcycle": "motorcycle_left.png",
    "camera": "camera.png",
    "coins": "coins.png",
    "moon": "moon.png",
}


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
    source: Source, *, max_pixels: int = MAX_PIXELS, upright: bool = True
) -> PIL.Image.Image:
    """Read a picture as 8-bit RGB.

    Transparent pixels are laid over white; 16-bit values are scaled (not clipped) to 8 bits; grey
    is repeated in three channels; of an animation the first frame is read; a colour profile is
    not applied, as torchvision's loaders do not. The result carries no metadata.

    Args:
        source: a path, ``"sample:chelsea"`` (see ``PHOTOGRAPHS``), the bytes of a file, an open
            binary file, a PIL image, an array ``(H, W)`` or ``(H, W, C)``, or a tensor ``(H, W)``
            or ``(C, H, W)``; C is 1, 3 or 4; uint8, uint16, bool, or floats in [0, 1].
        max_pixels: a larger picture is refused from its header, before it is decoded.
        upright: turn the picture as its EXIF orientation says.

    Raises:
        FileNotFoundError: there is no such file.
        TypeError: the source is of another type, or an array of another dtype.
        ValueError: not a picture, truncated, without pixels, too large, or values out of range.
    """
    checks.number("max_pixels", max_pixels, low=1)
    if isinstance(source, torch.Tensor):
        if source.ndim not in {2, 3}:
            shape = checks.shape(source)
            raise ValueError(f"source must be a tensor (H, W) or (C, H, W), got {shape}")
        array = source.detach().cpu()
        array = array.float() if array.dtype in {torch.bfloat16, torch.float16} else array
        source = (array.permute(1, 2, 0) if array.ndim == 3 else array).numpy()
    if isinstance(source, np.ndarray):
        return _to_rgb(_from_array(source, max_pixels), "source (an array)")
    if isinstance(source, PIL.Image.Image):
        name = getattr(source, "filename", "") or "source (a PIL image)"
        return _decode(source, str(name), max_pixels, upright)
    stream, name = _open(source)
    with stream:
        try:
            picture = PIL.Image.open(stream)
        except (PIL.Image.DecompressionBombError, PIL.Image.DecompressionBombWarning) as error:
            raise ValueError(
                f"{name} must have at most {max_pixels} pixels, and Pillow stops it: {error} "
                "Give a smaller copy, or raise PIL.Image.MAX_IMAGE_PIXELS and max_pixels."
            ) from error
        # A damaged header comes out of Pillow's readers as any of a dozen exceptions.
        except Exception as error:
            raise ValueError(
                f"{name} must be a picture that Pillow can read (JPEG, PNG, TIFF, WebP, ...), "
                f"got {_head(stream)}{_reason(error)}"
            ) from error
        return _decode(picture, name, max_pixels, upright)


def _open(source: Any) -> tuple[io.BytesIO | io.BufferedReader, str]:
    """The source as a stream of our own, and the name that error messages use."""
    if isinstance(source, (bytes, bytearray, memoryview)):
        return io.BytesIO(source), "source (bytes)"
    if isinstance(source, (str, os.PathLike)):
        text = str(os.fspath(source))
        if text.startswith("sample:"):
            return _photograph(text.removeprefix("sample:")).open("rb"), text
        if text.startswith(("http://", "https://")):
            raise ValueError(f"source must be a local file, got {text}; download it first")
        path = Path(text).expanduser()
        if path.is_dir():
            raise ValueError(f"source must be a picture, got the folder {text!r}")
        if not path.exists():
            raise FileNotFoundError(f"source must be an existing file, got {text!r}")
        return path.open("rb"), text
    if hasattr(source, "read"):
        data = source.read()
        if not isinstance(data, bytes):
            raise TypeError(
                f"source must be opened in binary mode, it gave {checks.describe(data)}"
            )
        return io.BytesIO(data), str(getattr(source, "name", "source (a file object)"))
    raise TypeError(
        "source must be a path, bytes, a binary file, a PIL image, an array or a tensor, "
        f"got {checks.describe(source)}"
    )


def _photograph(name: str) -> Path:
    """The file of a photograph, found without importing scikit-image (half a second)."""
    checks.choice("sample", name, PHOTOGRAPHS)
    spec = importlib.util.find_spec("skimage")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(folder, "data", PHOTOGRAPHS[name])
        if path.is_file():
            return path
    raise FileNotFoundError(
        f"the photograph {PHOTOGRAPHS[name]} must lie in scikit-image's data folder, and does not; "
        "install scikit-image from its wheel (pip install scikit-image)"
    )


def _head(stream: io.BytesIO | io.BufferedReader) -> str:
    stream.seek(0)
    head = stream.read(8)
    return f"a file that starts with {head!r}" if head else "an empty file"


def _reason(error: Exception) -> str:
    """Pillow's words, unless all that they name is an object in memory."""
    return "" if isinstance(error, PIL.UnidentifiedImageError) else f": {error}"


def check_size(name: str, size: Sequence[int], max_pixels: int = MAX_PIXELS) -> None:
    """Raise unless both sides are >= 1 and their product at most ``max_pixels``."""
    if min(size) < 1:
        raise ValueError(f"{name} must have at least one pixel, got the size {tuple(size)}")
    if size[0] * size[1] > max_pixels:
        raise ValueError(
            f"{name} must have at most {max_pixels} pixels, got {size[0]} x {size[1]}; "
            "give a smaller copy, or raise max_pixels"
        )


def _decode(picture: PIL.Image.Image, name: str, max_pixels: int, upright: bool) -> PIL.Image.Image:
    check_size(name, picture.size, max_pixels)
    try:
        picture.load()
        picture = PIL.ImageOps.exif_transpose(picture) if upright else picture
    except Exception as error:
        raise ValueError(
            f"{name} must be a complete picture, and cannot be decoded ({error}); get a new copy"
        ) from error
    return _to_rgb(picture, name)


def _from_array(array: np.ndarray, max_pixels: int) -> PIL.Image.Image:
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.ndim != 2 and (array.ndim != 3 or array.shape[2] not in {3, 4}):
        raise ValueError(
            f"source must be an array (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), got {array.shape}"
        )
    check_size("source (an array)", array.shape[1::-1], max_pixels)
    if array.dtype.kind == "f":
        array = _unit(array, "source (an array of floats)")
    elif array.dtype == np.uint16:
        array = np.round(array / 257).astype(np.uint8)
    elif array.dtype == np.bool_:
        array = array.astype(np.uint8) * np.uint8(255)
    elif array.dtype != np.uint8:
        raise TypeError(f"source must be uint8, uint16, bool or float in [0, 1], got {array.dtype}")
    return PIL.Image.fromarray(np.ascontiguousarray(array))


def _unit(values: np.ndarray, name: str) -> np.ndarray:
    """Floats in [0, 1] as 8-bit values; anything else is an error, since its scale is unknown."""
    if not ((values >= 0) & (values <= 1)).all():
        raise ValueError(
            f"{name} must be in [0, 1], got {values.min():g} to {values.max():g}; "
            "divide by its full scale (255 for 8 bits), or undo the normalisation"
        )
    return np.round(values * 255.0).astype(np.uint8)


def _to_rgb(picture: PIL.Image.Image, name: str) -> PIL.Image.Image:
    if picture.mode.startswith("I"):
        values = np.asarray(picture).astype(np.int64)
        if values.min() < 0 or values.max() > 65535:
            raise ValueError(
                f"{name} must be 16-bit (0 to 65535), got {values.min()} to {values.max()}"
            )
        clear = picture.info.get("transparency")
        values[values == (clear if isinstance(clear, int) else -1)] = 65535
        picture = PIL.Image.fromarray(np.round(values / 257).astype(np.uint8))
    elif picture.mode == "F":
        picture = PIL.Image.fromarray(_unit(np.asarray(picture), name))
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
