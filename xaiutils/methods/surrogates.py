"""Linear models of the network around one image: captum's LIME and KernelSHAP, over segments.

Fewer samples than unknowns are an error, and both are plain weighted least squares. A segment's
coefficient, signed, stands on each of its pixels.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from xaiutils.methods.perturbation import SEGMENTED
from xaiutils.methods.record import SIGNED, Setting, Table
from xaiutils.methods.segments import Forward, by_segment
from xaiutils.support import chance, checks

TABLE = Table(
    family="perturbation", sign=SIGNED, passes="n_samples * F", stochastic=True, needs=("segments",)
)


@TABLE(
    "LIME",
    "Ribeiro et al. 2016, eq. 2 and section 3.4",
    settings={
        "n_samples": Setting(
            500,
            "at least ten per segment: on four generated scenes, the values of two seeds "
            "correlate 0.98; captum's 25 are fewer than the unknowns",
            stock=25,
            count=True,
        ),
        "kernel_width": Setting(
            0.25,
            "as in the authors' code for pictures; with 1.0 a picture without any segment "
            "still weighs 0.6 of the whole one, and the model is hardly local",
            stock=1.0,
        ),
        "alpha": Setting(
            0.0,
            "there are more samples than unknowns; captum's lasso put 29 to 38 % of the "
            "segments of four generated scenes to exactly 0",
            stock=0.01,
        ),
    }
    | SEGMENTED,
)
@by_segment
def lime(
    forward: Forward,
    present: Tensor,
    *,
    n_samples: int,
    kernel_width: float,
    alpha: float,
    batch_size: int,
    seed: int,
) -> Tensor:
    r"""A linear model of the segments' presence near the image.

    Each segment is present or absent by the toss of a coin; a sample z weighs
    :math:`\exp(-D^2 / 2 w^2)` with the cosine distance D between z and the full image, both as
    vectors of segments, and w = ``kernel_width`` > 0. ``alpha`` >= 0 weighs the lasso's penalty;
    0 is weighted least squares.

    Raises:
        ValueError: Fewer samples than unknowns, or a single segment.
    """
    from captum.attr import Lime
    from captum.attr._core.lime import get_exp_kernel_similarity_function
    from sklearn.linear_model import Lasso, LinearRegression

    alpha = checks.number("alpha", alpha, low=0)
    if checks.number("kernel_width", kernel_width) <= 0:
        raise ValueError(f"kernel_width must be > 0, got {kernel_width:g}")
    _require_samples(n_samples, present)
    kernel = get_exp_kernel_similarity_function("cosine", kernel_width)
    drawing = chance.torchs(seed)

    def coins(present: Tensor, **_: Any) -> Tensor:
        """Captum's own would draw them globally."""
        even = torch.full(present.shape, 0.5)
        return torch.bernoulli(even, generator=drawing).to(present.device).long()

    model = _linear_model(Lasso(alpha=alpha) if alpha else LinearRegression())
    return Lime(forward, model, kernel, coins).attribute(
        present, n_samples=n_samples, perturbations_per_eval=batch_size
    )


@TABLE(
    "KernelSHAP",
    "Lundberg and Lee 2017, theorem 2",
    settings={
        "n_samples": Setting(
            1000,
            "as many passes as Shapley sampling: on four generated scenes, the values of two "
            "seeds correlate 0.90; captum's 25 are fewer than the unknowns",
            stock=25,
            count=True,
        )
    }
    | SEGMENTED,
)
@by_segment
def kernel_shap(
    forward: Forward, present: Tensor, *, n_samples: int, batch_size: int, seed: int
) -> Tensor:
    r"""Shapley values of the segments by regression.

    The linear function of the segments' presence that fits :math:`f_c` best by weighted least
    squares, where random sets of k among S segments come in proportion to
    :math:`(S - 1) / (k (S - k))`, and the full and the empty image, which are among the
    ``n_samples``, weigh a million.

    Raises:
        ValueError: Fewer samples than unknowns, or a single segment.
    """
    from captum.attr import KernelShap
    from sklearn.linear_model import LinearRegression

    _require_samples(n_samples, present)
    drawing = chance.torchs(seed)

    class Own(KernelShap):
        def kernel_shap_perturb_generator(self, present: Tensor, **about: Any) -> Iterator[Tensor]:
            """All, none, then random sets of a random size; captum's own draws them globally."""
            sizes = about["num_select_distribution"].probs
            yield present.long()
            yield torch.zeros_like(present.long())
            while True:
                left_out = present.shape[1] - int(torch.multinomial(sizes, 1, generator=drawing))
                values = torch.randn(present.shape, generator=drawing, device="cpu")
                yield (values > values.kthvalue(left_out).values).to(present.device).long()

    method = Own(forward)
    method.interpretable_model = _linear_model(LinearRegression())
    return method.attribute(present, n_samples=n_samples, perturbations_per_eval=batch_size)


def _linear_model(fitted: Any) -> Any:
    """A model of scikit-learn as captum asks for it; captum's own draws weights globally first."""
    from captum._utils.models.model import Model

    class Own(Model):
        def fit(self, train_data: Any, **_: Any) -> None:
            samples, values, weights = (t.cpu().numpy() for t in train_data.dataset.tensors)
            fitted.fit(samples, values, sample_weight=weights)

        def representation(self) -> Tensor:
            return torch.tensor(fitted.coef_, dtype=torch.float32)[None]

        __call__ = representation

    return Own()


def _require_samples(n_samples: int, present: Tensor) -> None:
    segments = present.shape[1]
    if segments < 2:
        raise ValueError(f"segments must be at least 2 per image to compare, got {segments}")
    if n_samples < segments + 1:
        raise ValueError(
            f"n_samples must be at least the number of segments + 1, {segments + 1}, for a linear "
            f"model to be determined, got {n_samples}"
        )
