from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error
from torch import nn

import seodang as sd
from seodang.api import evaluation
from seodang.core.errors import ConfigError, DataError
from seodang.core.inputs import Column, Facts, TableInputs, Target, VectorInputs
from seodang.core.recipe import Choice
from seodang.data.dataset import TableBatch
from seodang.task.base import tasks
from seodang.task.regression import Regression

INPUTS = TableInputs(columns=(Column(name="a", kind="number", mean=1.0, std=2.0), Column(name="b", kind="number")))
SMALL = {"threads": 1, "save_every": 0}


def facts(*targets: Target) -> Facts:
    return Facts(inputs=INPUTS, targets=targets or (Target(name="price", mean=10.0, std=5.0),), sizes={"train": 8})


def regression(*targets: Target) -> Regression:
    task = tasks.make(Choice(name="regression"), None, facts(*targets))
    assert isinstance(task, Regression)
    return task


def batch(count: int = 6, quantities: int = 1, seed: int = 0) -> TableBatch:
    draw = torch.Generator().manual_seed(seed)
    return TableBatch(torch.randn(count, 2, generator=draw), torch.randn(count, quantities, generator=draw))


def loss_of(task: Regression, model: nn.Module, examples: TableBatch) -> torch.Tensor:
    ((network, loss),) = task.losses(model, examples)
    assert network == "model"
    return loss


@pytest.mark.parametrize("quantities", [1, 3])
def test_twice_the_examples_twice_the_loss(quantities: int) -> None:
    task = regression(*(Target(name=str(index)) for index in range(quantities)))
    model, examples = nn.Linear(2, quantities), batch(quantities=quantities)
    twice = TableBatch(*(torch.cat([field, field]) for field in examples))
    torch.testing.assert_close(loss_of(task, model, twice), 2 * loss_of(task, model, examples))
    assert task.size(twice) == 2 * task.size(examples) == 12
    mean = loss_of(task, model, examples) / task.size(examples)
    torch.testing.assert_close(mean, (model(examples.features) - examples.targets).square().mean())


@pytest.mark.parametrize("quantities", [1, 2])
def test_scores_are_those_of_scikit_learn_over_any_batches(quantities: int) -> None:
    targets = [Target(name=name, mean=mean, std=std) for name, mean, std in (("price", 10.0, 5.0), ("age", -3.0, 0.1))]
    task = regression(*targets[:quantities])
    model, examples = nn.Linear(2, quantities), batch(50, quantities)
    with torch.no_grad():
        whole = task.evaluate(model, [examples])
        parts = task.evaluate(
            model, [TableBatch(*fields) for fields in zip(*(field.split(7) for field in examples), strict=True)]
        )
        scores = [task.finish({name: float(tally.total) / float(tally.count) for name, tally in found.items()})
                  for found in (whole, parts)]  # fmt: skip
        answers = model(examples.features)
    assert scores[0] == pytest.approx(scores[1])
    for index, target in enumerate(targets[:quantities]):
        true, given = (values[:, index].numpy() * target.std + target.mean for values in (examples.targets, answers))
        end = f" {target.name}" if quantities > 1 else ""
        assert scores[0][f"rmse{end}"] == pytest.approx(root_mean_squared_error(true, given), rel=1e-5)
        assert scores[0][f"mae{end}"] == pytest.approx(mean_absolute_error(true, given), rel=1e-5)
        assert scores[0][f"r2{end}"] == pytest.approx(r2_score(true, given), rel=1e-5)
    assert scores[0]["loss"] == pytest.approx(float(nn.functional.mse_loss(answers, examples.targets)))
    assert len(scores[0]) == 1 + 3 * quantities


def test_r2_is_left_out_where_nothing_varies() -> None:
    task, model = regression(), nn.Linear(2, 1)
    examples = TableBatch(torch.randn(5, 2), torch.ones(5, 1))
    with torch.no_grad():
        found = task.evaluate(model, [examples])
    scores = task.finish({name: float(tally.total) / float(tally.count) for name, tally in found.items()})
    assert set(scores) == {"loss", "rmse", "mae"}
    assert all(np.isfinite(value) for value in scores.values())


def test_empty_batches_count_nothing() -> None:
    task, model = regression(), nn.Linear(2, 1)
    with torch.no_grad():
        found = task.score(model, TableBatch(torch.empty(0, 2), torch.empty(0, 1)))
    assert all(float(tally.total) == 0 and tally.count == 0 for tally in found.values())


def test_predictions_are_in_the_targets_own_unit(tmp_path: Path) -> None:
    task, model = regression(), nn.Linear(2, 1)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[1.0, 3.0]]))
        model.bias.zero_()
    found = task.predict(model, "a=5,b=2")  # standardised: a = 2, b = 2
    assert found.values == {"price": pytest.approx((2 + 6) * 5 + 10)}
    assert found.text == "price: 50"
    path = tmp_path / "rows.csv"
    path.write_text("b,a\n2,5\n0,1\n")
    many = task.predict(model, str(path))
    assert many.values == {"predictions": [{"price": 50.0}, {"price": 10.0}]}
    assert many.text == "price: 50\nprice: 10"
    json.dumps(many.values)
    with pytest.raises(DataError, match="There is no column 'c'"):
        task.predict(model, "a=1,c=2")


