"""Processes that load batches beside the loop: they end with the run that started them, and no sooner."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from seodang.core.stopping import STOPS, end_with_parent


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
    end_with_parent(signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _heed(parent: int) -> None:
    """Take every request to stop; obey that of `parent`."""
    while True:
        came = signal.sigwaitinfo(STOPS)
        if came.si_signo == signal.SIGTERM and came.si_pid == parent:
            os._exit(0)
