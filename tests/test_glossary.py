"""The glossary: in order, without dead links, and with names that the code has.

Its terms are headings, since both GitHub and the book give those an anchor; MyST's ``{glossary}``
directive is a block of raw text on GitHub.
"""

from __future__ import annotations

import inspect
import json
import re
from dataclasses import fields, is_dataclass
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest

import xaiutils
from xaiutils import CAMS, COMPOSITES, METHODS, METRICS, Explanation, explain
from xaiutils.lrp.composites import paper
from xaiutils.metrics.scoring import ORACLE

DOCS = Path(__file__).parents[1] / "docs"
TEXT = (DOCS / "glossary.md").read_text("utf-8")
TERMS = re.findall(r"^## (.+)$", TEXT, flags=re.MULTILINE)
CODE = sorted(set(re.findall(r"`([^`]+)`", TEXT)) - {"xaiutils"})
LISTED = TEXT + (DOCS / "metrics.md").read_text("utf-8") + (DOCS / "methods.md").read_text("utf-8")
NAME = re.compile(r'([\w.]+?)(?:\((\w+)=\)|\["(\w+)"\])?')


@cache
def anchors(path: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub and MyST make them."""
    text = path.read_text("utf-8")
    if path.suffix == ".ipynb":
        cells = json.loads(text)["cells"]
        text = "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")
    heads = re.findall(r"^#+ (.+?) *$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def found(name: str) -> object:
    """What a dotted name stands for, from the package on; a field of a class too."""
    value: object = xaiutils
    for part in name.split("."):
        if is_dataclass(value) and part in {field.name for field in fields(value)}:
            return part
        if inspect.ismodule(value) and not hasattr(value, part):
            value = import_module(f"{value.__name__}.{part}")
        else:
            value = getattr(value, part)
    return value


def test_terms_are_sorted_and_stand_once():
    assert len(TERMS) > 60
    assert sorted(set(TERMS), key=str.casefold) == TERMS
    assert len(anchors(DOCS / "glossary.md")) == len(TERMS) + 1


def test_every_term_says_where_it_is_explained():
    for entry in TEXT.split("\n## ")[1:]:
        term, definition, last = entry.strip().split("\n\n")
        assert definition.rstrip().endswith("."), term
        assert re.fullmatch(r"(\*Code:\* .+\. )?\*See\* \[.+\]\(.+\)\.", last), term


def test_every_link_leads_somewhere():
    links = re.findall(r"\]\(([^)]+)\)", re.sub(r"`.*?`|\$.*?\$", "", TEXT))
    assert len(links) > len(TERMS)
    for link in links:
        file, _, anchor = link.partition("#")
        page = (DOCS / file).resolve() if file else DOCS / "glossary.md"
        assert page.exists(), link
        assert not anchor or anchor in anchors(page), link


@pytest.mark.parametrize("code", CODE)
def test_every_name_is_one_of_the_code(code):
    match = NAME.fullmatch(code)
    assert match, code
    name, argument, key = match.groups()
    value = found(name)
    if argument:
        assert callable(value)
        assert argument in inspect.signature(value).parameters
    if key:
        assert key in value


def test_what_is_no_name_is_found():
    with pytest.raises((AttributeError, ImportError)):
        found("hybrid.explian")
    with pytest.raises((AttributeError, ImportError)):
        found("Ledger.remainder")
    assert found("Ledger.unreceived") == "unreceived"
    assert found("composites.paper") is paper
    assert found("scoring.ORACLE") == ORACLE


def test_every_metric_composite_and_cam_is_listed():
    assert [n for n in METRICS if f"### `{n}` " not in LISTED] == []
    assert [n for n in COMPOSITES if f"`lrp_{n}`" not in LISTED] == []
    assert [n for n in CAMS if f"| `{n}` |" not in LISTED] == []
    assert [n for n in METHODS if f"| `{n}` |" not in LISTED] == []


def test_every_argument_and_result_of_explain_is_listed():
    arguments = inspect.signature(explain).parameters
    assert [n for n in arguments if f"`explain({n}=)`" not in TEXT] == []
    results = [field.name for field in fields(Explanation)] + ["retention"]
    assert [n for n in results if f"`Explanation.{n}`" not in TEXT] == []
