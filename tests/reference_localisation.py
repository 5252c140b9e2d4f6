"""Literal twins of the localisation scores: loops over pixels, straight from the definitions."""

from __future__ import annotations

from itertools import product
from math import hypot

Grid = list[list[float]]
Mask = list[list[bool]]
Box = tuple[float, float, float, float]


def pixels(grid: Grid) -> list[tuple[int, int]]:
    return list(product(range(len(grid)), range(len(grid[0]))))


def mass(grid: Grid, mask: Mask) -> float:
    inside = sum(max(grid[y][x], 0) for y, x in pixels(grid) if mask[y][x])
    return inside / sum(max(grid[y][x], 0) for y, x in pixels(grid))


def pointing(grid: Grid, mask: Mask, tolerance: float) -> float:
    """The share of the highest pixels that have a pixel of the mask within the tolerance."""
    highest = max(max(row) for row in grid)
    tops = [(y, x) for y, x in pixels(grid) if grid[y][x] == highest]
    masked = [(y, x) for y, x in pixels(grid) if mask[y][x]]
    near = [any(hypot(y - v, x - u) <= tolerance for v, u in masked) for y, x in tops]
    return sum(near) / len(near)


def in_boxes(size: tuple[int, int], boxes: list[Box]) -> Mask:
    return [
        [
            any(x0 <= x + 0.5 < x1 and y0 <= y + 0.5 < y1 for x0, y0, x1, y1 in boxes)
            for x in range(size[1])
        ]
        for y in range(size[0])
    ]


def auc(grid: Grid, mask: Mask) -> float:
    """Over all pairs of a pixel inside and one outside: how often the first is higher."""
    inside = [grid[y][x] for y, x in pixels(grid) if mask[y][x]]
    outside = [grid[y][x] for y, x in pixels(grid) if not mask[y][x]]
    wins = sum((a > b) + (a == b) / 2 for a in inside for b in outside)
    return wins / (len(inside) * len(outside))


def largest_box(grid: Grid, threshold: float) -> Box:
    """Flood fill, diagonals included, of what is at least the threshold."""
    positive = {(y, x): max(grid[y][x], 0) for y, x in pixels(grid)}
    low, high = min(positive.values()), max(positive.values())
    scaled = {at: (value - low) / (high - low) for at, value in positive.items()}
    left = {at for at, value in scaled.items() if value >= threshold}
    parts = []
    while left:
        todo, part = [left.pop()], []
        while todo:
            y, x = todo.pop()
            part.append((y, x))
            near = {(y + v, x + u) for v in (-1, 0, 1) for u in (-1, 0, 1)} & left
            left -= near
            todo += near
        parts.append(part)
    best = max(parts, key=lambda part: (len(part), sum(scaled[at] for at in part)))
    ys, xs = [y for y, _ in best], [x for _, x in best]
    return min(xs), min(ys), max(xs) + 1, max(ys) + 1


def iou(a: Box, b: Box) -> float:
    """Of boxes with whole corners: cells in both over cells in either."""
    first, second = (
        {(x, y) for x in range(int(box[0]), int(box[2])) for y in range(int(box[1]), int(box[3]))}
        for box in (a, b)
    )
    return len(first & second) / len(first | second)
