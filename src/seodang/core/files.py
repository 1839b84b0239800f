"""The only writer of files: atomic, durable, checksummed.

A file is written to a temporary beside it, synced, renamed into place, and its folder is synced. A folder
(a checkpoint, a bundle) is written the same way as a whole, with a manifest that holds the size of every file and
the SHA-256 of every mebibyte of it, and its own SHA-256; reading verifies all of them. Nothing is ever overwritten
in place and no name is trusted to be recent.

Not written this way, because nothing is lost with them: a run's `lock` (its content is only said to people) and the
`stop` a person puts into a run.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from itertools import zip_longest
from pathlib import Path
from typing import Any

from seodang.core.blocks import BLOCK, Content, Parts, blocks, entry, size_of
from seodang.core.disk import Disk
from seodang.core.errors import DiskError, WeightsError
from seodang.core.strict import LARGE_BYTES, parse_json, read_regular, regular_size

MANIFEST = "manifest.json"
BUSY = 4 * BLOCK
"""From this size on digests are computed beside the writing."""
HURRY = 4 * BLOCK
"""Bytes after which the disk may begin (benchmarks/saving.py: a third less waiting for 100 MB)."""
TEMPORARY = re.compile(r"\..+\.(\d+)-[0-9a-f]{8}\.tmp")

_writing: set[Path] = set()
"""Temporaries this process is writing now."""
os.register_at_fork(after_in_child=_writing.clear)


disk = Disk()


def write(path: Path, data: bytes | str) -> None:
    """Put `data` (text is UTF-8) at `path`: afterwards the file is whole and durable, or as it was before.

    Raises: DiskError with the path, the bytes needed and the bytes free.
    """
    data = data.encode() if isinstance(data, str) else data
    with explained(path, len(data)), _temporary(path) as temporary:
        try:
            with _synced() as put:
                put(temporary, [data])
            disk.rename(temporary, path)
        except BaseException:
            with suppress(OSError):
                disk.remove(temporary)
            raise
        disk.sync_folder(path.parent)


def append(path: Path, text: str) -> None:
    """Add lines to the end of `path`: all of them, or, if this raises, none.

    What a power cut or a kill leaves of a last line stays alone on its line. `sync` makes lines durable.
    Raises: DiskError
    """
    data = text.encode()
    with explained(path, len(data)):
        descriptor = disk.open_append(path)
        size = os.fstat(descriptor).st_size
        try:
            try:
                if size and os.pread(descriptor, 1, size - 1) != b"\n":
                    data = b"\n" + data
                _write_all(descriptor, data)
            finally:
                disk.close(descriptor)
        except OSError:  # some disks say only when a file is closed that it was not written
            with suppress(OSError):
                descriptor = disk.open_append(path)
                disk.truncate(descriptor, size)
                disk.close(descriptor)
            raise


def sync(path: Path) -> None:
    """Make durable what was appended to `path`.

    Raises: DiskError
    """
    with explained(path, 0):
        descriptor = disk.open_append(path)
        try:
            disk.sync(descriptor)
        finally:
            disk.close(descriptor)
        disk.sync_folder(path.parent)


def write_folder(path: Path, files: Mapping[str, Content], facts: Mapping[str, Any] | None = None) -> None:
    """Put `files` and a manifest of them (with `facts`) at `path`, a folder that must not exist yet.

    A large file may come in parts, so that nobody has to put them together first.

    Raises: DiskError; nothing is left behind then, not even a temporary.
    """
    parts = {name: [data] if isinstance(data, bytes) else data for name, data in files.items()}
    size = sum(map(size_of, parts.values()))
    with explained(path, size), _temporary(path) as temporary, _digesting(parts, size) as digests:
        at = temporary
        try:
            disk.make_folder(temporary)
            with (
                _synced() as put
            ):  # all are written before the first is waited for: the disk is asked once, not six times
                for name, pieces in parts.items():
                    put(temporary / name, pieces)
                put(temporary / MANIFEST, [_manifest({**(facts or {}), "files": digests()})])
            disk.sync_folder(temporary)
            disk.rename(temporary, path)
            at = path
            disk.sync_folder(path.parent)
        except BaseException:
            _discard(at)
            raise


def read_manifest(path: Path) -> dict[str, Any]:
    """Return the manifest of the folder `path`.

    Raises: WeightsError if there is none, it is damaged, or it is not a manifest.
    """
    try:
        data = read_regular(path / MANIFEST, LARGE_BYTES)
    except OSError:
        data = b""
    if data and data != _sealed(data[: -len(_SEAL % b"") - 64]):
        raise WeightsError("{path}: is damaged: its own SHA-256 is not the one in its last line.", path=path / MANIFEST)
    try:
        manifest = parse_json(data, LARGE_BYTES)
        for entry in manifest["files"].values():
            if not isinstance(entry["bytes"], int) or not isinstance(entry["sha256"], list):
                raise TypeError
    except (ValueError, KeyError, TypeError, AttributeError):
        raise WeightsError("{path}: has no readable {name}; it is not a whole checkpoint or bundle.",
                           path=path, name=MANIFEST) from None  # fmt: skip
    return dict(manifest)


def read_folder(path: Path) -> dict[str, bytes]:
    """Return every file of a folder written by `write_folder`, each verified against the manifest.

    Raises: WeightsError naming the first file that is missing, has the wrong size or the wrong digest.
    """
    return {name: _read_verified(path, name, entry) for name, entry in read_manifest(path)["files"].items()}


def _read_verified(folder: Path, name: str, expected: Mapping[str, Any]) -> bytes:
    path = folder / name
    if Path(name).name != name:
        raise WeightsError("{path}: the manifest names '{name}', which is outside the folder.",
                           path=folder, name=name)  # fmt: skip
    try:
        found = regular_size(path)
        data = path.read_bytes() if found == expected["bytes"] else b""
    except (FileNotFoundError, ValueError):
        raise WeightsError("{path}: is missing.", path=path) from None
    except OSError as error:
        raise WeightsError("{path}: cannot be read ({reason}).", path=path, reason=error.strerror) from None
    if found != expected["bytes"] or len(data) != found:
        raise WeightsError("{path}: has {found} bytes, the manifest says {expected}.",
                           path=path, found=found, expected=expected["bytes"])  # fmt: skip
    digests = _digests(data)
    if digests != expected["sha256"]:
        pairs = enumerate(zip_longest(digests, map(str, expected["sha256"]), fillvalue=""))
        block, pair = next((block, pair) for block, pair in pairs if pair[0] != pair[1])
        raise WeightsError("{path}: is damaged. Bytes {first} to {last}: SHA-256 is {found}…, the manifest says {expected}….",
                           path=path, first=block * BLOCK, last=min((block + 1) * BLOCK, len(data)) - 1,
                           found=pair[0][:12], expected=pair[1][:12])  # fmt: skip
    return data


def remove_folder(path: Path) -> None:
    """Remove a folder written by `write_folder`: under its name it is there whole, or not at all.

    Raises: DiskError
    """
    with explained(path, 0), _temporary(path) as temporary:
        try:
            move(path, temporary)
            for item in sorted(temporary.iterdir()):
                disk.remove(item)
            disk.remove_folder(temporary)
        except BaseException:
            _discard(temporary)
            raise


def move(source: Path, target: Path) -> None:
    """Rename within a folder, durably.

    Raises: DiskError
    """
    with explained(source, 0):
        disk.rename(source, target)
        disk.sync_folder(target.parent)


def remove_leftovers(folder: Path, ours: bool = False) -> None:
    """Remove the temporaries of writers that died; with `ours`, nobody else writes here and all of them are dead.

    Raises: DiskError
    """
    for path in sorted(folder.glob(".*.tmp")):
        match = TEMPORARY.fullmatch(path.name)
        if match is None or path in _writing or not (ours or _is_dead(int(match[1]))):
            continue
        with explained(path, 0):
            if path.is_dir() and not path.is_symlink():
                for item in sorted(path.iterdir()):
                    disk.remove(item)
                disk.remove_folder(path)
            else:
                disk.remove(path)


def make_folders(path: Path) -> None:
    """Make `path` and its parents, durably.

    Raises: DiskError
    """
    missing = []
    while not path.is_dir():
        missing.append(path)
        path = path.parent
    for folder in reversed(missing):
        with explained(folder, 0):
            with suppress(FileExistsError):  # another process was faster
                disk.make_folder(folder)
            disk.sync_folder(folder.parent)


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def bytes_free(path: Path) -> int:
    while not os.path.exists(path):
        path = path.parent
    return shutil.disk_usage(path).free


@contextmanager
def explained(path: Path, needed: int) -> Iterator[None]:
    """Turn what the operating system says about `path` into a DiskError."""
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


# --------------------------------------------------------------------------------------------- details

_SEAL = b',\n "sha256": "%s"\n}'


def _sealed(head: bytes) -> bytes:
    """Return a manifest without its closing brace, closed by its own digest."""
    return head + _SEAL % digest(head).encode()


def _manifest(values: Mapping[str, Any]) -> bytes:
    text = json.dumps({"format": 2, **values}, indent=1, allow_nan=False)
    return _sealed(text.removesuffix("\n}").encode())


def _digests(data: bytes) -> list[str]:
    return list(entry([data])["sha256"])


@contextmanager
def _digesting(files: Mapping[str, Parts], size: int) -> Iterator[Any]:
    """Give a function that returns every file's manifest entry; large files are digested while they are written."""
    if size < BUSY:
        yield lambda: {name: entry(parts) for name, parts in files.items()}
        return
    with ThreadPoolExecutor(2) as pool:
        waiting = {name: pool.submit(entry, parts) for name, parts in files.items()}
        yield lambda: {name: future.result() for name, future in waiting.items()}


