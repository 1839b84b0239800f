"""A disk that records what is done to it, and every state a power cut can leave of it.

The model: what `fsync` has not reached may be there or not. Of a file's bytes since its last sync any prefix may be
there, the rest missing or zero, in pieces that arrive in any order; of a folder's new, renamed and removed names
since its last sync any prefix, in each folder independently of the others (which is more than an ordered journal
allows). What has been synced stays.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator, Sequence
from itertools import islice, product
from math import prod
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

from seodang.core import files

EVERY_BYTE = 48
"""Up to this many unsynced bytes, a file is torn at each of them; beyond, at this many places."""
PIECES = 4
"""Pieces of unsynced bytes that may arrive in any order."""
MOST = 4_000
"""States of several unsynced things together at one moment, before they are taken one by one."""


class File:
    """Bytes as the program sees them, and as they are certain to be after a power cut."""

    __slots__ = ("_cache", "durable", "live")

    def __init__(self, data: bytes = b"") -> None:
        self.live = self.durable = data
        self._cache: tuple[bytes, bytes, list[bytes]] | None = None

    def variants(self) -> list[bytes]:
        """Return every content a power cut can leave."""
        if self.live == self.durable:
            return [self.live]
        if self._cache is None or self._cache[:2] != (self.durable, self.live):
            self._cache = self.durable, self.live, list(dict.fromkeys(torn(self.durable, self.live)))
        return self._cache[2]


class Folder:
    """Names as the program sees them, as they are certain to be, and the changes in between, in order."""

    __slots__ = ("durable", "live", "pending")

    def __init__(self) -> None:
        self.live: dict[str, Node] = {}
        self.durable: dict[str, Node] = {}
        self.pending: list[tuple[str | None, str | None, Node]] = []
        """(name that goes, name that comes, what it names)"""

    def change(self, gone: str | None, come: str | None, node: Node) -> None:
        _apply(self.live, gone, come, node)
        self.pending.append((gone, come, node))

    def sync(self) -> None:
        self.durable, self.pending = dict(self.live), []

    def variants(self) -> Iterator[dict[str, Node]]:
        """Yield every set of names a power cut can leave."""
        entries = dict(self.durable)
        yield entries
        for change in self.pending:
            entries = dict(entries)
            _apply(entries, *change)
            yield entries


Node = File | Folder
Tree = dict[str, Any]
"""A state of the disk: name → bytes or Tree."""


def _apply(entries: dict[str, Node], gone: str | None, come: str | None, node: Node) -> None:
    if gone is not None:
        entries.pop(gone, None)
    if come is not None:
        entries[come] = node


def torn(durable: bytes, live: bytes) -> Iterator[bytes]:
    """Yield what may be left of a file that was `durable` and has become `live`."""
    yield durable
    yield live
    start = len(durable) if live.startswith(durable) else 0
    length = len(live) - start
    places = range(length) if length <= EVERY_BYTE else [length * k // EVERY_BYTE for k in range(EVERY_BYTE)]
    for place in places:
        yield live[: start + place]
        yield live[: start + place] + bytes(length - place)
    size = -(-length // PIECES) or 1
    pieces = [live[first : first + size] for first in range(start, len(live), size)]
    for chosen in product((True, False), repeat=len(pieces)):
        arrived = (piece if there else bytes(len(piece)) for there, piece in zip(chosen, pieces, strict=True))
        yield live[:start] + b"".join(arrived)


class Op(NamedTuple):
    """One step of a trace: `apply` plays it on the model."""

    kind: str
    node: Any
    arguments: tuple[Any, ...] = ()

    def apply(self) -> None:
        match self.kind, self.node:
            case "write", File():
                self.node.live = self.node.live + self.arguments[0]
            case "truncate", File():
                self.node.live = self.node.live[: self.arguments[0]]
            case "sync", File():
                self.node.durable = self.node.live
            case "sync", Folder():
                self.node.sync()
            case "change", Folder():
                self.node.change(*self.arguments)


class Recorder(files.Disk):
    """Do everything on the real disk below `root`, and write it down."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.top = Folder()
        self._now: dict[Path, Node] = {root: self.top}
        self._open: dict[int, File] = {}
        self.trace: list[Op] = []

    def adopt(self, tree: Tree) -> None:
        """Begin with `tree`, durable."""
        self._adopt(self.root, self.top, tree)

    def _adopt(self, path: Path, folder: Folder, tree: Tree) -> None:
        for name, value in tree.items():
            node: Node = Folder() if isinstance(value, dict) else File(value)
            folder.live[name] = folder.durable[name] = self._now[path / name] = node
            if isinstance(node, Folder):
                self._adopt(path / name, node, value)

    def mark(self, kind: str, *arguments: Any) -> None:
        """Note that something was promised at this point."""
        self.trace.append(Op(kind, None, arguments))

    def _record(self, op: Op) -> None:
        self.trace.append(op)

    def _folder(self, path: Path) -> Folder:
        folder = self._now[path]
        assert isinstance(folder, Folder)
        return folder

    def create(self, path: Path) -> int:
        descriptor = super().create(path)
        node = self._now[path] = self._open[descriptor] = File()
        self._record(Op("change", self._folder(path.parent), (None, path.name, node)))
        return descriptor

    def open_append(self, path: Path) -> int:
        descriptor = super().open_append(path)
        if path not in self._now:
            self._now[path] = File()
            self._record(Op("change", self._folder(path.parent), (None, path.name, self._now[path])))
        node = self._now[path]
        assert isinstance(node, File)
        self._open[descriptor] = node
        return descriptor

    def write(self, descriptor: int, data: memoryview) -> int:
        count = super().write(descriptor, data)
        self._record(Op("write", self._open[descriptor], (bytes(data[:count]),)))
        return count

    def truncate(self, descriptor: int, size: int) -> None:
        super().truncate(descriptor, size)
        self._record(Op("truncate", self._open[descriptor], (size,)))

    def sync(self, descriptor: int) -> None:
        super().sync(descriptor)
        self._record(Op("sync", self._open[descriptor]))

    def close(self, descriptor: int) -> None:
        del self._open[descriptor]  # first: once it is closed, another thread may get its number
        super().close(descriptor)

    def rename(self, source: Path, target: Path) -> None:
        super().rename(source, target)
        assert source.parent == target.parent, "across folders a rename is two changes"
        node = self._now[source]
        for path in [path for path in self._now if path == source or source in path.parents]:
            self._now[target / path.relative_to(source)] = self._now.pop(path)
        self._record(Op("change", self._folder(source.parent), (source.name, target.name, node)))

    def make_folder(self, path: Path) -> None:
        super().make_folder(path)
        node = self._now[path] = Folder()
        self._record(Op("change", self._folder(path.parent), (None, path.name, node)))

    def sync_folder(self, path: Path) -> None:
        super().sync_folder(path)
        self._record(Op("sync", self._folder(path)))

    def remove(self, path: Path) -> None:
        super().remove(path)
        self._record(Op("change", self._folder(path.parent), (path.name, None, self._now.pop(path))))

    def remove_folder(self, path: Path) -> None:
        super().remove_folder(path)
        self._record(Op("change", self._folder(path.parent), (path.name, None, self._now.pop(path))))


