"""Small runs for tests: a recipe on digits, a stop at a chosen step, and a comparison of two runs to the byte."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import seodang as sd
from seodang.core.run import RunFolder
from seodang.training.trainer import Trainer

TENSORS = ("model.safetensors", "optimizer.safetensors", "random.safetensors")


class Killed(Exception):
    """Stands for the end of the process."""


@contextmanager
def killed_after(step: int) -> Iterator[None]:
    """Let trainers die right after update `step`, before anything is logged, evaluated or saved."""
    update = Trainer._update

    def dying(self: Trainer) -> None:
        update(self)
        if self.step == step:
            raise Killed

    Trainer._update = dying  # type: ignore[method-assign]
    try:
        yield
    except Killed:
        pass
    finally:
        Trainer._update = update  # type: ignore[method-assign]


def history(run: RunFolder, asked: bool = False) -> list[Any]:
    """Return every event without what depends on clocks and places: timing, the run's own path, the mark of a resume itself.

    A run that was `asked` to stop saved where it was: without that too.
    """
    timing = ("seconds", "examples_per_second", "choices", "result", "total_steps")
    here = str(run.path)
    events = [{key: value.replace(here, "RUN") if key == "command" else value
               for key, value in event.items() if key not in timing} for event in run.events]  # fmt: skip
    left_out = ("started", "saved", "stopped") if asked else ("started",)
    return [event for event in events if event["event"] not in left_out]


def assert_same_end(first: RunFolder, second: RunFolder, asked: bool = False) -> None:
    """Fail unless both runs ended with equal bytes: weights, moments, averages, generators, position, history.

    `asked`: one of them was asked to stop on the way, and saved there.
    """
    one, two = first.checkpoints[-1], second.checkpoints[-1]
    assert one.name == two.name
    for name in TENSORS:
        assert (one / name).read_bytes() == (two / name).read_bytes(), name
    states = []
    for path in (one, two):
        state = RunFolder(path.parents[1]).read_json(f"checkpoints/{path.name}/state.json")
        assert state is not None
        state["seconds"] = state["window"]["seconds"] = 0
        states.append(state)
    assert states[0] == states[1]
    assert history(first, asked) == history(second, asked)
    assert first.scores == second.scores


def assert_resume_is_exact(recipe: Any, folder: Path, kill_at: int, **settings: Any) -> None:
    """Train once whole and once killed at `kill_at` and resumed; fail unless nothing differs."""
    whole = sd.train(recipe, run=folder / "whole", **settings)
    with killed_after(kill_at):
        sd.train(recipe, run=folder / "killed", **settings)
    assert RunFolder(folder / "killed").result is None, "the run was not killed"
    resumed = sd.resume(folder / "killed")
    assert_same_end(whole, resumed)