@contextmanager
def _temporary(path: Path) -> Iterator[Path]:
    """Give a fresh name beside `path`, known as being written."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    _writing.add(temporary)
    try:
        yield temporary
    finally:
        _writing.discard(temporary)


def _is_dead(process: int) -> bool:
    if process == os.getpid():
        return True  # of an earlier process with our number: what we write now is in `_writing`
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False


def _discard(folder: Path) -> None:
    """Remove what was written of a folder, as far as the disk lets us; the next start removes the rest."""
    with suppress(OSError):
        for item in sorted(folder.iterdir()):
            with suppress(OSError):
                disk.remove(item)
        disk.remove_folder(folder)


@contextmanager
def _synced() -> Iterator[Callable[[Path, Parts], None]]:
    """Give a function that writes a new file; at the end all of them are durable."""
    written: list[int] = []

    def put(path: Path, parts: Parts) -> None:
        written.append(disk.create(path))
        done = hurried = 0
        for block in blocks(parts):  # one call for all of 100 MB takes eight times as long here as one for each block
            _write_all(written[-1], block)
            done += len(block)
            if done - hurried >= HURRY:
                disk.hurry(written[-1], hurried, done - hurried)
                hurried = done

    try:
        yield put
        for descriptor in written:
            disk.sync(descriptor)
    finally:
        _close_all(written)


def _close_all(descriptors: list[int]) -> None:
    """Close all of them, also where the disk fails at one."""
    try:
        while descriptors:
            disk.close(descriptors.pop(0))
    finally:
        if descriptors:
            _close_all(descriptors)


def _write_all(descriptor: int, data: bytes | memoryview) -> None:
    view = memoryview(data)
    while view:
        view = view[disk.write(descriptor, view) :]
