"""What follows from recipe and data before the first update: batches, length, pace, precision."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from seodang.core.errors import ConfigError
from seodang.core.recipe import Recipe, Train
from seodang.data.balance import class_weights, labels_of
from seodang.data.bootstrap import Resampled
from seodang.data.dataset import Dataset, Loader
from seodang.task.base import Task
from seodang.training.devices import Devices
from seodang.training.randomness import kept_randomness


def make_loader(recipe: Recipe, data: Dataset, devices: Devices) -> Loader | None:
    """Return the batches of the training split, or None where an agent makes its own data."""
    if "train" not in data.facts.sizes or data.facts.inputs.kind == "world":
        return None
    examples, train = data.split("train"), recipe.train
    if train.bootstrap is not None:
        examples = Resampled(examples, recipe.seed, train.bootstrap)
    size = len(examples) if train.batch_size == "all" else train.batch_size
    weights = class_weights(labels_of(examples), train.balance) if train.balance else None
    return Loader(examples, size, recipe.seed, devices.rank, devices.world, train.workers, train.timeout, weights)


def choose_precision(model: nn.Module, task: Task, loader: Loader | None, devices: Devices) -> None:
    """Run the first batch forward once: a check that the task works, and a count of what an update costs."""
    if loader is None:
        return
    batch = loader.peek()
    with kept_randomness(devices.device), FlopCounterMode(display=False) as counter, torch.no_grad():
        model.eval()
        for _ in task.losses(model, batch):
            pass
    convolutions = any(isinstance(module, nn.Conv2d) for module in model.modules())
    devices.decide(counter.get_total_flops(), convolutions)


def total_steps(train: Train, loader: Loader | None) -> int | None:
    """Return the number of updates, or None for a run measured in minutes."""
    if train.minutes is not None:
        return None
    if train.epochs is not None:
        if loader is None:
            raise ConfigError("train.epochs: this data has no epochs; give train.steps or train.minutes.")
        return max(1, math.ceil(train.epochs * len(loader)))
    return train.steps or 1000


def evaluation_interval(train: Train, loader: Loader | None) -> int:
    """Return the updates between evaluations; 0 = only before and after."""
    if train.evaluate_every != "epoch":
        return train.evaluate_every
    return len(loader) if loader else 0
