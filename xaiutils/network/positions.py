"""Where in the picture the numbers of a step stand: which of its axes are rows and columns.

A convolution gives maps (N, C, h, w), other networks keep (N, h, w, C), transformers and mixers
tokens (N, T, D), old ones (T, N, D). The sizes alone do not tell these apart (256 x 49 may be 49
positions of 256 channels, or 256 of 49). So coordinates go through the network in place of numbers:
the first of two pictures holds at each place its row, the second its column.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from xaiutils.network.graph import Graph
from xaiutils.network.kinds import AVERAGE, CONSTANT, CONVOLUTION, LINEAR, MATMUL, ROUTING
from xaiutils.network.step import Step

_RESIZES = re.compile(r"max|min|pad|^to$|_to_copy|type_as")  # of what routes; the rest moves


@dataclass(frozen=True)
class Positions:
    """How the result of a step holds the picture's rows and columns.

    Attributes:
        size: Rows and columns; of a signal its length, of a volume three numbers.
        batch: The axis that counts the pictures.
        places: The axes of rows and of columns, or the one of both: then these are tokens.
        others: The axes that are left, which are one of channels where this is a map.
        channels: How many numbers stand at a position.
        skip: How many tokens come before the first position: a class token.
        extra: How many tokens there are beside the positions.
        guess: Whether this is told by the shape alone, since it could not be followed.
    """

    size: tuple[int, ...]
    batch: int
    places: tuple[int, ...]
    others: tuple[int, ...]
    channels: int
    skip: int = 0
    extra: int = 0
    guess: bool = False

    @property
    def channel(self) -> int:
        """The axis of the channels."""
        return self.others[0]

    @property
    def tokens(self) -> bool:
        """Whether one axis holds rows and columns."""
        return len(self.places) < len(self.size)

    @property
    def is_map(self) -> bool:
        """Whether it can be read as maps: more than one position, and one axis of channels."""
        return len(self.others) == 1 and math.prod(self.size) > 1

    @property
    def kind(self) -> str:
        """What other reading it needs, in words; nothing of a map as a convolution gives it."""
        if self.tokens:
            return "tokens"
        order = (self.batch, *self.others, *self.places)
        return "" if order == tuple(range(len(order))) else "channels last"

    def as_maps(self, value: Tensor) -> Tensor:
        """The result of the step as maps (N, C, h, w), without class tokens."""
        maps = value.permute(self.batch, self.channel, *self.places)
        if self.tokens:
            maps = maps.narrow(2, self.skip, math.prod(self.size)).unflatten(2, self.size)
        return maps


def plain(shape: tuple[int, ...]) -> Positions:
    """Of a map (N, C, h, w), or a picture."""
    return Positions(shape[2:], 0, tuple(range(2, len(shape))), (1,), shape[1])


def guessed(step: Step, picture: Step) -> Positions | None:
    """What the shape alone says, where what comes before it could not be followed.

    Four dimensions are maps (N, C, h, w), three tokens (N, T, D) of square patches with one class
    token or none.
    """
    shape, (height, width) = step.shape or (), (picture.shape or ())[-2:]
    if step.batch != 0 or len(shape) not in (3, 4):
        return None
    if len(shape) == 4:
        return Positions(shape[2:], 0, (2, 3), (1,), shape[1], guess=True)
    for extra in (0, 1):
        count = shape[1] - extra
        rows = math.isqrt(count * height // width)
        if rows > 1 and rows * rows * width == count * height and count % rows == 0:
            size = (rows, count // rows)
            return Positions(size, 0, (1,), (2,), shape[2], extra, extra, guess=True)
    return None


@torch.no_grad()
def positions(
    graph: Graph, first: Step | None = None, known: Positions | None = None
) -> dict[Step, Positions]:
    """How each step holds the picture's rows and columns, where that is known.

    Args:
        graph: The captured network.
        first: The step to begin with, by default the picture.
        known: How that one is read.
    """
    first = first or graph.input
    known = known or plain(first.shape or ())
    values: dict[Step, Any] = dict(graph.held(torch.empty(0)))
    found: dict[Step, Positions] = {}
    placed: set[Step] = set()  # of these the values are coordinates
    for step in graph.steps:
        where, read = None, None
        if step is first:
            where, read = _coordinates(step, known), known
        elif step.holds:
            continue
        elif step.kind == CONSTANT:
            values[step] = _computed(step, values)
            continue
        elif not placed.isdisjoint(step.varying):
            where, read = _followed(step, values, found, placed, len(known.size))
        if isinstance(where, Tensor) and read is None:
            read = _read(where, step.batch, len(known.size), known.guess)
            where = _coordinates(step, read) if read else where
        if where is None or (read and math.prod(read.size) == 1):
            values[step] = _like(torch.full((), torch.nan), step, len(known.size))
            continue
        values[step] = where
        placed.add(step)
        if read:
            found[step] = read
    return found


def _followed(  # noqa: PLR0911, one rule a line
    step: Step, values: dict[Step, Any], found: dict[Step, Positions], placed: set[Step], count: int
) -> tuple[Any, Positions | None]:
    """The coordinates of a result, in ``count`` pictures, and how they are read, where known."""
    shape, source = step.shape, next(one for one in step.varying if one in placed)
    if step.kind == MATMUL and len(step.varying) > 1:  # its rows are those of the first
        source = step.args[0]
        if source not in placed:
            return None, None
    where, read = values[source], found.get(source)
    if step.kind in (LINEAR, MATMUL):  # neighbouring pixels become one place, as of a patch
        axis = -1 if step.args[0] in step.varying else -2  # a matrix from the left mixes rows
        mixes_pictures = axis % where.ndim == source.batch
        return None if mixes_pictures else _like(where.amin(axis, True), step, count), None
    if step.kind == CONVOLUTION:
        read = read or _read(where.amin(1, True), source.batch, count)
        return _resized(step, read) if read and not read.kind else (None, None)
    if step.kind == ROUTING and not _RESIZES.search(step.operation):
        return _computed(step, {one: _moved(one, values[one]) for one in step.inputs}), None
    same = [s for s in step.varying if s in placed and s.shape == shape and s.batch == step.batch]
    if same:  # of a sum the one that is known best
        source = max(same, key=found.__contains__)
        return values[source], found.get(source)
    if len(shape or ()) < where.ndim and step.kind in (ROUTING, AVERAGE):  # of the channels
        return _computed(step, values), None
    if read and len(shape or ()) == where.ndim and step.batch == read.batch:
        return _resized(step, read)
    return _like(where, step, count), None


def _computed(step: Step, values: dict[Step, Any]) -> Any:
    try:
        return step.compute(values)
    except Exception:  # it reads what is not known
        return None


def _moved(step: Step, value: Any) -> Any:
    """What a step that moves numbers is given: of numbers that no picture gives, NaN."""
    if step.kind != CONSTANT or not isinstance(value, Tensor) or value.is_meta:
        return value
    return torch.full(value.shape, torch.nan) if value.is_floating_point() else value.cpu()


def _like(value: Tensor, step: Step, count: int) -> Tensor | None:
    """A value that stands at every place of the step's result for so many pictures."""
    sizes = [n * count if i == step.batch else n for i, n in enumerate(step.shape or ())]
    try:
        return value.expand(sizes) if step.shape else None
    except RuntimeError:
        return None


