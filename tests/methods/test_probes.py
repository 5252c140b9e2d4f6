"""Maps read at one block, and what the bounding figure removes, against the literal thing."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from xaiutils.hybrid import explain
from xaiutils.methods import METHODS
from xaiutils.methods.layerwise import explain_layers
from xaiutils.methods.probes import READ, at_block, removed
from xaiutils.methods.related import fg_cam
from xaiutils.network.cam_layer import blocks
from xaiutils.network.classifier import load_model
from xaiutils.pictures.scenes import samples

CLASSIFIER = load_model("scenes_vgg_seed0")
X = CLASSIFIER.preprocess(samples("unit", 2))
TARGET = torch.tensor([1, 4])
LAYERS = [step.path for step in blocks(CLASSIFIER.graph, CLASSIFIER.cam_layer)]


@pytest.mark.parametrize("block", range(4))
def test_relevance_at_a_block_is_that_of_explain_layers(block):
    (view,) = explain_layers(CLASSIFIER, X, TARGET, layers=[LAYERS[block]])
    found = at_block("lrp_paper", block)(CLASSIFIER, X, TARGET)
    torch.testing.assert_close(found, view.relevance, rtol=0, atol=0)


@pytest.mark.parametrize("block", [0, 2])
def test_gradients_at_a_block_are_those_of_the_module_itself(block):
    kept: list[Tensor] = []
    part = CLASSIFIER.module.get_submodule(LAYERS[block])
    handle = part.register_forward_hook(lambda _module, _args, out: kept.append(out))
    try:
        x = X.clone().requires_grad_()
        CLASSIFIER.module(x).gather(1, TARGET[:, None]).sum().backward(inputs=[kept[0]])
    finally:
        handle.remove()
    a, g = kept[0].detach(), kept[0].grad
    for name, channels in (("gradient", g), ("gradient_x_activation", a * g)):
        summed = torch.stack([sum(one) for one in channels])[:, None]
        grown = torch.nn.functional.interpolate(summed, (128, 128), mode="bilinear")[:, 0]
        found = at_block(name, block)(CLASSIFIER, X, TARGET)
        torch.testing.assert_close(found, grown, rtol=1e-4, atol=1e-5 * float(grown.abs().max()))


@pytest.mark.parametrize("name", ["grad_cam", "layer_cam", "relevance_cam"])
def test_a_cam_at_the_last_block_is_the_cam(name):
    found = at_block(name, 3)(CLASSIFIER, X, TARGET)
    assert torch.equal(found, METHODS[name](CLASSIFIER, X, TARGET))
    other = at_block(name, 1)(CLASSIFIER, X, TARGET)
    assert torch.equal(other, METHODS[name](CLASSIFIER, X, TARGET, layer=LAYERS[1]))


def test_fg_cam_at_a_block_stops_there():
    found = at_block("fg_cam", 1)(CLASSIFIER, X, TARGET)
    assert torch.equal(found, fg_cam(CLASSIFIER, X, TARGET, to=LAYERS[1]))


@pytest.mark.parametrize("name", READ)
def test_maps_do_not_depend_on_the_batch(name):
    both = at_block(name, 1)(CLASSIFIER, X, TARGET)
    second = at_block(name, 1)(CLASSIFIER, X[1:], TARGET[1:])
    torch.testing.assert_close(both[1:], second, rtol=1e-4, atol=1e-6 * float(second.abs().max()))


def test_what_the_figure_removes_by_hand():
    whole = explain(CLASSIFIER, X, TARGET)
    names = ("lrp_outside", "lrp_outside_shuffled", "lrp_elsewhere")
    found = {name: removed(name)(CLASSIFIER, X, TARGET) for name in names}
    for i in range(2):
        p, r = whole.bounded[i].tolist(), whole.relevance[i].tolist()
        by_hand = [
            [0.0 if figure > 0 else value for figure, value in zip(*rows, strict=True)]
            for rows in zip(p, r, strict=True)
        ]
        assert found["lrp_outside"][i].tolist() == by_hand
        outside = whole.bounded[i] == 0
        shuffled = found["lrp_outside_shuffled"][i]
        assert bool((shuffled[~outside] == 0).all())
        assert (
            shuffled[outside].sort().values.tolist()
            == whole.relevance[i][outside].sort()[0].tolist()
        )
        assert not torch.equal(shuffled, found["lrp_outside"][i])
        elsewhere = found["lrp_elsewhere"][i]
        gone = (elsewhere != whole.relevance[i]).sum()
        lost = whole.relevance[i][elsewhere != whole.relevance[i]]
        assert 0 < int(gone) <= int((~outside).sum())  # as many pixels, some of them 0 already
        assert bool((lost != 0).all())
    again = removed("lrp_elsewhere")(CLASSIFIER, X[1:], TARGET[1:])
    torch.testing.assert_close(again[0], found["lrp_elsewhere"][1])
