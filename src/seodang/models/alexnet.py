"""AlexNet: five convolutions and three dense layers; in one tower, or in the two of 2012."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from seodang.core.config import Config
from seodang.core.errors import ConfigError
from seodang.layers.dropout import Dropout
from seodang.layers.initialization import InitName, initialize_layers
from seodang.layers.map_size import Window, map_size
from seodang.models.base import Architecture, architectures

KERNELS = ((11, 4, 2), (5, 1, 2), (3, 1, 1), (3, 1, 1), (3, 1, 1))
"""Kernel size, stride and padding of the five convolutions."""
POOLED = (0, 1, 4)
"""Convolutions behind which 3×3 windows at every second place are pooled."""
SPLIT = (1, 3, 4)
"""Convolutions that see the maps of their own tower only."""
ONES = (1, 3, 4, 5, 6)
"""Layers whose biases start at one in 2012, so that the rectifiers have something to pass on."""


class AlexNetConfig(Config):
    """Towers, widths, head and input size."""

    in_channels: int = Field(3, gt=0)
    """Channels of the pictures: 1 grey, 3 colour."""
    image_size: tuple[int, int] = (224, 224)
    """Height and width of the pictures in pixels."""
    num_classes: int = Field(1000, gt=0)
    """Classes to tell apart."""
    towers: Literal[1, 2] = 1
    """One tower; or two side by side, that see each other in the third convolution and the dense layers only."""
    channels: tuple[int, int, int, int, int] = (64, 192, 384, 256, 256)
    """Channels of the five convolutions (of both towers together)."""
    response_norm: bool = False
    """Local response normalisation behind the first two convolutions."""
    places: int = Field(6, gt=0)
    """Side of the maps the dense layers see: larger ones are averaged down to it, smaller ones repeated."""
    hidden_sizes: tuple[int, int] = (4096, 4096)
    """Width of the two hidden dense layers."""
    dropout: float = Field(0.5, ge=0, lt=1)
    """Share silenced while training: of the inputs of the hidden dense layers, with two towers of their outputs."""
    init: InitName = "he"
    """How the first weights are drawn; biases are zero, with `normal` and two towers one where the paper says so."""


SIZES = {
    "alexnet": AlexNetConfig(),
    "alexnet-2012": AlexNetConfig(towers=2, channels=(96, 256, 384, 384, 256), response_norm=True, init="normal"),
}
"""Krizhevsky 2014, the network of one tower, as torchvision has it; Krizhevsky, Sutskever & Hinton 2012, figure 2."""


class ResponseNorm(nn.Module):
    r"""Divide each number by what the neighbouring channels of its tower have there: $a / (k + α Σ a²)^β$.

    Source: Krizhevsky, Sutskever & Hinton 2012, sec. 3.3: k = 2, n = 5, α = 10⁻⁴, β = 0.75.
    Shapes: maps (B, C, H, W) → the same.
    """

    def __init__(self, towers: int) -> None:
        super().__init__()
        self.towers = towers

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        apart = x.reshape(len(x) * self.towers, -1, *x.shape[2:])
        return F.local_response_norm(apart, 5, alpha=5 * 1e-4, beta=0.75, k=2.0).view_as(x)  # PyTorch divides α by n


@architectures.register(SIZES)
class AlexNet(Architecture):
    r"""Five convolutions, three of them pooled, then three dense layers; in one tower, or in two as in 2012.

    Source: Krizhevsky, Sutskever & Hinton 2012, "ImageNet classification with deep convolutional neural networks",
    sec. 3 and figure 2; one tower Krizhevsky 2014, "One weird trick for parallelizing convolutional neural networks",
    arXiv:1404.5997, sec. 5, with the widths of torchvision; initialisation He et al. 2015, arXiv:1502.01852, sec. 2.2,
    for `alexnet-2012` N(0, 0.01²) and biases of one, sec. 5.
    Shapes: images (B, C, H, W) → logits (B, num_classes).
    Differs: the first convolution is padded by 2, so that 224 pixels give the 55×55 maps of the paper, which without
    need 227. Dense layers see 6×6 places whatever the size of the pictures, by averaging, as in torchvision. The fourth
    convolution of the one tower has the 256 channels of torchvision, not 384. Two towers are computed as grouped
    convolutions on one device, which gives the same numbers as two.
    """

    takes: ClassVar[tuple[str, ...]] = ("image",)
    example: ClassVar[dict[str, Any]] = {
        "in_channels": 2, "image_size": (64, 70), "num_classes": 3, "channels": (8, 8, 8, 8, 8), "towers": 2, "places": 1,
        "hidden_sizes": (8, 8), "dropout": 0.0, "init": "he",
    }  # fmt: skip

    def __init__(self, config: AlexNetConfig) -> None:
        super().__init__()
        if min(*config.channels, *config.hidden_sizes) < 1 or any(size % config.towers for size in config.channels):
            raise ConfigError("model.channels={channels}, model.hidden_sizes={hidden}: need numbers above 0; with two towers each "
                              "number of channels must be even.", channels=list(config.channels),
                              hidden=list(config.hidden_sizes))  # fmt: skip
        self.config = config
        self.features = nn.Sequential()
        channels, windows = config.in_channels, []
        for number, (size, (kernel, stride, padding)) in enumerate(zip(config.channels, KERNELS, strict=True)):
            groups = config.towers if number in SPLIT else 1
            self.features.extend([nn.Conv2d(channels, size, kernel, stride, padding, groups=groups), nn.ReLU()])
            windows.append(Window(kernel, stride, padding))
            if config.response_norm and number < 2:
                self.features.append(ResponseNorm(config.towers))
            if number in POOLED:
                self.features.append(nn.MaxPool2d(3, 2))
                windows.append(Window(3, 2))
            channels = size
        map_size(config.image_size, windows)
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(config.places), nn.Flatten())
        first, second = config.hidden_sizes
        dense = [nn.Linear(channels * config.places**2, first), nn.Linear(first, second)]
        self.classifier = nn.Sequential()
        for layer in dense:
            silenced = Dropout(config.dropout)
            self.classifier.extend([layer, nn.ReLU(), silenced] if config.towers == 2 else [silenced, layer, nn.ReLU()])
        self.classifier.append(nn.Linear(second, config.num_classes))
        self.initialize()

    def initialize(self) -> None:
        """Draw weights as `init` says: by default N(0, 2 / fan-in), the last N(0, 1 / fan-in); biases as it says."""
        weighted = [module for module in self.modules() if isinstance(module, (nn.Conv2d, nn.Linear))]
        initialize_layers(weighted, self.config.init)
        if self.config.towers == 2 and self.config.init == "normal":
            for number in ONES:
                nn.init.ones_(weighted[number].bias)  # type: ignore[arg-type]  # every layer here has one

    def forward(self, images: Float[Tensor, "B C H W"]) -> Float[Tensor, "B K"]:
        return self.classifier(self.pool(self.features(images)))
