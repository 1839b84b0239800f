"""Claim: what the doctor reads and says while a run goes on costs at most 2 % of the training time.

Both parts are timed inside real runs: reading the layers at each line of progress, and looking at the history. Beside it the same run
with both left out, the two taking turns; no round is begun that would end after 75 s.
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

ROUNDS = 7
SECONDS = 75.0
CASES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("digits-cnn", {"train.epochs": 10}), ("digits-mlp", {"train.epochs": 20}), ("iris-mlp", {}), ("diabetes-mlp", {}),
)  # fmt: skip


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
    """Return the training time in seconds, and the share of it spent watching."""
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
        result = sd.train(recipe, run=Path(folder) / "run", seed=seed, **settings).result
    assert result is not None
    return result["train_seconds"], spent / result["train_seconds"]


def main() -> None:
    for recipe, _ in CASES:  # whatever is loaded once
        timed(recipe, 0, True, {"train.steps": 2})
    shares: dict[str, list[float]] = {recipe: [] for recipe, _ in CASES}
    times: dict[tuple[str, bool], list[float]] = {(recipe, way): [] for recipe, _ in CASES for way in (True, False)}
    began = time.perf_counter()
    for seed in range(ROUNDS):
        if seed and (time.perf_counter() - began) * (seed + 1) / seed > SECONDS:
            break
        for recipe, settings in CASES:
            for watched in (True, False) if seed % 2 else (False, True):
                seconds, share = timed(recipe, seed, watched, settings)
                times[recipe, watched].append(seconds)
                if watched:
                    shares[recipe].append(share)
    for recipe, found in shares.items():
        whole = statistics.median(
            one / other - 1 for one, other in zip(times[recipe, True], times[recipe, False], strict=True)
        )
        print(f"  {recipe:12} watching takes {statistics.median(found):.2%} of the training time ({min(found):.2%} to {max(found):.2%}); "
              f"whole runs beside those without: {whole:+.1%} (median of {len(found)} pairs)")  # fmt: skip


if __name__ == "__main__":
    main()
