"""Train the shipped scene classifiers: their recipes, and the gates that weights must pass.

`make scenes` in a checkout makes them all anew.

All are trained with batch norm. The vgg's is then folded into the convolutions, so that what is
shipped is plain convolution, ReLU, max pooling and linear layers; the others keep theirs, as the
networks that people bring do.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import json
import platform
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save
from torch import nn
from torch.nn.functional import cross_entropy

from xaiutils.pictures.scenes import (
    CLASSES,
    MEAN,
    SIZE,
    SPLITS,
    STD,
    label,
    render,
    scene,
    soft_label,
)
from xaiutils.pictures.scenes.networks import ARCHITECTURES, VGG_WIDTHS, SceneVGG, fold
from xaiutils.pictures.scenes.weights import network_name
from xaiutils.support import chance, checks
from xaiutils.support.borrowed import environment_kept
from xaiutils.support.files import write_whole

REMOVAL_COUNT = 200
HARD_COUNT = 500


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the weights but the architecture and the seed.

    The figures were chosen on the split ``validation`` alone.
    """

    scenes: int = 5000
    epochs: int = 10
    batch: int = 50
    learning_rate: float = 6e-3  # the peak of the one-cycle schedule
    warm_up: float = 0.3  # share of the steps before that peak
    weight_decay: float = 1e-4
    clip: float | None = None  # norm of the gradient at most
    deletion_share: float = 0.35  # of pictures with deleted patches, so that deletion is in-domain
    threads: int = 1


RECIPES: dict[str, Recipe] = {
    "vgg": Recipe(),
    "resnet": Recipe(),
    "inception": Recipe(epochs=12),
    "vit": Recipe(
        scenes=10000, epochs=12, learning_rate=1e-3, warm_up=0.2, weight_decay=0.05, clip=1.0
    ),
}


def normalise(pictures: np.ndarray | torch.Tensor) -> torch.Tensor:
    """Turn ``(N, H, W, 3)`` uint8 into ``(N, 3, H, W)`` float32 in [-2, 2]."""
    x = torch.as_tensor(pictures).permute(0, 3, 1, 2).float() / 255
    return (x - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]


def train(
    architecture: str,
    seed: int,
    recipe: Recipe | None = None,
    report: Callable[[str], object] = lambda line: None,
) -> tuple[nn.Module, list[dict[str, float]]]:
    """Train one classifier; the same seed, recipe and machine give the same weights.

    Args:
        architecture, recipe: a name in `ARCHITECTURES`; its own in `RECIPES` by default.
        seed: of the weights and of the order of the scenes; the scenes are the same for all.
        report: takes a line of progress after drawing and after every epoch.

    Returns:
        The trained network with its batch norm, in eval mode, and one log record per epoch.
    """
    checks.choice("architecture", architecture, ARCHITECTURES)
    recipe = recipe or RECIPES[architecture]
    checks.seed("seed", seed)
    checks.number("recipe.scenes", recipe.scenes, low=recipe.batch, high=SPLITS["train"].count)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(recipe.threads)
        with torch.enable_grad():
            return _fit(architecture, seed, recipe, report)
    finally:
        torch.set_num_threads(threads)


