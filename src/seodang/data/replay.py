"""Replay memory: what an agent has lived through, to learn from in random order."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor


class TransitionBatch(NamedTuple):
    """One step of an agent in each row.

    `observations` and `next_observations` (B, D); `actions` (B,) int64; `rewards` (B,); `ended` (B,) is 1 where there
    is no future after the step.
    """

    observations: Tensor
    actions: Tensor
    rewards: Tensor
    next_observations: Tensor
    ended: Tensor


class Replay:
    """The last `capacity` transitions, overwritten in a ring.

    Source: Lin 1992, "Self-improving reactive agents", Machine Learning 8; uniform sampling as in Mnih et al. 2015.
    """

    def __init__(self, capacity: int, size: int) -> None:
        self.capacity, self.position, self.filled = capacity, 0, 0
        self.drawn: list[int] = []
        """Places of the transitions that were drawn last."""
        self.fields = TransitionBatch(
            torch.zeros(capacity, size),
            torch.zeros(capacity, dtype=torch.int64),
            torch.zeros(capacity),
            torch.zeros(capacity, size),
            torch.zeros(capacity),
        )

    def __len__(self) -> int:
        return self.filled

    def add(self, batch: TransitionBatch) -> None:
        count = len(batch.actions)
        rows = torch.arange(self.position, self.position + count) % self.capacity
        for field, values in zip(self.fields, batch, strict=True):
            field[rows] = values
        self.position = (self.position + count) % self.capacity
        self.filled = min(self.filled + count, self.capacity)

    def sample(self, count: int) -> TransitionBatch:
        """Draw transitions uniformly, with replacement, from torch's global generator."""
        rows = torch.randint(self.filled, (count,))
        self.drawn = rows.tolist()
        return TransitionBatch(*(field[rows] for field in self.fields))

    def state(self) -> dict[str, Any]:
        return {"position": self.position, "filled": self.filled,
                "fields": [field[: self.filled] for field in self.fields]}  # fmt: skip

    def restore(self, state: dict[str, Any]) -> None:
        self.position, self.filled = state["position"], state["filled"]
        for field, kept in zip(self.fields, state["fields"], strict=True):
            field[: self.filled] = kept
