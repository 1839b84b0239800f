"""Everything that is wrong or odd in a table file."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np

from seodang.core.errors import SeodangError
from seodang.core.language import say
from seodang.data.check_classes import check_classes
from seodang.data.columns import Chosen, choose_columns, lone_column
from seodang.data.far_off import far_off
from seodang.data.finding import Finding, alike, listed
from seodang.data.raw_table import RawColumn, RawTable
from seodang.data.table import Table, TableConfig
from seodang.data.table_reading import read_table
from seodang.data.targets import Answers, find_target, read_target

SAME = 0.999999
"""Correlation with the target from which a column is the target."""
FEW_TORN = 0.02
"""Share of rows with equal inputs and different answers up to which they are slips, and not how the data is."""
SAID = 20
"""Columns with missing values told one by one."""
DATE = re.compile(
    r"(\d{4}[-/.] ?\d{1,2}[-/.] ?\d{1,2}\.?|\d{1,2}[-/.]\d{1,2}[-/.]\d{4}|\d{1,2}/\d{1,2}/\d{2})"
    r"([ T]\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?)?(Z|[+-]\d{2}:?\d{2})?"
)
MEASURED = re.compile(r"[-+]?\d[\d.,]*\s*(?P<behind>[^\d\s.,][^\d]*)|(?P<before>[$€£¥₩₹])\s*[-+]?\d[\d.,]*")
UNITS = ("%", "‰", "$", "€", "£", "¥", "₩", "₹", "원", "만원", "°", "°C", "°F", "mm", "cm", "m", "km", "kg", "g", "mg", "lb", "lbs",
         "s", "ms", "min", "h", "USD", "EUR", "KRW", "세", "살", "점", "개", "명", "회")  # fmt: skip
"""What stands behind a number as its unit; anything else only where some of the numbers have decimals."""


def check_table(path: Path, settings: TableConfig) -> list[Finding]:
    """Return findings about lines, the target, columns and repeated rows.

    Raises: DataError where nothing can be read at all.
    """
    table = read_table(path, settings)
    findings = list(table.findings)
    if not len(table):
        return findings
    if alone := lone_column(table):
        return [*findings, *alone]
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
        *_not_categories(table, settings, target),
        *_alike(table, [*chosen.categories, *([] if answers.classes is None else [target])]),
        *_far_off(table, [*chosen.numbers, *([target] if answers.classes is None else [])]),
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
    rows = {column.name: (~column.present).nonzero()[0].tolist() for column in table.columns if column is not target}
    some = {name: found for name, found in rows.items() if 0 < len(found) < len(table)}
    findings = [Finding("note", table.places(found), say(
        "{count} of {rows} values are missing in {name}.", count=len(found), rows=len(table), name=name))
        for name, found in list(some.items())[:SAID]]  # fmt: skip
    if len(some) > SAID:
        findings.append(Finding("note", table.source, say("values are missing in {count} more columns.",
                                                          count=len(some) - SAID)))  # fmt: skip
    return findings


def _mixed(table: RawTable, chosen: Chosen) -> list[Finding]:
    """Report columns where numbers and texts stand together."""
    findings = []
    for column in chosen.categories:
        numbers = int((~np.isnan(column.numbers)).sum())
        if column.strangers and numbers:
            first = column.strangers[0]
            findings.append(Finding("warning", table.place(first), say(
                "column '{name}' mixes {numbers} numbers and {texts} texts (here '{value}'); all are taken for categories. Write one or the other.",
                name=column.name, numbers=numbers, texts=len(column.strangers), value=column.texts[first])))  # fmt: skip
    return findings


def _not_categories(table: RawTable, settings: TableConfig, target: RawColumn) -> list[Finding]:
    """Report columns of texts that hold dates, or numbers with their unit."""
    findings = []
    for column in table.columns:
        texts = [text for text in column.texts if text is not None]
        if column is target or column.is_number or column.name in (*settings.drop, *settings.categorical) or not texts:
            continue
        where = table.place(int(column.present.argmax()))
        found = [MEASURED.fullmatch(text) for text in texts]
        units = {(match["behind"] or match["before"]).strip() if match else "" for match in found}
        unit = units.pop() if len(units) == 1 else ""
        if all(DATE.fullmatch(text) for text in texts):
            findings.append(Finding("warning", where, say(
                "column '{name}' holds dates ('{value}'), which are taken for texts. Give what matters about them as numbers "
                "(year, weekday, days since), or leave it out: data.drop=[\"{name}\"].", name=column.name, value=texts[0])))  # fmt: skip
        elif unit in UNITS or (unit and any("." in text.strip(unit) for text in texts)):
            findings.append(Finding("warning", where, say(
                "column '{name}' holds numbers with the unit '{unit}' ('{value}'), which are taken for texts. Take the unit "
                "away, or say that they are categories: data.categorical=[\"{name}\"].", name=column.name, unit=unit,
                value=texts[0])))  # fmt: skip
    return findings


def _alike(table: RawTable, columns: list[RawColumn]) -> list[Finding]:
    """Report categories that differ in capitals or spaces only."""
    findings = []
    for column in columns:
        double = alike({label for label in column.labels if label is not None})
        if double:
            rare = min((label for group in double for label in group), key=column.labels.count)
            findings.append(Finding("warning", table.place(column.labels.index(rare)), say(
                "column '{name}' has values that differ in capitals or spaces only: {values}. Write them alike.",
                name=column.name, values=listed([" = ".join(found) for found in double], 5))))  # fmt: skip
    return findings


def _far_off(table: RawTable, columns: list[RawColumn]) -> list[Finding]:
    """Report single numbers that are so far from all others that they must be slips, or stand for a missing value."""
    findings = []
    for column in columns:
        rows = far_off(column.numbers)
        if len(rows):
            findings.append(Finding("warning", table.places(rows), say(
                "column '{name}' holds {value} here, far from all others. If it is a slip, mend it; if it stands for a missing "
                "value, add it to data.missing.", name=column.name, value=column.texts[rows[0]])))  # fmt: skip
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
        both &= np.isfinite(column.numbers) & np.isfinite(target.numbers)
        if both.sum() < 3:
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
        few = sum(map(len, torn)) <= max(FEW_TORN * len(table), 2)
        findings.append(Finding("warning" if few else "note", table.places(torn[0]), say(
            "{count} groups of rows have equal inputs and different answers (here the first); no model can be right on all. Look at them.",
            count=len(torn))))  # fmt: skip
    return findings
