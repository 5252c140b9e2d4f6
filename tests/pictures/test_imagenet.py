"""Opening ImageNet in every layout, and boxes as ground truth (imagenet, boxes)."""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from hypothesis import given, settings, strategies as st

from xaiutils.pictures.imagenet import (
    ImageNetFolder,
    open_imagenet,
    read_mapping,
    read_solution,
    read_xml,
    sample_target,
)
from xaiutils.pictures.images import Sample, Transform

CAT, DOG, OWL = "n02123045", "n02085620", "n01622779"
KAGGLE = "ILSVRC/Data/CLS-LOC/val"
HEADER = "ImageId,PredictionString\n"


def draw(path: Path, size: tuple[int, int] = (40, 30), mode: str = "RGB") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.new(mode, size, 128 if mode == "L" else (200, 30, 10)).save(path, "JPEG")
    return path


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def voc(objects: Iterable[tuple[str, Any, Any, Any, Any]], size: tuple[int, int] = (40, 30)) -> str:
    parts = [
        f"<object><name>{name}</name><bndbox><xmin>{a}</xmin><ymin>{b}</ymin>"
        f"<xmax>{c}</xmax><ymax>{d}</ymax></bndbox></object>"
        for name, a, b, c, d in objects
    ]
    shape = f"<size><width>{size[0]}</width><height>{size[1]}</height><depth>3</depth></size>"
    return f"<annotation>{shape}{''.join(parts)}</annotation>"


@pytest.fixture
def kaggle(tmp_path: Path) -> Path:
    """Two pictures as Kaggle ships them; the second is grey and has two boxes."""
    draw(tmp_path / KAGGLE / "val_1.JPEG")
    draw(tmp_path / KAGGLE / "val_2.JPEG", (30, 50), "L")
    rows = f"val_2,{CAT} 1 2 11 12 {CAT} 5 6 30 50 \nval_1,{OWL} 0 0 40 30\n"
    write(tmp_path / "LOC_val_solution.csv", HEADER + rows)
    names = f"{DOG} Chihuahua\n{CAT} tabby, tabby cat\n{OWL} great grey owl\n"
    write(tmp_path / "LOC_synset_mapping.txt", names)
    return tmp_path


def only(root: Path, **options: Any) -> Sample:
    data = open_imagenet(root, **options)
    assert len(data) == 1
    return data[0]


# Layouts


@pytest.mark.parametrize("moved", ["", "ILSVRC"])
def test_kaggle(kaggle: Path, moved: str) -> None:
    for name in ("LOC_val_solution.csv", "LOC_synset_mapping.txt"):
        (kaggle / name).rename(kaggle / moved / name)
    data = open_imagenet(kaggle / moved)
    assert data.layout == "kaggle"
    assert data.wnids == (OWL, DOG, CAT)
    assert data.classes == ("great grey owl", "Chihuahua", "tabby, tabby cat")
    first, second = data
    assert (first.id, first.label, first.wnid) == ("val_1", 0, OWL)
    assert first.boxes == ((0, 0, 40, 30),)
    assert (second.id, second.label, second.image.mode) == ("val_2", 2, "RGB")
    assert second.boxes == ((1, 2, 11, 12), (5, 6, 30, 50))
    assert first.notes == second.notes == ()
    assert data.annotation(1)[:2] == (CAT, 2)
    said, note = data.report.splitlines()
    assert said.startswith("2 pictures in")
    assert said.endswith("2 with a CSV row or an XML file")
    assert note == "class indices are within these 3 classes, not ImageNet's 1,000"


