"""RunFolder: whatever training leaves behind is a file in it; page, command line and Python all read it.

recipe.toml          after overrides; `seodang train RUN/recipe.toml` repeats it
environment.json     versions, commit, machine, command
events.jsonl         one event per line: the only log there is
checkpoints/step-000120/   weights, optimizer, generators, data position, manifest
best                 name of the best checkpoint, in a text file
figures/  report.html
result.json          final scores, seconds, peak memory
stop                 appears when someone asks; the trainer looks at each log

A process that dies may leave `.….tmp` behind, and a damaged checkpoint is kept as `damaged-step-…`: the first is
removed by the next trainer of the run, the second is for people.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

from seodang.core.config import read_toml, write_toml
from seodang.core.errors import RunError, WeightsError
from seodang.core.events import Event
from seodang.core.files import (
    TEMPORARY,
    append,
    explained,
    make_folders,
    move,
    read_folder,
    read_manifest,
    remove_folder,
    remove_leftovers,
    sync,
    write,
)
from seodang.core.recipe import Recipe
from seodang.core.strict import LARGE_BYTES, Refused, parse_json, read_regular, regular_size

STEP = re.compile(r"step-(\d{9,})")

LAST_BREATH = 5.0
"""Seconds to wait for a run that its dead trainer seems to hold: a program it was starting has its lock until it is up."""

_held: set[int] = set()
"""Locks of this process. A forked worker shares them until it closes its copies, and may outlive a killed parent."""


def _let_go() -> None:
    for descriptor in _held:
        os.close(descriptor)
    _held.clear()


os.register_at_fork(after_in_child=_let_go)


class RunFolder:
    """A run, as the folder it lives in."""

    def __init__(self, path: str | Path) -> None:
        """Open an existing run.

        Raises: RunError if `path` is not a run.
        """
        self.path = Path(path)
        if not self.path.exists():
            raise RunError("{path}: there is no such folder. See your runs: seodang runs", path=path)
        if not (self.path / "recipe.toml").is_file():
            raise RunError("{path}: is not a run: it has no recipe.toml. See your runs: seodang runs", path=path)

    @classmethod
    def create(cls, recipe: Recipe, path: str | Path | None = None) -> RunFolder:
        """Make the folder of a new run; without `path` a fresh one below `runs_folder()`."""
        if path is None:
            path = new_run_path(recipe.name)
        path = Path(path)
        if path.is_file():
            raise RunError("{path}: is a file; a run needs a folder of its own.", path=path)
        if path.exists() and any(not _unborn(item) for item in path.iterdir()):
            if (path / "recipe.toml").exists():
                raise RunError("{path}: there is a run here already. Go on with it: seodang resume {path}", path=path)
            raise RunError("{path}: is not empty; a run needs a folder of its own.", path=path)
        make_folders(path / "checkpoints")
        remove_leftovers(path)
        write_toml(path / "recipe.toml", recipe.written())
        return cls(path)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.path)!r})"

    @property
    def name(self) -> str:
        return self.path.resolve().name

    @property
    def recipe(self) -> Recipe:
        return Recipe.of(read_toml(self.path / "recipe.toml"))

    # ------------------------------------------------------------------------------------------ events

    _unwritten = ""
    """Events the disk did not take; they come before the next."""

    def emit(self, event: Event) -> None:
        """Add an event to the history.

        Raises: DiskError; the event is kept, and written before the next one.
        """
        self._unwritten += json.dumps(_finite(event.record()), ensure_ascii=False) + "\n"
        self.write_events()

    def write_events(self) -> None:
        """Add what the disk did not take before, if there is any.

        Raises: DiskError
        """
        if self._unwritten:
            append(self.path / "events.jsonl", self._unwritten)
            self._unwritten = ""

    def sync_events(self) -> None:
        """Make durable every event so far: a checkpoint must not outlive the history that led to it."""
        sync(self.path / "events.jsonl")

    @property
    def events(self) -> list[dict[str, Any]]:
        """Every event that still holds: what came after the checkpoint that was resumed is left out."""
        kept: list[dict[str, Any]] = []
        for event in self._lines():
            if event["event"] in ("started", "rewound"):
                kept = _until_saved(kept, event["step"])
            place = len(kept)
            while event["event"] == "saved" and place and kept[place - 1]["step"] > event["step"]:
                place -= 1  # told late, when the disk was done: its place is after the step that was saved
            kept.insert(place, event)
        return kept

    def _lines(self) -> Iterator[dict[str, Any]]:
        path = self.path / "events.jsonl"
        if not path.exists():
            return
        try:
            regular_size(path)
        except OSError as error:
            raise RunError("{path}: cannot be read ({reason}).", path=path, reason=error.strerror) from None
        for line in path.read_bytes().split(b"\n"):
            try:
                event = parse_json(line)
            except Refused:
                continue  # a torn line: the process died in the middle of writing it
            if _is_event(event):
                yield event

    @property
    def left_out(self) -> set[int]:
        """Numbers of the updates that a rewind has left out, whatever was resumed since."""
        return {step for event in self._lines() if event["event"] == "rewound" for step in event.get("left_out", ())}

    @property
    def scores(self) -> dict[str, float]:
        """Final scores if the run has ended, else the newest ones."""
        if result := self.result:
            return dict(result["scores"])
        evaluated = [event for event in self.events if event["event"] == "evaluated"]
        return dict(evaluated[-1]["scores"]) if evaluated else {}

    @property
    def result(self) -> dict[str, Any] | None:
        """What the run ended with; None as long as it has not, or where that cannot be read."""
        result = self.read_json("result.json")
        return result if result and _are_scores(result.get("scores")) else None

    @property
    def is_complete(self) -> bool:
        """Whether nothing is left to do: the result is there, and so is the end of the history."""
        return self.result is not None and any(event["event"] == "stopped" for event in self.events[-1:])

    @property
    def status(self) -> str:
        """One of ``new``, ``running``, ``finished``, ``stopped``."""
        if self.is_running:
            return "running"
        if self.result:
            return "finished"
        return "stopped" if self.checkpoints else "new"

    def read_json(self, name: str) -> dict[str, Any] | None:
        try:
            value = parse_json(read_regular(self.path / name, LARGE_BYTES), LARGE_BYTES)
        except (OSError, Refused):
            return None
        return value if isinstance(value, dict) else None

    def write_json(self, name: str, value: Mapping[str, Any]) -> None:
        write(self.path / name, json.dumps(_finite(value), indent=1, ensure_ascii=False, sort_keys=False) + "\n")

    # ------------------------------------------------------------------------------------- checkpoints

    @property
    def checkpoints(self) -> list[Path]:
        """Every complete checkpoint, oldest first. The step in the name decides, never a clock or a link."""
        found = [path for path in (self.path / "checkpoints").glob("step-*") if STEP.fullmatch(path.name)]
        return sorted((path for path in found if path.is_dir()), key=lambda path: int(path.name[5:]))

    def checkpoint_path(self, step: int) -> Path:
        return self.path / "checkpoints" / f"step-{step:09d}"

    @property
    def best(self) -> Path | None:
        """The best checkpoint, or the newest if no evaluation has chosen one."""
        if (name := self.marked) and (path := self.path / "checkpoints" / name).is_dir():
            return path
        return self.checkpoints[-1] if self.checkpoints else None

    @property
    def marked(self) -> str | None:
        """Name of the checkpoint that was marked as the best, whether it is still there or not."""
        try:
            name = read_regular(self.path / "best", 1_000).decode().strip()
        except (OSError, UnicodeDecodeError):
            return None
        return name if STEP.fullmatch(name) else None

    def mark_best(self, name: str | None) -> None:
        write(self.path / "best", f"{name or ''}\n")

    def set_aside(self, checkpoint: Path) -> Path:
        """Rename a damaged checkpoint, so that nothing takes it for a good one; return where it is now."""
        names = (f"damaged-{checkpoint.name}{suffix}" for suffix in ("", *(f"-{count}" for count in range(2, 1000))))
        aside = next(path for path in map(checkpoint.with_name, names) if not path.exists())
        move(checkpoint, aside)
        return aside

    def prune(self, keep: int, spare: Callable[[int], bool] = lambda step: False) -> None:
        """Remove all checkpoints but the newest `keep`, the best, and those of updates that `spare` wants."""
        best = self.best
        for path in self.checkpoints[:-keep]:
            if path != best and not spare(int(path.name[5:])):
                remove_folder(path)

    # ------------------------------------------------------------------------------- one trainer a time

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the run for this process.

        Raises: RunError naming the process that holds it.
        """
        with explained(self.path / "lock", 0):
            descriptor = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            if (holder := _taken_by(descriptor)) is not None:
                raise RunError("{path}: is running already, in process {holder}. Ask it to stop: touch {path}/stop",
                               path=self.path, holder=holder or "?")  # fmt: skip
            with explained(self.path / "lock", 10):
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, str(os.getpid()).encode(), 0)
            _held.add(descriptor)
            self._tidy()
            yield
        finally:
            _held.discard(descriptor)
            os.close(descriptor)

    def _tidy(self) -> None:
        """Remove what earlier trainers of this run left when they died."""
        remove_leftovers(self.path / "checkpoints", ours=True)
        for folder in (self.path, *(item for item in self.path.iterdir() if item.is_dir())):
            remove_leftovers(folder)

    @property
    def is_running(self) -> bool:
        try:
            descriptor = os.open(self.path / "lock", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
        finally:
            os.close(descriptor)
        return False

    @property
    def stop_requested(self) -> bool:
        return (self.path / "stop").exists()

    def clear_stop(self) -> None:
        with explained(self.path / "stop", 0):
            (self.path / "stop").unlink(missing_ok=True)


def read_checkpoint(path: Path) -> dict[str, bytes]:
    """Return the files of a checkpoint, each verified.

    Raises: WeightsError if a byte is not as it was written, or the folder has the name of another step.
    """
    named = STEP.fullmatch(path.name)
    step = read_manifest(path).get("step")
    if named and step is not None and step != int(named[1]):
        raise WeightsError(
            "{path}: holds the checkpoint of step {step}, not the one of its name.", path=path, step=step
        )
    return read_folder(path)


def _is_event(value: Any) -> bool:
    if not isinstance(value, dict) or not isinstance(value.get("event"), str) or not isinstance(value.get("step"), int):
        return False
    return value["event"] != "evaluated" or _are_scores(value.get("scores"))


def _are_scores(value: Any) -> bool:
    """Whether `value` is what an evaluation writes: numbers by name; what is not finite is a text."""
    return isinstance(value, dict) and all(isinstance(item, (int, float, str)) for item in value.values())


def _until_saved(events: list[dict[str, Any]], step: int) -> list[dict[str, Any]]:
    """Return the events a checkpoint of `step` knows of: those up to its being saved."""
    places = [place for place, event in enumerate(events) if event["step"] == step and event["event"] == "saved"]
    if not places and step == 0:
        return []
    before = events
    if places:
        end = places[0] + 1
        before = events[:end] + [event for event in events[end:] if event["event"] == "rewound"]
    return [event for event in before if event["step"] <= step and event["event"] not in ("stopped", "failed")]


def _taken_by(lock: int) -> str | None:
    """Take a lock; return None, or who has it: what a killed trainer was starting may hold it a moment longer."""
    until = time.monotonic() + LAST_BREATH
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.pread(lock, 32, 0).decode(errors="replace").strip()
            if os.path.exists(f"/proc/{holder or 'self'}") or time.monotonic() > until:
                return holder
            time.sleep(0.02)
        else:
            return None


def _unborn(item: Path) -> bool:
    """Whether `item` is what a process leaves that died while it was making a run."""
    return bool(TEMPORARY.fullmatch(item.name)) or (
        item.name == "checkpoints" and item.is_dir() and not any(item.iterdir())
    )


def new_run_path(name: str) -> Path:
    """Return a fresh path below `runs_folder()` for a run of the recipe `name`."""
    return runs_folder() / f"{date.today()}-{name}-{secrets.token_hex(2)}"


def runs_folder() -> Path:
    """Where new runs go: `SEODANG_RUNS`, else ``runs`` in the current folder."""
    return Path(os.environ.get("SEODANG_RUNS", "runs"))


def all_runs(folder: Path | None = None) -> list[RunFolder]:
    """Return every run directly below `folder` (default: `runs_folder()`), oldest first."""
    folder = runs_folder() if folder is None else folder
    found = [path.parent for path in folder.glob("*/recipe.toml")]
    return [RunFolder(path) for path in sorted(found, key=lambda path: (path / "recipe.toml").stat().st_mtime)]


def _finite(value: Any) -> Any:
    """JSON has no NaN or infinity: write them as text, so that a reader sees what happened."""
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return str(value)
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value
