"""How the boundary between the answers moved in training: every moment the film of the weights holds, drawn anew."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from seodang.core.language import say
from seodang.data.dataset import Dataset
from seodang.task.base import Task
from seodang.task.weights_film import WeightsFilm, show
from seodang.visualize.answers import drawn_rows
from seodang.visualize.figure import Axis, Figure, Ground, Lines, Panels, Pixels, Scatter, Series
from seodang.visualize.plane import class_probabilities, ground_colours, plane, truth, units
from seodang.visualize.scale import number

SIDE = 112
"""Places along each side of the plane, at each moment."""
EXAMPLES = 500
PANELS = 8


class Moment(NamedTuple):
    """What the network was after `step` updates: its answers over the plane, and how it did on the examples shown."""

    step: int
    ground: Pixels
    loss: float
    right: int
    weights: tuple[tuple[str, NDArray[np.float64]], ...]


class Boundary(NamedTuple):
    """All moments in order; the examples of each class; what the plane shows, in the units of the data."""

    moments: tuple[Moment, ...]
    series: tuple[Series, ...]
    total: int
    extent: tuple[float, float, float, float]
    axes: tuple[tuple[str, float, float], ...]
    """Name, mean and standard deviation of both inputs."""

    def scatter(self, moment: Moment, title: str, bare: bool = False) -> Scatter:
        """Return one moment as a chart; a `bare` one has no legend and no names at its axes."""
        series = tuple(replace(item, name="") for item in self.series) if bare else self.series
        across, up = (Axis() if bare else Axis(name) for name, _, _ in self.axes)
        return Scatter(title, told(moment, self.total), series, across, up,
                       Ground(moment.ground, self.extent), square=True)  # fmt: skip


def boundary(model: nn.Module, task: Task, data: Dataset, most: int | None = None) -> Boundary | None:
    """Return the boundary at every moment that was kept, or at `most` of them; None where none were.

    `model` itself stays as it is. Loss and right answers are those of the training examples shown, in evaluation mode.
    """
    film = getattr(task, "weights_film", None)
    if not isinstance(film, WeightsFilm) or len(film.moments()) < 2:
        return None
    network = copy.deepcopy(model).cpu().eval()
    examples = data.split("train")
    batch = examples.batch(drawn_rows("train", len(examples), EXAMPLES), None)
    inputs, targets = batch[0], batch[1]
    found = plane(inputs, task.facts, SIDE)
    moments = []
    for step, frame in spread(film.moments(), most):
        show(network, frame)
        chances = class_probabilities(network, found.points, inputs.shape[1:])
        with torch.no_grad():
            tally = task.score(network, batch)["loss"]
            right = int((network(inputs).argmax(-1) == targets).sum())
        weights = tuple((name, value.detach().double().numpy().copy()) for name, value in network.named_parameters())
        moments.append(
            Moment(step, ground_colours(chances, SIDE), float(tally.total) / float(tally.count), right, weights)
        )
    series = truth(inputs, targets, task.facts, chances.shape[1])
    return Boundary(tuple(moments), series, len(targets), found.extent, units(task.facts))


def told(moment: Moment, count: int) -> str:
    """Return a moment in words."""
    return say("update {step:,}: loss {loss}, {right} of {total} right", step=moment.step, loss=number(moment.loss),
               right=moment.right, total=count)  # fmt: skip


def boundary_figures(model: nn.Module, task: Task, data: Dataset) -> list[Figure]:
    """Return some moments side by side: what the page of the boundary shows one after another."""
    found = boundary(model, task, data, PANELS)
    if found is None:
        return []
    panels = tuple(found.scatter(moment, told(moment, found.total), bare=True) for moment in found.moments)
    about = say("Ground: what the network answered everywhere. Points: training examples in the colour of the truth. All moments with "
                "a slider, and the weights at each: seodang look RUN boundary")  # fmt: skip
    return [Panels(say("The boundary while it learned"), say("{count} moments of the training.", count=len(panels)), panels,
                   about=about, name="boundary")]  # fmt: skip


def spread(moments: Sequence[tuple[int, Tensor]], most: int | None) -> list[tuple[int, Tensor]]:
    """Return the first, the last and some between, closer together at the start, where more happens."""
    if most is None or len(moments) <= most:
        return list(moments)
    last = moments[-1][0]
    wanted = [0.0, *(last ** (place / (most - 2)) for place in range(most - 1))]
    places: set[int] = set()
    for step in wanted:
        left = (place for place in range(len(moments)) if place not in places)
        places.add(min(left, key=lambda place: abs(moments[place][0] - step)))
    return [moments[place] for place in sorted(places)]


def loss_curve(found: Boundary) -> Lines:
    """Return the loss of the examples shown at each moment."""
    steps, losses = [float(moment.step) for moment in found.moments], [moment.loss for moment in found.moments]
    return Lines(say("Loss"), say("{name} over {time}; at the end {last}.", name=say("Loss"), time=say("update"),
                                  last=number(losses[-1])),
                 (Series("", steps, losses, 0),), Axis(say("update")), Axis(say("loss")), name="loss")  # fmt: skip
