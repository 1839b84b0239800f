"""Parameter groups: which weights are pulled towards zero, and how much of the rate each layer gets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

MATRICES, VECTORS = "weights", "biases and norms"
NORMALISATIONS = (nn.LayerNorm, nn.RMSNorm, nn.GroupNorm, nn.modules.batchnorm._NormBase)


class Named(NamedTuple):
    """A weight that is trained: its path, and the layer it belongs to, counted from the input."""

    path: str
    weight: nn.Parameter
    layer: int
    decays: bool


def trained_weights(network: nn.Module) -> list[Named]:
    """Return every weight that is trained, in order.

    A layer is a block of the architecture (``network.blocks``), or else a module with weights of its own; a
    normalisation belongs to the layer before it. A shared weight belongs to the first of its layers.
    """
    blocks: tuple[type[nn.Module], ...] = tuple(getattr(network, "blocks", ()))
    layers: dict[str, int] = {}
    norms: set[str] = set()
    block, number = "", -1
    for path, module in network.named_modules():
        if isinstance(module, NORMALISATIONS):
            norms.add(path)
        if block and path.startswith(f"{block}."):
            layers[path] = number
            continue
        block = path if blocks and isinstance(module, blocks) else ""
        owns = any(weight.requires_grad for weight in module.parameters(recurse=False))
        if block or (owns and (path not in norms or number < 0)):
            number += 1
        layers[path] = max(number, 0)
    return [
        Named(path, weight, layers[owner], weight.ndim >= 2 and owner not in norms)
        for path, weight in network.named_parameters()
        if weight.requires_grad
        for owner in [path.rpartition(".")[0]]
    ]


class Pull(Protocol):
    """The settings of an update rule that groups differ in."""

    @property
    def weight_decay(self) -> float: ...
    @property
    def l1(self) -> float: ...
    @property
    def l2(self) -> float: ...
    @property
    def layer_decay(self) -> float: ...


def parameter_groups(network: nn.Module, settings: Pull) -> list[dict[str, Any]]:
    """Return the groups of a network's weights, each with its decay, its penalties and its share of the rate.

    Matrices and kernels decay and are penalised; biases, the scales of normalisations and other vectors are not. With
    `layer_decay` d, the layer k places below the last gets d^k of the rate.

    Source: no decay on biases and normalisation, Goyal et al. 2017, arXiv:1706.02677, sec. 5.1, He et al. 2019,
    "Bag of tricks", arXiv:1812.01187, sec. 3.1; rates by layer, Howard & Ruder 2018, arXiv:1801.06146, sec. 3.1
    ("discriminative fine-tuning"), in the form of Clark et al. 2020, "ELECTRA", arXiv:2003.10555, appendix A.
    """
    named, layer_decay = trained_weights(network), settings.layer_decay
    last = max((item.layer for item in named), default=0)
    members: dict[tuple[bool, int], list[Tensor]] = {}
    for item in named:
        layer = last if layer_decay == 1 else item.layer
        members.setdefault((item.decays, layer), []).append(item.weight)
    return [
        {
            "params": weights,
            "weight_decay": settings.weight_decay if decays else 0.0,
            "l1": settings.l1 if decays else 0.0,
            "l2": settings.l2 if decays else 0.0,
            "share": layer_decay ** (last - layer),
            "layer": None if layer_decay == 1 else layer,
            "name": MATRICES if decays else VECTORS,
        }
        for (decays, layer), weights in sorted(members.items(), key=lambda item: (not item[0][0], item[0][1]))
    ]


@torch.no_grad()
def penalize(optimizer: torch.optim.Optimizer) -> None:
    r"""Add the gradient of the penalties to that of the loss: $g ← g + λ_1\,\mathrm{sign}(w) + λ_2 w$.

    The loss that is reported is without them. What comes after (clipping, moments) works on both together.

    Source: L2, Krogh & Hertz 1991, "A simple weight decay can improve generalization", eq. 3 and 4; L1, Tibshirani 1996,
    "Regression shrinkage and selection via the lasso"; Goodfellow, Bengio & Courville 2016, Deep learning, sec. 7.1.
    Differs: at 0 the subgradient of the L1 penalty is taken to be 0; weights come near 0, not to it.
    """
    for group in optimizer.param_groups:
        l1, l2 = group.get("l1", 0.0), group.get("l2", 0.0)
        weights = [weight for weight in group["params"] if weight.grad is not None] if l1 or l2 else []
        gradients = [weight.grad for weight in weights]
        if weights and l2:
            torch._foreach_add_(gradients, weights, alpha=l2)
        if weights and l1:
            torch._foreach_add_(gradients, [weight.sign() for weight in weights], alpha=l1)


def give_shares(optimizer: torch.optim.Optimizer) -> None:
    """Make every step use each group's share of the rate that is set on all of them."""
    rates: list[float] = []

    def share(optimizer: torch.optim.Optimizer, arguments: Any, options: Any) -> None:
        rates[:] = [group["lr"] for group in optimizer.param_groups]
        for group in optimizer.param_groups:
            group["lr"] = group["lr"] * group["share"]

    def put_back(optimizer: torch.optim.Optimizer, arguments: Any, options: Any) -> None:
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate

    if any(group["share"] != 1 for group in optimizer.param_groups):
        optimizer.register_step_pre_hook(share)
        optimizer.register_step_post_hook(put_back)


class GroupFacts(NamedTuple):
    """A group as `show` tells it."""

    network: str
    name: str
    layer: int | None
    tensors: int
    parameters: int
    weight_decay: float
    l1: float
    l2: float
    lr: float
    rule: str


def group_facts(optimizers: Mapping[str, torch.optim.Optimizer]) -> list[GroupFacts]:
    """Return what each group of each network's optimizer holds, with its largest rate."""
    return [
        GroupFacts(
            network, group.get("name", ""), group.get("layer"), len(group["params"]), _count(group["params"]),
            group["weight_decay"], group.get("l1", 0.0), group.get("l2", 0.0), group["lr"] * group.get("share", 1.0), group.get("rule", type(optimizer).__name__),
        )
        for network, optimizer in optimizers.items()
        for group in optimizer.param_groups
    ]  # fmt: skip


def _count(weights: list[Tensor]) -> int:
    return sum(weight.numel() for weight in weights)
