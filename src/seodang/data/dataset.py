"""Datasets, examples, and the loader: the order of epoch e depends on (seed, e) alone.

A position in the data is two whole numbers, so a run resumes exactly and without replaying. Whatever is
random about a batch (augmentation, where a window of text begins) is drawn from (seed, epoch, index) for
the whole batch, of which every rank takes its rows: one device and eight see the same pictures.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from typing import Any, ClassVar, NamedTuple, Protocol, Self, TypeAlias

import torch
from torch import Tensor

from seodang.core.config import Config
from seodang.core.inputs import Facts
from seodang.core.language import say
from seodang.core.registry import Registry
from seodang.data.delivery import Delivery
from seodang.data.finding import Finding
from seodang.data.workers import come_up, stops_held_back


class ImageBatch(NamedTuple):
    """`images` (B, C, H, W), normalised; `labels` (B,), or None where there are none."""

    images: Tensor
    labels: Tensor | None


class TableBatch(NamedTuple):
    """`features` (B, D); `targets` (B,) class numbers or (B, K) standardised quantities."""

    features: Tensor
    targets: Tensor


class TokenBatch(NamedTuple):
    """`tokens` (B, T); `targets` (B, T) the next token at each place, -1 where nothing counts."""

    tokens: Tensor
    targets: Tensor


Batch: TypeAlias = tuple[Any, ...]


class Given(NamedTuple):
    """Which examples a batch holds: what their numbers count, one number for each, and when they came."""

    kind: str
    numbers: list[int]
    place: str


class Draws:
    """Random numbers for one batch of `total` examples, of which this rank holds `rows`."""

    def __init__(self, seed: int, epoch: int, index: int, total: int, rows: slice) -> None:
        self._key = (seed, epoch, index)
        self._total, self._rows = total, rows
        self._generator: torch.Generator | None = None

    def uniform(self, *shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        """Return float32 (B, *shape), uniform in [low, high)."""
        values = torch.rand(self._total, *shape, generator=self.generator)
        return values[self._rows] * (high - low) + low

    def normal(self, *shape: int) -> Tensor:
        """Return float32 (B, *shape), standard normal."""
        return torch.randn(self._total, *shape, generator=self.generator)[self._rows]

    def integers(self, low: int, high: int, *shape: int) -> Tensor:
        """Return int64 (B, *shape), uniform in low … high - 1."""
        return torch.randint(low, high, (self._total, *shape), generator=self.generator)[self._rows]

    def bytes(self, *shape: int) -> Tensor:
        """Return uint8 (B, *shape), uniform in 0 … 255: eight to a random number, so a tenth of the time of `integers`."""
        count = math.prod(shape)
        numbers = torch.empty(self._total, -(-count // 8), dtype=torch.int64)
        numbers.random_(-(2**63), None, generator=self.generator)
        return numbers[self._rows].view(torch.uint8)[:, :count].reshape(-1, *shape)

    @property
    def generator(self) -> torch.Generator:
        if self._generator is None:
            self._generator = generator(*self._key)
        return self._generator


def generator(*key: int | str) -> torch.Generator:
    """Return a CPU generator that depends on `key` alone."""
    seed = int.from_bytes(hashlib.sha256(repr(key).encode()).digest()[:8], "little", signed=True)
    return torch.Generator().manual_seed(seed)


class Examples(Protocol):
    """The examples of one split."""

    def __len__(self) -> int: ...

    def batch(self, rows: Tensor, draws: Draws | None) -> Batch:
        """Return the examples with these row numbers; `draws` is None where nothing may be random.

        Where the row number does not tell which example it was, ``identify(rows, draws)`` returns what does: a word
        for it, and a number for each.
        """
        ...


class MemoryExamples:
    """Examples held as tensors, batched by index."""

    def __init__(self, kind: type[Batch], *fields: Tensor | None) -> None:
        self.kind, self.fields = kind, fields

    def __len__(self) -> int:
        assert self.fields[0] is not None
        return len(self.fields[0])

    def batch(self, rows: Tensor, draws: Draws | None) -> Batch:
        return self.kind(*(None if field is None else field[rows] for field in self.fields))


class Dataset:
    """Gives splits, facts about itself, and batches. Subclasses are registered in `datasets`.

    The class is made with its settings; nothing is read before `prepare`.
    """

    kinds: ClassVar[tuple[str, ...]] = ("classification",)
    """Tasks it can serve."""

    def __init__(self, settings: Config, seed: int = 0) -> None:
        self.settings, self.seed = settings, seed

    facts: Facts
    remarks: tuple[str, ...] = ()
    """Those of the facts' notes that are said when training begins: how the data is split, then what is left out."""
    findings: list[Finding] | None = None
    """What the check before training has found, once it has looked."""
    adopted: Facts | None = None

    def adopt(self, facts: Facts | None) -> None:
        """Read with the statistics, classes and columns a model was trained with, instead of finding them anew."""
        self.adopted = facts

    def prepare(self) -> None:
        """Find, verify, read. Runs once, before anything asks for facts or splits."""

    def split(self, name: str) -> Examples:
        """Return the examples of ``"train"``, ``"valid"`` or ``"test"``."""
        raise KeyError(name)

    def where(self, split: str, row: int) -> str:
        """Return where an example of a split comes from, as its owner would look for it: a file, a line of it, a row."""
        return say("{split}, row {row}", split=split, row=row)

    def baseline(self, split: str) -> dict[str, float] | None:
        """Return what simple methods score on a split, each under "score (method)"; None if there are none."""
        return None


