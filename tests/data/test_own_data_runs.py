"""Training on one's own data: where it lies, what is said about it at the start, what stands beside its scores."""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import seodang as sd
from seodang.api import evaluation
from seodang.cli.app import app
from seodang.core.run import RunFolder

SMALL = {"epochs": 2, "threads": 1, "log_every": 1000}


def flowers(path: Path, rows: int = 150, shift: float = 0.0) -> Path:
    """Write scikit-learn's iris table with a column that numbers the rows."""
    from sklearn.datasets import load_iris

    iris = load_iris()
    order = np.random.default_rng(0).permutation(len(iris.data))[:rows]
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "sepal_length", "sepal_width", "petal_length", "petal_width", "species"])
        for number, row in enumerate(order.tolist()):
            values = np.round(iris.data[row] + shift, 3).tolist()
            writer.writerow([number + 1, *values, iris.target_names[iris.target[row]]])
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A run made with a relative path, from another folder than the one tests run in."""
    folder = tmp_path_factory.mktemp("flowers")
    flowers(folder / "iris.csv")
    before = Path.cwd()
    os.chdir(folder)
    try:
        return sd.train("iris-mlp", data="iris.csv", run=folder / "run", train=SMALL)
    finally:
        os.chdir(before)


def test_a_relative_path_is_stored_so_that_it_is_found_from_elsewhere(run: Any, tmp_path: Path) -> None:
    stored = Path(RunFolder(run.path).recipe.data.settings["path"])
    assert stored == run.path.parent / "iris.csv"
    assert evaluation(run.path)["examples"] == 45
    shutil.copy(stored, tmp_path / "iris.csv")
    shutil.copytree(run.path, tmp_path / "moved")
    command = [sys.executable, "-m", "seodang", "evaluate", str(tmp_path / "moved")]
    assert subprocess.run(command, cwd="/", capture_output=True).returncode == 0


@pytest.mark.parametrize("how", ["overrides", "mapping"])
def test_a_relative_path_among_the_settings_is_stored_whole(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from seodang.training.resolve import read_recipe

    flowers(tmp_path / "iris.csv")
    monkeypatch.chdir(tmp_path)
    if how == "overrides":
        recipe, _ = read_recipe("iris-mlp", None, ["data.name=table", "data.path=iris.csv"])
    else:
        recipe, _ = read_recipe("iris-mlp", {"name": "table", "path": "iris.csv", "valid": 0.2})
        assert recipe.data.settings["valid"] == 0.2
    assert recipe.data.settings["path"] == str(tmp_path / "iris.csv")


def test_data_may_be_settings_of_the_data_section(tmp_path: Path) -> None:
    made = sd.train("iris-mlp", data={"test": 0.4, "valid": 0.1}, run=tmp_path / "run", train=SMALL)
    assert made.recipe.data.name == "iris"
    assert made.recipe.data.settings["test"] == 0.4


def test_simple_methods_stand_beside_scores_on_other_data(run: Any, tmp_path: Path) -> None:
    found = evaluation(run, data=flowers(tmp_path / "other.csv", rows=60))
    assert found["notes"] == []
    assert found["baseline"]["accuracy (random forest)"] > 0.9
    far = evaluation(run, data=flowers(tmp_path / "far.csv", rows=60, shift=-3))["baseline"]
    assert far["accuracy (random forest)"] < 0.5, "it was fitted on the rows it was judged on"


def test_without_its_training_data_a_run_says_why_nothing_stands_beside(run: Any, tmp_path: Path) -> None:
    other = flowers(tmp_path / "other.csv", rows=60)
    original = run.path.parent / "iris.csv"
    kept = original.read_bytes()
    try:
        original.write_bytes(kept.replace(b"5.1", b"5.2"))
        found = evaluation(run.path, data=other)
        assert found["baseline"] is None
        assert "has changed since" in found["notes"][0]
        original.unlink()
        found = evaluation(run.path, data=other)
        assert found["baseline"] is None
        assert "there is no such file" in found["notes"][0]
    finally:
        original.write_bytes(kept)


def test_the_command_says_at_the_start_how_the_data_is_split_and_what_is_left_out(tmp_path: Path) -> None:
    flowers(tmp_path / "iris.csv")
    words = ["train", "iris-mlp", "--data", str(tmp_path / "iris.csv"), "--run", str(tmp_path / "run")]
    said = (
        CliRunner()
        .invoke(app, [*words, "train.epochs=2", "train.threads=1", 'data.drop=["petal_width"]'])
        .stdout.splitlines()
    )
    (split,) = (
        place
        for place, line in enumerate(said)
        if line.startswith("Split at random with seed 0, every class in proportion")
    )
    assert "Training examples: setosa 35, versicolor 35, virginica 35." in said[split]
    assert said[split + 1].startswith(
        "Left out, as data.drop says: petal_width. Column 'id' is left out: it numbers the rows"
    )
    assert said[split + 2].startswith("step 0"), "two lines, no more"