def trees(folder: Folder) -> Iterator[Tree]:
    """Yield every state a power cut can leave of `folder` and what is in it."""
    for entries in folder.variants():
        choices = [list(trees(node)) if isinstance(node, Folder) else node.variants() for node in entries.values()]
        for chosen in combined(choices):
            yield dict(zip(entries, chosen, strict=True))


def combined(choices: Sequence[Sequence[Any]]) -> Iterator[tuple[Any, ...]]:
    """Yield one of each: every combination up to `MOST`; of more, each choice beside all first and all second ones."""
    if prod(map(len, choices)) <= MOST:
        yield from product(*choices)
        return
    yield from islice(product(*(some[:2] for some in choices)), MOST)
    for place, some in enumerate(choices):
        for one in some[2:]:
            for rest in (0, 1):
                yield tuple(one if k == place else other[min(rest, len(other) - 1)] for k, other in enumerate(choices))


def put(tree: Tree, path: Path) -> None:
    """Make a real folder of a state."""
    path.mkdir()
    for name, value in tree.items():
        if isinstance(value, dict):
            put(value, path / name)
        else:
            (path / name).write_bytes(value)


def read(path: Path) -> Tree:
    """Return a real folder as a state."""
    return {item.name: read(item) if item.is_dir() else item.read_bytes() for item in path.iterdir()}


class MemoryPath:
    """A path into a state: as much of `pathlib.Path` as reading needs, so that the real readers run on it."""

    def __init__(self, name: str, value: Any) -> None:
        self.name, self._value = name, value

    def __truediv__(self, name: str) -> MemoryPath:
        return MemoryPath(name, self._value.get(name) if isinstance(self._value, dict) else None)

    def __str__(self) -> str:
        return self.name

    def exists(self) -> bool:
        return self._value is not None

    def is_dir(self) -> bool:
        return isinstance(self._value, dict)

    def stat(self) -> Any:
        if self._value is None:
            raise FileNotFoundError(self.name)
        kind = stat.S_IFREG if isinstance(self._value, bytes) else stat.S_IFDIR
        return SimpleNamespace(st_mode=kind, st_size=len(self._value))

    def read_bytes(self) -> bytes:
        if not isinstance(self._value, bytes):
            raise FileNotFoundError(self.name)
        return self._value

    def read_text(self) -> str:
        return self.read_bytes().decode()
