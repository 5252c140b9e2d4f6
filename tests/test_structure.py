"""The picture and the table of docs/structure.md are those of today's imports and docstrings."""

from __future__ import annotations

import re
import sys
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "docs"))

import structure  # noqa: E402
from test_architecture import PLACE  # noqa: E402

STALE = "run: python docs/structure.py"


def test_the_picture_is_that_of_the_code():
    drawn = (ROOT / "docs" / "images" / "structure.svg").read_text("utf-8")
    assert drawn == structure.svg(), STALE
    words = {node.text for node in ElementTree.fromstring(drawn).iter() if node.text}
    assert {structure.label(name) for name in PLACE} - words == {"checks"}  # it is the ground


def test_the_table_is_that_of_the_docstrings():
    text = (ROOT / "docs" / "structure.md").read_text("utf-8")
    assert text == structure.page(text), STALE
    links = re.findall(r"\]\(([^)#]+)\)", re.sub(r"`.*?`", "", text))
    assert len(links) > len(PLACE)
    assert [link for link in links if not (ROOT / "docs" / link).exists()] == []


def test_the_functions_that_it_names_exist():
    text = (ROOT / "docs" / "structure.md").read_text("utf-8")
    named = re.findall(r"`((?:cam|hybrid|rules|composites|lrp)\.\w+)`", text)
    assert len(named) == 10
    for module, name in (one.split(".") for one in named):
        assert hasattr(import_module(f"xaiutils.{module}"), name)


def test_arrows_lead_down_and_nothing_that_is_imported_is_lost():
    found = structure.imports()
    edges, ground = structure.needed(found)
    row = structure.rows_of(edges, [name for name in PLACE if name not in ground])
    assert all(row[a] > row[b] and PLACE[a] > PLACE[b] for a, b in edges)
    drawn = {name: {b for a, b in edges if a == name} for name in found}
    kept = {name: others - ground for name, others in found.items()}
    assert structure.closure(drawn) == structure.closure(kept)


def test_an_import_that_others_imply_is_not_drawn():
    found = {"hybrid": {"lrp", "rules"}, "lrp": {"rules"}, "rules": set(), "cam": set()}
    assert structure.needed(found)[0] == [("hybrid", "lrp"), ("lrp", "rules")]


def test_boxes_stand_apart_and_arrows_pass_between_them():
    edges, ground = structure.needed(structure.imports())
    names = [name for name in PLACE if name not in ground]
    drawing = structure.Drawing(edges, structure.rows_of(edges, names), structure.wide)
    for level in drawing.levels:
        ends = [
            (drawing.x[node] - drawing.half(node), drawing.x[node] + drawing.half(node))
            for node in level
        ]
        assert ends[0][0] >= 0
        assert ends[-1][1] <= structure.WIDTH
        assert all(a[1] + 5 < b[0] for a, b in pairwise(ends))
