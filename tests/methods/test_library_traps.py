"""Traps of docs/traps.md by the libraries alone: when one is mended, its test here fails."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
import warnings
from importlib.metadata import requires

import nbformat
import numpy as np
import pytest
import quantus
import torch
from captum.attr import LRP, Lime, NoiseTunnel
from captum.metrics import infidelity
from nbval.plugin import get_sanitize_patterns
from torch import nn


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 5)
    ).eval()


def pictures(count=2):
    return torch.rand(count, 3, 12, 12, generator=torch.Generator().manual_seed(1))


def test_captums_lrp_leaves_its_activations_on_the_network():
    class Net(nn.Module):  # captum's LRP has no rule for Flatten
        def __init__(self):
            super().__init__()
            self.convolution, self.relu = nn.Conv2d(3, 4, 3), nn.ReLU()
            self.pool, self.linear = nn.AdaptiveAvgPool2d(2), nn.Linear(16, 5)

        def forward(self, x):
            return self.linear(self.pool(self.relu(self.convolution(x))).flatten(1))

    net = Net().eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        LRP(net).attribute(pictures().requires_grad_(), target=1)
    assert any(hasattr(part, "activations") for part in net.modules())


def test_captums_lime_sets_segments_to_zero_by_default():
    segments = torch.arange(144).reshape(1, 1, 12, 12) // 8
    torch.manual_seed(0)
    found = Lime(network()).attribute(pictures(1), target=1, feature_mask=segments, n_samples=500)
    assert float((found == 0).float().mean()) > 0.1


def test_captums_smooth_grad_takes_five_samples():
    assert inspect.signature(NoiseTunnel.attribute).parameters["nt_samples"].default == 5


def test_captums_infidelity_grows_with_the_map():
    x, net = pictures(1), network()

    def noise(inputs):
        drawn = torch.randn(inputs.shape, generator=torch.Generator().manual_seed(0)) * 0.1
        return drawn, inputs - drawn

    map = torch.randn(x.shape, generator=torch.Generator().manual_seed(2))
    quiet, loud = (float(infidelity(net, noise, x, a, target=1)) for a in (map, 10 * map))
    assert loud > 10 * quiet


def test_two_libraries_ask_for_two_builds_of_opencv():
    asked = {
        name: [re.match(r"[\w-]+", one)[0] for one in requires(name)]
        for name in ("grad-cam", "quantus")
    }
    assert "opencv-python-headless" in asked["grad-cam"]
    assert "opencv-python" in asked["quantus"]


def by_quantus(metric, maps):
    x = pictures(len(maps)).numpy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return metric(network(), x, np.ones(len(maps), int), maps, device="cpu", batch_size=8)


def correlation():
    return quantus.FaithfulnessCorrelation(
        nr_runs=20, subset_size=20, return_aggregate=False, disable_warnings=True
    )


def test_quantus_has_no_seed():
    maps = np.random.default_rng(0).random((2, 1, 12, 12))
    first, second = (by_quantus(correlation(), maps) for _ in range(2))
    assert not np.allclose(first, second)
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    by_quantus(correlation(), maps)
    assert not np.array_equal(before, np.random.get_state()[1])  # noqa: NPY002


@pytest.mark.parametrize("value", [0.0, -1.0])
def test_quantus_ends_the_run_at_a_map_of_zeros_or_of_negative_values(value):
    maps = np.random.default_rng(0).random((1, 1, 12, 12)) * value
    with pytest.raises(AssertionError):
        by_quantus(correlation(), maps)


def test_quantus_does_not_normalise_what_avg_sensitivity_compares():
    parameters = inspect.signature(quantus.AvgSensitivity.__init__).parameters
    assert parameters["normalise"].default is False


def test_nbval_drops_an_empty_replacement_in_silence():
    assert len(get_sanitize_patterns("regex: a\nreplace: b\n\nregex: c\nreplace:\n")) == 1


@pytest.mark.slow
def test_nbval_compares_neither_pictures_nor_cells_without_outputs(tmp_path):
    draw = (
        "import base64\nfrom IPython.display import Image, display\n"
        'display(Image(base64.b64decode("{}"), format="png"))'
    )
    dot = (
        "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5E"
        "rkJggg=="
    )
    stored = {"image/png": "bm90IHRoaXM=", "text/plain": "<IPython.core.display.Image object>"}
    shown = nbformat.v4.new_code_cell(draw.format(dot), execution_count=1)
    shown.outputs = [nbformat.v4.new_output("display_data", stored)]
    bare = nbformat.v4.new_code_cell("print(open('/dev/urandom', 'rb').read(4))")
    wrong = nbformat.v4.new_code_cell("print(1)", execution_count=3)
    wrong.outputs = [nbformat.v4.new_output("stream", name="stdout", text="2\n")]
    paths = [tmp_path / "same.ipynb", tmp_path / "other.ipynb"]
    for path, cells in zip(paths, ([shown, bare], [wrong]), strict=True):
        nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--nbval"]
    made = subprocess.run(
        [*command, "--nbval-current-env", "-rf", *map(str, paths)],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "1 failed, 2 passed" in made.stdout, made.stdout
    assert "FAILED other.ipynb::" in made.stdout  # it does compare what was printed
