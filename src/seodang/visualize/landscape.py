r"""The loss around trained weights, on a plane through them.

Source: Li, Xu, Taylor, Studer & Goldstein 2018, "Visualizing the loss landscape of neural nets", arXiv:1712.09913:
filter normalisation sec. 4, planes of two directions sec. 5, PCA of a trajectory sec. 7.2.
Differs: weights with fewer than two axes (biases, scales) do not move on a random plane, as in the authors' code; the PCA
is about the trained weights, through which the plane goes, not about the mean of the checkpoints.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from threading import Event
from typing import NamedTuple, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from seodang.core.errors import RunError
from seodang.data.dataset import Batch, generator
from seodang.task.base import Task

Numbers: TypeAlias = NDArray[np.float64]
Weights: TypeAlias = dict[str, Tensor]
Checkpoints: TypeAlias = Sequence[tuple[int, Mapping[str, Tensor]]]

SIDE = 41
MOST_BYTES = 1_000_000_000
"""Memory that copies of the model may take while the grid is computed."""
LEAST_FOR_PCA = 3
"""Checkpoints beside the trained weights below which every plane would hold them all, and explain nothing."""


class Plane(NamedTuple):
    """The trained weights and two directions; ``kind`` is random or pca. `explained` is the share of the squared way of the
    checkpoints, seen from the trained weights, that lies in the plane along each direction; None without checkpoints."""

    kind: str
    origin: Weights
    directions: tuple[Weights, Weights]
    explained: tuple[float, float] | None


class Spot(NamedTuple):
    """A checkpoint seen from the plane: its coordinates, its distance from the plane, and that from the trained weights."""

    step: int
    x: float
    y: float
    distance: float
    from_origin: float


def weights_of(model: nn.Module) -> Weights:
    return {name: value.detach().clone() for name, value in model.named_parameters()}


def random_direction(weights: Mapping[str, Tensor], seed: int, number: int) -> Weights:
    """Return a direction drawn from N(0, 1), filter by filter as long as the weights themselves."""
    draws = generator("landscape", seed, number)
    drawn = {name: torch.randn(value.shape, generator=draws).to(value) for name, value in weights.items()}
    return filter_normalised(drawn, weights)


def filter_normalised(direction: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> Weights:
    r"""Return $d_{i,j} ← \frac{d_{i,j}}{\|d_{i,j}\|} \|θ_{i,j}\|$ for the j-th filter of the i-th layer.

    A filter is what makes one channel of a convolution, or one unit of a dense layer.

    Source: Li et al. 2018, arXiv:1712.09913, sec. 4.
    """
    found = {}
    for name, value in weights.items():
        if value.ndim < 2:
            found[name] = torch.zeros_like(value)
            continue
        filters = direction[name].flatten(1)
        lengths = filters.norm(dim=1, keepdim=True)
        scaled = filters / lengths.clamp(min=1e-30) * value.flatten(1).norm(dim=1, keepdim=True)
        found[name] = scaled.view_as(value)
    return found


def random_plane(model: nn.Module, seed: int, checkpoints: Checkpoints = ()) -> Plane:
    """Return the plane of two random filter-normalised directions."""
    origin = weights_of(model)
    plane = Plane("random", origin, (random_direction(origin, seed, 1), random_direction(origin, seed, 2)), None)
    return plane._replace(explained=_explained(plane, checkpoints))


def pca_plane(model: nn.Module, checkpoints: Checkpoints) -> Plane:
    r"""Return the plane of the two directions along which the checkpoints lie furthest from the trained weights.

    They are the first two right singular vectors of $M = [θ_0 - θ_n; …; θ_{n-1} - θ_n]$, of length one.

    Raises: RunError if there are too few checkpoints.
    """
    origin = weights_of(model)
    away = [
        row for row in (_flat(values, origin) - _flat(origin, origin) for _, values in checkpoints) if bool(row.any())
    ]
    if len(away) < LEAST_FOR_PCA:
        raise RunError("The plane of a run's own way needs {least} checkpoints beside the trained weights; this run kept {count}. Train "
                       "with train.keep=50 and train.save_every=…, or take --plane random.", least=LEAST_FOR_PCA, count=len(away))  # fmt: skip
    matrix = torch.stack(away)
    _, singular, right = torch.linalg.svd(matrix, full_matrices=False)
    squares = singular.square()
    if not float(squares[1]) > 1e-12 * float(squares[0]):
        raise RunError(
            "The checkpoints of this run lie on one line: there is no plane of its way. Take --plane random."
        )
    first, second = (_unflat(_signed(row), origin) for row in right[:2])
    shares = (squares[:2] / squares.sum()).tolist()
    return Plane("pca", origin, (first, second), (shares[0], shares[1]))


def _signed(row: Tensor) -> Tensor:
    """Return the direction so that its largest part is positive: a singular vector has no sign of its own."""
    return row if row[row.abs().argmax()] > 0 else -row


def spots(plane: Plane, checkpoints: Checkpoints) -> list[Spot]:
    """Return where each checkpoint is, by least squares: its nearest point on the plane and how far that is."""
    basis, origin = _basis(plane), _flat(plane.origin, plane.origin)
    found = []
    for step, values in checkpoints:
        away = _flat(values, plane.origin) - origin
        place = torch.linalg.lstsq(basis, away[:, None]).solution[:, 0]
        distance = float((away - basis @ place).norm())
        found.append(Spot(step, float(place[0]), float(place[1]), distance, float(away.norm())))
    return found


def _explained(plane: Plane, checkpoints: Checkpoints) -> tuple[float, float] | None:
    """Return the share of the checkpoints' squared distance that lies along each direction (made orthogonal, in turn)."""
    basis, origin = _basis(plane), _flat(plane.origin, plane.origin)
    away = [_flat(values, plane.origin) - origin for _, values in checkpoints]
    whole = sum(float(row.square().sum()) for row in away)
    if not whole:
        return None
    orthogonal, _ = torch.linalg.qr(basis)
    along = torch.stack(away) @ orthogonal
    shares = (along.square().sum(0) / whole).tolist()
    return shares[0], shares[1]


