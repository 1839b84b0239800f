"""ResNet for CIFAR: 6n + 2 layers on 32×32 pictures, and the same networks without shortcuts."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, ClassVar, Literal

import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from seodang.core.config import Config
from seodang.layers.initialization import InitName, initialize_layers
from seodang.models.base import Architecture, architectures
from seodang.models.resnet import convolution, projection


class CIFARResNetConfig(Config):
    """Depth, shortcuts and input size."""

    in_channels: int = Field(3, gt=0)
    """Channels of the pictures: 1 grey, 3 colour."""
    image_size: tuple[int, int] = (32, 32)
    """Height and width of the pictures in pixels; every size works."""
    num_classes: int = Field(10, gt=0)
    """Classes to tell apart."""
    blocks_per_stage: int = Field(3, gt=0)
    """n of the paper: three stages of n blocks of two convolutions make 6n + 2 layers."""
    width: int = Field(16, gt=0)
    """Channels of the first stage; the second has twice, the third four times as many."""
    shortcut: Literal["A", "B", "none"] = "A"
    """Where the shape changes: every second place and zeros for the new channels (A), or a 1×1 convolution (B); none is the
    plain network, without any shortcut."""
    init: InitName = "he"
    """How the first weights are drawn."""


DEPTHS = (20, 32, 44, 56, 110)
SIZES = {f"resnet{depth}-cifar": CIFARResNetConfig(blocks_per_stage=(depth - 2) // 6) for depth in DEPTHS}
"""He et al. 2016, sec. 4.2 and table 6: n = 3, 5, 7, 9, 18."""
PLAIN = {
    f"plain{depth}-cifar": CIFARResNetConfig(blocks_per_stage=(depth - 2) // 6, shortcut="none") for depth in DEPTHS
}
"""Their counterparts of figure 6 left (20, 32, 44, 56), and one of 110 layers."""


class PaddedShortcut(nn.Module):
    """Take every second place, and zeros for the channels there were not: a shortcut without weights.

    Source: He et al. 2016, arXiv:1512.03385, sec. 3.3, option A.
    Shapes: maps (B, C, H, W) → (B, out_channels, ⌈H / stride⌉, ⌈W / stride⌉).
    Differs: the new channels come half before and half behind the old ones, as in the published copies for PyTorch;
    the paper does not say where.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.stride, new = stride, out_channels - in_channels
        self.channels = (new // 2, new - new // 2)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D I J"]:
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, *self.channels))

    def extra_repr(self) -> str:
        return f"stride={self.stride}, new channels={self.channels}"


class CIFARBlock(nn.Module):
    r"""Two 3×3 convolutions: $y = g(x' + F(x))$, or $y = g(F(x))$ in a plain network.

    Source: He et al. 2016, arXiv:1512.03385, sec. 4.2.
    Shapes: maps (B, in_channels, H, W) → (B, width, ⌈H / stride⌉, ⌈W / stride⌉).
    """

    def __init__(self, in_channels: int, width: int, stride: int, shortcut: str) -> None:
        super().__init__()
        self.convolution1 = convolution(in_channels, width, 3, stride)
        self.normalization1 = nn.BatchNorm2d(width)
        self.convolution2 = convolution(width, width, 3)
        self.normalization2 = nn.BatchNorm2d(width)
        self.activation = nn.ReLU()
        self.shortcut: nn.Module | None = None
        if shortcut == "A" and (in_channels != width or stride > 1):
            self.shortcut = PaddedShortcut(in_channels, width, stride)
        elif shortcut != "none":
            self.shortcut = projection(in_channels, width, stride)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D I J"]:
        y = self.activation(self.normalization1(self.convolution1(x)))
        y = self.normalization2(self.convolution2(y))
        return self.activation(y if self.shortcut is None else y + self.shortcut(x))


@architectures.register({**SIZES, **PLAIN})
class CIFARResNet(Architecture):
    r"""Three stages of 2n convolutions on small pictures, with shortcuts or (plain) without, then averaging.

    Source: He, Zhang, Ren & Sun 2016, "Deep residual learning for image recognition", arXiv:1512.03385, sec. 4.2 and
    figure 6; initialisation He et al. 2015, arXiv:1502.01852, sec. 2.2.
    Shapes: images (B, C, H, W) → logits (B, num_classes).
    Differs: none known.
    """

    takes: ClassVar[tuple[str, ...]] = ("image",)
    blocks: ClassVar[tuple[type[nn.Module], ...]] = (CIFARBlock,)
    example: ClassVar[dict[str, Any]] = {
        "in_channels": 2, "image_size": (12, 9), "num_classes": 3, "blocks_per_stage": 1, "width": 4,
    }  # fmt: skip

    def __init__(self, config: CIFARResNetConfig) -> None:
        super().__init__()
        self.config = config
        self.stem = nn.Sequential(OrderedDict(
            convolution=convolution(config.in_channels, config.width, 3),
            normalization=nn.BatchNorm2d(config.width),
            activation=nn.ReLU(),
        ))  # fmt: skip
        self.stages = nn.Sequential()
        channels = config.width
        for number in range(3):
            stage, width = nn.Sequential(), config.width * 2**number
            for index in range(config.blocks_per_stage):
                stage.append(CIFARBlock(channels, width, 2 if number and not index else 1, config.shortcut))
                channels = width
            self.stages.append(stage)
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.classifier = nn.Linear(channels, config.num_classes)
        self.initialize()

    def initialize(self) -> None:
        """Draw weights as `init` says: by default N(0, 2 / fan-in), the last N(0, 1 / fan-in); biases zero, scales one."""
        weighted = [module for module in self.modules() if isinstance(module, (nn.Conv2d, nn.Linear))]
        initialize_layers(weighted, self.config.init)

    def forward(self, images: Float[Tensor, "B C H W"]) -> Float[Tensor, "B K"]:
        return self.classifier(self.pool(self.stages(self.stem(images))))
