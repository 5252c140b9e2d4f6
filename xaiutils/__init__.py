"""xaiutils: Grad-CAM++ x composite-LRP hybrid explanations of CNNs.

The paper: `cam` (step 1), `lrp` (step 3), `hybrid` (bounding figure, fusion, smoothing, all five);
`factors` has both factors from one pass. Below: `network`, `pictures`, `support`. Above: `cases`,
`methods`, `metrics`, `evidence`, `apps`. Beside: `plots`.

Each name is loaded when it is first used, so that importing the package stays light.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from xaiutils.support.extras import extras_named

__version__ = "1.0.0"

_HOME = {
    "support.checks": (),
    "support.asking": ("Cancelled", "watch"),
    "support.cache": ("remember",),
    "pictures.arrays": ("Arrays",),
    "pictures.images": ("Sample", "Transform", "denormalise", "load_image", "sample_photograph"),
    "pictures.imagenet": ("open_imagenet", "sample_target"),
    "pictures.transforms": ("read_transform",),
    "pictures.scenes": (),
    "cam": ("CAMS",),
    "network.weights": ("MODELS",),
    "network.targets": (),
    "network.classifier": ("Classifier", "load_model", "wrap"),
    "network.step": ("GraphError",),
    "lrp.rules": (),
    "lrp.composites": ("COMPOSITES", "Composite", "paper"),
    "lrp.ledger": ("Ledger",),
    "lrp.walk": ("Relevance",),
    "hybrid": (
        "Explanation",
        "bound",
        "class_activation_map",
        "explain",
        "fuse",
        "grad_cam_plus_plus",
        "relevance",
        "smooth",
    ),
    "cases.workloads": ("load_workload",),
    "methods": ("METHODS", "CannotExplain", "Method", "combine"),
    "methods.baselines": (),
    "methods.layerwise": ("explain_layers",),
    "methods.related": (),
    "methods.rollout": ("attention_rollout",),
    "metrics": ("METRICS", "CannotScore", "Metric", "load_cases"),
    "metrics.scoring": ("contender", "score"),
    "metrics.stats": (),
    "metrics.score_table": (),
    "evidence.results": ("load_table",),
    "evidence.study": ("create_study", "load_study", "open_study", "run_study"),
    "plots": (),
    "apps.explorer": ("explore",),
}
_NAMES = {name: home for home, names in _HOME.items() for name in names}
_MODULES = {home.rpartition(".")[2]: home for home in _HOME}

__all__ = sorted({*_NAMES, *_MODULES})  # noqa: PLE0605


def __getattr__(name: str) -> Any:
    """Load a public name from the module where it lives, or that module."""
    with extras_named():
        if name in _NAMES:
            found = getattr(import_module(f"xaiutils.{_NAMES[name]}"), name)
        elif name in _MODULES:
            found = import_module(f"xaiutils.{_MODULES[name]}")
        else:
            raise AttributeError(f"module 'xaiutils' has no attribute {name!r}")
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return list(__all__)
