"""Settings that cannot work together are refused by name, before the first step, and nothing else is printed with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import seodang as sd
from seodang.core.errors import ConfigError, SeodangError
from seodang.core.recipe import Recipe, Train
from seodang.training.assemble import assemble, smallest_part

RECIPE: dict[str, Any] = {
    "name": "small",
    "model": {"name": "mlp", "hidden_sizes": [12, 12]},
    "data": {"name": "digits"},
    "task": {"name": "classification"},
    "optimizer": {"name": "sgd", "lr": 0.1},
    "train": {"steps": 1, "batch_size": 32, "evaluate_every": 0, "threads": 1},
}

BAD = {
    # rules that have no such thing
    "momentum for adagrad": ({"optimizer": {"name": "adagrad", "momentum": 0.9}}, "optimizer.momentum"),
    "momentum for adadelta": ({"optimizer": {"name": "adadelta", "momentum": 0.9}}, "optimizer.momentum"),
    "momentum for adam": ({"optimizer": {"name": "adam", "momentum": 0.9}}, "optimizer.momentum"),
    "momentum for adamw": ({"optimizer": {"name": "adamw", "momentum": 0.9}}, "optimizer.momentum"),
    "nesterov for rmsprop": ({"optimizer": {"name": "rmsprop", "nesterov": True}}, "optimizer.nesterov"),
    "betas for sgd": ({"optimizer": {"betas": [0.9, 0.999]}}, "optimizer.betas"),
    "rho for adam": ({"optimizer": {"name": "adam", "rho": 0.9}}, "optimizer.rho"),
    "Newton-Schulz for adamw": ({"optimizer": {"name": "adamw", "newton_schulz_steps": 5}}, "newton_schulz_steps"),
    # rules and what goes with them
    "nesterov without momentum": ({"optimizer": {"nesterov": True}}, "nesterov=true .* momentum is 0"),
    "l2 beside decay": ({"optimizer": {"l2": 0.1, "weight_decay": 0.2}}, "l2=0.1 and weight_decay=0.2"),
    "l2 beside the decay of adamw": ({"optimizer": {"name": "adamw", "l2": 0.1}}, "l2=0.1 and weight_decay=0.01"),
    "l1 for muon": ({"optimizer": {"name": "muon", "l1": 0.1}}, "l1=0.1: muon"),
    "l2 for muon": ({"optimizer": {"name": "muon", "l2": 0.1}}, "l2=0.1: muon"),
    "muon for one layer": ({"model": {"hidden_sizes": []}, "optimizer": {"name": "muon"}}, "muon: MLP has no hidden"),
    "negative l1": ({"optimizer": {"l1": -0.1}}, "optimizer.l1: should be .* or more"),
    "betas of one": ({"optimizer": {"name": "adam", "betas": [0.9, 1.0]}}, r"betas=\[0.9, 1.0\]"),
    # rates
    "a plateau of nothing": ({"data": {"valid": 0.0}, "optimizer": {"schedule": "plateau"}}, "schedule=plateau"),
    "drops of a cosine": ({"optimizer": {"schedule": "cosine", "drop_at": [0.5]}}, "drop_at goes with schedule=step"),
    "waiting for a cosine": ({"optimizer": {"schedule": "cosine", "wait": 3}}, "wait goes with schedule=plateau"),
    "an end of a constant": ({"optimizer": {"final": 0.1}}, "final=0.1 means nothing with schedule=constant"),
    "an exponential to 0": ({"optimizer": {"schedule": "exponential"}}, "final must be above 0"),
    # length and clipping
    "two lengths": ({"train": {"epochs": 2.0}}, r"give one length, not 2 \(steps, epochs\)"),
    "two clips": ({"train": {"clip": 1.0, "clip_value": 0.1}}, "clip .* or clip_value"),
    "patience with nobody": ({"data": {"valid": 0.0}, "train": {"patience": 2}}, "train.patience"),
    # normalisation
    "batch norm of one": ({"model": {"normalization": "batch"}, "train": {"batch_size": 1}}, "batch_size=1: batch norm"),
    "batch norm of micro-batches of one": (
        {"model": {"normalization": "batch"}, "train": {"batch_size": 8, "accumulate": 8}}, "accumulate=8: batch norm"),
    "batch norm of what is left": (
        {"model": {"normalization": "batch"}, "train": {"batch_size": 314, "accumulate": 2}}, "a batch of 3 of the 1,259"),
    "instance norm of vectors": ({"model": {"normalization": "instance"}}, "model.normalization: should be"),
    "instance norm of one place": (
        {"model": {"name": "cnn", "hidden_sizes": [], "normalization": "instance", "stages": [[4], [4], [4], [4]],
                   "padding": "same"}}, "normalization=instance: the last maps have a single place"),
    # residuals and noise
    "drop path without residuals": ({"model": {"drop_path": 0.1}}, "drop_path=0.1 .* residual=true"),
    "residuals without equal widths": (
        {"model": {"residual": True, "hidden_sizes": [8, 4]}}, r"residual=true .* hidden_sizes=\[8, 4\]"),
    "drop path of a cnn": ({"model": {"name": "cnn", "hidden_sizes": [], "drop_path": 0.1}}, "model.drop_path"),
    "all dropped": ({"model": {"dropout": 1.0}}, "model.dropout: should be less than 1"),
    "negative weight noise": ({"train": {"weight_noise": -0.1}}, "train.weight_noise: should be .* or more"),
    "row noise on pictures": ({"data": {"noise": 0.1}}, "data.noise"),
    # tasks
    "smoothing of a regression": (
        {"data": {"name": "diabetes"}, "task": {"name": "regression", "smoothing": 0.1}}, "smoothing=0.1 .* task.name=classification"),
    "smoothing of hinges": ({"task": {"smoothing": 0.1, "loss": "perceptron"}}, "smoothing=0.1 goes with loss=cross-entropy"),
    "regression of pictures of classes": ({"task": {"name": "regression"}}, "regression"),
    "text model for pictures": ({"model": {"name": "gpt", "hidden_sizes": None}}, "model.name=gpt takes tokens"),
}  # fmt: skip


def recipe_of(changes: dict[str, Any]) -> dict[str, Any]:
    merged = {
        key: {**value, **changes.get(key, {})} if isinstance(value, dict) else value for key, value in RECIPE.items()
    }
    return {key: {name: item for name, item in value.items() if item is not None} if isinstance(value, dict) else value
            for key, value in merged.items()}  # fmt: skip


@pytest.mark.parametrize("name", list(BAD))
def test_what_cannot_go_together_is_refused_by_name(tmp_path: Path, name: str) -> None:
    changes, words = BAD[name]
    with pytest.raises(SeodangError, match=words) as error:
        sd.train(recipe_of(changes), run=tmp_path / "run")
    assert "{" not in str(error.value), "no whole section is printed"
    events = tmp_path / "run" / "events.jsonl"
    assert not events.exists() or '"stepped"' not in events.read_text(), "nothing was trained"


def test_what_is_left_may_be_enough(tmp_path: Path) -> None:
    enough = {"model": {"normalization": "batch"}, "train": {"batch_size": 313, "accumulate": 2, "steps": 5}}
    assert sd.train(recipe_of(enough), run=tmp_path / "run").result["steps"] == 5, "its last batch has 7 in two parts"


@pytest.mark.parametrize(
    ("train", "examples", "wanted"),
    [
        ({"batch_size": 32}, 1257, (9, 9)), ({"batch_size": 32, "accumulate": 4}, 1257, (9, 2)),
        ({"batch_size": 32, "accumulate": 5}, 1257, (9, 1)), ({"batch_size": "all", "accumulate": 2}, 7, (7, 3)),
        ({"batch_size": 64}, 129, (64, 64)), ({"batch_size": 64, "devices": 4}, 134, (6, 1)),
        ({"batch_size": 64, "devices": 4}, 131, (64, 16)), ({"batch_size": 100}, 40, (40, 40)),
    ],
)  # fmt: skip
def test_the_smallest_part_of_an_epoch(train: dict[str, Any], examples: int, wanted: tuple[int, int]) -> None:
    assert smallest_part(Train.of(train), examples) == wanted


def test_rows_take_noise_and_pictures_augmentation(tmp_path: Path) -> None:
    rows, pictures = tmp_path / "rows.npz", tmp_path / "pictures.npz"
    labels = np.arange(40) % 2
    np.savez(rows, x=np.random.default_rng(0).normal(size=(40, 3)), y=labels)
    np.savez(pictures, x=np.random.default_rng(0).integers(0, 255, (40, 8, 8), dtype=np.uint8), y=labels)
    for path, setting, words in (
        (pictures, {"noise": 0.1}, "data.noise=0.1: is for rows of numbers.*data.augment=noise"),
        (rows, {"augment": ["flip"]}, "data.augment: is for pictures.*data.noise"),
    ):
        with pytest.raises(ConfigError, match=words):
            assemble(Recipe.of({**RECIPE, "data": {"name": "arrays", "path": str(path), **setting}}))
