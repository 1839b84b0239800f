"""Feed every reader what nobody would write, and watch what it does besides answering.

    python -m tests.reliability.fuzz --inputs 2000000            all readers, two processes
    python -m tests.reliability.fuzz --only npz --inputs 1000    one reader
    python -m tests.reliability.fuzz --only npz --seed 4711      one input again

A reader may answer, or raise a SeodangError. It fails if it raises anything else, crashes, takes more than a second of
processor time (three in the tests), takes more than 512 MB, warns, imports, opens a file to write, starts a program or reaches for a socket.
An input is decided by the reader's name and a number; one that fails is saved.
"""

from __future__ import annotations

import argparse
import faulthandler
import gc
import json
import mmap
import multiprocessing
import os
import random
import resource
import shutil
import signal
import struct
import sys
import tempfile
import time
import traceback
import warnings
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

from seodang.core.errors import SeodangError

SECONDS, MEMORY, ROOM = 1.0, 512 << 20, 2 << 30
"""Processor time of one input; growth of a process that fails it, and growth at which the system says no."""
CHUNK = 1_000
WARM = 60
"""Inputs of each reader that are not watched: what is lazy happens then."""
STUCK = 120.0
"""Looks, a second apart, after which a process that says nothing is given up."""
MOST = 20
"""Failures of different kinds after which a reader is left alone."""


class Reader(NamedTuple):
    """How inputs for a reader are made, and how it is called."""

    make: Any
    """From a random.Random to the bytes of an input."""
    read: Any
    """From bytes to anything; raises SeodangError."""
    place: Any = None
    """Puts the bytes where `read` looks for them: that is ours to write, and not watched."""


class Failure(NamedTuple):
    reader: str
    seed: int
    what: str
    data: bytes


class Report(NamedTuple):
    counts: Mapping[str, int]
    refused: Mapping[str, int]
    seconds: Mapping[str, float]
    failures: Sequence[Failure]
    growth: int
    """Bytes by which the largest process grew."""
    largest: str
    """The reader that was at work then."""


class Slow(BaseException):
    """Raised by the alarm."""


# ------------------------------------------------------------------------------------------ in the child

_watching = False
_seen: list[str] = []

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
FORBIDDEN = (
    "import", "socket.", "subprocess.", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.kill", "os.remove",
    "os.rename", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.chmod", "os.chown", "os.truncate", "os.putenv", "shutil.",
    "tempfile.", "pickle.find_class", "marshal.load", "exec", "ctypes.", "urllib.", "http.", "webbrowser", "pty.", "signal.",
)  # fmt: skip


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if not _watching:
        return
    if event == "open":
        _, mode, flags = arguments
        if (isinstance(mode, str) and set(mode) & set("wax+")) or (isinstance(flags, int) and flags & WRITING):
            _seen.append(f"open for writing: {arguments}")
    elif event.startswith(FORBIDDEN):
        _seen.append(f"{event} {arguments!r:.200}")


def _too_slow(number: int, frame: FrameType | None) -> None:
    raise Slow("more than a second of processor time\n" + "".join(traceback.format_stack(frame)[-4:]))


def trial(reader: Reader, data: bytes) -> tuple[str, bool]:
    """Read one input; return what was wrong, "" if nothing, and whether it was refused."""
    global _watching
    _seen.clear()
    refused, wrong = False, ""
    if reader.place:
        reader.place(data)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        _watching = True
        reader.read(data)
    except SeodangError as error:
        refused = True
        try:
            str(error).encode()
        except UnicodeEncodeError:
            wrong = f"a message that cannot be printed: {error!r}"
    except BaseException as error:
        trace = traceback.extract_tb(error.__traceback__)[-1:]
        wrong = f"{type(error).__name__}: {error}"[:600] + "".join(
            f" ({place.filename}:{place.lineno})" for place in trace
        )
    finally:
        _watching = False
        signal.setitimer(signal.ITIMER_PROF, 0)
    if _seen:
        wrong = f"{wrong} {'; '.join(_seen[:3])}".strip()
    return wrong, refused


