"""Paths as people write them."""

from __future__ import annotations

from pathlib import Path


def expanded(path: str | Path) -> Path:
    """Return a path with its ``~`` or ``~name`` resolved; with a name nobody has it stays, and no such file will be found."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)
