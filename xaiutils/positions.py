"""Where in the picture the numbers of a step stand: which of its axes are rows and columns.

A convolution gives maps (N, C, h, w), other networks keep (N, h, w, C), transformers and mixers
tokens (N, T, D), old ones (T, N, D). The sizes alone do not tell these apart (256 x 49 may be 49
positions of 256 channels, or 256 of 49), so rows and columns are followed from the picture on.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from xaiutils.operations import AVERAGE, CONSTANT, CONVOLUTION, LINEAR, MATMUL, ROUTING, UNKNOWN
from xaiutils.steps import Step

_PICTURES = 1_000_003  # a prime in the place of the number of pictures: no layer has it
_SIZES = [2, 3, 5, 7, 11, 13, 17, 19]


@dataclass(frozen=True)
class Positions:
    """How to read the result of a step as maps.

    Attributes:
        size: Rows and columns; of a signal its length, of a volume three numbers.
        axes: The axis of each; or the one axis that holds all, row by row, as of tokens.
        batch: The axis that counts the pictures.
        shape: That of one picture, with 1 at ``batch``.
        skip: How many tokens come before the first position: a class token.
    """

    size: tuple[int, ...]
    axes: tuple[int, ...]
    batch: int
    shape: tuple[int, ...]
    skip: int = 0

    @property
    def tokens(self) -> bool:
        """Whether one axis holds rows and columns."""
        return len(self.axes) < len(self.size)

    @property
    def plain(self) -> bool:
        """Whether this is a map as a convolution gives it, (N, C, h, w)."""
        return (self.batch, *self.axes) == (0, *range(2, len(self.shape))) and not self.tokens

    @property
    def kind(self) -> str:
        """What other reading it needs, in words; nothing of a map as a convolution gives it."""
        return "" if self.plain else "tokens" if self.tokens else "channels last"

    @property
    def is_map(self) -> bool:
        """Whether it can be read as maps: more than one position, and one axis of channels."""
        return math.prod(self.size) > 1 and len(self.shape) == len(self.axes) + 2

    @property
    def channel(self) -> int:
        """The axis of the channels, which is the one that is left."""
        return next(i for i in range(len(self.shape)) if i not in (self.batch, *self.axes))

    def as_maps(self, value: Tensor) -> Tensor:
        """The result of the step as maps (N, C, h, w), without class tokens."""
        maps = value.permute(self.batch, self.channel, *self.axes)
        if self.tokens:
            maps = maps.narrow(2, self.skip, math.prod(self.size)).unflatten(2, self.size)
        return maps


def positions(steps: list[Step], picture: Step) -> dict[Step, Positions]:
    """How each step holds the picture's rows and columns, where that is known.

    A residual sum knows it from any of its terms, so that what happens inside a branch (heads,
    windows, products along the tokens) need not be followed.
    """
    shape = picture.shape or ()
    found = {picture: Positions(shape[2:], tuple(range(2, len(shape))), 0, shape)}
    for step in steps:
        known = [found[other] for other in step.varying if other in found]
        if step is picture or step.kind == CONSTANT or not known:
            continue
        if step.shape is None:  # several results, as of split: each is read like what was split
            found[step] = known[0]
            continue
        before = next((one for one in known if one.shape == step.shape), known[0])
        after = _followed(step, before)
        if after is not None and step.batch not in after.axes:
            found[step] = replace(after, shape=step.shape, batch=step.batch)
    return found


def _followed(step: Step, before: Positions) -> Positions | None:
    shape = step.shape or ()
    ndim, last = len(shape), len(before.shape) - 1
    if step.kind == CONVOLUTION:
        spatial = before.axes == tuple(range(2, ndim)) and last == ndim - 1
        return _resized(step, before) if spatial else None
    if step.kind == LINEAR or (step.kind == MATMUL and len(step.varying) == 1):
        return before if last == ndim - 1 and last not in before.axes else None
    if step.kind == MATMUL:
        return None
    order = _order(step, last + 1)
    if order is not None:
        return replace(before, axes=tuple(order.index(axis) for axis in before.axes))
    if shape == before.shape:
        return before
    viewed = step.kind == ROUTING and math.prod(shape) == math.prod(before.shape)
    if viewed and len(step.varying) == 1 and "shuffle" not in step.operation.lower():
        return _reshaped(step, before)
    if ndim == last:
        return _without_axis(step, before)
    return _resized(step, before) if ndim == last + 1 else None


def _order(step: Step, ndim: int) -> list[int] | None:
    """The order in which a permutation takes the axes of its input; None of other operations.

    Asked of the operation itself, with a tensor that has another size along every axis.
    """
    moves = step.kind in (ROUTING, UNKNOWN) and len(step.inputs) == 1
    if not moves or len(step.shape or ()) != ndim:
        return None
    sizes = _SIZES[:ndim]
    try:
        found = step.compute({step.inputs[0]: torch.empty(sizes)})
    except Exception:  # as of view, whose sizes are those of its own input
        return None
    shape = list(found.shape) if isinstance(found, Tensor) else []
    return [sizes.index(size) for size in shape] if sorted(shape) == sizes else None


def _counted(shape: tuple[int, ...], batch: int) -> list[int]:
    return [_PICTURES * size if axis == batch else size for axis, size in enumerate(shape)]


def _without_axis(step: Step, before: Positions) -> Positions | None:
    """An axis of channels is taken away, as by x[:, 0]; None where it may be another."""
    old, new = _counted(before.shape, before.batch), _counted(step.shape or (), step.batch)
    gone = [axis for axis in range(len(old)) if old[:axis] + old[axis + 1 :] == new]
    if not gone or not {before.batch, *before.axes}.isdisjoint(gone):
        return None
    return replace(before, axes=tuple(axis - (axis > gone[0]) for axis in before.axes))


def _resized(step: Step, before: Positions) -> Positions | None:
    """The same axes with other sizes: pooled, padded, every second one; tokens put before them."""
    shape = step.shape or ()
    if not before.tokens:
        return replace(before, size=tuple(shape[axis] for axis in before.axes))
    axis, count = before.axes[0], math.prod(before.size)
    now, then = shape[axis], before.shape[axis]
    if step.kind == AVERAGE or now < count:
        return before if now == then else None
    if now <= then:  # what is taken away came first
        return replace(before, skip=min(before.skip, now - count))
    skip = before.skip
    for other in step.read:
        if other.shape == before.shape:
            return replace(before, skip=skip)
        skip += other.shape[axis] if other.shape and len(other.shape) == len(shape) else 0
    return None


def _reshaped(step: Step, before: Positions) -> Positions | None:
    """Axes that were merged or split, as by view, flatten, unsqueeze; None where that mixes them.

    Of an axis that is split into blocks (windows, patches) the outer part keeps the position.
    """
    old, new = _counted(before.shape, before.batch), _counted(step.shape or (), step.batch)
    if math.prod(old) != math.prod(new):
        return None
    size, axes = [*before.size], [-1] * len(before.axes)
    for was, now in _groups(old, new):
        held = [axis for axis in before.axes if axis in was]
        if not held:
            continue
        sizes = tuple(new[axis] for axis in now)
        if len(was) == len(now) == 1:
            axes[before.axes.index(held[0])] = now[0]
        elif before.tokens:
            return replace(before, axes=tuple(now)) if sizes == before.size else None
        elif len(was) == 1:
            which = before.axes.index(held[0])
            axes[which], size[which] = now[0], sizes[0]
        elif len(now) == 1 and was == [axis for axis in before.axes if before.shape[axis] > 1]:
            return replace(before, axes=(now[0],))
        else:
            return None
    if -1 in axes:
        return None
    return replace(before, axes=tuple(axes), size=tuple(size))


def _groups(old: list[int], new: list[int]) -> list[tuple[list[int], list[int]]]:
    """Which axes of a tensor of shape ``old`` become which of ``new``; axes of size 1 are none."""
    left = [axis for axis, size in enumerate(old) if size != 1]
    right = [axis for axis, size in enumerate(new) if size != 1]
    groups = []
    while left:
        was, now = [left.pop(0)], [right.pop(0)]
        while (a := math.prod(old[i] for i in was)) != (b := math.prod(new[i] for i in now)):
            if a < b:
                was.append(left.pop(0))
            else:
                now.append(right.pop(0))
        groups.append((was, now))
    return groups
