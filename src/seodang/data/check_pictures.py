"""Everything that is wrong or odd in a folder of pictures."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from seodang.core.language import say
from seodang.data.check_classes import check_classes
from seodang.data.decoding import Header, Unreadable, decode, format_of, header, is_cut_off, read_picture
from seodang.data.finding import Finding, listed, shown
from seodang.data.folder import FolderConfig, read_layout
from seodang.data.near_copies import Print, near_pairs, print_of
from seodang.data.picture_files import Layout, PictureFile
from seodang.data.picture_loading import in_threads

SMALL = 8
"""Pixels of the shorter side below which there is little to see. Look at it."""
BLOCK = 8
"""Side of the squares a JPEG is made of: one that is all one colour in a corner may be filled up."""

NEAR_NAMED = 20
"""Pairs of pictures in two splits that are named one by one."""
FEW_PIXELS = 128 * 128
"""Pixels of a picture up to which even a part of its last block counts; a cut there leaves no flat corner."""


class _Seen(NamedTuple):
    """What decoding one picture showed."""

    header: Header
    digest: str
    pixels: str
    """Digest of the pixels, the same for a copy that was saved anew; of the file, where all is one colour."""
    one_colour: bool
    cut_off: bool
    near: Print | None
    """What it is compared by with pictures that look nearly the same."""


def check_pictures(root: Path, settings: FolderConfig) -> list[Finding]:
    """Return findings about folders, files that cannot be read, copies, and classes.

    Raises: DataError if there is no picture at all.
    """
    layout = read_layout(root, settings)
    findings = [*layout.findings, *(Finding("note", shown(root), note) for note in layout.notes)]
    seen = dict(zip(layout.files, in_threads(_look, layout.files), strict=True))
    good = {file: item for file, item in seen.items() if isinstance(item, _Seen)}
    level = "error" if settings.on_unreadable == "refuse" else "warning"
    findings += [
        Finding(
            level,
            shown(file.path),
            say("{reason}. Mend it or take it away; data.on_unreadable=skip leaves such pictures out.", reason=item),
        )
        for file, item in seen.items()
        if isinstance(item, Unreadable)
    ]
    if layout.splits and "train" not in layout.splits:
        findings.append(Finding("error", shown(root), say(
            "has {splits} but no folder 'train'. Put the pictures to learn from there.", splits=", ".join(layout.splits))))  # fmt: skip
    if not good:
        nothing = say("none of its {count} pictures can be read.", count=len(seen))
        return [*findings, Finding("error", shown(root), nothing)] if seen else findings
    for file, item in good.items():
        findings += _oddities(file, item)
    findings += [
        *_traits(root, good),
        *_copies(root, good, settings),
        *_near_copies(root, good),
        *_kinds(root, good),
        *_counts(root, good, layout),
    ]
    return findings


def _counts(root: Path, good: Mapping[PictureFile, _Seen], layout: Layout) -> list[Finding]:
    """Report classes that are small, uneven, or lacking in a split."""
    findings: list[Finding] = []
    for split in layout.splits or (None,):
        counts = Counter(label for file in good if file.split == split
                         for label in (file.labels if file.labels is not None else (file.label,)))  # fmt: skip
        if not layout.classes or not counts:
            continue
        where = shown(root / split if split else root)
        findings += check_classes({name: counts[name] for name in layout.classes if counts[name]}, where)
        if split:
            findings += [Finding("warning", where, say("class '{name}' has no pictures here. Put some here, or no score tells about it.", name=name))
                         for name in layout.classes if not counts[name]]  # fmt: skip
    return findings


def _look(file: PictureFile) -> _Seen | Unreadable:
    try:
        found = header(file.path)
        data = read_picture(file.path)
        pixels = decode(data, 1 if found.grey else 3)
    except Unreadable as error:
        return error
    digest = hashlib.sha256(data).hexdigest()
    shows = hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).hexdigest()
    one_colour = bool((pixels == pixels[0, 0]).all())
    doubtful = "progressive" in found.traits or pixels[..., 0].size <= FEW_PIXELS or _has_flat_corner(pixels)
    cut = found.format == "JPEG" and doubtful and is_cut_off(data, pixels)
    return _Seen(found, digest, digest if one_colour else shows, one_colour, cut, print_of(pixels))


def _has_flat_corner(pixels: np.ndarray) -> bool:
    """Return whether a block in a corner is all one colour; the last one may be in any, as a picture may be turned."""
    rows, columns = (slice(None, BLOCK), slice(-BLOCK, None)), (slice(None, BLOCK), slice(-BLOCK, None))
    corners = (pixels[row, column] for row in rows for column in columns)
    return any(bool((corner == corner[0, 0]).all()) for corner in corners)


def _oddities(file: PictureFile, seen: _Seen) -> list[Finding]:
    where, findings = shown(file.path), []
    if format_of(file.path) != seen.header.format:
        findings.append(Finding("warning", where, say("is {format}, not what its name says; it is read all the same. Rename it.",
                                                      format=seen.header.format)))  # fmt: skip
    if min(seen.header.height, seen.header.width) < SMALL:
        findings.append(Finding("warning", where, say("has {width} × {height} pixels; there is little to see. Look at it.",
                                                      width=seen.header.width, height=seen.header.height)))  # fmt: skip
    elif seen.one_colour:
        findings.append(Finding("warning", where, say("is all one colour. Look at it.")))
    elif seen.cut_off:
        findings.append(Finding("warning", where, say("is cut off: parts of the picture are missing. Copy it anew.")))
    return findings


def _traits(root: Path, good: Mapping[PictureFile, _Seen]) -> list[Finding]:
    """Report in one note each what is done with pictures that are not as plain as the others."""
    groups = {
        say("have several frames; the first is used"): [file for file, item in good.items() if item.header.frames],
        say("have names that are no UTF-8; they are read all the same"): [
            file for file in good if shown(file.path.name) != file.path.name
        ],
    }
    said = {
        "turned": say("are turned as their EXIF entry says"),
        "CMYK": say("are CMYK, for printing; their colours are taken over without their profile"),
        "16 bits": say("have 16 bits for each grey level; 8 are kept"),
        "transparent": say("may be transparent in places; these become white"),
    }
    for trait, text in said.items():
        groups[text] = [file for file, item in good.items() if trait in item.header.traits]
    return [Finding("note", shown(root), say("{count} pictures {what}: {names}.", count=len(files), what=text,
                                             names=listed([shown(file.path.relative_to(root)) for file in files], 5)))
            for text, files in groups.items() if files]  # fmt: skip


def _copies(root: Path, good: Mapping[PictureFile, _Seen], settings: FolderConfig) -> list[Finding]:
    groups: dict[str, list[PictureFile]] = defaultdict(list)
    for file, item in good.items():
        if not item.one_colour:
            groups[item.pixels].append(file)
    findings = []
    for files in groups.values():
        if len(files) < 2:
            continue
        names = listed([shown(file.path.relative_to(root)) for file in files[1:]], 5)
        where, bytewise = shown(files[0].path), len({good[file].digest for file in files}) == 1
        same = (
            say("is the same file as {names}", names=names)
            if bytewise
            else say("shows the same as {names}", names=names)
        )
        if len({file.split for file in files}) > 1:
            torn = len({(good[file].digest, file.split) for file in files}) > len({good[file].digest for file in files})
            level = "error" if torn and settings.on_duplicate == "refuse" else "warning"
            findings.append(Finding(level, where, say("{same}, in another split: what is held out must not be trained on. "
                                                      "Take one away.", same=same)))  # fmt: skip
        elif len({file.label for file in files}) > 1:
            findings.append(Finding("warning", where, say("{same}, in another class: one must be wrong. Take it away.",
                                                          same=same)))  # fmt: skip
        else:
            findings.append(Finding("note", where, f"{same}."))
    return findings


def _near_copies(root: Path, good: Mapping[PictureFile, _Seen]) -> list[Finding]:
    """Report pictures that look nearly the same: each that is in two splits, and in short those a split may tear apart."""
    files, seen = list(good), list(good.values())
    splits = [str(file.split) for file in files]
    names = sorted(set(splits))
    pairs = [(files[one], files[two]) for one, two in near_pairs([item.near for item in seen], [names.index(split) for split in splits])
             if seen[one].pixels != seen[two].pixels]  # fmt: skip
    if len(names) > 1:
        findings = [Finding("warning", shown(one.path), say(
            "looks nearly the same as {other}, in another split: what is held out should not be trained on. Look at both.",
            other=shown(two.path.relative_to(root)))) for one, two in pairs[:NEAR_NAMED]]  # fmt: skip
        if len(pairs) > NEAR_NAMED:
            findings.append(Finding("warning", shown(root), say(
                "{count} more pairs of pictures look nearly the same across splits.", count=len(pairs) - NEAR_NAMED)))  # fmt: skip
        return findings
    if not pairs:
        return []
    shown_pairs = [" ≈ ".join(shown(file.path.relative_to(root)) for file in pair) for pair in pairs]
    return [Finding("warning", shown(root), say(
        "{count} pairs of pictures look nearly the same ({names}). A random split may train on one and test on the other: keep such "
        "pictures together in folders train and test.", count=len(pairs), names=listed(shown_pairs, 5)))]  # fmt: skip


def _kinds(root: Path, good: Mapping[PictureFile, _Seen]) -> list[Finding]:
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