datasets: Registry[Dataset] = Registry("dataset", "seodang.data", "data")


class Loader:
    """Batches of a split for ever, epoch after epoch; every rank takes its part of each.

    The last batch of an epoch may be smaller, so that no example is left out. A last batch of a single
    example is joined with the one before (no batch statistics can be taken of one), and one with fewer
    examples than ranks is dropped. With `weights`, one for each example, an epoch is as many draws with replacement.
    """

    def __init__(
        self, examples: Examples, batch_size: int, seed: int, rank: int = 0, world: int = 1, workers: int = 0,
        timeout: float = 120.0, weights: Tensor | None = None,
    ) -> None:  # fmt: skip
        self.examples, self.seed, self.rank, self.world = examples, seed, rank, world
        self.weights = weights
        self.batch_size, self.workers, self.timeout = min(batch_size, len(examples)), workers, timeout
        self.epoch = self.index = 0
        self._iterator: Delivery | Iterator[Batch] | None = None
        self._sample: Batch | None = None

    def __len__(self) -> int:
        """Return the number of batches in an epoch."""
        full, left = divmod(len(self.examples), self.batch_size)
        return full + int(left >= max(self.world, 2)) or 1

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Batch:
        if self._iterator is None:
            self._iterator = self._epoch(self.epoch, self.index, self.workers)
        batch = next(self._iterator)
        self.index += 1
        if self.index == len(self):
            self.end()
            self.epoch, self.index = self.epoch + 1, 0
        return batch

    def end(self) -> None:
        """End the worker processes, if there are any; the position stays."""
        if isinstance(self._iterator, Delivery):
            self._iterator.end()
        self._iterator = None

    def peek(self) -> Batch:
        """Return the first batch of the first epoch, without taking it."""
        self._sample = next(self._epoch(0, 0, workers=0))
        return self._sample

    def given(self, back: int = 0) -> Given:
        """Say which examples this rank's part of the last batch holds, or of the one `back` before it."""
        epoch, index, chunk = self._behind(back)
        rows, draws = self._part(epoch, index, chunk)
        identify = getattr(self.examples, "identify", None)
        kind, numbers = identify(rows, draws) if identify else (say("row"), rows)
        place = say("epoch {epoch}, batch {batch} of {count}", epoch=epoch + 1, batch=index + 1, count=len(self))
        return Given(kind, numbers.tolist(), place)

    def again(self, back: int) -> Batch:
        """Return the last batch once more, or the one `back` before it; the position stays."""
        return self._fetch(self._behind(back))

    def _behind(self, back: int) -> tuple[int, int, Tensor]:
        epoch, index = divmod(self.epoch * len(self) + self.index - 1 - back, len(self))
        return epoch, index, self._chunks(epoch)[index]

    def state(self) -> dict[str, Any]:
        return {"epoch": self.epoch, "index": self.index}

    def restore(self, state: dict[str, Any]) -> None:
        self.end()
        self.epoch, self.index = state["epoch"], state["index"]

    def _epoch(self, epoch: int, start: int, workers: int) -> Iterator[Batch]:
        plan = [(epoch, index, chunk) for index, chunk in enumerate(self._chunks(epoch))][start:]
        if not workers:
            return map(self._fetch, plan)
        sample = self.peek() if self._sample is None else self._sample
        options = {"generator": generator("workers"), "worker_init_fn": partial(come_up, os.getpid())}
        with stops_held_back():
            return Delivery(self._fetch, plan, self._rows, sample, workers, self.timeout, options)

    def _rows(self, item: tuple[int, int, Tensor]) -> Tensor:
        return self._part(*item)[0]

    def _chunks(self, epoch: int) -> list[Tensor]:
        """Return the row numbers of every batch of an epoch."""
        order = epoch_order(len(self.examples), self.weights, self.seed, epoch)
        chunks = list(order.split(self.batch_size))
        if len(chunks) > len(self) and len(chunks[-1]) == 1:
            chunks[-2:] = [torch.cat(chunks[-2:])]
        return chunks[: len(self)]

    def _fetch(self, item: tuple[int, int, Tensor]) -> Batch:
        return self.examples.batch(*self._part(*item))

    def _part(self, epoch: int, index: int, chunk: Tensor) -> tuple[Tensor, Draws]:
        """Return the row numbers of this rank's part of a batch, and its random numbers."""
        base, more = divmod(len(chunk), self.world)
        start = self.rank * base + min(self.rank, more)
        rows = slice(start, start + base + int(self.rank < more))
        return chunk[rows], Draws(self.seed, epoch, index, len(chunk), rows)


