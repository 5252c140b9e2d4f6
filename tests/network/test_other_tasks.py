"""Networks that are no classifiers, each explained by a score: hybrid, ledger and a metric."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import xaiutils as xai
from xaiutils.cases.case import Case
from xaiutils.metrics.scoring import score
from xaiutils.network import targets
from xaiutils.network.classifier import Classifier


def lively(network: nn.Module) -> nn.Module:
    """Random weights of seed 0, with batch norms that do something; in eval mode."""
    torch.manual_seed(0)
    for part in network.modules():
        if hasattr(part, "reset_parameters"):
            part.reset_parameters()
        if isinstance(part, nn.BatchNorm2d):
            nn.init.uniform_(part.weight, 0.5, 1.5)
            nn.init.normal_(part.bias, std=0.2)
            nn.init.normal_(part.running_mean, std=0.2)
            nn.init.uniform_(part.running_var, 0.5, 1.5)
    return network.eval()


def pictures(n: int, size: int) -> Tensor:
    return torch.rand(n, 3, size, size, generator=torch.Generator().manual_seed(n))


def explained(classifier: Classifier, x: Tensor, target: targets.Score, **settings) -> Tensor:
    """The hybrid, of a pass that keeps its books, and scored."""
    found = xai.explain(classifier, x, target, **settings)
    start = found.conservation.start
    assert (found.conservation.residual.abs() < 1e-4 * start.abs()).all()
    torch.testing.assert_close(
        start, targets.answer(classifier.predict(x), found.target), rtol=1e-4, atol=1e-5
    )
    assert found.hybrid.flatten(1).any(1).all()
    first = found.target[0]
    asked = int(first) if isinstance(first, Tensor) else first
    case = Case("one", classifier, x[:1], asked)
    rows = score([case], ["hybrid", "saliency", "random_map"], {"srg": {"steps": 2}})
    assert rows["value"].notna().all(), rows["why"]
    return found.hybrid


def convolutions(width: int = 8) -> list[nn.Module]:
    return [
        nn.Conv2d(3, width, 3, padding=1),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(width, width, 3, padding=1),
        nn.ReLU(),
    ]


def pooled(*last: nn.Module) -> nn.Module:
    return nn.Sequential(*convolutions(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), *last)


class Segments(nn.Module):
    """A map of class scores at the picture's size, by name."""

    def __init__(self) -> None:
        super().__init__()
        self.features, self.head = nn.Sequential(*convolutions()), nn.Conv2d(8, 4, 1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        found = self.head(self.features(x))
        size = x.shape[-2:]
        return {"out": F.interpolate(found, size, mode="bilinear", align_corners=False)}


MASK = torch.zeros(16, 16, dtype=torch.bool)
MASK[2:5, 3:9] = True


@pytest.fixture(scope="module")
def segmenter() -> Classifier:
    return xai.wrap(lively(Segments()), ["sky", "road", "car", "person"], size=16)


def test_a_region_is_explained_as_its_pixels_are(segmenter):
    x = pictures(1, 16)
    explained(segmenter, pictures(2, 16), targets.region("car", MASK))
    found = xai.relevance(segmenter, x, targets.region("car", MASK), "epsilon")
    total, cells = torch.zeros_like(x), MASK.nonzero().tolist()
    for row, column in cells:
        one = torch.zeros_like(MASK)
        one[row, column] = True
        total += xai.relevance(segmenter, x, targets.region(2, one), "epsilon").map
    torch.testing.assert_close(found.map, total / len(cells), rtol=1e-4, atol=1e-6)
    # What is far from the region is not read: 3 pixels by the second convolution, 1 by the first,
    # and the neighbouring cell by the interpolation.
    assert not found.map[..., 14:, :].any()


def test_a_region_of_each_picture(segmenter):
    x, other = pictures(2, 16), MASK.flip(0)
    both = xai.explain(segmenter, x, [targets.region(1, MASK), targets.region(3, other)])
    assert both.settings["score"] == "region(1), region(3)"
    for i, region in enumerate((targets.region(1, MASK), targets.region(3, other))):
        alone = xai.explain(segmenter, x[i : i + 1], region)
        torch.testing.assert_close(both.hybrid[i], alone.hybrid[0], rtol=1e-4, atol=1e-7)


def test_a_map_has_no_predicted_class(segmenter):
    x, way = pictures(1, 16), r"xaiutils\.(network\.)?targets\.region"
    for target in (None, 2):
        for ask in (xai.explain, xai.METHODS["hybrid"], xai.METHODS["saliency"]):
            with pytest.raises(ValueError, match=f"target must be .*{way}"):
                ask(segmenter, x, target)
    with pytest.raises(ValueError, match="target must be a score"):
        Case("one", segmenter, x, 2)
    with pytest.raises(ValueError, match=r"must give \(N, K\) to have likeliest classes"):
        segmenter.top(x)
    with pytest.raises(ValueError, match=r"of the output's size \(16, 16\), got \(8, 16\)"):
        xai.explain(segmenter, x, targets.region(2, MASK[:8]))
    with pytest.raises(ValueError, match="one real number per picture"):
        xai.explain(segmenter, x, "car")


@pytest.mark.slow
def test_torchvisions_segmentation():
    from torchvision.models.segmentation import fcn_resnet50

    network = fcn_resnet50(weights=None, weights_backbone=None, aux_loss=False)
    segmenter = xai.wrap(lively(network), size=64)
    region = torch.zeros(64, 64, dtype=torch.bool)
    region[10:30, 20:50] = True
    explained(segmenter, pictures(1, 64), targets.region(15, region))


@pytest.mark.parametrize("last", [nn.Identity(), nn.Flatten(0)], ids=["(N, 1)", "(N,)"])
def test_a_regression(last):
    age = xai.wrap(lively(pooled(nn.Linear(8, 1), last)), ["age"], size=16)
    x = pictures(2, 16)
    assert age.outputs == "value"
    hybrid = explained(age, x, targets.value())
    for target in (None, 0, "age", targets.value("age")):
        assert torch.equal(xai.explain(age, x, target).hybrid, hybrid)


def test_fourteen_labels():
    names = [f"finding {i}" for i in range(14)]
    labels = xai.wrap(lively(pooled(nn.Linear(8, 14))), names, size=16, outputs="sigmoid")
    x = pictures(2, 16)
    expected = xai.explain(labels, x, 3).hybrid
    assert torch.equal(xai.explain(labels, x, "finding 3").hybrid, expected)
    explained(labels, x, targets.margin("finding 3", "finding 5"))


class Embedding(nn.Module):
    """An embedding of length one."""

    def __init__(self) -> None:
        super().__init__()
        self.network = pooled(nn.Linear(8, 12))

    def forward(self, x: Tensor) -> Tensor:
        return F.normalize(self.network(x))


@pytest.mark.parametrize("normalised", [False, True])
def test_the_likeness_to_a_reference(normalised):
    network = Embedding() if normalised else pooled(nn.Linear(8, 12))
    embedding = xai.wrap(lively(network), size=16, outputs="value")
    x = pictures(3, 16)
    like = targets.similarity(embedding.predict(x[2:])[0])
    found = explained(embedding, x[:2], like)
    assert found.shape == (2, 16, 16)
    torch.testing.assert_close(
        like(embedding.predict(x)),
        torch.cosine_similarity(*(embedding.predict(p) for p in (x, x[2:]))),
    )


class Detector(nn.Module):
    """torchvision's FCOS up to its class scores: what follows branches on values."""

    def __init__(self, detector: nn.Module) -> None:
        super().__init__()
        self.backbone, self.head = detector.backbone, detector.head.classification_head

    def forward(self, x: Tensor) -> Tensor:
        levels = list(self.backbone(x).values())
        return self.head(levels).transpose(1, 2)  # (N, K, anchors)


@pytest.mark.slow
def test_a_detectors_class_score():
    from torchvision.models.detection import fcos_resnet50_fpn
    from torchvision.models.detection.image_list import ImageList

    network = lively(fcos_resnet50_fpn(weights=None, weights_backbone=None, num_classes=5))
    with pytest.raises(ValueError, match="module must return one tensor, or name it"):
        xai.wrap(network, size=64)
    detector = xai.wrap(Detector(network).eval(), size=64, cam_layer="backbone.body.layer3")
    x = pictures(1, 64)
    levels = list(network.backbone(x).values())
    (anchors,) = network.anchor_generator(ImageList(x, [(64, 64)]), levels)
    assert detector.graph.output.shape == (1, 5, len(anchors))
    explained(detector, x, targets.box(2, (10, 10, 40, 50), anchors), composite="epsilon")
