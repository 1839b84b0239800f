"""A run that is short of cores is told so once; one that has the machine to itself hears nothing."""

from __future__ import annotations

import io
import subprocess
import sys
import time
from typing import Any

import pytest

from seodang.cli import crowding
from seodang.cli.console import Console
from seodang.cli.crowding import Crowd, Times, read_times
from seodang.core.events import Started, Stepped


def stepped(step: int) -> Stepped:
    return Stepped(step, losses={"model": 1.0}, lr=0.1, grad_norm=1.0, examples_per_second=10.0, epoch=0.0, progress=0.1 * step,
                   seconds=float(step))  # fmt: skip


@pytest.mark.parametrize(("others", "told"), [(0.02, False), (1.0, True), (2.0, True)])
def test_it_is_said_once_when_cores_are_missing(others: float, told: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two cores, two threads; the others take `others` cores, we what is left."""
    ours = min(2.0, 4 - others) / 2
    reads = iter(
        [
            Times(0, 100, 10, 2),
            *(Times(6 + n, 106 + (others + ours) * (6 + n), 16 + ours * (6 + n), 2) for n in range(9)),
        ]
    )
    monkeypatch.setattr(crowding, "read_times", lambda: next(reads))
    stream = io.StringIO()
    console = Console(stream, live=False)
    console(Started(0, 10, {"device": "cpu", "devices": 1, "threads": 2}))
    for step in (1, 2, 3):
        console._next = 0.0
        console(stepped(step))
    assert stream.getvalue().count("train.threads=1 would be faster") == int(told)


@pytest.mark.parametrize("choices", [{"device": "cpu", "threads": 1}, {"device": "A GPU", "threads": 2},
                                     {"device": "cpu", "devices": 2, "threads": 2}])  # fmt: skip
def test_who_has_one_thread_or_another_device_is_not_asked(choices: dict[str, Any]) -> None:
    console = Console(io.StringIO(), live=False)
    console(Started(0, 10, choices))
    assert console._crowd is None


@pytest.mark.skipif(read_times() is None, reason="needs /proc")
def test_the_processors_are_really_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crowding, "SECONDS", 0.5)
    now = read_times()
    assert now is not None
    crowd = Crowd(threads=now.cores)
    assert crowd.missing() is None, "too early to tell"
    code = (
        "import os, time\nif os.fork() == 0:\n    end = time.monotonic() + 1.2\n    while time.monotonic() < end: pass"
    )
    subprocess.run([sys.executable, "-c", code], check=True)  # the grandchild is not ours
    time.sleep(0.8)
    missing = crowd.missing()
    assert missing is not None
    assert missing > 0.3
