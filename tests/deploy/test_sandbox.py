"""The child that opens a pickle can do nothing with what it might learn there."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from seodang.core.errors import WeightsError
from seodang.deploy import sandbox
from seodang.deploy.sandbox import SYSCALLS, convert

GUARDED = sys.platform == "linux" and platform.machine() in SYSCALLS
linux = pytest.mark.skipif(not GUARDED, reason="seccomp is of Linux on x86-64 and aarch64")

TRIES = {
    "network": "import socket; socket.socket()",
    "program": "import os; os.execv('/bin/true', ['/bin/true'])",
    "child": "import subprocess; subprocess.run(['/bin/true'])",
    "fork": "import os; os.fork()",
    "thread": "import threading; threading.Thread(target=print).start()",
    "write": "with open('{folder}/new', 'w') as file: file.write('x' * 100)",
    "append": "with open('{folder}/old', 'a') as file: file.write('x' * 100000)",
    "remove": "import os; os.unlink('{folder}/old')",
    "rename": "import os; os.rename('{folder}/old', '{folder}/other')",
    "folder": "import os; os.mkdir('{folder}/made')",
    "memory": "bytearray(1 << 34)",
    "signal": "import os; os.kill(os.getppid(), 0)",
    "limits": "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1, 1))",
}


@linux
@pytest.mark.parametrize("name", TRIES)
def test_what_the_child_cannot_do(name: str, tmp_path: Path) -> None:
    (tmp_path / "old").write_text("kept")
    code = "\n".join([
        "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)",
        "from seodang.deploy.sandbox import forbid_calls, limit",
        "limit(1000)",
        "assert forbid_calls()",
        "try:",
        "    " + TRIES[name].format(folder=tmp_path),
        "except (OSError, MemoryError, ValueError, RuntimeError) as error:",
        "    print('refused', type(error).__name__)",
        "else:",
        "    print('done')",
    ])  # fmt: skip
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert found.stdout.startswith("refused"), (found.stdout, found.stderr)
    assert [path.name for path in tmp_path.iterdir()] == ["old"]
    assert (tmp_path / "old").read_text() == "kept"


@linux
def test_without_the_guard_each_of_them_would_work(tmp_path: Path) -> None:
    """The tries above are real: unguarded they do what they say."""
    for name in ("network", "child", "thread", "write", "folder"):
        code = TRIES[name].format(folder=tmp_path)
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, timeout=60)
    assert (tmp_path / "new").read_text() == "x" * 100


def test_tensors_come_back_bit_for_bit(tmp_path: Path) -> None:
    from safetensors.torch import load

    base = torch.arange(12.0)
    weights = {"a": base.view(3, 4).t(), "b": base[2:5], "c": torch.tensor(3, dtype=torch.int64),
               "d": torch.randn(4).bfloat16(), "e": torch.tensor([True, False])}  # fmt: skip
    torch.save(weights, tmp_path / "w.pth")
    found = load(convert(tmp_path / "w.pth").data)
    assert set(found) == set(weights)
    assert all(torch.equal(found[name], value) for name, value in weights.items())
    assert all(found[name].dtype == value.dtype for name, value in weights.items())


def test_a_file_that_takes_too_long_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save({"a": torch.ones(1)}, tmp_path / "w.pth")
    monkeypatch.setattr(sandbox, "SECONDS", 0.05)
    with pytest.raises(WeightsError, match="took longer"):
        convert(tmp_path / "w.pth")


def test_a_system_without_seccomp_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox.sys, "platform", "darwin")
    assert sandbox.forbid_calls() is False
