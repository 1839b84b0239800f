"""Numbers that are not numbers (T13): whatever is poisoned, an update is made whole or not at all."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

import seodang as sd
from seodang.core.errors import ConfigError, RunError, TrainingError
from seodang.core.run import RunFolder
from seodang.data.dataset import Batch
from seodang.training.update import LARGEST, NotFinite, Updates
from tests.reliability.poisons import (
    ADAM,
    CASES,
    FAMILIES,
    POISONS,
    STEPS,
    TRAIN,
    bad_data,
    bad_losses,
    everything,
    make_trainer,
    poisoned,
)

# --------------------------------------------------------------------------------------------------- stop


def test_there_are_enough_cases() -> None:
    assert len(CASES) >= 120


@pytest.mark.parametrize(("family", "kind", "bad", "step"), CASES)
def test_a_bad_number_stops_before_the_update(tmp_path: Path, family: str, kind: str, bad: float, step: int) -> None:
    trainer = make_trainer(family, tmp_path / "run", evaluate_every=0)
    before: dict[str, bytes] = {}

    def poison(updates: Updates, parts: Sequence[Batch], number: int) -> None:
        if number != step:
            return
        if kind in ("parameter", "moment"):
            POISONS[kind](updates, parts, bad)
        before.update(everything(trainer))
        if kind not in ("parameter", "moment"):
            POISONS[kind](updates, parts, bad)

    with poisoned(poison) as made, pytest.raises(TrainingError) as caught:
        trainer.fit()
    assert made == list(range(1, step))
    assert everything(trainer) == before
    message = str(caught.value)
    assert message.startswith(f"Step {step}: ")
    given = trainer._given()
    assert given is not None
    assert str(given.numbers[0]) in message
    size = len(given.numbers)
    where = {
        "input": f"of row {given.numbers[(round(size * 2 / 3) if family == 'accumulation' else 0) + 2]}.",
        "label": f"targets of row {given.numbers[2]}.",
        "parameter": "was not finite before this update",
        "moment": "was not finite before this update",
        "layer": f"First layer whose output is not finite: '{'generator.layers.1' if family == 'gan' else 'layers.1'}'",
    }
    assert where.get(kind, "") in message
    assert ("The weights are as before this update" in message) == (step > 2 and kind not in ("parameter", "moment"))
    run = trainer.run
    assert run.events[-1]["event"] == "failed"
    assert run.result is None
    assert [int(path.name[5:]) for path in run.checkpoints] == [s for s in range(2, step, 2)][-2:]
    for path in run.checkpoints:
        for name in ("model.safetensors", "optimizer.safetensors"):
            assert all(value.isfinite().all() for value in load_file(path / name).values())


def test_without_the_checks_the_weights_would_be_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test above can fail. What gets past both checks still gets into no checkpoint."""
    monkeypatch.setattr(Updates, "_checked", lambda *values: None)
    monkeypatch.setattr(Updates, "_norm", lambda *values: torch.tensor(0.0))
    trainer = make_trainer("supervised", tmp_path / "run")
    trainer.model.train()
    with bad_losses(1) as made:
        trainer._update()
    assert made == [1]
    assert not all(value.isfinite().all() for value in trainer.model.state_dict().values())
    with pytest.raises(NotFinite):
        trainer.save()
    assert trainer.run.checkpoints == []


@pytest.mark.parametrize("step", [1, 4])
def test_an_empty_batch_is_refused(tmp_path: Path, step: int) -> None:
    trainer = make_trainer("regression", tmp_path / "run")
    size = trainer.task.size
    with poisoned(lambda updates, parts, number: setattr(
        trainer.task, "size", (lambda batch: 0) if number == step else size)), pytest.raises(
            TrainingError, match=rf"Step {step}: nothing in the batch counts: its losses are over 0 examples"):  # fmt: skip
        trainer.fit()


@pytest.mark.parametrize("step", [1, 4])
def test_a_batch_without_targets_is_refused(tmp_path: Path, step: int) -> None:
    (tmp_path / "text.txt").write_text("to be or not to be, that is the question\n" * 50)
    recipe = {
        "name": "text", "data": {"name": "text", "path": str(tmp_path / "text.txt"), "context": 8}, "optimizer": ADAM,
        "task": "language-modeling", "model": {"name": "gpt", "num_layers": 1, "embed_dim": 8, "num_heads": 2}, "train": TRAIN,
    }  # fmt: skip

    def mask(updates: Updates, parts: Sequence[Batch], number: int) -> None:
        if number == step:
            parts[0][1].fill_(-1)

    with (
        poisoned(mask),
        pytest.raises(
            TrainingError, match=rf"Step {step}: nothing in the batch counts.* over 0 tokens.*window from token \d+"
        ),
    ):
        sd.train(recipe, run=tmp_path / "run")


