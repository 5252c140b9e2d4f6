"""The command line, the workloads, and the figures that the demo makes."""

import json

import numpy as np
import PIL.Image
import pytest
import torch

from xaiutils import cli, scenes, workloads
from xaiutils.hybrid import explain
from xaiutils.methods import METHODS
from xaiutils.models import load_model


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "three.png"
    scenes.sample("unit", 3).image.save(path)
    return path


def test_explain_writes_the_maps_that_explain_computes(picture, tmp_path, capsys):
    assert cli.main(["explain", str(picture), "--out", str(tmp_path / "out")]) == 0
    classifier = load_model("scenes_vgg_seed0")
    found = explain(classifier, classifier.preprocess(scenes.sample("unit", 3).image))
    with np.load(tmp_path / "out" / "three.npz") as saved:
        for name in ("cam", "bounded", "relevance", "product", "hybrid", "logits"):
            np.testing.assert_allclose(saved[name], getattr(found, name)[0], atol=1e-6)
        assert saved["target"] == found.target[0]
        assert saved["setting_threshold"] == 0.2
    with PIL.Image.open(tmp_path / "out" / "three.png") as drawn:
        assert drawn.width > 800
    assert classifier.classes[int(found.target[0])] in capsys.readouterr().out


def test_pictures_of_one_name_get_their_endings(picture, tmp_path):
    with PIL.Image.open(picture) as image:
        image.save(tmp_path / "three.bmp")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "._three.png").write_bytes(b"of another system")
    assert cli.main(["explain", str(tmp_path), "--out", str(tmp_path / "out")]) == 0
    names = sorted(path.stem for path in (tmp_path / "out").glob("*.npz"))
    assert names == ["three_bmp", "three_png"]


def test_a_picture_that_a_method_cannot_explain_does_not_stop_the_others(picture, tmp_path, capsys):
    noise = np.random.default_rng(0).integers(0, 256, (128, 128, 3), np.uint8)
    PIL.Image.fromarray(noise).save(tmp_path / "noise.png")
    command = ["explain", str(tmp_path / "noise.png"), str(picture)]
    command += ["--method", "feature_ablation", "--set", "batch_size=8", "--out", str(tmp_path)]
    assert cli.main(command) == 2
    assert "noise.png: segments must be at least 2" in capsys.readouterr().err
    with np.load(tmp_path / "three_feature_ablation.npz") as saved:
        assert saved["setting_threshold"] == 0.2
        assert saved["setting_feature_ablation_batch_size"] == 8


def test_explain_takes_a_class_by_name_and_every_setting(picture, tmp_path):
    options = ["--target", "ring", "--threshold", "0.4", "--sigma", "0", "--composite", "epsilon"]
    options += ["--cam", "layer_cam", "--cam-layer", "features.9"]
    options += ["--out", str(tmp_path / "out")]
    assert cli.main(["explain", str(picture), *options]) == 0
    with np.load(tmp_path / "out" / "three.npz") as saved:
        assert saved["target"] == scenes.CLASSES.index("ring")
        np.testing.assert_array_equal(saved["hybrid"], saved["product"])
        assert str(saved["setting_cam_layer"]) == "features.9"


