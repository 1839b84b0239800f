"""Parameter groups: which weights are pulled towards zero, and how much of the rate each layer gets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

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


def parameter_groups(network: nn.Module, weight_decay: float, layer_decay: float = 1.0) -> list[dict[str, Any]]:
    """Return the groups of a network's weights, each with its decay and its share of the rate.

    Matrices and kernels decay; biases, the scales of normalisations and other vectors do not. With `layer_decay` d,
    the layer k places below the last gets d^k of the rate.

    Source: no decay on biases and normalisation, Goyal et al. 2017, arXiv:1706.02677, sec. 5.1, He et al. 2019,
    "Bag of tricks", arXiv:1812.01187, sec. 3.1; rates by layer, Howard & Ruder 2018, arXiv:1801.06146, sec. 3.1
    ("discriminative fine-tuning"), in the form of Clark et al. 2020, "ELECTRA", arXiv:2003.10555, appendix A.
    """
    named = trained_weights(network)
    last = max((item.layer for item in named), default=0)
    members: dict[tuple[bool, int], list[Tensor]] = {}
    for item in named:
        layer = last if layer_decay == 1 else item.layer
        members.setdefault((item.decays, layer), []).append(item.weight)
    return [
        {
            "params": weights,
            "weight_decay": weight_decay if decays else 0.0,
            "share": layer_decay ** (last - layer),
            "layer": None if layer_decay == 1 else layer,
            "name": MATRICES if decays else VECTORS,
        }
        for (decays, layer), weights in sorted(members.items(), key=lambda item: (not item[0][0], item[0][1]))
    ]


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
    lr: float
    rule: str


def group_facts(optimizers: Mapping[str, torch.optim.Optimizer]) -> list[GroupFacts]:
    """Return what each group of each network's optimizer holds, with its largest rate."""
    return [
        GroupFacts(
            network, group.get("name", ""), group.get("layer"), len(group["params"]), _count(group["params"]),
            group["weight_decay"], group["lr"] * group.get("share", 1.0), group.get("rule", type(optimizer).__name__),
        )
        for network, optimizer in optimizers.items()
        for group in optimizer.param_groups
    ]  # fmt: skip


def _count(weights: list[Tensor]) -> int:
    return sum(weight.numel() for weight in weights)
