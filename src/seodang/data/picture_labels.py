"""Labels of pictures in a CSV: each picture has one, several or none."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

from seodang.core.errors import ConfigError, DataError, nearest
from seodang.core.language import say
from seodang.core.places import expanded
from seodang.core.registry import natural
from seodang.data.finding import Finding, alike, listed, shown
from seodang.data.picture_files import SPLIT_NAMES, Layout, PictureFile, below
from seodang.data.raw_table import RawColumn, RawTable, TableFormat
from seodang.data.table_reading import read_bytes, read_table

PATHS = ("path", "file", "filename", "file_name", "image", "picture", "photo")
"""What the column of file names may be called; without one of these, it is the first column."""
SPLIT = "split"
SEPARATORS = re.compile(r"[;|,]")
"""Between the labels of one picture, where one column holds them all."""
YES, NO = ("1", "true", "yes"), ("0", "false", "no", "")
NAMED = 20
"""Rows or pictures of one kind of mistake that are named one by one."""


class Row(NamedTuple):
    """What one line of the CSV says."""

    place: str
    path: str
    labels: tuple[str, ...]
    split: str | None


def lay_out_labelled(root: Path, file: str) -> Layout:
    """Find the pictures below `root` and what the CSV `file` says about them; faults are among the findings.

    The CSV has a header, a column of paths within the folder, and either one column of labels with ; between them, or a
    column of 0 and 1 for each label. A column `split` may say train, valid or test; else folders of these names do.

    Raises: DataError if there is no folder, no picture, or no such CSV; ConfigError if its columns cannot be told apart.
    """
    if not root.is_dir():
        raise DataError("{path}: there is no such folder.", path=shown(root))
    pictures, findings = below(root)
    if not pictures and not any(finding.level == "error" for finding in findings):
        raise DataError("{path}: holds no pictures.", path=shown(root))
    source = labels_file(root, file)
    rows, classes, odd = _rows(source)
    findings += odd
    by_path = {shown(path.relative_to(root).as_posix()): path for path in pictures}
    files: list[PictureFile] = []
    first: dict[str, Row] = {}
    strange: list[Finding] = []
    for row in rows:
        name = Path(row.path).as_posix().removeprefix("./")
        if name in first:
            findings.append(Finding("error", row.place, say("'{name}' stands in {other} already. Take one of them away.", name=name,
                                                            other=first[name].place)))  # fmt: skip
            continue
        first[name] = row
        if name not in by_path:
            strange.append(Finding("error", row.place, say("'{name}' is not in {folder}.", name=name, folder=shown(root))
                                   + nearest(name, by_path)))  # fmt: skip
            continue
        split = row.split or _split_of(name)
        files.append(PictureFile(by_path[name], "; ".join(row.labels), split, row.labels))
    findings += strange
    findings += _without_row(root, [name for name in by_path if name not in first], source)
    findings += _classes(files, classes, source)
    made = {file.split for file in files} - {None}
    if made and None in {file.split for file in files}:
        findings.append(
            Finding("error", shown(source), say("some pictures have a split and some have not. Give all of them one."))
        )
    splits = tuple(name for name in ("train", "valid", "test") if name in made)
    several = any(len(file.labels or ()) != 1 for file in files)
    return Layout(tuple(files), tuple(classes), splits, tuple(findings), (), several)


def labels_file(root: Path, file: str) -> Path:
    """Return the CSV: within the folder, or wherever its path leads.

    Raises: DataError if it is in neither place.
    """
    for path in (root / file, expanded(file)):
        if path.is_file():
            return path
    raise DataError("data.labels={file}: is neither in {folder} nor a file of its own.", file=file, folder=shown(root))


def _rows(source: Path) -> tuple[list[Row], list[str], list[Finding]]:
    head = read_bytes(source)[:4096].decode("utf-8-sig", "replace").splitlines() or [""]
    delimiter = "\t" if "\t" in head[0] else "," if "," in head[0] else ";" if ";" in head[0] else "auto"
    table = read_table(source, TableFormat.of({"header": True, "missing": (), "delimiter": delimiter}))
    names = {name.strip().lower(): name for name in table.names}
    path_name = next((names[name] for name in PATHS if name in names), table.names[0])
    others = [name for name in table.names if name != path_name and name.strip().lower() != SPLIT]
    if re.search(r"\.\w{3,4}$", path_name) or not others:
        raise ConfigError("{path}: needs a header with a column of paths and one or more of labels, for example path,labels; it has: "
                          "{names}.", path=shown(source), names=listed(table.names, 12))  # fmt: skip
    findings = list(table.findings)
    marks = _marked(table, others, findings) if len(others) > 1 else _separated(table.named(others[0], "labels"))
    paths, split_name = table.named(path_name, "labels").texts, names.get(SPLIT)
    splits = table.named(split_name, "labels").texts if split_name else [None] * len(table)
    rows = []
    for number, (path, labels, split) in enumerate(zip(paths, marks, splits, strict=True)):
        if not path:
            findings.append(Finding("error", table.place(number), say("has labels but no path.")))
            continue
        if split and split.lower() not in SPLIT_NAMES:
            findings.append(
                Finding(
                    "error",
                    table.place(number),
                    say("the split '{split}' is none of train, valid and test.", split=split),
                )
            )
        known = SPLIT_NAMES.get(split.lower()) if split else None
        rows.append(Row(table.place(number), path, labels, known))
    found = {label for row in rows for label in row.labels}
    classes = others if len(others) > 1 else sorted(found, key=natural)
    return rows, classes, findings


def _separated(column: RawColumn) -> list[tuple[str, ...]]:
    """Return the labels of each row of a column that holds all of them; one that is written twice counts once."""
    return [tuple(dict.fromkeys(label for part in SEPARATORS.split(text or "") if (label := part.strip())))
            for text in column.texts]  # fmt: skip


def _marked(table: RawTable, names: list[str], findings: list[Finding]) -> list[tuple[str, ...]]:
    """Return the labels of each row of a table with a column of 0 and 1 for each label."""
    marks: list[list[str]] = [[] for _ in range(len(table))]
    for name in names:
        for number, text in enumerate(table.named(name, "labels").texts):
            value = (text or "").strip().lower()
            if value in YES:
                marks[number].append(name)
            elif value not in NO:
                findings.append(Finding("error", table.place(number), say(
                    "column '{name}' holds '{value}'; with several columns of labels each is 0 or 1.", name=name, value=text)))  # fmt: skip
    return [tuple(labels) for labels in marks]


def _split_of(name: str) -> str | None:
    top, slash, _ = name.partition("/")
    return SPLIT_NAMES.get(top.lower()) if slash else None


def _without_row(root: Path, names: list[str], source: Path) -> list[Finding]:
    if not names:
        return []
    return [Finding("warning", shown(root), say(
        "{count} pictures have no row in {file} and are left out: {names}. Write a row for each; one without labels counts as none.",
        count=len(names), file=shown(source.name), names=listed(names, NAMED)))]  # fmt: skip


def _classes(files: list[PictureFile], classes: list[str], source: Path) -> list[Finding]:
    """Report labels no picture has, too few of them, and labels that are spelled alike."""
    findings = [Finding("warning", shown(source), say(
        "the labels {names} differ in capitals or spaces only; are they one? Then write them alike.", names=" = ".join(group)))
        for group in alike(classes)]  # fmt: skip
    where: dict[str, set[str | None]] = defaultdict(set)
    for file in files:
        for label in file.labels or ():
            where[label].add(file.split)
    for label in classes:
        if label not in where:
            findings.append(Finding("error", shown(source), say("no picture has the label '{label}'. Remove it, or add pictures.",
                                                                label=label)))  # fmt: skip
        elif where[label].isdisjoint({None, "train"}):
            findings.append(
                Finding(
                    "error", shown(source), say("no training picture has the label '{label}'. Add some.", label=label)
                )
            )
    if len(classes) < 2:
        findings.append(Finding("error", shown(source), say("there are {count} labels; to tell any apart there must be two.",
                                                            count=len(classes))))  # fmt: skip
    return findings
