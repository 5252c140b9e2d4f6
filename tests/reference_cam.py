"""Slow literal twins of cam.py and of the paper's steps: loops over every index, in float64.

Each follows the equation in the docstring of the function that it checks and shares no code with
it: no tensor operation, no interpolation and no filter of a library.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import wraps
from itertools import product

import numpy as np

Array = np.ndarray


def _each_image(one: Callable[..., Array]) -> Callable[..., Array]:
    """A function of one image's A and g (K, h, w) as one of a batch."""

    @wraps(one)
    def batch(a: object, g: object, **options: float) -> Array:
        pairs = zip(np.asarray(a, np.float64), np.asarray(g, np.float64), strict=True)
        return np.stack([one(a_n, g_n, **options) for a_n, g_n in pairs])

    return batch


def _weighted(weights: list[float], a: Array) -> Array:
    result = np.zeros(a.shape[1:])
    for k, i, j in np.ndindex(a.shape):
        result[i, j] += weights[k] * a[k, i, j]
    return result


def _positions(a: Array) -> list[tuple[int, int]]:
    return list(product(range(a.shape[1]), range(a.shape[2])))


@_each_image
def grad_cam(a: Array, g: Array) -> Array:
    """w_k = 1/hw sum g_kij."""
    z = a.shape[1] * a.shape[2]
    return _weighted([sum(g[k, i, j] for i, j in _positions(a)) / z for k in range(len(a))], a)


def alpha(a: Array, g: Array, k: int, i: int, j: int, epsilon: float) -> float:
    """Eq. 19 as printed: g^2 / (2 g^2 + sum_ab A_kab g^3 [+ epsilon]); 0 where undefined."""
    if g[k, i, j] == 0:
        return 0.0
    total = sum(a[k, p, q] for p, q in _positions(a))
    denominator = 2 * g[k, i, j] ** 2 + total * g[k, i, j] ** 3 + epsilon
    if not epsilon and denominator <= 0:
        return 0.0
    return g[k, i, j] ** 2 / denominator


def alpha_exact(a: Array, g: Array, k: int, i: int, j: int) -> float:
    """The same divided through by g^2: 1 / (2 + g sum_ab A_kab); 0 where that is not positive."""
    denominator = 2 + g[k, i, j] * sum(a[k, p, q] for p, q in _positions(a))
    return 1 / denominator if denominator > 0 else 0.0


@_each_image
def grad_cam_plus_plus(a: Array, g: Array, epsilon: float = 0.0) -> Array:
    """w_k = sum_ij alpha_kij relu(g_kij), alpha in the paper's form."""
    weights = [
        sum(alpha(a, g, k, i, j, epsilon) * max(g[k, i, j], 0.0) for i, j in _positions(a))
        for k in range(len(a))
    ]
    return _weighted(weights, a)


@_each_image
def grad_cam_plus_plus_exact(a: Array, g: Array) -> Array:
    """The same with alpha in its simplest form."""
    weights = [
        sum(alpha_exact(a, g, k, i, j) * max(g[k, i, j], 0.0) for i, j in _positions(a))
        for k in range(len(a))
    ]
    return _weighted(weights, a)


def undefined_alphas(a: object, g: object) -> list[int]:
    """How many positions with g > 0 have 2 + g sum A <= 0, per image."""
    result = []
    for a_n, g_n in zip(np.asarray(a, np.float64), np.asarray(g, np.float64), strict=True):
        found = 0
        for k, i, j in np.ndindex(a_n.shape):
            total = sum(a_n[k, p, q] for p, q in _positions(a_n))
            found += g_n[k, i, j] > 0 and 2 + g_n[k, i, j] * total <= 0
        result.append(int(found))
    return result


@_each_image
def hires_cam(a: Array, g: Array) -> Array:
    """Sum over k of g_kij A_kij."""
    result = np.zeros(a.shape[1:])
    for k, i, j in np.ndindex(a.shape):
        result[i, j] += g[k, i, j] * a[k, i, j]
    return result


@_each_image
def layer_cam(a: Array, g: Array) -> Array:
    """Sum over k of relu(g_kij) A_kij."""
    result = np.zeros(a.shape[1:])
    for k, i, j in np.ndindex(a.shape):
        result[i, j] += max(g[k, i, j], 0.0) * a[k, i, j]
    return result