def test_xml_instead_of_the_csv(kaggle: Path) -> None:
    (kaggle / "LOC_val_solution.csv").unlink()
    folder = kaggle / "ILSVRC/Annotations/CLS-LOC/val"
    write(folder / "val_1.xml", voc([(DOG, 1, 2, 3.5, 4), (CAT, 0, 0, 9, 9)]))
    write(folder / "val_2.xml", voc([], (30, 50)))
    data = open_imagenet(kaggle)
    assert data.layout == "xml"
    assert (data[0].label, data[0].boxes) == (1, ((1, 2, 3.5, 4),))
    assert data[0].notes == ("1 boxes of other classes are left out",)
    assert data[1].label is None
    assert "names no object" in data[1].notes[0]
    (kaggle / "LOC_synset_mapping.txt").unlink()
    data = open_imagenet(kaggle)
    assert data.wnids == data.classes == (DOG, CAT)
    assert "not found: LOC_synset_mapping.txt" in data.report


def test_xml_in_addition_to_the_csv(kaggle: Path) -> None:
    draw(kaggle / KAGGLE / "val_3.JPEG")
    draw(kaggle / KAGGLE / "val_4.JPEG")
    folder = kaggle / "ILSVRC/Annotations/CLS-LOC/val"
    write(folder / "val_1.xml", voc([(DOG, 1, 1, 2, 2)]))
    write(folder / "val_3.xml", voc([(DOG, 1, 2, 3, 4)], size=(41, 30)))
    data = open_imagenet(kaggle)
    assert (data.layout, data[0].wnid) == ("kaggle", OWL)
    assert (data[2].label, data[2].boxes) == (1, ((1, 2, 3, 4),))
    assert (data[3].label, data[3].boxes) == (None, ())
    assert "without label: 1 (val_4)" in data.report


@pytest.mark.parametrize("place", ["val", "", KAGGLE])
def test_tree(tmp_path: Path, place: str) -> None:
    draw(tmp_path / place / CAT / "a.JPEG")
    draw(tmp_path / place / OWL / "a.JPEG")
    data = open_imagenet(tmp_path)
    assert data.layout == "tree"
    assert [(s.id, s.label, s.wnid, s.boxes) for s in data] == [
        (f"{OWL}/a.JPEG", 0, OWL, ()),
        (f"{CAT}/a.JPEG", 1, CAT, ()),
    ]
    for said in ("LOC_val_solution.csv or Annotations", "LOC_synset_mapping.txt"):
        assert f"not found: {said}" in data.report
    assert "within these 2 classes" in data.report


def test_tree_takes_class_indices_from_the_mapping_and_boxes_from_both(kaggle: Path) -> None:
    for name, wnid in (("val_1", OWL), ("val_2", CAT)):
        (kaggle / "val" / wnid).mkdir(parents=True)
        (kaggle / KAGGLE / f"{name}.JPEG").rename(kaggle / "val" / wnid / f"{name}.JPEG")
    draw(kaggle / "val" / CAT / "val_3.JPEG")
    write(kaggle / "Annotations/CLS-LOC/val" / CAT / "val_3.xml", voc([(CAT, 1, 2, 3, 4)]))
    data = open_imagenet(kaggle)
    assert data.layout == "tree"
    assert [s.label for s in data] == [0, 2, 2]
    assert [len(s.boxes) for s in data] == [1, 2, 1]
    assert "3 with a CSV row or an XML file" in data.report


def test_train_split(tmp_path: Path) -> None:
    draw(tmp_path / "ILSVRC/Data/CLS-LOC/train" / CAT / "a.JPEG")
    write(tmp_path / "LOC_train_solution.csv", HEADER + f"a,{CAT} 1 2 3 4\n")
    assert only(tmp_path, split="train").boxes == ((1, 2, 3, 4),)


def test_a_thousand_folders_take_torchvisions_names(tmp_path: Path) -> None:
    for number in range(1000):
        (tmp_path / "val" / f"n{number:08}").mkdir(parents=True)
    draw(tmp_path / "val/n00000285/a.JPEG")
    data = open_imagenet(tmp_path)
    assert data[0].label == 285
    assert data.classes[285] == "Egyptian cat"
    assert data.report.endswith("ImageNet's split 'val' has 50,000 pictures")


