"""A view as a figure, as files, and as the code that makes it again."""

from __future__ import annotations

import html
import io
import json
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import asdict, fields
from math import ceil
from typing import Any

import numpy as np

from xaiutils.apps.explorer.view import CURVES, Factors, Subject, Tile, View, chance, maps, tiles
from xaiutils.hybrid import EMPTY, SIGMA_SHARE, bound
from xaiutils.metrics.flipping import Curve
from xaiutils.plots import raster
from xaiutils.plots.charts import curves as chart
from xaiutils.plots.panels import panels
from xaiutils.plots.style import Figure, minus, png_bytes

COLUMNS = 5


def figure(subject: Subject, view: View, factors: Factors) -> Figure:
    """The view as a figure: every tile, its numbers below it."""
    found = tiles(subject, view, factors)
    return panels(
        [tile.panel for tile in found],
        columns=ceil(len(found) / ceil(len(found) / COLUMNS)),  # rows of one length
        width=1.9,
        titles=[tile.title for tile in found],
        captions=[tile.caption for tile in found],
        suptitle="\n".join((headline(subject, view, factors), *notes(subject, view, factors))),
    )


def headline(subject: Subject, view: View, factors: Factors) -> str:
    """Which class, how sure the network is of it, and what was chosen."""
    sigma = len(subject.photo) * SIGMA_SHARE if view.sigma is None else view.sigma
    text = f"{subject.say(factors.target)}: threshold {view.threshold:.2f}, σ {sigma:g} px"
    share = chance(subject, view)
    return text + (f"; a random map: rank and mass {share:.2f}" if share == share else "")  # noqa: PLR0124


def notes(subject: Subject, view: View, factors: Factors) -> list[str]:
    """What went other than expected, of the class and of the contrast, one sentence each."""
    found = []
    for one in filter(None, (factors.explanation, factors.contrast)):
        name = subject.classifier.classes[int(one.target[0])]
        said = [note.removeprefix("image 0: ") for note in one.notes if EMPTY not in note]
        said += [] if bool(bound(one.cam, view.threshold).any()) else [EMPTY]  # at this threshold
        found += [f"{name}: {note}" for note in said]
    return found


def spent(factors: Factors) -> str:
    """The ledger of the relevance, and what the explanation cost."""
    ledger, kept = factors.explanation.conservation, float(factors.explanation.retention[0])
    terms = ("input", "bias", "epsilon", "unreceived")
    start, residual = float(ledger.start[0]), float(ledger.residual[0])
    booked = " + ".join(f"{name} {float(getattr(ledger, name)[0]):.3f}" for name in terms)
    text = minus(f"relevance starts with {start:.3f} = {booked} (rounding {residual:.0e})")
    return (
        f"{text}. Fusion keeps {kept:.0%} of it. {factors.seconds * 1000:.0f} ms, "
        f"{factors.images} {'pass' if factors.images == 1 else 'passes'} through the network"
    )


def arrays(subject: Subject, view: View, factors: Factors) -> bytes:
    """The maps as they are, signed and unclipped, the picture, and the view, as an NPZ file."""
    packed = io.BytesIO()
    found: dict[str, Any] = {key: map.numpy() for key, _, map, _ in maps(subject, view, factors)}
    found |= {"picture": subject.photo, "view": np.array(json.dumps(asdict(view)))}
    np.savez_compressed(packed, **found)
    return packed.getvalue()


def code(view: View, picture: str, network: str) -> str:
    """Python that makes the view again, from the expressions of its picture and network.

    One that nobody can write down begins with ``...``, and is asked for when the code runs.
    """
    chosen = {
        one.name: value for one in fields(View) if (value := getattr(view, one.name)) != one.default
    }
    given = "".join(f"    {name}={value!r},\n" for name, value in chosen.items())
    missing = "".join(
        f'if {name} is ...:\n    raise ValueError("{name} must be filled in above")\n'
        for name, code in (("picture", picture), ("classifier", network))
        if code.startswith("...")
    )
    return (
        "import xaiutils as xai\n\n"
        f"picture = {picture}\n"
        f"classifier = {network}\n{missing}"
        f"xai.explore(\n    picture,\n    classifier,\n{given}    static=True,\n)\n"
    )


def tile_html(tile: Tile) -> str:
    """A tile for a page: the picture with its alternative text, the object's outline over it."""
    height, width = tile.panel.image.shape[:2]
    packed, outline = raster.quick_png(raster.pixels(tile.panel)), ""
    if tile.panel.mask is not None:
        path = raster.outline(tile.panel.mask)
        outline = (
            f'<svg viewBox="0 0 {width} {height}" aria-hidden="true">'
            f'<path class="xai-under" d="{path}"/><path d="{path}"/></svg>'
        )
    return (
        f'<figure class="xai-tile" data-key="{html.escape(tile.key)}">'
        f"<figcaption>{html.escape(tile.title)}</figcaption>"
        f'<div><img alt="{html.escape(tile.alt)}" src="{_data("image/png", packed)}">{outline}'
        f"</div><p>{html.escape(tile.caption)}&nbsp;</p></figure>"
    )


def curves_html(found: Mapping[str, Mapping[str, Curve]], label: str) -> str:
    """Deletion and insertion as two charts, the areas in the legend and in the text instead.

    ``label`` says what is drawn upwards.
    """
    drawn = []
    for kind in CURVES:
        curves = {f"{title}, {one[kind].area:.2f}": one[kind] for title, one in found.items()}
        figure = chart(
            next(iter(curves.values())).fractions,
            {_plain(title): curve.values for title, curve in curves.items()},
            xlabel=f"share of pixels, {kind}",
            ylabel=_plain(label),
        )
        alt = html.escape(f"{kind} curves, each with the area below it: {'; '.join(curves)}")
        packed = _data("image/png", png_bytes(figure))
        drawn.append(f'<img class="xai-chart" alt="{alt}" src="{packed}">')
    return "".join(drawn)


def _plain(text: str) -> str:
    """For Matplotlib, which would set what is between two dollars as an equation."""
    return text.replace("$", r"\$")


def links(figure: Figure, maps: bytes, code: str) -> str:
    """Links to the figure at twice its size, the arrays and the code."""
    files = (
        ("view.png", "image/png", png_bytes(figure, 2)),
        ("view.npz", "application/octet-stream", maps),
        ("view.py", "text/x-python", code.encode()),
    )
    return "Save " + ", ".join(link(*file) for file in files)


def link(name: str, kind: str, content: bytes) -> str:
    """A link that saves ``content`` as a file, with nothing asked of any server."""
    size = f"{len(content) / 1024:,.0f} KiB"
    return f'<a download="{name}" href="{_data(kind, content)}">{name}</a> ({size})'


def _data(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{b64encode(content).decode()}"
