"""Losses are sums, equal to their definitions in double precision, and finite however sure and wrong an answer is."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from seodang.task.losses import binary_cross_entropy, cross_entropy, squared_error

ROWS, CLASSES = 64, 7
LABELS = torch.randint(CLASSES, (ROWS,), generator=torch.Generator().manual_seed(0))
TARGETS = torch.rand(ROWS, CLASSES, generator=torch.Generator().manual_seed(1))


def values(size: float) -> Tensor:
    return torch.randn(ROWS, CLASSES, generator=torch.Generator().manual_seed(2)) * size


def by_definition(z: Tensor, smoothing: float = 0.0) -> Tensor:
    """Return minus the sum of target times logarithm of the softmax, each logarithm taken from the largest logit."""
    z = z.double()
    target = torch.full_like(z, smoothing / CLASSES)
    target[torch.arange(ROWS), LABELS] += 1 - smoothing
    highest = z.max(1, keepdim=True).values
    return -(target * (z - highest - (z - highest).exp().sum(1, keepdim=True).log())).sum()


def binary_by_definition(z: Tensor) -> Tensor:
    """-y ln σ(z) - (1 - y) ln(1 - σ(z)), where ln σ(z) = min(z, 0) - ln(1 + exp(-|z|))."""
    z, y = z.double(), TARGETS.double()
    log_yes, log_no = (z.clamp(max=0) - (-z.abs()).exp().log1p(), (-z).clamp(max=0) - (-z.abs()).exp().log1p())
    return -(y * log_yes + (1 - y) * log_no).sum()


CASES: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "cross-entropy": (lambda z: cross_entropy(z, LABELS), by_definition),
    "smoothed": (lambda z: cross_entropy(z, LABELS, 0.1), lambda z: by_definition(z, 0.1)),
    "binary": (lambda z: binary_cross_entropy(z, TARGETS), binary_by_definition),
    "squared": (lambda z: squared_error(z, TARGETS), lambda z: (z.double() - TARGETS.double()).square().sum()),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("size", [1e-3, 1.0, 30.0, 1e4])
def test_equal_to_the_definition_with_its_gradient(name: str, size: float) -> None:
    ours, reference = CASES[name]
    z = values(size).requires_grad_()
    found, wanted = ours(z), reference(z.detach())
    assert found.item() == pytest.approx(wanted.item(), rel=1e-6)
    (slope,) = torch.autograd.grad(found, z)
    exact = z.detach().double().requires_grad_()
    (steep,) = torch.autograd.grad(reference(exact), exact)
    assert (slope.double() - steep).abs().max() <= 1e-6 * max(1.0, steep.abs().max().item())


@pytest.mark.parametrize("name", CASES)
def test_twice_the_examples_are_twice_the_loss(name: str) -> None:
    one = {"cross-entropy": lambda z, y, t: cross_entropy(z, y), "smoothed": lambda z, y, t: cross_entropy(z, y, 0.1),
           "binary": lambda z, y, t: binary_cross_entropy(z, t), "squared": lambda z, y, t: squared_error(z, t)}[name]  # fmt: skip
    z = values(1.0)
    twice = one(torch.cat([z, z]), torch.cat([LABELS, LABELS]), torch.cat([TARGETS, TARGETS]))
    assert twice.item() == pytest.approx(2 * one(z, LABELS, TARGETS).item(), rel=1e-6)


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("sure", [-1e4, 1e4])
def test_sure_and_wrong_is_finite_and_pulls_with_full_strength(kind: torch.dtype, sure: float) -> None:
    z = torch.tensor([[sure, -sure]], dtype=kind, requires_grad=True)
    wrong = torch.tensor([int(sure > 0)])
    size = z[0, 0].float().abs().item()
    loss: Any = cross_entropy(z, wrong)
    loss.backward()
    assert loss.item() == pytest.approx(2 * size)
    assert z.grad is not None
    assert z.grad.float().abs().tolist() == [[1.0, 1.0]]
    one = torch.tensor([sure], dtype=kind, requires_grad=True)
    loss = binary_cross_entropy(one, torch.tensor([float(sure < 0)]))
    loss.backward()
    assert loss.item() == pytest.approx(size)
    assert one.grad is not None
    assert one.grad.float().abs().item() == 1.0


def test_sure_and_right_costs_nothing() -> None:
    assert cross_entropy(torch.tensor([[1e4, -1e4]]), torch.tensor([0])).item() == 0.0
    assert binary_cross_entropy(torch.tensor([1e4, -1e4]), torch.tensor([1.0, 0.0])).item() == 0.0


def test_unlabelled_places_do_not_count() -> None:
    z = values(1.0)
    hidden = LABELS.clone()
    hidden[10:] = -1
    assert cross_entropy(z, hidden).item() == pytest.approx(cross_entropy(z[:10], LABELS[:10]).item(), rel=1e-6)


def test_smoothing_has_its_least_where_the_paper_says() -> None:
    """Szegedy et al. 2016, sec. 7: the target is 1 - ε + ε/K for the right class and ε/K for the others."""
    share, count = 0.1, 4
    right, other = 1 - share + share / count, share / count
    z = torch.tensor([[math.log(right), *[math.log(other)] * (count - 1)]], requires_grad=True)
    loss = cross_entropy(z, torch.tensor([0]), share)
    (slope,) = torch.autograd.grad(loss, z)
    assert slope.abs().max() < 1e-6
    assert loss.item() == pytest.approx(-(right * math.log(right) + 3 * other * math.log(other)), rel=1e-6)
