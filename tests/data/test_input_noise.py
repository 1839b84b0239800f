"""Noise on training rows: on numbers only, of the right size, drawn anew each epoch, the same in every run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from seodang.core.recipe import Choice
from seodang.data.dataset import Dataset, Draws, Loader, datasets

MIXED = "size,colour,age,kind\n" + "".join(
    f"{row % 7},{'red' if row % 3 else 'blue'},{'' if row % 5 == 0 else row},{'ab'[row % 2]}\n" for row in range(200)
)


def prepared(name: str, **settings: object) -> Dataset:
    data = datasets.make(Choice.of({"name": name, **settings}), None, 0)
    data.prepare()
    return data


def test_only_numbers_of_training_rows_move(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text(MIXED)
    clean, noisy = (prepared("table", path=str(tmp_path / "table.csv"), noise=noise) for noise in (0.0, 0.5))
    rows = torch.arange(100)
    draws = Draws(0, 0, 0, 100, slice(None))
    plain, targets = clean.split("train").batch(rows, draws)
    moved, same = noisy.split("train").batch(rows, draws)
    change = moved - plain
    assert [bool(column.any()) for column in change.T] == [True, False, False, True, False], (
        "size, 2 colours, age, missing"
    )
    assert change[:, [0, 3]].std().item() == pytest.approx(0.5, rel=0.15)
    assert torch.equal(targets, same)
    assert torch.equal(noisy.split("train").batch(rows, None)[0], plain), "nothing is random where nothing may be"
    assert torch.equal(noisy.split("test").batch(rows[:5], draws)[0], clean.split("test").batch(rows[:5], draws)[0])
    assert noisy.facts.digest == clean.facts.digest


def test_it_repeats_and_is_new_each_epoch(tmp_path: Path) -> None:
    np.savez(tmp_path / "rows.npz", x=np.random.default_rng(0).normal(5, 3, (60, 4)), y=np.arange(60) % 2)
    data = prepared("arrays", path=str(tmp_path / "rows.npz"), noise=0.3)

    def batches() -> list[torch.Tensor]:
        loader = Loader(data.split("train"), 42, seed=1)
        return [next(loader)[0] for _ in range(2)]

    first, again = batches(), batches()
    assert all(torch.equal(one, two) for one, two in zip(first, again, strict=True))
    assert not torch.equal(first[0].sort(0).values, first[1].sort(0).values)


def test_ranks_see_what_one_would(tmp_path: Path) -> None:
    data = prepared("wine", noise=0.2)
    whole = next(Loader(data.split("train"), 40, seed=0))[0]
    halves = [next(Loader(data.split("train"), 40, seed=0, rank=rank, world=2))[0] for rank in range(2)]
    assert torch.equal(torch.cat(halves), whole)
