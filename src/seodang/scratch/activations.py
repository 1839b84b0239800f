"""The non-linearities by hand, each with its derivative, in double precision."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]

SELU_SCALE, SELU_ALPHA = 1.0507009873554804934193349852946, 1.6732632423543772848170429916717
ROOT = math.sqrt(2 / math.pi)


def sigmoid(x: Numbers) -> Numbers:
    """Return 1 / (1 + e⁻ˣ), written so that nothing overflows."""
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + small), small / (1 + small))


def softplus(x: Numbers) -> Numbers:
    """Return ln(1 + eˣ)."""
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def normal_cdf(x: Numbers) -> Numbers:
    """Return Φ(x), the share of a standard normal below x."""
    return np.array([0.5 * math.erfc(-value / math.sqrt(2)) for value in np.ravel(x)]).reshape(np.shape(x))


def normal_density(x: Numbers) -> Numbers:
    return np.exp(-x * x / 2) / math.sqrt(2 * math.pi)


def gelu_tanh(x: Numbers) -> Numbers:
    return x / 2 * (1 + np.tanh(ROOT * (x + 0.044715 * x**3)))


def gelu_tanh_slope(x: Numbers) -> Numbers:
    t = np.tanh(ROOT * (x + 0.044715 * x**3))
    return (1 + t) / 2 + x / 2 * (1 - t * t) * ROOT * (1 + 3 * 0.044715 * x * x)


def below_zero(x: Numbers) -> Numbers:
    """Return eˣ where x is negative, else 1: the exponential never sees a large number."""
    return np.exp(np.minimum(x, 0))


def mish_slope(x: Numbers) -> Numbers:
    t = np.tanh(softplus(x))
    return t + x * sigmoid(x) * (1 - t * t)


Function = Callable[[Numbers], Numbers]

FUNCTIONS: dict[str, tuple[Function, Function]] = {
    "identity": (lambda x: x, np.ones_like),
    "sigmoid": (sigmoid, lambda x: sigmoid(x) * (1 - sigmoid(x))),
    "tanh": (np.tanh, lambda x: 1 - np.tanh(x) ** 2),
    "relu": (lambda x: np.maximum(x, 0), lambda x: (x > 0).astype(np.float64)),
    "elu": (lambda x: np.where(x > 0, x, below_zero(x) - 1), lambda x: np.where(x > 0, 1.0, below_zero(x))),
    "selu": (
        lambda x: SELU_SCALE * np.where(x > 0, x, SELU_ALPHA * (below_zero(x) - 1)),
        lambda x: SELU_SCALE * np.where(x > 0, 1.0, SELU_ALPHA * below_zero(x)),
    ),
    "gelu": (lambda x: x * normal_cdf(x), lambda x: normal_cdf(x) + x * normal_density(x)),
    "gelu-tanh": (gelu_tanh, gelu_tanh_slope),
    "silu": (lambda x: x * sigmoid(x), lambda x: sigmoid(x) * (1 + x * (1 - sigmoid(x)))),
    "softplus": (softplus, sigmoid),
    "mish": (lambda x: x * np.tanh(softplus(x)), mish_slope),
    "hardsigmoid": (
        lambda x: np.minimum(np.maximum(x + 3, 0), 6) / 6,
        lambda x: np.where(np.abs(x) < 3, 1 / 6, 0.0),
    ),
    "hardswish": (
        lambda x: x * np.minimum(np.maximum(x + 3, 0), 6) / 6,
        lambda x: np.where(x <= -3, 0.0, np.where(x < 3, (2 * x + 3) / 6, 1.0)),
    ),
}
"""Name → g and g′. The formulas and their papers stand in `layers.activation`, which these are checked against."""


def leaky_relu(x: Numbers, slope: float) -> Numbers:
    return np.where(x > 0, x, slope * x)


def leaky_relu_slope(x: Numbers, slope: float) -> Numbers:
    return np.where(x > 0, 1.0, slope)
