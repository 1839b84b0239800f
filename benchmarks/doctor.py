"""Claim: what the doctor reads and says while a run goes on costs at most 2 % of the training time.

Both parts are timed inside real runs: reading the layers at each line of progress, and looking at the history. Beside it the same run
with both left out, the two taking turns.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import seodang as sd
from seodang import api
from seodang.diagnosis.live import Watch
from seodang.training.signals import LayerSignals

ROUNDS = 5


@contextmanager
def replaced(read: Callable[..., Any], look: Callable[..., Any]) -> Iterator[None]:
    """Exchange what reads the layers and what looks at the history."""
    kept = LayerSignals.read, Watch.__call__, api._pictures
    LayerSignals.read, Watch.__call__ = read, look  # type: ignore[method-assign]
    api._pictures = lambda run, data: lambda event: None
    try:
        yield
    finally:
        LayerSignals.read, Watch.__call__, api._pictures = kept  # type: ignore[method-assign]


def timed(recipe: str, seed: int, watched: bool, settings: dict[str, Any]) -> tuple[float, float]:
    """Return the training time with what is spent watching, and that part of it."""
    spent = 0.0
    read, look = LayerSignals.read, Watch.__call__

    def counted(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            nonlocal spent
            began = time.perf_counter()
            answer = function(*arguments)
            spent += time.perf_counter() - began
            return answer

        return call

    parts = (counted(read), counted(look)) if watched else (lambda self: {}, lambda self, event: None)
    with tempfile.TemporaryDirectory() as folder, replaced(*parts):
        began = time.perf_counter()
        run = sd.train(recipe, run=Path(folder) / "run", seed=seed, **settings)
        whole = time.perf_counter() - began
        assert run.result is not None
        return whole, spent / run.result["train_seconds"]


def main() -> None:
    cases: tuple[tuple[str, dict[str, Any]], ...] = (
        ("digits-cnn", {"train.epochs": 20}), ("digits-mlp", {"train.epochs": 30}), ("iris-mlp", {}), ("diabetes-mlp", {}),
    )  # fmt: skip
    for recipe, settings in cases:
        shares, ratios = [], []
        for seed in range(ROUNDS):
            watched, share = timed(recipe, seed, True, settings)
            alone, _ = timed(recipe, seed, False, settings)
            shares.append(share)
            ratios.append(watched / alone - 1)
        print(f"  {recipe:12} watching takes {statistics.median(shares):.2%} of the training time ({min(shares):.2%} to {max(shares):.2%}); "
              f"whole runs beside those without: {statistics.median(ratios):+.1%}")  # fmt: skip


if __name__ == "__main__":
    main()
