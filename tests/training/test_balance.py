"""Uneven classes evened out when examples are drawn."""

from __future__ import annotations

import pytest
import torch

import seodang as sd
from seodang.core.errors import ConfigError
from seodang.data.balance import class_weights
from seodang.data.dataset import Loader, MemoryExamples, TableBatch, epoch_order
from tests.harness import assert_resume_is_exact

LABELS = torch.tensor([0] * 80 + [1] * 20)


@pytest.mark.parametrize(("balance", "share"), [(0.0, 0.2), (0.5, 1 / 3), (1.0, 0.5)])
def test_classes_are_drawn_in_the_wanted_proportion(balance: float, share: float) -> None:
    """n^(1 - b): 80 and 20 become 80:20, 8.9:4.5 and 1:1."""
    weights = class_weights(LABELS, balance)
    rows = torch.cat([epoch_order(100, weights, 0, epoch) for epoch in range(300)])
    assert (LABELS[rows] == 1).double().mean().item() == pytest.approx(share, abs=0.01)
    within = torch.bincount(rows[LABELS[rows] == 1], minlength=100)[80:].double()
    assert within.max() < 1.4 * within.mean(), "examples of a class are drawn alike"


def test_without_weights_every_example_comes_once_and_epochs_differ() -> None:
    assert epoch_order(100, None, 3, 0).sort().values.tolist() == list(range(100))
    weights = class_weights(LABELS, 1.0)
    assert epoch_order(100, weights, 3, 0).tolist() != epoch_order(100, weights, 3, 1).tolist()
    assert epoch_order(100, weights, 3, 1).tolist() == epoch_order(100, weights, 3, 1).tolist()


def test_a_loader_in_the_middle_of_an_epoch_gives_the_same_batches() -> None:
    examples = MemoryExamples(TableBatch, torch.arange(100.0)[:, None], LABELS)
    weights = class_weights(LABELS, 1.0)
    whole, later = (Loader(examples, 8, 1, weights=weights) for _ in range(2))
    batches = [next(whole).features for _ in range(20)]
    later.restore({"epoch": 0, "index": 7})
    assert all(torch.equal(next(later).features, batch) for batch in batches[7:])


def test_a_balanced_run_resumes_exactly(tmp_path) -> None:  # type: ignore[no-untyped-def]
    assert_resume_is_exact("iris-mlp", tmp_path, 5, train={"steps": 9, "balance": 1.0, "threads": 1, "save_every": 3})


@pytest.mark.parametrize(
    ("recipe", "changes", "message"),
    [
        ("diabetes-mlp", {"train.balance": 1.0}, "has no class of its own"),
        ("iris-mlp", {"train.balance": 1.0, "train.bootstrap": 1}, "both decide which examples are drawn"),
        ("iris-mlp", {"train.balance": 2.0}, "should be 1.0 or less"),
    ],
    ids=["quantities", "bootstrap", "range"],
)
def test_what_cannot_be_balanced_is_refused(tmp_path, recipe, changes, message) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ConfigError, match=message):
        sd.train(recipe, run=tmp_path / "run", **changes)
    assert not (tmp_path / "run").exists()
