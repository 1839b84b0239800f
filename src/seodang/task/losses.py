"""Losses, all as sums: the trainer alone divides, so accumulation, padding and many devices change nothing."""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor


def cross_entropy(logits: Float[Tensor, "... K"], labels: Int[Tensor, "..."], smoothing: float = 0.0) -> Float[Tensor, ""]:
    r"""Return $-\sum \log \mathrm{softmax}(z)_y$ in nats; labels of -1 do not count.

    Source: label smoothing as in Szegedy et al. 2016, arXiv:1512.00567, sec. 7.
    """
    return F.cross_entropy(
        logits.float().flatten(0, -2), labels.flatten(), ignore_index=-1, label_smoothing=smoothing, reduction="sum"
    )


def squared_error(predictions: Float[Tensor, "..."], targets: Float[Tensor, "..."]) -> Float[Tensor, ""]:
    r"""Return $\sum (\hat y - y)^2$."""
    return F.mse_loss(predictions.float(), targets.float(), reduction="sum")


def binary_cross_entropy(logits: Float[Tensor, "..."], targets: Float[Tensor, "..."]) -> Float[Tensor, ""]:
    r"""Return $-\sum y \log σ(z) + (1 - y) \log(1 - σ(z))$ in nats; targets may lie between 0 and 1."""
    return F.binary_cross_entropy_with_logits(logits.float(), targets.float(), reduction="sum")
