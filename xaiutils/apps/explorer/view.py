"""What the explorer shows, as a pure function of what is chosen: no widgets here.

The two factors of the hybrid, a CAM and relevance, are computed once for a picture, a network and
a class. Threshold and σ only multiply and blur them, which is why a slider answers at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from xaiutils.apps.explorer.choices import View
from xaiutils.apps.explorer.subject import Factors, Subject
from xaiutils.hybrid import Explanation, bound, fuse
from xaiutils.methods import METHODS
from xaiutils.methods.combination import smooth_as_explain
from xaiutils.methods.own import title_of
from xaiutils.methods.record import SIGNED
from xaiutils.metrics.flipping import Curve, flipping_curve
from xaiutils.metrics.localisation import mass_accuracy, rank_accuracy
from xaiutils.metrics.record import CannotScore
from xaiutils.plots.panel import Panel

CURVES = {"deletion": "morf", "insertion": "insertion"}


@dataclass(frozen=True, eq=False)
class Tile:
    """One picture of the view.

    Attributes:
        key: Unique in a view. title: Above it. panel: What is drawn.
        caption: Numbers, below it. alt: The same for who does not see it.
    """

    key: str
    title: str
    panel: Panel
    caption: str
    alt: str

    def same(self, other: Tile | None) -> bool:
        """Whether the other one looks the same."""
        if other is None or (self.title, self.caption) != (other.title, other.caption):
            return False
        one, two = self.panel, other.panel
        arrays = ((one.map, two.map), (one.image, two.image), (one.mask, two.mask))
        look = [(p.signed, p.clip, p.opacity) for p in (one, two)]
        return look[0] == look[1] and all(np.array_equal(a, b) for a, b in arrays)


def tiles(subject: Subject, view: View, factors: Factors) -> list[Tile]:
    """The picture, the five stages, the contrast, and the other methods that are there.

    Args:
        subject: The picture and the network.
        view: What is chosen.
        factors: What the network was asked for.
    """
    mask = subject.mask(view.region)
    shown = maps(subject, view, factors)
    name = subject.classifier.classes[factors.target]
    outlined = None if mask is None else mask.numpy()
    about = f"The picture {subject.sample.id} as the network sees it"
    said = "network says " + subject.say(subject.first)
    first = Tile(
        "picture", "picture", Panel(subject.photo, mask=outlined), said, f"{about}; {said}"
    )
    found = [first]
    for key, title, map, signed in shown:
        score = _score(map, mask)
        values = (map.clamp(min=0) if view.positive else map).double().numpy()
        panel = Panel(
            subject.photo,
            values,
            signed=signed and not view.positive,
            clip=view.clip if signed and view.clip < 100 else None,
            opacity=view.opacity,
            mask=outlined,
        )
        peak = np.unravel_index(int(map.argmax()), map.shape)
        down, right = (f"{(i + 0.5) / n:.0%}" for i, n in zip(peak, map.shape, strict=True))
        alt = (
            f"{title} for {name}: from {float(map.min()):.2g} to {float(map.max()):.2g}, highest "
            f"{right} from the left and {down} from the top; {score or 'no region to score in'}"
        )
        found.append(Tile(key, title, panel, score, alt))
    return found


def maps(subject: Subject, view: View, factors: Factors) -> list[tuple[str, str, Tensor, bool]]:
    """Key, title, map (H, W) and whether it is signed."""
    main = factors.explanation
    bounded = bound(main.cam, view.threshold)
    product, hybrid = _fused(main, bounded, view)
    found = [
        ("cam", title_of(view.cam), main.cam[0], False),
        ("bounded", "bounding figure", bounded[0], False),
        ("relevance", title_of(view.composite), main.relevance[0], True),
        ("product", "product", product[0], True),
        ("hybrid", "hybrid", hybrid[0], True),
    ]
    if factors.contrast is not None:
        other = factors.contrast
        _, rival = _fused(other, bound(other.cam, view.threshold), view)
        name = subject.classifier.classes[int(other.target[0])]
        found += [
            ("contrast", f"hybrid for {name}", rival[0], True),
            ("difference", "difference of the two", (hybrid - rival)[0], True),
        ]
    for name in view.methods:
        if name in factors.maps:
            map, title = factors.maps[name], METHODS[name].title
            if view.inside:
                map, title = (
                    smooth_as_explain(fuse(bounded, map[None]), view.sigma)[0],
                    f"{title} in figure",
                )
            found.append((f"method-{name}", title, map, METHODS[name].sign == SIGNED))
    return found


def _fused(one: Explanation, bounded: Tensor, view: View) -> tuple[Tensor, Tensor]:
    product = fuse(bounded, one.relevance)
    return product, smooth_as_explain(product, view.sigma)


def _score(map: Tensor, mask: Tensor | None) -> str:
    """Alone: torch shares larger stacks among threads, which takes longer where cores are busy."""
    if mask is None:
        return ""
    rank, mass = rank_accuracy(map[None], mask[None]), mass_accuracy(map[None], mask[None])
    return f"rank {float(rank[0]):.2f}, mass {float(mass[0]):.2f}"


def chance(subject: Subject, view: View) -> float:
    """What a random map would score in both: the region's share of the picture; NaN without."""
    mask = subject.mask(view.region)
    return torch.nan if mask is None else float(mask.double().mean())


def curves(
    subject: Subject, view: View, factors: Factors, steps: int = 25
) -> dict[str, Mapping[str, Curve]]:
    """Insertion and deletion: the class's probability along the order of each map, by title.

    Of an output that is a value, the value. The stages in between are left out, and so are maps
    without an order, such as one of zeros.
    """
    case = subject.case.asking(factors.target)
    found: dict[str, Mapping[str, Curve]] = {}
    for key, title, map, _ in maps(subject, view, factors):
        if key in ("bounded", "product", "contrast", "difference"):
            continue
        try:
            found[title] = {
                name: flipping_curve(case, map, kind, steps=steps, output="softmax")
                for name, kind in CURVES.items()
            }
        except CannotScore:
            continue
    return found
