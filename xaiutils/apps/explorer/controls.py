"""What can be set in the explorer: the widgets, their labels, and how they stand on the page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ipywidgets as w

from xaiutils.apps.explorer.view import OBJECT, Subject, View
from xaiutils.cam import CAMS
from xaiutils.hybrid import SIGMA_SHARE
from xaiutils.lrp.composites import COMPOSITES
from xaiutils.methods import METHODS
from xaiutils.methods.own import title_of
from xaiutils.network.cam_layer import blocks
from xaiutils.pictures.decode import ENDINGS
from xaiutils.pictures.images import Box

NONE, BOX = "none", "box"
WIDE = w.Layout(width="auto", min_width="0")
LOOK = {"layout": WIDE, "style": {"description_width": "88px"}}
# What a view calls as the widgets do.
CHOSEN = ("target", "contrast", "cam", "composite", "positive", "methods", "inside")
SLIDERS = ("threshold", "alpha", "clip", "opacity")


class Controls:
    """All widgets; their values are read by the explorer."""

    def __init__(self) -> None:
        usual = View()
        self._exact: dict[str, float] = {}  # what sliders were set to
        self.picture, self.model = _drop("picture"), _drop("network")
        self.upload = w.FileUpload(
            accept=",".join(("image/*", *ENDINGS)), description="upload a picture", layout=WIDE
        )
        self.target, self.contrast = _drop("class"), _drop("contrast")
        self.other = w.Combobox(
            description="other class", placeholder="name or number", continuous_update=False, **LOOK
        )
        self.threshold = _slide("threshold", usual.threshold, 0, 0.95, 0.01)
        self.sigma = _slide("σ, pixels", 1, 0, 8, 0.25)
        self.cam = _drop("CAM", [(title_of(name), name) for name in CAMS])
        self.layer = _drop("CAM layer")
        self.composite = _drop("composite", [(title_of(name), name) for name in COMPOSITES])
        self.alpha = _slide("α (β = α − 1)", usual.alpha, 1, 3, 0.5)
        self.positive = _check("positive part only")
        self.clip = _slide("colour clip, %", usual.clip, 90, 100, 0.5)
        self.opacity = _slide("opacity", usual.opacity, 0, 1, 0.05)
        self.region = _drop("score inside")
        self.across, self.down = _range("box across"), _range("box down")
        titles = sorted((f"{one.family}: {one.title}", name) for name, one in METHODS.items())
        self.methods = w.SelectMultiple(description="methods", rows=7, options=titles, **LOOK)
        self.inside = _check("put them inside the figure")
        self.run, self.stop = _press("explain by these", "primary"), _press("cancel", disabled=True)
        self.progress = w.IntProgress(description="idle", **LOOK)
        self.draw = _press("insertion and deletion curves")
        self.pack = _press("prepare PNG and NPZ")
        self.reset = _press("back to the beginning")
        self.code = w.Textarea(description="code", rows=9, disabled=True, **LOOK)

    def boxes(self) -> w.Box:
        """The groups side by side, one below the other where there is no room."""
        picture = [self.picture, self.upload, self.model, self.target, self.other, self.contrast]
        hybrid = [self.threshold, self.sigma, self.cam, self.layer, self.composite, self.alpha]
        look = [self.positive, self.clip, self.opacity, self.region, self.across, self.down]
        methods = [self.methods, self.inside, w.HBox([self.run, self.stop]), self.progress]
        titles = ("Picture and class", "Hybrid", "Look and score", "Other methods")
        groups = [
            w.VBox([w.HTML(f"<h3>{title}</h3>"), *one]).add_class("xai-group")
            for title, one in zip(titles, (picture, hybrid, look, methods), strict=True)
        ]
        return w.Box(groups).add_class("xai-controls")

    def begin(self, subject: Subject, view: View) -> None:
        """Set everything as a view says."""
        self.fit(subject, view.region)
        target = subject.first if view.target is None else view.target
        self.add_classes(subject, target, view.contrast)
        for name in CHOSEN:
            getattr(self, name).value = target if name == "target" else getattr(view, name)
        for name in SLIDERS:
            self._slide_to(name, getattr(view, name))
        if view.sigma is not None:
            self.sigma.max = max(self.sigma.max, view.sigma)
            self._slide_to("sigma", view.sigma)
        if view.cam_layer is not None:
            layers = dict.fromkeys((*self.layer.options, view.cam_layer))
            choose(self.layer, list(layers), view.cam_layer)

    def fit(self, subject: Subject, region: str | Box | None = OBJECT) -> None:
        """Set what depends on picture and network."""
        classifier, (height, width) = subject.classifier, subject.photo.shape[:2]
        self.sigma.max = max(2.0, height / 8)
        self._slide_to("sigma", height * SIGMA_SHARE)
        for slider, size in ((self.across, width), (self.down, height)):
            slider.max = size
            slider.value = (size // 4, size - size // 4)
        known = subject.case.has("mask")
        regions = [("the object", OBJECT)] if known else []
        choose(self.region, [*regions, ("a box of mine", BOX), ("nothing", NONE)], NONE)
        if isinstance(region, tuple):
            x0, y0, x1, y1 = (round(edge) for edge in region)
            self.across.value, self.down.value, self.region.value = (x0, x1), (y0, y1), BOX
        elif known and region == OBJECT:
            self.region.value = OBJECT
        layers = [step.path for step in blocks(classifier.graph, classifier.cam_layer)]
        choose(self.layer, layers, classifier.cam_layer)
        likeliest = [(subject.say(i), i) for i in subject.likeliest(5)]
        choose(self.target, likeliest)
        choose(self.contrast, [("none", None), *likeliest])
        self.other.options = [str(name) for name in classifier.classes]

    def add_classes(self, subject: Subject, *targets: int | None) -> None:
        """List classes that need not be among the likeliest."""
        for target in targets:
            known = [index for _, index in self.target.options]
            if target is not None and target not in known:
                for one in (self.target, self.contrast):
                    choose(one, [*one.options, (subject.say(target), target)], one.value)

    def _slide_to(self, name: str, value: float) -> None:
        self._exact[name] = value
        getattr(self, name).value = value

    def _at(self, name: str) -> float:
        """Where a slider stands.

        A browser that shows it sends the nearest of its steps back, as a sum: 0.19999999999999996
        for 0.2, and 4.75 for a σ of 4.67, although nobody has moved it.
        """
        slider, exact = getattr(self, name), self._exact.get(name)
        steps = (slider.value - slider.min) / slider.step
        if abs(steps - round(steps)) > 1e-6:
            return float(slider.value)
        if exact is not None and abs(slider.value - exact) < slider.step * 0.500001:
            return exact
        return round(slider.value, 9)

    def view(self, subject: Subject) -> View:
        """Everything that is chosen, as a value; what is usual is None."""
        region: str | Box | None = OBJECT if self.region.value == OBJECT else None
        if self.region.value == BOX:
            (x0, x1), (y0, y1) = self.across.value, self.down.value
            region = (float(x0), float(y0), float(x1), float(y1))
        sigma, own = self._at("sigma"), subject.classifier.cam_layer
        chosen = {name: getattr(self, name).value for name in CHOSEN}
        chosen |= {name: self._at(name) for name in SLIDERS}
        chosen |= {} if self.composite.value == "paper" else {"alpha": 1.0}
        return View(
            **chosen,
            sigma=None if sigma == len(subject.photo) * SIGMA_SHARE else sigma,
            cam_layer=None if self.layer.value == own else self.layer.value,
            region=region,
        )


def choose(list_: w.Dropdown, options: Sequence[Any], *value: Any) -> None:
    """Set a list and what is chosen in it, by default the first."""
    list_.options = options
    if value:
        list_.value = value[0]
    else:
        list_.index = 0


def style() -> w.HTML:
    """The sheet."""
    css = Path(__file__).with_name("style.css").read_text("utf-8")
    return w.HTML(f"<style>\n{css}</style>", layout=w.Layout(display="none"))


def _drop(label: str, options: Sequence[object] = ()) -> w.Dropdown:
    return w.Dropdown(description=label, options=options, **LOOK)


def _slide(label: str, value: float, low: float, high: float, step: float) -> w.FloatSlider:
    return w.FloatSlider(value, min=low, max=high, step=step, description=label, **LOOK)


def _range(label: str) -> w.IntRangeSlider:
    return w.IntRangeSlider(value=(16, 48), min=0, max=64, description=label, **LOOK)


def _check(label: str) -> w.Checkbox:
    return w.Checkbox(description=label, indent=False, layout=WIDE)


def _press(label: str, style: str = "", disabled: bool = False) -> w.Button:
    return w.Button(
        description=label, button_style=style, disabled=disabled, layout=w.Layout(width="auto")
    )
