"""What importing the package loads, and that every public name can be had."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import xaiutils


def run(code: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    return done.stdout.split()


def test_importing_the_package_is_light():
    heavy = ("torch", "torchvision", "captum", "matplotlib", "quantus", "pytorch_grad_cam", "scipy")
    loaded = run(f"import xaiutils, sys; print(*[n for n in {heavy} if n in sys.modules])")
    assert loaded == []


def test_explaining_loads_no_other_explanation_library():
    heavy = ("captum", "quantus", "pytorch_grad_cam", "matplotlib", "cv2", "skimage", "IPython")
    loaded = run(
        f"import xaiutils as x, sys; x.explain; x.load_model; x.Sample; x.COMPOSITES; "
        f"print('xaiutils.hybrid' in sys.modules, *[n for n in {heavy} if n in sys.modules])"
    )
    assert loaded == ["True"]


def test_scenes_are_explained_without_torchvision():
    """It takes a second to import, of each kernel and of each worker."""
    loaded = run(
        "import sys, xaiutils as x; work = x.load_workload('scenes', 'unit'); "
        "x.explain(work.classifier, work.batch([0])[1]); "
        "print(*[n for n in ('torchvision',) if n in sys.modules])"
    )
    assert loaded == []


def test_a_small_network_is_not_run_on_large_pictures_to_learn_its_shapes():
    """23 pictures of 20,000 x 20,000 would be 110 GB; the meta device takes none of them."""
    found = run(
        "import sys, torch; from torch import nn; from xaiutils.network.graph import Graph; "
        "net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval(); "
        "print(Graph(net, (3, 20_000, 20_000)).classes)"
    )
    assert found == ["4"]


@pytest.mark.parametrize("name", xaiutils.__all__)
def test_every_public_name_can_be_had(name):
    assert getattr(xaiutils, name) is not None
    assert name in dir(xaiutils)


def test_type_checkers_see_the_names_that_are_there():
    stub = ast.parse(Path(xaiutils.__file__).with_suffix(".pyi").read_text("utf-8"))
    told = {a.asname for n in stub.body if isinstance(n, ast.ImportFrom) for a in n.names}
    assert told == {*xaiutils.__all__}


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'xaiutils' has no attribute 'explian'"):
        _ = xaiutils.explian
