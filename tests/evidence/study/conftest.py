"""A small study that is quick and has everything: two seeds, two parts and a half, a control."""

from __future__ import annotations

import pytest
import torch

from xaiutils.evidence.study import create_study, run_study, write_result

ASKED = {
    "methods": ["hybrid", "grad_cam_plus_plus*sobel_edges", "random_map", "hybrid:threshold=0.4"],
    "metrics": ["sparseness", "relevance_mass"],
    "images": 10,
    "seeds": [0, 1],
    "part": 4,
}


@pytest.fixture(autouse=True)
def _threads_stay():
    before = torch.get_num_threads()
    yield
    assert torch.get_num_threads() == before


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory):
    """The table of a serial run that nothing disturbed, as bytes."""
    opened = create_study(tmp_path_factory.mktemp("undisturbed") / "study", **ASKED)
    run_study(opened)
    write_result(opened, opened.path / "result.parquet")
    return opened


@pytest.fixture(scope="session")
def result(undisturbed) -> bytes:
    return (undisturbed.path / "result.parquet").read_bytes()


@pytest.fixture
def fresh(tmp_path):
    """The same study, not yet run."""
    return create_study(tmp_path / "study", **ASKED)


def table(opened) -> bytes:
    """A study's result table as bytes."""
    path = opened.path / "result.parquet"
    write_result(opened, path)
    return path.read_bytes()
