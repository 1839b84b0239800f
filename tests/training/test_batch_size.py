"""Full-batch, stochastic and mini-batch gradient descent are one setting, and each is the equation it is named after."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file

import seodang as sd
from seodang.core.errors import ConfigError
from seodang.core.recipe import Recipe
from seodang.data.dataset import Loader
from seodang.scratch.optim import sgd
from seodang.training.assemble import assemble

STEPS, RATE = 10, 0.5
RECIPE: dict[str, Any] = {
    "name": "small",
    "model": {"name": "linear"},
    "data": {"name": "digits"},
    "task": "classification",
    "optimizer": {"name": "sgd", "lr": RATE},
    "train": {"steps": STEPS, "batch_size": "all", "log_every": 5, "evaluate_every": 0, "threads": 1},
}


def softmax_gradient(inputs: np.ndarray, labels: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Return the gradient of the mean cross-entropy of softmax regression; the last row of `w` are the biases."""
    x = np.concatenate([inputs, np.ones((len(inputs), 1))], axis=1)
    z = x @ w
    p = np.exp(z - z.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    p[np.arange(len(x)), labels] -= 1
    return x.T @ p / len(x)


@pytest.mark.parametrize("size", ["all", 1, 7, 64])
def test_ten_updates_are_the_equations_on_the_same_examples(tmp_path: Path, size: int | str) -> None:
    recipe = {**RECIPE, "train": {**RECIPE["train"], "batch_size": size}}
    made = assemble(Recipe.of(recipe))
    examples = made.data.split("train")
    loader = Loader(examples, len(examples) if size == "all" else int(size), seed=0)
    batches = [(batch[0].flatten(1).double().numpy(), batch[1].numpy()) for batch in islice(loader, STEPS)]
    assert {len(labels) for _, labels in batches} == {len(examples) if size == "all" else size}
    weights = made.model.state_dict()
    start = np.concatenate(
        [weights["layers.1.weight"].double().numpy().T, weights["layers.1.bias"].double()[None].numpy()]
    )
    given = iter(batches)
    wanted = list(islice(sgd(start, lambda w: softmax_gradient(*next(given), w), RATE), STEPS))[-1]
    run = sd.train(recipe, run=tmp_path / "run")
    found = load_file(run.checkpoints[-1] / "model.safetensors")
    assert np.abs(found["layers.1.weight"].numpy().T - wanted[:-1]).max() < 1e-5
    assert np.abs(found["layers.1.bias"].numpy() - wanted[-1]).max() < 1e-5
    assert np.abs(wanted - start).max() > 0.05


@pytest.mark.parametrize("train", [{"batch_size": 1}, {"batch_size": 4, "accumulate": 4}])
@pytest.mark.parametrize("model", ["mlp", "cnn"])
def test_batch_normalisation_of_one_example_is_refused_by_name(train: dict[str, int], model: str) -> None:
    recipe = {**RECIPE, "model": {"name": model, "normalization": "batch"}, "train": {**RECIPE["train"], **train}}
    if model == "cnn":
        recipe["model"] = {"name": "cnn", "stages": [[4], [6]]}
    with pytest.raises(
        ConfigError, match=rf"train.batch_size={train['batch_size']}.*: batch normalisation takes its mean"
    ):
        assemble(Recipe.of(recipe))
    assemble(Recipe.of({**recipe, "model": {**recipe["model"], "normalization": "layer"}}))
