"""Whatever the disk refuses, at whichever call: what was saved stays, the message says what to do, the run can go on."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import seodang as sd
from seodang import api
from seodang.core import files
from seodang.core.errors import DiskError
from seodang.core.recipe import Recipe
from seodang.core.run import RunFolder
from seodang.training import saving
from seodang.training.checkpoint import Checkpoint
from tests.harness import TENSORS, assert_same_end, history

ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EACCES)
WAYS = (("stop", False, False), ("continue", True, False), ("stop", True, True), ("continue", False, True))
"""What to do about a failure, whether saves are written beside the loop, whether the disk goes on failing."""
RECIPE = Recipe.of({
    "name": "small",
    "model": {"name": "mlp", "hidden_sizes": [2]},
    "data": {"name": "iris", "valid": 0.2, "test": 0.2},
    "task": "classification",
    "optimizer": {"name": "adam", "lr": 0.05},
    "train": {"steps": 6, "batch_size": 60, "log_every": 2, "evaluate_every": 2, "threads": 1},
})  # fmt: skip
"""Three saves, each of them the best so far."""


class Failing(files.Disk):
    """A disk whose `call`-th call fails with `number`; if it `stays` so, everything that needs room fails from then on."""

    def __init__(self, call: int = 0, number: int = 0, stays: bool = False) -> None:
        self.call, self.number, self.stays = call, number, stays
        self.names: list[str] = []
        self._lock = threading.Lock()

    def fails(self, name: str) -> bool:
        with self._lock:
            self.names.append(name)
            place = len(self.names)
        later = self.stays and 0 < self.call < place and name in ("create", "open_append", "write", "make_folder")
        return place == self.call or later


def _failing(name: str) -> Callable[..., Any]:
    def method(self: Failing, *arguments: Any) -> Any:
        fails = self.fails(name)
        if fails and name == "close":
            super(Failing, self).close(*arguments)
        if fails:
            raise OSError(self.number, os.strerror(self.number))
        return getattr(files.Disk, name)(self, *arguments)

    return method


for _name in [name for name in vars(files.Disk) if not name.startswith("_") and name != "hurry"]:
    setattr(Failing, _name, _failing(_name))


@pytest.fixture(autouse=True)
def _no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "_pictures", lambda run, data: lambda event: None)


def told(run: RunFolder) -> list[Any]:
    """Return what was learned, without which checkpoints there are."""
    events = [
        event for event in history(run) if event["event"] in ("stepped", "evaluated") and event.get("split") != "test"
    ]
    return [{key: value for key, value in event.items() if key != "best"} for event in events]


def assert_survived(whole: RunFolder, path: Path, disk: Failing, way: str, error: DiskError | None) -> None:
    """Fail unless the run lost nothing but the save that failed, and ends as if nothing had happened."""
    run = RunFolder(path)
    if error is not None:
        text = str(error)
        assert str(path) in text and " bytes needed, " in text and text.count(" free") == 1, text
        assert os.strerror(disk.number) in text
    assert run.checkpoints or disk.call < len(disk.names), "no checkpoint is left"
    for checkpoint in run.checkpoints:
        Checkpoint.read(checkpoint)
    failed = disk.names[disk.call - 1] if disk.call <= len(disk.names) else ""
    if failed not in (
        "remove",
        "remove_folder",
        "rename",
        "sync_folder",
    ):  # what could not be removed is at the next start
        assert not list(path.rglob("*.tmp"))
    if not run.is_complete:
        run = sd.resume(path)
    assert not list(path.rglob("*.tmp"))
    if way == "stop":
        assert_same_end(whole, run, asked=True)  # beside the loop there are saves in between
        return
    for name in TENSORS:
        assert (run.checkpoints[-1] / name).read_bytes() == (whole.checkpoints[-1] / name).read_bytes()
    assert told(run) == told(whole)


def trial(whole: RunFolder, path: Path, call: int, number: int, way: tuple[str, bool, bool]) -> str:
    """Train with a disk that fails, and check what is left; return the name of the call that failed."""
    on_error, beside, stays = way
    recipe = RECIPE.replace(train={**RECIPE.train.values(), "on_save_error": on_error})
    disk, error = Failing(call, number, stays), None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "disk", disk)
        patch.setattr(saving, "BESIDE_FROM", 0 if beside else 1 << 60)
        try:
            sd.train(recipe, run=path)
        except DiskError as raised:
            error = raised
    if call <= len(disk.names) and on_error == "stop":
        assert error is not None, (call, disk.names[call - 1])
    assert_survived(whole, path, disk, on_error, error)
    shutil.rmtree(path)
    return disk.names[call - 1] if call <= len(disk.names) else ""


def test_every_call_of_two_saves_fails_in_five_ways(memory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counting = Failing()
    monkeypatch.setattr(files, "disk", counting)
    whole = sd.train(RECIPE, run=memory / "whole")
    monkeypatch.undo()
    monkeypatch.setattr(api, "_pictures", lambda run, data: lambda event: None)
    names = counting.names
    folders = [place for place, name in enumerate(names) if name == "make_folder"]
    calls = range(folders[3] - 6, len(names) + 1)  # run, checkpoints, first save; then the second save to the end
    failed = [
        trial(whole, memory / f"{call}-{number}", call, number, WAYS[(call + place) % len(WAYS)])
        for call in calls
        for place, number in enumerate(ERRORS)
    ]
    assert {"create", "write", "sync", "close", "rename", "make_folder", "sync_folder", "open_append", "remove",
            "remove_folder"} <= set(failed)  # fmt: skip


def test_a_failure_beside_the_loop_is_said_at_the_next_step(memory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Training goes on to the end with `continue`, and says once what failed; a later save is tried again."""
    monkeypatch.setattr(saving, "BESIDE_FROM", 0)
    folders = []

    class NoSecondSave(files.Disk):
        def make_folder(self, path: Path) -> None:
            folders.append(path)
            if len(folders) == 4:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            super().make_folder(path)

    monkeypatch.setattr(files, "disk", NoSecondSave())
    run = sd.train(RECIPE, run=memory / "run", train={"on_save_error": "continue"})
    notices = [event for event in run.events if event["event"] == "noticed"]
    assert len(notices) == 1 and notices[0]["step"] == 2 and "step-000000002: the disk is full" in notices[0]["text"]
    assert [path.name for path in run.checkpoints] == ["step-000000005", "step-000000006"]
    assert [event["step"] for event in run.events if event["event"] == "saved"] == [1, 3, 4, 5, 6]
    assert run.is_complete


