"""The range test: train a moment while the rate rises, and read from the loss which rate to take.

It is a run of the one trainer with another schedule, in a folder that is thrown away.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from seodang.core.errors import ConfigError, TrainingError
from seodang.core.events import Event, Stepped
from seodang.core.language import say
from seodang.core.recipe import Recipe
from seodang.core.registry import load_plugin
from seodang.core.run import RunFolder
from seodang.training.assemble import Assembly, assemble
from seodang.training.devices import Devices
from seodang.training.optim import UpdateRule
from seodang.training.resolve import read_recipe
from seodang.training.trainer import Trainer

LOW, HIGH, STEPS = 1e-6, 10.0, 120
SMOOTHING = 0.9
DIVERGED = 4.0
"""The test ends when the smoothed loss is this many times its least."""
WIDTH = 0.25
"""Decades of the rate over which the losses are averaged before anything is read from them."""
BOTTOM = 0.1
"""The bottom of the curve: where the loss is within this share of its whole fall from the least."""
FALL = 0.02
"""Share of the first loss it must fall by, to have learned anything at all."""


class Found(NamedTuple):
    """What a range test saw: a loss for each rate, and the rate it proposes with the reason; None if none can be.

    `bottom` is the range of rates that the proposal is taken from.
    """

    rates: list[float]
    losses: list[float]
    smoothed: list[float]
    proposal: float | None
    reason: str
    diverged: bool
    loss: str
    """Name of the network whose loss it is."""
    bottom: tuple[float, float] | None = None


class Sweep(UpdateRule):
    """Another rule, whose rate rises by the same factor at each update.

    Source: Smith 2017, "Cyclical learning rates for training neural networks", arXiv:1506.01186, sec. 3.3.
    Differs: the rate rises exponentially, not linearly, so that one test covers all orders of magnitude.
    """

    def __init__(self, rule: UpdateRule, low: float, high: float, steps: int) -> None:
        super().__init__(rule.settings)
        self.rule, self.low, self.high, self.steps, self.plateau = rule, low, high, steps, None

    def build(self, network: nn.Module) -> torch.optim.Optimizer:
        return self.rule.build(network)

    def rate(self, step: int, progress: float, total: int | None) -> float:
        return self.low * (self.high / self.low) ** (step / (self.steps - 1))


class RangeTest(Trainer):
    """A trainer that neither evaluates nor saves."""

    def evaluate(self, split: str, limit: int | None = None, at_end: bool = False) -> dict[str, float]:
        return {}

    def save(self, best: bool = False, wait: bool = True) -> None:
        pass


def find_rate(recipe: Recipe, low: float = LOW, high: float = HIGH, steps: int = STEPS) -> Found:
    """Return what a range test of `recipe` finds. Nothing is kept: model and moments are made anew and thrown away.

    Raises: ConfigError where there is no one loss to watch.
    """
    if not 0 < low < high:
        raise ConfigError("The rates should rise from above 0: from {low} to {high} they do not.", low=low, high=high)
    train = recipe.train.replace(
        steps=steps, epochs=None, minutes=None, log_every=1, evaluate_every=0, save_every=0, patience=None,
        average=None, devices=1, compile=False, on_nonfinite="stop",
    )  # fmt: skip
    assembly = assemble(recipe.replace(train=train))
    names = list(assembly.task.networks(assembly.model))
    if len(names) > 1 or assembly.data.facts.inputs.kind == "world":
        raise ConfigError("task.name={name}: a range test reads the rate from one loss that falls as the model learns, and "
                          "this task has none. Compare whole runs: seodang train … optimizer.lr=…",
                          name=recipe.task.name)  # fmt: skip
    rates, losses = sweep(assembly, low, high, steps)
    smoothed = centred(rates, losses)
    diverged = len(losses) < steps
    constant = assembly.rule.settings.schedule == "constant"
    bottom, reason = propose(rates, smoothed, diverged, constant)
    proposal = taken(bottom, constant) if bottom else None
    return Found(rates, losses, smoothed, proposal, reason, diverged, names[0], bottom)


def find_lr(
    recipe: str | Path | Mapping[str, Any] | Recipe,
    *,
    data: str | Path | Mapping[str, Any] | None = None,
    low: float = LOW,
    high: float = HIGH,
    steps: int = STEPS,
    plugin: str | Path | None = None,
    **settings: Any,
) -> Found:
    """Return a learning rate for a recipe, with the curve it is read from: ``find_lr("digits-cnn").proposal``.

    Recipe, data and settings are those of `train`; nothing is kept.
    Raises: SeodangError
    """
    if plugin:
        load_plugin(plugin)
    return find_rate(read_recipe(recipe, data, (), settings)[0], low, high, steps)


def sweep(assembly: Assembly, low: float, high: float, steps: int) -> tuple[list[float], list[float]]:
    """Train while the rate rises; return rates and losses up to the end, or to where the loss breaks out."""
    rates: list[float] = []
    losses: list[float] = []
    rule = Sweep(assembly.rule, low, high, steps)
    with tempfile.TemporaryDirectory(prefix="seodang-find-lr-") as folder:
        devices = Devices(assembly.recipe.train)
        trainer: Trainer

        def watch(event: Event) -> None:
            if not isinstance(event, Stepped):
                return
            rates.append(event.lr)
            losses.append(next(iter(event.losses.values())))
            if broken_out(losses):
                trainer.stop(say("the loss broke out"))

        try:
            trainer = RangeTest(assembly.recipe, assembly.model, assembly.task, assembly.data, rule,
                                RunFolder.create(assembly.recipe, Path(folder) / "run"), assembly.record, devices,
                                [watch])  # fmt: skip
            trainer.fit()
        except TrainingError:  # not a finite number: what has been seen until here counts
            if not losses:
                raise
        finally:
            devices.close()
    return rates, losses


def broken_out(losses: Sequence[float]) -> bool:
    smoothed = smooth(losses)
    return len(smoothed) > 1 and smoothed[-1] > DIVERGED * max(min(smoothed), 1e-12)


def smooth(losses: Sequence[float], keep: float = SMOOTHING) -> list[float]:
    """Return the running mean of the losses, freed of its start at zero: what is known while the test goes on."""
    mean, found = 0.0, []
    for count, loss in enumerate(losses, 1):
        mean = keep * mean + (1 - keep) * loss
        found.append(mean / (1 - keep**count))
    return found


def centred(rates: Sequence[float], losses: Sequence[float], width: float = WIDTH) -> list[float]:
    """Return the mean of the losses around each rate, weighed by a bell `width` decades wide: it lags behind nothing.

    A loss that has broken out counts as no more than the first loss plus the whole fall.
    """
    if not losses:
        return []
    place, values = torch.tensor(rates, dtype=torch.float64).log10(), torch.tensor(losses, dtype=torch.float64)
    values = values.clamp(max=float(2 * values[0] - values.min()))
    weights = torch.exp(-0.5 * ((place[:, None] - place[None]) / width) ** 2)
    return ((weights @ values) / weights.sum(1)).tolist()


def propose(
    rates: Sequence[float], smoothed: Sequence[float], diverged: bool, constant: bool = False
) -> tuple[tuple[float, float] | None, str]:
    """Return the bottom of the curve, and why what is `taken` from it is the rate to take; None and why not.

    Source: the range test of Smith 2017, arXiv:1506.01186, sec. 3.3, which reads the rates that learn from the curve.
    Differs: takes the middle of the bottom on the logarithmic axis, or its lower end where the rate stays `constant`. On
    the recipes of this library that came closer to the best of a scan, and moved less from seed to seed, than a tenth of
    the rate with the least loss, the steepest place or the "valley" of fast.ai's ``lr_find`` (Howard & Gugger 2020,
    arXiv:2002.04688, sec. 4.2).
    """
    if not smoothed:
        return None, say("There is no finite loss even at the smallest rate, {low:.2g}: start lower, with --low.", low=rates[0]
                         if rates else LOW)  # fmt: skip
    place = min(range(len(smoothed)), key=smoothed.__getitem__)
    first, least = smoothed[0], smoothed[place]
    if first - least < FALL * abs(first):
        return None, say("The loss never fell by more than {share:.0%} (from {first:.4g} to {least:.4g}): no rate between "
                         "{low:.2g} and {high:.2g} learns in so few updates. Try --steps, or look at the data: seodang check",
                         share=FALL, first=first, least=least, low=rates[0], high=rates[-1])  # fmt: skip
    if place == len(smoothed) - 1 and not diverged:
        return None, say("The loss was still falling at the largest rate, {high:.2g}: go higher, with --high.",
                         high=rates[-1])  # fmt: skip
    level = least + BOTTOM * (first - least)
    start = next(at for at in range(place, -1, -1) if at == 0 or smoothed[at - 1] > level)
    end = next(at for at in range(place, len(smoothed)) if at + 1 == len(smoothed) or smoothed[at + 1] > level)
    bottom = rates[start], rates[end]
    proposal = taken(bottom, constant)
    values = {"first": first, "least": least, "rate": rates[place], "last": rates[-1]}
    fall = (say("The loss falls from {first:.4g} to {least:.4g} at a rate of {rate:.2g} and breaks out before {last:.2g}.", **values)
            if diverged else
            say("The loss falls from {first:.4g} to {least:.4g} at a rate of {rate:.2g} and rises after it.", **values))  # fmt: skip
    values = {"start": bottom[0], "end": bottom[1], "proposal": proposal, "share": BOTTOM}
    why = (say("From {start:.2g} to {end:.2g} it stays within {share:.0%} of that fall; as the rate of this recipe never comes down, the "
               "lower end, {proposal:.2g}, is taken.", **values)
           if constant else
           say("From {start:.2g} to {end:.2g} it stays within {share:.0%} of that fall; the middle, {proposal:.2g}, is fast and keeps "
               "its distance.", **values))  # fmt: skip
    return bottom, f"{fall} {why}"


def taken(bottom: tuple[float, float], constant: bool = False) -> float:
    """Return the middle of a range of rates on a logarithmic axis, or its lower end for a rate that stays `constant`.

    It has two significant digits: a test knows no more.
    """
    return float(f"{bottom[0] if constant else (bottom[0] * bottom[1]) ** 0.5:.1e}")


def facts_of(found: Found) -> dict[str, Any]:
    """Return a range test for programs."""
    return {"proposal": found.proposal, "bottom": found.bottom, "reason": found.reason, "diverged": found.diverged, "loss": found.loss,
            "rates": found.rates, "losses": found.losses, "smoothed": found.smoothed}  # fmt: skip
