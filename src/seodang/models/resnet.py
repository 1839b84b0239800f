"""ResNet: residual learning, blocks that add what they compute to what they were given."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, ClassVar, Literal

from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from seodang.core.config import Config
from seodang.core.errors import ConfigError
from seodang.layers.dropout import Dropout, DropPath, drop_path_shares
from seodang.layers.initialization import InitName, initialize_layers
from seodang.models.base import Architecture, architectures


class ResNetConfig(Config):
    """Blocks, width and input size."""

    in_channels: int = Field(3, gt=0)
    """Channels of the pictures: 1 grey, 3 colour."""
    image_size: tuple[int, int] = (224, 224)
    """Height and width of the pictures in pixels; every size works, above 32 leaves more than one place at the end."""
    num_classes: int = Field(1000, gt=0)
    """Classes to tell apart."""
    block: Literal["basic", "bottleneck"] = "basic"
    """Two 3×3 convolutions; or 1×1, 3×3, 1×1 with four times the channels at the end."""
    depths: tuple[int, ...] = Field((2, 2, 2, 2), min_length=1)
    """Blocks in each stage; every stage but the first halves the maps and doubles the channels."""
    width: int = Field(64, gt=0)
    """Channels of the first stage (in a bottleneck: of its 3×3 convolution)."""
    stem: Literal["large", "small"] = "large"
    """7×7 convolution and pooling, to a quarter of the size; or one 3×3 convolution that keeps it, for small pictures."""
    stride_at: Literal["3x3", "1x1"] = "3x3"
    """Which convolution of a bottleneck halves the maps: the 3×3 as everywhere today, or the first 1×1 as in the paper."""
    last_scale: Literal["one", "zero"] = "one"
    """First scale of each block's last normalisation; zero makes every block the identity at first."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Share of the inputs of the classifier silenced while training."""
    drop_path: float = Field(0.0, ge=0, lt=1)
    """Share of examples for which the last block is the identity while training; less for blocks before it."""
    init: InitName = "he"
    """How the first weights are drawn."""


def resnet(block: Literal["basic", "bottleneck"], *depths: int) -> ResNetConfig:
    return ResNetConfig(block=block, depths=depths)


SIZES = {
    "resnet18": resnet("basic", 2, 2, 2, 2),
    "resnet34": resnet("basic", 3, 4, 6, 3),
    "resnet50": resnet("bottleneck", 3, 4, 6, 3),
    "resnet101": resnet("bottleneck", 3, 4, 23, 3),
    "resnet152": resnet("bottleneck", 3, 8, 36, 3),
}
"""He et al. 2016, table 1."""


