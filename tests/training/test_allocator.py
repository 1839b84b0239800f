"""Freed memory is kept: large blocks come from the heap, and the heap does not shrink when they are freed."""

from __future__ import annotations

import ctypes
import json
import platform
import subprocess
import sys

import pytest

WORK = """
import ctypes, json, sys
from seodang.training.allocator import keep_freed_memory
assert "torch" not in sys.modules
library = ctypes.CDLL(None)
class Info(ctypes.Structure):
    names = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"
    _fields_ = [(name, ctypes.c_size_t) for name in names.split()]
library.mallinfo2.restype, library.malloc.restype = Info, ctypes.c_void_p
library.malloc.argtypes, library.free.argtypes = [ctypes.c_size_t], [ctypes.c_void_p]
if "keep" in sys.argv:
    assert keep_freed_memory()
before = library.mallinfo2()
block = library.malloc(16 << 20)
held = library.mallinfo2()
library.free(block)
after = library.mallinfo2()
print(json.dumps({"mapped": held.hblks - before.hblks, "grown": held.arena - before.arena, "kept": after.arena - before.arena}))
"""


def measured(*arguments: str) -> dict[str, int]:
    done = subprocess.run([sys.executable, "-c", WORK, *arguments], check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


@pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc" or not hasattr(ctypes.CDLL(None), "mallinfo2"),
    reason="glibc 2.33 tells what it holds",
)
def test_freed_memory_is_kept() -> None:
    usual, told = measured(), measured("keep")
    assert usual["mapped"] == 1, "a large block usually comes from the system and goes back to it"
    assert usual["kept"] == 0
    assert told["mapped"] == 0
    assert told["kept"] == told["grown"] >= 15 << 20
