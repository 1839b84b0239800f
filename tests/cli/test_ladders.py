"""A ladder of one's own: listed, shown, checked, run, measured, and written down."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner

from seodang.cli.app import app
from seodang.comparison.afterwards import ask
from seodang.comparison.ladder import Afterwards
from seodang.comparison.plan import read_plan
from seodang.core.run import RunFolder

LADDER = """# A ladder of mine.
#   seodang compare mine.toml
# Measured: not yet
name = "mine"
about = "Dropout on digits."
recipe = "digits-mlp"
seeds = 2
charts = ["comparison", "losses", "noise"]
variants = [
  { name = "without" },
  { name = "with", against = "without", model = { dropout = 0.5 } },
]

[settings]
train = { steps = 8, evaluate_every = 4, log_every = 2, threads = 1 }
data = { augment = [] }

[afterwards]
splits = ["train"]
classes = true
noise = [0.0, 64.0]
"""


class Measured(NamedTuple):
    """A ladder after ``check --measure --write``."""

    folder: Path
    runs: Path
    found: dict[str, Any]
    err: str


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Measured:
    folder, runs = tmp_path_factory.mktemp("ladder"), tmp_path_factory.mktemp("runs")
    (folder / "mine.toml").write_text(LADDER)
    words = ["check", str(folder / "mine.toml"), "--measure", "--write", "--json"]
    result = CliRunner().invoke(app, words, env={"SEODANG_RUNS": str(runs)})
    assert result.exit_code == 0, result.stdout + result.stderr
    return Measured(folder, runs, json.loads(result.stdout), result.stderr)


def test_it_trains_every_variant_with_every_seed(measured: Measured) -> None:
    assert "mine: 2 variants × 2 seeds" in measured.err
    folder = Path(measured.found["folder"])
    assert folder.parent == measured.runs
    assert sorted(path.name for path in folder.iterdir() if path.is_dir()) == [
        "with-seed0", "with-seed1", "without-seed0", "without-seed1"]  # fmt: skip
    assert RunFolder(folder / "with-seed0").recipe.model.settings["dropout"] == 0.5
    assert measured.found["pairs"] is True
    assert measured.found["best"] is None, "pairs have no best"


def test_each_variant_is_compared_with_its_counterpart(measured: Measured) -> None:
    without, against = measured.found["variants"]
    assert without["to_first"] is None
    assert against["to_first"]["than"] == "without"
    scores = {row["name"]: [run["score"] for run in row["runs"]] for row in (without, against)}
    mean = sum(a - b for a, b in zip(scores["with"], scores["without"], strict=True)) / 2
    assert against["to_first"]["mean"] == pytest.approx(mean)
    assert any("Each pair is judged by itself" in text for text in measured.found["verdicts"])


def test_runs_are_asked_afterwards(measured: Measured) -> None:
    splits, noise, classes = measured.found["afterwards"]
    row = measured.found["variants"][0]
    assert splits["means"]["without"]["test"]["mean"] == pytest.approx(row["mean"])
    assert noise["means"]["without"]["0"]["mean"] == pytest.approx(row["mean"])
    assert noise["means"]["without"]["64"]["mean"] < row["mean"]
    assert len(classes["means"]["with"]) == 10
    kept = Path(measured.found["folder"]) / "afterwards.json"
    assert len(json.loads(kept.read_text())) == 4 * 4


def test_runs_with_seeds_one_after_another_answer_together(
    measured: Measured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = shutil.copytree(measured.found["folder"], tmp_path / "copy")
    asked: list[tuple[str, ...]] = []

    def evaluate(runs: Any, split: str | None = None) -> dict[str, float]:
        paths = runs if isinstance(runs, list) else [runs]
        asked.append(tuple(path.name for path in paths))
        return {"accuracy": len(paths) / 10}

    monkeypatch.setattr("seodang.api.evaluate", evaluate)
    (table,) = ask(folder, read_plan(folder), Afterwards(ensemble=2))
    assert table["means"]["with"]["alone"] == {"seeds": 2, "mean": 0.1, "standard_error": 0.0}
    assert table["means"]["with"]["2 together"] == {"seeds": 1, "mean": 0.2, "standard_error": None}
    assert ("with-seed0", "with-seed1") in asked
    assert len(asked) == 6
    ask(folder, read_plan(folder), Afterwards(ensemble=2))
    assert len(asked) == 6, "a run is asked once"


def test_page_and_header_hold_what_was_measured(measured: Measured) -> None:
    page = (measured.folder / "mine.md").read_text()
    header = (measured.folder / "mine.toml").read_text()
    assert header.splitlines()[0] == "# A ladder of mine."
    assert re.search(r"^# Measured: .*commit .*, 2 seeds, accuracy:$", header, re.MULTILINE)
    for row in measured.found["variants"]:
        text = f"{row['mean']:.2%}"[:2]
        assert re.search(rf"^#   {row['name']} +{text}.* ± .*%$", header, re.MULTILINE)
        assert re.search(rf"^\| {row['name']} \| {text}", page, re.MULTILINE)
    assert header[header.index('name = "mine"') :] == LADDER[LADDER.index('name = "mine"') :]
    for name in ("mine", "mine-losses", "mine-noise"):
        assert f"]({name}.svg)" in page
        ElementTree.parse(measured.folder / f"{name}.svg")
    assert "## Accuracy under noise in the inputs (grey levels of 255)" in page
    assert page.count("\n## ") == 4


def test_all_of_it_again_trains_nothing(measured: Measured, seodang: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEODANG_RUNS", str(measured.runs))
    answer = seodang("compare", measured.folder / "mine.toml", "--to", measured.found["folder"])
    assert answer.code == 0
    assert "4 of 4 runs have finished before; they are kept." in answer.out
    assert re.search(r"^with .*without .*", answer.out, re.MULTILINE)
    found = json.loads((Path(measured.found["folder"]) / "comparison.json").read_text())
    assert found["wall_seconds"] == measured.found["wall_seconds"]
    assert found["afterwards"] == measured.found["afterwards"]


def test_shipped_ladders_are_listed_shown_and_checked(seodang: Any, tmp_path: Path) -> None:
    listed = seodang("list", "ladders", "--json").json
    assert {"optimizers", "batch-size", "normalisations", "regularisers", "over-fitting"} <= {
        row["name"] for row in listed
    }
    assert "Nine update rules" in seodang("list").out
    shown = seodang("show", "optimizers")
    assert "# The nine optimizers on MNIST" in shown.out
    assert re.search(r'^adadelta +optimizer.name = "adadelta", optimizer.lr = 1.0', shown.out, re.MULTILINE)
    (tmp_path / "mine.toml").write_text(LADDER)
    checked = seodang("check", tmp_path / "mine.toml")
    assert checked.code == 0
    assert "2 variants of digits-mlp, 2 seeds; every one can be trained" in checked.out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["compare", "optimizers", "optimizer.lr=0.1,0.2"], "a setting for all of them has one value"),
        (["compare", "optimizers", "--search"], "no --search, --paired or --variant"),
        (["compare", "optimizers", "--seeds", "0"], "--seeds 0"),
        (["compare", "optimizers", "train.epoch=1"], "Did you mean 'epochs'?"),
        (["compare", "optimizer"], "Did you mean 'optimizers'?"),
        (["check", "optimizers", "--measure", "--at-least", "accuracy=1"], "are for recipes"),
        (["check", "optimizers", "train.epochs=1", "--measure"], "takes one ladder, unchanged"),
    ],
)
def test_mistakes_are_named_before_anything_runs(
    seodang: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], message: str
) -> None:
    monkeypatch.setenv("SEODANG_RUNS", str(tmp_path / "runs"))
    answer = seodang(*words)
    assert answer.code == 2
    assert message in answer.err
    assert not (tmp_path / "runs").exists()


def test_what_an_optimizer_refuses_is_said_before_anything_runs(
    seodang: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEODANG_RUNS", str(tmp_path / "runs"))
    answer = seodang("compare", "digits-mlp", "optimizer.name=sgd,muon", "model.hidden_sizes=[16]")
    assert answer.code == 2
    assert "muon: optimizer.name=muon: MLP has no hidden matrix" in answer.err
    assert not (tmp_path / "runs").exists()
