"""Write docs/methods.md from METHODS: ``python docs/methods.py``."""

from __future__ import annotations

from pathlib import Path

from xaiutils.methods import FAMILIES, METHODS
from xaiutils.network.classifier import load_model

SCENES = tuple(f"scenes_{kind}_seed0" for kind in ("vgg", "resnet", "inception", "vit"))
TORCHVISION = ("vgg16", "resnet18", "googlenet", "vit_b_16")  # untrained
NAMES = (*SCENES, *TORCHVISION)
HEAD = """# Explainers

Every record of `METHODS`: what it costs, where it comes from, and which networks it can explain.
Written by `python docs/methods.py`, which asks each method of each network: the shipped scene
classifiers, and torchvision's VGG-16, ResNet-18, GoogLeNet and ViT-B/16 with random weights.
`tests/methods/test_by_network.py` runs the pairs.

`passes` is the cost of one image: F forward passes, B backward passes, S segments, C channels of
the CAM layer, K classes, and the method's own settings. *Signed*: positive speaks for the class.
*Class*: whether the map depends on the class that is explained, or is the same for all alike.
*Elsewhere*: the default of the library that computes the method, where it differs.

To begin with: `hybrid` and its factors `grad_cam_plus_plus` and `lrp_paper`; `occlusion`, which
needs nothing but the network's answers; `bounded_noise`, which a good explanation has to beat.
"""


def page() -> str:
    """The page as one text."""
    networks = {n: load_model(n, None if n in SCENES else "random") for n in NAMES}
    reasons: list[str] = []
    lines = [HEAD]
    for family in FAMILIES:
        members = [m for m in METHODS.values() if m.family == family]
        lines += [f"\n## {family} ({len(members)})\n", "| method | " + " | ".join(NAMES) + " |"]
        lines += ["|---|" + ":-:|" * len(NAMES)]
        for method in members:
            cells = []
            for name in NAMES:
                reason = method.refuses(networks[name])
                if reason is not None and reason not in reasons:
                    reasons.append(reason)
                cells.append("yes" if reason is None else f"no ({reasons.index(reason) + 1})")
            lines.append(f"| `{method.name}` | " + " | ".join(cells) + " |")
        lines += ["", "| method | sign | class | passes | source |", "|---|---|---|---|---|"]
        for m in members:
            which = "its own" if m.class_specific else "all alike"
            lines.append(f"| {m.title} | {m.sign} | {which} | `{m.passes}` | {m.source} |")
        settings = [(m, key, s) for m in members for key, s in m.settings.items()]
        if settings:
            lines += [
                "",
                "| method | setting | default | elsewhere | why |",
                "|---|---|---|---|---|",
            ]
        for m, key, setting in settings:
            stock = "" if setting.stock is None else f"{setting.stock}"
            lines.append(f"| `{m.name}` | `{key}` | {setting.default} | {stock} | {setting.why} |")
    lines += ["\n## Why not\n"]
    lines += [f"{number}. {reason}" for number, reason in enumerate(reasons, start=1)]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    (Path(__file__).parent / "methods.md").write_text(page(), encoding="utf-8")
