"""How numbers and results look: scores, durations, sizes, JSON."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable, Mapping
from typing import Any

from seodang.core.language import say

SHARES = ("accuracy", "precision", "recall", "f1", "iou", "share")
"""Scores whose names end so are shares of one, shown in percent."""


def write_json(value: Any) -> None:
    """Write one JSON value to standard output; a number that is not finite is written as text."""
    print(json.dumps(_plain(value), ensure_ascii=False, indent=1))


def write_lines(lines: Iterable[str]) -> None:
    for line in lines:
        print(line)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return str(value)


def score(name: str, value: Any) -> str:
    """Return a score as people read it: shares in percent, the rest with four digits."""
    if not isinstance(value, (int, float)):
        return str(value)
    if math.isfinite(value) and name.replace("-", "_").lower().endswith(SHARES) and abs(value) <= 1:
        return f"{value:.2%}".replace("%", " %")
    return number(value)


def number(value: float) -> str:
    """Return a number with four significant digits and no needless exponent."""
    if not math.isfinite(value) or value == 0 or isinstance(value, int):
        return f"{value:,}" if isinstance(value, int) else f"{value:g}"
    if 1e-3 <= abs(value) < 1e6:
        digits = max(0, 3 - math.floor(math.log10(abs(value))))
        return f"{value:,.{digits}f}"
    return f"{value:.3g}"


def scores(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {score(name, value)}" for name, value in values.items())


def duration(seconds: float) -> str:
    """Return a length of time in the two largest units that matter."""
    if not math.isfinite(seconds):
        return "?"
    if seconds < 10:
        return say("{seconds} s", seconds=f"{max(seconds, 0):.1f}")
    whole = round(seconds)
    if whole < 60:
        return say("{seconds} s", seconds=whole)
    if whole < 3600:
        return say("{minutes} min {seconds} s", minutes=whole // 60, seconds=f"{whole % 60:02d}")
    return say("{hours} h {minutes} min", hours=whole // 3600, minutes=f"{whole % 3600 // 60:02d}")


def byte_count(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"


def say_aside(text: str) -> None:
    """Print a remark to standard error: it is never part of a result."""
    print(text, file=sys.stderr, flush=True)
