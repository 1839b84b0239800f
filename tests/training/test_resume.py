"""A run that is killed and resumed ends as if nothing had happened, to the byte."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import seodang as sd
from seodang.core.errors import RunError
from seodang.data.dataset import Loader
from seodang.training import trainer as trainer_module
from tests.harness import assert_resume_is_exact, assert_same_end, killed_after

RECIPE = {
    "name": "small",
    "model": {"name": "mlp", "hidden_sizes": [16], "dropout": 0.3, "normalization": "batch"},
    "data": {"name": "digits", "augment": ["shift"]},
    "task": "classification",
    "optimizer": {"name": "adamw", "lr": 0.01, "schedule": "cosine", "warmup": 3},
    "train": {"steps": 45, "batch_size": 64, "log_every": 4, "evaluate_every": 9, "threads": 1},
}
"""45 updates of 20 an epoch: the middle, the end and the start of an epoch all lie inside."""


@pytest.mark.parametrize("step", [1, 9, 10, 19, 20, 21, 40, 44])
def test_resume_at_any_step_is_exact(tmp_path: Path, step: int) -> None:
    assert_resume_is_exact(RECIPE, tmp_path, step)


@pytest.mark.parametrize(
    "settings",
    [
        {"train.average": 0.95},
        {"train.accumulate": 3, "train.clip": 0.5},
        {"train.precision": "bfloat16"},
        {"train.workers": 2},
        {"train.batch_size": "all", "train.evaluate_every": 5},
        {"train.patience": 2, "train.evaluate_every": 3, "optimizer.lr": 0.0001},
        {"optimizer.name": "momentum"},
    ],
    ids=str,
)
def test_resume_is_exact_with(tmp_path: Path, settings: dict[str, object]) -> None:
    assert_resume_is_exact(RECIPE, tmp_path, 12 if "train.patience" not in settings else 5, **settings)


def test_worker_processes_change_nothing(tmp_path: Path) -> None:
    none = sd.train(RECIPE, run=tmp_path / "0")
    two = sd.train(RECIPE, run=tmp_path / "2", train={"workers": 2})
    for name in ("model.safetensors", "optimizer.safetensors", "random.safetensors"):
        assert (none.checkpoints[-1] / name).read_bytes() == (two.checkpoints[-1] / name).read_bytes()


def test_a_loader_that_is_not_restored_is_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Loader, "restore", lambda self, state: None)
    with pytest.raises(AssertionError):
        assert_resume_is_exact(RECIPE, tmp_path, 12)


def test_generators_that_are_not_restored_are_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer_module, "restore_random", lambda states, device: None)
    with pytest.raises(AssertionError):
        assert_resume_is_exact(RECIPE, tmp_path, 12)


def test_killed_twice(tmp_path: Path) -> None:
    whole = sd.train(RECIPE, run=tmp_path / "whole")
    with killed_after(13):
        sd.train(RECIPE, run=tmp_path / "killed")
    with killed_after(30):
        sd.resume(tmp_path / "killed")
    assert_same_end(whole, sd.resume(tmp_path / "killed"))


def test_a_damaged_checkpoint_is_set_aside_and_the_one_before_is_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = sd.train(RECIPE, run=tmp_path / "whole")
    with killed_after(30):
        sd.train(RECIPE, run=tmp_path / "killed")
    newest = sorted((tmp_path / "killed" / "checkpoints").iterdir())[-1]
    data = bytearray((newest / "optimizer.safetensors").read_bytes())
    data[len(data) // 2] ^= 1
    (newest / "optimizer.safetensors").write_bytes(bytes(data))
    resumed = sd.resume(tmp_path / "killed")
    assert "optimizer.safetensors: is damaged" in capsys.readouterr().err
    assert_same_end(whole, resumed)


@pytest.mark.parametrize(("field", "change"), [("threads", {"threads": 2}), ("recipe", {"clip": 1.0})])
def test_resume_refuses_what_would_change_the_result(tmp_path: Path, field: str, change: dict[str, object]) -> None:
    with killed_after(12):
        run = sd.train(RECIPE, run=tmp_path / "run")
    recipe = tmp_path / "run" / "recipe.toml"
    text = recipe.read_text()
    ((key, value),) = change.items()
    text = "\n".join(line for line in text.splitlines() if not line.startswith(f"{key} ="))
    recipe.write_text(text.replace("[train]", f"[train]\n{key} = {value}"))
    with pytest.raises(RunError, match=rf"{field}: .* → .*--allow-numeric-drift"):
        sd.resume(tmp_path / "run")
    run = sd.resume(tmp_path / "run", allow_drift=True)
    assert run.result is not None


def test_a_finished_run_has_nothing_to_resume(tmp_path: Path) -> None:
    sd.train(RECIPE, run=tmp_path / "run", train={"steps": 2})
    with pytest.raises(RunError, match="is finished"):
        sd.resume(tmp_path / "run")


def test_global_generators_of_plugins_are_restored(tmp_path: Path) -> None:
    """NumPy's and Python's global generators too: a user's own code may draw from them."""
    import random

    import numpy as np

    from seodang.training.randomness import random_state, restore_random, seed_everything

    seed_everything(7)
    random.gauss(0, 1), np.random.normal()
    state = random_state(torch.device("cpu"))
    first = (random.gauss(0, 1), random.random(), np.random.normal(), np.random.rand(), torch.rand(3).tolist())
    restore_random(state, torch.device("cpu"))
    assert first == (random.gauss(0, 1), random.random(), np.random.normal(), np.random.rand(), torch.rand(3).tolist())
