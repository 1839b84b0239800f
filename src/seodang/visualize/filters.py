"""Filters as pictures: the weights of the first layer, and what makes the channels of deeper ones answer most."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from seodang.core.inputs import Facts, ImageInputs
from seodang.core.language import say
from seodang.visualize.backward import no_maps
from seodang.visualize.deconvolution import Peak, deconvolved, peaks
from seodang.visualize.figure import Figure, Images, Pixels
from seodang.visualize.heat import gradient_picture
from seodang.visualize.inside import recorded, weight_figures
from seodang.visualize.pixels import SMALL, grid, picture
from seodang.visualize.receptive_field import Field, receptive_fields
from seodang.visualize.scale import number

LAYERS, CHANNELS, TOP = 3, 8, 9
"""Layers shown without a choice; channels of each; pictures for each channel, as in Zeiler & Fergus 2014, figure 2."""


class Source(NamedTuple):
    """Where pictures come from: how to get those with given numbers, and which numbers there are."""

    pictures: Callable[[Tensor], Tensor]
    rows: Tensor


def convolutions(model: nn.Module, example: Tensor) -> list[str]:
    """Return the convolutions that see more than one place, in the order they run."""
    named = dict(model.named_modules())
    return [path for path in recorded(model, example) if isinstance(module := named.get(path), nn.Conv2d)
            and max(module.kernel_size) > 1]  # fmt: skip


def filter_figures(model: nn.Module, facts: Facts, source: Source, layer: str = "") -> list[Figure]:
    """Return the filters of the first layer and, for some layers or `layer` alone, the deconvolved ones.

    Raises: ConfigError if `layer` gives no maps.
    """
    example = source.pictures(source.rows[:1])
    kept = recorded(model, example)
    maps = [path for path, value in kept.items() if path and value.ndim == 4]
    if layer and layer not in maps:
        raise no_maps(layer, maps)
    found = convolutions(model, example)
    steps = min(LAYERS, len(found))
    chosen = [layer] if layer else [found[round(step * (len(found) - 1) / max(steps - 1, 1))] for step in range(steps)]
    fields = receptive_fields(model, example).layers
    return [
        *weight_figures(model, facts),
        *(deconvolved_figure(model, facts, source, path, fields.get(path)) for path in chosen),
    ]


def deconvolved_figure(model: nn.Module, facts: Facts, source: Source, layer: str, field: Field | None) -> Images:
    """Return for the strongest channels of a layer the parts of pictures they answer to, and their projections."""
    images: list[Pixels] = []
    captions: list[str] = []
    found = peaks(model, source.pictures, source.rows, layer, CHANNELS, TOP)
    for channel, strongest in found.items():
        projected, parts = projections(model, facts, source, layer, channel, strongest, field)
        side = 3 if len(parts) > 1 else 1
        images += [grid(projected, side, 1), grid(parts, side, 1)]
        captions += [say("channel {number}", number=channel) + "\n" + say("up to {value}", value=number(strongest[0].value)),
                     say("seen there")]  # fmt: skip
    return Images(
        say("What {layer} looks for", layer=layer), say("{count} channels, projected back to pixels.", count=len(found)), tuple(images),
        tuple(captions), columns=8, smooth=max(image.shape[0] for image in images) > 4 * SMALL,
        about=say("The channels that answer strongest. Left: what one unit saw, projected back through the layers (grey is nothing). "
                  "Right: that part of the picture. Up to {count} pictures for each channel, the strongest first.", count=TOP),
        name=f"deconvolved-{layer}",
    )  # fmt: skip


def projections(
    model: nn.Module, facts: Facts, source: Source, layer: str, channel: int, strongest: Sequence[Peak], field: Field | None
) -> tuple[list[Pixels], list[Pixels]]:  # fmt: skip
    """Return for each peak its projection and its picture, both cut to what the unit sees."""
    assert isinstance(facts.inputs, ImageInputs)
    inputs = source.pictures(torch.tensor([peak.example for peak in strongest]))
    back = deconvolved(model, inputs, layer, channel, [(peak.row, peak.column) for peak in strongest])
    projected, parts = [], []
    for image, gradient, peak in zip(inputs, back, strongest, strict=True):
        top, left, bottom, right = field.box(peak.row, peak.column) if field else (0, 0, *image.shape[-2:])
        projected.append(gradient_picture(gradient[:, top:bottom, left:right]))
        parts.append(picture(image, facts.inputs)[top:bottom, left:right])
    return projected, parts
