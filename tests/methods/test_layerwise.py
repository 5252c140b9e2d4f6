"""The hybrid at every depth: which layers, and the same five steps at each."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
import torchvision
from networks import untrained
from torch import Tensor, nn

from xaiutils.hybrid import class_activation_map, explain, relevance
from xaiutils.methods import layerwise
from xaiutils.network import classifier as models
from xaiutils.network.cam_layer import blocks
from xaiutils.pictures.scenes import samples
from xaiutils.support import asking


@pytest.fixture(scope="module")
def scene() -> tuple[models.Classifier, Tensor]:
    classifier = models.load_model("scenes_vgg_seed0")
    return classifier, classifier.preprocess(samples("unit", 2))


def test_of_each_size_the_last_activated_map_is_shown(scene) -> None:
    classifier, _ = scene
    paths = [step.path for step in blocks(classifier.graph, classifier.cam_layer)]
    assert paths == ["features.1", "features.6", "features.11", "features.16"]
    resnet = untrained("resnet18")
    assert [s.path for s in blocks(resnet.graph, "layer3")] == [
        "relu",
        "layer1",
        "layer2",
        "layer3",
    ]


@pytest.mark.slow
def test_a_transformer_shows_what_each_attention_reads() -> None:
    vit = models.load_model("vit_b_16", "random")
    paths = [step.path for step in blocks(vit.graph, vit.cam_layer)]
    assert paths == ["conv_proj", *(f"encoder.layers.encoder_layer_{i}.ln_1" for i in range(12))]


def test_each_layer_has_its_own_cam_and_relevance(scene) -> None:
    classifier, x = scene
    views = layerwise.explain_layers(classifier, x, [1, 2], threshold=0.3)
    sums = relevance(classifier, x, [1, 2], layers=[view.layer for view in views])
    for view in views:
        own = class_activation_map(classifier, x, [1, 2], cam_layer=view.layer)
        assert torch.equal(view.cam, own)
        summed = sums.layers[view.layer].sum(1, keepdim=True)
        assert summed.shape[2:] == view.size
        grown = F.interpolate(summed, (128, 128), mode="bilinear", align_corners=False)[:, 0]
        assert torch.equal(view.relevance, grown)
        expected = (own - 0.3).clamp(min=0) / 0.7 * grown
        torch.testing.assert_close(view.hybrid, expected)


def test_all_layers_are_read_from_one_pass(scene) -> None:
    classifier, x = scene
    with asking.watch() as seen:
        layerwise.explain_layers(classifier, x)
    assert seen.images == len(x)


def test_the_default_class_is_the_predicted_one_at_every_layer(scene) -> None:
    classifier, x = scene
    predicted = classifier.predict(x).argmax(1)
    asked, default = (
        layerwise.explain_layers(classifier, x, target, layers=["features.11"])
        for target in (predicted, None)
    )
    assert torch.equal(asked[0].hybrid, default[0].hybrid)


def test_the_cam_of_the_last_layer_is_that_of_explain(scene) -> None:
    classifier, x = scene
    last = layerwise.explain_layers(classifier, x, 0)[-1]
    assert last.layer == classifier.cam_layer
    assert torch.equal(last.cam, explain(classifier, x, 0).cam)


def test_tokens_are_drawn_as_maps() -> None:
    torch.manual_seed(0)
    network = torchvision.models.VisionTransformer(48, 16, 2, 2, 32, 64, num_classes=4)
    torch.nn.init.normal_(network.heads.head.weight)  # 0 by default
    view = layerwise.explain_layers(
        models.wrap(network.eval(), size=48),
        torch.randn(1, 3, 48, 48),
        0,
        layers=["encoder.layers.encoder_layer_1.ln_1"],
        composite="attnlrp",
        cam="grad_cam",
    )[0]
    assert view.size == (3, 3)
    assert view.hybrid.shape == (1, 48, 48)
    assert view.hybrid.abs().max() > 0


def test_an_unknown_layer_is_an_error(scene) -> None:
    classifier, x = scene
    with pytest.raises(ValueError, match=r"layer must be a known name, got 'features\.99'"):
        layerwise.explain_layers(classifier, x, layers=["features.99"])


def test_a_layer_that_is_no_map_is_an_error(scene) -> None:
    classifier, x = scene
    with pytest.raises(ValueError, match="cam_layer must give feature maps"):
        layerwise.explain_layers(classifier, x, layers=["classifier.0"])


def test_relevance_of_a_layer_is_conserved_between_the_blocks(scene) -> None:
    module = nn.Sequential(
        *(nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(4, 8, 3, padding=1, bias=False), nn.ReLU(), nn.AdaptiveAvgPool2d(1)),
        *(nn.Flatten(), nn.Linear(8, 2, bias=False)),
    )
    classifier = models.wrap(module.double().eval(), size=16)
    x = torch.rand(2, 3, 16, 16, dtype=torch.float64)
    found = relevance(classifier, x, 0, "epsilon_plus", layers=["1", "4"])
    for layer in ("1", "4"):
        total = found.layers[layer].sum((1, 2, 3))
        torch.testing.assert_close(total, found.ledger.start, rtol=1e-3, atol=1e-9)
