r"""What is explained: a class, or any number that can be computed from a network's output.

A score :math:`s` maps the output :math:`f`, (N, K), (N, K, h, w) or of another shape whose second
dimension counts the classes, to one number per picture, (N,). Everything that explains or judges
asks for the same score: a CAM takes :math:`\partial s / \partial A`, relevance starts from
:math:`\partial s / \partial f` at the output (`start_of`), captum, LIME and the metrics ask for
:math:`s` itself. A class index is the score :math:`s = f_c`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from xaiutils.support import cache, checks

STARTS = ("logit", "one")
IOU = 0.5  # from here on a candidate is the same object as the box


@dataclass(frozen=True, eq=False)
class Score:
    """A number per picture, computed from a network's output: ``score(output)`` is (N,).

    Attributes:
        name: What settings and messages call it.
        function: ``(output, *classes, *given)`` to (N,), differentiable by the output.
        classes: The classes that it is about; a classifier turns names into indices.
        given: The tensors and numbers that it is computed with.
        held: The same with what merely scales it, such as a norm, held constant: what relevance
            starts from where it is not ``function``.
    """

    name: str
    function: Callable[..., Tensor]
    classes: tuple[int | str, ...] = ()
    given: tuple[Any, ...] = ()
    held: Callable[..., Tensor] | None = None

    def __call__(self, output: Tensor, *, held: bool = False) -> Tensor:
        """The score of each picture, (N,), of outputs (N, ...); a function of yours sees one alone.

        Raises:
            ValueError: The output has no such class, or another shape than the score is for; or
                what comes out is not one number per picture.
        """
        function = self.held or self.function if held else self.function
        own = getattr(self.function, "__module__", "") == __name__
        try:
            found = [
                function(row, *self.classes, *self.given)
                for row in ([output] if own else output.split(1))
            ]
        except Exception as error:  # a function of yours can do anything there
            raise ValueError(
                f"target must be a score of outputs {_sizes(output)}, {self.name} fails: "
                f"{checks.text_of(error) or type(error).__name__}"
            ) from error
        count = len(output) if own else 1
        for one in found:
            if not isinstance(one, Tensor) or one.shape != (count,) or one.is_complex():
                came = f"{one.dtype} {checks.shape(one)}" if isinstance(one, Tensor) else repr(one)
                raise ValueError(
                    f"target must be a score with one real number per picture, ({count},) of "
                    f"{count} of the outputs {_sizes(output)}, {self.name} gives {came}; "
                    ".flatten(1).mean(1) makes one number of several"
                )
        return torch.cat(found)

    def about(self, index: Callable[[int | str], int]) -> Score:
        """The score with class indices in place of names, which ``index`` finds."""
        return replace(self, classes=tuple(map(index, self.classes))) if self.classes else self

    @property
    def key(self) -> tuple[Any, ...]:
        """What decides its numbers, for a memo."""
        return (cache.Same(self.function), cache.Same(self.held), self.classes, self.given)


class Scores:
    """A score for each of N pictures; of a single one, for any number of pictures."""

    def __init__(self, each: Sequence[Score]) -> None:
        """Keep one for each."""
        self.each = tuple(each)

    def __len__(self) -> int:
        """The number of pictures."""
        return len(self.each)

    def __getitem__(self, index: int | slice | list[int]) -> Any:
        """The score of one picture, or those of some as `Scores`."""
        if isinstance(index, list):
            return Scores([self.each[i] for i in index])
        return self.each[index] if isinstance(index, int) else Scores(self.each[index])

    def __call__(self, output: Tensor, *, held: bool = False) -> Tensor:
        """The score of each picture, (N,), of outputs (N, ...)."""
        if all(score is self.each[0] for score in self.each):
            return self.each[0](output, held=held)
        if len(self.each) != len(output):
            raise ValueError(
                f"target must be one score, or one per picture ({len(output)}), got {len(self)}"
            )
        rows = output.split(1)
        return torch.cat([s(row, held=held) for s, row in zip(self.each, rows, strict=True)])

    @property
    def name(self) -> str:
        """The names of the scores, each once."""
        return ", ".join(dict.fromkeys(score.name for score in self.each))

    @property
    def key(self) -> tuple[Any, ...]:
        """What decides the numbers, for a memo."""
        return tuple(score.key for score in self.each)


Question = Tensor | Scores  # what is asked of N pictures: class indices (N,), or a score of each


def logit(klass: int | str) -> Score:
    r"""The output of a class, :math:`s = f_c`: the same as its index or name."""
    return Score(f"logit({klass})", _of_class, (klass,))


def value(output: int | str = 0) -> Score:
    r"""One value of a regression, :math:`s = f_i`, by index or name, of outputs (N, K) or (N,)."""
    return Score(f"value({output})", _of_class, (output,))


def margin(klass: int | str, other: int | str, gamma: float = 1.0) -> Score:
    r"""What speaks for one class rather than another, :math:`s = f_a - \gamma f_b`, γ >= 0.

    Zhang et al. 2025 (Finer-CAM, arXiv 2501.11309), for one class b to compare with.
    """
    gamma = checks.number("gamma", gamma, low=0)
    return Score(f"margin({klass}, {other}, {gamma:g})", _margin, (klass, other), (gamma,))


def region(klass: int | str, mask: Tensor) -> Score:
    r"""A class in a region of a segmentation, :math:`s = \frac1{|M|} \sum_{ij \in M} f_{cij}`.

    The mask M is (h, w) bool, of the size of the output (N, K, h, w). grad-cam explains the sum,
    which differs by the factor :math:`|M|`.

    Raises:
        TypeError, ValueError: The mask is no bool tensor (h, w), is empty, or, when it is asked,
            of another size than the output.
    """
    checks.dense("mask", mask, "(h, w)")
    if mask.dtype != torch.bool:
        raise TypeError(f"mask must be a bool tensor (h, w), got {mask.dtype}; mask > 0 is one")
    if mask.ndim != 2 or not bool(mask.any()):
        raise ValueError(
            f"mask must be (h, w) with at least one pixel in it, got {checks.shape(mask)} with "
            f"{int(mask.sum())}; a list of regions is one per picture"
        )
    return Score(f"region({klass})", _region, (klass,), (mask.detach().clone(),))


def similarity(reference: Tensor) -> Score:
    r"""The cosine with a reference embedding (D,), :math:`s = f^\top r / (\|f\| \|r\|)`.

    A cosine does not grow with f, so its gradient times f adds up to 0. Relevance therefore holds
    the norm of f constant, as LRP does with every normalisation, and starts with
    :math:`f_j r_j / (\|f\| \|r\|)`, which adds up to s.

    Raises:
        TypeError, ValueError: The reference is no finite float tensor other than zero, or, when it
            is asked, of another size than the output.
    """
    checks.dense("reference", reference, "(D,)", floating=True)
    if not bool(reference.isfinite().all()) or not bool(reference.any()):
        raise ValueError("reference must be finite and not zero everywhere")
    return Score("similarity", _similarity, (), (reference.detach().clone(),), _HELD)


def box(klass: int | str, box: Sequence[float] | Tensor, candidates: Tensor | None = None) -> Score:
    r"""A detector's class score in a box, :math:`s = \max_{a \in B} f_{ca}`.

    B are the candidates (A, 4) of an output (N, K, A), anchors or the detector's own boxes in units
    of ``box`` (x0, y0, x1, y1), that overlap it by an intersection over union of 0.5 or more, or
    the one that overlaps it most where none does. Without candidates the output is (N, K, h, w),
    ``box`` is in shares of width and height, and B are the cells whose centres lie in it.

    Raises:
        TypeError, ValueError: The box is empty or no box, or not within 0..1 where there are no
            candidates; the candidates are not (A, 4), or none overlaps the box.
    """
    box = box.tolist() if isinstance(box, Tensor) else box
    if not isinstance(box, list | tuple):
        raise TypeError(f"box must be (x0, y0, x1, y1), got {checks.describe(box)}")
    corners = tuple(checks.number("box", side) for side in box)
    if len(corners) != 4 or corners[0] >= corners[2] or corners[1] >= corners[3]:
        raise ValueError(f"box must be (x0, y0, x1, y1), x0 < x1 and y0 < y1, got {corners}")
    name = f"box({klass}, {', '.join(f'{side:g}' for side in corners)})"
    if candidates is None:
        if min(corners) < 0 or max(corners) > 1:
            raise ValueError(
                "box must be in shares of width and height, from 0 to 1, where no candidates are "
                f"given, got {corners}; divide pixels by the picture's sides"
            )
        return Score(name, _cells, (klass,), corners)
    checks.dense("candidates", candidates, "(A, 4)", floating=True)
    if candidates.ndim != 2 or candidates.shape[1] != 4 or not len(candidates):
        raise ValueError(f"candidates must be (A, 4), A >= 1, got {checks.shape(candidates)}")
    if not bool(candidates.isfinite().all()):
        raise ValueError("candidates must be finite, got NaN or infinity")
    overlap = _overlap(candidates.detach(), candidates.new_tensor(corners))
    if not float(overlap.max()) > 0:
        raise ValueError(f"box must overlap one of the candidates, got {corners}, which does not")
    return Score(name, _candidates, (klass,), (overlap >= min(IOU, float(overlap.max())),))


def asked(
    target: Any, count: int, output: tuple[int, ...], index: Callable[[int | str], int]
) -> Question:
    """What ``target`` asks of each of ``count`` pictures: class indices (count,), else `Scores`.

    Args:
        target: A class index or name, a `Score`, or a function of the output; or a list of one
            per picture.
        count: How many pictures.
        output: The shape of the network's output for one picture, (1, ...).
        index: Finds a class by its name or index.

    Raises:
        TypeError, ValueError: It is none of them, there is not one for each picture, there is no
            such class, or the output has no classes to choose from.
    """
    if isinstance(target, Scores) and len(target) == count:
        return target
    several = isinstance(target, list | tuple)
    each = list(target) if several else [target]
    if not any(isinstance(one, str) or callable(one) for one in each) or torch.is_tensor(target):
        if len(output) != 2:
            raise ValueError(
                f"target must be a score where the output is {('N', *output[1:])}, such as "
                f"xaiutils.targets.region(class, mask), got {checks.describe(target)}"
            )
        return checks.targets("target", target, count, output[1])
    if several and len(each) != count:
        raise ValueError(f"target must be one, or one per image ({count}), got {len(each)}")
    found = [_as_score(one).about(index) for one in each]
    if len(output) == 2 and all(score.function is _of_class for score in found):
        chosen = [int(score.classes[0]) for score in found]
        return torch.tensor(chosen if several else chosen * count)
    return Scores(found if several else found * count)


def answer(output: Tensor, question: Question) -> Tensor:
    """What outputs (N, ...) say to what is asked, (N,); one question serves all pictures."""
    if isinstance(question, Scores):
        return question(output)
    index = question.to(output.device, copy=True).expand(len(output))  # usable in gradients
    return output.gather(1, index[:, None])[:, 0]


def slope(output: Tensor, question: Question, *, held: bool = False) -> Tensor:
    r"""The gradient :math:`\partial s / \partial f` at the output f (N, ...), or of `Score.held`.

    Raises:
        ValueError: The score has no gradient, one that is not finite, or none but 0 for a picture:
            it does not depend on the output.
    """
    if not isinstance(question, Scores):
        index = question.to(output.device, copy=True)[:, None]
        return torch.zeros_like(output).scatter(1, index, 1)
    with torch.inference_mode(False), torch.enable_grad():
        leaf = output.detach().clone().requires_grad_()
        found = question(leaf, held=held)
        if not found.requires_grad:
            raise ValueError(
                f"target must be a score with a gradient by the output, {question.name} has none: "
                "compute it from the output by torch, without detach, numbers or argmax; "
                "perturbation methods need no gradient"
            )
        (gradient,) = torch.autograd.grad(
            found.sum(), leaf, allow_unused=True, materialize_grads=True
        )
    flat = gradient.reshape(len(gradient), -1)
    _refuse(~flat.isfinite().all(1), question, "NaN or infinity")
    _refuse((flat == 0).all(1), question, "0 everywhere")
    return gradient


def faint(output: Tensor, question: Question) -> Tensor:
    r"""Where :math:`\sum_j |g_j f_j| < 10^{-5} |s|`: a gradient as small as rounding, (N,) bool.

    So it is at a maximum, such as the similarity of a picture to itself.
    """
    moved = (slope(output, question) * output).abs().reshape(len(output), -1).sum(1)
    return moved < 1e-5 * answer(output, question).abs()


def start_of(output: Tensor, question: Question, start: str) -> Tensor:
    r"""The relevance that each output starts with, of the shape of the output (N, ...).

    With the score's gradient :math:`g = \partial s / \partial f` at the output,

    .. math:: R_j = g_j f_j \;(\text{"logit"}), \qquad
              R_j = g_j \Big/ \sum_k |g_k| \;(\text{"one"}).

    "logit" adds up to s for every score that is homogeneous of degree one, as all of this module
    are (Euler); of a class it is its logit at the class. "one" does not depend on the size of
    outputs and score, keeps the sign with which an output speaks for the score, and adds up to 1
    where no output speaks against it; of a class it is 1 at the class.
    """
    checks.choice("start", start, STARTS)
    g = slope(output, question, held=True)
    if start == "logit":
        return (g * output).masked_fill(g == 0, 0)  # 0 times a negative output is -0
    return g / g.abs().reshape(len(g), -1).sum(1).view(-1, *[1] * (g.ndim - 1))


def key_of(question: Question | None) -> Any:
    """What decides the answers to a question, for a memo."""
    if isinstance(question, Scores):
        return question.key
    return None if question is None else question.cpu()


def _refuse(which: Tensor, question: Scores, gradient: str) -> None:
    images = ", ".join(map(str, which.nonzero()[:, 0].tolist()))
    if images:
        raise ValueError(
            f"target must be a score that depends on the output, {question.name} has a gradient "
            f"of {gradient} for image {images}"
        )


def _as_score(target: Any) -> Score:
    if isinstance(target, Score):
        return target
    if callable(target):
        return Score(getattr(target, "__name__", type(target).__name__), target)
    return logit(target)


def _sizes(output: Tensor) -> str:
    return f"({', '.join(map(str, ('N', *output.shape[1:])))})"


def _of_class(output: Tensor, klass: int | str) -> Tensor:
    """(N, ...) of one class; an output (N,) is of one."""
    classes = output[:, None] if output.ndim == 1 else output
    if isinstance(klass, str):
        raise TypeError(f"class must be an index here, got {klass!r}: a classifier knows the names")
    if not 0 <= klass < classes.shape[1]:
        raise ValueError(f"class must be in 0..{classes.shape[1] - 1}, got {klass}")
    return classes[:, klass]


def _margin(output: Tensor, klass: int, other: int, gamma: float) -> Tensor:
    return _of_class(output, klass) - gamma * _of_class(output, other)


def _region(output: Tensor, klass: int, mask: Tensor) -> Tensor:
    if output.shape[2:] != mask.shape:
        raise ValueError(
            f"mask must be of the output's size {tuple(output.shape[2:])}, got {checks.shape(mask)}"
        )
    return _of_class(output, klass)[:, mask.to(output.device)].mean(1)


def _similarity(output: Tensor, reference: Tensor, *, held: bool = False) -> Tensor:
    if output.shape[1:] != reference.shape:
        raise ValueError(
            f"reference must be of the output's size {tuple(output.shape[1:])}, "
            f"got {checks.shape(reference)}"
        )
    f, r = output.flatten(1), reference.to(output).flatten()
    norm = f.detach().norm(dim=1) if held else f.norm(dim=1)
    return f @ r / (norm * r.norm())


_HELD = partial(_similarity, held=True)


def _cells(output: Tensor, klass: int, x0: float, y0: float, x1: float, y1: float) -> Tensor:
    if output.ndim != 4:
        raise ValueError("box must have candidates= where the output is not (N, K, h, w)")
    height, width = output.shape[2:]
    rows, columns = (
        (torch.arange(side, device=output.device) + 0.5) / side for side in (height, width)
    )
    inside = ((rows >= y0) & (rows < y1))[:, None] & ((columns >= x0) & (columns < x1))
    if not bool(inside.any()):
        raise ValueError(f"box must hold the centre of a cell of {height} x {width}, it holds none")
    return _of_class(output, klass)[:, inside].amax(1)


def _candidates(output: Tensor, klass: int, chosen: Tensor) -> Tensor:
    if output.shape[2:] != chosen.shape:
        raise ValueError(
            f"candidates must be those of the output, {tuple(output.shape[2:])}, got {len(chosen)}"
        )
    return _of_class(output, klass)[:, chosen.to(output.device)].amax(1)


def _overlap(boxes: Tensor, box: Tensor) -> Tensor:
    """Intersection over union of each of (A, 4) with one box (4,)."""
    low, high = torch.maximum(boxes[:, :2], box[:2]), torch.minimum(boxes[:, 2:], box[2:])
    both = (high - low).clamp(min=0).prod(1)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(1) + (box[2:] - box[:2]).prod()
    return both / (areas - both)
