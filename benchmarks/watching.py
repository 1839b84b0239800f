"""Claim: logging, events and progress cost at most 1 % of a run's time.

Every moment spent in listeners (the event file, the console's progress) is timed inside real runs.
"""

from __future__ import annotations

import io
import statistics
import tempfile
import time
from pathlib import Path

import seodang as sd
from seodang.cli.console import Console
from seodang.core.events import Event, Stopped
from seodang.training.listeners import Audience

ROUNDS = 5


def share(recipe: str, seed: int, **settings: object) -> float:
    """Return the share of a run's wall time that went to watching it. The closing report is not progress."""
    spent = 0.0
    tell = Audience.tell

    def timed(self: Audience, event: Event) -> None:
        nonlocal spent
        began = time.perf_counter()
        tell(self, event)
        if not isinstance(event, Stopped):
            spent += time.perf_counter() - began

    Audience.tell = timed  # type: ignore[method-assign]
    try:
        with tempfile.TemporaryDirectory() as folder:
            began = time.perf_counter()
            run = sd.train(
                recipe, run=Path(folder) / "run", listeners=[Console(stream=io.StringIO())], seed=seed, **settings
            )
            assert run.result is not None
            return spent / (time.perf_counter() - began)
    finally:
        Audience.tell = tell  # type: ignore[method-assign]


def main() -> None:
    for recipe, settings in (("digits-cnn", {}), ("mnist-mlp", {"train.epochs": 3})):
        shares = [share(recipe, seed, **settings) for seed in range(ROUNDS)]
        print(f"  {recipe:12} {statistics.median(shares):.2%} of the run ({min(shares):.2%} to {max(shares):.2%})")


if __name__ == "__main__":
    main()
