"""Boxes in rows, and arrows that lead down between them: places for docs/structure.py.

As Sugiyama et al. 1981 (IEEE Transactions on Systems, Man, and Cybernetics 11(2)): rows, an order
in each that crosses few arrows, places that keep arrows straight. No chance is in it, and nothing
but Python's own arithmetic: the same edges give the same places on every machine.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from itertools import pairwise

WIDTH, SIDE, TOP, ROW, BOX = 960, 16, 62, 52, 32  # px
GAP, LINE = 10, 9  # px between boxes, and between lines that pass
Edge = tuple[str, str]
Node = str | tuple[str, str, int]  # a box, or the place in a row where an arrow passes


def rows_of(edges: list[Edge], names: list[str]) -> dict[str, int]:
    """The row of each box, from 0 at the bottom: above all it leads to, arrows as short as can be.

    ``names`` stand in an order in which no box leads to a later one.
    """
    down = {n: [b for a, b in edges if a == n] for n in names}
    up = {n: [a for a, b in edges if b == n] for n in names}
    row: dict[str, int] = {}
    for name in names:
        row[name] = 1 + max((row[b] for b in down[name]), default=-1)
    height = max(row.values())

    def cost(name: str, at: int) -> tuple[int, int]:
        length = sum(at - row[b] for b in down[name]) + sum(row[a] - at for a in up[name])
        return length, sum(row[other] == at for other in names if other != name)

    for _ in range(len(names)):
        before = dict(row)
        for name in names:
            low = 1 + max((row[b] for b in down[name]), default=-1)
            high = min((row[a] for a in up[name]), default=height + 1) - 1
            row[name] = min(range(low, high + 1), key=lambda at: cost(name, at))
        if row == before:
            break
    return row


class Drawing:
    """Boxes in rows, and the ways of the arrows between them."""

    def __init__(
        self, edges: list[Edge], row: Mapping[str, int], width: Callable[[str], float]
    ) -> None:
        """Give every row its boxes and the arrows that pass, then an order, then places."""
        self.edges, self.row, self.width = edges, row, width
        self.levels: list[list[Node]] = [[] for _ in range(max(row.values()) + 1)]
        for name in row:
            self.levels[row[name]].append(name)
        self.ways: dict[Edge, list[Node]] = {}
        self.below: dict[Node, list[Node]] = {}
        self.above: dict[Node, list[Node]] = {}
        for a, b in edges:
            passed: list[Node] = [(a, b, i) for i in range(row[a] - 1, row[b], -1)]
            for node in passed:
                self.levels[node[2]].append(node)  # type: ignore[arg-type]
            self.ways[a, b] = [a, *passed, b]
            for upper, lower in pairwise(self.ways[a, b]):
                self.below.setdefault(upper, []).append(lower)
                self.above.setdefault(lower, []).append(upper)
        self._order()
        self._place()

    def _crossings(self, level: int) -> int:
        """How many arrows cross between a row and the one below."""
        row, place = self.levels[level], self._places(level - 1)
        return sum(
            self._cross(a, b, self.below, place) for k, a in enumerate(row) for b in row[k + 1 :]
        )

    def _places(self, level: int) -> dict[Node, int]:
        inside = 0 <= level < len(self.levels)
        return {node: i for i, node in enumerate(self.levels[level])} if inside else {}

    @staticmethod
    def _cross(a: Node, b: Node, tied: Mapping[Node, list[Node]], place: Mapping[Node, int]) -> int:
        """How many arrows of a cross one of b, to a neighbouring row, where a stands left of b."""
        ends = [place[other] for other in tied.get(b, ())]
        return sum(place[other] > end for other in tied.get(a, ()) for end in ends)

    def _order(self) -> None:
        """Order each row by the mean place of what it is tied to; keep the best of all sweeps."""
        best, kept = sys.maxsize, [list(level) for level in self.levels]
        for sweep in range(24):
            upwards = sweep % 2 == 0
            count = len(self.levels)
            for i in range(1, count) if upwards else range(count - 2, -1, -1):
                tied = self.below if upwards else self.above
                beside = self.levels[i - 1 if upwards else i + 1]
                place = {n: (k + 0.5) / len(beside) for k, n in enumerate(beside)}
                own = {n: (k + 0.5) / len(self.levels[i]) for k, n in enumerate(self.levels[i])}

                def mean(node: Node, tied=tied, place=place, own=own) -> float:
                    known = [place[other] for other in tied.get(node, ())]
                    return sum(known) / len(known) if known else own[node]

                self.levels[i].sort(key=mean)
            self._exchange()
            total = sum(self._crossings(i) for i in range(1, len(self.levels)))
            if total < best:
                best, kept = total, [list(level) for level in self.levels]
        self.levels = kept

    def _exchange(self) -> None:
        """Exchange neighbours while that takes crossings away."""
        better = True
        while better:
            better = False
            for i, level in enumerate(self.levels):
                sides = [(self.below, self._places(i - 1)), (self.above, self._places(i + 1))]
                for k in range(len(level) - 1):
                    a, b = level[k : k + 2]
                    if sum(self._cross(a, b, *s) - self._cross(b, a, *s) for s in sides) > 0:
                        level[k : k + 2] = b, a
                        better = True

    def _place(self) -> None:
        """Each box near the mean of what it is tied to, as far as the order leaves room."""
        self.x: dict[Node, float] = {}
        for level in self.levels:
            for k, node in enumerate(level):
                self.x[node] = SIDE + (WIDTH - 2 * SIDE) * (k + 0.5) / len(level)
        for sweep in range(200):
            count = len(self.levels)
            for i in range(count) if sweep % 2 else range(count - 1, -1, -1):
                self._settle(self.levels[i])
        for _ in range(4):
            for way in self.ways.values():
                self._straighten(way[1:-1])

    def _straighten(self, way: list[Node]) -> None:
        """Let an arrow fall straight through as many rows as it can between its neighbours."""
        run: list[Node] = []
        low, high = -1e9, 1e9
        for node in [*way, None]:
            left, right = (-1e9, 1e9) if node is None else self._room(node)
            if run and (node is None or max(low, left) > min(high, right)):
                middle = sum(self.x[one] for one in run) / len(run)
                for one in run:
                    self.x[one] = max(low, min(high, middle))
                run, low, high = [], -1e9, 1e9
            if node is not None:
                run.append(node)
                low, high = max(low, left), min(high, right)

    def _room(self, node: Node) -> tuple[float, float]:
        """How far an arrow can be moved without touching its neighbours."""
        level = next(some for some in self.levels if node in some)
        k = level.index(node)
        left = self.x[level[k - 1]] + self.half(level[k - 1]) + LINE if k else SIDE
        last = k == len(level) - 1
        right = WIDTH - SIDE if last else self.x[level[k + 1]] - self.half(level[k + 1]) - LINE
        return left, right

    def _settle(self, level: list[Node]) -> None:
        """Least squares to the wished places, in order and with gaps: pool adjacent violators."""
        offsets, at = [], 0.0
        for k, node in enumerate(level):
            if k:
                at += self.half(level[k - 1]) + self.half(node)
                at += GAP if isinstance(node, str) and isinstance(level[k - 1], str) else LINE
            offsets.append(at)
        pools: list[list[float]] = []  # mean, weight, how many
        for node, offset in zip(level, offsets, strict=True):
            tied = [*self.below.get(node, ()), *self.above.get(node, ())]
            wish = sum(self.x[other] for other in tied) / len(tied)
            pools.append([wish - offset, 1.0 if isinstance(node, str) else 4.0, 1])
            while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
                mean, weight, number = pools.pop()
                last = pools[-1]
                last[0] = (last[0] * last[1] + mean * weight) / (last[1] + weight)
                last[1], last[2] = last[1] + weight, last[2] + number
        low = SIDE + self.half(level[0])
        high = WIDTH - SIDE - self.half(level[-1]) - offsets[-1]
        free = [pool[0] for pool in pools for _ in range(int(pool[2]))]
        for node, offset, wish in zip(level, offsets, free, strict=True):
            self.x[node] = offset + max(low, min(high, wish))

    def y(self, level: int) -> float:
        """The middle of a row."""
        return TOP + (len(self.levels) - 1 - level) * ROW + BOX / 2

    def half(self, node: Node) -> float:
        """Half of a box's width; an arrow that passes has none."""
        return self.width(node) / 2 if isinstance(node, str) else 0.0

    def way(self, edge: Edge) -> str:
        """From the lower side of one box to the upper side of the other, straight through rows."""
        nodes, top = self.ways[edge], self.row[edge[0]]
        x = [self.x[node] for node in nodes]
        x[0] = self._port(nodes[0], nodes[1], self.below)
        x[-1] = self._port(nodes[-1], nodes[-2], self.above)
        way = f"M{x[0]:.1f} {self.y(top) + BOX / 2:.1f}"
        for k in range(1, len(nodes)):
            start, end = self.y(top - k + 1) + BOX / 2, self.y(top - k) - BOX / 2
            bend = (end - start) * 0.6
            way += f"C{x[k - 1]:.1f} {start + bend:.1f} {x[k]:.1f} {end - bend:.1f} "
            way += f"{x[k]:.1f} {end:.1f}"
            if k < len(nodes) - 1:
                way += f"V{end + BOX:.1f}"
        return way

    def _port(self, box: Node, other: Node, tied: Mapping[Node, list[Node]]) -> float:
        """Where an arrow meets a box: arrows side by side, in the order of their other ends."""
        ends = sorted(tied[box], key=lambda node: self.x[node])
        room = min(12.0, (2 * self.half(box) - 12) / max(1, len(ends) - 1))
        return self.x[box] + room * (ends.index(other) - (len(ends) - 1) / 2)
