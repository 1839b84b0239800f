"""What a run promises, and whether the state a power cut left of it still keeps that promise."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from seodang.api import newest_good
from seodang.core.errors import WeightsError
from seodang.core.events import Event, Saved, Started
from seodang.core.recipe import Recipe
from seodang.core.run import STEP, RunFolder, read_checkpoint
from tests.reliability.crash_states import (
    File,
    Folder,
    MemoryPath,
    Op,
    Recorder,
    Tree,
    combined,
    put,
    read,
    trees,
)


@dataclass
class Promises:
    """What was true of a run when it said so: collected while it runs, on the real disk."""

    path: Path
    recorder: Recorder
    recipe: bytes = b""
    checkpoints: dict[int, Tree] = field(default_factory=dict)
    history: dict[int, int] = field(default_factory=dict)
    """Step → bytes of `events.jsonl` that led to its checkpoint."""

    def listen(self, event: Event) -> None:
        if isinstance(event, Started) and event.step == 0:
            self.recipe = (self.path / "recipe.toml").read_bytes()
            self.recorder.mark("created")
        if isinstance(event, Saved):
            events = (self.path / "events.jsonl").read_bytes()
            self.checkpoints[event.step] = read(self.path / "checkpoints" / event.checkpoint)
            self.history[event.step] = events.rfind(b"\n", 0, len(events) - 1) + 1
            self.recorder.mark("saved", event.step)


class Kept(NamedTuple):
    """What a start finds in `checkpoints`: the step it goes on from, whether that is as promised, and what is whole."""

    step: int
    true: bool
    whole: frozenset[str]


class Top(NamedTuple):
    """What a start finds beside them."""

    recipe: bytes | None
    marked: str | None
    history: int
    problem: str


class Judge:
    """Judges every state of a trace; `found` counts what is wrong."""

    def __init__(self, promises: Promises, history: bytes) -> None:
        self.promises, self.history = promises, history
        self.created, self.saved = False, -1
        self.states = 0
        self.found: Counter[str] = Counter()
        self.examples: dict[str, Tree] = {}
        self._folders: dict[Any, bool] = {}
        self._kept: dict[Any, Kept] = {}
        self._events: dict[bytes, tuple[int, str]] = {}

    def promise(self, op: Op) -> None:
        if op.kind == "created":
            self.created = True
        if op.kind == "saved":
            self.saved = op.arguments[0]

    def judge(self, top: Folder, name: str) -> Iterator[Tree]:
        """Judge every state of the run `name` in `top`; yield one in a few hundred of them, and all kinds."""
        for roots in top.variants():
            run = roots.get(name)
            if not isinstance(run, Folder):
                self._count(self.created, "the run is gone", {})
                continue
            for entries in run.variants():
                yield from self._judge_run(entries)

    def _judge_run(self, entries: dict[str, Any]) -> Iterator[Tree]:
        inside = entries.get("checkpoints")
        kept = [(tree, self.kept(tree)) for tree in trees(inside)] if isinstance(inside, Folder) else [({}, NOTHING)]
        files = {name: node.variants() for name, node in entries.items() if isinstance(node, File)}
        tops: dict[tuple[bytes, ...], Top] = {}
        for (tree, checkpoints), *chosen in combined([kept, *files.values()]):
            contents: Tree = dict(zip(files, chosen, strict=True))
            if (found := tops.get(key := tuple(chosen))) is None:
                found = tops[key] = self.top(contents)
            wrong = self.wrong(found, checkpoints)
            self._count(bool(wrong), wrong, tree)
            if wrong or self.states % 997 == 1:
                yield {**contents, **({"checkpoints": tree} if inside else {})}

    def _count(self, is_wrong: bool, what: str, tree: Tree) -> None:
        self.states += 1
        if is_wrong:
            self.found[what] += 1
            self.examples.setdefault(what, tree)

    def wrong(self, top: Top, kept: Kept) -> str:
        """Return what is wrong with a state, or nothing."""
        if kept.step < self.saved:
            return "an acknowledged checkpoint is lost"
        if not kept.true:
            return "a damaged checkpoint is accepted"
        if top.problem:
            return f"the start fails: {top.problem}"
        if self.created and top.recipe != self.promises.recipe:
            return "the recipe is lost"
        if top.marked is not None and top.marked not in kept.whole:
            return "the best checkpoint is lost"
        if kept.step >= 0 and top.history < self.promises.history.get(kept.step, 0):
            return "the history is lost"
        return ""

    def kept(self, tree: Tree) -> Kept:
        key = tuple((name, tuple(value.items())) for name, value in tree.items() if STEP.fullmatch(name))
        if key not in self._kept:
            whole = {name for name, items in key if self._is_whole(name, items)}
            step = max((int(name[5:]) for name in whole), default=-1)
            truth = self.promises.checkpoints.get(step)
            self._kept[key] = Kept(
                step, step < 0 or truth is None or tree[f"step-{step:09d}"] == truth, frozenset(whole)
            )
        return self._kept[key]

    def _is_whole(self, name: str, items: tuple[tuple[str, bytes], ...]) -> bool:
        """Ask the real reader."""
        if (name, items) not in self._folders:
            try:
                read_checkpoint(MemoryPath(name, dict(items)))  # type: ignore[arg-type]
            except WeightsError:
                self._folders[name, items] = False
            else:
                self._folders[name, items] = True
        return self._folders[name, items]

    def top(self, contents: Tree) -> Top:
        run = in_memory(contents)
        history, problem = self._read_events(contents.get("events.jsonl", b""))
        try:
            marked = run.marked
        except Exception as error:
            return Top(None, None, 0, repr(error))
        return Top(contents.get("recipe.toml"), marked, history, problem)

    def _read_events(self, data: bytes) -> tuple[int, str]:
        """Return how much of the true history `data` begins with, and what reading the rest raised."""
        if data not in self._events:
            low, high = 0, min(len(data), len(self.history))
            while low < high:
                middle = (low + high + 1) // 2
                low, high = (middle, high) if data[:middle] == self.history[:middle] else (low, middle - 1)
            rest = data[data.rfind(b"\n", 0, low) + 1 :]
            try:
                _ = in_memory({"events.jsonl": rest}).events
                problem = ""
            except Exception as error:
                problem = repr(error)
            self._events[data] = low, problem
        return self._events[data]


NOTHING = Kept(-1, True, frozenset())


def in_memory(tree: Tree) -> RunFolder:
    run = RunFolder.__new__(RunFolder)
    run.path = MemoryPath("run", tree)  # type: ignore[assignment]
    return run


def explore(recorder: Recorder, judge: Judge, name: str) -> Iterator[Tree]:
    """Play a trace, judge what a power cut leaves after every step of it, and yield a sample of the states."""
    for op in recorder.trace:
        op.apply()
        judge.promise(op)
        if op.kind != "sync":  # after a sync there are only states there were before it
            yield from judge.judge(recorder.top, name)


def really(tree: Tree, path: Path, recipe: Recipe) -> int:
    """Put a state on the real disk and start the run for real; return the step it goes on from, or -1."""
    put(tree, path)
    if "recipe.toml" not in tree:
        RunFolder.create(recipe, path)
        return -1
    run = RunFolder(path)
    with run.locked():
        checkpoint = newest_good(run)
        _ = run.events, run.best, run.status, run.recipe, run.is_complete
        assert not list(path.rglob("*.tmp")), "a start leaves temporaries behind"
    return -1 if checkpoint is None else int(checkpoint.path.name[5:])
