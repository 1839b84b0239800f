"""Update rules and learning-rate schedules. PyTorch's own fused versions do the work.

The rate of an update is ``lr × schedule``, a pure function of how far the run is, set on the groups each time:
there is no scheduler object and nothing to save.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import torch
from pydantic import Field
from torch import nn
from torch.distributed.tensor import DTensor

from seodang.core.config import Config
from seodang.core.registry import Registry


class OptimizerConfig(Config):
    """What every update rule has."""

    lr: float = Field(0.001, gt=0)
    """Largest learning rate of the run."""
    weight_decay: float = Field(0.0, ge=0)
    """Pull towards zero per update and unit of rate. Biases and normalisation are left out."""
    schedule: Literal["constant", "linear", "cosine", "one-cycle"] = "constant"
    """Shape of the rate over the run, after warm-up."""
    warmup: float = Field(0.0, ge=0)
    """Linear warm-up: a share of the run if below 1, else a number of updates."""
    final: float = Field(0.0, ge=0, le=1)
    """Rate at the end of a linear or cosine schedule, as a share of the largest."""


class UpdateRule:
    """Makes the PyTorch optimizer for one network and says the rate at each update."""

    def __init__(self, settings: OptimizerConfig) -> None:
        self.settings = settings

    def build(self, network: nn.Module) -> torch.optim.Optimizer:
        """Return the optimizer of `network`, in two groups: with and without weight decay."""
        trained = [(name, weight) for name, weight in network.named_parameters() if weight.requires_grad]
        groups = [
            {
                "params": [weight for _, weight in trained if weight.ndim >= 2],
                "weight_decay": self.settings.weight_decay,
            },
            {"params": [weight for _, weight in trained if weight.ndim < 2], "weight_decay": 0.0},
        ]
        return self.make([group for group in groups if group["params"]])

    def make(self, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
        raise NotImplementedError

    def rate(self, step: int, progress: float, total: int | None) -> float:
        """Return the learning rate for update `step` (0 = the first) of a run that is `progress` (0…1) done."""
        settings = self.settings
        factor = schedule(settings.schedule, step, progress, total, settings.warmup, settings.final)
        return settings.lr * factor


def fast(groups: Iterable[Mapping[str, Any]]) -> dict[str, bool]:
    """Return how PyTorch is to apply the rule: fused; shards of FSDP2 know only the for-each form of some rules."""
    sharded = any(isinstance(weight, DTensor) for group in groups for weight in group["params"])
    return {"foreach": True} if sharded else {"fused": True}


def schedule(shape: str, step: int, progress: float, total: int | None, warmup: float = 0, final: float = 0) -> float:
    """Return the share of the largest rate at update `step`.

    Source: linear and cosine without restarts, Loshchilov & Hutter 2017, "SGDR", arXiv:1608.03983, eq. 5;
    one-cycle: Smith & Topin 2018, "Super-convergence", arXiv:1708.07120 (linear up over 30 %, cosine down).
    Differs: one-cycle leaves momentum alone.
    """
    if shape == "one-cycle":
        warmup = warmup or 0.3
    share = warmup if warmup < 1 else (warmup / total if total else 0.0)
    if warmup >= 1 and step < warmup:
        return (step + 1) / warmup
    if warmup < 1 and progress < share:
        start = 1 / 25 if shape == "one-cycle" else 1 / (share * total + 1) if total else 0.0
        return start + (1 - start) * progress / share
    left = (progress - share) / (1 - share) if share < 1 else 1.0
    match shape:
        case "constant":
            return 1.0
        case "linear":
            return 1 - (1 - final) * left
        case _:
            return final + (1 - final) * (1 + math.cos(math.pi * left)) / 2


class SGDConfig(OptimizerConfig):
    """Stochastic gradient descent."""

    lr: float = Field(0.1, gt=0)
    """Largest learning rate of the run."""
    momentum: float = Field(0.0, ge=0, lt=1)
    """Share of the last update kept in the next."""
    nesterov: bool = False
    """Look ahead: take the gradient after the momentum step."""


class AdamConfig(OptimizerConfig):
    """Adam and AdamW."""

    betas: tuple[float, float] = (0.9, 0.999)
    """Decay of the running means of the gradient and of its square."""
    eps: float = Field(1e-8, gt=0)
    """Keeps the division finite."""


class RMSpropConfig(OptimizerConfig):
    """RMSprop."""

    alpha: float = Field(0.99, ge=0, lt=1)
    """Decay of the running mean of the squared gradient."""
    momentum: float = Field(0.0, ge=0, lt=1)
    """Share of the last update kept in the next."""
    eps: float = Field(1e-8, gt=0)
    """Keeps the division finite."""


optimizers: Registry[UpdateRule] = Registry("optimizer", "seodang.training")


@optimizers.register(
    {"sgd": SGDConfig(), "momentum": SGDConfig(momentum=0.9), "nesterov": SGDConfig(momentum=0.9, nesterov=True)}
)
class SGD(UpdateRule):
    """Follow the negative gradient, with or without momentum.

    Source: Robbins & Monro 1951; momentum Polyak 1964; Nesterov in the form of Sutskever et al. 2013, sec. 2.
    Differs: the rate multiplies the velocity after the momentum (PyTorch's form); weight decay is coupled.
    """

    settings: SGDConfig

    def make(self, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
        return torch.optim.SGD(groups, lr=self.settings.lr, momentum=self.settings.momentum,
                               nesterov=self.settings.nesterov, **fast(groups))  # fmt: skip


@optimizers.register({"adam": AdamConfig()})
class Adam(UpdateRule):
    """Scale each step by running means of the gradient and its square; weight decay is coupled (L2).

    Source: Kingma & Ba 2015, "Adam", arXiv:1412.6980, algorithm 1.
    Differs: none known.
    """

    settings: AdamConfig

    def make(self, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
        return torch.optim.Adam(
            groups, lr=self.settings.lr, betas=self.settings.betas, eps=self.settings.eps, **fast(groups)
        )


@optimizers.register({"adamw": AdamConfig(weight_decay=0.01)})
class AdamW(UpdateRule):
    """Adam with weight decay taken out of the gradient.

    Source: Loshchilov & Hutter 2019, "Decoupled weight decay regularization", arXiv:1711.05101, algorithm 2.
    Differs: decay is multiplied by the learning rate (PyTorch's form).
    """

    settings: AdamConfig

    def make(self, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
        return torch.optim.AdamW(
            groups, lr=self.settings.lr, betas=self.settings.betas, eps=self.settings.eps, **fast(groups)
        )


@optimizers.register({"rmsprop": RMSpropConfig()})
class RMSprop(UpdateRule):
    """Divide the gradient by a running root mean square of itself.

    Source: Tieleman & Hinton 2012, Coursera lecture 6.5.
    Differs: none known.
    """

    settings: RMSpropConfig

    def make(self, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
        return torch.optim.RMSprop(groups, lr=self.settings.lr, alpha=self.settings.alpha, eps=self.settings.eps,
                                   momentum=self.settings.momentum, foreach=True)  # fmt: skip


class Average:
    """Moving average of a network's weights and floating-point buffers.

    Source: Polyak & Juditsky 1992; in this form Izmailov et al. 2018 and most diffusion codes. The decay is
    warmed up as min(decay, (1 + t) / (10 + t)), as in TensorFlow's ExponentialMovingAverage.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.live = {name: value for name, value in model.state_dict().items() if value.is_floating_point()}
        self.mean = {name: value.detach().clone() for name, value in self.live.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after update `step` (1 = after the first)."""
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(list(self.mean.values()), list(self.live.values()), 1 - decay)

    @torch.no_grad()
    def swap(self) -> None:
        """Exchange the live weights and the averages; a second call exchanges them back."""
        for name, value in self.live.items():
            kept = value.clone()
            value.copy_(self.mean[name])
            self.mean[name].copy_(kept)
