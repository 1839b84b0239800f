"""The model's scores stand above those of simple methods, and only where these cost little."""

from __future__ import annotations

from seodang.core.inputs import Column, Facts, ImageInputs, TableInputs, TokenInputs
from seodang.data.dataset import Dataset
from seodang.task.base import Task
from seodang.visualize.baseline import beside_simple_methods, by_method, is_cheap

TABLE = TableInputs(columns=(Column(name="a", kind="number"),))


class Data(Dataset):
    def __init__(self, inputs: object, train: int) -> None:
        self.facts = Facts(inputs=inputs, sizes={"train": train, "test": 5})  # type: ignore[arg-type]


class Simple(Task):
    asked = 0

    def __init__(self) -> None:
        pass

    def baseline(self, data: Dataset, split: str) -> dict[str, float] | None:
        self.asked += 1
        assert split == "test"
        return {"accuracy (a line)": 0.75, "loss (a line)": 0.5, "accuracy (trees)": 0.8, "other": 3.0}


def test_scores_are_sorted_by_method() -> None:
    assert by_method({"rmse (random forest)": 1.0, "r2 (random forest)": 0.5, "rmse (ridge (0.1))": 2.0, "x": 1.0}) == {
        "random forest": {"rmse": 1.0, "r2": 0.5}, "ridge (0.1)": {"rmse": 2.0}}  # fmt: skip


def test_the_table() -> None:
    found = beside_simple_methods(Simple(), Data(TABLE, 100), {"accuracy": 0.9, "loss": 0.25, "f1": 1.0})
    assert found is not None
    assert [column.name for column in found.columns] == ["method", "accuracy", "loss"]
    assert found.rows == (("this model", "90 %", "0.25"), ("a line", "75 %", "0.5"), ("trees", "80 %", "–"))
    assert beside_simple_methods(Simple(), Data(TABLE, 100), {"rmse": 1.0}) is None


def test_nothing_dear_is_computed_for_a_report() -> None:
    task = Simple()
    assert beside_simple_methods(task, Data(TABLE, 1_000_000), {"accuracy": 1.0}) is None
    assert task.asked == 0
    assert is_cheap(Data(TokenInputs(vocab_size=65, length=128), 8_000))
    assert not is_cheap(Data(TokenInputs(vocab_size=65, length=128), 80_000))
    assert not is_cheap(Data(ImageInputs(channels=1, height=2, width=2, mean=(0.0,), std=(1.0,)), 10))
