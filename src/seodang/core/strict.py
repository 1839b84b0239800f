"""Strict reading of JSON and TOML: what no two readers could take for different things, small, and data only.

Refused, with the line: more than 1 MB, more than 64 levels, a key that stands twice, NaN and infinity, bytes and
characters that are no UTF-8. TOML also has dates, which no setting is.
"""

from __future__ import annotations

import errno
import json
import re
import stat
import tomllib
from collections.abc import Iterable
from datetime import date, datetime, time
from math import isinf, isnan
from pathlib import Path
from typing import Any, NoReturn

from seodang.core.language import say

MAX_BYTES = 1_000_000
MAX_DEPTH = 64
LARGE_BYTES = 64_000_000
"""For what grows with the work: manifests (a digest for each mebibyte), a run's state, records that hold a tokenizer."""


class Refused(ValueError):
    """Why a text is not read; as text "line 3: …", where there is a line to name."""

    def __init__(self, reason: object, line: int = 0, column: int = 0) -> None:
        super().__init__(say("line {line}: {reason}", line=line, reason=reason) if line else str(reason))
        self.reason, self.line, self.column = reason, line, column


class NotFinite(Refused):
    """A number is NaN or infinite."""


def parse_json(data: bytes | str, limit: int = MAX_BYTES) -> Any:
    """Return the value of a JSON text.

    Raises: Refused
    """
    text = _text(data, limit)
    try:
        value = _decoder.decode(text)
    except json.JSONDecodeError as error:
        raise Refused(say("is not valid JSON: {reason}", reason=error.msg), error.lineno, error.colno) from None
    except (_Suspect, RecursionError):
        _refuse(text)
    except ValueError as error:  # a number of more digits than Python reads
        raise Refused(say("is not valid JSON: {reason}", reason=error)) from None
    if text.count("{") + text.count("[") > MAX_DEPTH and depth(value) > MAX_DEPTH:
        _refuse(text)
    if (half := _HALF.search(text)) and not _is_whole(value):
        raise Refused(say("{value} is half a character", value=half[0]), text.count("\n", 0, half.start()) + 1)
    return value


def parse_toml(data: bytes | str, limit: int = MAX_BYTES) -> dict[str, Any]:
    """Return the table of a TOML text.

    Raises: Refused
    """
    text = _text(data, limit)
    try:
        values = tomllib.loads(text)
    except RecursionError:
        raise Refused(_too_deep()) from None
    except ValueError as error:  # TOMLDecodeError says the line; a number of too many digits has none
        raise Refused(say("is not valid TOML: {reason}", reason=error)) from None
    if depth(values) > MAX_DEPTH:
        raise Refused(_too_deep())
    for value in _leaves(values):
        if isinstance(value, float) and (isnan(value) or isinf(value)):
            raise Refused(say("{value} is not a finite number", value=value), _line_of(text, _ENDLESS))
        if isinstance(value, (date, datetime, time)):
            raise Refused(say('a date is a text here: write "{value}", in quotation marks', value=value.isoformat()),
                          _line_of(text, _DATED))  # fmt: skip
    return values


def regular_size(path: Path) -> int:
    """Return the bytes of a file that is one; a device or a pipe ends when it likes.

    Raises: OSError
    """
    found = path.stat()  # not by opening it: a pipe would wait for ever
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, say("is not a regular file"))
    return found.st_size


def read_regular(path: Path, limit: int) -> bytes:
    """Return what is in a file, if it is one and has no more than `limit` bytes.

    Raises: OSError
    """
    if (size := regular_size(path)) > limit:
        raise OSError(errno.EFBIG, say("is larger than {limit:,} bytes ({size:,})", limit=limit, size=size))
    return path.read_bytes()