def test_a_picture_that_cannot_be_read_does_not_stop_the_others(picture, tmp_path, capsys):
    folder = tmp_path / "pictures"
    folder.mkdir()
    (folder / "broken.png").write_bytes(b"no picture")
    (folder / "notes.txt").write_text("not asked for")
    scenes.sample("unit", 4).image.save(folder / "four.png")
    out = tmp_path / "out"
    assert cli.main(["explain", str(folder), str(picture), "--out", str(out)]) == 2
    assert sorted(path.stem for path in out.glob("*.npz")) == ["four", "three"]
    said = capsys.readouterr().err
    assert "broken.png must be a picture" in said
    assert "notes" not in said
    assert "1 of 3 pictures could not be explained" in said
    with np.load(out / "four.npz") as saved:
        assert saved["target_name"] == scenes.CLASSES[int(saved["target"])]
        assert saved["model"] == "scenes_vgg_seed0"
        shares = [float(saved[key]) for key in saved if key.startswith("share_")]
    assert sum(shares) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sample:chelsea", "--target", "7"], "class must be a name or in 0..5, got 7"),
        (["sample:chelsea", "--set", "steps=3"], "--set must go with --method"),
        (["."], "must be a folder with pictures"),
        ([""], "got an empty name"),
        (["absent.png"], "must be an existing file"),
        (["sample:chelsea", "--model", "scenes_vgg_sed0"], "did you mean scenes_vgg_seed0"),
        (["sample:chelsea", "--target", "rung"], "did you mean ring"),
        (["sample:chelsea", "--threshold", "1"], "threshold must be >= 0 and < 1, got 1"),
        (["sample:chelsea", "--sigma", "-1"], "sigma must be >= 0, got -1"),
        (["a/one.png", "b/one.png"], "different file names, got one_png twice"),
        (["sample:chelsea", "--cam-layer", "features.99"], "layer must be a known name"),
    ],
)
def test_a_wrong_argument_is_one_line_and_exit_code_2(arguments, message, tmp_path, capsys):
    assert cli.main(["explain", *arguments, "--out", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error


def test_another_method_is_drawn_alone_and_inside_the_figure(picture, tmp_path, capsys):
    out = tmp_path / "out"
    command = ["explain", str(picture), "--method", "lrp_epsilon", "--target", "ring"]
    assert cli.main([*command, "--out", str(out)]) == 0
    assert "ring (0.1%) -> " in capsys.readouterr().out
    classifier = load_model("scenes_vgg_seed0")
    x = classifier.preprocess(scenes.sample("unit", 3).image)
    target = classifier.class_index("ring")
    with np.load(out / "three_lrp_epsilon.npz") as saved:
        expected = METHODS["lrp_epsilon"](classifier, x, target)[0]
        np.testing.assert_array_equal(saved["map"], expected)
        assert saved["target"] == target
    with PIL.Image.open(out / "three_lrp_epsilon.png") as drawn:
        assert drawn.width > 800
    settings = ["--method", "hybrid", "--sigma", "5", "--set", "threshold=0.4", "--target", "2"]
    assert cli.main(["explain", str(picture), *settings, "--out", str(out)]) == 0
    with np.load(out / "three_hybrid.npz") as saved:
        expected = explain(classifier, x, 2, sigma=5, threshold=0.4).hybrid[0]
        np.testing.assert_array_equal(saved["map"], expected)
    assert cli.main(["explain", str(picture), "--method", "saliency", "--sigma", "5"]) == 2
    assert "setting of saliency must be" in capsys.readouterr().err
    assert cli.main(["explain", str(picture), "--method", "lpr"]) == 2
    assert "method must be a known name, got 'lpr'" in capsys.readouterr().err


def test_methods_lists_what_suits_a_network(capsys):
    assert cli.main(["methods"]) == 0
    told = capsys.readouterr().out
    assert all(f"  {name} " in told for name in METHODS)
    assert "no: it has no attention over patches" in told


def test_the_environment_chooses_the_workload(monkeypatch, tmp_path):
    monkeypatch.setenv("XAIUTILS_WORKLOAD", "photographs")
    monkeypatch.setenv("XAIUTILS_MODEL", "squeezenet1_0")
    monkeypatch.setenv("XAIUTILS_WEIGHTS", "random")
    work = workloads.load_workload()
    chosen, x = work.batch([0, 1])
    assert (work.name, tuple(x.shape)) == ("photographs", (2, 3, 224, 224))
    assert work.picture(chosen[0]).shape == (224, 224, 3)
    with pytest.raises(ValueError, match="neither"):
        work.masks(chosen)
    monkeypatch.setenv("XAIUTILS_WORKLOAD", "photos")
    with pytest.raises(ValueError, match="did you mean photographs"):
        workloads.load_workload()


def test_scene_workload_counts_and_masks():
    work = workloads.load_workload("scenes", "duo")
    assert len(work.samples) == scenes.SPLITS["duo"].count
    chosen, x = work.batch([0, -1])
    assert torch.equal(work.masks(chosen)[0], torch.from_numpy(chosen[0].mask))
    assert x.shape == (2, 3, scenes.SIZE, scenes.SIZE)
    with pytest.raises(IndexError, match="index must be in"):
        work.samples[len(work.samples)]
    with pytest.raises(ValueError, match="split must be a known name"):
        workloads.load_workload("scenes", "tset")


def test_imagenet_workload_reads_boxes(monkeypatch, tmp_path):
    folder = tmp_path / "ILSVRC/Data/CLS-LOC/val"
    folder.mkdir(parents=True)
    PIL.Image.new("RGB", (300, 300), "red").save(folder / "ILSVRC2012_val_00000001.JPEG")
    (tmp_path / "LOC_val_solution.csv").write_text(
        "ImageId,PredictionString\nILSVRC2012_val_00000001,n01440764 0 0 300 150 \n"
    )
    (tmp_path / "LOC_synset_mapping.txt").write_text("n01440764 tench, Tinca tinca\n")
    monkeypatch.setenv("XAIUTILS_IMAGENET", str(tmp_path))
    monkeypatch.setenv("XAIUTILS_MODEL", "squeezenet1_0")
    monkeypatch.setenv("XAIUTILS_WEIGHTS", "random")
    work = workloads.load_workload("imagenet")
    chosen, _ = work.batch([0])
    assert float(work.masks(chosen).double().mean()) == pytest.approx(0.5, abs=0.01)
    assert json.dumps(chosen[0].wnid) == '"n01440764"'
