"""LeNet-5: convolutions and subsampling for handwritten digits, as trained today and as of 1998."""

from __future__ import annotations

import math
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from seodang.core.config import Config
from seodang.layers.activation import ACTIVATIONS
from seodang.layers.initialization import fans, initialize_layers
from seodang.layers.map_size import Window, map_size
from seodang.models.base import Architecture, architectures

CONNECTIONS = (
    (0, 1, 2), (1, 2, 3), (2, 3, 4), (3, 4, 5), (0, 4, 5), (0, 1, 5),
    (0, 1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 5), (0, 3, 4, 5), (0, 1, 4, 5), (0, 1, 2, 5),
    (0, 1, 3, 4), (1, 2, 4, 5), (0, 2, 3, 5), (0, 1, 2, 3, 4, 5),
)  # fmt: skip
"""Maps of S2 that each map of C3 sees. LeCun et al. 1998, table I."""
AMPLITUDE, SLOPE = 1.7159, 2 / 3
"""Of the squashing function A tanh(S a): f(1) = 1 and f(-1) = -1. LeCun et al. 1998, appendix A."""
INIT_RANGE = 2.4
"""First weights are drawn between -2.4 and 2.4 over the number of inputs. LeCun et al. 1998, appendix A."""
CODE_SEED = 1998


class LeNetConfig(Config):
    """Form and input size."""

    in_channels: int = Field(1, gt=0)
    """Channels of the pictures: 1 grey, 3 colour."""
    image_size: tuple[int, int] = (28, 28)
    """Height and width of the pictures in pixels."""
    num_classes: int = Field(10, gt=0)
    """Classes to tell apart."""
    border: int = Field(2, ge=0)
    """Pixels added on each side; the paper centres 28×28 digits in 32×32."""
    subsampling: Literal["max", "average", "trainable"] = "max"
    """Largest or mean of 2×2 places; or their sum, times a coefficient plus a bias, squashed, as in the paper."""
    connections: Literal["all", "table"] = "all"
    """Each map of the second convolution sees all maps of the first, or those of the paper's table."""
    activation: Literal["relu", "tanh", "sigmoid", "scaled-tanh"] = "relu"
    """Non-linearity; scaled-tanh is the paper's 1.7159 tanh(2a/3)."""
    output: Literal["linear", "rbf"] = "linear"
    """Dense layer; or minus the squared distance to a fixed code of each class, as in the paper."""


SIZES = {
    "lenet-5": LeNetConfig(),
    "lenet-5-1998": LeNetConfig(subsampling="trainable", connections="table", activation="scaled-tanh", output="rbf"),
}