def _basis(plane: Plane) -> Tensor:
    return torch.stack([_flat(direction, plane.origin) for direction in plane.directions], dim=1)


def _flat(values: Mapping[str, Tensor], names: Mapping[str, Tensor]) -> Tensor:
    return torch.cat([values[name].detach().cpu().double().flatten() for name in names])


def _unflat(row: Tensor, like: Mapping[str, Tensor]) -> Weights:
    found, start = {}, 0
    for name, value in like.items():
        found[name] = row[start : start + value.numel()].view_as(value).to(value)
        start += value.numel()
    return found


# ------------------------------------------------------------------------------------------------ losses


def loss_grid(
    model: nn.Module, task: Task, batches: Sequence[Batch], plane: Plane, xs: Numbers, ys: Numbers,
    told: Callable[[int], None] | None = None, workers: int = 1,
) -> Numbers:  # fmt: skip
    """Return the mean loss at origin + x d₁ + y d₂, (len(ys), len(xs)), row 0 for the last y: the top of a picture.

    The model is in evaluation mode (batch normalisation keeps the statistics of the trained weights) and keeps its own
    weights: each of the `workers` threads moves a copy, and computes with one thread. `told` is called with the number of
    places done, row by row.
    """
    copies: SimpleQueue[nn.Module] = SimpleQueue()
    for _ in range(workers):
        copies.put(copy.deepcopy(model))

    def row(y: float) -> list[float]:
        mine, found = copies.get(), []
        for x in xs:
            if ended.is_set():
                break
            move(mine, plane, float(x), y)
            found.append(mean_loss(mine, task, batches))
        copies.put(mine)
        return found

    losses = np.full((len(ys), len(xs)), np.nan)
    ended, before = Event(), torch.get_num_threads()
    if workers > 1:
        torch.set_num_threads(1)
    pool = ThreadPoolExecutor(workers)
    try:
        for place, values in enumerate(pool.map(row, (float(y) for y in ys[::-1]))):
            losses[place] = values
            if told:
                told((place + 1) * len(xs))
    finally:
        ended.set()
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(before)
    return losses


def worker_count(model: nn.Module) -> int:
    """Return how many threads `loss_grid` may use: as many as PyTorch takes, if their copies of the model are small."""
    weights = list(model.parameters())
    if any(weight.device.type != "cpu" for weight in weights):
        return 1
    size = sum(weight.numel() * weight.element_size() for weight in weights)
    return max(1, min(torch.get_num_threads(), MOST_BYTES // max(size, 1)))


def move(model: nn.Module, plane: Plane, x: float, y: float) -> None:
    """Put the weights of a place of the plane into the model."""
    first, second = plane.directions
    with torch.no_grad():
        for name, value in model.named_parameters():
            value.copy_(plane.origin[name])
            if x or y:
                value.add_(first[name], alpha=x).add_(second[name], alpha=y)


def mean_loss(model: nn.Module, task: Task, batches: Sequence[Batch]) -> float:
    """Return the mean loss over `batches` as the task scores it."""
    model.eval()
    with torch.inference_mode():
        tallies = [task.score(model, batch) for batch in batches]
    if any("loss" not in tally for tally in tallies):
        raise RunError("This task scores no loss, so there is no landscape of it.")
    total = sum(float(tally["loss"].total) for tally in tallies)
    return total / sum(float(tally["loss"].count) for tally in tallies)


def reach(found: Sequence[Spot], side: int = SIDE, least: float = 1e-6) -> tuple[Numbers, Numbers]:
    """Return the coordinates of a grid that holds every checkpoint and the trained weights, with a margin of a fifth."""
    axes = []
    for values in ([0.0, *(spot.x for spot in found)], [0.0, *(spot.y for spot in found)]):
        low, high = min(values), max(values)
        margin = 0.2 * max(high - low, least)
        axes.append(np.linspace(low - margin, high + margin, side))
    return axes[0], axes[1]
