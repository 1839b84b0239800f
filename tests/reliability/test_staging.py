"""Saves beside the loop: the snapshot is of its step, resuming is exact, the history has one order, a power cut costs nothing."""

from __future__ import annotations

import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save
from torch import Tensor

import seodang as sd
from seodang import api
from seodang.core import files
from seodang.core.events import Event, Saved
from seodang.core.run import RunFolder
from seodang.training import saving
from seodang.training.staging import KINDS, Stage, tensor_parts
from tests.harness import TENSORS, assert_same_end, history, killed_after
from tests.reliability import test_power_cut
from tests.reliability.crash_states import Recorder
from tests.reliability.families import families
from tests.reliability.verdicts import Judge, Promises, explore

RECIPE = test_power_cut.RECIPE.replace(train={**test_power_cut.RECIPE.train.values(), "save_every": 2})
"""16 saves beside the loop: one in every half interval."""


@pytest.fixture(autouse=True)
def _beside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saving, "BESIDE_FROM", 0)
    monkeypatch.setattr(api, "_pictures", lambda run, data: lambda event: None)


class Slow(files.Disk):
    """A disk that takes longer than several updates, and notes which threads write checkpoints."""

    def __init__(self) -> None:
        self.threads: set[str] = set()
        self.folders = self.most = 0

    def make_folder(self, path: Path) -> None:
        if ".step-" in path.name:
            self.threads.add(threading.current_thread().name)
            self.folders += 1
            self.most = max(self.most, self.folders)
            time.sleep(0.05)
        super().make_folder(path)

    def rename(self, source: Path, target: Path) -> None:
        super().rename(source, target)
        if target.name.startswith("step-"):
            self.folders -= 1


def tensors() -> dict[str, Tensor]:
    numbers = torch.Generator().manual_seed(0)
    found = {}
    for place, kind in enumerate(KINDS):
        values = (torch.randn(3, 5, generator=numbers) * 10).abs().to(kind)
        found |= {f'a/{place}/é"\\': values, f"one{place}": values[0, 0].clone(), f"none{place}": values[:0].clone()}
    found["picture"] = torch.randn(4, 3, 2, 2, generator=numbers).to(memory_format=torch.channels_last)
    return found


def test_the_bytes_are_those_of_the_safetensors_library() -> None:
    expected = save({name: value.contiguous() for name, value in tensors().items()})
    assert b"".join(tensor_parts(tensors())) == expected
    stage = Stage()
    for _ in range(2):
        assert b"".join(stage.hold("weights", tensors())) == expected
    assert b"".join(stage.hold("weights", {})) == save({})


def test_a_stage_is_a_copy() -> None:
    value = torch.ones(1000)
    held = Stage().hold("weights", {"value": value})
    before = b"".join(held)
    value.zero_()
    assert b"".join(held) == before != b"".join(tensor_parts({"value": value}))


def test_checkpoints_are_of_their_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While they are written, training goes on; every one of them is as if it had waited."""
    heard: list[Event] = []
    disk = Slow()
    monkeypatch.setattr(files, "disk", disk)
    late = sd.train(RECIPE, run=tmp_path / "late", listeners=[heard.append], train={"keep": 20})
    monkeypatch.undo()
    monkeypatch.setattr(saving, "BESIDE_FROM", 1 << 60)
    waited = sd.train(RECIPE, run=tmp_path / "waited", train={"keep": 20})
    assert disk.threads == {"seodang-save"} and disk.most == 1
    steps = [event.step for event in heard]
    assert steps != sorted(steps), "every save ended before the next update: nothing was tried"
    assert [path.name for path in waited.checkpoints] == [f"step-{step:09d}" for step in range(2, 17, 2)]
    assert [path.name for path in late.checkpoints] == [f"step-{step:09d}" for step in range(1, 17)]
    for one, two in zip(late.checkpoints[1::2], waited.checkpoints, strict=True):
        for name in TENSORS:
            assert (one / name).read_bytes() == (two / name).read_bytes(), (one.name, name)
    saves = [event for event in history(late) if event["event"] == "saved" and event["step"] % 2]
    assert len(saves) == 8 and [event for event in history(late) if event not in saves] == history(waited)


@pytest.mark.parametrize(
    ("every", "expected"), [(1, [1, 2, 3, 4]), (2, [1, 2, 3, 4]), (3, [1, 2, 3, 4]), (4, [2, 4]), (0, [4])]
)
def test_no_more_than_an_interval_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, every: int, expected: list[int]
) -> None:
    """Where one is being written, the one before is what a crash leaves: two of them lie in an interval."""
    disk = Slow()
    monkeypatch.setattr(files, "disk", disk)
    run = sd.train(
        RECIPE, run=tmp_path / "run", train={"keep": 20, "steps": 4, "evaluate_every": 0, "save_every": every}
    )
    assert [int(path.name[5:]) for path in run.checkpoints] == expected
    assert ("seodang-save" in disk.threads) == (every > 1), "with one update between saves, the loop waits"


def test_a_stage_that_does_not_copy_is_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Stage, "hold", lambda self, name, values: tensor_parts(values))
    with pytest.raises(AssertionError, match="safetensors"):
        test_checkpoints_are_of_their_step(tmp_path, monkeypatch)


@pytest.mark.parametrize("family", ["supervised", "gan", "agent"])
def test_resuming_is_exact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, family: str) -> None:
    recipe = families(tmp_path)[family]
    monkeypatch.setattr(files, "disk", Slow())
    whole = sd.train(recipe, run=tmp_path / "whole")
    with killed_after(14):
        sd.train(recipe, run=tmp_path / "killed")
    assert RunFolder(tmp_path / "killed").result is None
    assert_same_end(whole, sd.resume(tmp_path / "killed"))


class LatePromises(Promises):
    """The history a checkpoint needs ends with its step: what was added before the disk was done is not promised yet."""

    def listen(self, event: Event) -> None:
        super().listen(event)
        if isinstance(event, Saved):
            lines = (self.path / "events.jsonl").read_bytes().splitlines(keepends=True)
            needed = [line for line in lines if f'"step": {event.step},'.encode() in line and b'"saved"' not in line]
            self.history[event.step] = sum(map(len, lines[: lines.index(needed[-1]) + 1]))


@pytest.fixture
def memory() -> Iterator[Path]:
    shared = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix="seodang-beside-", dir=shared if shared.is_dir() else None))
    yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize("broken", [False, True], ids=["right", "no history"])
def test_a_power_cut_while_it_is_written(memory: Path, monkeypatch: pytest.MonkeyPatch, broken: bool) -> None:
    recorder = Recorder(memory)
    promises = LatePromises(memory / "run", recorder)
    if broken:
        monkeypatch.setattr(RunFolder, "sync_events", lambda run: None)
    monkeypatch.setattr(files, "disk", recorder)
    sd.train(RECIPE, run=memory / "run", listeners=[promises.listen], train={"steps": 5})
    judge = Judge(promises, (memory / "run" / "events.jsonl").read_bytes())
    for _ in explore(recorder, judge, "run"):
        pass
    assert judge.states > 10_000
    assert set(judge.found) == ({"the history is lost"} if broken else set())
