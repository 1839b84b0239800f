"""DenseNet: every layer sees the maps of all layers before it in its block."""

from __future__ import annotations

from collections import OrderedDict
from contextlib import nullcontext
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from seodang.core.config import Config
from seodang.core.errors import ConfigError
from seodang.layers.dropout import Dropout
from seodang.layers.initialization import InitName, initialize_layers
from seodang.layers.map_size import Window, map_size
from seodang.models.base import Architecture, architectures


class DenseNetConfig(Config):
    """Growth, depth and input size."""

    in_channels: int = Field(3, gt=0)
    """Channels of the pictures: 1 grey, 3 colour."""
    image_size: tuple[int, int] = (224, 224)
    """Height and width of the pictures in pixels."""
    num_classes: int = Field(1000, gt=0)
    """Classes to tell apart."""
    growth: int = Field(32, gt=0)
    """Channels each layer adds: k of the paper."""
    depths: tuple[int, ...] = Field((6, 12, 24, 16), min_length=1)
    """Layers in each block."""
    stem: Literal["large", "small"] = "large"
    """7×7 convolution and pooling, to a quarter of the size; or one 3×3 convolution that keeps it, for small pictures."""
    stem_channels: int = Field(64, gt=0)
    """Channels of the first convolution."""
    bottleneck: int = Field(4, ge=0)
    """A 1×1 convolution to so many times the growth before each 3×3 one; 0 is none."""
    compression: float = Field(0.5, gt=0, le=1)
    """Share of the channels a transition between blocks keeps: θ of the paper."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Share of what each layer adds silenced while training; the paper has 0.2 on CIFAR without augmentation."""
    memory: Literal["fast", "small"] = "fast"
    """Keep what every layer normalises and squeezes for the way back; or compute it again there, in a fraction of the memory."""
    init: InitName = "he"
    """How the first weights are drawn."""


def densenet_cifar(layers: int, growth: int, squeezed: bool) -> DenseNetConfig:
    """Return three blocks that make `layers` layers with the stem, the transitions and the head."""
    depth = (layers - 4) // (6 if squeezed else 3)
    return DenseNetConfig(
        image_size=(32, 32), num_classes=10, growth=growth, depths=(depth,) * 3, stem="small",
        stem_channels=2 * growth if squeezed else 16, bottleneck=4 if squeezed else 0, compression=0.5 if squeezed else 1.0,
    )  # fmt: skip


SIZES = {
    "densenet121": DenseNetConfig(),
    "densenet161": DenseNetConfig(growth=48, depths=(6, 12, 36, 24), stem_channels=96),
    "densenet169": DenseNetConfig(depths=(6, 12, 32, 32)),
    "densenet201": DenseNetConfig(depths=(6, 12, 48, 32)),
}
"""Huang et al. 2017, table 1; DenseNet-161 (k = 48) figure 3 and torchvision."""
CIFAR = {
    "densenet40-12-cifar": densenet_cifar(40, 12, squeezed=False),
    "densenet100-12-cifar": densenet_cifar(100, 12, squeezed=False),
    "densenet100-24-cifar": densenet_cifar(100, 24, squeezed=False),
    "densenet-bc-100-12-cifar": densenet_cifar(100, 12, squeezed=True),
    "densenet-bc-250-24-cifar": densenet_cifar(250, 24, squeezed=True),
    "densenet-bc-190-40-cifar": densenet_cifar(190, 40, squeezed=True),
}
"""Huang et al. 2017, table 2: depth and growth."""


class DenseLayer(nn.Module):
    r"""Normalisation, non-linearity and 3×3 convolution of all maps before it, squeezed by a 1×1 convolution first.

    Source: Huang et al. 2017, arXiv:1608.06993, sec. 3, "composite function" and "bottleneck layers"; computing again
    Pleiss et al. 2017, "Memory-efficient implementation of DenseNets", arXiv:1707.06990.
    Shapes: a list of maps (B, C_i, H, W) → (B, growth, H, W).
    """

    def __init__(self, in_channels: int, config: DenseNetConfig) -> None:
        super().__init__()
        self.again = config.memory == "small"
        inner = config.bottleneck * config.growth or in_channels
        self.normalization1 = nn.BatchNorm2d(in_channels)
        self.activation = nn.ReLU()
        self.squeeze = nn.Conv2d(in_channels, inner, 1, bias=False) if config.bottleneck else None
        self.normalization2 = nn.BatchNorm2d(inner) if config.bottleneck else None
        self.convolution = nn.Conv2d(inner, config.growth, 3, padding=1, bias=False)
        self.dropout = Dropout(config.dropout)

    def _first(self, *maps: Tensor) -> Tensor:
        x = self.activation(self.normalization1(torch.cat(maps, 1)))
        return self.convolution(x) if self.squeeze is None else self.squeeze(x)

    def forward(self, maps: list[Tensor]) -> Float[Tensor, "B G H W"]:
        if self.again and self.training and torch.is_grad_enabled():
            # The second pass would count these maps twice in the running mean: only the first may.
            x = checkpoint(self._first, *maps, use_reentrant=False, context_fn=self._contexts, preserve_rng_state=False)
        else:
            x = self._first(*maps)
        if self.normalization2 is not None:
            x = self.convolution(self.activation(self.normalization2(x)))
        return self.dropout(x)

    def _contexts(self) -> tuple[Any, Any]:
        return nullcontext(), _Unmoved(self.normalization1)


