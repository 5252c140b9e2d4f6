"""What belongs to the process: that a call draws from none of it, and leaves it as it was."""

from __future__ import annotations

import os
import random
import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib
import numpy as np
import pytest
import torch
from torch import nn


def states() -> list[Any]:
    numpys = np.random.get_state()  # noqa: NPY002
    return [torch.get_rng_state().tolist(), numpys[1].tolist(), numpys[2:], random.getstate()]


def surroundings() -> dict[str, Any]:
    """What else belongs to the process. OpenMP's two variables are scikit-learn's, see borrowed."""
    return {
        "environment": {k: v for k, v in os.environ.items() if not k.startswith("KMP_")}
        | {"PYTEST_CURRENT_TEST": ""},
        "matplotlib": {k: str(v) for k, v in dict.items(matplotlib.rcParams)},
        "torch": [
            torch.get_default_dtype(),
            torch.get_num_threads(),
            torch.is_grad_enabled(),
            torch.are_deterministic_algorithms_enabled(),
            torch.get_float32_matmul_precision(),
            torch.backends.mkldnn.enabled,
            torch.backends.cudnn.benchmark,
            torch.backends.mha.get_fastpath_enabled(),
        ],
        "numpy": [np.geterr(), np.get_printoptions()],
        "python": [list(sys.path), os.getcwd(), sys.getrecursionlimit(), signal.getsignal(2)],
        "warnings": [one for one in warnings.filters if one[0] == "ignore"],
    }


def state_of(module: nn.Module) -> dict[str, Any]:
    """Everything of a module that an explanation might change, as bytes and plain values."""
    tensors = {**dict(module.named_parameters()), **module.state_dict(keep_vars=True)}
    hooks = (
        "_forward_hooks",
        "_forward_pre_hooks",
        "_backward_hooks",
        "_backward_pre_hooks",
        "_state_dict_hooks",
    )
    return {
        "bytes": {n: t.detach().numpy().tobytes() for n, t in tensors.items()},
        "versions": {n: (id(t), t._version, t.requires_grad) for n, t in tensors.items()},
        "grad": {n: None if t.grad is None else t.grad.numpy().tobytes()
                 for n, t in module.named_parameters()},
        "flags": {n: part.training for n, part in module.named_modules()},
        "hooks": {n: [list(getattr(part, h)) for h in hooks] for n, part in module.named_modules()},
        "names": {n: sorted(vars(part)) for n, part in module.named_modules()},
        "inplace": {n: getattr(part, "inplace", None) for n, part in module.named_modules()},
    }  # fmt: skip


FORBIDDEN = [
    *[(torch, name) for name in ("manual_seed", "seed", "set_rng_state")],
    *[(torch.random, name) for name in ("manual_seed", "set_rng_state", "fork_rng")],
    *[(np.random, name) for name in ("seed", "set_state")],
    *[(random, name) for name in ("seed", "setstate")],
]


@contextmanager
def untouched() -> Iterator[None]:
    """Nothing inside draws from, seeds or puts back a state of the process, or moves it else."""
    with pytest.MonkeyPatch.context() as patch:
        for owner, name in FORBIDDEN:

            def forbidden(*_: Any, name: str = f"{owner.__name__}.{name}", **__: Any) -> None:
                raise AssertionError(f"{name} is for all threads")

            patch.setattr(owner, name, forbidden)
        luck, around = states(), surroundings()
        yield
        assert states() == luck
        assert surroundings() == around
