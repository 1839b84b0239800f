"""Processes made to die: a child that says what it is doing, and is killed by its own hand or by its parent's."""

from __future__ import annotations

import ctypes
import mmap
import os
import select
import signal
import struct
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import torch

from seodang.core import files
from seodang.training import saving
from seodang.training.trainer import Trainer
from seodang.training.update import Updates

PHASES = ("start", "data", "forward", "backward", "step", "between", "evaluate", "save", "end")
"""What the loop is doing. "save" is getting everything ready to be written; "between" is logging and the rest."""
CALLS = ("create", "open_append", "write", "sync", "rename", "make_folder", "sync_folder", "remove",
         "remove_folder")  # fmt: skip
"""What the writer asks of the disk."""
MARKS = PHASES + CALLS
FIXED = 6
"""Places of `Shared` before the counts of the marks."""


STARTING = 0.2
"""Share of the deaths from outside that come before the training begins."""


class Mark(NamedTuple):
    """The moment at which `phase` is entered for the `count`-th time."""

    phase: str
    count: int

    def __str__(self) -> str:
        return f"{self.phase}@{self.count}"


class Death(NamedTuple):
    """How an attempt ends: on entering a phase, by the process's own hand, or from outside at some time."""

    signals: tuple[int, ...] = (signal.SIGKILL,)
    whole_group: bool = False
    phase: str = ""
    """Enter this, for the last time; without it death comes from outside."""
    share: float = 0.0
    """How much of what is left of the run is still done. From outside: below `STARTING`, how far it gets in starting."""
    gap: float = 0.0
    """Seconds between two signals."""
    mark: Mark | None = None
    """The phase and how often it is entered, once that is known."""

    def __str__(self) -> str:
        names = "+".join(signal.Signals(number).name[3:] for number in self.signals)
        return f"{names}{'-group' if self.whole_group else ''}:{self.mark or format(self.share, '.4f')}"

    @classmethod
    def parse(cls, text: str) -> Death:
        """Undo `str`."""
        how, _, when = text.partition(":")
        names, _, group = how.partition("-")
        phase, at, count = when.partition("@")
        signals = tuple(int(signal.Signals[f"SIG{name}"]) for name in names.split("+"))
        mark, share = (Mark(phase, int(count)), 0.0) if at else (None, float(when))
        return cls(signals, bool(group), phase if at else "", share, 0.005, mark)


