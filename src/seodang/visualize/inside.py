"""What a network holds and what happens in it: filters, activations, attention, embeddings. Any module will do.

All but the weights is drawn from one recording (`layers.record`) of one example.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from seodang.core.inputs import Facts, ImageInputs
from seodang.core.language import say
from seodang.layers.record import Recording, record
from seodang.task.base import evaluating
from seodang.visualize.answers import columns_of
from seodang.visualize.figure import Axis, Figure, Images, Matrix, Panels, Strips
from seodang.visualize.pixels import activation_picture, grid, picture, weights_picture

FILTERS = 32
CHANNELS = 16
UNITS = 32
MAPS = 7
"""Layers whose activation maps are shown: the first ones of each size, then evenly through the depth."""
HEADS = 4


def recorded(model: nn.Module, inputs: Tensor) -> Recording:
    """Return what every layer gives for one batch, in evaluation mode."""
    with evaluating(model), record(model) as kept:
        model(inputs)
    return kept


def weight_figures(model: nn.Module, facts: Facts) -> list[Figure]:
    """Return the first weights that meet the data: as small pictures for images, as a heat map for tables."""
    inputs = facts.inputs
    for path, module in model.named_modules():
        if isinstance(inputs, ImageInputs) and isinstance(module, nn.Conv2d) and module.in_channels == inputs.channels:
            if max(module.kernel_size) < 2:
                continue
            return [_filters(path, module.weight)]
        if isinstance(module, nn.Linear) and module.in_features == int(np.prod(inputs.shape)):
            if isinstance(inputs, ImageInputs):
                return [_filters(path, module.weight.view(-1, *inputs.shape))]
            return [_weight_matrix(path, module.weight, facts)]
    return []


def _filters(path: str, weights: Tensor) -> Images:
    norms = weights.detach().flatten(1).norm(dim=1)
    order = norms.argsort(descending=True, stable=True)[:FILTERS]
    images = tuple(weights_picture(weights[place]) for place in order.tolist())
    how_many = {"shown": len(images), "count": len(weights), "path": path}
    which = (
        say("All {count} filters of {path}.", **how_many)
        if len(images) == len(weights)
        else say("{shown} of the {count} filters of {path}, those with the largest weights.", **how_many)
    )
    colours = (
        say("In the colours they look for.")
        if weights.shape[1] == 3
        else say("Blue is negative, white zero, orange positive.")
    )
    alt = say("{shown} filters of {height}×{width} pixels.", shown=len(images), height=weights.shape[-2],
              width=weights.shape[-1])  # fmt: skip
    return Images(
        say("Filters of the first layer"), alt, images, columns=16, about=f"{which} {colours}", name="filters"
    )


def _weight_matrix(path: str, weights: Tensor, facts: Facts) -> Matrix:
    values = weights.detach().double().cpu().numpy()
    order = np.argsort(-np.abs(values).sum(1), kind="stable")[:UNITS]
    names = tuple(
        name if span.stop - span.start == 1 else f"{name} {place + 1}"
        for name, span in columns_of(facts)
        for place in range(span.stop - span.start)
    )
    return Matrix(
        say("Weights of the first layer"),
        say("{rows} inputs by {columns} units of layer {path}.", rows=values.shape[1], columns=len(order), path=path),
        values[order].T, rows=names if len(names) <= 40 else (), x=Axis(say("unit")), y=Axis(say("input")), look="diverging",
        about=say("One column for each unit of {path}, those with the largest weights first. Blue is negative, orange "
                  "positive.", path=path), name="weights")  # fmt: skip


# ---------------------------------------------------------------------------------------- activations


def activation_figures(model: nn.Module, inputs: Tensor, facts: Facts) -> list[Figure]:
    """Return what the layers make of one example (a batch of one): maps of pictures, strips of vectors."""
    kept = recorded(model, inputs)
    named = dict(model.named_modules())
    working = _working(kept, named, inputs)
    maps = [path for path in working if kept[path].ndim == 4 and min(kept[path].shape[-2:]) > 1]
    figures: list[Figure] = []
    if maps:
        figures.append(_maps(kept, _spread(maps), inputs, facts, {path: type(named[path]).__name__ for path in maps}))
    strips = [path for path in working if kept[path].ndim == 2 and kept[path].shape[1] > 1]
    if strips and not maps:
        paths = _spread(strips, 12)
        names = tuple(f"{path} {type(named[path]).__name__}" for path in paths)
        values = tuple(kept[path][0].double().cpu().numpy() for path in paths)
        figures.append(
            Strips(say("What the layers make of one example"),
                   say("Activations of {count} layers for one example.", count=len(paths)), names, values,
                   about=say("Each row is a layer, each stripe a unit. Blue is negative, white zero, orange positive."),
                   name="activations")
        )  # fmt: skip
    return figures


def _working(kept: Recording, named: Mapping[str, nn.Module], inputs: Tensor) -> list[str]:
    """Return the layers, in order, that give something else than they were given: no reshaping, no resting dropout."""
    paths, before = [], inputs
    for path, value in kept.items():
        if path not in named or next(named[path].children(), None) is not None:
            continue
        if value.numel() != before.numel() or not torch.equal(value.flatten(), before.flatten()):
            paths.append(path)
            before = value
    return paths


def _spread(paths: list[str], most: int = MAPS) -> list[str]:
    if len(paths) <= most:
        return paths
    return [paths[place] for place in sorted({round(step * (len(paths) - 1) / (most - 1)) for step in range(most)})]


def _maps(kept: Recording, paths: list[str], inputs: Tensor, facts: Facts, kinds: dict[str, str]) -> Images:
    images, captions = [], []
    if isinstance(facts.inputs, ImageInputs):
        images.append(picture(inputs[0], facts.inputs))
        captions.append(say("input") + "\n" + _size(inputs[0]))
    for path in paths:
        value = kept[path][0]
        shown = value[value.flatten(1).std(1).argsort(descending=True, stable=True)[:CHANNELS]]
        low, high = float(shown.min()), float(shown.max())
        images.append(
            grid(
                [activation_picture(channel, low, high) for channel in shown],
                columns=4,
                gap=max(1, shown.shape[-1] // 12),
            )
        )
        captions.append(f"{path} {kinds[path]}\n" + _size(value))
    return Images(
        say("What the layers see"), say("Activation maps of {count} layers for one example.", count=len(paths)),
        tuple(images), tuple(captions), columns=4,
        about=say("One example on its way through the network: up to {count} channels of each layer, those that vary most. "
                  "Dark is low, yellow is high.", count=CHANNELS), name="activations")  # fmt: skip


def _size(value: Tensor) -> str:
    return " × ".join(map(str, value.shape))


# ------------------------------------------------------------------------------------------ attention


def attention_figures(kept: Recording, rows: tuple[str, ...], columns: tuple[str, ...] | None = None) -> list[Figure]:
    """Return the attention weights that were noted, the first heads of each layer side by side.

    `rows` names the places that look, `columns` (default: the same) those that are looked at.
    """
    noted = [path for path, value in kept.items() if path.rpartition(".")[2] == "weights" and value.ndim == 4]
    columns = rows if columns is None else columns
    figures: list[Figure] = []
    for path in _spread(noted, 4):
        value = kept[path][0].float().cpu()
        if value.shape[-2:] != (len(rows), len(columns)):
            continue
        layer = path.rpartition(".")[0]
        heads = tuple(
            Matrix(say("head {number}", number=head + 1), "", value[head].double().numpy(), rows, columns)
            for head in range(min(HEADS, len(value)))
        )
        figures.append(
            Panels(say("Attention of {layer}", layer=layer), say("{count} tokens and what each looks at.", count=len(rows)),
                   heads, about=say("Each row is a token; dark is what it looks at."),
                   name=f"attention-{layer}")
        )  # fmt: skip
    return figures
