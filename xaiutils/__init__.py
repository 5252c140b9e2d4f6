"""xaiutils: Grad-CAM++ x composite-LRP hybrid explanations of CNNs.

The verbs of explaining and of scoring, ready for ``import xaiutils as xai``; each name is loaded
when it is first used, so that importing the package stays light.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "1.0.0"

_HOME = {
    "checks": (),
    "arrays": ("Arrays",),
    "images": ("Sample", "Transform", "denormalise", "load_image", "sample_photograph"),
    "imagenet": ("open_imagenet", "sample_target"),
    "registry": ("MODELS",),
    "targets": (),
    "transforms": ("read_transform",),
    "models": ("Classifier", "load_model", "wrap"),
    "cam": ("CAMS",),
    "rules": (),
    "composites": ("COMPOSITES", "Composite", "paper"),
    "graph": ("GraphError",),
    "ledger": ("Ledger",),
    "lrp": ("Relevance",),
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
    "baselines": (),
    "layerwise": ("explain_layers",),
    "methods": ("METHODS", "CannotExplain", "Method", "combine"),
    "passes": ("Cancelled", "watch"),
    "related": (),
    "rollout": ("attention_rollout",),
    "memo": ("remember",),
    "batches": (),
    "metrics": ("METRICS", "CannotScore", "Metric", "load_cases"),
    "scoring": ("contender", "score"),
    "stats": (),
    "workloads": ("load_workload",),
    "score_table": (),
    "results": ("load_table",),
    "evidence": (),
    "explorer": ("explore",),
    "study": ("create_study", "load_study", "open_study", "run_study"),
    "scenes": (),
    "plots": (),
}
_NAMES = {name: home for home, names in _HOME.items() for name in names}

__all__ = sorted((*_NAMES, *_HOME))  # noqa: PLE0605


def __getattr__(name: str) -> Any:
    """Load a public name from the module where it lives."""
    if name in _NAMES:
        return getattr(import_module(f"xaiutils.{_NAMES[name]}"), name)
    if name in _HOME:
        return import_module(f"xaiutils.{name}")
    raise AttributeError(f"module 'xaiutils' has no attribute {name!r}")


def __dir__() -> list[str]:
    return list(__all__)
