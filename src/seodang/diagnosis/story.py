"""The history of a run as the doctor reads it: points of the loss, rates, gradients, and scores on held-out data."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from functools import cached_property
from statistics import fmean, median
from typing import Any, NamedTuple

from seodang.core.recipe import Recipe

Event = Mapping[str, Any]


class Point(NamedTuple):
    """A line of progress. What is not known is None."""

    step: int
    progress: float
    loss: float
    rate: float
    norm: float
    update: float | None
    """Median over the layers of how far the update moved the weights, as a share of them."""
    most: float | None
    """The largest of these."""
    ratio: float | None
    """Gradient of the first layer's weights (root mean square) over that of the last's."""
    steep: float | None
    """Largest gradient of a layer over its weights (root mean squares): whether there is a gradient to follow."""
    silent: float | None
    """Largest share of units in a hidden layer whose gradient is exactly zero."""

    @classmethod
    def of(cls, event: Event) -> Point:
        layers = [layer for layer in event.get("layers", {}).values() if isinstance(layer, Mapping)]
        updates = [layer["update"] for layer in layers if "update" in layer]
        last = _number(layers[-1]["gradient"]) if layers else 0.0
        ratio = _number(layers[0]["gradient"]) / last if len(layers) > 2 and last > 0 else None
        losses = [_number(value) for value in event["losses"].values()]
        steep = [_number(layer["gradient"]) / max(_number(layer["weight"]), 1e-30) for layer in layers]
        return cls(
            event["step"], _number(event.get("progress", 0.0)), losses[0] if losses else math.nan, _number(event["lr"]),
            _number(event["grad_norm"]), median(map(_number, updates)) if updates else None,
            max(map(_number, updates)) if updates else None, ratio, max(steep) if steep else None,
            max((_number(layer.get("silent", 0.0)) for layer in layers[:-1]), default=None),
        )  # fmt: skip


class Scored(NamedTuple):
    """An evaluation on the split that is watched."""

    step: int
    scores: Mapping[str, float]


class Story:
    """What has happened in a run so far. Events are taken in one by one, so it can be told while the run goes on."""

    def __init__(self, recipe: Recipe, run: str, events: Iterable[Event] = ()) -> None:
        self.recipe, self.run = recipe, run
        self.points: list[Point] = []
        self.scored: list[Scored] = []
        self.networks: set[str] = set()
        self.failed: Event | None = None
        self.total: int | None = None
        self.finished = False
        self.split: str | None = None
        """The split that is watched."""
        for event in events:
            self.take(event)

    def take(self, event: Event) -> None:
        """Take in an event, as `Event.record` gives it."""
        match event["event"]:
            case "started":
                self.total, self.failed = event.get("total_steps"), None
            case "stepped":
                self.points.append(Point.of(event))
                self.networks.update(event["losses"])
            case "evaluated":
                self.split = self.split or event["split"]
                again = (
                    bool(self.scored) and self.scored[-1].step == event["step"]
                )  # the best weights, once more at the end
                if event["split"] == self.split and not again:
                    scores = {name: _number(value) for name, value in event["scores"].items()}
                    self.scored.append(Scored(event["step"], scores))
            case "failed":
                self.failed = event
            case "stopped":
                self.finished = bool(event.get("finished"))

    @property
    def by_loss(self) -> bool:
        """Whether a falling loss means learning: not where an agent makes its data, nor where two networks play."""
        kept = any("loss" in item.scores for item in self.scored) or not self.scored
        return len(self.networks) == 1 and kept

    @property
    def first(self) -> float | None:
        """The loss before training: of the evaluation at step 0, else of the first line of progress."""
        for item in self.scored[:1]:
            if item.step == 0 and math.isfinite(item.scores.get("loss", math.nan)):
                return item.scores["loss"]
        return self.points[0].loss if self.points else None

    @property
    def last(self) -> float | None:
        """The mean training loss of the last fifth."""
        return mean(point.loss for point in self.points[-max(1, len(self.points) // 5) :])

    @property
    def settled(self) -> bool:
        """Whether the training loss fell by less than a twentieth from the last fifth but one to the last."""
        fifth = len(self.points) // 5
        if fifth < 1 or self.last is None:
            return False
        before = mean(point.loss for point in self.points[-2 * fifth : -fifth])
        return before is not None and self.last > 0.95 * before

    @cached_property
    def optimizer(self) -> Mapping[str, Any]:
        """The settings of the update rule with its defaults."""
        from seodang.training.optim import optimizers  # lazy: 1 s

        return optimizers.settings(self.recipe.optimizer).values()

    @property
    def recipe_rate(self) -> float:
        """The largest rate the recipe asks for."""
        return float(self.optimizer["lr"])

    def curve(self, name: str) -> list[tuple[int, float]]:
        """Return a score over updates, where it is a number."""
        return [
            (item.step, item.scores[name]) for item in self.scored if math.isfinite(item.scores.get(name, math.nan))
        ]


def mean(values: Iterable[float]) -> float | None:
    """Return the mean; NaN if one is NaN, None if there are none."""
    found = list(values)
    return fmean(found) if found else None


def _number(value: Any) -> float:
    """Return a number of the history, where what is not finite stands as a text."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan
