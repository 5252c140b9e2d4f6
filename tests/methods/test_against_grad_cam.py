"""pytorch-grad-cam beside our pure functions: where the two agree, and its traps as tests.

The names G2 to G7 are those of the reference sheet of traps. Every network is read through
``Graph.run(leaf=...)``, grad-cam through its own hooks on a copy of the same module.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cache, partial

import numpy as np
import pytest
import pytorch_grad_cam as theirs
import torch
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import Tensor, nn

from xaiutils import cam
from xaiutils.cam import to_image
from xaiutils.hybrid import class_activation_map
from xaiutils.network.classifier import Classifier, load_model, wrap
from xaiutils.network.graph import Graph
from xaiutils.pictures.scenes.networks import data_folder

TOLERANCE = 2e-5
NETWORKS = ("scenes_vgg_seed0", "squeezenet1_0", "vgg11", "resnet18")
METHODS: dict[str, tuple[type, Callable[[Tensor, Tensor], Tensor]]] = {
    "Grad-CAM++": (theirs.GradCAMPlusPlus, partial(cam.grad_cam_plus_plus, epsilon=1e-6)),
    "Grad-CAM": (theirs.GradCAM, cam.grad_cam),
    "HiResCAM": (theirs.HiResCAM, cam.hires_cam),
    "LayerCAM": (theirs.LayerCAM, cam.layer_cam),
    "XGradCAM": (theirs.XGradCAM, cam.xgrad_cam),
}


@cache
def network(name: str) -> Classifier:
    if name.startswith("scenes"):
        if not (data_folder() / f"{name}.safetensors").is_file():
            pytest.skip(f"{name} has not been trained yet")
        return load_model(name)
    return load_model(name, "random")


def pictures(name: str, count: int = 3) -> Tensor:
    if name.startswith("scenes"):
        from xaiutils.pictures.scenes import samples

        return network(name).preprocess(samples("test", count))
    return torch.randn(count, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def activations(graph: Graph, layer: str, x: Tensor, target: list[int]) -> tuple[Tensor, Tensor]:
    """A and g at ``layer``, from one pass."""
    record = graph.run(x, leaf=graph.find(layer))
    (g,) = torch.autograd.grad(record.logits[range(len(x)), target].sum(), record.leaf)
    return record.leaf.detach(), g


def targets(classifier: Classifier, x: Tensor) -> list[int]:
    """Of the first image the likeliest class, of the second the next one, of the third the third:
    SqueezeNet ends in a ReLU, and a logit of exactly 0 has no map.
    """
    ranks = classifier.predict(x).argsort(1, descending=True)
    return [int(ranks[i, i]) for i in range(len(x))]


@cache
def frozen_copy(module: nn.Module) -> nn.Module:
    """A copy for grad-cam to change; the gradient of its parameters is never needed."""
    return copy.deepcopy(module).requires_grad_(False)


def their_maps(
    method: type, module: nn.Module, layer: str, x: Tensor, target: list[int]
) -> np.ndarray:
    """grad-cam's maps."""
    twin = frozen_copy(module)
    with method(model=twin, target_layers=[twin.get_submodule(layer)]) as run:
        picture = x.clone().requires_grad_(torch.is_grad_enabled())
        return run(input_tensor=picture, targets=[ClassifierOutputTarget(t) for t in target])