@_each_image
def xgrad_cam(a: Array, g: Array) -> Array:
    """w_k = sum_ij g_kij A_kij / sum_ij A_kij; 0 for a zero sum."""
    weights = []
    for k in range(len(a)):
        total = sum(a[k, i, j] for i, j in _positions(a))
        above = sum(g[k, i, j] * a[k, i, j] for i, j in _positions(a))
        weights.append(above / total if total != 0 else 0.0)
    return _weighted(weights, a)


@_each_image
def cam(a: Array, g: Array) -> Array:
    """w_k = sum_ij g_kij, the class's weight of a linear layer behind a mean over positions."""
    return _weighted([sum(g[k, i, j] for i, j in _positions(a)) for k in range(len(a))], a)


CAMS: dict[str, Callable[..., Array]] = {
    function.__name__: function
    for function in (grad_cam_plus_plus, grad_cam, hires_cam, layer_cam, xgrad_cam, cam)
}


def bilinear(image: Array, size: tuple[int, int]) -> Array:
    """Bilinear interpolation between pixel centres; beyond the outermost centres the edge holds."""
    result = np.zeros(size)
    for y, x in np.ndindex(*size):
        v = min(max((y + 0.5) * image.shape[0] / size[0] - 0.5, 0.0), image.shape[0] - 1.0)
        u = min(max((x + 0.5) * image.shape[1] / size[1] - 0.5, 0.0), image.shape[1] - 1.0)
        top, left = math.floor(v), math.floor(u)
        low, right = min(top + 1, image.shape[0] - 1), min(left + 1, image.shape[1] - 1)
        above = (1 - (u - left)) * image[top, left] + (u - left) * image[top, right]
        below = (1 - (u - left)) * image[low, left] + (u - left) * image[low, right]
        result[y, x] = (1 - (v - top)) * above + (v - top) * below
    return result


def min_max(image: Array) -> Array:
    """(m - min) / (max - min); zeros for a constant."""
    low, high = float("inf"), -float("inf")
    for index in np.ndindex(image.shape):
        low, high = min(low, image[index]), max(high, image[index])
    result = np.zeros(image.shape)
    for index in np.ndindex(image.shape):
        result[index] = (image[index] - low) / (high - low) if high > low else 0.0
    return result


def to_image(raw: object, size: tuple[int, int]) -> Array:
    """ReLU, bilinear upsampling, min-max."""
    result = []
    for image in np.asarray(raw, np.float64):
        positive = np.array([[max(value, 0.0) for value in row] for row in image])
        result.append(min_max(bilinear(positive, size)))
    return np.stack(result)


def bound(maps: object, threshold: float) -> Array:
    """minmax(relu(C - t))."""
    result = []
    for image in np.asarray(maps, np.float64):
        cut = [[max(value - threshold, 0.0) for value in row] for row in image]
        result.append(min_max(np.array(cut)))
    return np.stack(result)


def fuse(bounded: object, relevance: object) -> Array:
    """P times L, pixel by pixel."""
    p, r = np.asarray(bounded, np.float64), np.asarray(relevance, np.float64)
    result = np.zeros(p.shape)
    for index in np.ndindex(p.shape):
        result[index] = p[index] * r[index]
    return result


def reflected(index: int, length: int) -> int:
    """The pixel at ``index`` where the border is a mirror: d c b a | a b c d | d c b a."""
    index %= 2 * length
    return index if index < length else 2 * length - 1 - index


def gaussian(maps: object, sigma: float, truncate: float = 4.0) -> Array:
    """The Gaussian, cut at 4 sigma and normalised, along rows and then along columns."""
    radius = int(truncate * sigma + 0.5)
    kernel = [math.exp(-0.5 * (d / sigma) ** 2) for d in range(-radius, radius + 1)]
    kernel = [value / sum(kernel) for value in kernel]
    result = []
    for image in np.asarray(maps, np.float64):
        height, width = image.shape
        across, both = np.zeros(image.shape), np.zeros(image.shape)
        for y, x, d in product(range(height), range(width), range(-radius, radius + 1)):
            across[y, x] += kernel[d + radius] * image[y, reflected(x + d, width)]
        for y, x, d in product(range(height), range(width), range(-radius, radius + 1)):
            both[y, x] += kernel[d + radius] * across[reflected(y + d, height), x]
        result.append(both)
    return np.stack(result)
