"""How a run is started and stopped: several processes through PyTorch's launcher, and the signals of one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import types
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from seodang.core.errors import RunError
from seodang.core.language import say
from seodang.core.recipe import Recipe
from seodang.core.run import RunFolder


def in_process_group() -> bool:
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ


def create_once(recipe: Recipe, path: str | Path | None) -> RunFolder:
    """Rank 0 makes the folder; the others wait for it."""
    from seodang.training.devices import Devices

    devices = Devices(recipe.train)
    if devices.main:
        folder = RunFolder.create(recipe, path)
        devices.barrier()
        return folder
    devices.barrier()
    assert path is not None
    return RunFolder(path)


def launch(folder: RunFolder, count: int, plugin: str | Path | None, allow_drift: bool) -> None:
    """Run `seodang resume` on `count` devices with PyTorch's own launcher."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}",
               "-m", "seodang", "resume", str(folder.path)]  # fmt: skip
    command += ["--plugin", str(plugin)] if plugin else []
    command += ["--allow-numeric-drift"] if allow_drift else []
    threads = os.environ.get("OMP_NUM_THREADS", "1")  # the run sets its own number; this only quiets the launcher
    code = subprocess.run(command, check=False, stdout=sys.stderr, env={**os.environ, "OMP_NUM_THREADS": threads}).returncode
    if code:
        raise RunError("{path}: the {count} processes ended with exit code {code}; their messages are above.",
                       path=folder.path, count=count, code=code)  # fmt: skip


@contextmanager
def signals(trainer: Any) -> Iterator[None]:
    """The first Ctrl-C or SIGTERM saves and ends; the second Ctrl-C ends at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ask(number: int, frame: types.FrameType | None) -> None:
        trainer.stopped_by = number
        trainer.stop(say("interrupted") if number == signal.SIGINT else say("terminated"))
        signal.signal(signal.SIGINT, signal.default_int_handler)

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
