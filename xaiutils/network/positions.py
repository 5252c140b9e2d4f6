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

from xaiutils.network.kinds import AVERAGE, CONSTANT, CONVOLUTION, LINEAR, MATMUL, ROUTING, UNKNOWN
from xaiutils.network.step import Step

PICTURES, CHANNELS = -2, -1  # else a dimension of the picture: 0 of its rows, 1 of its columns
_TOKENS = -3  # rows, columns and a class token, which cannot be taken apart
# What an axis counts, or a factor of it: of what, how many, and how far apart in the picture.
# Columns cut into windows of 7 are, of 56, the factors (1, 8, 7) and (1, 7, 1).
Factor = tuple[int, int, int]
Axis = tuple[Factor, ...]
_SIZES = [2, 3, 5, 7, 11, 13, 17, 19]


@dataclass(frozen=True)
class Positions:
    """How the result of a step holds the picture's rows and columns.

    Attributes:
        axes: What each axis counts, from the slowest to the fastest.
        skip: How many tokens come before the first position: a class token.
        extra: How many tokens there are beside the positions.
        guess: Whether this is told by the shape alone, since it could not be followed.
    """

    axes: tuple[Axis, ...]
    skip: int = 0
    extra: int = 0
    guess: bool = False

    @property
    def size(self) -> tuple[int, ...]:
        """Rows and columns; of a signal its length, of a volume three numbers."""
        found: dict[int, int] = {}
        for of, count, _ in sorted(factor for axis in self.axes for factor in axis):
            if of >= 0:
                found[of] = found.get(of, 1) * count
        return tuple(found.values())

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one picture."""
        tokens = self.places[0] if self.tokens else None
        sizes = [math.prod(count for _, count, _ in axis) for axis in self.axes]
        return tuple(n + self.extra * (i == tokens) for i, n in enumerate(sizes))

    @property
    def batch(self) -> int:
        """The axis that counts the pictures."""
        return next(i for i, axis in enumerate(self.axes) if any(f[0] == PICTURES for f in axis))

    @property
    def channel(self) -> int:
        """The axis of the channels, which is the one that is left."""
        return next(i for i in range(len(self.axes)) if i not in (self.batch, *self.places))

    @property
    def places(self) -> tuple[int, ...]:
        """The axes of rows and of columns, or the one of both."""
        held = sorted((f[0], i) for i, axis in enumerate(self.axes) for f in axis if f[0] >= 0)
        return tuple(dict.fromkeys(i for _, i in held))

    @property
    def tokens(self) -> bool:
        """Whether one axis holds rows and columns."""
        whole = tuple((of, count, 1) for of, count in enumerate(self.size))
        return len(whole) > 1 and whole in self.axes

    @property
    def plain(self) -> bool:
        """Whether this is a map as a convolution gives it, (N, C, h, w)."""
        order = (self.batch, *self.places) == (0, *range(2, len(self.axes)))
        return order and self.is_map and not self.tokens

    @property
    def is_map(self) -> bool:
        """Whether it can be read as maps: more than one position, and one axis of channels."""
        places = [self.axes[i] for i in self.places]
        whole = self.tokens or all(len(a) == 1 and a[0][2] == 1 for a in places)
        pictures = len(self.axes[self.batch]) == 1
        one = len(self.axes) == len(places) + 2
        return pictures and whole and one and math.prod(self.size) > 1

    @property
    def kind(self) -> str:
        """What other reading it needs, in words; nothing of a map as a convolution gives it."""
        return "" if self.plain else "tokens" if self.tokens else "channels last"

    def as_maps(self, value: Tensor) -> Tensor:
        """The result of the step as maps (N, C, h, w), without class tokens."""
        maps = value.permute(self.batch, self.channel, *self.places)
        if self.tokens:
            maps = maps.narrow(2, self.skip, math.prod(self.size)).unflatten(2, self.size)
        return maps


def positions(
    steps: list[Step], first: Step, known: Positions | None = None
) -> dict[Step, Positions]:
    """How each step behind ``first`` holds the picture's rows and columns, where that is known.

    ``first`` is the picture, or a step of which it is ``known``. A residual sum knows it from any
    of its terms, so that products along the tokens or between them need not be followed.
    """
    found = {first: known or _of_map(first.shape or ())}
    for step in steps:
        read = [found[other] for other in step.varying if other in found]
        if step is first or step.kind == CONSTANT or not read:
            continue
        if step.shape is None:  # several results, as of split: each is read like what was split
            found[step] = read[0]
            continue
        before = next((one for one in read if one.shape == step.shape), read[0])
        if step.kind == MATMUL and len(step.varying) > 1:  # its rows are those of the first
            if step.args[0] not in found:
                continue
            before = found[step.args[0]]
        after = _followed(step, before)
        if after is not None and after.shape == step.shape and after.batch == step.batch:
            found[step] = after
    return found


def _of_map(shape: tuple[int, ...]) -> Positions:
    """Of a map as a convolution gives it, or a picture."""
    return Positions(tuple(((of, count, 1),) for of, count in enumerate(shape, PICTURES)))


def _followed(step: Step, before: Positions) -> Positions | None:
    shape, then = step.shape or (), before.shape
    if step.kind in (CONVOLUTION, LINEAR, MATMUL):
        axis = -1 if step.args[0] in step.varying else -2  # a matrix from the left mixes rows
        axis = 1 if step.kind == CONVOLUTION else axis
        mixed = _mixed(before, axis) if len(shape) == len(then) else None
        if step.kind == CONVOLUTION and mixed:
            spatial = (mixed.batch, *mixed.places) == (0, *range(2, len(shape)))
            mixed = mixed if spatial else None
        return _resized(step, mixed) if mixed else None
    if step.operation == "im2col":
        return _unfolded(step, before)
    order = _order(step, len(then))
    if order is not None:
        return replace(before, axes=tuple(before.axes[i] for i in order))
    if shape == then and step.batch == before.batch:
        return before
    viewed = step.kind in (ROUTING, UNKNOWN) and len(step.varying) == 1
    if viewed and math.prod(shape) == math.prod(then) and "shuffle" not in step.operation:
        return _viewed(step, before)
    return _resized(step, before) if len(shape) == len(then) else _without_axis(step, before)


def _order(step: Step, ndim: int) -> list[int] | None:
    """The order in which a permutation takes the axes of its input; None of other operations.

    Asked of the operation itself, with a tensor that has another size along every axis.
    """
    moves = step.kind in (ROUTING, UNKNOWN) and len(step.inputs) == 1
    if not moves or len(step.shape or ()) != ndim:
        return None
    sizes = _SIZES[:ndim]
    try:
        found = step.compute({step.inputs[0]: torch.empty(1).expand(sizes)})
    except Exception:  # as of view, whose sizes are those of its own input
        return None
    shape = list(found.shape) if isinstance(found, Tensor) else []
    return [sizes.index(size) for size in shape] if sorted(shape) == sizes else None


def _unfolded(step: Step, before: Positions) -> Positions | None:
    """The patches of ``torch.nn.functional.unfold`` as tokens (N, D, T)."""
    given = [step.given[name] for name in ("kernel_size", "dilation", "padding", "stride")]
    tokens = tuple(
        (of, (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1, 1)
        for of, (size, kernel, dilation, padding, stride) in enumerate(
            zip(before.size, *given, strict=True)
        )
    )
    depth = (step.shape or ())[1]
    return Positions((before.axes[0], ((CHANNELS, depth, 1),), tokens)) if before.plain else None


def guessed(step: Step, picture: Step) -> Positions | None:
    """What the shape alone says, where what comes before it could not be followed.

    Four dimensions are maps (N, C, h, w), three tokens (N, T, D) of square patches with one class
    token or none.
    """
    shape, (height, width) = step.shape or (), (picture.shape or ())[-2:]
    if step.batch != 0 or len(shape) not in (3, 4):
        return None
    if len(shape) == 4:
        return replace(_of_map(shape), guess=True)
    for extra in (0, 1):
        count = shape[1] - extra
        rows = math.isqrt(count * height // width)
        if rows > 1 and rows * rows * width == count * height and count % rows == 0:
            tokens = ((0, rows, 1), (1, count // rows, 1))
            axes = (((PICTURES, 1, 1),), tokens, ((CHANNELS, shape[2], 1),))
            return Positions(axes, extra, extra, guess=True)
    return None


def _mixed(before: Positions, axis: int) -> Positions | None:
    """A weighted sum along an axis. Neighbouring pixels that it holds become channels.

    So patches are embedded and merged; None where it holds whole rows or columns, or pictures.
    """
    held = before.axes[axis]
    taken = {of: math.prod(n for o, n, _ in held if o == of) for of, _, _ in held}
    near = all(of == CHANNELS or apart * count <= taken[of] for of, count, apart in held)
    if PICTURES in taken or not near or (before.extra and before.axes[before.places[0]] == held):
        return None
    axes = [
        tuple((of, count, apart // taken.get(of, 1) if of >= 0 else 1) for of, count, apart in part)
        for part in before.axes
    ]
    axes[axis] = ((CHANNELS, before.shape[axis], 1),)
    left = {f[0] for part in axes for f in part}
    return replace(before, axes=tuple(axes)) if left >= set(taken) else None


def _without_axis(step: Step, before: Positions) -> Positions | None:
    """An axis of channels is taken away, as by x[:, 0]; None where it may be another."""
    new, axes = step.shape or (), before.axes
    gone = [i for i in range(len(axes)) if (*before.shape[:i], *before.shape[i + 1 :]) == new]
    if not gone or any(of != CHANNELS for i in gone for of, _, _ in axes[i]):
        return None
    return replace(before, axes=(*axes[: gone[0]], *axes[gone[0] + 1 :]))


def _resized(step: Step, before: Positions) -> Positions | None:
    """The same axes with other sizes: pooled, padded, every second one; tokens put before them."""
    axes, skip, extra = [], before.skip, before.extra
    for i, (axis, then, now) in enumerate(
        zip(before.axes, before.shape, step.shape or (), strict=True)
    ):
        if then == now:
            axes.append(axis)
        elif before.tokens and i == before.places[0]:
            count = math.prod(before.size)
            if step.kind == AVERAGE or now < count:
                return None
            # What is taken away came first; what is put there, where it stands.
            skip = min(skip, now - count) if now < then else skip + _ahead(step, before, i)
            axes, extra = [*axes, axis], now - count
        elif all(of == CHANNELS for of, _, _ in axis):
            axes.append(((CHANNELS, now, 1),))
        elif len(axis) == 1 and axis[0][0] >= 0 and axis[0][2] == 1:
            axes.append(((axis[0][0], now, 1),))
        else:
            return None
    return replace(before, axes=tuple(axes), skip=skip, extra=extra)


def _ahead(step: Step, before: Positions, axis: int) -> int:
    """How many tokens are joined in front of those whose positions are known."""
    count = 0
    for other in step.read:
        if other.shape == before.shape:
            break
        count += (other.shape or (0,) * (axis + 1))[axis]
    return count


def _viewed(step: Step, before: Positions) -> Positions | None:
    """Axes that were merged or split, as by view, flatten, unsqueeze."""
    tokens = before.axes[before.places[0]] if before.extra else ()
    whole = (_TOKENS, math.prod(before.size) + before.extra, 1)
    left = [f for axis in before.axes for f in ((whole,) if tokens and axis == tokens else axis)]
    left = [factor for factor in left if factor[:2] != (CHANNELS, 1)]
    axes = []
    for i, size in enumerate(step.shape or ()):
        axis: list[Factor] = []
        if i == step.batch and left and left[0][0] == PICTURES:
            axis.append(left.pop(0))
        room = size
        while left and left[0][0] != PICTURES and (room > 1 or (left[0][1] == 1 and not axis)):
            of, count, apart = left.pop(0)
            inner = count // math.gcd(count, room)
            if inner > 1:  # a part of it: the slower one
                if of == _TOKENS or count == inner:
                    return None
                left.insert(0, (of, inner, apart))
            axis.append((of, count // inner, apart * inner))
            room //= count // inner
        if room > 1:
            return None
        axes.append(tokens if axis == [whole] else _joined(axis))
    if any(count > 1 for _, count, _ in left) or any(f[0] == _TOKENS for a in axes for f in a):
        return None
    return replace(before, axes=(*axes[:-1], (*axes[-1], *left)))


def _joined(factors: list[Factor]) -> Axis:
    """Neighbouring factors of one thing as one."""
    axis: list[Factor] = []
    for of, count, apart in factors:
        last = axis[-1] if axis else None
        if last and last[0] == of and (of == CHANNELS or last[2] == count * apart):
            axis[-1] = (of, last[1] * count, apart)
        else:
            axis.append((of, count, apart))
    return tuple(axis)
