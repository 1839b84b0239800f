"""Noise on the weights while an update is computed: they are where they were before it moves them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import nn

from seodang.core.errors import ConfigError


class WeightNoise:
    """Gaussian noise on every weight that is trained, drawn anew for each update, from torch's global generator.

    All micro-batches of an update see the same noise; of several ranks each draws its own, as for dropout.

    Source: Graves 2011, "Practical variational inference for neural networks", NIPS 24, sec. 3 with a fixed spread (his
    "adaptive weight noise" learns it); as used by Graves, Mohamed & Hinton 2013, arXiv:1303.5778, sec. 3 (0.075, drawn
    once per training sequence). Murray & Edwards 1994, "Enhanced MLP performance and fault tolerance resulting from
    synaptic weight noise during training".
    Differs: drawn once per batch, where they train on one sequence at a time.
    """

    def __init__(self, spread: float, networks: Mapping[str, nn.Module]) -> None:
        if spread and len(networks) > 1:
            raise ConfigError("train.weight_noise={spread}: goes with a task that trains a single network, and this one trains "
                              "{names}, one after the other.", spread=spread, names=", ".join(networks))  # fmt: skip
        self.spread = spread
        trained = networks[next(iter(networks))].parameters() if spread else ()
        self.weights = [weight for weight in trained if weight.requires_grad]
        self._clean: list[torch.Tensor] = []

    @contextmanager
    def added(self) -> Iterator[None]:
        """Put noise on the weights; at the end, or when it is taken off before, they are what they were to the bit."""
        if not self.spread:
            yield
            return
        with torch.no_grad():
            self._clean = [weight.detach().clone() for weight in self.weights]
            for weight in self.weights:
                weight.add_(torch.randn_like(weight), alpha=self.spread)
        try:
            yield
        finally:
            self.take_off()

    @torch.no_grad()
    def take_off(self) -> None:
        """Put the weights back, if there is noise on them."""
        for weight, clean in zip(self.weights, self._clean, strict=False):
            weight.copy_(clean)
        self._clean = []
