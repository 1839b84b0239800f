"""VGG: many 3×3 convolutions in five stages, then three dense layers."""

from __future__ import annotations

from typing import Any, ClassVar

from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from seodang.core.config import Config
from seodang.core.errors import ConfigError
from seodang.layers.dropout import Dropout
from seodang.layers.initialization import InitName, initialize_layers
from seodang.layers.map_size import Window, map_size
from seodang.models.base import Architecture, architectures


class VGGConfig(Config):
    """Stages, head and input size."""

    in_channels: int = Field(3, gt=0)
    """Channels of the pictures: 1 grey, 3 colour."""
    image_size: tuple[int, int] = (224, 224)
    """Height and width of the pictures in pixels."""
    num_classes: int = Field(1000, gt=0)
    """Classes to tell apart."""
    depths: tuple[int, ...] = Field((2, 2, 3, 3, 3), min_length=1)
    """3×3 convolutions in each stage; 2×2 max pooling halves the maps behind each stage."""
    widths: tuple[int, ...] = (64, 128, 256, 512, 512)
    """Channels of the convolutions of each stage."""
    batch_norm: bool = False
    """Normalise after each convolution; the paper, older than that, does not."""
    places: int = Field(7, gt=0)
    """Side of the maps the dense layers see: larger ones are averaged down to it, smaller ones repeated."""
    hidden_sizes: tuple[int, ...] = (4096, 4096)
    """Width of each dense layer before the last."""
    dropout: float = Field(0.5, ge=0, lt=1)
    """Share of the outputs of each hidden dense layer silenced while training."""
    init: InitName = "he"
    """How the first weights are drawn; biases are zero."""


DEPTHS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
"""Simonyan & Zisserman 2015, table 1: columns A, B, D and E."""
SIZES = {
    f"vgg{layers}{'-bn' if batch_norm else ''}": VGGConfig(depths=depths, batch_norm=batch_norm)
    for layers, depths in DEPTHS.items()
    for batch_norm in (False, True)
}


@architectures.register(SIZES)
class VGG(Architecture):
    r"""Five stages of 3×3 convolutions, halving the picture after each, then three dense layers.

    Source: Simonyan & Zisserman 2015, "Very deep convolutional networks for large-scale image recognition",
    arXiv:1409.1556, sec. 2 and table 1; initialisation He et al. 2015, arXiv:1502.01852, sec. 2.2; batch normalisation
    after each convolution as in torchvision.
    Shapes: images (B, C, H, W) → logits (B, num_classes).
    Differs: dense layers see 7×7 places whatever the size of the pictures, by averaging, as in torchvision; the paper
    turns them into convolutions for other sizes. The paper starts deep networks from trained shallow ones; with
    `init=he` they start from zero.
    """

    takes: ClassVar[tuple[str, ...]] = ("image",)
    example: ClassVar[dict[str, Any]] = {
        "in_channels": 2, "image_size": (8, 10), "num_classes": 3, "depths": (1, 2), "widths": (4, 6), "places": 2,
        "hidden_sizes": (8,), "dropout": 0.0,
    }  # fmt: skip

    def __init__(self, config: VGGConfig) -> None:
        super().__init__()
        if len(config.depths) != len(config.widths) or min(*config.depths, *config.widths, *config.hidden_sizes) < 1:
            raise ConfigError(
                "model.depths={depths} and model.widths={widths}: each stage needs one number above 0 in both; hidden "
                "layers ({hidden}) need a width above 0.",
                depths=list(config.depths), widths=list(config.widths), hidden=list(config.hidden_sizes),
            )  # fmt: skip
        map_size(config.image_size, [Window(2, 2)] * len(config.depths))
        self.config = config
        self.features = nn.Sequential()
        channels = config.in_channels
        for depth, width in zip(config.depths, config.widths, strict=True):
            for _ in range(depth):
                self.features.append(nn.Conv2d(channels, width, 3, padding=1))
                if config.batch_norm:
                    self.features.append(nn.BatchNorm2d(width))
                self.features.append(nn.ReLU())
                channels = width
            self.features.append(nn.MaxPool2d(2))
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(config.places), nn.Flatten())
        self.classifier = nn.Sequential()
        features = channels * config.places**2
        for size in config.hidden_sizes:
            self.classifier.extend([nn.Linear(features, size), nn.ReLU(), Dropout(config.dropout)])
            features = size
        self.classifier.append(nn.Linear(features, config.num_classes))
        self.initialize()

    def initialize(self) -> None:
        """Draw weights as `init` says: by default N(0, 2 / fan-in), the last N(0, 1 / fan-in); biases zero, scales one."""
        weighted = [module for module in self.modules() if isinstance(module, (nn.Conv2d, nn.Linear))]
        initialize_layers(weighted, self.config.init)

    def forward(self, images: Float[Tensor, "B C H W"]) -> Float[Tensor, "B K"]:
        return self.classifier(self.pool(self.features(images)))
