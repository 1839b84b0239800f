"""Integrated gradients: what each pixel adds to the answer, on the way from an empty picture to the real one."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from seodang.core.inputs import ImageInputs
from seodang.visualize.backward import differentiable

STEPS, MOST_STEPS = 64, 512
TOLERANCE = 0.02
"""The shares may add up to the difference they explain but for this part of it; else more steps are taken."""
BATCH = 16


class Attribution(NamedTuple):
    """What each number of the input adds to the logit; `difference` is what all should add up to, `gap` what is missing."""

    values: Float[Tensor, "C H W"]
    difference: float
    gap: float
    steps: int


def black(inputs: ImageInputs) -> Tensor:
    """Return the black picture (C, 1, 1) in the units the network takes."""
    return ((0.0 - torch.tensor(inputs.mean)) / torch.tensor(inputs.std)).view(-1, 1, 1).expand(inputs.channels, 1, 1)


def path_gradient(model: nn.Module, picture: Tensor, baseline: Tensor, target: int, steps: int) -> Tensor:
    """Return the mean gradient of the logit over the straight line, at the middles of `steps` equal parts."""
    total = torch.zeros_like(picture, dtype=torch.float64)
    shares = (torch.arange(steps, dtype=picture.dtype, device=picture.device) + 0.5) / steps
    with differentiable(model):
        for part in shares.split(BATCH):
            between = (baseline + part.view(-1, *[1] * picture.ndim) * (picture - baseline)).requires_grad_(True)
            (gradient,) = torch.autograd.grad(model(between)[:, target].sum(), between)
            total += gradient.double().sum(0)
    return (total / steps).to(picture.dtype)


def integrated_gradients(
    model: nn.Module, picture: Float[Tensor, "C H W"], target: int, baseline: Tensor, steps: int = 0
) -> Attribution:
    r"""Return $(x - x') \int_0^1 \nabla f(x' + a (x - x')) \, da$ for the logit $f$ of class `target`.

    By the midpoint rule; without `steps`, 64 of them, doubled up to 512 until the values add up to $f(x) - f(x')$ within
    2 %.

    Source: Sundararajan, Taly & Yan 2017, "Axiomatic attribution for deep networks", arXiv:1703.01365, eq. 1 to 3.
    """
    picture = picture.detach()
    baseline = baseline.to(picture).expand_as(picture)
    with differentiable(model), torch.no_grad():
        ends = model(torch.stack([baseline, picture]))[:, target].double()
    difference = float(ends[1] - ends[0])
    count = steps or STEPS
    while True:
        values = (picture - baseline) * path_gradient(model, picture, baseline, target, count)
        gap = difference - float(values.double().sum())
        if steps or count >= MOST_STEPS or abs(gap) <= TOLERANCE * abs(difference):
            return Attribution(values.detach().cpu(), difference, gap, count)
        count *= 2
