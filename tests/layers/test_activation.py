"""Every non-linearity is its formula, its derivative is the one that is stated, and every choice is usable."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import get_args

import pytest
import torch
from torch import Tensor, nn

from seodang.core.recipe import Choice
from seodang.layers.activation import ACTIVATIONS, ActivationName
from seodang.models.base import architectures

POINTS = torch.linspace(-7.95, 8.05, 161, dtype=torch.float64)
ALPHA, LAMBDA = 1.6732632423543772, 1.0507009873554805


def sigma(x: Tensor) -> Tensor:
    return 1 / (1 + (-x).exp())


def phi(x: Tensor) -> Tensor:
    return (-(x**2) / 2).exp() / math.sqrt(2 * math.pi)


def distribution(x: Tensor) -> Tensor:
    return 0.5 * torch.erfc(-x / math.sqrt(2))


def either(x: Tensor, above: Tensor, below: Tensor) -> Tensor:
    return torch.where(x > 0, above, below)


def ratio(x: Tensor) -> Tensor:
    return torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))


def soft(x: Tensor) -> Tensor:
    return (1 + x.exp()).log()


Pair = tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]
FORMULAS: dict[str, Pair] = {
    "identity": (lambda x: x, torch.ones_like),
    "sigmoid": (sigma, lambda x: sigma(x) * (1 - sigma(x))),
    "tanh": (lambda x: (x.exp() - (-x).exp()) / (x.exp() + (-x).exp()), lambda x: 1 - x.tanh() ** 2),
    "relu": (lambda x: x.clamp(min=0), lambda x: either(x, 0 * x + 1, 0 * x)),
    "leaky-relu": (lambda x: torch.maximum(x, 0.01 * x), lambda x: either(x, 0 * x + 1, 0 * x + 0.01)),
    "prelu": (lambda x: x.clamp(min=0) + 0.25 * x.clamp(max=0), lambda x: either(x, 0 * x + 1, 0 * x + 0.25)),
    "elu": (lambda x: either(x, x, x.exp() - 1), lambda x: either(x, 0 * x + 1, x.exp())),
    "selu": (
        lambda x: LAMBDA * either(x, x, ALPHA * (x.exp() - 1)),
        lambda x: LAMBDA * either(x, 0 * x + 1, ALPHA * x.exp()),
    ),
    "gelu": (lambda x: x * distribution(x), lambda x: distribution(x) + x * phi(x)),
    "gelu-tanh": (
        lambda x: x / 2 * (1 + ratio(x)),
        lambda x: (1 + ratio(x)) / 2 + x / 2 * (1 - ratio(x) ** 2) * math.sqrt(2 / math.pi) * (1 + 0.134145 * x**2),
    ),
    "silu": (lambda x: x * sigma(x), lambda x: sigma(x) * (1 + x * (1 - sigma(x)))),
    "softplus": (soft, sigma),
    "mish": (lambda x: x * soft(x).tanh(), lambda x: soft(x).tanh() + x * sigma(x) * (1 - soft(x).tanh() ** 2)),
    "hardsigmoid": (lambda x: (x + 3).clamp(0, 6) / 6, lambda x: (x.abs() < 3).to(x) / 6),
    "hardswish": (
        lambda x: x * (x + 3).clamp(0, 6) / 6,
        lambda x: torch.where(x < -3, 0 * x, torch.where(x > 3, 0 * x + 1, (2 * x + 3) / 6)),
    ),
}


@pytest.mark.parametrize("name", get_args(ActivationName))
def test_function_and_derivative_are_those_of_the_formula(name: str) -> None:
    function, derivative = FORMULAS[name]
    x = POINTS.clone().requires_grad_()
    y = ACTIVATIONS[name]().double()(x)
    torch.testing.assert_close(y, function(POINTS), rtol=0, atol=1e-9)
    (slope,) = torch.autograd.grad(y.sum(), x)
    torch.testing.assert_close(slope, derivative(POINTS), rtol=0, atol=1e-8)  # torch has 1/6 in float32


def test_names_and_table_agree() -> None:
    assert set(get_args(ActivationName)) == set(ACTIVATIONS) == set(FORMULAS)
    for name, item in ACTIVATIONS.items():
        assert item.formula and item.derivative and item.source, name


@pytest.mark.parametrize("name", get_args(ActivationName))
@pytest.mark.parametrize("model", ["mlp", "cnn", "vae", "qnet", "gpt"])
def test_every_choice_works_in_every_architecture_that_has_it(name: str, model: str) -> None:
    settings = {**architectures[model].maker.example, "activation": name}
    network = architectures.make(Choice.of({"name": model, **settings}))
    kind = type(ACTIVATIONS[name]())
    assert any(type(module) is kind for module in network.modules())


def test_extremes_stay_finite() -> None:
    for name, item in ACTIVATIONS.items():
        x = torch.tensor([-1e4, -100.0, 0.0, 100.0, 1e4], requires_grad=True)
        y = item()(x)
        y.sum().backward()
        assert y.isfinite().all() and x.grad is not None and x.grad.isfinite().all(), name


def test_selu_keeps_mean_and_spread_from_layer_to_layer() -> None:
    torch.manual_seed(0)
    network = architectures.make(
        Choice.of(
            {"name": "mlp", "in_features": 300, "hidden_sizes": [300] * 20, "activation": "selu", "init": "lecun"}
        )
    )
    with torch.no_grad():
        values = nn.Sequential(*list(network.layers)[:-1])(torch.randn(500, 300))
    assert abs(values.mean().item()) < 0.1
    assert 0.85 < values.std().item() < 1.15
