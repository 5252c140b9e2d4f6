"""The package's imports as a picture and its modules as a table: ``python docs/structure.py``.

Writes docs/images/structure.svg and, between its markers, the table of docs/structure.md. A box
lies above all that it imports. An import that others imply is not drawn, nor is one of a module
that most others import. Nothing is set by hand but which modules hold the five steps.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "docs"), str(ROOT / "tests")]

from layout import BOX, SIDE, WIDTH, Drawing, Edge, rows_of  # noqa: E402
from test_architecture import FILES, LAYERS, PACKAGE, PLACE, imported, unit  # noqa: E402
from test_architecture import ROOT as ENTRY  # noqa: E402

STEPS = {  # of the hybrid, as we count them: where each is computed
    "cam": "1",
    "rules": "3",
    "composites": "3",
    "lrp": "3",
    "hybrid": "2 4 5",
}
EVERYWHERE = 1 / 2  # of all boxes: what more than these import is drawn as the ground
TABLE = re.compile(r"(<!-- modules -->\n).*?(<!-- end -->)", re.DOTALL)
LETTER, SMALL = 7.3, 5.9  # px of a letter at 12 and 10 px, of the widest usual font

Names = dict[str, set[str]]


def imports() -> Names:
    """What each module or folder of the package imports of the others."""
    found: Names = {name: set() for name in PLACE}
    for path in FILES:
        if unit(path) != ENTRY:
            found[unit(path)] |= imported(path) - {unit(path)}
    return found


def files(name: str) -> list[Path]:
    """The files of a module or folder."""
    return [path for path in FILES if unit(path) == name]


def _first(name: str) -> Path:
    """The file that says what a module or folder is."""
    folder = PACKAGE / name
    return folder / "__init__.py" if folder.is_dir() else PACKAGE / f"{name}.py"


def sentence(name: str) -> str:
    """What a module's docstring begins with, up to the first full stop."""
    text = ast.get_docstring(ast.parse(_first(name).read_text("utf-8"))) or ""
    first = " ".join(text.split("\n\n")[0].split())
    first = re.split(r"(?<=[.?])\s", first)[0]
    return first.replace("``", "`").replace("|", r"\|")


def table() -> str:
    """A row for each module or folder, from the highest layer to the lowest."""
    lines = ["| layer | module | what it is | lines |", "|--:|---|---|--:|"]
    for level in range(len(LAYERS), 0, -1):
        for name in sorted(LAYERS[level - 1]):
            link = f"[{label(name)}](../{_first(name).relative_to(ROOT)})"
            lines.append(f"| {level} | {link} | {sentence(name)} | {_lines(name)} |")
    return "\n".join(lines) + "\n"


@cache
def _lines(name: str) -> str:
    """Lines to the nearest ten, so that a small change needs no new picture."""
    count = sum(len(path.read_text("utf-8").splitlines()) for path in files(name))
    return f"{max(10, round(count, -1)):,}"


def closure(found: Names) -> Names:
    """What each module imports, and what that imports, and so on."""
    below: Names = {}
    for name in sorted(found, key=PLACE.__getitem__):
        below[name] = found[name].union(*(below[other] for other in found[name]))
    return below


def needed(found: Names) -> tuple[list[Edge], set[str]]:
    """The imports that are drawn, and the modules that are ground to all."""
    users = {name: sum(name in others for others in found.values()) for name in found}
    ground = {name for name in found if users[name] > EVERYWHERE * len(found)}
    kept = {name: others - ground for name, others in found.items() if name not in ground}
    below = closure(kept)
    edges = [
        (name, other)
        for name in kept
        for other in sorted(kept[name])
        if not any(other in below[third] for third in kept[name] - {other})
    ]
    return edges, ground


@cache
def wide(name: str) -> float:
    """A box's width in px."""
    badge = 15 * len(STEPS[name].split()) + 3 if name in STEPS else 0
    return max(len(label(name)) * LETTER, len(size(name)) * SMALL, 36) + badge + 14


def label(name: str) -> str:
    """A folder has a slash."""
    return f"{name}/" if (PACKAGE / name).is_dir() else name


def size(name: str) -> str:
    """Lines, and of a folder its files."""
    inside = f"{len(files(name))} files, " if (PACKAGE / name).is_dir() else ""
    return f"{inside}{_lines(name)}"


STYLE = """
text { font-family: "DejaVu Sans", Verdana, Arial, Helvetica, sans-serif; fill: #1b1f24; }
.title { font-size: 14px; font-weight: bold; }
.name { font-size: 12px; } .size { font-size: 10px; fill: #57606a; }
.box { fill: #ffffff; stroke: #8c959f; } .folder { fill: #eaeef2; stroke: #57606a; }
.step { fill: #ffe8b3; stroke: #b35900; stroke-width: 1.6; }
.badge { fill: #b35900; } .number { font-size: 10px; font-weight: bold; fill: #ffffff; }
.arrow { fill: none; stroke: #8c959f; stroke-width: 1.1; } .of-step { stroke: #b35900; }
.ground { fill: #dfe4ea; stroke: #8c959f; }
"""


