"""The explorer as a user touches it, without a browser: what a widget's value changes."""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import UTC, datetime
from threading import Event

import numpy as np
import PIL.Image
import pytest
import torch

from xaiutils import METHODS, explain, explore, load_model, wrap
from xaiutils.apps.explorer import View
from xaiutils.apps.explorer.sources import networks, pictures
from xaiutils.apps.explorer.widgets import Explorer
from xaiutils.cam import CAMS, Cam
from xaiutils.cases.workloads import Workload
from xaiutils.lrp.composites import COMPOSITES
from xaiutils.methods.record import CannotExplain
from xaiutils.pictures import scenes
from xaiutils.pictures.photographs import PHOTOGRAPHS
from xaiutils.plots.style import png_bytes
from xaiutils.support import asking

CLASSIFIER = load_model("scenes_vgg_seed0")


@pytest.fixture
def explorer():
    return explore(scenes.sample("duo", 3), CLASSIFIER, models=["scenes_resnet_seed0"])


def html_of(explorer):
    return {key: widget.value for key, widget in explorer._html.items()}


def test_a_slider_changes_what_it_must_and_asks_nothing(explorer):
    before = html_of(explorer)
    with asking.watch() as seen:
        explorer.controls.threshold.value = 0.5
    after = html_of(explorer)
    assert {key for key in after if after[key] != before[key]} == {"bounded", "product", "hybrid"}
    assert seen.images == 0
    expected = explain(CLASSIFIER, explorer.subject.case.x, threshold=0.5).hybrid[0]
    np.testing.assert_array_equal(explorer.tiles["hybrid"].panel.map, expected.double())
    explorer.controls.sigma.value = 4
    last = html_of(explorer)
    assert {key for key in last if last[key] != after[key]} == {"hybrid"}


def test_a_class_is_asked_once(explorer):
    first, second = (value for _, value in explorer.controls.target.options[:2])
    with asking.watch() as seen:
        explorer.controls.target.value = second
        explorer.controls.target.value = first
        explorer.controls.target.value = second
    assert seen.images == 1
    assert explorer.view.target == second
    assert CLASSIFIER.classes[second] in explorer.tiles["hybrid"].alt


def test_another_class_by_name_and_by_number(explorer):
    c = explorer.controls
    c.other.value = CLASSIFIER.classes[5]
    assert c.target.value == 5
    c.other.value = "4"
    assert c.target.value == 4
    assert c.other.value == ""
    shown = explorer.tiles["hybrid"]
    c.other.value = "unicorn"
    assert explorer.message.startswith("class must be a known name, got 'unicorn'")
    assert 'role="alert"' in explorer._say.value
    assert c.target.value == 4
    assert explorer.tiles["hybrid"].same(shown)
    c.threshold.value = 0.6  # it lives, and the message is gone
    assert explorer.message == ""
    assert not explorer.tiles["hybrid"].same(shown)


def test_a_contrast_comes_and_goes(explorer):
    c = explorer.controls
    c.contrast.value = c.contrast.options[2][1]
    assert "difference" in explorer.tiles
    assert len(explorer._gallery.children) == 8
    c.contrast.value = None
    assert "difference" not in explorer.tiles
    assert len(explorer._gallery.children) == 6


def test_a_contrast_at_the_beginning_chooses_no_class():
    explorer = explore(scenes.sample("duo", 3), CLASSIFIER, contrast=0)
    assert (explorer.view.target, explorer.view.contrast) == (explorer.subject.first, 0)
    assert explorer.tiles["difference"].panel.map.any()


def test_another_network_and_its_layers(explorer):
    c = explorer.controls
    c.model.value = "scenes_resnet_seed0"
    assert explorer.message == ""
    assert explorer.subject.classifier.name == "scenes_resnet_seed0"
    assert c.layer.value == explorer.subject.classifier.cam_layer
    before = explorer.tiles["cam"]
    c.layer.value = c.layer.options[0]
    assert not explorer.tiles["cam"].same(before)
    assert explorer.view.cam_layer == c.layer.options[0]


def test_a_network_that_does_not_load_is_said_and_taken_back():
    explorer = explore(scenes.sample("duo", 3), CLASSIFIER, models=["no_such_network"])
    explorer.controls.model.value = "no_such_network"
    assert "name must be a known name, got 'no_such_network'" in explorer.message
    assert explorer.controls.model.value == "scenes_vgg_seed0"
    explorer.controls.threshold.value = 0.4
    assert 'load_model("scenes_vgg_seed0")' in explorer.controls.code.value


