"""Embeddings: what a network has made of each example just before it answers; who is near whom there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from seodang.core.errors import ConfigError, nearest
from seodang.data.dataset import Examples
from seodang.layers.record import record
from seodang.task.base import evaluating

WEIGHTED = (nn.Linear, nn.Conv2d)
BATCH = 64


class Neighbours(NamedTuple):
    """The nearest of each example, the nearest first, and their cosines."""

    rows: Int[Tensor, "N K"]
    cosines: Float[Tensor, "N K"]


def vectors(values: Tensor) -> Tensor:
    """Return one vector for each example: of maps the mean over all places."""
    return values.mean((2, 3)) if values.ndim == 4 else values.flatten(1)


@contextmanager
def _last_given(model: nn.Module) -> Iterator[list[Tensor]]:
    """Keep what is given to the layer with weights that runs last."""
    given: list[Tensor] = []

    def keep(module: nn.Module, inputs: Any) -> None:
        given[:] = [inputs[0].detach()]

    handles = [module.register_forward_pre_hook(keep) for module in model.modules() if isinstance(module, WEIGHTED)]
    try:
        yield given
    finally:
        for handle in handles:
            handle.remove()


def embed(model: nn.Module, inputs: Tensor, layer: str = "") -> Float[Tensor, "B D"]:
    """Return what `layer` gives for each example; by default what the last layer with weights is given.

    Raises: ConfigError if there is no such layer.
    """
    if not layer:
        with evaluating(model), _last_given(model) as given:
            model(inputs)
        if not given:
            raise ConfigError("This network has no dense layer or convolution; name a layer: layer=…")
        return vectors(given[0]).float().cpu()
    with evaluating(model), record(model) as kept:
        model(inputs)
    if layer not in kept:
        known = [path for path in kept if path]
        raise ConfigError("layer={name}: is no layer of this network.{suggestion} Layers: {known}.", name=layer,
                          suggestion=nearest(layer, known), known=", ".join(known))  # fmt: skip
    return vectors(kept[layer]).float().cpu()


def embed_rows(model: nn.Module, examples: Examples, rows: Tensor, layer: str = "") -> tuple[Tensor, Tensor | None]:
    """Return the embeddings (N, D) of the examples numbered `rows`, and their targets where there are any."""
    device = next((weight.device for weight in model.parameters()), torch.device("cpu"))
    found, targets = [], []
    for part in rows.split(BATCH):
        batch = examples.batch(part, None)
        found.append(embed(model, batch[0].to(device), layer))
        targets.append(batch[1])
    return torch.cat(found), None if any(target is None for target in targets) else torch.cat(targets)


def neighbours(asked: Float[Tensor, "N D"], among: Float[Tensor, "M D"], count: int, same: bool = False) -> Neighbours:
    """Return the `count` of `among` whose direction is nearest to each of `asked`; equally near ones by number.

    `same` says both are the same examples: then nobody is a neighbour of its own.
    """
    cosines = F.normalize(asked.double(), dim=1) @ F.normalize(among.double(), dim=1).T
    if same:
        cosines.fill_diagonal_(-torch.inf)
    order = cosines.argsort(dim=1, descending=True, stable=True)[:, : min(count, len(among) - int(same))]
    return Neighbours(order, cosines.gather(1, order))


def agreement(found: Neighbours, labels: Tensor) -> float:
    """Return how often most of an example's neighbours are of its own class; of equal numbers the smaller class counts."""
    voted = labels[found.rows].mode(1).values
    return (voted == labels).double().mean().item()


class Plane(NamedTuple):
    """The two directions of largest spread: where each example is, and the share of all spread along each."""

    points: Float[Tensor, "N 2"]
    shares: tuple[float, float]


def plane(values: Float[Tensor, "N D"]) -> Plane:
    """Return the examples in the plane of their first two principal components.

    Source: Pearson 1901, "On lines and planes of closest fit to systems of points in space".
    """
    centred = values.double() - values.double().mean(0)
    left, sizes, _ = torch.linalg.svd(centred, full_matrices=False)
    points = torch.zeros(len(values), 2, dtype=torch.float64)
    points[:, : min(2, len(sizes))] = (left * sizes)[:, :2]
    squares = sizes.square()
    total = float(squares.sum()) or 1.0
    shares = [float(square) / total for square in squares[:2]] + [0.0, 0.0]
    return Plane(points, (shares[0], shares[1]))
