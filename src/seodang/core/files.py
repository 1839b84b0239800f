"""The only writer of files: atomic, durable, checksummed.

A file is written to a temporary beside it, synced, renamed into place, and its folder is synced. A folder
(a checkpoint, a bundle) is written the same way as a whole, with a manifest that holds the size and SHA-256
of every file; reading verifies it. Nothing is ever overwritten in place and no name is trusted to be recent.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from seodang.core.errors import DiskError, WeightsError

MANIFEST = "manifest.json"


class Disk:
    """The few system calls writing is made of: one place to trace them, and to make them fail in tests."""

    def create(self, path: Path) -> int:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)

    def open_append(self, path: Path) -> int:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)

    def write(self, descriptor: int, data: memoryview) -> int:
        return os.write(descriptor, data)

    def sync(self, descriptor: int) -> None:
        os.fsync(descriptor)

    def close(self, descriptor: int) -> None:
        os.close(descriptor)

    def rename(self, source: Path, target: Path) -> None:
        os.rename(source, target)

    def make_folder(self, path: Path) -> None:
        os.mkdir(path)

    def sync_folder(self, path: Path) -> None:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def remove(self, path: Path) -> None:
        os.unlink(path)

    def remove_folder(self, path: Path) -> None:
        os.rmdir(path)


disk = Disk()


def write(path: Path, data: bytes | str) -> None:
    """Put `data` (text is UTF-8) at `path`: afterwards the file is whole and durable, or as it was before.

    Raises: DiskError with the path, the bytes needed and the bytes free.
    """
    data = data.encode() if isinstance(data, str) else data
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with _explained(path, len(data)):
        try:
            _write_synced(temporary, data)
            disk.rename(temporary, path)
        except BaseException:
            with suppress(OSError):
                disk.remove(temporary)
            raise
        disk.sync_folder(path.parent)


def append(path: Path, data: str, durable: bool = False) -> None:
    """Add `data` to the end of `path` in one write: readers see whole lines, or a torn last one."""
    raw = data.encode()
    with _explained(path, len(raw)):
        descriptor = disk.open_append(path)
        try:
            _write_all(descriptor, raw)
            if durable:
                disk.sync(descriptor)
        finally:
            disk.close(descriptor)


def write_folder(path: Path, files: Mapping[str, bytes], facts: Mapping[str, Any] | None = None) -> None:
    """Put `files` and a manifest of them (with `facts`) at `path`, a folder that must not exist yet.

    Raises: DiskError; nothing is left behind then, not even a temporary.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    digests = {name: {"bytes": len(data), "sha256": digest(data)} for name, data in files.items()}
    manifest = json.dumps({"format": 1, **(facts or {}), "files": digests}, indent=1, allow_nan=False).encode()
    with _explained(path, sum(map(len, files.values())) + len(manifest)):
        try:
            disk.make_folder(temporary)
            for name, data in files.items():
                _write_synced(temporary / name, data)
            _write_synced(temporary / MANIFEST, manifest)
            disk.sync_folder(temporary)
            disk.rename(temporary, path)
        except BaseException:
            with suppress(OSError):
                remove_folder(temporary)
            raise
        disk.sync_folder(path.parent)


def read_manifest(path: Path) -> dict[str, Any]:
    """Return the manifest of the folder `path`.

    Raises: WeightsError if there is none or it is not a manifest.
    """
    try:
        manifest = json.loads((path / MANIFEST).read_bytes())
        if not isinstance(manifest["files"], dict):
            raise TypeError
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        raise WeightsError("{path}: has no readable {name}; it is not a whole checkpoint or bundle.",
                           path=path, name=MANIFEST) from None  # fmt: skip
    return manifest


def read_folder(path: Path) -> dict[str, bytes]:
    """Return every file of a folder written by `write_folder`, each verified against the manifest.

    Raises: WeightsError naming the first file that is missing, has the wrong size or the wrong digest.
    """
    contents: dict[str, bytes] = {}
    for name, expected in read_manifest(path)["files"].items():
        if Path(name).name != name:
            raise WeightsError(
                "{path}: the manifest names '{name}', which is outside the folder.", path=path, name=name
            )
        try:
            data = (path / name).read_bytes()
        except OSError:
            raise WeightsError("{path}: is missing.", path=path / name) from None
        if len(data) != expected.get("bytes"):
            raise WeightsError("{path}: has {found} bytes, the manifest says {expected}.",
                               path=path / name, found=len(data), expected=expected.get("bytes"))  # fmt: skip
        if (found := digest(data)) != expected.get("sha256"):
            raise WeightsError("{path}: is damaged. Bytes 0 to {last}: SHA-256 is {found}…, the manifest says {expected}….",
                               path=path / name, last=len(data) - 1, found=found[:12],
                               expected=str(expected.get("sha256"))[:12])  # fmt: skip
        contents[name] = data
    return contents


def remove_folder(path: Path) -> None:
    """Remove a folder written by `write_folder`; the parent is synced, so it stays removed."""
    for item in sorted(path.iterdir()):
        disk.remove(item)
    disk.remove_folder(path)
    disk.sync_folder(path.parent)


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def make_folders(path: Path) -> None:
    """Make `path` and its parents."""
    with _explained(path, 0):
        path.mkdir(parents=True, exist_ok=True)


def bytes_free(path: Path) -> int:
    while not path.exists():
        path = path.parent
    return shutil.disk_usage(path).free


def _write_synced(path: Path, data: bytes) -> None:
    descriptor = disk.create(path)
    try:
        _write_all(descriptor, data)
        disk.sync(descriptor)
    finally:
        disk.close(descriptor)


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[disk.write(descriptor, view) :]


@contextmanager
def _explained(path: Path, needed: int) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskError(
                "{path}: the disk is full ({reason}): {needed:,} bytes needed, {free:,} free. Make room and resume.",
                path=path, reason=reason, needed=needed, free=bytes_free(path)) from error  # fmt: skip
        raise DiskError(
            "{path}: cannot be written ({reason}): {needed:,} bytes needed, {free:,} free.",
            path=path, reason=reason, needed=needed, free=bytes_free(path)) from error  # fmt: skip
