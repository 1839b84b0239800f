"""Classic surfaces over a plane, and the ways that update rules take down them: PyTorch's own optimizers do the steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

Numbers = NDArray[np.float64]
Extent = tuple[float, float, float, float]


class Surface(NamedTuple):
    """A height over every (x, y); `extent` is what is drawn, `minima` are known, `rates` suit it rule by rule."""

    name: str
    formula: str
    source: str
    height: Callable[[Tensor, Tensor], Tensor]
    start: tuple[float, float]
    extent: Extent
    minima: tuple[tuple[float, float], ...]
    rates: Mapping[str, float]


def rates(plain: float, momentum: float, adaptive: float) -> dict[str, float]:
    """Return a learning rate for each rule: of the plain gradient, with momentum 0.9, and scaled by its size."""
    by_size = dict.fromkeys(("adam", "adamw", "rmsprop"), adaptive)
    return {
        "sgd": plain,
        "momentum": momentum,
        "nesterov": momentum,
        "adagrad": 5 * adaptive,
        "adadelta": 50 * adaptive,
        **by_size,
    }


def beale(x: Tensor, y: Tensor) -> Tensor:
    return (1.5 - x + x * y) ** 2 + (2.25 - x + x * y**2) ** 2 + (2.625 - x + x * y**3) ** 2


def himmelblau(x: Tensor, y: Tensor) -> Tensor:
    return (x**2 + y - 11) ** 2 + (x + y**2 - 7) ** 2


SURFACES = {
    surface.name: surface
    for surface in (
        Surface("bowl", "f = x^2 + y^2", "the simplest quadratic", lambda x, y: x**2 + y**2, (-1.6, 1.1), (-2, 2, -2, 2),
                ((0.0, 0.0),), rates(0.1, 0.03, 0.1)),
        Surface("ravine", "f = 1/2 x^2 + 12.5 y^2", "a quadratic of condition 25, as in Polyak 1964",
                lambda x, y: 0.5 * x**2 + 12.5 * y**2, (-1.8, 0.8), (-2, 2, -1.2, 1.2), ((0.0, 0.0),), rates(0.07, 0.02, 0.1)),
        Surface("saddle", "f = x^2 − y^2", "the hyperbolic paraboloid; Dauphin et al. 2014, arXiv:1406.2572, on saddles",
                lambda x, y: x**2 - y**2, (-1.6, 0.01), (-2, 2, -2, 2), (), rates(0.05, 0.02, 0.05)),
        Surface("beale", "f = (1.5 − x + x y)^2 + (2.25 − x + x y^2)^2 + (2.625 − x + x y^3)^2",
                "Beale 1958, \"On an iterative method for finding a local minimum of a function of more than one variable\"",
                beale, (1.0, 1.5), (-1.0, 4.5, -2.0, 2.0), ((3.0, 0.5),), rates(0.01, 0.002, 0.2)),
        Surface("himmelblau", "f = (x^2 + y − 11)^2 + (x + y^2 − 7)^2", "Himmelblau 1972, \"Applied nonlinear programming\"",
                himmelblau, (-0.5, -1.0), (-5, 5, -5, 5),
                ((3.0, 2.0), (-2.805118086952745, 3.131312518250573), (-3.779310253377747, -3.283185991286170),
                 (3.584428340330492, -1.848126526964404)), rates(0.005, 0.002, 0.1)),
    )
}  # fmt: skip
"""Extents are x from, x to, y from, y to."""


class Place(nn.Module):
    """A point in the plane whose height is to fall."""

    def __init__(self, start: tuple[float, float]) -> None:
        super().__init__()
        self.point = nn.Parameter(torch.tensor(start, dtype=torch.float64))


class Way(NamedTuple):
    """Where a rule went: `points` (T + 1, 2) and `heights`, the start first. `left_at` is the step that left the drawing."""

    name: str
    rate: float
    points: Numbers
    heights: Numbers
    left_at: int | None


Build = Callable[[nn.Module], torch.optim.Optimizer]
Rate = Callable[[int], float]


def descend(surface: Surface, name: str, build: Build, rate: Rate, steps: int) -> Way:
    """Return the way of `steps` updates from the surface's start; it ends where the numbers are no longer finite or the
    point is far outside of what is drawn."""
    place = Place(surface.start)
    optimizer = build(place)
    points, heights, left = [place.point.detach().numpy().copy()], [float(surface.height(*place.point).detach())], None
    for step in range(steps):
        optimizer.zero_grad()
        height = surface.height(place.point[0], place.point[1])
        height.backward()
        for group in optimizer.param_groups:
            group["lr"] = rate(step)
        optimizer.step()
        point = place.point.detach().numpy().copy()
        after = float(surface.height(*place.point).detach())
        if not (np.isfinite(point).all() and np.isfinite(after)):
            left = left or step + 1
            break
        points.append(point)
        heights.append(after)
        if outside(point, surface.extent):
            left = step + 1
            break
    return Way(name, rate(0), np.array(points), np.array(heights), left)


def outside(point: Numbers, extent: Extent) -> bool:
    """Return whether a point is so far from the drawing that it will hardly come back: one width or height away."""
    width, height = extent[1] - extent[0], extent[3] - extent[2]
    return not (
        extent[0] - width <= point[0] <= extent[1] + width and extent[2] - height <= point[1] <= extent[3] + height
    )


def heights(surface: Surface, side: int = 201) -> Numbers:
    """Return the surface on a grid (side, side), row 0 at the top."""
    x_from, x_to, y_from, y_to = surface.extent
    along = torch.linspace(x_from, x_to, side, dtype=torch.float64)
    up = torch.linspace(y_to, y_from, side, dtype=torch.float64)
    y, x = torch.meshgrid(up, along, indexing="ij")
    return surface.height(x, y).numpy()


def nearest_minimum(surface: Surface, point: Numbers) -> float | None:
    """Return the distance of a point from the nearest known minimum, or None where there is none."""
    if not surface.minima:
        return None
    return float(np.min(np.linalg.norm(np.array(surface.minima) - point, axis=1)))
