"""Signals that ask a process to stop, and processes that stop with the one that started them."""

from __future__ import annotations

import ctypes
import signal
import sys
import threading
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager

STOPS = {signal.SIGINT, signal.SIGTERM}
"""What asks a run to stop. A terminal, a batch system and systemd send it to every process of the run."""


@contextmanager
def stops_handled(handler: Callable[[int, types.FrameType | None], None]) -> Iterator[None]:
    """Call `handler` for Ctrl-C and SIGTERM inside. Does nothing in a thread: only the main one hears them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number in STOPS}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


def end_with_parent(number: int) -> None:
    """Have `number` sent to this process when the one that started it is gone; only Linux can."""
    if sys.platform == "linux":
        set_parent_death_signal = 1  # PR_SET_PDEATHSIG in linux/prctl.h
        ctypes.CDLL(None).prctl(set_parent_death_signal, number)
