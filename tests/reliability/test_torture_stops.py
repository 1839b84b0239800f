"""Asking a run to stop at the wrong moment changes nothing about it."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest

import seodang as sd
from seodang.core.events import Event
from tests.reliability.differences import differences

RECIPE: dict[str, Any] = {
    "name": "small",
    "model": {"name": "mlp", "hidden_sizes": [4]},
    "data": {"name": "digits", "valid": 0.2},
    "task": "classification",
    "optimizer": {"name": "adam", "lr": 0.2},
    "train": {"steps": 10, "batch_size": 32, "log_every": 1, "evaluate_every": 2, "threads": 1},
}


@pytest.mark.parametrize(
    ("kind", "step", "settings"),
    [
        ("stepped", 10, {}),
        ("evaluated", 10, {}),
        ("stepped", None, {"train.patience": 1, "train.steps": 200}),
        ("evaluated", None, {"train.patience": 1, "train.steps": 200}),
    ],
    ids=["last update", "last evaluation", "update before patience ends", "evaluation at which patience ends"],
)
def test_a_run_that_is_over_is_not_interrupted(
    tmp_path: Path, kind: str, step: int | None, settings: dict[str, Any]
) -> None:
    """Ctrl-C in the last update: the run finishes, and says what an undisturbed one says."""
    whole = sd.train(RECIPE, run=tmp_path / "whole", **settings)
    assert whole.result is not None
    last = step or whole.result["steps"]

    came: list[Event] = []

    def interrupt(event: Event) -> None:
        if event.record()["event"] == kind and event.step == last and not came:
            came.append(event)
            signal.raise_signal(signal.SIGINT)

    late = sd.train(RECIPE, run=tmp_path / "late", listeners=[interrupt], **settings)
    assert late.stopped_by == signal.SIGINT
    assert differences(whole.path, late.path, set()) == []
