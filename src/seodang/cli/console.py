"""The listener that tells a person how a run goes: lines, and on a terminal a bar that moves."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TextIO

from seodang.cli.crowding import CROWDED, Crowd
from seodang.cli.display import duration, number, score, scores
from seodang.core.events import Evaluated, Event, Failed, Found, Noticed, Rewound, Started, Stepped, Stopped
from seodang.core.language import say, translated

SECONDS_BETWEEN_LINES = 2.0
SECONDS_BETWEEN_SCORES = 1.0
SECONDS_BETWEEN_FRAMES = 0.1
SHARE_OF_TIME = 0.004
"""Most of a run's time that showing progress may take: after a line that took t seconds, t / 0.004 pass without one."""


class Console:
    """Tells what is decided, how far it is, every evaluation. A callable that takes events."""

    def __init__(self, stream: TextIO | None = None, quiet: bool = False, live: bool | None = None) -> None:
        self.stream = stream or sys.stdout
        self.quiet = quiet
        self.started = False
        self.step = 0
        self._live = self.stream.isatty() if live is None else live
        self._bar: _Bar | None = None
        self._heading: Sequence[str] = ()
        self._counts = "examples"
        self._best: dict[str, Any] = {}
        self._next = self._next_score = 0.0
        self._split = ""
        self._began: tuple[float, float | None] = (0.0, None)
        self._crowd: Crowd | None = None

    @contextmanager
    def watching(self, heading: Sequence[str]) -> Iterator[Console]:
        """Show `heading` when the run begins; put the terminal back in order whatever happens."""
        self._heading = heading
        try:
            yield self
        finally:
            self._close()

    def __call__(self, event: Event) -> None:
        self.step = event.step
        match event:
            case Started():
                self._start(event)
            case Stepped():
                self._progress(event)
            case Evaluated():
                self._evaluated(event)
            case Found():
                self.write(say("Doctor: {evidence} {meaning} Try: {command}", evidence=event.evidence, meaning=event.meaning,
                               command=event.command))  # fmt: skip
            case Noticed() | Rewound():
                self.write(event.text)
            case Stopped():
                self._close()
                if event.finished and self._live and not self.quiet:
                    self.write(say("Drawing the report …"))
            case Failed():
                self._close()

    def write(self, *lines: str) -> None:
        for line in lines:
            if self._bar:
                self._bar.above(line)
            else:
                print(line, file=self.stream, flush=True)

    def _start(self, event: Started) -> None:
        self.started = True
        self._counts = translated(str(event.choices.get("counts", "examples")))
        self._began = (time.monotonic(), event.step / event.total_steps if event.total_steps else None)
        if self.quiet:
            return
        self.write(*self._heading, decided(event.choices))
        if event.step:
            self.write(say("Going on from step {step:,}.", step=event.step))
        threads = int(event.choices.get("threads", 1))
        if threads > 1 and event.choices.get("device") == "cpu" and event.choices.get("devices", 1) == 1:
            self._crowd = Crowd(threads)
        if self._live:
            self._bar = _Bar(self.stream)

    def _progress(self, event: Stepped) -> None:
        now = time.monotonic()
        if self.quiet or now < self._next:
            return
        self._look_around()
        line = self._status(event, now)
        if self._bar:
            self._bar.move(event.progress, line)
        else:
            self.write(f"{event.progress:>4.0%}  {line}")
        cost = time.monotonic() - now
        self._next = now + max(SECONDS_BETWEEN_FRAMES if self._bar else SECONDS_BETWEEN_LINES, cost / SHARE_OF_TIME)

    def _look_around(self) -> None:
        """Say once, some seconds into a run, if other programs are in its way."""
        if self._crowd is None or (missing := self._crowd.missing()) is None:
            return
        if missing > CROWDED:
            self.write(say(
                "Other programs keep this machine busy: {threads} threads have {cores:.1f} cores to themselves, and wait for "
                "each other most of the time. train.threads=1 would be faster now (a run of its own: thread counts change the "
                "last digits).", threads=self._crowd.threads, cores=self._crowd.threads - missing))  # fmt: skip
        self._crowd = None

    def _status(self, event: Stepped, now: float) -> str:
        losses = event.losses
        parts = [say("step {step:,}", step=event.step)]
        parts += [f"{'loss' if name == 'model' else name} {number(value)}" for name, value in losses.items()]
        parts += [f"{name} {score(name, value)}" for name, value in self._best.items()]
        parts.append(say("{count:,.0f} {things}/s", count=event.examples_per_second, things=self._counts))
        began, share = self._began
        if share is None:  # a length in minutes: where this session began is not known before now
            self._began = now, event.progress
        elif event.progress > share:
            left = (now - began) * (1 - event.progress) / (event.progress - share)
            parts.append(say("{time} left", time=duration(left)))
        return "  ".join(parts)

    def _evaluated(self, event: Evaluated) -> None:
        shown = {name: value for name, value in event.scores.items() if name != "loss"} or dict(event.scores)
        if not self._best:  # the time before the first update tells nothing about the time that is left
            self._began = time.monotonic(), self._began[1]
        self._best = dict(list(shown.items())[:1])
        now = time.monotonic()
        routine = event.step > 0 and event.split == self._split
        if self.quiet or (routine and now < self._next_score):  # the others are in events.jsonl and in the report
            return
        self._next_score, self._split = now + SECONDS_BETWEEN_SCORES, event.split
        where = say("step {step:,}", step=event.step) if not event.epoch else say("epoch {epoch:g}", epoch=event.epoch)
        best = "  " + say("best so far") if event.best else ""
        self.write(f"{where}  {event.split}: {scores(event.scores)}{best}")

    def _close(self) -> None:
        if self._bar:
            self._bar.close()
            self._bar = None


def decided(choices: Mapping[str, Any]) -> str:
    """Return in one line what was decided about a run."""
    parts = [str(choices.get("device", "?"))]
    if choices.get("devices", 1) > 1:
        parts.append(
            say("{count} processes ({strategy})", count=choices["devices"], strategy=choices.get("strategy", ""))
        )
    threads = choices.get("threads", 1)
    parts.append(say("1 thread") if threads == 1 else say("{count} threads", count=threads))
    parts += [str(choices.get("precision", "float32")), str(choices.get("memory_format", "contiguous"))]
    parts.append(say("compiled") if choices.get("compile") else say("not compiled"))
    parts.append(say("{count:,} parameters", count=choices.get("parameters", 0)))
    return ", ".join(parts)


class _Bar:
    """A bar that moves, with the status behind it; lines go above it."""

    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console as Screen  # lazy: 0.1 s
        from rich.progress import BarColumn, Progress, TextColumn
        from rich.table import Column

        text = Column(no_wrap=True, overflow="ellipsis")
        self.progress = Progress(
            BarColumn(bar_width=20), TextColumn("{task.percentage:>3.0f} %"),
            TextColumn("{task.description}", markup=False, table_column=text),
            console=Screen(file=stream, force_terminal=True, highlight=False, markup=False), auto_refresh=False, transient=True)  # fmt: skip
        self.task = self.progress.add_task("", total=1.0)
        self.progress.start()

    def move(self, share: float, status: str) -> None:
        self.progress.update(self.task, completed=share, description=status, refresh=True)

    def above(self, line: str) -> None:
        self.progress.console.print(line, soft_wrap=True)

    def close(self) -> None:
        self.progress.stop()