def convolution(in_channels: int, out_channels: int, kernel_size: int, stride: int = 1) -> nn.Conv2d:
    """Return a convolution without bias whose padding keeps the size, up to the stride."""
    return nn.Conv2d(in_channels, out_channels, kernel_size, stride, kernel_size // 2, bias=False)


def projection(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    """Return the shortcut of a block: the identity, or a 1×1 convolution where the shape changes (option B)."""
    if in_channels == out_channels and stride == 1:
        return nn.Identity()
    return nn.Sequential(OrderedDict(
        convolution=convolution(in_channels, out_channels, 1, stride), normalization=nn.BatchNorm2d(out_channels)
    ))  # fmt: skip


class BasicBlock(nn.Module):
    r"""Two 3×3 convolutions: $y = g(x' + F(x))$, $x'$ the shortcut.

    Source: He et al. 2016, arXiv:1512.03385, eq. 1, 2 and figure 5 left.
    Shapes: maps (B, in_channels, H, W) → (B, width, H / stride, W / stride).
    """

    expansion: ClassVar[int] = 1

    def __init__(self, in_channels: int, width: int, stride: int, stride_at: str = "3x3", drop: float = 0.0) -> None:
        super().__init__()
        self.convolution1 = convolution(in_channels, width, 3, stride)
        self.normalization1 = nn.BatchNorm2d(width)
        self.convolution2 = convolution(width, width, 3)
        self.normalization2 = nn.BatchNorm2d(width)
        self.shortcut = projection(in_channels, width, stride)
        self.drop_path, self.activation = DropPath(drop), nn.ReLU()

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D I J"]:
        y = self.activation(self.normalization1(self.convolution1(x)))
        y = self.normalization2(self.convolution2(y))
        return self.activation(self.drop_path(y) + self.shortcut(x))


class Bottleneck(nn.Module):
    r"""1×1, 3×3 and 1×1 convolutions, the last to four times the channels: $y = g(x' + F(x))$.

    Source: He et al. 2016, arXiv:1512.03385, figure 5 right; the stride at the 3×3 convolution Gross & Wilber 2016,
    "Training and investigating residual nets" (fb.resnet.torch), called v1.5.
    Shapes: maps (B, in_channels, H, W) → (B, 4 width, H / stride, W / stride).
    """

    expansion: ClassVar[int] = 4

    def __init__(self, in_channels: int, width: int, stride: int, stride_at: str = "3x3", drop: float = 0.0) -> None:
        super().__init__()
        first, second = (1, stride) if stride_at == "3x3" else (stride, 1)
        self.convolution1 = convolution(in_channels, width, 1, first)
        self.normalization1 = nn.BatchNorm2d(width)
        self.convolution2 = convolution(width, width, 3, second)
        self.normalization2 = nn.BatchNorm2d(width)
        self.convolution3 = convolution(width, 4 * width, 1)
        self.normalization3 = nn.BatchNorm2d(4 * width)
        self.shortcut = projection(in_channels, 4 * width, stride)
        self.drop_path, self.activation = DropPath(drop), nn.ReLU()

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D I J"]:
        y = self.activation(self.normalization1(self.convolution1(x)))
        y = self.activation(self.normalization2(self.convolution2(y)))
        y = self.normalization3(self.convolution3(y))
        return self.activation(self.drop_path(y) + self.shortcut(x))


BLOCKS: dict[str, type[BasicBlock] | type[Bottleneck]] = {"basic": BasicBlock, "bottleneck": Bottleneck}


@architectures.register(SIZES)
class ResNet(Architecture):
    r"""Stages of residual blocks, then the mean of each channel and one dense layer.

    Source: He, Zhang, Ren & Sun 2016, "Deep residual learning for image recognition", arXiv:1512.03385, sec. 3 and
    table 1; initialisation He et al. 2015, arXiv:1502.01852, sec. 2.2; `last_scale=zero` Goyal et al. 2017,
    arXiv:1706.02677, sec. 5.1; `drop_path` Huang et al. 2016, arXiv:1603.09382.
    Shapes: images (B, C, H, W) → logits (B, num_classes).
    Differs: the stride of a bottleneck is at its 3×3 convolution, as in torchvision (v1.5); the paper's place is
    `stride_at=1x1`.
    """

    takes: ClassVar[tuple[str, ...]] = ("image",)
    blocks: ClassVar[tuple[type[nn.Module], ...]] = (BasicBlock, Bottleneck)
    example: ClassVar[dict[str, Any]] = {
        "in_channels": 2, "image_size": (16, 20), "num_classes": 3, "block": "bottleneck", "depths": (1, 2), "width": 4,
        "stem": "small",
    }  # fmt: skip

    def __init__(self, config: ResNetConfig) -> None:
        super().__init__()
        if min(config.depths) < 1:
            raise ConfigError(
                "model.depths={depths}: every stage needs one or more blocks.", depths=list(config.depths)
            )
        self.config = config
        large = config.stem == "large"
        self.stem = nn.Sequential(OrderedDict(
            convolution=convolution(config.in_channels, config.width, 7 if large else 3, 2 if large else 1),
            normalization=nn.BatchNorm2d(config.width),
            activation=nn.ReLU(),
            pool=nn.MaxPool2d(3, 2, 1) if large else nn.Identity(),
        ))  # fmt: skip
        make = BLOCKS[config.block]
        self.stages = nn.Sequential()
        channels, shares = config.width, iter(drop_path_shares(config.drop_path, sum(config.depths)))
        for number, depth in enumerate(config.depths):
            stage, width = nn.Sequential(), config.width * 2**number
            for index in range(depth):
                stage.append(make(channels, width, 2 if number and not index else 1, config.stride_at, next(shares)))
                channels = width * make.expansion
            self.stages.append(stage)
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), Dropout(config.dropout))
        self.classifier = nn.Linear(channels, config.num_classes)
        self.initialize()

    def initialize(self) -> None:
        """Draw weights as `init` says: by default N(0, 2 / fan-in), the last N(0, 1 / fan-in); biases zero, scales one."""
        weighted = [module for module in self.modules() if isinstance(module, (nn.Conv2d, nn.Linear))]
        initialize_layers(weighted, self.config.init)
        for block in self.modules() if self.config.last_scale == "zero" else ():
            if isinstance(block, (BasicBlock, Bottleneck)):
                last = block.normalization2 if isinstance(block, BasicBlock) else block.normalization3
                nn.init.zeros_(last.weight)

    def forward(self, images: Float[Tensor, "B C H W"]) -> Float[Tensor, "B K"]:
        return self.classifier(self.pool(self.stages(self.stem(images))))