def test_alpha_belongs_to_the_papers_composite(explorer):
    c = explorer.controls
    c.alpha.value = 2
    assert "alpha=2.0" in c.code.value
    c.composite.value = "epsilon"
    assert c.alpha.disabled
    assert "alpha" not in c.code.value
    assert explorer.message == ""


def test_an_upload(explorer):
    packed = io.BytesIO()
    PIL.Image.fromarray(scenes.render(scenes.scene("hard", 0))).save(packed, "PNG")
    send(explorer, "<i>mine</i>.png", packed.getvalue())
    assert explorer.message == ""
    assert explorer.controls.picture.value == "<i>mine</i>.png (uploaded)"
    assert explorer.controls.region.value == "none"  # nobody knows where its object is
    assert "<i>" not in "".join(html_of(explorer).values())
    shown = explorer.tiles["hybrid"]
    send(explorer, "notes.txt", b"some text")
    assert explorer.message.startswith("notes.txt: source (bytes) must be a picture")
    assert explorer.tiles["hybrid"].same(shown)
    PIL.Image.new("RGB", (30, 30)).save(packed := io.BytesIO(), "PNG")
    send(explorer, "<i>mine</i>.png", packed.getvalue())  # another file of the same name
    assert explorer.message == ""
    assert explorer.subject.sample.image.size == (30, 30)


def send(explorer, name, content):
    file = {"name": name, "type": "", "size": len(content), "content": memoryview(content)}
    explorer.controls.upload.value = (file | {"last_modified": datetime.now(UTC)},)


def test_a_box_of_mine(explorer):
    c = explorer.controls
    c.region.value = "box"
    assert explorer.view.region == (32.0, 32.0, 96.0, 96.0)
    c.across.value = (5, 20)
    assert explorer.tiles["hybrid"].panel.mask[:, 5:20].any(0).all()
    c.across.value = (20, 20)
    assert "region must be x0 < x1" in explorer.message
    c.across.value = (20, 30)
    assert explorer.message == ""


def test_a_slider_that_a_browser_shows_is_not_moved():
    """It sends the nearest step back, summed up as a browser does."""
    classifier = wrap(CLASSIFIER.module, size=150, mean=(0.5,) * 3, std=(0.2,) * 3)
    for view in ({}, {"threshold": 1 / 3, "sigma": 2.3, "clip": 97.7, "opacity": 0.33}):
        explorer = explore(scenes.sample("duo", 3), classifier, **view)
        before, shown = explorer.view, html_of(explorer)
        sent = {"threshold": 0.33 if view else 0.19999999999999996}
        sent |= {"opacity": 0.35 if view else 0.8000000000000002}
        sent |= {"sigma": 2.25, "clip": 97.5 if view else 99.00000000000001}
        for name, value in sent.items():
            getattr(explorer.controls, name).value = value
        assert explorer.view == before
        assert html_of(explorer) == shown
        explorer.controls.threshold.value = 0.06999999999999999  # moved by a user
        assert explorer.view.threshold == 0.07
        explorer.controls.threshold.value = 0.203  # set by code, between two steps
        assert explorer.view.threshold == 0.203
    explorer = explore(scenes.sample("duo", 3), classifier)
    explorer.controls.threshold.value = 0.19999999999999996
    assert "threshold" not in explorer.controls.code.value


# What a user has added


def mean_cam(a, g):
    return (a * g).mean(1)


@pytest.fixture
def own(monkeypatch):
    """A CAM, a composite and a method that the library does not bring, with odd names."""
    monkeypatch.setitem(CAMS, "my <cam>", Cam("my <cam>", mean_cam, "mine"))
    mine = replace(COMPOSITES["z"], name="$m$ & <rules>")
    monkeypatch.setitem(COMPOSITES, mine.name, mine)
    method = replace(METHODS["sobel_edges"], name='a"b', title="$my^$ <method>")
    monkeypatch.setitem(METHODS, method.name, method)


