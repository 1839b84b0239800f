"""Forward and backward by hand equal autograd to 1e-6, for every layer the page of steps knows."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from seodang.core.errors import ConfigError
from seodang.layers.activation import ACTIVATIONS
from seodang.models.cnn import CNN, CNNConfig
from seodang.models.mlp import MLP, MLPConfig
from seodang.models.perceptron import Perceptron, PerceptronConfig
from seodang.scratch import conv
from seodang.scratch.network import Described, pass_through
from seodang.visualize.steps import MOST_WEIGHTS, Walk, difference, walk
from seodang.visualize.steps_accounts import accounts

SMALL: dict[str, Any] = {"in_features": 6, "hidden_sizes": (5, 4), "out_features": 3, "dropout": 0.2}
PICTURES: dict[str, Any] = {"in_channels": 2, "image_size": (9, 10), "num_classes": 3, "stages": ((4,), (4, 3)), "dropout": 0.1,
                            "hidden_sizes": (5,), "padding": "same"}  # fmt: skip


def task_of(answers: str = "classes", loss: str = "cross-entropy", smoothing: float = 0.0) -> Any:
    return SimpleNamespace(answers=answers, settings=SimpleNamespace(loss=loss, smoothing=smoothing))


def shaken(model: nn.Module) -> nn.Module:
    """Return the model with biases, scales and running statistics that are not those it starts with."""
    with torch.no_grad():
        for value in model.parameters():
            value.add_(0.2 * torch.randn_like(value))
        for name, value in model.named_buffers():
            if "running" in name:
                value.add_(torch.rand_like(value))
    return model


def by_hand(found: Walk) -> float:
    layers = [Described(*layer) for layer in found.described]
    value, flows = pass_through(layers, found.steps[0].x, found.loss, found.target, found.smoothing)
    return difference(found, value, flows)


def require_equal(model: nn.Module, example: torch.Tensor, task: Any, target: torch.Tensor) -> Walk:
    found = walk(shaken(model), task, example, target)
    assert by_hand(found) < 1e-6
    for _, forward, backward in accounts(found):
        for account in (forward, *backward):
            assert account.computed == pytest.approx(account.recorded, rel=1e-6, abs=1e-9), account.formula
    return found


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("normalization", ["none", "batch", "layer"])
def test_mlp(activation: str, normalization: str) -> None:
    model = MLP(MLPConfig(**SMALL, activation=activation, normalization=normalization))  # type: ignore[arg-type]
    found = require_equal(model, 3 * torch.randn(1, 6), task_of(smoothing=0.1), torch.tensor([2]))
    assert "dense" in {step.kind for step in found.steps}


@pytest.mark.parametrize("normalization", ["none", "batch", "layer", "instance", "group"])
@pytest.mark.parametrize("head", ["flatten", "average"])
def test_cnn(normalization: str, head: str) -> None:
    model = CNN(CNNConfig(**PICTURES, normalization=normalization, head=head, activation="prelu"))  # type: ignore[arg-type]
    found = require_equal(model, torch.randn(1, 2, 9, 10), task_of(), torch.tensor([0]))
    assert {"conv", "max-pool", "leaky-relu", "flatten", "dense", "same"} <= {step.kind for step in found.steps}


def test_strides_and_windows_that_overlap() -> None:
    model = nn.Sequential(nn.Conv2d(2, 3, (3, 2), stride=(2, 1), padding=(1, 0)), nn.MaxPool2d(3, stride=1), nn.Flatten(),
                          nn.Linear(3 * 3 * 5, 2))  # fmt: skip
    found = require_equal(model, torch.randn(1, 2, 9, 8), task_of(), torch.tensor([1]))
    assert [step.kind for step in found.steps] == ["conv", "max-pool", "flatten", "dense"]


@pytest.mark.parametrize("label", [0, 1])
def test_perceptron_criterion(label: int) -> None:
    model = Perceptron(PerceptronConfig(in_features=3))
    found = require_equal(model, torch.randn(1, 3), task_of(loss="perceptron"), torch.tensor([label]))
    assert [step.kind for step in found.steps] == ["dense", "threshold"]


def test_squared_error() -> None:
    model = MLP(MLPConfig(**{**SMALL, "out_features": 2}))
    found = require_equal(model, torch.randn(1, 6), task_of("quantities"), torch.tensor([[0.3, -2.0]]))
    assert found.steps[-1].kind == "dense"


def test_the_walk_is_the_models_own_pass() -> None:
    model = shaken(CNN(CNNConfig(**PICTURES)))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    example = torch.randn(1, 2, 9, 10)
    found = walk(model, task_of(), example, torch.tensor([1]))
    assert torch.allclose(model.eval()(example)[0], torch.from_numpy(found.steps[-1].y).float(), atol=1e-5)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(value.grad is None for value in model.parameters())


def test_a_wrong_backward_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    model = MLP(MLPConfig(**SMALL, activation="tanh"))
    found = walk(shaken(model), task_of(), torch.randn(1, 6), torch.tensor([0]))
    right = pass_through.__globals__["FUNCTIONS"]["tanh"]
    monkeypatch.setitem(pass_through.__globals__["FUNCTIONS"], "tanh", (right[0], lambda x: 1 - np.tanh(x)))
    assert by_hand(found) > 1e-3


def test_a_convolution_is_the_sum_it_says() -> None:
    x = np.arange(16, dtype=np.float64).reshape(1, 4, 4)
    kernel = np.array([[[[1.0, 0.0], [0.0, -1.0]]]])
    assert np.all(conv.convolution(x, kernel, np.array([2.0])) == -5 + 2)


class Forked(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(3, 3), nn.Linear(3, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.two(x + self.one(x))


@pytest.mark.parametrize(("model", "said"), [
    (Forked(), "without branches and sums"),
    (nn.Sequential(nn.Linear(3, 4), nn.GLU()), "layer '1' is a GLU"),
    (nn.Sequential(nn.Linear(3, MOST_WEIGHTS // 3), nn.Linear(MOST_WEIGHTS // 3, 1)), "at most 2,000,000"),
    (nn.Sequential(*[nn.Linear(3, 3) for _ in range(61)]), "at most 60"),
])  # fmt: skip
def test_what_cannot_be_walked_through_is_refused_by_name(model: nn.Module, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        walk(model, task_of(), torch.randn(1, 3), torch.tensor([0]))


def test_a_task_with_another_loss_is_refused() -> None:
    with pytest.raises(ConfigError, match="classification or a regression"):
        walk(nn.Linear(3, 2), task_of("tokens"), torch.randn(1, 3), torch.tensor([0]))
