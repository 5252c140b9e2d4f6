"""The workloads: which the environment chooses, and what their pictures know of their objects."""

import PIL.Image
import pytest
import torch

from xaiutils.cases import workloads
from xaiutils.pictures import scenes
from xaiutils.pictures.images import PHOTOGRAPHS


def test_the_environment_chooses_the_workload(monkeypatch, tmp_path):
    monkeypatch.setenv("XAIUTILS_WORKLOAD", "photographs")
    monkeypatch.setenv("XAIUTILS_MODEL", "squeezenet1_0")
    monkeypatch.setenv("XAIUTILS_WEIGHTS", "random")
    work = workloads.load_workload()
    chosen, x = work.batch([0, 1])
    assert (work.name, tuple(x.shape)) == ("photographs", (2, 3, 224, 224))
    assert work.picture(chosen[0]).shape == (224, 224, 3)
    assert work.masks(chosen).any()
    unnamed = [sample for sample in work.samples if sample.label is None]
    with pytest.raises(ValueError, match="astronaut has neither"):
        work.masks(unnamed)
    monkeypatch.setenv("XAIUTILS_WORKLOAD", "photos")
    with pytest.raises(ValueError, match="did you mean photographs"):
        workloads.load_workload()


def test_photographs_come_with_a_network_that_knows_them():
    work = workloads.load_workload("photographs")
    assert work.classifier.name == "squeezenet1_1"
    for sample in work.samples:
        if sample.label is not None:
            kind = PHOTOGRAPHS[sample.id].kind
            assert work.classifier.classes[sample.label] == kind
            assert sample.boxes == PHOTOGRAPHS[sample.id].boxes
    shapes = workloads.load_workload("photographs", model="scenes_vgg_seed0")
    assert {(sample.label, sample.boxes) for sample in shapes.samples} == {(None, ())}


def test_what_a_workload_cannot_have_is_refused(monkeypatch, tmp_path):
    with pytest.raises(ValueError, match="model must know the scenes' classes disc, square"):
        workloads.load_workload("scenes", model="efficientnet_lite0")
    for name in ("scenes", "photographs"):
        with pytest.raises(ValueError, match="split must be a known name, got 'dou'"):
            workloads.load_workload(name, "dou")
        with pytest.raises(ValueError, match=f"root must be left out for {name}"):
            workloads.load_workload(name, root=str(tmp_path))
    monkeypatch.setenv("XAIUTILS_WEIGHTS", str(tmp_path / "none.pth"))
    with pytest.raises(FileNotFoundError, match=r"none\.pth is none"):
        workloads.load_workload("photographs")


def test_photographs_whose_object_is_not_known_are_left_out_where_that_is_asked(monkeypatch):
    monkeypatch.setenv(workloads.PLACED, "1")
    work = workloads.load_workload("photographs")
    assert {one.id for one in work.samples} == {n for n, one in PHOTOGRAPHS.items() if one.boxes}


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
    monkeypatch.setenv("XAIUTILS_IMAGENET", str(tmp_path))
    monkeypatch.setenv("XAIUTILS_MODEL", "squeezenet1_0")
    monkeypatch.setenv("XAIUTILS_WEIGHTS", "random")
    # Class 0 of one would be explained as class 0 of a thousand, whatever that is.
    with pytest.raises(
        ValueError, match="root must have the classes of squeezenet1_0, 1000, got 1"
    ):
        workloads.load_workload("imagenet")
    others = "".join(f"n9{i:07} another\n" for i in range(999))
    (tmp_path / "LOC_synset_mapping.txt").write_text(f"n01440764 tench, Tinca tinca\n{others}")
    work = workloads.load_workload("imagenet")
    chosen, _ = work.batch([0])
    assert float(work.masks(chosen).double().mean()) == pytest.approx(0.5, abs=0.01)
    assert chosen[0].wnid == "n01440764"
