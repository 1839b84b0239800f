"""Classification: its losses as sums, its scores, its baseline, its answers, and what it refuses."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import seodang as sd
from seodang.core.errors import ConfigError
from seodang.core.inputs import Facts, ImageInputs, Target, VectorInputs
from seodang.core.recipe import Choice
from seodang.data.dataset import Dataset, ImageBatch, TableBatch, datasets
from seodang.task.base import Tally
from seodang.task.classification import Classification, ClassificationConfig
from seodang.task.losses import cross_entropy, perceptron_criterion


def task(classes: int = 3, **settings: Any) -> Classification:
    facts = Facts(inputs=VectorInputs(size=4), classes=tuple(f"class {n}" for n in range(classes)), sizes={"train": 8})
    return Classification(ClassificationConfig.of(settings, where="task"), facts)


def batch(count: int = 8, classes: int = 3) -> TableBatch:
    return TableBatch(torch.randn(count, 4), torch.randint(0, classes, (count,)))


@pytest.mark.parametrize("settings", [{}, {"smoothing": 0.2}, {"loss": "perceptron"}], ids=str)
def test_the_loss_is_a_sum(settings: dict[str, Any]) -> None:
    torch.manual_seed(0)
    one, two, model = batch(), batch(), nn.Linear(4, 3)
    both = TableBatch(*(torch.cat(fields) for fields in zip(one, two, strict=True)))
    made = task(**settings)
    (name, whole), *rest = made.losses(model, both)
    assert name == "model"
    assert not rest
    torch.testing.assert_close(whole, sum(next(made.losses(model, part))[1] for part in (one, two)))


def test_cross_entropy_is_in_nats_and_smoothing_spreads_the_target() -> None:
    logits = torch.tensor([[1.0, 2.0, 0.5]])
    log = logits.log_softmax(1)[0]
    assert cross_entropy(torch.zeros(1, 4), torch.tensor([2])).item() == pytest.approx(math.log(4))
    torch.testing.assert_close(cross_entropy(logits, torch.tensor([1])), -log[1])
    torch.testing.assert_close(cross_entropy(logits, torch.tensor([1]), 0.3), -(0.7 * log[1] + 0.3 * log.mean()))
    assert cross_entropy(logits, torch.tensor([-1])).item() == 0


def test_the_perceptron_criterion_moves_the_right_class_up_and_the_wrong_one_down() -> None:
    logits = torch.tensor([[0.0, 2.0, 1.0], [3.0, 0.0, 0.0], [1.0, 1.0, 0.0]], requires_grad=True)
    loss = perceptron_criterion(logits, torch.tensor([2, 0, 1]))
    loss.backward()
    assert loss.item() == 1.0
    assert logits.grad is not None
    assert logits.grad.tolist() == [[0, 1, -1], [0, 0, 0], [1, -1, 0]]


class Fixed(nn.Module):
    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits = nn.Parameter(logits)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.logits[: len(inputs)]


def ratio(tally: Tally) -> float:
    return torch.as_tensor(tally.total).item() / tally.count


def test_accuracy_counts_right_answers() -> None:
    logits = torch.eye(3)
    scores = task().score(Fixed(logits), TableBatch(torch.zeros(3, 4), torch.tensor([0, 1, 1])))
    assert ratio(scores["accuracy"]) == pytest.approx(2 / 3)
    assert set(scores) == {"accuracy", "loss"}
    torch.testing.assert_close(ratio(scores["loss"]) * 3, cross_entropy(logits, torch.tensor([0, 1, 1])).item())


def test_the_scored_loss_is_not_smoothed() -> None:
    examples, model = TableBatch(torch.zeros(3, 4), torch.tensor([0, 1, 2])), Fixed(torch.randn(3, 3))
    plain, smoothed = (task(**settings).score(model, examples)["loss"] for settings in ({}, {"smoothing": 0.5}))
    assert ratio(plain) == ratio(smoothed)


def test_the_right_one_among_five_is_scored_with_more_than_ten_classes() -> None:
    logits = torch.arange(12.0).expand(6, 12).clone()  # best five: 11 … 7
    labels = torch.tensor([11, 7, 6, 0, 8, 10])
    scores = task(12).score(Fixed(logits), TableBatch(torch.zeros(6, 4), labels))
    assert ratio(scores["top5"]) == pytest.approx(4 / 6)
    assert "top5" not in task(10).score(Fixed(torch.zeros(2, 10)), TableBatch(torch.zeros(2, 4), torch.tensor([0, 1])))


@pytest.mark.parametrize("settings", [{}, {"loss": "perceptron"}], ids=str)
def test_a_rank_may_get_no_examples(settings: dict[str, Any]) -> None:
    scores = task(12, **settings).score(nn.Linear(4, 12), batch(0))
    assert all(torch.as_tensor(tally.total).item() == tally.count == 0 for tally in scores.values())


# ---------------------------------------------------------------------------------------------- baseline


def test_the_baseline_is_the_most_common_class_of_the_training_part() -> None:
    data = datasets.make(Choice.of({"name": "gates", "gate": "nor"}), None, 0)
    data.prepare()
    made = Classification(ClassificationConfig(), data.facts)
    assert made.baseline(data, "test") == {"accuracy (most common class)": 0.75}


def test_the_baseline_of_digits_is_about_a_tenth() -> None:
    data = datasets.make(Choice(name="digits"), None, 0)
    data.prepare()
    found = Classification(ClassificationConfig(), data.facts).baseline(data, "test")
    assert found is not None
    assert 0.09 < found["accuracy (most common class)"] < 0.11


def test_a_datasets_own_baseline_goes_first() -> None:
    class Own(Dataset):
        def baseline(self, split: str) -> dict[str, float]:
            return {f"accuracy (mine on {split})": 0.5}

    data = Own(ClassificationConfig())
    assert task().baseline(data, "valid") == {"accuracy (mine on valid)": 0.5}


# ------------------------------------------------------------------------------------------------ answers


@pytest.fixture
def picture(tmp_path: Path) -> str:
    path = tmp_path / "digit.png"
    Image.fromarray(np.full((8, 8), 200, np.uint8)).save(path)
    return str(path)


PICTURES = Facts(inputs=ImageInputs(channels=1, height=8, width=8, mean=(0.0,), std=(1.0,)), classes=("a", "b", "c"),
                 sizes={"train": 1})  # fmt: skip


def test_the_answer_names_the_class_and_every_probability(picture: str) -> None:
    made = Classification(ClassificationConfig(), PICTURES)
    answer = made.predict(Fixed(torch.tensor([[0.0, math.log(3), math.log(4)]])), picture)
    assert answer.text == "c (50.0%)"
    assert answer.values["class"] == "c"
    assert list(answer.values["probabilities"]) == ["c", "b", "a"]
    assert list(answer.values["probabilities"].values()) == pytest.approx([0.5, 0.375, 0.125])


def test_a_perceptron_pretends_no_probabilities(picture: str) -> None:
    made = Classification(ClassificationConfig(loss="perceptron"), PICTURES)
    answer = made.predict(Fixed(torch.tensor([[0.0, 0.1, 0.2]])), picture)
    assert answer.text == "c"
    assert answer.values["probabilities"] == {"c": 1.0, "a": 0.0, "b": 0.0}


# ----------------------------------------------------------------------------------------------- refusals


def test_smoothing_belongs_to_cross_entropy() -> None:
    with pytest.raises(ConfigError, match=r"smoothing=0.1 goes with loss=cross-entropy only"):
        task(loss="perceptron", smoothing=0.1)


def test_quantities_are_no_classes() -> None:
    facts = Facts(inputs=VectorInputs(size=4), targets=(Target(name="price"),), sizes={"train": 8})
    with pytest.raises(ConfigError, match=r"no classes but quantities: price. Use task.name=regression"):
        Classification(ClassificationConfig(), facts)


def test_one_class_is_nothing_to_tell_apart() -> None:
    with pytest.raises(ConfigError, match="one class only, 'class 0'; there is nothing to tell apart"):
        task(classes=1)


# --------------------------------------------------------------------------------------------------- runs


@pytest.mark.parametrize("loss", ["cross-entropy", "perceptron"])
def test_a_linear_model_learns_digits_with_either_loss(tmp_path: Path, loss: str) -> None:
    run = sd.train(
        {"name": "linear", "model": "linear", "data": "digits", "task": {"name": "classification", "loss": loss},
         "optimizer": {"name": "sgd", "lr": 0.05}, "train": {"epochs": 25, "threads": 1, "evaluate_every": 0}},
        run=tmp_path / "run",
    )  # fmt: skip
    assert run.scores["accuracy"] > 0.9


def test_a_batch_of_pictures_is_scored_like_vectors() -> None:
    images = ImageBatch(torch.randn(5, 1, 8, 8), torch.arange(5) % 3)
    scores = Classification(ClassificationConfig(), PICTURES).score(
        nn.Sequential(nn.Flatten(), nn.Linear(64, 3)), images
    )
    assert float(scores["accuracy"].count) == 5
