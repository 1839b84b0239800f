"""Processes that load batches beside the loop: they end with the run that started them, and no sooner."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

STOPS = {signal.SIGINT, signal.SIGTERM}
"""What asks a run to stop. A terminal, a batch system and systemd send it to every process of the run."""


@contextmanager
def stops_held_back() -> Iterator[None]:
    """Let processes be started that nobody's Ctrl-C or SIGTERM ends while they come up."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def come_up(parent: int, worker: int) -> None:
    """Make this process, which was started with stops held back, end with `parent` and at its word alone.

    The run needs its workers to the end of the update in which it is asked to stop. PyTorch's own look for their parent
    every 5 s, and for ever if it died before they had come up.
    """
    threading.Thread(target=_heed, args=(parent,), daemon=True).start()
    if sys.platform == "linux":
        set_parent_death_signal = 1  # PR_SET_PDEATHSIG in linux/prctl.h
        ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _heed(parent: int) -> None:
    """Take every request to stop; obey that of `parent`."""
    while True:
        came = signal.sigwaitinfo(STOPS)
        if came.si_signo == signal.SIGTERM and came.si_pid == parent:
            os._exit(0)
