"""What flows through the layers: the spread of outputs on the way forward, of gradients on the way back.

Measured on one batch of training examples, for the trained weights and, where the architecture has the setting, for
fresh weights under every initialisation. The model itself is left alone: all of it happens in copies.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, NamedTuple, get_args

import torch
from torch import Tensor, nn

from seodang.core.language import say
from seodang.data.dataset import Batch
from seodang.layers.initialization import InitName
from seodang.task.base import Task
from seodang.visualize.figure import Axis, Column, Figure, Lines, Series, Table
from seodang.visualize.scale import number

LAYERS = (nn.Linear, nn.modules.conv._ConvNd)
VANISHED, EXPLODED = 1e-3, 1e3
"""Times the last layer's gradient, below and above which that of another layer has vanished or exploded."""


class Flow(NamedTuple):
    """One layer: root mean square of what it gives, of the loss's gradient there, and of the gradient of its weights."""

    path: str
    kind: str
    output: float
    gradient: float
    weight_gradient: float


def flows(model: nn.Module, task: Task, batch: Batch) -> list[Flow]:
    """Return the flow through every dense layer and convolution, in the order of use; the loss is a mean over the batch.

    Of a task with several losses the first counts. Random parts (dropout) draw the same at every call.
    """
    model = copy.deepcopy(model).train()
    given: dict[str, Tensor] = {}

    def keep(path: str) -> Any:
        def hook(module: nn.Module, inputs: Any, output: Tensor) -> None:
            if output.requires_grad and path not in given:
                given[path] = output

        return hook

    named = {path: module for path, module in model.named_modules() if isinstance(module, LAYERS)}
    for path, module in named.items():
        module.register_forward_hook(keep(path))
    with torch.random.fork_rng(), torch.enable_grad():
        torch.manual_seed(0)
        _, loss = next(iter(task.losses(model, batch)))
        loss = loss / torch.as_tensor(task.size(batch)).clamp(min=1)
        if not given:
            return []
        weights = [named[path].weight for path in given]
        found = torch.autograd.grad(loss, [*given.values(), *weights], allow_unused=True)
    back, tuned = found[: len(given)], found[len(given) :]
    return [
        Flow(path, type(named[path]).__name__, size(output), size(gradient), size(weight))
        for (path, output), gradient, weight in zip(given.items(), back, tuned, strict=True)
        if gradient is not None
    ]


def size(value: Tensor | None) -> float:
    """Return the root mean square."""
    return 0.0 if value is None else value.detach().double().square().mean().sqrt().item()


def schemes(model: nn.Module) -> dict[str, nn.Module]:
    """Return fresh models like this one under every initialisation, or nothing if the architecture has no such setting."""
    config = getattr(model, "config", None)
    if config is None or "init" not in type(config).model_fields:
        return {}
    device = next((weight.device for weight in model.parameters()), torch.device("cpu"))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        maker: Any = type(model)
        return {name: maker(config.replace(init=name)).to(device) for name in get_args(InitName)}


def gradient_figures(model: nn.Module, task: Task, batch: Batch) -> list[Figure]:
    """Return two charts over depth, forward and back, and a table of the trained layers."""
    trained = flows(model, task, batch)
    if not trained:
        return []
    curves = {say("trained"): trained}
    curves |= {
        say("fresh, init={name}", name=name): flows(fresh, task, batch) for name, fresh in schemes(model).items()
    }
    depth = len(trained)
    forward = spread_chart(
        curves, "output", say("Spread of outputs, layer by layer"),
        say("Root mean square of what each of {count} layers gives.", count=depth), "flow-outputs",
    )  # fmt: skip
    backward = spread_chart(
        curves, "gradient", say("Spread of gradients, layer by layer"), verdict(trained), "flow-gradients"
    )
    return [forward, backward, flow_table(trained)]


def spread_chart(curves: dict[str, list[Flow]], what: str, title: str, about: str, name: str) -> Lines:
    """Return one curve for each set of weights; a layer where all is zero has no point, as on any logarithmic axis."""
    series: list[Series] = []
    for label, found in curves.items():
        points = [(place + 1, value) for place, flow in enumerate(found) if (value := getattr(flow, what)) > 0]
        if points:
            series.append(Series(label, [x for x, _ in points], [y for _, y in points], dashed=len(series) > 0))
    silent = [label for label, found in curves.items() if not any(getattr(flow, what) for flow in found[:-1])]
    if silent:
        about += " " + say("Nothing at all with: {names}.", names=", ".join(silent))
    return Lines(title, about, tuple(series), x=Axis(say("layer")), y=Axis(say("root mean square"), log=True), about=about,
                 name=name)  # fmt: skip


def verdict(found: Sequence[Flow]) -> str:
    """Return whether the gradients of the trained network vanish or explode on their way to the first layer."""
    first, last = found[0].gradient, found[-1].gradient
    ratio = first / last if last else 0.0
    values = {"ratio": number(ratio), "count": len(found)}
    if ratio < VANISHED:
        return say(
            "Vanishing: over {count} layers the gradient shrinks to {ratio} of what it is at the last.", **values
        )
    if ratio > EXPLODED:
        return say(
            "Exploding: over {count} layers the gradient grows to {ratio} times what it is at the last.", **values
        )
    return say("Sound: the gradient at the first of {count} layers is {ratio} times that at the last.", **values)


def flow_table(found: Sequence[Flow]) -> Table:
    rows = tuple((flow.path, flow.kind, *(number(value) for value in flow[2:])) for flow in found)
    columns = (Column(say("layer"), path=True), Column(say("kind")), Column(say("outputs"), number=True),
               Column(say("gradient of outputs"), number=True), Column(say("gradient of weights"), number=True))  # fmt: skip
    about = say("Root mean squares over one batch of training examples; the loss is its mean.")
    return Table(say("What flows through the layers"), verdict(found), columns, rows, tuple(tuple(flow) for flow in found),
                 about=about, name="flow")  # fmt: skip
