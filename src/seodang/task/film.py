"""Film: how what a model makes changed in training, in a bounded number of frames."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

LONGEST = 60


class Film:
    """Fewer than `longest` frames of a run of any length: when it is full, every other is dropped."""

    def __init__(self, every: int, longest: int = LONGEST) -> None:
        self.every, self.longest = every, longest
        self.steps: list[int] = []
        self.frames: list[Tensor] = []

    def wants(self, step: int) -> bool:
        return step == 1 or step % self.every == 0

    def add(self, step: int, frame: Tensor) -> None:
        self.steps.append(step)
        self.frames.append(frame)
        if len(self.steps) == self.longest:
            self.every *= 2
            kept = [index for index, old in enumerate(self.steps) if self.wants(old)]
            self.steps, self.frames = [self.steps[index] for index in kept], [self.frames[index] for index in kept]

    def state(self) -> dict[str, Any]:
        return {"every": self.every, "steps": self.steps, "frames": torch.stack(self.frames) if self.frames else None}

    def restore(self, state: dict[str, Any]) -> None:
        self.every, self.steps = state["every"], list(state["steps"])
        self.frames = [] if state["frames"] is None else list(state["frames"])
