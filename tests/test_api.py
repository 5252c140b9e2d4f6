"""The public API: one list, nothing private used from outside, and docstrings that say it all.

What is read here is what `_HOME` in `xaiutils/__init__.py` names: functions, classes with their
methods, and the modules with the functions and classes that they define (of a package: what its
``__all__`` names). To these come the functions behind `METHODS` and `METRICS`.
"""

from __future__ import annotations

import ast
import inspect
import json
import re
import textwrap
from collections.abc import Iterator
from functools import cache, partial
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

import xaiutils
from xaiutils.cam import CAMS
from xaiutils.lrp.composites import COMPOSITES
from xaiutils.methods import METHODS
from xaiutils.metrics import METRICS
from xaiutils.support import checks

ROOT = Path(__file__).parents[1]
FEW = 2  # parameters that a sentence may leave to their names and types
# A shape: dimensions in brackets, separated by commas; each a letter, a number or an ellipsis.
DIMENSION = r"(?:\.\.\.|[A-Za-z]'?|\d+|SIZE)"
SHAPE = re.compile(rf"\({DIMENSION}(?:, {DIMENSION})+\)|\({DIMENSION},\)")
ARRAYS = re.compile(r"\b(Tensor|ndarray|NDArray|ArrayLike|Array|Mask)\b")
EQUATION = re.compile(r":math:`|\.\. math::|``[^`]+ [=~] [^`]+``")
YEAR = re.compile(r"\b(?:18|19|20)\d\d\b")
PAPER = re.compile(r"Dhore et al\..*section III")  # this project's paper, without a year here
# What every method and every metric is called with is described by `Method` and `Metric`.
CALLED_WITH = {"classifier", "x", "target", "case", "attribution", "explainer", "seed"}
SOURCED = ("baselines", "rules", "cam", "hybrid", "metrics", "stats")


def of_module(name: str) -> Iterator[tuple[str, Any]]:
    """The public functions and classes of a module; of a package those in its ``__all__``."""
    module = import_module(f"xaiutils.{name}")
    chosen = module.__all__ if hasattr(module, "__path__") else vars(module)
    for key in sorted(chosen):
        one = getattr(module, key)
        own = hasattr(module, "__path__") or getattr(one, "__module__", "") == module.__name__
        if key[0] != "_" and own and (inspect.isfunction(one) or inspect.isclass(one)):
            yield key, one


def described(one: Any) -> bool:
    return inspect.isfunction(one) or inspect.isclass(one)


@cache
def public() -> dict[str, Any]:
    """All that has a docstring to read, by a name that says where it is."""
    found: dict[str, Any] = {}
    for home, names in xaiutils._HOME.items():
        named = [(name, getattr(xaiutils, name)) for name in names]
        for key, one in [*of_module(home), *((k, v) for k, v in named if described(v))]:
            found[f"{one.__module__.removeprefix('xaiutils.')}.{key}"] = one
    for record in (*METHODS.values(), *METRICS.values()):
        function = record.function
        function = function.func if isinstance(function, partial) else function
        if function.__name__[0] != "_" and "<locals>" not in function.__qualname__:
            found[f"{function.__module__.removeprefix('xaiutils.')}.{function.__name__}"] = function
    for name, one in list(found.items()):
        if inspect.isclass(one) and one.__module__.startswith("xaiutils"):
            for key, member in vars(one).items():
                inner = getattr(member, "fget", getattr(member, "func", member))
                inner = getattr(inner, "__func__", inner)
                own = getattr(inner, "__qualname__", "") == f"{one.__qualname__}.{key}"
                own = own and getattr(inner, "__module__", "") == one.__module__
                if key[0] != "_" and inspect.isfunction(inner) and own:
                    found[f"{name}.{key}"] = inner
    return found


def source_of(one: Any) -> ast.FunctionDef | ast.ClassDef:
    node = ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(one)))).body[0]
    assert isinstance(node, ast.FunctionDef | ast.ClassDef)
    return node


def parameters(one: Any) -> dict[str, str]:
    """Names and annotations: of a function's parameters, of a class's fields."""
    if inspect.isclass(one):
        fields = getattr(one, "__dataclass_fields__", None) or getattr(one, "_fields", ())
        kinds = inspect.get_annotations(one)
        return {name: str(kinds.get(name, "")) for name in fields if name[0] != "_"}
    found = inspect.signature(one).parameters.values()
    return {p.name: str(p.annotation) for p in found if p.name not in ("self", "cls")}


def section(doc: str, *titles: str) -> str:
    """The indented lines below one of Google's headings."""
    found = re.search(rf"^(?:{'|'.join(titles)}):\n((?:(?: +.*)?\n)+)", doc + "\n", re.MULTILINE)
    return found[1] if found else ""


