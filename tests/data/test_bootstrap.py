"""Bootstrap samples: drawn with replacement, by seed and number, in one place for every dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import seodang as sd
from seodang.core.errors import ConfigError, TrainingError
from seodang.data.bootstrap import Resampled
from seodang.data.dataset import Loader, MemoryExamples, TableBatch

COUNT = 4000


def examples() -> MemoryExamples:
    return MemoryExamples(TableBatch, torch.arange(COUNT)[:, None].float(), torch.arange(COUNT) % 3)


def test_a_sample_is_drawn_with_replacement() -> None:
    sample = Resampled(examples(), seed=1, number=1)
    rows, labels = sample.batch(torch.arange(COUNT), None)
    assert len(sample) == len(rows) == COUNT
    assert (rows[:, 0].long() % 3 == labels).all()
    assert len(rows.unique()) / COUNT == pytest.approx(1 - 1 / torch.e, abs=0.02)
    counts = torch.bincount(rows[:, 0].long(), minlength=COUNT)
    assert (counts == 2).double().mean().item() == pytest.approx(0.184, abs=0.02)  # Poisson with mean 1


def test_it_depends_on_seed_and_number_alone() -> None:
    one = Resampled(examples(), 1, 1).rows
    assert torch.equal(one, Resampled(examples(), 1, 1).rows)
    assert not torch.equal(one, Resampled(examples(), 1, 2).rows)
    assert not torch.equal(one, Resampled(examples(), 2, 1).rows)


def test_an_example_is_named_by_its_own_row() -> None:
    sample = Resampled(examples(), 0, 1)
    loader = Loader(sample, 10, 0)
    batch = next(loader)
    given = loader.given()
    assert given.kind == "row"
    assert batch.features[:, 0].tolist() == given.numbers


RECIPE: dict[str, Any] = {"train": {"threads": 1, "steps": 3, "evaluate_every": 0}, "data": {"augment": []}}


def test_training_takes_the_sample_and_scores_stay_on_all_examples(tmp_path: Path) -> None:
    plain = sd.train("digits-mlp", run=tmp_path / "plain", **RECIPE)
    runs = [sd.train("digits-mlp", run=tmp_path / f"{number}-{time}", **{**RECIPE, "train": {**RECIPE["train"], "bootstrap": number}})
            for number, time in ((1, 0), (1, 1), (2, 0))]  # fmt: skip
    facts = [run.bundle().record.facts for run in (plain, *runs)]
    assert all(one == facts[0] for one in facts)  # statistics, splits and fingerprint are those of the whole data
    assert runs[0].scores == runs[1].scores
    assert len({plain.scores["loss"], runs[0].scores["loss"], runs[2].scores["loss"]}) == 3


def test_a_stream_of_text_has_no_examples_to_draw(tmp_path: Path) -> None:
    (tmp_path / "story.txt").write_text("once upon a time " * 50)
    with pytest.raises(ConfigError, match=r"train.bootstrap=1: .*the data 'text' gives tokens"):
        sd.train("shakespeare-gpt", data={"name": "text", "path": str(tmp_path / "story.txt"), "context": 8},
                 run=tmp_path / "run", train={"threads": 1, "steps": 2, "bootstrap": 1})  # fmt: skip
    assert not (tmp_path / "run").exists()


def test_a_bad_example_is_named_by_its_row_in_the_file(tmp_path: Path) -> None:
    import numpy as np

    values = np.random.default_rng(0).normal(size=(60, 2)).astype(np.float32)
    values[17] = 1e30
    np.savez(tmp_path / "points.npz", x=values, y=np.arange(60) % 2)
    with pytest.raises(TrainingError, match=r"17"):
        sd.train({"name": "small", "model": {"name": "mlp", "hidden_sizes": [4]}, "task": "classification",
                  "data": {"name": "arrays", "path": str(tmp_path / "points.npz")},
                  "optimizer": {"name": "sgd", "lr": 1e20},
                  "train": {"threads": 1, "steps": 30, "bootstrap": 1, "batch_size": 60}}, run=tmp_path / "run")  # fmt: skip
