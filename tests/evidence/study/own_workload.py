"""A workload of one's own: a small network, and pictures where STUDY_PICTURES says."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import torch
from torch import nn

from xaiutils import METHODS, wrap
from xaiutils.cases.workloads import Workload
from xaiutils.pictures.imagenet import open_imagenet

NAME = "tests.evidence.study.own_workload:small"


def with_a_method() -> Workload:
    METHODS["mine"] = replace(METHODS["random_map"], name="mine")
    return _workload()


def small() -> Workload:
    return _workload()


def _workload(activation=nn.ReLU, **more: Any) -> Workload:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3), activation(), nn.Conv2d(8, 8, 3), activation(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4),
    )  # fmt: skip
    classifier = wrap(network.eval(), **{"size": (24, 24), "name": "small"} | more)
    return Workload("own", classifier, open_imagenet(os.environ["STUDY_PICTURES"]), "all")


# The same weights in networks that answer otherwise, or are explained at another layer.
OTHERS = {
    "operations": partial(_workload, nn.GELU),
    "cam_layer": partial(_workload, cam_layer="1"),
    "transform": partial(_workload, mean=[0.1] * 3, std=[1.0] * 3),
}


def make_pictures(folder: Path, count: int = 6) -> None:
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(count):
        pixels = rng.integers(0, 256, (30, 30, 3), dtype=np.uint8)
        PIL.Image.fromarray(pixels).save(folder / f"{i:02d}.png")
