"""Learning-rate schedules: pure functions from how far a run is to a share of the largest rate.

There is no scheduler object and nothing to save: a resumed run computes the same rates again. Only a plateau has to
remember something: the evaluations so far.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Mapping
from typing import Any, Literal

from seodang.core.recipe import Train

Shape = Literal["constant", "linear", "cosine", "exponential", "step", "one-cycle", "plateau", "cyclic"]

ONE_CYCLE_WARMUP = 0.3
ONE_CYCLE_START = 1 / 25


def schedule(
    shape: str, step: int, progress: float, total: int | None, warmup: float = 0, final: float = 0,
    drop_at: tuple[float, ...] = (), drop: float = 1.0, cycles: int = 1,
) -> float:  # fmt: skip
    r"""Return the share of the largest rate at update `step` (0 = the first) of a run that is `progress` (0…1) done.

    With $p$ the share of the run after warm-up that is done, and $f$ = `final`:

        constant     $1$
        linear       $1 - (1 - f) p$
        cosine       $f + (1 - f) (1 + \cos πp) / 2$
        exponential  $f^p$
        step         `drop` to the power of how many of `drop_at` the run (warm-up included) has reached
        one-cycle    up from 1/25 over 30 % of the run (or `warmup`), then as cosine
        plateau      1; `Plateau` multiplies it
        cyclic       as cosine, `cycles` times over: each time the rate leaps back to the largest

    Source: linear and cosine without restarts, Loshchilov & Hutter 2017, "SGDR", arXiv:1608.03983, eq. 5; cyclic Huang
    et al. 2017, "Snapshot ensembles", arXiv:1704.00109, eq. 2; step He et al. 2016, arXiv:1512.03385, sec. 3.4; exponential as in Smith 2017, arXiv:1506.01186, sec. 3.1 ("exp range");
    linear warm-up Goyal et al. 2017, arXiv:1706.02677, sec. 2.2; one-cycle Smith & Topin 2018,
    "Super-convergence", arXiv:1708.07120.
    Differs: one-cycle leaves momentum alone and comes down as a cosine; cycles are equally long up to one update, where the
    paper rounds their length up and the last one is shorter.
    """
    if shape == "one-cycle":
        warmup = warmup or ONE_CYCLE_WARMUP
    if shape == "cyclic":
        begin, end = cycle_of(step, total or 1, cycles)
        return final + (1 - final) * (1 + math.cos(math.pi * (step - begin) / (end - begin))) / 2
    share = warmup if warmup < 1 else (warmup / total if total else 0.0)
    if warmup >= 1 and step < warmup:
        return (step + 1) / warmup
    if warmup < 1 and progress < share:
        start = ONE_CYCLE_START if shape == "one-cycle" else 1 / (share * total + 1) if total else 0.0
        return start + (1 - start) * progress / share
    left = (progress - share) / (1 - share) if share < 1 else 1.0
    match shape:
        case "constant" | "plateau":
            return 1.0
        case "linear":
            return 1 - (1 - final) * left
        case "exponential":
            return final**left
        case "step":
            return drop ** sum(progress >= place for place in drop_at)
        case _:
            return final + (1 - final) * (1 + math.cos(math.pi * left)) / 2


def cycle_ends(total: int, cycles: int) -> list[int]:
    """Return after which updates of a run of `total` each cycle ends; the last one ends with the run."""
    return sorted({round(total * number / cycles) for number in range(1, cycles + 1)} - {0})


def cycle_of(step: int, total: int, cycles: int) -> tuple[int, int]:
    """Return the first update of the cycle that update `step` (0 = the first) is in, and that of the next."""
    ends = [0, *cycle_ends(total, cycles)]
    place = min(bisect.bisect_right(ends, step), len(ends) - 1)
    return ends[place - 1], ends[place]


class Plateau:
    """How often the rate has dropped because the watched score no longer got better.

    Source: "reduce on plateau", as He et al. 2016, arXiv:1512.03385, sec. 3.4 divide the rate "when the error plateaus".
    """

    def __init__(self, wait: int) -> None:
        self.wait = wait
        self.best: float | None = None
        self.waited = self.drops = 0

    def judge(self, value: float, mode: str) -> None:
        """Take in the score of an evaluation, of which `mode` ("min" or "max") is better; NaN is never better."""
        better = value == value and (self.best is None or (value > self.best if mode == "max" else value < self.best))
        if better:
            self.best, self.waited = value, 0
            return
        self.waited += 1
        if self.waited >= self.wait:
            self.waited, self.drops = 0, self.drops + 1

    def state(self) -> dict[str, Any]:
        return {"best": self.best, "waited": self.waited, "drops": self.drops}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.best, self.waited, self.drops = state["best"], state["waited"], state["drops"]


def expected_steps(train: Train, examples: int | None) -> int | None:
    """Return how many updates a run will make on a training split of so many examples; None if only a clock can tell."""
    if train.minutes is not None:
        return None
    if train.epochs is None:
        return train.steps or 1000
    if not examples:
        return None
    size = examples if train.batch_size == "all" else min(train.batch_size, examples)
    full, left = divmod(examples, size)
    return max(1, math.ceil(train.epochs * ((full + int(left >= 2)) or 1)))
