"""The update rules. PyTorch's own fused or for-each versions do the work; `scratch.optim` holds the same by hand."""

from __future__ import annotations

from typing import Any, Self

import torch
from pydantic import Field, model_validator

from seodang.core.language import say
from seodang.training.optim import OptimizerConfig, UpdateRule, fast, optimizers


class SGDConfig(OptimizerConfig):
    """Stochastic gradient descent."""

    lr: float = Field(0.1, gt=0)
    """Largest learning rate of the run."""
    momentum: float = Field(0.0, ge=0, lt=1)
    """Share of the last update kept in the next."""
    nesterov: bool = False
    """Look ahead: take the gradient after the momentum step."""

    @model_validator(mode="after")
    def _momentum_fits(self) -> Self:
        if self.nesterov and not self.momentum:
            raise ValueError(say("nesterov=true looks ahead along the momentum, and momentum is 0; 0.9 is usual"))
        return self


class AdamConfig(OptimizerConfig):
    """Adam and AdamW."""

    betas: tuple[float, float] = (0.9, 0.999)
    """Decay of the running means of the gradient and of its square."""
    eps: float = Field(1e-8, gt=0)
    """Keeps the division finite."""

    @model_validator(mode="after")
    def _betas_fit(self) -> Self:
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(say("betas={value}: each must be 0 or more and below 1", value=list(self.betas)))
        return self


class RMSpropConfig(OptimizerConfig):
    """RMSprop."""

    alpha: float = Field(0.99, ge=0, lt=1)
    """Decay of the running mean of the squared gradient."""
    momentum: float = Field(0.0, ge=0, lt=1)
    """Share of the last update kept in the next."""
    eps: float = Field(1e-8, gt=0)
    """Keeps the division finite."""


class AdagradConfig(OptimizerConfig):
    """Adagrad."""

    lr: float = Field(0.01, gt=0)
    """Largest learning rate of the run."""
    eps: float = Field(1e-10, gt=0)
    """Keeps the division finite."""


class AdadeltaConfig(OptimizerConfig):
    """Adadelta."""

    lr: float = Field(1.0, gt=0)
    """Multiplies the step, which has the right units by itself; 1 is the paper's."""
    rho: float = Field(0.95, ge=0, lt=1)
    """Decay of the running means of the squared gradient and of the squared step."""
    eps: float = Field(1e-6, gt=0)
    """Starts the steps off, and keeps the division finite."""


@optimizers.register(
    {"sgd": SGDConfig(), "momentum": SGDConfig(momentum=0.9), "nesterov": SGDConfig(momentum=0.9, nesterov=True)}
)
class SGD(UpdateRule):
    r"""Follow the negative gradient, with or without momentum.

    $v ← μv + g$, $w ← w - ηv$; Nesterov: $w ← w - η(g + μv)$.

    Source: Robbins & Monro 1951; momentum Polyak 1964; Nesterov in the form of Sutskever et al. 2013, sec. 2.
    Differs: the rate multiplies the velocity after the momentum (PyTorch's form); weight decay is coupled.
    """

    settings: SGDConfig

    def make(self, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
        return torch.optim.SGD(groups, lr=self.settings.lr, momentum=self.settings.momentum,
                               nesterov=self.settings.nesterov, **fast(groups))  # fmt: skip


@optimizers.register({"adagrad": AdagradConfig()})
class Adagrad(UpdateRule):
    r"""Divide each step by the root of the sum of all squared gradients so far.

    $s ← s + g^2$, $w ← w - η\, g / (\sqrt{s} + ε)$.

    Source: Duchi, Hazan & Singer 2011, "Adaptive subgradient methods", JMLR 12, fig. 1 (diagonal matrices).
    Differs: weight decay is coupled (L2) where the paper has proximal steps.
    """

    settings: AdagradConfig

    def make(self, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
        return torch.optim.Adagrad(groups, lr=self.settings.lr, eps=self.settings.eps, **fast(groups))


@optimizers.register({"adadelta": AdadeltaConfig()})
class Adadelta(UpdateRule):
    r"""Scale each gradient by the ratio of the running sizes of past steps and gradients: no rate to choose.

    $s ← ρs + (1 - ρ) g^2$, $Δ = \sqrt{(d + ε) / (s + ε)}\; g$, $d ← ρd + (1 - ρ) Δ^2$, $w ← w - ηΔ$ with $η = 1$.

    Source: Zeiler 2012, "ADADELTA: An adaptive learning rate method", arXiv:1212.5701, algorithm 1.
    Differs: a rate may multiply the step; weight decay is coupled.
    """

    settings: AdadeltaConfig

    def make(self, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
        settings = self.settings
        return torch.optim.Adadelta(groups, lr=settings.lr, rho=settings.rho, eps=settings.eps, foreach=True)


@optimizers.register({"rmsprop": RMSpropConfig()})
class RMSprop(UpdateRule):
    r"""Divide the gradient by a running root mean square of itself.

    $s ← αs + (1 - α) g^2$, $w ← w - η\, g / (\sqrt{s} + ε)$.

    Source: Tieleman & Hinton 2012, Coursera lecture 6.5.
    Differs: none known.
    """

    settings: RMSpropConfig

    def make(self, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
        return torch.optim.RMSprop(groups, lr=self.settings.lr, alpha=self.settings.alpha, eps=self.settings.eps,
                                   momentum=self.settings.momentum, foreach=True)  # fmt: skip


@optimizers.register({"adam": AdamConfig()})
class Adam(UpdateRule):
    r"""Scale each step by running means of the gradient and its square; weight decay is coupled (L2).

    $m ← β_1 m + (1 - β_1) g$, $v ← β_2 v + (1 - β_2) g^2$,
    $w ← w - η\, \hat m / (\sqrt{\hat v} + ε)$ with $\hat m = m / (1 - β_1^t)$, $\hat v = v / (1 - β_2^t)$.

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
    r"""Adam with weight decay taken out of the gradient.

    As Adam, after $w ← w - ηλw$.

    Source: Loshchilov & Hutter 2019, "Decoupled weight decay regularization", arXiv:1711.05101, algorithm 2.
    Differs: decay is multiplied by the learning rate (PyTorch's form).
    """

    settings: AdamConfig

    def make(self, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
        return torch.optim.AdamW(
            groups, lr=self.settings.lr, betas=self.settings.betas, eps=self.settings.eps, **fast(groups)
        )
