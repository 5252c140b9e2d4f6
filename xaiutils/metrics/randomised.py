"""Networks with random weights, for explanations that should change with them."""

from __future__ import annotations

import copy
from dataclasses import replace

import torch
from torch import nn

from xaiutils.network.classifier import Classifier
from xaiutils.support import cache, checks

NORMS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm)


def randomised_networks(
    classifier: Classifier, stages: int = 5, network_seed: int = 0
) -> tuple[Classifier, ...]:
    """Copies of a network with more and more of its layers random, from the logits down.

    Of L layers the copies have the upper L/S, 2L/S, ..., L random, rounded up. A layer is what
    holds parameters, in the order of computation, with the normalisation behind it. Kernels and
    matrices are drawn from a normal distribution of mean 0 and their own standard deviation;
    vectors (biases, the factors of a normalisation) from one of their own mean as well. A batch
    norm's running statistics stay, and what lies below is shared with the given network.
    """
    stages = checks.whole("stages", stages)
    seed = checks.seed("network_seed", network_seed)
    return cache.once(
        lambda: _randomised(classifier, stages, seed),
        "randomised networks",
        classifier.module,
        (classifier.name, classifier.cam_layer, classifier.classes, classifier.outputs),
        repr(classifier.transform),
        stages,
        seed,
        shared=True,
    )


def _randomised(classifier: Classifier, stages: int, seed: int) -> tuple[Classifier, ...]:
    layers = _layers(classifier)[::-1]
    generator = torch.Generator().manual_seed(seed)
    drawn = [{id(p): _draw(p, generator) for p in layer} for layer in layers]
    tensors = (*classifier.module.parameters(), *classifier.module.buffers())
    found = []
    for stage in range(1, min(stages, len(layers)) + 1):
        top = -(-stage * len(layers) // min(stages, len(layers)))
        replaced = {key: value for layer in drawn[:top] for key, value in layer.items()}
        module = copy.deepcopy(classifier.module, {id(t): t for t in tensors} | replaced)
        network = classifier.network.of(module)
        name = f"{classifier.name}, {top} of {len(layers)} layers random"
        found.append(replace(classifier, name=name, module=module, network=network))
    return tuple(found)


def _layers(classifier: Classifier) -> list[list[nn.Parameter]]:
    """The parameters by layer, in the order of computation; each once, where it is first used."""
    seen: set[int] = set()
    found: list[list[nn.Parameter]] = []
    source = classifier.network.source
    parameters = dict(source.named_parameters(remove_duplicate=False))
    held = [(step, one.holds) for step in classifier.graph.steps for one in step.read if one.holds]
    for step, name in held:
        module = source.get_submodule(step.module)
        if not any(p is parameters.get(name) for p in module.parameters(recurse=False)):
            module = source.get_submodule(name.rpartition(".")[0])
        fresh = [
            p
            for p in module.parameters(recurse=False)
            if p.is_floating_point() and id(p) not in seen
        ]
        seen.update(map(id, fresh))
        if fresh and found and isinstance(module, NORMS):
            found[-1] += fresh
        elif fresh:
            found.append(fresh)
    return found


def _draw(parameter: nn.Parameter, generator: torch.Generator) -> nn.Parameter:
    old = parameter.detach().cpu().double()
    vector = old.numel() == max(old.shape, default=1)
    new = torch.randn(old.shape, generator=generator, dtype=torch.float64) * old.std(correction=0)
    new = new + old.mean() if vector else new
    return nn.Parameter(new.to(parameter), requires_grad=parameter.requires_grad)
