"""One of two processes dies, is stopped or raises: the other ends too, the message says which, and the run goes on exactly."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import types
from pathlib import Path
from typing import Any

import pytest
import torch.distributed as dist

import seodang as sd
from seodang.core.errors import RunError, TrainingError
from seodang.core.recipe import Train
from seodang.core.run import RunFolder
from seodang.training import devices
from seodang.training.devices import Devices
from tests.harness import assert_same_end

PLUGIN = Path(__file__).with_name("deadly_plugin.py")
TIMEOUT = 6.0
RECIPE: dict[str, Any] = {
    "name": "two",
    "model": {"name": "mlp", "hidden_sizes": [16], "dropout": 0.2},
    "data": {"name": "digits", "augment": ["shift"]},
    "task": {"name": "deadly"},
    "optimizer": {"name": "adam", "lr": 0.01},
    "train": {"steps": 9, "batch_size": 30, "log_every": 2, "evaluate_every": 4, "threads": 1, "devices": 2,
              "timeout": TIMEOUT},
}  # fmt: skip
HARMS = {
    "SIGKILL": "Process 1 .*was ended by SIGKILL",
    "SIGSEGV": "Process 1 .*was ended by SIGSEGV",
    "exits": "Process 1 .*ended with exit code 7",
    "raises": "Process 1 of 2: the third update of this process is cursed",
    "SIGSTOP": "Process 0 of 2: no answer from process 1 of this run, gone or stuck",
}


def processes_of(run: Path) -> list[int]:
    """Return every process with this run in its command line, but for zombies."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            named = str(run).encode() in (path / "cmdline").read_bytes()
            state = (path / "stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if named and state not in "ZX":
            found.append(int(path.name))
    return found


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return sd.train(RECIPE, run=tmp_path_factory.mktemp("whole") / "run", plugin=PLUGIN)


@pytest.mark.slow
@pytest.mark.parametrize("harm", HARMS)
def test_the_others_end_and_the_run_goes_on_exactly(
    tmp_path: Path, whole: RunFolder, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], harm: str
) -> None:
    flag = tmp_path / "harm"
    flag.write_text(harm)
    monkeypatch.setenv("SEODANG_HARM", str(flag))
    with pytest.raises(RunError, match="their messages are above"):
        sd.train(RECIPE, run=tmp_path / "run", plugin=PLUGIN)
    harmed = flag.stat().st_mtime if flag.exists() else tmp_path.stat().st_mtime
    took = time.time() - harmed
    said = capfd.readouterr().err
    assert not flag.exists(), "nothing happened"
    assert re.search(HARMS[harm], said), said
    assert took < 5 + (TIMEOUT if harm == "SIGSTOP" else 0), f"{took:.1f} s"
    assert not processes_of(tmp_path / "run")
    run = RunFolder(tmp_path / "run")
    assert not run.is_running and not run.result
    if harm in ("SIGKILL", "SIGSTOP"):  # the others leave the same behind
        assert_same_end(whole, sd.resume(run, plugin=PLUGIN))


@pytest.mark.slow
def test_nothing_is_left_when_the_starting_process_is_killed(tmp_path: Path) -> None:
    recipe = {**RECIPE, "train": {**RECIPE["train"], "steps": 10**6}}
    code = f"import seodang; seodang.train({recipe!r}, run={str(tmp_path / 'run')!r}, plugin={str(PLUGIN)!r})"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 150  # on a busy machine
    while not list((tmp_path / "run" / "checkpoints").glob("step-*")) and time.monotonic() < until:
        time.sleep(0.1)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    until = time.monotonic() + 15
    while processes_of(tmp_path / "run") and time.monotonic() < until:
        time.sleep(0.1)
    left = processes_of(tmp_path / "run")
    for number in left:
        os.kill(number, signal.SIGKILL)
    assert not left
    assert RunFolder(tmp_path / "run").status == "stopped"


def test_a_port_that_is_taken_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        surroundings = {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        for name, value in surroundings.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(
            TrainingError, match=f"MASTER_PORT={port} is taken.*torchrun --standalone --nproc-per-node=2"
        ):
            Devices(Train(steps=1, device="cpu", threads=1, timeout=5))


def test_processes_that_do_not_come_are_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    for name, value in {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(TrainingError, match=f"Process 1 of 2: .* did not meet at 127.0.0.1:{port} within 1 s"):
        Devices(Train(steps=1, device="cpu", threads=1, timeout=1))


def test_a_roll_call_names_who_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    store = dist.HashStore()
    store.set("here/2", "1")
    monkeypatch.setattr(devices, "_STORES", [store])
    assert devices.silent_processes(0, 4, 0.2) == [1, 3]
    assert devices.silent_processes(2, 4, 0.2) == [1, 3]
    free = threading.Event()
    stuck = types.SimpleNamespace(set=lambda key, value: free.wait(60), check=lambda keys: False)
    monkeypatch.setattr(devices, "_STORES", [stuck])
    began = time.monotonic()
    assert devices.silent_processes(0, 2, 0.2) == []  # whoever keeps the store is stuck
    assert time.monotonic() - began < 5
    free.set()
