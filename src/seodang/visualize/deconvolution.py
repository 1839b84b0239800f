"""Deconvolved filters: what in the pictures makes a channel answer most, projected back to pixels."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from seodang.layers.record import record
from seodang.task.base import evaluating
from seodang.visualize.backward import forward

BATCH = 32


class Peak(NamedTuple):
    """Where a channel of a layer answers most in one example: row of the split, place in the map, and how much."""

    example: int
    row: int
    column: int
    value: float


def peaks(
    model: nn.Module, pictures: Callable[[Tensor], Tensor], rows: Tensor, layer: str, most: int, top: int
) -> dict[int, list[Peak]]:
    """Return for the `most` channels of `layer` that answer strongest their `top` examples, one place in each.

    Examples are those numbered `rows`, which `pictures` brings; channels and examples come with the strongest first.
    """
    values, places, width = [], [], 1
    with evaluating(model), record(model) as kept:
        for part in rows.split(BATCH):
            model(pictures(part))
            maps = kept[layer]
            width = maps.shape[-1]
            best = maps.flatten(2).max(2)
            values.append(best.values.cpu())
            places.append(best.indices.cpu())
    strength, where = torch.cat(values), torch.cat(places)
    channels = strength.max(0).values.argsort(descending=True, stable=True)[:most]
    found = {}
    for channel in channels.tolist():
        order = strength[:, channel].argsort(descending=True, stable=True)[:top].tolist()
        found[channel] = [Peak(int(rows[at]), int(where[at, channel]) // width, int(where[at, channel]) % width,
                               float(strength[at, channel])) for at in order]  # fmt: skip
    return found


def deconvolved(model: nn.Module, inputs: Tensor, layer: str, channel: int, places: list[tuple[int, int]]) -> Tensor:
    """Return what of each picture one unit sees, projected back: filters transposed, maxima put where they came from,
    rectified on the way, all other units of the layer silent. `places` has row and column for each picture.

    Source: Zeiler & Fergus 2014, "Visualizing and understanding convolutional networks", arXiv:1311.2901, sec. 2.1.
    Differs: what the paper's network has not (normalisation by batch statistics, averages, sums of branches) is
    transposed as the linear map it is; response normalisation goes back by its derivative.
    Shapes: pictures (B, C, H, W) → (B, C, H, W).
    """
    made = forward(model, inputs, "deconvolution")
    maps = made.kept[layer]
    rows, columns = zip(*places, strict=True)
    units = maps[torch.arange(len(inputs)), channel, torch.tensor(rows), torch.tensor(columns)]
    (found,) = torch.autograd.grad(units, made.inputs, grad_outputs=units.detach())
    return found.detach()
