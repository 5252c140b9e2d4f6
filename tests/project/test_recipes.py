"""docs/your-own.md, block by block, on a network and pictures that the library has never seen."""

from __future__ import annotations

import copy
import importlib
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import PIL.Image
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import xaiutils as xai
from xaiutils import metrics
from xaiutils.apps.cli import __main__ as cli

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "your-own.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(python|sh)\n(.*?)```", PAGE, flags=re.DOTALL)


@pytest.fixture(scope="module")
def desk(tmp_path_factory) -> Path:
    """A folder as a user has it: a module, its weights, labelled pictures, one odd photograph."""
    folder = tmp_path_factory.mktemp("desk")
    shutil.copy(ROOT / "tests" / "own" / "residual.py", folder)
    before = list(sys.path), torch.get_num_threads(), torch.get_rng_state()
    sys.path.insert(0, str(folder))
    torch.set_num_threads(1)
    try:
        residual = importlib.import_module("residual")
        torch.save(residual.train().state_dict(), folder / "residual.pt")
        (folder / "pictures").mkdir()
        for index in range(24):
            grey, _, label = residual.draw(index)
            name = f"{residual.CLASSES[label]}-{index}.png"
            PIL.Image.fromarray(grey).save(folder / "pictures" / name)
        shape = ("ring", "blob")
        for index in range(24, 200):  # the page names these two
            grey, _, label = residual.draw(index)
            kind = residual.CLASSES[label]
            wanted = {"ring": "ring-0.png", "blob": "blob-3.png"}.get(kind)
            if wanted and kind in shape and not (folder / "pictures" / wanted).exists():
                PIL.Image.fromarray(grey).save(folder / "pictures" / wanted)
        exif = PIL.Image.Exif()
        exif[0x0112] = 6  # held on its side
        colour = np.random.default_rng(0).integers(0, 255, (333, 517, 3), dtype=np.uint8)
        PIL.Image.fromarray(colour).save(folder / "holiday.jpg", exif=exif)
    finally:
        torch.set_num_threads(before[1])
        torch.set_rng_state(before[2])
        sys.path[:] = before[0]
    yield folder
    sys.modules.pop("residual", None)


@pytest.fixture
def here(desk: Path, monkeypatch) -> Path:
    monkeypatch.chdir(desk)
    monkeypatch.syspath_prepend(desk)
    old = os.environ.get("PYTHONPATH")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(desk), old])))
    return desk


@pytest.fixture
def mine(here: Path) -> Any:
    return xai.load_model("residual:classifier")


def test_every_block_of_the_page_runs(here, capsys):
    names: dict[str, Any] = {}
    books = here / "books"
    books.mkdir()
    book = nbformat.v4.new_notebook()
    source = (
        "from xaiutils.cases.workloads import load_workload\nfrom xaiutils import plots\n"
        "work = load_workload()\nprint(work.name)\nplots.panels([work.picture(work.samples[0])])"
    )
    book.cells.append(nbformat.v4.new_code_cell(source))
    nbformat.write(book, books / "01_one.ipynb")
    kinds = [kind for kind, _ in BLOCKS]
    assert (kinds.count("python"), kinds.count("sh")) == (7, 2)
    for kind, block in BLOCKS:
        if kind == "python":
            exec(block, names)
            continue
        for line in block.splitlines():
            command, *words = shlex.split(line)
            assert command == ".venv/bin/xaiutils"
            words += ["--notebooks", str(books)] if words[0] == "figures" else []
            assert cli.main(words) == 0, (line, capsys.readouterr().err)
    printed = capsys.readouterr().out
    accuracy = re.search(r"accuracy (\S+) of (\d+)", printed)
    assert accuracy
    assert float(accuracy[1]) > 0.9
    assert int(accuracy[2]) >= 24
    assert "last activated feature map (12 x 20)" in printed
    assert "of the logit: input" in printed
    assert "(333, 517) (96, 160, 3)" in printed  # turned: wide and high have changed places
    assert "centre_prior" in printed
    for made in ("own.png", "maps/ring-0.png", "maps/blob-3.npz", "results/mine/01_one_1.png"):
        assert (here / made).is_file()
    with np.load(here / "maps" / "ring-0.npz") as saved:
        assert saved["hybrid"].shape == (96, 160)


