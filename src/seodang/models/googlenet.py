"""GoogLeNet: modules of four branches side by side, and two classifiers on the way that help training."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from seodang.core.config import Config
from seodang.layers.auxiliary import WithAuxiliary
from seodang.layers.dropout import Dropout
from seodang.layers.initialization import InitName, initialize_layers
from seodang.layers.map_size import Window, map_size
from seodang.models.base import Architecture, architectures


class GoogLeNetConfig(Config):
    """Form, width and input size."""

    in_channels: int = Field(3, gt=0)
    """Channels of the pictures: 1 grey, 3 colour."""
    image_size: tuple[int, int] = (224, 224)
    """Height and width of the pictures in pixels."""
    num_classes: int = Field(1000, gt=0)
    """Classes to tell apart."""
    width: float = Field(1.0, gt=0)
    """Share of the published channels of every convolution."""
    large_kernel: Literal[3, 5] = 3
    """Size of the largest kernel of a module: 5 in the paper, 3 in the networks trained with batch normalisation."""
    batch_norm: bool = True
    """Normalise after each convolution (which then has no bias); the paper, older than that, does not."""
    response_norm: bool = False
    """Local response normalisation behind the first and the third convolution, as in the paper."""
    auxiliary: bool = True
    """Two classifiers on the way, whose losses are added while training; nothing else sees them."""
    auxiliary_weight: float = Field(0.3, ge=0)
    """How much the loss of each of them counts."""
    dropout: float = Field(0.2, ge=0, lt=1)
    """Share of the inputs of the classifier silenced while training; 0.4 in the paper."""
    auxiliary_dropout: float = Field(0.7, ge=0, lt=1)
    """The same before the last layer of each auxiliary classifier."""
    init: InitName = "he"
    """How the first weights are drawn; biases are zero."""


SIZES = {
    "googlenet": GoogLeNetConfig(),
    "googlenet-2014": GoogLeNetConfig(large_kernel=5, batch_norm=False, response_norm=True, dropout=0.4),
}
"""As torchvision has it; and as the paper (Szegedy et al. 2015, table 1)."""

Channels = tuple[int, int, int, int, int, int]
MODULES: tuple[dict[str, Channels], ...] = (
    {"3a": (64, 96, 128, 16, 32, 32), "3b": (128, 128, 192, 32, 96, 64)},
    {
        "4a": (192, 96, 208, 16, 48, 64),
        "4b": (160, 112, 224, 24, 64, 64),
        "4c": (128, 128, 256, 24, 64, 64),
        "4d": (112, 144, 288, 32, 64, 64),
        "4e": (256, 160, 320, 32, 128, 128),
    },
    {"5a": (256, 160, 320, 32, 128, 128), "5b": (384, 192, 384, 48, 128, 128)},
)
"""1×1; before the 3×3, 3×3; before the 5×5, 5×5; behind the pooling. Szegedy et al. 2015, table 1."""
HEADS = {"4a": "auxiliary1", "4d": "auxiliary2"}
"""Modules behind which there is an auxiliary classifier, and its name."""
WINDOWS = (
    Window(7, 2, 3),
    Window(3, 2, ceil=True),
    Window(3, 2, ceil=True),
    Window(3, 2, ceil=True),
    Window(2, 2, ceil=True),
)


def unit(in_channels: int, out_channels: int, kernel_size: int, batch_norm: bool, stride: int = 1) -> nn.Sequential:
    """Return a convolution that keeps the size up to its stride, a normalisation if wanted, and the non-linearity."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    layers["convolution"] = nn.Conv2d(
        in_channels, out_channels, kernel_size, stride, kernel_size // 2, bias=not batch_norm
    )
    if batch_norm:
        layers["normalization"] = nn.BatchNorm2d(out_channels, eps=0.001)
    layers["activation"] = nn.ReLU()
    return nn.Sequential(layers)


class Inception(nn.Module):
    """Four branches side by side: 1×1, 3×3 and 5×5 convolutions and pooling, each squeezed by 1×1 convolutions.

    Source: Szegedy et al. 2015, arXiv:1409.4842, sec. 4 and figure 2b.
    Shapes: maps (B, C, H, W) → (B, sum of the branches' channels, H, W).
    """

    def __init__(self, in_channels: int, channels: Channels, large_kernel: int, batch_norm: bool) -> None:
        super().__init__()
        one, before_three, three, before_five, five, pooled = channels
        self.branch1 = unit(in_channels, one, 1, batch_norm)
        self.branch2 = nn.Sequential(
            unit(in_channels, before_three, 1, batch_norm), unit(before_three, three, 3, batch_norm)
        )
        self.branch3 = nn.Sequential(
            unit(in_channels, before_five, 1, batch_norm), unit(before_five, five, large_kernel, batch_norm)
        )
        self.branch4 = nn.Sequential(nn.MaxPool2d(3, 1, 1), unit(in_channels, pooled, 1, batch_norm))

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D H W"]:
        return torch.cat([self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x)], 1)


