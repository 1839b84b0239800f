"""Everything that is wrong or odd in a folder of pictures."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from pathlib import Path
from typing import NamedTuple

import numpy as np

from seodang.core.language import say
from seodang.data.check_classes import check_classes
from seodang.data.decoding import Header, Unreadable, decode, format_of, header, read_picture
from seodang.data.finding import Finding, listed, shown
from seodang.data.folder import FolderConfig
from seodang.data.picture_files import Layout, PictureFile, lay_out
from seodang.data.picture_loading import in_threads

SMALL = 8
"""Pixels of the shorter side below which there is little to see."""
CUT = 0.25
"""Share of a JPEG's rows that are one colour, from which it looks cut off."""


class _Seen(NamedTuple):
    """What decoding one picture showed."""

    header: Header
    digest: str
    one_colour: bool
    flat_rows: float
    """Share of rows at the bottom that are all one colour, neither black nor white."""


def check_pictures(root: Path, settings: FolderConfig) -> list[Finding]:
    """Return findings about folders, files that cannot be read, copies, and classes.

    Raises: DataError if there is no picture at all.
    """
    layout = lay_out(root)
    findings = [*layout.findings, *(Finding("note", shown(root), note) for note in layout.notes)]
    seen = dict(zip(layout.files, in_threads(_look, layout.files), strict=True))
    good = {file: item for file, item in seen.items() if isinstance(item, _Seen)}
    level = "error" if settings.on_unreadable == "refuse" else "warning"
    findings += [
        Finding(level, shown(file.path), f"{item}.") for file, item in seen.items() if isinstance(item, Unreadable)
    ]
    if not good:
        return [
            *findings,
            Finding("error", shown(root), say("none of its {count} pictures can be read.", count=len(seen))),
        ]
    for file, item in good.items():
        findings += _oddities(file, item)
    findings += [*_copies(root, good, layout, settings), *_kinds(root, good)]
    if layout.classes:
        for split in layout.splits or (None,):
            counts = Counter(file.label for file in good if file.split == split)
            where = shown(root / split if split else root)
            findings += check_classes({name: counts[name] for name in layout.classes if counts[name]}, where)
            if split:
                findings += [Finding("warning", where, say("class '{name}' has no pictures here.", name=name))
                             for name in layout.classes if not counts[name]]  # fmt: skip
    return findings


def _look(file: PictureFile) -> _Seen | Unreadable:
    try:
        found = header(file.path)
        data = read_picture(file.path)
        pixels = decode(data, 1 if found.grey else 3)
    except Unreadable as error:
        return error
    first = pixels[0, 0]
    flat = (pixels == pixels[-1, -1]).all((1, 2))
    rows = len(flat) if flat.all() else int(flat[::-1].argmin())
    coloured = int(pixels[-1, -1].min()) > 0 and int(pixels[-1, -1].max()) < 255
    return _Seen(
        found, hashlib.sha256(data).hexdigest(), bool((pixels == first).all()), rows / len(flat) if coloured else 0.0
    )


def _oddities(file: PictureFile, seen: _Seen) -> list[Finding]:
    where, findings = shown(file.path), []
    if format_of(file.path) != seen.header.format:
        findings.append(Finding("warning", where, say("is {format}, not what its name says; it is read all the same.",
                                                      format=seen.header.format)))  # fmt: skip
    if min(seen.header.height, seen.header.width) < SMALL:
        findings.append(Finding("warning", where, say("has {width} × {height} pixels; there is little to see.",
                                                      width=seen.header.width, height=seen.header.height)))  # fmt: skip
    elif seen.one_colour:
        findings.append(Finding("warning", where, say("is all one colour.")))
    elif seen.header.format == "JPEG" and seen.flat_rows >= CUT:
        findings.append(Finding("warning", where, say("is one colour in the lower {share:.0%}: was the file cut off?",
                                                      share=seen.flat_rows)))  # fmt: skip
    if seen.header.frames:
        findings.append(Finding("note", where, say("has several frames; the first is used.")))
    return findings


def _copies(root: Path, good: dict[PictureFile, _Seen], layout: Layout, settings: FolderConfig) -> list[Finding]:
    groups: dict[str, list[PictureFile]] = defaultdict(list)
    for file, item in good.items():
        groups[item.digest].append(file)
    findings = []
    for files in groups.values():
        if len(files) < 2:
            continue
        names = listed([shown(file.path.relative_to(root)) for file in files[1:]], 5)
        where = shown(files[0].path)
        if len({file.split for file in files}) > 1:
            level = "error" if settings.on_duplicate == "refuse" else "warning"
            findings.append(Finding(level, where, say("is the same file as {names}, in another split: what is held out must not "
                                                      "be trained on.", names=names)))  # fmt: skip
        elif len({file.label for file in files}) > 1:
            findings.append(Finding("warning", where, say("is the same file as {names}, in another class: one must be wrong.",
                                                          names=names)))  # fmt: skip
        else:
            findings.append(Finding("note", where, say("is the same file as {names}.", names=names)))
    return findings


def _kinds(root: Path, good: dict[PictureFile, _Seen]) -> list[Finding]:
    heads = [item.header for item in good.values()]
    grey = sum(head.grey for head in heads)
    sides = np.array([(head.height, head.width) for head in heads])
    (low_height, low_width), (high_height, high_width) = sides.min(0).tolist(), sides.max(0).tolist()
    if grey == len(heads):
        colours = say("all grey")
    elif grey:
        colours = say("{grey} grey, {colour} in colour", grey=grey, colour=len(heads) - grey)
    else:
        colours = say("all in colour")
    return [Finding("note", shown(root), say(
        "{count:,} pictures, {colours}, {low_width} to {high_width} pixels wide, {low_height} to {high_height} high.",
        count=len(heads), colours=colours, low_width=low_width, high_width=high_width, low_height=low_height,
        high_height=high_height))]  # fmt: skip
