"""What tests on real pictures share: they are skipped where pictures or weights are not at hand.

Set ``XAIUTILS_IMAGENET`` to an ImageNet folder; SqueezeNet 1.0's weights are ``XAIUTILS_WEIGHTS``
or in the folder's ``weights/``.
"""

import os
from pathlib import Path

import pytest

from xaiutils.cases.workloads import load_workload


@pytest.fixture(scope="session")
def weights() -> str:
    """The file of SqueezeNet 1.0's weights."""
    root = os.environ.get("XAIUTILS_IMAGENET")
    found = sorted(Path(root).glob("weights/squeezenet1_0*")) if root else []
    path = os.environ.get("XAIUTILS_WEIGHTS") or (str(found[0]) if found else None)
    if not root or not path:
        pytest.skip("needs XAIUTILS_IMAGENET and SqueezeNet 1.0's weights")
    return path


@pytest.fixture(scope="module")
def work(weights: str):
    """The real pictures and the network; `load_workload` finds them too while a module runs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XAIUTILS_MODEL", "squeezenet1_0")
        patch.setenv("XAIUTILS_WEIGHTS", weights)
        yield load_workload("imagenet")
