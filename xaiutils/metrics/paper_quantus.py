"""Quantus' own classes, asked about one picture alone, or plainly, as a user would ask them."""

from __future__ import annotations

import inspect
from functools import cache, partial
from types import MethodType, SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from xaiutils.cases.case import Case
from xaiutils.metrics.record import BATCH, CannotScore, Explainer, require_order
from xaiutils.network.classifier import Classifier
from xaiutils.network.targets import Question, Scores, answer, key_of
from xaiutils.support import asking, cache as memo, chance, checks
from xaiutils.support.borrowed import environment_kept, seeing, silenced

Floats = np.ndarray
CLASSES: dict[str, str] = {
    "avg_sensitivity": "AvgSensitivity",
    "faithfulness_correlation": "FaithfulnessCorrelation",
    "relevance_rank_accuracy": "RelevanceRankAccuracy",
    "sparseness": "Sparseness",
    "random_logit": "RandomLogit",
}
EXPLAINED = 10  # perturbed pictures that are explained at a time: a pass keeps its activations
# What is no part of the score, or would give something else than one score per picture.
_NOT_SETTINGS = {"self", "kwargs", "return_aggregate", "aggregate_func", "default_plot_func"}
_NOT_SETTINGS |= {"disable_warnings", "display_progressbar"}


def judge(
    name: str, case: Case, attribution: Tensor, explainer: Explainer, seed: int, /, **settings: Any
) -> float:
    """Quantus' score of one picture alone, all chance from ``seed``; NaN where Quantus gives it.

    Quantus divides a map by the largest magnitude of its whole batch; here that is the picture's
    own. ``settings`` are arguments of Quantus' constructor.
    """
    network = _Logits(case.classifier, case.x, case.targets)
    masks = None if case.mask is None else case.mask[None]
    given = network, case.x, attribution[None], masks, explainer
    with silenced(module="quantus|scipy"):  # NaN comes back, with a reason
        return float(_ask(_unchecked(CLASSES[name]), settings, *given, seed, 1)[0])


def plain(
    name: str,
    classifier: Classifier,
    x: Tensor,
    target: Tensor,
    maps: Tensor,
    masks: Tensor | None,
    explainer: Explainer,
    *,
    seed: int,
    batch_size: int = 64,
    **settings: Any,
) -> Floats:
    """The scores of a batch as Quantus gives them when it is simply called, (N,) float64.

    For comparison with published numbers. The given maps are divided by the largest magnitude of
    all of them, maps that are explained again by that of their batch, and RandomLogit draws the
    other class by a picture's place in its batch: a score depends on the neighbours.

    Args:
        name: A key of `CLASSES`.
        classifier, x, target: The network, pictures (N, C, H, W), the classes explained (N,).
        maps: (N, H, W), signed.
        masks: (N, H, W) bool; only relevance_rank_accuracy needs them.
        explainer: As `xaiutils.metrics.record.Metric` has it.
        seed: Of what Quantus draws, as after ``numpy.random.seed(seed)``, whose state stays.
        batch_size: Pictures at a time.
        **settings: Of Quantus' constructor; ``num_classes`` is the classifier's, not 1000.
    """
    with environment_kept():
        import quantus

    metric = getattr(quantus, CLASSES[checks.choice("name", name, CLASSES)])
    known = inspect.signature(metric.__init__).parameters.keys() - _NOT_SETTINGS
    for key in settings:
        if key not in known:
            raise TypeError(
                f"{name} has no setting {key!r}; Quantus' are {', '.join(sorted(known))}"
            )
    if "num_classes" in known:
        settings = {"num_classes": len(classifier.classes)} | settings
    classifier.check(x)
    checks.same_shape("maps", checks.maps("maps", maps), "x of one channel", x[:, 0])
    if masks is not None:
        checks.same_shape("masks", masks, "maps", maps)
    elif name == "relevance_rank_accuracy":
        raise ValueError("masks must be given for relevance_rank_accuracy, got None")
    classes = checks.targets("target", target, len(x), len(classifier.classes))
    seed, batch_size = checks.seed("seed", seed), checks.whole("batch_size", batch_size)
    network = _Logits(classifier, x, classes, plainly=True)
    return _ask(metric, settings, network, x, maps, masks, explainer, seed, batch_size)


def _ask(
    kind: Any,
    settings: dict[str, Any],
    network: _Logits,
    x: Tensor,
    maps: Tensor,
    masks: Tensor | None,
    explainer: Explainer,
    seed: int,
    batch_size: int,
) -> Floats:
    with environment_kept():
        from quantus.helpers.model.pytorch_model import PyTorchModel

    target = network.question

    def explain(model: nn.Module, inputs: Floats, targets: Floats) -> Floats:
        scored = isinstance(target, Scores)
        question = target[[0] * len(inputs)] if scored else torch.tensor(targets)
        found = explainer(network.classifier, torch.tensor(inputs).to(x), question)
        if not isinstance(found, Tensor) or found.shape != (len(inputs), *x.shape[2:]):
            got = checks.shape(found) if isinstance(found, Tensor) else checks.describe(found)
            raise ValueError(f"explainer must return maps (N, H, W), got {got}")
        return _array(found)[:, None]

    metric = kind(return_aggregate=False, disable_warnings=True, **settings)
    _draw_from(metric, seed)
    try:
        scores = metric(
            model=network,
            x_batch=_array(x),
            y_batch=np.zeros(len(x), int) if isinstance(target, Scores) else target.numpy(),
            a_batch=_array(maps)[:, None],
            s_batch=None if masks is None else _array(masks)[:, None],
            channel_first=True,
            explain_func=explain,
            softmax=False,
            batch_size=batch_size,
        )
    finally:
        # Quantus caches a method for all time by its object, which holds the network.
        PyTorchModel._get_last_softmax_layer_index.cache_clear()
    return np.asarray(scores, dtype=float)


