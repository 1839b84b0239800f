"""Tables made for tests, and how they are read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from seodang.core.recipe import Choice
from seodang.data.dataset import datasets
from seodang.data.table import Table


def table(path: Path, seed: int = 0, adopt: Any = None, **settings: Any) -> Table:
    data = datasets.make(Choice.of({"name": "table", "path": str(path), **settings}), None, seed)
    data.adopt(adopt)
    data.prepare()
    assert isinstance(data, Table)
    return data


def write(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def colours(rows: int = 60) -> str:
    """A table with a number, a category, holes in both, and two classes."""
    lines = ["size,colour,kind"]
    for row in range(rows):
        size = "" if row % 10 == 3 else f"{row % 7}.5"
        colour = "?" if row % 12 == 5 else ["red", "green", "blue"][row % 3]
        lines.append(f"{size},{colour},{'cat' if row % 2 else 'dog'}")
    return "\n".join(lines) + "\n"


def everything(data: Table) -> tuple[torch.Tensor, torch.Tensor]:
    return data._features, data._targets