def test_a_real_disk_that_is_full(tmp_path: Path) -> None:
    place = tmp_path / "disk"
    place.mkdir()
    mounted = (
        os.geteuid() == 0
        and not subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=2m", "seodang", place], capture_output=True, check=False
        ).returncode
    )
    if not mounted:
        pytest.skip("needs a user who may mount")
    try:
        large = RECIPE.replace(model={"name": "mlp", "hidden_sizes": [8000]})  # 770 kB a checkpoint
        whole = sd.train(large, run=tmp_path / "whole")
        with pytest.raises(
            DiskError, match=r"step-000000006: the disk is full .* bytes needed, [\d,]+ free. Make room"
        ):
            sd.train(large, run=place / "run")
        run = RunFolder(place / "run")
        assert [path.name for path in run.checkpoints] == ["step-000000002", "step-000000004"]
        assert not list(run.path.rglob("*.tmp"))
        assert any("bytes are free" in event["text"] for event in run.events if event["event"] == "noticed")
        subprocess.run(["mount", "-o", "remount,size=20m", place], check=True)
        resumed = sd.resume(run)
        for name in TENSORS:
            assert (resumed.checkpoints[-1] / name).read_bytes() == (whole.checkpoints[-1] / name).read_bytes()
    finally:
        subprocess.run(["umount", place], check=True)
