"""Findings: everything that is wrong or noteworthy in somebody's data. Reading refuses the errors, `check` lists all."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from seodang.core.errors import DataError
from seodang.core.language import say

SHOWN = 5
"""Errors spelled out in one message; the rest are counted."""


class Finding(NamedTuple):
    """One thing found in data: how bad it is, where (file and line), and what it is and what to do."""

    level: Literal["error", "warning", "note"]
    where: str
    message: str


def refuse(findings: Iterable[Finding], path: Path | str) -> None:
    """Do nothing if there are no errors among `findings`.

    Raises: DataError with the first few, and how to see all of them.
    """
    errors = [f"{item.where}: {item.message}" for item in findings if item.level == "error"]
    if not errors:
        return
    if len(errors) > SHOWN:
        more = say("… and {count} more. See them all: seodang check --data {path}",
                   count=len(errors) - SHOWN, path=shown(path))  # fmt: skip
        errors = [*errors[:SHOWN], more]
    raise DataError("{reasons}", reasons="\n".join(errors))


def shown(path: Path | str) -> str:
    r"""Return a path as text that can be printed and stored: bytes that are no UTF-8 appear as \xNN."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def listed(items: Sequence[object], limit: int = 10) -> str:
    """Return ``1, 2, 3 …`` with at most `limit` items."""
    return ", ".join(map(str, items[:limit])) + (" …" if len(items) > limit else "")


def alike(names: Iterable[str]) -> list[tuple[str, ...]]:
    """Return groups of names that differ in capitals or spaces only."""
    groups: dict[str, set[str]] = {}
    for name in names:
        groups.setdefault(" ".join(name.casefold().split()), set()).add(name)
    return sorted(tuple(sorted(group)) for group in groups.values() if len(group) > 1)
