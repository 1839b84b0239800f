"""What a trainer does when a number is not finite: stop, skip the update, or go back to the last good checkpoint.

rewind:    history with the update that failed on disk → checkpoint restored → training goes on, without that update

A process that dies before the first arrow meets the same number again; one that dies later reads what was left out.
"""

from __future__ import annotations

from typing import Any

from seodang.core.errors import TrainingError, WeightsError
from seodang.core.events import Noticed, Rewound
from seodang.core.language import say
from seodang.core.recipe import Train
from seodang.core.run import RunFolder
from seodang.data.dataset import Given
from seodang.training.checkpoint import Checkpoint
from seodang.training.nonfinite import batch_text, cause, headline
from seodang.training.progress import Window
from seodang.training.saving import Saver
from seodang.training.update import NotFinite, Updates

IN_A_ROW = 10
"""Updates in a row that failed: from here on the run stops, whatever `train.on_nonfinite` says."""


class Recovery:
    """Decides what follows a number that is not finite; `left_out` are the updates that were not made."""

    def __init__(self, run: RunFolder, train: Train, updates: Updates, average: Any, saver: Saver, window: Window,
                 counts: str) -> None:  # fmt: skip
        self.run, self.train, self.updates, self.average = run, train, updates, average
        self.saver, self.window, self.counts = saver, window, counts
        self.left_out: set[int] = set()

    def leaves_out(self, step: int) -> bool:
        """Return whether update `step` is not to be made."""
        if step not in self.left_out:
            return False
        self.saver.tell(Noticed(step, say("Update {step} is left out: numbers that are not finite came up in it before.",
                                          step=step)))  # fmt: skip
        return True

    def skip(self, found: NotFinite, given: Given | None) -> None:
        """Undo the update that failed and go on without it, if that is what is wanted.

        Raises: NotFinite if not; TrainingError if it cannot be, or there were too many in a row.
        """
        if self.train.on_nonfinite != "skip":
            raise found
        why, sound = self._why(found, given)
        if not sound or not self.updates.whole:
            raise self._failed(found, why, sound)
        self._count(found, why)
        self.saver.tell(Noticed(found.step, say("Step {step}: {why} The update was skipped; nothing has changed.",
                                                step=found.step, why=why)))  # fmt: skip

    def rewind(self, found: NotFinite, given: Given | None) -> Checkpoint:
        """Return the checkpoint to go back to; it is on disk then that update `found.step` is left out.

        Raises: TrainingError if that is not what is wanted, or there were too many in a row.
        """
        why, sound = self._why(found, given)
        if self.train.on_nonfinite != "rewind":
            raise self._failed(found, why, sound)
        self._count(found, why)
        checkpoint = self._newest_good(found, why)
        if self.updates.devices.main:
            event = Rewound(checkpoint.state["step"], sorted(self.left_out), say(
                "Step {step}: {why} Going back to {checkpoint}; update {step} will be left out.",
                step=found.step, why=why, checkpoint=checkpoint.path.name))  # fmt: skip
            self.run.emit(event)  # if the disk does not take it the run stops, whatever `on_save_error` says
            self.run.sync_events()
            self.saver.audience.tell(event)
        self.updates.devices.barrier()
        return checkpoint

    def _why(self, found: NotFinite, given: Given | None) -> tuple[str, bool]:
        """Say what was not finite, where it came from and in which batch; return whether the weights were sound."""
        text, sound = cause(found, self.updates, self.average, found.parts, given)
        what = headline(found, self.counts, self.window.last_loss(found.network)) + "."
        return " ".join(filter(None, (what, text, batch_text(given)))), sound

    def _count(self, found: NotFinite, why: str) -> None:
        """Note that the update is not made.

        Raises: TrainingError if it is one too many.
        """
        self.left_out.add(found.step)
        first = found.step
        while first - 1 in self.left_out:
            first -= 1
        if found.step - first + 1 >= IN_A_ROW:
            raise TrainingError(
                "Step {step}: {why} It is the {count}th update in a row that failed, which no single batch explains. {back} "
                "Try a smaller optimizer.lr, train.clip=1, or look for bad values: seodang check --data …",
                step=found.step, why=why, count=IN_A_ROW, back=self._back(as_before=False))  # fmt: skip

    def _failed(self, found: NotFinite, why: str, sound: bool) -> TrainingError:
        as_before = sound and self.updates.whole and found.parts is not None
        return TrainingError(
            "Step {step}: {why} {back} Try a smaller optimizer.lr, train.clip=1, or look for bad values: "
            "seodang check --data …", step=found.step, why=why, back=self._back(as_before))  # fmt: skip

    def _back(self, as_before: bool) -> str:
        good = self.run.checkpoints
        if not good:
            return say("There is no checkpoint yet.")
        if as_before:
            return say("The weights are as before this update; the last good checkpoint is {path}.", path=good[-1])
        return say("The last good checkpoint is {path}.", path=good[-1])

    def _newest_good(self, found: NotFinite, why: str) -> Checkpoint:
        devices = self.updates.devices
        devices.barrier()
        for path in reversed(self.run.checkpoints):
            try:
                return Checkpoint.read(path)
            except WeightsError as error:
                devices.barrier()
                if devices.main:
                    aside = self.run.set_aside(path)
                    self.saver.tell(Noticed(found.step, say(
                        "{error} It was set aside as {aside}; going on from the one before.",
                        error=error, aside=aside.name)))  # fmt: skip
                devices.barrier()
        raise TrainingError("Step {step}: {why} There is no whole checkpoint to go back to.", step=found.step, why=why)
