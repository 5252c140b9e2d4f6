"""What can be set in the explorer: the widgets, their labels, and how they stand on the page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ipywidgets as w

from xaiutils.apps.explorer.choices import OBJECT, View
from xaiutils.apps.explorer.subject import Subject
from xaiutils.cam import CAMS
from xaiutils.hybrid import SIGMA_SHARE, THRESHOLD
from xaiutils.lrp.composites import COMPOSITES
from xaiutils.methods import METHODS
from xaiutils.methods.own import title_of
from xaiutils.network.cam_layer import blocks
from xaiutils.pictures.decode import ENDINGS
from xaiutils.pictures.images import Box

NONE, BOX = "none", "box"
CSS = """
.xai-explorer { max-width: 1400px; }
.xai-group { flex: 1 1 300px; min-width: 0; }
.xai-controls { flex-flow: row wrap; gap: 4px 24px; overflow: visible; }
.xai-tiles { display: grid !important; gap: 8px; overflow: visible;
  grid-template-columns: repeat(auto-fill, minmax(min(165px, 42vw), 1fr)); }
.xai-tiles > * { min-width: 0; max-width: 260px; overflow: visible; }
.xai-group .widget-inline-hbox, .xai-group .jupyter-widgets { max-width: 100%; }
.xai-group h3 { margin: 8px 0 2px; font-size: 14px; }
.xai-tile { margin: 0; line-height: 1.3; }
.xai-tile figcaption { font-weight: 600; font-size: 13px; white-space: nowrap; overflow: hidden;
  text-overflow: ellipsis; }
