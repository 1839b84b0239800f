"""Two processes on the CPU (gloo) give the update of one: copies of the model (DDP) and shards of it (FSDP2)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import seodang as sd
from seodang.core.errors import ConfigError
from seodang.core.run import RunFolder

PLUGIN = Path(__file__).with_name("padded_plugin.py")
RECIPE: dict[str, Any] = {
    "name": "two",
    "model": {"name": "mlp", "hidden_sizes": [16]},
    "data": {"name": "digits", "augment": ["shift"]},
    "task": {"name": "padded"},
    "optimizer": {"name": "momentum", "lr": 0.1},
    "train": {
        "steps": 8,
        "batch_size": 15,
        "clip": 1.0,
        "average": 0.9,
        "log_every": 4,
        "evaluate_every": 4,
        "threads": 1,
    },
}


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return sd.train(RECIPE, run=tmp_path_factory.mktemp("one") / "run", plugin=PLUGIN)


def end(run: RunFolder, name: str) -> dict[str, torch.Tensor]:
    return load_file(run.checkpoints[-1] / name)


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_two_ranks_equal_one(tmp_path: Path, one: RunFolder, strategy: str) -> None:
    """Uneven shares (8 and 7), uneven padding, clipping, averages: the same weights, moments and scores."""
    two = sd.train(RECIPE, run=tmp_path / "run", plugin=PLUGIN, train={"devices": 2, "strategy": strategy})
    for file in ("model.safetensors", "optimizer.safetensors"):
        first, second = end(one, file), end(two, file)
        assert first.keys() == second.keys()
        for name in first:
            torch.testing.assert_close(first[name], second[name], rtol=0, atol=1e-6, msg=f"{file} {name}")
    assert two.scores == pytest.approx(one.scores, abs=1e-6)
    losses = [[event["losses"] for event in run.events if event["event"] == "stepped"] for run in (one, two)]
    assert losses[0][0] == pytest.approx(losses[1][0], abs=1e-5)
    assert two.result is not None
    assert (two.result["devices"], two.result["strategy"]) == (2, strategy)


def test_two_ranks_accumulate(tmp_path: Path, one: RunFolder) -> None:
    two = sd.train(RECIPE, run=tmp_path / "run", plugin=PLUGIN, train={"devices": 2, "accumulate": 3})
    first, second = end(one, "model.safetensors"), end(two, "model.safetensors")
    for name in first:
        torch.testing.assert_close(first[name], second[name], rtol=0, atol=1e-6, msg=name)


def test_a_sharded_checkpoint_goes_on_sharded_and_opens_on_one_device(tmp_path: Path) -> None:
    settings = {"plugin": PLUGIN, "train": {"devices": 2, "strategy": "fsdp", "save_every": 3}}
    whole = sd.train(RECIPE, run=tmp_path / "whole", **settings)
    (tmp_path / "stopped").mkdir()
    halted = sd.train(RECIPE, run=tmp_path / "stopped" / "run", **settings)
    for path in halted.checkpoints[1:]:  # as if it had died after its third update
        for file in path.iterdir():
            file.unlink()
        path.rmdir()
    for name in ("result.json", "best"):
        (halted.path / name).unlink(missing_ok=True)
    resumed = sd.resume(halted, plugin=PLUGIN)
    for file in ("model.safetensors", "optimizer.safetensors", "random.safetensors"):
        assert (whole.checkpoints[-1] / file).read_bytes() == (resumed.checkpoints[-1] / file).read_bytes()
    model = resumed.model()
    assert sum(weight.numel() for weight in model.parameters()) == 64 * 16 + 16 + 16 * 10 + 10


def test_more_devices_than_there_are(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"train.devices=4096, but this machine has \d+ \(cpu\)"):
        sd.train(RECIPE, run=tmp_path / "run", plugin=PLUGIN, train={"devices": 4096, "device": "cpu"})
    assert not (tmp_path / "run").exists()
