"""The rate drops when the score on validation data no longer gets better, and a resumed run remembers how often."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import seodang as sd
from seodang.core.errors import ConfigError
from seodang.core.recipe import Choice
from seodang.training.optim import UpdateRule, optimizers
from seodang.training.schedules import Plateau
from tests.harness import assert_same_end, history, killed_after

RECIPE: dict[str, Any] = {
    "name": "small",
    "model": {"name": "mlp", "hidden_sizes": [16]},
    "data": {"name": "digits"},
    "task": "classification",
    "optimizer": {"name": "sgd", "lr": 2.0, "schedule": "plateau", "wait": 2, "drop": 0.25},
    "train": {"steps": 48, "batch_size": 16, "log_every": 1, "evaluate_every": 3, "save_every": 6, "threads": 1},
}


def rule(**settings: Any) -> UpdateRule:
    return optimizers.make(Choice.of({"name": "sgd", "lr": 1.0, "schedule": "plateau", **settings}))


@pytest.mark.parametrize(
    ("mode", "scores", "drops"),
    [
        ("min", [3, 2, 1, 1, 1, 0.5, 0.5, 0.5], [0, 0, 0, 0, 1, 1, 1, 2]),
        ("max", [1, 2, 2, 2, 3, float("nan"), 3, 4], [0, 0, 0, 1, 1, 1, 2, 2]),
        ("min", [float("nan"), 1, 2, 3], [0, 0, 0, 1]),
    ],
)
def test_it_drops_after_so_many_evaluations_without_improvement(
    mode: str, scores: list[float], drops: list[int]
) -> None:
    plateau = Plateau(2)
    found = []
    for score in scores:
        plateau.judge(score, mode)
        again = Plateau(2)
        again.restore(plateau.state())
        plateau = again
        found.append(plateau.drops)
    assert found == drops


def test_the_rate_is_cut_at_each_drop_after_warm_up() -> None:
    made = rule(wait=1, drop=0.1, warmup=4.0)
    assert [made.rate(step, step / 10, 10) for step in (0, 3, 9)] == [0.25, 1.0, 1.0]
    for score in (0.5, 0.5, 0.4):
        made.judge({"accuracy": score}, ("accuracy", "max"))
    made.judge({"loss": 1.0}, ("accuracy", "max"))
    assert made.rate(9, 0.9, 10) == pytest.approx(0.01)


def test_in_a_run_the_rates_follow_the_evaluations(tmp_path: Path) -> None:
    run = sd.train(RECIPE, run=tmp_path / "run")
    plateau, found, wanted = Plateau(2), [], []
    for event in history(run):
        if event["event"] == "evaluated" and event["split"] == "valid":
            plateau.judge(event["scores"]["accuracy"], "max")
        elif event["event"] == "stepped":
            found.append(event["lr"])
            wanted.append(2.0 * 0.25**plateau.drops)
    assert found == pytest.approx(wanted)
    assert len(set(found)) > 2


def test_a_killed_run_goes_on_with_the_drops_it_had(tmp_path: Path) -> None:
    whole = sd.train(RECIPE, run=tmp_path / "whole")
    with killed_after(40):
        sd.train(RECIPE, run=tmp_path / "cut")
    assert_same_end(sd.resume(tmp_path / "cut"), whole)


@pytest.mark.parametrize("changes", [{"train": {"evaluate_every": 0}}, {"data": {"valid": 0.0}}])
def test_a_run_without_validation_is_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(
        ConfigError, match=r"optimizer.schedule=plateau: drops the rate when the score on validation data"
    ):
        sd.train(RECIPE, run=tmp_path / "run", **changes)


def test_gradients_are_clipped_by_value(tmp_path: Path) -> None:
    """With so low a limit every number that is not zero is cut to it: each update is the sign of the gradient."""
    from safetensors.torch import load_file

    weights = []
    for steps in (1, 2):
        recipe = {**RECIPE, "optimizer": {"name": "sgd", "lr": 1.0},
                  "train": {**RECIPE["train"], "steps": steps, "clip_value": 1e-9, "evaluate_every": 0}}  # fmt: skip
        run = sd.train(recipe, run=tmp_path / str(steps))
        weights.append(load_file(run.checkpoints[-1] / "model.safetensors")["layers.3.bias"].double())
    assert weights[0].abs().max().item() == pytest.approx(1e-9, rel=1e-5)
    assert (weights[1] - weights[0]).abs().max().item() == pytest.approx(1e-9, rel=1e-5)
    plain = sd.train(RECIPE, run=tmp_path / "plain", optimizer={"name": "sgd", "lr": 1.0}, train={"steps": 1})
    assert load_file(plain.checkpoints[-1] / "model.safetensors")["layers.3.bias"].abs().max() > 1e-3


def test_clipping_both_ways_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"give clip \(of the norm\) or clip_value \(of each number\), not both"):
        sd.Recipe.of({**RECIPE, "train": {"steps": 1, "clip": 1.0, "clip_value": 0.1}})