def _draw_from(metric: Any, seed: int) -> None:
    """Make Quantus' metric draw from ``seed``, where it would from NumPy's global state."""
    metric.drawn_from, metric.random = seed, chance.numpys(seed)
    own = SimpleNamespace(**vars(np) | {"random": metric.random})
    metric.evaluate_batch = MethodType(
        seeing(type(metric).evaluate_batch, "quantus", np=own), metric
    )
    perturb = getattr(metric, "perturb_func", None)
    if isinstance(perturb, partial) and perturb.func.__module__.startswith("quantus"):
        copied = seeing(perturb.func, "quantus", np=own)
        metric.perturb_func = partial(copied, *perturb.args, **perturb.keywords)


def _array(value: Tensor) -> Floats:
    """A copy: Quantus computes in place."""
    return value.detach().cpu().numpy().copy()


class _Logits(nn.Module):
    """What Quantus sees: `Classifier.predict`, whose answers are remembered, or the plain module.

    The two differ in last bits. A score is the only logit, (N, 1).
    """

    def __init__(
        self, classifier: Classifier, like: Tensor, question: Question, plainly: bool = False
    ) -> None:
        super().__init__()
        self.classifier, self.like, self.question = classifier, like, question
        self.plainly = plainly
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        x = x.to(self.like)
        found = self.classifier.module(x) if self.plainly else self.classifier.predict(x)
        if isinstance(self.question, Scores):
            return answer(found, self.question)[:, None]
        return found


class _Unchecked:
    """Makes a Quantus metric skip its check of maps, which is slow and refuses negative ones.

    In its place each map must have an order.
    """

    def general_preprocess(self, *, a_batch: Floats, **given: Any) -> dict[str, Any]:
        prepare: Any = super()
        return prepare.general_preprocess(a_batch=None, **given) | {"a_batch": self._scale(a_batch)}

    def explain_batch(self: Any, model: Any, x_batch: Floats, y_batch: Floats) -> Floats:
        maps = self.explain_func(model=model.get_model(), inputs=x_batch, targets=y_batch)
        for one in maps:
            try:
                require_order(torch.from_numpy(one))
            except CannotScore as reason:
                raise CannotScore(f"explained again, {reason}") from reason
        return self._scale(maps)

    def _scale(self: Any, maps: Floats) -> Floats:
        if self.normalise:  # each by its own: copies of a picture may come together
            maps = np.concatenate([self.normalise_func(one[None]) for one in maps])
        return np.abs(maps) if self.abs else maps


class _Together:
    """Makes AvgSensitivity explain the copies of its picture together; the draws are Quantus'."""

    def evaluate_batch(
        self: Any, model: Any, x_batch: Floats, y_batch: Floats, a_batch: Floats, **_: Any
    ) -> Floats:
        flat, every = x_batch.reshape(1, -1), np.arange(x_batch.size)[None]
        drawn = [self.perturb_func(arr=flat, indices=every) for _ in range(self.nr_samples)]
        copies = np.concatenate(drawn).reshape(-1, *x_batch.shape[1:])
        maps: list[Any] = []
        for start in range(0, len(copies), EXPLAINED):
            maps += asking.in_pieces(
                lambda some: self.explain_batch(model, some, y_batch.repeat(len(some))),
                copies[start : start + EXPLAINED],
            )
        one, others = a_batch.reshape(1, -1), np.concatenate(maps).reshape(self.nr_samples, -1)
        changes = self.norm_numerator(a=self.similarity_func(a=one, b=others))
        return np.mean(changes / self.norm_denominator(a=one), keepdims=True)


class _Drawn:
    """Makes FaithfulnessCorrelation draw, and ask the network, once for all maps, as Quantus."""

    def evaluate_batch(
        self: Any, model: Any, x_batch: Floats, y_batch: Floats, a_batch: Floats, **_: Any
    ) -> list[float]:
        network, asked = model.get_model(), (torch.from_numpy(x_batch), torch.from_numpy(y_batch))
        drawn, drops = memo.once(
            lambda: self._draw(model, x_batch, int(y_batch[0])),
            *("faithfulness_correlation", network.classifier.module, key_of(network.question)),
            *asked,
            *(self.nr_runs, self.subset_size, repr(self.perturb_func.keywords), self.drawn_from),
        )
        flat = np.broadcast_to(a_batch, x_batch.shape).reshape(-1)
        return list(self.similarity_func(a=flat[drawn].sum(-1)[None], b=drops[None], batched=True))

    def _draw(self: Any, model: Any, x: Floats, y: int) -> tuple[Floats, Floats]:
        """Subsets (runs, subset) and the drops of the logit (runs,)."""
        drawn, changed = [], []
        for _ in range(self.nr_runs):
            one = self.random.choice(x.size, self.subset_size, replace=False)[None]
            drawn.append(one[0])
            changed.append(self.perturb_func(arr=x.reshape(1, -1), indices=one).reshape(x.shape))
        before = model.predict(x)[0, y]
        after = [
            model.predict(np.concatenate(changed[start : start + BATCH]))[:, y]
            for start in range(0, len(changed), BATCH)
        ]
        return np.stack(drawn), before - np.concatenate(after)


@cache
def _unchecked(name: str) -> Any:
    with environment_kept():
        import quantus

    own = {"FaithfulnessCorrelation": (_Drawn,), "AvgSensitivity": (_Together,)}.get(name, ())
    return type(name, (_Unchecked, *own, getattr(quantus, name)), {})
