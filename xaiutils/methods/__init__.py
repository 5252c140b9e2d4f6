"""Every explainer behind one signature: ``METHODS[name](classifier, x, target)`` gives (N, H, W).

Each file here holds one kind of method, and `METHODS` joins their tables. A new method is a
function and a record: tests/methods/test_methods.py asks of it what it asks of all others.
"""

from __future__ import annotations

from collections.abc import Iterable

from xaiutils.hybrid import THRESHOLD
from xaiutils.methods import (
    controls,
    deep_lift,
    gradients,
    guided,
    masking,
    own,
    perturbation,
    published,
    surrogates,
)
from xaiutils.methods.combination import combine as _combine
from xaiutils.methods.record import FAMILIES, CannotExplain, Method, Setting
from xaiutils.methods.related import records
from xaiutils.support import checks
from xaiutils.support.checks import Registry

__all__ = ["FAMILIES", "METHODS", "CannotExplain", "Method", "Setting", "combine", "method_named"]

_TABLES: tuple[Iterable[Method], ...] = (
    *(own.TABLE, masking.TABLE, gradients.TABLE, guided.TABLE, deep_lift.TABLE),
    *(perturbation.TABLE, surrogates.TABLE, records.TABLE, controls.TABLE, published.TABLE),
)
METHODS: Registry[Method] = Registry(
    "method", {method.name: method for table in _TABLES for method in table}
)
SHIPPED = tuple(METHODS.values())  # to be told from those that you add


def method_named(method: str | Method) -> Method:
    """The method itself, or the one of that name in `METHODS`.

    Raises:
        TypeError, ValueError: It is neither; the nearest names are listed.
    """
    if isinstance(method, Method):
        return method
    return METHODS[checks.choice("method", method, METHODS)]


def combine(
    cam: str | Method,
    method: str | Method,
    threshold: float = THRESHOLD,
    sigma: float | None = None,
) -> Method:
    """Any ``method`` inside the bounding figure of any ``cam``, by name or record.

    The figure is cut at ``threshold`` and the product blurred by ``sigma``, both as in `explain`;
    see `xaiutils.methods.combination`.

    Example:
        >>> classifier = xai.load_model()
        >>> x = classifier.preprocess(xai.load_image("sample:coffee"))
        >>> bounded = xai.combine("grad_cam_plus_plus", "gradient_x_input", threshold=0.2)
        >>> tuple(bounded(classifier, x, "espresso").shape)
        (1, 224, 224)
    """
    return _combine(method_named(cam), method_named(method), threshold, sigma)
