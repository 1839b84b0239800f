"""Many runs, each in a process of its own, some at a time. Ctrl-C is passed on: every run saves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import types
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from seodang.comparison.child import REPORT
from seodang.comparison.nursery import Ended, Nursery
from seodang.core.errors import SeodangError
from seodang.core.language import say
from seodang.core.run import RunFolder
from seodang.core.stopping import stops_handled

POLL_SECONDS = 0.2
FORKS = sys.platform == "linux"
"""Whether a process that has much loaded can be forked safely; elsewhere each run loads everything itself."""


class Outcome(NamedTuple):
    """How the process of a run ended."""

    name: str
    state: str
    """``finished``, ``stopped`` or ``failed``."""
    kind: str = ""
    message: str = ""


class Children:
    """The processes that train now."""

    def __init__(self, folder: Path, plugin: str | None, say_aside: Callable[[str], object]) -> None:
        self.folder, self.plugin, self.say_aside = folder, plugin, say_aside
        self.stopped_by: int | None = None
        self._lock = threading.Lock()
        self._running: dict[str, int] = {}
        self._nursery: Nursery | None = None

    def train(self, name: str) -> Outcome:
        """Train the run `name`, or go on with it; return when its process has ended."""
        self._wait_for_others(name)
        ended = self._forked(name) if FORKS else self._started(name)
        return Outcome(name, "stopped") if ended is None else _outcome(name, ended.code, ended.said, self.folder)

    def _forked(self, name: str) -> Ended | None:
        with self._lock:
            if self.stopped_by is not None:
                return None
            if self._nursery is None or not self._nursery.alive:
                self._nursery = Nursery(str(self.folder), self.plugin, self._began)
            future = self._nursery.ask(name)
        try:
            return future.result()
        finally:
            with self._lock:
                self._running.pop(name, None)

    def _began(self, name: str, pid: int) -> None:
        with self._lock:
            self._running[name] = pid
            if self.stopped_by is not None:  # asked to stop while it was being forked
                os.kill(pid, self.stopped_by)

    def _started(self, name: str) -> Ended | None:
        command = [sys.executable, "-m", "seodang.comparison.child", str(self.folder), name]
        command += [self.plugin] if self.plugin else []
        with self._lock:
            if self.stopped_by is not None:
                return None
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                       start_new_session=True)  # fmt: skip
            self._running[name] = process.pid
        assert process.stdin and process.stderr
        try:
            said = process.stderr.read().decode(errors="replace")
            code = process.wait()
        finally:
            process.stdin.close()
            process.stderr.close()
            with self._lock:
                del self._running[name]
        return Ended(code, said)

    def _wait_for_others(self, name: str) -> None:
        """Wait while somebody else trains this run: a killed comparison's process that still saves, or another comparison."""
        told = False
        while (
            self.stopped_by is None
            and (self.folder / name / "recipe.toml").exists()
            and RunFolder(self.folder / name).is_running
        ):
            if not told:
                self.say_aside(say("{path}: another process trains it; waiting for that.", path=self.folder / name))
            told = True
            time.sleep(POLL_SECONDS)

    def stop(self, number: int = signal.SIGINT) -> None:
        """Ask every run to save and end, and begin no other."""
        with self._lock:
            self.stopped_by = number
        self._signal(number)

    def kill(self) -> None:
        self._signal(signal.SIGKILL)

    def close(self) -> None:
        if self._nursery is not None:
            self._nursery.close()

    def _signal(self, number: int) -> None:
        with self._lock:
            for pid in self._running.values():
                with suppress(ProcessLookupError):
                    os.kill(pid, number)


def _outcome(name: str, code: int, said: str, folder: Path) -> Outcome:
    if code in (130, 143, -signal.SIGINT, -signal.SIGTERM):
        return Outcome(name, "stopped")
    run = folder / name
    if code == 0 and (run / "recipe.toml").exists():
        return Outcome(name, "finished" if RunFolder(run).is_complete else "stopped")
    for line in reversed(said.splitlines()):
        if line.startswith(REPORT):
            found = json.loads(line.removeprefix(REPORT))
            return Outcome(name, "failed", found["kind"], found["message"])
    if code < 0:
        reason = signal.Signals(-code).name
        return Outcome(name, "failed", "Killed", say("Its process was ended by {signal}.", signal=reason))
    return Outcome(name, "failed", "Failed", (said.strip().splitlines() or [f"exit code {code}"])[-1])


def run_all(
    folder: Path,
    names: Sequence[str],
    processes: int,
    plugin: str | None,
    told: Callable[[Outcome], object],
    say_aside: Callable[[str], object],
) -> int | None:
    """Train every run of `names`, `processes` at a time; return the signal that ended it, if one did.

    Raises: KeyboardInterrupt at a second Ctrl-C: then nothing more is saved.
    """
    children = Children(folder, plugin, say_aside)
    with closing(children), ThreadPoolExecutor(processes) as pool, _signals(children):
        pending: set[Future[Outcome]] = {pool.submit(children.train, name) for name in names}
        try:
            while pending:
                done, pending = wait(pending, POLL_SECONDS, FIRST_COMPLETED)
                for future in done:
                    outcome = future.result()
                    if children.stopped_by is None or outcome.state != "stopped":
                        told(outcome)
        except BaseException:
            if children.stopped_by is None:
                children.stop()
            raise
    return children.stopped_by


@contextmanager
def _signals(children: Children) -> Iterator[None]:
    """Pass the first Ctrl-C or SIGTERM on to every run; a second Ctrl-C ends them at once."""

    def ask(number: int, frame: types.FrameType | None) -> None:
        if children.stopped_by is not None:
            children.kill()
            raise KeyboardInterrupt
        threading.Thread(target=children.stop, args=(number,)).start()  # a lock may be held by this very thread

    with stops_handled(ask):
        yield


def require_alone() -> None:
    """Refuse to compare inside a process of torchrun.

    Raises: SeodangError
    """
    from seodang.training.launch import in_process_group

    if in_process_group():
        raise SeodangError("seodang compare starts its own processes: run it without torchrun.")
