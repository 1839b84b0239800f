"""The only training loop in Seodang."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from itertools import islice
from math import isfinite
from typing import Any

import torch
from torch import nn

from seodang.core.errors import ConfigError, DiskError, TrainingError
from seodang.core.events import Evaluated, Event, Failed, Listener, Noticed, Started, Stepped, Stopped
from seodang.core.language import say
from seodang.core.recipe import Recipe
from seodang.core.run import RunFolder
from seodang.data.dataset import Batch, Dataset, Given, in_order, map_tensors, micro_batches
from seodang.models.bundle import BundleRecord, ties
from seodang.task.base import Task
from seodang.training.checkpoint import Checkpoint, Contents, full, optimizer_tensors, placed_like, restore_optimizer
from seodang.training.devices import Devices
from seodang.training.evaluation import evaluate_model
from seodang.training.listeners import Audience
from seodang.training.nonfinite import Watched
from seodang.training.optim import Average, UpdateRule
from seodang.training.plan import choose_precision, evaluation_interval, make_loader, total_steps
from seodang.training.progress import Patience, Window, peak_memory_bytes
from seodang.training.provenance import numeric_facts, refuse_drift
from seodang.training.randomness import random_state, restore_random, seed_everything
from seodang.training.recovery import Recovery
from seodang.training.saving import Saver
from seodang.training.signals import LayerSignals
from seodang.training.update import Done, NotFinite, Updates


class Trainer:
    """Fit a model to a task.

    One run:

        verify: the first batch forward              a broken task fails now; what an update costs is counted
        evaluate                                     step 0: what chance looks like
        for each update:
            take a batch, make the update            update.py: all of it, or nothing if a number is not finite
            average the weights
            task.after_step
            Stepped                                  every `log_every`; one host sync
            evaluate → Evaluated, keep the best      every `evaluate_every`
            save → Saved                             every `save_every`
            stop?                                    done, asked, or out of patience
            not finite?                              recovery.py: stop, skip, or back to a checkpoint
        evaluate, save, result
    """

    def __init__(
        self, recipe: Recipe, model: nn.Module, task: Task, data: Dataset, rule: UpdateRule, run: RunFolder,
        record: BundleRecord, devices: Devices, listeners: Sequence[Listener] = (),
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:  # fmt: skip
        self.recipe, self.task, self.data, self.rule, self.run = recipe, task, data, rule, run
        self.record, self.devices, self.clock = record, devices, clock
        self.train = train = recipe.train
        self.saver = Saver(run, train, devices, Audience(listeners if devices.main else (), devices.device))
        self.step, self.seconds, self.finished = 0, 0.0, False
        self.parameters = sum(weight.numel() for weight in model.parameters())
        self.ties = ties(model)
        self.remarks: Sequence[str] = ()
        """What is noticed about the data when the run begins."""
        self.stopped_by: int | None = None
        """Number of the signal that asked to stop."""
        self._stop_reason: str | None = None
        self._evaluated_at = self._sound_at = -1
        self._scores: dict[str, float] = {}

        self.loader = make_loader(recipe, data, devices)
        choose_precision(model, task, self.loader, devices)
        self.model = devices.place(model)
        self.facts = numeric_facts(recipe, data.facts, devices)
        seed_everything(recipe.seed + devices.rank)
        task.prepare(self.model, recipe.seed)
        self.networks = task.networks(self.model)
        if train.accumulate > 1 and len(self.networks) > 1:
            raise ConfigError("train.accumulate={count}: a task with several networks ({names}) takes whole batches.",
                              count=train.accumulate, names=", ".join(self.networks))  # fmt: skip
        devices.shard(self.networks, getattr(model, "blocks", ()))
        self.view = devices.view(self.model, self.networks)
        self.optimizers = {name: rule.build(network) for name, network in self.networks.items()}
        self.average = Average(self.model, train.average) if train.average else None
        self.stream: Any = task.batches(data, self.model, self.loader, train.batch_size)
        self.total = total_steps(train, self.loader)
        self.saver.spare = partial(rule.ends_cycle, total=self.total)
        self.evaluate_every = evaluation_interval(train, self.loader)
        self.split = "valid" if "valid" in data.facts.sizes else "test" if "test" in data.facts.sizes else None
        self.patience = Patience(task.monitor, train.patience, choose="valid" in data.facts.sizes)
        rule.expect("valid" in data.facts.sizes and self.evaluate_every > 0)
        self.window = Window(LayerSignals(self.networks, self.optimizers))
        self.updates = Updates(self.model, self.view, task, self.networks, self.optimizers, devices, train,
                               len(self.loader) if self.loader else 1)  # fmt: skip
        self.recovery = Recovery(run, train, self.updates, self.average, self.saver, self.window, task.counts)

    # ------------------------------------------------------------------------------------------ the loop

    def fit(self) -> None:
        """Train to the end, or until stopped; afterwards the run holds checkpoints and, if finished, a result."""
        self._tell(Started(self.step, self.total, {**self.devices.choices(), "parameters": self.parameters,
                                                   "counts": self.task.counts}))  # fmt: skip
        for text in self.remarks:
            self._tell(Noticed(self.step, text))
        self.saver.begin(self.step, self.model, self.evaluate_every)
        self.model.train()
        if self.step == 0:
            self._evaluate()
        try:
            if self.train.on_nonfinite == "rewind" and not self.run.checkpoints:
                self.save()  # so that there is something to go back to
            while not self._reached_the_end():
                pass
        except (TrainingError, DiskError) as error:
            with suppress(DiskError):
                self.saver.settle()
            self._tell(Failed(self.step, str(error)))
            raise
        finally:
            self.saver.close()
            if self.loader:
                self.loader.end()

    def _reached_the_end(self) -> bool:
        """Train and finish; return False if a number that is not finite led back to a checkpoint."""
        try:
            while not self._ended():
                self._update()
                if self.step % self.train.log_every == 0:
                    self._log()
                improved = bool(self.evaluate_every) and self.step % self.evaluate_every == 0 and self._evaluate()
                if improved or self.saver.due(self.step):
                    self.save(improved, wait=False)
                self.saver.poll()
            self._finish()
        except NotFinite as found:
            self._go_back(found)
            return False
        return True

    def _update(self) -> None:
        began = self.clock()
        rate = self.rule.rate(self.step, self.progress, self.total)
        done = self._made(micro_batches(map_tensors(next(self.stream), self.devices.move), self.train.accumulate), rate)
        self.step += 1
        if done:
            if self.average:
                self.average.update(self.step)
            self.task.after_step(self.model, self.step)
        passed = self.clock() - began
        self.seconds += passed
        self.window.add_update(done, passed, rate)

    def _made(self, parts: Sequence[Batch], rate: float) -> Done | None:
        """Make the next update; return None if it is left out."""
        if self.recovery.leaves_out(self.step + 1):
            return None
        try:
            return self.updates.make(parts, rate, self.step + 1)
        except NotFinite as found:
            self.recovery.skip(found, self._given())
            return None

    def _go_back(self, found: NotFinite) -> None:
        """Return to the last good checkpoint, if that is what is wanted."""
        asked = None if self.finished else self._stop_reason
        self._settle()
        given = self._given()
        if self.updates.deferred and self.loader is not None and self.loader is self.stream:
            back = self.step - found.step
            given, found.parts = self.loader.given(back), [map_tensors(self.loader.again(back), self.devices.move)]
        self.restore(self.recovery.rewind(found, given))
        self._stop_reason = asked

    def _given(self) -> Given | None:
        """Say which examples the last batch holds; None if the stream cannot tell."""
        return self.stream.given() if hasattr(self.stream, "given") else None

    # --------------------------------------------------------------------------------- evaluate and save

    def evaluate(self, split: str, limit: int | None = None, at_end: bool = False) -> dict[str, float]:
        """Return the scores on a split; nothing about the training changes."""
        size = 256 if self.train.batch_size == "all" else max(self.train.batch_size, 256)
        batches = in_order(self.data.split(split), size, self.devices.rank, self.devices.world)
        moved = (map_tensors(batch, self.devices.move) for batch in islice(batches, limit))
        with self._averaged():
            return evaluate_model(self.model, self.task, moved, self.devices, self.recipe.seed, at_end)

    def _evaluate(self) -> bool:
        """Evaluate on the split that is watched; return whether it is the best so far."""
        if self.split is None or self._evaluated_at == self.step:
            return False
        self._settle()
        self._scores = self.evaluate(self.split)
        self._evaluated_at = self.step
        improved = self.patience.judge(self._scores, self.step)
        self.rule.judge(self._scores, self.task.monitor)
        self._tell(Evaluated(self.step, self.split, self._scores, improved, self._epoch()))
        if self.patience.exhausted:
            name = self.task.monitor[0]
            self._stop_reason = say("no better {name} on {split} for {count} evaluations",
                                    name=name, split=self.split, count=self.patience.limit)  # fmt: skip
            self.finished = True
        return improved and self.step > 0

    def save(self, best: bool = False, wait: bool = True) -> None:
        """Write a checkpoint of this moment; if `wait`, it is durable afterwards, or `on_save_error` is "continue"."""
        self._refuse_unsound()
        self._settle()
        live = {name: full(value) for name, value in self.model.state_dict().items()}
        shown, raw = live, {}
        if self.average:
            shown = {**live, **{name: full(value) for name, value in self.average.mean.items()}}
            raw = {f"raw/{name}": live[name] for name in self.average.mean}
        moments = optimizer_tensors(self.networks, self.optimizers)
        generators = {
            f"rank/{name}": torch.stack(self.devices.gather(value))
            for name, value in random_state(self.devices.device).items()
        }
        if self.devices.main:
            name = self.run.checkpoint_path(self.step).name if best else self.saver.best
            contents = Contents(shown, self.ties, self.record, {**moments, **raw}, generators,
                                {**self._state(), "best": name}, {"step": self.step, **self.facts})  # fmt: skip
            self.saver.save(self.step, best, contents, wait)
        if wait:
            self._settle()

    def _settle(self) -> None:
        """Wait for the checkpoint that is being written; a best one that was lost is forgotten, on every rank."""
        if self.devices.agree(self.saver.settle()):
            self.patience.take_back()

    def _state(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "seconds": self.seconds,
            "finished": self.finished,
            "reason": self._stop_reason if self.finished else None,
            "evaluated_at": self._evaluated_at,
            "scores": {name: value if isfinite(value) else str(value) for name, value in self._scores.items()},
            "patience": self.patience.state(),
            "rule": self.rule.state(),
            "window": self.window.state(),
            "stream": self.stream.state(),
            "task": self.task.state(),
            "left_out": sorted(self.recovery.left_out),
        }

    def restore(self, checkpoint: Checkpoint, allow_drift: bool = False) -> None:
        """Go back to where `checkpoint` was written.

        Raises: RunError naming every fact that differs and would change the result.
        """
        if not allow_drift:
            refuse_drift(checkpoint.manifest, self.facts, self.run.path)
        self._load(checkpoint)
        for optimizer in self.optimizers.values():
            optimizer.state.clear()
        restore_optimizer(self.networks, self.optimizers, checkpoint.optimizer)
        state = checkpoint.state
        self.step, self.seconds = state["step"], state["seconds"]
        self.finished, self._stop_reason = state["finished"], state["reason"]
        self._evaluated_at = state["evaluated_at"]
        self._scores = {name: float(value) for name, value in state["scores"].items()}
        self.patience.restore(state["patience"])
        self.rule.restore(state.get("rule", {}))
        self.window.restore(state["window"], self.devices.device)
        self.stream.restore(state["stream"])
        self.task.restore(state["task"])
        restore_random(checkpoint.random_of(self.devices.rank), self.devices.device)
        self.updates.forget()
        self.recovery.left_out = self.run.left_out.union(state.get("left_out", ()))
        self.saver.complete(self.step, state["best"])

    def _load(self, checkpoint: Checkpoint) -> None:
        """Put back the weights that are trained, and beside them the averages."""
        checkpoint.load_live(self.model)
        if self.average:
            for name, value in self.average.mean.items():
                value.copy_(placed_like(checkpoint.weights[name], value))

    # -------------------------------------------------------------------------------------- ends of a run

    def stop(self, reason: str) -> None:
        """Ask the loop to save and end after the update it is in; a run that has finished is not asked any more."""
        if not self.finished:
            self._stop_reason = self._stop_reason or reason

    def _ended(self) -> bool:
        if self._is_over():
            self._stop_reason = self._stop_reason if self.finished else None  # asked to stop in its last update
            self.finished = True
            return True
        if self.devices.main and self.step % self.train.log_every == 0 and self.run.stop_requested:
            self.stop(say("asked to stop"))
        asked = self._stop_reason is not None
        if self.devices.world > 1 and self.step % self.train.log_every == 0:
            return self.devices.agree(asked)  # all ranks must leave the loop at the same update
        return asked and self.devices.world == 1

    def _is_over(self) -> bool:
        if self.finished:
            return True
        if self.total is not None:
            return self.step >= self.total
        return self.seconds >= (self.train.minutes or 0) * 60

    def _finish(self) -> None:
        self._settle()
        improved = self.finished and self._evaluate()
        if improved or not self.run.checkpoint_path(self.step).exists():
            self.save(improved)
        if not self.finished:
            self._tell(Stopped(self.step, self._stop_reason or say("asked to stop"), finished=False))
            return
        reason = self._stop_reason or say("the end")
        here = self.run.checkpoint_path(self.step)
        if chosen := self.saver.best_checkpoint(here):
            self._load(chosen)
        best = chosen.path if chosen else here
        held_out = "test" if "test" in self.data.facts.sizes else self.split
        same = held_out == self._evaluated_split() and best == here
        same = same and type(self.task).evaluate_at_end is Task.evaluate_at_end
        scores = self._scores if same else self.evaluate(held_out, at_end=True) if held_out else {}
        if held_out:
            self._tell(Evaluated(self.step, held_out, scores, epoch=self._epoch()))
        result = {
            "scores": scores,
            "split": held_out,
            "reason": reason,
            "steps": self.step,
            "best_step": int(best.name.removeprefix("step-")),
            "parameters": self.parameters,
            "train_seconds": round(self.seconds, 3),
            "peak_memory_bytes": peak_memory_bytes(self.devices.kind),
            f"{self.task.counts}_per_second": round(float(self.window.all_things) / self.seconds, 2)
            if self.seconds
            else None,
            **self.devices.choices(),
        }
        if self.devices.main:
            self.run.write_json("result.json", result)
        self._tell(Stopped(self.step, reason, finished=True, result=result))

    def _evaluated_split(self) -> str | None:
        return self.split if self._evaluated_at == self.step else None

    # -------------------------------------------------------------------------------------------- details

    @property
    def progress(self) -> float:
        """How far the run is, 0…1."""
        if self.total is not None:
            return self.step / self.total
        return min(1.0, self.seconds / ((self.train.minutes or 0) * 60))

    def _log(self) -> None:
        self._refuse_unsound()
        self._tell(Stepped(self.step, **self.window.close(self.devices, self.step // self.train.log_every), epoch=self._epoch(),
                           progress=round(self.progress, 6), seconds=round(self.seconds, 4)))  # fmt: skip

    def _refuse_unsound(self) -> None:
        """Raise NotFinite if what a checkpoint holds is not all finite: no such checkpoint is written."""
        self.updates.read_flag()
        if self._sound_at != self.step and not Watched.of(self.updates, self.average).sound(self.devices):
            raise NotFinite("state", self.step)
        self._sound_at = self.step

    def _tell(self, event: Event) -> None:
        self.saver.tell(event)

    def _epoch(self) -> float:
        return round(self.step / len(self.loader), 4) if self.loader else 0.0

    @contextmanager
    def _averaged(self) -> Iterator[None]:
        if self.average is None:
            yield
            return
        self.average.swap()
        try:
            yield
        finally:
            self.average.swap()
