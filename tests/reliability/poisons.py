"""Numbers that are no numbers, put into a run at the place that is asked for."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import seodang as sd
from seodang.core.run import RunFolder
from seodang.data.dataset import Batch, Loader
from seodang.training.assemble import assemble
from seodang.training.devices import Devices
from seodang.training.trainer import Trainer
from seodang.training.update import Updates

STEPS = 7
TRAIN = {"steps": STEPS, "batch_size": 16, "log_every": 2, "evaluate_every": 0, "save_every": 2, "threads": 1}
ADAM = {"name": "adamw", "lr": 0.01}
FAMILIES: dict[str, dict[str, Any]] = {
    "supervised": {
        "name": "supervised", "data": {"name": "digits", "augment": ["shift"]}, "task": "classification", "optimizer": ADAM,
        "model": {"name": "mlp", "hidden_sizes": [12], "dropout": 0.3, "normalization": "batch"},
        "train": {**TRAIN, "average": 0.9},
    },
    "accumulation": {
        "name": "accumulation", "data": {"name": "digits"}, "task": "classification",
        "model": {"name": "cnn", "stages": [[4]], "normalization": "batch"},
        "optimizer": {"name": "momentum", "lr": 0.05}, "train": {**TRAIN, "accumulate": 3, "clip": 0.5},
    },
    "regression": {
        "name": "regression", "data": {"name": "diabetes"}, "task": "regression", "optimizer": {"name": "rmsprop", "lr": 0.01},
        "model": {"name": "mlp", "hidden_sizes": [8], "normalization": "batch"}, "train": TRAIN,
    },
    "gan": {
        "name": "gan", "data": {"name": "digits"}, "task": {"name": "gan", "judge": None},
        "model": {"name": "dcgan", "latent_dim": 4, "generator_channels": [4], "discriminator_channels": [4]},
        "optimizer": {"name": "adam", "lr": 0.001}, "train": TRAIN,
    },
}  # fmt: skip
"""Networks with batch statistics, averages, moments of each kind, micro-batches, and two networks with an optimizer each."""


def make_trainer(family: str, run: Path, **train: Any) -> Trainer:
    recipe = FAMILIES[family]
    parts = assemble(sd.Recipe.of({**recipe, "train": {**recipe["train"], **train}}))
    folder = RunFolder.create(parts.recipe, run)
    return Trainer(parts.recipe, parts.model, parts.task, parts.data, parts.rule, folder, parts.record,
                   Devices(parts.recipe.train))  # fmt: skip


def everything(trainer: Trainer) -> dict[str, bytes]:
    """Return the bytes of all that an update may change: weights, running statistics, moments, averages."""
    tensors = {name: value for name, value in trainer.model.state_dict().items()}
    for network, optimizer in trainer.optimizers.items():
        for place, weight in enumerate(weight for group in optimizer.param_groups for weight in group["params"]):
            for slot, value in optimizer.state.get(weight, {}).items():
                tensors[f"{network}/{place}/{slot}"] = torch.as_tensor(value)
    if trainer.average:
        tensors |= {f"average/{name}": value for name, value in trainer.average.mean.items()}
    return {name: value.detach().contiguous().view(torch.uint8).numpy().tobytes() if value.ndim else repr(value).encode()
            for name, value in tensors.items()}  # fmt: skip


# ------------------------------------------------------------------------------------------------ poisons

Poison = Callable[[Updates, Sequence[Batch], float], None]


def poison_input(updates: Updates, parts: Sequence[Batch], bad: float) -> None:
    parts[-1][0][2].view(-1)[1] = bad


def poison_label(updates: Updates, parts: Sequence[Batch], bad: float) -> None:
    parts[-1][1].view(-1)[2] = bad


def poison_parameter(updates: Updates, parts: Sequence[Batch], bad: float) -> None:
    with torch.no_grad():
        list(updates.model.parameters())[-2].view(-1)[1] = bad


def poison_moment(updates: Updates, parts: Sequence[Batch], bad: float) -> None:
    optimizer = list(updates.optimizers.values())[-1]
    slots = list(optimizer.state.values())[-1]
    next(value for value in slots.values() if isinstance(value, Tensor) and value.ndim).view(-1)[0] = bad


def poison_layer(updates: Updates, parts: Sequence[Batch], bad: float) -> None:
    """The second layer of the last network answers with one bad number, however often it is asked in this update."""
    layer = [module for module in list(updates.networks.values())[-1].modules() if not list(module.children())][1]

    def spoil(module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
        spoiled = output.clone()
        spoiled[1] = bad
        return spoiled

    handle = layer.register_forward_hook(spoil)
    undo, calls = updates.undo, itertools.count()

    def last_undo() -> None:
        undo()
        if next(calls) == 1:  # the update itself, and its repetition
            handle.remove()
            del updates.undo  # type: ignore[method-assign]

    updates.undo = last_undo  # type: ignore[method-assign]


def poison_losses(change: Callable[[Tensor, float], Tensor], which: int) -> Poison:
    """Spoil the loss of network number `which` in the last micro-batch, once."""

    def poison(updates: Updates, parts: Sequence[Batch], bad: float) -> None:
        losses = type(updates.task).losses

        def spoiled(model: nn.Module, batch: Batch) -> Iterator[tuple[str, Tensor]]:
            for number, (name, loss) in enumerate(losses(updates.task, model, batch)):
                last = batch is parts[-1] and number == which % len(updates.networks)
                if last:
                    updates.task.__dict__.pop("losses", None)
                yield name, change(loss, bad) if last else loss

        updates.task.losses = spoiled  # type: ignore[method-assign]

    return poison


def spoiled_gradient(loss: Tensor, bad: float) -> Tensor:
    loss.register_hook(lambda gradient: gradient * bad)
    return loss


POISONS: dict[str, Poison] = {
    "input": poison_input, "label": poison_label, "parameter": poison_parameter, "moment": poison_moment,
    "layer": poison_layer, "loss": poison_losses(lambda loss, bad: loss * bad, -1),
    "first-loss": poison_losses(lambda loss, bad: loss + bad, 0), "gradient": poison_losses(spoiled_gradient, -1),
}  # fmt: skip
CASES = [
    (family, kind, bad, step)
    for family, kinds in {
        "supervised": ["input", "parameter", "moment", "layer", "loss", "gradient"],
        "accumulation": ["input", "loss", "gradient"],
        "regression": ["label", "moment"],
        "gan": ["layer", "loss", "first-loss", "gradient"],
    }.items()
    for kind in kinds
    for bad in (math.nan, math.inf, -math.inf, 1e30)
    for step in (1, 2, 4, STEPS)
    if not (kind == "moment" and step == 1)  # there are none yet
    if not (bad == 1e30 and kind not in ("loss", "first-loss", "gradient"))
]


@contextmanager
def poisoned(poison: Callable[[Updates, Sequence[Batch], int], None]) -> Iterator[list[int]]:
    """Spoil updates before they are made; give the numbers of those that were made whole."""
    make, made = Updates.make, []

    def spoiled(self: Updates, parts: Sequence[Batch], rate: float, step: int) -> Any:
        poison(self, parts, step)
        done = make(self, parts, rate, step)
        made.append(step)
        return done

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Updates, "make", spoiled)
        yield made


def bad_losses(*steps: int) -> Any:
    """Spoil the losses of some updates, each time they are tried."""
    return poisoned(lambda updates, parts, step: POISONS["loss"](updates, parts, math.nan) if step in steps else None)


def bad_data(monkeypatch: pytest.MonkeyPatch, *indices: int) -> None:
    """Let the first example of some batches of the first epoch be NaN, as data of one's own may be."""
    fetch = Loader._fetch

    def fetched(self: Loader, item: tuple[int, int, Tensor]) -> Batch:
        batch = fetch(self, item)
        if item[0] == 0 and item[1] in indices:
            batch = batch._replace(images=batch.images.clone())  # type: ignore[attr-defined]
            batch[0][0] = math.nan
        return batch

    monkeypatch.setattr(Loader, "_fetch", fetched)
