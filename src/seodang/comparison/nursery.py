"""A process in which everything is loaded once, and from which each run's own process is forked.

``python -m seodang.comparison.nursery FOLDER [PLUGIN]`` reads names of runs from standard input, one in a line, and writes
a line of JSON when the process of a run has begun (name, pid) and when it has ended (name, code, said). Loading takes
longer than many a run of a comparison. It computes nothing itself: neither threads nor a GPU are begun before a fork.
"""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, NamedTuple

POLL_SECONDS = 0.05
PIECE = 1 << 16


class Ended(NamedTuple):
    """How a process ended: its exit code, negative for a signal, and what it wrote to standard error."""

    code: int
    said: str


class Nursery:
    """The other end: asks for runs, and knows which process each of them has."""

    def __init__(self, folder: str, plugin: str | None, began: Callable[[str, int], object]) -> None:
        self._began = began
        self._waiting: dict[str, Future[Ended]] = {}
        self._lock = threading.Lock()
        self._gone = False
        """Whether nobody answers any more: a run's own process may still hold the pipe open, and take what is written."""
        command = [sys.executable, "-m", "seodang.comparison.nursery", folder, *([plugin] if plugin else [])]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                         start_new_session=True)  # fmt: skip
        self._reader = threading.Thread(target=self._listen, name="seodang-nursery", daemon=True)
        self._reader.start()

    @property
    def alive(self) -> bool:
        return self._process.poll() is None and self._reader.is_alive()

    def ask(self, name: str) -> Future[Ended]:
        """Have the process of a run forked; the answer comes when it has ended."""
        assert self._process.stdin
        future: Future[Ended] = Future()
        with self._lock:
            self._waiting[name] = future
            if self._gone:
                self._give_up()
                return future
            try:
                self._process.stdin.write(f"{name}\n".encode())
                self._process.stdin.flush()
            except OSError:  # it is gone
                self._give_up()
        return future

    def close(self) -> None:
        """End it; processes of runs that are still there save and end, as their parent is gone."""
        assert self._process.stdin and self._process.stdout
        with suppress(OSError):  # what it should have read, nobody reads any more
            self._process.stdin.close()
        self._process.wait()
        self._reader.join()
        self._process.stdout.close()

    def _listen(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            told = json.loads(line)
            if "pid" in told:
                self._began(told["name"], told["pid"])
                continue
            with self._lock:
                future = self._waiting.pop(told["name"])
            future.set_result(Ended(told["code"], told["said"]))
        with self._lock:
            self._gone = True
            self._give_up()

    def _give_up(self) -> None:
        """Say of every run that its process is lost; called with the lock held."""
        code = self._process.poll()
        for future in self._waiting.values():
            future.set_result(Ended(1 if code is None else code or 1, ""))
        self._waiting.clear()


# ---------------------------------------------------------------------------------------------- the process itself


class _Forked(NamedTuple):
    name: str
    pid: int
    lifeline: int
    said: bytearray


def main(folder: str, plugin: str | None = None) -> int:
    """Serve; in a forked process, train the run it was forked for, and return its exit code."""
    _load(plugin)
    name = _serve()
    if name is None:
        return 0
    from seodang.comparison import child

    sys.argv = [child.__file__, folder, name, *([plugin] if plugin else [])]
    return child.main(folder, name, plugin)


def _load(plugin: str | None) -> None:
    """Import what a training imports."""
    import seodang.training.trainer
    import seodang.visualize.report  # noqa: F401
    from seodang.core.registry import load_plugin
    from seodang.training.determinism import deterministic
    from seodang.training.resolve import SECTIONS, registry_of

    with deterministic(True):
        pass
    for section in SECTIONS:
        registry_of(section).names()
    if plugin:
        load_plugin(plugin)


def _serve() -> str | None:
    """Fork for each name that is asked for; return that name in the forked process, and None here at the end."""
    forked: dict[int, _Forked] = {}
    silent: list[_Forked] = []
    asked = b""
    with selectors.DefaultSelector() as selector:
        selector.register(0, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select(POLL_SECONDS if silent else None):
                piece = os.read(key.fd, PIECE)
                if key.fd == 0:
                    if not piece:
                        return None
                    *names, asked = (asked + piece).split(b"\n")
                    for name in names:
                        if not _fork(name.decode(), forked, selector):
                            return name.decode()
                elif piece:
                    forked[key.fd].said.extend(piece)
                else:
                    selector.unregister(key.fd)
                    os.close(key.fd)
                    silent.append(forked.pop(key.fd))
            silent = [one for one in silent if not _reaped(one)]


def _fork(name: str, forked: dict[int, _Forked], selector: selectors.BaseSelector) -> bool:
    """Fork; return True here, and False in the new process, whose standard input ends when this process does."""
    (alive, lifeline), (hearing, said) = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        selector.close()
        for one in forked.values():
            os.close(one.lifeline)
        for descriptor in (*forked, lifeline, hearing):
            os.close(descriptor)
        os.setsid()
        for old, new in ((alive, 0), (2, 1), (said, 2)):  # standard error was nowhere, so standard output is now
            os.dup2(old, new)
        os.close(alive)
        os.close(said)
        return False
    os.close(alive)
    os.close(said)
    forked[hearing] = _Forked(name, pid, lifeline, bytearray())
    selector.register(hearing, selectors.EVENT_READ)
    _tell({"name": name, "pid": pid})
    return True


def _reaped(one: _Forked) -> bool:
    """Return whether a process has ended, and tell so."""
    pid, status = os.waitpid(one.pid, os.WNOHANG)
    if pid == 0:
        return False
    os.close(one.lifeline)
    code = os.waitstatus_to_exitcode(status)
    _tell({"name": one.name, "code": code, "said": one.said.decode(errors="replace")})
    return True


def _tell(values: dict[str, Any]) -> None:
    print(json.dumps(values), flush=True)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
