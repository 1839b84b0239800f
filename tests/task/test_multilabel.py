"""Several labels for one picture: the loss, the scores beside scikit-learn, and a run from a CSV."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import average_precision_score, f1_score
from torch import nn

import seodang as sd
from seodang.core.errors import ConfigError
from seodang.core.inputs import Facts, ImageInputs
from seodang.data.dataset import ImageBatch
from seodang.task.multilabel import Multilabel, MultilabelConfig, average_precision

INPUTS = ImageInputs(channels=1, height=1, width=4, mean=(0.0,), std=(1.0,))
FACTS = Facts(inputs=INPUTS, classes=("a", "b", "c", "d"), several=True, sizes={"train": 8})


def task(**settings: float) -> Multilabel:
    return Multilabel(MultilabelConfig.of(settings), FACTS)


def examples(count: int, seed: int = 0) -> ImageBatch:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(count, 1, 1, 4, generator=generator)
    return ImageBatch(images, (torch.rand(count, 4, generator=generator) < 0.4).float())


@pytest.mark.parametrize("levels", [0, 5], ids=["all different", "many equal"])
def test_average_precision_is_that_of_scikit_learn(levels: int) -> None:
    generator = torch.Generator().manual_seed(1)
    scores, targets = torch.randn(200, 6, generator=generator), (torch.rand(200, 6, generator=generator) < 0.2).float()
    if levels:
        scores = (scores * 2).round() / 2
    ours = average_precision(scores, targets).tolist()
    theirs = [average_precision_score(targets[:, label], scores[:, label]) for label in range(6)]
    assert ours == pytest.approx(theirs, abs=1e-6)


def test_scores_are_those_of_scikit_learn_over_all_batches_together() -> None:
    model, batches = nn.Flatten(), [examples(20, 1), examples(13, 2)]
    tallies = task().evaluate(model, batches)
    scores = {name: float(tally.total) / float(tally.count) for name, tally in tallies.items()}
    logits = torch.cat([model(batch.images) for batch in batches])
    targets = torch.cat([batch.labels for batch in batches])  # type: ignore[misc]
    said = logits >= 0
    assert scores["map"] == pytest.approx(average_precision_score(targets, logits, average="macro"), abs=1e-6)
    assert scores["f1_micro"] == pytest.approx(f1_score(targets, said, average="micro"), abs=1e-6)
    assert scores["f1_macro"] == pytest.approx(f1_score(targets, said, average="macro"), abs=1e-6)


def test_the_loss_is_a_sum_over_examples_and_a_mean_over_labels() -> None:
    batch = examples(5)
    ((_, once),) = task().losses(nn.Flatten(), batch)
    ((_, twice),) = task().losses(nn.Flatten(), ImageBatch(*(torch.cat([field, field]) for field in batch)))  # type: ignore[list-item]
    chance = batch.images.flatten(1).double().sigmoid()
    labels = batch.labels.double()  # type: ignore[union-attr]
    by_hand = -(labels * chance.log() + (1 - labels) * (1 - chance).log()).mean(1).sum()
    assert once.item() == pytest.approx(by_hand.item(), rel=1e-6)
    assert twice.item() == pytest.approx(2 * once.item(), rel=1e-6)


def photos(root: Path) -> Path:
    """Bright upper halves are `up`, bright left halves `left`; both, one or none."""
    root.mkdir()
    rows, rng = ["path,labels"], np.random.default_rng(0)
    for number in range(80):
        up, left = number % 2, number // 2 % 2
        picture = rng.integers(0, 80, (12, 12))
        picture[:6] += 80 * up
        picture[:, :6] += 80 * left
        Image.fromarray(picture.astype(np.uint8)).save(root / f"{number}.png")
        labels = [name for name, there in (("up", up), ("left", left)) if there]
        rows.append(f"{number}.png,{';'.join(labels)}")
    (root / "labels.csv").write_text("\n".join(rows) + "\n")
    return root


def test_a_run_learns_several_labels_from_a_csv(tmp_path: Path) -> None:
    root = photos(tmp_path / "photos")
    run = sd.train("lenet-5", data=root, run=tmp_path / "run", **{
        "data.labels": "labels.csv", "data.image_size": 28, "train.epochs": 12, "train.threads": 1, "optimizer.lr": 0.003})  # fmt: skip
    assert run.recipe.task.name == "multilabel"
    assert run.scores["map"] > 0.95
    assert run.scores["f1_micro"] > 0.9
    (answer,) = run.predict(str(root / "3.png"))
    assert set(answer.values["labels"]) == {"up", "left"}
    (answer,) = run.predict(str(root / "0.png"))
    assert answer.values["labels"] == []
    assert answer.text == "–"


def test_one_class_of_each_is_refused_where_there_may_be_several(tmp_path: Path) -> None:
    root = photos(tmp_path / "photos")
    with pytest.raises(ConfigError, match=r"Use task\.name=multilabel"):
        sd.train(
            "lenet-5", data=root, run=tmp_path / "run", **{"data.labels": "labels.csv", "task.name": "classification"}
        )
    with pytest.raises(ConfigError, match="has no class of its own"):
        sd.train("lenet-5", data=root, run=tmp_path / "run", **{"data.labels": "labels.csv", "train.balance": 1.0})
    assert not (tmp_path / "run").exists()