def test_plain_folder(tmp_path: Path) -> None:
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    PIL.Image.new("RGB", (40, 30)).save(tmp_path / "b.jpg", exif=exif)
    PIL.Image.new("RGBA", (5, 5)).save(tmp_path / "a.png")
    write(tmp_path / "notes.txt", "")
    write(tmp_path / ".hidden.png", "")
    (tmp_path / "more").mkdir()
    data = open_imagenet(tmp_path)
    assert data.layout == "folder"
    assert data.wnids == data.classes == ()
    assert [(s.id, s.label, s.image.size) for s in data] == [
        ("a.png", None, (5, 5)),
        ("b.jpg", None, (30, 40)),
    ]
    assert data.report.endswith("not found: LOC_val_solution.csv or Annotations/CLS-LOC/val: boxes")


def test_labelled_pictures_are_read_as_stored(kaggle: Path) -> None:
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    PIL.Image.new("RGB", (40, 30)).save(kaggle / KAGGLE / "val_1.JPEG", exif=exif)
    assert open_imagenet(kaggle)[0].image.size == (40, 30)


def test_root_from_the_environment(kaggle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XAIUTILS_IMAGENET", str(kaggle))
    assert len(open_imagenet()) == 2
    monkeypatch.delenv("XAIUTILS_IMAGENET")
    with pytest.raises(ValueError, match="or set the variable XAIUTILS_IMAGENET"):
        open_imagenet()


# The sequence


def test_sequence(kaggle: Path) -> None:
    data = open_imagenet(kaggle)
    assert isinstance(data[:1], ImageNetFolder)
    assert [s.id for s in data[1:]] == ["val_2"]
    assert data[np.int64(1)].id == data[-1].id == "val_2"
    assert [s.id for s in pickle.loads(pickle.dumps(data))] == ["val_1", "val_2"]
    assert len(repr(data)) < 200
    for wrong, error in ((2, IndexError), ("val_1", TypeError)):
        with pytest.raises(error):
            data[wrong]


def test_pictures_are_decoded_when_read(kaggle: Path) -> None:
    write(kaggle / KAGGLE / "val_1.JPEG", "not a picture")
    data = open_imagenet(kaggle)
    assert data[1].id == "val_2"
    with pytest.raises(ValueError, match=r"val_1\.JPEG must be a picture"):
        data[0]
    (kaggle / KAGGLE / "val_2.JPEG").unlink()
    with pytest.raises(FileNotFoundError, match=r"val_2\.JPEG"):
        data[1]


# Errors of the folder


def test_nothing_found(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="root must be an existing folder, got 'nowhere'"):
        open_imagenet("nowhere")
    with pytest.raises(FileNotFoundError, match=r"pictures of the split 'val' \(\.bmp.*looked in"):
        open_imagenet(tmp_path)
    draw(tmp_path / "train" / CAT / "a.JPEG")
    with pytest.raises(FileNotFoundError, match="pictures of the split 'val'"):
        open_imagenet(tmp_path)
    with pytest.raises(ValueError, match="split must be a known name, got 'vl'; did you mean val"):
        open_imagenet(tmp_path, "vl")


def test_a_row_without_its_picture(kaggle: Path) -> None:
    (kaggle / KAGGLE / "val_1.JPEG").unlink()
    match = r"LOC_val_solution\.csv row 3 names 'val_1', and .*/val has no such picture \(1 such"
    with pytest.raises(FileNotFoundError, match=match):
        open_imagenet(kaggle)
    data = open_imagenet(kaggle, allow_missing=True)
    assert [s.id for s in data] == ["val_2"]
    assert "without picture: 1 (val_1)" in data.report


def test_two_pictures_of_one_name(kaggle: Path) -> None:
    draw(kaggle / KAGGLE / "val_1.jpg")
    with pytest.raises(ValueError, match="pictures must have unique names, got several 'val_1'"):
        open_imagenet(kaggle)


def test_classes_outside_the_mapping(kaggle: Path) -> None:
    write(kaggle / "LOC_synset_mapping.txt", f"{CAT} cat\n")
    with pytest.raises(ValueError, match=rf"in LOC_synset_mapping\.txt, got \['{OWL}'\]"):
        open_imagenet(kaggle)
    (kaggle / "LOC_val_solution.csv").unlink()
    write(kaggle / "ILSVRC/Annotations/CLS-LOC/val/val_1.xml", voc([(OWL, 1, 2, 3, 4)]))
    with pytest.raises(ValueError, match=f"val_1 must have a class .* mapping, got {OWL}"):
        open_imagenet(kaggle)[0]


def test_row_against_class_folder(tmp_path: Path) -> None:
    draw(tmp_path / "val" / CAT / "a.JPEG")
    draw(tmp_path / "val" / OWL / "b.JPEG")
    write(tmp_path / "LOC_val_solution.csv", HEADER + f"a,{OWL} 1 2 3 4\n")
    with pytest.raises(ValueError, match=f"row 2 must agree with the .* {CAT}, got {OWL}"):
        open_imagenet(tmp_path)[1]


def test_links_are_followed(kaggle: Path, tmp_path_factory: Any) -> None:
    """Data sets lie on other disks, and are linked."""
    elsewhere = draw(tmp_path_factory.mktemp("elsewhere") / "x.JPEG")
    (kaggle / KAGGLE / "val_3.JPEG").symlink_to(elsewhere)
    assert len(open_imagenet(kaggle)) == 3


# Errors of the files


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", r"must start with ImageId,PredictionString, got \[\]"),
        ("id,boxes\n", r"must start with ImageId,PredictionString, got \['id', 'boxes'\]"),
        (HEADER, "must have rows, got a header only"),
        (HEADER + "a\n", r"row 2 must be a new ImageId,PredictionString, got \['a'\]"),
        (HEADER + f"a,{CAT} 1 2 3 4\nb,\n", "row 3 must repeat 'wnid x0 y0 x1 y1', got 0 values"),
        (HEADER + f"a,{CAT} 1 2 3\n", "row 2 must repeat 'wnid x0 y0 x1 y1', got 4 values"),
        (HEADER + f"a,{CAT} 1 2 3 x\n", r"row 2 must give a box as four numbers, got .*'x'"),
        (HEADER + "a,cat 1 2 3 4\n", r"row 2 must give the class as a wnid .*, got 'cat'"),
        (HEADER + f"a,{CAT} 1 2 3 nan\n", "row 2 must give finite boxes"),
        (HEADER + f"a,{CAT} 1 2 inf 4\n", "row 2 must give finite boxes"),
        (HEADER + f"a,{CAT} 1 4 3 4\n", r"and y0 < y1, got \[1.0, 4.0, 3.0, 4.0\]"),
        (HEADER + f"a,{CAT} 1 2 1 4\n", r"x0 < x1 and y0 < y1, got \[1.0, 2.0, 1.0, 4.0\]"),
        (HEADER + f"a,{CAT} 1 2 3 4\na,{CAT} 1 2 3 4\n", "row 3 must be a new ImageId"),
        (HEADER + 'a,"n1', "must be a UTF-8 CSV table"),
    ],
)
def test_malformed_tables(tmp_path: Path, text: str, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        read_solution(write(tmp_path / "LOC_val_solution.csv", text))


def test_tables_from_windows(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes(b"\xef\xbb\xbfImageId,PredictionString\r\na,n02123045 1 2 3 4\r\n")
    assert read_solution(path)["a"].objects == ((CAT, (1, 2, 3, 4)),)
    path.write_bytes(HEADER.encode() + b"\xff\xfe,x\n")
    with pytest.raises(ValueError, match="must be a UTF-8 CSV table"):
        read_solution(path)


ENTITY = '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><annotation>&x;</annotation>'
BOMB = '<!DOCTYPE a [<!ENTITY x "xx"><!ENTITY y "&x;&x;">]><annotation>&y;</annotation>'


@pytest.mark.parametrize(
    ("text", "match"),
    [
        (ENTITY, r"a\.xml must have no DTD and no entities"),
        (BOMB, r"a\.xml must have no DTD and no entities"),
        ("<annotation>", r"a\.xml must be XML, and cannot be read"),
        ("", r"a\.xml must be XML, and cannot be read"),
        (voc([("cat", 1, 2, 3, 4)]), r"a\.xml must give the class as a wnid"),
        (voc([(CAT, 1, 2, "", 4)]), r"a\.xml must give a box as four numbers"),
        (voc([(CAT, 3, 2, 1, 4)]), r"a\.xml must give finite boxes with x0 < x1"),
    ],
)
def test_malformed_xml(tmp_path: Path, text: str, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        read_xml(write(tmp_path / "a.xml", text))


def test_xml_without_size_is_read(tmp_path: Path) -> None:
    text = voc([(CAT, 1, 2, 3, 4)]).replace("<width>40</width>", "")
    assert read_xml(write(tmp_path / "a.xml", text)).size is None


@pytest.mark.parametrize("line", ["cat", f"{CAT}", f"{CAT} ", f"{OWL} owl again", ""])
def test_malformed_mapping(tmp_path: Path, line: str) -> None:
    path = write(tmp_path / "LOC_synset_mapping.txt", f"{OWL} owl\n{line}\n{DOG} dog\n")
    with pytest.raises(ValueError, match=r"LOC_synset_mapping\.txt line 2 must be a new wnid"):
        read_mapping(path)


# Boxes against the decoded picture


def test_boxes_beyond_the_picture_are_cut_and_noted(kaggle: Path) -> None:
    rows = f"val_1,{OWL} -3 0 45 30\nval_2,{CAT} 1 2 11 12 {DOG} 0 0 5 5\n"
    write(kaggle / "LOC_val_solution.csv", HEADER + rows)
    first, second = open_imagenet(kaggle)
    assert first.boxes == ((0, 0, 40, 30),)
    assert first.notes == (
        "box 1 (-3.0, 0.0, 45.0, 30.0) is cut to the picture of (40, 30) pixels",
    )
    assert second.boxes == ((1, 2, 11, 12),)
    assert second.notes == ("1 boxes of other classes are left out",)


@pytest.mark.parametrize("box", ["40 0 50 30", "0 30 40 31", "-5 0 0 30", "0 -9 40 -1"])
def test_boxes_outside_the_picture(kaggle: Path, box: str) -> None:
    rows = f"val_1,{OWL} {box}\nval_2,{CAT} 1 2 11 12\n"
    write(kaggle / "LOC_val_solution.csv", HEADER + rows)
    match = r"LOC_val_solution\.csv row 2: box 1 must lie in the picture of \(40, 30\) pixels"
    with pytest.raises(ValueError, match=match):
        open_imagenet(kaggle)[0]


@pytest.mark.parametrize("csv", [False, True])
@pytest.mark.parametrize("size", [(120, 80), (480, 320), (160, 240), (240, 100)])
def test_boxes_of_a_picture_of_another_size_are_refused(
    tmp_path: Path, size: tuple[int, int], csv: bool
) -> None:
    """The XML is of 240 x 160, whose boxes lie elsewhere in a copy that was resized or turned."""
    draw(tmp_path / KAGGLE / "val_1.JPEG", size)
    xml = tmp_path / "ILSVRC/Annotations/CLS-LOC/val/val_1.xml"
    write(xml, voc([(OWL, 120, 40, 240, 120)], (240, 160)))
    if csv:
        write(tmp_path / "LOC_val_solution.csv", f"{HEADER}val_1,{OWL} 120 40 240 120\n")
    with pytest.raises(ValueError, match="the boxes would lie elsewhere; give the picture as it"):
        only(tmp_path)


def test_boxes_of_the_csv_far_beyond_the_picture_are_refused(tmp_path: Path) -> None:
    draw(tmp_path / KAGGLE / "val_1.JPEG", (120, 80))
    write(tmp_path / "LOC_val_solution.csv", f"{HEADER}val_1,{OWL} 60 40 200 120\n")
    with pytest.raises(ValueError, match=r"must lie in .* as it was annotated"):
        only(tmp_path)


def test_an_xml_of_unknown_size_keeps_its_boxes(tmp_path: Path) -> None:
    draw(tmp_path / KAGGLE / "val_1.JPEG")
    xml = tmp_path / "ILSVRC/Annotations/CLS-LOC/val/val_1.xml"
    write(xml, voc([(OWL, 1, 2, 3, 4)], (0, 0)))
    one = only(tmp_path)
    assert one.boxes == ((1, 2, 3, 4),)
    assert one.notes == ()


# Targets


@pytest.mark.parametrize("box", [(0, 0, 51, 40), (-1, 0, 5, 5), (5, 5, 5, 9), (0, 0, math.nan, 9)])
def test_boxes_of_another_picture_are_refused(box: Any) -> None:
    with pytest.raises(ValueError, match=r"boxes must be .* inside the picture of 50 x 40 pixels"):
        sample([box])


def sample(boxes: Any, size: tuple[int, int] = (50, 40)) -> Sample:
    return Sample("s", PIL.Image.new("RGB", size), boxes=tuple(boxes))


CROPPED = Transform(resize=20, crop=(16, 16))


def test_target_of_known_numbers() -> None:
    transform = Transform(resize=None, crop=(20, 20))
    target = sample_target(sample([(15, 10, 25, 20), (20, 10, 50, 20), (0, 0, 5, 5)]), transform)
    expected = np.zeros((20, 20), dtype=bool)
    expected[0:10, 0:20] = True
    np.testing.assert_array_equal(target.mask, expected)
    assert target.boxes.tolist() == [[0, 0, 10, 10], [5, 0, 20, 10]]


def test_target_that_the_crop_cut_away() -> None:
    target = sample_target(sample([(0, 0, 5, 5)]), CROPPED)
    assert not target.mask.any()
    assert target.boxes.shape == (0, 4)


def test_target_where_the_size_follows_the_picture() -> None:
    target = sample_target(sample([(0, 0, 25, 40)]), Transform(resize=20, crop=None))
    assert target.mask.shape == (20, 25)
    assert target.mask.mean() == pytest.approx(12 / 25)


def test_a_sample_without_boxes_has_no_target() -> None:
    with pytest.raises(ValueError, match="sample must have boxes, got none for 's'"):
        sample_target(sample([]), CROPPED)


sides = st.integers(4, 300)


@st.composite
def samples(choose: Callable[..., Any]) -> Sample:
    width, height = choose(sides), choose(sides)
    boxes = []
    for _ in range(choose(st.integers(1, 4))):
        x0, y0 = choose(st.integers(0, width - 1)), choose(st.integers(0, height - 1))
        boxes.append(
            (x0, y0, choose(st.integers(x0 + 1, width)), choose(st.integers(y0 + 1, height)))
        )
    return sample(boxes, (width, height))


@settings(max_examples=30, deadline=None)
@given(samples())
def test_the_mask_of_the_union_is_the_or_of_the_masks(boxed: Sample) -> None:
    target = sample_target(boxed, CROPPED)
    each = [sample_target(sample([box], boxed.image.size), CROPPED) for box in boxed.boxes]
    np.testing.assert_array_equal(target.mask, np.any([one.mask for one in each], axis=0))
    whole = sample([(0, 0, *boxed.image.size)], boxed.image.size)
    assert sample_target(whole, CROPPED).mask.all()
    assert len(target.boxes) == sum(len(one.boxes) for one in each)
    assert target.mask.any() == (len(target.boxes) > 0)
