"""Write docs/api.md, every public name of the package: ``python docs/api.py``."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import xaiutils

ROOT = Path(__file__).parents[1]
TABLES = {  # a dictionary has no docstring
    "CAMS": "The class activation maps that `explain` takes, by name.",
    "COMPOSITES": "The composites of LRP rules, by name.",
    "METHODS": "Every explainer, by name.",
    "METRICS": "Every metric, by name.",
    "MODELS": "Every network that `load_model` knows, by name.",
}
HEAD = """# Public names

What `import xaiutils as xai` gives, written by `python docs/api.py`: all names that are public, and
no others. Each is loaded when it is first used. Signatures are in the book's pages of the modules.
"""


def sentence(text: str) -> str:
    """The first sentence of a docstring, as Markdown."""
    first = re.split(r"(?<=[.?])\s", " ".join(text.partition("\n\n")[0].split()))[0]
    first = re.sub(r":math:`([^`]+)`", r"$\1$", first)
    return first.replace("``", "`").replace("|", r"\|")


def home(name: str) -> str:
    """A link to the file of a module."""
    module = inspect.getsourcefile(getattr(xaiutils, name))
    return f"[{name}](../{Path(str(module)).relative_to(ROOT)})"


def page() -> str:
    """The page as one text."""
    lines = [
        HEAD,
        "## Verbs, records and tables\n",
        "| name | what it is | home |",
        "|---|---|---|",
    ]
    names = {name: where for where, names in xaiutils._HOME.items() for name in names}
    for name in sorted(names, key=str.casefold):
        told = TABLES.get(name) or sentence(inspect.getdoc(getattr(xaiutils, name)) or "")
        lines.append(f"| `{name}` | {told} | {home(names[name])} |")
    lines += ["\n## Modules\n", "| name | what it is |", "|---|---|"]
    for name in sorted(xaiutils._HOME):
        told = sentence(inspect.getdoc(getattr(xaiutils, name)) or "")
        lines.append(f"| {home(name)} | {told} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    (ROOT / "docs" / "api.md").write_text(page(), "utf-8")