def test_its_explanations_are_right_and_leave_it_as_it_was(mine):
    work = importlib.import_module("residual").workload()
    samples, x = work.batch(range(40))
    label = torch.tensor([sample.label for sample in samples])
    assert (mine.predict(x).argmax(1) == label).float().mean() > 0.9
    before = copy.deepcopy(mine.module.state_dict())
    found = xai.explain(mine, x, label)
    after = mine.module.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert not mine.module.training
    assert all(p.grad is None for p in mine.module.parameters())
    ledger = found.conservation
    assert float(ledger.residual.abs().max()) < 1e-4 * float(ledger.start.abs().max())
    per_channel = found.relevance_per_channel.sum((1, 2, 3))
    torch.testing.assert_close(per_channel, ledger.input, rtol=1e-4, atol=1e-4)
    masks = work.masks(samples)
    chance = masks.float().mean()
    assert metrics.rank_accuracy(found.hybrid, masks).mean() > 4 * chance
    assert metrics.mass_accuracy(found.hybrid, masks).mean() > 4 * chance


@pytest.mark.parametrize("name", sorted(xai.METHODS))
def test_each_method_explains_it_or_says_why_not(name, mine):
    method = xai.METHODS[name]
    x = mine.preprocess([PIL.Image.open("pictures/ring-0.png")])
    cheap = {"n_samples": 40, "samples": 4, "steps": 4, "n_segments": 8}
    settings = {key: value for key, value in cheap.items() if key in method.settings}
    reason = method.refuses(mine)
    if reason:
        with pytest.raises(xai.CannotExplain, match=re.escape(reason)):
            method(mine, x, 2, **settings)
    else:
        found = method(mine, x, 2, **settings)
        assert found.shape == (1, 96, 160)
        assert found.isfinite().all()


@pytest.mark.slow
def test_the_console_script_finds_a_module_of_the_working_directory(here):
    script = Path(sys.executable).with_name("xaiutils")
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    command = [script, "explain", "holiday.jpg", "--model", "residual:classifier", "--out", "odd"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (here / "odd" / "holiday.png").is_file()


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("nowhere:classifier", ValueError, "name must be module:function to import, got 'nowhere"),
        ("residual:nothing", ValueError, "module 'residual' has no attribute 'nothing'"),
        ("residual:train", TypeError, "residual:train must return a Classifier, got Residual"),
    ],
)
def test_what_is_no_classifier_is_refused(name, error, message, here, monkeypatch):
    import residual

    monkeypatch.setattr(residual, "train", residual.Residual)  # training takes seconds
    with pytest.raises(error, match=re.escape(message)):
        xai.load_model(name)
    with pytest.raises(ValueError, match="weights and preset must be left to"):
        xai.load_model(name, "random")


class Net(nn.Module):
    def __init__(self, last: Any = None, channels: int = 3, classes: int = 4) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, 8, 3)
        self.head, self.last = nn.Linear(8, classes), last or (lambda logits: logits)

    def forward(self, x: Tensor) -> Any:
        return self.last(self.head(F.relu(self.conv(x)).mean((2, 3))))


class Summed(Net):
    def forward(self, x: Tensor) -> Any:
        return self.head(F.relu(self.conv(x)).cumsum(2).mean((2, 3)))


class Centred(Net):
    def forward(self, x: Tensor) -> Any:
        return super().forward(x - x.mean(0, keepdim=True))


class Branching(Net):
    def forward(self, x: Tensor) -> Any:
        if x.shape[-1] > 50:
            x = F.max_pool2d(x, 2)
        return super().forward(x)


class Flagged(Net):
    def forward(self, x: Tensor, mask: Any = None, features: bool = False) -> Any:
        y = super().forward(x if mask is None else x * mask)
        return (y, x) if features else y


REFUSED = {
    "module must be in eval mode": lambda: Net().train(),
    "must return one tensor, or name it logits or out": lambda: Net(lambda y: {"a": y}).eval(),
    "no relevance rule for sigmoid": lambda: Net(torch.sigmoid).eval(),
    "no relevance rule for log_softmax": lambda: Net(lambda y: F.log_softmax(y, 1)).eval(),
    "no relevance rule for cumsum": lambda: Summed().eval(),
    "module must not draw by chance": lambda: Net(F.dropout).eval(),
    "module must treat each picture by itself": lambda: Centred().eval(),
    "must be of float32 or float64": lambda: Net().eval().half(),
    "module must keep statistics in its batch norms": lambda: nn.Sequential(
        nn.BatchNorm2d(3, track_running_stats=False), Net(channels=3)
    ).eval(),
}


