"""docs/models.md: what `make models` writes, and that what stands there is what was promised."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from torch import nn

DOCS = Path(__file__).parents[2] / "docs"
TABLE = (DOCS / "models.md").read_text("utf-8")


@pytest.fixture(scope="module")
def models() -> Any:
    """The module docs/models.py."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(DOCS)
        name = "models"
        yield __import__(name)
        del sys.modules[name]


def section(library: str) -> list[list[str]]:
    """The rows of a library's table, in cells."""
    (text,) = re.findall(rf"^## {library}\n\n.*?\|---.*?\n(.*?)(?:\n\n|\Z)", TABLE, re.M | re.S)
    return [[cell.strip() for cell in line[1:-1].split(" | ")] for line in text.splitlines()]


def test_every_network_that_is_tried_stands_in_the_page_once(models: Any) -> None:
    for library in ("torchvision", "timm", "Hugging Face"):
        names = [n.name for n in models.networks() if n.library == library]
        assert [cells[0] for cells in section(library)] == names
    assert len(models.TIMM) == 101
    assert [cells[0] for cells in section("torchvision")] == torchvision.models.list_models(
        module=torchvision.models
    )


def test_the_counts_are_those_of_the_tables_and_no_fewer_than_promised(models: Any) -> None:
    for library in ("torchvision", "timm", "Hugging Face"):
        rows = section(library)
        explained = sum(cells[3] == "yes" for cells in rows)
        assert f"| {library} | {len(rows)} | {explained} |" in TABLE
        assert len(rows) - explained <= models.MAY_REFUSE.get(library, 0)
        assert all(cells[3] == "yes" or cells[3].startswith("no: ") for cells in rows)


def test_a_network_that_is_refused_says_why(models: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.before, self.lstm = nn.Conv2d(3, 4, 3), nn.LSTM(4, 5, batch_first=True)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.lstm(self.before(x).relu().mean(2).transpose(1, 2))[0][:, -1]

    monkeypatch.setattr(models, "version", lambda name: "1.0")
    monkeypatch.setattr(models.Network, "build", lambda self: Recurrent())
    row = models.tried(models.Network("own", "recurrent", 64))
    assert "GraphError: " in row.refusal
    assert f"| no: {row.refusal} |" in str(row)
    assert str(row).startswith("| recurrent | ")
    assert "own | 1 | 0 |" in models.page([row])


def test_a_network_is_explained_with_nothing_trivial_in_it(models: Any) -> None:
    network = models.Network("torchvision", "squeezenet1_1", 64)
    row = models.tried(network)
    assert row.refusal == ""
    assert " | yes | " in str(row)
    with models.undrawn():
        built = models.Network("torchvision", "resnet18", 64).build()
    assert not bool(built.conv1.weight.any())  # not drawn yet
    net = models.enlivened(built, torch.randn(8, 3, 64, 64))
    assert all(float(p.detach().std()) > 0 for p in net.parameters())
    assert all(float(b.std()) > 0 for n, b in net.named_buffers() if "running" in n)
    assert not net.training
