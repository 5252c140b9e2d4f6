from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from xaiutils.scenes import SIZE, scene
from xaiutils.training import (
    CAM_LAYER,
    Recipe,
    SceneNet,
    accuracy,
    data_folder,
    fold,
    gates,
    load_scene_net,
    normalise,
    save_scene_net,
    train,
    train_scenes,
)

TINY = Recipe(scenes=64, epochs=2, batch=16)
SEEDS = (0, 1, 2)


@pytest.fixture(scope="module")
def tiny() -> SceneNet:
    return train(3, TINY)[0]


def test_training_is_deterministic_and_leaves_the_random_state(tiny: SceneNet) -> None:
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    lines: list[str] = []
    again, log = train(3, TINY, lines.append)
    assert torch.equal(before, torch.get_rng_state())
    assert torch.get_num_threads() == threads
    assert [record["epoch"] for record in log] == [1, 2]
    assert len(lines) == 3
    for name, value in tiny.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name
    other, _ = train(4, TINY)
    assert not torch.equal(other.classifier[0].weight, tiny.classifier[0].weight)


def test_folding_keeps_the_outputs_and_removes_batch_norm(tiny: SceneNet) -> None:
    folded = fold(tiny)
    x = torch.randn(4, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert (tiny(x) - folded(x)).abs().max() < 1e-4
    assert not folded.training
    kinds = {type(layer) for layer in folded.modules()}
    assert nn.BatchNorm2d not in kinds
    assert all(layer.bias is not None for layer in folded.features if isinstance(layer, nn.Conv2d))


def test_the_cam_layer_has_16_by_16_maps() -> None:
    net = SceneNet(folded=True).eval()
    layers = list(net.features)[: int(CAM_LAYER.split(".")[1]) + 1]
    assert isinstance(layers[-1], nn.ReLU)
    maps = nn.Sequential(*layers)(torch.zeros(1, 3, SIZE, SIZE))
    assert maps.shape == (1, 64, 16, 16)


def test_normalise_spans_minus_two_to_two() -> None:
    pictures = np.zeros((1, 2, 2, 3), np.uint8)
    pictures[0, 0, 0] = 255
    x = normalise(pictures)
    assert x.shape == (1, 3, 2, 2)
    assert (x.min(), x.max()) == (-2, 2)


def test_a_saved_network_comes_back_and_a_changed_one_does_not(tmp_path: Path) -> None:
    record = train_scenes(5, tmp_path, TINY, gate_scenes=12)
    assert record["recipe"]["scenes"] == 64
    net = load_scene_net(5, tmp_path)
    x = torch.randn(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(net(x), fold(train(5, TINY)[0])(x))
    save_scene_net(net, 6, tmp_path, {})
    assert list(json.loads((tmp_path / "manifest.json").read_text())["seeds"]) == ["5", "6"]
    with pytest.raises(ValueError, match="seed must be one of 5, 6, got int 7"):
        load_scene_net(7, tmp_path)
    weights = tmp_path / "scenes_vgg_seed5.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    with pytest.raises(ValueError, match=r"seed5\.safetensors must have sha256 [0-9a-f]{64}, got"):
        load_scene_net(5, tmp_path)
    weights.unlink()
    with pytest.raises(FileNotFoundError, match=r"seed5\.safetensors must exist; make it with"):
        load_scene_net(5, tmp_path)
    with pytest.raises(FileNotFoundError, match=r"manifest\.json must exist; make it with"):
        load_scene_net(0, tmp_path / "nowhere")


def test_the_data_folder_can_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XAIUTILS_DATA", str(tmp_path))
    assert data_folder() == tmp_path
    monkeypatch.delenv("XAIUTILS_DATA")
    assert (data_folder() / "manifest.json").is_file()


def test_wrong_recipes_are_named() -> None:
    with pytest.raises(ValueError, match=r"recipe\.scenes must be >= 50 and <= 5000, got 10"):
        train(0, Recipe(scenes=10))
    with pytest.raises(ValueError, match="seed must be >= 0, got -1"):
        train(-1)
    with pytest.raises(ValueError, match="split must be a known name, got 'tests'"):
        accuracy(SceneNet(), "tests")


def _meets_the_gates(figures: dict[str, float]) -> None:
    assert figures["single"] >= 0.97
    assert figures["duo"] >= 0.90
    assert figures["removal_ratio"] >= 5
    assert figures["after_removal"] <= 0.30
    assert 0.60 <= figures["hard"] <= 0.85


@pytest.mark.parametrize("seed", SEEDS)
def test_the_shipped_weights_pass_the_gates(seed: int) -> None:
    manifest = json.loads((data_folder() / "manifest.json").read_text())
    entry = manifest["seeds"][str(seed)]
    _meets_the_gates(entry["gates"])
    _meets_the_gates(gates(load_scene_net(seed), 400 if seed == 0 else 200))


def test_the_shipped_files_are_small_and_as_the_manifest_says() -> None:
    folder = data_folder()
    entries = json.loads((folder / "manifest.json").read_text())["seeds"]
    assert set(entries) == {str(seed) for seed in SEEDS}
    for entry in entries.values():
        content = (folder / entry["file"]).read_bytes()
        assert hashlib.sha256(content).hexdigest() == entry["sha256"]
        assert len(content) == entry["bytes"]
        assert entry["cpu_seconds"] <= 15 * 60  # of one thread: wall time on a machine of its own
    assert sum(path.stat().st_size for path in folder.iterdir()) < 6e6


def test_the_shipped_network_is_sure_of_a_plain_scene() -> None:
    assert scene("test", 0).objects[0].kind == "ring"
    assert accuracy(load_scene_net(0), "test", 1) == 1
