"""Everything that is wrong or odd in a table file."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path

import numpy as np

from seodang.core.errors import SeodangError
from seodang.core.language import say
from seodang.data.check_classes import check_classes
from seodang.data.columns import Chosen, choose_columns
from seodang.data.finding import Finding, listed
from seodang.data.raw_table import RawColumn, RawTable
from seodang.data.table import Table, TableConfig
from seodang.data.table_reading import read_table
from seodang.data.targets import Answers, find_target, read_target

SAME = 0.999999
"""Correlation with the target from which a column is the target."""


def check_table(path: Path, settings: TableConfig) -> list[Finding]:
    """Return findings about lines, the target, columns and repeated rows.

    Raises: DataError where nothing can be read at all.
    """
    table = read_table(path, settings)
    findings = list(table.findings)
    if not len(table):
        return findings
    try:
        target, _ = find_target(table, None if settings.target is None else str(settings.target))
        group = {table.named(settings.group, "group").name} if settings.group else set()
        chosen = choose_columns(table, {target.name} | group, settings)
    except SeodangError as error:
        return [*findings, Finding("error", table.source, str(error).removeprefix(f"{table.source}: "))]
    answers = read_target(table, target, settings.kind)
    findings += [*answers.findings, *chosen.findings]
    if answers.classes is not None and 1 < len(answers.classes) <= max(20, len(table) // 2):
        findings += check_classes(_counts(target), table.source)
    findings += [
        *_missing(table, target),
        *_mixed(table, chosen),
        *_alike(table, chosen),
        *_leaks(table, target, answers, chosen),
    ]
    findings += _repeated(table, target)
    if any(finding.level == "error" for finding in findings):
        return findings + [
            Finding("note", table.source, note) for note in (*table.notes, *answers.notes, *chosen.notes)
        ]
    data = Table(settings)
    try:
        data.prepare()
    except SeodangError as error:
        return [*findings, Finding("error", table.source, str(error).removeprefix(f"{table.source}: "))]
    return findings + [Finding("note", table.source, note) for note in data.facts.notes]


def _counts(target: RawColumn) -> Counter[str]:
    return Counter(label for label in target.labels if label is not None)


def _missing(table: RawTable, target: RawColumn) -> list[Finding]:
    counts = {column.name: int((~column.present).sum()) for column in table.columns if column is not target}
    some = {name: count for name, count in counts.items() if 0 < count < len(table)}
    if not some:
        return []
    texts = [f"{name} ({count})" for name, count in some.items()]
    return [Finding("note", table.source, say("values are missing in {columns}, of {rows} rows.",
                                              columns=listed(texts, 20), rows=len(table)))]  # fmt: skip


def _mixed(table: RawTable, chosen: Chosen) -> list[Finding]:
    """Report columns where numbers and texts stand together."""
    findings = []
    for column in chosen.categories:
        numbers = int((~np.isnan(column.numbers)).sum())
        if column.strangers and numbers:
            first = column.strangers[0]
            findings.append(Finding("warning", table.place(first), say(
                "column '{name}' mixes {numbers} numbers and {texts} texts (here '{value}'); all are taken for categories.",
                name=column.name, numbers=numbers, texts=len(column.strangers), value=column.texts[first])))  # fmt: skip
    return findings


def _alike(table: RawTable, chosen: Chosen) -> list[Finding]:
    """Report categories that differ in capitals only."""
    findings = []
    for column in chosen.categories:
        spellings: dict[str, set[str]] = defaultdict(set)
        for label in column.labels:
            if label is not None:
                spellings[label.casefold()].add(label)
        double = sorted(tuple(sorted(found)) for found in spellings.values() if len(found) > 1)
        if double:
            findings.append(Finding("warning", table.source, say(
                "column '{name}' has categories that differ in capitals only: {values}.",
                name=column.name, values=listed([" = ".join(found) for found in double], 5))))  # fmt: skip
    return findings


def _leaks(table: RawTable, target: RawColumn, answers: Answers, chosen: Chosen) -> list[Finding]:
    """Report columns that are the target under another name."""
    findings = []
    for column in (*chosen.numbers, *chosen.categories):
        if _is_target(column, target, answers):
            findings.append(Finding("warning", table.source, say(
                "column '{name}' says the same as the target '{target}'. If it would not be known in advance, leave it out: "
                "data.drop=[\"{name}\"].", name=column.name, target=target.name)))  # fmt: skip
    return findings


def _is_target(column: RawColumn, target: RawColumn, answers: Answers) -> bool:
    both = column.present & target.present
    if both.sum() < 3:
        return False
    if answers.classes is None:
        if not column.is_number or not target.is_number:
            return False
        pair = column.numbers[both], target.numbers[both]
        return min(values.std() for values in pair) > 0 and abs(np.corrcoef(*pair)[0, 1]) >= SAME
    if not len(answers.classes) == column.distinct > 1:
        return False
    rows = both.nonzero()[0].tolist()
    return len({(column.labels[row], target.labels[row]) for row in rows}) == column.distinct


def _repeated(table: RawTable, target: RawColumn) -> list[Finding]:
    """Report rows that stand twice, and rows whose inputs stand twice with different answers."""
    whole: dict[tuple[str | None, ...], list[int]] = defaultdict(list)
    inputs: dict[tuple[str | None, ...], list[int]] = defaultdict(list)
    for row, values in enumerate(zip(*(column.texts for column in table.columns if column is not target), strict=True)):
        inputs[values].append(row)
        whole[*values, target.labels[row]].append(row)
    same = [rows for rows in whole.values() if len(rows) > 1]
    torn = [rows for rows in inputs.values() if len({target.labels[row] for row in rows}) > 1]
    findings = []
    if same:
        count = sum(len(rows) - 1 for rows in same)
        findings.append(Finding("note", table.places(same[0]), say(
            "{count} copies of rows in all (here the first).", count=count)))  # fmt: skip
    if torn:
        findings.append(Finding("note", table.places(torn[0]), say(
            "{count} groups of rows have equal inputs and different answers (here the first); no model can be right on all.",
            count=len(torn))))  # fmt: skip
    return findings
