"""A table as it was read: named columns of texts or numbers, and the line each row came from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from seodang.core.config import Config
from seodang.core.errors import ConfigError, nearest
from seodang.core.language import say
from seodang.data.finding import Finding, listed

MOSTLY_NUMBERS = 0.9
"""From this share of numbers on, a text in a column is taken for a slip, not for a category."""
MISSING = ("", "?", "NA", "N/A", "nan", "null")


class TableFormat(Config):
    """How a file is read as a table."""

    header: bool | Literal["auto"] = "auto"
    """Whether the first line holds the names of the columns. Without it they are column_1, column_2, …"""
    delimiter: Literal["auto", ",", ";", "\t", "|"] = "auto"
    """What separates values; "auto" looks at the first lines."""
    decimal: Literal[".", ","] = "."
    """Decimal sign of numbers."""
    encoding: str = "utf-8"
    """Character encoding, for example cp949 for files from a Korean Windows."""
    missing: tuple[str, ...] = MISSING
    """What stands for a missing value; capitals do not matter."""


class RawColumn:
    """One column. `numbers` holds NaN where a value is missing or is no number; `strangers` are rows of the latter."""

    def __init__(
        self, name: str, numbers: np.ndarray, texts: Sequence[str | None] | None, strangers: Sequence[int]
    ) -> None:
        self.name, self.numbers, self.strangers = name, numbers, strangers
        self._texts = texts

    @classmethod
    def of_texts(cls, name: str, texts: Sequence[str | None], decimal: str = ".") -> RawColumn:
        numbers, strangers = np.full(len(texts), np.nan), []
        for row, text in enumerate(texts):
            if text is not None:
                value = number(text, decimal)
                if value is None:
                    strangers.append(row)
                else:
                    numbers[row] = value
        return cls(name, numbers, texts, strangers)

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def is_number(self) -> bool:
        """Whether every value that is there is a number, and there is one."""
        return not self.strangers and bool(self.present.any())

    @property
    def is_mostly_numbers(self) -> bool:
        """Whether nearly all values are numbers, so that the few texts must be slips and not categories."""
        count = int((~np.isnan(self.numbers)).sum())
        return bool(self.strangers) and count > 10 and count >= MOSTLY_NUMBERS * self.present.sum()

    @cached_property
    def texts(self) -> Sequence[str | None]:
        """The values as they were written."""
        return self._texts if self._texts is not None else self.labels

    @cached_property
    def labels(self) -> Sequence[str | None]:
        """The values as names of categories: 1, 1.0 and 01 are one category where all values are numbers."""
        if self._texts is not None and not self.is_number:
            return self._texts
        return [None if np.isnan(value) else plain(value) for value in self.numbers.tolist()]

    @cached_property
    def present(self) -> np.ndarray:
        """Whether each row has a value."""
        if self._texts is None:
            return ~np.isnan(self.numbers)
        return np.array([text is not None for text in self._texts], dtype=bool)

    @cached_property
    def distinct(self) -> int:
        """How many different values there are."""
        return len({label for label in self.labels if label is not None})


@dataclass(frozen=True)
class RawTable:
    """What a file holds, before anything is decided about it."""

    source: str
    columns: tuple[RawColumn, ...]
    lines: Sequence[int] | None
    """Line of each row in the file; None where a file has no lines, then rows are counted from 1."""
    findings: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.columns[0]) if self.columns else 0

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)

    def column(self, name: str) -> RawColumn | None:
        return next((column for column in self.columns if column.name == name), None)

    def named(self, name: str, setting: str) -> RawColumn:
        """Return the column a setting of the recipe names.

        Raises: ConfigError
        """
        found = self.column(name)
        if found is None:
            raise ConfigError("{path}: has no column '{name}' (data.{setting}).{suggestion} Columns: {names}.",
                              path=self.source, name=name, setting=setting, suggestion=nearest(name, self.names),
                              names=listed(self.names, 20))  # fmt: skip
        return found

    def place(self, row: int) -> str:
        """Return "table.csv: line 7" for a row."""
        if self.lines is None:
            return say("{path}: row {row}", path=self.source, row=row + 1)
        return say("{path}: line {line}", path=self.source, line=self.lines[row])

    def places(self, rows: Sequence[int], limit: int = 10) -> str:
        """Return "table.csv: lines 7, 9, 12" for several rows."""
        if len(rows) == 1:
            return self.place(rows[0])
        numbers = [row + 1 if self.lines is None else self.lines[row] for row in rows[:limit]]
        text = ", ".join(map(str, numbers)) + (" …" if len(rows) > limit else "")
        if self.lines is None:
            return say("{path}: rows {rows}", path=self.source, rows=text)
        return say("{path}: lines {lines}", path=self.source, lines=text)


def number(text: str, decimal: str = ".") -> float | None:
    """Return the number written in `text`, or None if it is none."""
    if decimal == ",":
        if "." in text:
            return None
        text = text.replace(",", ".")
    try:
        value = float(text)
    except ValueError:
        return None
    return None if "_" in text or value != value else value  # Python reads 1_000 and nan as numbers; we do not


def plain(value: float) -> str:
    """Return a number the shortest way: 3 for 3.0."""
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
