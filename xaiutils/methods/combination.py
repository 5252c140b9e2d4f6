"""The paper's fusion with any two methods: a map that bounds and a map that is bounded."""

from __future__ import annotations

import re
from collections.abc import Mapping
from inspect import signature
from types import MappingProxyType
from typing import Any

from torch import Tensor

from xaiutils.hybrid import SIGMA_SHARE, THRESHOLD, bound, explain, fuse, smooth
from xaiutils.methods.record import NONNEGATIVE, Method, Setting
from xaiutils.network.classifier import Classifier
from xaiutils.network.targets import Question
from xaiutils.support import checks

_WHY = {
    "threshold": "explain's default; arbitrary until calibrated: the paper gives none",
    "sigma": "None is explain's default, H / 64; arbitrary until calibrated",
    "composite": "explain's default: the paper's rules",
    "cam": "explain's default: the paper's CAM",
    "start": "explain's default, in units of the logit; 'one' where classes are compared",
}
EXPLAIN_SETTINGS: Mapping[str, Setting] = MappingProxyType(
    {name: Setting(signature(explain).parameters[name].default, why) for name, why in _WHY.items()}
)


def combine(
    cam: Method, method: Method, threshold: float = THRESHOLD, sigma: float | None = None
) -> Method:
    r"""A new hybrid: ``method``'s maps L inside the bounding figure of ``cam``'s C, smoothed.

    :math:`E = G_\sigma * (\mathrm{minmax}(\mathrm{relu}(C - t)) \odot L)`, Dhore et al., section
    III-B. `xaiutils.hybrid.explain` computes it for a CAM and LRP from one forward pass; a
    combination asks each method by itself, and both explain the same class. Its sign is that of
    ``method``, and so is what it speaks for.

    Args:
        cam: Its maps must be in [0, 1], as those of all CAMs are.
        method: Any.
        threshold, sigma: Defaults of the settings of these names: t in [0, 1), and the Gaussian's
            in pixels, None for H / 64.

    Returns:
        A record called ``"cam x method"``. Its settings are ``threshold``, ``sigma``, those of the
        two methods behind ``cam_`` and ``method_``, and what they need (``segments``,
        ``baselines``) by its own name, for both. It refuses what either refuses.
    """
    if cam.sign != NONNEGATIVE:
        raise ValueError(f"cam must have maps in [0, 1], got {cam.name}, whose maps are signed")
    _check(threshold, sigma)
    # Of each part: its record, and what each of its settings is called in the combination.
    parts = [
        (record, {key: key if key in record.needs else prefix + key for key in record.settings})
        for prefix, record in (("cam_", cam), ("method_", method))
    ]

    def function(
        classifier: Classifier,
        x: Tensor,
        target: Question,
        *,
        threshold: float,
        sigma: float | None,
        seed: int = 0,
        **settings: Any,
    ) -> Tensor:
        _check(threshold, sigma)
        figure, bounded = (
            record.compute(
                classifier, x, target, seed, {key: settings[name] for key, name in called.items()}
            ).detach()
            for record, called in parts
        )
        space = x.ndim - 2
        figure = bound(figure, threshold, dimensions=space)
        return smooth_as_explain(fuse(figure, bounded.to(figure), dimensions=space), sigma)

    def refuses(classifier: Classifier) -> str | None:
        reasons = ((record.name, record.refusal(classifier)) for record, _ in parts)
        return next((f"{name}: {reason}" for name, reason in reasons if reason is not None), None)

    settings = {
        "threshold": Setting(threshold, _WHY["threshold"]),
        "sigma": Setting(sigma, _WHY["sigma"]),
    }
    for record, called in parts:
        settings |= {called[key]: setting for key, setting in record.settings.items()}
    return Method(
        name=f"{cam.name} x {method.name}",
        title=f"{cam.title} x {method.title}",
        function=function,
        family="hybrid",
        sign=method.sign,
        source=f"Dhore et al., section III-B, of: {cam.source}; {method.source}",
        passes=" + ".join(f"({_renamed(record.passes, called)})" for record, called in parts),
        class_specific=cam.class_specific or method.class_specific,
        classes_only=cam.classes_only or method.classes_only,
        stochastic=cam.stochastic or method.stochastic,
        needs=tuple(dict.fromkeys((*cam.needs, *method.needs))),
        settings=MappingProxyType(settings),
        refuses=refuses,
    )


def smooth_as_explain(map: Tensor, sigma: float | None) -> Tensor:
    """Step 5 with the width that `explain` takes: ``sigma`` pixels, or H / 64 for None."""
    space = map.ndim - 1
    sigma = map.shape[-2 if space > 1 else -1] * SIGMA_SHARE if sigma is None else sigma
    return smooth(map, sigma, dimensions=space)


def _check(threshold: float, sigma: float | None) -> None:
    checks.number("threshold", threshold, low=0, below=1)
    if sigma is not None:
        checks.number("sigma", sigma, low=0)


def _renamed(passes: str, called: Mapping[str, str]) -> str:
    """A formula of cost with the settings by their names in the combination."""
    return re.sub(r"[A-Za-z_]\w*", lambda found: called.get(found[0], found[0]), passes)
