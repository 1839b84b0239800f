"""The depth test: how much gradient reaches the first layer as a network gets deeper, at first and after some updates.

A dense network is made anew for every depth, with each non-linearity, with residual connections and without; all see
the same examples in the same order.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any, NamedTuple, get_args

import torch
from torch import nn

from seodang.core.errors import ConfigError, nearest
from seodang.core.recipe import Recipe
from seodang.data.dataset import Batch, map_tensors
from seodang.models.base import architectures
from seodang.task.base import Task
from seodang.training.assemble import Assembly, assemble
from seodang.training.devices import Devices
from seodang.training.plan import make_loader
from seodang.training.randomness import seed_everything
from seodang.training.update import NotFinite, Updates

DEPTHS = (1, 2, 4, 8, 16, 32, 64)
"""Hidden layers."""
USUAL = ("sigmoid", "tanh", "relu", "elu", "gelu")
STEPS = 20
WIDTH = 64
EXAMPLES = 256
"""Training examples the gradient is measured on."""
VARIED = ("hidden_sizes", "activation", "residual")
"""Settings a network must have to be tested."""


class Reached(NamedTuple):
    """One network: norm of the loss's gradient in the weights of its first and of its last layer, and the loss.

    After the updates: None if one of them had numbers that are not finite.
    """

    activation: str
    residual: bool
    depth: int
    first: float
    last: float
    loss: float
    first_after: float | None
    last_after: float | None
    loss_after: float | None


def depth_test(
    recipe: Recipe, depths: Sequence[int] = DEPTHS, activations: Sequence[str] | None = USUAL, steps: int = STEPS
) -> Iterator[Reached]:
    """Measure one network after the other; those with residual connections have two hidden layers or more.

    `activations` None takes every one the architecture knows.

    Raises: ConfigError where the architecture has no such settings, or the task trains several networks.
    """
    known = type(architectures[recipe.model.name].settings).model_fields
    if not set(VARIED) <= set(known):
        raise ConfigError("model.name={name}: has no {missing} to vary; the depth test is for mlp.", name=recipe.model.name,
                          missing=", ".join(name for name in VARIED if name not in known))  # fmt: skip
    names = get_args(known["activation"].annotation)
    for name in activations or ():
        if name not in names:
            raise ConfigError("'{name}' is no non-linearity of {model}.{suggestion} They are: {names}.", name=name,
                              model=recipe.model.name, suggestion=nearest(name, names), names=", ".join(names))  # fmt: skip
    if not depths or min(depths) < 1:
        raise ConfigError("Depths {depths}: each is a number of hidden layers, 1 or more.", depths=list(depths))
    train = recipe.train.replace(devices=1, compile=False, average=None, patience=None, on_nonfinite="stop")
    assembly = assemble(recipe.replace(train=train))
    if list(assembly.task.networks(assembly.model)) != ["model"] or assembly.data.facts.inputs.kind == "world":
        raise ConfigError("task.name={name}: the depth test follows one loss through one network, and this task has more, or none.",
                          name=recipe.task.name)  # fmt: skip
    devices = Devices(assembly.recipe.train)
    try:
        for activation, residual, depth in product(activations or names, (False, True), sorted(set(depths))):
            if depth > 1 or not residual:
                yield _measured(assembly, devices, activation, residual, depth, steps)
    finally:
        devices.close()


def _measured(assembly: Assembly, devices: Devices, activation: str, residual: bool, depth: int, steps: int) -> Reached:
    recipe, task, data = assembly.recipe, assembly.task, assembly.data
    sizes = recipe.model.settings.get("hidden_sizes") or (WIDTH,)
    choice = recipe.model.with_settings(hidden_sizes=(sizes[0],) * depth, activation=activation, residual=residual)
    seed_everything(recipe.seed)
    model = devices.place(architectures.make(choice, data.facts.known()))
    task.prepare(model, recipe.seed)
    examples = data.split("train")
    batch = examples.batch(torch.arange(min(EXAMPLES, len(examples))), None)
    batch = map_tensors(batch, devices.move)
    before = first_and_last(model, task, batch)
    optimizer = assembly.rule.build(model)
    updates = Updates(model, model, task, {"model": model}, {"model": optimizer}, devices, recipe.train)
    loader: Any = make_loader(recipe, data, devices)
    try:
        for step in range(steps):
            rate = assembly.rule.rate(step, step / steps, steps)
            updates.make([map_tensors(next(loader), devices.move)], rate, step + 1)
        updates.read_flag()
        after: tuple[float | None, ...] = first_and_last(model, task, batch)
    except NotFinite:
        after = (None, None, None)
    if not all(value is not None and math.isfinite(value) for value in after):
        after = (None, None, None)
    return Reached(activation, residual, depth, *before, *after)


def first_and_last(model: nn.Module, task: Task, batch: Batch) -> tuple[float, float, float]:
    """Return the norm of the gradient in the weights of the first and the last dense layer, and the loss, a mean.

    In double precision: float32 would take what is left of 64 layers of sigmoid for nothing.
    """
    layers = [module for module in model.modules() if isinstance(module, nn.Linear)]
    was_training = model.training
    model.double().train()
    with torch.enable_grad(), torch.random.fork_rng():
        torch.manual_seed(0)
        _, loss = next(iter(task.losses(model, map_tensors(batch, _double))))
        loss = loss / torch.as_tensor(task.size(batch)).clamp(min=1)
        gradients = torch.autograd.grad(loss, [layers[0].weight, layers[-1].weight])
    first, last = (gradient.norm().item() for gradient in gradients)
    model.float().train(was_training)
    return first, last, loss.item()


def _double(value: torch.Tensor) -> torch.Tensor:
    return value.double() if value.is_floating_point() else value


def facts_of(found: Sequence[Reached], recipe: Recipe, steps: int) -> dict[str, Any]:
    """Return a depth test for programs."""
    return {"recipe": recipe.name, "steps": steps, "width": (recipe.model.settings.get("hidden_sizes") or (WIDTH,))[0],
            "init": recipe.model.settings.get("init", "he"), "found": [reached._asdict() for reached in found]}  # fmt: skip
