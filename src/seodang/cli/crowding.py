"""Whether other programs keep the processors busy that a run counts on.

Threads that compute together wait for each other at every step by turning in place, which is fastest as long as each
has a core of its own. On a machine that is shared they can be many times slower than one thread alone.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

PROC = Path("/proc")
SECONDS = 5.0
"""Time after which the question is answered."""
CROWDED = 0.3
"""Cores that are missing from which it is said."""


class Times(NamedTuple):
    """Seconds of processor time since the machine and this process started, and the clock."""

    clock: float
    machine: float
    own: float
    cores: int


class Crowd:
    """Watches the processors from the moment it is made."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._began = read_times()

    def missing(self) -> float | None:
        """Return how many cores the threads are short of; None before there is an answer, or where none can be had."""
        now = read_times()
        if self._began is None or now is None or now.clock - self._began.clock < SECONDS:
            return None
        seconds = now.clock - self._began.clock
        others = (now.machine - self._began.machine - (now.own - self._began.own)) / seconds
        return max(0.0, others + self.threads - now.cores)


def read_times() -> Times | None:
    """Return the times so far; None on a system without ``/proc``, and while processes of our own work too."""
    try:
        if any(_children()):
            return None
        lines = (PROC / "stat").read_text().splitlines()
    except OSError:
        return None
    user, nice, system, _idle, _waiting, irq, soft = map(int, lines[0].split()[1:8])
    cores = sum(line.startswith("cpu") for line in lines) - 1
    own = os.times()
    busy = (user + nice + system + irq + soft) / os.sysconf("SC_CLK_TCK")
    return Times(time.monotonic(), busy, own.user + own.system, cores)


def _children() -> Iterator[str]:
    for path in (PROC / "self" / "task").glob("*/children"):
        yield from path.read_text().split()
