"""Variances are those of the papers' formulas, and the schemes behave as the papers say."""

from __future__ import annotations

import math
from typing import get_args

import pytest
import torch
from torch import Tensor, nn

from seodang.core.recipe import Choice
from seodang.layers.initialization import InitName, fans, initialize_layers, initialize_weight
from seodang.models.base import architectures

DENSE, KERNEL = (400, 300), (128, 48, 3, 5)


@pytest.mark.parametrize(
    ("scheme", "variance"),
    [("he", lambda i, o: 2 / i), ("xavier", lambda i, o: 2 / (i + o)), ("lecun", lambda i, o: 1 / i),
     ("normal", lambda i, o: 1e-4), ("zero", lambda i, o: 0.0),
     ("orthogonal", lambda i, o: 2 / max(i, o))],
)  # fmt: skip
def test_the_variance_is_the_formulas(scheme: InitName, variance: object) -> None:
    weight = torch.empty(DENSE)
    initialize_weight(weight, scheme)
    wanted = variance(300, 400)  # type: ignore[operator]
    assert weight.var().item() == pytest.approx(wanted, rel=0.02)
    assert abs(weight.mean().item()) < 5 * math.sqrt(wanted / weight.numel()) + 1e-12
    if scheme == "orthogonal":
        return
    kernel = torch.empty(KERNEL)
    initialize_weight(kernel, scheme)
    assert kernel.var().item() == pytest.approx(variance(48 * 15, 128 * 15), rel=0.02)  # type: ignore[operator]


def test_fans_count_what_goes_in_and_out() -> None:
    assert fans(nn.Linear(300, 400).weight) == (300, 400)
    assert fans(nn.Conv2d(48, 128, (3, 5)).weight) == (48 * 15, 128 * 15)


def test_xavier_is_uniform_and_ends_at_its_bound() -> None:
    weight = torch.empty(DENSE)
    initialize_weight(weight, "xavier")
    bound = math.sqrt(6 / 700)
    assert 0.999 * bound < weight.abs().max().item() <= bound
    counts = torch.histc(weight, 10)
    assert (counts / counts.mean() - 1).abs().max() < 0.05


@pytest.mark.parametrize("shape", [(40, 30), (30, 40), (16, 3, 3, 3)])
def test_orthogonal_rows_or_columns(shape: tuple[int, ...]) -> None:
    weight = torch.empty(shape)
    initialize_weight(weight, "orthogonal", gain=2.0)
    matrix = weight.flatten(1)
    gram = matrix @ matrix.T if matrix.shape[0] <= matrix.shape[1] else matrix.T @ matrix
    torch.testing.assert_close(gram, 2 * torch.eye(len(gram)), atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", ["mlp", "cnn"])
def test_the_default_is_what_it_always_was(name: str) -> None:
    """He's for hidden layers, half that variance for the last: drawn in the same order from the same generator."""
    settings = architectures[name].maker.example
    network = architectures.make(Choice.of({"name": name, **settings}))
    torch.manual_seed(5)
    network.initialize()
    layers = [module for module in network.modules() if isinstance(module, (nn.Linear, nn.Conv2d))]
    torch.manual_seed(5)
    for layer in layers:
        gain = 1.0 if layer is layers[-1] else 2.0
        wanted = torch.empty_like(layer.weight).normal_(0, (gain / layer.weight[0].numel()) ** 0.5)
        assert torch.equal(layer.weight, wanted)
        assert layer.bias is None or not layer.bias.any()


@pytest.mark.parametrize("scheme", get_args(InitName))
@pytest.mark.parametrize("name", ["mlp", "cnn"])
def test_every_scheme_is_a_setting(name: str, scheme: str) -> None:
    network = architectures.make(Choice.of({"name": name, **architectures[name].maker.example, "init": scheme}))
    weights = [module.weight for module in network.modules() if isinstance(module, (nn.Linear, nn.Conv2d))]
    assert all(bool(weight.any()) is (scheme != "zero") for weight in weights)


def spread_at_the_end(scheme: InitName, activation: type[nn.Module], depth: int = 30) -> float:
    layers = [nn.Linear(256, 256) for _ in range(depth)]
    initialize_layers([*layers, nn.Linear(256, 2)], scheme)
    x: Tensor = torch.randn(200, 256)
    with torch.no_grad():
        for layer in layers:
            x = activation()(layer(x))
    return x.std().item()


def test_rectifiers_want_he_and_saturating_ones_do_not() -> None:
    """He et al. 2015, fig. 3: thirty rectified layers keep their spread with He's variance and lose it with Xavier's."""
    assert 0.2 < spread_at_the_end("he", nn.ReLU) < 3
    assert spread_at_the_end("xavier", nn.ReLU) < 1e-3
    assert spread_at_the_end("normal", nn.ReLU) < 1e-20
    assert spread_at_the_end("xavier", nn.Tanh) > 0.1
    assert spread_at_the_end("orthogonal", nn.ReLU) > 0.2
