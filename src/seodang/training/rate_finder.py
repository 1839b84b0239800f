"""The range test: train a moment while the rate rises, and read from the loss which rate to take.

It is a run of the one trainer with another schedule, in a folder that is thrown away.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from seodang.core.errors import ConfigError, TrainingError
from seodang.core.events import Event, Stepped
from seodang.core.language import say
from seodang.core.recipe import Recipe
from seodang.core.run import RunFolder
from seodang.training.assemble import Assembly, assemble
from seodang.training.devices import Devices
from seodang.training.optim import UpdateRule
from seodang.training.trainer import Trainer

LOW, HIGH, STEPS = 1e-6, 10.0, 120
SMOOTHING = 0.9
DIVERGED = 4.0
"""The test ends when the smoothed loss is this many times its least."""
MARGIN = 10.0
"""The least loss comes just before it breaks out: a rate this many times smaller is safe."""
FALL = 0.02
"""Share of the first loss it must fall by, to have learned anything at all."""


class Found(NamedTuple):
    """What a range test saw: a loss for each rate, and the rate it proposes with the reason; None if none can be."""

    rates: list[float]
    losses: list[float]
    smoothed: list[float]
    proposal: float | None
    reason: str
    diverged: bool
    loss: str
    """Name of the network whose loss it is."""


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
    smoothed = smooth(losses)
    diverged = len(losses) < steps
    proposal, reason = propose(rates, smoothed, diverged)
    return Found(rates, losses, smoothed, proposal, reason, diverged, names[0])


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
    """Return the running mean of the losses, freed of its start at zero."""
    mean, found = 0.0, []
    for count, loss in enumerate(losses, 1):
        mean = keep * mean + (1 - keep) * loss
        found.append(mean / (1 - keep**count))
    return found


def propose(rates: Sequence[float], smoothed: Sequence[float], diverged: bool) -> tuple[float | None, str]:
    """Return the rate to take as the largest of a run, and why; None and why not.

    Source: a tenth of the rate with the least smoothed loss, as in fast.ai's ``lr_find`` (Howard & Gugger 2020,
    "fastai: A layered API for deep learning", arXiv:2002.04688, sec. 4.2), after Smith 2017.
    """
    if not smoothed:
        return None, say("There is no finite loss even at the smallest rate, {low:.2g}: start lower, with --from.", low=rates[0]
                         if rates else LOW)  # fmt: skip
    place = min(range(len(smoothed)), key=smoothed.__getitem__)
    first, least = smoothed[0], smoothed[place]
    if first - least < FALL * abs(first):
        return None, say("The loss never fell by more than {share:.0%} (from {first:.4g} to {least:.4g}): no rate between "
                         "{low:.2g} and {high:.2g} learns in so few updates. Try --steps, or look at the data: seodang check",
                         share=FALL, first=first, least=least, low=rates[0], high=rates[-1])  # fmt: skip
    if place == len(smoothed) - 1 and not diverged:
        return None, say("The loss was still falling at the largest rate, {high:.2g}: go higher, with --to.",
                         high=rates[-1])  # fmt: skip
    proposal = rounded(rates[place] / MARGIN)
    values = {"least": least, "rate": rates[place], "proposal": proposal, "last": rates[-1], "first": first}
    if diverged:
        return proposal, say(
            "The smoothed loss is least at a rate of {rate:.2g} ({least:.4g}, from {first:.4g}) and has broken out at {last:.2g}; a "
            "tenth of the rate with the least loss, {proposal:.2g}, is fast and keeps its distance.", **values)  # fmt: skip
    return proposal, say(
        "The smoothed loss is least at a rate of {rate:.2g} ({least:.4g}, from {first:.4g}) and rises after it; a tenth of that "
        "rate, {proposal:.2g}, is fast and keeps its distance.", **values)  # fmt: skip


def rounded(rate: float) -> float:
    """Return the rate with two significant digits: a range test knows no more."""
    return float(f"{rate:.1e}")


def facts_of(found: Found) -> dict[str, Any]:
    """Return a range test for programs."""
    return {"proposal": found.proposal, "reason": found.reason, "diverged": found.diverged, "loss": found.loss,
            "rates": found.rates, "losses": found.losses, "smoothed": found.smoothed}  # fmt: skip