def test_a_cam_a_composite_and_a_method_of_the_users_are_shown(own):
    classes = ["<b>disc</b>", "a$b$c", *"cdef"]
    classifier = wrap(CLASSIFIER.module, classes, (0.5,) * 3, (0.2,) * 3, size=128)
    chosen = {"cam": "my <cam>", "composite": "$m$ & <rules>", "methods": ['a"b'], "target": 1}
    explorer = explore(scenes.sample("duo", 3), classifier, **chosen)
    explorer.wait()
    assert explorer.message == ""
    assert explorer.tiles["cam"].title == "my <cam>"
    expected = explain(classifier, explorer.subject.case.x, 1, cam="my <cam>", composite="z")
    for key in ("cam", "relevance", "hybrid"):
        found = explorer.tiles[key].panel.map
        np.testing.assert_array_equal(found, getattr(expected, key)[0].double())
    assert 'method-a"b' in explorer.tiles
    text = "".join(html_of(explorer).values()) + explorer._head.value
    assert not [tag for tag in ("<cam>", "<rules>", "<method>", "<b>disc") if tag in text]
    assert 'data-key="method-a&quot;b"' in text
    explorer.controls.draw.click()
    explorer.controls.pack.click()
    assert explorer.message == ""
    static = explore(scenes.sample("duo", 3), classifier, static=True, **chosen)
    assert png_bytes(static) == png_bytes(explorer.static())


def test_every_layer_cam_and_composite_of_the_lists_can_be_chosen(own, explorer):
    c = explorer.controls
    for title, name in c.cam.options:
        assert title
        c.cam.value = name
        assert explorer.view.cam == name or "cam" in explorer.message
    c.composite.value = "$m$ & <rules>"
    assert explorer.message == ""
    assert explorer.tiles["relevance"].title == "$m$ & <rules>"


@pytest.mark.parametrize("kind", ["cam", "composite"])
def test_a_record_in_the_place_of_a_name_is_said(kind):
    given = {"cam": Cam("mine", mean_cam, "mine"), "composite": COMPOSITES["z"]}[kind]
    with pytest.raises(TypeError, match=f"put it into {kind.upper()}S under a name of yours"):
        explore(scenes.sample("duo", 3), CLASSIFIER, **{kind: given})


def test_two_pictures_of_one_name_are_both_there():
    sample = scenes.sample("duo", 3)
    twin = replace(scenes.sample("duo", 4), id="chelsea")  # as one of scikit-image's is called
    work = Workload("mine", CLASSIFIER, [sample, sample, twin], source="m:f")
    explorer = Explorer(pictures(None, work), networks(None, (), work), View())
    labels = list(explorer.controls.picture.options)
    assert labels[:3] == [sample.id, f"{sample.id} (2)", "chelsea"]
    assert "chelsea (2)" in labels
    assert len(labels) == 3 + len(PHOTOGRAPHS)


# Slow methods


def test_methods_are_computed_in_the_background(explorer):
    c = explorer.controls
    c.methods.value = ("saliency", "sobel_edges")
    c.run.click()
    explorer.wait()
    assert {"method-saliency", "method-sobel_edges"} <= set(explorer.tiles)
    assert (c.run.disabled, c.stop.disabled, c.progress.description) == (False, True, "idle")
    expected = METHODS["saliency"](CLASSIFIER, explorer.subject.case.x)[0]
    np.testing.assert_array_equal(explorer.tiles["method-saliency"].panel.map, expected.double())
    with asking.watch() as seen:
        c.inside.value = True
    assert seen.images == 0
    assert "in figure" in explorer.tiles["method-saliency"].title
    c.methods.value = ()
    c.inside.value = False
    assert "method-saliency" not in explorer.tiles


def test_nothing_chosen_is_said(explorer):
    explorer.controls.run.click()
    assert explorer.message.startswith("methods must be one or more, got none")


def test_a_method_that_fails_is_said_and_the_others_go_on(explorer, monkeypatch):
    def fails(classifier, x, target):
        raise ZeroDivisionError("by <zero>")

    def refuses(classifier, x, target):
        raise CannotExplain("not this network")

    for name, function in (("occlusion", fails), ("lime", refuses)):
        plain = {"settings": {}, "needs": (), "stochastic": False}
        monkeypatch.setitem(METHODS, name, replace(METHODS[name], function=function, **plain))
    c = explorer.controls
    c.methods.value = ("lime", "occlusion", "sobel_edges")
    c.run.click()
    explorer.wait()
    assert f"{METHODS['lime'].title}: not this network" in explorer.message
    assert f"{METHODS['occlusion'].title}: by <zero>" in explorer.message
    assert "<zero>" not in explorer._say.value
    assert "method-sobel_edges" in explorer.tiles
    assert not c.run.disabled