def epoch_order(count: int, weights: Tensor | None, seed: int, epoch: int) -> Tensor:
    """Return the row numbers of an epoch: every row once, or, with `weights`, as many rows drawn with replacement."""
    if weights is None:
        return torch.randperm(count, generator=generator(seed, epoch))
    bounds = weights.double().cumsum(0)
    drawn = torch.rand(count, generator=generator(seed, epoch, "weighted"), dtype=torch.float64) * bounds[-1]
    return torch.searchsorted(bounds, drawn, right=True).clamp_(max=count - 1)


def in_order(examples: Examples, batch_size: int, rank: int = 0, world: int = 1) -> Iterator[Batch]:
    """Yield every example of a split once, in order; ranks get equal numbers of batches, some empty."""
    for chunk in torch.arange(len(examples)).split(batch_size):
        yield examples.batch(chunk.tensor_split(world)[rank], None)


def map_tensors(batch: Batch, change: Any) -> Batch:
    """Return the batch with `change` applied to each tensor."""
    return type(batch)(*(None if field is None else change(field) for field in batch))  # type: ignore[call-arg]


def micro_batches(batch: Batch, parts: int) -> list[Batch]:
    """Cut a batch into at most `parts` batches of nearly equal size, none of them empty."""
    if parts == 1:
        return [batch]
    length = len(batch[0])
    bounds = [round(length * part / parts) for part in range(parts + 1)]
    return [
        map_tensors(batch, lambda field, first=first, last=last: field[first:last])
        for first, last in pairwise(bounds)
        if last > first
    ]
