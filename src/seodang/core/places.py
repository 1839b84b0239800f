"""Paths as people write them."""

from __future__ import annotations

from pathlib import Path


def expanded(path: str | Path) -> Path:
    """Return a path with its ``~`` or ``~name`` resolved; one nobody has stays, and is no file."""
    try:
        return Path(path).expanduser()
    except (RuntimeError, ValueError):
        return Path(path)