def svg() -> str:
    """The picture as text."""
    found = imports()
    edges, ground = needed(found)
    boxes = [name for names in LAYERS for name in names if name not in ground]
    drawing = Drawing(edges, rows_of(edges, boxes), wide)
    bottom = drawing.y(0) + BOX / 2 + 22
    height = bottom + BOX + SIDE
    about = f"{len(found)} modules and folders of xaiutils; an arrow leads to what is imported"
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" '
        f'width="{WIDTH}" height="{height:.0f}" role="img" aria-labelledby="about">',
        f'<title id="about">{about}</title>',
        f"<style>{STYLE}</style>",
        '<defs><marker id="head" markerWidth="6" markerHeight="6" refX="5" refY="3" '
        'orient="auto"><path d="M0 0 6 3 0 6z" fill="#6e7781"/></marker></defs>',
        f'<rect width="{WIDTH}" height="{height:.0f}" rx="8" fill="#f9fafb"/>',
        *_legend(),
    ]
    below = closure(found)
    ways = {name for name in below if name in STEPS or below[name] & set(STEPS)}
    paper = ways & ({"hybrid"} | below["hybrid"])  # from the hybrid down to each step
    for edge in drawing.edges:
        own = " of-step" if set(edge) <= paper else ""
        lines.append(f'<path class="arrow{own}" d="{drawing.way(edge)}" marker-end="url(#head)"/>')
    for level in reversed(range(len(drawing.levels))):
        for node in drawing.levels[level]:
            if isinstance(node, str):
                lines += _box(node, drawing.x[node], drawing.y(level))
    for name in sorted(ground):
        users = sum(name in others for others in found.values())
        lines += [
            f'<rect class="ground" x="{SIDE}" y="{bottom:.1f}" width="{WIDTH - 2 * SIDE}" '
            f'height="{BOX}" rx="4"/>',
            f'<text class="name" x="{WIDTH / 2}" y="{bottom + 20:.1f}" text-anchor="middle">'
            f"{label(name)}: {users} of the other {len(found) - 1} import it, without an arrow here"
            "</text>",
        ]
    return "\n".join([*lines, "</svg>"]) + "\n"


def _legend() -> Iterator[str]:
    yield f'<text class="title" x="{SIDE}" y="26">What imports what</text>'
    x = SIDE
    kinds = {"box": "module", "folder": "folder", "step": "one of the five steps"}
    for kind, text in kinds.items():
        yield f'<rect class="{kind}" x="{x}" y="36" width="16" height="12" rx="3"/>'
        yield f'<text class="size" x="{x + 21}" y="46">{text}</text>'
        x += 21 + int(len(text) * 5.3) + 17
    yield (
        f'<text class="size" x="{x}" y="46">arrow: imports, unless other arrows lead there; '
        "number: lines, to the nearest ten</text>"
    )


def _box(name: str, x: float, y: float) -> Iterator[str]:
    kind = "step" if name in STEPS else "folder" if label(name) != name else "box"
    width, numbers = wide(name), STEPS.get(name, "").split()
    yield (
        f'<rect class="{kind}" x="{x - width / 2:.1f}" y="{y - BOX / 2:.1f}" '
        f'width="{width:.1f}" height="{BOX}" rx="4"/>'
    )
    middle = x - (15 * len(numbers) + 3 if numbers else 0) / 2
    for text, style, down in ((label(name), "name", -2), (size(name), "size", 11)):
        yield (
            f'<text class="{style}" x="{middle:.1f}" y="{y + down:.1f}" '
            f'text-anchor="middle">{text}</text>'
        )
    for k, number in enumerate(reversed(numbers)):
        at = x + width / 2 - 11 - 15 * k
        yield f'<circle class="badge" cx="{at:.1f}" cy="{y:.1f}" r="6.5"/>'
        yield (
            f'<text class="number" x="{at:.1f}" y="{y + 3.5:.1f}" text-anchor="middle">'
            f"{number}</text>"
        )


def page(text: str) -> str:
    """The page with today's table between its markers."""
    return TABLE.sub(lambda found: found[1] + table() + found[2], text)


def main() -> None:
    """Write both."""
    (ROOT / "docs" / "images" / "structure.svg").write_text(svg(), "utf-8")
    path = ROOT / "docs" / "structure.md"
    path.write_text(page(path.read_text("utf-8")), "utf-8")


if __name__ == "__main__":
    main()
