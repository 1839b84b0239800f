"""Batches made by worker processes, in order, each worker watched: one that dies or is stuck is named, with what it read.

PyTorch's `DataLoader` starts the workers and hands out the work. Batches come through memory that is shared before the workers
start: nothing of it is in /dev/shm, which is small in a container, and nothing is asked of a worker that may be gone.
"""

from __future__ import annotations

import mmap
import signal
import struct
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Self

import torch
from torch import Tensor
from torch.utils.data import DataLoader, get_worker_info

from seodang.core.errors import DataError
from seodang.core.language import say

POLL = 1.0
"""Seconds between two looks at the workers while a batch is awaited."""
SLOTS = 4
"""Batches of a worker in shared memory: two that PyTorch asks for ahead, the one that is taken, and one to spare."""
ROOM = 1.25
"""Room for a batch, in sizes of the first. The main process makes the rare larger one itself."""
NOTE = 1024
"""Bytes in which a worker says what it is reading."""
SHOWN = 8
"""Rows a message names."""

_note: memoryview | None = None
"""Where this worker says what it is reading; None in the main process."""


def reading(what: object) -> None:
    """Say what is being read, a file or a row of one: if this worker dies of it, the message names it."""
    if _note is not None:
        text = str(what).encode()[: NOTE - 16]
        _note[8 : 16 + len(text)] = struct.pack("q", len(text)) + text


class Delivery:
    """The batches `fetch(item)` of every item of a plan, made by `workers` processes."""

    def __init__(
        self, fetch: Callable[[Any], Any], plan: Sequence[Any], rows: Callable[[Any], Tensor], sample: Any, workers: int,
        timeout: float, options: dict[str, Any],
    ) -> None:  # fmt: skip
        """`sample` is a batch, for its kind and size; `rows` says which examples an item holds; `options`: DataLoader's."""
        self.fetch, self.plan, self.rows, self.workers, self.timeout = fetch, plan, rows, workers, timeout
        self.kind = type(sample)
        self.slot = int(ROOM * sum(field.nbytes + 64 for field in sample if isinstance(field, Tensor))) + 4096
        self.memory = mmap.mmap(-1, workers * (SLOTS * self.slot + NOTE))
        self.position = 0
        source = _Source(self)
        with _deaths_unheard():
            self._batches: Any = iter(DataLoader(source, batch_size=None, num_workers=workers, timeout=POLL, **options))
        self.end = weakref.finalize(self, _end, self._batches)
        """End the workers, the stopped ones too. Whoever makes a delivery calls it: the collector would come at any moment,
        in any thread, and PyTorch would wait 5 s for each worker."""

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        try:
            return self._next()
        except (StopIteration, KeyboardInterrupt):
            raise
        except BaseException:
            self.end()
            raise

    def _next(self) -> Any:
        until = time.monotonic() + self.timeout
        while True:
            self._look_for_deaths()
            try:
                made = next(self._batches)
                break
            except RuntimeError as error:
                self._look_for_deaths()
                if "timed out" not in str(error):
                    raise
                if time.monotonic() > until:
                    self._fail_stuck(self.position % self.workers)
        self.position += 1
        return self._taken(*made)

    def _taken(self, worker: int, slot: int, fields: list[Any] | None, error: str) -> Any:
        """Return the batch a worker has put into its slot."""
        item = self.plan[self.position - 1]
        if error:
            raise DataError("Worker {worker} could not make a batch (rows {rows}): {error}",
                            worker=worker, rows=self._shown(item), error=error)  # fmt: skip
        if fields is None:
            return self.fetch(item)
        memory = self._slot(worker, slot)
        return self.kind(*(None if field is None else _view(memory, *field).clone() for field in fields))

    def _look_for_deaths(self) -> None:
        for worker, process in enumerate(self._batches._workers):
            if not process.is_alive():
                code = process.exitcode
                how = say("was ended by {signal}", signal=signal.Signals(-code).name) if code < 0 else \
                    say("ended with exit code {code}", code=code)  # fmt: skip
                raise DataError("Worker {worker} (process {pid}) {how} while it read {what}. If memory is short, fewer train.workers "
                                "help. The run goes on exactly from its last checkpoint: seodang resume",
                                worker=worker, pid=process.pid, how=how, what=self._read(worker))  # fmt: skip

    def _fail_stuck(self, worker: int) -> None:
        raise DataError("Worker {worker} (process {pid}) has not given a batch for {seconds:g} s; it reads {what}. "
                        "The run goes on exactly from its last checkpoint: seodang resume. More time: train.timeout",
                        worker=worker, pid=self._batches._workers[worker].pid, seconds=self.timeout,
                        what=self._read(worker))  # fmt: skip

    def _read(self, worker: int) -> str:
        """Say what a worker was reading when it last said so."""
        note = self._place_of_note(worker)
        position, length = struct.unpack_from("qq", note)
        rows = self._shown(self.plan[min(max(position, 0), len(self.plan) - 1)])
        text = bytes(note[16 : 16 + min(max(length, 0), NOTE - 16)]).decode(errors="replace")
        return say("{file} (a batch of rows {rows})", file=text, rows=rows) if text else say("rows {rows}", rows=rows)

    def _shown(self, item: Any) -> str:
        rows = self.rows(item).tolist()
        return ", ".join(map(str, rows[:SHOWN])) + (", …" if len(rows) > SHOWN else "")

    def _place_of_note(self, worker: int) -> memoryview:
        begin = self.workers * SLOTS * self.slot + worker * NOTE
        return memoryview(self.memory)[begin : begin + NOTE]

    def _slot(self, worker: int, slot: int) -> memoryview:
        begin = (worker * SLOTS + slot) * self.slot
        return memoryview(self.memory)[begin : begin + self.slot]


