"""A network and pictures that the library has never seen: what an engineer brings along.

Nothing here is imported by the package or by its tests: they name it ``residual:classifier`` and
``residual:workload``, from the folder where this file and its weights lie.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import xaiutils as xai
from xaiutils.cases.workloads import Workload

CLASSES = ("stripes", "blob", "ring")
HEIGHT, WIDTH = 96, 160
MEAN, STD = [0.45], [0.2]  # of the grey values in [0, 1], as in training
WEIGHTS = Path(__file__).with_name("residual.pt")


class Block(nn.Module):
    """Two convolutions and a shortcut; the ReLUs are functions."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False)
        self.second = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.norms = nn.ModuleList(nn.BatchNorm2d(after) for _ in range(2))
        self.shortcut = nn.Conv2d(before, after, 1, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.norms[0](self.first(x)))
        y = self.norms[1](self.second(y))
        return F.relu(y + self.shortcut(x))


class Residual(nn.Module):
    """(N, 1, 96, 160) to three logits."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 8, 5, stride=2, padding=2)
        self.blocks = nn.Sequential(Block(8, 16), Block(16, 32))
        self.head = nn.Linear(32, len(CLASSES))

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(F.relu(self.stem(x)))
        return self.head(x.mean((2, 3)))


def draw(index: int) -> tuple[np.ndarray, np.ndarray, int]:
    """A grey picture (H, W) uint8, the mask of its object, and the object's class."""
    random = np.random.default_rng(index)
    label = int(random.integers(3))
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    r = random.uniform(12, 18)
    cy, cx = random.uniform(r, HEIGHT - r), random.uniform(r, WIDTH - r)
    d = np.hypot(y - cy, x - cx)
    angle = random.uniform(0, np.pi)
    along = (x - cx) * np.cos(angle) + (y - cy) * np.sin(angle)
    mask = [d < r, d < 0.8 * r, (d < r) & (d > 0.6 * r)][label]
    object_ = [0.45 + 0.35 * np.sign(np.sin(along)), 0.85, 0.85][label]
    low = random.normal(size=(HEIGHT // 16, WIDTH // 16))
    ground = 0.45 + 0.08 * np.kron(low, np.ones((16, 16))) + random.normal(0, 0.06, d.shape)
    grey = np.where(mask, object_, ground).clip(0, 1)
    return np.round(grey * 255).astype(np.uint8), mask, label


def train(steps: int = 100, batch: int = 24) -> Residual:
    """The network after a few seconds."""
    torch.manual_seed(0)
    network = Residual()
    optimiser = torch.optim.Adam(network.parameters(), 4e-3)
    for step in range(steps):
        drawn = [draw(10_000 + step * batch + i) for i in range(batch)]
        x = torch.from_numpy(np.stack([grey for grey, _, _ in drawn]))[:, None] / 255
        logits = network((x - MEAN[0]) / STD[0])
        loss = F.cross_entropy(logits, torch.tensor([label for *_, label in drawn]))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return network.eval()


def classifier() -> xai.Classifier:
    """What ``--model residual:classifier`` explains."""
    network = Residual()
    network.load_state_dict(torch.load(WEIGHTS, weights_only=True))
    return xai.wrap(network.eval(), CLASSES, MEAN, STD, size=(HEIGHT, WIDTH))


def workload() -> Workload:
    """What ``XAIUTILS_WORKLOAD=residual:workload`` runs on."""
    samples = []
    for index in range(64):
        grey, mask, label = draw(index)
        picture = PIL.Image.fromarray(grey)
        samples.append(xai.Sample(f"drawn-{index}", picture, label, mask))
    return Workload("drawn", classifier(), samples)
