"""Answers of classifiers inside a network, which only training sees."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor


class WithAuxiliary(NamedTuple):
    """What a model with auxiliary classifiers returns while it trains; otherwise it returns the logits alone."""

    logits: Float[Tensor, "B K"]
    auxiliary: tuple[Float[Tensor, "B K"], ...]
    """What classifiers on the way give for the same inputs."""
    weight: float
    """How much the loss of each of them counts, beside 1 for the logits'."""


def add_losses(outputs: Tensor | WithAuxiliary, loss: Callable[[Tensor], Tensor]) -> Tensor:
    """Return the loss of a model's outputs, with that of its auxiliary classifiers where there are any.

    Source: Szegedy et al. 2015, "Going deeper with convolutions", arXiv:1409.4842, sec. 5.
    """
    if isinstance(outputs, Tensor):
        return loss(outputs)
    return loss(outputs.logits) + outputs.weight * sum(loss(logits) for logits in outputs.auxiliary)  # type: ignore[return-value]