def _fit(
    architecture: str, seed: int, recipe: Recipe, report: Callable[[str], object]
) -> tuple[nn.Module, list[dict[str, float]]]:
    started = time.monotonic()
    described = [scene("train", i) for i in range(recipe.scenes)]
    pictures = torch.as_tensor(np.stack([render(one) for one in described]))
    labels = torch.as_tensor(np.stack([soft_label(one) for one in described])).float()
    report(f"drew {recipe.scenes} scenes in {time.monotonic() - started:.0f} s")
    with chance.Drawn(seed):  # the first weights; nothing else here draws from torch
        net = ARCHITECTURES[architecture]().train()
    # With channels laid out last the process dies in the residual net's strided backward pass
    # (torch 2.14.1, seen on a CPU with AVX-512, not with ONEDNN_MAX_CPU_ISA=AVX2).
    last = architecture != "resnet"
    net.to(memory_format=torch.channels_last if last else torch.contiguous_format)
    rate, steps = recipe.learning_rate, recipe.scenes // recipe.batch
    with environment_kept():  # torch's optimisers load its compiler
        optimiser = torch.optim.AdamW(net.parameters(), rate, weight_decay=recipe.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, rate, recipe.epochs * steps, pct_start=recipe.warm_up
    )
    generator = np.random.default_rng(np.random.SeedSequence([seed, 1]))
    log = []
    for epoch in range(recipe.epochs):
        order = torch.as_tensor(generator.permutation(recipe.scenes))
        total = 0.0
        for chosen in order[: steps * recipe.batch].split(recipe.batch):
            x = normalise(_augment(pictures[chosen], generator, recipe.deletion_share))
            optimiser.zero_grad()
            loss = cross_entropy(net(x if last else x.contiguous()), labels[chosen])
            loss.backward()
            if recipe.clip is not None:
                nn.utils.clip_grad_norm_(net.parameters(), recipe.clip)
            optimiser.step()
            schedule.step()
            total += loss.item()
        net.eval()
        record = {
            "epoch": epoch + 1,
            "loss": round(total / steps, 4),
            "validation": round(accuracy(net, "validation", min(300, recipe.scenes)), 4),
            "seconds": round(time.monotonic() - started, 1),
        }
        net.train()
        log.append(record)
        report(json.dumps(record))
    return net.eval(), log


def _augment(
    pictures: torch.Tensor, generator: np.random.Generator, deletion_share: float
) -> torch.Tensor:
    """Turn and mirror each picture (the lamp may stand anywhere) and delete patches from some."""
    result = []
    for picture in pictures:
        turned = torch.rot90(picture, int(generator.integers(4)))
        turned = (turned.flip(1) if generator.random() < 0.5 else turned).clone()
        if generator.random() < deletion_share:
            grey = generator.random() < 0.5
            fill = torch.full((3,), 127.5) if grey else turned.float().mean((0, 1))
            for _ in range(generator.integers(1, 9)):
                side = int(generator.integers(8, 25))
                top, left = generator.integers(0, SIZE - side + 1, 2)
                turned[top : top + side, left : left + side] = fill.to(torch.uint8)
        result.append(turned)
    return torch.stack(result)


@functools.lru_cache(maxsize=8)
def _pictures(split: str, count: int, *without: int) -> torch.Tensor:
    """The first scenes of a split without some objects, ``(count, 128, 128, 3)`` uint8."""
    drawn = [render(scene(split, i), without) for i in range(count)]
    return torch.as_tensor(np.stack(drawn))


