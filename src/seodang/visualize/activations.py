"""How the non-linearities of a trained network fare: function and derivative, saturation, dead units, spread by layer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn

from seodang.core.language import say
from seodang.layers.activation import ACTIVATIONS, Nonlinearity
from seodang.task.base import evaluating
from seodang.visualize.figure import Axis, Column, Figure, Lines, Series, Table
from seodang.visualize.scale import number, percent

FLAT = 0.05
"""A unit is saturated on an example where the slope is below this share of the steepest slope of the function."""
REACH = 6.0
POINTS = 241

KINDS = tuple({type(item()) for item in ACTIVATIONS.values()} - {nn.Identity})


class LayerHealth(NamedTuple):
    """One non-linearity as it works in a trained network, over some examples (and all places of a map).

    A unit is a number of a vector, or a channel of a map. It is dead when it is saturated on every example.
    """

    path: str
    kind: str
    units: int
    mean: float
    """Of what goes in."""
    spread: float
    """Standard deviation of what goes in, over examples and units."""
    saturated: float
    """Share of all (example, unit) pairs."""
    dead: float
    """Share of units."""
    inputs: Tensor
    """Some of what went in, to draw it."""


@contextmanager
def watching(model: nn.Module) -> Iterator[dict[str, list[Tensor]]]:
    """Keep what goes into every non-linearity of `model`, under its path; one that is used twice is kept twice."""
    kept: dict[str, list[Tensor]] = {}

    def hook(path: str) -> object:
        return lambda module, inputs: kept.setdefault(path, []).append(inputs[0].detach())

    handles = [module.register_forward_pre_hook(hook(path)) for path, module in model.named_modules()  # type: ignore[arg-type]
               if isinstance(module, KINDS)]  # fmt: skip
    try:
        yield kept
    finally:
        for handle in handles:
            handle.remove()


def slope(module: nn.Module, values: Tensor) -> Tensor:
    """Return the derivative of a non-linearity at each of the values."""
    with torch.enable_grad():
        x = values.detach().clone().requires_grad_()
        return torch.autograd.grad(module(x).sum(), x)[0]


def steepest(module: nn.Module) -> float:
    """Return the largest slope, up or down, between −6 and 6."""
    module = single(module)
    weight = next(module.parameters(), None)
    device = weight.device if weight is not None else torch.device("cpu")
    return slope(module, torch.linspace(-REACH, REACH, POINTS, device=device)).abs().max().item()


def layer_health(model: nn.Module, inputs: Tensor) -> list[LayerHealth]:
    """Return how each non-linearity fares on a batch of inputs, in evaluation mode, in the order of the network."""
    with evaluating(model), watching(model) as kept:
        model(inputs)
    named = dict(model.named_modules())
    return [_health(path, named[path], values) for path, values in kept.items()]


def _health(path: str, module: nn.Module, values: list[Tensor]) -> LayerHealth:
    shaped = torch.cat([by_unit(value.float()) for value in values])
    flat = slope(module, shaped).abs() < FLAT * steepest(module)
    drawn = shaped.flatten()[:: max(1, shaped.numel() // 20_000)].cpu()
    return LayerHealth(
        path, type(module).__name__, shaped.shape[1], shaped.mean().item(), shaped.std().item(),
        flat.float().mean().item(), flat.all(0).float().mean().item(), drawn,
    )  # fmt: skip


def by_unit(value: Tensor) -> Tensor:
    """Return (rows, units): the channels of a map (B, C, H, W) are units and its places rows; else the last axis is."""
    if value.ndim == 4:
        return value.movedim(1, -1).flatten(0, -2)
    return value.flatten(0, -2)


# ------------------------------------------------------------------------------------------- figures


def activation_health_figures(model: nn.Module, inputs: Tensor) -> list[Figure]:
    """Return a table of the layers, and for each kind its function, its derivative and where its inputs lie."""
    found = layer_health(model, inputs)
    if not found:
        return []
    named = dict(model.named_modules())
    figures: list[Figure] = [health_table(found, len(inputs))]
    for kind in dict.fromkeys(item.kind for item in found):
        layers = [item for item in found if item.kind == kind]
        figures.append(function_figure(named[layers[0].path], layers))
    return figures


def health_table(found: list[LayerHealth], examples: int) -> Table:
    rows = tuple((item.path, item.kind, f"{item.units:,}", number(item.mean), number(item.spread), percent(item.saturated),
                  percent(item.dead)) for item in found)  # fmt: skip
    values = tuple(
        (item.path, item.kind, item.units, item.mean, item.spread, item.saturated, item.dead) for item in found
    )
    worst = max(found, key=lambda item: item.dead)
    alt = say("{count} layers; most dead units in {path}: {share}.", count=len(found), path=worst.path,
              share=percent(worst.dead))  # fmt: skip
    about = say(
        "Over {count:,} held-out examples. A unit is saturated on an example where the slope of its function is below "
        "{flat} of the steepest: nothing is learned there. A dead unit is saturated on every example.",
        count=examples, flat=percent(FLAT),
    )  # fmt: skip
    columns = (
        Column(say("layer"), path=True), Column(say("function")), Column(say("units"), number=True),
        Column(say("mean of inputs"), number=True), Column(say("spread of inputs"), number=True),
        Column(say("saturated"), number=True, bar=True), Column(say("dead units"), number=True, bar=True),
    )  # fmt: skip
    return Table(say("Non-linearities at work"), alt, columns, rows, values, about=about, name="activation-health")


def function_figure(module: nn.Module, layers: list[LayerHealth]) -> Lines:
    """Return function and derivative, and how the inputs of the layers are spread along them."""
    module, table = single(module), known(module)
    device = next((weight.device for weight in module.parameters()), torch.device("cpu"))
    places = torch.linspace(-REACH, REACH, POINTS, device=device)
    with torch.no_grad():
        values = module(places)
    series = [
        Series("g(x)", places.tolist(), values.tolist(), colour=0),
        Series("g′(x)", places.tolist(), slope(module, places).tolist(), colour=1, dashed=True),
    ]
    top = float(values.clamp(-2, 3).max())
    for item in layers[:4]:
        counts = torch.histc(item.inputs.clamp(-REACH, REACH), 60, -REACH, REACH)
        middles = ((torch.arange(60) + 0.5) / 60 * 2 - 1) * REACH
        name = say("inputs of {path}", path=item.path)
        series.append(Series(name, middles.tolist(), (counts / counts.max().clamp(min=1) * top / 2).tolist()))
    about = say("The inputs of each layer are drawn as a heap, the largest number half as high as the function.")
    if table:
        about = say("{formula}; {derivative} ({source}).", formula=table.formula, derivative=table.derivative,
                    source=table.source) + " " + about  # fmt: skip
    return Lines(
        say("{kind}: function, derivative, and where its inputs lie", kind=layers[0].kind),
        say("Function and derivative between −6 and 6 with the inputs of {count} layers.", count=min(len(layers), 4)),
        tuple(series), x=Axis("x"), y=Axis(limits=(min(-0.2, float(values.clamp(-2, 0).min())), max(1.2, top))),
        about=about, name=f"activation-{layers[0].kind.lower()}",
    )  # fmt: skip


def known(module: nn.Module) -> Nonlinearity | None:
    """Return what is written about a non-linearity, if this is one of the table, with the table's constants."""
    for item in ACTIVATIONS.values():
        made = item()
        if type(made) is type(module) and made.extra_repr() == module.extra_repr():
            return item
    return None


def single(module: nn.Module) -> nn.Module:
    """Return the module, or for a PReLU with a slope for each channel one with their mean."""
    if not isinstance(module, nn.PReLU) or module.num_parameters == 1:
        return module
    return nn.PReLU(1, init=module.weight.mean().item()).to(module.weight.device)
