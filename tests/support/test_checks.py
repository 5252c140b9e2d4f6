"""Validation: what passes comes back, and every message names the argument, rule and value."""

from __future__ import annotations

import re
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st

from xaiutils.support import checks

IMAGE = torch.zeros(2, 3, 4, 5)
MAP = torch.zeros(2, 4, 5)


def test_choice_returns_the_name():
    assert checks.choice("cam", "b", ["a", "b"]) == "b"
    assert checks.choice("cam", "b", {"a": 1, "b": 2}) == "b"


@pytest.mark.parametrize("value", [0, 1, 2.5, Fraction(1, 2), np.float32(0.25), np.int64(2)])
def test_number_returns_a_float(value):
    found = checks.number("sigma", value, low=0, high=3, below=3)
    assert type(found) is float
    assert found == float(value)


@given(st.floats(-10, 10))
def test_number_accepts_exactly_what_its_rule_says(value):
    if -1 <= value <= 2:
        assert checks.number("n", value, low=-1, high=2) == value
    else:
        with pytest.raises(ValueError, match="n must be >= -1 and <= 2"):
            checks.number("n", value, low=-1, high=2)


def test_whole_numbers_and_arrays_come_back_as_such():
    assert (checks.whole("n", 3.0), checks.whole("n", 0, low=0)) == (3, 0)
    assert type(checks.whole("n", 3.0)) is int
    found = checks.numbers_of("v", [[1, True], [float("nan"), 2]])
    assert (found.dtype, found.shape) == (np.float64, (2, 2))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64], ids=str)
def test_images_and_maps_come_back_themselves(dtype):
    image, map = IMAGE.to(dtype), MAP.to(dtype)
    assert checks.images("x", image) is image
    assert checks.images("x", image, 3) is image
    assert checks.maps("m", map) is map


@pytest.mark.parametrize(
    "target",
    [1, np.int64(1), torch.tensor(1), [1, 1], (1, 1), np.array([1, 1]), torch.tensor([1, 1])],
    ids=lambda value: f"{type(value).__name__}{np.shape(value)}",
)
def test_targets_are_one_index_for_each_image(target):
    found = checks.targets("target", target, count=2, classes=3)
    assert found.dtype == torch.int64
    assert found.tolist() == [1, 1]


@pytest.mark.parametrize("make", [torch.tensor, np.array], ids=["tensor", "array"])
def test_targets_are_a_copy(make):
    own = make([2, 0])
    found = checks.targets("target", own, 2, 3)
    found[0] = 1
    assert own.tolist() == [2, 0]


def test_same_shape_is_silent():
    assert checks.same_shape("a", MAP, "b", MAP.double()) is None


@pytest.mark.parametrize(
    ("value", "text"),
    [(3, "int 3"), ("cat", "str 'cat'"), (None, "NoneType None"), ("x" * 50, "str")],
)
def test_describe_is_short(value, text):
    assert checks.describe(value) == text


def test_shape_is_written_as_people_write_it():
    assert checks.shape(IMAGE) == "(2, 3, 4, 5)"
    assert checks.shape(torch.zeros(3)) == "(3,)"


def images(x: object, channels: int | None = None) -> object:
    return checks.images("x", x, channels)


def targets(target: object) -> object:
    return checks.targets("target", target, count=2, classes=3)


