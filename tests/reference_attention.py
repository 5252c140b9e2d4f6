"""Slow literal twins of AttnLRP's rules and of attention rollout: plain loops."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def softmax_rule(x: Tensor, relevance: Tensor) -> tuple[Tensor, float]:
    """Shares of a vector's softmax, and what its Taylor expansion leaves as bias."""
    n = len(x)
    total = sum(math.exp(float(v)) for v in x)
    s = [math.exp(float(v)) / total for v in x]
    shares = torch.zeros_like(x)
    bias = 0.0
    for i in range(n):
        shares[i] = float(x[i]) * (
            float(relevance[i]) - s[i] * sum(float(relevance[j]) for j in range(n))
        )
        bias += float(relevance[i]) * (1 - float(x[i]) + sum(s[j] * float(x[j]) for j in range(n)))
    return shares, bias


def bilinear_rule(a: Tensor, b: Tensor, relevance: Tensor, epsilon: float) -> tuple[Tensor, Tensor]:
    """Shares of both factors of the matrix product ``a @ b``."""
    rows, inner, columns = a.shape[0], a.shape[1], b.shape[1]
    of_a, of_b = torch.zeros_like(a), torch.zeros_like(b)
    for j in range(rows):
        for p in range(columns):
            o = sum(float(a[j, i]) * float(b[i, p]) for i in range(inner))
            o += epsilon if o >= 0 else -epsilon
            for i in range(inner):
                share = float(a[j, i]) * float(b[i, p]) * float(relevance[j, p]) / (2 * o)
                of_a[j, i] += share
                of_b[i, p] += share
    return of_a, of_b


def layer_norm_rule(
    x: Tensor, gamma: Tensor, beta: Tensor, eps: float, relevance: Tensor, centred: bool = True
) -> tuple[Tensor, float]:
    """Shares of a vector's layer norm with its deviation as a constant, and what the bias takes."""
    n = len(x)
    mean = sum(float(v) for v in x) / n if centred else 0.0
    sigma = math.sqrt(sum((float(v) - mean) ** 2 for v in x) / n + eps)
    shares, bias = torch.zeros_like(x), 0.0
    for j in range(n):
        y = float(gamma[j]) * (float(x[j]) - mean) / sigma + float(beta[j])
        for i in range(n):
            weight = float(gamma[j]) * ((i == j) - (1 / n if centred else 0.0)) / sigma
            shares[i] += float(x[i]) * weight * float(relevance[j]) / y
        bias += float(beta[j]) * float(relevance[j]) / y
    return shares, bias


def rollout(attentions: list[Tensor]) -> Tensor:
    """The class token's row over the other tokens, from (heads, T, T) per block."""
    size = attentions[0].shape[-1]
    total = [[float(i == j) for j in range(size)] for i in range(size)]
    for weights in attentions:
        heads = len(weights)
        mixed = [
            [
                0.5 * sum(float(weights[h, i, j]) for h in range(heads)) / heads
                + 0.5 * float(i == j)
                for j in range(size)
            ]
            for i in range(size)
        ]
        total = [
            [sum(mixed[i][k] * total[k][j] for k in range(size)) for j in range(size)]
            for i in range(size)
        ]
    return torch.tensor(total[0][1:], dtype=torch.float64)