def named(doc: str) -> set[str]:
    """Parameters that a docstring names: as an entry of Args, or in double backquotes.

    An entry begins its line or follows the full stop of another one: ``low, high: The ends.``
    """
    entries = re.findall(
        r"(?:^ +|\. )((?:\*{0,2}\w+)(?:, \*{0,2}\w+)*): ", section(doc, "Args", "Attributes"),
        flags=re.MULTILINE,
    )  # fmt: skip
    quoted = re.findall(r"``(\w+)(?:=[^`]*)?``", doc)
    return {name.strip(" *") for entry in entries for name in entry.split(",")} | set(quoted)


def raised(node: ast.AST) -> set[str]:
    """The exceptions that a body raises itself, and ValueError for what `checks` raises."""
    found = set()
    for one in ast.walk(node):
        if isinstance(one, ast.Raise) and one.exc is not None:
            error = one.exc.func if isinstance(one.exc, ast.Call) else one.exc
            if isinstance(error, ast.Name) and error.id[0].isupper():
                found.add(error.id)
        elif isinstance(one, ast.Call) and isinstance(one.func, ast.Attribute):
            owner = one.func.value
            checks = isinstance(owner, ast.Name) and owner.id == "checks"
            if checks and one.func.attr not in ("describe", "shape"):
                found.add("ValueError")
    return found


def wanting(name: str, one: Any) -> list[str]:
    """What a docstring lacks."""
    doc = inspect.cleandoc(one.__doc__ or "")
    given, missing = parameters(one), []
    if not re.match(r"\S.*?\.(\s|$)", doc.split("\n\n")[0].replace("\n", " ")):
        missing.append("a summary sentence that ends with a full stop")
    told = named(doc)
    if name.startswith(("methods.", "metrics.")) and not inspect.isclass(one):
        told |= CALLED_WITH
        given = {key: kind for key, kind in given.items() if key != "attribution"}
    if len(given) > FEW:
        missing += [f"its parameter {key}" for key in given if key not in told]
    node = source_of(one)
    body: ast.AST = node
    if isinstance(node, ast.ClassDef):  # methods speak for themselves, but not the constructor
        made = [n for n in node.body if getattr(n, "name", "") in ("__init__", "__post_init__")]
        body = ast.Module(body=made, type_ignores=[])
        doc += "".join(ast.get_docstring(n) or "" for n in made if isinstance(n, ast.FunctionDef))
    raises = section(doc, "Raises")
    missing += [f"Raises: {error}" for error in sorted(raised(body)) if error not in raises]
    result = "" if inspect.isclass(one) else str(inspect.signature(one).return_annotation)
    arrays = [text for text in (*given.values(), result) if ARRAYS.search(text)]
    if arrays and not SHAPE.search(doc):
        missing.append("the shape of an array")
    return missing


def test_the_public_names_are_those_of_the_one_list():
    names = [name for home, names in xaiutils._HOME.items() for name in (home, *names)]
    assert sorted(names) == xaiutils.__all__ == dir(xaiutils)
    assert len(set(names)) == len(names)
    own = {
        key
        for key, value in vars(xaiutils).items()
        if key[0] != "_" and key not in names and not isinstance(value, ModuleType)
    }
    assert own == {"Any", "annotations", "import_module"}, "a name beside the list"


@pytest.mark.parametrize("home", xaiutils._HOME)
def test_every_name_is_had_from_the_package_and_is_its_home_s(home):
    module = import_module(f"xaiutils.{home}")
    assert getattr(xaiutils, home) is module
    for name in xaiutils._HOME[home]:
        assert name[0] != "_"
        assert getattr(xaiutils, name) is getattr(module, name)
        assert name in getattr(module, "__all__", (name,))


def code_of(path: Path) -> str:
    """The Python of a file: all of it, a notebook's code cells, or a page's Python blocks."""
    text = path.read_text("utf-8")
    if path.suffix == ".ipynb":
        cells = json.loads(text)["cells"]
        lines = "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "code")
        return re.sub(r"^[%!].*", "", lines, flags=re.MULTILINE)
    if path.suffix == ".md":
        return "\n".join(re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL))
    return text


