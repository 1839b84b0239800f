"""Muon for the hidden matrices of a network, AdamW for everything else, as one optimizer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.nn.modules.conv import _ConvNd

from seodang.core.errors import ConfigError
from seodang.core.language import say
from seodang.training.groups import give_shares, parameter_groups, trained_weights
from seodang.training.optim import OptimizerConfig, UpdateRule, optimizers


class MuonConfig(OptimizerConfig):
    """Muon for hidden matrices and AdamW for the rest."""

    lr: float = Field(0.02, gt=0)
    """Largest learning rate of the hidden matrices."""
    weight_decay: float = Field(0.01, ge=0)
    """Pull towards zero per update and unit of rate, of matrices under both rules."""
    momentum: float = Field(0.95, ge=0, lt=1)
    """Share of the running mean of the gradient kept at each update."""
    nesterov: bool = True
    """Look ahead: mix the newest gradient in once more."""
    newton_schulz_steps: int = Field(5, gt=0, lt=100)
    """Iterations that make an update orthogonal."""
    adjust: bool = False
    """Size updates by 0.2 √(larger side), so that rates and decay tuned for AdamW fit."""
    other_lr: float = Field(0.003, gt=0)
    """Largest rate of everything else, under AdamW; it follows the same schedule."""
    other_betas: tuple[float, float] = (0.9, 0.95)
    """AdamW's decays of the running means."""

    @model_validator(mode="after")
    def _penalties_fit(self) -> Self:
        for name in ("l1", "l2"):
            if value := getattr(self, name):
                raise ValueError(say("{name}={value}: muon makes every update orthogonal, whatever the size of the gradient, and a "
                                     "penalty in the gradient loses its weight; take weight_decay", name=name, value=value))  # fmt: skip
        return self


@optimizers.register({"muon": MuonConfig()})
class Muon(UpdateRule):
    r"""Make the momentum of each hidden matrix orthogonal before the step; AdamW for all other weights.

    $B ← μB + (1 - μ) G$, $O = \mathrm{NS}_5(\text{nesterov}(B)) ≈ UV^⊤$ where $B = USV^⊤$,
    $W ← W - ηλW - η \sqrt{\max(1, m/n)}\, O$ for a matrix of m rows and n columns.

    Hidden matrices are all matrices and kernels but the first and the last of the network and embeddings; a kernel
    (K, C, H, W) is taken as a matrix of K rows.

    Source: Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks",
    https://kellerjordan.github.io/posts/muon; `adjust` Liu et al. 2025, "Muon is scalable for LLM training",
    arXiv:2502.16982, sec. 2.2.
    Differs: none known. The iterations are in bfloat16, as in the authors' code.
    """

    settings: MuonConfig

    def build(self, network: nn.Module) -> torch.optim.Optimizer:
        """Return both rules as one optimizer.

        Raises: ConfigError if the network has no hidden matrix, or is sharded.
        """
        settings = self.settings
        hidden = hidden_matrices(network)
        if not hidden:
            raise ConfigError("optimizer.name=muon: {network} has no hidden matrix between its first and its last layer. "
                              "Take adamw, or add a layer.", network=type(network).__name__)  # fmt: skip
        if any(isinstance(weight, DTensor) for weight in network.parameters()):
            raise ConfigError("optimizer.name=muon: needs whole matrices, and train.strategy=fsdp cuts them. "
                              "Take train.strategy=ddp.")  # fmt: skip
        matrices, others = [], []
        for group in parameter_groups(network, settings):
            mine = [weight for weight in group["params"] if weight in hidden]
            rest = [weight for weight in group["params"] if weight not in hidden]
            if mine:
                matrices.append({**group, "params": mine, "rule": "Muon", "name": "hidden matrices"})
            if rest:
                ratio = settings.other_lr / settings.lr
                others.append({**group, "params": rest, "rule": "AdamW", "share": group["share"] * ratio})
        optimizer = MatricesAndOthers(matrices, others, settings)
        give_shares(optimizer)
        return optimizer


def hidden_matrices(network: nn.Module) -> set[Tensor]:
    """Return the weights Muon is for: of dense layers and convolutions, but for the first, the last and embeddings."""
    embedded = {module.weight for module in network.modules() if isinstance(module, (nn.Embedding, nn.EmbeddingBag))}
    first = next((item.weight for item in trained_weights(network) if item.decays), None)
    layers = [module.weight for module in network.modules() if isinstance(module, (nn.Linear, _ConvNd))]
    inner = layers[:-1]  # the last may be an embedding too, where they are tied
    return {weight for weight in inner if weight.requires_grad and weight is not first and weight not in embedded}


class MatricesAndOthers(torch.optim.Optimizer):
    """`torch.optim.Muon` on some groups and `torch.optim.AdamW` on the others, with the face of one optimizer.

    Muon takes matrices, so it is given views of the kernels: same memory, two dimensions. What both remember stands in
    one `state` under the weights themselves, as a checkpoint needs it.
    """

    def __init__(self, matrices: list[dict[str, Any]], others: list[dict[str, Any]], settings: MuonConfig) -> None:
        super().__init__([*matrices, *others], {"lr": settings.lr})
        self._views = {weight: matrix_of(weight.detach(), weight) for group in matrices for weight in group["params"]}
        inner = [{"params": [self._views[weight] for weight in group["params"]],
                  "weight_decay": group["weight_decay"]} for group in matrices]  # fmt: skip
        self._muon = torch.optim.Muon(
            inner, lr=settings.lr, momentum=settings.momentum, nesterov=settings.nesterov,
            ns_steps=settings.newton_schulz_steps, adjust_lr_fn="match_rms_adamw" if settings.adjust else "original",
        )  # fmt: skip
        inner = [{"params": group["params"], "weight_decay": group["weight_decay"]} for group in others]
        self._adamw = torch.optim.AdamW(inner, betas=settings.other_betas, fused=True) if inner else None
        if self._adamw:
            self._adamw.state = self.state

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        loss = closure() if closure else None
        parts = [self._muon, *([self._adamw] if self._adamw else [])]
        for group, own in zip(self.param_groups, (own for part in parts for own in part.param_groups), strict=True):
            own["lr"] = group["lr"]
        for weight, view in self._views.items():
            self._muon.state[view] = self.state[weight]  # each time: who undoes an update puts other records there
            view.grad = None if weight.grad is None else matrix_of(weight.grad, weight)
        for part in parts:
            part.step()
        for view in self._views.values():
            view.grad = None
        return loss


def matrix_of(value: Tensor, weight: Tensor) -> Tensor:
    """Return a tensor shaped like `weight` (K, …) as a matrix of K rows; of `weight` itself it is a view.

    The columns of a kernel in channels-last memory stand in the order of that memory.
    """
    return value.flatten(1) if weight.is_contiguous() else value.movedim(1, -1).flatten(1)