def depth(value: Any) -> int:
    """Return how deep tables and lists are nested in `value`; what is deeper than `MAX_DEPTH` is not looked into."""
    deepest, waiting = 0, [(value, 1)]
    while waiting:
        item, level = waiting.pop()
        inside = item.values() if isinstance(item, dict) else item if isinstance(item, list) else ()
        deepest = max(deepest, level + bool(inside))
        if level <= MAX_DEPTH:
            waiting += [(child, level + 1) for child in inside if isinstance(child, (dict, list))]
    return deepest


# --------------------------------------------------------------------------------------------- details

_ENDLESS = re.compile(r"^[^#\n]*[=\[,]\s*[+-]?(?:inf|nan|[\d_.]+[eE][+]?[\d_]+)\s*(?:[,\]}#]|$)", re.MULTILINE)
_DATED = re.compile(r"^[^#\n]*[=\[,]\s*(?:\d{4}-\d\d-\d\d|\d\d:\d\d:\d\d)", re.MULTILINE)
_TOKEN = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[{}\[\]:,]|[^\s{}\[\]:,"]+', re.DOTALL)


_HALF = re.compile(
    r"\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])|(?<!\\u[dD][89abAB]..)\\u[dD][c-fC-F][0-9a-fA-F]{2}"
)


class _Suspect(ValueError):
    """Something JSON readers differ about; `_refuse` finds out where."""


def _unique(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    pairs = list(pairs)
    record = dict(pairs)
    if len(record) != len(pairs):
        raise _Suspect
    return record


def _finite(text: str) -> float:
    value = float(text)
    if isnan(value) or isinf(value):
        raise _Suspect
    return value


_decoder = json.JSONDecoder(object_pairs_hook=_unique, parse_float=_finite, parse_constant=_finite)


def _text(data: bytes | str, limit: int) -> str:
    if len(data) > limit:
        raise Refused(say("is larger than {limit:,} bytes ({size:,})", limit=limit, size=len(data)))
    if isinstance(data, str):
        return data
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Refused(
            say("is not UTF-8 text (byte {byte})", byte=error.start), data.count(b"\n", 0, error.start) + 1
        ) from None


def _refuse(text: str) -> NoReturn:
    """Say where a text that is JSON is not strict: the first token at which it goes wrong."""
    keys: list[set[str] | None] = []
    last = ""
    for match in _TOKEN.finditer(text):
        part, reason, kind = match[0], "", Refused
        if part in ("{", "["):
            keys.append(set() if part == "{" else None)
            reason = _too_deep() if len(keys) > MAX_DEPTH else ""
        elif part in ("}", "]") and keys:
            keys.pop()
        elif part == ":" and keys and (known := keys[-1]) is not None and last.startswith('"'):
            try:
                key = json.loads(last, strict=False)
            except ValueError as error:  # the text goes wrong here, after the place that was suspected
                raise Refused(
                    say("is not valid JSON: {reason}", reason=error), text.count("\n", 0, match.start()) + 1
                ) from None
            reason = say("'{name}' stands twice", name=key) if key in known else ""
            known.add(key)
        elif part[0] not in '"{[:,' and _endless(part):
            reason, kind = say("{value} is not a finite number", value=part[:40]), NotFinite
        if reason:
            raise kind(reason, text.count("\n", 0, match.start()) + 1)
        last = part
    raise Refused(_too_deep())


def _endless(token: str) -> bool:
    try:
        value = float(token)
    except ValueError:
        return False
    return isnan(value) or isinf(value)


def _is_whole(value: Any) -> bool:
    """Return whether every text in `value` can be written as UTF-8: a surrogate that stands alone cannot."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def _too_deep() -> str:
    return say("is nested deeper than {limit} levels", limit=MAX_DEPTH)


def _leaves(value: Any) -> Iterable[Any]:
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            waiting += item.values()
        elif isinstance(item, list):
            waiting += item
        else:
            yield item


def _line_of(text: str, pattern: re.Pattern[str]) -> int:
    """Return the first line that matches and, read alone, is what `pattern` is after; 0 if none is found."""
    match = pattern.search(text)
    return text.count("\n", 0, match.end()) + 1 if match else 0
