"""Slow literal twins of the related methods: one image, plain lists of layers, loops, float64.

A network is a list of layers, each of which maps a flat vector to a flat vector: `Affine` (a
convolution written out as a dense matrix, or a linear layer), `Relu`, `Max` and `Mean` (windows are
lists of input indices, one list per output). `values[i]` is what layer i reads.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import reference
from reference_cam import bilinear, min_max

Array = np.ndarray
EPSILON = 1e-6


@dataclass
class Affine:
    w: Array
    b: Array
    first: bool = False

    def forward(self, x: Array) -> Array:
        return np.array([sum(self.w[j] * x) + self.b[j] for j in range(len(self.b))])

    def back(
        self, x: Array, R: Array, bias: bool, low: float | Array, high: float | Array
    ) -> Array:
        if self.first:
            ones = np.ones(len(x))
            return reference.z_box(x, self.w, R, EPSILON, low * ones, high * ones)
        return reference.z_plus(x, self.w, self.b, R, EPSILON, bias=bias)


@dataclass
class Relu:
    def forward(self, x: Array) -> Array:
        return np.array([max(v, 0.0) for v in x])

    def back(self, x: Array, R: Array, *_: object) -> Array:
        return R


@dataclass
class Max:
    windows: list[list[int]]

    def forward(self, x: Array) -> Array:
        return np.array([max(x[i] for i in window) for window in self.windows])

    def back(self, x: Array, R: Array, *_: object) -> Array:
        result = np.zeros(len(x))
        for window, r in zip(self.windows, R, strict=True):
            result[max(window, key=lambda i: x[i])] += r
        return result


@dataclass
class Mean:
    windows: list[list[int]]

    def forward(self, x: Array) -> Array:
        return np.array([sum(x[i] for i in window) / len(window) for window in self.windows])

    def back(self, x: Array, R: Array, *_: object) -> Array:
        result = np.zeros(len(x))
        for window, mean, r in zip(self.windows, self.forward(x), R, strict=True):
            for i in window:
                result[i] += x[i] / len(window) / reference.stabilised(mean, EPSILON) * r
        return result


Layers = list


def windows(channels: int, h: int, w: int, side: int) -> list[list[int]]:
    """Squares of ``side`` that do not overlap, in the order of the outputs (c, i, j)."""
    return [
        [c * h * w + (i + u) * w + j + v for u in range(side) for v in range(side)]
        for c in range(channels)
        for i in range(0, h, side)
        for j in range(0, w, side)
    ]


def forward(layers: Layers, x: Array) -> list[Array]:
    values = [x.ravel()]
    for layer in layers:
        values.append(layer.forward(values[-1]))
    return values


def back(
    layers: Layers,
    values: list[Array],
    R: Array,
    *,
    start: int,
    stop: int = 0,
    bias: bool = False,
    low: float | Array = 0.0,
    high: float | Array = 1.0,
) -> Array:
    """From the relevance of the output of layer ``start - 1`` to that of the input of ``stop``."""
    for i in range(start - 1, stop - 1, -1):
        R = layers[i].back(values[i], R, bias, low, high)
    return R


def relevance_cam(layers: Layers, x: Array, c: int, cut: int, shape: tuple[int, ...]) -> Array:
    """sum_k mean(R_k) A_k at the input of layer ``cut``; R_c = 1, R_n = -1/K; α1β0 with bias."""
    values = forward(layers, x)
    K = len(values[-1])
    R = np.array([1.0 if n == c else -1 / K for n in range(K)])
    layers = [replace(one, first=False) if isinstance(one, Affine) else one for one in layers]
    R = back(layers, values, R, start=len(layers), stop=cut, bias=True).reshape(shape)
    A = values[cut].reshape(shape)
    raw = np.zeros(shape[1:])
    for k in range(shape[0]):
        raw += sum(R[k].ravel()) / (shape[1] * shape[2]) * A[k]
    return raw


def contrast(R: Array, dual: Array) -> Array:
    """R - dual * sum R / sum dual."""
    return R if sum(dual) == 0 else R - dual * sum(R) / sum(dual)


def clrp(layers: Layers, x: Array, c: int, dual: str, low: Array, high: Array) -> Array:
    """relu(R - R_dual), each summed over the channels."""
    values = forward(layers, x)
    f = values[-1]
    K = len(f)
    R = np.array([abs(f[c]) if n == c else 0.0 for n in range(K)])
    last, others = layers, R
    if dual == "others":
        others = np.array([0.0 if n == c else abs(f[c]) / (K - 1) for n in range(K)])
    else:
        w, b = layers[-1].w.copy(), layers[-1].b.copy()
        w[c], b[c] = -w[c], -b[c]
        last = [*layers[:-1], Affine(w, b)]
    mine = back(layers, values, R, start=len(layers), low=low, high=high)
    rival = back(last, values, others, start=len(layers), low=low, high=high)
    mine, rival = over_channels(mine, x), over_channels(rival, x)
    return np.maximum(contrast(mine.ravel(), rival.ravel()), 0).reshape(mine.shape)


def sglrp(layers: Layers, x: Array, c: int, low: Array, high: Array) -> Array:
    """R from p_c (1 - p_c) minus the dual from p_c p_n, scaled to its sum."""
    values = forward(layers, x)
    e = [math.exp(f - max(values[-1])) for f in values[-1]]
    p = [one / sum(e) for one in e]
    K = len(p)
    R = np.array([p[c] * (1 - p[c]) if n == c else 0.0 for n in range(K)])
    others = np.array([0.0 if n == c else p[c] * p[n] for n in range(K)])
    mine = over_channels(back(layers, values, R, start=len(layers), low=low, high=high), x)
    rival = over_channels(back(layers, values, others, start=len(layers), low=low, high=high), x)
    return contrast(mine.ravel(), rival.ravel()).reshape(mine.shape)


def over_channels(R: Array, x: Array) -> Array:
    return sum(R.reshape(x.shape)[k] for k in range(len(x)))


def fg_cam(
    layers: Layers, x: Array, weights: list[float], cut: int, shape: tuple[int, ...], stop: int = 0
) -> Array:
    """I_k = w_k A_k at the input of layer ``cut``, walked down to the input of ``stop``."""
    values = forward(layers, x)
    A = values[cut].reshape(shape)
    components = np.stack([weights[k] * A[k] for k in range(shape[0])])
    return back(
        layers, values, components.ravel(), start=cut, stop=stop, low=x.min(), high=x.max()
    )  # fmt: skip


def score_weights(layers: Layers, x: Array, A: Array, c: int) -> list[float]:
    """The softmax probability of c for x times each channel, upsampled and scaled to [0, 1]."""
    weights = []
    for channel in A:
        mask = min_max(bilinear(channel, x.shape[1:]))
        f = forward(layers, x * mask)[-1]
        weights.append(math.exp(f[c]) / sum(math.exp(v) for v in f))
    return weights


def denoised(components: Array, keep: float) -> Array:
    """Rows less their mean; then the eigenvectors of M Mᵀ with the largest eigenvalues stay."""
    c, h, w = components.shape
    m = np.stack([row - sum(row) / (h * w) for row in components.reshape(c, -1)])
    kept = max(1, int(keep * min(c, h * w)))
    _, vectors = np.linalg.eigh(m @ m.T)  # eigenvalues ascending
    result = np.zeros_like(m)
    for v in vectors.T[::-1][:kept]:
        result += np.outer(v, v @ m)
    return result.reshape(c, h, w)