def test_data_without_a_quantity_is_refused() -> None:
    classes = Facts(inputs=VectorInputs(size=2), classes=("a", "b"), sizes={"train": 2})
    with pytest.raises(
        ConfigError, match=r"predicts quantities, but this data has classes. Use task.name=classification"
    ):
        tasks.make(Choice(name="regression"), None, classes)
    with pytest.raises(ConfigError, match="this data has no target"):
        tasks.make(Choice(name="regression"), None, classes.replace(classes=None))


# ------------------------------------------------------------------------------------------ whole runs


def prices(path: Path, rows: int = 200, seed: int = 0) -> Path:
    """Write flats whose price depends on size, storey and district, with some holes."""
    draw = np.random.default_rng(seed)
    lines = ["size,storey,district,price"]
    for _ in range(rows):
        size, storey, district = draw.uniform(20, 150), draw.integers(0, 9), draw.choice(["north", "south", "old town"])
        price = (
            2000 + 30 * size + 50 * storey + {"north": 0, "south": 400, "old town": 1500}[district] + draw.normal(0, 50)
        )
        lines.append(f"{'' if draw.random() < 0.05 else f'{size:.1f}'},{storey},{district},{price:.0f}")
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("prices")
    return sd.train(
        "diabetes-mlp", data=prices(folder / "prices.csv"), run=folder / "run", train={**SMALL, "epochs": 60}
    )


def test_your_own_csv_trains_evaluates_and_predicts(run: Any, tmp_path: Path) -> None:
    found = evaluation(run)
    assert found["scores"]["r2"] > 0.8
    assert set(found["baseline"]) == {f"{score} ({method})" for score in ("rmse", "mae", "r2")
                                      for method in ("ridge regression", "random forest")}  # fmt: skip
    (answer,) = run.predict("size=100,storey=3,district=old town")
    assert answer.values["price"] == pytest.approx(6650, rel=0.12)
    notes = json.loads((run.path / "environment.json").read_text())["notes"]
    assert any("'price'" in note and "predicted" in note for note in notes)
    assert any("Split at random" in note for note in notes)
    other = prices(tmp_path / "other.csv", rows=40, seed=9)
    elsewhere = evaluation(run, data=other)
    assert elsewhere["examples"] == 40
    assert elsewhere["scores"]["r2"] > 0.7
    assert set(elsewhere["baseline"]) == set(found["baseline"])
    assert elsewhere["baseline"] != found["baseline"]
    assert elsewhere["baseline"]["r2 (random forest)"] > 0.7  # it learned from the run's rows, not from these 40
    assert len(run.predict(str(other))[0].values["predictions"]) == 40


def test_the_wrong_task_for_a_table_says_the_right_one(tmp_path: Path) -> None:
    path = prices(tmp_path / "prices.csv")
    with pytest.raises(ConfigError, match=r"task\.name=regression"):
        sd.train("iris-mlp", data=path, run=tmp_path / "run", train=SMALL)
    with pytest.raises(ConfigError, match=r"task\.name=classification"):
        sd.train("diabetes-mlp", data=path, run=tmp_path / "run", train=SMALL, **{"data.target": "district"})
    assert not (tmp_path / "run").exists()


def test_pictures_without_classes_are_no_classification(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", images=np.zeros((30, 8, 8), dtype=np.uint8))
    with pytest.raises(
        ConfigError, match=r"tells classes apart, but the data 'arrays' has none\. Pictures need a folder"
    ):
        sd.train("digits-mlp", data=tmp_path / "x.npz", run=tmp_path / "run", train=SMALL)
    assert not (tmp_path / "run").exists()


def test_iris_beats_the_simple_methods(tmp_path: Path) -> None:
    found = evaluation(sd.train("iris-mlp", run=tmp_path / "run", train=SMALL))
    scores, baseline = found["scores"], found["baseline"]
    for method in ("logistic regression", "random forest"):
        assert scores["accuracy"] >= baseline[f"accuracy ({method})"]
        assert scores["loss"] < baseline[f"loss ({method})"]


def test_your_own_pictures_train_and_evaluate(tmp_path: Path) -> None:
    from PIL import Image

    draw = np.random.default_rng(0)
    for index in range(60):
        bright = index % 2
        values = np.clip(draw.normal(90 + 80 * bright, 40, (16, 16)), 0, 255).astype(np.uint8)
        path = tmp_path / "photos" / ("day" if bright else "night") / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(values).save(path)
    run = sd.train("digits-mlp", data=tmp_path / "photos", run=tmp_path / "run", train={**SMALL, "epochs": 10})
    found = evaluation(run)
    assert found["scores"]["accuracy"] > 0.9
    assert found["baseline"] == {"accuracy (most common class)": 0.5}
    (answer,) = run.predict(str(tmp_path / "photos" / "day" / "1.png"))
    assert answer.values["class"] == "day"
