"""From a recipe to model, task and data: the data's facts fill the model's blanks."""

from __future__ import annotations

import os
from typing import NamedTuple

from torch import nn

from seodang.core.errors import ConfigError
from seodang.core.inputs import Facts, ImageInputs
from seodang.core.recipe import Choice, Recipe, Train
from seodang.data.augment import fitted
from seodang.data.balance import labels_of
from seodang.data.dataset import Dataset, datasets
from seodang.models.base import architectures
from seodang.models.bundle import BundleRecord, equip
from seodang.task.base import Task, tasks
from seodang.training.devices import wanted_devices
from seodang.training.optim import UpdateRule, optimizers
from seodang.training.randomness import seed_everything
from seodang.training.transfer import begin, hold


class Assembly(NamedTuple):
    """Everything a trainer takes, made from one recipe."""

    recipe: Recipe
    data: Dataset
    model: nn.Module
    task: Task
    rule: UpdateRule
    record: BundleRecord


def assemble(recipe: Recipe, data: Dataset | None = None, begun: bool = False) -> Assembly:
    """Read the data (or take `data` that is prepared), and make the model and the task that fit it.

    `begun`: the run has checkpoints, and goes on from one; the weights it began with need not be there any more.

    Raises: ConfigError, UnknownName or DataError; nothing has been written then.
    """
    for registry, choice in ((architectures, recipe.model), (tasks, recipe.task), (optimizers, recipe.optimizer)):
        registry[choice.name]  # an unknown name is said before the data is read
    rule = optimizers.make(recipe.optimizer)
    if data is None:
        data = datasets.make(recipe.data, None, recipe.seed)
        data.prepare()
    facts = data.facts
    _check_kinds(recipe, facts)
    if isinstance(facts.inputs, ImageInputs):
        fitted(getattr(data.settings, "augment", ()), facts.inputs)  # said now, not in the middle of a run
    _check_sample(recipe, data)
    rule.expect_length(recipe.train, facts.sizes.get("train"))
    task = tasks.make(recipe.task, facts.known(), facts)
    equip(task)
    seed_everything(recipe.seed)
    model = architectures.make(recipe.model, facts.known())
    if recipe.train.start and not begun:
        task.notes = (*task.notes, begin(model, recipe.model, facts, recipe.train))
    hold(model, recipe.train, wanted_devices(recipe.train) if recipe.train.thaw else 1, facts.sizes.get("train"))
    _check_batch(recipe, model, task, facts)
    settings = architectures.settings(recipe.model, facts.known())
    record = BundleRecord(
        model=Choice.of({"name": recipe.model.name, **settings.values()}), task=recipe.task, facts=facts
    )
    return Assembly(recipe, data, model, task, rule, record)


def _check_batch(recipe: Recipe, model: nn.Module, task: Task, facts: Facts) -> None:
    examples = facts.sizes.get("train")
    if examples is None or facts.inputs.kind == "world":
        return
    whole, least = smallest_part(recipe.train, examples)
    if least > 1:
        return
    setting = f"train.batch_size={recipe.train.batch_size}"
    setting += "".join(f", train.{name}={value}" for name in ("accumulate", "devices")
                       if isinstance(value := getattr(recipe.train, name), int) and value > 1)  # fmt: skip
    if mixing := getattr(task.settings, "mixing", ""):
        raise ConfigError("{setting}: task.{mixing} mixes the examples of a batch with each other, and of a batch of {whole} of the "
                          "{examples:,} examples a part is left with one alone. Take another batch_size.", setting=setting,
                          mixing=mixing, whole=whole, examples=examples)  # fmt: skip
    if any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in model.modules()):
        raise ConfigError("{setting}: batch normalisation takes its mean over the examples of a batch, and of a batch of {whole} of "
                          "the {examples:,} examples a part is left with one alone. Take another batch_size, or "
                          "model.normalization=layer.", setting=setting, whole=whole, examples=examples)  # fmt: skip


def smallest_part(train: Train, examples: int) -> tuple[int, int]:
    """Return the smallest micro-batch one process computes in an epoch, behind the size of the batch it is part of.

    The last batch of an epoch is what is left over (see `Loader`).
    """
    size = examples if train.batch_size == "all" else min(train.batch_size, examples)
    world = train.devices if isinstance(train.devices, int) else int(os.environ.get("WORLD_SIZE", "1"))
    left = examples % size
    batches = [size, left] if left >= max(world, 2) else [size]
    return min(((whole, max(whole // world // train.accumulate, 1)) for whole in batches), key=lambda item: item[1])


def _check_sample(recipe: Recipe, data: Dataset) -> None:
    facts = data.facts
    if recipe.train.bootstrap is not None and facts.inputs.kind in ("tokens", "world"):
        raise ConfigError("train.bootstrap={number}: draws examples with replacement, but the data '{data}' gives {kind}, cut from a "
                          "stream as training goes. It works with pictures, rows and arrays.", number=recipe.train.bootstrap,
                          data=recipe.data.name, kind=facts.inputs.kind)  # fmt: skip
    if recipe.train.balance and "train" in facts.sizes:
        labels_of(data.split("train"))


def _check_kinds(recipe: Recipe, facts: Facts) -> None:
    kind = facts.inputs.kind
    for word, registry, choice in (("model", architectures, recipe.model), ("task", tasks, recipe.task)):
        takes = getattr(registry[choice.name].maker, "takes", ())
        if takes and kind not in takes:
            raise ConfigError("{word}.name={name} takes {takes}, but the data '{data}' gives {kind}.",
                              word=word, name=choice.name, takes=", ".join(takes), data=recipe.data.name,
                              kind=kind)  # fmt: skip
    answers = getattr(tasks[recipe.task.name].maker, "answers", "")
    if answers == "classes" and facts.classes is None and not facts.targets:
        raise ConfigError("task.name={name} tells classes apart, but the data '{data}' has none. Pictures need a folder for each "
                          "class, arrays need labels (y).", name=recipe.task.name, data=recipe.data.name)  # fmt: skip
