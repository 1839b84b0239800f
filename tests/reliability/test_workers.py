"""A process that reads data and dies, or is stuck, is named within seconds, with what it read; the run goes on exactly."""

from __future__ import annotations

import gc
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.utils.data import get_worker_info

import seodang as sd
from seodang import api
from seodang.core.errors import DataError
from seodang.core.run import RunFolder
from seodang.data.dataset import Draws, Loader, TableBatch
from seodang.data.delivery import reading
from seodang.data.images import MemoryImages
from tests.harness import assert_same_end
from tests.training.test_resume import RECIPE

BAD = 37


class Rows:
    """A hundred rows kept in files; reading row 37 does something to the process that reads it."""

    def __init__(self, harm: Callable[[], object]) -> None:
        self.harm = harm

    def __len__(self) -> int:
        return 100

    def batch(self, rows: Tensor, draws: Draws | None) -> TableBatch:
        for row in rows.tolist():
            reading(f"part-{row}.bin")
            if row == BAD and get_worker_info() is not None:
                self.harm()
        features = torch.stack([rows, rows**2], 1).float()
        return TableBatch(features, rows)


def wrong() -> None:
    raise ValueError("the {header} is wrong")


HARMS: dict[str, tuple[Callable[[], object], str]] = {
    "killed": (lambda: os.kill(os.getpid(), signal.SIGKILL), "was ended by SIGKILL"),
    "segmentation fault": (lambda: os.kill(os.getpid(), signal.SIGSEGV), "was ended by SIGSEGV"),
    "exit": (lambda: os._exit(3), "ended with exit code 3"),
    "quiet exit": (lambda: os._exit(0), "ended with exit code 0"),
    "stopped": (lambda: os.kill(os.getpid(), signal.SIGSTOP), "has not given a batch for 2.5 s"),
    "hanging": (lambda: time.sleep(100), "has not given a batch for 2.5 s"),
    "exception": (wrong, "ValueError: the {header} is wrong"),
}


@pytest.fixture
def loaders() -> Iterator[list[Loader]]:
    made: list[Loader] = []
    yield made
    for loader in made:
        loader._iterator = None


def children() -> set[int]:
    """Return the processes of this one, but for the one in which Python keeps account of semaphores."""
    found = map(int, Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())
    return {number for number in found if b"resource_tracker" not in Path(f"/proc/{number}/cmdline").read_bytes()}


@pytest.mark.parametrize("harm", HARMS)
def test_it_is_named_with_what_it_read(harm: str) -> None:
    before = children()
    act, how = HARMS[harm]
    loader = Loader(Rows(act), 8, seed=0, workers=2, timeout=2.5)
    began = time.monotonic()
    with pytest.raises(DataError, match=r"Worker [01]") as caught:
        list(islice(loader, len(loader)))
    took = time.monotonic() - began
    text = str(caught.value)
    assert how in text and str(BAD) in text
    assert "part-37.bin" in text or harm == "exception"
    assert took < 5, f"{took:.1f} s"
    loader._iterator = None
    assert not children() - before, "workers are left"


def test_a_death_between_two_batches_is_seen_at_the_next() -> None:
    """Also where what the dead worker made before lies ready."""
    loader = Loader(Rows(lambda: None), 4, seed=0, workers=2)
    next(loader)
    victim = loader._iterator._batches._workers[1]  # type: ignore[union-attr]
    os.kill(victim.pid, signal.SIGKILL)
    victim.join()
    with pytest.raises(DataError, match=rf"Worker 1 \(process {victim.pid}\) was ended by SIGKILL while it read"):
        next(loader)


def test_batches_are_those_of_no_workers() -> None:
    """Of every kind and layout of numbers, larger than the first too, and nothing of one is another's."""

    class Many(Rows):
        def batch(self, rows: Tensor, draws: Draws | None) -> TableBatch:
            assert draws is not None
            wide = 2000 if int(rows[0]) % 7 == 0 else 3  # more than there is room for
            images = draws.normal(2, 3, wide).to(memory_format=torch.channels_last)
            kind = (torch.bfloat16, torch.int64, torch.bool)[int(rows[0]) % 3]
            return TableBatch(images, rows.to(kind)[:, None].expand(-1, 2))

    found = []
    for workers in (0, 2):
        loader = Loader(Many(lambda: None), 6, seed=3, workers=workers)
        found.append([next(loader) for _ in range(2 * len(loader) + 3)])
        loader._iterator = None
    for one, two in zip(*found, strict=True):
        for first, second in zip(one, two, strict=True):
            assert first.dtype == second.dtype and torch.equal(first, second)
        assert one.features.stride() == two.features.stride()


@pytest.mark.parametrize("harm", ["killed", "stopped"])
def test_a_run_goes_on_exactly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, harm: str) -> None:
    monkeypatch.setattr(api, "_pictures", lambda run, data: lambda event: None)
    settings = {"train": {"workers": 2, "timeout": 2.5, "steps": 36}}
    whole = sd.train(RECIPE, run=tmp_path / "whole", **settings)
    batch, calls = MemoryImages.batch, 0

    def deadly(self: MemoryImages, rows: Tensor, draws: Draws | None) -> object:
        nonlocal calls
        calls += 1
        if get_worker_info() is not None and calls == 8:  # of each worker
            HARMS[harm][0]()
        return batch(self, rows, draws)

    monkeypatch.setattr(MemoryImages, "batch", deadly)
    with pytest.raises(DataError, match=HARMS[harm][1]):
        sd.train(RECIPE, run=tmp_path / "run", **settings)
    monkeypatch.setattr(MemoryImages, "batch", batch)
    run = RunFolder(tmp_path / "run")
    assert run.checkpoints and not run.is_running
    assert_same_end(whole, sd.resume(run))


SMALL = """
import os, subprocess, sys, torch
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "small", "/dev/shm"], check=True)
from seodang.data.dataset import Loader, MemoryExamples, TableBatch
loader = Loader(MemoryExamples(TableBatch, torch.randn(64, 20000), torch.arange(64)), 16, seed=0, workers=2, timeout=20)
print(sum(len(next(loader).targets) for _ in range(8)))
loader._iterator = None
"""


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("unshare") is None, reason="needs a user who may mount")
def test_a_small_shared_memory_is_no_obstacle() -> None:
    """A container has 64 MB in /dev/shm; here it is 1 MB for batches of 1.3 MB."""
    done = subprocess.run(["unshare", "-m", sys.executable, "-c", SMALL], capture_output=True, text=True, check=False)
    if "unshare" in done.stderr or "mount:" in done.stderr:
        pytest.skip(f"needs a user who may mount: {done.stderr.strip()[-100:]}")
    assert done.stdout.strip() == "128", done.stderr[-2000:]


def test_workers_end_with_their_epoch_and_their_run(tmp_path: Path) -> None:
    """PyTorch waits 5 s for each worker of a loader that is garbage by the time it is collected."""
    before = set(multiprocessing.active_children())  # a test before this one may have left some to the collector
    began = time.monotonic()
    sd.train(RECIPE, run=tmp_path / "run", train={"workers": 2, "steps": 36})
    assert set(multiprocessing.active_children()) <= before
    gc.collect()
    assert time.monotonic() - began < 9
