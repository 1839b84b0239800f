"""T13: what `train.on_nonfinite` can be told to do: skip, and rewind."""

from __future__ import annotations

import math
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

import seodang as sd
from seodang.core.errors import TrainingError
from seodang.core.run import RunFolder
from seodang.data.dataset import Batch
from seodang.training.recovery import IN_A_ROW
from seodang.training.trainer import Trainer
from seodang.training.update import Updates
from tests.harness import Killed, assert_same_end, killed_after
from tests.reliability.poisons import (
    FAMILIES,
    POISONS,
    STEPS,
    bad_data,
    bad_losses,
    everything,
    make_trainer,
    poison_moment,
    poisoned,
)

# --------------------------------------------------------------------------------------------------- skip


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", ["loss", "first-loss", "gradient", "layer"])
def test_skip_leaves_out_exactly_the_bad_updates(tmp_path: Path, family: str, kind: str) -> None:
    trainer = make_trainer(family, tmp_path / "run", on_nonfinite="skip", log_every=1)
    bad = {1, 3, 4, STEPS}
    before: dict[int, dict[str, bytes]] = {}

    def poison(updates: Updates, parts: Sequence[Batch], step: int) -> None:
        before[step] = everything(trainer)
        if step in bad:
            POISONS[kind](updates, parts, math.nan)

    with poisoned(poison) as made:
        trainer.fit()
    assert made == [step for step in range(1, STEPS + 1) if step not in bad]
    assert [before[2], before[4], before[5]] == [before[1], before[3], before[3]]
    assert before[3] != before[2]
    events = trainer.run.events
    skipped = [event for event in events if event["event"] == "noticed"]
    assert [event["step"] for event in skipped] == sorted(bad)
    assert all("The update was skipped; nothing has changed." in event["text"] for event in skipped)
    stepped = {event["step"]: event for event in events if event["event"] == "stepped"}
    assert {step for step, event in stepped.items() if not event["losses"]} == bad
    assert all(
        math.isfinite(value) for event in stepped.values() for value in (*event["losses"].values(), event["grad_norm"])
    )
    assert trainer.run.result is not None


