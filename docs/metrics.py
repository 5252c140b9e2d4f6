"""Write docs/metrics.md from METRICS: ``python docs/metrics.py``."""

from __future__ import annotations

from pathlib import Path

from xaiutils.metrics import METRICS
from xaiutils.metrics.record import FAMILIES, NEEDS

HEAD = """# Metrics

Every record of `METRICS`, written by `python docs/metrics.py`. A score belongs to one picture, one
map, one class and one seed: `METRICS[name](case, explainer)` gives the value, or NaN with the
reason why there is none.

*Cost* is of one picture and one method alone: F forward passes, E explanations, and the metric's
settings. Inside `xaiutils.remember()` (as in `xaiutils.score`) what is asked twice is answered
once, so that ten methods share what does not depend on the map. *Elsewhere* is the default of the
library that computes the metric, or of its authors, where it differs. For `start="one"` the
relevance of LRP and the hybrid starts from 1 instead of the logit, since maps of different classes
or networks are compared.
"""


def page() -> str:
    """The page as one text."""
    lines = [HEAD]
    for family in FAMILIES:
        chosen = [metric for metric in METRICS.values() if metric.family == family]
        lines += [f"\n## {family.capitalize()}\n"]
        for metric in chosen:
            needs = "; ".join(NEEDS[need] for need in metric.needs) or "nothing else"
            title = metric.title[0].upper() + metric.title[1:]  # not capitalize: "MPRT" stays
            start = ' `start="one"`.' if metric.across_classes else ""
            lines += [
                f"### `{metric.name}` {metric.arrow}",
                "",
                f"{title}, in [{metric.low:g}, {metric.high:g}], "
                f"{metric.better} is better. Cost `{metric.passes}`. Needs {needs}.{start}",
                "",
                f"- source: {metric.source}",
                f"- anchors: {metric.anchors}",
            ]
            for key, setting in metric.settings.items():
                stock = "" if setting.stock is None else f" (elsewhere `{setting.stock}`)"
                lines += [f"- `{key}` = `{setting.default}`{stock}: {setting.why}"]
            lines += [""]
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    (Path(__file__).parent / "metrics.md").write_text(page(), encoding="utf-8")
