"""Reading a table by the name of its file: .csv, .tsv, .txt, .json, .jsonl, .parquet; .gz behind any but the last."""

from __future__ import annotations

import zlib
from dataclasses import replace
from pathlib import Path

from seodang.core.errors import DataError
from seodang.core.language import say
from seodang.data.csv_reading import read_csv
from seodang.data.finding import Finding, listed, shown
from seodang.data.memory import free_memory
from seodang.data.raw_table import RawColumn, RawTable, TableFormat
from seodang.data.record_reading import read_json, read_parquet

SUFFIXES = (".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".parquet")
IN_MEMORY = 10
"""Bytes of memory a byte of text takes while it is read, roughly."""


def read_table(path: Path, form: TableFormat) -> RawTable:
    """Return what a table file holds; what is wrong with single rows is among its findings.

    Raises: DataError where there is nothing to make a table of.
    """
    if not path.is_file():
        raise DataError("{path}: there is no such file.", path=shown(path))
    suffix = table_suffix(path)
    if suffix == ".parquet":
        table = read_parquet(path, form)
    else:
        data = read_bytes(path)
        source = shown(path)
        if suffix in (".json", ".jsonl", ".ndjson"):
            table = read_json(data, source, form)
        else:
            table = read_csv(data, source, form, tabs=suffix == ".tsv")
    infinite = [finding for column in table.columns for finding in _infinite(table, column)]
    return replace(table, findings=(*table.findings, *infinite))


def table_suffix(path: Path) -> str:
    """Return the ending that says what a file is: ``.csv`` for ``a.csv`` and ``a.csv.gz``."""
    name = path.name.lower().removesuffix(".gz")
    return next((suffix for suffix in SUFFIXES if name.endswith(suffix)), Path(name).suffix)


def read_bytes(path: Path) -> bytes:
    """Return the content of a text file, unpacked if it ends in .gz, if memory can hold it.

    Raises: DataError
    """
    limit = free_memory() // IN_MEMORY
    too_large = DataError("{path}: is too large to read at once (more than {limit:,} bytes). Save it as Parquet.",
                          path=shown(path), limit=limit)  # fmt: skip
    try:
        if path.stat().st_size > limit:
            raise too_large
        data = path.read_bytes()
    except OSError as error:
        raise DataError("{path}: cannot be read ({reason}).", path=shown(path), reason=error.strerror) from None
    return _unpack(data, path, limit, too_large) if path.suffix.lower() == ".gz" else data


def _unpack(data: bytes, path: Path, limit: int, too_large: DataError) -> bytes:
    text = b""
    while data:  # a .gz file may be several, one after another
        unpacker = zlib.decompressobj(wbits=31)
        try:
            text += unpacker.decompress(data, limit + 1 - len(text))
        except zlib.error as error:
            raise DataError(
                "{path}: is not a whole .gz file ({reason}). Get it again.", path=shown(path), reason=error
            ) from None
        if len(text) > limit:
            raise too_large
        if not unpacker.eof:
            raise DataError(
                "{path}: is not a whole .gz file ({reason}). Get it again.",
                path=shown(path),
                reason=say("it ends too early"),
            )
        data = unpacker.unused_data
    return text


def _infinite(table: RawTable, column: RawColumn) -> list[Finding]:
    rows = (abs(column.numbers) == float("inf")).nonzero()[0].tolist()
    if not rows or not column.is_number:
        return []
    return [Finding("error", table.places(rows), say(
        "column '{name}' holds {values}: not a finite number. Leave the cell empty if it is missing.",
        name=column.name, values=listed([column.texts[row] for row in rows], 3)))]  # fmt: skip