ERRORS = {
    "choice: type": (lambda: checks.choice("cam", 3, ["a"]), TypeError,
                     "cam must be a name (str), got int 3"),
    "choice: near": (lambda: checks.choice("cam", "grad_cm", ["grad_cam", "z"]), ValueError,
                     "cam must be a known name, got 'grad_cm'; did you mean grad_cam?"),
    "choice: far": (lambda: checks.choice("cam", "qqq", ["one", "two"]), ValueError,
                    "cam must be a known name, got 'qqq'; known: one, two"),
    "number: bool": (lambda: checks.number("t", True), TypeError, "t must be a number, got bool T"),
    "number: str": (lambda: checks.number("t", "1"), TypeError, "t must be a number, got str '1'"),
    "number: tensor": (lambda: checks.number("t", MAP), TypeError, "t must be a number, got Tens"),
    "number: complex": (lambda: checks.number("t", 1j), TypeError, "t must be a number, got compl"),
    "number: low": (lambda: checks.number("t", -1, low=0), ValueError, "t must be >= 0, got -1"),
    "number: high": (lambda: checks.number("t", 2, high=1), ValueError, "t must be <= 1, got 2"),
    "number: below": (lambda: checks.number("t", 1, low=0, below=1), ValueError,
                      "t must be >= 0 and < 1, got 1"),
    "number: NaN": (lambda: checks.number("t", float("nan")), ValueError,
                    "t must be finite, got nan"),
    "number: infinity": (lambda: checks.number("t", float("inf"), low=0), ValueError,
                         "t must be finite and >= 0, got inf"),
    "dense: type": (lambda: checks.dense("x", np.zeros(2), "(N)"), TypeError,
                    "x must be a torch.Tensor (N), got ndarray array([0., 0.]); torch.as_ten"),
    "dense: meta": (lambda: checks.dense("x", MAP.to("meta"), "(N, H, W)"), TypeError,
                    "x must be a dense torch.Tensor (N, H, W), got one on the meta device, which"),
    "number: digits": (lambda: checks.number("t", 10**400), ValueError,
                       "t must be finite, got inf"),
    "literal: nested": (lambda: checks.literal("t", "-" * 100_000 + "1"), ValueError,
                        "t must be a value that can be read, got 100001 signs nested too deeply"),
    "images: type": (lambda: images(np.zeros((1, 3, 2, 2))), TypeError,
                     "x must be a torch.Tensor (N, C, H, W), got ndarray"),
    "images: rank": (lambda: images(IMAGE[0]), ValueError,
                     "x must have shape (N, C, H, W) with N >= 1, got (3, 4, 5)"),
    "images: none": (lambda: images(IMAGE[:0]), ValueError,
                     "x must have shape (N, C, H, W) with N >= 1, got (0, 3, 4, 5)"),
    "images: dtype": (lambda: images(IMAGE.int()), TypeError,
                      "x must be a floating-point tensor, got torch.int32"),
    "images: channels": (lambda: images(IMAGE, 1), ValueError,
                         "x must have 1 channels, got (2, 3, 4, 5)"),
    "images: NaN": (lambda: images(IMAGE * torch.nan), ValueError, "x must be finite, got NaN or"),
    "images: infinity": (lambda: images(IMAGE + torch.inf), ValueError, "x must be finite, got"),
    "whole: fraction": (lambda: checks.whole("n", 2.5), ValueError,
                        "n must be a whole number, got 2.5"),
    "whole: low": (lambda: checks.whole("n", 0), ValueError, "n must be >= 1, got 0"),
    "whole: type": (lambda: checks.whole("n", "2"), TypeError, "n must be a number, got str '2'"),
    "numbers of: words": (lambda: checks.numbers_of("v", ["a"]), TypeError,
                          "v must be numbers, got list ['a']"),
    "maps: type": (lambda: checks.maps("m", [[1.0]]), TypeError,
                   "m must be a torch.Tensor (N, H, W), got list [[1.0]]"),
    "maps: rank": (lambda: checks.maps("m", IMAGE), ValueError,
                   "m must have shape (N, H, W), got (2, 3, 4, 5)"),
    "maps: dtype": (lambda: checks.maps("m", MAP.bool()), TypeError,
                    "m must be a floating-point tensor, got torch.bool"),
    "maps: NaN": (lambda: checks.maps("m", MAP - torch.inf), ValueError, "m must be finite, got"),
    "targets: bool": (lambda: targets(True), TypeError,
                      "target must be class indices (int), got bool True"),
    "targets: bools": (lambda: targets([True, False]), TypeError,
                       "target must be class indices (int), got torch.bool"),
    "targets: floats": (lambda: targets([1.0, 2.0]), TypeError,
                        "target must be class indices (int), got torch.float64"),
    "targets: complex": (lambda: targets(torch.zeros(2, dtype=torch.complex64)), TypeError,
                         "target must be class indices (int), got torch.complex64"),
    "targets: few": (lambda: targets([1]), ValueError,
                     "target must be one class index or one per image (2), got (1,)"),
    "targets: many": (lambda: targets([1, 2, 0]), ValueError,
                      "target must be one class index or one per image (2), got (3,)"),
    "targets: rank": (lambda: targets([[1, 2]]), ValueError,
                      "target must be one class index or one per image (2), got (1, 2)"),
    "targets: negative": (lambda: targets([0, -1]), ValueError, "target must be in 0..2, got -1"),
    "targets: high": (lambda: targets(3), ValueError, "target must be in 0..2, got 3"),
    "targets: words": (lambda: targets("cat"), TypeError,
                       "target must be class indices (int), got str 'cat'"),
    "targets: ragged": (lambda: targets([[1], [1, 2]]), TypeError,
                        "target must be class indices (int), got list [[1], [1, 2]]"),
    "regular: folder": (lambda: checks.regular("path", Path("/")), ValueError,
                        "path must be a regular file, got the folder '/'"),
    "seed: beyond generators": (lambda: checks.seed("seed", 2**32), ValueError,
                                "seed must be below 2**32, as generators keep 32 bits"),
    "same shape": (lambda: checks.same_shape("a", MAP, "b", IMAGE), ValueError,
                   "a and b must have one shape, got (2, 4, 5) and (2, 3, 4, 5)"),
}  # fmt: skip


@pytest.mark.parametrize("case", ERRORS)
def test_errors_name_the_argument_the_rule_and_what_came(case):
    call, error, message = ERRORS[case]
    with pytest.raises(error, match=f"^{re.escape(message)}"):
        call()


def test_a_literal_is_a_value_or_the_text():
    known = {
        "3": 3,
        "0.2": 0.2,
        "None": None,
        "(1, 2)": (1, 2),
        "paper": "paper",
        "{[]: 1}": "{[]: 1}",
    }
    assert {text: checks.literal("t", text) for text in known} == known


def test_what_is_printable_stays_and_the_rest_is_written_out():
    assert checks.printable("a, ü, 猫, \U0001f408") == "a, ü, 猫, \U0001f408"
    assert checks.printable("\udcff.png") == "\\udcff.png"
    assert checks.text_of(ValueError("why")) == "why"


def test_a_registry_says_what_choice_says():
    table = checks.Registry("cam", {"grad_cam": 1})
    assert table["grad_cam"] == 1
    assert table.get("grad_cm") is None
    for name, text in (("grad_cm", "did you mean grad_cam"), (3, "must be a name")):
        with pytest.raises(KeyError, match=text):
            table[name]
