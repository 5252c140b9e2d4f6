"""What the book's configuration computes: its API pages, and links that need a repository."""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import re
import tomllib
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

ROOT = Path(__file__).parents[1]
# A module whose name a function of its package has.
HIDDEN = {"xaiutils.methods.combination"}
# As docstrings cite: Fu et al. 2020 (arXiv 2008.02312).
ARXIV = re.compile(r"([^\W\d_]+ et al\. \d{4})\W+(?:\w+\W+)?arXiv (\d{4}\.\d{4,5})")
HOSTS = ("github.com", "gitlab.com")


def repository(text: str | None = None) -> str:
    """Where the repository is: ``XAIUTILS_REPOSITORY``, or pyproject's setting; empty if unknown.

    Raises:
        ValueError: It is no https address of a repository on a host that the theme knows.
    """
    if text is None:
        project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
        text = os.environ.get("XAIUTILS_REPOSITORY", project["tool"]["xaiutils"]["repository"])
    url = urlsplit(text)
    known = url.scheme == "https" and url.netloc in HOSTS
    if text and (not known or len(url.path.strip("/").split("/")) != 2):
        hosts = " or ".join(HOSTS)
        raise ValueError(
            f"repository must be https://HOST/OWNER/NAME on {hosts}, or empty; got {text!r}"
        )
    return text.rstrip("/")


def theme_options(where: str) -> dict[str, Any]:
    """Launch, source and edit buttons where the repository is known; none are invented."""
    options: dict[str, Any] = {"use_download_button": True, "max_navbar_depth": 1}
    if not where:
        return options
    launch = {"binderhub_url": "https://mybinder.org"}
    if urlsplit(where).netloc == "github.com":  # Colab opens notebooks of no other host
        launch["colab_url"] = "https://colab.research.google.com"
    return options | {
        "repository_url": where,
        "repository_branch": "main",
        "use_repository_button": True,
        "use_issues_button": True,
        "use_edit_page_button": True,
        "launch_buttons": launch,
    }


def no_edit(_app: Any, page: str, _template: str, context: dict[str, Any], _tree: Any) -> None:
    """No edit button on pages written at build: their files are not in the repository."""
    if page.startswith("docs/api/") or page == "docs/references":
        context["page_source_suffix"] = ""


def modules() -> list[str]:
    """All public modules, by name."""
    import xaiutils

    found = [one.name for one in pkgutil.walk_packages(xaiutils.__path__, "xaiutils.")]
    private = [name for name in found if any(part[0] == "_" for part in name.split("."))]
    return sorted({"xaiutils", *found} - HIDDEN - set(private))


def references(notebooks: Path, package: Path, page: Path) -> list[str]:
    """Write the page of all works that are cited, each once, in order of its name.

    Two notebooks may cite a work in two ways: they are one work if their titles begin alike, and
    the fullest way is shown. Of the modules, the works that no notebook cites are added.
    """
    ways: dict[str, list[str]] = {}
    cited: dict[str, list[str]] = {}
    for path in sorted(notebooks.glob("[0-9]*.ipynb")):
        cells = json.loads(path.read_text("utf-8"))["cells"]
        text = "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")
        for work in re.findall(r"^\d+\. (.+)$", text.rpartition("## References")[2], re.MULTILINE):
            ways.setdefault(_title(work), []).append(work.strip())
            cited.setdefault(_title(work), []).append(
                f"[{path.name[:2]}](../notebooks/{path.name})"
            )
    told = " ".join(work for works in ways.values() for work in works)
    for path in sorted(package.rglob("*.py")):
        name = ".".join(path.relative_to(package.parent).with_suffix("").parts)
        for who, number in sorted(set(ARXIV.findall(path.read_text("utf-8")))):
            if number not in told:
                work = f"{who}, [arXiv:{number}](https://arxiv.org/abs/{number})."
                ways.setdefault(number, []).append(work)
                cited.setdefault(number, []).append(f"[{name}](api/{name}.rst)")
    found = {max(works, key=len): cited[key] for key, works in ways.items()}
    lines = [f"- {work} Cited in {', '.join(found[work])}." for work in sorted(found)]
    text = (
        "# References\n\nAll works that notebooks and modules cite.\n\n" + "\n".join(lines) + "\n"
    )
    if not page.exists() or page.read_text("utf-8") != text:
        page.write_text(text, "utf-8")
    return sorted(found)


def _title(work: str) -> str:
    """What a work is known by: its title's beginning, in quotes or italics."""
    title = re.search(r'["“*]([^"”*]+)["”*]', work)
    return re.sub(r"[^a-z0-9+]", "", (title[1] if title else work).split(":")[0].lower())[:24]


def api_pages(folder: Path) -> list[Path]:
    """Write a page for each module and one that lists them; remove those of modules gone.

    A list, no tree of contents: in every page's sidebar they would be the most part, and two
    fifths of the time that the book takes.
    """
    folder.mkdir(exist_ok=True)
    texts = {"index": "All modules\n===========\n\n"}
    for name in modules():
        title = name.removeprefix("xaiutils.")
        says = (importlib.import_module(name).__doc__ or "").partition("\n")[0]
        texts["index"] += f"- :doc:`{title} <{name}>`: {says}\n"
        texts[name] = f":orphan:\n\n{title}\n{'=' * len(title)}\n\n.. automodule:: {name}\n"
        texts[name] += "   :members:\n   :ignore-module-all:\n"
    pages = []
    for name, text in texts.items():
        page = folder / f"{name}.rst"
        if not page.exists() or page.read_text("utf-8") != text:
            page.write_text(text, "utf-8")
        pages.append(page)
    for page in set(folder.glob("*.rst")) - set(pages):
        page.unlink()
    return pages
