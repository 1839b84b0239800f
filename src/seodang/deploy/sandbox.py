"""Read a PyTorch file from elsewhere in a process that can do nothing: the one place a pickle is ever opened.

A ``.pt`` or ``.pth`` file is a pickle: a program. It is opened by a child process with PyTorch's restricted
unpickler (``weights_only=True``: tensors and plain containers, no other class), and should that ever be broken, the
child still cannot open a socket, start a program, write a file or take more memory and time than a file of that size
needs. What comes back through a pipe is safetensors bytes, which run nothing.

On Linux the kernel refuses these calls (seccomp), besides the resource limits; elsewhere there are the limits alone,
and the user is told.
"""

from __future__ import annotations

import ctypes
import json
import os
import platform
import re
import resource
import struct
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from math import ceil
from pathlib import Path
from typing import IO, Any, NamedTuple

from seodang.core.errors import WeightsError
from seodang.core.language import say
from seodang.core.strict import parse_json

SECONDS = 300
"""Processor time the child gets; it is waited for twice as long."""
EXPANSION, SPARE_EXPANSION = 4, 1 << 20
"""How many times its size, and how many bytes beyond, a file may unpack to. PyTorch stores tensors as they are."""
SPARE_BYTES = 1 << 30
"""Memory the child gets beyond what it has at start and three times the file."""
NESTED = ("state_dict", "model_state_dict", "model", "module", "weights", "ema", "net", "params")
"""Where checkpoints of other programs keep the weights, when the file holds more than them."""
PREFIXES = ("module.", "_orig_mod.")
"""What DistributedDataParallel and torch.compile put before every name."""


class Converted(NamedTuple):
    """A file's tensors as safetensors bytes, and what was left out or renamed on the way."""

    data: bytes
    notes: tuple[str, ...]


def convert(file: Path) -> Converted:
    """Return the tensors of a PyTorch file as safetensors bytes, read in a child process that can do nothing else.

    Raises: WeightsError if it is not such a file, holds anything but tensors, or needs more than it is given.
    """
    size = file.stat().st_size
    command = child_command("from seodang.deploy.sandbox import main; main()", size, ceil(SECONDS))
    with file.open("rb") as stream:
        try:
            done = subprocess.run(
                command, stdin=stream, capture_output=True, timeout=2 * SECONDS, env=child_environment(), check=False
            )
        except subprocess.TimeoutExpired:
            raise WeightsError("{path}: took longer than {seconds} s to read; it was given up.", path=file,
                               seconds=2 * SECONDS) from None  # fmt: skip
    if done.returncode:
        raise _explained(file, done.returncode, done.stderr)
    length = struct.unpack("<Q", done.stdout[:8])[0]
    head = parse_json(done.stdout[8 : 8 + length])
    notes = [say("{path}: of the file's parts only '{part}' was read; left out: {others}.", path=file, part=head["part"],
                 others=", ".join(head["others"]))] if head["part"] else []  # fmt: skip
    if head["prefix"]:
        notes.append(say("{path}: '{prefix}' was taken off every name.", path=file, prefix=head["prefix"]))
    if not head["guarded"]:
        notes.append(say("This system has no seccomp: the file was read in a child process with limits alone."))
    return Converted(done.stdout[8 + length :], tuple(notes))


def child_command(code: str, *arguments: object) -> list[str]:
    """Return the command of a child that runs `code` with the modules this process finds, and nothing of the user's."""
    paths = [path for path in sys.path if path]
    return [sys.executable, "-I", "-c", f"import sys; sys.path[:0] = {paths!r}; {code}", *map(str, arguments)]


def child_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LD_LIBRARY_PATH", "LANG")}


def _explained(file: Path, code: int, errors: bytes) -> WeightsError:
    """Return what the child's last words mean."""
    words = errors.decode(errors="replace").strip().rpartition("\n")[2]
    if found := re.search(r"GLOBAL (\S+)", words):
        return WeightsError("{path}: holds more than tensors: it asks to run '{name}'. It was not; do not trust this file.",
                            path=file, name=found[1])  # fmt: skip
    if code < 0 or words.startswith(("MemoryError", "RuntimeError: [enforce fail")):
        return WeightsError("{path}: asked for more memory or time than a file of {size:,} bytes needs; it was given up.",
                            path=file, size=file.stat().st_size)  # fmt: skip
    return WeightsError("{path}: cannot be read as PyTorch weights: {reason}.", path=file, reason=words.rstrip("."))


