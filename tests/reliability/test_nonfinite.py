"""Numbers that are not numbers (T13): whatever is poisoned, an update is made whole or not at all."""

from __future__ import annotations

import itertools
import math
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

import seodang as sd
from seodang.core.errors import ConfigError, RunError, TrainingError
from seodang.core.run import RunFolder
from seodang.data.dataset import Batch, Loader
from seodang.training.assemble import assemble
from seodang.training.devices import Devices
from seodang.training.recovery import IN_A_ROW
from seodang.training.trainer import Trainer
from seodang.training.update import LARGEST, NotFinite, Updates
from tests.harness import Killed, assert_same_end, killed_after

STEPS = 7
TRAIN = {"steps": STEPS, "batch_size": 16, "log_every": 2, "evaluate_every": 0, "save_every": 2, "threads": 1}
ADAM = {"name": "adamw", "lr": 0.01}
FAMILIES: dict[str, dict[str, Any]] = {
    "supervised": {
        "name": "supervised", "data": {"name": "digits", "augment": ["shift"]}, "task": "classification", "optimizer": ADAM,
        "model": {"name": "mlp", "hidden_sizes": [12], "dropout": 0.3, "normalization": "batch"},
        "train": {**TRAIN, "average": 0.9},
    },
    "accumulation": {
        "name": "accumulation", "data": {"name": "digits"}, "task": "classification",
        "model": {"name": "cnn", "stages": [[4]], "normalization": "batch"},
        "optimizer": {"name": "momentum", "lr": 0.05}, "train": {**TRAIN, "accumulate": 3, "clip": 0.5},
    },
    "regression": {
        "name": "regression", "data": {"name": "diabetes"}, "task": "regression", "optimizer": {"name": "rmsprop", "lr": 0.01},
        "model": {"name": "mlp", "hidden_sizes": [8], "normalization": "batch"}, "train": TRAIN,
    },
    "gan": {
        "name": "gan", "data": {"name": "digits"}, "task": {"name": "gan", "judge": None},
        "model": {"name": "dcgan", "latent_dim": 4, "generator_channels": [4], "discriminator_channels": [4]},
        "optimizer": {"name": "adam", "lr": 0.001}, "train": TRAIN,
    },
}  # fmt: skip
"""Networks with batch statistics, averages, moments of each kind, micro-batches, and two networks with an optimizer each."""


def make_trainer(family: str, run: Path, **train: Any) -> Trainer:
    recipe = FAMILIES[family]
    parts = assemble(sd.Recipe.of({**recipe, "train": {**recipe["train"], **train}}))
    folder = RunFolder.create(parts.recipe, run)
    return Trainer(parts.recipe, parts.model, parts.task, parts.data, parts.rule, folder, parts.record,
                   Devices(parts.recipe.train))  # fmt: skip


def everything(trainer: Trainer) -> dict[str, bytes]:
    """Return the bytes of all that an update may change: weights, running statistics, moments, averages."""
    tensors = {name: value for name, value in trainer.model.state_dict().items()}
    for network, optimizer in trainer.optimizers.items():
        for place, weight in enumerate(weight for group in optimizer.param_groups for weight in group["params"]):
            for slot, value in optimizer.state.get(weight, {}).items():
                tensors[f"{network}/{place}/{slot}"] = torch.as_tensor(value)
    if trainer.average:
        tensors |= {f"average/{name}": value for name, value in trainer.average.mean.items()}
    return {name: value.detach().contiguous().view(torch.uint8).numpy().tobytes() if value.ndim else repr(value).encode()
            for name, value in tensors.items()}  # fmt: skip


# ------------------------------------------------------------------------------------------------ poisons

Poison = Callable[[Updates, Sequence[Batch], float], None]


def poison_input(updates: Updates, parts: Sequence[Batch], bad: float) -> None:
    parts[-1][0][2].view(-1)[1] = bad


def poison_label(updates: Updates, parts: Sequence[Batch], bad: float) -> None:
    parts[-1][1].view(-1)[2] = bad


def poison_parameter(updates: Updates, parts: Sequence[Batch], bad: float) -> None:
    with torch.no_grad():
        list(updates.model.parameters())[-2].view(-1)[1] = bad


