"""Saving in the order that survives a crash between any two steps of it, and what to do when the disk fails.

    history durable → checkpoint durable → best marked → Saved → old checkpoints removed

A run that died in the middle is made complete when it is resumed: everything after the second arrow follows
from the checkpoint.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from torch import nn

from seodang.core.errors import DiskError, WeightsError
from seodang.core.events import Event, Failed, Noticed, Saved
from seodang.core.files import bytes_free
from seodang.core.language import say
from seodang.core.recipe import Train
from seodang.core.run import RunFolder
from seodang.training.checkpoint import Checkpoint
from seodang.training.devices import Devices
from seodang.training.listeners import Audience

CHECKPOINTS = 3
"""Checkpoints there should be room for: the two that are kept and the one being written."""
COPIES = 3
"""Sizes of the weights in a checkpoint: the weights and the two moments of Adam."""


class Saver:
    """Everything a trainer writes into its run; `best` is the name of the checkpoint that was best so far."""

    def __init__(self, run: RunFolder, train: Train, devices: Devices, audience: Audience) -> None:
        self.run, self.train, self.devices, self.audience = run, train, devices, audience
        self.best: str | None = None
        self._failing = False

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
        self.audience.tell(event)

    def save(self, step: int, best: bool, write: Callable[[Path, str | None], None]) -> bool:
        """Save with `write(path, name of the best)`; return whether there is a durable checkpoint of `step` now.

        Raises: DiskError if ``train.on_save_error`` is ``"stop"``.
        """
        path = self.run.checkpoint_path(step)
        durable = path.exists()
        try:
            if not durable:
                self.run.sync_events()
                write(path, path.name if best else self.best)
                durable = True
            self.best = path.name if best else self.best
            self._mark()
            self.tell(Saved(step, path.name))
            self.run.prune(self.train.keep)
        except DiskError as error:
            self._failing = False
            self._failed(error, step)
        return durable

    def complete(self, step: int, best: str | None) -> None:
        """Do what a crash left undone of the save that wrote the checkpoint of `step`."""
        self.best = best
        if not self.devices.main:
            return
        self._mark()
        if not any(event["event"] == "saved" and event["step"] == step for event in self.run.events):
            self.tell(Saved(step, self.run.checkpoint_path(step).name))
        self.run.prune(self.train.keep)

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

    def warn_of_little_room(self, step: int, model: nn.Module) -> None:
        """Say before the first update that the checkpoints may not fit on the disk."""
        weights = sum(value.numel() * value.element_size() for value in model.state_dict().values())
        needed, free = CHECKPOINTS * COPIES * weights, bytes_free(self.run.path)
        if free < needed:
            self.tell(Noticed(step, say(
                "{path}: {free:,} bytes are free, and the checkpoints of this run take about {needed:,}. "
                "Make room before the first one is written.", path=self.run.path, free=free, needed=needed)))  # fmt: skip

    def _mark(self) -> None:
        if self.run.marked != self.best:
            self.run.mark_best(self.best)

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
