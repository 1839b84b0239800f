"""MLP: the multilayer perceptron, dense layers with a non-linearity between."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from seodang.core.config import Config
from seodang.layers.activation import ACTIVATIONS, ActivationName
from seodang.layers.dropout import Dropout
from seodang.models.base import Architecture, architectures


class MLPConfig(Config):
    """Sizes of the layers."""

    in_features: int = Field(784, gt=0)
    """Numbers in one input; pictures are flattened."""
    hidden_sizes: tuple[int, ...] = (256,)
    """Width of each hidden layer; none is softmax (or linear) regression."""
    out_features: int = Field(10, gt=0)
    """Classes, or quantities to predict."""
    activation: ActivationName = "relu"
    """Non-linearity after each hidden layer."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Share of hidden units silenced while training."""
    normalization: Literal["none", "batch"] = "none"
    """Normalise hidden layers before the non-linearity."""


SIZES = {
    "linear": MLPConfig(hidden_sizes=()),
    "mlp": MLPConfig(),
}


@architectures.register(SIZES)
class MLP(Architecture):
    r"""Dense layers: $h_{i+1} = g(W_i h_i + b_i)$, the last without $g$.

    Source: Rumelhart, Hinton & Williams 1986, "Learning representations by back-propagating errors";
    initialisation He et al. 2015, arXiv:1502.01852, sec. 2.2.
    Shapes: inputs (B, ...) with in_features numbers each → (B, out_features).
    Differs: none known.
    """

    takes: ClassVar[tuple[str, ...]] = ("image", "table", "vector", "world")
    example: ClassVar[dict[str, Any]] = {"in_features": 12, "hidden_sizes": (8, 8), "out_features": 3}

    def __init__(self, config: MLPConfig) -> None:
        super().__init__()
        self.config = config
        layers: list[nn.Module] = [nn.Flatten()]
        width = config.in_features
        for size in config.hidden_sizes:
            layers.append(nn.Linear(width, size))
            if config.normalization == "batch":
                layers.append(nn.BatchNorm1d(size))
            layers.append(ACTIVATIONS[config.activation]())
            if config.dropout:
                layers.append(Dropout(config.dropout))
            width = size
        layers.append(nn.Linear(width, config.out_features))
        self.layers = nn.Sequential(*layers)
        self.initialize()

    def initialize(self) -> None:
        """Draw hidden weights N(0, 2 / fan-in), the last N(0, 1 / fan-in); biases zero."""
        linear = [module for module in self.layers if isinstance(module, nn.Linear)]
        for module in linear:
            gain = 1.0 if module is linear[-1] else 2.0
            nn.init.normal_(module.weight, std=(gain / module.in_features) ** 0.5)
            nn.init.zeros_(module.bias)

    def forward(self, inputs: Float[Tensor, "B ..."]) -> Float[Tensor, "B K"]:
        return self.layers(inputs)
