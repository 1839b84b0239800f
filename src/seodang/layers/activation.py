"""Named non-linearities, the same names in every architecture that has the choice."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal, NamedTuple

from torch import nn

ActivationName = Literal[
    "identity", "sigmoid", "tanh", "relu", "leaky-relu", "prelu", "elu", "selu", "gelu", "gelu-tanh", "silu", "softplus",
    "mish", "hardsigmoid", "hardswish",
]  # fmt: skip


class Nonlinearity(NamedTuple):
    """How to make one, its formula and derivative, and who proposed it. Calling it makes a module."""

    make: Callable[[], nn.Module]
    formula: str
    derivative: str
    source: str

    def __call__(self) -> nn.Module:
        return self.make()


ACTIVATIONS: dict[str, Nonlinearity] = {
    "identity": Nonlinearity(nn.Identity, "g(x) = x", "g′(x) = 1", "none: the network stays linear"),
    "sigmoid": Nonlinearity(
        nn.Sigmoid, "σ(x) = 1 / (1 + e⁻ˣ)", "σ′(x) = σ(x) (1 − σ(x)), at most 1/4",
        "Rumelhart, Hinton & Williams 1986, \"Learning representations by back-propagating errors\", eq. 2",
    ),
    "tanh": Nonlinearity(
        nn.Tanh, "tanh x = (eˣ − e⁻ˣ) / (eˣ + e⁻ˣ)", "1 − tanh² x, at most 1",
        "LeCun et al. 1998, \"Efficient backprop\", sec. 4.4",
    ),
    "relu": Nonlinearity(
        nn.ReLU, "max(0, x)", "1 for x > 0, else 0",
        "Nair & Hinton 2010, \"Rectified linear units improve restricted Boltzmann machines\"; Glorot, Bordes & Bengio 2011",
    ),
    "leaky-relu": Nonlinearity(
        nn.LeakyReLU, "max(x, 0.01 x)", "1 for x > 0, else 0.01",
        "Maas, Hannun & Ng 2013, \"Rectifier nonlinearities improve neural network acoustic models\", eq. 2",
    ),
    "prelu": Nonlinearity(
        nn.PReLU, "max(0, x) + a min(0, x), a learned, one for the layer, 0.25 at first", "1 for x > 0, else a",
        "He et al. 2015, \"Delving deep into rectifiers\", arXiv:1502.01852, sec. 2.1 (channel-shared)",
    ),
    "elu": Nonlinearity(
        nn.ELU, "x for x > 0, else eˣ − 1", "1 for x > 0, else eˣ",
        "Clevert, Unterthiner & Hochreiter 2016, arXiv:1511.07289, sec. 3",
    ),
    "selu": Nonlinearity(
        nn.SELU, "λ x for x > 0, else λ α (eˣ − 1); λ = 1.0507, α = 1.6733", "λ for x > 0, else λ α eˣ",
        "Klambauer et al. 2017, \"Self-normalizing neural networks\", arXiv:1706.02515, eq. 2; wants init=lecun",
    ),
    "gelu": Nonlinearity(
        nn.GELU, "x Φ(x), Φ the distribution function of N(0, 1)", "Φ(x) + x φ(x)",
        "Hendrycks & Gimpel 2016, arXiv:1606.08415, sec. 2",
    ),
    "gelu-tanh": Nonlinearity(
        partial(nn.GELU, "tanh"), "x/2 (1 + tanh(√(2/π) (x + 0.044715 x³)))",
        "(1 + t)/2 + x/2 (1 − t²) √(2/π) (1 + 0.134145 x²), t that tanh",
        "Hendrycks & Gimpel 2016, arXiv:1606.08415, sec. 2 (the approximation)",
    ),
    "silu": Nonlinearity(
        nn.SiLU, "x σ(x), also called swish", "σ(x) (1 + x (1 − σ(x)))",
        "Elfwing, Uchibe & Doya 2018, arXiv:1702.03118, eq. 3; Ramachandran, Zoph & Le 2017, arXiv:1710.05941",
    ),
    "softplus": Nonlinearity(
        nn.Softplus, "ln(1 + eˣ)", "σ(x)",
        "Dugas et al. 2001, \"Incorporating second-order functional knowledge for better option pricing\", sec. 2",
    ),
    "mish": Nonlinearity(
        nn.Mish, "x tanh(softplus x)", "tanh(s) + x σ(x) (1 − tanh² s), s = softplus x",
        "Misra 2020, arXiv:1908.08681, sec. 2",
    ),
    "hardsigmoid": Nonlinearity(
        nn.Hardsigmoid, "min(max(x + 3, 0), 6) / 6", "1/6 for |x| < 3, else 0",
        "Courbariaux, Bengio & David 2015, \"BinaryConnect\", arXiv:1511.00363, eq. 3, with the slope of Howard et al. 2019",
    ),
    "hardswish": Nonlinearity(
        nn.Hardswish, "x min(max(x + 3, 0), 6) / 6", "0 for x < −3, (2x + 3)/6 for |x| < 3, else 1",
        "Howard et al. 2019, \"Searching for MobileNetV3\", arXiv:1905.02244, sec. 5.2",
    ),
}  # fmt: skip