@pytest.fixture
def endless(explorer, monkeypatch):
    """An explorer in which a method runs that ends only when it is stopped."""
    started = Event()

    def slow(classifier, x, target):
        while True:
            started.set()
            classifier.predict(x + torch.rand(()))

    # So many are expected that the bar never comes to its end.
    method = replace(METHODS["occlusion"], function=slow, settings={}, passes="1e6 * F")
    monkeypatch.setitem(METHODS, "occlusion", method)
    explorer.controls.methods.value = ("occlusion",)
    explorer.controls.run.click()
    assert started.wait(30)
    yield explorer
    explorer.controls.stop.click()  # else it would run beside all later tests
    explorer.wait(30)


def test_a_slow_method_shows_progress_and_is_cancelled(endless):
    c = endless.controls
    moved = Event()
    c.progress.observe(lambda change: moved.set(), "value")
    c.threshold.value = 0.5  # sliders answer meanwhile
    assert endless.view.threshold == 0.5
    assert c.run.disabled
    assert moved.wait(30)
    c.stop.click()
    endless.wait(30)
    assert endless.message.startswith("cancelled")
    assert c.stop.disabled


def test_a_new_class_stops_what_runs(endless):
    c = endless.controls
    c.target.value = c.target.options[1][1]
    endless.wait(30)
    assert endless.view.target == c.target.options[1][1]
    assert CLASSIFIER.classes[endless.view.target] in endless.tiles["hybrid"].alt


# The same elsewhere


def test_the_static_view_is_the_code_and_the_code_is_the_view():
    explorer = explore(threshold=0.3, contrast=2, methods=["sobel_edges"])
    explorer.wait()
    explorer.controls.positive.value = True
    assert "alpha" not in explorer.controls.code.value  # only what was chosen
    space = {}
    exec(explorer.controls.code.value.replace("xai.explore(", "found = xai.explore("), space)
    assert png_bytes(space["found"]) == png_bytes(explorer.static())


def test_what_is_chosen_at_the_beginning_is_what_is_shown():
    view = {
        "target": 3,
        "contrast": 1,
        "threshold": 0.35,
        "sigma": 20.0,
        "composite": "z",
        "cam": "layer_cam",
        "cam_layer": "features.0",
        "positive": True,
        "clip": 95.0,
        "opacity": 0.3,
        "region": (1.0, 2.0, 30.0, 40.0),
        "inside": True,
    }
    explorer = explore(scenes.sample("duo", 3), CLASSIFIER, **view)
    for name, value in view.items():
        assert getattr(explorer.view, name) == value, name


def test_files_are_in_the_page(explorer):
    explorer.controls.pack.click()
    links = explorer._links.value
    for name in ("view.png", "view.npz", "view.py"):
        assert f'download="{name}"' in links
    assert links.count("data:") == 3
    explorer.controls.draw.click()
    assert explorer._chart.value.count("<img") == 2
    assert "insertion curves" in explorer._chart.value
    assert explorer.message == ""


def test_back_to_the_beginning(explorer):
    before = explorer.view
    c = explorer.controls
    c.threshold.value, c.sigma.value, c.composite.value = 0.7, 5, "z"
    c.target.value, c.contrast.value = c.target.options[3][1], c.target.options[1][1]
    c.methods.value, c.layer.value = ("lime",), c.layer.options[0]
    c.region.value = "none"
    c.reset.click()
    assert explorer.view == before
    assert explorer.tiles["hybrid"].panel.map.max() > 0


def test_every_control_has_a_label(explorer):
    for name, widget in vars(explorer.controls).items():
        if name.startswith("_"):
            continue
        assert widget.description, name


def test_the_callers_network_and_random_state_stay_as_they_were():
    module = CLASSIFIER.module
    before = {key: value.clone() for key, value in module.state_dict().items()}
    torch.manual_seed(3)
    state = torch.get_rng_state()
    explorer = explore(scenes.sample("duo", 3), CLASSIFIER, methods=["gradient_shap"])
    explorer.wait()
    explorer.controls.draw.click()
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[key]) for key, value in module.state_dict().items())
    assert all(parameter.grad is None for parameter in module.parameters())
    assert not any(m._forward_hooks or m._backward_hooks for m in module.modules())