# ------------------------------------------------------------------------------------------- in the child


def main() -> None:
    """Read a PyTorch file from standard input and write safetensors bytes to standard output: the child's whole work."""
    import torch  # lazy: only the child needs it here
    from safetensors.torch import save

    torch.set_num_threads(1)
    limit(int(sys.argv[1]), int(sys.argv[2]))
    guarded = forbid_calls()
    try:
        refuse_bomb(sys.stdin.buffer, int(sys.argv[1]))
        loaded = torch.load(sys.stdin.buffer, map_location="cpu", weights_only=True)
        part, weights, others = find_weights(loaded)
        prefix = common_prefix(weights)
        data = save({name.removeprefix(prefix): value.detach().contiguous().clone() for name, value in weights.items()})
    except Exception as error:  # whatever a hostile file provokes becomes one line
        lines = str(error).splitlines()
        told = next((line for line in lines if "GLOBAL" in line), lines[0] if lines else "")
        sys.stderr.write(f"{type(error).__name__}: {told.strip()[:300]}\n")
        sys.stderr.flush()
        os._exit(1)
    head = json.dumps({"part": part, "others": others, "prefix": prefix, "guarded": guarded}).encode()
    for piece in (struct.pack("<Q", len(head)), head, data):
        sys.stdout.buffer.write(piece)
    sys.stdout.buffer.flush()
    os._exit(0)


def find_weights(loaded: Any) -> tuple[str, Mapping[str, Any], list[str]]:
    """Return the part that holds the weights, the weights, and the names of the other parts.

    Raises: ValueError if there is no such part, or it holds anything but tensors.
    """
    import torch

    def is_tensors(value: Any) -> bool:
        return (
            isinstance(value, Mapping)
            and bool(value)
            and any(isinstance(item, torch.Tensor) for item in value.values())
        )

    if not isinstance(loaded, Mapping):
        raise ValueError(f"holds a {type(loaded).__name__}, not a table of named tensors")
    if is_tensors(loaded):
        part, weights, others = "", loaded, []
    else:
        part = next((name for name in NESTED if is_tensors(loaded.get(name))), "")
        if not part:
            raise ValueError(f"holds no table of named tensors; its parts: {', '.join(map(str, loaded))}")
        weights, others = loaded[part], [str(name) for name in loaded if name != part]
    strange = [str(name) for name, value in weights.items() if not isinstance(value, torch.Tensor)]
    if strange:
        raise ValueError(f"these are no tensors: {', '.join(strange[:20])}")
    return part, weights, others


def common_prefix(weights: Mapping[str, Any]) -> str:
    return next((prefix for prefix in PREFIXES if all(name.startswith(prefix) for name in weights)), "")


def refuse_bomb(file: IO[bytes], size: int) -> None:
    """Do nothing if the parts of a file, where it is a zip, are about as large as it says.

    Raises: ValueError
    """
    if zipfile.is_zipfile(file):
        unpacked = sum(item.file_size for item in zipfile.ZipFile(file).infolist())
        if unpacked > EXPANSION * size + SPARE_EXPANSION:
            raise ValueError(f"it unpacks from {size:,} bytes to {unpacked:,}: PyTorch writes no such files")
    file.seek(0)


def limit(size: int, seconds: int = SECONDS) -> None:
    """Bound the child's time and memory, and forbid it to write any file, in a way it cannot take back."""
    limits = {
        resource.RLIMIT_CPU: seconds,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NOFILE: 64,
    }
    if (held := _virtual_memory()) is not None:
        limits[resource.RLIMIT_AS] = held + 3 * size + SPARE_BYTES
    for kind, most in limits.items():
        hard = resource.getrlimit(kind)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (most, most))


