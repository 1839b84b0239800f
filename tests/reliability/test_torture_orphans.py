"""A loader worker never outlives the run that started it, whenever that run is killed; and nobody else ends it."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
import torch

from seodang.data.dataset import Loader, MemoryExamples, TableBatch


def _load_with_workers(ready: int, delay: float) -> None:
    """Start two workers that take `delay` seconds to come up; say so through `ready`; wait to be killed."""
    name_thread = torch.multiprocessing._set_thread_name

    def slowly(name: str) -> None:
        time.sleep(delay)
        name_thread(name)

    torch.multiprocessing._set_thread_name = slowly  # the first thing a worker does
    examples = MemoryExamples(TableBatch, torch.zeros(64, 2), torch.zeros(64))
    loader = Loader(examples, 4, 0, workers=2)
    loader._iterator = loader._epoch(0, 0, 2)
    if not delay:
        next(loader)
    os.write(ready, b"!")
    time.sleep(60)


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs Linux")
@pytest.mark.parametrize("delay", [0.0, 0.3], ids=["at work", "coming up"])
def test_workers_die_with_their_run(delay: float) -> None:
    """Killed while its workers come up, too: a worker that looks for its parent only later takes init for it."""
    reading, ready = os.pipe()
    process = os.fork()
    if not process:
        try:
            os.setpgid(0, 0)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            _load_with_workers(ready, delay)
        finally:
            os._exit(1)
    try:
        assert os.read(reading, 1) == b"!"
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
        until = time.monotonic() + 2
        while alive(process) and time.monotonic() < until:
            time.sleep(0.02)
        assert not alive(process), "a worker lives on"
    finally:
        os.close(reading), os.close(ready)
        for number in alive(process):
            os.kill(number, signal.SIGKILL)


@pytest.mark.parametrize("number", ["INT", "TERM"])
@pytest.mark.parametrize("delay", [0.0, 0.3], ids=["at work", "coming up"])
def test_a_stop_sent_to_every_process_leaves_the_workers_to_the_run(
    number: str, delay: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a terminal, a batch system or systemd sends it: the run needs them until it has saved."""
    name_thread = torch.multiprocessing._set_thread_name
    monkeypatch.setattr(torch.multiprocessing, "_set_thread_name", lambda name: (time.sleep(delay), name_thread(name)))
    examples = MemoryExamples(TableBatch, torch.zeros(64, 2), torch.zeros(64))
    loader = Loader(examples, 4, 0, workers=2)
    loader._iterator = iterator = loader._epoch(0, 0, 2)
    if not delay:
        next(loader)
    workers = iterator._batches._workers  # type: ignore[attr-defined]
    subprocess.run(["kill", f"-{number}", *(str(worker.pid) for worker in workers)], check=True)
    while loader.epoch == 0:
        next(loader)
    assert [worker.exitcode for worker in workers] == [-9, -9], "the end of the epoch ends them, nothing before"


def test_a_run_can_end_its_workers() -> None:
    """PyTorch sends SIGTERM to workers that hang when their run is over."""
    examples = MemoryExamples(TableBatch, torch.zeros(64, 2), torch.zeros(64))
    loader = Loader(examples, 4, 0, workers=1)
    next(loader)
    (worker,) = loader._iterator._batches._workers  # type: ignore[union-attr]
    worker.terminate()
    worker.join(5)
    assert worker.exitcode == 0


def alive(group: int) -> list[int]:
    """Return the processes of a group that are not zombies."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, member = path.read_text().rpartition(")")[2].split()[:3]
        except OSError:
            continue
        if int(member) == group and state not in "ZX":
            found.append(int(path.parent.name))
    return found
