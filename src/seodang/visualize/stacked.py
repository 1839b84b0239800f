"""Why small kernels are stacked: layers that see the same as one large one, with fewer weights and more rectifiers."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn

from seodang.core.language import say
from seodang.visualize.figure import Column, Table
from seodang.visualize.receptive_field import receptive_fields

EXAMPLES = ((5,), (3, 3), (7,), (3, 3, 3), (11,), (3, 3, 3, 3, 3))


class Stack(NamedTuple):
    """Convolutions one after another: what they see and cost, measured on the layers themselves."""

    kernels: tuple[int, ...]
    side: int
    parameters: int
    """Also the multiply-adds for each place of the maps."""


def stack(kernels: tuple[int, ...], channels: int) -> Stack:
    """Build convolutions of `channels` maps without biases and measure them.

    Source: Simonyan & Zisserman 2015, "Very deep convolutional networks for large-scale image recognition",
    arXiv:1409.1556, sec. 2.3.
    """
    with torch.device("meta"):
        layers = nn.Sequential(
            *(nn.Conv2d(channels, channels, kernel, padding=kernel // 2, bias=False) for kernel in kernels)
        )
        side = sum(kernels)
        fields = receptive_fields(layers, torch.zeros(1, channels, side, side))
    size = fields.layers[str(len(kernels) - 1)].rows.size
    assert size is not None
    return Stack(kernels, size, sum(weight.numel() for weight in layers.parameters()))


def stacked_figure(channels: int) -> Table:
    """Return small kernels beside the large one they replace."""
    rows, values = [], []
    for kernels in EXAMPLES:
        found = stack(kernels, channels)
        written = " + ".join(f"{kernel}×{kernel}" for kernel in kernels)
        seen = f"{found.side}×{found.side}"
        rows.append((written, seen, f"{found.parameters:,}", f"{found.parameters // channels**2} · C²"))
        values.append(
            (
                written,
                float(found.side),
                float(found.parameters),
                float(found.parameters // channels**2),
            )
        )
    columns = (Column(say("convolutions")), Column(say("sees"), number=True), Column(say("parameters"), number=True, bar=True),
               Column(say("for C channels"), number=True))  # fmt: skip
    return Table(
        say("Two 3×3 see as much as one 5×5"), say("Stacks of small kernels beside one large kernel, {channels} channels.", channels=channels),
        columns, tuple(rows), tuple(values),
        about=say("Each stack of 3×3 kernels sees as much as the kernel above it, with fewer parameters and one more rectifier for "
                  "each layer. Counted on layers of {channels} channels, without biases.", channels=channels), name="stacked",
    )  # fmt: skip
