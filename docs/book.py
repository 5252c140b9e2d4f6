"""What the book's configuration computes: its API pages, and links that need a repository."""

from __future__ import annotations

import json
import os
import pkgutil
import re
import tomllib
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

ROOT = Path(__file__).parents[1]
# Loaded by Dask's workers alone; and a module whose name a function of its package has.
HIDDEN = {"xaiutils.study.deaf", "xaiutils.methods.combine"}


def repository(text: str | None = None) -> str:
    """Where the repository is: ``XAIUTILS_REPOSITORY``, or pyproject's setting; empty if unknown.

    Raises:
        ValueError: It is no https address of a repository.
    """
    if text is None:
        project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
        text = os.environ.get("XAIUTILS_REPOSITORY", project["tool"]["xaiutils"]["repository"])
    url = urlsplit(text)
    if text and (url.scheme != "https" or len(url.path.strip("/").split("/")) != 2):
        raise ValueError(f"repository must be https://HOST/OWNER/NAME or empty, got {text!r}")
    return text.rstrip("/")


def theme_options(where: str) -> dict[str, Any]:
    """Launch, source and edit buttons where the repository is known; none are invented."""
    if not where:
        return {"use_download_button": True}
    return {
        "use_download_button": True,
        "repository_url": where,
        "repository_branch": "main",
        "use_repository_button": True,
        "use_issues_button": True,
        "use_edit_page_button": True,
        "launch_buttons": {
            "binderhub_url": "https://mybinder.org",
            "colab_url": "https://colab.research.google.com",
        },
    }


def modules() -> list[str]:
    """All public modules, by name."""
    import xaiutils

    found = [one.name for one in pkgutil.walk_packages(xaiutils.__path__, "xaiutils.")]
    private = [name for name in found if any(part[0] == "_" for part in name.split("."))]
    return sorted({"xaiutils", *found} - HIDDEN - set(private))


def references(notebooks: Path, page: Path) -> list[str]:
    """Write the page of all works that the notebooks cite, each once, in order of its name."""
    found: dict[str, list[str]] = {}
    for path in sorted(notebooks.glob("[0-9]*.ipynb")):
        cells = json.loads(path.read_text("utf-8"))["cells"]
        text = "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")
        for work in re.findall(r"^\d+\. (.+)$", text.rpartition("## References")[2], re.MULTILINE):
            found.setdefault(work.strip(), []).append(
                f"[{path.name[:2]}](../notebooks/{path.name})"
            )
    lines = [f"- {work} Cited in {', '.join(found[work])}." for work in sorted(found)]
    text = "# References\n\nAll works that the notebooks cite.\n\n" + "\n".join(lines) + "\n"
    if not page.exists() or page.read_text("utf-8") != text:
        page.write_text(text, "utf-8")
    return sorted(found)


def api_pages(folder: Path) -> list[Path]:
    """Write a page for each module, and remove those of modules that are gone."""
    folder.mkdir(exist_ok=True)
    pages = []
    for name in modules():
        page = folder / f"{name}.rst"
        title = name.removeprefix("xaiutils.")
        text = f"{title}\n{'=' * len(title)}\n\n.. automodule:: {name}\n   :members:\n"
        text += "   :ignore-module-all:\n"
        if not page.exists() or page.read_text("utf-8") != text:
            page.write_text(text, "utf-8")
        pages.append(page)
    for page in set(folder.glob("*.rst")) - set(pages):
        page.unlink()
    return pages
