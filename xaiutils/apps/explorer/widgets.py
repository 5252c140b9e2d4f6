"""The explorer itself: ipywidgets over `xaiutils.apps.explorer.view`.

Pictures are HTML with alternative text, whose source is the PNG itself: nothing is printed, so that
JupyterLab, VS Code, Colab and Voila show the same. Whatever goes wrong is said in the page.
"""

from __future__ import annotations

import html
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from threading import RLock
from typing import Any

import ipywidgets as w
from torch import Tensor

from xaiutils.apps.explorer import output
from xaiutils.apps.explorer.choices import View
from xaiutils.apps.explorer.controls import Controls, boxes, choose, style
from xaiutils.apps.explorer.jobs import Worker, explain_each, words
from xaiutils.apps.explorer.sources import Choice, uploaded
from xaiutils.apps.explorer.subject import Factors, Subject, compute, with_maps
from xaiutils.apps.explorer.view import Tile, curves, tiles
from xaiutils.methods import METHODS
from xaiutils.network.classifier import VALUE, Classifier
from xaiutils.pictures.images import Sample
from xaiutils.plots.style import Figure
from xaiutils.support.asking import Cancelled

KEPT = 32  # explanations, so that going back to a class or picture costs nothing
ASKS = ("target", "contrast", "composite", "alpha", "cam", "layer")
SHOWS = ("threshold", "sigma", "positive", "clip", "opacity", "region", "across", "down", "inside")