class AuxiliaryHead(nn.Module):
    """A classifier on maps halfway: averages at 4×4 places, 1×1 convolution and two dense layers.

    Source: Szegedy et al. 2015, arXiv:1409.4842, sec. 5.
    Shapes: maps (B, C, H, W) → logits (B, num_classes).
    """

    def __init__(self, in_channels: int, scaled: tuple[int, int], config: GoogLeNetConfig) -> None:
        super().__init__()
        channels, hidden = scaled
        self.pool = nn.AdaptiveAvgPool2d(4)
        self.convolution = unit(in_channels, channels, 1, config.batch_norm)
        self.hidden = nn.Linear(16 * channels, hidden)
        self.activation, self.dropout = nn.ReLU(), Dropout(config.auxiliary_dropout)
        self.classifier = nn.Linear(hidden, config.num_classes)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B K"]:
        x = self.convolution(self.pool(x)).flatten(1)
        return self.classifier(self.dropout(self.activation(self.hidden(x))))


@architectures.register(SIZES)
class GoogLeNet(Architecture):
    r"""Nine modules of four branches side by side, with two auxiliary classifiers while training.

    Source: Szegedy et al. 2015, "Going deeper with convolutions", arXiv:1409.4842, sec. 4, 5 and table 1; with batch
    normalisation Ioffe & Szegedy 2015, arXiv:1502.03167, sec. 4.2, in the form of torchvision (3×3 kernels for 5×5,
    dropout 0.2); initialisation He et al. 2015, arXiv:1502.01852, sec. 2.2.
    Shapes: images (B, C, H, W) → logits (B, num_classes); while training also those of the auxiliary classifiers.
    Differs: an auxiliary classifier averages its maps to 4×4 places whatever their size; the paper's 5×5 windows at every
    third place give these at 224 pixels.
    """

    takes: ClassVar[tuple[str, ...]] = ("image",)
    blocks: ClassVar[tuple[type[nn.Module], ...]] = (Inception,)
    example: ClassVar[dict[str, Any]] = {
        "in_channels": 2, "image_size": (32, 36), "num_classes": 3, "width": 0.0625, "dropout": 0.0,
        "auxiliary_dropout": 0.0,
    }  # fmt: skip

    def __init__(self, config: GoogLeNetConfig) -> None:
        super().__init__()
        map_size(config.image_size, WINDOWS)
        self.config = config
        norm = config.batch_norm
        first, second, third = self._scaled(64, 64, 192)
        self.stem = nn.Sequential(unit(config.in_channels, first, 7, norm, 2), nn.MaxPool2d(3, 2, ceil_mode=True))
        if config.response_norm:
            self.stem.append(nn.LocalResponseNorm(5))
        self.stem.extend([unit(first, second, 1, norm), unit(second, third, 3, norm)])
        if config.response_norm:
            self.stem.append(nn.LocalResponseNorm(5))
        self.stem.append(nn.MaxPool2d(3, 2, ceil_mode=True))
        self.inception = nn.ModuleDict()
        channels = third
        for stage in MODULES:
            for name, published in stage.items():
                own = self._scaled(*published)
                self.inception[name] = Inception(channels, own, config.large_kernel, norm)  # type: ignore[arg-type]
                channels = own[0] + own[2] + own[4] + own[5]
                if config.auxiliary and name in HEADS:
                    self.add_module(HEADS[name], AuxiliaryHead(channels, self._scaled(128, 1024), config))  # type: ignore[arg-type]
        self.between = nn.ModuleList(
            [nn.MaxPool2d(3, 2, ceil_mode=True), nn.MaxPool2d(2, 2, ceil_mode=True), nn.Identity()]
        )
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), Dropout(config.dropout))
        self.classifier = nn.Linear(channels, config.num_classes)
        self.initialize()

    def _scaled(self, *channels: int) -> tuple[int, ...]:
        return tuple(max(1, round(self.config.width * count)) for count in channels)

    def initialize(self) -> None:
        """Draw weights as `init` says: by default N(0, 2 / fan-in), of classifiers N(0, 1 / fan-in); biases zero."""
        last = [module.classifier for module in self.modules() if isinstance(module, (GoogLeNet, AuxiliaryHead))]
        weighted = [module for module in self.modules() if isinstance(module, (nn.Conv2d, nn.Linear))]
        initialize_layers([module for module in weighted if module not in last] + last[:1], self.config.init)
        for classifier in last[1:]:
            initialize_layers([classifier], self.config.init)

    def forward(self, images: Float[Tensor, "B C H W"]) -> Float[Tensor, "B K"] | WithAuxiliary:
        maps, auxiliary = self.stem(images), []
        for stage, pool in zip(MODULES, self.between, strict=True):
            for name in stage:
                maps = self.inception[name](maps)
                if self.training and self.config.auxiliary and name in HEADS:
                    auxiliary.append(getattr(self, HEADS[name])(maps))
            maps = pool(maps)
        logits = self.classifier(self.pool(maps))
        return WithAuxiliary(logits, tuple(auxiliary), self.config.auxiliary_weight) if auxiliary else logits
