"""Others' preprocessing, read as ours: the same tensors as the library's own, pixel for pixel."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from torch import nn
from torchvision import models, transforms as v1
from torchvision.transforms import InterpolationMode as Mode, v2

from xaiutils.hybrid import explain
from xaiutils.network.classifier import wrap
from xaiutils.pictures.images import Transform
from xaiutils.pictures.transforms import from_timm, read_transform

COLOURS: dict[str, Any] = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
SIZES = ((81, 107), (100, 79), (50, 61), (52, 133))
FLOATS = v2.ToDtype(torch.float32, scale=True)


def pictures() -> list[PIL.Image.Image]:
    draw = np.random.default_rng(1)
    return [PIL.Image.fromarray(draw.integers(0, 256, (*s, 3), dtype=np.uint8)) for s in SIZES]


PIPELINES: dict[str, Any] = {
    "v1": v1.Compose(
        [v1.Resize(60), v1.CenterCrop(51), v1.ToTensor(), v1.Normalize(**COLOURS)]
    ),
    "bicubic, exact": v1.Compose([v1.Resize((40, 56), Mode.BICUBIC), v1.ToTensor()]),
    "floats": v1.Compose([v1.ToTensor(), v1.Resize(60), v1.CenterCrop(50)]),
    "resized last": v1.Compose([v1.ToTensor(), v1.Normalize(**COLOURS), v1.Resize(30)]),
    "no antialias": v1.Compose([v1.ToTensor(), v1.Resize(30, antialias=False)]),
    "8 bits": v2.Compose(
        [v2.ToImage(), v2.Resize(60, Mode.BICUBIC), v2.CenterCrop(51), FLOATS,
         v2.Normalize(**COLOURS)]
    ),
    "v2": v2.Compose(
        [v2.RGB(), v2.Resize([64]), v2.CenterCrop([48, 32]), v2.PILToTensor(),
         v2.ConvertImageDtype(torch.float32), v2.ToPureTensor()]
    ),
    "grey": v1.Compose([v1.Grayscale(3), v1.Resize(64), v1.ToTensor(), v1.Normalize(0.5, 0.5)]),
    "pixels of 255": v2.Compose(
        [v2.PILToTensor(), v2.ToDtype(torch.float32), v2.Normalize([124, 117, 104], [1, 1, 1])]
    ),
    "a Sequential": nn.Sequential(v2.ToImage(), nn.Sequential(v2.CenterCrop(40), FLOATS)),
    "one step": v1.ToTensor(),
    "classification": models.EfficientNet_B1_Weights.IMAGENET1K_V2.transforms(),
    "segmentation": models.segmentation.FCN_ResNet50_Weights.DEFAULT.transforms(),
    "detection": models.detection.RetinaNet_ResNet50_FPN_Weights.DEFAULT.transforms(),
}  # fmt: skip


@pytest.mark.parametrize("name", PIPELINES)
def test_torchvisions_pipelines_give_their_own_tensors(name: str) -> None:
    own = PIPELINES[name]
    found = read_transform(own)
    assert isinstance(found, Transform)
    for picture in pictures():
        expected = torch.as_tensor(own(picture))
        torch.testing.assert_close(found(picture)[0], expected, rtol=1e-6, atol=1e-6 * 255)
        assert found.picture(picture).shape == (*expected.shape[-2:], 3)


def test_what_is_seen_is_drawn() -> None:
    found = read_transform(PIPELINES["8 bits"])
    seen = found(pictures()[0])[0] * torch.tensor(COLOURS["std"])[:, None, None]
    seen += torch.tensor(COLOURS["mean"])[:, None, None]
    drawn = torch.tensor(found.picture(pictures()[0])).permute(2, 0, 1)
    torch.testing.assert_close(seen * 255, drawn.float(), atol=1e-3, rtol=0)


def test_weights_and_their_uncalled_transforms_are_read() -> None:
    weights = models.VGG16_Weights.DEFAULT
    expected = Transform.from_weights(weights)
    assert isinstance(weights.transforms, functools.partial)
    for given in (weights, weights.transforms, weights.transforms(), expected):
        assert read_transform(given) == expected


def test_one_mean_is_for_each_channel_that_the_network_reads() -> None:
    own = v1.Compose([v1.ToTensor(), v1.Normalize((0.5,), (0.5,))])
    assert read_transform(own).channels == 3
    grey = pictures()[0].convert("L")
    torch.testing.assert_close(read_transform(own, channels=1)(grey)[0], own(grey))


class Own(v1.Resize):
    """A step of one's own: the class that it comes from does not say what it does."""

    def forward(self, img: Any) -> Any:
        return super().forward(img).rotate(90)


