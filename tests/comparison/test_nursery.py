"""Processes forked from one that has everything loaded: the same bytes as a training alone; ends, signals and losses are noticed."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

import seodang as sd
from seodang.comparison.comparing import Terms
from seodang.comparison.nursery import Nursery
from seodang.comparison.plan import Plan, begin
from seodang.comparison.running import FORKS
from seodang.comparison.variants import from_lists
from seodang.core.run import RunFolder

pytestmark = pytest.mark.skipif(not FORKS, reason="processes are forked on Linux only")


@pytest.fixture(scope="module")
def plan() -> Plan:
    shared = {"train.steps": 6, "train.evaluate_every": 3, "train.log_every": 2, "train.threads": 1}
    return Terms().plan("digits-mlp", from_lists({"optimizer.lr": [0.01, 0.02]}), shared, 1)


class Hatched:
    """A nursery and the processes it told of."""

    def __init__(self, folder: Path) -> None:
        self.pids: dict[str, int] = {}
        self.nursery = Nursery(str(folder), None, self.pids.__setitem__)


@pytest.fixture
def hatched(tmp_path: Path, plan: Plan) -> Iterator[Hatched]:
    begin(tmp_path / "both", plan)
    made = Hatched(tmp_path / "both")
    yield made
    made.nursery.close()


def until(true: Callable[[], bool], seconds: float = 600) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_runs_are_those_of_a_training_alone(hatched: Hatched, tmp_path: Path, plan: Plan) -> None:
    names = [run.name for run in plan.runs]
    ended = [future.result(600) for future in [hatched.nursery.ask(name) for name in names]]
    assert [one.code for one in ended] == [0, 0], ended
    assert len(set(hatched.pids.values())) == 2
    for planned in plan.runs:
        forked = sd.model(tmp_path / "both" / planned.name).state_dict()
        alone = sd.train(planned.recipe, run=tmp_path / planned.name).model().state_dict()
        assert all(torch.equal(forked[key], alone[key]) for key in alone)
    (unknown,) = [hatched.nursery.ask("nobody").result(600)]
    assert unknown.code == 1
    assert "StopIteration" in unknown.said


def test_a_process_that_is_killed_is_noticed(hatched: Hatched, tmp_path: Path, plan: Plan) -> None:
    future = hatched.nursery.ask(plan.runs[0].name)
    until(lambda: plan.runs[0].name in hatched.pids)
    os.kill(hatched.pids[plan.runs[0].name], signal.SIGKILL)
    assert future.result(600).code == -signal.SIGKILL
    assert hatched.nursery.alive


def test_where_the_nursery_is_gone_its_runs_are_lost_and_their_processes_end(hatched: Hatched, tmp_path: Path) -> None:
    long = Terms().plan("digits-mlp", from_lists({"optimizer.lr": [0.01]}),
                        {"train.epochs": 100000, "train.log_every": 2, "train.threads": 1}, 1)  # fmt: skip
    folder = tmp_path / "long"
    begin(folder, long)
    made = Hatched(folder)
    name = long.runs[0].name
    future = made.nursery.ask(name)
    until(lambda: (folder / name / "recipe.toml").exists() and RunFolder(folder / name).is_running)
    made.nursery._process.kill()
    assert future.result(60).code != 0
    assert not made.nursery.alive
    assert made.nursery.ask(name).result(60).code != 0
    until(lambda: not RunFolder(folder / name).is_running)
    made.nursery.close()
