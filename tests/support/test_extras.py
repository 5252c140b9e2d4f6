"""A library that is missing is named with the extra that brings it."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from xaiutils.support.extras import _BROUGHT_BY, extras_named

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8"))
DISTRIBUTION = {"pytorch_grad_cam": "grad-cam", "skimage": "scikit-image", "yaml": "pyyaml"} | {
    "sklearn": "scikit-learn",
    "IPython": "ipywidgets",
    "jupyter_client": "jupyterlab",
    "nbformat": "nbclient",
}


def without(library: str, code: str) -> str:
    """What code says where a library is missing."""
    hide = f"import sys; sys.modules[{library!r}] = None\n"  # as `import` sees what is missing
    done = subprocess.run(
        [sys.executable, "-c", hide + code], capture_output=True, text=True, check=False
    )
    return done.stderr + done.stdout


@pytest.mark.parametrize(
    ("library", "code", "extra"),
    [
        ("pandas", "import xaiutils as xai; xai.score([], [], [])", "metrics"),
        (
            "captum",
            "import xaiutils as xai; c = xai.load_model('scenes_vgg_seed0'); "
            "xai.METHODS['lime'](c, c.preprocess(xai.scenes.sample('unit', 0)), 0)",
            "methods",
        ),
        (
            "ipywidgets",
            "import xaiutils as xai; xai.explore()",
            "apps",
        ),
    ],
)
def test_what_is_missing_is_named_with_its_extra(library, code, extra):
    said = without(library, code)
    assert f"{library} is not installed, and this needs it: pip install 'xaiutils[{extra}]'" in said


def test_explaining_needs_no_extra():
    code = (
        "import xaiutils as xai; c = xai.load_model('scenes_vgg_seed0'); "
        "e = xai.explain(c, c.preprocess(xai.scenes.sample('unit', 0))); print(e.hybrid.shape)"
    )
    for library in ("pandas", "captum", "skimage"):
        assert "torch.Size([1, 128, 128])" in without(library, code)


def test_other_modules_are_not_explained():
    with pytest.raises(ModuleNotFoundError, match="No module named 'nowhere'"), extras_named():
        import nowhere  # noqa: F401


@pytest.mark.parametrize("extra", _BROUGHT_BY)
def test_each_extra_has_what_is_said_to_be_in_it(extra):
    listed = PROJECT["project"]["optional-dependencies"][extra]
    names = {Requirement(line).name for line in listed}
    assert {DISTRIBUTION.get(one, one) for one in _BROUGHT_BY[extra]} <= names
