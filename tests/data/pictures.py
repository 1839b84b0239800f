"""Folders of pictures made for tests, and how they are read."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from seodang.core.recipe import Choice
from seodang.data.dataset import datasets
from seodang.data.folder import Folder


def folder(path: Path, seed: int = 0, adopt: Any = None, **settings: Any) -> Folder:
    data = datasets.make(Choice.of({"name": "folder", "path": str(path), **settings}), None, seed)
    data.adopt(adopt)
    data.prepare()
    assert isinstance(data, Folder)
    return data


def picture(path: Path, seed: int, size: tuple[int, int] = (12, 10), mode: str = "RGB", **options: Any) -> Path:
    """Write a picture of noise; `size` is (width, height)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(noise).convert(mode).save(path, **options)
    return path


def photos(root: Path, counts: dict[str, int], start: int = 0, suffix: str = "png", **options: Any) -> Path:
    for name, count in counts.items():
        for index in range(count):
            picture(root / name / f"{index}.{suffix}", start, **options)
            start += 1
    return root


def digests(root: Path) -> dict[str, str]:
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(root.rglob("*")) if path.is_file()
    }
