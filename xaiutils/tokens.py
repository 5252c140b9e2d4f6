"""Tokens of a vision transformer, seen as the maps that they were cut from."""

from __future__ import annotations

from math import isqrt

from torch import Tensor

from xaiutils import checks


def grid(tokens: int, height: int, width: int) -> tuple[int, int] | None:
    """Rows and columns of the patches of a picture of ``height`` × ``width``, or None.

    The patches are square, so their grid has the picture's proportions; one token more than
    patches is a class token.
    """
    for patches in (tokens, tokens - 1):
        rows = isqrt(patches * height // width)
        if rows > 1 and rows * rows * width == patches * height and patches % rows == 0:
            return rows, patches // rows
    return None


def as_maps(tokens: Tensor, size: tuple[int, int]) -> Tensor:
    """Tokens (N, T, D) of pictures of ``size`` (H, W) as maps (N, D, h, w), no class token.

    Raises:
        ValueError: There is no grid of square patches with T or T - 1 places.
    """
    found = grid(tokens.shape[1], *size)
    if found is None:
        raise ValueError(
            f"tokens must be a grid of square patches, and a class token at most, "
            f"got {checks.shape(tokens)} for a picture of {size[0]} x {size[1]}"
        )
    patches = tokens[:, tokens.shape[1] - found[0] * found[1] :]
    return patches.transpose(1, 2).unflatten(2, found)