class Shared:
    """What a child tells its parent while it lives: the step it has reached, what it is doing, how often it did."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, 8 * (FIXED + len(MARKS)))
        self.clear()

    def clear(self) -> None:
        self._memory[:] = bytes(len(self._memory))
        self.step = -1

    def _get(self, place: int) -> int:
        return int(struct.unpack_from("q", self._memory, 8 * place)[0])

    def _set(self, place: int, value: int) -> None:
        struct.pack_into("q", self._memory, 8 * place, value)

    step = property(lambda self: self._get(0), lambda self, value: self._set(0, value))
    loop = property(lambda self: PHASES[self._get(1)], lambda self, name: self._set(1, PHASES.index(name)))
    """What the loop is doing."""
    call = property(lambda self: self._get(2), lambda self, place: self._set(2, place))
    """Place of the call to the disk that is going on, or 0: a thread may be writing while the loop goes on."""

    def reach(self, place: int) -> None:
        """Say that the program begins (0), training begins (1), or training ends (2)."""
        self._set(3 + place, time.monotonic_ns())

    def reached(self, place: int) -> float:
        """Return when that was, in seconds, or 0 if it has not been yet."""
        return self._get(3 + place) / 1e9

    @property
    def fitting(self) -> bool:
        return bool(self.reached(1)) and not self.reached(2)

    def count(self, name: str) -> int:
        """Count that `name` is entered once more."""
        place = FIXED + MARKS.index(name)
        self._set(place, self._get(place) + 1)
        return self._get(place)

    @property
    def counts(self) -> dict[str, int]:
        return {name: self._get(FIXED + place) for place, name in enumerate(MARKS) if self._get(FIXED + place)}

    @property
    def now(self) -> Mark:
        name = MARKS[self.call] if self.call else self.loop
        return Mark(name, self._get(FIXED + MARKS.index(name)))


class Watched(files.Disk):
    """Counts what a process does, and lets it die at its deadly mark."""

    def __init__(self, shared: Shared, death: Death | None) -> None:
        self.shared, self.death, self.lock = shared, death, threading.Lock()

    def mark(self, name: str) -> None:
        with self.lock:
            if name in PHASES:
                self.shared.loop = name
            else:
                self.shared.call = MARKS.index(name)
            count = self.shared.count(name)
        if self.death and self.death.mark == (name, count):
            (os.killpg if self.death.whole_group else os.kill)(os.getpid(), self.death.signals[0])

    def marked(self, owner: Any, name: str, entered: str, left: str = "") -> None:
        """Let a method say that it is entered and left."""
        original = getattr(owner, name)

        def method(this: Any, *arguments: Any, **more: Any) -> Any:
            self.mark(entered)
            result = original(this, *arguments, **more)
            if left:
                self.mark(left)
            if isinstance(this, Trainer):
                self.shared.step = this.step
            return result

        setattr(owner, name, method)

    def start(self, beside: bool) -> None:
        """Watch whatever this process trains from now on; with `beside`, however small, it is written by a thread."""
        saving.BESIDE_FROM = 0 if beside else saving.BESIDE_FROM
        files.disk = self
        self.marked(Trainer, "_update", "data", "between")
        self.marked(Updates, "_losses", "forward")
        self.marked(torch.Tensor, "backward", "backward")
        self.marked(Updates, "_step", "step")
        self.marked(Trainer, "_evaluate", "evaluate", "between")
        self.marked(Trainer, "save", "save", "between")
        self.marked(Trainer, "_finish", "end")
        fit, shared = Trainer.fit, self.shared

        def fit_tidily(this: Trainer) -> None:
            left = [*this.run.path.rglob(".*.tmp")]
            assert not left, f"temporaries are left after a start: {left}"
            assert this.run.marked == this.saver.best, f"marked as best is {this.run.marked}, not {this.saver.best}"
            shared.reach(1)
            try:
                fit(this)
            finally:
                shared.reach(2)

        Trainer.fit = fit_tidily  # type: ignore[method-assign]
        shared.reach(0)


def _call(name: str) -> Callable[..., Any]:
    original = getattr(files.Disk, name)

    def method(self: Watched, *arguments: Any) -> Any:
        self.mark(name)
        result = original(self, *arguments)
        self.shared.call = 0
        return result

    return method


for _name in CALLS:
    setattr(Watched, _name, _call(_name))


def adopt_orphans() -> None:
    """Let every process that loses its parent become a child of this one."""
    set_child_subreaper = 36  # PR_SET_CHILD_SUBREAPER in linux/prctl.h
    assert ctypes.CDLL(None).prctl(set_child_subreaper, 1) == 0


def child(work: Callable[[], object], log: Path) -> int:
    """Do `work` in a process of its own, the leader of its group; return its number."""
    sys.stdout.flush()
    number = os.fork()
    if number:
        with suppress(OSError):  # the child does it too; whoever is first
            os.setpgid(number, number)
        return number
    code = 1
    try:
        with suppress(OSError):
            os.setpgid(0, 0)
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(output, 1), os.dup2(output, 2)
        work()
        code = 0
    except SystemExit as end:
        code = int(end.code or 0)
    except KeyboardInterrupt:
        code = 130  # before the command line was there to say so
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def wait(number: int, seconds: float) -> int | None:
    """Return how the child ended, as `os.waitstatus_to_exitcode` says it, or None if it has not in `seconds`."""
    descriptor = os.pidfd_open(number)
    try:
        ready, _, _ = select.select([descriptor], [], [], max(seconds, 0.0))
    finally:
        os.close(descriptor)
    return os.waitstatus_to_exitcode(os.waitpid(number, 0)[1]) if ready else None


def outlive(group: int, seconds: float) -> int:
    """Return how many processes of a group whose leader is dead live longer than `seconds`; they end then."""
    until = time.monotonic() + seconds
    while True:
        try:
            if os.waitpid(-group, os.WNOHANG)[0]:
                continue
        except ChildProcessError:
            return 0
        if time.monotonic() > until:
            break
        time.sleep(0.002)
    left = 0
    os.killpg(group, signal.SIGKILL)
    with suppress(ChildProcessError):
        while os.waitpid(-group, 0):
            left += 1
    return left
