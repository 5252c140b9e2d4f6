"""The faithfulness metrics as their equations read: loops over pixels in float64, and slow."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

Answer = Callable[[np.ndarray], Sequence[float]]  # a picture (C, H, W) to its logits
Score = Callable[[Sequence[float], int], float]  # logits and the class to the answer


def ordered(values: Sequence[float], seed: int) -> list[int]:
    chance = np.random.default_rng(seed).permutation(len(values))
    return sorted(range(len(values)), key=lambda i: (-values[i], chance[i]))


def centred(logits: Sequence[float], target: int) -> float:
    return logits[target] - sum(logits) / len(logits)


def probability(logits: Sequence[float], target: int) -> float:
    return 1 / sum(math.exp(one - logits[target]) for one in logits)


def itself(logits: Sequence[float], target: int) -> float:
    return logits[target]


def sigmoid(logits: Sequence[float], target: int) -> float:
    return 1 / (1 + math.exp(-logits[target]))


def swapped(picture: np.ndarray, other: np.ndarray, pixels: Sequence[int]) -> np.ndarray:
    """The picture with some pixels from another one, in all channels."""
    result = picture.copy()
    for pixel in pixels:
        row, column = divmod(pixel, picture.shape[2])
        for channel in range(len(picture)):
            result[channel, row, column] = other[channel, row, column]
    return result


def blurred(picture: np.ndarray, sigma: float) -> np.ndarray:
    """A Gaussian, cut off at 4 sigma, over pixels that are reflected about the border's edge."""
    radius = int(4 * sigma + 0.5)
    kernel = [math.exp(-(d**2) / (2 * sigma**2)) for d in range(-radius, radius + 1)]

    def reflected(i: int, side: int) -> int:
        i %= 2 * side
        return i if i < side else 2 * side - 1 - i

    for axis in (1, 2):
        result = np.zeros_like(picture)
        side = picture.shape[axis]
        for i in range(side):
            for d, weight in zip(range(-radius, radius + 1), kernel, strict=True):
                source = picture.take(reflected(i + d, side), axis)
                place = [slice(None)] * 3
                place[axis] = i
                result[tuple(place)] += weight / sum(kernel) * source
        picture = result
    return picture


def flipping_area(
    answer: Answer,
    start: np.ndarray,
    end: np.ndarray,
    order: Sequence[int],
    steps: int,
    score: Callable[[Sequence[float]], float],
) -> float:
    counts = [round(j * len(order) / steps) for j in range(steps + 1)]
    values = [score(answer(swapped(start, end, order[:count]))) for count in counts]
    area = 0.0
    for j in range(steps):
        area += (counts[j + 1] - counts[j]) / len(order) * (values[j] + values[j + 1]) / 2
    return area


def imputed(picture: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Each unknown pixel is the weighted mean of its neighbours: a dense system."""
    height, width = known.shape
    places = [(y, x) for y in range(height) for x in range(width) if not known[y, x]]
    left, right = np.zeros((len(places),) * 2), np.zeros((len(places), len(picture)))
    for i, (y, x) in enumerate(places):
        for dy in (-1, 0, 1):
            for dx in (-1, 0, 1):
                v, u = y + dy, x + dx
                if (dy, dx) == (0, 0) or not (0 <= v < height and 0 <= u < width):
                    continue
                weight = 1 / 12 if dy != 0 and dx != 0 else 1 / 6
                left[i, i] += weight
                if known[v, u]:
                    right[i] += weight * picture[:, v, u]
                else:
                    left[i, places.index((v, u))] -= weight
    solved = np.linalg.solve(left, right)
    result = picture.copy()
    for (y, x), value in zip(places, solved, strict=True):
        result[:, y, x] = value
    return result


def road(
    answer: Answer,
    picture: np.ndarray,
    order: Sequence[int],
    percentiles: int,
    target: int,
    score: Score = centred,
) -> float:
    total = 0.0
    for j in range(1, percentiles + 1):
        count = round(len(order) * j / (percentiles + 1))
        kept = []
        for first in (order, order[::-1]):
            known = np.ones(picture.shape[1:], dtype=bool)
            for pixel in first[:count]:
                known[divmod(pixel, picture.shape[2])] = False
            kept.append(score(answer(imputed(picture, known)), target))
        total += (kept[1] - kept[0]) / 2
    return total / percentiles


def pearson(a: Sequence[float], b: Sequence[float]) -> float:
    n = len(a)
    mean_a, mean_b = sum(a) / n, sum(b) / n
    product = sum((x - mean_a) * (y - mean_b) for x, y in zip(a, b, strict=True))
    square_a = sum((x - mean_a) ** 2 for x in a)
    square_b = sum((y - mean_b) ** 2 for y in b)
    return product / math.sqrt(square_a * square_b)


def ranks(values: Sequence[float]) -> list[float]:
    """1 for the lowest; equal values share the mean of their ranks."""
    return [
        sum(other < one for other in values) + (sum(other == one for other in values) + 1) / 2
        for one in values
    ]


def patch_pixels(height: int, width: int, grid: int) -> list[list[int]]:
    found: list[list[int]] = [[] for _ in range(grid**2)]
    for y in range(height):
        for x in range(width):
            found[(y * grid // height) * grid + x * grid // width].append(y * width + x)
    return found


def region_pairs(
    answer: Answer,
    picture: np.ndarray,
    values: Sequence[float],
    removed: Sequence[Sequence[int]],
    target: int,
    score: Score = centred,
) -> tuple[list[float], list[float]]:
    """Of each set of pixels: the map's sum, and how far the answer falls without them."""
    whole = score(answer(picture), target)
    sums = [math.fsum(values[i] for i in pixels) for pixels in removed]
    blank = np.zeros_like(picture)
    falls = [whole - score(answer(swapped(picture, blank, p)), target) for p in removed]
    return sums, falls
