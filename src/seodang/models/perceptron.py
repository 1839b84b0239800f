"""The perceptron: one threshold unit, the first network that learned."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor, nn

from seodang.core.config import Config
from seodang.models.base import Architecture, architectures


class PerceptronConfig(Config):
    """Size of the input; everything else is fixed."""

    in_features: int = Field(2, gt=0)
    """Numbers in one input; pictures are flattened."""
    num_classes: Literal[2] = 2
    """A threshold unit answers no or yes."""


@architectures.register({"perceptron": PerceptronConfig()})
class Perceptron(Architecture):
    r"""One threshold unit: yes where $w_0 + w \cdot x > 0$, else no.

    $w_0$ (`bias`) is the weight of a constant input of 1. Trained by the task setting ``loss = "perceptron"`` with plain
    gradient descent, one row at a time, it changes by $w ← w + η (y - \hat y) x$: Rosenblatt's rule.

    Source: Rosenblatt 1958, "The perceptron: a probabilistic model for information storage and organization in the
    brain"; as one unit: Minsky & Papert 1969, "Perceptrons", sec. 0 and 11.
    Shapes: inputs (B, ...) with in_features numbers each → (B, 2): 0 and the sum, of which the larger is the answer.
    Differs: no fixed random association units before the unit that learns; the sum is returned as the logit of
    "yes" beside a constant 0 for "no", so that a tie is a no.
    """

    takes: ClassVar[tuple[str, ...]] = ("vector", "table", "image")
    example: ClassVar[dict[str, Any]] = {"in_features": 5}

    def __init__(self, config: PerceptronConfig) -> None:
        super().__init__()
        self.config = config
        self.sum = nn.Linear(config.in_features, 1)
        self.initialize()

    def initialize(self) -> None:
        """Set every weight to zero: the rule needs no chance."""
        nn.init.zeros_(self.sum.weight)
        nn.init.zeros_(self.sum.bias)

    def forward(self, inputs: Float[Tensor, "B ..."]) -> Float[Tensor, "B 2"]:
        total = self.sum(inputs.flatten(1))
        return torch.cat([torch.zeros_like(total), total], dim=1)

    def step(self, inputs: Float[Tensor, "B ..."]) -> Int[Tensor, " B"]:
        """Return the unit's output: 1 where the sum is above 0, else 0."""
        return (self.sum(inputs.flatten(1))[:, 0] > 0).long()
