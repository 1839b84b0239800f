"""What every update rule has: settings, parameter groups, the rate of each update; and the average of the weights.

The rate of an update is ``lr × schedule``, a pure function of how far the run is, set on the groups each time:
there is no scheduler object and nothing to save. The rules themselves are in `optimizers` and `muon`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Self

import torch
from pydantic import Field, model_validator
from torch import nn
from torch.distributed.tensor import DTensor

from seodang.core.config import Config
from seodang.core.errors import ConfigError
from seodang.core.language import say
from seodang.core.recipe import Train
from seodang.core.registry import Registry
from seodang.training.groups import give_shares, parameter_groups
from seodang.training.schedules import Plateau, Shape, cycle_ends, expected_steps, schedule


class OptimizerConfig(Config):
    """What every update rule has."""

    lr: float = Field(0.001, gt=0)
    """Largest learning rate of the run."""
    weight_decay: float = Field(0.0, ge=0)
    """Pull towards zero per update and unit of rate. Biases and normalisation are left out."""
    l1: float = Field(0.0, ge=0)
    """Weight of the L1 penalty, the sum of |w|, in what is minimised; biases and normalisation are left out."""
    l2: float = Field(0.0, ge=0)
    """Weight of the L2 penalty, half the sum of w², in what is minimised; biases and normalisation are left out."""
    layer_decay: float = Field(1.0, gt=0, le=1)
    """Share of the rate each layer gets of that of the layer above it; 1 = all the same."""
    schedule: Shape = "constant"
    """Shape of the rate over the run, after warm-up."""
    warmup: float = Field(0.0, ge=0)
    """Linear warm-up: a share of the run if below 1, else a number of updates."""
    final: float = Field(0.0, ge=0, le=1)
    """Rate at the end of a linear, cosine, cyclic or exponential schedule, as a share of the largest."""
    drop_at: tuple[float, ...] = ()
    """Shares of the run after which a step schedule drops; default 0.5 and 0.75."""
    drop: float = Field(0.1, gt=0, lt=1)
    """What is left of the rate after each drop of a step or plateau schedule."""
    cycles: int = Field(5, gt=1)
    """Cycles of a cyclic schedule. The checkpoint at the end of each is kept: `seodang evaluate RUN --snapshots` averages them."""
    wait: int = Field(5, gt=0)
    """Evaluations on the validation split without improvement after which a plateau schedule drops."""

    @model_validator(mode="after")
    def _penalties_fit(self) -> Self:
        if self.l2 and self.weight_decay:
            raise ValueError(say("l2={l2} and weight_decay={decay} both pull the weights to zero: set one of them to 0", l2=self.l2,
                                 decay=self.weight_decay))  # fmt: skip
        return self

    @model_validator(mode="after")
    def _schedule_fits(self) -> Self:
        for name, shapes in (
            ("drop_at", ("step",)),
            ("drop", ("step", "plateau")),
            ("wait", ("plateau",)),
            ("cycles", ("cyclic",)),
        ):
            changed = getattr(self, name) != type(self).model_fields[name].default
            if changed and self.schedule not in shapes:
                raise ValueError(say("{name} goes with schedule={shapes}, not {schedule}", name=name,
                                     shapes="|".join(shapes), schedule=self.schedule))  # fmt: skip
        if any(not 0 < place < 1 for place in self.drop_at) or list(self.drop_at) != sorted(set(self.drop_at)):
            raise ValueError(say("drop_at={value}: shares of the run between 0 and 1, in rising order",
                                 value=list(self.drop_at)))  # fmt: skip
        if self.schedule == "cyclic" and self.warmup:
            raise ValueError(say("schedule=cyclic begins every cycle at the largest rate: warmup={value} means nothing with it",
                                 value=self.warmup))  # fmt: skip
        if self.schedule == "exponential" and not self.final:
            raise ValueError(say("schedule=exponential falls to final times the rate: final must be above 0"))
        if self.schedule in ("constant", "step", "plateau") and self.final:
            raise ValueError(say("final={value} means nothing with schedule={schedule}", value=self.final,
                                 schedule=self.schedule))  # fmt: skip
        return self


class UpdateRule:
    """Makes the PyTorch optimizer for one network and says the rate at each update."""

    settings: OptimizerConfig

    def __init__(self, settings: OptimizerConfig) -> None:
        self.settings = settings
        self.plateau = Plateau(settings.wait) if settings.schedule == "plateau" else None

    def build(self, network: nn.Module) -> torch.optim.Optimizer:
        """Return the optimizer of `network`, in groups: with and without weight decay, by layer if rates differ."""
        optimizer = self.make(parameter_groups(network, self.settings))
        give_shares(optimizer)
        return optimizer

    def make(self, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
        raise NotImplementedError

    def rate(self, step: int, progress: float, total: int | None) -> float:
        """Return the learning rate for update `step` (0 = the first) of a run that is `progress` (0…1) done."""
        settings = self.settings
        factor = schedule(
            settings.schedule, step, progress, total, settings.warmup, settings.final,
            settings.drop_at or (0.5, 0.75), settings.drop, settings.cycles,
        )  # fmt: skip
        if self.plateau:
            factor *= settings.drop**self.plateau.drops
        return settings.lr * factor

    def ends_cycle(self, step: int, total: int | None) -> bool:
        """Return whether a cycle of the schedule ends with update number `step` of a run of `total`: a snapshot is kept then."""
        return (
            self.settings.schedule == "cyclic" and total is not None and step in cycle_ends(total, self.settings.cycles)
        )

    def expect_length(self, train: Train, examples: int | None) -> None:
        """Refuse a cyclic schedule where the length of its cycles is not known, or is less than two updates.

        Raises: ConfigError
        """
        if self.settings.schedule != "cyclic":
            return
        total = expected_steps(train, examples)
        if total is None:
            raise ConfigError("optimizer.schedule=cyclic: its cycles are counted in updates; give train.steps or train.epochs, "
                              "not train.minutes.")  # fmt: skip
        if total < 2 * self.settings.cycles:
            raise ConfigError("optimizer.cycles={cycles}: the run has {total} updates; a cycle needs two or more.",
                              cycles=self.settings.cycles, total=total)  # fmt: skip

    def expect(self, evaluated: bool) -> None:
        """Refuse a plateau schedule in a run that is never `evaluated` on a validation split.

        Raises: ConfigError
        """
        if self.plateau and not evaluated:
            raise ConfigError("optimizer.schedule=plateau: drops the rate when the score on validation data no longer gets better, "
                              "but this run has none: it needs a validation split, and train.evaluate_every above 0.")  # fmt: skip

    def judge(self, scores: Mapping[str, float], monitor: tuple[str, str]) -> None:
        """Take in the scores of an evaluation; `monitor` says which counts, and whether "min" or "max" is better."""
        if self.plateau and monitor[0] in scores:
            self.plateau.judge(scores[monitor[0]], monitor[1])

    def state(self) -> dict[str, Any]:
        """Return what must survive a resume."""
        return self.plateau.state() if self.plateau else {}

    def restore(self, state: Mapping[str, Any]) -> None:
        if self.plateau:
            self.plateau.restore(state)


def fast(groups: Iterable[Mapping[str, Any]]) -> dict[str, bool]:
    """Return how PyTorch is to apply the rule: fused; shards of FSDP2 know only the for-each form of some rules."""
    sharded = any(isinstance(weight, DTensor) for group in groups for weight in group["params"])
    return {"foreach": True} if sharded else {"fused": True}


optimizers: Registry[UpdateRule] = Registry("optimizer", "seodang.training")


class Average:
    """Moving average of a network's weights and floating-point buffers.

    Source: Polyak & Juditsky 1992; in this form Izmailov et al. 2018 and most diffusion codes. The decay is
    warmed up as min(decay, (1 + t) / (10 + t)), as in TensorFlow's ExponentialMovingAverage.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.live = {name: value for name, value in model.state_dict().items() if value.is_floating_point()}
        self.mean = {name: value.detach().clone() for name, value in self.live.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after update `step` (1 = after the first)."""
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(list(self.mean.values()), list(self.live.values()), 1 - decay)

    @torch.no_grad()
    def swap(self) -> None:
        """Exchange the live weights and the averages; a second call exchanges them back."""
        for name, value in self.live.items():
            kept = value.clone()
            value.copy_(self.mean[name])
            self.mean[name].copy_(kept)
