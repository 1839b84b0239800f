"""The loader: every example once an epoch, in an order that (seed, epoch) alone decides, on any number of ranks."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from seodang.data.dataset import Batch, Draws, ImageBatch, Loader, MemoryExamples, in_order, micro_batches


class Numbers(MemoryExamples):
    """Example i is the number i, with noise drawn for it."""

    def __init__(self, count: int) -> None:
        super().__init__(ImageBatch, torch.arange(count), None)

    def batch(self, rows: Tensor, draws: Draws | None) -> Batch:
        images, _ = super().batch(rows, draws)
        return ImageBatch(images, None if draws is None else draws.uniform())


def epoch(loader: Loader) -> list[list[int]]:
    return [next(loader)[0].tolist() for _ in range(len(loader))]


@settings(max_examples=150, deadline=None)
@given(count=st.integers(1, 60), size=st.integers(1, 70), world=st.integers(1, 4), seed=st.integers(0, 5))
def test_an_epoch_holds_each_example_once(count: int, size: int, world: int, seed: int) -> None:
    if min(size, count) < world:
        return
    ranks = [epoch(Loader(Numbers(count), size, seed, rank, world)) for rank in range(world)]
    assert len({len(batches) for batches in ranks}) == 1, "every rank makes the same number of updates"
    assert all(batch for batches in ranks for batch in batches), "no rank gets an empty batch"
    seen = Counter(number for batches in ranks for batch in batches for number in batch)
    assert max(seen.values()) == 1
    left = count % min(size, count)
    dropped = left if left < world and left != 1 else 0
    assert len(seen) == count - dropped


@settings(max_examples=60, deadline=None)
@given(count=st.integers(2, 50), size=st.integers(1, 20), taken=st.integers(0, 70), seed=st.integers(0, 3))
def test_two_numbers_are_the_whole_position(count: int, size: int, taken: int, seed: int) -> None:
    loader = Loader(Numbers(count), size, seed)
    for _ in range(taken):
        next(loader)
    other = Loader(Numbers(count), size, seed)
    other.restore(loader.state())
    for _ in range(2 * len(loader)):
        one, two = next(loader), next(other)
        assert one[0].tolist() == two[0].tolist()
        assert one[1].tolist() == two[1].tolist()


def test_epochs_and_seeds_differ() -> None:
    loader = Loader(Numbers(50), 50, seed=0)
    first, second = next(loader)[0].tolist(), next(loader)[0].tolist()
    assert first != second
    assert first != next(Loader(Numbers(50), 50, seed=1))[0].tolist()
    assert first == next(Loader(Numbers(50), 50, seed=0))[0].tolist()


def test_randomness_does_not_depend_on_the_number_of_ranks() -> None:
    whole = next(Loader(Numbers(20), 9, seed=3))
    parts = [next(Loader(Numbers(20), 9, 3, rank, 2)) for rank in range(2)]
    assert torch.cat([part[0] for part in parts]).tolist() == whole[0].tolist()
    assert torch.cat([part[1] for part in parts]).tolist() == whole[1].tolist()


def test_a_lonely_last_example_joins_the_batch_before() -> None:
    assert [len(batch) for batch in epoch(Loader(Numbers(21), 10, 0))] == [10, 11]
    assert [len(batch) for batch in epoch(Loader(Numbers(22), 10, 0))] == [10, 10, 2]


@pytest.mark.parametrize("world", [1, 2, 3])
def test_evaluation_sees_each_once_and_ranks_keep_step(world: int) -> None:
    ranks = [[batch[0].tolist() for batch in in_order(Numbers(10), 4, rank, world)] for rank in range(world)]
    assert len({len(batches) for batches in ranks}) == 1
    assert sorted(number for batches in ranks for batch in batches for number in batch) == list(range(10))


@settings(max_examples=100, deadline=None)
@given(length=st.integers(1, 40), parts=st.integers(1, 12))
def test_micro_batches_are_even_and_whole(length: int, parts: int) -> None:
    cut = micro_batches(ImageBatch(torch.arange(length), None), parts)
    sizes = [len(part[0]) for part in cut]
    assert torch.cat([part[0] for part in cut]).tolist() == list(range(length))
    assert len(cut) == min(parts, length)
    assert max(sizes) - min(sizes) <= 1