class _Unmoved:
    """Let a normalisation take the statistics of the batch without moving its running ones."""

    def __init__(self, layer: nn.BatchNorm2d) -> None:
        self.layer, self.momentum = layer, layer.momentum

    def __enter__(self) -> None:
        self.layer.momentum = 0.0

    def __exit__(self, *_: object) -> None:
        self.layer.momentum = self.momentum
        if self.layer.num_batches_tracked is not None:
            self.layer.num_batches_tracked.sub_(1)


class DenseBlock(nn.Module):
    """Layers that each see the block's input and what all layers before them added.

    Source: Huang et al. 2017, arXiv:1608.06993, eq. 2.
    Shapes: maps (B, C, H, W) → (B, C + layers · growth, H, W).
    """

    def __init__(self, in_channels: int, depth: int, config: DenseNetConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(DenseLayer(in_channels + index * config.growth, config) for index in range(depth))

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D H W"]:
        maps = [x]
        for layer in self.layers:
            maps.append(layer(maps))
        return torch.cat(maps, 1)


def transition(in_channels: int, out_channels: int) -> nn.Sequential:
    """Return what stands between two blocks: fewer channels by a 1×1 convolution, and half the size."""
    return nn.Sequential(OrderedDict(
        normalization=nn.BatchNorm2d(in_channels), activation=nn.ReLU(),
        convolution=nn.Conv2d(in_channels, out_channels, 1, bias=False), pool=nn.AvgPool2d(2),
    ))  # fmt: skip


@architectures.register({**SIZES, **CIFAR})
class DenseNet(Architecture):
    r"""Blocks in which every layer sees all layers before it, with transitions between that halve the maps.

    Source: Huang, Liu, van der Maaten & Weinberger 2017, "Densely connected convolutional networks", arXiv:1608.06993,
    sec. 3, tables 1 and 2; initialisation He et al. 2015, arXiv:1502.01852, sec. 2.2.
    Shapes: images (B, C, H, W) → logits (B, num_classes).
    Differs: none known.
    """

    takes: ClassVar[tuple[str, ...]] = ("image",)
    blocks: ClassVar[tuple[type[nn.Module], ...]] = (DenseLayer,)
    example: ClassVar[dict[str, Any]] = {
        "in_channels": 2, "image_size": (8, 10), "num_classes": 3, "growth": 4, "depths": (2, 3), "stem": "small",
        "stem_channels": 6, "memory": "small",
    }  # fmt: skip

    def __init__(self, config: DenseNetConfig) -> None:
        super().__init__()
        if min(config.depths) < 1:
            raise ConfigError(
                "model.depths={depths}: every block needs one or more layers.", depths=list(config.depths)
            )
        large = config.stem == "large"
        halvings = [Window(2, 2)] * (len(config.depths) - 1)
        map_size(config.image_size, [Window(7, 2, 3), Window(3, 2, 1), *halvings] if large else halvings)
        self.config = config
        channels = config.stem_channels
        self.stem = nn.Sequential()
        self.stem.add_module(
            "convolution", nn.Conv2d(config.in_channels, channels, *((7, 2, 3) if large else (3, 1, 1)), bias=False)
        )
        if large:
            self.stem.add_module("normalization", nn.BatchNorm2d(channels))
            self.stem.add_module("activation", nn.ReLU())
            self.stem.add_module("pool", nn.MaxPool2d(3, 2, 1))
        self.stages = nn.Sequential()
        for number, depth in enumerate(config.depths):
            stage = nn.Sequential(OrderedDict[str, nn.Module](block=DenseBlock(channels, depth, config)))
            channels += depth * config.growth
            if number < len(config.depths) - 1:
                kept = int(channels * config.compression)
                stage.add_module("transition", transition(channels, kept))
                channels = kept
            self.stages.append(stage)
        self.normalization, self.activation = nn.BatchNorm2d(channels), nn.ReLU()
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.classifier = nn.Linear(channels, config.num_classes)
        self.initialize()

    def initialize(self) -> None:
        """Draw weights as `init` says: by default N(0, 2 / fan-in), the last N(0, 1 / fan-in); biases zero, scales one."""
        weighted = [module for module in self.modules() if isinstance(module, (nn.Conv2d, nn.Linear))]
        initialize_layers(weighted, self.config.init)

    def forward(self, images: Float[Tensor, "B C H W"]) -> Float[Tensor, "B K"]:
        maps = self.stages(self.stem(images))
        return self.classifier(self.pool(self.activation(self.normalization(maps))))
