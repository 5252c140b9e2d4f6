"""Every explainer on a real photograph and a trained ImageNet classifier.

Needs what conftest.py says. Prints a line for each method: run pytest with ``-s``.
"""

import pytest
import torch

from xaiutils import metrics
from xaiutils.cases.workloads import Workload
from xaiutils.methods import METHODS

SEGMENTS = ("lime", "kernel_shap")  # fits: they need more answers than there are segments
MANY = (
    200  # passes of one image: Score-CAM, Shapley sampling and the like are left to the notebooks
)


@pytest.fixture(scope="module")
def right(work: Workload):
    """The first picture that is classified correctly."""
    for index in range(len(work.samples)):
        chosen, x = work.batch([index])
        if int(work.classifier.predict(x).argmax()) == chosen[0].label:
            return x, chosen[0].label, work.masks(chosen)
    raise AssertionError("no picture is classified correctly")


DEAR = ("feature_ablation", "lime", "occlusion_segments", "kernel_shap", "deep_lift_shap")
CASES = [
    pytest.param(method, id=name, marks=[pytest.mark.slow] * (name in DEAR))
    for name, method in METHODS.items()
]


@pytest.mark.parametrize("method", CASES)
def test_a_real_photograph_is_explained_or_the_method_says_why_not(method, work, right):
    x, label, mask = right
    quick = {"n_samples": 70 if method.name in SEGMENTS else 10, "n_steps": 10}
    quick = {key: value for key, value in quick.items() if key in method.settings}
    if method.refuses(work.classifier) is not None or method.cost(S=50, C=512, **quick) > MANY:
        pytest.skip(method.refuses(work.classifier) or "too many passes")
    maps = method(work.classifier, x, label, **quick)
    mass = float(metrics.mass_accuracy(maps, mask))
    print(f"\n{method.title}: mass in the box {mass:.2f}, Gini {float(metrics.gini(maps)):.2f}")
    assert maps.isfinite().all()
    if method.name == "deconvolution":  # no positive gradient gets through SqueezeNet's Fires
        assert maps.abs().max() == 0
        return
    assert maps.abs().max() > 0
    assert torch.isfinite(torch.tensor(mass))