@pytest.mark.parametrize("message", REFUSED)
def test_every_refusal_of_the_page_is_the_library_s(message):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = REFUSED[message]()
    with pytest.raises(ValueError, match=re.escape(message)):
        xai.relevance(xai.wrap(net, size=(24, 32)), torch.rand(1, 3, 24, 32))


def test_the_page_names_each_refusal_that_is_tested():
    assert [message for message in REFUSED if f"`{message}`" not in PAGE] == []


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_chance_is_found_though_the_logits_are_small(share):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = Net(lambda y: F.dropout(y, share)).eval()
    for value in net.head.parameters():
        value.data.mul_(0.1)
    with pytest.raises(ValueError, match="must not draw by chance"):
        xai.wrap(net, size=(24, 32))


def test_one_logit_is_explained_with_its_sign():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        net = Net(classes=1).eval()
    net.head.bias.data.fill_(-5)
    classifier = xai.wrap(net, size=(24, 32))
    x = torch.rand(2, 3, 24, 32)
    assert classifier.classes == ("output 0",)
    assert (classifier.predict(x) < 0).all()
    found = xai.explain(classifier, x)
    turned = xai.explain(classifier, x, start="one")
    assert torch.equal(found.relevance.sign(), -turned.relevance.sign())
    assert [row[0][1] for row in classifier.top(x)] == classifier.predict(x)[:, 0].tolist()
    label = xai.wrap(net, size=(24, 32), outputs="sigmoid")
    assert label.classes == ("class 0",)
    assert [row[0][1] for row in label.top(x)] == pytest.approx(net(x).sigmoid()[:, 0].tolist())


@pytest.mark.parametrize(
    "made",
    [
        Branching,
        lambda: nn.DataParallel(Net()),
        lambda: torch.compile(Net()),
        lambda: Net(lambda y: {"logits": y, "more": y}),
        lambda: Net(lambda y: y.squeeze(1), classes=1),
    ],
    ids=["shapes", "DataParallel", "compiled", "dict", "squeezed"],
)
def test_what_was_refused_by_a_tracer_is_explained(made):
    found = xai.relevance(xai.wrap(made().eval(), size=(24, 64)), torch.rand(2, 3, 24, 64), 0)
    assert found.ledger.residual.abs().max() < 1e-5


def test_arguments_with_defaults_keep_them():
    net = Flagged().eval()
    classifier = xai.wrap(net, size=(24, 32))
    x = torch.rand(2, 3, 24, 32)
    torch.testing.assert_close(classifier.predict(x), net(x).detach())
    assert xai.explain(classifier, x, start="one").conservation.residual.abs().max() < 1e-5


def test_lrp_0_of_a_relu_network_is_gradient_times_input(mine):
    """Whatever the shortcuts and norms: checked against autograd, by no library of LRP."""
    _, x = importlib.import_module("residual").workload().batch(range(4))
    x.requires_grad_()
    logits = mine.module(x)
    target = logits.argmax(1)
    (g,) = torch.autograd.grad(logits.gather(1, target[:, None]).sum(), x)
    found = xai.relevance(mine, x.detach(), target, "z")
    torch.testing.assert_close(found.map, (g * x).detach(), rtol=1e-3, atol=1e-3)


def test_a_mask_of_the_picture_before_it_was_turned_is_refused(here):
    picture = xai.load_image("holiday.jpg")
    with pytest.raises(ValueError, match=r"mask must be of its picture's size \(517, 333\), got"):
        xai.Sample("holiday", picture, mask=np.zeros((333, 517), bool))


def test_another_cam_layer_of_a_classifier_by_name(mine):
    other = xai.load_model("residual:classifier", cam_layer="blocks.0")
    assert (mine.cam_layer, other.cam_layer) == ("blocks", "blocks.0")
    assert other.cam_reason == "chosen by the caller"


def test_a_workload_knows_what_was_asked_for_and_takes_no_shipped_name(here, monkeypatch):
    import residual

    work = xai.load_workload("residual:workload")
    assert (work.name, work.source) == ("drawn", "residual:workload")
    assert xai.load_workload("scenes").source == "scenes"
    real = residual.Workload
    monkeypatch.setattr(residual, "Workload", lambda name, *rest: real("scenes", *rest))
    with pytest.raises(ValueError, match="must have a name of its own, got scenes"):
        xai.load_workload("residual:workload")