def _coordinates(step: Step, read: Positions) -> Tensor | None:
    """The coordinates of the result of a step that is read so, from 0 on; NaN of class tokens."""
    grid = torch.stack(torch.meshgrid(*(torch.arange(float(n)) for n in read.size), indexing="ij"))
    if read.tokens:
        around = (read.skip, read.extra - read.skip)
        grid = torch.nn.functional.pad(grid.flatten(1), around, value=torch.nan)
    axes = (read.batch, *read.places)
    grid = grid.permute(sorted(range(len(axes)), key=axes.__getitem__))
    for axis in read.others:
        grid = grid.unsqueeze(axis)
    return _like(grid, step, len(read.size))


def _resized(step: Step, read: Positions) -> tuple[Tensor | None, Positions]:
    """The same axes with other sizes: pooled, padded, enlarged."""
    shape = step.shape or ()
    size = read.size if read.tokens else tuple(shape[axis] for axis in read.places)
    channels = math.prod(shape[axis] for axis in read.others)
    read = replace(read, size=size, channels=channels)
    return _coordinates(step, read), read


def _read(where: Tensor, batch: int, count: int, guess: bool = False) -> Positions | None:
    """How coordinates stand in the axes; None where they are no grid in its order."""
    if where.shape[batch] != count:
        return None
    axes = [axis for axis in range(where.ndim) if axis != batch]
    lines = where.movedim(batch, 0)
    for place in range(1, where.ndim):
        lines = lines.narrow(place, 0, 1) if lines.stride(place) == 0 else lines
    lines, along = lines.nan_to_num(-1), [list[int]() for _ in range(count)]
    for i in range(len(axes)):
        differs = (lines != lines.narrow(i + 1, 0, 1)).flatten(1).any(1)
        for k in differs.nonzero()[:, 0].tolist():
            along[k].append(i)
    used = {i for one in along for i in one}
    if not used or any(len(one) > 1 for one in along):
        return None
    spare = [i for i, axis in enumerate(axes) if where.shape[axis] == 1 and i not in used]
    constant = along.count([])
    skip = extra = 0
    if len(used) == 1 < count and not 0 < constant <= len(spare):  # tokens
        places = [*used]
        line = lines.movedim(places[0] + 1, 1)[..., None].flatten(2)[:, :, 0]
        known = (line[0] >= 0).nonzero()[:, 0]
        sides = [one[known].unique() for one in line]
        size, skip = tuple(map(len, sides)), int(known[0])
        grid = torch.cartesian_prod(*sides).T
        extra = line.shape[1] - grid.shape[1]
        if not torch.equal(line[:, skip : skip + grid.shape[1]], grid):
            return None
    else:
        if constant > len(spare):
            return None
        places = [one[0] if one else spare.pop() for one in along]
        sides = [lines[k].movedim(i, 0).flatten(1)[:, 0] for k, i in enumerate(places)]
        if any(side[0] < 0 or bool((side.diff() <= 0).any()) for side in sides):
            return None
        size = tuple(map(len, sides))
    others = tuple(axis for i, axis in enumerate(axes) if i not in places)
    channels = math.prod(where.shape[axis] for axis in others)
    return Positions(
        size, batch, tuple(axes[i] for i in places), others, channels, skip, extra, guess
    )
