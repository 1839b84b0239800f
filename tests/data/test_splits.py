"""Splits: every class in proportion, nothing twice, the same for the same seed; and the fingerprint of the data."""

from __future__ import annotations

import pytest
import torch

from seodang.data.splits import fingerprint, stratified_sample, stratified_split

LABELS = torch.tensor([0] * 100 + [1] * 30 + [2] * 7 + [3] * 3)[
    torch.randperm(140, generator=torch.Generator().manual_seed(1))
]


def test_a_split_is_disjoint_complete_in_proportion_and_seeded() -> None:
    parts = stratified_split(LABELS, {"valid": 0.1, "test": 0.2}, seed=4)
    assert sorted(torch.cat(list(parts.values())).tolist()) == list(range(140))
    assert LABELS[parts["test"]].bincount().tolist() == [20, 6, 1, 1]
    assert LABELS[parts["valid"]].bincount().tolist() == [10, 3, 1, 1]
    again, other = (stratified_split(LABELS, {"valid": 0.1, "test": 0.2}, seed=seed) for seed in (4, 5))
    assert torch.equal(parts["test"], again["test"])
    assert not torch.equal(parts["test"], other["test"])


@pytest.mark.parametrize("count", [0, 1, 10, 77, 140])
def test_a_sample_has_exactly_so_many_in_proportion(count: int) -> None:
    taken, left = stratified_sample(LABELS, count, seed=0, key="x")
    assert len(taken) == count
    assert sorted([*taken.tolist(), *left.tolist()]) == list(range(140))
    expected = LABELS.bincount() * count / 140
    assert (LABELS[taken].bincount(minlength=4) - expected).abs().max() < 1


def test_samples_depend_on_seed_and_purpose() -> None:
    base = stratified_sample(LABELS, 50, seed=0, key="valid")[0]
    assert torch.equal(base, stratified_sample(LABELS, 50, seed=0, key="valid")[0])
    assert not torch.equal(base, stratified_sample(LABELS, 50, seed=1, key="valid")[0])
    assert not torch.equal(base, stratified_sample(LABELS, 50, seed=0, key="limit")[0])


def test_the_fingerprint_sees_every_byte_every_row_and_every_shape() -> None:
    values, rows = torch.arange(12).view(3, 4), {"train": torch.tensor([0, 1]), "test": torch.tensor([2])}
    base = fingerprint([values], rows)
    assert base == fingerprint([values.clone()], dict(reversed(rows.items())))
    changed = values.clone()
    changed[2, 3] += 1
    others = [
        fingerprint([changed], rows),
        fingerprint([values.view(4, 3)], rows),
        fingerprint([values.int()], rows),
        fingerprint([values], {"train": torch.tensor([0, 2]), "test": torch.tensor([1])}),
        fingerprint([values], {"train": torch.tensor([0, 1]), "valid": torch.tensor([2])}),
    ]
    assert len({base, *others}) == 6
    short = values.int()
    assert fingerprint([short], rows) != fingerprint([short.view(torch.float32)], rows), (
        "the same bytes of another type"
    )
    assert fingerprint([values.t().contiguous().t()], rows) == base, "layout in memory is no part of the data"
