"""The explorer itself: ipywidgets over `xaiutils.apps.explorer.view`.

Pictures are HTML with alternative text, whose source is the PNG itself: nothing is printed, so that
JupyterLab, VS Code, Colab and Voila show the same. Whatever goes wrong is said in the page.
"""

from __future__ import annotations

import html
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache, partial
from threading import Event, Lock, RLock
from typing import Any

import ipywidgets as w
from torch import Tensor

from xaiutils.apps.explorer import output
from xaiutils.apps.explorer.controls import Controls, choose, style
from xaiutils.apps.explorer.sources import Choice, uploaded
from xaiutils.apps.explorer.view import Factors, Subject, Tile, View, compute, curves, tiles
from xaiutils.methods import METHODS
from xaiutils.network.classifier import VALUE
from xaiutils.plots.style import Figure
from xaiutils.support.asking import Cancelled, watch

KEPT = 32  # explanations, so that going back to a class or picture costs nothing
EVERY = 0.1  # seconds between two steps of the bar
ASKS = ("picture", "model", "target", "contrast", "composite", "alpha", "cam", "layer")
SHOWS = ("threshold", "sigma", "positive", "clip", "opacity", "region", "across", "down", "inside")


class Explorer(w.VBox):
    """Pictures, networks and every setting of the hybrid, to be tried; a widget.

    Setting the value of one of its ``controls`` is what a mouse would do; ``tiles`` is what is
    shown, and ``message`` says what went wrong last.
    """

    subject: Subject  # the picture and network that are shown
    factors: Factors  # what the network was asked for

    def __init__(self, pictures: Sequence[Choice], networks: Sequence[Choice], view: View) -> None:
        c = self.controls = Controls()
        self.tiles: dict[str, Tile] = {}
        self.message = ""
        self._pictures = _labelled(pictures)
        self._networks = {one.label: one for one in networks}
        self._first = view
        self._place: tuple[str, ...] = ()  # labels of picture and network
        self._asked = lru_cache(KEPT)(self._ask)
        self._maps: dict[Any, dict[str, Tensor]] = defaultdict(dict)
        self._still = False  # while widgets are set by us and not by a user
        self._drawing, self._network = RLock(), Lock()  # one thread asks the network
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="xaiutils-explorer")
        self._job: Future[None] | None = None
        self._stop = Event()
        self._html: defaultdict[str, w.HTML] = defaultdict(w.HTML)
        self._say, self._head, self._ledger = w.HTML(), w.HTML(), w.HTML()
        self._chart, self._links = w.HTML(), w.HTML()
        self._gallery = w.Box().add_class("xai-tiles")
        tools = w.HBox([c.draw, c.pack, c.reset])
        rows = [style(), self._head, self._gallery, self._ledger, self._say, c.boxes()]
        super().__init__([*rows, tools, self._chart, self._links, c.code])
        self.add_class("xai-explorer")
        with self._set():
            choose(c.picture, list(self._pictures))
            choose(c.model, list(self._networks))
            self._open()
            c.begin(self.subject, view)
        self._update()
        if view.methods:
            self._run()
        for name in (*ASKS, *SHOWS):
            getattr(c, name).observe(partial(self._on, self._update), "value")
        c.upload.observe(partial(self._on, self._take_upload), "value")
        c.other.observe(partial(self._on, self._take_class), "value")
        for button, react in (
            (c.run, self._run),
            (c.stop, self._cancel),
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

    def arrays(self) -> bytes:
        """All maps, the picture and the view, as an NPZ file."""
        return output.arrays(self.subject, self.view, self.factors)

    def wait(self, seconds: float = 600) -> None:
        """Until the methods that run in the background are done."""
        if self._job is not None:
            self._job.result(seconds)

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

    def _update(self) -> None:
        """Show what is chosen; the network is asked what it has not answered yet."""
        c = self.controls
        if (c.picture.value, c.model.value) != self._place:
            self._open()
        view = self.view
        c.alpha.disabled = view.composite != "paper"
        self.factors = self._asked(self._place, view.factors)
        self._worked = self.subject, {name: getattr(c, name).value for name in ASKS}
        self._show()

    def _open(self) -> None:
        """Another picture or network."""
        self._cancel()
        c = self.controls
        place = c.picture.value, c.model.value
        subject = Subject(self._networks[place[1]].open(), self._pictures[place[0]].open())
        with self._set():
            c.fit(subject)
        self.subject, self._place = subject, place

    def _ask(self, *_: Any) -> Factors:
        self._cancel()
        with self._network:
            return compute(self.subject, self.view)

    def _show(self) -> None:
        """Draw what changed; the network is not asked."""
        with self._drawing:
            c, view = self.controls, self.view
            maps = self._maps[*self._place, self.factors.target]
            self.factors = replace(self.factors, maps=maps)
            shown = self.subject, view, self.factors
            found = tiles(*shown)
            for tile in found:
                if not tile.same(self.tiles.get(tile.key)):
                    self._html[tile.key].value = output.tile_html(tile)
            gallery = tuple(self._html[tile.key] for tile in found)
            if gallery != self._gallery.children:
                self._gallery.children = gallery
            self.tiles = {tile.key: tile for tile in found}
            self._head.value = f"<b>{html.escape(output.headline(*shown))}</b>"
            told = (output.spent(self.factors), *output.notes(*shown))
            self._ledger.value = html.escape(". ".join(told))
            if view.target == self.subject.first:
                view = replace(view, target=None)
            sources = self._pictures[c.picture.value], self._networks[c.model.value]
            c.code.value = output.code(view, *(one.code for one in sources))

    def _take_upload(self) -> None:
        c = self.controls
        files = c.upload.value
        with self._set():
            c.upload.value = ()  # so that the same file can be sent again
        for file in files:
            choice = uploaded(file["name"], bytes(file["content"]))
            self._pictures[choice.label] = choice
            self._asked.cache_clear()  # another file may have come under the same name
            self._maps.clear()
            with self._set():
                choose(c.picture, list(self._pictures), choice.label)
            self._open()
            self._update()

    def _take_class(self) -> None:
        c = self.controls
        text = c.other.value.strip()
        if text:
            target = self.subject.classifier.class_index(text)
            with self._set():
                c.add_classes(self.subject, target)
                c.target.value, c.other.value = target, ""
            self._update()

    def _reset(self) -> None:
        with self._set():
            self.controls.begin(self.subject, replace(self._first, target=None, contrast=None))
        self._update()

    def _draw_curves(self) -> None:
        classifier, shown = self.subject.classifier, (self.subject, self.view, self.factors)
        with self._network:
            found = curves(*shown)
        label = classifier.classes[self.factors.target]
        label = label if classifier.outputs == VALUE else f"probability of {label}"
        drawn = output.curves_html(found, label)
        said = html.escape(output.headline(*shown))
        self._chart.value = f"<p>Curves for {said}</p>{drawn}"

    def _pack(self) -> None:
        self._links.value = output.links(self.static(), self.arrays(), self.controls.code.value)

    # Slow methods, one at a time in the background

    def _run(self) -> None:
        names = list(self.controls.methods.value)
        if not names:
            raise ValueError("methods must be one or more, got none")
        self._cancel()
        self._stop = Event()
        self._busy(True)
        place = (*self._place, self.factors.target)
        self._job = self._pool.submit(self._explain, names, place, self.subject, self._stop.is_set)

    def _cancel(self) -> None:
        """Ask what runs to end; it does before its next question to the network."""
        self._stop.set()

    def _explain(
        self, names: Sequence[str], place: Any, subject: Subject, stopped: Callable[[], bool]
    ) -> None:
        """In the pool's thread; a method that fails does not keep the others from it."""
        self._busy(True)  # the one that was stopped has just said that it is done
        failed, kept = [], self._maps[place]
        try:
            for name in (name for name in names if name not in kept):
                method = METHODS[name]
                try:
                    with self._network, watch(cancelled=stopped) as seen:
                        expected = method.expected(subject.classifier)
                        seen.bar = _Bar(self.controls.progress, method.title, expected)
                        kept[name] = method(subject.classifier, subject.case.x, place[-1])[0]
                except Cancelled:
                    failed.append("cancelled; the methods that were done are shown")
                    break
                except Exception as error:  # whatever a method raises
                    failed.append(f"{method.title}: {_words(error)}")
            self._tell("; ".join(failed))
            self._show()
        except Exception as error:
            self._fail(error)
        finally:
            self._busy(False)

    def _busy(self, busy: bool) -> None:
        c = self.controls
        c.run.disabled, c.stop.disabled = busy, not busy
        if not busy:
            c.progress.value, c.progress.description = 0, "idle"

    # What is said

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
        self._tell(f"{_words(error)}. The last choice that worked is kept.")
        subject, values = self._worked
        with self._set():
            if subject is not self.subject:
                self.subject, self._place = subject, (values["picture"], values["model"])
                self.controls.fit(subject)
            self.controls.add_classes(subject, values["contrast"], values["target"])
            for name, value in values.items():
                getattr(self.controls, name).value = value


class _Bar:
    """Moves a widget as `watch` moves tqdm's bar, but not too often."""

    def __init__(self, widget: w.IntProgress, title: str, expected: int | None) -> None:
        widget.max, widget.value, widget.description = expected or 1, 0, title
        self.widget, self.count, self.last = widget, 0, 0.0

    def update(self, images: int) -> None:
        """So many more."""
        self.count += images
        if time.monotonic() - self.last >= EVERY:
            self.last = time.monotonic()
            self.close()

    def close(self) -> None:
        """Show where it stands."""
        self.widget.value = min(self.count, self.widget.max)


def _words(error: Exception) -> str:
    """What an error says, to stand in a sentence."""
    return (str(error) or type(error).__name__).rstrip(".")


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
