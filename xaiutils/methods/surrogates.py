"""Linear models of the network around one image: captum's LIME and KernelSHAP, over segments.

captum asks them 25 images by default, fewer than a picture has segments, and gives LIME a lasso
whose penalty can zero every coefficient. Here fewer samples than unknowns are an error, and both
are plain weighted least squares.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from xaiutils.methods.arguments import Baseline
from xaiutils.methods.perturbation import SHARED
from xaiutils.methods.record import SIGNED, Method, Setting
from xaiutils.methods.segments import Forward, by_segment
from xaiutils.network.classifier import Classifier
from xaiutils.network.targets import Question
from xaiutils.support import chance, checks


def kernel_shap(
    classifier: Classifier,
    x: Tensor,
    target: Question,
    n_samples: int = 1000,
    baseline: Baseline = 0.0,
    segments: Tensor | None = None,
    batch_size: int = 32,
    *,
    seed: int = 0,
) -> Tensor:
    r"""KernelSHAP: Shapley values of the segments by regression (Lundberg and Lee 2017, theorem 2).

    The linear function of the segments' presence that fits :math:`f_c` best by weighted least
    squares, where random sets of k among S segments come in proportion to
    :math:`(S - 1) / (k (S - k))`, and the full and the empty image weigh a million.

    Args:
        classifier, x, target, baseline, segments, batch_size: As in `feature_ablation`.
        n_samples: Images asked, the full and the empty one included; more than segments.
        seed: Of the sets.

    Returns:
        (N, H, W), signed: a segment's coefficient on each of its pixels.

    Raises:
        ValueError: Fewer samples than unknowns, or a single segment.
    """
    from captum.attr import KernelShap
    from sklearn.linear_model import LinearRegression

    n_samples = checks.whole("n_samples", n_samples)
    batch_size = checks.whole("batch_size", batch_size)

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

    def effects(forward: Forward, present: Tensor) -> Tensor:
        _require_samples(n_samples, present)
        method = Own(forward)
        method.interpretable_model = _linear_model(LinearRegression())
        return method.attribute(present, n_samples=n_samples, perturbations_per_eval=batch_size)

    return by_segment(classifier, x, target, baseline, segments, effects)


def lime(
    classifier: Classifier,
    x: Tensor,
    target: Question,
    n_samples: int = 500,
    kernel_width: float = 0.25,
    alpha: float = 0.0,
    baseline: Baseline = 0.0,
    segments: Tensor | None = None,
    batch_size: int = 32,
    *,
    seed: int = 0,
) -> Tensor:
    r"""LIME: a linear model of the segments' presence around the image.

    Ribeiro et al. 2016, eq. 2 and section 3.4. Each segment is present or absent by the toss of
    a coin; a sample z weighs :math:`\exp(-D^2 / 2 w^2)` with the cosine distance D between z and
    the full image, both as vectors of segments.

    Args:
        classifier, x, target, baseline, segments, batch_size: As in `feature_ablation`.
        n_samples: Images asked; more than segments.
        kernel_width: w > 0.
        alpha: Weight of the lasso's penalty, >= 0; 0 is weighted least squares.
        seed: Of the coins.

    Returns:
        (N, H, W), signed: a segment's coefficient on each of its pixels.

    Raises:
        ValueError: Fewer samples than unknowns.
    """
    from captum.attr import Lime
    from captum.attr._core.lime import get_exp_kernel_similarity_function
    from sklearn.linear_model import Lasso, LinearRegression

    n_samples = checks.whole("n_samples", n_samples)
    batch_size = checks.whole("batch_size", batch_size)
    alpha = checks.number("alpha", alpha, low=0)
    kernel_width = checks.number("kernel_width", kernel_width)
    if kernel_width <= 0:
        raise ValueError(f"kernel_width must be > 0, got {kernel_width:g}")
    kernel = get_exp_kernel_similarity_function("cosine", kernel_width)
    drawing = chance.torchs(seed)

    def coins(present: Tensor, **_: Any) -> Tensor:
        """Captum's own would draw them globally."""
        even = torch.full(present.shape, 0.5)
        return torch.bernoulli(even, generator=drawing).to(present.device).long()

    def effects(forward: Forward, present: Tensor) -> Tensor:
        _require_samples(n_samples, present)
        model = _linear_model(Lasso(alpha=alpha) if alpha else LinearRegression())
        return Lime(forward, model, kernel, coins).attribute(
            present, n_samples=n_samples, perturbations_per_eval=batch_size
        )

    return by_segment(classifier, x, target, baseline, segments, effects)


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


TABLE: tuple[Method, ...] = (
    Method(
        "lime",
        "LIME",
        lime,
        "perturbation",
        SIGNED,
        "Ribeiro et al. 2016, eq. 2 and section 3.4",
        passes="n_samples * F",
        stochastic=True,
        needs=("segments",),
        settings={
            "n_samples": Setting(
                500,
                "at least ten per segment: on four generated scenes, the values of two seeds "
                "correlate 0.98; captum's 25 are fewer than the unknowns",
                stock=25,
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
            **SHARED,
        },
    ),
    Method(
        "kernel_shap",
        "KernelSHAP",
        kernel_shap,
        "perturbation",
        SIGNED,
        "Lundberg and Lee 2017, theorem 2",
        passes="n_samples * F",
        stochastic=True,
        needs=("segments",),
        settings={
            "n_samples": Setting(
                1000,
                "as many passes as Shapley sampling: on four generated scenes, the values of two "
                "seeds correlate 0.90; captum's 25 are fewer than the unknowns",
                stock=25,
            ),
            **SHARED,
        },
    ),
)