class Explorer(w.VBox):
    """Pictures, networks and every setting of the hybrid, to be tried; a widget.

    Attributes:
        controls: The widgets, by name; setting a value is what a mouse would do.
        view: What is chosen now. subject: The picture and network that are shown.
        factors: What the network was asked for. tiles: What is shown.
        message: What went wrong last, in words; empty otherwise.
    """

    def __init__(
        self, pictures: Sequence[Choice], networks: Sequence[Choice], view: View, **options: Any
    ) -> None:
        self.controls = Controls()
        self._pictures = _labelled(pictures)
        self._networks = {one.label: one for one in networks}
        self._kept: OrderedDict[Any, Factors] = OrderedDict()
        self._maps: dict[Any, Tensor] = {}
        self._loaded: dict[str, Any] = {}
        self._still = False  # while widgets are set by us and not by a user
        self._drawing = RLock()
        self._worker = Worker()
        self._html: dict[str, w.HTML] = {}
        self.tiles: dict[str, Tile] = {}
        self.message = ""
        self._say, self._head, self._ledger = w.HTML(), w.HTML(), w.HTML()
        self._chart, self._links = w.HTML(), w.HTML()
        self._gallery = w.Box().add_class("xai-tiles")
        c = self.controls
        tools = w.HBox([c.draw, c.pack, c.reset])
        rows = [style(), self._head, self._gallery, self._ledger, self._say, boxes(c)]
        super().__init__([*rows, tools, self._chart, self._links, c.code], **options)
        self.add_class("xai-explorer")
        self._begin(view)
        for names, react in (
            (("picture", "model"), self._open),
            (ASKS, self._ask),
            (SHOWS, self._show),
        ):
            for name in names:
                getattr(c, name).observe(partial(self._on, react), "value")
        c.upload.observe(partial(self._on, self._take_upload), "value")
        c.other.observe(partial(self._on, self._take_class), "value")
        for button, react in (
            (c.run, self._run),
            (c.stop, self._worker.stop),
            (c.draw, self._draw_curves),
            (c.pack, self._pack),
            (c.reset, self._reset),
        ):
            button.on_click(partial(self._on, react))

    @property
    def view(self) -> View:
        """Everything that is chosen, as a value."""
        return self.controls.view(self.subject)

    def static(self) -> Figure:
        """The same view as a figure."""
        return output.figure(self.subject, self.view, self.factors)

    def wait(self, seconds: float = 600) -> None:
        """Until the methods that run in the background are done."""
        if self._worker.future is not None:
            self._worker.future.result(seconds)

    # What a user does

    def _on(self, react: Callable[[], None], _: Any = None) -> None:
        """React to a user, and say what went wrong instead of dying of it."""
        if self._still:
            return
        try:
            self._tell("")
            react()
        except Cancelled:
            pass
        except Exception as error:  # a widget that raises looks dead
            self._fail(error)

    def _open(self) -> None:
        """Another picture or network."""
        self._worker.stop()
        c = self.controls
        subject = Subject(self._network(c.model.value), self._picture(c.picture.value))
        with self._set():
            self.controls.fit(subject)
        self.subject = subject
        self._ask()

    def _ask(self) -> None:
        """Another class, composite, CAM or layer: the network is asked."""
        view, c = self.view, self.controls
        c.alpha.disabled = view.composite != "paper"
        key = (c.picture.value, c.model.value, *view.factors)
        if key not in self._kept:
            self._worker.stop()
            with self._worker.network:
                self._kept[key] = compute(self.subject, view)
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        self.factors = self._kept[key]
        names = ("picture", "model", *ASKS)
        self._worked = self.subject, {name: getattr(c, name).value for name in names}
        self._show()

    def _show(self) -> None:
        """Draw what changed; the network is not asked."""
        with self._drawing:
            view = self.view
            place = (self.controls.picture.value, self.controls.model.value, self.factors.target)
            known = {
                name: self._maps[*place, name]
                for name in view.methods
                if (*place, name) in self._maps
            }
            self.factors = with_maps(self.factors, known)
            found = tiles(self.subject, view, self.factors)
            for tile in found:
                if not tile.same(self.tiles.get(tile.key)):
                    if tile.key not in self._html:
                        self._html[tile.key] = w.HTML()
                    self._html[tile.key].value = output.tile_html(tile)
            shown = tuple(self._html[tile.key] for tile in found)
            if shown != self._gallery.children:
                self._gallery.children = shown
            self.tiles = {tile.key: tile for tile in found}
            self._head.value = (
                f"<b>{html.escape(output.headline(self.subject, view, self.factors))}</b>"
            )
            noted = output.notes(self.subject, view, self.factors)
            self._ledger.value = html.escape(". ".join((output.spent(self.factors), *noted)))
            self.controls.code.value = self._code(view)

    def _take_upload(self) -> None:
        files = self.controls.upload.value
        with self._set():
            self.controls.upload.value = ()  # so that the same file can be sent again
        for file in files:
            choice = uploaded(file["name"], bytes(file["content"]))
            self._pictures[choice.label] = choice
            self._kept.clear()  # another file may have come under the same name
            self._maps.clear()
            with self._set():
                choose(self.controls.picture, list(self._pictures), choice.label)
            self._open()

    def _take_class(self) -> None:
        text = self.controls.other.value.strip()
        if text:
            target = self.subject.classifier.class_index(text)
            with self._set():
                self.controls.add_class(self.subject, target)
                self.controls.other.value = ""
            self._ask()

    # Slow methods

    def _run(self) -> None:
        c = self.controls
        names = list(c.methods.value)
        if not names:
            raise ValueError("methods must be one or more, got none")
        place = (c.picture.value, c.model.value, self.factors.target)
        todo = [name for name in names if (*place, name) not in self._maps]
        self._busy(True)
        self._worker.start(partial(self._explain, todo, place, self.subject))

    def _explain(
        self, names: Sequence[str], place: tuple[Any, ...], subject: Subject,
        stopped: Callable[[], bool],
    ) -> None:  # fmt: skip
        """In the worker's thread."""
        self._busy(True)  # the one that was stopped has just said that it is done
        try:
            ask = partial(self._progress, classifier=subject.classifier)
            said = explain_each(
                names, subject.classifier, subject.case.x, place[-1], stopped, ask,
                lambda name, map: self._maps.update({(*place, name): map}), self._worker.network,
            )  # fmt: skip
            self._tell("; ".join(said))
            self._show()
        except Exception as error:
            self._fail(error)
        finally:
            self._busy(False)

    def _progress(self, name: str, classifier: Classifier) -> Callable[[int], None]:
        bar, expected = self.controls.progress, METHODS[name].expected(classifier)
        bar.max, bar.value, bar.description = expected or 1, 0, METHODS[name].title

        def show(images: int) -> None:
            bar.value = min(images, bar.max)

        return show

    def _busy(self, busy: bool) -> None:
        c = self.controls
        c.run.disabled, c.stop.disabled = busy, not busy
        if not busy:
            c.progress.value, c.progress.description = 0, "idle"

    # Curves and files

    def _draw_curves(self) -> None:
        with self._worker.network:
            found = curves(self.subject, self.view, self.factors)
        said = output.headline(self.subject, self.view, self.factors)
        label = self.subject.classifier.classes[self.factors.target]
        if self.subject.classifier.outputs != VALUE:
            label = f"probability of {label}"
        self._chart.value = (
            f"<p>Curves for {html.escape(said)}</p>{output.curves_html(found, label)}"
        )

    def _pack(self) -> None:
        code = self.controls.code.value
        self._links.value = output.links(self.static(), self.arrays(), code)

    def arrays(self) -> bytes:
        """All maps, the picture and the view, as an NPZ file."""
        return output.arrays(self.subject, self.view, self.factors)

    # Inside

    def _reset(self) -> None:
        with self._set():
            self.controls.begin(self.subject, replace(self._first, target=None, contrast=None))
        self._ask()

    def _begin(self, view: View) -> None:
        c, self._first = self.controls, view
        with self._set():
            choose(c.picture, list(self._pictures))
            choose(c.model, list(self._networks))
            self.subject = Subject(self._network(c.model.value), self._picture(c.picture.value))
            c.begin(self.subject, view)
        self._ask()
        if view.methods:
            self._run()

    def _network(self, label: str) -> Classifier:
        if label not in self._loaded:
            self._loaded[label] = self._networks[label].open()
        return self._loaded[label]

    def _picture(self, label: str) -> Sample:
        return self._pictures[label].open()

    def _code(self, view: View) -> str:
        c = self.controls
        picture, network = self._pictures[c.picture.value].code, self._networks[c.model.value].code
        if view.target == self.subject.first:
            view = replace(view, target=None)
        return output.code(view, picture, network)

    @contextmanager
    def _set(self) -> Iterator[None]:
        """Widgets are set without being reacted to."""
        before, self._still = self._still, True
        try:
            yield
        finally:
            self._still = before

    def _tell(self, text: str) -> None:
        self.message = text
        said = f'<span role="alert" class="xai-say">{html.escape(text)}</span>'
        self._say.value = said if text else ""

    def _fail(self, error: Exception) -> None:
        """Say it, and take the choice back: what is shown belongs to what is chosen."""
        self._tell(f"{words(error)}. The last choice that worked is kept.")
        subject, values = self._worked
        with self._set():
            if subject is not self.subject:
                self.subject = subject
                self.controls.fit(subject)
            for one in ("contrast", "target"):
                if values[one] is not None:
                    self.controls.add_class(subject, values[one])
            for name, value in values.items():
                getattr(self.controls, name).value = value


def _labelled(choices: Sequence[Choice]) -> dict[str, Choice]:
    """By label; a second of one label gets a number, or it would take the first one's place."""
    found: dict[str, Choice] = {}
    for one in choices:
        label, count = one.label, 1
        while label in found:
            count += 1
            label = f"{one.label} ({count})"
        found[label] = one
    return found