.xai-tile div { position: relative; }
.xai-tile img { width: 100%; display: block; image-rendering: pixelated; }
.xai-tile svg { position: absolute; inset: 0; width: 100%; height: 100%; overflow: visible; }
.xai-tile path { fill: none; stroke: #fff; stroke-width: 1.1px; vector-effect: non-scaling-stroke; }
.xai-tile path.xai-under { stroke: #000; stroke-width: 2.9px; }
.xai-tile p { margin: 0; font-size: 12px; }
.xai-say { color: #a40000; font-weight: 600; }
.xai-explorer img.xai-chart { max-width: 100%; }
.xai-explorer :focus-visible { outline: 2px solid #0072B2; outline-offset: 1px; }
"""
WIDE = w.Layout(width="auto", min_width="0")
LABELS = {"description_width": "88px"}


class Controls:
    """All widgets; their values are read by the explorer."""

    def __init__(self) -> None:
        self._exact: dict[str, float] = {}  # what sliders were set to
        self.picture, self.model = _drop("picture"), _drop("network")
        self.upload = w.FileUpload(
            accept=",".join(("image/*", *ENDINGS)), description="upload a picture", layout=WIDE
        )
        self.target, self.contrast = _drop("class"), _drop("contrast")
        self.other = w.Combobox(
            description="other class", placeholder="name or number", continuous_update=False,
            layout=WIDE, style=LABELS,
        )  # fmt: skip
        self.threshold = _slide("threshold", THRESHOLD, 0, 0.95, 0.01)
        self.sigma = _slide("σ, pixels", 1, 0, 8, 0.25)
        self.cam = _drop("CAM", [(title_of(name), name) for name in CAMS])
        self.layer = _drop("CAM layer")
        self.composite = _drop("composite", [(title_of(name), name) for name in COMPOSITES])
        self.alpha = _slide("α (β = α − 1)", 1, 1, 3, 0.5)
        self.positive = _check("positive part only")
        self.clip = _slide("colour clip, %", 99, 90, 100, 0.5)
        self.opacity = _slide("opacity", 0.8, 0, 1, 0.05)
        self.region = _drop("score inside")
        self.across, self.down = _range("box across"), _range("box down")
        self.methods = w.SelectMultiple(
            description="methods", rows=7, layout=WIDE, style=LABELS,
            options=sorted((f"{one.family}: {one.title}", name) for name, one in METHODS.items()),
        )  # fmt: skip
        self.inside = _check("put them inside the figure")
        self.run, self.stop = _press("explain by these", "primary"), _press("cancel", disabled=True)
        self.progress = w.IntProgress(description="idle", layout=WIDE, style=LABELS)
        self.draw = _press("insertion and deletion curves")
        self.pack = _press("prepare PNG and NPZ")
        self.reset = _press("back to the beginning")
        self.code = w.Textarea(description="code", rows=9, disabled=True, layout=WIDE, style=LABELS)

    def groups(self) -> list[tuple[str, list[w.Widget]]]:
        """Titles and what stands below them."""
        return [
            (
                "Picture and class",
                [self.picture, self.upload, self.model, self.target, self.other, self.contrast],
            ),
            (
                "Hybrid",
                [self.threshold, self.sigma, self.cam, self.layer, self.composite, self.alpha],
            ),
            (
                "Look and score",
                [self.positive, self.clip, self.opacity, self.region, self.across, self.down],
            ),
            (
                "Other methods",
                [self.methods, self.inside, w.HBox([self.run, self.stop]), self.progress],
            ),
        ]

    def begin(self, subject: Subject, view: View) -> None:
        """Set everything as a view says."""
        self.fit(subject, view.region)
        for one in (view.contrast, view.target):
            if one is not None:
                self.add_class(subject, one)
        self.contrast.value, self.cam.value = view.contrast, view.cam
        self.composite.value, self.positive.value = view.composite, view.positive
        self.methods.value, self.inside.value = view.methods, view.inside
        for name in ("threshold", "alpha", "clip", "opacity"):
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

    def add_class(self, subject: Subject, target: int) -> None:
        """Choose a class that need not be among the likeliest."""
        if target not in [index for _, index in self.target.options]:
            said = (subject.say(target), target)
            for one in (self.target, self.contrast):
                choose(one, [*one.options, said], one.value)
        self.target.value = target

    def view(self, subject: Subject) -> View:
        """Everything that is chosen, as a value; what is usual is None."""
        region: str | Box | None = OBJECT if self.region.value == OBJECT else None
        if self.region.value == BOX:
            (x0, x1), (y0, y1) = self.across.value, self.down.value
            region = (float(x0), float(y0), float(x1), float(y1))
        usual = len(subject.photo) * SIGMA_SHARE
        own = subject.classifier.cam_layer
        return View(
            target=self.target.value,
            contrast=self.contrast.value,
            threshold=self._at("threshold"),
            sigma=None if self._at("sigma") == usual else self._at("sigma"),
            composite=self.composite.value,
            alpha=self._at("alpha") if self.composite.value == "paper" else 1.0,
            cam=self.cam.value,
            cam_layer=None if self.layer.value == own else self.layer.value,
            methods=tuple(self.methods.value),
            inside=self.inside.value,
            positive=self.positive.value,
            clip=self._at("clip"),
            opacity=self._at("opacity"),
            region=region,
        )


def choose(list_: w.Dropdown, options: Sequence[Any], *value: Any) -> None:
    """Set a list and what is chosen in it, by default the first."""
    list_.options = options
    if value:
        list_.value = value[0]
    else:
        list_.index = 0


def boxes(controls: Controls) -> w.Box:
    """The groups side by side, one below the other where there is no room."""
    found = []
    for title, content in controls.groups():
        group = w.VBox([w.HTML(f"<h3>{title}</h3>"), *content])
        found.append(group.add_class("xai-group"))
    return w.Box(found).add_class("xai-controls")


def style() -> w.HTML:
    """The sheet."""
    return w.HTML(f"<style>{CSS}</style>", layout=w.Layout(display="none"))


def _drop(label: str, options: Sequence[object] = ()) -> w.Dropdown:
    return w.Dropdown(description=label, options=options, layout=WIDE, style=LABELS)


def _slide(label: str, value: float, low: float, high: float, step: float) -> w.FloatSlider:
    return w.FloatSlider(
        value, min=low, max=high, step=step, description=label, layout=WIDE, style=LABELS
    )


def _range(label: str) -> w.IntRangeSlider:
    return w.IntRangeSlider(
        value=(16, 48), min=0, max=64, description=label, layout=WIDE, style=LABELS
    )


def _check(label: str) -> w.Checkbox:
    return w.Checkbox(False, description=label, indent=False, layout=WIDE)


def _press(label: str, style: str = "", disabled: bool = False) -> w.Button:
    return w.Button(
        description=label, button_style=style, disabled=disabled, layout=w.Layout(width="auto")
    )