def _virtual_memory() -> int | None:
    """Return the bytes of address space this process has taken, where the system says so."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    except (OSError, ValueError):
        return None


# ------------------------------------------------------------------------------ what the kernel shall refuse

SYSCALLS = {
    "x86_64": (0xC000003E, 257, {
        "open": 2, "socket": 41, "connect": 42, "sendto": 44, "sendmsg": 46, "bind": 49, "socketpair": 53, "clone": 56,
        "fork": 57, "vfork": 58, "execve": 59, "kill": 62, "truncate": 76, "rename": 82, "mkdir": 83, "rmdir": 84,
        "creat": 85, "link": 86, "unlink": 87, "symlink": 88, "chmod": 90, "ptrace": 101, "tkill": 200, "tgkill": 234,
        "mkdirat": 258, "unlinkat": 263, "renameat": 264, "linkat": 265, "symlinkat": 266, "fchmodat": 268,
        "process_vm_writev": 311, "renameat2": 316, "execveat": 322, "pidfd_send_signal": 424, "io_uring_setup": 425,
        "clone3": 435, "openat2": 437,
    }),
    "aarch64": (0xC00000B7, 56, {
        "mkdirat": 34, "unlinkat": 35, "symlinkat": 36, "linkat": 37, "renameat": 38, "truncate": 45, "fchmodat": 53,
        "ptrace": 117, "kill": 129, "tkill": 130, "tgkill": 131, "socket": 198, "socketpair": 199, "bind": 200,
        "connect": 203, "sendto": 206, "sendmsg": 211, "clone": 220, "execve": 221, "process_vm_writev": 271,
        "renameat2": 276, "execveat": 281, "pidfd_send_signal": 424, "io_uring_setup": 425, "clone3": 435, "openat2": 437,
    }),
}  # fmt: skip
"""Audit number, openat and what is refused on each processor: the network, other programs and processes, changing files."""
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
"""Flags with which openat is refused."""
X32_BIT = 0x40000000
"""On x86-64 the same calls exist once more under numbers with this bit: refused as a whole."""
REFUSED = 0x00050000 | 1  # SECCOMP_RET_ERRNO with EPERM
KILLED, ALLOWED = 0x80000000, 0x7FFF0000
LOAD, JUMP_EQUAL, JUMP_BITS, RETURN = 0x20, 0x15, 0x45, 0x06
NUMBER, ARCHITECTURE, THIRD_ARGUMENT = 0, 4, 32
"""Where the kernel's description of a call holds these (little-endian: the low half comes first)."""
NO_NEW_PRIVILEGES, SET_SECCOMP, MODE_FILTER = 38, 22, 2


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("code", ctypes.c_void_p))


def forbid_calls() -> bool:
    """Have the kernel refuse every call of `SYSCALLS` from now on; return whether it does.

    Raises: OSError where the kernel should be able to, and says no.
    """
    if sys.platform != "linux" or platform.machine() not in SYSCALLS:
        return False
    audit, opening, calls = SYSCALLS[platform.machine()]
    code = _filter(audit, opening, sorted(calls.values()))
    buffer = ctypes.create_string_buffer(code, len(code))
    program = _Program(len(code) // 8, ctypes.cast(buffer, ctypes.c_void_p))
    library = ctypes.CDLL(None, use_errno=True)
    zero = ctypes.c_ulong(0)
    for arguments in (
        (NO_NEW_PRIVILEGES, ctypes.c_ulong(1), zero, zero, zero),
        (SET_SECCOMP, ctypes.c_ulong(MODE_FILTER), ctypes.byref(program), zero, zero),
    ):
        if library.prctl(*arguments):
            raise OSError(ctypes.get_errno(), "prctl")
    return True


def _filter(audit: int, opening: int, numbers: list[int]) -> bytes:
    """Return the kernel's filter program.

    Kill on a foreign calling convention; refuse these calls, and opening a file to write; allow the rest.
    """
    allowed, refused = len(numbers) + 8, len(numbers) + 9
    steps: list[bytes] = []

    def step(code: int, value: int, yes: int | None = None, no: int | None = None) -> None:
        """Add one instruction; `yes` and `no` are the places to go on at, default: the next."""
        here = len(steps) + 1
        jumps = [0 if place is None else place - here for place in (yes, no)]
        steps.append(struct.pack("=HBBI", code, *jumps, value))

    step(LOAD, ARCHITECTURE)
    step(JUMP_EQUAL, audit, yes=3)
    step(RETURN, KILLED)
    step(LOAD, NUMBER)
    step(JUMP_BITS, X32_BIT, yes=refused)
    for number in numbers:
        step(JUMP_EQUAL, number, yes=refused)
    step(JUMP_EQUAL, opening, no=allowed)
    step(LOAD, THIRD_ARGUMENT)
    step(JUMP_BITS, WRITING, yes=refused)
    step(RETURN, ALLOWED)
    step(RETURN, REFUSED)
    assert len(steps) == refused + 1
    return b"".join(steps)
