"""What benchmarks share: captum's LRP under the paper's rules, and what the machine tells."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import torch


def captum_lrp(
    network: torch.nn.Module, x: torch.Tensor, target: torch.Tensor, zero_bias: bool
) -> torch.Tensor:
    """The relevance (N, C, H, W) of each image's class; captum forgets the rules after a call."""
    from captum.attr import LRP
    from captum.attr._utils.lrp_rules import Alpha1_Beta0_Rule, EpsilonRule

    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.rule = Alpha1_Beta0_Rule(set_bias_to_zero=zero_bias)
        elif isinstance(module, torch.nn.Linear):
            module.rule = EpsilonRule()
    return LRP(network).attribute(x.detach().requires_grad_(), target=target).detach()


def machine() -> str:
    """Version, threads, processor and load, for the head of a table."""
    return (
        f"torch {torch.__version__}, {torch.get_num_threads()} threads, "
        f"{platform.processor() or platform.machine()}, load {os.getloadavg()[0]:.1f}"
    )


def resident(field: str) -> float:
    """MiB of this process: ``"VmRSS"`` now, ``"VmHWM"`` at the most."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1]) / 1024
