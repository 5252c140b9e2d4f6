"""The scene classifiers' four architectures, and the folder where their weights are.

All take ``(N, 3, H, W)`` normalised by ``MEAN`` and ``STD`` of `scenes` and return logits
``(N, 6)``. They are small, and built as the networks that they stand for are in torchvision.
"""

from __future__ import annotations

import os
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from xaiutils.pictures.scenes.layout import CLASSES
from xaiutils.pictures.scenes.shapes import SIZE
from xaiutils.support import chance
from xaiutils.support.files import shipped

VGG_WIDTHS: tuple[tuple[int, ...], ...] = ((8,), (16, 16), (32, 32), (64, 64))


class SceneVGG(nn.Module):
    """A small VGG: blocks of 3 × 3 convolutions, global average pooling, two linear layers.

    Args:
        folded: build the shipped form, without batch norm and with convolution biases.
    """

    def __init__(self, folded: bool = False) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for block in VGG_WIDTHS:
            for width in block:
                layers.append(nn.Conv2d(channels, width, 3, padding=1, bias=folded))
                layers += [] if folded else [nn.BatchNorm2d(width)]
                layers.append(nn.ReLU())
                channels = width
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(
            nn.Linear(channels, 64), nn.ReLU(), nn.Linear(64, len(CLASSES))
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits ``(N, 6)`` of a normalised batch ``(N, 3, H, W)``."""
        x = self.avgpool(self.features(x))
        return self.classifier(torch.flatten(x, 1))


def fold(net: SceneVGG) -> SceneVGG:
    """Return a new network in eval mode with batch norm folded into the convolutions."""
    with chance.Drawn(0):
        result = SceneVGG(folded=True)
    layers = [*net.eval().features, *result.features]
    own = [layer for layer in layers if isinstance(layer, nn.Conv2d)]
    norms = [layer for layer in layers if isinstance(layer, nn.BatchNorm2d)]
    for source, target, norm in zip(own[: len(norms)], own[len(norms) :], norms, strict=True):
        target.load_state_dict(fuse_conv_bn_eval(source, norm).state_dict())
    result.classifier.load_state_dict(net.classifier.state_dict())
    return result.eval()


class ResidualBlock(nn.Module):
    """The basic block of a residual network; its one ReLU module is used twice."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU()
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample: nn.Module = nn.Identity()
        if stride > 1 or channels != width:
            self.downsample = nn.Sequential(
                nn.Conv2d(channels, width, 1, stride, bias=False), nn.BatchNorm2d(width)
            )

    def forward(self, x: Tensor) -> Tensor:
        """Return relu(two convolutions of ``x`` + ``x``, made smaller where they do)."""
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        return self.relu(out + self.downsample(x))


class SceneResNet(nn.Module):
    """A small residual network with one linear layer after the pooling, so that CAM applies."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.relu = nn.ReLU()
        self.layer1 = nn.Sequential(ResidualBlock(8, 16, 2))
        self.layer2 = nn.Sequential(ResidualBlock(16, 32, 2))
        self.layer3 = nn.Sequential(ResidualBlock(32, 64, 2), ResidualBlock(64, 64, 1))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(64, len(CLASSES))

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits ``(N, 6)`` of a normalised batch ``(N, 3, H, W)``."""
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.fc(torch.flatten(self.avgpool(x), 1))


class BasicConv(nn.Module):
    """Convolution that keeps the size (at stride 1), batch norm, functional ReLU."""

    def __init__(self, channels: int, width: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, width, kernel, stride, padding=kernel // 2, bias=False)
        self.bn = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        """Return relu(batch norm(convolution of ``x``))."""
        return functional.relu(self.bn(self.conv(x)))


class InceptionBlock(nn.Module):
    """Four branches side by side, ``width`` channels of each."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.branch1x1 = BasicConv(channels, width, 1)
        self.branch3x3 = nn.Sequential(BasicConv(channels, width, 1), BasicConv(width, width, 3))
        self.branch3x3dbl = nn.Sequential(
            BasicConv(channels, width, 1), BasicConv(width, width, 3), BasicConv(width, width, 3)
        )
        self.branch_pool = BasicConv(channels, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the branches' channels, ``(N, 4 width, H, W)``."""
        pooled = functional.avg_pool2d(x, kernel_size=3, stride=1, padding=1)
        branches = self.branch1x1(x), self.branch3x3(x), self.branch3x3dbl(x)
        return torch.cat([*branches, self.branch_pool(pooled)], 1)


class SceneInception(nn.Module):
    """A small inception network with one linear layer after the pooling."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(BasicConv(3, 16, 3, stride=2), BasicConv(16, 24, 3))
        self.maxpool1 = nn.MaxPool2d(3, stride=2, padding=1)
        self.mixed1 = InceptionBlock(24, 16)
        self.maxpool2 = nn.MaxPool2d(3, stride=2, padding=1)
        self.mixed2 = InceptionBlock(64, 24)
        self.mixed3 = InceptionBlock(96, 24)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(96, len(CLASSES))

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits ``(N, 6)`` of a normalised batch ``(N, 3, H, W)``."""
        x = self.maxpool1(self.stem(x))
        x = self.maxpool2(self.mixed1(x))
        x = self.mixed3(self.mixed2(x))
        return self.fc(torch.flatten(self.avgpool(x), 1))


class Attention(nn.Module):
    """Multi-head self-attention, softmax(q kᵀ / √d) v for each head (Vaswani et al., eq. 1)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Return the tokens ``(N, T, width)``, each a mixture of all."""
        qkv = self.qkv(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(qkv[0], qkv[1], qkv[2])
        return self.proj(mixed.transpose(1, 2).flatten(2))


class EncoderBlock(nn.Module):
    """A pre-norm transformer block: attention, then an MLP, each added to its input."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the tokens ``(N, T, width)``."""
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class SceneViT(nn.Module):
    """A small vision transformer: convolutional stem, 8 × 8 tokens and a class token.

    The learned position embedding fixes the input's size: 128 × 128.
    """

    def __init__(self) -> None:
        super().__init__()
        width = 64
        layers: list[nn.Module] = []
        steps = ((3, 16, 2), (16, 32, 2), (32, 32, 1), (32, width, 2), (width, width, 2))
        for channels, out, stride in steps:
            layers += [nn.Conv2d(channels, out, 3, stride, padding=1, bias=False)]
            layers += [nn.BatchNorm2d(out), nn.ReLU()]
        self.stem = nn.Sequential(*layers)
        self.class_token = nn.Parameter(torch.zeros(1, 1, width))
        self.position = nn.Parameter(torch.empty(1, 1 + (SIZE // 16) ** 2, width))
        nn.init.normal_(self.position, std=0.02)
        self.encoder = nn.Sequential(*(EncoderBlock(width, heads=4) for _ in range(4)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, len(CLASSES))

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits ``(N, 6)`` of a normalised batch ``(N, 3, 128, 128)``."""
        tokens = self.stem(x).flatten(2).transpose(1, 2)
        first = self.class_token.expand(x.shape[0], -1, -1)
        tokens = torch.cat([first, tokens], 1) + self.position
        return self.head(self.norm(self.encoder(tokens))[:, 0])


ARCHITECTURES: dict[str, type[nn.Module]] = {
    "vgg": SceneVGG,
    "resnet": SceneResNet,
    "inception": SceneInception,
    "vit": SceneViT,
}


def data_folder() -> Path:
    """Return ``XAIUTILS_DATA`` if it is set, else the ``data`` that came with the package."""
    return Path(os.environ.get("XAIUTILS_DATA") or shipped("data"))