class ScaledTanh(nn.Module):
    r"""Squash by $A \tanh(S a)$.

    Source: LeCun et al. 1998, "Gradient-based learning applied to document recognition", eq. 6 and appendix A.
    Shapes: any → the same.
    """

    def forward(self, x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        return AMPLITUDE * torch.tanh(SLOPE * x)


class Subsampling(nn.Module):
    """Add up 2×2 places, multiply by a coefficient and add a bias, one each for every map.

    Source: LeCun et al. 1998, sec. II-B, layers S2 and S4.
    Shapes: maps (B, C, H, W) → (B, C, ⌊H / 2⌋, ⌊W / 2⌋).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.empty(channels)), nn.Parameter(torch.empty(channels))

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C I J"]:
        return 4 * F.avg_pool2d(x, 2) * self.weight[:, None, None] + self.bias[:, None, None]


class TableConvolution(nn.Module):
    """Convolve with 5×5 kernels between those maps only that the table connects.

    Source: LeCun et al. 1998, sec. II-B, layer C3, and table I.
    Shapes: maps (B, 6, H, W) → (B, 16, H - 4, W - 4); weights (60, 5, 5), one kernel for each connection.
    """

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(sum(map(len, CONNECTIONS)), 5, 5))
        self.bias = nn.Parameter(torch.empty(len(CONNECTIONS)))

    def kernels(self) -> Float[Tensor, "D C 5 5"]:
        """Return the kernels of an ordinary convolution, zeros where nothing is connected."""
        to, origin = zip(*((number, map_) for number, seen in enumerate(CONNECTIONS) for map_ in seen), strict=True)
        return self.weight.new_zeros(len(CONNECTIONS), 6, 5, 5).index_put((torch.tensor(to, device=self.weight.device),
                                                                          torch.tensor(origin, device=self.weight.device)), self.weight)  # fmt: skip

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D I J"]:
        return F.conv2d(x, self.kernels(), self.bias)


class RadialBasis(nn.Module):
    r"""Answer with $-\sum_j (x_j - w_{ij})^2$: how far the features are from the code of each class.

    Source: LeCun et al. 1998, eq. 7.
    Shapes: features (B, D) → logits (B, num_classes).
    Differs: the codes are ±1 at random with equal chances, the same ones always, which the paper names as one way; its
    own are drawn like the printed characters.
    """

    codes: Tensor

    def __init__(self, features: int, num_classes: int) -> None:
        super().__init__()
        drawn = torch.Generator().manual_seed(CODE_SEED)
        codes = torch.randint(2, (num_classes, features), generator=drawn, device="cpu") * 2 - 1
        self.register_buffer("codes", codes.float().to(torch.get_default_device()))

    def forward(self, x: Float[Tensor, "B D"]) -> Float[Tensor, "B K"]:
        return -(x[:, None] - self.codes).square().sum(-1)


@architectures.register(SIZES)
class LeNet(Architecture):
    r"""Two convolutions with subsampling, then three dense layers: the network that read cheques.

    Source: LeCun, Bottou, Bengio & Haffner 1998, "Gradient-based learning applied to document recognition", sec. II-B
    and appendix A; `lenet-5` with rectifiers, maxima and a full second convolution, as trained today, initialised by
    He et al. 2015, arXiv:1502.01852, sec. 2.2.
    Shapes: images (B, C, H, W) → logits (B, num_classes).
    Differs: pictures are standardised as all here, and their border is the mean instead of the paper's background −0.1.
    `lenet-5-1998` with cross-entropy is the paper's criterion (eq. 9) without the constant in its logarithm; its codes
    are random (see `RadialBasis`).
    """

    takes: ClassVar[tuple[str, ...]] = ("image",)
    example: ClassVar[dict[str, Any]] = {
        "in_channels": 2, "image_size": (14, 16), "num_classes": 3, "subsampling": "trainable", "connections": "table",
        "activation": "scaled-tanh",
    }  # fmt: skip

    def __init__(self, config: LeNetConfig) -> None:
        super().__init__()
        windows = [Window(5, 1, config.border), Window(2, 2), Window(5), Window(2, 2)]
        height, width = map_size(config.image_size, windows)
        self.config = config
        self.c1 = nn.Conv2d(config.in_channels, 6, 5, padding=config.border)
        self.s2 = self._subsampling(6)
        self.c3 = TableConvolution() if config.connections == "table" else nn.Conv2d(6, 16, 5)
        self.s4 = self._subsampling(16)
        self.c5 = nn.Conv2d(16, 120, (height, width))
        self.f6 = nn.Linear(120, 84)
        self.output = (
            RadialBasis(84, config.num_classes) if config.output == "rbf" else nn.Linear(84, config.num_classes)
        )
        self.activation = ScaledTanh() if config.activation == "scaled-tanh" else ACTIVATIONS[config.activation]()
        self.initialize()

    def _subsampling(self, channels: int) -> nn.Module:
        match self.config.subsampling:
            case "max":
                return nn.MaxPool2d(2)
            case "average":
                return nn.AvgPool2d(2)
        return Subsampling(channels)

    def initialize(self) -> None:
        """Draw weights: with rectifiers N(0, 2 / fan-in), the last N(0, 1 / fan-in), biases zero; else as the paper."""
        if self.config.activation == "relu":
            layers = [module for module in self.modules() if isinstance(module, (nn.Conv2d, nn.Linear))]
            initialize_layers(layers, "he")
        for module in self.modules():
            if isinstance(module, TableConvolution):
                for kernels, seen in zip(
                    module.weight.data.split([len(seen) for seen in CONNECTIONS]), CONNECTIONS, strict=True
                ):
                    self._draw(kernels, 25 * len(seen))
                nn.init.zeros_(module.bias)
            elif isinstance(module, Subsampling):
                self._draw(module.weight, 4)
                nn.init.zeros_(module.bias)
            elif isinstance(module, (nn.Conv2d, nn.Linear)) and self.config.activation != "relu":
                self._draw(module.weight, fans(module.weight)[0])
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]  # every layer here has one

    def _draw(self, weight: Tensor, inputs: int) -> None:
        if self.config.activation == "relu":
            nn.init.normal_(weight, std=math.sqrt(2 / inputs))
        else:
            nn.init.uniform_(weight, -INIT_RANGE / inputs, INIT_RANGE / inputs)

    def forward(self, images: Float[Tensor, "B C H W"]) -> Float[Tensor, "B K"]:
        squash = self.activation
        maps = self.s2(squash(self.c1(images)))
        maps = squash(maps) if isinstance(self.s2, Subsampling) else maps
        maps = self.s4(squash(self.c3(maps)))
        maps = squash(maps) if isinstance(self.s4, Subsampling) else maps
        return self.output(squash(self.f6(squash(self.c5(maps)).flatten(1))))
