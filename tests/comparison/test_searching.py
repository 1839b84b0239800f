"""A search proposes settings out of ranges, keeps its trials in a file, and goes on where it was."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import seodang as sd
from seodang.cli.app import app
from seodang.comparison.searching import space_of
from seodang.core.errors import ConfigError

THERE = importlib.util.find_spec("optuna") is not None
WORDS = ["compare", "digits-mlp", "--search", "train.steps=10", "data.augment=[]"]


def call(*words: str) -> Any:
    return CliRunner().invoke(app, [*WORDS, *words])


def test_ranges_lists_and_what_all_trials_share() -> None:
    space, shared = space_of(
        ["optimizer.lr=1e-4..1e-1", "model.dropout=0.0,0.5", "train.batch_size=16..64", "train.epochs=2"]
    )
    assert space == {"optimizer.lr": (1e-4, 1e-1), "model.dropout": [0.0, 0.5], "train.batch_size": (16, 64)}
    assert shared == {"train.epochs": 2}


@pytest.mark.parametrize(
    "words", [["optimizer.lr=0.1..0.01"], ["optimizer.lr=1..."], ["train.epochs=2"], ["seed=1..3"]]
)
def test_ranges_that_make_no_sense_are_refused(words: list[str]) -> None:
    with pytest.raises(ConfigError):
        space_of(words)


def test_without_search_a_range_says_what_is_missing() -> None:
    answer = CliRunner().invoke(app, ["compare", "digits-mlp", "optimizer.lr=1e-4..1e-1"])
    assert answer.exit_code == 2 and "add --search" in answer.stderr


@pytest.mark.skipif(THERE, reason="the extra `search` is installed")
def test_without_the_extra_it_says_how_to_install_it() -> None:
    answer = call("optimizer.lr=1e-4..1e-1")
    assert answer.exit_code == 2 and "pip install 'seodang[search]'" in answer.stderr


@pytest.mark.skipif(not THERE, reason="needs the extra `search` (optuna)")
def test_a_search_goes_on_where_it_was(tmp_path: Path) -> None:
    words = ["optimizer.lr=1e-4..1e-1", "--to", str(tmp_path / "s"), "--processes", "2"]
    first = call(*words, "--trials", "2", "--json")
    assert first.exit_code == 0, first.stderr
    before = {row["name"] for row in json.loads(first.stdout)["variants"]}
    again = call(*words, "--trials", "4")
    assert again.exit_code == 0, again.stderr
    assert (
        "2 of 4 runs have finished before" in again.stdout and "Is it luck? seodang compare digits-mlp" in again.stdout
    )
    found = json.loads((tmp_path / "s" / "comparison.json").read_text())
    assert before < {row["name"] for row in found["variants"]} and len(found["variants"]) == 4
    rates = [row["settings"]["optimizer.lr"] for row in found["variants"]]
    assert len(set(rates)) == 4 and all(1e-4 <= rate <= 1e-1 for rate in rates)
    scores = [row["validation"]["mean"] for row in found["variants"]]
    assert scores == sorted(scores, reverse=True) and found["best"] == found["variants"][0]["name"]
    other = call("optimizer.lr=1e-3..1e-1", "--to", str(tmp_path / "s"), "--processes", "2")
    assert other.exit_code == 2 and "something else than this search" in other.stderr


@pytest.mark.skipif(not THERE, reason="needs the extra `search` (optuna)")
def test_a_search_needs_a_validation_part_and_settings_that_exist(tmp_path: Path) -> None:
    answer = call("optimizer.lr=1e-4..1e-1", "data.valid=0.0", "--to", str(tmp_path / "s"))
    assert answer.exit_code == 2 and "A search chooses by the validation part" in answer.stderr
    answer = call("optimizer.lrr=1e-4..1e-1", "--to", str(tmp_path / "s"))
    assert answer.exit_code == 2 and "Did you mean 'lr'?" in answer.stderr
    assert not (tmp_path / "s").exists()


@pytest.mark.skipif(not THERE, reason="needs optuna")
def test_from_python(tmp_path: Path) -> None:
    found = sd.search("digits-mlp", {"optimizer": {"lr": (1e-4, 1e-1)}, "model.dropout": [0.0, 0.3]}, trials=2, to=tmp_path / "s",
                      processes=1, data={"augment": []}, train={"steps": 10})  # fmt: skip
    assert len(found.variants) == 2
    assert found.best
    for row in found.variants:
        assert 1e-4 <= row["settings"]["optimizer.lr"] <= 1e-1
        assert row["settings"]["model.dropout"] in (0.0, 0.3)


def test_from_python_what_is_no_range_is_refused(tmp_path: Path) -> None:
    for space in ({}, {"optimizer.lr": (0.1, 0.01)}, {"optimizer.lr": (0.1,)}, {"seed": (1, 3)}):
        with pytest.raises(ConfigError):
            sd.search("digits-mlp", space, to=tmp_path / "none")
    assert not (tmp_path / "none").exists()
