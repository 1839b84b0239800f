"""Q-network: the value of each action from what an agent sees."""

from __future__ import annotations

from typing import Any, ClassVar

from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from seodang.core.config import Config
from seodang.layers.activation import ACTIVATIONS, ActivationName
from seodang.models.base import Architecture, architectures


class QNetConfig(Config):
    """Sizes of the layers."""

    in_features: int = Field(4, gt=0)
    """Numbers the agent sees."""
    num_actions: int = Field(2, gt=1)
    """Actions to choose among."""
    hidden_sizes: tuple[int, ...] = Field((128, 128), min_length=1)
    """Width of each hidden layer."""
    activation: ActivationName = "relu"
    """Non-linearity after each hidden layer."""
    dueling: bool = False
    """Estimate the value of the state and the advantage of each action apart, from the last hidden layer on."""


@architectures.register({"qnet": QNetConfig(), "dueling-qnet": QNetConfig(dueling=True)})
class QNet(Architecture):
    r"""Dense layers from an observation to the value of each action, in one stream or two.

    With `dueling`, $Q(s, a) = V(s) + A(s, a) - \frac1{|A|} \sum_{a'} A(s, a')$.

    Source: Mnih et al. 2015, "Human-level control through deep reinforcement learning", Nature 518, methods (values of
    all actions in one pass); two streams: Wang et al. 2016, "Dueling network architectures", arXiv:1511.06581, eq. 9.
    Shapes: observations (B, D) → values (B, A).
    Differs: dense layers in place of the papers' convolutions on screens; initialisation as in `initialize`.
    """

    takes: ClassVar[tuple[str, ...]] = ("world",)
    example: ClassVar[dict[str, Any]] = {"in_features": 3, "num_actions": 2, "hidden_sizes": (8, 6), "dueling": True}

    def __init__(self, config: QNetConfig) -> None:
        super().__init__()
        self.config = config
        *shared, last = config.hidden_sizes
        layers: list[nn.Module] = []
        width = config.in_features
        for size in shared:
            layers += [nn.Linear(width, size), ACTIVATIONS[config.activation]()]
            width = size
        self.shared = nn.Sequential(*layers)
        self.advantages = self._stream(width, last, config.num_actions)
        self.value = self._stream(width, last, 1) if config.dueling else None
        self.initialize()

    def _stream(self, width: int, size: int, out: int) -> nn.Sequential:
        return nn.Sequential(nn.Linear(width, size), ACTIVATIONS[self.config.activation](), nn.Linear(size, out))

    def initialize(self) -> None:
        """Draw weights and biases uniformly in ±1/√fan-in, as the Torch layers of the 2015 code did."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                bound = module.in_features**-0.5
                nn.init.uniform_(module.weight, -bound, bound)
                nn.init.uniform_(module.bias, -bound, bound)

    def forward(self, observations: Float[Tensor, "B D"]) -> Float[Tensor, "B A"]:
        features = self.shared(observations)
        advantages = self.advantages(features)
        if self.value is None:
            return advantages
        return self.value(features) + advantages - advantages.mean(-1, keepdim=True)
