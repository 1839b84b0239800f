"""Freed memory is kept: repeating the same work asks the system for no new pages."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

WORK = """
import resource, sys, torch
from seodang.training.allocator import keep_freed_memory
torch.set_num_threads(1)
if "keep" in sys.argv:
    assert keep_freed_memory()
def work():
    blocks = [torch.ones(3 << 20) for _ in range(6)]  # 12 MB each
for _ in range(4):
    work()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    work()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(*arguments: str) -> int:
    return int(
        subprocess.run([sys.executable, "-c", WORK, *arguments], check=True, capture_output=True, text=True).stdout
    )


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told")
def test_freed_memory_is_kept() -> None:
    assert faults("keep") < 200 < 2000 < faults()