def prepare() -> None:
    """Make this process one that notices."""
    faulthandler.enable()
    sys.addaudithook(_hook)
    signal.signal(signal.SIGPROF, _too_slow)
    warnings.simplefilter("error")
    held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (held + ROOM, resource.RLIM_INFINITY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def peak() -> int:
    """Return the most memory since `forget_peak`, in bytes."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) << 10


def forget_peak() -> int:
    """Count from what is held now, which grows by what the allocator keeps; return it."""
    descriptor = os.open("/proc/self/clear_refs", os.O_WRONLY)
    try:
        os.write(descriptor, b"5")
    finally:
        os.close(descriptor)
    return peak()


def draw_for(name: str, seed: int) -> random.Random:
    return random.Random(zlib.crc32(name.encode()) << 40 | seed)


def _work(number: int, chunks: Sequence[tuple[str, int, int]], taken: Any, memory: mmap.mmap, told: Any, until: float,
          readers: Mapping[str, Any]) -> None:  # fmt: skip
    folder = _folder()
    made: dict[str, Reader] = {}
    done: dict[str, Counter[str]] = {}
    try:
        for name in dict.fromkeys(name for name, _, _ in chunks):  # everything is imported and warm before we watch
            made[name] = readers[name](_below(folder, name))
            done[name] = Counter()
        prepare()
        warm(made)
        gc.collect()
        gc.freeze()
        while time.time() < until:
            with taken.get_lock():
                index, taken.value = taken.value, taken.value + 1
            if index >= len(chunks):
                break
            name, first, last = chunks[index]
            began, refusals, failures = time.process_time(), 0, []
            base, grown = forget_peak(), 0
            for seed in range(first, last):
                struct.pack_into("<qqd", memory, number * 24, index, seed, time.time())
                if len(done[name]) >= MOST:
                    break
                data = made[name].make(draw_for(name, seed))
                wrong, refused = trial(made[name], data)
                refusals += refused
                if seed % 64 == 0 or seed == last - 1:
                    grown = max(grown, peak() - base)
                    if peak() - base > MEMORY:
                        wrong = wrong or f"one of the last 64 inputs took more than {MEMORY >> 20} MB"
                    base = forget_peak()
                if wrong:
                    key = wrong.partition("(")[2] or wrong[:60]
                    done[name][key] += 1
                    if done[name][key] == 1:
                        failures.append(Failure(name, seed, wrong, data))
            told.put((name, last - first, refusals, time.process_time() - began, failures, grown))
    except Exception:
        told.put(("?", 0, 0, 0.0, [Failure("?", 0, traceback.format_exc(), b"")], 0))
    finally:
        struct.pack_into("<qqd", memory, number * 24, -1, -1, time.time())
        shutil.rmtree(folder, ignore_errors=True)
        told.put(None)


def warm(readers: Mapping[str, Reader]) -> None:
    """Let every reader do once what it does lazily: imports, threads, tables."""
    for name, reader in readers.items():
        for seed in range(10**9, 10**9 + WARM):
            trial(reader, reader.make(draw_for(name, seed)))


def _below(folder: Path, name: str) -> Path:
    (folder / name).mkdir()
    return folder / name


def _folder() -> Path:
    shared = Path("/dev/shm")
    return Path(tempfile.mkdtemp(prefix="seodang-fuzz-", dir=shared if shared.is_dir() else None))


# ------------------------------------------------------------------------------------------ in the parent


def fuzz(readers: Mapping[str, Any], inputs: Mapping[str, int], processes: int = 2, seconds: float = 1e9, first: int = 0,
         progress: bool = False) -> Report:  # fmt: skip
    """Run so many inputs of each reader in forked processes."""
    chunks = list(_chunks(inputs, first))
    context = multiprocessing.get_context("fork")
    taken, told = context.Value("q", 0), context.Queue()
    memory = mmap.mmap(-1, 24 * processes)
    until = time.time() + seconds
    children = [
        context.Process(target=_work, args=(number, chunks, taken, memory, told, until, readers))
        for number in range(processes)
    ]
    for number, child in enumerate(children):
        struct.pack_into("<qqd", memory, number * 24, -1, -1, time.time())
        child.start()
    counts, refused, spent = Counter[str](), Counter[str](), Counter[str]()
    failures: list[Failure] = []
    growth, largest, running, lines = 0, "", len(children), time.time()
    while running:
        try:
            found = told.get(timeout=1)
        except Exception:
            found = ()
        if found is None:
            running -= 1
        elif found:
            name, count, refusals, used, new, grown = found
            counts[name] += count
            refused[name] += refusals
            spent[name] += used
            failures += new
            for failure in new if progress else ():
                print(f"{failure.reader} --seed {failure.seed}: {failure.what:.300}", file=sys.stderr, flush=True)
            if grown > growth:
                growth, largest = grown, name
        else:
            lost = _lost(children, memory, chunks, readers)
            failures += lost
            running -= len(lost)
        if progress and time.time() - lines > 15:
            lines = time.time()
            print(
                f"{counts.total():,} of {sum(inputs.values()):,}, {len(failures)} failures", file=sys.stderr, flush=True
            )
    for child in children:
        child.join()
    return Report(counts, refused, spent, failures, growth, largest)


def _chunks(inputs: Mapping[str, int], first: int) -> Iterator[tuple[str, int, int]]:
    left = {name: iter(range(first, first + count, CHUNK)) for name, count in inputs.items()}
    while left:
        for name in list(left):
            start = next(left[name], None)
            if start is None:
                del left[name]
            else:
                yield name, start, min(start + CHUNK, first + inputs[name])


_given_up: set[int] = set()
_quiet: dict[int, tuple[float, int]] = {}
"""When a process last said something, and how often it was then looked at: a machine that sleeps or starves does not look."""


def _lost(children: Sequence[Any], memory: mmap.mmap, chunks: Sequence[tuple[str, int, int]], readers: Mapping[str, Any]
          ) -> list[Failure]:  # fmt: skip
    """Return the inputs at which a process died, or got stuck and was ended."""
    found = []
    for number, child in enumerate(children):
        index, seed, said = struct.unpack_from("<qqd", memory, number * 24)
        if child.pid in _given_up or (index < 0 and child.exitcode == 0):
            continue
        before, looks = _quiet.get(child.pid, (said, 0))
        _quiet[child.pid] = (said, looks + 1 if said == before else 0)  # a second apart
        stuck = child.exitcode is None and _quiet[child.pid][1] > STUCK
        if child.exitcode is None and not stuck:
            continue
        _given_up.add(child.pid)
        if stuck:
            os.kill(child.pid, signal.SIGKILL)
        name = chunks[index][0] if index >= 0 else "?"
        what = f"stuck for {STUCK:.0f} s" if stuck else f"the process died ({child.exitcode})"
        found.append(Failure(name, seed, what, _again(readers, name, seed) if index >= 0 else b""))
    return found


def _again(readers: Mapping[str, Any], name: str, seed: int) -> bytes:
    folder = _folder()
    try:
        data: bytes = readers[name](_below(folder, name)).make(draw_for(name, seed))
        return data
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def save(failures: Sequence[Failure], folder: Path) -> list[str]:
    """Keep inputs that failed, and return a line about each."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for failure in failures:
        path = folder / f"{failure.reader}-{failure.seed}.bin"
        path.write_bytes(failure.data)
        lines.append(f"{failure.reader} --seed {failure.seed}: {failure.what}\n  saved as {path}")
    return lines


def main() -> None:
    import torch

    from tests.reliability.readers import READERS, SHARES, START

    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=2_000_000, help="in all, over all readers")
    parser.add_argument("--seconds", type=float, default=1e9, help="stop after this time")
    parser.add_argument("--only", action="append", choices=sorted(READERS), help="these readers alone")
    parser.add_argument("--seed", type=int, help="one input, with its traceback")
    parser.add_argument("--start", type=int, default=START, help="number of the first input: other than in the tests")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--tests", action="store_true", help="what the tests run")
    parser.add_argument("--report", type=Path, help="a JSON file for the figures")
    parser.add_argument("--failures", type=Path, default=Path("fuzz-failures"), help="where inputs that fail are kept")
    options = parser.parse_args()
    if options.tests:  # on any machine, however slow or busy
        global SECONDS
        SECONDS = 3.0
    names = options.only or list(READERS)
    if options.seed is not None:
        folder = _folder()
        reader = READERS[names[0]](_below(folder, names[0]))
        data = reader.make(draw_for(names[0], options.seed))
        print(f"{len(data)} bytes: {data[:2000]!r}")
        if reader.place:
            reader.place(data)
        print(reader.read(data))
        return
    began = time.monotonic()
    whole = sum(SHARES[name] for name in names)
    inputs = {name: -(-options.inputs * SHARES[name] // whole) for name in names}
    if options.tests:
        inputs, options.start = {name: 1_000 * SHARES[name] for name in names}, 0
    report = fuzz(READERS, inputs, options.processes, options.seconds, options.start, progress=True)
    for name in names:
        each = 1e6 * report.seconds.get(name, 0) / max(1, report.counts.get(name, 0))
        print(
            f"{report.counts.get(name, 0):>10,}  {name:<12} {report.refused.get(name, 0):>10,} refused  {each:6.0f} µs each"
        )
    if options.report:
        figures = {"counts": report.counts, "refused": report.refused, "growth": report.growth, "largest": report.largest,
                   "failures": len(report.failures)}  # fmt: skip
        options.report.write_text(json.dumps(figures))
    for line in save(report.failures, options.failures) if report.failures else ():
        print(line)
    print(f"{sum(report.counts.values()):,} inputs, {len(report.failures)} failures, grew by {report.growth >> 20} MB at most ({report.largest}); "
          f"{time.monotonic() - began:.0f} s")  # fmt: skip
    sys.exit(bool(report.failures))


if __name__ == "__main__":
    main()
