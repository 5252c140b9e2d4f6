"""Reading pictures (decode.py) and the transform as data (images.py)."""

from __future__ import annotations

import io
import os
import random
import struct
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from hypothesis import given, settings, strategies as st
from torchvision import models
from torchvision.transforms import InterpolationMode

from xaiutils.pictures.images import (
    PHOTOGRAPHS,
    Sample,
    Transform,
    denormalise,
    load_image,
    sample_photograph,
)

GRADIENT = np.arange(6 * 4 * 3, dtype=np.uint8).reshape(6, 4, 3)
PIXELS = Transform(resize=None, crop=None)


def noise(height: int, width: int, seed: int = 0) -> PIL.Image.Image:
    values = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return PIL.Image.fromarray(values)


def encoded(picture: PIL.Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def values(source: Any, **options: Any) -> np.ndarray:
    picture = load_image(source, **options)
    assert picture.mode == "RGB"
    return np.asarray(picture)


# Sources


def test_every_kind_of_source_gives_the_same_pixels(tmp_path: Path) -> None:
    data = encoded(PIL.Image.fromarray(GRADIENT))
    path = tmp_path / "picture.png"
    path.write_bytes(data)
    sources = [path, str(path), data, GRADIENT, PIL.Image.open(path)]
    for source in (*sources, torch.tensor(GRADIENT).permute(2, 0, 1)):
        np.testing.assert_array_equal(values(source), GRADIENT)


def test_home_folder_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "picture.png").write_bytes(encoded(PIL.Image.fromarray(GRADIENT)))
    np.testing.assert_array_equal(values("~/picture.png"), GRADIENT)


@pytest.mark.parametrize(
    "array",
    [
        GRADIENT / 255,
        (GRADIENT / 255).astype(np.float32),
        GRADIENT.astype(np.uint16) * 257,
        torch.tensor(GRADIENT / 255).permute(2, 0, 1),
        torch.tensor(GRADIENT / 255).permute(2, 0, 1).requires_grad_(),
    ],
    ids=["float64", "float32", "uint16", "tensor", "tensor with gradient"],
)
def test_arrays_are_scaled_by_their_dtype(array: Any) -> None:
    np.testing.assert_array_equal(values(array), GRADIENT)


@pytest.mark.parametrize("shape", [(6, 4), (6, 4, 1)])
def test_grey_arrays_are_repeated(shape: tuple[int, ...]) -> None:
    grey = GRADIENT[:, :, 0].reshape(shape)
    np.testing.assert_array_equal(values(grey), np.repeat(GRADIENT[:, :, :1], 3, axis=2))
    assert set(values(grey > 3).ravel()) == {0, 255}


def test_the_caller_keeps_its_picture_and_its_array() -> None:
    picture = PIL.Image.fromarray(GRADIENT)
    picture.info["note"] = "kept"
    result = load_image(picture)
    result.putpixel((0, 0), (9, 9, 9))
    assert picture.getpixel((0, 0)) == (0, 1, 2)
    assert picture.info == {"note": "kept"}
    array = GRADIENT.copy()
    load_image(array).putpixel((0, 0), (9, 9, 9))
    np.testing.assert_array_equal(array, GRADIENT)


# Modes


def test_exif_orientation_is_applied_once() -> None:
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    data = encoded(PIL.Image.fromarray(GRADIENT), exif=exif)
    np.testing.assert_array_equal(values(data), np.rot90(GRADIENT, -1))
    np.testing.assert_array_equal(values(load_image(data)), np.rot90(GRADIENT, -1))
    np.testing.assert_array_equal(values(data, upright=False), GRADIENT)
    np.testing.assert_array_equal(values(load_image(data, upright=False)), GRADIENT)


