"""The one writer: whole or not at all, durable, checked on the way back."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from seodang.core import files
from seodang.core.errors import DiskError, WeightsError

CONTENT = {"a.bin": bytes(range(256)) * 40, "b.json": b"{}"}


class Failing(files.Disk):
    """A disk on which the k-th call fails."""

    def __init__(self, k: int, number: int) -> None:
        self.left, self.number = k, number

    def _count(self) -> None:
        self.left -= 1
        if self.left == 0:
            raise OSError(self.number, os.strerror(self.number))


for _name in ("create", "open_append", "write", "sync", "rename", "make_folder", "sync_folder"):

    def _method(self: Failing, *arguments: object, _name: str = _name) -> object:
        self._count()
        return getattr(files.Disk, _name)(self, *arguments)

    setattr(Failing, _name, _method)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EACCES])
def test_a_failure_at_any_call_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    path = tmp_path / "file"
    files.write(path, "old")
    for k in range(1, 20):
        monkeypatch.setattr(files, "disk", Failing(k, number))
        try:
            files.write(path, "newer")
        except DiskError as error:
            assert str(path) in str(error)
            assert "5 bytes needed" in str(error)
            assert path.read_text() in ("old", "newer")
            assert [item.name for item in tmp_path.iterdir()] == ["file"], "a temporary was left behind"
        else:
            assert k == 6, "five calls: create, write, sync, rename, sync folder"
            break
    assert path.read_text() == "newer"


def test_a_failure_at_any_call_leaves_no_half_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for k in range(1, 40):
        monkeypatch.setattr(files, "disk", Failing(k, errno.ENOSPC))
        try:
            files.write_folder(tmp_path / "step", CONTENT)
        except DiskError as error:
            assert "the disk is full" in str(error)
            monkeypatch.setattr(files, "disk", files.Disk())
            if (tmp_path / "step").exists():  # the rename happened, only its durability is in doubt
                assert files.read_folder(tmp_path / "step") == CONTENT
                files.remove_folder(tmp_path / "step")
            assert not list(tmp_path.iterdir())
        else:
            break
    monkeypatch.setattr(files, "disk", files.Disk())
    assert files.read_folder(tmp_path / "step") == CONTENT


def test_modes_follow_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        files.write(tmp_path / "file", "x")
        files.write_folder(tmp_path / "folder", CONTENT)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o640
    assert stat.S_IMODE((tmp_path / "folder" / "a.bin").stat().st_mode) == 0o640


def test_every_kind_of_damage_is_found(tmp_path: Path) -> None:
    folder = tmp_path / "step"
    files.write_folder(folder, CONTENT)
    path, whole = folder / "a.bin", CONTENT["a.bin"]
    for position in range(0, len(whole), 97):
        damaged = bytearray(whole)
        damaged[position] ^= 1 << (position % 8)
        path.write_bytes(bytes(damaged))
        with pytest.raises(WeightsError, match=r"a\.bin: is damaged"):
            files.read_folder(folder)
    for length in (0, 1, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(WeightsError, match=r"a\.bin: has \d+ bytes, the manifest says 10240"):
            files.read_folder(folder)
    path.unlink()
    with pytest.raises(WeightsError, match=r"a\.bin: is missing"):
        files.read_folder(folder)


@pytest.mark.parametrize("manifest", [b"", b"[]", b"{}", b'{"files": []}', b"\xff", b'{"files": {"../x": {}}}'])
def test_a_bad_manifest_is_named(tmp_path: Path, manifest: bytes) -> None:
    files.write_folder(tmp_path / "step", CONTENT)
    (tmp_path / "step" / "manifest.json").write_bytes(manifest)
    with pytest.raises(WeightsError, match="manifest"):
        files.read_folder(tmp_path / "step")


def test_appending_keeps_lines_whole(tmp_path: Path) -> None:
    for number in range(5):
        files.append(tmp_path / "log", f"line {number}\n")
    assert (tmp_path / "log").read_text().splitlines() == [f"line {number}" for number in range(5)]
