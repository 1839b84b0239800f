"""Network in Network: small dense layers sliding over the maps, and averages instead of a dense head."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, NamedTuple

from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from seodang.core.config import Config
from seodang.core.errors import ConfigError
from seodang.layers.dropout import Dropout
from seodang.layers.initialization import InitName, initialize_layers
from seodang.layers.map_size import Window, map_size
from seodang.models.base import Architecture, architectures


class Form(NamedTuple):
    """Kernels of one published form, and how its maps are pooled between the blocks."""

    kernels: tuple[tuple[int, int, int], ...]
    """Kernel size, stride and padding of the first convolution of each block."""
    pools: tuple[Literal["max", "average"], ...]
    silenced: tuple[int, ...]
    """Blocks behind whose pooling there is dropout."""


FORMS: dict[str, Form] = {
    "small": Form(((5, 1, 2), (5, 1, 2), (3, 1, 1)), ("max", "average"), (0, 1)),
    "large": Form(((11, 4, 0), (5, 1, 2), (3, 1, 1), (3, 1, 1)), ("max", "max", "max"), (2,)),
}


class NiNConfig(Config):
    """Form, widths and input size."""

    in_channels: int = Field(3, gt=0)
    """Channels of the pictures: 1 grey, 3 colour."""
    image_size: tuple[int, int] = (32, 32)
    """Height and width of the pictures in pixels."""
    num_classes: int = Field(10, gt=0)
    """Classes to tell apart: the channels of the last layer."""
    form: Literal["small", "large"] = "small"
    """Three blocks for pictures of 32 pixels; or four, the first 11×11 at every fourth place, for 224."""
    channels: tuple[tuple[int, ...], ...] = ((192, 160, 96), (192, 192, 192), (192, 192))
    """Channels of the convolution and the 1×1 convolutions of each block; the last block ends with one for each class."""
    dropout: float = Field(0.5, ge=0, lt=1)
    """Share of the maps' places silenced behind pooling while training."""
    init: InitName = "he"
    """How the first weights are drawn; biases are zero."""


SIZES = {
    "nin-cifar": NiNConfig(),
    "nin": NiNConfig(
        image_size=(224, 224), num_classes=1000, form="large",
        channels=((96, 96, 96), (256, 256, 256), (384, 384, 384), (1024, 1024)),
    ),
}  # fmt: skip
"""The authors' definitions for Caffe, cifar10_nin and nin_imagenet (Caffe Model Zoo, Lin 2014)."""


@architectures.register(SIZES)
class NiN(Architecture):
    r"""Blocks of one convolution and 1×1 convolutions, pooled between; the mean of each last map is a class's score.

    Source: Lin, Chen & Yan 2014, "Network in network", arXiv:1312.4400, sec. 3, widths and pooling from the authors'
    definitions for Caffe (cifar10_nin, nin_imagenet); initialisation He et al. 2015, arXiv:1502.01852, sec. 2.2.
    Shapes: images (B, C, H, W) → logits (B, num_classes).
    Differs: starts from N(0, 2 / fan-in); the paper sets first weights "manually", without saying them.
    """

    takes: ClassVar[tuple[str, ...]] = ("image",)
    example: ClassVar[dict[str, Any]] = {
        "in_channels": 2, "image_size": (12, 14), "num_classes": 3, "form": "small", "channels": ((16, 12), (16, 16), (16,)), "dropout": 0.0,
    }  # fmt: skip

    def __init__(self, config: NiNConfig) -> None:
        super().__init__()
        form = FORMS[config.form]
        if len(config.channels) != len(form.kernels) or any(not block or min(block) < 1 for block in config.channels):
            raise ConfigError("model.channels={channels}: form={form} has {count} blocks, each of one or more numbers above 0.",
                              channels=list(config.channels), form=config.form, count=len(form.kernels))  # fmt: skip
        self.config = config
        self.features = nn.Sequential()
        channels, windows = config.in_channels, []
        for number, (sizes, (kernel, stride, padding)) in enumerate(zip(config.channels, form.kernels, strict=True)):
            last = number == len(form.kernels) - 1
            block = nn.Sequential()
            for index, size in enumerate((*sizes, config.num_classes) if last else sizes):
                block.append(nn.Conv2d(channels, size, *((1, 1, 0) if index else (kernel, stride, padding))))
                block.append(nn.ReLU())
                channels = size
            windows.append(Window(kernel, stride, padding))
            if not last:
                pool = nn.MaxPool2d if form.pools[number] == "max" else nn.AvgPool2d
                block.append(pool(3, 2, ceil_mode=True))
                windows.append(Window(3, 2, ceil=True))
                if number in form.silenced:
                    block.append(Dropout(config.dropout))
            self.features.append(block)
        map_size(config.image_size, windows)
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.initialize()

    def initialize(self) -> None:
        """Draw weights as `init` says: by default N(0, 2 / fan-in), the last N(0, 1 / fan-in); biases zero."""
        weighted = [module for module in self.modules() if isinstance(module, (nn.Conv2d, nn.Linear))]
        initialize_layers(weighted, self.config.init)

    def forward(self, images: Float[Tensor, "B C H W"]) -> Float[Tensor, "B K"]:
        return self.pool(self.features(images))
