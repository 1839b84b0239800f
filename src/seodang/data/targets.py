"""What a table is to predict: classes or a quantity, decided from the column and said."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from seodang.core.errors import ConfigError, nearest
from seodang.core.inputs import Facts
from seodang.core.language import say
from seodang.core.registry import natural
from seodang.data.finding import Finding, listed
from seodang.data.raw_table import RawColumn, RawTable, number

Kind = Literal["auto", "classes", "quantity"]
MOST_INTEGER_CLASSES = 20
"""Whole numbers are classes up to this many different ones, each on five rows or more on average."""


class Answers(NamedTuple):
    """The target of every row: `labels` (int64) with `classes`, or `quantities` (float64)."""

    labels: np.ndarray | None = None
    classes: tuple[str, ...] | None = None
    quantities: np.ndarray | None = None
    findings: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()


def find_target(table: RawTable, wanted: str | None, known: Facts | None = None) -> tuple[RawColumn, list[str]]:
    """Return the column to predict, and a note where nobody named it: the last one.

    `known` are the facts a model was trained with; its inputs cannot be the target.
    Raises: ConfigError for a name that is not there.
    """
    if wanted is None and known is not None and known.targets:
        wanted = known.targets[0].name
    if wanted is not None:
        return table.named(wanted, "target"), []
    inputs = {column.name for column in getattr(known.inputs, "columns", ())} if known else set()
    last = table.columns[-1]
    if last.name in inputs:
        raise ConfigError("{path}: its last column, '{name}', is an input of the model; say which column holds the answers: "
                          "data.target=…", path=table.source, name=last.name)  # fmt: skip
    if known:
        return last, []
    return last, [say("The last column, '{name}', is predicted; data.target=… names another.", name=last.name)]


def read_target(table: RawTable, column: RawColumn, kind: Kind, known: Facts | None = None) -> Answers:
    """Return the answers in `column`; whatever is wrong with them is among the findings."""
    findings = []
    missing = (~column.present).nonzero()[0].tolist()
    if missing:
        findings.append(Finding("error", table.places(missing), say(
            "the target '{name}' is missing ({count} of {total} rows). Fill it in or remove these rows.",
            name=column.name, count=len(missing), total=len(table))))  # fmt: skip
    if known is not None:
        return _as_trained(table, column, known, findings)
    decided = kind if kind != "auto" else decide_kind(column)
    if decided == "classes":
        answers = _classes(table, column, findings)
        note = say(
            "'{name}' is taken for classes: {classes}.", name=column.name, classes=listed(answers.classes or (), 12)
        )
    else:
        answers = _quantity(table, column, findings)
        note = say("'{name}' is taken for a quantity.", name=column.name)
    hint = " " + say(
        "data.kind={other} takes it for the other.", other="quantity" if decided == "classes" else "classes"
    )
    return answers._replace(notes=(note + hint,) if kind == "auto" else ())


def decide_kind(column: RawColumn) -> Literal["classes", "quantity"]:
    """Texts and few whole numbers are classes; all other numbers are a quantity, slips among them or not."""
    if not column.is_number:
        return "quantity" if column.is_mostly_numbers else "classes"
    values = column.numbers[column.present]
    whole = bool((values == np.floor(values)).all())
    few = column.distinct <= min(MOST_INTEGER_CLASSES, max(2, len(values) // 5))
    return "classes" if whole and few else "quantity"


def ordered(labels: Sequence[str]) -> tuple[str, ...]:
    """Return labels in the order people expect: numbers by value, else texts with numbers read as numbers."""
    values = [number(label) for label in labels]
    if all(value is not None for value in values):
        return tuple(sorted(labels, key=float))
    return tuple(sorted(labels, key=natural))


def _classes(table: RawTable, column: RawColumn, findings: list[Finding]) -> Answers:
    counts = Counter(label for label in column.labels if label is not None)
    classes = ordered(tuple(counts))
    if len(classes) == 1:
        findings.append(Finding("error", table.source, say(
            "the target '{name}' is '{value}' in every row; to learn classes there must be two.",
            name=column.name, value=classes[0])))  # fmt: skip
    elif len(classes) > max(MOST_INTEGER_CLASSES, len(table) // 2):
        findings.append(Finding("error", table.source, say(
            "the target '{name}' has {count} different values in {total} rows; that is no set of classes. Is another column "
            "meant (data.target=…)?", name=column.name, count=len(classes), total=len(table))))  # fmt: skip
    index = {name: label for label, name in enumerate(classes)}
    labels = np.array([index.get(label, 0) if label is not None else 0 for label in column.labels], dtype=np.int64)
    return Answers(labels, classes, None, tuple(findings))


def _quantity(table: RawTable, column: RawColumn, findings: list[Finding]) -> Answers:
    if column.strangers:
        findings.append(Finding("error", table.places(column.strangers), say(
            "the target '{name}' is '{value}', which is no number (data.kind=classes predicts texts).",
            name=column.name, value=column.texts[column.strangers[0]])))  # fmt: skip
    elif column.distinct == 1:
        findings.append(Finding("error", table.source, say(
            "the target '{name}' is {value} in every row; there is nothing to predict. Name another: data.target=…",
            name=column.name, value=column.labels[int(column.present.argmax())])))  # fmt: skip
    return Answers(None, None, column.numbers, tuple(findings))


def _as_trained(table: RawTable, column: RawColumn, known: Facts, findings: list[Finding]) -> Answers:
    """Read the target with the classes a model was trained with."""
    if known.classes is None:
        return _quantity(table, column, findings)
    index = {name: label for label, name in enumerate(known.classes)}
    labels = np.zeros(len(table), dtype=np.int64)
    strange: dict[str, Any] = {}
    for row, (text, label) in enumerate(zip(column.texts, column.labels, strict=True)):
        found = index.get(text or "", index.get(label or ""))
        if found is not None:
            labels[row] = found
        elif text is not None:
            strange.setdefault(text, []).append(row)
    for text, rows in strange.items():
        findings.append(Finding("error", table.places(rows), say(
            "'{value}' is not among the classes the model was trained with ({classes}).",
            value=text, classes=listed(known.classes, 12)) + nearest(text, known.classes)))  # fmt: skip
    return Answers(labels, known.classes, None, tuple(findings))
