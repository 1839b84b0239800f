"""Which axes of its inputs an exported network leaves free: batches always, lengths of texts, sizes of pictures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.export import Dim

MORE = (33, 67)
"""So many pixels higher and wider are the pictures other sizes are tried with: odd, so that edges are half covered."""


class Freedom(NamedTuple):
    """Axes of the inputs that may have any size, as torch.export is told."""

    sizes: str
    """Of pictures: "any" or "fixed"; "" for inputs that are none."""
    axes: Mapping[int, Any]
    other: tuple[int, ...]
    """The shape (without batch) of an example of another size, to check with."""


def freedoms(model: nn.Module, blank: Tensor) -> list[Freedom]:
    """Return what may be left free for inputs like `blank`, the most first; exporting tells which of it holds."""
    batch: dict[int, Any] = {0: Dim("batch", min=1)}
    shape = tuple(blank.shape[1:])
    if not blank.is_floating_point() and blank.ndim == 2 and blank.shape[1] > 1:
        length = Dim("length", min=1, max=blank.shape[1])
        return [Freedom("", batch | {1: length}, (max(1, blank.shape[1] // 2),))]
    if blank.ndim != 4:
        return [Freedom("", batch, shape)]
    fixed = Freedom("fixed", batch, shape)
    if not averages_its_maps(model, blank):
        return [fixed]
    channels, height, width = shape
    other = (channels, height + MORE[0], width + MORE[1])
    return [Freedom("any", batch | {2: Dim.DYNAMIC, 3: Dim.DYNAMIC}, other), fixed]


def averages_its_maps(model: nn.Module, blank: Tensor) -> bool:
    """Return whether a model gives its answer for larger pictures too, without dividing their maps into a grid of places."""
    grids: list[nn.Module] = []

    def note(module: nn.Module, *_: Any) -> None:
        if module.output_size not in (1, (1, 1)):  # type: ignore[comparison-overlap]
            grids.append(module)

    pools = [module for module in model.modules() if isinstance(module, nn.AdaptiveAvgPool2d)]
    hooks = [module.register_forward_hook(note) for module in pools]
    larger = blank.new_zeros(1, blank.shape[1], blank.shape[2] + MORE[0], blank.shape[3] + MORE[1])
    try:
        with torch.no_grad():
            usual, answer = model(blank[:1]), model(larger)
    except (RuntimeError, ValueError):  # dense layers that see every place want one size only
        return False
    finally:
        for hook in hooks:
            hook.remove()
    return not grids and isinstance(answer, Tensor) and answer.shape == usual.shape