def _logits(net: nn.Module, pictures: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return torch.cat([net(normalise(part)) for part in pictures.split(50)])


def accuracy(net: nn.Module, split: str, count: int | None = None) -> float:
    """Share of scenes whose highest logit is the explained target, or either target of a duo."""
    record = SPLITS[checks.choice("split", split, SPLITS)]
    count = min(count or record.count, record.count)
    top = _logits(net, _pictures(split, count)).argmax(1).tolist()
    return float(np.mean([soft_label(scene(split, i))[k] > 0 for i, k in enumerate(top)]))


def gates(net: nn.Module, count: int | None = None) -> dict[str, float]:
    """Measure whether the network is good and uses what the masks call evidence.

    Returns:
        Of ``count`` scenes per split at most: ``single``, ``hard``, accuracy; ``duo``, share with
        both targets in the top two; ``target_drop`` and ``distractor_drop``, median (absolute for
        the distractor) drop of the centred target logit when that object is removed, and
        ``removal_ratio`` of the two; ``after_removal``, accuracy once the target is gone.
    """
    duo_count = min(count or SPLITS["duo"].count, SPLITS["duo"].count)
    top = _logits(net, _pictures("duo", duo_count)).topk(2, dim=1).indices
    both = [soft_label(scene("duo", i))[pair].min() > 0 for i, pair in enumerate(top.numpy())]
    removals = min(count or REMOVAL_COUNT, REMOVAL_COUNT)
    classes = torch.tensor([label(scene("test", i)) for i in range(removals)])
    # Whole, without the target, without the first distractor.
    found = [_logits(net, _pictures("test", removals, *gone)) for gone in ((), (0,), (1,))]
    whole, target, distractor = (
        (logits - logits.mean(1, keepdim=True)).gather(1, classes[:, None])[:, 0]
        for logits in found
    )
    target_drop = float((whole - target).median())
    distractor_drop = float((whole - distractor).abs().median())
    figures = {
        "single": accuracy(net, "test", count),
        "duo": float(np.mean(both)),
        "target_drop": target_drop,
        "distractor_drop": distractor_drop,
        "removal_ratio": target_drop / distractor_drop,
        "after_removal": float((found[1].argmax(1) == classes).double().mean()),
        "hard": accuracy(net, "hard", count or HARD_COUNT),
    }
    return {name: round(value, 4) for name, value in figures.items()}


def save_scene_net(
    net: nn.Module, architecture: str, seed: int, out: Path, record: dict[str, Any]
) -> dict[str, Any]:
    """Write the weights and their entry in ``manifest.json``, each by one rename."""
    name = network_name(architecture, seed)
    out.mkdir(parents=True, exist_ok=True)
    content = save({key: value.contiguous() for key, value in net.state_dict().items()})
    file = f"{name}.safetensors"
    entry = {
        "architecture": architecture,
        "seed": seed,
        "file": file,
        "sha256": hashlib.sha256(content).hexdigest(),
        "bytes": len(content),
    }
    path = out / "manifest.json"
    networks = json.loads(path.read_text())["networks"] if path.exists() else {}
    manifest = {
        "networks": dict(sorted((networks | {name: entry | record}).items())),
        "licence": "MIT",
        "command": "python data/train_scenes.py --architecture ARCHITECTURE --seed SEED --out data",
        "classes": CLASSES,
        "size": SIZE,
        "mean": MEAN,
        "std": STD,
        "vgg_widths": VGG_WIDTHS,
    }
    write_whole(out / file, lambda stream: stream.write(content))
    text = (json.dumps(manifest, indent=1) + "\n").encode()
    write_whole(path, lambda stream: stream.write(text))
    return entry | record


def train_scenes(
    architecture: str,
    seed: int,
    out: str | Path = "data",
    recipe: Recipe | None = None,
    report: Callable[[str], object] = lambda line: None,
    gate_scenes: int | None = None,
) -> dict[str, Any]:
    """Train one classifier, measure it on all scenes or ``gate_scenes`` per split, and save it.

    The weights go to the folder ``out``, and the record that is returned to its manifest.
    """
    started, started_cpu = time.monotonic(), time.process_time()
    net, log = train(architecture, seed, recipe, report)
    seconds, cpu_seconds = time.monotonic() - started, time.process_time() - started_cpu
    shipped = fold(net) if isinstance(net, SceneVGG) else net
    versions = {"python": platform.python_version(), "torch": torch.__version__}
    record = {
        "recipe": asdict(recipe or RECIPES[architecture]),
        "versions": versions | {"numpy": np.__version__},
        "seconds": round(seconds, 1),  # says more of the neighbours than of the work, if shared
        "cpu_seconds": round(cpu_seconds, 1),
        "log": log,
        "gates": gates(shipped, gate_scenes),
    }
    return save_scene_net(shipped, architecture, seed, Path(out), record)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--architecture", default="vgg", choices=ARCHITECTURES)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("data"))
    train_scenes(**vars(parser.parse_args()), report=print)