class CenterCrop(v1.CenterCrop):
    """Of the library, by its name, in a version that does something else."""

    def forward(self, img: Any) -> Any:
        return super().forward(img).rotate(180)


CenterCrop.__module__ = "torchvision.transforms.transforms"

REFUSED: dict[str, tuple[Any, type[Exception], str]] = {
    "random": (v1.Compose([v1.RandomCrop(64), v1.ToTensor()]), ValueError,
               "RandomCrop draws at random, and belongs to training"),
    "random of several": (v2.Compose([v2.RandomApply([v2.ToImage()])]), ValueError, "RandomApply"),
    "lambda": (v1.Compose([v1.Lambda(lambda x: x)]), ValueError, "transform: Lambda cannot be rea"),
    "a function in it": (v1.Compose([lambda x: x]), ValueError, "transform: function cannot be re"),
    "own class": (v1.Compose([Own(32), v1.ToTensor()]), ValueError, "Own cannot be read"),
    "padded": (v1.Compose([v1.Resize(40), v1.CenterCrop(64), v1.ToTensor()]), ValueError,
               r"crop must fit into resize 40, got \(64, 64\)"),
    "a pad": (v1.Compose([v1.Pad(3), v1.ToTensor()]), ValueError, "transform: Pad cannot be read"),
    "no tensor": (v1.Compose([v1.Resize(64)]), ValueError, "must end in a tensor of floats"),
    "crop first": (v1.Compose([v1.CenterCrop(64), v1.Resize(80), v1.ToTensor()]), ValueError,
                   "computes something else than its settings say: .* in shape"),
    "rounded when it is resized": (v1.Compose([v1.PILToTensor(), v1.Resize(20),
                                               v1.ConvertImageDtype(torch.float)]), ValueError,
                                   "computes something else than its settings say: .* by up to"),
    "grey later": (v2.Compose([v2.Resize(64), v2.Grayscale(), v2.ToImage(), FLOATS]), ValueError,
                   "computes something else than its settings say: .* by up to"),
    "longest side": (v1.Compose([v1.Resize(32, max_size=40), v1.ToTensor()]), ValueError,
                     "computes something else than its settings say: .* in shape"),
    "something else": (v1.Compose([CenterCrop(20), v1.ToTensor()]), ValueError,
                       "Compose computes something else than its settings say: .* by up to"),
    "clips": (models.video.R3D_18_Weights.DEFAULT.transforms(), ValueError,
              "VideoClassification fails on a picture"),
    "a function": (lambda x: x, TypeError, "transform must be a Transform, .* got function"),
    "a mapping": ({"mean": [0.5]}, ValueError, "must be timm's data configuration"),
    "crop mode": ({"input_size": (3, 8, 8), "crop_mode": "middle"}, ValueError, "crop_mode must"),
    "oblong": ({"input_size": (3, 8, 9)}, ValueError, r"a centre crop of \(8, 9\) by timm cannot"),
    "interpolation": ({"input_size": (3, 8, 8), "interpolation": "cubic"}, ValueError,
                      "interpolation of .* did you mean bicubic"),
    "name": ("resnet50", TypeError, "got str 'resnet50'"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_read_is_named_with_the_way_out(case: str) -> None:
    given, error, match = REFUSED[case]
    with pytest.raises(error, match=match):
        read_transform(given)


class FromTimm(nn.Module):
    """As timm's networks say what they were trained on."""

    def __init__(self, channels: int = 3, **config: Any) -> None:
        super().__init__()
        self.pretrained_cfg = {
            "input_size": (3, 32, 32), "interpolation": "bicubic", "crop_pct": 0.9,
            "crop_mode": "center", "mean": (0.5, 0.4, 0.3), "std": (0.2, 0.2, 0.1),
        } | config  # fmt: skip
        self.features = nn.Sequential(nn.Conv2d(channels, 4, 3), nn.ReLU())
        self.head = nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.features(x).mean((2, 3)))


def test_a_network_of_timm_alone_suffices() -> None:
    expected = Transform(35, (32, 32), (0.5, 0.4, 0.3), (0.2, 0.2, 0.1), "bicubic")
    assert wrap(FromTimm().eval()).transform == expected
    larger = wrap(FromTimm().eval(), size=40).transform  # what is given counts, the rest is timm's
    assert larger == Transform((40, 40), None, (0.5, 0.4, 0.3), (0.2, 0.2, 0.1))
    other = wrap(FromTimm().eval(), mean=[0.1] * 3).transform
    assert other == Transform(35, (32, 32), (0.1,) * 3, (0.2, 0.2, 0.1), "bicubic")
    with pytest.raises(ValueError, match=r"each of the 1 channels .* give mean= and std="):
        wrap(FromTimm(channels=1).eval())
    assert wrap(FromTimm(channels=1).eval(), mean=[0.5], std=[0.5], size=32).transform.channels == 1


def test_wrap_takes_a_transform_of_torchvision() -> None:
    own = v1.Compose([v1.Resize(40), v1.CenterCrop(32), v1.ToTensor(), v1.Normalize(**COLOURS)])
    net = wrap(FromTimm().eval(), transform=own)
    torch.testing.assert_close(net.preprocess(pictures()[0])[0], own(pictures()[0]))


CONFIGS = [
    {"input_size": (3, *size), "crop_mode": mode, "crop_pct": share, "interpolation": how}
    for mode, size in (("center", (96, 96)), ("squash", (96, 160)))
    for share, how in ((0.875, "bilinear"), (1.0, "bicubic"))
]


@pytest.mark.parametrize("config", [*CONFIGS, {"input_size": (3, 64, 64), "crop_pct": 0.95}])
def test_timms_configurations_give_its_own_tensors(config: Any) -> None:
    data = pytest.importorskip("timm.data")
    resolved = data.resolve_data_config(config)
    own = data.create_transform(**resolved)
    for found in (from_timm(config), read_transform(own)):
        for picture in pictures():
            torch.testing.assert_close(found(picture)[0], own(picture))


PROCESSORS: dict[str, dict[str, Any]] = {
    "ViTImageProcessor": {},
    "ConvNextImageProcessor": {"size": {"shortest_edge": 61}},
    "BitImageProcessor": {"size": {"shortest_edge": 57}, "crop_size": {"height": 50, "width": 46}},
    "CLIPImageProcessor": {"size": {"shortest_edge": 41}, "crop_size": 31},
    "DeiTImageProcessor": {"size": 70, "crop_size": 53},
    "EfficientNetImageProcessor": {"size": 70},
    "MobileViTImageProcessor": {"size": {"shortest_edge": 50}, "crop_size": 41},
    "PoolFormerImageProcessor": {},
    "SegformerImageProcessor": {},
    "DINOv3ViTImageProcessor": {},
    "SiglipImageProcessor": {"do_normalize": False},
    "BeitImageProcessor": {"do_rescale": False, "do_normalize": False, "size": 40},
}


@pytest.mark.parametrize("kind", ["", "Pil"])
@pytest.mark.parametrize("name", PROCESSORS)
def test_hugging_faces_processors_give_their_own_tensors(name: str, kind: str) -> None:
    library = pytest.importorskip("transformers")
    if not hasattr(library, name + kind):
        pytest.skip("there is one kind of it")
    own = getattr(library, name + kind)(**PROCESSORS[name])
    found = read_transform(own)
    for picture in pictures():
        expected = own(picture, return_tensors="pt")["pixel_values"][0].float()
        torch.testing.assert_close(found(picture)[0], expected, rtol=1e-6, atol=2e-6 * 255)


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("ImageGPTImageProcessor", "do_color_quantize of ImageGPTImageProcessor cannot be read"),
        ("YolosImageProcessor", "do_pad of YolosImageProcessor cannot be read"),
        ("PerceiverImageProcessor", "crop must fit into resize"),
        ("VivitImageProcessor", "VivitImageProcessor computes something else"),
    ],
)
def test_other_processors_are_refused_by_name(name: str, match: str) -> None:
    library = pytest.importorskip("transformers")
    with pytest.raises(ValueError, match=match):
        read_transform(getattr(library, name)())


def test_a_network_that_timm_makes_is_explained_as_it_was_trained() -> None:
    timm = pytest.importorskip("timm")
    net = timm.create_model("resnet10t", num_classes=4).eval()
    mine = wrap(net)
    own = timm.data.create_transform(**timm.data.resolve_data_config(model=net))
    picture = pictures()[0].resize((300, 260))
    torch.testing.assert_close(mine.preprocess(picture)[0], own(picture))
    assert explain(mine, mine.preprocess(picture)).hybrid.shape == (1, 176, 176)
