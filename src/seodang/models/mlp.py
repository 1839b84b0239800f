"""MLP: the multilayer perceptron, dense layers with a non-linearity between."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor, nn

from seodang.core.config import Config
from seodang.core.language import say
from seodang.layers.activation import ACTIVATIONS, ActivationName
from seodang.layers.dropout import Dropout, DropPath, drop_path_shares
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
    residual: bool = False
    """Add what each layer between hidden layers of one width is given to what it gives."""
    drop_path: float = Field(0.0, ge=0, lt=1)
    """Share of examples the last residual layer passes on as they are while training, fewer for those before it."""

    @model_validator(mode="after")
    def _residuals_fit(self) -> MLPConfig:
        if self.residual and not residual_layers(self.hidden_sizes):
            raise ValueError(say("residual=true adds a hidden layer to the one before, which needs the same width, and with "
                                 "hidden_sizes={sizes} no two neighbours have it", sizes=list(self.hidden_sizes)))  # fmt: skip
        if self.drop_path and not self.residual:
            raise ValueError(say("drop_path={value} drops residual branches, and without residual=true there are none",
                                 value=self.drop_path))  # fmt: skip
        return self


def residual_layers(hidden_sizes: tuple[int, ...]) -> int:
    """Return how many layers lie between hidden layers of one width."""
    return sum(before == after for before, after in pairwise(hidden_sizes))


class PreActivated(nn.Module):
    r"""A dense layer behind its non-linearity, $W\,g(\mathrm{norm}(x)) + b$, added to its input where the width stays.

    Source: He et al. 2016, "Identity mappings in deep residual networks", arXiv:1603.05027, eq. 2 and fig. 4 (e);
    a branch dropped for an example, Huang et al. 2016, arXiv:1603.09382, eq. 2.
    Differs: one dense layer in each branch where they have two convolutions.
    """

    def __init__(
        self, in_features: int, out_features: int, config: MLPConfig, adds: bool, drop_path: float = 0.0
    ) -> None:
        super().__init__()
        self.normalization = normalization(config.normalization, in_features)
        self.activation = ACTIVATIONS[config.activation]()
        self.dropout = Dropout(config.dropout)
        self.dense = nn.Linear(in_features, out_features)
        self.drop_path = DropPath(drop_path)
        self.adds = adds

    def forward(self, x: Float[Tensor, "B D"]) -> Float[Tensor, "B E"]:
        branch = self.dense(self.dropout(self.activation(self.normalization(x))))
        return x + self.drop_path(branch) if self.adds else branch


SIZES = {
    "linear": MLPConfig(hidden_sizes=()),
    "mlp": MLPConfig(),
}


@architectures.register(SIZES)
class MLP(Architecture):
    r"""Dense layers: $h_{i+1} = g(W_i h_i + b_i)$, the last without $g$.

    With `residual`, $h_{i+1} = h_i + W_i\,g(h_i) + b_i$ between hidden layers of one width, $h_1 = W_0 x + b_0$, and $g$
    before the last: as many layers and weights as without.

    Source: Rumelhart, Hinton & Williams 1986, "Learning representations by back-propagating errors";
    initialisation He et al. 2015, arXiv:1502.01852, sec. 2.2; `residual` He et al. 2016, arXiv:1603.05027, eq. 2,
    its branches $1/\sqrt{L}$ as spread at first, so that the variance grows e-fold at most, however many L
    are (as Radford et al. 2019, sec. 2.3).
    Shapes: inputs (B, ...) with in_features numbers each → (B, out_features).
    Differs: none known.
    """

    takes: ClassVar[tuple[str, ...]] = ("image", "table", "vector", "world")
    blocks: ClassVar[tuple[type[nn.Module], ...]] = (PreActivated,)
    example: ClassVar[dict[str, Any]] = {"in_features": 12, "hidden_sizes": (8, 8), "out_features": 3}

    def __init__(self, config: MLPConfig) -> None:
        super().__init__()
        self.config = config
        self.layers = self._residual() if config.residual else self._plain()
        self.initialize()

    def _plain(self) -> nn.Sequential:
        config = self.config
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
        return nn.Sequential(*layers, nn.Linear(width, config.out_features))

    def _residual(self) -> nn.Sequential:
        config = self.config
        shares = iter(drop_path_shares(config.drop_path, residual_layers(config.hidden_sizes)))
        layers: list[nn.Module] = [nn.Flatten(), nn.Linear(config.in_features, config.hidden_sizes[0])]
        for before, after in pairwise(config.hidden_sizes):
            adds = before == after
            layers.append(PreActivated(before, after, config, adds, next(shares) if adds else 0.0))
        return nn.Sequential(*layers, PreActivated(config.hidden_sizes[-1], config.out_features, config, adds=False))

    def initialize(self) -> None:
        """Draw weights as `init` says: by default hidden ones N(0, 2 / fan-in), the last N(0, 1 / fan-in); biases zero."""
        initialize_layers([module for module in self.modules() if isinstance(module, nn.Linear)], self.config.init)
        branches = [module for module in self.modules() if isinstance(module, PreActivated) and module.adds]
        with torch.no_grad():
            for branch in branches:
                branch.dense.weight.div_(len(branches) ** 0.5)

    def forward(self, inputs: Float[Tensor, "B ..."]) -> Float[Tensor, "B K"]:
        return self.layers(inputs)
