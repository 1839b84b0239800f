"""What the normalisations of a network average over: the axes of its own layers, drawn."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import NamedTuple

import numpy as np
from torch import Tensor, nn

from seodang.core.language import say
from seodang.visualize.figure import Axis, Column, Figure, Matrix, Panels, Table
from seodang.visualize.summary import layer_table

SHOWN_EXAMPLES, SHOWN_CHANNELS = 12, 32


class Means(NamedTuple):
    """One normalisation: its shape (C, *places), and how its means are taken."""

    path: str
    kind: str
    """batch, layer, instance or group; for the last also how many channels are together."""
    shape: tuple[int, ...]
    group: int
    running: bool
    """Whether evaluation uses running statistics."""
    tokens: bool = False
    """Whether each token of an example has means of its own; then the shape is that of a token."""

    def over(self, batch: int) -> int:
        """Return how many numbers one mean is over, in a batch of that many examples."""
        places = prod(self.shape[1:])
        return batch * places if self.kind == "batch" else self.group * places


def normalizations(model: nn.Module, inputs: Mapping[str, Tensor]) -> list[Means]:
    """Return the normalisations of `model` in the order they run in, on a batch with one example."""
    found = []
    for layer in layer_table(model, inputs).layers:
        module = model.get_submodule(layer.path) if layer.path in dict(model.named_modules()) else model
        if (means := means_of(layer.path, module, tuple(layer.output or ()))) is not None:
            found.append(means)
    return found


def means_of(path: str, module: nn.Module, shape: tuple[int, ...]) -> Means | None:
    """Return what a layer averages over if it normalises; `shape` is that of one example, channels first."""
    match module:
        case nn.modules.instancenorm._InstanceNorm():
            return Means(path, "instance", shape, 1, module.track_running_stats)
        case nn.modules.batchnorm._BatchNorm():
            return Means(path, "batch", shape, 1, module.track_running_stats)
        case nn.GroupNorm():
            kinds = {1: "layer", module.num_channels: "instance"}
            return Means(
                path, kinds.get(module.num_groups, "group"), shape, module.num_channels // module.num_groups, False
            )
        case nn.LayerNorm() | nn.RMSNorm():
            features = tuple(module.normalized_shape)
            return Means(path, "layer", features, features[0], False, shape != features)
    return None


def normalization_figures(model: nn.Module, inputs: Mapping[str, Tensor], batch: int) -> list[Figure]:
    """Return the axes of each kind of normalisation for the network's first, its own marked, and a table of all of them."""
    found = normalizations(model, inputs)
    if not found:
        return []
    first = found[0]
    kinds: tuple[str, ...] = ("batch", "layer", "instance", "group") if len(first.shape) > 1 else ("batch", "layer")
    kinds = ("layer",) if first.tokens else kinds
    used = {means.kind for means in found}
    panels = tuple(_panel(kind, first, batch, kind in used) for kind in kinds)
    names = ", ".join(kind_name(kind) for kind in kinds if kind in used)
    channels, examples = min(first.shape[0], SHOWN_CHANNELS), min(batch, SHOWN_EXAMPLES)
    values = {"examples": examples, "batch": batch, "shown": channels, "count": first.shape[0]}
    about = say("Dark is what shares one mean and one spread with the first channel of the first example.") + " "
    about += (
        say("Each row is a token, each cell one of its {count} numbers ({shown} of them are shown).", **values)
        if first.tokens
        else say("Each cell is all {places} places of a channel. {examples} of {batch} examples, {shown} of {count} channels.",
                 places=prod(first.shape[1:]), **values)
    )  # fmt: skip
    chart = Panels(say("What each normalisation averages over"),
                   say("{path} has {shape} numbers for each example. This network uses: {names}.", path=first.path,
                       shape=" × ".join(map(str, first.shape)), names=names),
                   panels, about=about, name="normalisation-axes")  # fmt: skip
    return [chart, _table(found, batch)]


def together(kind: str, channels: int, group: int, examples: int) -> np.ndarray:
    """Return 1 where a channel of an example shares its mean with the first channel of the first example, else 0."""
    marks = np.zeros((examples, channels))
    match kind:
        case "batch":
            marks[:, 0] = 1
        case "layer":
            marks[0] = 1
        case "instance":
            marks[0, 0] = 1
        case "group":
            marks[0, :group] = 1
    return marks


def kind_name(kind: str) -> str:
    return {"batch": say("batch"), "layer": say("layer"), "instance": say("instance"), "group": say("group")}[kind]


def _panel(kind: str, first: Means, batch: int, used: bool) -> Matrix:
    channels, examples = min(first.shape[0], SHOWN_CHANNELS), min(batch, SHOWN_EXAMPLES)
    group = first.group if first.kind == "group" else min(16, first.shape[0])
    whole = {"batch": 1, "layer": first.shape[0], "instance": 1, "group": group}[kind]
    count = Means("", kind, first.shape, whole, False).over(batch)
    name = say("{kind} (here)", kind=kind_name(kind)) if used else kind_name(kind)
    return Matrix(say("{name}: mean of {count:,}", name=name, count=count), "", together(kind, channels, group, examples),
                  x=Axis(say("channel")), y=Axis(say("token") if first.tokens else say("example")))  # fmt: skip


def _table(found: list[Means], batch: int) -> Table:
    words = {
        "batch": say("examples and places"), "layer": say("channels and places"), "instance": say("places"),
        "group": say("channels of a group, and places"),
    }  # fmt: skip
    rows: list[tuple[str, ...]] = []
    values: list[tuple[float | str, ...]] = []
    for means in found:
        shape = " × ".join(map(str, means.shape))
        later = say("running mean and spread") if means.running else say("its own mean and spread")
        over = say("the numbers of one token") if means.tokens else words[means.kind]
        rows.append((means.path, kind_name(means.kind), shape, over, f"{means.over(batch):,}", later))
        values.append((means.path, means.kind, shape, means.kind, float(means.over(batch)), later))
    columns = (Column(say("layer"), path=True), Column(say("kind")), Column(say("shape of an example")), Column(say("mean over")),
               Column(say("numbers"), number=True), Column(say("when predicting")))  # fmt: skip
    about = say("In batches of {batch} examples. Running statistics are those of training; with them one example is enough.",
                batch=batch)  # fmt: skip
    return Table(say("Normalisations"), say("{count} layers that normalise.", count=len(found)), columns, tuple(rows),
                 tuple(values), about=about, name="normalisations")  # fmt: skip
