"""Named ways to draw the first weights, the same names in every architecture that has the choice."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn

InitName = Literal["he", "xavier", "lecun", "orthogonal", "normal", "zero"]

NORMAL_STD = 0.01


def fans(weight: Tensor) -> tuple[int, int]:
    """Return how many numbers go into one unit of a dense layer or convolution, and how many units one number reaches."""
    area = weight[0, 0].numel() if weight.ndim > 2 else 1
    return weight.shape[1] * area, weight.shape[0] * area


def initialize_weight(weight: Tensor, scheme: InitName, gain: float = 2.0) -> None:
    r"""Draw the weight of one layer; `gain` is 2 before a rectifier, which halves the second moment, and 1 at the end.

        he          $N(0, \mathrm{gain} / n_{in})$
        xavier      $U(-a, a)$ with $a = \sqrt{6 / (n_{in} + n_{out})}$, of variance $2 / (n_{in} + n_{out})$
        lecun       $N(0, 1 / n_{in})$
        orthogonal  $\sqrt{\mathrm{gain}}$ times a matrix with orthonormal rows or columns
        normal      $N(0, 0.01^2)$, whatever the width
        zero        0: all units of a layer stay alike, and a deep network learns nothing

    Source: He et al. 2015, arXiv:1502.01852, eq. 10; Glorot & Bengio 2010, "Understanding the difficulty of training
    deep feedforward neural networks", eq. 16; LeCun et al. 1998, "Efficient backprop", sec. 4.6; Saxe, McClelland &
    Ganguli 2014, arXiv:1312.6120, sec. 3 (gain √2 for rectifiers); Krizhevsky, Sutskever & Hinton 2012, sec. 5 (0.01).
    """
    fan_in, fan_out = fans(weight)
    match scheme:
        case "he":
            nn.init.normal_(weight, std=(gain / fan_in) ** 0.5)
        case "xavier":
            bound = math.sqrt(6 / (fan_in + fan_out))
            nn.init.uniform_(weight, -bound, bound)
        case "lecun":
            nn.init.normal_(weight, std=fan_in**-0.5)
        case "orthogonal":
            nn.init.orthogonal_(weight, gain**0.5)
        case "normal":
            nn.init.normal_(weight, std=NORMAL_STD)
        case "zero":
            nn.init.zeros_(weight)


def initialize_layers(layers: Sequence[nn.Linear | nn.Conv2d], scheme: InitName) -> None:
    """Draw the weights of all layers from first to last, the last without the gain of a non-linearity; biases zero."""
    for layer in layers:
        initialize_weight(layer.weight, scheme, 1.0 if layer is layers[-1] else 2.0)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
