"""CNN: a small convolutional network, stages of convolutions with pooling between, and a dense head."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from seodang.core.config import Config
from seodang.core.errors import ConfigError
from seodang.layers.activation import ACTIVATIONS, ActivationName
from seodang.layers.dropout import Dropout
from seodang.layers.initialization import InitName, initialize_layers
from seodang.layers.normalization import MapNormalizationName, map_normalization
from seodang.models.base import Architecture, architectures


class CNNConfig(Config):
    """Stages, head and input size."""

    in_channels: int = Field(1, gt=0)
    """Channels of the pictures: 1 grey, 3 colour."""
    image_size: tuple[int, int] = (28, 28)
    """Height and width of the pictures in pixels."""
    num_classes: int = Field(10, gt=0)
    """Classes to tell apart."""
    stages: tuple[tuple[int, ...], ...] = Field(((32,), (64, 64), (128,)), min_length=1)
    """Channels of each convolution, stage by stage; 2×2 max pooling halves the picture between stages."""
    kernel_size: int = Field(3, gt=0)
    """Height and width of every convolution."""
    padding: Literal["same", "none"] = "none"
    """Zeros around the picture, so that a convolution keeps its size; or none, so that it shrinks."""
    normalization: MapNormalizationName = "batch"
    """Normalise before the non-linearity: over batch and places, or each example's maps together, singly or in groups."""
    init: InitName = "he"
    """How the first weights are drawn; biases are zero."""
    activation: ActivationName = "relu"
    """Non-linearity after each convolution and each hidden dense layer."""
    head: Literal["flatten", "average"] = "flatten"
    """What the classifier sees of the last maps: every place, or the mean of each channel."""
    hidden_sizes: tuple[int, ...] = ()
    """Width of each dense layer before the last."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Share of the inputs of each dense layer silenced while training."""


@architectures.register({"cnn": CNNConfig()})
class CNN(Architecture):
    r"""Stages of 3×3 convolutions, halving the picture between stages, then a dense classifier.

    Each convolution is followed by (at the end of a stage but the last) 2×2 max pooling, batch normalisation and
    the non-linearity. Pooling comes first because the rest then works on a quarter of the numbers; with a rising
    non-linearity and positive scale the outcome is the same.

    Source: convolution and subsampling LeCun et al. 1998, "Gradient-based learning applied to document recognition",
    sec. II; stacked 3×3 convolutions Simonyan & Zisserman 2015, arXiv:1409.1556, sec. 2; batch normalisation Ioffe &
    Szegedy 2015, arXiv:1502.03167, algorithm 1; averaging head Lin, Chen & Yan 2014, arXiv:1312.4400, sec. 3.2;
    initialisation He et al. 2015, arXiv:1502.01852, sec. 2.2.
    Shapes: images (B, C, H, W) → logits (B, num_classes).
    Differs: none known.
    """

    takes: ClassVar[tuple[str, ...]] = ("image",)
    example: ClassVar[dict[str, Any]] = {
        "in_channels": 2, "image_size": (10, 12), "num_classes": 3, "stages": ((4, 4), (6,)), "hidden_sizes": (8,),
    }  # fmt: skip

    def __init__(self, config: CNNConfig) -> None:
        super().__init__()
        self.config = config
        height, width = self._final_size()
        if config.normalization == "instance" and height * width == 1:
            raise ConfigError("model.normalization=instance: the last maps have a single place, and the mean over one number leaves "
                              "nothing. Take fewer stages, or model.normalization=layer.")  # fmt: skip
        self.features = nn.Sequential()
        channels = config.in_channels
        for number, stage in enumerate(config.stages):
            last_stage = number == len(config.stages) - 1
            for index, size in enumerate(stage):
                pooled = not last_stage and index == len(stage) - 1
                self.features.append(self._convolution(channels, size, pooled))
                channels = size
        self.pool = nn.AdaptiveAvgPool2d(1) if config.head == "average" else nn.Identity()
        features = channels if config.head == "average" else channels * height * width
        self.classifier = self._dense(features)
        self.initialize()

    def _convolution(self, in_channels: int, out_channels: int, pooled: bool) -> nn.Sequential:
        config = self.config
        normalized = config.normalization != "none"
        layers: list[nn.Module] = [
            nn.Conv2d(in_channels, out_channels, config.kernel_size, bias=not normalized,
                      padding="same" if config.padding == "same" else 0)
        ]  # fmt: skip
        if pooled:
            layers.append(nn.MaxPool2d(2))
        if normalized:
            layers.append(map_normalization(config.normalization, out_channels))
        return nn.Sequential(*layers, ACTIVATIONS[config.activation]())

    def _dense(self, features: int) -> nn.Sequential:
        config = self.config
        layers: list[nn.Module] = [nn.Flatten()]
        for size in config.hidden_sizes:
            layers += [Dropout(config.dropout)] if config.dropout else []
            layers += [nn.Linear(features, size), ACTIVATIONS[config.activation]()]
            features = size
        layers += [Dropout(config.dropout)] if config.dropout else []
        return nn.Sequential(*layers, nn.Linear(features, config.num_classes))

    def _final_size(self) -> tuple[int, int]:
        """Return height and width of the last maps.

        Raises: ConfigError if a picture shrinks to nothing on the way.
        """
        config = self.config
        height, width = config.image_size
        lost = 0 if config.padding == "same" else config.kernel_size - 1
        for number, stage in enumerate(config.stages):
            if not stage or min(stage) < 1:
                raise ConfigError("model.stages: stage {number} is {stage}; it needs one or more numbers above 0.",
                                  number=number + 1, stage=list(stage))  # fmt: skip
            height, width = height - lost * len(stage), width - lost * len(stage)
            if number < len(config.stages) - 1:
                height, width = height // 2, width // 2
            if min(height, width) < 1:
                raise ConfigError(
                    "model.stages: a picture of {height}×{width} pixels is used up in stage {number} of {count}. Take fewer "
                    "stages or convolutions, or model.padding=same.",
                    height=config.image_size[0], width=config.image_size[1], number=number + 1, count=len(config.stages),
                )  # fmt: skip
        return height, width

    def initialize(self) -> None:
        """Draw weights as `init` says: by default N(0, 2 / fan-in), the last N(0, 1 / fan-in); biases zero, scales one."""
        weighted = [module for module in self.modules() if isinstance(module, (nn.Conv2d, nn.Linear))]
        initialize_layers(weighted, self.config.init)

    def forward(self, images: Float[Tensor, "B C H W"]) -> Float[Tensor, "B K"]:
        return self.classifier(self.pool(self.features(images)))
