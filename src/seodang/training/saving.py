"""Saving in the order that survives a crash between any two steps of it, and what to do when the disk fails.

    history durable → checkpoint durable → best marked → Saved → old checkpoints removed

A run that died in the middle is made complete when it is resumed: everything after the second arrow follows
from the checkpoint.

A large checkpoint is copied to memory, which is all the loop waits for, and written beside it, at most one at a time: the next
save, the next evaluation and every end wait for the one before. So that no more than an interval is ever lost, the one being
written included, large ones begin every half of it. What went wrong is said at the next update. Events are told by the loop
alone; a `Saved` that comes late has its place in the history after the step it saved (`RunFolder.events`), whenever the disk
was done. A small one is written at once, which takes less than a thread would.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from seodang.core.errors import DiskError, WeightsError
from seodang.core.events import Event, Failed, Noticed, Saved
from seodang.core.files import bytes_free
from seodang.core.language import say
from seodang.core.recipe import Train
from seodang.core.run import RunFolder
from seodang.training.beside import Beside
from seodang.training.checkpoint import Checkpoint, Contents, write_checkpoint
from seodang.training.devices import Devices
from seodang.training.listeners import Audience
from seodang.training.staging import Stage

CHECKPOINTS = 3
"""Checkpoints there should be room for: the two that are kept and the one being written."""
COPIES = 3
"""Sizes of the weights in a checkpoint: the weights and the two moments of Adam."""
BESIDE_FROM = 4 << 20
"""Bytes from which a checkpoint is written beside the loop; below, writing takes a few milliseconds (benchmarks/saving.py)."""


@dataclass
class Save:
    """A save on its way."""

    step: int
    name: str
    best: bool
    at_once: bool
    durable: bool = False
    told: bool = False


class Saver:
    """Everything a trainer writes into its run; `best` is the name of the checkpoint that was best so far."""

    def __init__(self, run: RunFolder, train: Train, devices: Devices, audience: Audience) -> None:
        self.run, self.train, self.devices, self.audience = run, train, devices, audience
        self.best: str | None = None
        self.spare: Callable[[int], bool] = lambda step: False
        """Says of the number of an update whether its checkpoint is kept for good: a snapshot at the end of a cycle."""
        self._failing = self._lost = False
        self._save: Save | None = None
        self._beside, self._stage = Beside(), Stage()
        self._every, self._large = 0, False
        """Updates between checkpoints, 0 = none; whether they are written beside the loop."""

    def tell(self, event: Event) -> None:
        """Record an event and tell it to who listens.

        Raises: DiskError if it cannot be recorded and ``train.on_save_error`` is ``"stop"``.
        """
        if not self.devices.main:
            return
        try:
            self.run.emit(event)
            self._failing = False
        except DiskError as error:
            if not isinstance(event, Failed):
                self._failed(error, event.step)
        for found in self.audience.tell(event):
            self.tell(found)

    def save(self, step: int, best: bool, contents: Contents, wait: bool) -> None:
        """Save `contents`: beside the loop if they are large and nobody needs to `wait`. `settle` says how it went.

        The save before must have been settled.
        Raises: DiskError if ``train.on_save_error`` is ``"stop"``.
        """
        path = self.run.checkpoint_path(step)
        durable = path.exists()
        at_once = wait or durable or not self._large
        save = self._save = Save(step, path.name, best, at_once, durable)
        files = {} if durable else contents.files(None if at_once else self._stage)

        def write() -> None:
            if not save.durable:
                self.run.sync_events()
                write_checkpoint(path, files, contents.facts)
                save.durable = True
            self._mark(save.name if best else self.best)

        try:
            self.run.write_events()
        except DiskError as error:
            self._take_back(save, error)
            return
        self._beside.start(write, at_once)
        if at_once:
            self._take_all()

    def poll(self) -> None:
        """Tell of what has ended beside the loop.

        Raises: DiskError if it failed and ``train.on_save_error`` is ``"stop"``.
        """
        if self._beside.ended:
            self._take()

    def settle(self) -> bool:
        """Wait until nothing is being written; return whether a best checkpoint was lost since this was last asked.

        Raises: DiskError if it failed and ``train.on_save_error`` is ``"stop"``.
        """
        self._take_all()
        lost, self._lost = self._lost, False
        return lost

    def close(self) -> None:
        """Wait until nothing is being written, whatever comes of it: the next start makes complete what can be."""
        with suppress(BaseException):
            self._beside.wait()

    def _take_all(self) -> None:
        while self._beside.busy:
            self._take()

    def _take(self) -> None:
        """Wait for what is being written or removed, and do what follows it."""
        save = self._save
        assert save is not None
        try:
            self._beside.wait()
        except DiskError as error:
            self._take_back(save, error)
            return
        if not save.told:
            save.told = True
            self.best = save.name if save.best else self.best
            self.tell(Saved(save.step, save.name))
            self._beside.start(lambda: self.run.prune(self.train.keep, self.spare), save.at_once)

    def _take_back(self, save: Save, error: DiskError) -> None:
        """Say that a save, or what follows it, failed; what is durable stays."""
        if save.durable:
            self.best = save.name if save.best else self.best
        else:
            self._lost = save.best
        self._failing = False
        self._failed(error, save.step)

    def complete(self, step: int, best: str | None) -> None:
        """Do what a crash left undone of the save that wrote the checkpoint of `step`."""
        self.best = best
        if not self.devices.main:
            return
        self._mark(best)
        if not any(event["event"] == "saved" and event["step"] == step for event in self.run.events):
            self.tell(Saved(step, self.run.checkpoint_path(step).name))
        self.run.prune(self.train.keep, self.spare)

    def best_checkpoint(self, newest: Path) -> Checkpoint | None:
        """Return the best checkpoint, or None if that is the newest, whose weights are in the model."""
        best = self.run.best
        if best is None or best == newest:
            return None
        try:
            return Checkpoint.read(best)
        except WeightsError as error:
            self.devices.barrier()
            if self.devices.main:
                aside = self.run.set_aside(best)
                self.tell(Noticed(int(newest.name[5:]), say(
                    "{error} It was set aside as {aside}; the newest checkpoint takes its place as the best.",
                    error=error, aside=aside.name)))  # fmt: skip
            self.devices.barrier()
            return None

    def begin(self, step: int, model: nn.Module, evaluate_every: int) -> None:
        """Choose how checkpoints of `model` are written; say before the first update that they may not fit on the disk."""
        size = COPIES * sum(value.numel() * value.element_size() for value in model.state_dict().values())
        self._every = evaluate_every if self.train.save_every == "evaluate" else self.train.save_every
        self._large = size >= BESIDE_FROM and self._every > 1
        needed, free = CHECKPOINTS * size, bytes_free(self.run.path)
        if free < needed:
            self.tell(Noticed(step, say(
                "{path}: {free:,} bytes are free, and the checkpoints of this run take about {needed:,}. "
                "Make room before the first one is written.", path=self.run.path, free=free, needed=needed)))  # fmt: skip

    def due(self, step: int) -> bool:
        """Say whether it is time for a checkpoint: every interval, or every half of it if they are written beside the loop.

        Also at the end of each cycle of the learning rate: that snapshot is kept.
        """
        every = self._every
        return self.spare(step) or (every > 0 and step % every % (every // 2 if self._large else every) == 0)

    def _mark(self, best: str | None) -> None:
        if self.run.marked != best:
            self.run.mark_best(best)

    def _failed(self, error: DiskError, step: int) -> None:
        if self.train.on_save_error == "stop":
            raise error
        if self._failing:  # said already: every line of progress would say it again
            return
        self._failing = True
        notice = Noticed(step, say('{error} Training goes on, as train.on_save_error = "continue" says; the next save tries again.',
                                   error=error))  # fmt: skip
        with suppress(DiskError):
            self.run.emit(notice)
        self.audience.tell(notice)
