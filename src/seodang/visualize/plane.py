"""The whole input space of a model with two inputs: what it answers everywhere, and the examples on top."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from seodang.core.inputs import Facts, TableInputs, VectorInputs
from seodang.core.language import say
from seodang.visualize.answers import Answers
from seodang.visualize.colour import PALETTE, rgb
from seodang.visualize.figure import Axis, Ground, Pixels, Scatter, Series

SIDE = 160
"""Places along each side of the plane at which the model is asked."""
MARGIN = 0.25


class Plane(NamedTuple):
    """`points` (SIDE·SIDE, 2) as the model takes them, row 0 at the top; `extent` in the units of the data."""

    points: Tensor
    extent: tuple[float, float, float, float]


def units(facts: Facts) -> tuple[tuple[str, float, float], ...]:
    """Return name, mean and standard deviation of both inputs."""
    inputs = facts.inputs
    if isinstance(inputs, TableInputs):
        return tuple((column.name, column.mean, column.std) for column in inputs.columns)
    assert isinstance(inputs, VectorInputs)
    pairs = [(values[0], values[-1]) for values in (inputs.mean, inputs.std)]
    return tuple((f"x{place + 1}", pairs[0][place], pairs[1][place]) for place in range(2))


def plane(inputs: Tensor, facts: Facts, side: int = SIDE) -> Plane:
    """Return a grid over the examples (standardised) and a margin around them."""
    points = inputs.reshape(len(inputs), 2)
    low, high = points.min(0).values, points.max(0).values
    reach = (high - low).clamp(min=1e-3)
    low, high = low - MARGIN * reach, high + MARGIN * reach
    along = torch.linspace(float(low[0]), float(high[0]), side)
    up = torch.linspace(float(high[1]), float(low[1]), side)  # the first row of a picture is its top
    rows, columns = torch.meshgrid(up, along, indexing="ij")
    (_, mean_x, std_x), (_, mean_y, std_y) = units(facts)
    extent = (float(low[0]) * std_x + mean_x, float(high[0]) * std_x + mean_x,
              float(low[1]) * std_y + mean_y, float(high[1]) * std_y + mean_y)  # fmt: skip
    return Plane(torch.stack([columns, rows], -1).view(-1, 2), extent)


def class_probabilities(model: nn.Module, points: Tensor, shape: torch.Size) -> Tensor:
    """Return the probability of each class at each point, which is given the shape the model takes."""
    device = next((weight.device for weight in model.parameters()), torch.device("cpu"))
    with torch.no_grad():
        return torch.cat(
            [model(part.view(-1, *shape).to(device)).float().softmax(-1).cpu() for part in points.split(8192)]
        )


def ground_colours(probabilities: Tensor, side: int = SIDE) -> Pixels:
    """Return the plane painted in the classes' colours, mixed by probability and lightened; a boundary is a dark line."""
    stops = torch.tensor(
        [rgb(PALETTE[place % len(PALETTE)]) for place in range(probabilities.shape[1])], dtype=torch.float32
    )
    mixed = probabilities @ stops
    light = 255 - (255 - mixed) * 0.42
    image = light.view(side, side, 3)
    winner = probabilities.argmax(-1).view(side, side)
    edge = torch.zeros(side, side, dtype=torch.bool)
    edge[:, 1:] |= winner[:, 1:] != winner[:, :-1]
    edge[1:] |= winner[1:] != winner[:-1]
    image[edge] = torch.tensor([70.0, 76.0, 84.0])
    return image.round().clamp(0, 255).to(torch.uint8).numpy()


def truth(inputs: Tensor, targets: Tensor, facts: Facts, count: int) -> tuple[Series, ...]:
    """Return the examples of each of `count` classes, in the units of the data."""
    (_, mean_x, std_x), (_, mean_y, std_y) = units(facts)
    points = inputs.reshape(-1, 2)
    x, y = (points[:, 0] * std_x + mean_x).tolist(), (points[:, 1] * std_y + mean_y).tolist()
    classes = facts.classes or tuple(map(str, range(count)))
    series = []
    for place, name in enumerate(classes):
        mine = np.flatnonzero(targets.numpy() == place)
        series.append(Series(name, [x[index] for index in mine], [y[index] for index in mine], place))
    return tuple(series)


def decision_boundary(model: nn.Module, answers: Answers, facts: Facts) -> Scatter:
    """Return the plane in the colours of the classes, with the examples in those of the truth."""
    found = plane(answers.inputs, facts)
    probabilities = class_probabilities(model, found.points, answers.inputs.shape[1:])
    (name_x, _, _), (name_y, _, _) = units(facts)
    series = truth(answers.inputs, answers.targets, facts, probabilities.shape[1])
    right = int((answers.predicted == answers.targets).sum())
    summary = say("{right} of {total} are right.", right=right, total=len(answers.targets))
    return Scatter(
        say("Decision boundary"), say("The plane of both inputs in the colours of {count} classes. {summary}",
                                      count=len(series), summary=summary),
        series, Axis(name_x), Axis(name_y), Ground(ground_colours(probabilities), found.extent), square=True,
        about=say("Ground: what the model answers everywhere, paler where it is unsure. Points: the examples in the colour "
                  "of the truth. {summary}", summary=summary),
                  name="decision-boundary")  # fmt: skip
