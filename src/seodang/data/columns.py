"""Columns of a table as inputs of a network: which are used, their statistics, and rows as numbers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from pydantic import Field

from seodang.core.config import Config
from seodang.core.errors import DataError, nearest
from seodang.core.inputs import Column
from seodang.core.language import say
from seodang.data.finding import Finding, listed
from seodang.data.raw_table import RawColumn, RawTable
from seodang.data.targets import ordered

COMMA_NUMBER = re.compile(r"[-+]?\d+,\d+")


class ColumnChoice(Config):
    """Which columns are inputs, and how they are read."""

    drop: tuple[str, ...] = ()
    """Columns left out."""
    keep: tuple[str, ...] = ()
    """Columns used although they look like row numbers."""
    categorical: tuple[str, ...] = ()
    """Columns of numbers that stand for categories."""
    max_categories: int = Field(100, gt=1)
    """Largest number of different texts a column of categories may have."""


def lone_column(table: RawTable) -> list[Finding]:
    """Return an error if a table has a single column: nothing is left to predict it from."""
    if len(table.columns) != 1:
        return []
    return [Finding("error", table.source, say(
        "has one column only ('{name}'). If each line holds several values, say what separates them, for example "
        "data.delimiter=\",\", or save the table as CSV with commas.", name=table.names[0][:80]))]  # fmt: skip


class Chosen(NamedTuple):
    """The columns that are inputs, each a number or a category; what was left out and what is wrong."""

    numbers: tuple[RawColumn, ...]
    categories: tuple[RawColumn, ...]
    notes: tuple[str, ...]
    findings: tuple[Finding, ...]


def choose_columns(table: RawTable, taken: set[str], choice: ColumnChoice) -> Chosen:
    """Decide for each column but those `taken` (the target) whether it is a number, a category or nothing to learn from.

    Raises: ConfigError where a setting names a column that is not there.
    """
    for setting in ("drop", "keep", "categorical"):
        for name in getattr(choice, setting):
            table.named(name, setting)
    numbers, categories, notes, findings = [], [], [], []
    too_many = {}
    if choice.drop:
        notes.append(say("Left out, as data.drop says: {names}.", names=listed(choice.drop, 12)))
    for column in table.columns:
        if column.name in taken or column.name in choice.drop:
            continue
        kind = "category" if column.name in choice.categorical or not column.is_number else "number"
        why = None if column.name in choice.keep else why_useless(column, kind)
        slip = _slip(table, column) if kind == "category" and column.name not in choice.categorical else None
        if slip and column.present.any():
            findings.append(slip)
        elif why:
            notes.append(say("Column '{name}' is left out: {why}.", name=column.name, why=why))
        elif kind == "number":
            numbers.append(column)
        elif column.distinct > choice.max_categories:
            too_many[column.name] = column.distinct
        else:
            categories.append(column)
    if too_many:
        findings.append(Finding("error", table.source, say(
            "columns with too many different texts to be categories: {columns}. Leave them out: data.drop={drop}, or allow "
            "them: data.max_categories={count}.", columns=", ".join(f"{name} ({count:,})" for name, count in too_many.items()),
            drop="[" + ", ".join(f'"{name}"' for name in too_many) + "]", count=max(too_many.values()))))  # fmt: skip
    if not numbers and not categories and not findings:
        findings.append(Finding("error", table.source, say(
            "no column is left to learn from. {notes}", notes=" ".join(notes)).rstrip()))  # fmt: skip
    return Chosen(tuple(numbers), tuple(categories), tuple(notes), tuple(findings))


def why_useless(column: RawColumn, kind: str) -> str | None:
    """Return why nothing can be learned from a column, or None."""
    rows = int(column.present.sum())
    if not rows:
        return say("it is empty")
    if column.distinct == 1 and rows == len(column):
        return say("it is {value} in every row", value=column.labels[0])
    if kind == "category" and column.distinct == rows > 20:
        return say("its text is another in every row")
    if kind == "number" and rows == len(column) >= 10 and _counts_rows(column):
        return say('it numbers the rows (data.keep=["{name}"] uses it)', name=column.name)
    return None


def _counts_rows(column: RawColumn) -> bool:
    values = column.numbers
    if not (values == np.floor(values)).all() or column.distinct < len(values):
        return False
    called_so = (
        column.name.lower() in ("index", "unnamed: 0") or re.search(r"(^|[^a-z])id$|Id$|ID$", column.name) is not None
    )
    return called_so or bool((np.diff(values) == 1).all())


def _slip(table: RawTable, column: RawColumn) -> Finding | None:
    """Return what is wrong with a column of texts that was meant to hold numbers."""
    texts = [text for text in column.texts if text is not None]
    if texts and all(COMMA_NUMBER.fullmatch(text) for text in texts):
        return Finding("error", table.place(int(column.present.argmax())), say(
            "column '{name}' holds '{value}': if the comma is a decimal sign, set data.decimal=\",\".",
            name=column.name, value=texts[0]))  # fmt: skip
    if column.is_mostly_numbers:
        return Finding("error", table.places(column.strangers), say(
            "column '{name}' holds '{value}', where {count} other rows hold numbers. Mend it, list it in data.missing, or "
            "take the column for categories: data.categorical=[\"{name}\"].",
            name=column.name, value=column.texts[column.strangers[0]], count=len(texts) - len(column.strangers)))  # fmt: skip
    return None


# ---------------------------------------------------------------------------------- statistics, numbers


def measure(chosen: Chosen, order: Sequence[str], rows: np.ndarray) -> tuple[tuple[Column, ...], list[str]]:
    """Return the columns with the statistics of the training `rows` alone, and notes on those that say nothing there."""
    columns, notes = {}, []
    for raw in chosen.numbers:
        values = raw.numbers[rows]
        present = values[~np.isnan(values)]
        missing = len(present) < len(values)
        std = float(present.std()) if len(present) else 0.0
        if std > 0 or (missing and len(present)):
            columns[raw.name] = Column(
                name=raw.name, kind="number", mean=float(present.mean()), std=std or 1.0, missing=missing
            )
    for raw in chosen.categories:
        labels = [raw.labels[row] for row in rows.tolist()]
        found = {label for label in labels if label is not None}
        missing = None in labels
        if len(found) + missing > 1:
            columns[raw.name] = Column(
                name=raw.name, kind="category", categories=ordered(tuple(found)), missing=missing
            )
    for raw in (*chosen.numbers, *chosen.categories):
        if raw.name not in columns:
            notes.append(
                say(
                    "Column '{name}' is left out: {why}.",
                    name=raw.name,
                    why=say("it does not vary in the training rows"),
                )
            )
    return tuple(columns[name] for name in order if name in columns), notes


def encode(columns: Sequence[Column], table: RawTable) -> tuple[np.ndarray, list[str]]:
    """Return rows as numbers (N, D) float32, and notes on values that training did not know.

    A number becomes (x - mean) / std, or 0 where it is missing; a category one 1 among zeros, or all zeros where it is
    missing or training never saw it. Where training rows lacked the value, one more input is 1 if it is missing.

    Raises: DataError for a column that is not there, or a text where a number is due.
    """
    blocks: list[np.ndarray] = []
    notes: list[str] = []
    for column in columns:
        raw = table.column(column.name)
        if raw is None:
            raise DataError("{path}: has no column '{name}', which the model was trained with.{suggestion} Columns: {names}.",
                            path=table.source, name=column.name, suggestion=nearest(column.name, table.names),
                            names=listed(table.names, 20))  # fmt: skip
        lacking = int((~raw.present).sum())
        if lacking and not column.missing:
            notes.append(say("Column '{name}' lacks a value in {count} rows, which it did in no training row: there it counts as {instead}.",
                             name=column.name, count=lacking,
                             instead=say("the mean") if column.kind == "number" else say("no category")))  # fmt: skip
        blocks.append(
            _number_block(column, raw, table) if column.kind == "number" else _category_block(column, raw, notes)
        )
        if column.missing:
            blocks.append(~raw.present[:, None])
    return np.concatenate([block.astype(np.float32) for block in blocks], axis=1), notes


def _number_block(column: Column, raw: RawColumn, table: RawTable) -> np.ndarray:
    if raw.strangers:
        raise DataError("{place}: column '{name}' holds '{value}'; the model was trained with numbers there.",
                        place=table.places(raw.strangers), name=column.name, value=raw.texts[raw.strangers[0]])  # fmt: skip
    return np.nan_to_num((raw.numbers - column.mean) / column.std, nan=0.0)[:, None]


def _category_block(column: Column, raw: RawColumn, notes: list[str]) -> np.ndarray:
    index = {name: place for place, name in enumerate(column.categories)}
    block = np.zeros((len(raw), len(index)))
    unseen: dict[str, int] = {}
    for row, (text, label) in enumerate(zip(raw.texts, raw.labels, strict=True)):
        if text is None or label is None:
            continue
        place = index.get(text, index.get(label))
        if place is None:
            unseen[text] = unseen.get(text, 0) + 1
        else:
            block[row, place] = 1
    if unseen:
        notes.append(say("Column '{name}' holds in {count} rows what it holds in no training row ({values}): there it counts as no category.",
                         name=column.name, count=sum(unseen.values()), values=listed(tuple(unseen), 5)))  # fmt: skip
    return block
