"""The package's shape: which module may import which, what importing it loads.

`LAYERS` is the design's one-way order, low to high. A module may import those of lower layers
and, inside a folder, its own folder. A new module fails until it has a place here.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "xaiutils"
ROOT = "__init__"  # names of everything, loaded lazily: it imports nothing at the top
LAYERS: tuple[tuple[str, ...], ...] = (
    ("checks", "passes", "memo", "batches", "files", "shipped", "chance", "borrowed"),
    (
        "operations",
        "processes",
        "decode",
        "weights",
        "plots",
        "stats",
        "forensics",
        "baselines",
        "scene_shapes",
        "yours",
        "registry",
        "meddling",
        "fixed",
        "structure",
    ),  # arrays alone
    (
        "score_table",
        "claims",
        "steps",
        "images",
        "rules",
        "scene_layout",
        "scene_drawing",
        "targets",
    ),
    ("arrays", "transforms", "verdicts", "ledger"),
    ("compute", "capture", "scene_net"),
    ("uncaptured", "usable"),
    ("graph",),
    ("composites", "cam", "positions", "boxes", "imagenet_files", "scenes"),
    ("plan", "explanation", "imagenet", "scene_weights", "twin", "cam_layer"),
    ("shares", "training"),
    ("lrp",),
    ("models",),
    ("one_pass", "workloads"),
    ("hybrid",),
    ("related", "rollout", "layerwise", "questions"),
    ("methods",),
    ("metrics",),
    ("scoring",),
    ("agreement", "experiments", "fingerprint", "explorer"),
    ("results",),
    ("evidence", "page"),
    ("executed", "study"),
    ("figures",),
    ("userstudy",),
    ("cli_evidence", "cli_explain", "cli_study", "cli_user_study"),
    ("cli",),
)
PLACE = {name: level for level, names in enumerate(LAYERS) for name in names}
# What the design says beyond the order: these know nothing of pictures, or of networks.
ONLY: dict[str, set[str]] = {
    "plots": {"checks", "files"},
    "stats": {"checks"},
    "forensics": {"checks"},
    "score_table": {"checks", "stats"},
    "claims": {"checks"},
    "verdicts": {"claims", "stats", "score_table"},
    "memo": set(),
    "batches": set(),
    "shipped": set(),
    "files": set(),
    "baselines": {"checks"},
    "cam": {"checks"},
    "targets": {"checks", "memo"},
    "fixed": {"checks"},
    "arrays": {"checks", "images"},
    "transforms": {"checks", "images"},
    "rules": {"checks"},
    "operations": set(),
    "registry": {"checks", "borrowed"},
    "checks": set(),
    "chance": set(),
    "borrowed": set(),
    "steps": {"operations"},
    "capture": {"chance", "borrowed", "operations", "steps", "structure"},
    "structure": set(),
    "compute": {"operations", "steps"},
    "uncaptured": {"chance", "checks", "passes", "capture", "operations", "steps"},
    "graph": {
        *("checks", "passes", "operations", "steps", "structure", "capture", "compute"),
        "uncaptured",
    },
    "twin": {"passes", "capture", "compute", "graph", "steps"},
    "positions": {"operations", "steps"},
    "cam_layer": {"positions", "operations", "graph", "steps", "uncaptured"},
    "composites": {"checks", "operations", "steps", "rules"},
    "ledger": {"steps"},
    "plan": {"checks", "operations", "graph", "steps", "rules", "composites"},
    "shares": {"operations", "steps", "rules", "plan", "ledger"},
    "lrp": {"operations", "graph", "steps", "rules", "plan", "ledger", "shares"},
}
FILES = sorted(PACKAGE.rglob("*.py"))


def unit(path: Path) -> str:
    """The module's name as `LAYERS` has it: a file's, or that of the folder it is in."""
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def imported(path: Path) -> set[str]:
    """The modules of this package that a file imports, at the top or inside a function."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: imports are absolute"
            whole = node.module == "xaiutils"
            names = [f"xaiutils.{a.name}" if whole else str(node.module) for a in node.names]
        found |= {name.split(".")[1] for name in names if name.startswith("xaiutils.")}
    return found


def name(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


def test_every_module_has_one_place():
    units = {unit(path) for path in FILES} - {ROOT}
    listed = [name for names in LAYERS for name in names]
    assert sorted(listed) == sorted(set(listed))
    assert units == set(listed)
    assert set(ONLY) <= units


@pytest.mark.parametrize("path", FILES, ids=name)
def test_imports_run_one_way(path):
    own = unit(path)
    others = imported(path) - {own}
    if own == ROOT:
        assert not others
        return
    wrong = {other for other in others if PLACE[other] >= PLACE[own]}
    assert not wrong, f"{name(path)} must import lower layers only, imports {sorted(wrong)}"
    if own in ONLY:
        assert others <= ONLY[own]


def test_the_reader_of_imports_sees_every_form(tmp_path):
    file = tmp_path / "module.py"
    file.write_text(
        "import xaiutils.cam\nimport os\nfrom xaiutils import checks, lrp as l\n"
        "def f():\n    from xaiutils.plots.style import save\n"
    )
    assert imported(file) == {"cam", "checks", "lrp", "plots"}


@pytest.mark.parametrize("path", FILES, ids=name)
def test_a_module_says_what_it_is(path):
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize("path", [p for p in FILES if unit(p) != "cli"], ids=name)
def test_only_the_command_line_prints(path):
    calls = [
        n.func for n in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(n, ast.Call)
    ]
    assert not [f for f in calls if isinstance(f, ast.Name) and f.id == "print"]


def run(code: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    return done.stdout.split()


def test_importing_the_package_is_light():
    heavy = ("torch", "torchvision", "captum", "matplotlib", "quantus", "pytorch_grad_cam", "scipy")
    loaded = run(f"import xaiutils, sys; print(*[n for n in {heavy} if n in sys.modules])")
    assert loaded == []


def test_explaining_loads_no_other_explanation_library():
    heavy = ("captum", "quantus", "pytorch_grad_cam", "matplotlib", "cv2", "skimage", "IPython")
    loaded = run(
        f"import xaiutils as x, sys; x.explain; x.load_model; x.Sample; x.COMPOSITES; "
        f"print('xaiutils.hybrid' in sys.modules, *[n for n in {heavy} if n in sys.modules])"
    )
    assert loaded == ["True"]


def test_scenes_are_explained_without_torchvision():
    """It takes a second to import, of each kernel and of each worker."""
    loaded = run(
        "import sys, xaiutils as x; work = x.load_workload('scenes', 'unit'); "
        "x.explain(work.classifier, work.batch([0])[1]); "
        "print(*[n for n in ('torchvision',) if n in sys.modules])"
    )
    assert loaded == []


def test_a_small_network_is_not_run_on_large_pictures_to_learn_its_shapes():
    """23 pictures of 20,000 x 20,000 would be 110 GB; the meta device takes none of them."""
    found = run(
        "import sys, torch; from torch import nn; from xaiutils.network.graph import Graph; "
        "net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval(); "
        "print(Graph(net, (3, 20_000, 20_000)).classes)"
    )
    assert found == ["4"]


def test_every_public_name_can_be_had():
    found = run(
        "import xaiutils as x; "
        "print(*[n for n in dir(x) if getattr(x, n) is None], len(dir(x)), x.__version__)"
    )
    assert int(found[0]) > 20
    assert found[1:] == ["1.0.0"]


def test_an_unknown_name_is_an_attribute_error():
    import xaiutils

    with pytest.raises(AttributeError, match="module 'xaiutils' has no attribute 'explian'"):
        _ = xaiutils.explian
