"""A folder in memory, for tests that put thousands of states on a disk."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def memory() -> Iterator[Path]:
    """Give a folder in memory, where the system has one."""
    shared = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix="seodang-", dir=shared if shared.is_dir() else None))
    yield folder
    shutil.rmtree(folder)
