"""The run folder: created once, locked while running, read even after a crash."""

from __future__ import annotations

import fcntl
import json
import multiprocessing
import subprocess
from pathlib import Path

import pytest

from seodang.core.errors import RunError
from seodang.core.events import Evaluated, Started, Stepped
from seodang.core.recipe import Recipe
from seodang.core.run import RunFolder, all_runs
from tests.core.test_config import VALUES

RECIPE = Recipe.of(VALUES)


def stepped(step: int, loss: float) -> Stepped:
    return Stepped(step, {"model": loss}, 0.1, 1.0, 10.0, 0.0, 0.0, 0.0)


def test_the_recipe_in_the_folder_repeats_the_run(tmp_path: Path) -> None:
    assert RunFolder.create(RECIPE, tmp_path / "run").recipe == RECIPE


def test_folders_that_cannot_be_runs(tmp_path: Path) -> None:
    RunFolder.create(RECIPE, tmp_path / "run")
    with pytest.raises(RunError, match=r"there is a run here already. Go on with it: seodang resume"):
        RunFolder.create(RECIPE, tmp_path / "run")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    with pytest.raises(RunError, match="is not empty"):
        RunFolder.create(RECIPE, tmp_path / "full")
    with pytest.raises(RunError, match="is a file"):
        RunFolder.create(RECIPE, tmp_path / "full" / "thesis.txt")
    with pytest.raises(RunError, match="there is no such folder"):
        RunFolder(tmp_path / "nowhere")
    with pytest.raises(RunError, match="is not a run"):
        RunFolder(tmp_path / "full")
    assert (tmp_path / "full" / "thesis.txt").read_text() == "mine"


def test_a_torn_last_line_is_ignored(tmp_path: Path) -> None:
    run = RunFolder.create(RECIPE, tmp_path / "run")
    run.emit(Started(0, 3, {}))
    run.emit(stepped(1, 0.5))
    with (run.path / "events.jsonl").open("a") as file:
        file.write('{"event": "stepped", "st')
    assert [event["step"] for event in run.events] == [0, 1]


def test_events_after_the_checkpoint_that_was_resumed_are_void(tmp_path: Path) -> None:
    run = RunFolder.create(RECIPE, tmp_path / "run")
    for event in (Started(0, 9, {}), stepped(2, 0.5), stepped(4, 0.4), Started(2, 9, {}), stepped(4, 0.3)):
        run.emit(event)
    kept = [(event["event"], event["step"]) for event in run.events]
    assert kept == [("started", 0), ("stepped", 2), ("started", 2), ("stepped", 4)]
    assert run.events[-1]["losses"]["model"] == 0.3


def test_non_finite_numbers_are_written_as_text(tmp_path: Path) -> None:
    run = RunFolder.create(RECIPE, tmp_path / "run")
    run.emit(Evaluated(1, "test", {"loss": float("nan"), "other": float("inf")}))
    for line in (run.path / "events.jsonl").read_text().splitlines():
        json.loads(line, parse_constant=pytest.fail)
    assert run.events[0]["scores"] == {"loss": "nan", "other": "inf"}


def _try(path: Path, queue: multiprocessing.Queue) -> None:  # type: ignore[type-arg]
    try:
        with RunFolder(path).locked():
            queue.put("got it")
    except RunError as error:
        queue.put(str(error))


def test_one_trainer_at_a_time(tmp_path: Path) -> None:
    run = RunFolder.create(RECIPE, tmp_path / "run")
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    with run.locked():
        assert run.is_running
        assert run.status == "running"
        other = context.Process(target=_try, args=(run.path, queue))
        other.start()
        answer = queue.get(timeout=60)
        other.join()
    import os

    assert f"is running already, in process {os.getpid()}" in answer
    assert not run.is_running


def test_what_a_dead_trainer_was_starting_is_waited_for(tmp_path: Path) -> None:
    """A program it was starting has its lock until it is up; resuming right after a kill must not be refused."""
    run = RunFolder.create(RECIPE, tmp_path / "run")
    dead = subprocess.Popen(["true"])
    dead.wait()
    (run.path / "lock").write_text(str(dead.pid))
    with (run.path / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        starting = subprocess.Popen(["sleep", "0.3"], pass_fds=[lock.fileno()])
    with run.locked():
        assert starting.wait() == 0


def test_runs_are_listed_oldest_first(tmp_path: Path) -> None:
    import os

    for number, name in enumerate(("b", "a", "c")):
        RunFolder.create(RECIPE, tmp_path / name)
        os.utime(tmp_path / name / "recipe.toml", (number, number))
    (tmp_path / "other").mkdir()
    assert [run.name for run in all_runs(tmp_path)] == ["b", "a", "c"]
