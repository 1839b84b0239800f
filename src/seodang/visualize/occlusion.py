"""Occlusion: how sure the network stays of a class while a grey square hides part of the picture."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from seodang.core.errors import ConfigError
from seodang.task.base import evaluating

BATCH = 32


class Occlusion(NamedTuple):
    """What hiding a square does. `probabilities` has one entry for each place of the square, `tops` and `lefts` say
    where; `drop` (H, W) is the mean loss of probability over all squares that hide a pixel."""

    whole: float
    probabilities: Float[Tensor, "I J"]
    tops: list[int]
    lefts: list[int]
    square: tuple[int, int]
    drop: Float[Tensor, "H W"]


def starts(side: int, square: int, stride: int) -> list[int]:
    """Return where the square starts along one side, so that every pixel is hidden at least once."""
    found = list(range(0, side - square + 1, stride))
    return found if found[-1] + square == side else [*found, side - square]


def occlusion(
    model: nn.Module, inputs: Float[Tensor, "1 C H W"], target: int, square: int = 0, stride: int = 0, fill: float = 0.0
) -> Occlusion:
    """Slide a square of `fill` over the picture and note the probability of class `target` at each place.

    `square` defaults to a fifth of the shorter side, `stride` to half the square; `fill` is in the units of `inputs`, where
    0 is the mean of the training pictures.

    Source: Zeiler & Fergus 2014, "Visualizing and understanding convolutional networks", arXiv:1311.2901, sec. 4.2.
    Raises: ConfigError if the square is larger than the picture.
    """
    height, width = inputs.shape[-2:]
    square = square or max(1, round(min(height, width) / 5))
    if not 0 < square <= min(height, width):
        raise ConfigError("square={square}: must be between 1 and {side}, the shorter side of the picture.", square=square,
                          side=min(height, width))  # fmt: skip
    stride = stride or max(1, square // 2)
    tops, lefts = starts(height, square, stride), starts(width, square, stride)
    places = [(top, left) for top in tops for left in lefts]
    found = []
    with evaluating(model):
        whole = float(model(inputs)[0].float().softmax(-1)[target])
        for first in range(0, len(places), BATCH):
            part = places[first : first + BATCH]
            hidden = inputs.repeat(len(part), 1, 1, 1)
            for row, (top, left) in enumerate(part):
                hidden[row, :, top : top + square, left : left + square] = fill
            found.append(model(hidden).float().softmax(-1)[:, target].cpu())
    probabilities = torch.cat(found)
    total, count = torch.zeros(height, width), torch.zeros(height, width)
    for (top, left), probability in zip(places, probabilities.tolist(), strict=True):
        total[top : top + square, left : left + square] += whole - probability
        count[top : top + square, left : left + square] += 1
    return Occlusion(
        whole, probabilities.view(len(tops), len(lefts)), tops, lefts, (square, square), total / count.clamp(min=1)
    )
