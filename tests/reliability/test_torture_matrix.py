"""Resume equivalence: from every kind of step, with and without workers, on pictures, text and an agent's own experience.

What every update is given is compared in order, to the byte and by the numbers of the examples; then the ends are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import seodang as sd
from seodang.core.recipe import Recipe
from seodang.core.run import RunFolder
from seodang.data.dataset import Loader
from seodang.training.trainer import Trainer
from seodang.training.update import Updates
from tests.harness import assert_same_end, killed_after
from tests.reliability.families import families

STEPS = {"images": 14, "text": 9, "agent": 24}
FAMILIES = {"images": "supervised", "text": "language", "agent": "agent"}
CELLS = [
    *((data, workers, where) for data in ("images", "text") for workers in (0, 2)
      for where in ("first", "middle of an epoch", "end of an epoch", "last")),
    *(("agent", 0, where) for where in ("first", "middle of an epoch", "last")),
]  # fmt: skip


class Update(NamedTuple):
    """What one update was given."""

    step: int
    numbers: tuple[int, ...]
    digest: str


class Whole(NamedTuple):
    """A run nobody killed, what its updates were given, and the length of its epoch."""

    run: RunFolder
    given: list[Update]
    epoch: int


def recipe_of(data: str, workers: int, folder: Path) -> Recipe:
    found = families(folder)[FAMILIES[data]]
    size = {"images": 256, "text": 64, "agent": 16}[data]
    changed = {"steps": STEPS[data], "save_every": 1, "workers": workers, "batch_size": size, "log_every": 2}
    return found.replace(train={**found.train.values(), **changed})


@contextmanager
def recorded(given: list[Update], epochs: list[int]) -> Iterator[None]:
    """Write down what every update is given, in the order in which it comes."""
    update, make = Trainer._update, Updates.make
    digests: list[str] = []

    def noting(self: Updates, parts: Any, *rest: Any) -> Any:
        tensors = [field for part in parts for field in part if field is not None]
        digests.append(hashlib.sha256(b"".join(field.contiguous().numpy().tobytes() for field in tensors)).hexdigest())
        return make(self, parts, *rest)

    def telling(self: Trainer) -> None:
        update(self)
        came = self._given()
        assert came is not None
        given.append(Update(self.step, tuple(came.numbers), digests[-1]))
        epochs[:] = [len(self.loader) if self.loader else 0]

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Updates, "make", noting)
        patched.setattr(Trainer, "_update", telling)
        yield


@pytest.fixture(scope="module")
def wholes() -> dict[tuple[str, int], Whole]:
    return {}


def whole(wholes: dict[tuple[str, int], Whole], data: str, workers: int, folder: Path) -> Whole:
    if (data, workers) not in wholes:
        given: list[Update] = []
        epochs: list[int] = []
        with recorded(given, epochs):
            run = sd.train(recipe_of(data, workers, folder), run=folder / f"whole-{data}-{workers}")
        wholes[data, workers] = Whole(run, given, epochs[0])
    return wholes[data, workers]


@pytest.mark.parametrize(("data", "workers", "where"), CELLS, ids=str)
def test_resumed_at_any_step_the_order_and_the_bytes_are_the_same(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, wholes: dict[tuple[str, int], Whole], data: str,
    workers: int, where: str,
) -> None:  # fmt: skip
    shared = tmp_path_factory.getbasetemp()
    expected = whole(wholes, data, workers, shared)
    epoch, last = expected.epoch, STEPS[data] - 1
    step = {"first": 1, "middle of an epoch": epoch // 2 or last // 2, "end of an epoch": epoch, "last": last}[where]
    assert 1 <= step <= last
    before: list[Update] = []
    after: list[Update] = []
    with recorded(before, []), killed_after(step + 1):
        sd.train(recipe_of(data, workers, shared), run=tmp_path / "killed")
    assert RunFolder(tmp_path / "killed").checkpoints[-1].name == f"step-{step:09d}"
    with recorded(after, []):
        resumed = sd.resume(tmp_path / "killed")
    assert [update.step for update in after] == [*range(step + 1, STEPS[data] + 1)]
    assert before[:step] + after == expected.given
    assert_same_end(expected.run, resumed)


def test_another_order_is_noticed(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same examples in another order: what a comparison of sorted numbers would let pass."""
    wholes: dict[tuple[str, int], Whole] = {}
    expected = whole(wholes, "images", 0, tmp_path_factory.mktemp("whole"))
    chunks = Loader._chunks
    monkeypatch.setattr(Loader, "_chunks", lambda self, epoch: [chunk.flip(0) for chunk in chunks(self, epoch)])
    given: list[Update] = []
    with recorded(given, []):
        sd.train(recipe_of("images", 0, tmp_path), run=tmp_path / "run")
    assert [sorted(update.numbers) for update in given] == [sorted(update.numbers) for update in expected.given]
    assert given != expected.given
