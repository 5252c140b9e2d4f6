"""The docstrings of the public API are complete: sentence, arguments, shapes, errors, source."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import xaiutils
from xaiutils.cam import CAMS
from xaiutils.composites import COMPOSITES
from xaiutils.methods import METHODS
from xaiutils.metrics import METRICS

HOME = xaiutils._HOME
SHAPE = re.compile(r"\((?:[A-Za-z]\w*|\d+)(?:, ?(?:[A-Za-z0-9_]+|\.\.\.))*,?\)")
EQUATION = re.compile(r":math:|\.\. math::|``[^`]*(?:=|\w\(|~)[^`]*``")
SOURCE = re.compile(r"arXiv|Dhore|et al\.|\b(?:19|20)\d\d\b|zennit|captum|Quantus|grad-cam|scipy")
MATHEMATICS = ("cam", "rules", "hybrid", "stats", "baselines")
ARRAYS = re.compile(r"\bTensor\b|\bndarray\b|NDArray")


def own(module: Any) -> Iterator[tuple[str, Any]]:
    """Public functions and classes that a module defines, and the classes' public methods."""
    for name, value in vars(module).items():
        mine = getattr(value, "__module__", "") == module.__name__
        if name.startswith("_") or not mine:
            continue
        if inspect.isfunction(value):
            yield f"{module.__name__}.{name}", value
        elif inspect.isclass(value):
            yield f"{module.__name__}.{name}", value
            for key, member in vars(value).items():
                function = member.__func__ if isinstance(member, classmethod) else member
                if inspect.isfunction(function) and not key.startswith("_"):
                    yield f"{module.__name__}.{name}.{key}", function


def public() -> dict[str, Any]:
    found: dict[str, Any] = {}
    for home, names in HOME.items():
        module = importlib.import_module(f"xaiutils.{home}")
        found |= dict(own(module))
        for name in names:
            value = inspect.unwrap(getattr(module, name))
            if inspect.isfunction(value) or inspect.isclass(value):
                found[f"{value.__module__}.{value.__qualname__}"] = value
                if inspect.isclass(value):
                    defining = importlib.import_module(value.__module__)
                    start = f"{value.__module__}.{value.__qualname__}."
                    found |= {key: v for key, v in own(defining) if key.startswith(start)}
    return found


PUBLIC = public()
FUNCTIONS = {name: value for name, value in PUBLIC.items() if inspect.isfunction(value)}
each = pytest.mark.parametrize("name", sorted(PUBLIC))
each_function = pytest.mark.parametrize("name", sorted(FUNCTIONS))


def text(value: Any) -> str:
    return inspect.getdoc(value) or ""


def parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
    every = inspect.signature(function).parameters.values()
    return [one for one in every if one.name not in {"self", "cls"}]


def raised(function: Callable[..., Any]) -> set[str]:
    """The errors that a function raises itself, by name."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise) and node.exc is not None:
            error = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
            found.add(ast.unparse(error).rpartition(".")[2])
    return {name for name in found if name[:1].isupper()}


def test_there_is_a_public_api():
    assert len(PUBLIC) > 150
    for name in ("xaiutils.hybrid.explain", "xaiutils.models.Classifier.predict"):
        assert name in FUNCTIONS


@each
def test_it_begins_with_a_sentence(name):
    doc = text(PUBLIC[name])
    assert doc
    first = doc.split("\n\n")[0]
    assert re.match(r"[A-Z`:0-9(]", first)
    assert first.rstrip()[-1] in ".:", first


@each_function
def test_every_argument_is_named_where_there_are_several(name):
    function = FUNCTIONS[name]
    asked = [one.name for one in parameters(function)]
    doc = text(function)
    if len(asked) >= 4:
        missing = [a for a in asked if not re.search(rf"\b{re.escape(a)}\b", doc)]
        assert not missing


@each_function
def test_arrays_have_a_shape(name):
    function = FUNCTIONS[name]
    notes = [str(one.annotation) for one in parameters(function)]
    notes.append(str(inspect.signature(function).return_annotation))
    if any(ARRAYS.search(note) for note in notes):
        assert SHAPE.search(text(function)) or "scalar" in text(function)


@each_function
def test_its_errors_are_named(name):
    function = FUNCTIONS[name]
    missing = [error for error in raised(function) if error not in text(function)]
    assert not missing


@pytest.mark.parametrize(
    "name", [n for n in sorted(FUNCTIONS) if n.split(".")[1] in MATHEMATICS and n.count(".") == 2]
)
def test_mathematics_has_an_equation_or_a_source(name):
    doc = text(FUNCTIONS[name])
    assert EQUATION.search(doc) or SOURCE.search(doc)


@pytest.mark.parametrize("name", [*METHODS, *METRICS])
def test_a_record_says_where_it_is_from(name):
    assert len((METHODS.get(name) or METRICS[name]).source) > 8


@pytest.mark.parametrize("name", [*CAMS, *COMPOSITES])
def test_a_cam_or_composite_says_what_it_is(name):
    assert SOURCE.search((CAMS.get(name) or COMPOSITES[name]).source)
