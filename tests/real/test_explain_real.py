"""The five steps on real photographs by a trained ImageNet classifier.

Needs what conftest.py says. Prints its figures: run pytest with ``-s``.
"""

import warnings

import pytest
import torch
from captum.attr import LRP
from captum.attr._utils.lrp_rules import Alpha1_Beta0_Rule, EpsilonRule

from xaiutils import metrics
from xaiutils.hybrid import explain
from xaiutils.network.classifier import load_model


@pytest.fixture(scope="module")
def explained(work):
    """For every image: sample, input, mask and explanation of the predicted class."""
    rows = []
    for start in range(0, len(work.samples), 10):
        chosen, x = work.batch(range(start, min(start + 10, len(work.samples))))
        found = explain(work.classifier, x)
        masks = work.masks(chosen)
        rows += [(s, x[i], masks[i], found, i) for i, s in enumerate(chosen)]
    return rows


def stack(explained, name):
    return torch.stack([getattr(found, name)[i] for *_, found, i in explained])


def test_every_image_is_explained_and_the_ledger_closes(explained):
    right = sum(int(found.target[i]) == s.label for s, _, _, found, i in explained)
    shares = [
        found.conservation.residual[i] / found.conservation.start[i] for *_, found, i in explained
    ]
    print(f"\n{len(explained)} images explained, {right} classified correctly")
    print(f"largest ledger residual / start {max(abs(float(s)) for s in shares):.1e}")
    assert max(abs(float(share)) for share in shares) < 1e-5
    for name in ("cam", "bounded", "relevance", "hybrid"):
        maps = stack(explained, name)
        assert maps.isfinite().all()
        assert (maps.flatten(1).abs().amax(1) > 0).all()
    if len(explained) == 70:  # the sample that the figures in the documentation come from
        assert right == 59


def test_the_maps_lie_on_the_objects_better_than_chance(explained):
    right = [row for row in explained if int(row[3].target[row[4]]) == row[0].label]
    masks = torch.stack([mask for _, _, mask, _, _ in right])
    chance = masks.flatten(1).double().mean(1)  # a random map's rank accuracy is the mask's share
    print()
    for name in ("cam", "relevance", "hybrid"):
        gained = metrics.rank_accuracy(stack(right, name), masks) - chance
        print(f"{name}: rank accuracy above chance by {gained.mean():.3f}")
        assert float(gained.mean()) > 3 * float(gained.std()) / len(gained) ** 0.5


def test_captum_parts_from_the_correct_rule_on_its_first_and_on_its_second_call(weights, explained):
    """Traps L1 and L2 on a trained network."""
    network = load_model("squeezenet1_0", weights).module
    right = [row for row in explained if int(row[3].target[row[4]]) == row[0].label][:10]
    correlation: dict[str, list[float]] = {"first": [], "second": []}
    accuracy: dict[str, list[float]] = {"first": [], "second": []}
    for _, x, mask, found, i in right:
        ours = found.relevance[i].flatten()
        for module in network.features.modules():
            if isinstance(module, torch.nn.Conv2d):
                module.rule = Alpha1_Beta0_Rule(set_bias_to_zero=True)
        network.classifier[1].rule = EpsilonRule()
        attribution = LRP(network)
        for call in ("first", "second"):
            with warnings.catch_warnings():
                warnings.filterwarnings(
                    "ignore", category=UserWarning, message=".*require gradients"
                )
                theirs = attribution.attribute(x[None], int(found.target[i])).detach()
            map = theirs.mean(1)
            pair = torch.stack([ours, map.flatten()])
            correlation[call].append(float(torch.corrcoef(pair)[0, 1]))
            accuracy[call].append(float(metrics.rank_accuracy(map, mask[None])))
    print()
    for call, values in correlation.items():
        mean = sum(values) / len(values)
        ranks = sum(accuracy[call]) / len(values)
        print(f"captum's {call} call: correlation with ours {mean:.2f}, rank accuracy {ranks:.3f}")
        assert mean < 0.5
    ours = torch.stack([found.relevance[i] for *_, found, i in right])
    masks = torch.stack([mask for _, _, mask, _, _ in right])
    print(f"ours: rank accuracy {float(metrics.rank_accuracy(ours, masks).mean()):.3f}")