def test_transparency_is_laid_over_white() -> None:
    rgba = np.array([[[200, 100, 0, 255], [200, 100, 0, 0], [200, 100, 0, 51]]], dtype=np.uint8)
    expected = [[[200, 100, 0], [255, 255, 255], [244, 224, 204]]]
    np.testing.assert_array_equal(values(rgba), expected)
    np.testing.assert_array_equal(values(encoded(PIL.Image.fromarray(rgba))), expected)
    la = PIL.Image.fromarray(np.array([[[7, 255], [7, 0]]], dtype=np.uint8))
    assert la.mode == "LA"
    np.testing.assert_array_equal(values(la)[0, :, 0], [7, 255])


def test_palette_with_and_without_transparency() -> None:
    picture = PIL.Image.new("P", (2, 1))
    picture.putpalette([10, 20, 30, 40, 50, 60])
    picture.putpixel((1, 0), 1)
    np.testing.assert_array_equal(values(encoded(picture)), [[[10, 20, 30], [40, 50, 60]]])
    data = encoded(picture, transparency=1)
    np.testing.assert_array_equal(values(data), [[[10, 20, 30], [255, 255, 255]]])


def test_sixteen_bits_are_scaled_not_clipped() -> None:
    deep = np.array([[0, 257, 32768, 65535]], dtype=np.uint16)
    expected = [0, 1, 128, 255]
    for kind in ("PNG", "TIFF"):
        np.testing.assert_array_equal(
            values(encoded(PIL.Image.fromarray(deep), kind))[0, :, 0], expected
        )
    whole = PIL.Image.fromarray(deep.astype(np.int32))
    assert whole.mode == "I"
    np.testing.assert_array_equal(values(whole)[0, :, 0], expected)
    clear = encoded(PIL.Image.fromarray(deep), transparency=257)
    np.testing.assert_array_equal(values(clear)[0, :, 0], [0, 255, 128, 255])


def test_float_tiff_one_bit_and_cmyk() -> None:
    ramp = np.array([[0.0, 0.2, 1.0]], dtype=np.float32)
    assert values(encoded(PIL.Image.fromarray(ramp), "TIFF"))[0, :, 0].tolist() == [0, 51, 255]
    bits = PIL.Image.fromarray(np.array([[0, 255]], dtype=np.uint8)).convert("1")
    assert values(encoded(bits))[0, :, 0].tolist() == [0, 255]
    ink = PIL.Image.new("CMYK", (8, 8), (0, 255, 255, 0))
    np.testing.assert_allclose(values(encoded(ink, "JPEG"))[4, 4], [255, 0, 0], atol=4)


def test_animation_gives_its_first_frame() -> None:
    first, second = (PIL.Image.new("RGB", (3, 2), c) for c in ("red", "blue"))
    data = encoded(first, "GIF", save_all=True, append_images=[second])
    assert load_image(data).getpixel((0, 0)) == (255, 0, 0)


# Errors


def test_a_missing_file_is_named() -> None:
    with pytest.raises(FileNotFoundError, match=r"source must be an existing file, got 'no\.png'"):
        load_image("no.png")


def test_unreadable_files_are_named(tmp_path: Path) -> None:
    text, empty, cut = (tmp_path / name for name in ("text.png", "empty.png", "cut.jpg"))
    text.write_text("not a picture")
    empty.touch()
    data = encoded(noise(64, 64), "JPEG")
    cut.write_bytes(data[: len(data) // 2])
    with pytest.raises(ValueError, match=r"text\.png must be a picture .* starts with b'not a pi'"):
        load_image(text)
    with pytest.raises(ValueError, match=r"empty\.png must be a picture .* starts with b''"):
        load_image(empty)
    with pytest.raises(ValueError, match=r"cut\.jpg must be a complete picture, .* new copy"):
        load_image(cut)
    with pytest.raises(ValueError, match="got the folder"):
        load_image(tmp_path)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "TIFF", "BMP", "WEBP"])
def test_damaged_files_are_our_error_or_a_picture(kind: str) -> None:
    data = encoded(noise(16, 16), kind)
    random_numbers = random.Random(0)
    for _ in range(60):
        damaged = bytearray(data[: random_numbers.randint(1, len(data))])
        for _ in range(3):
            damaged[random_numbers.randrange(len(damaged))] = random_numbers.randrange(256)
        try:
            assert load_image(bytes(damaged)).mode == "RGB"
        except ValueError as error:
            assert "source (bytes) must" in str(error)  # noqa: PT017  either outcome is right


