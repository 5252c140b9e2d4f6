"""Everything that is chosen in the explorer, except picture and network, as one value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from xaiutils.cam import CAMS, Cam
from xaiutils.hybrid import THRESHOLD
from xaiutils.lrp.composites import COMPOSITES, Composite, paper
from xaiutils.methods import METHODS
from xaiutils.pictures.images import Box
from xaiutils.support import checks

OBJECT = "object"


@dataclass(frozen=True)
class View:
    """Everything that is chosen, except picture and network.

    Attributes:
        target: Class that is explained; None for the predicted one.
        contrast: Another class, whose hybrid is shown beside it with the difference; or None.
        threshold: Of the bounding figure, in [0, 1).
        sigma: Of the Gaussian, in pixels; None for H / 64.
        composite: A name in `COMPOSITES`.
        alpha: Of the paper's composite, >= 1; beta is alpha - 1.
        cam: A name in `CAMS`. cam_layer: None for the classifier's own.
        methods: Names in `METHODS`, shown beside the hybrid.
        inside: Whether these stand inside the bounding figure, as in the paper's Fig. 3, and are
            smoothed, of which the paper says nothing there.
        positive: Show the positive part only; otherwise signed maps have two colours.
        clip: Percentile of the absolute values at which the colours of signed maps end.
        opacity: Of a map over its picture.
        region: ``"object"`` where the picture's mask or boxes are known, a box (x0, y0, x1, y1)
            in pixels of the network's input, or None: what rank accuracy and mass are counted in.

    Raises:
        TypeError, ValueError: A choice that cannot be shown; the message says which.
    """

    target: int | None = None
    contrast: int | None = None
    threshold: float = THRESHOLD
    sigma: float | None = None
    composite: str = "paper"
    alpha: float = 1.0
    cam: str = "grad_cam_plus_plus"
    cam_layer: str | None = None
    methods: tuple[str, ...] = ()
    inside: bool = False
    positive: bool = False
    clip: float = 99.0
    opacity: float = 0.8
    region: str | Box | None = OBJECT

    def __post_init__(self) -> None:
        """Refuse what cannot be shown."""
        checks.number("threshold", self.threshold, low=0, below=1)
        if self.sigma is not None:
            checks.number("sigma", self.sigma, low=0)
        for name, record, table in (("composite", Composite, COMPOSITES), ("cam", Cam, CAMS)):
            given = getattr(self, name)
            if isinstance(given, record):
                raise TypeError(
                    f"{name} must be a name, got the record {given.name!r}; "
                    f"put it into {name.upper()}S under a name of yours"
                )
            checks.choice(name, given, table)
        checks.number("alpha", self.alpha, low=1)
        if self.alpha != 1 and self.composite != "paper":
            raise ValueError(f"alpha must be left out with the composite {self.composite}")
        for name in self.methods:
            checks.choice("methods", name, METHODS)
        checks.number("clip", self.clip, low=1, high=100)
        checks.number("opacity", self.opacity, low=0, high=1)
        if isinstance(self.region, str):
            checks.choice("region", self.region, (OBJECT,))

    @property
    def rules(self) -> Composite:
        """The composite itself."""
        if self.composite == "paper":
            return paper(self.alpha, self.alpha - 1)
        return COMPOSITES[self.composite]

    @property
    def factors(self) -> tuple[Any, ...]:
        """What decides the two factors; all else is answered without the network."""
        return (self.target, self.contrast, self.composite, self.alpha, self.cam, self.cam_layer)
