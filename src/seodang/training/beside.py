"""One piece of work at a time beside the loop, in a thread that lets the loop go first."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import suppress

NICENESS = 10
"""How far the thread steps back where the loop wants every core: to a tenth of one (Linux; elsewhere it does not)."""


class Beside:
    """Does work in a thread, or at once; what the work raises is raised by `wait`."""

    def __init__(self) -> None:
        self.busy = False
        """Whether there is work that nobody has waited for."""
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    @property
    def ended(self) -> bool:
        """Whether there is such work, and waiting would take no time."""
        return self.busy and (self._thread is None or not self._thread.is_alive())

    def start(self, work: Callable[[], None], at_once: bool = False) -> None:
        """Begin `work`, or do it here `at_once`; what was begun before must have been waited for."""
        assert not self.busy, "one piece of work at a time"
        self.busy = True
        if at_once:
            self._do(work)
            return
        self._thread = threading.Thread(target=self._step_back_and_do, args=(work,), name="seodang-save")
        self._thread.start()

    def wait(self) -> None:
        """Wait for the work, and raise what it raised."""
        if self._thread is not None:
            self._thread.join()
        error = self._error
        self.busy, self._thread, self._error = False, None, None
        if error is not None:
            raise error

    def _step_back_and_do(self, work: Callable[[], None]) -> None:
        with suppress(AttributeError, OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
        self._do(work)

    def _do(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:
            self._error = error
