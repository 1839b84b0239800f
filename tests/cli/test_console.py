"""The listener of the command line: what it says, and how little of the time it takes."""

from __future__ import annotations

import io
from typing import Any

import pytest

from seodang.cli import console as module
from seodang.cli.console import SHARE_OF_TIME, Console, decided
from seodang.core.events import Evaluated, Failed, Started, Stepped, Stopped

CHOICES = {"device": "cpu", "devices": 1, "threads": 2, "precision": "bfloat16", "memory_format": "channels_last",
           "compile": False, "parameters": 12345, "counts": "tokens"}  # fmt: skip


class Clock:
    """Time that passes only when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


class Slow(io.StringIO):
    """A stream on which a line takes 10 ms."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.clock = clock

    def write(self, text: str) -> int:
        self.clock.now += 0.01 if text.strip() else 0.0
        return super().write(text)


@pytest.fixture
def clock(monkeypatch: Any) -> Clock:
    made = Clock()
    monkeypatch.setattr(module, "time", made)
    return made


def stepped(step: int, total: int) -> Stepped:
    return Stepped(step, {"model": 0.5}, 0.1, 1.0, 2000.0, step / 10, step / total, step / 100)


def test_what_was_decided_is_one_line() -> None:
    assert decided(CHOICES) == "cpu, 2 threads, bfloat16, channels_last, not compiled, 12,345 parameters"
    assert "4 processes (ddp)" in decided({**CHOICES, "devices": 4, "strategy": "ddp"})


def test_lines_where_nobody_watches(clock: Clock) -> None:
    stream = io.StringIO()
    console = Console(stream, live=False)
    with console.watching(["Run: here"]):
        console(Started(0, 1000, CHOICES))
        console(Evaluated(0, "valid", {"loss": 2.3, "accuracy": 0.1}, best=True))
        for step in range(10, 1001, 10):
            clock.now += 0.1
            console(stepped(step, 1000))
        console(Evaluated(1000, "valid", {"loss": 0.1, "accuracy": 0.98}, epoch=3.0))
        console(Evaluated(1000, "test", {"loss": 0.1, "accuracy": 0.97}, epoch=3.0))
        console(Stopped(1000, "the end", True))
    lines = stream.getvalue().splitlines()
    assert lines[:3] == ["Run: here", decided(CHOICES), "step 0  valid: loss 2.300, accuracy 10.00 %  best so far"]
    progress = [line for line in lines if "left" in line]
    assert len(progress) == 5  # ten seconds, a line every two
    assert progress[1] == " 22%  step 220  loss 0.5000  accuracy 10.00 %  2,000 tokens/s  7.8 s left"
    assert lines[-1] == "epoch 3  test: loss 0.1000, accuracy 97.00 %"


def test_showing_progress_takes_a_small_share_of_the_time(clock: Clock) -> None:
    stream = Slow(clock)
    console = Console(stream, live=False)
    console(Started(0, 100_000, CHOICES))
    began, before = clock.now, stream.getvalue().count("\n")
    for step in range(1, 100_001):
        clock.now += 0.001
        console(stepped(step, 100_000))
    lines = stream.getvalue().count("\n") - before
    assert lines > 10
    assert 0.01 * lines <= SHARE_OF_TIME * (clock.now - began) + 0.01


def test_a_resumed_run_counts_the_time_left_from_where_it_began(clock: Clock) -> None:
    stream = io.StringIO()
    console = Console(stream, live=False)
    console(Started(500, 1000, CHOICES))
    clock.now += 10
    console(stepped(600, 1000))
    assert "Going on from step 500." in stream.getvalue()
    assert "40 s left" in stream.getvalue()


def test_a_bar_moves_on_a_terminal_and_is_gone_afterwards() -> None:
    stream = io.StringIO()
    console = Console(stream, live=True)
    with console.watching(["Run: here"]):
        console(Started(0, 10, CHOICES))
        console(stepped(5, 10))
        console(Evaluated(10, "test", {"loss": 0.1}))
        assert console._bar is not None
        console(Failed(10, "why"))
        assert console._bar is None
    assert "50 %" in stream.getvalue()
    assert "test: loss 0.1000" in stream.getvalue()


def test_the_terminal_is_put_in_order_after_a_failure() -> None:
    console = Console(io.StringIO(), live=True)

    def fail() -> None:
        with console.watching([]):
            console(Started(0, 10, CHOICES))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert console._bar is None


def test_quiet_says_nothing() -> None:
    stream = io.StringIO()
    console = Console(stream, quiet=True, live=False)
    for event in (Started(0, 10, CHOICES), stepped(5, 10), Evaluated(10, "test", {"loss": 0.1}), Stopped(10, "", True)):
        console(event)
    assert stream.getvalue() == ""
    assert console.started
