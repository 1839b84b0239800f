"""Whatever a power cut leaves of a run, the run goes on from a checkpoint it had acknowledged, or a newer one."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

import seodang as sd
from seodang.core import files
from seodang.core.recipe import Recipe
from seodang.core.run import RunFolder
from seodang.training import checkpoint as checkpoint_module
from tests.reliability.crash_states import Recorder, Tree, put
from tests.reliability.verdicts import Judge, Promises, explore, really

RECIPE = Recipe.of({
    "name": "small",
    "model": {"name": "mlp", "hidden_sizes": [2]},
    "data": {"name": "iris", "valid": 0.2, "test": 0.2},
    "task": "classification",
    "optimizer": {"name": "adam", "lr": 0.01},
    "train": {"steps": 16, "batch_size": 32, "log_every": 1, "evaluate_every": 2, "save_every": 1, "threads": 1},
})  # fmt: skip
"""16 saves; now and then one of them is the best."""


def traced(
    monkeypatch: pytest.MonkeyPatch, path: Path, tree: Tree | None = None, recipe: Recipe = RECIPE
) -> tuple[Recorder, Promises]:
    """Train or resume the run at `path` and return what it did to the disk."""
    recorder = Recorder(path.parent)
    recorder.adopt({path.name: tree} if tree else {})
    promises = Promises(path, recorder)
    monkeypatch.setattr(files, "disk", recorder)
    if tree and "recipe.toml" in tree:
        sd.resume(path, listeners=[promises.listen])
    else:
        sd.train(recipe, run=path, listeners=[promises.listen])
    monkeypatch.undo()
    return recorder, promises


def test_a_million_states(memory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder, promises = traced(monkeypatch, memory / "run")
    judge = Judge(promises, (memory / "run" / "events.jsonl").read_bytes())
    sample: dict[Any, Tree] = {}
    for number, state in enumerate(explore(recorder, judge, "run")):
        sample.setdefault(shape(state), state)
        if number % 8 == 0:
            really_same(state, judge, memory)
    assert not judge.found, judge.found
    first = judge.states
    chosen = random.Random(0).sample(sorted(sample.values(), key=shape), 5)
    second = [crash_again(state, judge, memory, monkeypatch) for state in chosen]
    print(f"{first:,} states of a run of 16 saves, {sum(second):,} of power cuts while {len(second)} of them recovered")
    assert first + sum(second) >= 1_000_000


def crash_again(state: Tree, before: Judge, memory: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """Resume from a state a power cut left, and cut the power again at every step of that; return the states."""
    path = memory / "again" / "run"
    path.parent.mkdir()
    put(state, path)
    recorder, promises = traced(monkeypatch, path, state)
    held = before.kept(state.get("checkpoints", {}))
    promises.recipe = before.promises.recipe
    for name in held.whole:
        step = int(name[5:])
        promises.checkpoints.setdefault(step, before.promises.checkpoints[step])
        if step <= held.step:
            promises.history[step] = before.promises.history[step]
    judge = Judge(promises, (path / "events.jsonl").read_bytes())
    judge.created, judge.saved = "recipe.toml" in state, held.step
    for _ in explore(recorder, judge, "run"):
        pass
    assert not judge.found, judge.found
    shutil.rmtree(path.parent)
    return judge.states


def shape(state: Tree) -> str:
    """Return the names in a state."""
    return repr([(name, sorted(value) if isinstance(value, Mapping) else "") for name, value in sorted(state.items())])


def really_same(state: Tree, judge: Judge, memory: Path) -> None:
    """The verdict in memory is what a real start does on a real disk."""
    path = memory / "sample"
    assert really(state, path, RECIPE) == judge.kept(state.get("checkpoints", {})).step
    shutil.rmtree(path)


# ------------------------------------------------------------------------------- protocols that are wrong


class NoFolderSync(Recorder):
    def sync_folder(self, path: Path) -> None:
        pass


class NoSync(Recorder):
    def sync(self, descriptor: int) -> None:
        pass


def rename_before_sync(path: Path, contents: Mapping[str, bytes], facts: Mapping[str, Any] | None = None) -> None:
    disk = files.disk
    temporary = path.with_name(f".{path.name}.1-00000000.tmp")
    disk.make_folder(temporary)
    digests = {name: {"bytes": len(data), "sha256": files._digests(data)} for name, data in contents.items()}
    manifest = files._manifest({**(facts or {}), "files": digests})
    descriptors = []
    for name, data in {**contents, files.MANIFEST: manifest}.items():
        descriptors.append(disk.create(temporary / name))
        disk.write(descriptors[-1], memoryview(data))
    disk.sync_folder(temporary)
    disk.rename(temporary, path)
    disk.sync_folder(path.parent)
    for descriptor in descriptors:
        disk.close(descriptor)


def in_place(path: Path, contents: Mapping[str, bytes], facts: Mapping[str, Any] | None = None) -> None:
    """One checkpoint, written over and over."""
    disk = files.disk
    old = sorted(path.parent.glob("step-*"))
    if old:
        disk.rename(old[-1], path)
    else:
        disk.make_folder(path)
    disk.sync_folder(path.parent)
    digests = {name: {"bytes": len(data), "sha256": files._digests(data)} for name, data in contents.items()}
    for name, data in {**contents, files.MANIFEST: files._manifest({**(facts or {}), "files": digests})}.items():
        descriptor = disk.open_append(path / name)
        disk.truncate(descriptor, 0)
        disk.write(descriptor, memoryview(data))
        disk.sync(descriptor)
        disk.close(descriptor)
    disk.sync_folder(path)


def unverified(folder: Path, name: str, expected: Mapping[str, Any]) -> bytes:
    return (folder / name).read_bytes()


def first_wrong(memory: Path, monkeypatch: pytest.MonkeyPatch, kind: Callable[[Path], Recorder]) -> str:
    """Train with what has been patched, and return the first thing wrong with any state."""
    recorder = kind(memory)
    promises = Promises(memory / "run", recorder)
    monkeypatch.setattr(files, "disk", recorder)
    short = RECIPE.replace(train={**RECIPE.train.values(), "steps": 4})
    sd.train(short, run=memory / "run", listeners=[promises.listen])
    judge = Judge(promises, (memory / "run" / "events.jsonl").read_bytes())
    for _ in explore(recorder, judge, "run"):
        if judge.found:
            return next(iter(judge.found))
    return ""


@pytest.mark.parametrize(
    ("patches", "recorder", "wrong"),
    [
        ({}, Recorder, ""),
        ({}, NoFolderSync, "the run is gone"),
        ({}, NoSync, "the recipe is lost"),
        ({"write_folder": rename_before_sync}, Recorder, "an acknowledged checkpoint is lost"),
        ({"write_folder": in_place}, Recorder, "an acknowledged checkpoint is lost"),
        ({"write_folder": rename_before_sync, "_read_verified": unverified}, Recorder, "a damaged checkpoint is accepted"),
        ({"sync_events": lambda run: None}, Recorder, "the history is lost"),
    ],
    ids=["right", "no sync of folders", "no sync of files", "rename before sync", "in place", "unverified", "no history"],
)  # fmt: skip
def test_wrong_protocols_are_caught(
    memory: Path, monkeypatch: pytest.MonkeyPatch, patches: dict[str, Any], recorder: type[Recorder], wrong: str
) -> None:
    for name, value in patches.items():
        owner = {"write_folder": checkpoint_module, "sync_events": RunFolder}.get(name, files)
        monkeypatch.setattr(owner, name, value)
    assert first_wrong(memory, monkeypatch, recorder) == wrong
