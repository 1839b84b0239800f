"""What is said of a classifier, against counts made by hand and against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from seodang.core.inputs import Column, Facts, ImageInputs, TableInputs, VectorInputs
from seodang.visualize.answers import Answers, cells, columns_of
from seodang.visualize.classes import (
    calibration,
    class_table,
    classification_figures,
    confused_pairs,
    confusion_counts,
    least_sure,
    mistakes_in_order,
    worst_mistakes,
)
from seodang.visualize.figure import Images, Table

NAMES = ("cat", "dog", "<owl>")


def answers_of(targets: list[int], chances: list[list[float]], inputs: torch.Tensor | None = None) -> Answers:
    outputs = torch.tensor(chances).log()
    given = torch.zeros(len(targets), 2) if inputs is None else inputs
    return Answers("test", len(targets), given, torch.tensor(targets), outputs)


FIVE = answers_of(
    [0, 0, 1, 1, 0],
    [[0.9, 0.05, 0.05], [0.2, 0.7, 0.1], [0.1, 0.8, 0.1], [0.98, 0.01, 0.01], [0.3, 0.4, 0.3]],
)


def test_confusion_by_hand() -> None:
    assert confusion_counts(FIVE, 3).tolist() == [[1, 2, 0], [1, 1, 0], [0, 0, 0]]


def test_confusion_and_scores_as_scikit_learn_has_them() -> None:
    generator = torch.Generator().manual_seed(1)
    targets = torch.randint(0, 4, (300,), generator=generator)
    outputs = torch.randn(300, 4, generator=generator) + 2 * torch.eye(4)[targets]
    answers = Answers("valid", 300, torch.zeros(300, 2), targets, outputs)
    counts = confusion_counts(answers, 4)
    predicted = outputs.argmax(1).numpy()
    assert (counts.numpy() == confusion_matrix(targets.numpy(), predicted)).all()
    wanted = precision_recall_fscore_support(targets.numpy(), predicted)
    table = class_table(counts, ("a", "b", "c", "d"))
    for place, row in enumerate(table.values):
        assert row[1] == wanted[3][place]
        assert row[2:] == pytest.approx([wanted[score][place] for score in range(3)])


def test_a_class_nobody_said_and_nobody_is() -> None:
    table = class_table(confusion_counts(FIVE, 3), NAMES)
    assert table.rows[2] == ("<owl>", "0", "–", "–", "–")
    assert table.total[:2] == ("mean", "5")


def test_mistakes_are_ordered_by_the_probability_of_the_truth() -> None:
    assert mistakes_in_order(FIVE).tolist() == [3, 1, 4]


def test_mistakes_of_pictures_carry_the_pixels_of_the_file() -> None:
    pixels = torch.arange(5 * 4, dtype=torch.uint8).view(5, 1, 2, 2) * 12
    inputs = ImageInputs(channels=1, height=2, width=2, mean=(0.3,), std=(0.2,))
    facts = Facts(inputs=inputs, classes=NAMES, sizes={})
    answers = FIVE._replace(inputs=(pixels.float() / 255 - 0.3) / 0.2)
    found = worst_mistakes(answers, facts)
    assert isinstance(found, Images)
    assert [image.tolist() for image in found.images] == [pixels[place, 0].tolist() for place in (3, 1, 4)]
    assert found.captions == ("cat, not dog\n98 % sure", "dog, not cat\n70 % sure", "dog, not cat\n40 % sure")
    unsure = least_sure(answers, facts)
    assert unsure is not None
    assert unsure.captions == ("dog\n80 % sure", "cat\n90 % sure")


def test_mistakes_of_rows_are_rows_in_the_users_units() -> None:
    columns = (Column(name="age", kind="number", mean=40.0, std=10.0),
               Column(name="town", kind="category", categories=("Seoul", "Busan"), missing=True))  # fmt: skip
    facts = Facts(inputs=TableInputs(columns=columns), classes=NAMES, sizes={})
    features = torch.tensor([[0.0, 1, 0, 0], [1.0, 0, 1, 0], [0.5, 1, 0, 0], [-1.0, 0, 0, 1], [0.0, 0, 1, 0]])
    assert cells(facts, features[3]) == [("age", "30"), ("town", "?")]
    assert columns_of(facts) == [("age", slice(0, 1)), ("town", slice(1, 4))]
    found = worst_mistakes(FIVE._replace(inputs=features), facts)
    assert isinstance(found, Table)
    assert found.rows[0] == ("dog", "cat", "98 %", "30", "?")
    assert found.rows[1] == ("cat", "dog", "70 %", "50", "Busan")


def test_without_mistakes_there_is_no_picture_of_them() -> None:
    facts = Facts(inputs=VectorInputs(size=2), classes=NAMES[:2], sizes={})
    right = answers_of([0, 1], [[0.9, 0.1], [0.2, 0.8]])
    names = [figure.name for figure in classification_figures(right, facts)]
    assert names == ["confusion", "classes"]


def test_calibration_by_hand() -> None:
    chances = [0.55] * 10 + [0.75] * 20 + [0.95] * 40 + [0.65] * 2
    right = [True] * 4 + [False] * 6 + [True] * 15 + [False] * 5 + [True] * 38 + [False] * 2 + [True] * 2
    answers = answers_of([0 if yes else 1 for yes in right], [[chance, 1 - chance] for chance in chances])
    found = calibration(answers)
    assert found is not None
    assert found.heights[5] == pytest.approx(0.4)
    assert found.heights[7] == pytest.approx(0.75)
    assert found.heights[9] == pytest.approx(0.95)
    assert np.isnan(found.heights[6]), "two answers say nothing about a share"
    assert np.isnan(found.heights[0])
    assert found.expected[7] == pytest.approx(0.75)
    error = (abs(4 - 5.5) + abs(15 - 15) + abs(38 - 38) + abs(2 - 1.3)) / 72
    assert f"{error * 100:.1f}" in found.alt


def test_a_hundred_classes_are_shown_as_pairs() -> None:
    counts = torch.zeros(100, 100, dtype=torch.long).fill_diagonal_(9)
    counts[3, 7], counts[50, 2] = 4, 6
    found = confused_pairs(counts, tuple(map(str, range(100))))
    assert found.names == ("50 → 2", "3 → 7")
    assert found.values == (6.0, 4.0)