def _end(batches: Any) -> None:
    """Leave nothing of a DataLoader's iterator behind: no process, no thread, no open pipe when the next one is made."""
    for process in batches._workers:
        process.kill()
    for process in batches._workers:
        process.join(POLL)
    for place, queue in enumerate(batches._index_queues):
        batches._workers_status[place] = False  # nobody is left to be told
        queue.close()
        queue.join_thread()
    batches._shutdown_workers()


class _Source:
    """The batches as a map-style dataset: what runs in a worker."""

    def __init__(self, delivery: Delivery) -> None:
        self.delivery, self.count = delivery, 0

    def __len__(self) -> int:
        return len(self.delivery.plan)

    def __getitem__(self, position: int) -> tuple[int, int, list[Any] | None, str]:
        global _note
        info = get_worker_info()
        assert info is not None
        _note = self.delivery._place_of_note(info.id)
        struct.pack_into("qq", _note, 0, position, 0)
        slot, self.count = self.count % SLOTS, self.count + 1
        try:
            batch = self.delivery.fetch(self.delivery.plan[position])
            return info.id, slot, _put(batch, self.delivery._slot(info.id, slot)), ""
        except Exception as error:
            text = str(error) or type(error).__name__
            return (
                info.id,
                slot,
                None,
                text[:2000] if isinstance(error, DataError) else f"{type(error).__name__}: {text}"[:2000],
            )


def _put(batch: Any, memory: memoryview) -> list[Any] | None:
    """Copy the tensors of a batch to shared memory; return where they lie, or None if that is not possible."""
    fields: list[Any] = []
    begin = 0
    for value in batch:
        if value is None:
            fields.append(None)
            continue
        if not isinstance(value, Tensor) or value.device.type != "cpu" or begin + value.nbytes > len(memory):
            return None
        dense = value if value.is_contiguous() or _is_dense(value) else value.contiguous()
        field = (begin, dense.dtype, tuple(dense.shape), dense.stride())
        _view(memory, *field).copy_(dense)
        fields.append(field)
        begin += -(-value.nbytes // 64) * 64
    return fields


def _view(
    memory: memoryview, begin: int, kind: torch.dtype, shape: tuple[int, ...], strides: tuple[int, ...]
) -> Tensor:
    count = 1
    for side in shape:
        count *= side
    if not count:
        return torch.empty(shape, dtype=kind)
    return torch.frombuffer(memory, dtype=kind, count=count, offset=begin).as_strided(shape, strides)


def _is_dense(value: Tensor) -> bool:
    """Whether the numbers of a tensor lie side by side, in whatever order."""
    order = sorted(range(value.ndim), key=value.stride, reverse=True)
    return value.permute(order).is_contiguous()


@contextmanager
def _deaths_unheard() -> Iterator[None]:
    """Leave the signal of a child's death alone: PyTorch would raise wherever the main process happens to be."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGCHLD)
    try:
        yield
    finally:
        signal.signal(signal.SIGCHLD, before)
