"""No room on the disk: what was saved stays, the message says what to do, and the run goes on once there is room."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

import seodang as sd
from seodang.core import files
from seodang.core.errors import DiskError
from seodang.core.run import RunFolder
from tests.harness import assert_same_end
from tests.training.test_resume import RECIPE


class FullFrom(files.Disk):
    """A disk that is full from its k-th folder on; the run makes two before its first checkpoint."""

    def __init__(self, folders: int) -> None:
        self.left = folders

    def make_folder(self, path: Path) -> None:
        self.left -= 1
        super().make_folder(path)

    def write(self, descriptor: int, data: memoryview) -> int:
        if self.left <= 0 and len(data) > 1000:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().write(descriptor, data)


def test_a_full_disk_stops_the_run_and_keeps_what_was_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = sd.train(RECIPE, run=tmp_path / "whole")
    monkeypatch.setattr(files, "disk", FullFrom(5))
    with pytest.raises(DiskError, match=r"step-000000027.*: the disk is full .* bytes needed, [\d,]+ free. Make room"):
        sd.train(RECIPE, run=tmp_path / "full")
    monkeypatch.undo()
    run = RunFolder(tmp_path / "full")
    assert [path.name for path in run.checkpoints] == ["step-000000009", "step-000000018"]
    assert not list(run.path.rglob("*.tmp"))
    assert_same_end(whole, sd.resume(run))