def poison_moment(updates: Updates, parts: Sequence[Batch], bad: float) -> None:
    optimizer = list(updates.optimizers.values())[-1]
    slots = list(optimizer.state.values())[-1]
    next(value for value in slots.values() if isinstance(value, Tensor) and value.ndim).view(-1)[0] = bad


def poison_layer(updates: Updates, parts: Sequence[Batch], bad: float) -> None:
    """The second layer of the last network answers with one bad number, however often it is asked in this update."""
    layer = [module for module in list(updates.networks.values())[-1].modules() if not list(module.children())][1]

    def spoil(module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
        spoiled = output.clone()
        spoiled[1] = bad
        return spoiled

    handle = layer.register_forward_hook(spoil)
    undo, calls = updates.undo, itertools.count()

    def last_undo() -> None:
        undo()
        if next(calls) == 1:  # the update itself, and its repetition
            handle.remove()
            del updates.undo  # type: ignore[method-assign]

    updates.undo = last_undo  # type: ignore[method-assign]


def poison_losses(change: Callable[[Tensor, float], Tensor], which: int) -> Poison:
    """Spoil the loss of network number `which` in the last micro-batch, once."""

    def poison(updates: Updates, parts: Sequence[Batch], bad: float) -> None:
        losses = type(updates.task).losses

        def spoiled(model: nn.Module, batch: Batch) -> Iterator[tuple[str, Tensor]]:
            for number, (name, loss) in enumerate(losses(updates.task, model, batch)):
                last = batch is parts[-1] and number == which % len(updates.networks)
                if last:
                    updates.task.__dict__.pop("losses", None)
                yield name, change(loss, bad) if last else loss

        updates.task.losses = spoiled  # type: ignore[method-assign]

    return poison


def spoiled_gradient(loss: Tensor, bad: float) -> Tensor:
    loss.register_hook(lambda gradient: gradient * bad)
    return loss


POISONS: dict[str, Poison] = {
    "input": poison_input, "label": poison_label, "parameter": poison_parameter, "moment": poison_moment,
    "layer": poison_layer, "loss": poison_losses(lambda loss, bad: loss * bad, -1),
    "first-loss": poison_losses(lambda loss, bad: loss + bad, 0), "gradient": poison_losses(spoiled_gradient, -1),
}  # fmt: skip
CASES = [
    (family, kind, bad, step)
    for family, kinds in {
        "supervised": ["input", "parameter", "moment", "layer", "loss", "gradient"],
        "accumulation": ["input", "loss", "gradient"],
        "regression": ["label", "moment"],
        "gan": ["layer", "loss", "first-loss", "gradient"],
    }.items()
    for kind in kinds
    for bad in (math.nan, math.inf, -math.inf, 1e30)
    for step in (1, 2, 4, STEPS)
    if not (kind == "moment" and step == 1)  # there are none yet
    if not (bad == 1e30 and kind not in ("loss", "first-loss", "gradient"))
]


@contextmanager
def poisoned(poison: Callable[[Updates, Sequence[Batch], int], None]) -> Iterator[list[int]]:
    """Spoil updates before they are made; give the numbers of those that were made whole."""
    make, made = Updates.make, []

    def spoiled(self: Updates, parts: Sequence[Batch], rate: float, step: int) -> Any:
        poison(self, parts, step)
        done = make(self, parts, rate, step)
        made.append(step)
        return done

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Updates, "make", spoiled)
        yield made


def bad_losses(*steps: int) -> Any:
    """Spoil the losses of some updates, each time they are tried."""
    return poisoned(lambda updates, parts, step: POISONS["loss"](updates, parts, math.nan) if step in steps else None)


def bad_data(monkeypatch: pytest.MonkeyPatch, *indices: int) -> None:
    """Let the first example of some batches of the first epoch be NaN, as data of one's own may be."""
    fetch = Loader._fetch

    def fetched(self: Loader, item: tuple[int, int, Tensor]) -> Batch:
        batch = fetch(self, item)
        if item[0] == 0 and item[1] in indices:
            batch = batch._replace(images=batch.images.clone())  # type: ignore[attr-defined]
            batch[0][0] = math.nan
        return batch

    monkeypatch.setattr(Loader, "_fetch", fetched)


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
