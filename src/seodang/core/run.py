"""RunFolder: whatever training leaves behind is a file in it; page, command line and Python all read it.

recipe.toml          after overrides; `seodang train RUN/recipe.toml` repeats it
environment.json     versions, commit, machine, command
events.jsonl         one event per line: the only log there is
checkpoints/step-000120/   weights, optimizer, generators, data position, manifest
best                 name of the best checkpoint, in a text file
figures/  report.html
result.json          final scores, seconds, peak memory
stop                 appears when someone asks; the trainer looks at each log
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

from seodang.core.config import read_toml, write_toml
from seodang.core.errors import RunError
from seodang.core.events import Event
from seodang.core.files import append, make_folders, remove_folder, write
from seodang.core.recipe import Recipe

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
        if path.exists() and any(path.iterdir()):
            if (path / "recipe.toml").exists():
                raise RunError("{path}: there is a run here already. Go on with it: seodang resume {path}", path=path)
            raise RunError("{path}: is not empty; a run needs a folder of its own.", path=path)
        make_folders(path / "checkpoints")
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

    def emit(self, event: Event) -> None:
        append(self.path / "events.jsonl", json.dumps(_finite(event.record()), ensure_ascii=False) + "\n")

    @property
    def events(self) -> list[dict[str, Any]]:
        """Every event that still holds: what a crash wrote after the checkpoint that was resumed is left out."""
        kept: list[dict[str, Any]] = []
        for event in self._lines():
            if event["event"] == "started" and event["step"] > 0:
                kept = [old for old in kept if old["step"] <= event["step"] and old["event"] != "stopped"]
            elif event["event"] == "started":
                kept = []
            kept.append(event)
        return kept

    def _lines(self) -> Iterator[dict[str, Any]]:
        path = self.path / "events.jsonl"
        if not path.exists():
            return
        for line in path.read_bytes().split(b"\n"):
            try:
                event = json.loads(line)
            except ValueError:
                continue  # a torn line: the process died in the middle of writing it
            if isinstance(event, dict) and "event" in event and isinstance(event.get("step"), int):
                yield event

    @property
    def scores(self) -> dict[str, float]:
        """Final scores if the run has ended, else the newest ones."""
        if result := self.result:
            return dict(result["scores"])
        evaluated = [event for event in self.events if event["event"] == "evaluated"]
        return dict(evaluated[-1]["scores"]) if evaluated else {}

    @property
    def result(self) -> dict[str, Any] | None:
        return self.read_json("result.json")

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
            value = json.loads((self.path / name).read_bytes())
        except (OSError, ValueError):
            return None
        return value if isinstance(value, dict) else None

    def write_json(self, name: str, value: Mapping[str, Any]) -> None:
        write(self.path / name, json.dumps(_finite(value), indent=1, ensure_ascii=False, sort_keys=False) + "\n")

    # ------------------------------------------------------------------------------------- checkpoints

    @property
    def checkpoints(self) -> list[Path]:
        """Every complete checkpoint, oldest first. The step in the name decides, never a clock or a link."""
        return sorted((self.path / "checkpoints").glob("step-*/"))

    def checkpoint_path(self, step: int) -> Path:
        return self.path / "checkpoints" / f"step-{step:09d}"

    @property
    def best(self) -> Path | None:
        """The best checkpoint, or the newest if no evaluation has chosen one."""
        try:
            path = self.path / "checkpoints" / (self.path / "best").read_text().strip()
        except OSError:
            path = None
        if path is not None and path.is_dir() and path.parent.name == "checkpoints":
            return path
        return self.checkpoints[-1] if self.checkpoints else None

    def mark_best(self, checkpoint: Path) -> None:
        write(self.path / "best", checkpoint.name + "\n")

    def prune(self, keep: int) -> None:
        """Remove all checkpoints but the newest `keep` and the best."""
        best = self.best
        for path in self.checkpoints[:-keep]:
            if path != best:
                remove_folder(path)

    # ------------------------------------------------------------------------------- one trainer a time

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the run for this process.

        Raises: RunError naming the process that holds it.
        """
        descriptor = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip()
                raise RunError(
                    "{path}: is running already, in process {holder}. Ask it to stop: touch {path}/stop",
                    path=self.path, holder=holder or "?") from None  # fmt: skip
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, str(os.getpid()).encode(), 0)
            _held.add(descriptor)
            yield
        finally:
            _held.discard(descriptor)
            os.close(descriptor)

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
        (self.path / "stop").unlink(missing_ok=True)


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
