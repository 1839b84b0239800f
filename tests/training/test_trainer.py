"""The loop: what must not change the result, what must stop it, and what it reports."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

import seodang as sd
from seodang.core.errors import ConfigError, TrainingError
from seodang.core.events import Evaluated, Event, Saved, Started, Stepped, Stopped
from seodang.core.registry import load_plugin
from seodang.core.run import RunFolder
from seodang.data.dataset import Batch
from seodang.training.assemble import assemble
from seodang.training.devices import Devices
from seodang.training.plan import make_loader
from seodang.training.trainer import Trainer
from tests.harness import history

RECIPE: dict[str, Any] = {
    "name": "small",
    "model": {"name": "mlp", "hidden_sizes": [16]},
    "data": {"name": "digits"},
    "task": "classification",
    "optimizer": {"name": "sgd", "lr": 0.1},
    "train": {"steps": 10, "batch_size": 16, "log_every": 5, "evaluate_every": 0, "threads": 1},
}


def recipe(**train: Any) -> dict[str, Any]:
    return {**RECIPE, "train": {**RECIPE["train"], **train}}


def weights(run: RunFolder) -> dict[str, Tensor]:
    return load_file(run.checkpoints[-1] / "model.safetensors")


def assert_close(first: RunFolder, second: RunFolder, tolerance: float = 1e-6) -> None:
    one, two = weights(first), weights(second)
    for name in one:
        torch.testing.assert_close(one[name], two[name], rtol=0, atol=tolerance, msg=name)


@pytest.mark.parametrize("task", ["classification", "padded"])
@pytest.mark.parametrize("parts", [2, 4, 5])
def test_accumulation_changes_memory_not_the_result(tmp_path: Path, task: str, parts: int) -> None:
    load_plugin(Path(__file__).with_name("padded_plugin.py"))
    settings = {"task": {"name": task}}
    whole = sd.train({**recipe(), **settings}, run=tmp_path / "1")
    cut = sd.train({**recipe(accumulate=parts), **settings}, run=tmp_path / "n")
    assert_close(whole, cut)


def test_several_networks_refuse_accumulation(tmp_path: Path) -> None:
    data = assemble(sd.Recipe.of(recipe(accumulate=2)))

    class Two(type(data.task)):  # type: ignore[misc]
        def networks(self, model: nn.Module) -> dict[str, nn.Module]:
            return {"first": model, "second": model}

    two = Two(data.task.settings, data.task.facts)
    run = RunFolder.create(data.recipe, tmp_path / "run")
    with pytest.raises(ConfigError, match=r"accumulate=2: a task with several networks \(first, second\)"):
        Trainer(data.recipe, data.model, two, data.data, data.rule, run, data.record, Devices(data.recipe.train))


def test_listeners_cannot_change_a_run(tmp_path: Path) -> None:
    def meddling(event: Event) -> None:
        torch.manual_seed(event.step)
        torch.rand(7)

    alone = sd.train(recipe(), run=tmp_path / "alone", model={"dropout": 0.5})
    watched = sd.train(recipe(), run=tmp_path / "watched", model={"dropout": 0.5}, listeners=[meddling])
    assert_close(alone, watched, 0)
    assert history(alone) == history(watched)


def test_a_raising_listener_is_reported_once_and_dropped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    heard = []

    def broken(event: Event) -> None:
        heard.append(event)
        raise KeyError("oops")

    run = sd.train(recipe(), run=tmp_path / "run", listeners=[broken])
    assert run.result is not None
    assert len(heard) == 1
    assert capsys.readouterr().err.count("raised KeyError: 'oops'. It is dropped; training goes on.") == 1


def test_events_come_in_order_and_are_complete(tmp_path: Path) -> None:
    heard: list[Event] = []
    sd.train(recipe(evaluate_every=5), run=tmp_path / "run", listeners=[heard.append])
    assert [(type(event), event.step) for event in heard] == [
        (Started, 0), (Evaluated, 0), (Stepped, 5), (Evaluated, 5), (Saved, 5),
        (Stepped, 10), (Evaluated, 10), (Saved, 10), (Evaluated, 10), (Stopped, 10),
    ]  # fmt: skip
    (last,) = heard[-1:]
    assert isinstance(last, Stopped)
    assert last.finished
    assert {"scores", "train_seconds", "peak_memory_bytes", "examples_per_second"} <= set(last.result)


def test_evaluation_changes_nothing_about_training(tmp_path: Path) -> None:
    seldom = sd.train(recipe(), run=tmp_path / "seldom", model={"dropout": 0.5, "normalization": "batch"})
    often = sd.train(recipe(evaluate_every=1), run=tmp_path / "often", model={"dropout": 0.5, "normalization": "batch"})
    assert_close(seldom, often, 0)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("where", ["loss", "gradient"])
def test_non_finite_numbers_stop_before_the_update(
    tmp_path: Path, bad: float, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from seodang.task.classification import Classification

    losses, calls = Classification.losses, itertools.count()

    def poisoned(self: Classification, model: nn.Module, batch: Batch) -> Iterator[tuple[str, Tensor]]:
        for name, loss in losses(self, model, batch):
            if next(calls) == 7:  # the first call counts operations; the seventh update is the bad one
                if where == "loss":
                    loss = loss * bad
                else:
                    loss.register_hook(lambda gradient: gradient * bad)
            yield name, loss

    monkeypatch.setattr(Classification, "losses", poisoned)
    with pytest.raises(
        TrainingError, match=r"Step 7: .* of 'model' is (nan|inf).*last good checkpoint is .*step-000000006"
    ):
        sd.train(recipe(evaluate_every=2), run=tmp_path / "run")
    run = RunFolder(tmp_path / "run")
    assert run.events[-1]["event"] == "failed"
    assert run.result is None
    assert all(value.isfinite().all() for value in weights(run).values())


def test_throughput_divides_things_by_seconds(tmp_path: Path) -> None:
    """A clock that gains 0.25 s at every look: an update of 16 examples takes 0.25 s, which is 64 a second."""
    ticks = itertools.count(start=1000, step=0.25)
    parts = assemble(sd.Recipe.of(recipe()))
    run = RunFolder.create(parts.recipe, tmp_path / "run")
    trainer = Trainer(parts.recipe, parts.model, parts.task, parts.data, parts.rule, run, parts.record,
                      Devices(parts.recipe.train), clock=lambda: next(ticks))  # fmt: skip
    trainer.fit()
    stepped = [event for event in run.events if event["event"] == "stepped"]
    assert [event["examples_per_second"] for event in stepped] == [64.0, 64.0]
    assert run.result is not None
    assert run.result["train_seconds"] == 2.5
    assert run.result["examples_per_second"] == 64.0


def test_losses_reported_are_means_over_all_examples(tmp_path: Path) -> None:
    run = sd.train(recipe(steps=1, log_every=1), run=tmp_path / "run")
    (event,) = [event for event in run.events if event["event"] == "stepped"]
    parts = assemble(sd.Recipe.of(recipe()))
    loader = make_loader(parts.recipe, parts.data, Devices(parts.recipe.train))
    assert loader is not None
    batch = loader.peek()
    with torch.no_grad():
        expected = nn.functional.cross_entropy(parts.model(batch[0]), batch[1]).item()
    assert event["losses"]["model"] == pytest.approx(expected, abs=1e-6)


def test_length_in_epochs(tmp_path: Path) -> None:
    run = sd.train(recipe(), run=tmp_path / "run", train={"epochs": 2, "batch_size": 100})
    assert run.result is not None
    assert run.result["steps"] == 2 * math.ceil(run.bundle().record.facts.sizes["train"] / 100)


def test_length_in_minutes(tmp_path: Path) -> None:
    run = sd.train(recipe(), run=tmp_path / "run", train={"minutes": 0.02})
    assert run.result is not None
    assert 1.2 <= run.result["train_seconds"] < 1.5


def test_two_lengths_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"give one length, not 2 \(steps, epochs\)"):
        sd.train(recipe(), run=tmp_path / "run", train={"epochs": 2, "steps": 5})
    assert not (tmp_path / "run").exists()


def test_patience_stops_and_the_best_is_kept(tmp_path: Path) -> None:
    run = sd.train(recipe(steps=200, evaluate_every=5, patience=3), run=tmp_path / "run", **{"optimizer.lr": 2.0})
    assert run.result is not None
    assert "for 3 evaluations" in run.result["reason"]
    evaluated = [event for event in run.events if event["event"] == "evaluated" and event["split"] == "valid"]
    best = max(evaluated, key=lambda event: event["scores"]["accuracy"])
    assert run.result["best_step"] == best["step"]
    assert run.best is not None
    assert run.best.name == f"step-{best['step']:09d}"
    assert evaluated[-1]["step"] - best["step"] == 15
    assert run.result["scores"] == pytest.approx(sd.evaluate(run, split="test"))


def test_patience_without_a_validation_split_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="needs a validation split"):
        sd.train(recipe(patience=3), run=tmp_path / "run", data=None, **{"data.valid": 0.0})


def test_averaged_weights_are_what_is_kept(tmp_path: Path) -> None:
    """By hand: the mean after t updates has taken in each with decay min(d, (1 + t) / (10 + t))."""
    seen: list[dict[str, Tensor]] = []
    update = Trainer._update

    def spying(self: Trainer) -> None:
        if not seen:
            seen.append({name: value.clone() for name, value in self.model.state_dict().items()})
        update(self)
        seen.append({name: value.clone() for name, value in self.model.state_dict().items()})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "_update", spying)
        run = sd.train(recipe(average=0.5), run=tmp_path / "run")
    mean = seen[0]
    for step, now in enumerate(seen[1:], start=1):
        decay = min(0.5, (1 + step) / (10 + step))
        mean = {name: decay * mean[name] + (1 - decay) * now[name] for name in now}
    for name, value in weights(run).items():
        torch.testing.assert_close(value, mean[name], rtol=0, atol=1e-6)


def test_clipping_limits_the_update(tmp_path: Path) -> None:
    parts = assemble(sd.Recipe.of(recipe()))
    before = {name: value.clone() for name, value in parts.model.state_dict().items()}
    run = sd.train(recipe(steps=1, clip=0.001), run=tmp_path / "run")
    moved = sum(((value - before[name]) ** 2).sum() for name, value in weights(run).items())
    assert math.sqrt(moved) == pytest.approx(0.1 * 0.001, rel=1e-3)


def test_full_batch_is_one_update_an_epoch(tmp_path: Path) -> None:
    run = sd.train(recipe(), run=tmp_path / "run", train={"batch_size": "all", "epochs": 3})
    assert run.result is not None
    assert run.result["steps"] == 3


def test_a_stop_file_ends_the_run_which_can_be_resumed(tmp_path: Path) -> None:
    def stop(event: Event) -> None:
        if isinstance(event, Stepped) and event.step == 5:
            (tmp_path / "run" / "stop").touch()

    run = sd.train(recipe(), run=tmp_path / "run", listeners=[stop])
    assert run.status == "stopped"
    assert run.checkpoints[-1].name == "step-000000005"
    assert sd.resume(run).result is not None


def test_old_checkpoints_go_best_and_newest_stay(tmp_path: Path) -> None:
    run = sd.train(recipe(steps=60, evaluate_every=5, keep=2), run=tmp_path / "run", **{"optimizer.lr": 1.0})
    names = [path.name for path in run.checkpoints]
    assert names[-2:] == ["step-000000055", "step-000000060"]
    assert run.best is not None
    assert set(names) == {run.best.name, *names[-2:]}


@pytest.mark.parametrize("name", ["sgd", "momentum", "nesterov", "adam", "adamw", "rmsprop"])
def test_every_update_rule_learns(tmp_path: Path, name: str) -> None:
    lr = {"sgd": 0.1, "momentum": 0.05, "nesterov": 0.05}.get(name, 0.01)
    run = sd.train({**recipe(steps=60), "optimizer": {"name": name, "lr": lr}}, run=tmp_path / "run")
    assert run.scores["accuracy"] > 0.8
