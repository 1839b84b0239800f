"""seodang check RUN --augment: which classes an augmentation breaks, for people and for programs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import seodang as sd


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    recipe = {"name": "digits", "model": {"name": "mlp", "hidden_sizes": [32]}, "data": "digits", "task": "classification",
              "optimizer": {"name": "adam", "lr": 0.01}, "train": {"steps": 150, "threads": 1, "evaluate_every": 0}}  # fmt: skip
    return sd.train(recipe, run=tmp_path_factory.mktemp("safety") / "run").path


def test_flips_break_digits_and_the_command_says_which(run: Path, seodang: Any) -> None:
    said = seodang("check", run, "--augment", "flip", "--augment", '[{name="noise", std=1.0}]', "--json").json
    flip, noise = said["augmentations"]
    assert {"2", "5"} & set(flip["breaks"] + flip["falls"])
    assert "0" not in flip["breaks"]
    assert (noise["settings"], noise["breaks"], noise["falls"]) == ({"std": 1.0}, [], [])
    assert {item["class"] for item in noise["classes"]} == set("0123456789")
    assert all(Path(picture).is_file() for picture in said["pictures"])
    text = seodang("check", run, "--augment", "flip,noise").out
    assert "! flip breaks classes: " in text
    assert "label-safety.svg" in text
    assert "train with the augmentation" in text


def test_all_means_all_that_fit_the_pictures(run: Path, seodang: Any) -> None:
    names = [one["name"] for one in seodang("check", run, "--augment", "all", "--json").json["augmentations"]]
    assert {"flip", "erase", "cutout", "brightness"} <= set(names)
    assert not {"colour", "hue", "saturation"} & set(names)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--augment", "flop"], "There is no augmentation called 'flop'. Did you mean 'flip'?"),
        (["--augment", "hue"], "hue=18.0 changes colours"),
        (["--augment", ","], "--augment: name one or more augmentations"),
        (["--augment", "flip", "--measure"], "check --augment takes a run and nothing else"),
    ],
    ids=["unknown", "unfit", "empty", "together"],
)
def test_mistakes_are_named(run: Path, words: list[str], message: str, seodang: Any) -> None:
    answer = seodang("check", run, *words)
    assert answer.code == 2
    assert message in answer.err


def test_a_run_without_pictures_is_refused(tmp_path: Path, seodang: Any) -> None:
    rows = sd.train("iris-mlp", run=tmp_path / "run", train={"steps": 3, "threads": 1, "epochs": None})
    answer = seodang("check", rows.path, "--augment", "flip")
    assert answer.code == 2
    assert "this run tells no pictures apart" in answer.err
