"""Averages of models, against plain numpy; versions of pictures, against the same made by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from seodang.core.errors import ConfigError, UnknownName
from seodang.core.inputs import Column, Facts, ImageInputs, TableInputs, Target, VectorInputs
from seodang.core.recipe import Choice
from seodang.data.augment import augmentations
from seodang.data.dataset import Draws
from seodang.evaluation.averaging import Augmented, Converted, averaged, majority, require_augmentable
from seodang.evaluation.members import conversion
from seodang.task.classification import Classification, ClassificationConfig
from seodang.task.regression import Regression, RegressionConfig

IMAGE = ImageInputs(channels=1, height=6, width=6, mean=(0.3,), std=(0.2,))


def classifier(inputs: Any = IMAGE, **settings: Any) -> Classification:
    facts = Facts(inputs=inputs, classes=("a", "b", "c"), sizes={"train": 4})
    return Classification(ClassificationConfig.of(settings, where="task"), facts)


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def test_classes_are_averaged_as_probabilities() -> None:
    outputs = [torch.randn(20, 3) * 4 for _ in range(5)]
    wanted = np.mean([softmax(output.double().numpy()) for output in outputs], axis=0)
    found = averaged(classifier(), outputs)
    np.testing.assert_allclose(found.exp().numpy(), wanted, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(found.softmax(-1).numpy(), wanted, rtol=1e-5, atol=1e-7)


def test_a_perceptron_has_votes_for_probabilities() -> None:
    outputs = [torch.tensor([[9.0, 1, 0]]), torch.tensor([[0.0, 1, 0]]), torch.tensor([[3.0, 1, 0]])]
    found = averaged(classifier(loss="perceptron"), outputs)
    torch.testing.assert_close(found.exp(), torch.tensor([[2 / 3, 1 / 3, 0]]))
    assert found.isfinite().all()


def test_quantities_are_averaged_as_they_are() -> None:
    facts = Facts(inputs=VectorInputs(size=2), targets=(Target(name="y"),), sizes={"train": 4})
    outputs = [torch.randn(7, 1) for _ in range(3)]
    found = averaged(Regression(RegressionConfig(), facts), outputs)
    np.testing.assert_allclose(found.numpy(), np.mean([output.numpy() for output in outputs], axis=0), rtol=1e-6)


def test_the_majority_decides_and_of_a_tie_the_mean_probability() -> None:
    outputs = [torch.randn(200, 3) * 2 for _ in range(4)]
    means = np.mean([softmax(output.double().numpy()) for output in outputs], axis=0)
    wanted = []
    for row in range(200):
        votes = np.bincount([int(output[row].argmax()) for output in outputs], minlength=3)
        tied = np.flatnonzero(votes == votes.max())
        wanted.append(int(tied[means[row, tied].argmax()]))
    found = majority(classifier(), outputs)
    assert found.tolist() == wanted
    assert found.tolist() != means.argmax(-1).tolist()  # voting is not averaging


def test_inputs_of_one_model_become_those_of_another() -> None:
    raw = torch.rand(5, 1, 6, 6)
    other = ImageInputs(channels=1, height=6, width=6, mean=(0.5,), std=(0.1,))
    scale, shift = conversion(IMAGE, other)
    torch.testing.assert_close((raw - 0.3) / 0.2 * scale + shift, (raw - 0.5) / 0.1, rtol=1e-4, atol=1e-5)
    columns = [Column(name="size", kind="number", mean=10, std=2, missing=True),
               Column(name="kind", kind="category", categories=("x", "y"))]  # fmt: skip
    moved = [columns[0].replace(mean=12, std=4), columns[1]]
    scale, shift = conversion(TableInputs(columns=tuple(columns)), TableInputs(columns=tuple(moved)))
    row = torch.tensor([(14 - 10) / 2, 0.0, 1.0, 0.0])
    torch.testing.assert_close(row * scale + shift, torch.tensor([(14 - 12) / 4, 0.0, 1.0, 0.0]))


def test_a_converted_model_answers_in_other_units() -> None:
    model = Converted(nn.Identity(), (torch.tensor(2.0), torch.tensor(1.0)), (torch.tensor(3.0), torch.tensor(-1.0)))
    torch.testing.assert_close(model(torch.tensor([[4.0]])), torch.tensor([[26.0]]))


class Columns(nn.Module):
    """Says of each picture how bright its thirds are: flipping one changes what it says."""

    def forward(self, images: Tensor) -> Tensor:
        return torch.stack([part.mean((1, 2, 3)) * 3 for part in images.split(2, dim=3)], dim=1)


def test_several_versions_of_a_picture_are_averaged() -> None:
    images, task, model = torch.randn(8, 1, 6, 6), classifier(), Columns()
    found = Augmented(model, task, ["flip", "shift"], IMAGE, draws=3, seed=5)(images)
    grey = (images * 0.2 + 0.3) * 255
    changes = [augmentations.make(Choice.of({"name": name})) for name in ("flip", "shift")]
    wanted = softmax(model(images).numpy().astype(np.float64))
    for draw in (1, 2):
        drawn, changed = Draws(5, draw, 0, 8, slice(None)), grey
        for change in changes:
            changed = change(changed, drawn)
        wanted = wanted + softmax(model((changed / 255 - 0.3) / 0.2).numpy().astype(np.float64))
    np.testing.assert_allclose(found.exp().numpy(), wanted / 3, rtol=1e-4)
    again = Augmented(model, task, ["flip", "shift"], IMAGE, draws=3, seed=5)
    torch.testing.assert_close(again(images), found)
    assert not torch.allclose(again(images), found)  # the second batch has other versions


def test_versions_are_for_pictures_only() -> None:
    require_augmentable(classifier(), ["flip"], 2)
    with pytest.raises(ConfigError, match="takes vector"):
        require_augmentable(classifier(VectorInputs(size=3)), ["flip"], 2)
    with pytest.raises(UnknownName, match="flop"):
        require_augmentable(classifier(), ["flop"], 2)
    with pytest.raises(ConfigError, match="--draws=1"):
        require_augmentable(classifier(), ["flip"], 1)