def test_huge_pictures_are_refused_from_the_header(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(PIL.Image.new("1", (3000, 2000)))
    with pytest.raises(ValueError, match="at most 1000 pixels, got 3000 x 2000; give a smaller"):
        load_image(data, max_pixels=1000)
    with pytest.raises(ValueError, match=r"source \(an array\) must have .* at most 10 pixels"):
        load_image(GRADIENT, max_pixels=10)
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(ValueError, match=r"must be a picture .* exceeds limit of 2000 pixels"):
        load_image(data)
    with pytest.raises(ValueError, match="max_pixels must be >= 1"):
        load_image(data, max_pixels=0)


@pytest.mark.parametrize(
    ("source", "error", "match"),
    [
        (GRADIENT * 1.0, ValueError, r"must be in \[0, 1\], got 0 to 71; pass its full_scale"),
        (GRADIENT / 255 - 0.1, ValueError, r"must be in \[0, 1\], got -0.1 to"),
        (np.full((2, 2), np.nan), ValueError, r"must be in \[0, 1\], got nan"),
        (np.zeros((2, 2), dtype=np.int64), TypeError, "must be uint8, uint16, bool or float"),
        (np.zeros((2, 2, 5), dtype=np.uint8), ValueError, r"got \(2, 2, 5\)"),
        (np.zeros(3), ValueError, r"must be an array \(H, W\), .* got \(3,\)"),
        (np.zeros((0, 5)), ValueError, "sides of 1 to 65535 pixels .* got 5 x 0"),
        (torch.zeros(1, 3, 2, 2), ValueError, r"must be a tensor .* got \(1, 3, 2, 2\)"),
        (PIL.Image.new("RGB", (0, 5)), ValueError, "sides of 1 to 65535 pixels .* got 0 x 5"),
        (PIL.Image.merge("La", [PIL.Image.new("L", (2, 2))] * 2), ValueError, "RGB, got mode La"),
        (
            PIL.Image.new("I", (2, 2), 70000),
            ValueError,
            r"must be in \[0, 65535\], got 70000 to 70000",
        ),
        (PIL.Image.new("F", (2, 2), 2.0), ValueError, r"must be in \[0, 1\], got 2 to 2"),
        (
            io.BytesIO(b"file"),
            TypeError,
            "source must be a path, bytes, .* got BytesIO",
        ),
        (7, TypeError, "source must be a path, .* got int 7"),
        ("https://example.org/cat.png", ValueError, "must be a local file, .* download it first"),
        ("sample:chelse", ValueError, "did you mean chelsea"),
    ],
)
def test_wrong_sources(source: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        load_image(source)


# Photographs


@pytest.mark.parametrize("name", PHOTOGRAPHS)
def test_photographs_come_from_the_installed_files(name: str) -> None:
    sample = sample_photograph(name)
    assert sample.id == name
    assert sample.image.mode == "RGB"
    assert min(sample.image.size) >= 300
    np.testing.assert_array_equal(values(f"sample:{name}"), np.asarray(sample.image))


def test_photograph_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="sample must be a known name, got 'cofee'; did you mean"):
        sample_photograph("cofee")
    gone = replace(PHOTOGRAPHS["chelsea"], file="gone.png")
    monkeypatch.setitem(PHOTOGRAPHS, "chelsea", gone)
    with pytest.raises(FileNotFoundError, match=r"gone\.png must lie .* pip install scikit-image"):
        sample_photograph("chelsea")
    monkeypatch.setitem(PHOTOGRAPHS, "chelsea", replace(gone, package="no_such_package"))
    with pytest.raises(FileNotFoundError, match="no_such_package"):
        sample_photograph("chelsea")


def test_another_picture_under_a_photographs_name_is_refused(monkeypatch) -> None:
    other = replace(PHOTOGRAPHS["chelsea"], file=PHOTOGRAPHS["coffee"].file)
    monkeypatch.setitem(PHOTOGRAPHS, "chelsea", other)
    with pytest.raises(ValueError, match=r"must have sha256 .* requirements\.lock"):
        sample_photograph("chelsea")


def test_a_photograph_has_the_label_of_the_network_that_has_its_class() -> None:
    sample = sample_photograph("coffee", ("cup", "espresso"))
    assert (sample.label, sample.boxes) == (1, PHOTOGRAPHS["coffee"].boxes)
    unknown = sample_photograph("coffee", ("cup",))
    assert (unknown.label, unknown.boxes) == (None, ())
    assert sample_photograph("astronaut", ("cup",)).label is None


def test_a_rivals_box_outside_the_picture_is_refused() -> None:
    with pytest.raises(ValueError, match="boxes must be"):
        Sample("a", PIL.Image.new("RGB", (8, 8)), 0, rival=(1, ((0, 0, 9, 8),)))


# Transform

PRESETS = [
    models.ResNet50_Weights.IMAGENET1K_V2,
    models.VGG16_Weights.IMAGENET1K_V1,
    models.EfficientNet_B0_Weights.IMAGENET1K_V1,
    models.ConvNeXt_Tiny_Weights.IMAGENET1K_V1,
    models.Inception_V3_Weights.IMAGENET1K_V1,
]


@pytest.mark.parametrize("weights", PRESETS, ids=str)
@pytest.mark.parametrize("size", [(375, 500), (500, 333), (100, 90), (299, 299)])
def test_presets_give_torchvisions_tensors_bit_for_bit(weights: Any, size: Any) -> None:
    picture = noise(*size)
    expected = weights.transforms()(picture)
    result = Transform.from_weights(weights)(picture)
    assert type(result) is torch.Tensor
    assert result.dtype == torch.float32
    assert torch.equal(result[0], expected)


def test_the_default_dtype_changes_nothing() -> None:
    torch.set_default_dtype(torch.float64)
    try:
        x = Transform()(noise(40, 50))
        assert x.dtype == torch.float32
        assert denormalise(x, Transform()).dtype == np.float32
    finally:
        torch.set_default_dtype(torch.float32)


def test_every_torchvision_classifier_has_a_transform() -> None:
    for name in models.list_models(module=models):
        for weights in models.get_model_weights(name):
            transform = Transform.from_weights(weights)
            assert transform.size == (weights.transforms().crop_size[0],) * 2


def test_preset_values_are_read() -> None:
    transform = Transform.from_weights(models.EfficientNet_B0_Weights.DEFAULT)
    assert transform == Transform(interpolation="bicubic")
    assert Transform.from_weights(models.ResNet50_Weights.IMAGENET1K_V2).resize == 232


def test_preset_errors() -> None:
    for wrong in (3, models.ResNet50_Weights, models.detection.FCOS_ResNet50_FPN_Weights.DEFAULT):
        with pytest.raises(TypeError, match="weights must be a member of a torchvision classif"):
            Transform.from_weights(wrong)


def test_batches_samples_and_grey_pictures() -> None:
    transform = Transform(resize=32, crop=(24, 28))
    pictures = [noise(40, 50), noise(60, 30)]
    batch = transform([pictures[0], Sample("b", pictures[1])])
    assert batch.shape == (2, 3, 24, 28)
    assert torch.equal(batch[1], transform(pictures[1])[0])
    grey = pictures[0].convert("L")
    assert torch.equal(transform(grey), transform(load_image(grey)))
    assert transform.geometry(grey).size == (28, 24)


def test_a_transform_of_one_channel_converts_to_grey() -> None:
    transform = Transform(resize=None, crop=None, mean=(0.5,), std=(0.25,))
    x = transform(noise(5, 7))
    assert x.shape == (1, 1, 5, 7)
    grey = np.asarray(noise(5, 7).convert("L")) / 255
    np.testing.assert_allclose(x[0, 0], (grey - 0.5) / 0.25, atol=1e-6)
    np.testing.assert_allclose(denormalise(x, transform)[0, :, :, 1], grey, atol=1e-6)


def test_exact_resize_and_sizes() -> None:
    transform = Transform(resize=(10, 20), crop=None)
    assert transform.size == (10, 20)
    assert transform(noise(33, 44)).shape == (1, 3, 10, 20)
    assert PIXELS.size is None
    assert Transform().size == (224, 224)
    assert Transform(resize=16, crop=None)(noise(20, 40)).shape == (1, 3, 16, 32)


def test_denormalise_returns_the_picture_seen_and_clips() -> None:
    transform = Transform(resize=32, crop=(32, 32))
    x = transform(noise(40, 50))
    pixels = denormalise(x, transform)
    assert pixels.dtype == np.float32
    np.testing.assert_allclose(
        pixels[0], np.asarray(transform.geometry(noise(40, 50))) / 255, atol=1e-6
    )
    assert denormalise(x + 100, transform).max() == 1
    with pytest.raises(ValueError, match="x must have 3 channels"):
        denormalise(x[:, :1], transform)


@pytest.mark.parametrize(
    ("fields", "error", "match"),
    [
        ({"resize": 0}, ValueError, "resize must be pixels >= 1"),
        ({"resize": True}, ValueError, "resize must be pixels >= 1"),
        ({"resize": (8, 8, 8)}, ValueError, "resize must be pixels >= 1"),
        ({"crop": 224}, ValueError, r"crop must be pixels >= 1 as \(h, w\), or None, got 224"),
        ({"resize": 200}, ValueError, r"crop must fit into resize 200, got \(224, 224\)"),
        ({"mean": (0.5,)}, ValueError, "mean and std must have 1 or 3 values each, got 1, 3"),
        ({"mean": (0.5,) * 2, "std": (1.0,) * 2}, ValueError, "must have 1 or 3 values"),
        ({"std": (1.0, 0.0, 1.0)}, ValueError, "std must be > 0"),
        ({"mean": (0.1, "a", 0.2)}, TypeError, "mean and std must be a number"),
        ({"interpolation": "bilinar"}, ValueError, "did you mean bilinear"),
        ({"antialias": False}, ValueError, "antialias must be True"),
    ],
)
def test_wrong_transforms(fields: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        Transform(**fields)


def test_wrong_images() -> None:
    for wrong in (3, torch.zeros(1, 3, 4, 4), "cat.png", [np.zeros((4, 4))]):
        with pytest.raises(TypeError, match="images must be"):
            Transform()(wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="images must give one size, got no image"):
        Transform()([])
    with pytest.raises(ValueError, match=r"one size, got \[\(4, 4\), \(5, 4\)\]; set crop"):
        PIXELS([noise(4, 4), noise(5, 4)])
    with pytest.raises(ValueError, match=r"picture must be at least \(9, 9\), got \(8, 20\)"):
        Transform(resize=None, crop=(9, 9))(noise(8, 20))
    with pytest.raises(ValueError, match="the resized picture must have sides of 1 to"):
        Transform()(noise(1, 5000))


# Boxes and masks


def test_a_box_goes_where_the_picture_goes() -> None:
    box = Transform().boxes([(100, 50, 300, 250)], (375, 500))
    expected = [
        100 * 341 / 500 - 58,
        50 * 256 / 375 - 16,
        300 * 341 / 500 - 58,
        250 * 256 / 375 - 16,
    ]
    np.testing.assert_allclose(box[0], expected, atol=1e-4)
    np.testing.assert_allclose(box[0], [10.2, 18.13, 146.6, 154.67], atol=0.01)


def test_a_drawn_box_lies_in_the_mapped_box() -> None:
    picture = PIL.Image.new("RGB", (500, 375))
    picture.paste("white", (100, 50, 300, 250))
    seen = np.asarray(Transform().geometry(picture))[:, :, 0] > 127
    rows, columns = np.nonzero(seen)
    edges = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    np.testing.assert_allclose(
        edges, Transform().boxes([(100, 50, 300, 250)], (375, 500))[0], atol=0.51
    )
    drawn = np.asarray(picture)[:, :, 0] > 0
    np.testing.assert_array_equal(Transform().mask(drawn), seen)


sides = st.integers(8, 600)


@settings(max_examples=60, deadline=None)
@given(sides, sides, st.integers(1, 64), st.data())
def test_boxes_follow_the_affine_map(height: int, width: int, resize: int, data: Any) -> None:
    crop = (data.draw(st.integers(1, resize)), data.draw(st.integers(1, resize)))
    x0, y0 = data.draw(st.floats(0, width - 1)), data.draw(st.floats(0, height - 1))
    x1, y1 = data.draw(st.floats(x0 + 0.5, width)), data.draw(st.floats(y0 + 0.5, height))
    transform = Transform(resize=resize, crop=crop)
    mapped = transform.boxes([(x0, y0, x1, y1)], (height, width))[0].tolist()
    short = min(height, width)
    new = [resize if side == short else int(resize * side / short) for side in (height, width)]
    top, left = (round((n - c) / 2) for n, c in zip(new, crop, strict=True))
    for got, value, old, size, start, length in (
        (mapped[0], x0, width, new[1], left, crop[1]),
        (mapped[2], x1, width, new[1], left, crop[1]),
        (mapped[1], y0, height, new[0], top, crop[0]),
        (mapped[3], y1, height, new[0], top, crop[0]),
    ):
        assert got == pytest.approx(min(max(value * size / old - start, 0), length), abs=1e-3)


def test_boxes_keep_their_order_and_are_clamped() -> None:
    transform = Transform(resize=None, crop=(10, 10))
    result = transform.boxes([(0, 0, 4, 4), (8, 8, 40, 40)], (20, 20))
    assert result.tolist() == [[0, 0, 0, 0], [3, 3, 10, 10]]
    assert PIXELS.boxes([(-5, 0, 40, 3)], (20, 30)).tolist() == [[0, 0, 30, 3]]
    assert PIXELS.boxes([], (20, 30)).shape == (0, 4)


@pytest.mark.parametrize("box", [(0, 0, 0, 5), (3, 0, 2, 5), (0, 0, np.nan, 5), (0, 0, np.inf, 5)])
def test_wrong_boxes(box: Any) -> None:
    with pytest.raises(ValueError, match=r"boxes must be finite .* with x0 < x1 and y0 < y1"):
        PIXELS.boxes([box], (20, 30))


def test_masks_keep_area_and_place() -> None:
    assert Transform().mask(np.ones((300, 400), dtype=bool)).all()
    assert not Transform().mask(np.zeros((300, 400), dtype=bool)).any()
    half = np.zeros((100, 100), dtype=bool)
    half[:, 50:] = True
    small = Transform(resize=10, crop=None).mask(half)
    assert small[:, 5:].all()
    assert not small[:, :5].any()
    with pytest.raises(TypeError, match="mask must be a bool array"):
        PIXELS.mask(np.zeros((3, 3)))


def test_interpolations_are_torchvisions() -> None:
    from xaiutils.pictures.images import INTERPOLATIONS

    assert set(INTERPOLATIONS) == {mode.value for mode in InterpolationMode}


# What fills a part of its type's range, is no single picture, or is no picture at all

TWELVE = np.linspace(0, 4095, 24).astype(np.uint16).reshape(6, 4)


@pytest.mark.parametrize(
    ("source", "guess"),
    [
        (TWELVE, 4095),
        (torch.tensor(TWELVE), 4095),
        (TWELVE // 4, 1023),
        (PIL.Image.fromarray(TWELVE), 4095),
        (encoded(PIL.Image.fromarray(TWELVE)), 4095),
        (encoded(PIL.Image.fromarray(TWELVE), "TIFF"), 4095),
        ((TWELVE > 2000).astype(np.uint8), 1),
        (TWELVE / 65535, 0.0624857),
    ],
    ids=["array", "tensor", "10 bits", "image", "png", "tiff", "0 and 1", "floats"],
)
def test_a_dark_range_is_said_and_full_scale_mends_it(source: Any, guess: float) -> None:
    with pytest.warns(UserWarning, match=rf"values reach .* pass full_scale={guess:g} if"):
        dark = values(source)
    assert dark.max() < 64
    bright = values(source, full_scale=guess)
    assert (bright.min(), bright.max()) == (0, 255)
    mean = values(GRADIENT * 0 + np.uint8(1), full_scale=2)  # no warning where it is given
    assert (mean == 128).all()
    with pytest.raises(ValueError, match=r"full_scale must be .* has the mode RGB"):
        load_image(encoded(PIL.Image.fromarray(GRADIENT)), full_scale=255)


def test_full_scale_by_the_formula() -> None:
    expected = np.repeat(np.round(TWELVE / 4095 * 255)[..., None], 3, axis=2)
    np.testing.assert_array_equal(values(TWELVE, full_scale=4095), expected)
    np.testing.assert_array_equal(values(TWELVE.astype(np.int32), full_scale=4095), expected)
    np.testing.assert_array_equal(values(TWELVE.astype(np.float32), full_scale=4095), expected)
    for wrong in (4000, 0, -1, float("nan")):
        with pytest.raises(ValueError, match=r"must be in \[0, 4000\]|full_scale must be"):
            load_image(TWELVE, full_scale=wrong)


def test_colours_of_16_bits_that_pillow_cuts_are_said() -> None:
    import cv2

    rgb = np.stack([TWELVE] * 3, axis=-1)
    data = png_of_16_bit_colours(rgb)
    with pytest.warns(UserWarning, match="give the array that OpenCV reads"):
        assert values(data).max() == 15
    with pytest.raises(ValueError, match="full_scale must be of an array"):
        load_image(data, full_scale=4095)
    whole = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)[..., ::-1]
    np.testing.assert_array_equal(values(whole, full_scale=4095), values(rgb, full_scale=4095))


def png_of_16_bit_colours(rgb: np.ndarray) -> bytes:
    """Pillow writes none: the three chunks by hand."""
    height, width, _ = rgb.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in rgb)
    head = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def test_a_tiff_of_several_pages_is_refused_and_one_page_of_it_is_not() -> None:
    pages = [PIL.Image.new("L", (4, 6), 20 * i) for i in range(10)]
    data = encoded(pages[0], "TIFF", save_all=True, append_images=pages[1:])
    opened = PIL.Image.open(io.BytesIO(data))
    for source in (data, opened):
        with pytest.raises(ValueError, match="must be one picture, got a TIFF of several pages"):
            load_image(source)
    opened.seek(3)
    assert (values(opened.copy()) == 60).all()
    assert (values(encoded(pages[2], "TIFF")) == 40).all()


def test_a_format_that_pillow_gives_to_a_program_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    PIL.Image.new("RGB", (4, 4)).save(path, "EPS")
    with pytest.raises(ValueError, match=r"formats PNG, .* got a file that starts with b'%!PS"):
        load_image(path)


def test_what_is_no_regular_file_is_refused_at_once(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.png"
    os.mkfifo(pipe)
    for path in (pipe, Path("/dev/zero")):
        with pytest.raises(ValueError, match="must be a regular file, got the pipe, socket or"):
            load_image(path)
    link = tmp_path / "link.png"
    (tmp_path / "picture.png").write_bytes(encoded(PIL.Image.fromarray(GRADIENT)))
    link.symlink_to(tmp_path / "picture.png")
    np.testing.assert_array_equal(values(link), GRADIENT)


@pytest.mark.parametrize("size", [(1, 80_000_000), (80_000_000, 1), (65_536, 2)])
def test_a_side_too_long_is_refused_from_the_header(size: tuple[int, int]) -> None:
    head = struct.pack("<IIIHHIIIIII", 40, *size, 1, 24, 0, 0, 0, 0, 0, 0)  # BMP: width, height
    data = b"BM" + struct.pack("<IHHI", 54, 0, 0, 54) + head[:40]
    with pytest.raises(ValueError, match="sides of 1 to 65535 pixels"):
        load_image(data)
