"""Receptive fields as pictures and a table: what a unit can see of the picture, and what it really uses."""

from __future__ import annotations

from torch import Tensor, nn

from seodang.core.errors import ConfigError
from seodang.core.inputs import Facts, ImageInputs
from seodang.core.language import say
from seodang.visualize.backward import forward, last_maps, no_maps
from seodang.visualize.figure import Column, Figure, Images, Table
from seodang.visualize.heat import framed, over
from seodang.visualize.pixels import picture
from seodang.visualize.receptive_field import Field, Fields, effective_field, effective_side, receptive_fields
from seodang.visualize.scale import number, percent
from seodang.visualize.stacked import stacked_figure

SHOWN = 6
"""Layers drawn without a choice, evenly through the depth."""
SIDE = 224
"""Pictures are enlarged to at least this."""


def unit_of(text: str) -> tuple[int | None, int, int]:
    """Return channel (None: all), row and column of a unit written as ``row,column`` or ``channel,row,column``.

    Raises: ConfigError
    """
    parts = text.split(",")
    if len(parts) not in (2, 3) or not all(part.strip().isdecimal() for part in parts):
        raise ConfigError("unit={text}: should be row,column or channel,row,column, counted from 0.", text=text)
    numbers = [int(part) for part in parts]
    return (numbers[0] if len(numbers) == 3 else None, numbers[-2], numbers[-1])


def field_figures(model: nn.Module, example: Tensor, facts: Facts, layer: str = "", unit: str = "") -> list[Figure]:
    """Return the fields of a unit drawn on a picture (a batch of one), the table of all layers, and why kernels are stacked.

    Without `layer` the units in the middle of some layers. Raises: ConfigError if there is no such layer or unit.
    """
    fields = receptive_fields(model, example)
    kept = forward(model, example).kept
    known = [path for path in fields.layers if path in kept]
    if layer and layer not in known:
        raise no_maps(layer, known)
    if not known:
        raise ConfigError("This network has no receptive fields to draw: no layer of it gives maps whose windows are known{unknown}.",
                          unknown=f" ({', '.join(fields.unknown)})" if fields.unknown else "")  # fmt: skip
    if unit and not layer:
        layer = last_maps(model, kept) or known[-1]
    paths = [layer] if layer else spread(windowed_layers(fields))
    figures: list[Figure] = [
        units_figure(model, example, facts, fields, paths, unit, kept),
        fields_table(fields, example),
    ]
    channels = next((module.out_channels for module in model.modules() if isinstance(module, nn.Conv2d)), 64)
    return [*figures, stacked_figure(channels)]


def windowed_layers(fields: Fields) -> list[str]:
    """Return the layers that see more than, or elsewhere than, those before them: one name for each size of field."""
    found: dict[tuple[int | None, ...], str] = {}
    for path, field in fields.layers.items():
        key = (field.rows.size, field.rows.jump, field.columns.size, len(field.rows.low))
        found.setdefault(key, path)
    return list(found.values())


def spread(paths: list[str]) -> list[str]:
    steps = min(SHOWN, len(paths))
    return [paths[round(step * (len(paths) - 1) / max(steps - 1, 1))] for step in range(steps)]


def units_figure(
    model: nn.Module, example: Tensor, facts: Facts, fields: Fields, paths: list[str], unit: str, kept: dict[str, Tensor]
) -> Images:  # fmt: skip
    """Return for each layer the frame of what one unit can see, and under it what it uses."""
    assert isinstance(facts.inputs, ImageInputs)
    shown = picture(example[0], facts.inputs)
    factor = max(1, -(-SIDE // max(shown.shape[:2])))
    images, captions = [], []
    for path in paths:
        depth, height, width = kept[path].shape[1:]
        channel, row, column = unit_of(unit) if unit else (None, height // 2, width // 2)
        if row >= height or column >= width or (channel or 0) >= depth:
            raise ConfigError("unit={text}: layer {layer} has {channels} channels of {height}×{width} places, counted from 0.",
                              text=unit, layer=path, channels=depth, height=height, width=width)  # fmt: skip
        box = fields.layers[path].box(row, column)
        used = effective_field(model, example, path, row, column, channel)
        images += [framed(shown, box, factor), framed(over(shown, used), box, factor)]
        seen = f"{box[2] - box[0]}×{box[3] - box[1]}"
        captions += [f"{path} {row},{column}\n" + say("can see {seen}", seen=seen),
                     say("uses") + "\n" + say("as much as {side}×{side}", side=number(effective_side(used)))]  # fmt: skip
    return Images(
        say("What one unit sees"), say("The receptive fields of {count} layers on the picture.", count=len(paths)), tuple(images),
        tuple(captions), columns=4, smooth=True,
        about=say("Left: the part of the picture that can reach a unit, by kernels, strides and paddings. Right: how much each pixel moves "
                  "it here, by its gradient; a pixel counts as used from {share} of the strongest on.", share=percent(1 - 0.9545)),
        name="field",
    )  # fmt: skip


def fields_table(fields: Fields, example: Tensor) -> Table:
    """Return size, distance and place of the fields of every layer."""
    area = example.shape[-2] * example.shape[-1]
    rows, values = [], []
    for path, field in fields.layers.items():
        share = _middle_area(field) / area
        sizes = [field.rows.size, field.columns.size]
        seen = "–" if None in sizes else f"{sizes[0]}×{sizes[1]}"
        jump = "–" if field.rows.jump is None else str(field.rows.jump)
        start = "–" if field.rows.start is None else str(field.rows.start)
        rows.append((path, f"{len(field.rows.low)}×{len(field.columns.low)}", seen, jump, start, percent(share)))
        values.append((path, float(len(field.rows.low)), float(field.rows.size or 0), float(field.rows.jump or 0),
                       float(field.rows.start or 0), share))  # fmt: skip
    columns = (Column(say("layer"), path=True), Column(say("places"), number=True), Column(say("sees"), number=True),
               Column(say("every"), number=True), Column(say("from"), number=True), Column(say("of the picture"), number=True, bar=True))  # fmt: skip
    about = say("Sees: height and width in pixels. Every: how far the fields of neighbouring units are apart. From: where the first "
                "begins, negative outside the picture. Of the picture: what the unit in the middle sees of it.")  # fmt: skip
    if fields.unknown:
        about += " " + say("Not known behind: {names}.", names=", ".join(fields.unknown))
    return Table(say("Receptive fields"), say("{count} layers.", count=len(rows)), columns, tuple(rows), tuple(values), about=about,
                 name="fields")  # fmt: skip


def _middle_area(field: Field) -> int:
    top, left, bottom, right = field.box(len(field.rows.low) // 2, len(field.columns.low) // 2)
    return (bottom - top) * (right - left)