def test_skip_takes_the_batch_and_its_randomness(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What follows sees the batches and the dropout it would have seen."""
    seen: dict[str, list[Any]] = {}
    for name, bad in (("good", []), ("bad", [3])):
        trainer = make_trainer("supervised", tmp_path / name, on_nonfinite="skip")

        def look(updates: Updates, parts: Sequence[Batch], step: int, name: str = name) -> None:
            seen.setdefault(name, []).append((parts[0][0].sum().item(), torch.get_rng_state().sum().item()))

        with bad_losses(*bad), poisoned(look):
            trainer.fit()
    assert seen["good"] == seen["bad"]


def test_a_run_that_skips_resumes_exactly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bad_data(monkeypatch, 2, 4)
    settings = {"train": {"on_nonfinite": "skip", "steps": 9}}
    whole = sd.train(FAMILIES["supervised"], run=tmp_path / "whole", **settings)
    for kill_at in (3, 4, 5, 8):
        with killed_after(kill_at):
            sd.train(FAMILIES["supervised"], run=tmp_path / f"killed-{kill_at}", **settings)
        assert_same_end(whole, sd.resume(tmp_path / f"killed-{kill_at}"))


@pytest.mark.parametrize("policy", ["skip", "rewind"])
def test_too_many_in_a_row_stop_the_run(tmp_path: Path, policy: str) -> None:
    settings = {"train": {"on_nonfinite": policy, "steps": 20}}
    with bad_losses(*range(3, 3 + IN_A_ROW - 1)):
        sd.train(FAMILIES["supervised"], run=tmp_path / "enough", **settings)
    with bad_losses(*range(3, 30)), pytest.raises(TrainingError, match=r"Step 12: .* the 10th update in a row"):
        sd.train(FAMILIES["supervised"], run=tmp_path / "many", **settings)


def test_skip_stops_where_the_weights_themselves_are_bad(tmp_path: Path) -> None:
    trainer = make_trainer("supervised", tmp_path / "run", on_nonfinite="skip")
    with (
        poisoned(lambda updates, parts, step: poison_moment(updates, parts, math.nan) if step == 4 else None),
        pytest.raises(TrainingError, match="Step 4: what the optimizer of 'model' keeps"),
    ):
        trainer.fit()


# ------------------------------------------------------------------------------------------------- rewind

REWIND = {"train": {"on_nonfinite": "rewind", "steps": 9, "save_every": 3}}


@pytest.mark.parametrize("family", FAMILIES)
def test_rewind_leaves_out_exactly_the_bad_updates(tmp_path: Path, family: str) -> None:
    with bad_losses(1, 5, 8) as made:
        run = sd.train(FAMILIES[family], run=tmp_path / "run", **REWIND)
    assert made == [2, 3, 4, 4, 6, 7, 7, 9]  # back to 0, 3 and 6
    assert run.result is not None
    rewound = [event for event in run.events if event["event"] == "rewound"]
    assert [(event["step"], event["left_out"]) for event in rewound] == [(0, [1]), (3, [1, 5]), (6, [1, 5, 8])]
    left_out = [event["step"] for event in run.events if event["event"] == "noticed"]
    assert left_out == [1, 5, 8]
    steps = [event["step"] for event in run.events if event["event"] == "stepped"]
    assert steps == sorted(set(steps))


def test_rewind_makes_bad_weights_good_again(tmp_path: Path) -> None:
    """A flipped bit in a moment, once: the run goes on from the checkpoint."""
    flips = iter([True])
    with poisoned(lambda updates, parts, step: poison_moment(updates, parts, math.inf)
                  if step == 5 and next(flips, False) else None):  # fmt: skip
        run = sd.train(FAMILIES["supervised"], run=tmp_path / "run", **REWIND)
    assert run.result is not None
    assert [event["step"] for event in run.events if event["event"] == "rewound"] == [3]


@pytest.mark.parametrize("family", ["supervised", "accumulation"])
def test_a_run_that_rewinds_resumes_exactly(tmp_path: Path, family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    bad_data(monkeypatch, 4, 7)
    whole = sd.train(FAMILIES[family], run=tmp_path / "whole", **REWIND)
    for kill_at in (4, 6, 7, 8):
        with killed_after(kill_at):
            sd.train(FAMILIES[family], run=tmp_path / f"killed-{kill_at}", **REWIND)
        assert_same_end(whole, sd.resume(tmp_path / f"killed-{kill_at}"))


@pytest.mark.parametrize("moment", ["emit", "sync_events", "restored", "after"])
def test_a_kill_at_any_moment_of_a_rewind_changes_nothing(
    tmp_path: Path, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGKILL before the record is written, before it is synced, before and after the checkpoint is restored."""
    bad_data(monkeypatch, 4)
    whole = sd.train(FAMILIES["supervised"], run=tmp_path / "whole", **REWIND)

    def die(*values: Any) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    child = os.fork()
    if child == 0:
        restore, emit, rewound = Trainer.restore, RunFolder.emit, []

        def emit_and_die(self: RunFolder, event: Any) -> None:
            if type(event).__name__ == "Rewound":
                rewound.append(event)
                if moment == "emit":
                    die()
            emit(self, event)

        def restore_and_die(self: Trainer, *values: Any) -> None:
            if moment == "restored":
                die()
            restore(self, *values)
            die()

        sync_events = RunFolder.sync_events
        RunFolder.emit = emit_and_die  # type: ignore[method-assign]
        Trainer.restore = restore_and_die  # type: ignore[method-assign]
        RunFolder.sync_events = lambda self: (  # type: ignore[method-assign]
            die() if rewound and moment == "sync_events" else sync_events(self)
        )
        try:
            sd.train(FAMILIES["supervised"], run=tmp_path / "killed", **REWIND)
        finally:
            os._exit(0)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    killed = RunFolder(tmp_path / "killed")
    assert killed.left_out == (set() if moment == "emit" else {5})
    with poisoned(lambda updates, parts, step: None) as made:
        resumed = sd.resume(killed)
    assert made == ([4, 4] if moment == "emit" else [4]) + [6, 7, 8, 9]
    assert_same_end(whole, resumed)


def test_a_rewind_that_cannot_be_recorded_does_not_happen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(self: RunFolder) -> None:
        if self.left_out:
            raise Killed

    monkeypatch.setattr(RunFolder, "sync_events", failing)
    with bad_losses(5) as made, pytest.raises(Killed):
        sd.train(FAMILIES["supervised"], run=tmp_path / "run", **REWIND)
    assert made == [1, 2, 3, 4]
