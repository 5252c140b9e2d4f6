"""Slow, literal twins of the package's formulas, written from the equations and nothing else.

Relevance rules: a linear step is z_j = sum_i x_i w_ji + b_j with x (I,), w (J, I), b (J,) and the
relevance R_j (J,) of its outputs; every function returns R_i (I,) in float64. A convolution becomes
such a step by `convolution_matrix`, which writes its kernel out as a dense matrix.
"""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def stabilised(z: float, eps: float) -> float:
    """z + eps * sign(z), with sign(0) = +1."""
    return z + eps if z >= 0 else z - eps


def positive(value: Array) -> Array:
    """v+ = max(v, 0)."""
    return np.where(value > 0, value, 0.0)


def negative(value: Array) -> Array:
    """v- = min(v, 0)."""
    return np.where(value < 0, value, 0.0)


def epsilon(x: Array, w: Array, b: Array, R: Array, eps: float) -> Array:
    """R_i = sum_j x_i w_ji R_j / (z_j + eps sign z_j); z_j = eps = 0 gives nothing."""
    result = np.zeros(len(x))
    for j in range(len(R)):
        z = stabilised(sum(x[i] * w[j, i] for i in range(len(x))) + b[j], eps)
        for i in range(len(x)):
            result[i] += 0.0 if z == 0 else x[i] * w[j, i] * R[j] / z
    return result


def z(x: Array, w: Array, b: Array, R: Array, eps: float = 0.0) -> Array:
    """LRP-0: R_i = sum_j x_i w_ji R_j / z_j; ``eps`` is here for one signature only."""
    return epsilon(x, w, b, R, 0.0 * eps)


def alpha_beta(
    x: Array,
    w: Array,
    b: Array,
    R: Array,
    eps: float,
    alpha: float,
    beta: float,
    bias: bool = True,
) -> Array:
    """R_i = sum_j (alpha (x_i w_ji)+ / z+_j - beta (x_i w_ji)- / z-_j) R_j.

    z+_j = sum_i (x_i w_ji)+ + b+_j and z-_j = sum_i (x_i w_ji)- + b-_j, without b if not ``bias``.
    """
    result = np.zeros(len(x))
    for j in range(len(R)):
        contribution = x * w[j]
        up, down = positive(contribution), negative(contribution)
        b_up, b_down = (max(b[j], 0.0), min(b[j], 0.0)) if bias else (0.0, 0.0)
        z_up, z_down = up.sum() + b_up, down.sum() + b_down
        result += alpha * up / stabilised(z_up, eps) * R[j]
        result -= beta * down / stabilised(z_down, eps) * R[j]
    return result


def z_plus(x: Array, w: Array, b: Array, R: Array, eps: float, bias: bool = True) -> Array:
    """R_i = sum_j (x_i w_ji)+ / (sum_i' (x_i' w_ji')+ + b+_j) R_j."""
    result = np.zeros(len(x))
    for j in range(len(R)):
        up = [max(x[i] * w[j, i], 0.0) for i in range(len(x))]
        total = stabilised(sum(up) + (max(b[j], 0.0) if bias else 0.0), eps)
        result += np.array(up) / total * R[j]
    return result


def gamma(x: Array, w: Array, b: Array, R: Array, eps: float, value: float) -> Array:
    """R_i = sum_j n_ji / (sum_i n_ji + c_j) R_j, n made larger where it pushes z_j outwards.

    z_j > 0: n_ji = x+_i (w_ji + g w+_ji) + x-_i (w_ji + g w-_ji), c_j = b_j + g b+_j;
    z_j < 0: n_ji = x+_i (w_ji + g w-_ji) + x-_i (w_ji + g w+_ji), c_j = b_j + g b-_j.
    """
    result = np.zeros(len(x))
    for j in range(len(R)):
        output = float(x @ w[j] + b[j])
        if output == 0:
            continue
        mine, other = (positive, negative) if output > 0 else (negative, positive)
        n = positive(x) * (w[j] + value * mine(w[j])) + negative(x) * (w[j] + value * other(w[j]))
        c = b[j] + value * float(mine(b[j : j + 1])[0])
        result += n / stabilised(float(n.sum() + c), eps) * R[j]
    return result


def flat(seen: Array, R: Array, eps: float) -> Array:
    """R_i = sum_j R_j / (number of inputs that j sees), over the j that see i; ``seen`` (J, I)."""
    return sum(
        (seen[j] / stabilised(float(seen[j].sum()), eps) * R[j] for j in range(len(R))),
        np.zeros(seen.shape[1]),
    )


def w_squared(w: Array, b: Array, R: Array, eps: float, bias: bool = True) -> Array:
    """R_i = sum_j w_ji^2 / (sum_i' w_ji'^2 + b_j^2) R_j."""
    result = np.zeros(w.shape[1])
    for j in range(len(R)):
        square = w[j] ** 2
        result += square / stabilised(square.sum() + (b[j] ** 2 if bias else 0.0), eps) * R[j]
    return result


def z_box(x: Array, w: Array, R: Array, eps: float, low: Array, high: Array) -> Array:
    """R_i = sum_j n_ji / (sum_i' n_ji') R_j with n_ji = x_i w_ji - l_i w+_ji - h_i w-_ji."""
    result = np.zeros(len(x))
    for j in range(len(R)):
        n = x * w[j] - low * positive(w[j]) - high * negative(w[j])
        result += n / stabilised(float(n.sum()), eps) * R[j]
    return result


def convolution_matrix(
    kernel: Array,
    size: tuple[int, int],
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
    groups: int = 1,
) -> tuple[Array, tuple[int, int, int]]:
    """The dense matrix (J, I) of a convolution with ``kernel`` (O, C/groups, kh, kw) on (C, h, w).

    out[o, p, q] = sum over c, u, v of kernel[o, c, u, v] x[g C/groups + c, p s - pad + u d,
    q s - pad + v d], g the group of o; places outside the picture do not exist. Also the output's
    shape.
    """
    outputs, per_group, kh, kw = kernel.shape
    h, w = size
    out_h = (h + 2 * padding - dilation * (kh - 1) - 1) // stride + 1
    out_w = (w + 2 * padding - dilation * (kw - 1) - 1) // stride + 1
    matrix = np.zeros((outputs, out_h, out_w, per_group * groups, h, w))
    for o, p, q in itertools.product(range(outputs), range(out_h), range(out_w)):
        first = (o // (outputs // groups)) * per_group
        for c, u, v in itertools.product(range(per_group), range(kh), range(kw)):
            y, x = p * stride - padding + u * dilation, q * stride - padding + v * dilation
            if 0 <= y < h and 0 <= x < w:
                matrix[o, p, q, first + c, y, x] += kernel[o, c, u, v]
    return matrix.reshape(outputs * out_h * out_w, -1), (outputs, out_h, out_w)