def test_a_weight_that_hides_its_infinity_never_gets_into_a_checkpoint(tmp_path: Path) -> None:
    """A bias of -inf before a ReLU gives finite losses: found when it would be saved."""

    def hide(updates: Updates, parts: Sequence[Batch], step: int) -> None:
        if step == 4:
            with torch.no_grad():
                next(value for name, value in updates.model.named_parameters() if name.endswith("bias"))[0] = -math.inf

    recipe = {**FAMILIES["supervised"], "model": {"name": "mlp", "hidden_sizes": [12]}}
    with (
        poisoned(hide),
        pytest.raises(TrainingError, match=r"Step 4: the weights .* not all finite.*bias' is not finite"),
    ):
        sd.train(recipe, run=tmp_path / "run")
    run = RunFolder(tmp_path / "run")
    assert [path.name for path in run.checkpoints] == ["step-000000002"]


def test_a_mask_of_minus_infinity_is_no_fault(tmp_path: Path) -> None:
    trainer = make_trainer("supervised", tmp_path / "run", steps=2)
    trainer.model.register_buffer("mask", torch.full((3,), -math.inf))
    updates = Updates(trainer.model, trainer.view, trainer.task, trainer.networks, trainer.optimizers, trainer.devices,
                      trainer.train)  # fmt: skip
    assert updates.masks == {"mask"}


def test_deferred_checks_leave_the_weights_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a GPU, where nothing waits: the first bad update is named when progress is next reported."""
    trainer = make_trainer("supervised", tmp_path / "run", log_every=6, save_every=0, average=None)
    trainer.updates.deferred = True
    weights: list[dict[str, Tensor]] = []

    def poison(updates: Updates, parts: Sequence[Batch], step: int) -> None:
        weights.append({name: value.detach().clone() for name, value in updates.model.named_parameters()})

    bad_data(monkeypatch, 3)
    with (
        poisoned(poison),
        pytest.raises(TrainingError, match=r"Step 4: the gradient norm .*images of row .*epoch 1, batch 4 of"),
    ):
        trainer.fit()
    assert len(weights) == 6
    for name, value in trainer.model.named_parameters():
        assert not torch.equal(weights[0][name], weights[3][name])
        assert torch.equal(weights[3][name], value), name


def test_unknown_answers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="on_nonfinite"):
        sd.train(FAMILIES["supervised"], run=tmp_path / "run", **{"train.on_nonfinite": "hope"})
    assert not (tmp_path / "run").exists()


# -------------------------------------------------------------------------------------------- two processes

PLUGIN = Path(__file__).with_name("poisoned_plugin.py")


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["stop", "rewind"])
def test_one_of_two_ranks(tmp_path: Path, policy: str, capfd: pytest.CaptureFixture[str]) -> None:
    """The loss of the second rank is NaN in update 5, its gradient is not: both ranks do the same, and say which it was."""
    recipe = {**FAMILIES["supervised"], "task": {"name": "poisoned"},
              "train": {**TRAIN, "devices": 2, "device": "cpu", "save_every": 3, "on_nonfinite": policy}}  # fmt: skip
    if policy == "stop":
        with pytest.raises(RunError, match="exit code"):
            sd.train(recipe, run=tmp_path / "run", plugin=PLUGIN)
    else:
        sd.train(recipe, run=tmp_path / "run", plugin=PLUGIN)
    run = RunFolder(tmp_path / "run")
    said = [event for event in run.events if event["event"] in ("failed", "noticed", "rewound")]
    texts = [event.get("text", event.get("reason")) for event in said]
    assert texts[0].startswith("Step 5: the gradient norm of 'model' is nan")
    assert "Process 1: The outputs of all layers are finite; the loss made of them is not." in texts[0]
    assert [event["step"] for event in said] == {"stop": [4], "rewind": [3, 5]}[policy]
    assert run.checkpoints[-1].name == f"step-00000000{3 if policy == 'stop' else STEPS}"
    if policy != "stop":
        assert run.result is not None


def test_largest_is_where_squares_overflow() -> None:
    assert torch.tensor(LARGEST * 1.001).square().isinf()
    assert torch.tensor(LARGEST * 0.999).square().isfinite()
