"""CSV and TSV, strictly: every row that does not fit is named with its line."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Sequence

from seodang.core.errors import ConfigError, DataError
from seodang.core.language import say
from seodang.data.finding import Finding
from seodang.data.raw_table import MISSING, MOSTLY_NUMBERS, RawColumn, RawTable, TableFormat, number

SNIFFED = 50
"""Lines looked at to tell the delimiter."""
DELIMITERS = "\t;|,"
"""In the order they are preferred: a comma also appears inside numbers and texts."""
USUAL = 0.9
"""Share of lines with another number of values than the first from which the first is no header."""
NAMED = 20
"""Ragged lines reported one by one."""
UNKNOWN = {mark.upper() for mark in MISSING}
"""What stands for a value that is missing: it names no column."""
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def decode(data: bytes, source: str, encoding: str) -> tuple[str, list[Finding]]:
    """Return the text of a file, and a note if it begins with a byte order mark.

    Raises: DataError with line and byte offset, ConfigError for an encoding nobody knows.
    """
    findings = []
    if data.startswith((b"\xff\xfe", b"\xfe\xff")) and encoding.lower() in ("utf-8", "utf8"):
        raise DataError("{path}: begins like UTF-16 text. Set data.encoding=utf-16, or save it as UTF-8.", path=source)
    skipped = len(BYTE_ORDER_MARK) if data.startswith(BYTE_ORDER_MARK) else 0
    if skipped:
        data = data[skipped:]
        findings.append(
            Finding("note", source, say("begins with a byte order mark; it is not taken as part of the text."))
        )
    try:
        text = data.decode(encoding)
    except LookupError:
        raise ConfigError("data.encoding={encoding}: there is no such encoding. Try utf-8, cp949 or latin-1.",
                          encoding=encoding) from None  # fmt: skip
    except UnicodeError as error:
        start = error.start if isinstance(error, UnicodeDecodeError) else 0
        raise DataError(
            "{path}: line {line}: byte {byte} of the file is not {encoding}. If it is in another encoding, say which: "
            "data.encoding=cp949 (Korean Windows) or latin-1.",
            path=source, line=data.count(b"\n", 0, start) + 1, byte=start + skipped, encoding=encoding.upper()) from None  # fmt: skip
    if "\0" in text[:10_000]:
        raise DataError("{path}: holds zero bytes; it is not a text file.", path=source)
    return text, findings


def read_csv(data: bytes, source: str, form: TableFormat, tabs: bool = False) -> RawTable:
    """Return the table in `data`; `tabs` where the name of the file promises tabs. What is wrong is among its findings.

    Raises: DataError where there is nothing to make a table of.
    """
    text, findings = decode(data, source, form.encoding)
    delimiter = form.delimiter if form.delimiter != "auto" else "\t" if tabs else find_delimiter(text)
    rows, lines, broken = _records(text, source, delimiter)
    findings += broken
    if not rows:
        raise DataError("{path}: is empty.", path=source)
    has_header = looks_like_header(rows) if form.header == "auto" else form.header
    usual, count = Counter(map(len, rows)).most_common(1)[0]
    width = len(rows[0]) if has_header else usual
    names: list[str] = []
    if has_header and width != usual and count >= USUAL * (len(rows) - 1):
        findings.append(_strange_header(source, lines[0], width, usual))
        width = usual
    elif has_header:
        names = [name.strip() or f"column_{index}" for index, name in enumerate(rows[0], 1)]
        findings += _nameless(rows[0], source, lines[0])
    if has_header:
        rows, lines = rows[1:], lines[1:]
        if not rows:
            raise DataError("{path}: has a header but no rows. Add some.", path=source)
    names = names or [f"column_{index}" for index in range(1, width + 1)]
    findings += [*_twice(names, source), *_ragged(rows, lines, width, has_header, source)]
    whole = [(row, line) for row, line in zip(rows, lines, strict=True) if len(row) == width]
    marks = {mark.lower() for mark in form.missing} | {""}
    columns = (
        RawColumn.of_texts(
            name, [None if value.strip().lower() in marks else value.strip() for value in values], form.decimal
        )
        for name, values in zip(names, zip(*(row for row, _ in whole), strict=True), strict=False)
    )
    notes = [] if form.header != "auto" else [_header_note(has_header)]
    if delimiter not in (("\t",) if tabs else (",",)):
        notes.append(
            say("Values are separated by {delimiter}.", delimiter={"\t": say("tabs")}.get(delimiter, delimiter))
        )
    return RawTable(source, tuple(columns), [line for _, line in whole], tuple(findings), tuple(notes))


def _header_note(has_header: bool) -> str:
    if has_header:
        return say("The first line was taken for column names; data.header=false takes it for data.")
    return say("The first line was taken for data, columns are called column_1, column_2, …; "
               "data.header=true takes it for names.")  # fmt: skip


def _records(text: str, source: str, delimiter: str) -> tuple[list[list[str]], list[int], list[Finding]]:
    rows, lines = [], []
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True, strict=True)
    end = 0
    try:
        for row in reader:
            line, end = end + 1, reader.line_num
            if len(row) > 1 or (row and row[0].strip()):
                rows.append(row)
                lines.append(line)
    except csv.Error as error:
        where = say("{path}: line {line}", path=source, line=end + 1)
        if "unexpected end" in str(error) or "field limit" in str(error):
            message = say(
                "a quotation mark opened here is never closed. Close it, or write it twice if it belongs to the text."
            )
        else:
            message = say("is not valid CSV: {reason}. Mend the line.", reason=error)
        return rows, lines, [Finding("error", where, message)]
    return rows, lines, []


def find_delimiter(text: str) -> str:
    """Return what separates the values of the first lines: the candidate that cuts most of them alike."""
    sample = [line for line in text[:200_000].splitlines()[:SNIFFED] if line.strip()]
    best, best_share = ",", 0.0
    for candidate in DELIMITERS:
        widths = Counter(len(row) for row in csv.reader(sample, delimiter=candidate, skipinitialspace=True))
        width, count = widths.most_common(1)[0] if widths else (1, 0)
        share = count / len(sample) if sample else 0.0
        if width > 1 and share > best_share:
            best, best_share = candidate, share
    return best


def looks_like_header(rows: Sequence[Sequence[str]]) -> bool:
    """Return whether the first row names columns: texts, no numbers, unlike what stands below them."""
    first, below = [value.strip() for value in rows[0]], rows[1:200]
    if any(number(value) is not None for value in first) or not any(first):
        return False
    for index, name in enumerate(first):
        values = [row[index].strip() for row in below if len(row) > index and row[index].strip()]
        numbers = sum(number(value) is not None for value in values)
        if name.upper() not in UNKNOWN and values and numbers >= MOSTLY_NUMBERS * len(values):
            return True
    if len(set(first)) < len(first) or any(name in UNKNOWN for name in first[1:]):
        return False
    return all(
        name not in {row[index].strip() for row in below if len(row) > index} for index, name in enumerate(first)
    )


def _strange_header(source: str, line: int, width: int, usual: int) -> Finding:
    return Finding("error", say("{path}: line {line}", path=source, line=line), say(
        "names {found} columns, nearly all lines below have {width} values. If it is a title, take it away; if names are "
        "missing, add them.", found=width, width=usual))  # fmt: skip


def _nameless(names: Sequence[str], source: str, line: int) -> list[Finding]:
    """Report columns without a name; the first is often the numbers of the rows, as pandas writes them."""
    return [
        Finding("note" if index == 1 else "warning", say("{path}: line {line}", path=source, line=line),
                say("column {index} has no name; it is called column_{index}. Give it one.", index=index))
        for index, name in enumerate(names, 1)
        if not name.strip()
    ]  # fmt: skip


def _twice(names: Sequence[str], source: str) -> list[Finding]:
    return [
        Finding("error", say("{path}: line {line}", path=source, line=1),
                say("{count} columns are called '{name}'. Give each its own name.", count=count, name=name))
        for name, count in Counter(names).items()
        if count > 1
    ]  # fmt: skip


def _ragged(
    rows: Sequence[Sequence[str]], lines: Sequence[int], width: int, header: bool, source: str
) -> list[Finding]:
    ragged = [(line, len(row)) for row, line in zip(rows, lines, strict=True) if len(row) != width]
    findings = []
    for line, found in ragged[:NAMED]:
        where = say("{path}: line {line}", path=source, line=line)
        if header:
            message = say(
                "has {found} values, the header names {width} columns. Mend the line.", found=found, width=width
            )
        else:
            message = say("has {found} values, most lines have {width}. Mend the line.", found=found, width=width)
        findings.append(Finding("error", where, message))
    if len(ragged) > NAMED:
        findings.append(Finding("error", source, say("{count} more lines have another number of values than {width}.",
                                                     count=len(ragged) - NAMED, width=width)))  # fmt: skip
    return findings
