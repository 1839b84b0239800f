"""Film of the weights: what a network of two inputs was at many moments of its training, to draw what it answered then."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from seodang.core.inputs import Facts, has_two_inputs
from seodang.task.film import Film

LONGEST = 100
MOST_WEIGHTS = 10_000
"""A network with more numbers than this is not filmed: every checkpoint holds the whole film."""


class WeightsFilm:
    """The weights at the start, after the first updates, and later at ever rarer ones.

    A frame holds the floating-point numbers of the model's state, one after another. Nothing is computed: what a
    network answered is worked out when somebody looks.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model, self.step = model, 0
        self.film = Film(every=1, longest=LONGEST)
        self.last: tuple[int, Tensor] | None = None
        """The newest moment a checkpoint knows, which the film may have left out."""
        self.film.add(0, frame(model))

    @classmethod
    def of(cls, model: nn.Module, facts: Facts) -> WeightsFilm | None:
        """Return a film of `model`; None where a plane does not show all it can say, or it is large."""
        if not has_two_inputs(facts) or sum(value.numel() for value in numbers(model)) > MOST_WEIGHTS:
            return None
        return cls(model)

    def watch(self, step: int) -> None:
        """Keep this moment, if it is one of those that are kept."""
        self.step, self.last = step, None
        if self.film.wants(step):
            self.film.add(step, frame(self.model))

    def moments(self) -> list[tuple[int, Tensor]]:
        """Return the number of updates and the frame of each moment, in order."""
        found = list(zip(self.film.steps, self.film.frames, strict=True))
        if self.last and self.last[0] > found[-1][0]:
            found.append(self.last)
        return found

    def state(self) -> dict[str, Any]:
        return {**self.film.state(), "last": {"step": self.step, "frame": frame(self.model)}}

    def restore(self, state: dict[str, Any]) -> None:
        self.film.restore(state)
        self.step = int(state["last"]["step"])
        self.last = (self.step, state["last"]["frame"])


def numbers(model: nn.Module) -> list[Tensor]:
    """Return the floating-point tensors of the model's state, in order."""
    return [value for value in model.state_dict().values() if value.is_floating_point()]


def frame(model: nn.Module) -> Tensor:
    """Return a copy of all of them, one after another, on the CPU."""
    return torch.cat([_whole(value).detach().float().cpu().flatten() for value in numbers(model)])


def show(model: nn.Module, values: Tensor) -> None:
    """Put a frame back into a model of the same make."""
    start = 0
    with torch.no_grad():
        for value in numbers(model):
            value.copy_(values[start : start + value.numel()].view_as(value))
            start += value.numel()


def _whole(value: Tensor) -> Tensor:
    return value.full_tensor() if hasattr(value, "full_tensor") else value
