"""What a run that died and was resumed differs in from one that nobody disturbed: nothing, to the byte."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from seodang.core.run import RunFolder
from tests.harness import TENSORS, history


def newest(path: Path) -> int:
    """Return the step of the newest checkpoint, or 0."""
    found = RunFolder(path).checkpoints if (path / "recipe.toml").exists() else []
    return int(found[-1].name[5:]) if found else 0


def differences(whole: Path, path: Path, stopped_at: set[int]) -> list[str]:
    """Return what two runs differ in; a run that was asked to stop at some steps was saved there besides."""
    first, second = RunFolder(whole), RunFolder(path)
    if not second.is_complete:
        return ["did not finish"]
    found = []
    names = [[item.name for item in run.checkpoints] for run in (first, second)]
    if names[0][-1] != names[1][-1] or (names[0] != names[1] and not stopped_at):
        found.append(f"the checkpoints left are {names[1]}, not {names[0]}")
    if (first.marked, first.best and first.best.name) != (second.marked, second.best and second.best.name):
        found.append(f"the best is {second.marked}, not {first.marked}")
    for name in set(names[0]) & set(names[1]):
        one, two = whole / "checkpoints" / name, path / "checkpoints" / name
        found += [
            f"{name}/{file} differs" for file in TENSORS if (one / file).read_bytes() != (two / file).read_bytes()
        ]
        found += [f"{name}/state.json differs" for _ in "!" if state(one) != state(two)]
    besides = {step for step in stopped_at if not any(saved(event, step) for event in first.events)}
    events = [event for event in history(second) if not any(saved(event, step) for step in besides)]
    if history(first) != events:
        found.append("the history differs")
    if timeless(first.result) != timeless(second.result):
        found.append(f"the result is {second.result}, not {first.result}")
    return found


def state(checkpoint: Path) -> Any:
    found = json.loads((checkpoint / "state.json").read_bytes())
    found["seconds"] = found["window"]["seconds"] = 0
    return found


def saved(event: dict[str, Any], step: int) -> bool:
    return bool(event["event"] == "saved" and event["step"] == step)


def timeless(result: dict[str, Any] | None) -> dict[str, Any]:
    assert result is not None
    return {key: value for key, value in result.items()
            if key not in ("train_seconds", "peak_memory_bytes") and not key.endswith("_per_second")}  # fmt: skip
