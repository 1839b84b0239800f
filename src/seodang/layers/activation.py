"""Named non-linearities, the same names in every architecture."""

from __future__ import annotations

from typing import Literal

from torch import nn

ActivationName = Literal["identity", "sigmoid", "tanh", "relu", "leaky-relu", "elu", "gelu", "silu"]

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "identity": nn.Identity,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "leaky-relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
}
