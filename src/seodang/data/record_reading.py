"""JSON (a list of records, or one record a line) and Parquet, as tables."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from seodang.core.errors import DataError, MissingExtra
from seodang.core.language import say
from seodang.core.strict import NotFinite, Refused, parse_json
from seodang.data.csv_reading import decode
from seodang.data.finding import Finding, listed, shown
from seodang.data.memory import free_memory
from seodang.data.raw_table import RawColumn, RawTable, TableFormat, plain

NAMED = 20
"""Records that do not fit, reported one by one."""


def read_json(data: bytes, source: str, form: TableFormat) -> RawTable:
    """Return the table in a JSON document: ``[{…}, {…}]``, or one ``{…}`` on each line.

    What `core.strict` refuses everywhere is refused here too, but for the size, which memory limits.

    Raises: DataError naming the line that is not JSON.
    """
    text, findings = decode(data, source, form.encoding)
    if not text.strip():
        raise DataError("{path}: is empty.", path=source)
    if text.lstrip().startswith("["):
        records, lines = _parse(text, source, 1), None
    else:
        numbered = [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
        records, lines = [_parse(line, source, number) for number, line in numbered], [number for number, _ in numbered]
    table = RawTable(source, (), lines)
    marks = {mark.lower() for mark in form.missing} | {""}
    values: dict[str, list[str | None]] = {}
    for row, record in enumerate(records):
        if not isinstance(record, Mapping):
            findings.append(Finding("error", table.place(row), say(
                "is {kind}, not a record. A table in JSON is a list of records: [{{\"a\": 1}}, {{\"a\": 2}}].",
                kind=type(record).__name__)))  # fmt: skip
            record = {}
        for key, value in record.items():
            if isinstance(value, (Mapping, list)):
                findings.append(Finding("error", table.place(row), say(
                    "column '{name}' holds {kind}; a value is a number, a text, true, false or null.",
                    name=key, kind=type(value).__name__)))  # fmt: skip
                value = None
            values.setdefault(key, [None] * row).append(_text(value, marks))
        for column in values.values():
            column += [None] * (row + 1 - len(column))
    if not values and not findings:
        raise DataError("{path}: has no records.", path=source)
    columns = tuple(RawColumn.of_texts(name, texts) for name, texts in values.items())
    return RawTable(source, columns, lines, _first(findings, source))


def _first(findings: list[Finding], source: str) -> tuple[Finding, ...]:
    """Return the findings, those past the first few counted only."""
    if len(findings) <= NAMED:
        return tuple(findings)
    more = Finding("error", source, say("{count} more values cannot be read.", count=len(findings) - NAMED))
    return (*findings[:NAMED], more)


def _text(value: Any, marks: set[str]) -> str | None:
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return plain(value)
    text = str(value).strip()
    return None if text.lower() in marks else text


def _parse(text: str, source: str, line: int) -> Any:
    try:
        return parse_json(text, len(text))
    except Refused as error:
        line += max(error.line - 1, 0)
        if error.column:
            raise DataError("{path}: line {line}, column {column}: {reason}.", path=source, line=line, column=error.column,
                            reason=error.reason) from None  # fmt: skip
        missing = say(" Write null where a value is missing.") if isinstance(error, NotFinite) else ""
        raise DataError(
            "{path}: line {line}: {reason}.{hint}", path=source, line=line, reason=error.reason, hint=missing
        ) from None


def read_parquet(path: Path, form: TableFormat) -> RawTable:
    """Return the table in a Parquet file: numbers, texts and true/false; nothing nested, no dates.

    Raises: MissingExtra without pyarrow; DataError if it is not Parquet or larger than memory.
    """
    try:
        import pyarrow as pa  # lazy: 0.2 s, optional
        import pyarrow.parquet as pq
    except ImportError:
        raise MissingExtra("pyarrow", "tables") from None
    source = shown(path)
    try:
        file = pq.ParquetFile(path)
        needed = sum(file.metadata.row_group(index).total_byte_size for index in range(file.metadata.num_row_groups))
        if 4 * needed > free_memory():
            raise DataError(
                "{path}: unpacks to {size:,} bytes, more than a quarter of free memory.", path=source, size=needed
            )
        table = file.read()
        table.validate(full=True)  # offsets and UTF-8, which reading takes on trust
    except (pa.ArrowException, OSError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(
            "{path}: cannot be read as Parquet: {reason}.", path=source, reason=str(error).rstrip(".")
        ) from None
    if not table.num_rows:
        raise DataError("{path}: has no rows.", path=source)
    marks = {mark.lower() for mark in form.missing} | {""}
    findings, columns = [], []
    for name, column in zip(table.column_names, table.columns, strict=True):
        found = _arrow_column(pa, name, column, marks)
        if found is None:
            findings.append(Finding("error", source, say(
                "column '{name}' holds {kind}; a value is a number, a text or true/false. Leave it out before saving.",
                name=name, kind=column.type)))  # fmt: skip
        else:
            columns.append(found)
    twice = sorted({name for name in table.column_names if table.column_names.count(name) > 1})
    if twice:
        findings.append(Finding("error", source, say("columns stand twice: {names}.", names=listed(twice))))
    return RawTable(source, tuple(columns), None, tuple(findings))


def _arrow_column(pa: Any, name: str, column: Any, marks: set[str]) -> RawColumn | None:
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        if pa.types.is_dictionary(column.type) or pa.types.is_decimal(kind):
            column = column.cast(pa.float64())
        numbers = column.to_numpy().astype(np.float64)
        return RawColumn(name, numbers, None, ())
    if pa.types.is_null(kind):
        return RawColumn(name, np.full(len(column), np.nan), None, ())
    if pa.types.is_boolean(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return RawColumn.of_texts(name, [_text(value, marks) for value in column.to_pylist()])
    return None