def private_names(code: str) -> set[str]:
    """Names with an underscore in front that code takes from this package or its modules."""
    tree = ast.parse(code)
    found: set[str] = set()
    ours: dict[str, str] = {}  # names that stand for the package or something of it
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "xaiutils":
            for alias in node.names:
                ours[alias.asname or alias.name] = alias.name
                found |= {p for p in (*str(node.module).split("."), alias.name) if p[0] == "_"}
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "xaiutils":
                    ours[alias.asname or "xaiutils"] = alias.name
                    found |= {part for part in alias.name.split(".") if part[0] == "_"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr[0] == "_" and node.attr[:2] != "__":
            root: ast.AST = node.value
            while isinstance(root, ast.Attribute | ast.Call | ast.Subscript):
                root = root.func if isinstance(root, ast.Call) else root.value
            if isinstance(root, ast.Name) and root.id in ours:
                found.add(node.attr)
    return found


USERS = [
    *sorted(ROOT.glob("notebooks/*.ipynb")),
    ROOT / "README.md",
    *(path for suffix in ("md", "py") for path in sorted(ROOT.glob(f"docs/*.{suffix}"))),
    *sorted(ROOT.glob("benchmarks/*.py")),
]


@pytest.mark.parametrize("path", USERS, ids=lambda path: path.name)
def test_nothing_private_is_used_from_outside(path):
    # docs/api.py writes the page of the list, and may read it.
    assert private_names(code_of(path)) <= ({"_HOME"} if path.name == "api.py" else set())


@pytest.mark.parametrize(
    "code",
    [
        "from xaiutils.evidence.results import _read",
        "from xaiutils import _HOME",
        "import xaiutils as xai\nxai.results._read(1)",
        "import xaiutils.evidence.results\nxaiutils.results._read(1)",
        "from xaiutils import METHODS\nMETHODS['lime'](1)._one",
    ],
)
def test_the_reader_of_private_names_sees_every_form(code):
    assert private_names(code) & {"_read", "_HOME", "_one"}
    assert (
        private_names(code.replace("_read", "read").replace("_HOME", "x").replace("_o", "o"))
        == set()
    )


def test_there_is_a_public_api_to_read():
    assert len(public()) > 250
    for name in (
        "hybrid.explain",
        "models.Classifier.predict",
        "metrics.road.road",
        "scenes.Split",
    ):
        assert name in public()


def test_the_reader_of_docstrings_sees_what_is_wanting():
    def bad(x: torch.Tensor, y: int, size: int) -> None:
        """No stop"""
        checks.number("y", y)
        raise TypeError

    assert wanting("here.bad", bad) == [
        "a summary sentence that ends with a full stop",
        "its parameter x",
        "its parameter y",
        "its parameter size",
        "Raises: TypeError",
        "Raises: ValueError",
        "the shape of an array",
    ]

    def good(x: torch.Tensor, y: int, size: int) -> None:
        """A sentence.

        Args:
            x: (N, H, W).
            y, size: Numbers.

        Raises:
            TypeError, ValueError: Always.
        """
        checks.number("y", y)
        raise TypeError

    assert wanting("here.good", good) == []


@pytest.mark.parametrize("name", sorted(public()))
def test_docstrings_say_what_is_taken_given_and_raised(name):
    assert wanting(name, public()[name]) == []


RECORDS = {
    f"{title}[{name!r}]": record
    for title, table in (
        ("METHODS", METHODS),
        ("METRICS", METRICS),
        ("COMPOSITES", COMPOSITES),
        ("CAMS", CAMS),
    )
    for name, record in table.items()
}
ORIGIN = re.compile(r"\bcaptum|\bgrad-cam|\bown;|^chance level: ")  # what has no paper


def has_source(text: str) -> bool:
    """Whether a text has an equation, or names a work: by its year, or this project's paper."""
    return bool(EQUATION.search(text) or YEAR.search(text) or PAPER.search(text))


@pytest.mark.parametrize("name", RECORDS)
def test_every_record_says_where_it_comes_from(name):
    source = RECORDS[name].source
    assert has_source(source) or ORIGIN.search(source), source


@cache
def sourced(name: str) -> bool:
    """Whether a function's docstring has a source, or refers to a function here that has one."""
    doc = public()[name].__doc__ or ""
    records = [r for r in METRICS.values() if getattr(r.function, "__doc__", "") == doc]
    if has_source(doc) or any(has_source(record.source) for record in records):
        return True
    home = name.rpartition(".")[0]
    others = (f"{home}.{other}" for other in re.findall(r"`(\w+)`", doc))
    return any(other in public() and other != name and sourced(other) for other in others)


@pytest.mark.parametrize(
    "name",
    [
        name
        for name, one in sorted(public().items())
        if name.startswith(tuple(f"{home}." for home in SOURCED))
        and inspect.isfunction(one)
        and "." not in one.__qualname__
        and not str(inspect.signature(one).return_annotation).startswith(("list", "bool", "str"))
    ],
)
def test_what_is_computed_has_an_equation_or_a_source(name):
    assert sourced(name)
