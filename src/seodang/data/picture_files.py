"""Which pictures lie in a folder: classes by sub-folder, splits by the names train, valid and test, or a flat folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from seodang.core.errors import DataError, nearest
from seodang.core.language import say
from seodang.core.registry import natural
from seodang.data.decoding import SUFFIXES, format_of
from seodang.data.finding import Finding, alike, listed, shown

SPLIT_NAMES = {"train": "train", "training": "train", "valid": "valid", "val": "valid", "validation": "valid",
               "dev": "valid", "test": "test", "testing": "test"}  # fmt: skip
SYSTEM = ("thumbs.db", "desktop.ini", "__macosx")
"""What operating systems leave in folders; passed over like everything that begins with a dot."""
UNREAD = (
    ".heic",
    ".heif",
    ".avif",
    ".svg",
    ".psd",
    ".jp2",
    ".jxl",
    ".ico",
    ".tga",
    ".dng",
    ".cr2",
    ".nef",
    ".arw",
    ".eps",
)
"""Names of pictures in formats that are not read."""


class PictureFile(NamedTuple):
    """One picture: where it is, the class its folder stands for, and the split somebody put it in."""

    path: Path
    label: str | None
    split: str | None
    labels: tuple[str, ...] | None = None
    """Where a CSV says what is on the pictures: all labels of this one. `label` then holds them as one text."""


class Layout(NamedTuple):
    """The pictures of a folder in an order that depends on their names alone."""

    files: tuple[PictureFile, ...]
    classes: tuple[str, ...] | None
    splits: tuple[str, ...]
    """Splits somebody made; empty where we make them."""
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]
    several: bool = False
    """Whether a picture may have several labels, or none."""


def below(root: Path) -> tuple[list[Path], list[Finding]]:
    """Return every picture in `root` and below it, whatever its folder, and what is wrong with folders and names."""
    walk = _Walk()
    pictures = list(walk._below(root, set()))
    return pictures, walk.findings


def lay_out(root: Path) -> Layout:
    """Find the pictures below `root` and what their folders say about them.

    Raises: DataError if there is no folder or no picture in it.
    """
    if not root.is_dir():
        raise DataError("{path}: there is no such folder.", path=shown(root))
    walk = _Walk()
    folders, pictures = walk.entries(root)
    made = {name: folder for folder in folders if (name := SPLIT_NAMES.get(folder.name.lower()))}
    if made:
        walk.beside(root, [folder for folder in folders if folder not in made.values()], pictures)
        for name in [key for key in ("train", "valid", "test") if key in made]:
            walk.read(made[name], name, *walk.entries(made[name]))
    else:
        walk.read(root, None, folders, pictures)
    if not walk.files and not any(finding.level == "error" for finding in walk.findings):
        raise DataError("{path}: holds no pictures. Looked for {suffixes}, also in sub-folders.", path=shown(root),
                        suffixes=", ".join(SUFFIXES))  # fmt: skip
    classes = walk.classes(root, tuple(made))
    notes = []
    unread = [path for path in walk.others if path.suffix.lower() in UNREAD]
    if unread:
        walk.findings.append(Finding("warning", shown(root), say(
            "{count} pictures are in a format that is not read: {names}. Save them as PNG or JPEG.", count=len(unread),
            names=listed([shown(path.relative_to(root)) for path in unread], 5))))  # fmt: skip
    others = [path for path in walk.others if path not in unread]
    if others:
        notes.append(say("{count} files that are no pictures were passed over: {names}.", count=len(others),
                         names=listed([shown(path.relative_to(root)) for path in others], 5)))  # fmt: skip
    splits = tuple(name for name in ("train", "valid", "test") if name in made)
    return Layout(tuple(walk.files), classes, splits, tuple(walk.findings), tuple(notes))


class _Walk:
    """Collects pictures, files that are none, and what is wrong with folders."""

    def __init__(self) -> None:
        self.files: list[PictureFile] = []
        self.others: list[Path] = []
        self.findings: list[Finding] = []
        self.found: dict[str | None, list[str]] = {}
        """Class names in each split."""

    def error(self, path: Path, message: str) -> None:
        self.findings.append(Finding("error", shown(path), message))

    def entries(self, folder: Path) -> tuple[list[Path], list[Path]]:
        """Return the folders and the pictures that lie in `folder`, in natural order of their names."""
        folders, pictures = [], []
        try:
            names = sorted(os.listdir(folder), key=lambda name: natural(shown(name)))
        except OSError as error:
            self.error(folder, say("cannot be read ({reason}).", reason=error.strerror))
            return [], []
        for name in names:
            path = folder / name
            if name.startswith(".") or name.lower() in SYSTEM:
                continue
            if path.is_dir():
                if format_of(path):
                    self.error(path, say("is a folder with the name of a picture. Rename it or take it away."))
                else:
                    folders.append(path)
            elif format_of(path):
                pictures.append(path)
            elif path.is_symlink() and not path.exists():
                self.error(path, say("is a link that leads nowhere. Mend it or take it away."))
            else:
                self.others.append(path)
        return folders, pictures

    def beside(self, root: Path, folders: list[Path], pictures: list[Path]) -> None:
        """Report what lies beside the folders of splits."""
        for folder in folders:
            self.error(folder, say("lies beside train, valid and test; which split is it? Move it into one of them."))
        if pictures:
            self.error(root, say("holds {count} pictures beside the folders train, valid and test ({names}). Move them.",
                                 count=len(pictures), names=listed([shown(path.name) for path in pictures], 3)))  # fmt: skip

    def read(self, root: Path, split: str | None, folders: list[Path], pictures: list[Path]) -> None:
        """Take what lies in `root`: folders of classes, or pictures without classes."""
        if split and not folders and not pictures:
            self.error(root, say("is empty. Fill it or take it away."))
            return
        names = self.found.setdefault(split, [])
        if folders and pictures:
            self.error(root, say("holds {count} pictures beside the folders of classes ({names}). Move them into a class.",
                                 count=len(pictures), names=listed([shown(path.name) for path in pictures], 3)))  # fmt: skip
            return
        self.files += [PictureFile(path, None, split) for path in pictures]
        for folder in folders:
            label = shown(folder.name)
            if label != folder.name:
                self.error(folder, say("has a name that is no UTF-8; it cannot be the name of a class. Rename it."))
                continue
            inside = list(self._below(folder, set()))
            if not inside:
                self.error(folder, say("holds no picture; a class needs some. Fill it or take it away."))
            names.append(label)
            self.files += [PictureFile(path, label, split) for path in inside]

    def _below(self, folder: Path, above: set[tuple[int, int]]) -> Iterator[Path]:
        """Yield the pictures in `folder` and below it; a link back to a folder we are in is not followed."""
        found = folder.stat()
        if (found.st_dev, found.st_ino) in above:
            self.findings.append(
                Finding(
                    "warning",
                    shown(folder),
                    say("is a link to a folder it lies in; it was not followed. Take it away."),
                )
            )
            return
        folders, pictures = self.entries(folder)
        yield from pictures
        for inner in folders:
            yield from self._below(inner, above | {(found.st_dev, found.st_ino)})

    def classes(self, root: Path, splits: tuple[str, ...]) -> tuple[str, ...] | None:
        """Return the names of the classes, or None for flat folders; report classes that only held-out data has."""
        names = self.found.get("train" if "train" in splits else splits[0] if splits else None, [])
        for split, others in self.found.items():
            for name in others:
                if name not in names:
                    self.error(root, say("class '{name}' is in {split} but not in train.", name=name, split=split)
                               + nearest(name, names) + " " + say("Put pictures of it into train."))  # fmt: skip
            if bool(others) != bool(names):
                self.error(root, say("some splits have folders of classes and some have not. Make them alike."))
        for group in alike(names):
            self.findings.append(Finding("warning", shown(root), say(
                "the classes {names} differ in capitals or spaces only; are they one? Then put them into one folder.", names=" = ".join(group))))  # fmt: skip
        if len(names) == 1:
            self.error(root, say(
                "there is one class only ('{name}'). To learn classes there must be two; for pictures without classes give the "
                "folder that holds them.", name=names[0]))  # fmt: skip
        return tuple(names) or None
