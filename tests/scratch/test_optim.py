"""Ten steps of each fast update rule equal the equations by hand; the equations have their papers' known properties."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from seodang.core.recipe import Choice
from seodang.scratch import optim as by_hand
from seodang.training.optim import optimizers

STEPS = 10
CURVATURE = np.random.default_rng(1).uniform(0.1, 3.0, (6, 4))
START = np.random.default_rng(0).normal(size=(6, 4))


def slope(w: np.ndarray) -> np.ndarray:
    """Return the gradient of a bumpy bowl: nothing is symmetric, nothing stays zero."""
    return CURVATURE * w + 0.3 * np.sin(3 * w) + 0.05 * w.sum()


class Bowl(nn.Module):
    """One matrix between two others that have no gradient, so that Muon finds it hidden."""

    def __init__(self) -> None:
        super().__init__()
        self.before, self.inner, self.after = (nn.Linear(4, 6, bias=False).double() for _ in range(3))
        self.inner.weight.data = torch.from_numpy(START.copy())


def trajectory(settings: dict[str, Any]) -> list[Any]:
    """Return the weights after each of the steps of the registered rule."""
    network = Bowl()
    rule = optimizers.make(Choice.of(settings))
    optimizer = rule.build(network)
    found = []
    for step in range(STEPS):
        w = network.inner.weight
        w.grad = torch.from_numpy(slope(w.detach().numpy()))
        for group in optimizer.param_groups:
            group["lr"] = rule.rate(step, step / STEPS, STEPS)
        optimizer.step()
        found.append(w.detach().numpy().copy())
    return found


CASES: list[tuple[dict[str, Any], Iterator[Any]]] = [
    ({"name": "sgd", "lr": 0.05}, by_hand.sgd(START, slope, 0.05)),
    ({"name": "sgd", "lr": 0.05, "weight_decay": 0.1}, by_hand.sgd(START, slope, 0.05, 0.1)),
    ({"name": "momentum", "lr": 0.05}, by_hand.momentum(START, slope, 0.05)),
    ({"name": "nesterov", "lr": 0.05}, by_hand.nesterov(START, slope, 0.05)),
    ({"name": "nesterov", "lr": 0.05, "momentum": 0.7, "weight_decay": 0.1},
     by_hand.nesterov(START, slope, 0.05, 0.7, 0.1)),
    ({"name": "adagrad", "lr": 0.1}, by_hand.adagrad(START, slope, 0.1)),
    ({"name": "adagrad", "lr": 0.1, "weight_decay": 0.1}, by_hand.adagrad(START, slope, 0.1, weight_decay=0.1)),
    ({"name": "adadelta"}, by_hand.adadelta(START, slope)),
    ({"name": "adadelta", "lr": 3.0, "rho": 0.8, "weight_decay": 0.1},
     by_hand.adadelta(START, slope, 3.0, 0.8, weight_decay=0.1)),
    ({"name": "rmsprop", "lr": 0.02}, by_hand.rmsprop(START, slope, 0.02)),
    ({"name": "rmsprop", "lr": 0.02, "alpha": 0.9, "momentum": 0.5}, by_hand.rmsprop(START, slope, 0.02, 0.9, mu=0.5)),
    ({"name": "adam", "lr": 0.05}, by_hand.adam(START, slope, 0.05)),
    ({"name": "adam", "lr": 0.05, "betas": [0.5, 0.9], "weight_decay": 0.1},
     by_hand.adam(START, slope, 0.05, (0.5, 0.9), weight_decay=0.1)),
    ({"name": "adamw", "lr": 0.05}, by_hand.adamw(START, slope, 0.05)),
    ({"name": "adamw", "lr": 0.05, "weight_decay": 0.5}, by_hand.adamw(START, slope, 0.05, weight_decay=0.5)),
    ({"name": "muon", "lr": 0.05}, by_hand.muon(START, slope, 0.05, weight_decay=0.01)),
    ({"name": "muon", "lr": 0.05, "nesterov": False, "momentum": 0.8, "weight_decay": 0.2},
     by_hand.muon(START, slope, 0.05, 0.8, look_ahead=False, weight_decay=0.2)),
]  # fmt: skip


@pytest.mark.parametrize(("settings", "steps"), CASES, ids=[str(case[0]) for case in CASES])
def test_ten_steps_equal_the_equations(settings: dict[str, Any], steps: Iterator[Any]) -> None:
    found, wanted = trajectory(settings), list(islice(steps, STEPS))
    assert np.abs(np.array(found) - np.array(wanted)).max() < 1e-6
    assert np.abs(np.diff(np.array(found), axis=0)).max() > 1e-4, "nothing moved: equality says nothing"


def test_every_registered_rule_is_compared() -> None:
    ours = {name for name in optimizers.names() if optimizers[name].maker.__module__.startswith("seodang.")}
    assert {case[0]["name"] for case in CASES} == ours


def test_the_comparison_sees_a_wrong_equation() -> None:
    wrong = list(islice(by_hand.adam(START, slope, 0.05, (0.9, 0.998)), STEPS))
    assert np.abs(np.array(trajectory({"name": "adam", "lr": 0.05})) - np.array(wrong)).max() > 1e-6


def test_a_kernel_is_a_matrix_to_muon() -> None:
    wanted = list(islice(by_hand.muon(START, slope, 0.05, weight_decay=0.01), STEPS))

    class Kernels(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.before = nn.Conv2d(1, 1, 1)
            self.inner = nn.Conv2d(1, 6, 2, bias=False).double()
            self.inner.weight.data = torch.from_numpy(START.copy()).view(6, 1, 2, 2)
            self.after = nn.Linear(6, 2)

    network = Kernels()
    optimizer = optimizers.make(Choice.of({"name": "muon", "lr": 0.05})).build(network)
    for step in range(STEPS):
        w = network.inner.weight
        w.grad = torch.from_numpy(slope(w.detach().reshape(6, 4).numpy())).view(6, 1, 2, 2)
        optimizer.step()
        assert np.abs(w.detach().reshape(6, 4).numpy() - wanted[step]).max() < 1e-6


def test_adam_steps_by_the_rate_at_first_whatever_the_scale() -> None:
    for scale in (1e-2, 1e4):
        first = next(by_hand.adam(START, lambda w, scale=scale: scale * slope(w), 0.01))
        assert np.abs(np.abs(START - first) - 0.01).max() < 1e-5


def test_orthogonalizing_makes_all_singular_values_about_one() -> None:
    for shape in ((8, 8), (12, 5), (5, 12)):
        matrix = np.random.default_rng(3).normal(size=shape)
        left, _, right = np.linalg.svd(matrix, full_matrices=False)
        exact, rounded = by_hand.orthogonalized(matrix, rounded=False), by_hand.orthogonalized(matrix)
        values = np.linalg.svd(exact, compute_uv=False)
        assert values.min() > 0.5 and values.max() < 1.5
        assert np.abs(left.T @ exact @ right.T - np.diag(np.diag(left.T @ exact @ right.T))).max() < 1e-9
        assert np.abs(rounded - exact).max() < 0.05