class Small(nn.Module):
    """Convolution, ReLU (in place if asked), pooling, two linear layers."""

    def __init__(self, inplace: bool = False, scale: float = 1.0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.convolution, self.relu = nn.Conv2d(3, 8, 3), nn.ReLU(inplace)
        self.pool, self.scale = nn.AdaptiveMaxPool2d(3), scale
        self.hidden, self.classes = nn.Linear(72, 10), nn.Linear(10, 5)

    def forward(self, x: Tensor) -> Tensor:
        pooled = self.pool(self.relu(self.convolution(x))).flatten(1)
        return self.scale * self.classes(self.hidden(pooled).relu())


def noise(count: int = 4) -> Tensor:
    return torch.randn(count, 3, 16, 16, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("method", METHODS)
def test_our_formula_gives_their_map(name, method):
    classifier, x = network(name), pictures(name)
    target = targets(classifier, x)
    layer = classifier.cam_layer
    a, g = activations(classifier.graph, layer, x, target)
    assert (a >= 0).all()
    their_class, our_function = METHODS[method]
    ours = to_image(our_function(a, g), tuple(x.shape[-2:])).numpy()
    expected = their_maps(their_class, classifier.module, layer, x, target)
    assert expected.max((1, 2)).min() > 0.99  # three maps, none of them empty
    np.testing.assert_allclose(ours, expected, atol=TOLERANCE)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_verb_gives_their_grad_cam_of_the_predicted_class(name):
    classifier, x = network(name), pictures(name)
    target = classifier.predict(x).argmax(1).tolist()
    expected = their_maps(theirs.GradCAM, classifier.module, classifier.cam_layer, x, target)
    found = class_activation_map(classifier, x, cam="grad_cam").numpy()
    np.testing.assert_allclose(found, expected, atol=TOLERANCE)


def test_g2_one_target_for_four_images_leaves_three_of_their_maps_empty():
    classifier = wrap(Small().eval(), cam_layer="relu")
    expected = their_maps(theirs.GradCAMPlusPlus, classifier.module, "relu", noise(), [1])
    assert expected[0].any()
    assert not expected[1:].any()
    with pytest.raises(ValueError, match=r"target must be one class index or one per image \(4\)"):
        class_activation_map(classifier, noise(), [1])
    ours = class_activation_map(classifier, noise(), 1)
    assert ours.flatten(1).any(1).all()


def test_g3_their_epsilon_changes_the_map_where_gradients_are_small():
    def alpha(scale: float, epsilon: float) -> float:
        """Of a single position with A = 1: the map's value is alpha g."""
        a, g = torch.ones(1, 1, 1, 1).double(), torch.full((1, 1, 1, 1), scale).double()
        return float(cam.grad_cam_plus_plus(a, g, epsilon)) / scale

    assert alpha(1e-4, 1e-6) == pytest.approx(0.0098, abs=1e-4)
    assert alpha(1e-4, 0) == pytest.approx(0.49998, abs=1e-5)
    a, g = activations(Graph(Small().eval(), (3, 16, 16)), "relu", noise(), [1] * 4)
    differences = []
    for scale in (10, 1e-4):
        maps = [to_image(cam.grad_cam_plus_plus(a, scale * g, e), (16, 16)) for e in (0, 1e-6)]
        differences.append(float((maps[0] - maps[1]).abs().max()))
    assert differences[0] < 1e-3
    assert differences[1] > 0.02


def test_g3_their_map_follows_the_epsilon_on_a_network_with_small_logits():
    module, x = Small(scale=1e-4).eval(), noise()
    expected = their_maps(theirs.GradCAMPlusPlus, module, "relu", x, [1] * 4)
    a, g = activations(Graph(module, (3, 16, 16)), "relu", x, [1] * 4)
    same, exact = (to_image(cam.grad_cam_plus_plus(a, g, e), (16, 16)).numpy() for e in (1e-6, 0))
    np.testing.assert_allclose(same, expected, atol=TOLERANCE)
    assert np.abs(exact - expected).max() > 0.02


def test_g5_an_in_place_relu_changes_what_their_hook_on_the_convolution_saw():
    their, our = [], []
    for inplace in (False, True):
        module = Small(inplace).eval()
        their.append(their_maps(theirs.GradCAM, module, "convolution", noise(), [1] * 4))
        our.append(activations(Graph(module, (3, 16, 16)), "convolution", noise(), [1] * 4))
    assert np.abs(their[0] - their[1]).max() > 0.1
    assert torch.equal(our[0][0], our[1][0])
    assert torch.equal(our[0][1], our[1][1])
    assert (our[1][0] < 0).any()  # the convolution's own values, before the ReLU
    ours = to_image(cam.grad_cam(*our[1]), (16, 16)).numpy()
    np.testing.assert_allclose(ours, their[0], atol=TOLERANCE)


def test_g6_they_leave_gradients_and_eval_mode_and_we_leave_nothing():
    module = Small().train()
    with theirs.GradCAM(model=module, target_layers=[module.relu]) as run:
        run(input_tensor=noise(), targets=[ClassifierOutputTarget(1)] * 4)
    assert not module.training
    assert all(parameter.grad is not None for parameter in module.parameters())
    with pytest.raises(ValueError, match="module must be in eval mode, got train mode"):
        wrap(Small().train())
    module = Small().eval()
    class_activation_map(wrap(module, cam_layer="relu"), noise(), 1)
    assert all(parameter.grad is None for parameter in module.parameters())
    assert not any(part._forward_hooks or part._backward_hooks for part in module.modules())


def test_g6_a_frozen_network_under_no_grad_stops_them_and_not_us():
    module = Small().eval().requires_grad_(False)
    with torch.no_grad(), pytest.raises(RuntimeError, match="does not require grad"):
        their_maps(theirs.GradCAM, module, "relu", noise(), [1] * 4)
    with torch.no_grad():
        frozen = class_activation_map(wrap(module, cam_layer="relu"), noise(), 1)
    trainable = class_activation_map(wrap(Small().eval(), cam_layer="relu"), noise(), 1)
    assert torch.equal(frozen, trainable)


def test_g7_they_swallow_an_index_error_and_we_raise(capsys):
    maps = None
    module = Small().eval()
    with theirs.GradCAM(model=module, target_layers=[module.relu]) as run:
        maps = run(input_tensor=noise(), targets=[ClassifierOutputTarget(99)] * 4)
    assert maps is None
    assert "An exception occurred in CAM with block" in capsys.readouterr().out
    with pytest.raises(ValueError, match=r"target must be in 0\.\.4, got 99"):
        class_activation_map(wrap(Small().eval(), cam_layer="relu"), noise(), 99)
