"""A cyclic rate, the snapshots at the ends of its cycles, and their average."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import seodang as sd
from seodang.api import evaluation
from seodang.core.errors import ConfigError, RunError
from seodang.core.recipe import Choice
from seodang.data.dataset import datasets
from seodang.models.bundle import Bundle
from seodang.training.optim import UpdateRule, optimizers
from seodang.training.schedules import cycle_ends, schedule
from tests.harness import assert_same_end, killed_after

RECIPE: dict[str, Any] = {
    "name": "small",
    "model": {"name": "mlp", "hidden_sizes": [16]},
    "data": {"name": "digits"},
    "task": "classification",
    "optimizer": {"name": "sgd", "lr": 0.3, "schedule": "cyclic", "cycles": 4},
    "train": {"steps": 40, "batch_size": 32, "log_every": 1, "evaluate_every": 6, "save_every": 3, "threads": 1},
}
ENDS = [10, 20, 30, 40]


def rule(**settings: Any) -> UpdateRule:
    return optimizers.make(Choice.of({"name": "sgd", "lr": 0.5, "schedule": "cyclic", **settings}))


def test_the_rate_is_that_of_the_paper() -> None:
    total, cycles = 40, 4
    length = math.ceil(total / cycles)
    made = rule(cycles=cycles)
    for t in range(1, total + 1):  # Huang et al. 2017, eq. 2
        wanted = 0.5 / 2 * (math.cos(math.pi * ((t - 1) % length) / length) + 1)
        assert made.rate(t - 1, (t - 1) / total, total) == pytest.approx(wanted)


def test_it_comes_down_to_its_last_share_and_leaps_back() -> None:
    rates = [schedule("cyclic", step, step / 12, 12, final=0.2, cycles=3) for step in range(12)]
    assert rates[0] == rates[4] == rates[8] == 1.0
    assert all(later < earlier for earlier, later in pairwise(rates[4:8]))
    assert rates[3] == pytest.approx(0.2 + 0.8 * (1 + math.cos(math.pi * 3 / 4)) / 2)


@pytest.mark.parametrize(("total", "cycles"), [(40, 4), (41, 4), (10, 4), (7, 3), (1000, 7)])
def test_cycles_fill_the_run_and_are_equally_long_up_to_one(total: int, cycles: int) -> None:
    ends = cycle_ends(total, cycles)
    assert len(ends) == cycles
    assert ends[-1] == total
    lengths = np.diff([0, *ends])
    assert lengths.max() - lengths.min() <= 1
    assert [step for step in range(1, total + 1) if rule(cycles=cycles).ends_cycle(step, total)] == ends


def test_other_schedules_end_no_cycles() -> None:
    made = optimizers.make(Choice.of({"name": "sgd", "lr": 0.5, "schedule": "cosine"}))
    assert not any(made.ends_cycle(step, 40) for step in range(41))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return sd.train(RECIPE, run=tmp_path_factory.mktemp("snapshots") / "run")


def steps(run: Any) -> list[int]:
    return [int(path.name[5:]) for path in run.checkpoints]


def test_snapshots_outlive_the_pruning_of_the_others(run: Any) -> None:
    assert set(ENDS) <= set(steps(run))
    others = set(steps(run)) - set(ENDS)
    assert len(others) <= 2  # the best, and the newest but the last


def test_a_run_without_cycles_keeps_two_and_the_best(tmp_path: Path) -> None:
    plain = sd.train(RECIPE, run=tmp_path / "run", **{"optimizer.schedule": "constant", "optimizer.cycles": 5})
    assert len(plain.checkpoints) <= 3


def test_snapshots_are_averaged_as_numpy_does(run: Any) -> None:
    data = datasets.make(run.recipe.data, None, 0)
    data.prepare()
    examples = data.split("test")
    inputs, targets = examples.batch(torch.arange(len(examples)), None)
    chances = []
    for step in ENDS:
        with torch.no_grad():
            logits = Bundle.read(run.path / "checkpoints" / f"step-{step:09d}").model(inputs).double().numpy()
        powers = np.exp(logits - logits.max(1, keepdims=True))
        chances.append(powers / powers.sum(1, keepdims=True))
    found = evaluation(run, snapshots=True)
    mean = np.mean(chances, axis=0)
    assert found["scores"]["accuracy"] == pytest.approx((mean.argmax(1) == targets.numpy()).mean())
    assert found["scores"]["loss"] == pytest.approx(
        -np.log(mean[np.arange(len(mean)), targets.numpy()]).mean(), rel=1e-5
    )
    assert list(found["members"]) == [*(f"step-{step:09d}" for step in ENDS), "mean probabilities", "majority vote"]


def test_a_killed_run_has_the_same_snapshots(run: Any, tmp_path: Path) -> None:
    with killed_after(23):
        sd.train(RECIPE, run=tmp_path / "killed")
    resumed = sd.resume(tmp_path / "killed")
    assert_same_end(run, resumed)
    assert set(ENDS) <= set(steps(resumed))


def test_what_has_no_cycles_is_refused_before_the_first_step(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cycles goes with schedule=cyclic"):
        rule(schedule="cosine", cycles=3)
    with pytest.raises(ConfigError, match=r"warmup=0.1 means nothing with it"):
        rule(warmup=0.1)
    with pytest.raises(ConfigError, match=r"train.steps or train.epochs"):
        sd.train(RECIPE, run=tmp_path / "run", train={"steps": None, "minutes": 0.1})
    with pytest.raises(ConfigError, match=r"optimizer.cycles=4: the run has 6 updates"):
        sd.train(RECIPE, run=tmp_path / "run", train={"steps": 6})
    assert not (tmp_path / "run").exists()


def test_one_snapshot_is_no_average(tmp_path: Path) -> None:
    with killed_after(12):
        sd.train(RECIPE, run=tmp_path / "killed")
    with pytest.raises(RunError, match="has 1 snapshots"):
        evaluation(tmp_path / "killed", snapshots=True)
