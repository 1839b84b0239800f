"""MLP: the multilayer perceptron, dense layers with a non-linearity between."""

from __future__ import annotations

from typing import Any, ClassVar

from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from seodang.core.config import Config
from seodang.layers.activation import ACTIVATIONS, ActivationName
from seodang.layers.dropout import Dropout
from seodang.layers.initialization import InitName, initialize_layers
from seodang.layers.normalization import NormalizationName, normalization
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
    normalization: NormalizationName = "none"
    """Normalise hidden layers before the non-linearity."""
    init: InitName = "he"
    """How the first weights are drawn; biases are zero."""


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
            if config.normalization != "none":
                layers.append(normalization(config.normalization, size))
            layers.append(ACTIVATIONS[config.activation]())
            if config.dropout:
                layers.append(Dropout(config.dropout))
            width = size
        layers.append(nn.Linear(width, config.out_features))
        self.layers = nn.Sequential(*layers)
        self.initialize()

    def initialize(self) -> None:
        """Draw weights as `init` says: by default hidden ones N(0, 2 / fan-in), the last N(0, 1 / fan-in); biases zero."""
        initialize_layers([module for module in self.layers if isinstance(module, nn.Linear)], self.config.init)

    def forward(self, inputs: Float[Tensor, "B ..."]) -> Float[Tensor, "B K"]:
        return self.layers(inputs)
