"""An explorer to touch the hybrid with: pictures, networks, every setting; or a figure of it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from xaiutils.apps.explorer.output import figure
from xaiutils.apps.explorer.sources import networks, pictures
from xaiutils.apps.explorer.view import Factors, Subject, View, compute, tiles
from xaiutils.cases.workloads import load_workload
from xaiutils.methods import METHODS
from xaiutils.plots.style import Figure
from xaiutils.support.extras import extras_named

if TYPE_CHECKING:
    from xaiutils.apps.explorer.widgets import Explorer

__all__ = ["Factors", "Subject", "View", "compute", "explore", "tiles"]


def explore(
    source: Any = None,
    classifier: Any = None,
    *,
    models: Sequence[Any] = (),
    static: bool = False,
    **choices: Any,
) -> Explorer | Figure:
    """Explore the hybrid of a picture: widgets, or with ``static=True`` the same view as a figure.

    Args:
        source: A picture (`Sample`, or whatever `load_image` reads), or a folder of pictures.
            By default those of the workload that ``XAIUTILS_WORKLOAD`` names, else photographs.
        classifier: From `load_model` or `wrap`, or a name in `MODELS`. By default that workload's.
        models: Further networks to choose from, classifiers or names.
        static: Give a figure for GitHub, for paper, and for tests. It shows the first picture.
        **choices: What is chosen at the beginning: fields of `View`. ``methods`` are computed; in
            the widget in the background.

    Raises:
        TypeError, ValueError: A wrong picture, network or choice; the message says which.
    """
    known = View.__dataclass_fields__
    for key in choices:
        if key not in known:
            raise TypeError(f"explore has no choice {key!r}; there are {', '.join(known)}")
    view = View(**{**choices, "methods": tuple(choices.get("methods", ()))})
    work = None
    if classifier is None:
        work = load_workload(os.environ.get("XAIUTILS_WORKLOAD", "photographs"))
    found, nets = pictures(source, work), networks(classifier, models, work)
    if not static:
        with extras_named():
            from xaiutils.apps.explorer.widgets import Explorer

        return Explorer(found, nets, view)
    subject = Subject(nets[0].open(), found[0].open())
    factors = compute(subject, view)
    maps = {
        name: METHODS[name](subject.classifier, subject.case.x, factors.target)[0]
        for name in view.methods
    }
    return figure(subject, view, replace(factors, maps=maps))
