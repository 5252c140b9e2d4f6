"""What the explorer shows, without a widget: the maps of `explain`, its numbers, colours, files."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from hypothesis import given, settings, strategies as st

import xaiutils
from xaiutils import METHODS, METRICS, combine, explain, explore, load_model, wrap
from xaiutils.apps.explorer import Subject, View, compute, tiles
from xaiutils.apps.explorer.output import arrays, code, link, spent, tile_html
from xaiutils.apps.explorer.sources import LISTED, networks, pictures, uploaded
from xaiutils.apps.explorer.view import chance, curves
from xaiutils.cases.workloads import Workload, load_workload
from xaiutils.lrp.composites import paper
from xaiutils.metrics.flipping import flipping_curve
from xaiutils.pictures import scenes
from xaiutils.pictures.photographs import PHOTOGRAPHS
from xaiutils.plots.style import png_bytes
from xaiutils.support import asking

ROOT = Path(__file__).parents[3]
CLASSIFIER = load_model("scenes_vgg_seed0")
SUBJECT = Subject(CLASSIFIER, scenes.sample("duo", 3))


def by_key(view, factors=None, subject=SUBJECT):
    found = tiles(subject, view, factors or compute(subject, view))
    return {tile.key: tile for tile in found}


@settings(max_examples=15, deadline=None)
@given(
    threshold=st.floats(0, 0.9),
    sigma=st.floats(0, 6),
    target=st.integers(0, 5),
    composite=st.sampled_from(["paper", "epsilon_plus", "z"]),
)
def test_the_stages_are_those_of_explain(threshold, sigma, target, composite):
    view = View(threshold=threshold, sigma=sigma, target=target, composite=composite)
    expected = explain(
        CLASSIFIER, SUBJECT.case.x, target, threshold=threshold, sigma=sigma, composite=composite
    )
    found = by_key(view)
    for key in ("cam", "bounded", "relevance", "product", "hybrid"):
        np.testing.assert_array_equal(found[key].panel.map, getattr(expected, key)[0].double())


def test_a_slider_asks_the_network_nothing():
    factors = compute(SUBJECT, View())
    with asking.watch() as seen:
        by_key(View(threshold=0.5, sigma=3, positive=True, clip=95, region=None), factors)
    assert seen.images == 0


def test_alpha_is_the_papers_composite_with_beta_one_less():
    found = by_key(View(alpha=2))["relevance"].panel.map
    expected = explain(CLASSIFIER, SUBJECT.case.x, composite=paper(2, 1)).relevance[0]
    np.testing.assert_array_equal(found, expected.double())


def test_the_numbers_are_those_of_the_metrics():
    view = View(target=SUBJECT.case.target)
    for tile in tiles(SUBJECT, view, compute(SUBJECT, view))[1:]:
        map = torch.from_numpy(tile.panel.map).float()
        explained = lambda *_, map=map: map[None]  # noqa: E731
        rank, mass = (
            METRICS[name](SUBJECT.case, explained).value
            for name in ("relevance_rank_accuracy", "relevance_mass")
        )
        assert tile.caption == f"rank {rank:.2f}, mass {mass:.2f}"
        assert tile.caption in tile.alt
    assert chance(SUBJECT, view) == METRICS["relevance_mass"].chance(SUBJECT.case)


def test_a_box_of_ones_own():
    view = View(region=(10.0, 20.0, 50.0, 40.0))
    mask = np.zeros(SUBJECT.photo.shape[:2], bool)
    mask[20:40, 10:50] = True
    np.testing.assert_array_equal(by_key(view)["hybrid"].panel.mask, mask)
    for region in ((10, 20, 10, 40), (0, 0, 500, 10), (-1, 0, 5, 5)):
        with pytest.raises(ValueError, match="region must be x0 < x1"):
            by_key(View(region=region))


def test_no_region_no_numbers():
    found = by_key(View(region=None))
    assert found["hybrid"].caption == ""
    assert "no region to score in" in found["hybrid"].alt
    assert np.isnan(chance(SUBJECT, View(region=None)))


def test_a_contrast_is_the_other_classes_hybrid_and_the_difference():
    found = by_key(View(target=1, contrast=2))
    own, other = (explain(CLASSIFIER, SUBJECT.case.x, target).hybrid[0] for target in (1, 2))
    np.testing.assert_array_equal(found["contrast"].panel.map, other.double())
    np.testing.assert_array_equal(found["difference"].panel.map, (own - other).double())
    assert found["contrast"].title == f"hybrid for {CLASSIFIER.classes[2]}"


def test_other_methods_alone_and_inside_the_figure():
    name = "lrp_epsilon"
    map = METHODS[name](CLASSIFIER, SUBJECT.case.x, 1)[0]
    view = View(target=1, methods=(name,), threshold=0.3)
    factors = replace(compute(SUBJECT, view), maps={name: map})
    np.testing.assert_array_equal(by_key(view, factors)[f"method-{name}"].panel.map, map.double())
    inside = View(target=1, methods=(name,), threshold=0.3, inside=True)
    both = combine(METHODS["grad_cam_plus_plus"], METHODS[name])
    expected = both(CLASSIFIER, SUBJECT.case.x, 1, threshold=0.3)[0]
    found = by_key(inside, factors)[f"method-{name}"].panel.map
    np.testing.assert_allclose(found, expected.double(), atol=1e-6)


def test_positive_part_and_clip():
    panel = by_key(View(positive=True, clip=95))["relevance"].panel
    assert panel.map.min() == 0
    assert panel.signed is False
    assert panel.clip == 95
    assert by_key(View(clip=100))["relevance"].panel.clip is None
    assert by_key(View(clip=95))["cam"].panel.clip is None  # it ends at 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"threshold": 1}, "threshold must be"),
        ({"sigma": -1}, "sigma must be"),
        ({"composite": "papre"}, "composite must be a known name, got 'papre'"),
        ({"alpha": 0.5}, "alpha must be"),
        ({"alpha": 2, "composite": "z"}, "alpha must be left out with the composite z"),
        ({"cam": "gradcam"}, "cam must be a known name"),
        ({"methods": ("limes",)}, "methods must be a known name, got 'limes'"),
        ({"clip": 0}, "clip must be"),
        ({"opacity": 2}, "opacity must be"),
        ({"region": "objects"}, "region must be a known name"),
    ],
)
def test_a_wrong_choice_is_named(change, message):
    with pytest.raises(ValueError, match=message):
        View(**change)
    with pytest.raises(ValueError, match=message):
        explore(SUBJECT.sample, CLASSIFIER, static=True, **change)


def test_a_choice_that_does_not_exist_is_named():
    with pytest.raises(TypeError, match="explore has no choice 'treshold'; there are target"):
        explore(treshold=0.2)


# Words and files


def test_every_tile_has_a_text_for_who_does_not_see_it():
    view = View(target=1, contrast=2)
    for tile in tiles(SUBJECT, view, compute(SUBJECT, view)):
        assert f'alt="{tile.alt}"' in tile_html(tile)
        assert tile.title.split()[0].lower() in tile.alt.lower()
    hybrid = by_key(view)["hybrid"]
    y, x = np.unravel_index(hybrid.panel.map.argmax(), hybrid.panel.map.shape)
    assert f"highest {(x + 0.5) / 128:.0%} from the left and {(y + 0.5) / 128:.0%}" in hybrid.alt


def test_what_is_shown_is_escaped():
    tile = by_key(View())["hybrid"]
    odd = type(tile)("x", "<b>", tile.panel, '"quoted"', 'a "name" <script>')
    text = tile_html(odd)
    assert "<script>" not in text
    assert "<b>" not in text
    assert 'alt="a &quot;name&quot;' in text


def test_the_ledger_is_written_out():
    factors = compute(SUBJECT, View())
    text = spent(factors)
    assert f"starts with {float(factors.explanation.conservation.start[0]):.3f}" in text
    assert "1 pass through the network" in text
    assert compute(Subject(CLASSIFIER, SUBJECT.sample), View()).images == 1  # asked nothing before
    assert "2 passes" in spent(compute(SUBJECT, View(target=1, contrast=2)))


def test_the_arrays_are_the_maps_as_they_are():
    view = View(target=1, positive=True, clip=90)
    factors = compute(SUBJECT, view)
    found = np.load(io.BytesIO(arrays(SUBJECT, view, factors)))
    np.testing.assert_array_equal(found["relevance"], factors.explanation.relevance[0])
    np.testing.assert_array_equal(found["picture"], SUBJECT.photo)
    assert json.loads(str(found["view"]))["positive"] is True


def expressions(classifier, work=None):
    given = None if work is not None and classifier is work.classifier else classifier
    return networks(given, (), work)[0].code


def test_the_code_of_a_network_gives_that_network():
    later = load_model("scenes_vgg_seed0", cam_layer="features.8")
    assert expressions(CLASSIFIER) == 'xai.load_model("scenes_vgg_seed0")'
    again = eval(expressions(later), {"xai": xaiutils})
    assert (again.name, again.cam_layer) == ("scenes_vgg_seed0", "features.8")
    small = load_model("squeezenet1_1", "random")
    assert expressions(small) == 'xai.load_model("squeezenet1_1", "random")'
    mine = wrap(CLASSIFIER.module, size=128, name="scenes_vgg_seed0")  # of a shipped one's name
    assert expressions(mine).startswith("...  # fill in: the network 'scenes_vgg_seed0'")
    work = Workload("mine", mine, [SUBJECT.sample], source="residual:workload")
    assert expressions(mine, work) == "xai.load_workload('residual:workload').classifier"


def test_the_weights_that_the_environment_names_are_in_the_code(monkeypatch):
    monkeypatch.setenv("XAIUTILS_WEIGHTS", "mine.safetensors")
    net = replace(load_model("squeezenet1_1", "random"), weights="mine.safetensors, sha256 12ab")
    work = Workload("photographs", net, [])
    assert expressions(net, work) == 'xai.load_model("squeezenet1_1", "mine.safetensors")'
    assert expressions(net) == "...  # fill in: the network 'squeezenet1_1'"


@pytest.mark.slow
def test_code_for_what_only_its_owner_has_says_what_to_fill_in():
    mine = wrap(CLASSIFIER.module, size=128, mean=(0.5,) * 3, std=(0.2,) * 3)
    array = np.asarray(SUBJECT.sample.image)
    for source in (SUBJECT.sample, array, None):
        work = load_workload("scenes", "duo") if source is None else None
        picture = pictures(source, work)[0].code
        text = code(View(), picture, networks(mine, (), None)[0].code)
        done = subprocess.run(  # in a process of its own, as a downloaded view.py is
            [sys.executable, "-c", text], capture_output=True, text=True, cwd=ROOT, check=False
        )
        missing = "classifier" if source is None else "picture"
        assert done.returncode == 1
        last = done.stderr.splitlines()[-1]
        assert last == f"ValueError: {missing} must be filled in above"
        filled = re.sub(r"^classifier = .*", "classifier = mine", text, flags=re.MULTILINE)
        if source is not None:
            filled = re.sub(r"^picture = .*", "picture = given", filled, flags=re.MULTILINE)
        space = {"mine": mine, "given": source}
        exec(filled.replace("xai.explore(", "found = xai.explore("), space)
        expected = explore(work.samples[0] if source is None else source, mine, static=True)
        assert png_bytes(space["found"]) == png_bytes(expected)


def test_a_link_holds_the_file():
    assert link("a.txt", "text/plain", b"abc") == (
        '<a download="a.txt" href="data:text/plain;base64,YWJj">a.txt</a> (0 KiB)'
    )


def test_curves_are_those_of_the_metrics():
    view = View(target=1)
    factors = compute(SUBJECT, view)
    found = curves(SUBJECT, view, factors, steps=8)
    assert list(found) == ["Grad-CAM++", "LRP (paper)", "hybrid"]
    expected = flipping_curve(
        SUBJECT.case.asking(1), factors.explanation.hybrid[0], "morf", steps=8, output="softmax"
    )
    assert found["hybrid"]["deletion"].area == expected.area


def test_a_map_of_zeros_has_no_curve():
    view = View(target=1, methods=("random_map",))
    factors = replace(compute(SUBJECT, view), maps={"random_map": torch.zeros(128, 128)})
    assert "random" not in " ".join(curves(SUBJECT, view, factors, steps=4)).lower()


# Pictures and networks


def test_a_folder_of_pictures(tmp_path):
    for name in ("b.png", "a.JPG"):
        PIL.Image.fromarray(SUBJECT.photo).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no picture")
    found = pictures(tmp_path, None)
    assert [one.label for one in found[:2]] == ["a.JPG", "b.png"]
    assert found[1].open().image.size == (128, 128)
    assert eval(found[1].code, {"xai": __import__("xaiutils")}).size == (128, 128)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="source must be a folder with pictures"):
        pictures(tmp_path / "empty", None)


def test_the_code_of_every_listed_picture_gives_it_again():
    work = load_workload("scenes", "duo")
    found = pictures(None, work)
    assert len(found) == LISTED + len(PHOTOGRAPHS)
    for one in (found[3], found[-1]):
        again = eval(one.code, {"xai": __import__("xaiutils")})
        assert again.id == one.open().id == one.label


def test_networks_have_names_of_their_own():
    assert [one.label for one in networks(CLASSIFIER, ["resnet18"], None)] == [
        "scenes_vgg_seed0",
        "resnet18",
    ]
    with pytest.raises(ValueError, match="models must have names of their own, got scenes_vgg"):
        networks(CLASSIFIER, [CLASSIFIER], None)
    with pytest.raises(TypeError, match="models must be classifiers or names, got"):
        networks(3, [], None)


def test_an_upload_that_is_no_picture_or_too_large_is_refused():
    with pytest.raises(ValueError, match=r"notes\.txt: source \(bytes\) must be a picture"):
        uploaded("notes.txt", b"not a picture at all")
    packed = io.BytesIO()
    PIL.Image.new("1", (8_100, 8_100)).save(packed, "PNG")
    with pytest.raises(ValueError, match=r"large\.png: .* at most 64000000 pixels"):
        uploaded("large.png", packed.getvalue())
